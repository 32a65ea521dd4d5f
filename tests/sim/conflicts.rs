//! What becomes of edits that nobody saw: each is shown, or listed as a conflict, or somebody who knew of it has put
//! something in its place. Made from who knew of what when writing, not from what the cells say of that.

use grapevine::{
    model::{Collection, Conflict, EntityId, contact_conflict::conflicts},
    store::read_entity,
};
use grapevine_crdt::{Dot, Entity, FieldKey, Value};

use crate::world::World;

impl World {
    /// All nodes list the same conflicts, and no edit is missing among them.
    pub(crate) fn compare_conflicts(&self) -> Result<(), String> {
        let writes = self.history.partitions.values();
        let ids = writes.flat_map(|writes| writes.entities.keys());
        for id in ids.filter(|id| id.collection() == Collection::Contacts) {
            let listed = conflicts(&self.entity(0, id));
            for number in 1..self.nodes.len() {
                let other = conflicts(&self.entity(number, id));
                if other != listed {
                    return Err(format!(
                        "node {number} lists {other:?} of {id}, node 0 {listed:?}"
                    ));
                }
            }
            self.compare_edits(id, &listed)?;
        }
        Ok(())
    }

    pub(crate) fn entity(&self, number: usize, id: &EntityId) -> Entity {
        let held = read_entity(&self.nodes[number].rows, id);
        held.expect("rows in memory can be read")
            .unwrap_or_default()
    }

    fn compare_edits(&self, id: &EntityId, listed: &[Conflict]) -> Result<(), String> {
        let partition = id.partition();
        let written = &self.history.partitions[&partition].entities[id];
        let entity = self.entity(0, id);
        for (dot, cells) in written {
            if self.is_lost(partition, *dot) {
                continue;
            }
            for cell in cells {
                let FieldKey::Attribute(name) = &cell.field else {
                    continue;
                };
                let (Some(bytes), false) = (cell.cell.bytes(), is_bookkeeping(name)) else {
                    continue;
                };
                if stands(&entity, listed, name, bytes) || self.is_superseded(id, *dot, name) {
                    continue;
                }
                return Err(format!(
                    "{cell:?} of {id} is neither shown nor listed, and nobody knew of it who wrote: {entity:?}; \
                     all that was written is {written:?}"
                ));
            }
        }
        Ok(())
    }

    /// Whether somebody who knew of the write `dot` of the attribute `name` wrote it anew, or removed all.
    fn is_superseded(&self, id: &EntityId, dot: Dot, name: &str) -> bool {
        let partition = id.partition();
        let written = &self.history.partitions[&partition].entities[id];
        written.iter().any(|(by, cells)| {
            let concerns = cells.iter().any(|cell| match &cell.field {
                FieldKey::Attribute(other) => other == name,
                FieldKey::Removal(_) | FieldKey::Clearing(_) => true,
                FieldKey::Register(_)
                | FieldKey::Increments(_)
                | FieldKey::Decrements(_)
                | FieldKey::KeyedIncrements(_)
                | FieldKey::KeyedDecrements(_)
                | FieldKey::Tally(_)
                | FieldKey::IncrementsBaseline(_)
                | FieldKey::DecrementsBaseline(_)
                | FieldKey::KeyedIncrementsBaseline(_)
                | FieldKey::KeyedDecrementsBaseline(_)
                | FieldKey::TallyBaseline(_) => false,
            });
            let seen = self.history.seen.get(&(partition, *by));
            *by != dot && concerns && seen.is_some_and(|seen| seen.knew(dot))
        })
    }
}

/// Whether an attribute is no user's: no conflicts of it are listed.
fn is_bookkeeping(name: &str) -> bool {
    ["created", "touched", "source", "request"].contains(&name)
}

/// Whether users see `bytes` of the attribute: as its value, or among the conflicts.
fn stands(entity: &Entity, listed: &[Conflict], name: &str, bytes: &[u8]) -> bool {
    if !entity.is_visible() {
        return false;
    }
    let field = entity.field(&FieldKey::Attribute(name.to_owned()));
    let shown = field.is_some_and(|field| field.shown().value == Value::Bytes(bytes.to_vec()));
    let text = String::from_utf8_lossy(bytes);
    shown
        || listed.iter().any(|conflict| {
            let element = conflict.element.as_ref();
            let of = element.map_or_else(
                || conflict.field.clone(),
                |element| format!("{}/{element}", conflict.field),
            );
            of == name && conflict.lost.value == *text
        })
}

#[test]
fn bites_when_an_edit_claims_to_have_seen_what_its_writer_has_not() {
    use crate::{fault::Fault, random::bites_at_the_end};

    bites_at_the_end(Fault::ClaimsToHaveSeen, "is neither shown nor listed");
}
