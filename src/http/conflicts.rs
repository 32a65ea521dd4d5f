//! `/v1/conflicts` and `/v1/contacts/{id}/conflicts`: what lost a merge without having been seen by what is shown,
//! and settling it.

use std::{collections::BTreeMap, ops::ControlFlow, sync::Arc};

use axum::{
    extract::{Path, Request, State, rejection::PathRejection},
    http::StatusCode,
    response::Response,
};
use grapevine_crdt::{Entity, ReplicaId};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};

use super::{
    HttpState,
    body::{json_bytes, read_json, to_json},
    conditions::Conditions,
    contacts::{self, absent},
    counters::only_fields,
    cursor::{self, ListKind},
    describe::{Conditional, ContactPath, Nothing, Page as ListPage, Paged, Seen},
    page::{MAX_SCANNED_PER_PAGE, PAGE_BYTES, foreign_cursor, read_limit},
    problem::{Problem, path_texts},
    query::Parameters,
    session::{Session, tracked},
};
use crate::{
    cluster::ClusterView,
    codec,
    model::{
        Conflict, Contact, Settlement, Version,
        contact_conflict::{self, Place},
        contact_edit, rfc3339,
    },
    store::Snapshot,
};

type IdPath = Result<Path<String>, PathRejection>;
type ConflictPath = Result<Path<(String, String)>, PathRejection>;

/// The most bytes of a place that a cursor tells: the id of a contact and the name of an attribute, which is the
/// longest for groups.
const MAX_PLACE_BYTES: usize = 4_096;

/// The conflicts of all contacts
///
/// In the order of the contacts.
#[utoipa::path(get, path = "/v1/conflicts", tag = "conflicts", operation_id = "listAllConflicts", params(Paged, Seen),
    responses((status = 200, description = "A page", body = ListPage<ConflictShown>)))]
pub(super) async fn list_all(
    State(state): State<Arc<HttpState>>,
    request: Request,
) -> Result<Response, Problem> {
    let parameters = Parameters::read(request.uri(), &["limit", "cursor"])?;
    let mut page = Page::read(&parameters, ListKind::Conflicts)?;
    page.names = Names::read(&*state.cluster).await;
    Session::of_read(request.headers(), &state).await?;
    let snapshot = state.store.snapshot();
    let read = move || {
        page.read_all(&snapshot)?;
        page.answer()
    };
    tokio::task::spawn_blocking(read)
        .await
        .map_err(|error| Problem::internal(&error))?
}

/// The conflicts of a contact
///
/// What lost a merge without having been seen by what is shown.
#[utoipa::path(get, path = "/v1/contacts/{id}/conflicts", tag = "conflicts", operation_id = "listConflicts",
    params(ContactPath, Paged, Seen),
    responses((status = 200, description = "A page", body = ListPage<ConflictShown>), (status = 404, description = "")))]
pub(super) async fn list(
    State(state): State<Arc<HttpState>>,
    path: IdPath,
    request: Request,
) -> Result<Response, Problem> {
    let id = contacts::read_id(path)?;
    let parameters = Parameters::read(request.uri(), &["limit", "cursor"])?;
    let mut page = Page::read(&parameters, ListKind::ContactConflicts)?;
    Session::of_read(request.headers(), &state).await?;
    let entity = state.store.snapshot().entity(&id)?.unwrap_or_default();
    if !entity.is_visible() {
        return Err(absent());
    }
    page.names = Names::read(&*state.cluster).await;
    page.take_contact(id.key(), &entity)?;
    page.answer()
}

/// Shows what lost, in place of what is shown
#[utoipa::path(post, path = "/v1/contacts/{id}/conflicts/{conflict}/choose", tag = "conflicts", operation_id = "chooseConflict",
    params(ContactPath, ConflictPathParameter, Conditional, Seen),
    request_body(content = Option<Nothing>),
    responses((status = 200, description = "The contact as it is now", body = Contact), (status = 404, description = "It has no such conflict, or it was settled")))]
pub(super) async fn choose(
    state: State<Arc<HttpState>>,
    path: ConflictPath,
    request: Request,
) -> Result<Response, Problem> {
    settle(state, path, request, Settlement::Choose).await
}

