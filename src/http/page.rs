//! Lists: pages in the order of the keys, each with the cursor of the next.
//!
//! Four bounds end a page: the limit asked for, the bytes of the answer, and the entities and the bytes of values
//! looked at, so that neither a stretch of deleted things nor one of large values can keep a request busy. A page may so be short, even empty, and still
//! have a next; only `next: null` ends a list.

use std::ops::ControlFlow;

use axum::{extract::Request, http::StatusCode, response::Response};
use grapevine_crdt::Entity;

use super::{
    body::{json_bytes, to_json},
    cursor::{self, ListKind},
    problem::Problem,
    query::Parameters,
    within::Within,
};
use crate::{
    model::{Collection, EntityId, MAX_KEY_BYTES},
    store::{Listing, Store},
};

/// The most items of a page.
pub const MAX_PAGE_LIMIT: usize = 1_000;
/// The most entities, hidden ones included, that are looked at for one page.
pub const MAX_SCANNED_PER_PAGE: usize = 20_000;
/// The most bytes of stored values that are read for one page, whether it shows them or not; the entity that reaches
/// it is the last.
const MAX_READ_BYTES_PER_PAGE: usize = 64 * 1_024 * 1_024;
/// How many items a page has if nothing else is asked for.
const DEFAULT_PAGE_LIMIT: usize = 100;
/// A page ends with the item that reaches this many bytes.
pub(super) const PAGE_BYTES: usize = 8 * 1_024 * 1_024;

/// Which page of which list.
#[derive(Debug)]
pub(super) struct PageRequest {
    collection: Collection,
    prefix: String,
    after: Option<String>,
    limit: usize,
    /// Whether the token is for nothing of what is asked for.
    is_outside: bool,
}

impl PageRequest {
    /// Reads `limit`, `cursor` and `prefix`; shows what the token of the request is for.
    pub(super) fn read(request: &Request, collection: Collection) -> Result<Self, Problem> {
        let parameters = Parameters::read(request.uri(), &["limit", "cursor", "prefix"])?;
        let asked = parameters.text("prefix").unwrap_or_default();
        let prefix = match Within::of(request.extensions()) {
            None => Some(asked.to_owned()),
            Some(within) => within.narrow(collection, asked)?,
        };
        let kind = ListKind::Entities(collection);
        let after = parameters
            .text("cursor")
            .map(|text| cursor::read_text(kind, text, MAX_KEY_BYTES).ok_or_else(foreign_cursor))
            .transpose()?;
        let limit = read_limit(&parameters)?;
        Ok(Self {
            collection,
            is_outside: prefix.is_none(),
            prefix: prefix.unwrap_or_default(),
            after,
            limit,
        })
    }

    /// What the token is for, of those keys that come behind `after`.
    pub(super) fn within(
        collection: Collection,
        within: &Within,
        after: Option<String>,
        limit: usize,
    ) -> Result<Self, Problem> {
        within.check_collection(collection)?;
        Ok(Self {
            collection,
            prefix: within.prefix().to_owned(),
            after,
            limit,
            is_outside: false,
        })
    }
}

/// How many items a page may have.
pub(super) fn read_limit(parameters: &Parameters) -> Result<usize, Problem> {
    let limit = parameters.number("limit", 1..=MAX_PAGE_LIMIT)?;
    Ok(limit.unwrap_or(DEFAULT_PAGE_LIMIT))
}

/// What a cursor says that the list did not give.
pub(super) fn foreign_cursor() -> Problem {
    Problem::malformed("cursor", "the cursor is not one that this list gave")
}

