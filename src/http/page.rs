//! Lists: pages in the order of the keys, each with the cursor of the next.
//!
//! Three bounds end a page: the limit asked for, the bytes of the answer, and the entities looked at, so that
//! a stretch of deleted things cannot keep a request busy. A page may so be short, even empty, and still
//! have a next; only `next: null` ends a list.

use std::ops::ControlFlow;

use axum::{
    http::{StatusCode, Uri},
    response::Response,
};
use grapevine_crdt::Entity;

use super::{
    body::{json_bytes, to_json},
    problem::Problem,
    query::Parameters,
};
use crate::{
    model::{Collection, EntityId, MAX_KEY_BYTES},
    store::{Listing, Store},
};

/// The most items of a page.
pub const MAX_PAGE_LIMIT: usize = 1_000;
/// The most entities, hidden ones included, that are looked at for one page.
pub const MAX_SCANNED_PER_PAGE: usize = 20_000;
/// How many items a page has if nothing else is asked for.
const DEFAULT_PAGE_LIMIT: usize = 100;
/// A page ends with the item that reaches this many bytes.
const PAGE_BYTES: usize = 8 * 1_024 * 1_024;
const CURSOR_VERSION: u8 = 1;

/// Which page of which list.
#[derive(Debug)]
pub(super) struct PageRequest {
    collection: Collection,
    prefix: String,
    after: Option<String>,
    limit: usize,
}

impl PageRequest {
    /// Reads `limit` and `cursor`, and `prefix` if `prefixed`.
    pub(super) fn read(uri: &Uri, collection: Collection, prefixed: bool) -> Result<Self, Problem> {
        let known: &[&str] = if prefixed {
            &["limit", "cursor", "prefix"]
        } else {
            &["limit", "cursor"]
        };
        let parameters = Parameters::read(uri, known)?;
        let after = parameters
            .text("cursor")
            .map(|text| {
                read_cursor(collection, text).ok_or_else(|| {
                    Problem::malformed("cursor", "the cursor is not one that this list gave")
                })
            })
            .transpose()?;
        let limit = parameters.number("limit", 1..=MAX_PAGE_LIMIT)?;
        Ok(Self {
            collection,
            prefix: parameters.text("prefix").unwrap_or_default().to_owned(),
            after,
            limit: limit.unwrap_or(DEFAULT_PAGE_LIMIT),
        })
    }
}

/// Makes the JSON of an entity, or nothing if it is hidden.
type Show = dyn Fn(&EntityId, &Entity) -> Result<Option<Vec<u8>>, Problem>;

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
        snapshot.list(&listing, &mut |id, entity| page.visit(&id, &entity, &show))?;
        page.finish(request.collection)
    };
    let bytes = tokio::task::spawn_blocking(read)
        .await
        .map_err(|error| Problem::internal(&error))??;
    Ok(json_bytes(StatusCode::OK, bytes))
}

#[derive(Debug)]
struct Page {
    limit: usize,
    json: Vec<u8>,
    items: usize,
    scanned: usize,
    last: Option<String>,
    more: bool,
    failure: Option<Problem>,
}

impl Page {
    fn new(limit: usize) -> Self {
        Self {
            limit,
            json: b"{\"items\":[".to_vec(),
            items: 0,
            scanned: 0,
            last: None,
            more: false,
            failure: None,
        }
    }

    fn visit(&mut self, id: &EntityId, entity: &Entity, show: &Show) -> ControlFlow<()> {
        if self.scanned == MAX_SCANNED_PER_PAGE {
            self.more = true;
            return ControlFlow::Break(());
        }
        self.scanned += 1;
        let full = self.items == self.limit || self.json.len() >= PAGE_BYTES;
        match show(id, entity) {
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
        self.last = Some(id.key().to_owned());
        ControlFlow::Continue(())
    }

    fn finish(mut self, collection: Collection) -> Result<Vec<u8>, Problem> {
        if let Some(problem) = self.failure {
            return Err(problem);
        }
        let last = self.last.filter(|_| self.more);
        let next = last.map(|key| write_cursor(collection, &key));
        self.json.extend_from_slice(b"],\"next\":");
        self.json.extend(to_json(&next)?);
        self.json.push(b'}');
        Ok(self.json)
    }
}

/// The place after `key`: version, collection and key in hexadecimal.
fn write_cursor(collection: Collection, key: &str) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [CURSOR_VERSION, u8::from(collection)]
        .into_iter()
        .chain(key.bytes())
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

fn read_cursor(collection: Collection, text: &str) -> Option<String> {
    if !text.is_ascii() || !text.len().is_multiple_of(2) || text.len() > 2 * (MAX_KEY_BYTES + 2) {
        return None;
    }
    let bytes: Vec<u8> = text
        .as_bytes()
        .chunks(2)
        .map(|pair| {
            let digit = |byte: u8| char::from(byte).to_digit(16);
            u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok()
        })
        .collect::<Option<_>>()?;
    let key = bytes.strip_prefix(&[CURSOR_VERSION, u8::from(collection)])?;
    String::from_utf8(key.to_vec())
        .ok()
        .filter(|key| !key.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_of_another_list_is_refused() {
        let cursor = write_cursor(Collection::Kv, "clé/1");
        assert_eq!(
            read_cursor(Collection::Kv, &cursor).as_deref(),
            Some("clé/1")
        );
        assert_eq!(read_cursor(Collection::Counters, &cursor), None);
    }

    #[test]
    fn damaged_cursors_are_refused() {
        for text in [
            "", "0", "zz", "0203ff", "010", "0103", "0103ff", "é1", "0203616",
        ] {
            assert_eq!(read_cursor(Collection::Kv, text), None, "{text}");
        }
    }
}
