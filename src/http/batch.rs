//! `/v1/batch`: many writes in one request and one durable commit, with a result for each.
//!
//! All that are done become durable together. Each is judged alone, in order, and sees those before it: one that
//! fails changes nothing and ends nothing.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use grapevine_crdt::{FieldCell, RequestKey};
use serde::Serialize;
use serde_json::{Map, Value, json as object};
use uuid::Uuid;

use super::{
    HttpState, audit,
    batch_body::{BatchBody, BatchResults},
    body::{json, require_json, to_json},
    conditions::{Conditions, ETag},
    contacts, counters,
    describe::{Once, Seen},
    idempotency, kv as kv_http,
    problem::Problem,
    query::Parameters,
    session::{Session, Written},
    topics::{self, Post},
    within::Within,
};
use crate::{
    model::{
        Change, Collection, Contact, ContactDraft, Counter, Direction, EntityId, Region, Topic,
        WriteStamp, contact_edit,
        kv::{self, DEFAULT_CONTENT_TYPE},
    },
    store::{BatchWriter, Edit},
};

/// The most writes of a batch.
pub const MAX_WRITES_PER_BATCH: usize = 1_000;

/// What one write does.
enum Action {
    CreateContact(Box<ContactDraft>, Option<[u8; 32]>),
    PutContact(Box<ContactDraft>),
    PatchContact(Value),
    DeleteContact,
    Count(Direction, u64, Option<RequestKey>),
    ResetCounter,
    DeleteCounter,
    PutKv(Vec<u8>),
    DeleteKv,
    Post(Box<Post>),
}

/// A write that can be tried.
struct Write {
    id: EntityId,
    action: Action,
    conditions: Conditions,
}

/// What became of a write.
struct Done {
    status: StatusCode,
    tag: Option<ETag>,
    value: Option<Value>,
    written: Vec<Written>,
}

impl Done {
    fn new(status: StatusCode, written: Written) -> Self {
        Self {
            status,
            tag: None,
            value: None,
            written: vec![written],
        }
    }

    /// It, with what stands there now.
    fn showing<T: Serialize>(mut self, value: &T) -> Result<Self, Problem> {
        let bytes = to_json(value)?;
        self.tag = Some(ETag::of(&bytes));
        self.value = Some(object!(value));
        Ok(self)
    }
}

/// Many writes in one durable commit
///
/// Each is judged alone, in order, and sees those before it: one that fails ends no other.
#[utoipa::path(post, path = "/v1/batch", tag = "many", operation_id = "batch",
    params(Once, Seen),
    request_body(content = BatchBody, example = json!({"writes": [
        {"collection": "contacts", "op": "put", "key": "grace", "contact": {"name": "Grace Hopper"}},
        {"collection": "counters", "op": "increment", "key": "visits", "by": 2},
        {"collection": "kv", "op": "put", "key": "greetings/bye", "text": "bye", "ttl": 3600},
        {"collection": "topics", "op": "post", "key": "news", "message": {"author": "ada", "body": "three written"}}
    ]})),
    responses((status = 200, description = "What became of each, in order", body = BatchResults)))]
