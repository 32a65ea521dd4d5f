//! Tells the story of one entity: `SEED=… WATCH=contacts/key-1 cargo test --test sim random`.

use std::fmt::Write as _;

use grapevine::{
    model::{Claim, EntityCells, Floor},
    store::{Group, read_entity},
};
use grapevine_crdt::{
    CausalContext, Cell, Dot, Entity, FieldCell, FieldKey, ReplicaId, Value, VersionVector,
};

use crate::world::World;

impl World {
    /// What a node holds of the entity that is watched.
    pub(crate) fn watched_at(&self, number: usize) -> Entity {
        let rows = &self.nodes[number].rows;
        let held = self.watched.as_ref().and_then(|id| {
            let held = read_entity(rows, id);
            held.expect("rows in memory can be read")
        });
        held.unwrap_or_default()
    }

    /// Tells what a group that a node shows made of the entity that is watched.
    pub(crate) fn tell_watched(&self, number: usize, held: &Entity, group: &Group) {
        let Some(id) = &self.watched else {
            return;
        };
        let ops = group.ops.iter().filter(|op| op.partition == id.partition());
        let mut story = String::new();
        for op in ops {
            let of: Vec<&EntityCells> = op
                .entities
                .iter()
                .filter(|entity| entity.id == *id)
                .collect();
            let cells = of.iter().flat_map(|entity| &entity.cells);
            let cells: Vec<String> = cells.map(field_cell).collect();
            let claim = match &op.claim {
                Claim::Nothing => "nothing".to_owned(),
                Claim::Advance {
                    replica,
                    after,
                    upto,
                    needs,
                } => {
                    let needs: Vec<String> = needs.iter().map(dot).collect();
                    let (replica, after, upto) = (short(*replica), after.get(), upto.get());
                    format!("advance {replica} {after}..{upto} beside {needs:?}")
                }
                Claim::Absorb { vector, floor } => {
                    format!("absorb {} {}", told(vector), told_floor(floor))
                }
                Claim::Repair => "repair".to_owned(),
                Claim::Recount => "recount".to_owned(),
                Claim::Collect { stable, ids } => {
                    format!("collect {} {}", told(stable), ids.contains(id))
                }
                Claim::Rejoin(rejoin) => {
                    let names = rejoin.held.iter().find(|(held, _)| held == id);
                    let names = names.map(|(_, names)| {
                        names.iter().map(|name| dot(name.dot)).collect::<Vec<_>>()
                    });
                    format!(
                        "rejoin {} {} returning {} refresh_theirs {} held {names:?}",
                        told(&rejoin.vector),
                        told_floor(&rejoin.floor),
                        rejoin.returning,
                        rejoin.refresh_theirs,
                    )
                }
            };
            if !cells.is_empty() || !matches!(op.claim, Claim::Nothing) {
                let _ = write!(story, "\n        {claim} {cells:?}");
            }
        }
        if story.is_empty() {
            return;
        }
        let node = &self.nodes[number];
        let now = read_entity(&node.rows, id)
            .expect("rows in memory can be read")
            .unwrap_or_default();
        let after = node.state.partition(id.partition());
        eprintln!(
            "{:>6} node {number} ({}){story}\n        vector {} floor {}",
            self.now_ms,
            short(node.life),
            told(&after.vector),
            told_floor(&after.floor),
        );
        if now != *held {
            eprintln!("        was {}\n        is  {}", entity(held), entity(&now));
        }
    }
}

impl World {
    /// Tells what a node reads in its roster, if that is something else than before.
    pub(crate) fn tell_roster(&mut self, number: usize) {
        if self.watched.is_none() {
            return;
        }
        let mut story = String::new();
        for (member, of) in self.members(number) {
            let _ = write!(story, " {of}:{}", short(member));
        }
        story.push_str(" expelled");
        for (_, who, by) in self.expulsions(number) {
            let _ = write!(story, " {who}/{}:{}", by.by.as_u128(), by.mark);
        }
        let told = self.told.entry(number).or_default();
        if *told != story {
            let node = &self.nodes[number];
            eprintln!(
                "{:>6} node {number} ({}, store {}) roster{story}",
                self.now_ms,
                short(node.life),
                node.store
            );
            *told = story;
        }
    }

    /// Tells something.
    pub(crate) fn narrate(&self, what: impl FnOnce() -> String) {
        if self.watched.is_some() {
            eprintln!("{:>6} {}", self.now_ms, what());
        }
    }
}

pub(crate) fn short(replica: ReplicaId) -> String {
    replica.to_string().chars().take(4).collect()
}

fn dot(dot: Dot) -> String {
    format!("{}.{}", short(dot.replica), dot.seq.get())
}

fn told(vector: &VersionVector) -> String {
    let entries: Vec<String> = vector
        .iter()
        .map(|(replica, seq)| format!("{}.{}", short(replica), seq.get()))
        .collect();
    format!("<{}>", entries.join(" "))
}

fn told_floor(floor: &Floor) -> String {
    told(&floor.vector)
}

fn context(dots: &CausalContext) -> String {
    let dots: Vec<String> = dots.iter().map(dot).collect();
    dots.join(" ")
}

fn key(field: &FieldKey) -> String {
    match field {
        FieldKey::Removal(replica) => format!("removal {}", short(*replica)),
        FieldKey::Clearing(replica) => format!("clearing {}", short(*replica)),
        FieldKey::Register(name) | FieldKey::Attribute(name) => name.clone(),
        _ => format!("{field:?}"),
    }
}

fn cell(cell: &Cell) -> String {
    let value = match &cell.value {
        Value::Dots(dots) => format!("of [{}]", context(dots)),
        Value::Tombstone => "gone".to_owned(),
        Value::Bytes(bytes) => format!("{bytes:?}"),
        Value::Counted => format!("{}", cell.rank.get()),
    };
    let seen = context(&cell.seen);
    format!(
        "{} @{} {value} seen [{seen}]",
        dot(cell.dot),
        cell.rank.get() % 10_000_000_000
    )
}

fn field_cell(told: &FieldCell) -> String {
    format!("{}: {}", key(&told.field), cell(&told.cell))
}

fn entity(entity: &Entity) -> String {
    let cells: Vec<String> = entity
        .cells()
        .map(|(field, held)| format!("\n            {}: {}", key(field), cell(held)))
        .collect();
    let shown = if entity.is_visible() {
        "shown"
    } else {
        "hidden"
    };
    format!("{shown} {}", cells.join(""))
}
