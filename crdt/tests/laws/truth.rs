//! What a replica must show, told from explicit sets of the writes it has had, without any compression.

use std::collections::{BTreeMap, BTreeSet};

use grapevine_crdt::{Dot, FieldKey, Value};

use crate::world::{COUNTER, Deed, REGISTER, Replica, World, Write};

impl World {
    /// The writes to an attribute that `replica` has seen and that no other of them had seen.
    pub(crate) fn surviving(
        &self,
        replica: &Replica,
        entity: usize,
        key: &FieldKey,
    ) -> BTreeSet<Dot> {
        let Some(seen) = replica.seen.get(&(entity, key.clone())) else {
            return BTreeSet::new();
        };
        let settled: BTreeSet<Dot> = seen
            .iter()
            .flat_map(|dot| &self.writes[dot].saw[key])
            .copied()
            .collect();
        seen - &settled
    }

    /// Every write to an attribute of `entity` that survives, with its attribute.
    pub(crate) fn outliving(&self, replica: &Replica, entity: usize) -> Vec<(FieldKey, Dot)> {
        replica
            .seen
            .keys()
            .filter(|(of, key)| *of == entity && matches!(key, FieldKey::Attribute(_)))
            .flat_map(|(_, key)| {
                self.surviving(replica, entity, key)
                    .into_iter()
                    .map(|dot| (key.clone(), dot))
            })
            .collect()
    }

    /// The removals of `entity` that `replica` has had.
    pub(crate) fn removals<'a>(
        &'a self,
        replica: &'a Replica,
        entity: usize,
    ) -> impl Iterator<Item = &'a Write> {
        replica.had[entity]
            .iter()
            .map(|dot| &self.writes[dot])
            .filter(|write| write.is_removal())
    }

    /// What the removals that `replica` has had removed.
    pub(crate) fn removed(&self, replica: &Replica, entity: usize) -> BTreeSet<Dot> {
        self.removals(replica, entity)
            .flat_map(|removal| self.removed_by(removal))
            .collect()
    }

    /// What the writer of `removal` had had, and what the removals that it had had removed.
    fn removed_by(&self, removal: &Write) -> BTreeSet<Dot> {
        let mut removed = BTreeSet::new();
        let mut open = vec![removal];
        while let Some(removal) = open.pop() {
            for write in removal.had.iter().map(|dot| &self.writes[dot]) {
                if removed.insert(write.dot) && write.is_removal() {
                    open.push(write);
                }
            }
        }
        removed.retain(|dot| !self.writes[dot].is_removal());
        removed
    }

    /// Whether `replica`, having everything, must show `entity`: something was set that nobody replaced,
    /// deleted or removed.
    pub(crate) fn visible(&self, replica: &Replica, entity: usize) -> bool {
        let removed = self.removed(replica, entity);
        let mut outliving = self.outliving(replica, entity).into_iter();
        outliving.any(|(key, dot)| !removed.contains(&dot) && !self.is_tombstone(dot, &key))
    }

    /// Whether `replica`, having everything, must say that `entity` was brought back unaware.
    pub(crate) fn revived(&self, replica: &Replica, entity: usize) -> bool {
        let removed = self.removed(replica, entity);
        let outliving: Vec<(FieldKey, Dot)> = self
            .outliving(replica, entity)
            .into_iter()
            .filter(|(_, dot)| !removed.contains(dot))
            .collect();
        let knew = |(key, dot): &(FieldKey, Dot), removal: Dot| {
            let write = &self.writes[dot];
            let seen = write.saw[key].iter().map(|dot| &self.writes[dot]);
            seen.chain([write])
                .any(|write| write.had.contains(&removal))
        };
        let unaware = self
            .removals(replica, entity)
            .filter(|removal| !self.removed_by(removal).is_empty())
            .any(|removal| outliving.iter().all(|edit| !knew(edit, removal.dot)));
        self.visible(replica, entity) && (unaware || self.shows_removed(replica, entity, &removed))
    }

    fn shows_removed(&self, replica: &Replica, entity: usize, removed: &BTreeSet<Dot>) -> bool {
        let keys: BTreeSet<FieldKey> = self
            .outliving(replica, entity)
            .into_iter()
            .map(|(key, _)| key)
            .collect();
        keys.iter().any(|key| {
            let shown = self
                .surviving(replica, entity, key)
                .into_iter()
                .max_by_key(|dot| (self.rank(*dot, key), *dot))
                .expect("what was written leaves a survivor");
            removed.contains(&shown) && !self.is_tombstone(shown, key)
        })
    }

    /// Whether `replica` has had every reset that the resets it has had knew of.
    pub(crate) fn has_resets_of_resets(&self, replica: &Replica) -> bool {
        let resets = |dots: &BTreeSet<Dot>| -> BTreeSet<Dot> {
            let resets = dots.iter().filter(|dot| self.writes[dot].is_reset());
            resets.copied().collect()
        };
        let had = resets(&replica.had[COUNTER]);
        had.iter()
            .all(|reset| resets(&self.writes[reset].had).is_subset(&had))
    }

    /// The sum of what `replica` has had counted, without what a reset had had. What is counted under a request
    /// or by an outside writer counts once, as the most that was told.
    pub(crate) fn count(&self, replica: &Replica) -> i128 {
        let had = &replica.had[COUNTER];
        let forgotten: BTreeSet<Dot> = had
            .iter()
            .map(|dot| &self.writes[dot])
            .filter(|write| write.is_reset())
            .flat_map(|write| &write.had)
            .copied()
            .collect();
        let each: i128 = had
            .difference(&forgotten)
            .map(|dot| self.writes[dot].deed.counts_each())
            .sum();
        let (told, reset) = (self.most(had), self.most(&forgotten));
        let once: i128 = told
            .iter()
            .map(|(what, most)| {
                let counted = most.saturating_sub(*reset.get(what).unwrap_or(&0));
                match what {
                    Once::Add(_) | Once::Tell(_) => i128::from(counted),
                    Once::Take(_) => -i128::from(counted),
                }
            })
            .sum();
        each + once
    }

    fn most(&self, dots: &BTreeSet<Dot>) -> BTreeMap<Once, u64> {
        let mut most = BTreeMap::new();
        for (what, count) in dots
            .iter()
            .filter_map(|dot| self.writes[dot].deed.counts_once())
        {
            let held = most.entry(what).or_default();
            *held = count.max(*held);
        }
        most
    }

    /// The write to the register that must be shown.
    pub(crate) fn latest(&self, replica: &Replica) -> Option<Dot> {
        let key = FieldKey::Register(String::new());
        let had = replica.had[REGISTER].iter().copied();
        had.max_by_key(|dot| (self.rank(*dot, &key), *dot))
    }

    pub(crate) fn rank(&self, dot: Dot, key: &FieldKey) -> u64 {
        let mut cells = self.writes[&dot].cells.iter();
        let cell = cells.find(|cell| cell.field == *key);
        cell.expect("the write touches the field").cell.rank.get()
    }

    fn is_tombstone(&self, dot: Dot, key: &FieldKey) -> bool {
        let mut cells = self.writes[&dot].cells.iter();
        cells.any(|cell| cell.field == *key && cell.cell.value == Value::Tombstone)
    }
}