pub(super) async fn post(
    State(state): State<Arc<HttpState>>,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    Parameters::read(&parts.uri, &[])?;
    let key = idempotency::key(&parts.headers)?.map(str::to_owned);
    let body = require_json(&parts.headers, body, state.limits.max_body_bytes).await?;
    counters::only_fields(&body, &["writes"])?;
    let writes = body.get("writes").and_then(Value::as_array);
    let writes = writes
        .filter(|writes| (1..=MAX_WRITES_PER_BATCH).contains(&writes.len()))
        .ok_or_else(|| {
            let detail = format!("writes is a list of 1 to {MAX_WRITES_PER_BATCH} writes");
            Problem::invalid("writes", detail)
        })?;
    let now_ms = state.clock.unix_ms();
    let within = Within::of(&parts.extensions);
    let mut tried = Vec::with_capacity(writes.len());
    for (place, write) in writes.iter().enumerate() {
        let key = key.as_ref().map(|key| format!("{key}#{place}"));
        let reading = Reading {
            state: &state,
            now_ms,
            key: key.as_deref(),
            within: within.as_ref(),
        };
        tried.push(reading.write(write));
    }
    let seen = tried.iter().flatten().filter(|write| !write.is_blind());
    let seen = seen.map(|write| write.id.partition()).collect();
    let session = Session::of_writes(&parts.headers, &state, &seen).await?;
    let ids: Vec<Option<EntityId>> = tried
        .iter()
        .map(|write| write.as_ref().ok().map(|write| write.id.clone()))
        .collect();
    let region = state.region;
    let all = move |writer: &mut BatchWriter<'_, '_>| {
        let each = tried.into_iter();
        each.map(|write| write.and_then(|write| write.make(writer, (now_ms, region))))
            .collect::<Vec<_>>()
    };
    let results = state.store.write_batch(all).await?;
    let mut written = Vec::new();
    for (id, result) in ids.iter().zip(&results) {
        if let Some(id) = id {
            let outcome = if result.is_ok() { "done" } else { "not done" };
            audit::tell_part(state.audit, id, outcome);
        }
    }
    let results: Vec<Value> = results
        .into_iter()
        .map(|result| match result {
            Ok(done) => {
                written.extend(done.written);
                let mut result = object!({"status": done.status.as_u16()});
                if let Some(tag) = done.tag {
                    result["etag"] = tag.text().into();
                }
                if let Some(value) = done.value {
                    result["value"] = value;
                }
                result
            }
            Err(problem) => {
                let (status, problem) = problem.told();
                object!({"status": status.as_u16(), "problem": problem})
            }
        })
        .collect();
    let response = json(StatusCode::OK, &object!({ "results": results }))?;
    Ok(session.answer_all(written).put(response))
}

/// Reads the writes of a batch.
struct Reading<'a> {
    state: &'a HttpState,
    now_ms: u64,
    /// The idempotency key of this write.
    key: Option<&'a str>,
    /// What the token of the request is limited to.
    within: Option<&'a Within>,
}

