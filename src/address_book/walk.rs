//! Walking the index: what a page costs, and the contact behind a row.

use std::ops::ControlFlow;

use grapevine_crdt::Entity;

use crate::{
    model::{Collection, ContactTerms, EntityId, IndexRow},
    store::{Rows, StoreError, Table, read_entity},
};

/// The most work of one page; a row of the index is one, a contact that is looked at `CONTACT_WORK` and one for each
/// KiB of what it holds.
pub const MAX_WORK_PER_PAGE: usize = 50_000;
/// The work of looking at a contact.
pub(super) const CONTACT_WORK: usize = 10;

/// What becomes of a contact that belongs to the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It is in the page.
    Yes,
    /// The page is full; the contact begins the next one.
    Full,
}

/// How much work is left for a page.
#[derive(Debug)]
pub(super) struct Budget(usize);

impl Budget {
    pub(super) const fn new() -> Self {
        Self(MAX_WORK_PER_PAGE)
    }

    /// Spends `work`, if there is that much left.
    pub(super) const fn spend(&mut self, work: usize) -> bool {
        let enough = self.0 >= work;
        self.0 = self.0.saturating_sub(work);
        enough
    }
}

/// A contact behind a row.
pub(super) struct Looked {
    pub(super) id: EntityId,
    pub(super) entity: Entity,
    pub(super) terms: ContactTerms,
}

/// The contact that a row names, if it is visible. The page may exceed its work by the size of one.
pub(super) fn look<R: Rows + ?Sized>(
    rows: &R,
    id: &str,
    budget: &mut Budget,
) -> Result<Option<Looked>, StoreError> {
    // What is no id names nothing.
    let Ok(id) = EntityId::new(Collection::Contacts, id) else {
        return Ok(None);
    };
    let Some(entity) = read_entity(rows, &id)? else {
        return Ok(None);
    };
    let values = entity.cells().filter_map(|(_, cell)| cell.bytes());
    budget.spend(values.map(<[u8]>::len).sum::<usize>() / 1_024);
    Ok(ContactTerms::of(&entity).map(|terms| Looked { id, entity, terms }))
}

/// Told the key of a row and what it says; breaks to end the walk.
pub(super) type Visit<'a, T, E> = dyn FnMut(&[u8], IndexRow<'_>) -> Result<ControlFlow<T>, E> + 'a;

/// Calls `visit` for the rows of the index with `from <= key < to` (`from < key` if `exclusive`), with their keys,
/// until it breaks; with its value the walk ends.
pub(super) fn walk<R: Rows + ?Sized, T, E: From<StoreError>>(
    rows: &R,
    from: &[u8],
    exclusive: bool,
    to: &[u8],
    visit: &mut Visit<'_, T, E>,
) -> Result<Option<T>, E> {
    let mut ended = Ok(None);
    rows.scan(Table::Search, from, exclusive, to, &mut |key, _| {
        let Some(row) = IndexRow::read(key) else {
            return ControlFlow::Continue(());
        };
        match visit(key, row) {
            Ok(ControlFlow::Continue(())) => return ControlFlow::Continue(()),
            Ok(ControlFlow::Break(value)) => ended = Ok(Some(value)),
            Err(error) => ended = Err(error),
        }
        ControlFlow::Break(())
    })
    .map_err(E::from)?;
    ended
}

/// The first key above all that begin with `prefix`, of which the last byte is not the greatest.
pub(super) fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if let Some(next) = last.checked_add(1) {
            end.push(next);
            break;
        }
    }
    end
}
