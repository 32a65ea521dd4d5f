//! The bytes at rest, written down: who changes one of them makes every data directory unreadable, and needs
//! a new format byte and a migration.

use grapevine_crdt::{
    CausalContext, Cell, Dot, Entity, FieldCell, FieldKey, Rank, ReplicaId, Seq, Timestamp, Value,
};

use super::fixture::{TestResult, kv};
use crate::{
    model::{Claim, EntityCells, Op},
    store::{Group, data::Mark, entity_hash, journal::JournalRow, layout},
};

fn hex(bytes: &[u8]) -> String {
    use core::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

fn dot() -> Dot {
    Dot::new(ReplicaId::from_bytes([0xA1; 16]), Seq::new(300))
}

fn cell() -> FieldCell {
    FieldCell {
        field: FieldKey::Register("v".to_owned()),
        cell: Cell {
            rank: Rank::new(0x0102_0304),
            dot: dot(),
            seen: CausalContext::default(),
            value: Value::Bytes(vec![0xEE, 0xFF]),
        },
    }
}

#[test]
fn the_bytes_of_an_entity_change() -> TestResult {
    let mut entity = Entity::default();
    entity.merge_cell(cell());
    let hash = entity_hash(&kv("k"), &entity)?;
    assert_eq!(format!("{hash:032x}"), "efa1b096a27b79e02cbdfcc533f76a33");
    assert_eq!(
        hex(&layout::encode_entity(hash, &entity)?),
        "01efa1b096a27b79e02cbdfcc533f76a3301000176fc04030201a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1fb2c01000102eeff00"
    );
    assert_eq!(
        hex(&layout::entity_key(kv("k").partition(), &kv("k"))),
        "94036b"
    );
    Ok(())
}

#[test]
fn the_bytes_of_the_log_change() {
    assert_eq!(
        hex(&layout::log_key(kv("k").partition(), dot())),
        "94a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1000000000000012c"
    );
    assert_eq!(hex(&layout::log_value(&kv("k"))), "01036b");
}

#[test]
fn the_bytes_of_a_group_change() -> TestResult {
    let group = Group {
        number: 7,
        clock: Timestamp::from_u64(0x0102_0304_0506),
        ops: vec![Op {
            partition: kv("k").partition(),
            entities: vec![EntityCells {
                id: kv("k"),
                cells: vec![cell()],
            }],
            claim: Claim::Advance {
                replica: dot().replica,
                after: Seq::new(299),
                upto: dot().seq,
                needs: CausalContext::default(),
            },
        }],
    };
    let row = JournalRow::new(&group, 1)?;
    assert_eq!(
        hex(row.bytes()),
        "018302ee426fe3a98e35ce8c655e90916a07fd060504030201000001940103016b01000176fc04030201a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1fb2c01000102eeff01a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1fb2b01fb2c01"
    );
    Ok(())
}

#[test]
fn the_bytes_of_the_mark_change() -> TestResult {
    let mark = Mark {
        number: 7,
        chain: 0x0102,
        clock: Timestamp::from_u64(0x0102_0304_0506),
    };
    assert_eq!(
        hex(&crate::codec::encode_versioned(1, &mark)?),
        "0107fb0201fd0605040302010000"
    );
    Ok(())
}
