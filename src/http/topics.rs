//! `/v1/topics/{topic}/messages`: messages, in one order on every node.
//!
//! A message is named by the hybrid time at which it is posted, above every time that this node has heard of. One
//! that is posted under an `Idempotency-Key` is named first in a record of its own, which a retry finds; two
//! nodes that had not heard of each other may each have named one, and then the record says which is listed.

use std::{collections::BTreeSet, fmt::Write as _, sync::Arc};

use axum::{
    extract::{Path, Request, State, rejection::PathRejection},
    http::{HeaderValue, StatusCode, Uri, header},
    response::Response,
};
use grapevine_crdt::{LwwMap, Timestamp};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::{
    HttpState,
    body::{empty, json, json_bytes, require_json, to_json},
    conditions::{Conditions, ETag},
    counters::only_fields,
    cursor::{self, ListKind},
    describe::{Conditional, Once, Page as ListPage, Paged, Seen, TopicPath as TopicParameter},
    idempotency,
    page::{Page, foreign_cursor, read_limit},
    problem::{Problem, ProblemKind, path_text, path_texts},
    query::Parameters,
    session::{Session, Written, tracked},
};
use crate::{
    model::{
        Collection, EntityId, MAX_KEY_BYTES, Message, MessageDraft, MessageId, PostedUnder, Topic,
        read_instant,
    },
    store::{BatchWriter, HeldRow, Range, Snapshot, StoreError, list_within, list_within_back},
};

/// Before the first message of any topic, and behind the last.
const IDS: [&str; 2] = ["0", "g"];

type TopicPath = Result<Path<String>, PathRejection>;
type MessagePath = Result<Path<(String, String)>, PathRejection>;

/// Posts a message
///
/// It is listed in the same order on all nodes, and told live on each.
#[utoipa::path(post, path = "/v1/topics/{topic}/messages", tag = "topics", operation_id = "postMessage",
    params(TopicParameter, Once, Seen),
    request_body(content = MessageBody, example = json!({"author": "ada", "body": "hello"})),
    responses(
        (status = 201, description = "It is posted", body = Message, headers(("Location" = String, description = "Where it is"), ("ETag" = String, description = "Its strong entity tag")), example = json!({"id": "01974c2e-8a00-7000-8000-000000000000", "topic": "news", "author": "ada", "body": "hello", "at": "2025-06-01T12:00:00.000Z"})),
        (status = 409, description = "The key was used for another message, or what it posted was deleted")
    ))]
pub(super) async fn post(
    State(state): State<Arc<HttpState>>,
    path: TopicPath,
    request: Request,
) -> Result<Response, Problem> {
    let topic = Topic::new(path_text("topic", path)?)?;
    let (parts, body) = request.into_parts();
    Parameters::read(&parts.uri, &[])?;
    let key = idempotency::key(&parts.headers)?;
    let request = key.map(|key| idempotency::message_request(topic.name(), key));
    let body = require_json(&parts.headers, body, state.limits.max_body_bytes).await?;
    let draft = read_draft(&body)?;
    // A message is added to whatever is there; one under a key may have been posted before.
    let seen = request.map(|_| topic.settings_id().partition());
    let session = Session::of_writes(&parts.headers, &state, &seen.into_iter().collect()).await?;
    let post = Post {
        id: next_id(&state)?,
        topic: topic.clone(),
        draft,
        request,
    };
    let made = state.store.write_batch(move |writer| post.make(writer));
    let (message, written) = made.await??;
    let mut response = json(StatusCode::CREATED, &message)?;
    let headers = response.headers_mut();
    let path = format!("/v1/topics/{}/messages/{}", escape(&topic), message.id);
    let location = HeaderValue::try_from(path).map_err(|error| Problem::internal(&error))?;
    headers.insert(header::LOCATION, location);
    tag(&message).put(&mut response);
    Ok(session.answer_all(written).put(response))
}

/// Reads what is posted.
pub(super) fn read_draft(body: &Value) -> Result<MessageDraft, Problem> {
    only_fields(body, &["author", "body"])?;
    let text = |name: &str| {
        let text = body.get(name).and_then(Value::as_str).map(str::to_owned);
        text.ok_or_else(|| Problem::invalid(name, format!("{name} is needed, and is a text")))
    };
    Ok(MessageDraft::new(text("author")?, text("body")?)?)
}

