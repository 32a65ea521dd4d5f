//! `/v1/topics/{topic}/stream` and `/v1/watch`: what this node takes in, live.
//!
//! Both are server-sent events; `/v1/watch` is a WebSocket too, for who asks for one. Where a listener stopped is a
//! token of version vectors, with which it goes on at any node.

use std::{sync::Arc, time::Duration};

use axum::{
    body::Bytes,
    extract::{
        FromRequestParts, Path, Request, State,
        rejection::PathRejection,
        ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code},
    },
    http::{HeaderMap, header},
    response::Response,
};
use tokio::time::timeout;
use utoipa::IntoParams;

use super::{
    HttpState,
    changes::read_token,
    describe::{Prefixed, TopicPath as TopicParameter},
    events,
    frame::Content,
    listener::{Filter, Listener, Told},
    problem::{Problem, path_text},
    query::Parameters,
    topics::read_since,
    within::{Holder, Within},
};
use crate::model::{ChangesToken, Collection, MessageId, Topic};

const LAST_EVENT_ID: &str = "last-event-id";
/// As the problem names it.
const FIELD: &str = "Last-Event-ID";
/// A WebSocket whose client takes nothing for so long is dropped.
const MAX_SEND_TIME: Duration = Duration::from_secs(30);
/// The most bytes of a message of a client, of which none is read.
const MAX_CLIENT_MESSAGE_BYTES: usize = 4_096;

type TopicPath = Result<Path<String>, PathRejection>;

/// The messages of a topic, live
///
/// Those that this node takes in, whether they were posted here or come from a peer.
#[utoipa::path(get, path = "/v1/topics/{topic}/stream", tag = "live", operation_id = "streamTopic",
    params(TopicParameter, ("since" = Option<String>, Query, description = "First the messages from this time on: RFC 3339, or milliseconds since 1970", example = "2025-06-01T00:00:00Z", pattern = "^[0-9]{1,13}$"), LastEvent),
    responses((status = 200, description = "Server-sent events: `message` with a message, `overflow` before one that reads too slowly is cut", body = String, content_type = "text/event-stream")))]
pub(super) async fn stream(
    State(state): State<Arc<HttpState>>,
    path: TopicPath,
    request: Request,
) -> Result<Response, Problem> {
    let topic = Topic::new(path_text("topic", path)?)?;
    let parameters = Parameters::read(request.uri(), &["since"])?;
    let from = parameters.text("since").map(read_since).transpose()?;
    let seen = last_event(request.headers())?
        .map(|token| {
            let vector = token.fetched(topic.settings_id().partition()).cloned();
            vector.ok_or_else(|| Problem::malformed(FIELD, "it is that of another stream"))
        })
        .transpose()?;
    let from = from.map(MessageId::first_at);
    let holder = Holder::of(request.extensions());
    let listener = Listener::listen(state, topic, seen, from).await?;
    Ok(events::answer(listener.held_by(holder)))
}

/// Every change, live
///
/// As server-sent events, or as a WebSocket to who asks for one.
#[utoipa::path(get, path = "/v1/watch", tag = "live", operation_id = "watch",
    params(("collection" = Option<String>, Query, description = "Only this collection", example = "kv", pattern = "^(contacts|counters|kv|topics)$"), Prefixed, ("since" = Option<String>, Query, description = "Goes on from there: the `id` of an event, or a token of `/v1/changes`"), LastEvent),
    responses((status = 101, description = "A WebSocket, if it was asked for: each change is a text message"), (status = 200, description = "Server-sent events: `change` with `collection`, `key`, `deleted` and `value`, `overflow` before one that reads too slowly is cut", body = String, content_type = "text/event-stream"), (status = 410, description = "")))]
