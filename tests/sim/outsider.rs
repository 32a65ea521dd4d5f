//! Offline clients: they fetch what is new through whatever node, edit what they were told at times of their own, and
//! bring their edits in through any node, again and again until they hear what became of them.

use std::{collections::BTreeMap, sync::Arc};

use grapevine::{
    model::{ChangesToken, Collection, EntityId, Fate, Floor, Meeting, OfflineEdit},
    store::{ChangesError, DeltaBudget, covers_floors, read_changes},
};
use grapevine_crdt::{Dot, Entity, FieldCell, Timestamp, VersionVector};
use rand::RngExt;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    client,
    counts::{Count, Request},
    fault::Fault,
    node::Job,
    world::{Happening, World},
};

/// The longest time between two things that a client does.
const PERIOD_MS: u64 = 300;
/// How far the clocks of clients are off.
const MAX_SKEW_MS: i64 = 3_600_000;
/// How long a client waits for an answer.
const PATIENCE_MS: u64 = 400;
/// How many pages there are at most to what is new.
const MAX_PAGES: usize = 10_000;

#[derive(Debug, Default)]
pub(crate) struct Outsider {
    /// How far its clock is off.
    skew_ms: i64,
    token: ChangesToken,
    /// What it was told, as it was told last.
    told: BTreeMap<EntityId, Entity>,
    /// What it has not heard of.
    pending: Vec<Pending>,
}

#[derive(Clone, Debug)]
struct Pending {
    edit: Arc<OfflineEdit>,
    count: Option<Count>,
    /// What it had seen when it made the edit.
    token: Arc<ChangesToken>,
    /// Until when it waits for an answer.
    waits_until_ms: u64,
}

/// An edit on its way into a node.
#[derive(Clone, Debug)]
pub(crate) struct Bringing {
    pub(crate) client: usize,
    pub(crate) edit: Arc<OfflineEdit>,
    pub(crate) count: Option<Count>,
    pub(crate) seen: VersionVector,
    /// When it was made, by the clock of the node.
    pub(crate) wanted: Timestamp,
}

/// What became of an edit, and what it met.
#[derive(Debug)]
pub(crate) struct Brought {
    pub(crate) bringing: Bringing,
    pub(crate) entity: Entity,
    pub(crate) vector: VersionVector,
    pub(crate) floor: Floor,
    pub(crate) dot: Dot,
    pub(crate) time: Timestamp,
    pub(crate) cells: Vec<FieldCell>,
    pub(crate) fate: Fate,
}

impl Bringing {
    pub(crate) fn bring(
        self,
        edit: &grapevine::store::Edit<'_>,
        vector: VersionVector,
        fault: Option<Fault>,
    ) -> Brought {
        let wanted = if fault == Some(Fault::RanksByArrival) {
            edit.time
        } else {
            self.wanted
        };
        let (cells, fate) = self.edit.bring(Meeting {
            region: None,
            entity: edit.entity,
            floor: edit.floor,
            dot: edit.dot,
            time: edit.time,
            seen: &self.seen,
            wanted,
        });
        Brought {
            bringing: self,
            entity: edit.entity.clone(),
            vector,
            floor: edit.floor.clone(),
            dot: edit.dot,
            time: edit.time,
            cells,
            fate,
        }
    }
}

impl World {
    pub(crate) fn start_outsiders(&mut self) {
        for client in 0..self.settings.outsiders {
            let skew_ms = self.rng.random_range(-MAX_SKEW_MS..=MAX_SKEW_MS);
            self.outsiders.push(Outsider {
                skew_ms,
                ..Outsider::default()
            });
            self.after(1, Happening::Outsider(client));
        }
    }

    /// Something that an offline client does.
    pub(crate) fn outsider(&mut self, client: usize) {
        let number = self.rng.random_range(0..self.nodes.len());
        if self.turmoil {
            match self.rng.random_range(0..6) {
                0 => self.fetch(client, number),
                1 | 2 => self.bring(client, number),
                _ => self.edit_offline(client),
            }
        } else {
            self.bring(client, number);
        }
        let next = self.rng.random_range(1..=PERIOD_MS);
        self.after(next, Happening::Outsider(client));
    }

