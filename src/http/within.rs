//! By what right a request is answered, for the handlers that must know: those whose answers are made of many
//! entities look at the limit of the token, those whose answers go on for long look again whether it is still worth
//! something.

use axum::http::Extensions;

use super::problem::{Problem, ProblemKind};
use crate::{
    access::Admitted,
    model::{Collection, EntityId, Limit},
};

/// By what right a request was let in; an extension of the request, where a handler needs to know.
#[derive(Clone, Debug)]
pub(super) struct Holder(Admitted);

impl Holder {
    pub(super) const fn new(admitted: Admitted) -> Self {
        Self(admitted)
    }

    /// That of a request, if it is told.
    pub(super) fn of(extensions: &Extensions) -> Option<Self> {
        extensions.get::<Self>().cloned()
    }

    pub(super) const fn admitted(&self) -> &Admitted {
        &self.0
    }
}

/// What a token is limited to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Within(Limit);

impl Within {
    /// The limit of the token of a request; `None` if it has none, or there is no token.
    pub(super) fn of(extensions: &Extensions) -> Option<Self> {
        match extensions.get::<Holder>()?.admitted() {
            Admitted::Open => None,
            Admitted::By(grant) => grant.limit().cloned().map(Self),
        }
    }

    /// Whether the entity lies within it.
    pub(super) fn takes(&self, id: &EntityId) -> bool {
        self.0.takes(id)
    }

    /// What keys within it begin with.
    pub(super) fn prefix(&self) -> &str {
        self.0.prefix()
    }

    /// Refuses what lies outside.
    pub(super) fn check(&self, id: &EntityId) -> Result<(), Problem> {
        if self.takes(id) {
            return Ok(());
        }
        Err(outside(&self.0))
    }

    /// Refuses another collection.
    pub(super) fn check_collection(&self, collection: Collection) -> Result<(), Problem> {
        if self.0.collection() == collection {
            return Ok(());
        }
        Err(outside(&self.0))
    }

    /// The prefix of a list of `collection` in which only what lies within is shown, where `asked` was asked for;
    /// `None` if nothing is.
    pub(super) fn narrow(
        &self,
        collection: Collection,
        asked: &str,
    ) -> Result<Option<String>, Problem> {
        self.check_collection(collection)?;
        let own = self.0.prefix();
        Ok(if asked.starts_with(own) {
            Some(asked.to_owned())
        } else if own.starts_with(asked) {
            Some(own.to_owned())
        } else {
            None
        })
    }
}

/// That a token is not for what lies outside of its limit.
pub(super) fn outside(limit: &Limit) -> Problem {
    let (collection, prefix) = (limit.collection(), limit.prefix());
    let detail = if prefix.is_empty() {
        format!("this token is for {collection} alone")
    } else {
        format!("this token is for {collection} whose keys begin with {prefix:?}")
    };
    Problem::new(ProblemKind::Forbidden, detail)
}
