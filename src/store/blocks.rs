//! Long vectors at rest: what settled, and what was collected.
//!
//! All partitions name the same lives. So each life has a small number, in one table for the whole file, and a
//! vector is a list of numbers and counts: in the order of the replicas, each number as the step from the one before.
//! Numbers are given in the order in which lives are first met, which is mostly the order of their ids, so most
//! steps are 1.
//!
//! Invariants: a number names one life for ever, and numbers have no gaps; a number is written in the transaction of
//! the first vector that uses it.

use std::collections::BTreeMap;

use grapevine_crdt::{Rank, ReplicaId, Seq, VersionVector};
use redb::ReadableTable;
use serde::{Deserialize, Serialize};

use super::StoreError;
use crate::{codec, model::Floor};

/// The name of the table of numbers.
pub(super) const REPLICAS_NAME: &str = "replicas_v1";

const FORMAT: u8 = 1;

/// Steps from number to number, and the counts.
#[derive(Debug, Serialize, Deserialize)]
struct StoredVector(Vec<(i64, u64)>);

#[derive(Debug, Serialize, Deserialize)]
struct StoredFloor {
    vector: StoredVector,
    rank: Rank,
}

/// The lives by their numbers.
#[derive(Debug, Default)]
pub(super) struct Replicas {
    ids: Vec<ReplicaId>,
    /// How many of them have rows.
    stored: usize,
    numbers: BTreeMap<ReplicaId, i64>,
}

impl Replicas {
    /// Reads all numbers.
    pub(super) fn read(
        table: &impl ReadableTable<&'static [u8], &'static [u8]>,
    ) -> Result<Self, StoreError> {
        let mut replicas = Self::default();
        for row in table.iter().map_err(StoreError::storage)? {
            let (key, value) = row.map_err(StoreError::storage)?;
            let number = u32::try_from(replicas.ids.len()).ok().map(u32::to_be_bytes);
            let id = match value.value().split_first() {
                Some((&FORMAT, id)) => id.try_into().ok(),
                Some(_) | None => None,
            };
            let (Some(number), Some(id)) = (number, id) else {
                return Err(StoreError::Key(REPLICAS_NAME));
            };
            if key.value() != number {
                return Err(StoreError::Key(REPLICAS_NAME));
            }
            replicas.add(ReplicaId::from_bytes(id));
        }
        replicas.stored = replicas.ids.len();
        Ok(replicas)
    }

    /// Writes the numbers that were given since they were read.
    pub(super) fn write(
        &self,
        table: &mut redb::Table<'_, &'static [u8], &'static [u8]>,
    ) -> Result<(), StoreError> {
        for (number, id) in self.ids.iter().enumerate().skip(self.stored) {
            let number = u32::try_from(number).map_err(|_| StoreError::Exhausted)?;
            let mut value = vec![FORMAT];
            value.extend_from_slice(id.as_bytes());
            table
                .insert(number.to_be_bytes().as_slice(), value.as_slice())
                .map_err(StoreError::storage)?;
        }
        Ok(())
    }

    pub(super) fn encode_vector(&mut self, vector: &VersionVector) -> Result<Vec<u8>, StoreError> {
        let stored = self.number(vector);
        Ok(codec::encode_versioned(FORMAT, &stored)?)
    }

    pub(super) fn decode_vector(
        &self,
        table: &'static str,
        bytes: &[u8],
    ) -> Result<VersionVector, StoreError> {
        let row = |source| StoreError::Row { table, source };
        let stored: StoredVector = codec::decode_versioned(FORMAT, bytes).map_err(row)?;
        self.name(table, stored)
    }

    pub(super) fn encode_floor(&mut self, floor: &Floor) -> Result<Vec<u8>, StoreError> {
        let stored = StoredFloor {
            vector: self.number(&floor.vector),
            rank: floor.rank,
        };
        Ok(codec::encode_versioned(FORMAT, &stored)?)
    }

