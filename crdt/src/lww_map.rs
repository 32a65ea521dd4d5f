//! The LWW map: named fields of which the latest edit is shown, with unseen losers remembered and causal
//! removal.
//!
//! It is a view over an [`Entity`]; every edit is returned as the cells of one write, so that the caller
//! stores and sends exactly what it merged.

use crate::{
    CausalContext, Cell, Dot, Entity, Field, FieldCell, FieldKey, Rank, Timestamp, Value,
    VersionVector,
};

/// A view of an entity as a map from names to bytes.
///
/// ```
/// use grapevine_crdt::{Dot, Entity, LwwMap, ReplicaId, Seq, Timestamp};
///
/// let (a, b) = (ReplicaId::from_bytes([1; 16]), ReplicaId::from_bytes([2; 16]));
/// let at = Timestamp::from_unix_ms;
/// let mut here = Entity::default();
/// let mut there = Entity::default();
/// // Two people edit offline, neither having seen the other.
/// for cell in LwwMap::new(&here).set("title", b"Captain", Dot::new(a, Seq::new(1)), at(10)) {
///     here.merge_cell(cell);
/// }
/// for cell in LwwMap::new(&there).set("title", b"Admiral", Dot::new(b, Seq::new(1)), at(20)) {
///     there.merge_cell(cell);
/// }
/// here.merge(there);
/// let map = LwwMap::new(&here);
/// assert_eq!(map.get("title"), Some(&b"Admiral"[..]));
/// assert_eq!(map.conflicts("title")[0].bytes(), Some(&b"Captain"[..]));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct LwwMap<'a> {
    entity: &'a Entity,
}

impl<'a> LwwMap<'a> {
    /// A view of `entity`.
    #[must_use]
    pub const fn new(entity: &'a Entity) -> Self {
        Self { entity }
    }

    /// The value shown under `name`; `None` if it was never set, was deleted, or the map is removed.
    #[must_use]
    pub fn get(self, name: &str) -> Option<&'a [u8]> {
        if !self.entity.is_visible() {
            return None;
        }
        self.field(name).and_then(|field| field.shown().bytes())
    }

    /// What lost a merge under `name` unseen, greatest first.
    #[must_use]
    pub fn conflicts(self, name: &str) -> &'a [Cell] {
        self.field(name).map(Field::conflicts).unwrap_or_default()
    }

    /// The names and values shown, in the order of the names; empty if the map is removed.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let visible = self.entity.is_visible();
        self.entity
            .fields()
            .filter(move |_| visible)
            .filter_map(|(key, field)| Some((key.attribute()?, field.shown().bytes()?)))
    }

    /// The cells of the write `dot` at `time` that sets `name` to `value`.
    #[must_use]
    pub fn set(self, name: &str, value: &[u8], dot: Dot, time: Timestamp) -> Vec<FieldCell> {
        vec![self.edit(name, Value::Bytes(value.to_vec()), dot, time)]
    }

    /// The cells of the write `dot` at `time` that deletes the field `name`.
    #[must_use]
    pub fn unset(self, name: &str, dot: Dot, time: Timestamp) -> Vec<FieldCell> {
        vec![self.edit(name, Value::Tombstone, dot, time)]
    }

    /// The cells of the write `dot` that removes the whole map as it is seen here. A map that is not visible
    /// must not be removed: who has collected it would forget, in its own slot, what it removed before.
    #[must_use]
    pub fn remove(self, dot: Dot) -> Vec<FieldCell> {
        vec![FieldCell {
            field: FieldKey::Removal(dot.replica),
            cell: Cell {
                rank: Rank::new(dot.seq.get()),
                dot,
                seen: CausalContext::default(),
                value: Value::Dots(self.entity.removal()),
            },
        }]
    }

    /// The cells, to be written along with those of the write `dot`, by which whatever `collected` covers of
    /// this map stays away; none if it is visible, for then its edits tell what they have seen, or if nothing was
    /// collected.
    ///
    /// A replica that has collected a removed map knows none of its fields. Another that has not still holds
    /// them and would show them beside the new ones. A removal that comes after the collection makes no
    /// difference: it is held alone then.
    #[must_use]
    pub fn clear(self, collected: &VersionVector, dot: Dot) -> Vec<FieldCell> {
        if self.entity.is_visible() || collected.is_empty() {
            return Vec::new();
        }
        vec![self.clearing(collected, dot)]
    }

    /// The cell of the write `dot` that keeps away whatever `collected` covers, which must be closed: with a cell it
    /// covers all that this cell had seen, removed or cleared.
    ///
    /// It covers what held clearings cover as well: it takes the place of an earlier one of the same replica, and
    /// whoever has not met that one must miss nothing.
    #[must_use]
    pub fn clearing(self, collected: &VersionVector, dot: Dot) -> FieldCell {
        let mut dots: CausalContext = collected
            .iter()
            .map(|(replica, seq)| Dot::new(replica, seq))
            .collect();
        for cleared in self.entity.clearings() {
            dots.merge(cleared);
        }
        FieldCell {
            field: FieldKey::Clearing(dot.replica),
            cell: Cell {
                rank: Rank::new(dot.seq.get()),
                dot,
                seen: CausalContext::default(),
                value: Value::Dots(dots),
            },
        }
    }

    fn field(self, name: &str) -> Option<&'a Field> {
        self.entity.field(&FieldKey::Attribute(name.to_owned()))
    }

    fn edit(self, name: &str, value: Value, dot: Dot, time: Timestamp) -> FieldCell {
        let field = FieldKey::Attribute(name.to_owned());
        let seen = self.entity.seen(&field);
        FieldCell {
            field,
            cell: Cell {
                rank: Rank::at(time),
                dot,
                seen,
                value,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ReplicaId, Seq};

    fn dot(replica: u8, seq: u64) -> Dot {
        Dot::new(ReplicaId::from_bytes([replica; 16]), Seq::new(seq))
    }

    fn merge(entity: &mut Entity, cells: Vec<FieldCell>) {
        for cell in cells {
            entity.merge_cell(cell);
        }
    }

    /// The danger: a replica clears twice, and the later clearing, which takes the place of the earlier, lets back in what
    /// that kept away, at whoever meets it alone.
    #[test]
    fn a_later_clearing_lets_back_in_what_an_earlier_one_kept_away() {
        let at = Timestamp::from_unix_ms;
        let old = LwwMap::new(&Entity::default()).set("old", b"1", dot(2, 1), at(1));
        let mut here = Entity::default();
        for (collected, seq) in [(dot(2, 1), 1), (dot(3, 1), 3)] {
            let floor = [(collected.replica, collected.seq)].into_iter().collect();
            let mut cells = LwwMap::new(&here).set("new", b"2", dot(1, seq), at(seq));
            cells.extend(LwwMap::new(&here).clear(&floor, dot(1, seq)));
            merge(&mut here, cells);
            let removal = LwwMap::new(&here).remove(dot(1, seq + 1));
            merge(&mut here, removal);
        }
        let mut there = Entity::default();
        merge(&mut there, old.clone());
        there.merge(here.clone());
        merge(&mut here, old);
        assert_eq!(there, here);
        assert_eq!(there.field(&FieldKey::Attribute("old".to_owned())), None);
    }
}
