//! The roster: the durable list of members, in the store like any other collection.
//!
//! An entry's key is the replica id of a life, as text; its register `member` holds a [`Member`] behind a
//! format byte. A new life writes its entry, which also mints it, and strikes (tombstones) those of earlier
//! lives.
//!
//! Who is struck while it is away is *expelled*: its entry remembers that beside the tombstone, with the store that it
//! is and the store that expelled it, in a register for each time that one did. The others go on without it, so when it
//! comes back, in whatever life, it has to take part anew; once it has, it clears the registers that it knew of. One that
//! it did not know of is another: it says that somebody went on without it who had not heard of its return.
//!
//! Invariants: an entry that cannot be read names a member all the same: of a version to come, say. And what takes
//! something out counts only once it is taken in whole: of a roster that comes in parts the tombstone of a life may be
//! here before the entry of the next, and whoever collected then would wait for neither.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
};

use grapevine_crdt::{
    CausalContext, Cell, Dot, Entity, Field, FieldCell, FieldKey, Rank, ReplicaId, Value,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    codec::{self, CodecError},
    model::{Collection, EntityId, PartitionId},
    store::{Edit, Listing, Snapshot, Store, StoreError, WriteError},
};

/// The most members that are read; of more, the first in the order of their replica ids.
pub const MAX_MEMBERS: usize = 10_000;

/// The most expulsions that are remembered; of more, those of the greatest lives, which are the youngest. Who returns
/// after that takes part as anybody.
pub const MAX_EXPULSIONS: usize = 1_000;

const FIELD: &str = "member";
const FORMAT: u8 = 1;
/// Before the store that was expelled, the one that did it, and when (16 hexadecimal digits), with `/` between them:
/// nobody may undo what he has not seen, and a tombstone tells what it is about.
const EXPELLED: &str = "expelled/";

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

/// That somebody was struck while it was away, and has not come back yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Expulsion {
    /// The life that was struck.
    pub life: ReplicaId,
    /// Which store it is, through all its lives.
    pub store: Uuid,
    /// The store that expelled it.
    pub by: Uuid,
    /// Tells this time from others.
    pub mark: u64,
}

/// All that the roster says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listed {
    /// The members.
    pub members: BTreeMap<ReplicaId, Member>,
    /// Members whose entries cannot be read, or were taken out by a write that is not taken in whole yet.
    pub unreadable: BTreeSet<ReplicaId>,
    /// Who was expelled, in the order of the lives.
    pub expulsions: Vec<Expulsion>,
}

impl Listed {
    /// The names that members of more than one store use, with the lives that do.
    ///
    /// A name is for people: nothing depends on it, so nobody is turned away or struck for one that is taken.
    #[must_use]
    pub fn namesakes(&self) -> BTreeMap<String, BTreeSet<ReplicaId>> {
        let mut names: BTreeMap<&String, (BTreeSet<Uuid>, BTreeSet<ReplicaId>)> = BTreeMap::new();
        for (replica, member) in &self.members {
            let (stores, lives) = names.entry(&member.name).or_default();
            stores.insert(member.store_id);
            lives.insert(*replica);
        }
        let shared = names
            .into_iter()
            .filter(|(_, (stores, _))| stores.len() > 1);
        shared
            .map(|(name, (_, lives))| (name.clone(), lives))
            .collect()
    }