/// An id above every time that this node has told or heard of.
pub(super) fn next_id(state: &HttpState) -> Result<MessageId, Problem> {
    let heard = state.store.snapshot().state().clock();
    let mut times = state.message_times.lock().expect("no holder panics");
    times.observe(heard);
    let time = times.tick(state.clock.unix_ms());
    let time = time.map_err(|error| Problem::internal(&error))?;
    Ok(MessageId::new(time, rand::random()))
}

/// A message to be posted.
pub(super) struct Post {
    pub(super) topic: Topic,
    pub(super) draft: MessageDraft,
    /// Its id, unless one is known for its request.
    pub(super) id: MessageId,
    /// The digest of its idempotency key.
    pub(super) request: Option<[u8; 16]>,
}

impl Post {
    /// Posts it: the record of its key first, if it has one.
    pub(super) fn make(
        self,
        writer: &mut BatchWriter<'_, '_>,
    ) -> Result<(Message, Vec<Written>), Problem> {
        let Self {
            topic,
            mut draft,
            mut id,
            request,
        } = self;
        let mut all = Vec::new();
        if let Some(request) = request {
            let ours = PostedUnder {
                id,
                digest: draft.digest(),
            };
            let record = topic.request_id(&request);
            let (named, written) = writer.write(&record, |edit| {
                let (cells, id) = match PostedUnder::read(edit.entity) {
                    Some(held) if held.digest == ours.digest => (Vec::new(), held.id),
                    Some(_) => return Err(refused("this key was used for another message")),
                    None if edit.entity.is_empty() => {
                        (vec![ours.put(edit.dot, edit.time)], ours.id)
                    }
                    None => return Err(deleted()),
                };
                let written = Written::of(&record, &edit, &cells);
                Ok((cells, (id, written)))
            })?;
            id = named;
            all.push(written);
            draft = draft.requested(request);
        }
        let entity = topic.message_id(&id);
        let expected = draft.clone().shown(&topic, id);
        let written = writer.write(&entity, |edit| {
            let cells = if edit.entity.is_empty() {
                vec![draft.post(edit.dot, edit.time)]
            } else if Message::read(&topic, id, edit.entity).as_ref() == Some(&expected) {
                Vec::new()
            } else {
                return Err(deleted());
            };
            let written = Written::of(&entity, &edit, &cells);
            Ok((cells, written))
        })?;
        all.push(written);
        Ok((expected, all))
    }
}

fn refused(detail: &str) -> Problem {
    Problem::new(ProblemKind::Conflict, detail).about(idempotency::FIELD)
}

fn deleted() -> Problem {
    refused("the message posted under this key was deleted")
}

/// The tag of a message, which never changes.
pub(super) fn tag(message: &Message) -> ETag {
    ETag::named(&message.id)
}

