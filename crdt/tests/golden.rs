//! The encoding at rest must not change unnoticed: bincode 2.0.1 of every public type, byte for byte.
//!
//! A change of these bytes needs a new format byte and a migration. The order of the variants of
//! [`Value`] and [`FieldKey`] and of the fields of every struct is part of them.

use core::fmt::{Debug, Write};

use bincode::{config::standard, serde::decode_from_slice, serde::encode_to_vec};
use grapevine_crdt::{
    CausalContext, Cell, Dot, Entity, Field, FieldCell, FieldKey, MergeRule, Rank, ReplicaId,
    RequestKey, Seq, Timestamp, Value, VersionVector,
};
use serde::{Serialize, de::DeserializeOwned};

/// `value` encodes to exactly `golden` (hexadecimal, blanks ignored), which decodes to `value`.
#[track_caller]
fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, golden: &str) {
    let golden = golden.replace(' ', "");
    let bytes = encode_to_vec(value, standard()).expect("memory suffices");
    let mut hex = String::new();
    for byte in &bytes {
        write!(hex, "{byte:02x}").expect("a string takes all");
    }
    assert_eq!(hex, golden);
    let (decoded, read): (T, usize) =
        decode_from_slice(&bytes, standard()).expect("what was encoded is decoded");
    assert_eq!(&decoded, value);
    assert_eq!(read, bytes.len());
}

const A: ReplicaId = ReplicaId::from_bytes([
    0x01, 0x91, 0xa2, 0xb3, 0xc4, 0xd5, 0x7e, 0x6f, 0x80, 0x91, 0xa2, 0xb3, 0xc4, 0xd5, 0xe6, 0xf7,
]);
const B: ReplicaId = ReplicaId::from_bytes([0xbb; 16]);

const fn dot(replica: ReplicaId, seq: u64) -> Dot {
    Dot::new(replica, Seq::new(seq))
}

fn cell(rank: u64, dot: Dot, seen: &[Dot], value: Value) -> Cell {
    Cell {
        rank: Rank::new(rank),
        dot,
        seen: seen.iter().copied().collect(),
        value,
    }
}

#[test]
fn replica_id() {
    check(&A, "0191a2b3c4d57e6f8091a2b3c4d5e6f7");
}

#[test]
fn seq() {
    check(&Seq::ZERO, "00");
    check(&Seq::new(250), "fa");
    check(&Seq::new(251), "fbfb00");
    check(&Seq::new(65_536), "fc00000100");
    check(&Seq::new(u64::MAX), "fdffffffffffffffff");
}

#[test]
fn dots() {
    check(&dot(A, 3), "0191a2b3c4d57e6f8091a2b3c4d5e6f703");
}

#[test]
fn timestamp() {
    check(
        &Timestamp::from_u64((1_700_000_000_000 << 16) | 5),
        "fd05000068e5cf8b01",
    );
    check(&Timestamp::MAX, "fdffffffffffffffff");
}

#[test]
fn rank() {
    check(&Rank::new(7), "07");
    check(
        &Rank::at(Timestamp::from_unix_ms(1_700_000_000_000)),
        "fd00000068e5cf8b01",
    );
}

#[test]
fn causal_context() {
    check(&CausalContext::default(), "00");
    let context: CausalContext = [dot(B, 2), dot(A, 300)].into_iter().collect();
    check(
        &context,
        "020191a2b3c4d57e6f8091a2b3c4d5e6f7fb2c01bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb02",
    );
}

#[test]
fn version_vector() {
    check(&VersionVector::default(), "00");
    let vector: VersionVector = [(B, Seq::new(2)), (A, Seq::new(300))].into_iter().collect();
    check(
        &vector,
        "020191a2b3c4d57e6f8091a2b3c4d5e6f7fb2c01bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb02",
    );
}