    fn outsider_ms(&self, client: usize) -> i64 {
        let ms = i64::try_from(self.true_ms()).expect("not that late");
        ms + self.outsiders[client].skew_ms
    }

    fn edit_offline(&mut self, client: usize) {
        let id = Uuid::from_u128(self.rng.random());
        let (target, _) = client::draw(&mut self.rng);
        let collection = target.collection();
        // ASCII, each value once.
        let text = format!("{:08x}", self.rng.random::<u32>());
        let mut edit = json!({
            "id": id.to_string(),
            "at": self.outsider_ms(client),
            "collection": collection.name(),
            "key": target.key(),
        });
        let mut count = None;
        let (op, member, content): (&str, &str, Value) = match collection {
            Collection::Contacts => match self.rng.random_range(0..8) {
                0 | 1 => ("create", "contact", json!({ "name": text, "note": text })),
                2 => ("remove", "", Value::Null),
                3 => ("patch", "patch", json!({ "note": null })),
                4 => ("patch", "patch", json!({ "name": text, "note": text })),
                5 => ("patch", "patch", json!({ "name": text })),
                _ => ("patch", "patch", json!({ "note": text })),
            },
            Collection::Kv => match self.rng.random_range(0..3) {
                0 => ("delete", "", Value::Null),
                _ => ("put", "text", json!(text)),
            },
            Collection::Counters => {
                let by = self.rng.random_range(1..=9);
                let down = self.rng.random_bool(0.5);
                let signed = if down {
                    -i128::from(by)
                } else {
                    i128::from(by)
                };
                count = Some(Count::Once(Request::Offline(id), signed));
                let op = if down { "decrement" } else { "increment" };
                (op, "by", json!(by))
            }
            Collection::Topics | Collection::Roster | Collection::Tokens => return,
        };
        edit["op"] = op.into();
        if !member.is_empty() {
            edit[member] = content;
        }
        let edit = OfflineEdit::from_json(&edit).expect("it is a good edit");
        let outsider = &mut self.outsiders[client];
        outsider.pending.push(Pending {
            edit: Arc::new(edit),
            count,
            token: Arc::new(outsider.token.clone()),
            waits_until_ms: 0,
        });
    }

    /// Brings in what nobody has answered yet, in the order in which it was made.
    fn bring(&mut self, client: usize, number: usize) {
        let now_ms = self.now_ms;
        // The request takes its time.
        let late_ms = self.rng.random_range(0..=self.settings.max_delay_ms);
        let node_ms = self.wall_ms(number);
        let ahead_ms =
            self.outsider_ms(client) - i64::try_from(late_ms + node_ms).expect("not that late");
        if !self.nodes[number].up {
            return;
        }
        let mut brought = Vec::new();
        let node = &self.nodes[number];
        let lost = !self.history.lost.is_empty() && !self.turmoil;
        self.outsiders[client].pending.retain_mut(|pending| {
            if pending.waits_until_ms > now_ms {
                return true;
            }
            let partition = pending.edit.target.partition();
            let of = |other| other == partition;
            if !covers_floors(&pending.token, &node.state, of) {
                return false;
            }
            let lacking = pending
                .token
                .lacking(of, |partition| &node.state.partition(partition).vector);
            if lacking > 0 {
                // What it had seen may be on no disk any more.
                return !lost;
            }
            pending.waits_until_ms = now_ms + PATIENCE_MS;
            let seen = pending.token.fetched(partition);
            brought.push(Bringing {
                client,
                edit: pending.edit.clone(),
                count: pending.count.clone(),
                seen: seen.cloned().unwrap_or_default(),
                wanted: pending.edit.made_at(ahead_ms, node_ms),
            });
            true
        });
        for bringing in brought {
            self.nodes[number]
                .jobs
                .push_back(Job::Bring(Box::new(bringing)));
        }
        self.kick(number);
    }