/// Answers with the page; `show` makes the JSON of an entity, or nothing if it is hidden.
pub(super) async fn answer<F>(
    store: &Store,
    request: PageRequest,
    show: F,
) -> Result<Response, Problem>
where
    F: Fn(&EntityId, &Entity) -> Result<Option<Vec<u8>>, Problem> + Send + 'static,
{
    let snapshot = store.snapshot();
    let read = move || {
        let listing = Listing {
            collection: request.collection,
            prefix: &request.prefix,
            after: request.after.as_deref(),
        };
        let mut page = Page::new(request.limit);
        if request.is_outside {
            return page.finish(ListKind::Entities(request.collection));
        }
        snapshot.list(&listing, &mut |id, entity| {
            let flow = page.take(id.key(), || show(&id, &entity));
            page.count(&entity);
            flow
        })?;
        page.finish(ListKind::Entities(request.collection))
    };
    let bytes = tokio::task::spawn_blocking(read)
        .await
        .map_err(|error| Problem::internal(&error))??;
    Ok(json_bytes(StatusCode::OK, bytes))
}

/// A page that is being filled.
#[derive(Debug)]
pub(super) struct Page {
    limit: usize,
    json: Vec<u8>,
    items: usize,
    scanned: usize,
    read_bytes: usize,
    last: Option<String>,
    more: bool,
    failure: Option<Problem>,
}

impl Page {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            json: b"{\"items\":[".to_vec(),
            items: 0,
            scanned: 0,
            read_bytes: 0,
            last: None,
            more: false,
            failure: None,
        }
    }

    /// Takes the JSON of what is at `place`, or nothing if it is hidden, if there is room for it.
    pub(super) fn take(
        &mut self,
        place: &str,
        show: impl FnOnce() -> Result<Option<Vec<u8>>, Problem>,
    ) -> ControlFlow<()> {
        if self.scanned == MAX_SCANNED_PER_PAGE || self.read_bytes >= MAX_READ_BYTES_PER_PAGE {
            self.more = true;
            return ControlFlow::Break(());
        }
        self.scanned += 1;
        let full = self.items == self.limit || self.json.len() >= PAGE_BYTES;
        match show() {
            Err(problem) => {
                self.failure = Some(problem);
                return ControlFlow::Break(());
            }
            Ok(None) => {}
            Ok(Some(_)) if full => {
                self.more = true;
                return ControlFlow::Break(());
            }
            Ok(Some(item)) => {
                if self.items > 0 {
                    self.json.push(b',');
                }
                self.json.extend_from_slice(&item);
                self.items += 1;
            }
        }
        self.last = Some(place.to_owned());
        ControlFlow::Continue(())
    }

    /// Counts what was read for an item, shown or not.
    fn count(&mut self, entity: &Entity) {
        let values = entity.cells().filter_map(|(_, cell)| cell.bytes());
        self.read_bytes += values.map(<[u8]>::len).sum::<usize>();
    }

    /// The JSON of the page, with the cursor of the next.
    pub(super) fn finish(mut self, kind: ListKind) -> Result<Vec<u8>, Problem> {
        if let Some(problem) = self.failure {
            return Err(problem);
        }
        let last = self.last.filter(|_| self.more);
        let next = last.map(|key| cursor::write(kind, key.as_bytes()));
        self.json.extend_from_slice(b"],\"next\":");
        self.json.extend(to_json(&next)?);
        self.json.push(b'}');
        Ok(self.json)
    }
}

#[cfg(test)]
mod tests {
    use grapevine_crdt::{Dot, ReplicaId, Seq, Timestamp};

    use super::*;
    use crate::model::kv;

    #[test]
    fn a_list_of_large_values_reads_no_more_of_them_than_its_bound() {
        let dot = Dot::new(ReplicaId::from_bytes([1; 16]), Seq::new(1));
        let value = kv::encode("text/plain", &vec![0; 8 * 1_024 * 1_024], None).expect("it fits");
        let mut entity = Entity::default();
        entity.merge_cell(kv::put(value, dot, Timestamp::ZERO));
        let mut page = Page::new(1_000);
        let mut visited = 0;
        loop {
            let id = EntityId::new(Collection::Kv, format!("k{visited}")).expect("a key");
            if page.take(id.key(), || Ok(Some(b"{}".to_vec()))).is_break() {
                break;
            }
            page.count(&entity);
            visited += 1;
        }
        assert_eq!(visited, 8, "8 MiB each");
        assert!(page.more);
        assert_eq!(page.last.as_deref(), Some("k7"));
    }
}