#[test]
fn values() {
    check(&Value::Tombstone, "00");
    check(&Value::Bytes(b"grape".to_vec()), "01056772617065");
    check(
        &Value::Dots([dot(B, 2)].into_iter().collect()),
        "0201bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb02",
    );
    check(&Value::Counted, "03");
}

#[test]
fn cells() {
    check(
        &cell(7, dot(A, 3), &[], Value::Counted),
        "07 0191a2b3c4d57e6f8091a2b3c4d5e6f703 00 03",
    );
    let bytes = Value::Bytes(b"vine".to_vec());
    check(
        &cell(300, dot(A, 3), &[dot(B, 2)], bytes),
        "fb2c01 0191a2b3c4d57e6f8091a2b3c4d5e6f703 01bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb02 010476696e65",
    );
}

#[test]
fn field_keys() {
    check(&FieldKey::Register("ttl".into()), "000374746c");
    check(&FieldKey::Attribute("name".into()), "01046e616d65");
    check(&FieldKey::Removal(B), "02bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb");
    check(
        &FieldKey::Increments(B),
        "03bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
    );
    check(
        &FieldKey::Decrements(B),
        "04bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
    );
    check(
        &FieldKey::IncrementsBaseline(B),
        "05bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
    );
    check(
        &FieldKey::DecrementsBaseline(B),
        "06bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb",
    );
    let request = RequestKey::from_bytes([0xcc; 16]);
    check(
        &FieldKey::KeyedIncrements(request),
        "07cccccccccccccccccccccccccccccccc",
    );
    check(
        &FieldKey::KeyedDecrements(request),
        "08cccccccccccccccccccccccccccccccc",
    );
    check(&FieldKey::Tally("kiosk".into()), "09056b696f736b");
    check(
        &FieldKey::KeyedIncrementsBaseline(request),
        "0acccccccccccccccccccccccccccccccc",
    );
    check(
        &FieldKey::KeyedDecrementsBaseline(request),
        "0bcccccccccccccccccccccccccccccccc",
    );
    check(&FieldKey::TallyBaseline("kiosk".into()), "0c056b696f736b");
    check(&FieldKey::Clearing(B), "0dbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb");
}

/// Two edits that did not see each other.
fn conflict() -> [FieldCell; 2] {
    let edit = |rank, dot, text: &str| FieldCell {
        field: FieldKey::Attribute("name".into()),
        cell: cell(rank, dot, &[], Value::Bytes(text.into())),
    };
    [edit(1, dot(A, 1), "Ada"), edit(2, dot(B, 1), "Eva")]
}

#[test]
fn field_cell() {
    check(
        &conflict()[0],
        "01046e616d65 01 0191a2b3c4d57e6f8091a2b3c4d5e6f701 00 0103416461",
    );
}

#[test]
fn field() {
    let [first, second] = conflict();
    let mut field = Field::new(first.cell);
    check(
        &field,
        "01 0191a2b3c4d57e6f8091a2b3c4d5e6f701 00 0103416461 00",
    );
    field.merge(MergeRule::LatestWithMemory, second.cell);
    check(
        &field,
        "02 bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb01 00 0103457661 \
         01 01 0191a2b3c4d57e6f8091a2b3c4d5e6f701 00 0103416461",
    );
}

#[test]
fn entity() {
    let mut entity = Entity::default();
    check(&entity, "00");
    for cell in conflict() {
        entity.merge_cell(cell);
    }
    entity.merge_cell(FieldCell {
        field: FieldKey::Removal(B),
        cell: cell(
            2,
            dot(B, 2),
            &[],
            Value::Dots([dot(A, 1)].into_iter().collect()),
        ),
    });
    check(
        &entity,
        "02 01046e616d65 02 bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb01 00 0103457661 \
         01 01 0191a2b3c4d57e6f8091a2b3c4d5e6f701 00 0103416461 \
         02bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb 02 bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb02 00 02010191a2b3c4d57e6f8091a2b3c4d5e6f701 00",
    );
}
