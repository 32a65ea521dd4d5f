//! Contacts that may be one: those that have a number or an address in common, or are called the same.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use super::walk::{Budget, CONTACT_WORK, Looked, Taken, after_prefix, look, walk};
use crate::{
    model::{Contact, EntityId, IndexList, IndexRow},
    store::{Rows, StoreError},
};

/// The most contacts that are told of one group.
pub const MAX_DUPLICATES_PER_GROUP: usize = 100;

/// What contacts have in common.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// A telephone number.
    Phone,
    /// An e-mail address.
    Email,
    /// What they are called.
    Name,
}

impl Reason {
    const ALL: [Self; 3] = [Self::Phone, Self::Email, Self::Name];

    const fn list(self) -> IndexList {
        match self {
            Self::Phone => IndexList::Phones,
            Self::Email => IndexList::Emails,
            Self::Name => IndexList::Names,
        }
    }
}

/// Where a page ended: behind all who have `value`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DuplicatePlace {
    reason: Reason,
    value: String,
}

/// Contacts that have something in common.
#[derive(Clone, Debug, Default)]
pub struct DuplicateGroup {
    /// The number, the address or the name, as it is compared.
    pub value: String,
    /// Who has it, and what they are called, in the order of the index: two at least, [`MAX_DUPLICATES_PER_GROUP`] at most.
    pub contacts: Vec<(EntityId, String)>,
    /// Whether others have it too.
    pub more: bool,
}

/// Calls `visit` for the groups behind `after`: by number, by address, then by name, each in order. Yields the place
/// after which the next page begins, unless this was the last.
///
/// Cost: one row of the index for each number, address and name, and one seek for each contact that is told.
pub fn list_duplicates<R: Rows + ?Sized, E: From<StoreError>>(
    rows: &R,
    after: Option<DuplicatePlace>,
    visit: &mut dyn FnMut(Reason, DuplicateGroup) -> Result<Taken, E>,
) -> Result<Option<DuplicatePlace>, E> {
    let mut budget = Budget::new();
    let mut last = after;
    for reason in Reason::ALL {
        if last.as_ref().is_some_and(|place| reason < place.reason) {
            continue;
        }
        let start = reason.list().start("", true);
        let end = after_prefix(&start);
        let mut from = match &last {
            Some(place) if place.reason == reason => behind(reason, &place.value),
            _ => start,
        };
        loop {
            let Some(value) = next_shared(rows, &from, &end, &mut budget)? else {
                break;
            };
            let value = match value {
                Step::Shared(value) => value,
                Step::Spent(passed) => {
                    let value = passed.or_else(|| {
                        let place = last.as_ref().filter(|place| place.reason == reason);
                        place.map(|place| place.value.clone())
                    });
                    return Ok(Some(DuplicatePlace {
                        reason,
                        value: value.unwrap_or_default(),
                    }));
                }
            };
            from = behind(reason, &value);
            let group = read_group(rows, reason, &value, &mut budget)?;
            if group.contacts.len() > 1 && visit(reason, group)? == Taken::Full {
                let place = last.filter(|place| place.reason == reason);
                return Ok(Some(place.unwrap_or(DuplicatePlace {
                    reason,
                    value: String::new(),
                })));
            }
            last = Some(DuplicatePlace { reason, value });
        }
        last = None;
    }
    Ok(None)
}

/// What a walk to the next value that several have ends with.
enum Step {
    /// At it.
    Shared(String),
    /// The work of the page is spent; all up to this value was seen.
    Spent(Option<String>),
}

/// The key behind all rows of a value.
fn behind(reason: Reason, value: &str) -> Vec<u8> {
    after_prefix(&reason.list().start(value, false))
}

fn next_shared<R: Rows + ?Sized>(
    rows: &R,
    from: &[u8],
    end: &[u8],
    budget: &mut Budget,
) -> Result<Option<Step>, StoreError> {
    let mut current: Option<String> = None;
    walk(rows, from, false, end, &mut |_, row: IndexRow<'_>| {
        // Contacts without a name are not called the same.
        if row.first.is_empty() {
            return Ok(ControlFlow::Continue(()));
        }
        if current.as_deref() == Some(row.first) {
            return Ok(ControlFlow::Break(Step::Shared(row.first.to_owned())));
        }
        if !budget.spend(1) {
            return Ok(ControlFlow::Break(Step::Spent(current.take())));
        }
        current = Some(row.first.to_owned());
        Ok::<_, StoreError>(ControlFlow::Continue(()))
    })
}

fn read_group<R: Rows + ?Sized>(
    rows: &R,
    reason: Reason,
    value: &str,
    budget: &mut Budget,
) -> Result<DuplicateGroup, StoreError> {
    let start = reason.list().start(value, false);
    let mut group = DuplicateGroup {
        value: value.to_owned(),
        ..DuplicateGroup::default()
    };
    walk(
        rows,
        &start,
        false,
        &after_prefix(&start),
        &mut |_, row: IndexRow<'_>| {
            if group.contacts.len() == MAX_DUPLICATES_PER_GROUP {
                group.more = true;
                return Ok(ControlFlow::Break(()));
            }
            budget.spend(CONTACT_WORK);
            let looked = look(rows, row.id, budget)?.filter(|looked| has(looked, reason, value));
            group
                .contacts
                .extend(looked.and_then(|Looked { id, entity, .. }| {
                    let contact = Contact::read(id.key(), &entity)?;
                    Some((id, contact.name))
                }));
            Ok::<_, StoreError>(ControlFlow::Continue(()))
        },
    )?;
    Ok(group)
}

fn has(looked: &Looked, reason: Reason, value: &str) -> bool {
    let terms = &looked.terms;
    match reason {
        Reason::Phone => terms.phones.contains(value),
        Reason::Email => terms.emails.contains(value),
        Reason::Name => terms.name == value,
    }
}
