//! `GET /v1/contacts`: sorted by name, of a group, found by a query; whole or some fields of each.

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    extract::{Request, State},
    response::Response,
};
use grapevine_crdt::Entity;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    HttpState,
    body::to_json,
    cursor::{self, ListKind},
    describe::{Page, Paged, Seen},
    items::Items,
    page::{self, PageRequest, foreign_cursor, read_limit},
    problem::{Problem, ProblemKind},
    query::Parameters,
    session::Session,
    within::Within,
};
use crate::{
    address_book::{self, SearchPlace, Taken},
    codec,
    model::{Collection, Contact, ContactQuery, EntityId, MAX_KEY_BYTES},
    store::Snapshot,
};

/// The most bytes of a place that a cursor tells: a row of the index has a group, a name and an id.
const MAX_PLACE_BYTES: usize = 4_096;

const KNOWN: [&str; 5] = ["q", "group", "fields", "limit", "cursor"];

/// The fields of a contact, as they are shown.
const FIELDS: [&str; 19] = [
    "id",
    "name",
    "name_parts",
    "phones",
    "emails",
    "urls",
    "addresses",
    "organization",
    "title",
    "birthday",
    "address",
    "note",
    "groups",
    "photo",
    "created_at",
    "updated_at",
    "revived",
    "conflicts",
    "vcard",
];

/// Where a page ended, in the list of which these are the first bytes of a hash of what was asked for.
#[derive(Serialize, Deserialize)]
struct ListPlace {
    list: [u8; 8],
    at: At,
}

#[derive(Serialize, Deserialize)]
enum At {
    Row(Vec<u8>),
    Found(SearchPlace),
}

/// The contacts
///
/// Sorted by name; of a group; or found by the beginnings of words and numbers, whatever the case or the accents.
#[utoipa::path(get, path = "/v1/contacts", tag = "contacts", operation_id = "listContacts",
    params(
        ("q" = Option<String>, Query, description = "Only those of whom every word begins a word of the name, the organization, a group or an e-mail address, or the digits of a phone; the best first", example = "lov", max_length = 64),
        ("group" = Option<String>, Query, description = "Only those in this group", example = "friends", max_length = 128),
        ("fields" = Option<String>, Query, description = "Only these fields of each, with commas between; the id is always there", example = "name,phones", pattern = "^(name|phones|emails|note)(,(organization|title|groups))?$"),
        Paged, Seen
    ),
    responses((status = 200, description = "A page: sorted by name, or the best found first; of each contact the fields that were asked for", body = Page<Value>)))]
pub(super) async fn list(
    State(state): State<Arc<HttpState>>,
    request: Request,
) -> Result<Response, Problem> {
    let within = Within::of(request.extensions());
    if let Some(within) = &within {
        within.check_collection(Collection::Contacts)?;
    }
    if let Some(within) = within.filter(|within| !within.prefix().is_empty()) {
        let (page, fields) = read_within(&request, &within)?;
        Session::of_read(request.headers(), &state).await?;
        return page::answer(&state.store, page, move |id, entity| {
            let is_shown = entity.is_visible();
            is_shown
                .then(|| show(id, entity, fields.as_ref()))
                .transpose()
        })
        .await;
    }
    let wanted = Wanted::read(&request)?;
    Session::of_read(request.headers(), &state).await?;
    let snapshot = state.store.snapshot();
    tokio::task::spawn_blocking(move || wanted.answer(&snapshot))
        .await
        .map_err(|error| Problem::internal(&error))?
}

/// What is asked for by a token that is for some contacts only: a page in the order of their ids, for a place in the
/// list by name would tell the names of others.
fn read_within(
    request: &Request,
    within: &Within,
) -> Result<(PageRequest, Option<BTreeSet<&'static str>>), Problem> {
    let parameters = Parameters::read(request.uri(), &KNOWN)?;
    let mut finding = ["q", "group"].into_iter();
    if let Some(name) = finding.find(|name| parameters.text(name).is_some()) {
        let detail = format!("{name} takes a token for all contacts");
        return Err(Problem::new(ProblemKind::Forbidden, detail).about(name));
    }
    let kind = ListKind::Entities(Collection::Contacts);
    let after = parameters
        .text("cursor")
        .map(|text| cursor::read_text(kind, text, MAX_KEY_BYTES).ok_or_else(foreign_cursor))
        .transpose()?;
    let fields = parameters.text("fields").map(read_fields).transpose()?;
    let limit = read_limit(&parameters)?;
    let page = PageRequest::within(Collection::Contacts, within, after, limit)?;
    Ok((page, fields))
}