impl Reading<'_> {
    fn write(&self, json: &Value) -> Result<Write, Problem> {
        let object = json
            .as_object()
            .ok_or_else(|| Problem::invalid("writes", "a write is a JSON object"))?;
        let (collection, op) = (text(object, "collection")?, text(object, "op")?);
        let mut members = vec!["collection", "op", "key"];
        let guarded = !matches!(op, "create" | "increment" | "decrement" | "post");
        if guarded {
            members.extend(["if_match", "if_none_match"]);
        }
        let (id, action) = match (collection, op) {
            ("contacts", _) => self.contact(object, op, &mut members)?,
            ("counters", _) => self.counter(object, op, &mut members)?,
            ("kv", _) => self.key_value(object, op, &mut members)?,
            ("topics", "post") => self.message(object, &mut members)?,
            _ => return Err(no_such(collection, op)),
        };
        if let Some(within) = self.within {
            within.check(&id)?;
        }
        if let Some(name) = object.keys().find(|name| !members.contains(&name.as_str())) {
            let detail = format!("{name} is not a member of this write");
            return Err(Problem::invalid(name, detail));
        }
        let conditions = if guarded {
            read_conditions(object)?
        } else {
            Conditions::default()
        };
        Ok(Write {
            id,
            action,
            conditions,
        })
    }

    fn contact(
        &self,
        object: &Map<String, Value>,
        op: &str,
        members: &mut Vec<&str>,
    ) -> Result<(EntityId, Action), Problem> {
        let part = |name: &str| {
            let part = object.get(name);
            part.ok_or_else(|| Problem::invalid(name, format!("{name} is needed")))
        };
        if op == "create" {
            members.retain(|name| *name != "key");
            members.push("contact");
            let contact = part("contact")?;
            let draft = ContactDraft::from_json(None, contact)?;
            let id = self.key.map_or_else(Uuid::now_v7, |key| {
                idempotency::derived_id(Collection::Contacts, key)
            });
            let hash = self
                .key
                .map(|_| *blake3::hash(contact.to_string().as_bytes()).as_bytes());
            let id = contacts::entity_id(id.hyphenated().to_string())?;
            return Ok((id, Action::CreateContact(Box::new(draft), hash)));
        }
        let id = contacts::contact_id(text(object, "key")?)?;
        let action = match op {
            "put" => {
                members.push("contact");
                let draft = ContactDraft::from_json(Some(id.key()), part("contact")?)?;
                Action::PutContact(Box::new(draft))
            }
            "patch" => {
                members.push("patch");
                Action::PatchContact(part("patch")?.clone())
            }
            "delete" => Action::DeleteContact,
            _ => return Err(no_such("contacts", op)),
        };
        Ok((id, action))
    }

    fn counter(
        &self,
        object: &Map<String, Value>,
        op: &str,
        members: &mut Vec<&str>,
    ) -> Result<(EntityId, Action), Problem> {
        let id = counters::counter_id(text(object, "key")?.to_owned())?;
        let direction = match op {
            "increment" => Direction::Increment,
            "decrement" => Direction::Decrement,
            "reset" => return Ok((id, Action::ResetCounter)),
            "delete" => return Ok((id, Action::DeleteCounter)),
            _ => return Err(no_such("counters", op)),
        };
        members.push("by");
        let by = counters::by(object.get("by"))?;
        let request = self.key.map(idempotency::request_key);
        Ok((id, Action::Count(direction, by, request)))
    }

    fn key_value(
        &self,
        object: &Map<String, Value>,
        op: &str,
        members: &mut Vec<&str>,
    ) -> Result<(EntityId, Action), Problem> {
        let id = kv_http::kv_id(text(object, "key")?.to_owned())?;
        let action = match op {
            "put" => {
                members.extend(["text", "base64", "content_type", "ttl"]);
                Action::PutKv(self.encode(object)?)
            }
            "delete" => Action::DeleteKv,
            _ => return Err(no_such("kv", op)),
        };
        Ok((id, action))
    }

    fn encode(&self, object: &Map<String, Value>) -> Result<Vec<u8>, Problem> {
        let bytes = match (object.get("text"), object.get("base64")) {
            (Some(Value::String(text)), None) => text.as_bytes().to_vec(),
            (None, Some(Value::String(text))) => STANDARD.decode(text).map_err(|_| {
                Problem::invalid("base64", "base64 is not base64 (RFC 4648, section 4)")
            })?,
            _ => return Err(Problem::invalid("text", "one of text and base64 is needed")),
        };
        let content_type = match object.get("content_type") {
            None => DEFAULT_CONTENT_TYPE,
            Some(_) => text(object, "content_type")?,
        };
        let ttl_s = match object.get("ttl") {
            None | Some(Value::Null) => None,
            Some(ttl) => Some(kv_http::parse_ttl(&ttl.to_string())?),
        };
        let expires_ms =
            ttl_s.map(|seconds| self.now_ms.saturating_add(seconds.saturating_mul(1_000)));
        Ok(kv::encode(content_type, &bytes, expires_ms)?)
    }

    fn message(
        &self,
        object: &Map<String, Value>,
        members: &mut Vec<&str>,
    ) -> Result<(EntityId, Action), Problem> {
        members.push("message");
        let topic = Topic::new(text(object, "key")?)?;
        let message = object.get("message").unwrap_or(&Value::Null);
        let post = Post {
            draft: topics::read_draft(message)?,
            id: topics::next_id(self.state)?,
            request: self
                .key
                .map(|key| idempotency::message_request(topic.name(), key)),
            topic,
        };
        let id = post.topic.message_id(&post.id);
        Ok((id, Action::Post(Box::new(post))))
    }
}

fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Result<&'a str, Problem> {
    let value = object.get(name).and_then(Value::as_str);
    value.ok_or_else(|| Problem::invalid(name, format!("{name} is needed, and is a text")))
}

fn no_such(collection: &str, op: &str) -> Problem {
    Problem::invalid("op", format!("there is no {op} of {collection}"))
}

