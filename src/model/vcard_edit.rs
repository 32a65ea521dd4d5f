//! Taking a card into its contact.

use grapevine_crdt::{Entity, FieldCell, LwwMap};

use super::{
    contact::{Contact, REQUEST, SOURCE},
    contact_draft::ContactDraft,
    contact_edit::{Change, WriteStamp, diff, keep, wanted},
    contact_element::{ElementDraft, Kind},
    contact_kept::KEPT_PREFIX,
    contact_photo::{is_photo, photos},
    contact_rules::{InvalidContact, MAX_ELEMENTS},
    vcard::Card,
};

/// How many cards of one import a contact remembers.
const MAX_SOURCES: usize = 64;
const SOURCE_BYTES: usize = 32;

/// Which cards of an import a contact holds: a hash over the texts of those with its id, in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// Without the last of them.
    before: [u8; SOURCE_BYTES],
    now: [u8; SOURCE_BYTES],
}

impl Source {
    /// The source once `card` is taken in too.
    #[must_use]
    pub fn and(self, card: &Card) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.now);
        hasher.update(&card.hash);
        Self {
            before: self.now,
            now: *hasher.finalize().as_bytes(),
        }
    }

    /// What the attribute says once a contact of which it says `held` has taken the last card in; `None` if it has
    /// already. It says the source after each card, so the first of several is known before the last is read.
    fn joined(self, held: &[u8]) -> Option<Vec<u8>> {
        let (sources, _) = held.as_chunks::<SOURCE_BYTES>();
        if sources.contains(&self.now) {
            return None;
        }
        let known = sources.iter().position(|source| *source == self.before);
        let kept = known.map_or(&[][..], |place| &sources[..=place]);
        let kept = &kept[kept.len().saturating_sub(MAX_SOURCES - 1)..];
        Some([kept.as_flattened(), &self.now].concat())
    }
}

/// Takes `card` in, with which the import is at `source`. A contact that was there before stays as it is, so
/// importing a file again changes nothing, whatever was edited since.
///
/// Else the scalars of the card replace those of the contact, its elements (phones, e-mails, addresses) and groups join them, and
/// what the card before had left to be kept is replaced, a photo only by one: an import never deletes what people see.
pub fn import(
    entity: &Entity,
    card: &Card,
    source: Source,
    stamp: WriteStamp<'_>,
) -> Result<(Vec<FieldCell>, Change), InvalidContact> {
    let held = LwwMap::new(entity).get(SOURCE).unwrap_or_default();
    let Some(sources) = source.joined(held) else {
        return Ok((Vec::new(), Change::Unchanged));
    };
    let draft = match Contact::read(&card.id, entity) {
        Some(current) => joined(&current, &card.draft)?,
        None => card.draft.clone(),
    };
    let mut wanted = wanted(entity, &draft, stamp.region);
    for (index, kept) in card.kept.iter().enumerate() {
        let before = card.kept[..index].iter();
        let repetition = before.filter(|other| other.line == kept.line).count();
        let (name, bytes) = kept.encode(repetition as u64);
        wanted.insert(name, bytes);
    }
    wanted.insert(SOURCE.to_owned(), sources);
    keep(entity, &mut wanted, &[REQUEST]);
    if !card.replaces_kept {
        keep(entity, &mut wanted, &[KEPT_PREFIX]);
    } else if !card.kept.iter().any(is_photo) {
        // People see it.
        for photo in photos(entity) {
            keep(entity, &mut wanted, &[&photo]);
        }
    }
    Ok(diff(entity, wanted, stamp))
}

fn joined(current: &Contact, card: &ContactDraft) -> Result<ContactDraft, InvalidContact> {
    let or = |new: &Option<String>, old: &Option<String>| new.clone().or_else(|| old.clone());
    let mut draft = ContactDraft {
        name: card.name.clone(),
        name_parts: card.name_parts.clone().or(current.name_parts.clone()),
        organization: or(&card.organization, &current.organization),
        title: or(&card.title, &current.title),
        birthday: or(&card.birthday, &current.birthday),
        address: or(&card.address, &current.address),
        note: or(&card.note, &current.note),
        groups: current.groups.iter().chain(&card.groups).cloned().collect(),
        ..ContactDraft::default()
    };
    for kind in Kind::ALL {
        *draft.elements_mut(kind) = with_new(current.elements(kind), card.elements(kind));
    }
    let sizes = Kind::ALL.map(|kind| (kind.list(), draft.elements(kind).len()));
    let mut sizes = sizes.into_iter().chain([("groups", draft.groups.len())]);
    match sizes.find(|(_, size)| *size > MAX_ELEMENTS) {
        Some((field, _)) => Err(InvalidContact::new(
            field,
            format!("of the contact and the card are more than {MAX_ELEMENTS} together"),
        )),
        None => Ok(draft),
    }
}

/// `held`, and those of `new` that are not there yet: none with the same content, or all of these taken. A
/// label that was changed since stays changed.
fn with_new(mut held: Vec<ElementDraft>, new: &[ElementDraft]) -> Vec<ElementDraft> {
    let mut free: Vec<bool> = vec![true; held.len()];
    let mut missing: Vec<&ElementDraft> = new.iter().collect();
    for same_label in [true, false] {
        missing.retain(|draft| {
            let like = held.iter().zip(&free).position(|(element, free)| {
                *free
                    && element.content == draft.content
                    && (!same_label || element.label == draft.label)
            });
            if let Some(place) = like {
                free[place] = false;
            }
            like.is_none()
        });
    }
    held.extend(missing.into_iter().cloned());
    held
}