/// Lets a conflict be forgotten
#[utoipa::path(post, path = "/v1/contacts/{id}/conflicts/{conflict}/dismiss", tag = "conflicts", operation_id = "dismissConflict",
    params(ContactPath, ConflictPathParameter, Conditional, Seen),
    request_body(content = Option<Nothing>),
    responses((status = 200, description = "The contact as it is now", body = Contact), (status = 404, description = "It has no such conflict, or it was settled")))]
pub(super) async fn dismiss(
    state: State<Arc<HttpState>>,
    path: ConflictPath,
    request: Request,
) -> Result<Response, Problem> {
    settle(state, path, request, Settlement::Dismiss).await
}

async fn settle(
    State(state): State<Arc<HttpState>>,
    path: ConflictPath,
    request: Request,
    settlement: Settlement,
) -> Result<Response, Problem> {
    let (id, conflict) = path_texts(path)?;
    let id = contacts::contact_id(&id)?;
    let (parts, body) = request.into_parts();
    Parameters::read(&parts.uri, &[])?;
    let conditions = Conditions::read(&parts.headers)?;
    let body = read_json(&parts.headers, body, state.limits.max_body_bytes).await?;
    if let Some(body) = body {
        only_fields(&body, &[])?;
    }
    let key = id.key().to_owned();
    let session = Session::of_write(&parts.headers, &state, &id).await?;
    let edit = tracked(id.clone(), move |edit| {
        contacts::check(&conditions, &key, edit.entity)?;
        if !edit.entity.is_visible() {
            return Err(absent());
        }
        let (entity, dot, time) = (edit.entity, edit.dot, edit.time);
        let cells = contact_conflict::settle(entity, &conflict, settlement, dot, time).ok_or_else(
            || Problem::not_found("the contact has no such conflict, or it was settled"),
        )?;
        let contact: Contact = contact_edit::after(&key, edit.entity, &cells)
            .ok_or_else(|| Problem::internal(&"settling a conflict hid its contact"))?;
        Ok((cells, contact))
    });
    let (contact, written) = state.store.write(id, edit).await?;
    let response = contacts::answer(StatusCode::OK, &contact)?;
    Ok(session.answer(written).put(response))
}

/// Where a page ended: within a contact after a conflict, or after all of a contact.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct ListPlace {
    contact: String,
    within: Option<Place>,
}

/// A page of conflicts as it is made.
struct Page {
    kind: ListKind,
    limit: usize,
    after: Option<ListPlace>,
    names: Names,
    json: Vec<u8>,
    items: usize,
    last: Option<ListPlace>,
    more: bool,
}

impl Page {
    fn read(parameters: &Parameters, kind: ListKind) -> Result<Self, Problem> {
        let after = parameters
            .text("cursor")
            .map(|text| {
                cursor::read(kind, text, MAX_PLACE_BYTES)
                    .and_then(|bytes| codec::decode(&bytes).ok())
                    .ok_or_else(foreign_cursor)
            })
            .transpose()?;
        Ok(Self {
            kind,
            limit: read_limit(parameters)?,
            after,
            names: Names::default(),
            json: b"{\"items\":[".to_vec(),
            items: 0,
            last: None,
            more: false,
        })
    }

    /// Takes in what follows the cursor, of whatever contact.
    fn read_all(&mut self, snapshot: &Snapshot) -> Result<(), Problem> {
        if let Some(ListPlace {
            contact,
            within: Some(_),
        }) = self.after.clone()
        {
            // The page before ended within this contact.
            let id = contacts::entity_id(contact)?;
            let entity = snapshot.entity(&id)?.unwrap_or_default();
            self.take_contact(id.key(), &entity)?;
            if self.more {
                return Ok(());
            }
        }
        let after = self.after.take().map(|after| after.contact);
        let mut scanned: usize = 0;
        let mut failure = None;
        snapshot.list_conflicting(after.as_deref(), &mut |id, entity| {
            if scanned == MAX_SCANNED_PER_PAGE {
                self.more = true;
                return ControlFlow::Break(());
            }
            scanned += 1;
            if let Err(problem) = self.take_contact(id.key(), &entity) {
                failure = Some(problem);
            }
            if self.more || failure.is_some() {
                return ControlFlow::Break(());
            }
            self.last = Some(ListPlace {
                contact: id.key().to_owned(),
                within: None,
            });
            ControlFlow::Continue(())
        })?;
        failure.map_or(Ok(()), Err)
    }

