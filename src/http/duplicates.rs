//! `GET /v1/contacts/duplicates`: contacts that may be one.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    response::Response,
};
use serde_json::json;
use utoipa::ToSchema;

use super::{
    HttpState,
    body::to_json,
    cursor::{self, ListKind},
    describe::{Page, Paged, Seen},
    items::Items,
    page::{foreign_cursor, read_limit},
    problem::Problem,
    query::Parameters,
    session::Session,
};
use crate::{
    address_book::{DuplicateGroup, DuplicatePlace, Reason, list_duplicates},
    codec,
    store::Snapshot,
};

/// The most bytes of a place that a cursor tells: the longest is an address.
const MAX_PLACE_BYTES: usize = 4_096;

/// Contacts that may be one
///
/// Those that share a number, an address or a name.
#[utoipa::path(get, path = "/v1/contacts/duplicates", tag = "contacts", operation_id = "listDuplicates",
    params(Paged, Seen),
    responses((status = 200, description = "A page of groups", body = Page<Duplicates>)))]
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
        .map(|(id, name)| json!({"id": id.key(), "name": name}))
        .collect();
    to_json(&json!({
        "reason": reason,
        "value": group.value,
        "contacts": contacts,
        "more": group.more,
    }))
}

/// A contact as a list of duplicates names it.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what `show` tells")]
struct Named {
    id: String,
    name: String,
}

/// Contacts that have something in common.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what `show` tells")]
struct Duplicates {
    #[schema(inline)]
    reason: Reason,
    /// The number, the address or the name, as it is compared.
    value: String,
    contacts: Vec<Named>,
    /// Whether others have it too.
    more: bool,
}
