//! Vectors told in outline, drawn at random.

use proptest::prelude::*;

use super::*;

const MAX: usize = 65_536;

fn life(number: u16) -> ReplicaId {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    ReplicaId::from_bytes(bytes)
}

fn vector(entries: &[(u16, u64)]) -> HashedVector {
    let entries = entries.iter().map(|(of, seq)| (life(*of), Seq::new(*seq)));
    HashedVector::of(entries.collect())
}

/// A common past, settled or not, and what each of two sides has on top.
fn sides() -> impl Strategy<Value = (HashedVector, HashedVector, HashedVector)> {
    let entries = |most| prop::collection::vec((0_u16..400, 1_u64..40), 0..most);
    (entries(300), entries(12), entries(90), any::<bool>()).prop_map(
        |(past, few, many, settles)| {
            let mut past = vector(&past);
            if settles {
                past.vector.settle();
            }
            let (mut ann, mut bob) = (past.clone(), past.clone());
            ann.join(&vector(&few));
            bob.join(&vector(&many));
            (past, ann, bob)
        },
    )
}

proptest! {
    /// The danger: a vector is taken for more, or for less, than its teller meant.
    #[test]
    fn an_outline_is_taken_for_another_vector(
        (past, ann, bob) in sides(),
        ids in prop::collection::vec(0_u16..400, 0..40),
    ) {
        let ids: Vec<ReplicaId> = ids.into_iter().map(life).collect();
        let table = Table::of(&bob.vector, ids.iter().copied().take(5));
        prop_assert_eq!(table.check(), Ok(()));
        let outlines = [
            Outline::whole(&ann.vector),
            Outline::naming(&ann, ids.clone()),
            Outline::against(&ann, &bob),
            Outline::against(&ann, &past),
            Outline::beside(&ann, &table, ids),
        ];
        for outline in &outlines {
            prop_assert_eq!(outline.check(MAX), Ok(()));
            for known in [&ann, &bob, &past, &HashedVector::default()] {
                if let Some(meant) = outline.resolve(known) {
                    prop_assert_eq!(meant.vector.len(), meant.vector.iter().count());
                    prop_assert_eq!(&meant, &ann);
                    prop_assert_eq!(meant.hash, sum(meant.vector.iter()));
                }
            }
        }
        for known in [&ann, &bob, &past, &HashedVector::default()] {
            prop_assert!(outlines[0].resolve(known).is_some(), "everybody understands the whole");
        }
        prop_assert!(outlines[2].resolve(&bob).is_some());
        prop_assert!(outlines[3].resolve(&past).is_some());
        prop_assert!(outlines[4].resolve(&bob).is_some(), "a table makes it understood");
    }
}

#[test]
fn a_false_hash_yields_a_vector() {
    let ann = vector(&[(1, 5), (2, 6)]);
    let mut outline = Outline::naming(&ann, [life(2)]);
    outline.rest = outline.rest.wrapping_add(1);
    assert_eq!(outline.resolve(&ann), None);
    let mut whole = Outline::whole(&ann.vector);
    whole.rest = 1;
    assert_eq!(whole.resolve(&ann), None);
}

#[test]
fn what_no_sound_peer_tells_is_taken() {
    let ann = vector(&[(1, 5), (2, 6)]);
    let mut outline = Outline::naming(&ann, [life(1), life(2)]);
    outline.named.swap(0, 1);
    assert_eq!(outline.check(MAX), Err(InvalidOutline::Order));
    let mut outline = Outline::whole(&ann.vector);
    outline.named[0].1 = Seq::ZERO;
    assert_eq!(outline.check(MAX), Err(InvalidOutline::Order));
    let mut outline = Outline::whole(&ann.vector);
    outline.spans.push(Span::ALL);
    assert_eq!(outline.check(MAX), Err(InvalidOutline::Order));
    let outline = Outline::whole(&vector(&[(1, 1), (2, 1)]).vector);
    assert_eq!(outline.check(MAX), Ok(()));
    let many: Vec<(u16, u64)> = (0..1_030).map(|number| (number, 1)).collect();
    let outline = Outline::whole(&vector(&many).vector);
    assert_eq!(outline.check(5), Err(InvalidOutline::Long));
}

#[test]
fn lives_that_both_hold_are_told() {
    let past: Vec<(u16, u64)> = (0..10_000).map(|number| (number, 7)).collect();
    let past = vector(&past);
    let mut ann = past.clone();
    ann.join(&vector(&[(77, 9), (20_000, 1)]));
    let bytes = |outline: &Outline| crate::codec::encode(outline).expect("it is small").len();
    assert!(bytes(&Outline::against(&ann, &past)) < 100);
    let table = Table::of(&past.vector, []);
    assert!(crate::codec::encode(&table).expect("it is small").len() < 4_000);
    // A range of the square root of the whole, for each entry that differs.
    assert!(bytes(&Outline::beside(&ann, &table, [])) < 4_000);
}