fn read_conditions(object: &Map<String, Value>) -> Result<Conditions, Problem> {
    let mut headers = HeaderMap::new();
    for (member, header) in [
        ("if_match", header::IF_MATCH),
        ("if_none_match", header::IF_NONE_MATCH),
    ] {
        let header: HeaderName = header;
        if object.contains_key(member) {
            let value = HeaderValue::try_from(text(object, member)?)
                .map_err(|_| Problem::invalid(member, format!("{member} is no condition")))?;
            headers.insert(header, value);
        }
    }
    Conditions::read(&headers)
}

/// Makes one write, and says what must be held to see it.
fn tell<T>(
    writer: &mut BatchWriter<'_, '_>,
    id: &EntityId,
    edit: impl FnOnce(&Edit<'_>) -> Result<(Vec<FieldCell>, T), Problem>,
) -> Result<(T, Written), Problem> {
    let told = writer.write(id, |context| {
        let (cells, value) = edit(&context)?;
        let written = Written::of(id, &context, &cells);
        Ok::<_, Problem>((cells, (value, written)))
    });
    Ok(told?)
}

impl Write {
    /// Whether it says the same whatever is there, so that it needs to have seen nothing.
    fn is_blind(&self) -> bool {
        match &self.action {
            Action::CreateContact(_, request) => request.is_none(),
            Action::Post(post) => post.request.is_none(),
            Action::Count(..) => true,
            Action::PutKv(_) => self.conditions.is_empty(),
            Action::PutContact(_)
            | Action::PatchContact(_)
            | Action::DeleteContact
            | Action::ResetCounter
            | Action::DeleteCounter
            | Action::DeleteKv => false,
        }
    }

    /// Makes it, with what was made before it.
    fn make(
        self,
        writer: &mut BatchWriter<'_, '_>,
        (now_ms, region): (u64, Option<Region>),
    ) -> Result<Done, Problem> {
        let Self {
            id,
            action,
            conditions,
        } = self;
        match action {
            Action::CreateContact(draft, hash) => {
                create_contact(writer, &id, (&draft, hash.as_ref()), region)
            }
            Action::PutContact(draft) => put_contact(writer, &id, (&draft, &conditions), region),
            Action::PatchContact(patch) => {
                patch_contact(writer, &id, (&patch, &conditions), region)
            }
            Action::DeleteContact => delete_contact(writer, &id, &conditions),
            Action::Count(direction, by, request) => count(writer, &id, (direction, by), request),
            Action::ResetCounter => reset_counter(writer, &id, &conditions),
            Action::DeleteCounter => delete_counter(writer, &id, &conditions),
            Action::PutKv(encoded) => {
                let (dot, written) = tell(writer, &id, |edit| {
                    kv_http::check(&conditions, edit.entity, now_ms)?;
                    Ok((vec![kv::put(encoded, edit.dot, edit.time)], edit.dot))
                })?;
                let mut done = Done::new(StatusCode::NO_CONTENT, written);
                done.tag = Some(kv_http::tag(dot));
                Ok(done)
            }
            Action::DeleteKv => {
                let ((), written) = tell(writer, &id, |edit| {
                    kv_http::check(&conditions, edit.entity, now_ms)?;
                    Ok((kv::delete(edit.entity, false, edit.dot, edit.time), ()))
                })?;
                Ok(Done::new(StatusCode::NO_CONTENT, written))
            }
            Action::Post(post) => {
                let (message, written) = post.make(writer)?;
                Ok(Done {
                    status: StatusCode::CREATED,
                    tag: Some(topics::tag(&message)),
                    value: Some(object!(message)),
                    written,
                })
            }
        }
    }
}

fn create_contact(
    writer: &mut BatchWriter<'_, '_>,
    id: &EntityId,
    (draft, hash): (&ContactDraft, Option<&[u8; 32]>),
    region: Option<Region>,
) -> Result<Done, Problem> {
    let (contact, written) = tell(writer, id, |edit| {
        let cells = match hash {
            None => {
                let stamp = WriteStamp {
                    collected: None,
                    ..contacts::stamp(edit, region)
                };
                contact_edit::put(edit.entity, draft, stamp).0
            }
            Some(hash) => contacts::create_once(edit, draft, hash, region)?,
        };
        let contact = contacts::show(id.key(), edit, &cells)?;
        Ok((cells, contact))
    })?;
    Done::new(StatusCode::CREATED, written).showing(&contact)
}

fn put_contact(
    writer: &mut BatchWriter<'_, '_>,
    id: &EntityId,
    (draft, conditions): (&ContactDraft, &Conditions),
    region: Option<Region>,
) -> Result<Done, Problem> {
    let ((contact, change), written) = tell(writer, id, |edit| {
        contacts::check(conditions, id.key(), edit.entity)?;
        let (cells, change) = contact_edit::put(edit.entity, draft, contacts::stamp(edit, region));
        let contact = contacts::show(id.key(), edit, &cells)?;
        Ok((cells, (contact, change)))
    })?;
    let status = match change {
        Change::Created => StatusCode::CREATED,
        Change::Updated | Change::Unchanged => StatusCode::OK,
    };
    Done::new(status, written).showing(&contact)
}

fn patch_contact(
    writer: &mut BatchWriter<'_, '_>,
    id: &EntityId,
    (patch, conditions): (&Value, &Conditions),
    region: Option<Region>,
) -> Result<Done, Problem> {
    let (contact, written) = tell(writer, id, |edit| {
        contacts::check(conditions, id.key(), edit.entity)?;
        let current = Contact::read(id.key(), edit.entity).ok_or_else(contacts::absent)?;
        let draft = ContactDraft::patched(&current, patch)?;
        let (cells, _) = contact_edit::put(edit.entity, &draft, contacts::stamp(edit, region));
        let contact = contacts::show(id.key(), edit, &cells)?;
        Ok((cells, contact))
    })?;
    Done::new(StatusCode::OK, written).showing(&contact)
}

fn delete_contact(
    writer: &mut BatchWriter<'_, '_>,
    id: &EntityId,
    conditions: &Conditions,
) -> Result<Done, Problem> {
    let ((), written) = tell(writer, id, |edit| {
        contacts::check(conditions, id.key(), edit.entity)?;
        let cells = contact_edit::delete(edit.entity, edit.dot);
        if cells.is_empty() {
            return Err(contacts::absent());
        }
        Ok((cells, ()))
    })?;
    Ok(Done::new(StatusCode::NO_CONTENT, written))
}

fn count(
    writer: &mut BatchWriter<'_, '_>,
    id: &EntityId,
    (direction, by): (Direction, u64),
    request: Option<RequestKey>,
) -> Result<Done, Problem> {
    let (counter, written) = tell(writer, id, |edit| {
        let (entity, dot) = (edit.entity, edit.dot);
        let cells = match request {
            None => Counter::count(entity, direction, by, dot),
            Some(request) => Counter::count_once(entity, direction, by, request, dot),
        }?;
        let counter = Counter::after(id.key(), entity, &cells);
        Ok((cells, counter))
    })?;
    Done::new(StatusCode::OK, written).showing(&counter)
}

fn reset_counter(
    writer: &mut BatchWriter<'_, '_>,
    id: &EntityId,
    conditions: &Conditions,
) -> Result<Done, Problem> {
    let (counter, written) = tell(writer, id, |edit| {
        counters::check(conditions, id.key(), edit.entity)?;
        let cells = Counter::reset(edit.entity, edit.dot);
        let counter = Counter::after(id.key(), edit.entity, &cells);
        Ok((cells, counter))
    })?;
    Done::new(StatusCode::OK, written).showing(&counter)
}

fn delete_counter(
    writer: &mut BatchWriter<'_, '_>,
    id: &EntityId,
    conditions: &Conditions,
) -> Result<Done, Problem> {
    let ((), written) = tell(writer, id, |edit| {
        counters::check(conditions, id.key(), edit.entity)?;
        let cells = Counter::delete(edit.entity, edit.dot);
        if cells.is_empty() {
            return Err(counters::absent());
        }
        Ok((cells, ()))
    })?;
    Ok(Done::new(StatusCode::NO_CONTENT, written))
}
