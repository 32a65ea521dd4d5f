//! A version vector keeps its entries on two levels; whatever was done to it, nobody can tell.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
};

use bincode::{config::standard, serde::decode_from_slice, serde::encode_to_vec};
use grapevine_crdt::{ReplicaId, Seq, VersionVector};
use proptest::{collection::vec, prelude::*};

type Plain = BTreeMap<ReplicaId, Seq>;

/// Three vectors, so that they come to share blocks, and to have equal ones that they do not share.
const VECTORS: usize = 3;

#[derive(Clone, Debug)]
enum Act {
    Advance(u8, u64),
    /// Many lives at once: the bound is passed.
    Extend(Vec<(u8, u64)>),
    Join(usize),
    Meet(usize),
    Clone(usize),
    Settle,
    KeepSettled,
    ShareSettled(usize),
    Encode,
}

fn replica(number: u8) -> ReplicaId {
    ReplicaId::from_bytes([number; 16])
}

fn entry() -> impl Strategy<Value = (u8, u64)> {
    (any::<u8>(), 0..4_u64)
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        4 => entry().prop_map(|(replica, seq)| Act::Advance(replica, seq)),
        2 => vec(entry(), 0..100).prop_map(Act::Extend),
        2 => (0..VECTORS).prop_map(Act::Join),
        1 => (0..VECTORS).prop_map(Act::Meet),
        2 => (0..VECTORS).prop_map(Act::Clone),
        1 => Just(Act::Settle),
        1 => Just(Act::KeepSettled),
        2 => (0..VECTORS).prop_map(Act::ShareSettled),
        1 => Just(Act::Encode),
    ]
}

