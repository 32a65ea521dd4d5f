//! `/v1/contacts/import`: vCards, with a report of what became of every card.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use serde::Serialize;
use tokio::task::JoinSet;
use utoipa::ToSchema;

use super::{
    HttpState,
    body::{self, json},
    contacts::{entity_id, stamp},
    describe::Seen,
    problem::{Problem, ProblemKind},
    query::Parameters,
    session::{Session, Written, tracked},
};
use crate::{
    model::{
        Card, CardFile, Change, InvalidContact, RejectedProperty, Source, UnreadableFile,
        vcard_edit,
    },
    store::{Store, WriteError},
};

/// The most cards of one import.
pub const MAX_CARDS_PER_IMPORT: usize = 20_000;
/// How many cards are written at once: enough to share a commit, few enough that others get their turn.
const CARDS_AT_ONCE: usize = 256;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Status {
    Created,
    Updated,
    Unchanged,
    Rejected,
}

/// What became of one card.
#[derive(Debug, Serialize, ToSchema)]
struct CardReport {
    index: usize,
    id: Option<String>,
    name: Option<String>,
    status: Status,
    taken: Vec<String>,
    kept: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rejected: Vec<RejectedProperty>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
struct Report {
    created: usize,
    updated: usize,
    unchanged: usize,
    rejected: usize,
    stray_lines: usize,
    cards: Vec<CardReport>,
}

/// Imports vCards
///
/// The same file again, on any node, changes nothing.
#[utoipa::path(post, path = "/v1/contacts/import", tag = "contacts", operation_id = "importContacts",
    params(Seen),
    request_body(content = String, content_type = "text/vcard", description = "vCards (2.1, 3.0 or 4.0), one after another",
        example = json!("BEGIN:VCARD\r\nVERSION:4.0\r\nUID:urn:uuid:2f6e0a3c-5f6b-4f0e-9d52-2a8f0c1b7e11\r\nFN:Grace Hopper\r\nTEL:+1 202 555 0100\r\nEND:VCARD\r\n")),
    responses((status = 200, description = "What became of each card", body = Report), (status = 415, description = ""), (status = 422, description = "")))]
pub(super) async fn import(
    State(state): State<Arc<HttpState>>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    Parameters::read(&parts.uri, &[])?;
    check_media_type(&parts.headers)?;
    let charset = charset(&parts.headers);
    let bytes = body::read(body, state.limits.max_body_bytes).await?;
    let read = move || CardFile::read(&bytes, charset.as_deref(), MAX_CARDS_PER_IMPORT);
    let file = tokio::task::spawn_blocking(read)
        .await
        .map_err(|error| Problem::internal(&error))??;
    let stray_lines = file.stray_lines;
    let cards = file.cards.iter().flatten();
    let partitions = cards
        .map(|card| entity_id(card.id.clone()).map(|id| id.partition()))
        .collect::<Result<_, _>>()?;
    let session = Session::of_writes(&parts.headers, &state, &partitions).await?;
    let (cards, written) = take_all(&state.store, file).await?;
    let count = |status| cards.iter().filter(|card| card.status == status).count();
    let report = Report {
        created: count(Status::Created),
        updated: count(Status::Updated),
        unchanged: count(Status::Unchanged),
        rejected: count(Status::Rejected),
        stray_lines,
        cards,
    };
    let token = session.answer_all(written);
    Ok(token.put(json(StatusCode::OK, &report)?))
}

/// The sources of the contacts of an import, as far as its cards have been looked at.
#[derive(Default)]
struct Sources {
    by_id: BTreeMap<String, Source>,
    seen: BTreeSet<(String, [u8; 32])>,
}

impl Sources {
    /// The source once `card` is taken in; one that was there before adds nothing.
    fn add(&mut self, card: &Card) -> Source {
        let source = self.by_id.entry(card.id.clone()).or_default();
        if self.seen.insert((card.id.clone(), card.hash)) {
            *source = source.and(card);
        }
        *source
    }

    fn of(&self, id: &str) -> Source {
        self.by_id.get(id).copied().unwrap_or_default()
    }
}

