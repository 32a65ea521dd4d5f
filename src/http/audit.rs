//! The audit log: who changed what, from where, as events under the target `audit`.
//!
//! What is told: the id of the token and its role (`open` without one), the address of the client (and of the
//! proxy, if one is trusted), the method, the pattern of the path, the key in it, the status. Never a token, never a value.

use axum::http::{HeaderMap, Method, StatusCode, header::LOCATION};

use super::{caller::Caller, request_id::RequestId};
use crate::{
    access::Admitted,
    config::AuditLog,
    model::{EntityId, Role},
};

/// What is known of a change before it is made.
#[derive(Debug)]
pub(super) struct Entry {
    request_id: RequestId,
    client: Caller,
    method: Method,
    route: &'static str,
    key: String,
    by: Option<Admitted>,
}

impl Entry {
    /// A change by `method` of what `key` names on `route`.
    pub(super) fn new(
        request_id: &RequestId,
        client: Caller,
        method: &Method,
        route: &'static str,
        key: String,
    ) -> Self {
        Self {
            request_id: request_id.clone(),
            client,
            method: method.clone(),
            route,
            key,
            by: None,
        }
    }

    /// By the right of `admitted`.
    pub(super) fn by(mut self, admitted: &Admitted) -> Self {
        self.by = Some(admitted.clone());
        self
    }

    /// Tells it, with what became of it.
    pub(super) fn tell(&self, status: StatusCode, headers: &HeaderMap) {
        let (token, role) = match &self.by {
            None => ("-".to_owned(), "none"),
            Some(Admitted::Open) => ("-".to_owned(), "open"),
            Some(Admitted::By(grant)) => (grant.id().to_string(), grant.role().name()),
        };
        let made = headers.get(LOCATION).and_then(|value| value.to_str().ok());
        tracing::info!(
            target: "audit",
            request_id = %self.request_id,
            token,
            role,
            client = %self.client,
            proxy = self.client.proxy().map(tracing::field::display),
            method = %self.method,
            route = self.route,
            key = self.key,
            made,
            status = status.as_u16(),
            "{}",
            if status.is_success() { "done" } else { "not done" },
        );
    }
}

/// Whether a request that needs `role` is told.
pub(super) fn is_told(log: AuditLog, role: Role) -> bool {
    match log {
        AuditLog::Off => false,
        AuditLog::Admin => role == Role::Admin,
        AuditLog::Writes => role >= Role::Write,
    }
}

/// Tells one write of a request that makes many; its entry tells who made them.
pub(super) fn tell_part(log: AuditLog, id: &EntityId, outcome: &str) {
    if log == AuditLog::Writes {
        tracing::info!(
            target: "audit",
            request_id = RequestId::current_text(),
            collection = id.collection().name(),
            key = id.key(),
            outcome,
            "a part",
        );
    }
}