pub(super) async fn watch(
    State(state): State<Arc<HttpState>>,
    request: Request,
) -> Result<Response, Problem> {
    let (mut parts, _body) = request.into_parts();
    let parameters = Parameters::read(&parts.uri, &["collection", "prefix", "since"])?;
    let collection = parameters
        .text("collection")
        .map(read_collection)
        .transpose()?;
    let since = match last_event(&parts.headers)? {
        Some(token) => Some(token),
        None => parameters.text("since").map(read_token).transpose()?,
    };
    let filter = Filter {
        collection,
        prefix: parameters.text("prefix").unwrap_or_default().to_owned(),
        within: Within::of(&parts.extensions),
    };
    let holder = Holder::of(&parts.extensions);
    if let (Some(within), Some(collection)) = (&filter.within, collection) {
        within.check_collection(collection)?;
    }
    if !parts.headers.contains_key(header::UPGRADE) {
        let listener = Listener::watch(state, filter, since).await?.held_by(holder);
        return Ok(events::answer(listener));
    }
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &())
        .await
        .map_err(|rejection| Problem::malformed("Upgrade", rejection.body_text()))?;
    let listener = Listener::watch(state, filter, since).await?.held_by(holder);
    Ok(upgrade
        .max_message_size(MAX_CLIENT_MESSAGE_BYTES)
        .on_upgrade(move |socket| tell(socket, listener)))
}

fn read_collection(name: &str) -> Result<Collection, Problem> {
    Collection::of_users(name).ok_or_else(|| {
        let names = Collection::OF_USERS.map(Collection::name).join(", ");
        Problem::malformed("collection", format!("the collections are: {names}"))
    })
}

/// Where the listener stopped.
fn last_event(headers: &HeaderMap) -> Result<Option<ChangesToken>, Problem> {
    let Some(value) = headers.get(LAST_EVENT_ID) else {
        return Ok(None);
    };
    ChangesToken::from_text(value.to_str().unwrap_or_default())
        .map(Some)
        .map_err(|error| Problem::malformed(FIELD, error.to_string()))
}

/// Tells `listener` everything through `socket`. What the client says is not listened to.
async fn tell(mut socket: WebSocket, mut listener: Listener) {
    loop {
        let mut next = Box::pin(listener.next());
        let (after, told) = loop {
            tokio::select! {
                next = &mut next => break next,
                said = socket.recv() => match said {
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    Some(Ok(_)) => {}
                },
            }
        };
        listener = after;
        let end = match &told {
            Told::Missed(..) | Told::Came(..) => None,
            Told::Overflow => Some((close_code::AGAIN, "you read too slowly")),
            Told::End => Some((close_code::RESTART, "come back")),
        };
        let mut messages = messages(told, listener.filter());
        messages.extend(end.map(|(code, reason)| {
            Message::Close(Some(CloseFrame {
                code,
                reason: Utf8Bytes::from_static(reason),
            }))
        }));
        for message in messages {
            let sent = timeout(MAX_SEND_TIME, socket.send(message)).await;
            if !matches!(sent, Ok(Ok(()))) {
                return;
            }
        }
        if end.is_some() {
            return;
        }
    }
}

/// What is told as messages: a change as its JSON, a position as `{"position": token}`.
fn messages(told: Told, filter: Option<&Filter>) -> Vec<Message> {
    let position = |token: &str| Message::Text(format!("{{\"position\":\"{token}\"}}").into());
    match told {
        Told::Missed(frame, token) => {
            let (bytes, changes) = frame.finish();
            let changes = changes.iter().map(|change| change.json(&bytes));
            let mut messages: Vec<Message> = changes.filter_map(text).collect();
            messages.extend(token.as_deref().map(position));
            messages
        }
        Told::Came(frame, bytes) => match &frame.content {
            Content::Changes(changes) => changes
                .iter()
                .filter(|change| filter.is_none_or(|filter| filter.takes(&change.id)))
                .filter_map(|change| text(change.json(&bytes)))
                .collect(),
            Content::Position(place) => {
                let token = bytes.slice(place.clone());
                let token = core::str::from_utf8(&token).map(position);
                token.into_iter().collect()
            }
            Content::Beat => vec![Message::Ping(Bytes::new())],
        },
        Told::Overflow => vec![Message::Text("{\"overflow\":true}".into())],
        Told::End => Vec::new(),
    }
}

fn text(json: Bytes) -> Option<Message> {
    Utf8Bytes::try_from(json).ok().map(Message::Text)
}

/// Where a listener stopped.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "it describes a header")]
struct LastEvent {
    /// The last `id` that was told, by this node or another: what came since is told first.
    #[param(rename = "Last-Event-ID")]
    id: Option<String>,
}