/// What a request asks for.
struct Wanted {
    query: ContactQuery,
    group: Option<String>,
    fields: Option<BTreeSet<&'static str>>,
    limit: usize,
    list: [u8; 8],
    after: Option<At>,
}

impl Wanted {
    fn read(request: &Request) -> Result<Self, Problem> {
        let parameters = Parameters::read(request.uri(), &KNOWN)?;
        let (text, group) = (parameters.text("q"), parameters.text("group"));
        let query = ContactQuery::read(text.unwrap_or_default())
            .map_err(|error| Problem::malformed("q", error.to_string()))?;
        let mut hasher = blake3::Hasher::new();
        for part in [text.unwrap_or_default(), group.unwrap_or("\0")] {
            hasher.update(part.as_bytes()).update(&[0xff]);
        }
        let mut list = [0; 8];
        list.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        let after = parameters
            .text("cursor")
            .map(|text| {
                cursor::read(ListKind::Contacts, text, MAX_PLACE_BYTES)
                    .and_then(|bytes| codec::decode::<ListPlace>(&bytes).ok())
                    .filter(|place| place.list == list)
                    .map(|place| place.at)
                    .ok_or_else(foreign_cursor)
            })
            .transpose()?;
        Ok(Self {
            query,
            group: group.map(str::to_owned),
            fields: parameters.text("fields").map(read_fields).transpose()?,
            limit: read_limit(&parameters)?,
            list,
            after,
        })
    }

    fn answer(self, snapshot: &Snapshot) -> Result<Response, Problem> {
        let Self {
            query,
            group,
            fields,
            limit,
            list,
            after,
        } = self;
        let mut items = Items::new(limit);
        let mut visit = |id: &EntityId, entity: &Entity| -> Result<Taken, Problem> {
            items.take(|| show(id, entity, fields.as_ref()))
        };
        let group = group.as_deref();
        let next = if query.readings().is_empty() {
            let after = match after {
                None => None,
                Some(At::Row(row)) => Some(row),
                Some(At::Found(_)) => return Err(foreign_cursor()),
            };
            address_book::list_by_name(snapshot, group, after.as_deref(), &mut visit)?.map(At::Row)
        } else {
            let after = match after {
                None => None,
                Some(At::Found(place)) => Some(place),
                Some(At::Row(_)) => return Err(foreign_cursor()),
            };
            address_book::search(snapshot, &query, group, after, &mut visit)?.map(At::Found)
        };
        let next = next
            .map(|at| codec::encode(&ListPlace { list, at }))
            .transpose()
            .map_err(|error| Problem::internal(&error))?
            .map(|bytes| cursor::write(ListKind::Contacts, &bytes));
        items.answer(next.as_deref())
    }
}

fn read_fields(text: &str) -> Result<BTreeSet<&'static str>, Problem> {
    text.split(',')
        .map(|name| {
            FIELDS
                .into_iter()
                .find(|field| *field == name)
                .ok_or_else(|| {
                    let detail = format!("fields are, with a comma between: {}", FIELDS.join(", "));
                    Problem::malformed("fields", detail)
                })
        })
        .collect()
}

/// The JSON of a contact, of `fields` only if they are told; the id is always there.
fn show(
    id: &EntityId,
    entity: &Entity,
    fields: Option<&BTreeSet<&'static str>>,
) -> Result<Vec<u8>, Problem> {
    let contact = Contact::read(id.key(), entity)
        .ok_or_else(|| Problem::internal(&"a contact that is visible cannot be read"))?;
    let Some(fields) = fields else {
        return to_json(&contact);
    };
    let whole = serde_json::to_value(&contact).map_err(|error| Problem::internal(&error))?;
    let mut some = Map::new();
    if let Value::Object(whole) = whole {
        let chosen = |name: &str| name == "id" || fields.contains(name);
        some.extend(whole.into_iter().filter(|(name, _)| chosen(name)));
    }
    to_json(&some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_that_is_shown_can_be_asked_for() {
        use grapevine_crdt::{Dot, LwwMap, ReplicaId, Seq, Timestamp};

        let dot = Dot::new(ReplicaId::from_bytes([1; 16]), Seq::new(1));
        let mut entity = Entity::default();
        for cell in LwwMap::new(&entity).set("name", b"Ada", dot, Timestamp::ZERO) {
            entity.merge_cell(cell);
        }
        let contact = Contact::read("ada", &entity).expect("it is visible");
        let json = serde_json::to_value(&contact).expect("it is JSON");
        let shown: BTreeSet<&str> = json
            .as_object()
            .expect("an object")
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(shown, BTreeSet::from(FIELDS));
    }
}