    pub(super) fn decode_floor(
        &self,
        table: &'static str,
        bytes: &[u8],
    ) -> Result<Floor, StoreError> {
        let row = |source| StoreError::Row { table, source };
        let stored: StoredFloor = codec::decode_versioned(FORMAT, bytes).map_err(row)?;
        Ok(Floor {
            vector: self.name(table, stored.vector)?,
            rank: stored.rank,
        })
    }

    fn add(&mut self, id: ReplicaId) -> i64 {
        let number = i64::try_from(self.ids.len()).expect("memory ends before");
        self.ids.push(id);
        self.numbers.insert(id, number);
        number
    }

    fn number(&mut self, vector: &VersionVector) -> StoredVector {
        let mut before = -1;
        let entries = vector.iter().map(|(replica, seq)| {
            let known = self.numbers.get(&replica).copied();
            let number = known.unwrap_or_else(|| self.add(replica));
            let step = number - before;
            before = number;
            (step, seq.get())
        });
        StoredVector(entries.collect())
    }

    fn name(&self, table: &'static str, stored: StoredVector) -> Result<VersionVector, StoreError> {
        let mut number = -1_i64;
        let mut entries = Vec::with_capacity(stored.0.len());
        for (step, seq) in stored.0 {
            let next = number.checked_add(step);
            let place = next.and_then(|next| usize::try_from(next).ok());
            let id = place.and_then(|place| self.ids.get(place));
            let (Some(next), Some(id)) = (next, id) else {
                return Err(StoreError::Key(REPLICAS_NAME));
            };
            number = next;
            entries.push((*id, Seq::new(seq)));
        }
        VersionVector::from_settled(entries).map_err(|error| StoreError::Row {
            table,
            source: codec::CodecError::Decode(error.to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(number: u8) -> ReplicaId {
        ReplicaId::from_bytes([number; 16])
    }

    fn vector(entries: &[(u8, u64)]) -> VersionVector {
        let entries = entries.iter().map(|(of, seq)| (life(*of), Seq::new(*seq)));
        entries.collect()
    }

    #[test]
    fn a_vector_comes_back_as_another() {
        let mut replicas = Replicas::default();
        // The second names a life between those that have numbers, and has larger counts.
        for entries in [&[(1, 5), (9, 6)][..], &[(1, 6), (4, 300), (9, 70_000)], &[]] {
            let vector = vector(entries);
            let bytes = replicas.encode_vector(&vector).expect("it is small");
            let back = replicas.decode_vector("settled_v1", &bytes);
            assert_eq!(back.expect("as it was written"), vector);
        }
        let floor = Floor {
            vector: vector(&[(4, 1), (9, 2)]),
            rank: Rank::new(7),
        };
        let bytes = replicas.encode_floor(&floor).expect("it is small");
        let back = replicas.decode_floor("floors_v1", &bytes);
        assert_eq!(back.expect("as it was written"), floor);
    }

    #[test]
    fn the_bytes_of_a_vector_change() {
        let mut replicas = Replicas::default();
        replicas.add(life(1));
        replicas.add(life(9));
        let bytes = replicas.encode_vector(&vector(&[(1, 5), (4, 300), (9, 6)]));
        // Numbers 0, 2 and 1: steps of 1, 2 and -1.
        let expected = [1, 3, 2, 5, 4, 0xFB, 0x2C, 1, 1, 6];
        assert_eq!(bytes.expect("it is small"), expected);
    }

    #[test]
    fn a_vector_of_lives_without_numbers_is_taken() {
        let mut replicas = Replicas::default();
        let bytes = replicas.encode_vector(&vector(&[(1, 5), (9, 6)]));
        let bytes = bytes.expect("it is small");
        let read = |replicas: &Replicas, bytes: &[u8]| replicas.decode_vector("settled_v1", bytes);
        assert!(read(&Replicas::default(), &bytes).is_err());
        for wrong in [
            // A step back to the same life, to before the first, and no write at all.
            [1, 2, 2, 5, 0, 6],
            [1, 2, 1, 5, 2, 6],
            [1, 2, 2, 0, 2, 6],
        ] {
            assert!(read(&replicas, &wrong).is_err(), "{wrong:?}");
        }
    }
}
