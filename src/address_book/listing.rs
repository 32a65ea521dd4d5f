//! Contacts in the order of their folded names, then of their ids: all, or those of a group.

use std::ops::ControlFlow;

use grapevine_crdt::Entity;

use super::walk::{Budget, CONTACT_WORK, Taken, after_prefix, look, walk};
use crate::{
    model::{EntityId, IndexList},
    store::{Rows, StoreError},
};

/// Calls `visit` for the contacts, those of `group` if there is one, behind `after`. Yields the place after which the
/// next page begins, unless this was the last.
///
/// Cost: one seek, and one for each contact.
pub fn list_by_name<R: Rows + ?Sized, E: From<StoreError>>(
    rows: &R,
    group: Option<&str>,
    after: Option<&[u8]>,
    visit: &mut dyn FnMut(&EntityId, &Entity) -> Result<Taken, E>,
) -> Result<Option<Vec<u8>>, E> {
    let start = group.map_or_else(
        || IndexList::Names.start("", true),
        |group| IndexList::Groups.start(group, false),
    );
    let end = after_prefix(&start);
    let after = after.filter(|after| after.starts_with(&start));
    let from = after.unwrap_or(&start).to_vec();
    let mut budget = Budget::new();
    let mut last = from.clone();
    walk(rows, &from, after.is_some(), &end, &mut |key, row| {
        if !budget.spend(CONTACT_WORK) {
            return Ok(ControlFlow::Break(last.clone()));
        }
        let looked = look(rows, row.id)?.filter(|looked| {
            looked.terms.name == row.name
                && group.is_none_or(|group| looked.terms.groups.contains(group))
        });
        if let Some(looked) = looked
            && visit(&looked.id, &looked.entity)? == Taken::Full
        {
            return Ok(ControlFlow::Break(last.clone()));
        }
        last.clear();
        last.extend_from_slice(key);
        Ok(ControlFlow::Continue(()))
    })
}
