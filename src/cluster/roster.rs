//! The roster: the durable list of members, in the store like any other collection.
//!
//! An entry's key is the replica id of a life, as text; its register `member` holds a [`Member`] behind a
//! format byte. A new life writes its entry, which also mints it, and strikes (tombstones) those of earlier
//! lives.

use std::ops::ControlFlow;

use grapevine_crdt::{CausalContext, Cell, Entity, FieldCell, FieldKey, Rank, ReplicaId, Value};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    codec::{self, CodecError},
    model::{Collection, EntityId},
    store::{Edit, Listing, Snapshot, Store, StoreError, WriteError},
};

/// The most members that are read; of more, the first in the order of their replica ids.
pub const MAX_MEMBERS: usize = 10_000;

const FIELD: &str = "member";
const FORMAT: u8 = 1;

/// How often a life may end between its entry's name and the entry.
const MAX_ATTEMPTS: usize = 8;

/// What the roster says of a member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Where it serves HTTP (`host:port`).
    pub http: String,
    /// Where it listens for peers (`host:port`).
    pub peer: String,
    /// Which store it is, through all its lives.
    pub store_id: Uuid,
}

/// Why the roster could not be read or written. No state changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RosterError {
    /// The store could not.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The entry cannot be encoded.
    #[error("{0}")]
    Codec(#[from] CodecError),
    /// Lives of this node end faster than they can be entered.
    #[error("the life of this node changed again and again")]
    LifeChanged,
}

/// The roster of the cluster that a store belongs to.
#[derive(Clone)]
pub struct Roster {
    store: Store,
}

/// Another life than the one that the entry was for.
#[derive(Debug)]
struct OtherLife;

impl Roster {
    /// The roster in `store`.
    #[must_use]
    pub const fn new(store: Store) -> Self {
        Self { store }
    }

    /// Enters the present life, which it begins if need be; says which.
    pub async fn enter(&self, member: &Member) -> Result<ReplicaId, RosterError> {
        let bytes = codec::encode_versioned(FORMAT, member)?;
        for _ in 0..MAX_ATTEMPTS {
            // The entry's key is the life, which a write that writes nothing tells.
            let replica = self.write(entry_id(ReplicaId::from_bytes([0; 16])), |edit| {
                Ok((Vec::new(), edit.dot.replica))
            });
            let replica = match replica.await {
                Ok(replica) => replica,
                Err(WriteError::Rejected(OtherLife)) => continue,
                Err(WriteError::Store(error)) => return Err(error.into()),
            };
            let bytes = bytes.clone();
            let entered = self.write(entry_id(replica), move |edit| {
                if edit.dot.replica != replica {
                    return Err(OtherLife);
                }
                if bytes_of(edit.entity) == Some(&bytes) {
                    return Ok((Vec::new(), ()));
                }
                Ok((vec![cell(&edit, Value::Bytes(bytes))], ()))
            });
            match entered.await {
                Ok(()) => return Ok(replica),
                Err(WriteError::Rejected(OtherLife)) => {}
                Err(WriteError::Store(error)) => return Err(error.into()),
            }
        }
        Err(RosterError::LifeChanged)
    }

    /// Takes an entry out, if it is there.
    pub async fn strike(&self, replica: ReplicaId) -> Result<(), RosterError> {
        let struck = self.write(entry_id(replica), |edit| {
            let cells = match bytes_of(edit.entity) {
                Some(_) => vec![cell(&edit, Value::Tombstone)],
                None => Vec::new(),
            };
            Ok((cells, ()))
        });
        match struck.await {
            Ok(()) | Err(WriteError::Rejected(OtherLife)) => Ok(()),
            Err(WriteError::Store(error)) => Err(error.into()),
        }
    }

    /// All members, in the order of their replica ids. Blocks while it reads.
    pub fn members(&self) -> Result<Vec<(ReplicaId, Member)>, StoreError> {
        members_of(&self.store.snapshot())
    }

    async fn write<T: Send + 'static>(
        &self,
        id: EntityId,
        edit: impl FnOnce(Edit<'_>) -> Result<(Vec<FieldCell>, T), OtherLife> + Send + 'static,
    ) -> Result<T, WriteError<OtherLife>> {
        self.store.write(id, edit).await
    }
}

impl std::fmt::Debug for Roster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Roster").finish_non_exhaustive()
    }
}

