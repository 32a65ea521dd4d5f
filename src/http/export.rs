//! `/v1/contacts/export`: the address book as vCards or CSV, made while it is sent.
//!
//! Contacts come in the order of their ids, whatever is written meanwhile: what is there all the time is in it once.
//! No snapshot is held while the client is waited for.

use std::{ops::ControlFlow, sync::Arc};

use axum::{
    body::Bytes,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, header},
    response::Response,
};
use grapevine_crdt::Entity;
use tokio::sync::mpsc;

use super::{
    HttpState,
    describe::Seen,
    problem::Problem,
    query::Parameters,
    session::Session,
    streamed::{Chunk, Streamed},
};
use crate::{
    model::{
        CardVersion, Collection, ContactQuery, ContactTerms, EntityId,
        contact_csv::{csv_header, export_row},
        export_card,
    },
    store::{Listing, Store, StoreError},
};

/// A piece of an export ends with the contact that reaches this many bytes.
const CHUNK_BYTES: usize = 256 * 1_024;
/// The most entities, hidden ones included, that are looked at for one piece.
const MAX_SCANNED_PER_CHUNK: usize = 10_000;
/// How many pieces wait for the client.
const MAX_CHUNKS_WAITING: usize = 2;

/// What an export is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Cards(CardVersion),
    Csv,
}

impl Format {
    /// As the parameter `format` says it.
    const NAMED: [(&str, Self); 3] = [
        ("vcard3", Self::Cards(CardVersion::V3)),
        ("vcard4", Self::Cards(CardVersion::V4)),
        ("csv", Self::Csv),
    ];

    /// What the request asks for: its parameter, else what it accepts, else what most programs read.
    fn read(parameters: &Parameters, headers: &HeaderMap) -> Result<Self, Problem> {
        let Some(name) = parameters.text("format") else {
            return Ok(accepted(headers).unwrap_or(Self::Cards(CardVersion::V3)));
        };
        let found = Self::NAMED.into_iter().find(|(known, _)| *known == name);
        found.map(|(_, format)| format).ok_or_else(|| {
            let names = Self::NAMED.map(|(name, _)| name).join(", ");
            Problem::malformed("format", format!("format is one of {names}"))
        })
    }

    fn of_media_range(range: &str) -> Option<Self> {
        let lower = range.to_ascii_lowercase();
        let mut parts = lower.split(';').map(str::trim);
        match parts.next()? {
            "text/vcard" | "text/*" | "text/x-vcard" | "application/vcard" => {
                let version = parts.find_map(|part| part.strip_prefix("version="));
                let is_four = version.is_some_and(|version| version.trim_matches('"') == "4.0");
                let version = if is_four {
                    CardVersion::V4
                } else {
                    CardVersion::V3
                };
                Some(Self::Cards(version))
            }
            "text/csv" => Some(Self::Csv),
            _ => None,
        }
    }

    const fn media_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Cards(CardVersion::V3) => "text/vcard; version=3.0; charset=utf-8",
            Self::Cards(CardVersion::V4) => "text/vcard; version=4.0; charset=utf-8",
            Self::Csv => "text/csv; charset=utf-8; header=present",
        })
    }

    const fn disposition(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Cards(_) => "attachment; filename=\"contacts.vcf\"",
            Self::Csv => "attachment; filename=\"contacts.csv\"",
        })
    }

    /// What stands before the first contact.
    fn head(self) -> Vec<u8> {
        match self {
            Self::Cards(_) => Vec::new(),
            Self::Csv => csv_header(),
        }
    }

    fn write(self, out: &mut Vec<u8>, id: &EntityId, entity: &Entity) {
        match self {
            Self::Cards(version) => {
                if let Some(card) = export_card(id.key(), entity, version) {
                    out.extend_from_slice(card.as_bytes());
                }
            }
            Self::Csv => out.extend(export_row(id.key(), entity).unwrap_or_default()),
        }
    }
}

