//! The edits of an offline client: read from JSON, and decided against what is held when they are brought in.
//!
//! An edit has an id of the client's own. What it creates is named after it, what it counts is a slot named after
//! it, and beside what it sets or deletes it leaves a *trace*: a tombstone of rank 0 in a field named after it. So it is
//! known again when it is brought a second time, through any node that has heard of the first, whatever has become
//! of what it wrote: two nodes whose clocks differ would rank it differently, and one that ranks it later would let
//! it win over an edit that replaced it. Traces are tombstones, and collected like them; a client that has not seen
//! what was collected is told that what it edits is gone.
//!
//! Its mark stands in the times of what it writes too: two nodes that had not heard of each other are known to
//! have written the same.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use grapevine_crdt::{
    CausalContext, Cell, Dot, Entity, FieldCell, FieldKey, OutsideEdit, Rank, RequestKey,
    Timestamp, Value as CellValue, Verdict, VersionVector,
};
use serde::Serialize;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    Collection, ContactDraft, Counter, Creation, Direction, EntityId, Floor, Region, WriteStamp,
    contact_edit, contact_key,
    instant::{read_instant, rfc3339},
    kv::{self, DEFAULT_CONTENT_TYPE, KeyValue},
    offline_contact::{self, ContactPatch},
};

/// A value that won is told whole up to this many bytes.
const MAX_WINNER_BYTES: usize = 4_096;

/// Before the id of an edit in the name of its trace.
const TRACE_PREFIX: &str = "edit/";

/// What an edit does.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Action {
    Create(Box<ContactDraft>, [u8; 32]),
    Patch(ContactPatch),
    Remove,
    Put(Vec<u8>),
    Delete,
    Count(Direction, u64),
}

/// An edit that a client made offline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfflineEdit {
    /// The client's name for it.
    pub id: Uuid,
    /// What it is for.
    pub target: EntityId,
    /// When it was made, by the client's clock (milliseconds since 1970-01-01T00:00:00Z).
    pub at_ms: i64,
    action: Action,
}

/// A field in which something later stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct LostTo {
    /// The field, as a patch names it.
    pub field: String,
    /// What stands there; null if it was deleted.
    pub value: Value,
    /// When that was written (RFC 3339).
    pub at: String,
    /// The replica that wrote it.
    pub by: String,
}

/// What becomes of an edit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is written; in these fields something later stands all the same.
    Applied(Vec<LostTo>),
    /// It was brought before, or what is there says the same.
    AlreadyThere,
    /// Something later stands everywhere; nothing is written.
    Lost(Vec<LostTo>),
    /// What it is for is not there any more; nothing is written.
    Gone,
    /// It cannot be done; nothing is written.
    Rejected(String),
}

/// What an edit meets at the replica to which it is brought.
#[derive(Clone, Copy, Debug)]
pub struct Meeting<'a> {
    /// What it is for, as it is held.
    pub entity: &'a Entity,
    /// What was collected of the partition.
    pub floor: &'a Floor,
    /// The write that brings it in.
    pub dot: Dot,
    /// The time of that write.
    pub time: Timestamp,
    /// What its client had taken in of the partition.
    pub seen: &'a VersionVector,
    /// When it was made, by the clock of this replica: see [`OfflineEdit::made_at`].
    pub wanted: Timestamp,
    /// Where phones are read as they are written there.
    pub region: Option<Region>,
}

impl OfflineEdit {
    /// When it was made, by a clock that shows `now_ms` and `ahead_ms` less than the client's; never later than
    /// that.
    #[must_use]
    pub fn made_at(&self, ahead_ms: i64, now_ms: u64) -> Timestamp {
        let at_ms = self.at_ms.saturating_sub(ahead_ms);
        let at_ms = u64::try_from(at_ms).unwrap_or(0);
        Timestamp::from_unix_ms(at_ms.min(now_ms))
    }

    /// What becomes of it, and the cells of the write that brings it in.
    #[must_use]
    pub fn bring(&self, meeting: Meeting<'_>) -> (Vec<FieldCell>, Fate) {
        // What another replica has collected may have gone from here with a clearing, and not by our floor.
        let mut cleared = meeting.entity.clearings().flat_map(CausalContext::iter);
        if !meeting.seen.includes(&meeting.floor.vector)
            || cleared.any(|dot| !meeting.seen.covers(dot))
        {
            // Something was collected: whether the client knew what it edits is not known.
            return (Vec::new(), Fate::Gone);
        }
        let outside = OutsideEdit {
            entity: meeting.entity,
            seen: meeting.seen,
            floor: meeting.floor.rank,
            wanted: meeting.wanted,
            latest: meeting.time,
            mark: self.mark(),
        };
        self.decide(&outside, meeting)
    }