fn members_of(snapshot: &Snapshot) -> Result<Vec<(ReplicaId, Member)>, StoreError> {
    let listing = Listing {
        collection: Collection::Roster,
        prefix: "",
        after: None,
    };
    let mut members = Vec::new();
    snapshot.list(&listing, &mut |id, entity| {
        if let Some(member) = member(&id, &entity) {
            members.push(member);
        }
        if members.len() < MAX_MEMBERS {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    Ok(members)
}

/// What an entry says; nothing if it is struck, or of a version that we cannot read.
fn member(id: &EntityId, entity: &Entity) -> Option<(ReplicaId, Member)> {
    let bytes = bytes_of(entity)?;
    let replica = Uuid::parse_str(id.key()).ok()?;
    match codec::decode_versioned(FORMAT, bytes) {
        Ok(member) => Some((ReplicaId::from_bytes(*replica.as_bytes()), member)),
        Err(error) => {
            tracing::debug!(entry = id.key(), %error, "an entry of the roster cannot be read");
            None
        }
    }
}

fn field() -> FieldKey {
    FieldKey::Register(FIELD.to_owned())
}

fn bytes_of(entity: &Entity) -> Option<&Vec<u8>> {
    match &entity.field(&field())?.shown().value {
        Value::Bytes(bytes) => Some(bytes),
        Value::Tombstone | Value::Dots(_) | Value::Counted => None,
    }
}

fn cell(edit: &Edit<'_>, value: Value) -> FieldCell {
    FieldCell {
        field: field(),
        cell: Cell {
            rank: Rank::at(edit.time),
            dot: edit.dot,
            seen: CausalContext::default(),
            value,
        },
    }
}

fn entry_id(replica: ReplicaId) -> EntityId {
    EntityId::new(Collection::Roster, replica.to_string()).expect("a UUID is a good key")
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, sync::Arc};

    use tempfile::TempDir;

    use super::*;
    use crate::{clock::SystemClock, store::StoreOptions};

    fn opened(directory: &TempDir) -> Store {
        let options = StoreOptions::new(directory.path());
        Store::open(options, Arc::new(SystemClock)).expect("it is free")
    }

    fn member(name: &str, store: &Store) -> Member {
        Member {
            name: name.to_owned(),
            http: "127.0.0.1:1".to_owned(),
            peer: "127.0.0.1:2".to_owned(),
            store_id: store.identity().store_id,
        }
    }

    #[tokio::test]
    async fn entering_begins_a_life_and_entering_again_changes_nothing() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = opened(&directory);
        let roster = Roster::new(store.clone());
        let ann = member("ann", &store);
        assert_eq!(store.replica(), None);
        let replica = roster.enter(&ann).await.expect("it is entered");
        assert_eq!(store.replica(), Some(replica));
        let root = store.snapshot().state().root();
        assert_eq!(roster.enter(&ann).await.expect("it is there"), replica);
        assert_eq!(store.snapshot().state().root(), root);
        let members = roster.members().expect("it can be read");
        assert_eq!(members, [(replica, ann)]);
        store.close().await;
    }

    #[tokio::test]
    async fn who_is_struck_is_gone_until_it_enters_again() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = opened(&directory);
        let roster = Roster::new(store.clone());
        let ann = member("ann", &store);
        let replica = roster.enter(&ann).await.expect("it is entered");
        roster.strike(replica).await.expect("it is struck");
        roster.strike(replica).await.expect("that changes nothing");
        assert!(roster.members().expect("it can be read").is_empty());
        roster.enter(&ann).await.expect("it is entered again");
        assert_eq!(roster.members().expect("it can be read").len(), 1);
        store.close().await;
    }

    #[tokio::test]
    async fn each_start_is_a_life_of_its_own() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = opened(&directory);
        let ann = member("ann", &store);
        let first = Roster::new(store.clone()).enter(&ann).await;
        store.close().await;
        let store = opened(&directory);
        let roster = Roster::new(store.clone());
        let second = roster.enter(&ann).await.expect("it is entered");
        let members = roster.members().expect("it can be read");
        let lives: Vec<_> = members.iter().map(|(replica, _)| *replica).collect();
        assert_eq!(lives, [first.expect("it was entered"), second]);
        store.close().await;
    }

    #[tokio::test]
    async fn an_entry_that_cannot_be_read_hides_nobody_else() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = opened(&directory);
        let roster = Roster::new(store.clone());
        let ann = member("ann", &store);
        let replica = roster.enter(&ann).await.expect("it is entered");
        let later = entry_id(ReplicaId::from_bytes([9; 16]));
        let no_uuid = EntityId::new(Collection::Roster, "no-uuid").expect("a good key");
        for (id, bytes) in [(later, vec![FORMAT + 1]), (no_uuid, vec![FORMAT, 0, 0, 0])] {
            let write = move |edit: Edit<'_>| {
                Ok::<_, Infallible>((vec![cell(&edit, Value::Bytes(bytes))], ()))
            };
            store.write(id, write).await.expect("it is written");
        }
        let members = roster.members().expect("it can be read");
        assert_eq!(members, [(replica, ann)]);
        store.close().await;
    }
}
