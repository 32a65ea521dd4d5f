//! The grants in a store: making, listing and revoking them.

use std::ops::ControlFlow;

use grapevine_crdt::FieldCell;
use rand::{TryRng as _, rngs::SysRng};

use crate::{
    codec::CodecError,
    model::{
        Bearer, Collection, Grant, GrantDraft, GrantId, InvalidGrant, Role, SECRET_BYTES,
        closed_id, closing, is_closed,
    },
    store::{BatchWriter, Edit, Listing, Snapshot, Store, StoreError, WriteError},
};

/// The most grants of a cluster, expired ones included: as many as are made one after another.
pub const MAX_GRANTS: usize = 10_000;

/// The name of the first token.
const FIRST: &str = "first";

/// Why a grant was not made or not revoked. No state changed, unless the store says otherwise.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GrantError {
    /// There can be no such grant.
    #[error("{0}")]
    Invalid(#[from] InvalidGrant),
    /// Only the first token is made without one, and that was made before.
    #[error("the first token was made before")]
    NotFirst,
    /// There are [`MAX_GRANTS`].
    #[error("there are {MAX_GRANTS} tokens: revoke some, expired ones among them")]
    TooMany,
    /// The operating system gives no random numbers.
    #[error("there are no random numbers: {0}")]
    NoRandomness(String),
    /// It cannot be encoded.
    #[error("{0}")]
    Codec(#[from] CodecError),
    /// The store could not.
    #[error("{0}")]
    Store(#[from] StoreError),
}

impl From<WriteError<Self>> for GrantError {
    fn from(error: WriteError<Self>) -> Self {
        match error {
            WriteError::Rejected(error) => error,
            WriteError::Store(error) => error.into(),
        }
    }
}

/// The grants of the cluster that a store belongs to.
#[derive(Clone)]
pub struct Grants {
    store: Store,
}

impl Grants {
    /// The grants in `store`.
    #[must_use]
    pub const fn new(store: Store) -> Self {
        Self { store }
    }

    /// Makes one at `now_ms` (milliseconds since 1970-01-01T00:00:00Z). The token is told once, here.
    pub async fn make(
        &self,
        draft: GrantDraft,
        now_ms: u64,
    ) -> Result<(Grant, Bearer), GrantError> {
        if self.list()?.len() >= MAX_GRANTS {
            return Err(GrantError::TooMany);
        }
        self.write(draft, now_ms, false).await
    }

    /// Makes the first, for an admin without limits; fails if access was ever closed, as far as this store knows.
    pub async fn make_first(&self, now_ms: u64) -> Result<(Grant, Bearer), GrantError> {
        let draft = GrantDraft {
            name: FIRST.to_owned(),
            role: Role::Admin,
            limit: None,
            expires_ms: None,
        };
        self.write(draft, now_ms, true).await
    }

    async fn write(
        &self,
        draft: GrantDraft,
        now_ms: u64,
        must_be_first: bool,
    ) -> Result<(Grant, Bearer), GrantError> {
        let bearer = random()?;
        let grant = Grant::new(&bearer, draft, now_ms)?;
        let made = grant.clone();
        let write = move |writer: &mut BatchWriter<'_, '_>| {
            // The mark goes first: whoever hears of the one alone is closed too early, not too late.
            writer.write(&closed_id(), |edit| close(&edit, must_be_first))?;
            writer.write(&made.id().entity_id(), |edit| {
                Ok::<_, GrantError>((vec![made.put(edit.dot, edit.time)?], ()))
            })
        };
        self.store.write_batch(write).await??;
        Ok((grant, bearer))
    }

    /// All of them, in the order of their ids. Blocks while it reads.
    pub fn list(&self) -> Result<Vec<Grant>, StoreError> {
        let listing = Listing {
            collection: Collection::Tokens,
            prefix: "",
            after: None,
        };
        let mut grants = Vec::new();
        self.store.snapshot().list(&listing, &mut |id, entity| {
            let id = GrantId::parse(id.key());
            grants.extend(id.and_then(|id| Grant::read(id, &entity)));
            if grants.len() < MAX_GRANTS {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(())
            }
        })?;
        Ok(grants)
    }

    /// The grant `id`; `None` if there is none, or none any more.
    pub fn find(&self, id: GrantId) -> Result<Option<Grant>, StoreError> {
        find(&self.store.snapshot(), id)
    }

    /// Revokes a grant; says whether it was there.
    pub async fn revoke(&self, id: GrantId) -> Result<bool, GrantError> {
        let revoked = self.store.write(id.entity_id(), |edit| {
            let cells = Grant::revoke(edit.entity, edit.dot, edit.time);
            let was_there = !cells.is_empty();
            Ok::<_, GrantError>((cells, was_there))
        });
        Ok(revoked.await?)
    }
}

impl std::fmt::Debug for Grants {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grants").finish_non_exhaustive()
    }
}

/// What a snapshot says of the grant `id`.
pub(super) fn find(snapshot: &Snapshot, id: GrantId) -> Result<Option<Grant>, StoreError> {
    let entity = snapshot.entity(&id.entity_id())?;
    Ok(entity.and_then(|entity| Grant::read(id, &entity)))
}

fn close(edit: &Edit<'_>, must_be_first: bool) -> Result<(Vec<FieldCell>, ()), GrantError> {
    if !is_closed(edit.entity) {
        return Ok((vec![closing(edit.dot, edit.time)], ()));
    }
    if must_be_first {
        return Err(GrantError::NotFirst);
    }
    Ok((Vec::new(), ()))
}

/// A token that nobody has seen, from the random numbers of the operating system.
fn random() -> Result<Bearer, GrantError> {
    let (mut id, mut secret) = ([0; 8], [0; SECRET_BYTES]);
    let filled = SysRng.try_fill_bytes(&mut id);
    let filled = filled.and_then(|()| SysRng.try_fill_bytes(&mut secret));
    filled.map_err(|error| GrantError::NoRandomness(error.to_string()))?;
    Ok(Bearer::new(
        GrantId::from_u64(u64::from_be_bytes(id)),
        secret,
    ))
}