/// Takes the cards in, some at once; those of one contact one after another.
async fn take_all(
    store: &Store,
    file: CardFile,
) -> Result<(Vec<CardReport>, Vec<Written>), Problem> {
    let mut last_sources = Sources::default();
    for card in file.cards.iter().flatten() {
        last_sources.add(card);
    }
    let mut sources = Sources::default();
    let mut reports: BTreeMap<usize, CardReport> = BTreeMap::new();
    let mut all_written = Vec::new();
    let mut under_way: JoinSet<Taken> = JoinSet::new();
    let mut ids_under_way: BTreeSet<String> = BTreeSet::new();
    for (index, card) in file.cards.into_iter().enumerate() {
        let card = match card {
            Ok(card) => card,
            Err(rejected) => {
                let report = CardReport {
                    rejected: rejected.rejected,
                    ..CardReport::unread(index, rejected.problem)
                };
                reports.insert(index, report);
                continue;
            }
        };
        if under_way.len() == CARDS_AT_ONCE || ids_under_way.contains(&card.id) {
            finish(&mut under_way, &mut reports, &mut all_written).await?;
            ids_under_way.clear();
        }
        let last = last_sources.of(&card.id);
        let source = sources.add(&card);
        ids_under_way.insert(card.id.clone());
        under_way.spawn(take(store.clone(), index, card, source, last));
    }
    finish(&mut under_way, &mut reports, &mut all_written).await?;
    Ok((reports.into_values().collect(), all_written))
}

/// What became of a card, and what must be held to see it.
type Taken = Result<(CardReport, Option<Written>), Problem>;

async fn finish(
    under_way: &mut JoinSet<Taken>,
    reports: &mut BTreeMap<usize, CardReport>,
    all_written: &mut Vec<Written>,
) -> Result<(), Problem> {
    while let Some(ended) = under_way.join_next().await {
        let (report, written) = ended.map_err(|error| Problem::internal(&error))??;
        all_written.extend(written);
        reports.insert(report.index, report);
    }
    Ok(())
}

async fn take(store: Store, index: usize, card: Card, source: Source, last: Source) -> Taken {
    let id = entity_id(card.id.clone())?;
    let card = Arc::new(card);
    let taken = card.clone();
    let written = store
        .write(
            id.clone(),
            tracked(id, move |edit| {
                vcard_edit::import(edit.entity, &taken, source, last, stamp(&edit))
            }),
        )
        .await;
    match written {
        Ok((change, written)) => {
            let report = CardReport::read(index, &card, change);
            Ok((report, Some(written)))
        }
        Err(WriteError::Rejected(InvalidContact { field, detail })) => {
            let report = CardReport::refused(index, &card, format!("{field} {detail}"));
            Ok((report, None))
        }
        Err(WriteError::Store(error)) => Err(error.into()),
    }
}

impl CardReport {
    fn read(index: usize, card: &Card, change: Change) -> Self {
        Self {
            index,
            id: Some(card.id.clone()),
            name: Some(card.draft.name.clone()),
            status: match change {
                Change::Created => Status::Created,
                Change::Updated => Status::Updated,
                Change::Unchanged => Status::Unchanged,
            },
            taken: card.taken_names.clone(),
            kept: card.kept_names().into_iter().map(str::to_owned).collect(),
            rejected: card.rejected.clone(),
            problem: None,
        }
    }

    fn refused(index: usize, card: &Card, problem: String) -> Self {
        Self {
            id: Some(card.id.clone()),
            name: Some(card.draft.name.clone()),
            ..Self::unread(index, problem)
        }
    }

    fn unread(index: usize, problem: String) -> Self {
        Self {
            index,
            id: None,
            name: None,
            status: Status::Rejected,
            taken: Vec::new(),
            kept: Vec::new(),
            rejected: Vec::new(),
            problem: Some(problem),
        }
    }
}

impl From<UnreadableFile> for Problem {
    fn from(error: UnreadableFile) -> Self {
        let detail = error.to_string();
        match error {
            UnreadableFile::NoCard => Self::invalid("body", detail),
            UnreadableFile::Charset(_) => {
                Self::new(ProblemKind::UnsupportedMediaType, detail).about("Content-Type")
            }
            UnreadableFile::TooManyCards(_) => Self::too_large(detail).about("body"),
        }
    }
}

/// What clients say that send a file: `curl --data-binary` says that it is a form. What cannot be a vCard is
/// refused.
fn check_media_type(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(media_type) = body::media_type(headers)? else {
        return Ok(());
    };
    let accepted = media_type.starts_with("text/")
        || media_type == "application/octet-stream"
        || media_type == "application/vcard"
        || media_type == "application/x-www-form-urlencoded";
    if accepted {
        return Ok(());
    }
    let detail = format!("{media_type} is not text/vcard");
    Err(Problem::new(ProblemKind::UnsupportedMediaType, detail).about("Content-Type"))
}

/// The charset that is declared for the whole body, if one is.
fn charset(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    value.split(';').skip(1).find_map(|parameter| {
        let (name, charset) = parameter.split_once('=')?;
        let named = name.trim().eq_ignore_ascii_case("charset");
        named.then(|| charset.trim().trim_matches('"').to_owned())
    })
}