    /// Reads an edit; says what is wrong with it if it is none.
    pub fn from_json(json: &Value) -> Result<Self, String> {
        let object = json.as_object().ok_or("an edit is a JSON object")?;
        let id = text(object, "id")?;
        let id = Uuid::try_parse(id).map_err(|_| "id is a UUID")?;
        let at_ms = object.get("at").and_then(read_instant);
        let at_ms = at_ms.ok_or("at is a time (RFC 3339, or milliseconds)")?;
        let (collection, op) = (text(object, "collection")?, text(object, "op")?);
        let (action, members): (Action, &[&str]) = match (collection, op) {
            ("contacts", "create") => (create(object, id)?, &["contact"]),
            ("contacts", "patch") => {
                let patch = object.get("patch").ok_or("patch is needed")?;
                let patch = ContactPatch::read(patch).map_err(|error| error.to_string())?;
                (Action::Patch(patch), &["patch"])
            }
            ("contacts", "remove") => (Action::Remove, &[]),
            ("kv", "put") => (put(object)?, &["text", "base64", "content_type"]),
            ("kv", "delete") => (Action::Delete, &[]),
            ("counters", "increment") => (count(object, Direction::Increment)?, &["by"]),
            ("counters", "decrement") => (count(object, Direction::Decrement)?, &["by"]),
            _ => return Err(format!("there is no {op} of {collection}")),
        };
        let known = ["id", "at", "collection", "key", "op"];
        let unknown =
            |name: &&String| !known.contains(&name.as_str()) && !members.contains(&name.as_str());
        if let Some(name) = object.keys().find(unknown) {
            return Err(format!("{name} is not a member of this edit"));
        }
        Ok(Self {
            id,
            target: target(object, &action, id)?,
            at_ms,
            action,
        })
    }

    /// What stands in the times of what it writes.
    fn mark(&self) -> u16 {
        let hash = blake3::hash(self.id.as_bytes());
        u16::from_be_bytes([hash.as_bytes()[0], hash.as_bytes()[1]])
    }

    /// The name of the field that tells that it was brought.
    fn trace(&self) -> String {
        format!("{TRACE_PREFIX}{}", self.id.simple())
    }

    /// Under which slot it counts.
    fn request_key(&self) -> RequestKey {
        let hash = blake3::derive_key("grapevine 2025 offline count", self.id.as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        RequestKey::from_bytes(bytes)
    }

    /// What becomes of it by the write of the `meeting`, and the cells of that write.
    fn decide(&self, outside: &OutsideEdit<'_>, meeting: Meeting<'_>) -> (Vec<FieldCell>, Fate) {
        let (dot, region) = (meeting.dot, meeting.region);
        match &self.action {
            Action::Create(draft, hash) => {
                let name = FieldKey::Attribute("name".to_owned());
                let time = outside.rank(&name).time();
                let stamp = WriteStamp {
                    dot,
                    time,
                    // What was collected under the same key must not come back.
                    collected: Some(&meeting.floor.vector),
                    region,
                };
                match contact_edit::create(outside.entity, draft, hash, stamp) {
                    Creation::Made(cells) => (cells, Fate::Applied(Vec::new())),
                    Creation::Repeated => (Vec::new(), Fate::AlreadyThere),
                    Creation::Deleted => (Vec::new(), Fate::Gone),
                    Creation::KeyReused => {
                        let why = "another contact has this key".to_owned();
                        (Vec::new(), Fate::Rejected(why))
                    }
                }
            }
            Action::Patch(patch) => {
                let trace = FieldKey::Attribute(self.trace());
                traced(outside, trace, dot, || {
                    patch.decide(outside, self.at_ms, (dot, region))
                })
            }
            Action::Remove => offline_contact::remove(outside, dot),
            Action::Put(encoded) => {
                let trace = FieldKey::Register(self.trace());
                let value = CellValue::Bytes(encoded.clone());
                traced(outside, trace, dot, || register(outside, value, dot))
            }
            Action::Delete => {
                let trace = FieldKey::Register(self.trace());
                let value = CellValue::Tombstone;
                traced(outside, trace, dot, || register(outside, value, dot))
            }
            Action::Count(direction, by) => {
                let (entity, request) = (outside.entity, self.request_key());
                match Counter::count_once(entity, *direction, *by, request, dot) {
                    Ok(cells) if cells.is_empty() => (cells, Fate::AlreadyThere),
                    Ok(cells) => (cells, Fate::Applied(Vec::new())),
                    Err(error) => (Vec::new(), Fate::Rejected(error.to_string())),
                }
            }
        }
    }
}

/// What becomes of an edit that leaves a trace: nothing more if that is there.
fn traced(
    outside: &OutsideEdit<'_>,
    trace: FieldKey,
    dot: Dot,
    decide: impl FnOnce() -> (Vec<FieldCell>, Fate),
) -> (Vec<FieldCell>, Fate) {
    if outside.entity.field(&trace).is_some() {
        let removed = matches!(trace, FieldKey::Attribute(_)) && !outside.entity.is_visible();
        let fate = if removed {
            Fate::Gone
        } else {
            Fate::AlreadyThere
        };
        return (Vec::new(), fate);
    }
    let (mut cells, fate) = decide();
    if !cells.is_empty() {
        cells.push(FieldCell {
            field: trace,
            cell: Cell {
                rank: Rank::default(),
                dot,
                seen: CausalContext::default(),
                value: CellValue::Tombstone,
            },
        });
    }
    (cells, fate)
}

fn register(outside: &OutsideEdit<'_>, value: CellValue, dot: Dot) -> (Vec<FieldCell>, Fate) {
    match outside.decide(kv::field(), value, dot) {
        Verdict::Written(cell) => (vec![cell], Fate::Applied(Vec::new())),
        Verdict::Held => (Vec::new(), Fate::AlreadyThere),
        Verdict::Lost(cell) => {
            let value = kv::shown(cell).map(|value| kv_json(&value, MAX_WINNER_BYTES));
            let lost = LostTo {
                field: "value".to_owned(),
                value: value.unwrap_or(Value::Null),
                at: rfc3339(cell.rank.time()),
                by: cell.dot.replica.to_string(),
            };
            (Vec::new(), Fate::Lost(vec![lost]))
        }
    }
}

/// A key-value as offline clients get it: its bytes as `text` if they are UTF-8, else as `base64`; without either
/// if there are more than `max_bytes`.
#[must_use]
pub fn kv_json(value: &KeyValue<'_>, max_bytes: usize) -> Value {
    let mut json = json!({
        "content_type": value.content_type,
        "size": value.bytes.len(),
        "updated_at": rfc3339(value.updated),
    });
    if let Some(expires) = value.expires_ms {
        json["expires_at"] = rfc3339(Timestamp::from_unix_ms(expires)).into();
    }
    if value.bytes.len() <= max_bytes {
        match core::str::from_utf8(value.bytes) {
            Ok(text) => json["text"] = text.into(),
            Err(_) => json["base64"] = STANDARD.encode(value.bytes).into(),
        }
    }
    json
}

fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Result<&'a str, String> {
    let value = object.get(name).and_then(Value::as_str);
    value.ok_or_else(|| format!("{name} is a text"))
}