/// The name of a topic as a part of a path.
fn escape(topic: &Topic) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let mut escaped = String::new();
    for byte in topic.name().bytes() {
        if plain(byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a text does not fail.
            let _written = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

/// Which messages of a topic.
#[derive(Debug)]
struct Messages {
    topic: Topic,
    from: String,
    exclusive: bool,
    to: String,
    order: MessageOrder,
    limit: usize,
}

/// In which order messages are listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ToSchema)]
#[schema(rename_all = "lowercase")]
enum MessageOrder {
    /// The oldest first.
    #[default]
    Oldest,
    /// The newest first.
    Newest,
}

impl MessageOrder {
    fn read(parameters: &Parameters) -> Result<Self, Problem> {
        match parameters.text("order") {
            None | Some("oldest") => Ok(Self::Oldest),
            Some("newest") => Ok(Self::Newest),
            Some(_) => {
                let detail = "order is oldest (the first, and the default) or newest";
                Err(Problem::malformed("order", detail))
            }
        }
    }

    /// Cursors of one order are none of the other.
    const fn kind(self) -> ListKind {
        match self {
            Self::Oldest => ListKind::Entities(Collection::Topics),
            Self::Newest => ListKind::NewestMessages,
        }
    }
}

impl Messages {
    fn read(topic: Topic, uri: &Uri) -> Result<Self, Problem> {
        let parameters = Parameters::read(uri, &["limit", "cursor", "since", "order"])?;
        let prefix = topic.prefix();
        let [first, behind] = IDS.map(|place| format!("{prefix}{place}"));
        let since = parameters.text("since").map(read_since).transpose()?;
        let since = since.map(|time| {
            topic
                .message_id(&MessageId::first_at(time))
                .key()
                .to_owned()
        });
        let order = MessageOrder::read(&parameters)?;
        let after = parameters
            .text("cursor")
            .map(|text| {
                cursor::read_text(order.kind(), text, MAX_KEY_BYTES)
                    .filter(|key| key.starts_with(&prefix))
                    .ok_or_else(foreign_cursor)
            })
            .transpose()?;
        let limit = read_limit(&parameters)?;
        let since = since.unwrap_or(first);
        let (exclusive, from, to) = match (order, after) {
            (MessageOrder::Oldest, Some(after)) => (true, after, behind),
            (MessageOrder::Newest, Some(after)) => (false, since, after),
            (MessageOrder::Oldest | MessageOrder::Newest, None) => (false, since, behind),
        };
        Ok(Self {
            topic,
            from,
            exclusive,
            to,
            order,
            limit,
        })
    }

    fn page(&self, snapshot: &Snapshot) -> Result<Vec<u8>, Problem> {
        let mut page = Page::new(self.limit);
        let range = Range {
            partition: self.topic.settings_id().partition(),
            collection: Collection::Topics,
            from: &self.from,
            exclusive: self.exclusive,
            to: &self.to,
        };
        let mut take = |id: EntityId, row: HeldRow<'_>| {
            page.take(id.key(), || {
                if row.is_hidden() {
                    return Ok(None);
                }
                let message = Message::read_key(id.key(), &row.read()?);
                let Some(message) = message else {
                    return Ok(None);
                };
                if is_double(snapshot, &self.topic, &message)? {
                    return Ok(None);
                }
                to_json(&message).map(Some)
            })
        };
        match self.order {
            MessageOrder::Oldest => list_within(snapshot, &range, &mut take)?,
            MessageOrder::Newest => list_within_back(snapshot, &range, &mut take)?,
        }
        page.finish(self.order.kind())
    }
}

pub(super) fn read_since(text: &str) -> Result<Timestamp, Problem> {
    let number = text.parse::<i64>().map(Value::from);
    let ms = read_instant(&number.unwrap_or_else(|_| Value::from(text)));
    ms.map(|ms| Timestamp::from_unix_ms(u64::try_from(ms).unwrap_or(0)))
        .ok_or_else(|| {
            Problem::malformed(
                "since",
                "since is a time: RFC 3339, or milliseconds since 1970",
            )
        })
}

/// Whether `message` was posted under a key under which another stays.
pub(super) fn is_double(
    snapshot: &Snapshot,
    topic: &Topic,
    message: &Message,
) -> Result<bool, StoreError> {
    let Some(request) = &message.request else {
        return Ok(false);
    };
    let record = snapshot.entity(&topic.request_id(request))?;
    let record = record.as_ref().and_then(PostedUnder::read);
    Ok(record.is_some_and(|record| record.id.to_string() != message.id))
}

/// The messages of a topic
///
/// In the same order on every node, from either end.
#[utoipa::path(get, path = "/v1/topics/{topic}/messages", tag = "topics", operation_id = "listMessages",
    params(TopicParameter, ("since" = Option<String>, Query, description = "Only from this time on: RFC 3339, or milliseconds since 1970", example = "2025-06-01T00:00:00Z", pattern = "^[0-9]{1,13}$"), ("order" = Option<MessageOrder>, Query, description = "Which comes first: `oldest` if nothing is said, or `newest`. A cursor is one of the order that gave it", example = "newest"), Paged, Seen),
    responses((status = 200, description = "A page, the oldest first, or the newest", body = ListPage<Message>)))]
pub(super) async fn list(
    State(state): State<Arc<HttpState>>,
    path: TopicPath,
    request: Request,
) -> Result<Response, Problem> {
    let topic = Topic::new(path_text("topic", path)?)?;
    let messages = Messages::read(topic, request.uri())?;
    Session::of_read(request.headers(), &state).await?;
    let snapshot = state.store.snapshot();
    let bytes = tokio::task::spawn_blocking(move || messages.page(&snapshot))
        .await
        .map_err(|error| Problem::internal(&error))??;
    Ok(json_bytes(StatusCode::OK, bytes))
}

