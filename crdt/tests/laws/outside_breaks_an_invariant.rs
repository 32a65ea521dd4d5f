//! Bytes and cells from peers and disks must be refused where they would break an invariant.

use std::collections::BTreeMap;

use bincode::{config::standard, serde::decode_from_slice, serde::encode_to_vec};
use grapevine_crdt::{
    CausalContext, Cell, Entity, Field, FieldCell, FieldKey, MAX_WRITER_BYTES, Malformed, Rank,
    ReplicaId, RequestKey, Seq, Value, VersionVector,
};
use proptest::prelude::*;

use crate::{
    cases,
    world::{dot, three_states},
};

fn encoded(value: impl serde::Serialize) -> Vec<u8> {
    encode_to_vec(value, standard()).expect("memory suffices")
}

fn decoded<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    decode_from_slice(bytes, standard())
        .ok()
        .map(|(value, _)| value)
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn what_was_encoded_is_decoded_to_the_same([entity, _, _] in three_states()) {
        prop_assert_eq!(decoded::<Entity>(&encoded(&entity)), Some(entity));
    }

    /// Whatever is decoded from damaged bytes can be used without a panic.
    #[test]
    fn damaged_bytes_cannot_panic_us(
        [entity, other, _] in three_states(),
        place in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = encoded(&entity);
        let place = place.index(bytes.len());
        bytes[place] = byte;
        if let Some(mut entity) = decoded::<Entity>(&bytes) {
            entity.merge(other);
            let _ = (entity.is_visible(), entity.is_revived(), entity.removal());
            let _ = grapevine_crdt::PnCounter::new(&entity).value();
        }
    }
}

#[test]
fn a_vector_or_context_with_a_zero_entry_is_refused() {
    let zero = BTreeMap::from([(ReplicaId::from_bytes([1; 16]), Seq::ZERO)]);
    assert_eq!(decoded::<VersionVector>(&encoded(&zero)), None);
    assert_eq!(decoded::<CausalContext>(&encoded(&zero)), None);
}

fn cell(id: u8, seq: u64, rank: u64, value: Value) -> Cell {
    Cell {
        rank: Rank::new(rank),
        dot: dot(id, seq),
        seen: CausalContext::default(),
        value,
    }
}

#[test]
fn a_field_out_of_order_is_refused() {
    let (low, high) = (
        cell(1, 1, 1, Value::Tombstone),
        cell(1, 2, 2, Value::Tombstone),
    );
    let field = |shown: &Cell, conflicts: &[&Cell]| decoded::<Field>(&encoded((shown, conflicts)));
    assert!(field(&high, &[&low]).is_some());
    assert!(field(&low, &[&high]).is_none());
    assert!(field(&high, &[&high]).is_none(), "a cell is held once");
}

#[test]
fn cells_that_no_honest_writer_makes_are_refused() {
    let owner = dot(1, 1).replica;
    let check = |field: &FieldKey, cell: Cell| {
        let field = field.clone();
        FieldCell { field, cell }.check()
    };
    let dots = |seq| Value::Dots([dot(1, seq)].into_iter().collect());
    let (register, attribute) = (
        FieldKey::Register("a".into()),
        FieldKey::Attribute("a".into()),
    );
    let removal = FieldKey::Removal(owner);
    let slot = FieldKey::Increments(owner);
    let having_seen = |seq| Cell {
        seen: [dot(1, seq)].into_iter().collect(),
        ..cell(1, 5, 9, Value::Tombstone)
    };

    assert_eq!(
        check(&register, cell(1, 0, 9, Value::Tombstone)),
        Err(Malformed::ZeroSeq)
    );
    assert_eq!(
        check(&slot, cell(2, 5, 9, Value::Counted)),
        Err(Malformed::ForeignSlot)
    );
    assert_eq!(check(&slot, cell(1, 5, 9, Value::Counted)), Ok(()));
    assert_eq!(
        check(&register, having_seen(4)),
        Err(Malformed::UnwantedMemory)
    );
    assert_eq!(check(&attribute, having_seen(4)), Ok(()));
    assert_eq!(
        check(&attribute, having_seen(5)),
        Err(Malformed::OwnWriteSeen)
    );
    assert_eq!(check(&removal, cell(1, 5, 5, dots(4))), Ok(()));
    assert_eq!(
        check(&removal, cell(1, 5, 5, dots(5))),
        Err(Malformed::OwnWriteSeen)
    );
    assert_eq!(
        check(&removal, cell(1, 5, 6, dots(4))),
        Err(Malformed::ForeignRank)
    );
    assert_eq!(
        check(&attribute, cell(1, 5, 9, dots(4))),
        Err(Malformed::ForeignValue)
    );
    assert_eq!(
        check(&removal, cell(1, 5, 5, Value::Counted)),
        Err(Malformed::ForeignValue)
    );
    let baseline = FieldKey::IncrementsBaseline(owner);
    assert_eq!(
        check(&baseline, cell(2, 5, 9, Value::Tombstone)),
        Err(Malformed::ForeignValue)
    );
    assert_eq!(check(&baseline, cell(2, 5, 9, Value::Counted)), Ok(()));
    let writer = |length| FieldKey::Tally("x".repeat(length));
    let counted = || cell(2, 5, 9, Value::Counted);
    assert_eq!(check(&writer(MAX_WRITER_BYTES), counted()), Ok(()));
    assert_eq!(
        check(&writer(MAX_WRITER_BYTES + 1), counted()),
        Err(Malformed::LongWriter)
    );
    let keyed = FieldKey::KeyedIncrements(RequestKey::from_bytes([1; 16]));
    assert_eq!(check(&keyed, counted()), Ok(()));
    assert_eq!(
        check(&keyed, cell(2, 5, 9, Value::Tombstone)),
        Err(Malformed::ForeignValue)
    );
}