fn raise(plain: &mut Plain, replica: ReplicaId, seq: Seq) {
    if seq > plain.get(&replica).copied().unwrap_or_default() {
        plain.insert(replica, seq);
    }
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

fn take(act: &Act, number: usize, vectors: &mut [VersionVector], plains: &mut [Plain]) {
    let pairs = |entries: &[(u8, u64)]| -> Vec<_> {
        let entries = entries.iter();
        entries
            .map(|(number, seq)| (replica(*number), Seq::new(*seq)))
            .collect()
    };
    match act {
        Act::Advance(number_of, seq) => {
            vectors[number].advance(replica(*number_of), Seq::new(*seq));
            raise(&mut plains[number], replica(*number_of), Seq::new(*seq));
        }
        Act::Extend(entries) => {
            for (replica, seq) in pairs(entries) {
                raise(&mut plains[number], replica, seq);
            }
            vectors[number].extend(pairs(entries));
        }
        Act::Join(other) => {
            let (vector, plain) = (vectors[*other].clone(), plains[*other].clone());
            vectors[number].join(&vector);
            for (replica, seq) in plain {
                raise(&mut plains[number], replica, seq);
            }
        }
        Act::Meet(other) => {
            vectors[number] = vectors[number].meet(&vectors[*other]);
            let other = plains[*other].clone();
            plains[number].retain(|replica, seq| {
                *seq = (*seq).min(other.get(replica).copied().unwrap_or_default());
                *seq > Seq::ZERO
            });
        }
        Act::Clone(other) => {
            vectors[number] = vectors[*other].clone();
            plains[number] = plains[*other].clone();
        }
        Act::Settle => vectors[number].settle(),
        Act::KeepSettled => {
            let settled = vectors[number].settled();
            assert!(settled.shares_settled(&vectors[number]));
            assert!(vectors[number].includes(&settled));
            plains[number] = settled.iter().collect();
            vectors[number] = settled;
        }
        Act::ShareSettled(other) => {
            let other = vectors[*other].clone();
            vectors[number].share_settled(&other);
        }
        Act::Encode => {
            let bytes = encode_to_vec(&vectors[number], standard()).expect("memory suffices");
            let decoded = decode_from_slice(&bytes, standard());
            vectors[number] = decoded.expect("it was encoded here").0;
        }
    }
}

fn agrees(vector: &VersionVector, plain: &Plain) {
    assert_eq!(vector.len(), plain.len());
    assert_eq!(vector.is_empty(), plain.is_empty());
    assert!(
        vector
            .iter()
            .eq(plain.iter().map(|(replica, seq)| (*replica, *seq)))
    );
    for number in 0..=u8::MAX {
        let seq = plain.get(&replica(number)).copied().unwrap_or_default();
        assert_eq!(vector.get(replica(number)), seq);
    }
    assert_eq!(
        encode_to_vec(vector, standard()).expect("memory suffices"),
        encode_to_vec(plain, standard()).expect("memory suffices")
    );
    let fresh: VersionVector = plain.clone().try_into().expect("no entry is zero");
    assert_eq!(*vector, fresh);
    assert_eq!(hash(vector), hash(&fresh));
    assert_eq!(format!("{vector:?}"), format!("{plain:?}"));
}

fn compares(ours: (&VersionVector, &Plain), theirs: (&VersionVector, &Plain)) {
    let (ours, our_plain) = ours;
    let (theirs, their_plain) = theirs;
    let above = |plain: &Plain, than: &Plain| -> Vec<_> {
        let entries = plain.iter().map(|(replica, seq)| (*replica, *seq));
        entries
            .filter(|(replica, seq)| *seq > than.get(replica).copied().unwrap_or_default())
            .collect()
    };
    let theirs_above = above(their_plain, our_plain);
    let lag = theirs_above.iter().map(|(replica, seq)| {
        let ours = our_plain.get(replica).copied().unwrap_or_default();
        seq.get() - ours.get()
    });
    assert_eq!(ours.lag_behind(theirs), lag.sum::<u64>());
    assert_eq!(ours.includes(theirs), theirs_above.is_empty());
    assert_eq!(theirs.raised_above(ours).collect::<Vec<_>>(), theirs_above);
    assert_eq!(ours == theirs, our_plain == their_plain);
}

proptest! {
    #[test]
    fn where_an_entry_lives_can_be_told(acts in vec((0..VECTORS, act()), 1..40)) {
        let mut vectors = vec![VersionVector::default(); VECTORS];
        let mut plains = vec![Plain::default(); VECTORS];
        for (number, act) in acts {
            take(&act, number, &mut vectors, &mut plains);
            agrees(&vectors[number], &plains[number]);
        }
        for (ours, our_plain) in vectors.iter().zip(&plains) {
            for (theirs, their_plain) in vectors.iter().zip(&plains) {
                compares((ours, our_plain), (theirs, their_plain));
            }
        }
    }
}

/// A write raises one entry of a clone; what is settled must not be copied for it.
#[test]
fn a_write_copies_the_lives_that_are_over() {
    let mut vector = VersionVector::default();
    for number in 0..10_000_u64 {
        let mut bytes = [0; 16];
        bytes[8..].copy_from_slice(&number.to_be_bytes());
        vector.advance(ReplicaId::from_bytes(bytes), Seq::new(1));
    }
    let settled = vector.settled().len();
    assert!(settled > 9_900, "{settled} of 10,000 are settled");
    let mut copied = 0;
    for seq in 1..1_000 {
        let mut next = vector.clone();
        next.advance(replica(255), Seq::new(seq));
        copied += u32::from(!next.shares_settled(&vector));
        vector = next;
    }
    assert!(copied <= 1, "{copied} of 1,000 writes copied all lives");
}

#[test]
fn entries_that_cover_nothing_or_come_out_of_order_are_taken() {
    let decode = |entries: &[(ReplicaId, Seq)]| {
        // A slice is encoded as a map is: its length, then the entries.
        let bytes = encode_to_vec(entries, standard()).expect("memory suffices");
        decode_from_slice::<VersionVector, _>(&bytes, standard()).map(|(vector, _)| vector)
    };
    for lives in [2, 200] {
        let mut entries: Vec<_> = (0..lives)
            .map(|number| (replica(number), Seq::new(7)))
            .collect();
        let vector = decode(&entries).expect("in order");
        entries.swap(0, 1);
        assert_eq!(decode(&entries).expect("as any map"), vector);
        entries[1].1 = Seq::ZERO;
        assert!(decode(&entries).is_err(), "out of order, and zero");
        entries.swap(0, 1);
        assert!(decode(&entries).is_err(), "in order, and zero");
    }
}