    /// The lives that belong to the cluster, those whose entries cannot be read among them.
    #[must_use]
    pub fn lives(&self) -> BTreeSet<ReplicaId> {
        let members = self.members.keys().chain(&self.unreadable);
        members.copied().collect()
    }
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
                Ok((vec![cell(&edit, field(), Value::Bytes(bytes))], ()))
            });
            match entered.await {
                Ok(()) => return Ok(replica),
                Err(WriteError::Rejected(OtherLife)) => {}
                Err(WriteError::Store(error)) => return Err(error.into()),
            }
        }
        Err(RosterError::LifeChanged)
    }

    /// Takes the entry of a life of this store that is over out, if it is there.
    pub async fn strike(&self, replica: ReplicaId) -> Result<(), RosterError> {
        self.change(replica, |edit| match bytes_of(edit.entity) {
            Some(_) => vec![cell(edit, field(), Value::Tombstone)],
            None => Vec::new(),
        })
        .await
    }

    /// Takes the entry of another out, if it is there, and remembers that.
    pub async fn expel(&self, replica: ReplicaId) -> Result<(), RosterError> {
        let by = self.store.identity().store_id;
        self.change(replica, move |edit| {
            let Some(bytes) = bytes_of(edit.entity) else {
                // It may be taken out by a write that nobody has whole any more.
                let held = edit.entity.field(&field());
                return held.map_or_else(Vec::new, |_| vec![cell(edit, field(), Value::Tombstone)]);
            };
            let mut cells = vec![cell(edit, field(), Value::Tombstone)];
            let member = codec::decode_versioned::<Member>(FORMAT, bytes);
            let store = member.map_or(Uuid::nil(), |member| member.store_id);
            if store != by && !store.is_nil() {
                let key = expelled(store, by, edit.time.as_u64());
                cells.push(cell(edit, key, Value::Bytes(Vec::new())));
            }
            cells
        })
        .await
    }

    /// Forgets that a life was expelled so: it has taken part anew, or it was too long ago.
    pub async fn clear(&self, expulsion: Expulsion) -> Result<(), RosterError> {
        let key = expelled(expulsion.store, expulsion.by, expulsion.mark);
        self.change(expulsion.life, move |edit| {
            let held = edit.entity.field(&key);
            if held.is_some_and(|held| held.shown().bytes().is_some()) {
                vec![cell(edit, key, Value::Tombstone)]
            } else {
                Vec::new()
            }
        })
        .await
    }

    async fn change(
        &self,
        replica: ReplicaId,
        cells: impl FnOnce(&Edit<'_>) -> Vec<FieldCell> + Send + 'static,
    ) -> Result<(), RosterError> {
        let changed = self.write(entry_id(replica), |edit| Ok((cells(&edit), ())));
        match changed.await {
            Ok(()) | Err(WriteError::Rejected(OtherLife)) => Ok(()),
            Err(WriteError::Store(error)) => Err(error.into()),
        }
    }

    /// All members, in the order of their replica ids. Blocks while it reads.
    pub fn members(&self) -> Result<Vec<(ReplicaId, Member)>, StoreError> {
        Ok(self.read()?.members.into_iter().collect())
    }

    /// All that the roster says. Blocks while it reads.
    pub fn read(&self) -> Result<Listed, StoreError> {
        listed(&self.store.snapshot())
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

fn listed(snapshot: &Snapshot) -> Result<Listed, StoreError> {
    let listing = Listing {
        collection: Collection::Roster,
        prefix: "",
        after: None,
    };
    let mut listed = Listed::default();
    let roster = snapshot.state().partition(PartitionId::of_roster());
    let is_whole = |dot| roster.vector.covers(dot);
    snapshot.list(&listing, &mut |id, entity| {
        let Ok(life) = Uuid::parse_str(id.key()) else {
            tracing::warn!(entry = id.key(), "an entry of the roster names nobody");
            return ControlFlow::Continue(());
        };
        let life = ReplicaId::from_bytes(*life.as_bytes());
        match bytes_of(&entity).map(|bytes| codec::decode_versioned(FORMAT, bytes)) {
            Some(Ok(member)) => {
                listed.members.insert(life, member);
            }
            Some(Err(error)) => {
                tracing::debug!(entry = id.key(), %error, "an entry of the roster cannot be read");
                listed.unreadable.insert(life);
            }
            None => {
                let held = entity.field(&field()).map(Field::shown);
                if held.is_some_and(|held| !is_whole(held.dot)) {
                    listed.unreadable.insert(life);
                }
            }
        }
        listed
            .expulsions
            .extend(expulsions_of(life, &entity, &is_whole));
        if listed.members.len() + listed.unreadable.len() < MAX_MEMBERS {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    Ok(listed)
}

/// How the entry of `life` says that it was expelled, and not cleared by a write that `is_whole`.
fn expulsions_of(
    life: ReplicaId,
    entity: &Entity,
    is_whole: impl Fn(Dot) -> bool,
) -> impl Iterator<Item = Expulsion> {
    entity.fields().filter_map(move |(key, field)| {
        let FieldKey::Register(name) = key else {
            return None;
        };
        let (store, rest) = name.strip_prefix(EXPELLED)?.split_once('/')?;
        let (by, mark) = rest.split_once('/')?;
        let shown = field.shown();
        if shown.value == Value::Tombstone && is_whole(shown.dot) {
            return None;
        }
        Some(Expulsion {
            life,
            store: Uuid::parse_str(store).ok()?,
            by: Uuid::parse_str(by).ok()?,
            mark: u64::from_str_radix(mark, 16).ok()?,
        })
    })
}

fn expelled(store: Uuid, by: Uuid, mark: u64) -> FieldKey {
    FieldKey::Register(format!("{EXPELLED}{store}/{by}/{mark:016x}"))
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

fn cell(edit: &Edit<'_>, field: FieldKey, value: Value) -> FieldCell {
    FieldCell {
        field,
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

    #[test]
    fn an_earlier_life_passes_for_another_node_of_the_same_name() {
        let member = |name: &str, store: u128| Member {
            name: name.to_owned(),
            http: String::new(),
            peer: String::new(),
            store_id: Uuid::from_u128(store),
        };
        let life = |number| ReplicaId::from_bytes([number; 16]);
        let members = [("ann", 1), ("ann", 1), ("bob", 2), ("bob", 3), ("cay", 4)];
        let members = members.into_iter().zip(1_u8..);
        let listed = Listed {
            members: members
                .map(|((name, store), number)| (life(number), member(name, store)))
                .collect(),
            ..Listed::default()
        };
        let bobs = BTreeSet::from([life(3), life(4)]);
        assert_eq!(
            listed.namesakes(),
            BTreeMap::from([("bob".to_owned(), bobs)])
        );
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
                Ok::<_, Infallible>((vec![cell(&edit, field(), Value::Bytes(bytes))], ()))
            };
            store.write(id, write).await.expect("it is written");
        }
        let listed = roster.read().expect("it can be read");
        assert_eq!(listed.members, BTreeMap::from([(replica, ann)]));
        let unreadable = ReplicaId::from_bytes([9; 16]);
        assert_eq!(listed.unreadable, BTreeSet::from([unreadable]));
        assert_eq!(listed.lives(), BTreeSet::from([replica, unreadable]));
        store.close().await;
    }

    #[tokio::test]
    async fn who_is_expelled_is_forgotten_when_it_comes_back_in_another_life() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = opened(&directory);
        let roster = Roster::new(store.clone());
        let ann = member("ann", &store);
        let ours = roster.enter(&ann).await.expect("it is entered");
        let bob = Member {
            store_id: Uuid::from_u128(7),
            ..ann.clone()
        };
        let bytes = codec::encode_versioned(FORMAT, &bob).expect("it is small");
        let away = ReplicaId::from_bytes([9; 16]);
        let write = move |edit: Edit<'_>| {
            Ok::<_, Infallible>((vec![cell(&edit, field(), Value::Bytes(bytes))], ()))
        };
        store
            .write(entry_id(away), write)
            .await
            .expect("it is written");
        roster.expel(away).await.expect("it is expelled");
        // Its next life strikes the one before, which is no member any more.
        roster.strike(away).await.expect("it is struck");
        let listed = roster.read().expect("it can be read");
        let [expulsion] = listed.expulsions[..] else {
            panic!("{:?}", listed.expulsions);
        };
        assert_eq!((expulsion.life, expulsion.store), (away, bob.store_id));
        assert_eq!(expulsion.by, ann.store_id);
        assert_eq!(listed.lives(), BTreeSet::from([ours]));
        roster.clear(expulsion).await.expect("it is cleared");
        assert_eq!(roster.read().expect("it can be read").expulsions, []);
        // It entered again, and is expelled again: who clears what was before clears not that.
        let bytes = codec::encode_versioned(FORMAT, &bob).expect("it is small");
        let write = move |edit: Edit<'_>| {
            Ok::<_, Infallible>((vec![cell(&edit, field(), Value::Bytes(bytes))], ()))
        };
        let entered = store.write(entry_id(away), write).await;
        entered.expect("it is written");
        roster.expel(away).await.expect("it is expelled");
        roster
            .clear(expulsion)
            .await
            .expect("nothing is left of it");
        let [again] = roster.read().expect("it can be read").expulsions[..] else {
            panic!("it is remembered once more");
        };
        assert!(again.mark > expulsion.mark);
        roster.clear(again).await.expect("it is cleared");
        assert_eq!(roster.read().expect("it can be read").expulsions, []);
        // A life of this store that is over is only struck.
        roster.expel(ours).await.expect("it is struck");
        assert_eq!(roster.read().expect("it can be read").expulsions, []);
        store.close().await;
    }
}