fn create(object: &Map<String, Value>, id: Uuid) -> Result<Action, String> {
    let contact = object.get("contact").ok_or("contact is needed")?;
    let draft = ContactDraft::from_json(None, contact).map_err(|error| error.to_string())?;
    let mut hasher = blake3::Hasher::new_derive_key("grapevine 2025 offline creation");
    hasher.update(id.as_bytes());
    hasher.update(contact.to_string().as_bytes());
    let hash = *hasher.finalize().as_bytes();
    Ok(Action::Create(Box::new(draft), hash))
}

fn put(object: &Map<String, Value>) -> Result<Action, String> {
    let bytes = match (object.get("text"), object.get("base64")) {
        (Some(Value::String(text)), None) => text.as_bytes().to_vec(),
        (None, Some(Value::String(text))) => STANDARD
            .decode(text)
            .map_err(|_| "base64 is not base64 (RFC 4648, section 4)")?,
        _ => return Err("one of text and base64 is needed".to_owned()),
    };
    let content_type = match object.get("content_type") {
        None => DEFAULT_CONTENT_TYPE,
        Some(value) => value.as_str().ok_or("content_type is a text")?,
    };
    let encoded = kv::encode(content_type, &bytes, None).map_err(|error| error.to_string())?;
    Ok(Action::Put(encoded))
}

fn count(object: &Map<String, Value>, direction: Direction) -> Result<Action, String> {
    let by = match object.get("by") {
        None => Some(1),
        Some(by) => by.as_u64().filter(|by| *by > 0),
    };
    by.map(|by| Action::Count(direction, by))
        .ok_or_else(|| format!("by is a whole number from 1 to {}", u64::MAX))
}

/// What an edit is for. What it creates without saying a key has one that follows from the edit.
fn target(object: &Map<String, Value>, action: &Action, id: Uuid) -> Result<EntityId, String> {
    let contacts = matches!(
        action,
        Action::Create(..) | Action::Patch(_) | Action::Remove
    );
    let key = match object.get("key") {
        None if matches!(action, Action::Create(..)) => {
            let hash = blake3::derive_key("grapevine 2025 offline contact", id.as_bytes());
            let mut bytes = [0; 16];
            bytes.copy_from_slice(&hash[..16]);
            Uuid::new_v8(bytes).hyphenated().to_string()
        }
        _ if contacts => contact_key(text(object, "key")?).map_err(|error| error.to_string())?,
        _ => text(object, "key")?.to_owned(),
    };
    let collection = match action {
        Action::Create(..) | Action::Patch(_) | Action::Remove => Collection::Contacts,
        Action::Put(_) | Action::Delete => Collection::Kv,
        Action::Count(..) => Collection::Counters,
    };
    EntityId::new(collection, key).map_err(|error| error.to_string())
}
