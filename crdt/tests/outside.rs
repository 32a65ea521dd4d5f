//! The danger: an edit that was made offline is ranked below what its writer had seen and is silently lost, or
//! above what nobody may exceed; or one that is brought twice happens twice.

use grapevine_crdt::{
    Dot, Entity, FieldKey, LwwMap, OutsideEdit, Rank, ReplicaId, Seq, Timestamp, Value, Verdict,
    VersionVector,
};
use proptest::prelude::*;

const LATEST_MS: u64 = 10_000;

fn replica(number: u8) -> ReplicaId {
    ReplicaId::from_bytes([number; 16])
}

fn field() -> FieldKey {
    FieldKey::Attribute("title".to_owned())
}

fn bytes(text: &str) -> Value {
    Value::Bytes(text.as_bytes().to_vec())
}

/// Edits of one field by several replicas, each having seen some of the others.
fn entity(writes: &[(u8, u64, bool)]) -> Entity {
    let mut entity = Entity::default();
    let mut seqs = [0; 4];
    for (number, ms, alone) in writes {
        seqs[usize::from(*number)] += 1;
        let dot = Dot::new(replica(*number), Seq::new(seqs[usize::from(*number)]));
        let nothing = Entity::default();
        let base = if *alone { &nothing } else { &entity };
        let value = format!("{number}-{ms}");
        let time = Timestamp::from_u64(Timestamp::from_unix_ms(*ms).as_u64() + dot.seq.get());
        for cell in LwwMap::new(base).set("title", value.as_bytes(), dot, time) {
            entity.merge_cell(cell);
        }
    }
    entity
}

fn vector(seqs: [u64; 4]) -> VersionVector {
    (0..4)
        .map(|number| (replica(number), Seq::new(seqs[usize::from(number)])))
        .collect()
}

prop_compose! {
    fn writes()(writes in prop::collection::vec((0_u8..4, 1_u64..LATEST_MS, any::<bool>()), 0..12))
        -> Vec<(u8, u64, bool)> { writes }
}

proptest! {
    #[test]
    fn an_edit_beats_all_its_writer_had_seen_and_loses_only_to_the_unseen(
        writes in writes(),
        seen in prop::array::uniform4(0_u64..5),
        floor_ms in 0_u64..LATEST_MS,
        wanted_ms in 0_u64..2 * LATEST_MS,
        mark in any::<u16>(),
    ) {
        let (entity, seen) = (entity(&writes), vector(seen));
        let latest = Timestamp::from_unix_ms(LATEST_MS + 1);
        let floor = Rank::at(Timestamp::from_unix_ms(floor_ms));
        let edit = OutsideEdit {
            entity: &entity,
            seen: &seen,
            floor,
            wanted: Timestamp::from_unix_ms(wanted_ms),
            latest,
            mark,
        };
        let dot = Dot::new(replica(9), Seq::new(1));
        let held: Vec<_> = entity.field(&field()).into_iter().flat_map(grapevine_crdt::Field::cells).collect();
        match edit.decide(field(), bytes("mine"), dot) {
            Verdict::Written(cell) => {
                prop_assert_eq!(cell.check(), Ok(()));
                prop_assert!(cell.cell.rank <= Rank::at(latest));
                prop_assert!(cell.cell.rank > floor || floor == Rank::default());
                let rank_ms = cell.cell.rank.time().unix_ms();
                prop_assert!(rank_ms + 1 >= wanted_ms.min(LATEST_MS + 1), "as late as it says");
                for other in &held {
                    prop_assert!(cell.cell.beats(other), "it is shown");
                    let covered = seen.covers(other.dot);
                    prop_assert!(!covered || cell.cell.seen.covers(other.dot));
                }
                let mut after = entity.clone();
                after.merge_cell(cell);
                prop_assert_eq!(LwwMap::new(&after).get("title"), Some(&b"mine"[..]));
                // Of what the writer had not seen nothing is lost.
                let after = after.field(&field()).expect("it holds the edit");
                for other in held.iter().filter(|cell| !seen.covers(cell.dot)) {
                    let known = after.cells().any(|cell| {
                        cell.dot == other.dot || (cell.dot != dot && cell.seen.covers(other.dot))
                    });
                    let through_seen = held.iter().any(|cell| {
                        seen.covers(cell.dot) && cell.seen.covers(other.dot)
                    });
                    prop_assert!(known || through_seen);
                }
            }
            Verdict::Lost(cell) => {
                prop_assert!(!seen.covers(cell.dot), "only the unseen can win");
                prop_assert!(cell.rank >= edit.rank(&field()));
            }
            Verdict::Held => prop_assert!(false, "nobody wrote the same"),
        }
    }

    #[test]
    fn an_edit_brought_twice_is_known_again_and_converges_through_two_replicas(
        writes in writes(),
        seen in prop::array::uniform4(0_u64..5),
        wanted_ms in 0_u64..2 * LATEST_MS,
        apart_ms in 0_u64..1_000,
        mark in any::<u16>(),
    ) {
        let (entity, seen) = (entity(&writes), vector(seen));
        let edit = |entity, wanted_ms| OutsideEdit {
            entity,
            seen: &seen,
            floor: Rank::default(),
            wanted: Timestamp::from_unix_ms(wanted_ms),
            latest: Timestamp::from_unix_ms(LATEST_MS + 1_000),
            mark,
        };
        let (here, there) = (Dot::new(replica(8), Seq::new(1)), Dot::new(replica(9), Seq::new(1)));
        let first = edit(&entity, wanted_ms).decide(field(), bytes("mine"), here);
        if let Verdict::Written(cell) = first {
            let mut once = entity.clone();
            once.merge_cell(cell);
            // Again through the same node, whose clock now puts it elsewhere.
            let again = edit(&once, wanted_ms + apart_ms).decide(field(), bytes("mine"), here);
            prop_assert_eq!(again, Verdict::Held);
            // And through another that has not heard of it.
            let other = edit(&entity, wanted_ms + apart_ms).decide(field(), bytes("mine"), there);
            if let Verdict::Written(cell) = other {
                once.merge_cell(cell);
            }
            prop_assert_eq!(LwwMap::new(&once).get("title"), Some(&b"mine"[..]));
        }
    }
}

#[test]
fn a_removal_from_outside_spares_what_its_writer_had_not_seen() {
    let entity = entity(&[(0, 1, false), (1, 2, false)]);
    let half = vector([1, 0, 0, 0]);
    let all = vector([1, 1, 0, 0]);
    let dot = Dot::new(replica(9), Seq::new(1));
    let remove = |seen| {
        let edit = OutsideEdit {
            entity: &entity,
            seen,
            floor: Rank::default(),
            wanted: Timestamp::ZERO,
            latest: Timestamp::MAX,
            mark: 0,
        };
        let mut after = entity.clone();
        if let Some(cell) = edit.remove(dot) {
            assert_eq!(cell.check(), Ok(()));
            after.merge_cell(cell);
        }
        after
    };
    assert!(remove(&half).is_visible());
    assert!(!remove(&all).is_visible());
}