/// What counts once, as the most that was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Once {
    Add(u8),
    Take(u8),
    Tell(usize),
}

impl Deed {
    /// What this adds, if every one of its kind counts.
    pub(crate) fn counts_each(&self) -> i128 {
        match self {
            Self::Add(by) => i128::from(*by),
            Self::Take(by) => -i128::from(*by),
            Self::AddOnce(..)
            | Self::TakeOnce(..)
            | Self::Tell(..)
            | Self::Reset
            | Self::Discard
            | Self::Edit(..)
            | Self::Replace(..)
            | Self::Remove(_)
            | Self::Put(_) => 0,
        }
    }

    fn counts_once(&self) -> Option<(Once, u64)> {
        match self {
            Self::AddOnce(key, by) => Some((Once::Add(*key), *by)),
            Self::TakeOnce(key, by) => Some((Once::Take(*key), *by)),
            Self::Tell(writer, count) => Some((Once::Tell(*writer), *count)),
            Self::Add(_)
            | Self::Take(_)
            | Self::Reset
            | Self::Discard
            | Self::Edit(..)
            | Self::Replace(..)
            | Self::Remove(_)
            | Self::Put(_) => None,
        }
    }
}

impl Write {
    fn is_removal(&self) -> bool {
        matches!(self.deed, Deed::Remove(_) | Deed::Discard)
    }

    pub(crate) fn is_reset(&self) -> bool {
        matches!(self.deed, Deed::Reset | Deed::Discard)
    }
}