/// The first of what the request accepts, the best liked first, that there is. What nobody can be given is
/// disregarded (RFC 9110, section 12.4.1).
fn accepted(headers: &HeaderMap) -> Option<Format> {
    let values = headers.get_all(header::ACCEPT).iter();
    let ranges = values.filter_map(|value| value.to_str().ok());
    let mut liked: Vec<(f32, Format)> = ranges
        .flat_map(|ranges| ranges.split(','))
        .filter_map(|range| {
            let quality = range
                .split(';')
                .find_map(|part| part.trim().strip_prefix("q="));
            let quality = quality.map_or(1.0, |text| text.parse().unwrap_or(0.0));
            Some((quality, Format::of_media_range(range.trim())?))
        })
        .filter(|(quality, _)| *quality > 0.0)
        .collect();
    // Stable: of those liked equally, the first.
    liked.sort_by(|a, b| b.0.total_cmp(&a.0));
    liked.first().map(|(_, format)| *format)
}

/// Which contacts are wanted.
#[derive(Debug)]
struct Wanted {
    query: ContactQuery,
    group: Option<String>,
}

impl Wanted {
    fn takes(&self, entity: &Entity) -> bool {
        if self.query.readings().is_empty() && self.group.is_none() {
            return entity.is_visible();
        }
        ContactTerms::of(entity).is_some_and(|terms| {
            let found = self.query.readings().is_empty() || self.query.finds(&terms).is_some();
            let group = self.group.as_ref();
            found && group.is_none_or(|group| terms.groups.contains(group))
        })
    }
}

/// The contacts in a file
///
/// As vCards or CSV, in the order of their ids; what was imported comes out whole.
#[utoipa::path(get, path = "/v1/contacts/export", tag = "contacts", operation_id = "exportContacts",
    params(
        ("format" = Option<String>, Query, description = "`vcard3`, `vcard4` or `csv`; what `Accept` says if nothing is said, else `vcard3`", example = "vcard4", pattern = "^(vcard3|vcard4|csv)$"),
        ("q" = Option<String>, Query, description = "Only those that a search finds", example = "lov", max_length = 64),
        ("group" = Option<String>, Query, description = "Only those in this group", example = "friends", max_length = 128),
        Seen
    ),
    responses((status = 200, description = "The file, made while it is sent", content(
        (String = "text/vcard; version=3.0; charset=utf-8"), (String = "text/vcard; version=4.0; charset=utf-8"),
        (String = "text/csv; charset=utf-8; header=present")))))]
pub(super) async fn get(
    State(state): State<Arc<HttpState>>,
    request: Request,
) -> Result<Response, Problem> {
    let parameters = Parameters::read(request.uri(), &["format", "q", "group"])?;
    let format = Format::read(&parameters, request.headers())?;
    let query = ContactQuery::read(parameters.text("q").unwrap_or_default())
        .map_err(|error| Problem::malformed("q", error.to_string()))?;
    let wanted = Wanted {
        query,
        group: parameters.text("group").map(str::to_owned),
    };
    Session::of_read(request.headers(), &state).await?;
    let (sender, chunks) = mpsc::channel(MAX_CHUNKS_WAITING);
    let store = state.store.clone();
    tokio::task::spawn_blocking(move || {
        if let Err(error) = write(&store, format, &wanted, &sender) {
            let _client_gone = sender.blocking_send(Err(error));
        }
    });
    let mut response = Response::new(Streamed::begin(chunks).await?);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, format.media_type());
    headers.insert(header::CONTENT_DISPOSITION, format.disposition());
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}

fn write(
    store: &Store,
    format: Format,
    wanted: &Wanted,
    sender: &mpsc::Sender<Chunk<StoreError>>,
) -> Result<(), StoreError> {
    let mut after: Option<String> = None;
    let mut chunk = format.head();
    loop {
        let listing = Listing {
            collection: Collection::Contacts,
            prefix: "",
            after: after.as_deref(),
        };
        let mut scanned = 0;
        let mut last = None;
        store.snapshot().list(&listing, &mut |id, entity| {
            if wanted.takes(&entity) {
                format.write(&mut chunk, &id, &entity);
            }
            scanned += 1;
            if chunk.len() < CHUNK_BYTES && scanned < MAX_SCANNED_PER_CHUNK {
                return ControlFlow::Continue(());
            }
            last = Some(id.key().to_owned());
            ControlFlow::Break(())
        })?;
        let piece = Bytes::from(std::mem::take(&mut chunk));
        let client_gone = !piece.is_empty() && sender.blocking_send(Ok(piece)).is_err();
        if client_gone || last.is_none() {
            return Ok(());
        }
        after = last;
    }
}