    /// Takes in those conflicts of a contact that belong to this page; `more` says whether others are left.
    fn take_contact(&mut self, contact: &str, entity: &Entity) -> Result<(), Problem> {
        for conflict in contact_conflict::conflicts(entity) {
            let before = self.after.as_ref().is_some_and(|after| {
                after.contact == contact
                    && after
                        .within
                        .as_ref()
                        .is_some_and(|place| conflict.place <= *place)
            });
            if before {
                continue;
            }
            if self.items == self.limit || self.json.len() >= PAGE_BYTES {
                self.more = true;
                return Ok(());
            }
            if self.items > 0 {
                self.json.push(b',');
            }
            let item = self.names.show(contact, &conflict);
            self.json.extend(to_json(&item)?);
            self.items += 1;
            self.last = Some(ListPlace {
                contact: contact.to_owned(),
                within: Some(conflict.place),
            });
        }
        Ok(())
    }

    fn answer(mut self) -> Result<Response, Problem> {
        let next = self
            .last
            .filter(|_| self.more)
            .map(|place| codec::encode(&place).map(|bytes| cursor::write(self.kind, &bytes)))
            .transpose()
            .map_err(|error| Problem::internal(&error))?;
        self.json.extend_from_slice(b"],\"next\":");
        self.json.extend(to_json(&next)?);
        self.json.push(b'}');
        Ok(json_bytes(StatusCode::OK, self.json))
    }
}

/// The names of the nodes whose replicas are known.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<ReplicaId, String>);

impl Names {
    pub(super) async fn read(cluster: &dyn ClusterView) -> Self {
        let members = cluster.members().await;
        let mut names: BTreeMap<ReplicaId, String> = members
            .into_iter()
            .map(|member| (member.replica, member.name))
            .collect();
        let here = cluster.node();
        if let Some(replica) = here.replica {
            names.insert(replica, here.name);
        }
        Self(names)
    }

    /// The name of the node that `replica` belongs to, if it is known.
    pub(super) fn of(&self, replica: ReplicaId) -> Option<&str> {
        self.0.get(&replica).map(String::as_str)
    }

    fn show(&self, contact: &str, conflict: &Conflict) -> Value {
        let mut item = self.version(&conflict.lost);
        item["id"] = json!(conflict.id);
        item["contact"] = json!(contact);
        item["field"] = json!(conflict.field);
        item["element"] = json!(conflict.element);
        item["shown"] = self.version(&conflict.shown);
        item
    }

    fn version(&self, version: &Version) -> Value {
        json!({
            "value": version.value,
            "deleted": version.deleted,
            "replica": version.replica.to_string(),
            "node": self.0.get(&version.replica),
            "at": rfc3339(version.at),
        })
    }
}

/// The conflict of a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "it describes a part of a path")]
struct ConflictPathParameter {
    /// Its `id` in the list of conflicts.
    #[param(
        example = "0a1b2c3d4e5f",
        min_length = 1,
        max_length = 64,
        pattern = "^[0-9a-f]+$"
    )]
    conflict: String,
}

/// One write to a field.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what `Names::version` tells")]
struct VersionShown {
    /// What it says, in the shape that the contact shows; null for a deletion.
    value: Value,
    /// Whether it deleted the field.
    deleted: bool,
    /// The replica that wrote it.
    replica: String,
    /// The node that it belongs to, if that is known.
    node: Option<String>,
    /// When (RFC 3339).
    at: String,
}

/// A value that lost a merge unseen, and what is shown in its place.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what `Names::show` tells")]
struct ConflictShown {
    /// Names it among the conflicts of its contact, on every node.
    id: String,
    contact: String,
    /// The field of the contact, such as `note` or `phones`.
    field: String,
    /// Which element of the field, if it has elements.
    element: Option<String>,
    value: Value,
    deleted: bool,
    replica: String,
    node: Option<String>,
    at: String,
    shown: VersionShown,
}
