//! What a contact read before it changed, and how a change of it is taken back.
//!
//! A version names the attributes that one step changed, with what they said before; so a history is read from what is
//! there backwards. Taking a change back and restoring a removed contact are ordinary edits: they are made from what is
//! seen, and an edit that was not seen is merged with them as with any.
//!
//! It must not know where versions are kept, nor for how long.

use std::collections::{BTreeMap, BTreeSet};

use grapevine_crdt::{Entity, FieldCell, LwwMap, ReplicaId};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use utoipa::ToSchema;

use super::{
    Collection, EntityId,
    contact::{NAME, is_bookkeeping},
    contact_conflict::{shown_value, split},
    contact_edit::{Attributes, WriteStamp, delete, diff},
    contact_photo::{self, PHOTO},
};

/// One change of a contact: what it replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContactVersion {
    by: ReplicaId,
    was_visible: bool,
    is_visible: bool,
    /// What the attributes that changed said before; `None` if they were not there.
    before: BTreeMap<String, Option<Vec<u8>>>,
}

/// What kind of change it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// Fields changed.
    Edited,
    /// The contact was removed.
    Removed,
    /// It was removed, and was there again.
    CameBack,
}

/// A field before and after a change, in the shapes that the contact shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldChange {
    /// The field of the contact, such as `note` or `phones`.
    pub field: String,
    /// Which element of the field, if it has elements.
    pub element: Option<String>,
    /// Null if it was not there.
    pub before: Json,
    /// Null if it was not there any more.
    pub after: Json,
}

impl ContactVersion {
    /// The change from `before` to `after`; `None` if what is shown is the same, if the entity is no contact, or if
    /// nothing was there before: what is made replaces nothing.
    #[must_use]
    pub fn between(id: &EntityId, before: &Entity, after: &Entity) -> Option<Self> {
        if id.collection() != Collection::Contacts || before.is_empty() {
            return None;
        }
        let (old, new) = (LwwMap::new(before), LwwMap::new(after));
        let names: BTreeSet<&str> = old.iter().chain(new.iter()).map(|(name, _)| name).collect();
        let changed: BTreeMap<String, Option<Vec<u8>>> = names
            .into_iter()
            .filter(|name| old.get(name) != new.get(name))
            .map(|name| (name.to_owned(), old.get(name).map(<[u8]>::to_vec)))
            .collect();
        if changed.keys().all(|name| is_bookkeeping(name)) {
            return None;
        }
        let newest = after.dots().difference(&before.dots()).last().copied()?;
        Some(Self {
            by: newest.replica,
            was_visible: before.is_visible(),
            is_visible: after.is_visible(),
            before: changed,
        })
    }

    /// The replica that wrote it.
    #[must_use]
    pub const fn by(&self) -> ReplicaId {
        self.by
    }

    /// What kind of change it was.
    #[must_use]
    pub const fn kind(&self) -> ChangeKind {
        match (self.was_visible, self.is_visible) {
            (true, false) => ChangeKind::Removed,
            (false, _) => ChangeKind::CameBack,
            (true, true) => ChangeKind::Edited,
        }
    }

    /// The fields that changed; `shown` is what was shown after it, and is put back to what was before.
    fn step_back(&self, shown: &mut Attributes) -> Vec<FieldChange> {
        let mut fields = Vec::new();
        for (name, before) in &self.before {
            let after = match before {
                Some(bytes) => shown.insert(name.clone(), bytes.clone()),
                None => shown.remove(name),
            };
            if is_bookkeeping(name) {
                continue;
            }
            let value = |bytes: Option<&Vec<u8>>| match bytes {
                None => Json::Null,
                // A history is told whole, and photos are large.
                Some(bytes) if name == PHOTO => contact_photo::brief(shown_value(name, bytes)),
                Some(bytes) => shown_value(name, bytes),
            };
            let (field, element) = split(name);
            fields.push(FieldChange {
                field: field.to_owned(),
                element: element.map(str::to_owned),
                before: value(before.as_ref()),
                after: value(after.as_ref()),
            });
        }
        fields
    }

    /// The cells of the write `stamp` that takes this change back, which is the last that `entity` went through; `None`
    /// if it is not.
    #[must_use]
    pub fn undo(&self, entity: &Entity, stamp: WriteStamp<'_>) -> Option<Vec<FieldCell>> {
        if entity.is_visible() != self.is_visible {
            return None;
        }
        match self.kind() {
            ChangeKind::Removed => restore(entity, Some(self), stamp),
            ChangeKind::CameBack => Some(delete(entity, stamp.dot)),
            ChangeKind::Edited => {
                let mut wanted = shown(entity);
                self.step_back(&mut wanted);
                Some(diff(entity, wanted, stamp).0)
            }
        }
    }
}

/// What each of `versions`, the newest first, changed in the contact that `entity` is now.
#[must_use]
pub fn field_changes<'v>(
    entity: &Entity,
    versions: impl IntoIterator<Item = &'v ContactVersion>,
) -> Vec<Vec<FieldChange>> {
    let mut shown = shown(entity);
    let versions = versions.into_iter();
    versions
        .map(|version| version.step_back(&mut shown))
        .collect()
}

/// The cells of the write `stamp` that brings the hidden contact `entity` back as it was when it was removed: from the
/// cells that are still held, else from the `version` that removed it. `None` if neither says what it was.
#[must_use]
pub fn restore(
    entity: &Entity,
    version: Option<&ContactVersion>,
    stamp: WriteStamp<'_>,
) -> Option<Vec<FieldCell>> {
    let remembered = version.filter(|version| version.kind() == ChangeKind::Removed);
    let held = entity.fields().filter_map(|(key, field)| {
        let bytes = field.shown().bytes()?;
        Some((key.attribute()?.to_owned(), bytes.to_vec()))
    });
    let mut wanted: Attributes = held.collect();
    if let (false, Some(version)) = (wanted.contains_key(NAME), remembered) {
        let before = version.before.iter();
        wanted = before
            .filter_map(|(name, bytes)| Some((name.clone(), bytes.clone()?)))
            .collect();
    }
    let known = wanted.contains_key(NAME) && !entity.is_visible();
    known.then(|| diff(entity, wanted, stamp).0)
}

fn shown(entity: &Entity) -> Attributes {
    LwwMap::new(entity)
        .iter()
        .map(|(name, bytes)| (name.to_owned(), bytes.to_vec()))
        .collect()
}
