//! `GET /v1/contacts/duplicates`: contacts that may be one.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::Response,
};
use serde_json::json;

use super::{
    HttpState,
    body::to_json,
    cursor::{self, ListKind},
    items::Items,
    page::{foreign_cursor, read_limit},
    problem::Problem,
    query::Parameters,
    session::Session,
};
use crate::{
    address_book::{DuplicateGroup, DuplicatePlace, Reason, list_duplicates},
    codec,
    model::Contact,
    store::Snapshot,
};

/// The most bytes of a place that a cursor tells: the longest is an address.
const MAX_PLACE_BYTES: usize = 4_096;

pub(super) async fn list(
    State(state): State<Arc<HttpState>>,
    request: Request,
) -> Result<Response, Problem> {
    let parameters = Parameters::read(request.uri(), &["limit", "cursor"])?;
    let limit = read_limit(&parameters)?;
    let after: Option<DuplicatePlace> = parameters
        .text("cursor")
        .map(|text| {
            cursor::read(ListKind::Duplicates, text, MAX_PLACE_BYTES)
                .and_then(|bytes| codec::decode(&bytes).ok())
                .ok_or_else(foreign_cursor)
        })
        .transpose()?;
    Session::of_read(request.headers(), &state).await?;
    let snapshot = state.store.snapshot();
    tokio::task::spawn_blocking(move || answer(&snapshot, limit, after))
        .await
        .map_err(|error| Problem::internal(&error))?
}

fn answer(
    snapshot: &Snapshot,
    limit: usize,
    after: Option<DuplicatePlace>,
) -> Result<Response, Problem> {
    let mut items = Items::new(limit);
    let next = list_duplicates(snapshot, after, &mut |reason, group| {
        items.take(|| show(reason, &group))
    })?;
    let next = next
        .map(|place| codec::encode(&place))
        .transpose()
        .map_err(|error| Problem::internal(&error))?
        .map(|bytes| cursor::write(ListKind::Duplicates, &bytes));
    items.answer(next.as_deref())
}

fn show(reason: Reason, group: &DuplicateGroup) -> Result<Vec<u8>, Problem> {
    let contacts: Vec<_> = group
        .contacts
        .iter()
        .filter_map(|(id, entity)| Contact::read(id.key(), entity))
        .map(|contact| json!({"id": contact.id, "name": contact.name}))
        .collect();
    to_json(&json!({
        "reason": reason,
        "value": group.value,
        "contacts": contacts,
        "more": group.more,
    }))
}
