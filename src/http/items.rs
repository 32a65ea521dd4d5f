//! The items of a page as they are collected: up to the limit asked for, and to a bound on the bytes of the answer.

use axum::{http::StatusCode, response::Response};

use super::{
    body::{json_bytes, to_json},
    page::PAGE_BYTES,
    problem::Problem,
};
use crate::address_book::Taken;

/// The items of a page so far.
#[derive(Debug)]
pub(super) struct Items {
    limit: usize,
    json: Vec<u8>,
    count: usize,
}

impl Items {
    /// An empty page with room for `limit` items.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            json: b"{\"items\":[".to_vec(),
            count: 0,
        }
    }

    /// Takes the next item, of which `make` makes the JSON, if there is room.
    pub(super) fn take(
        &mut self,
        make: impl FnOnce() -> Result<Vec<u8>, Problem>,
    ) -> Result<Taken, Problem> {
        if self.count == self.limit || self.json.len() >= PAGE_BYTES {
            return Ok(Taken::Full);
        }
        let item = make()?;
        if self.count > 0 {
            self.json.push(b',');
        }
        self.json.extend_from_slice(&item);
        self.count += 1;
        Ok(Taken::Yes)
    }

    /// The page, with the cursor of the next one.
    pub(super) fn answer(mut self, next: Option<&str>) -> Result<Response, Problem> {
        self.json.extend_from_slice(b"],\"next\":");
        self.json.extend(to_json(&next)?);
        self.json.push(b'}');
        Ok(json_bytes(StatusCode::OK, self.json))
    }
}
