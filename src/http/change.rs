//! A change as it is told to those who listen.

use serde_json::{Value, json};

use super::{body::to_json, topics::is_double};
use crate::{
    model::{
        Collection, Contact, Counter, EntityId, Message, Retention, Topic, TopicEntity,
        kv::KeyValue, kv_json, read_topic_key,
    },
    store::Snapshot,
};

/// A key-value is told with its bytes up to this many.
const MAX_TOLD_BYTES: usize = 65_536;
/// What is larger is told without its value.
const MAX_CHANGE_BYTES: usize = 1_048_576;

/// The topic and the JSON of the message `id`, if somebody listens to that topic and it is there.
pub(super) fn topic_message(
    snapshot: &Snapshot,
    id: &EntityId,
    is_heard: impl FnOnce(&Topic) -> bool,
) -> Option<(Topic, Vec<u8>)> {
    if id.collection() != Collection::Topics {
        return None;
    }
    let (topic, entity) = read_topic_key(id.key())?;
    let TopicEntity::Message(message) = entity else {
        return None;
    };
    if !is_heard(&topic) {
        return None;
    }
    let entity = snapshot.entity(id).ok()??;
    let message = Message::read(&topic, message, &entity)?;
    if is_double(snapshot, &topic, &message).ok()? {
        return None;
    }
    Some((topic, to_json(&message).ok()?))
}

/// The JSON of a change as those who watch everything get it: the entity as it stands in `snapshot`; `None` if it
/// is the system's own, or cannot be read.
pub(super) fn watched_json(snapshot: &Snapshot, id: &EntityId, now_ms: u64) -> Option<Vec<u8>> {
    let entity = snapshot.entity(id).ok()?.unwrap_or_default();
    let shown = match id.collection() {
        Collection::Contacts => Contact::read(id.key(), &entity).map(|contact| json!(contact)),
        Collection::Counters => entity
            .is_visible()
            .then(|| json!(Counter::read(id.key(), &entity))),
        Collection::Kv => {
            KeyValue::read(&entity, now_ms).map(|value| kv_json(&value, MAX_TOLD_BYTES))
        }
        Collection::Topics => match read_topic_key(id.key())? {
            (topic, TopicEntity::Message(message)) => {
                Message::read(&topic, message, &entity).map(|message| json!(message))
            }
            (topic, TopicEntity::Settings) => {
                let retention = Retention::read(&entity);
                Some(json!({
                    "topic": topic.name(),
                    "retain_count": retention.count,
                    "retain_seconds": retention.seconds,
                }))
            }
            (_, TopicEntity::Request) => return None,
        },
        Collection::Roster | Collection::Tokens => return None,
    };
    let change = |value: Option<Value>, deleted: bool| {
        let mut change = json!({
            "collection": id.collection().name(),
            "key": id.key(),
            "deleted": deleted,
        });
        if let Some(value) = value {
            change["value"] = value;
        }
        to_json(&change).ok()
    };
    let deleted = shown.is_none();
    let json = change(shown, deleted)?;
    if json.len() > MAX_CHANGE_BYTES {
        return change(None, deleted);
    }
    Some(json)
}