/// A message
#[utoipa::path(get, path = "/v1/topics/{topic}/messages/{id}", tag = "topics", operation_id = "getMessage",
    params(TopicParameter, MessageParameter, Conditional, Seen),
    responses((status = 200, description = "The message", body = Message, example = json!({"id": "01974c2e-8a00-7000-8000-000000000000", "topic": "news", "author": "ada", "body": "hello", "at": "2025-06-01T12:00:00.000Z"})), (status = 404, description = "")))]
pub(super) async fn get(
    State(state): State<Arc<HttpState>>,
    path: MessagePath,
    request: Request,
) -> Result<Response, Problem> {
    let (topic, id) = read_path(path)?;
    Parameters::read(request.uri(), &[])?;
    let conditions = Conditions::read(request.headers())?;
    Session::of_read(request.headers(), &state).await?;
    let entity = state.store.snapshot().entity(&topic.message_id(&id))?;
    let message = entity.and_then(|entity| Message::read(&topic, id, &entity));
    let message = message.ok_or_else(absent)?;
    let bytes = to_json(&message)?;
    conditions.answer_read(tag(&message), || json_bytes(StatusCode::OK, bytes))
}

/// Removes a message
#[utoipa::path(delete, path = "/v1/topics/{topic}/messages/{id}", tag = "topics", operation_id = "deleteMessage",
    params(TopicParameter, MessageParameter, Conditional, Seen),
    responses((status = 204, description = "It is removed"), (status = 404, description = "")))]
pub(super) async fn delete(
    State(state): State<Arc<HttpState>>,
    path: MessagePath,
    request: Request,
) -> Result<Response, Problem> {
    let (topic, id) = read_path(path)?;
    Parameters::read(request.uri(), &[])?;
    // What the session posted must be here to be removed.
    let partitions = BTreeSet::from([topic.settings_id().partition()]);
    let session = Session::of_writes(request.headers(), &state, &partitions).await?;
    let written = remove(&state, &topic, id).await?.ok_or_else(absent)?;
    Ok(session
        .answer_all(written)
        .put(empty(StatusCode::NO_CONTENT)))
}

/// Removes a message, and before it what is known of the key it was posted under; `None` if it is not there.
pub(super) async fn remove(
    state: &HttpState,
    topic: &Topic,
    id: MessageId,
) -> Result<Option<Vec<Written>>, Problem> {
    let entity = topic.message_id(&id);
    let held = state.store.snapshot().entity(&entity)?;
    let Some(message) = held.and_then(|held| Message::read(topic, id, &held)) else {
        return Ok(None);
    };
    let record = message.request.map(|request| topic.request_id(&request));
    let mut all = Vec::new();
    for entity in record.into_iter().chain([entity]) {
        let removed = state.store.write(entity.clone(), removal(entity));
        let ((), written) = removed.await?;
        all.push(written);
    }
    Ok(Some(all))
}

type Decided = Result<(Vec<grapevine_crdt::FieldCell>, ((), Written)), Problem>;

/// The edit that removes an entity as it is held then.
fn removal(entity: EntityId) -> impl FnOnce(crate::store::Edit<'_>) -> Decided + Send + 'static {
    tracked(entity, move |edit| {
        let cells = if edit.entity.is_visible() {
            LwwMap::new(edit.entity).remove(edit.dot)
        } else {
            Vec::new()
        };
        Ok::<_, Problem>((cells, ()))
    })
}

fn read_path(path: MessagePath) -> Result<(Topic, MessageId), Problem> {
    let (topic, id) = path_texts(path)?;
    let id = MessageId::parse(&id)
        .ok_or_else(|| Problem::malformed("id", "the id of a message is a UUID in lower case"))?;
    Ok((Topic::new(topic)?, id))
}

fn absent() -> Problem {
    Problem::not_found("there is no message with this id in this topic")
}

/// What is posted.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "it describes what `read_draft` reads")]
struct MessageBody {
    /// 1 to 256 bytes without control characters.
    #[schema(
        min_length = 1,
        max_length = 64,
        pattern = "^[^\\x00-\\x1f\\x7f-\\x9f]+$"
    )]
    author: String,
    /// 1 to 262,144 bytes.
    #[schema(min_length = 1, max_length = 65536)]
    body: String,
}

/// The message of a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[allow(dead_code, reason = "it describes a part of a path")]
struct MessageParameter {
    /// Its `id`: a UUID in lower case that tells its time.
    #[param(
        example = "01974c2e-8a00-7000-8000-000000000000",
        pattern = "^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"
    )]
    id: String,
}