    /// A client is told what became of an edit, unless the answer is lost.
    pub(crate) fn tell(&mut self, client: usize, edit: Uuid, fate: &Fate) {
        if self.turmoil && self.rng.random_bool(0.4) {
            return;
        }
        if matches!(fate, Fate::Applied(_)) && !self.history.brought.contains_key(&edit) {
            self.complaints
                .push(format!("{edit} is said to be applied, and is on no disk"));
        }
        if let Some(outsider) = self.outsiders.get_mut(client) {
            outsider.pending.retain(|pending| pending.edit.id != edit);
        }
    }

    /// Reads a few pages of what is new from a node.
    fn fetch(&mut self, client: usize, number: usize) {
        for _ in 0..self.rng.random_range(1..=8) {
            if !self.nodes[number].up || !self.fetch_page(client, number) {
                return;
            }
        }
    }

    /// Reads a page of what is new from a node; says whether another follows.
    fn fetch_page(&mut self, client: usize, number: usize) -> bool {
        let node = &self.nodes[number];
        let outsider = &mut self.outsiders[client];
        let vector = |partition| &node.state.partition(partition).vector;
        if outsider.token.lacking(|_| true, vector) > 0 {
            return false;
        }
        let budget = DeltaBudget {
            entities: self.settings.budget.entities,
            bytes: self.settings.budget.bytes,
        };
        let source = (number as u64) << 32 | node.opened;
        let token = outsider.token.clone();
        match read_changes(&node.rows, &node.state, source, token, budget) {
            Ok(page) => {
                outsider.told.extend(page.entities);
                outsider.token = page.token;
                page.more
            }
            Err(ChangesError::Gone) => {
                // It begins anew.
                outsider.token = ChangesToken::default();
                outsider.told.clear();
                true
            }
            Err(error) => panic!("rows in memory can be read: {error}"),
        }
    }

    /// Whether all clients heard of all their edits.
    pub(crate) fn outsiders_are_done(&self) -> bool {
        self.outsiders
            .iter()
            .all(|client| client.pending.is_empty())
    }

    /// Whoever fetches to the end has been told what is there, and nothing else.
    pub(crate) fn compare_outsiders(&mut self) -> Result<(), String> {
        for client in 0..self.outsiders.len() {
            let mut pages = 0;
            // The first time to the end of what it was in the middle of.
            for _ in 0..2 {
                while self.fetch_page(client, 0) {
                    pages += 1;
                    if pages > MAX_PAGES {
                        return Err(format!("client {client} is told more and more"));
                    }
                }
            }
            let told = shown(self.outsiders[client].told.iter());
            let held = self.history.partitions.values();
            let held: BTreeMap<EntityId, Entity> = held
                .flat_map(|writes| writes.entities.keys())
                .map(|id| (id.clone(), self.entity(0, id)))
                .collect();
            let held = shown(held.iter());
            let differing = held.iter().find(|(id, cells)| told.get(*id) != Some(cells));
            let extra = told.iter().find(|(id, _)| !held.contains_key(*id));
            if let Some((id, cells)) = differing.or(extra) {
                return Err(format!(
                    "client {client} was told {:?} of {id}, node 0 shows {:?} and not {cells:?}; token {:?}, vector {:?}, floor {:?}",
                    self.outsiders[client].told.get(id),
                    held.get(id),
                    self.outsiders[client].token.fetched(id.partition()),
                    self.nodes[0].state.partition(id.partition()).vector,
                    self.nodes[0].state.partition(id.partition()).floor,
                ));
            }
        }
        Ok(())
    }
}

fn shown<'a>(
    entities: impl Iterator<Item = (&'a EntityId, &'a Entity)>,
) -> BTreeMap<EntityId, Vec<FieldCell>> {
    let visible = entities.filter(|(_, entity)| entity.is_visible());
    let cells = visible.map(|(id, entity)| {
        let cells = entity.digested().map(|(field, cell)| FieldCell {
            field: field.clone(),
            cell: cell.clone(),
        });
        (id.clone(), cells.collect())
    });
    cells.collect()
}
