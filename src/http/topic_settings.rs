//! `/v1/topics` and `/v1/topics/{topic}`: which topics there are, and how much of each is kept.

use std::{ops::ControlFlow, sync::Arc};

use axum::{
    extract::{Path, Request, State, rejection::PathRejection},
    http::StatusCode,
    response::Response,
};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    HttpState,
    body::{json_bytes, require_json, to_json},
    conditions::{Conditions, ETag},
    counters::only_fields,
    cursor::{self, ListKind},
    describe::{Conditional, Page as ListPage, Paged, Seen, TopicPath as TopicParameter},
    page::{MAX_SCANNED_PER_PAGE, Page, foreign_cursor, read_limit},
    problem::{Problem, path_text},
    query::Parameters,
    session::{Session, tracked},
    within::Within,
};
use crate::{
    model::{Collection, MAX_TOPIC_BYTES, PartitionId, Retention, Topic},
    store::{Range, Snapshot, StoreError, list_groups, list_within},
};

type TopicPath = Result<Path<String>, PathRejection>;

/// The topics
#[utoipa::path(get, path = "/v1/topics", tag = "topics", operation_id = "listTopics",
    params(Paged, Seen),
    responses((status = 200, description = "A page, in the order of the names", body = ListPage<TopicShown>)))]
pub(super) async fn list(
    State(state): State<Arc<HttpState>>,
    request: Request,
) -> Result<Response, Problem> {
    let parameters = Parameters::read(request.uri(), &["limit", "cursor"])?;
    let limit = read_limit(&parameters)?;
    let after = parameters
        .text("cursor")
        .map(|text| {
            cursor::read_text(ListKind::Topics, text, MAX_TOPIC_BYTES).ok_or_else(foreign_cursor)
        })
        .transpose()?;
    let within = Within::of(request.extensions());
    if let Some(within) = &within {
        within.check_collection(Collection::Topics)?;
    }
    Session::of_read(request.headers(), &state).await?;
    let snapshot = state.store.snapshot();
    let read = move || {
        let prefix = within.as_ref().map(Within::prefix).unwrap_or_default();
        page(&snapshot, prefix, after.as_deref(), limit)
    };
    let bytes = tokio::task::spawn_blocking(read)
        .await
        .map_err(|error| Problem::internal(&error))??;
    Ok(json_bytes(StatusCode::OK, bytes))
}

/// A page of topics. What may be looked at for it is bounded, hidden messages included.
fn page(
    snapshot: &Snapshot,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> Result<Vec<u8>, Problem> {
    let mut page = Page::new(limit);
    let mut left = MAX_SCANNED_PER_PAGE;
    list_groups(
        snapshot,
        Collection::Topics,
        prefix,
        after,
        &mut |name, partition| {
            page.take(name, || {
                let Ok(topic) = Topic::new(name) else {
                    return Ok(None);
                };
                if !is_shown(snapshot, &topic, partition, &mut left)? {
                    return Ok(None);
                }
                show(snapshot, &topic).map(Some)
            })
        },
    )?;
    page.finish(ListKind::Topics)
}

/// Whether anything of a topic is visible. If looking for that would take too long, it is said to be.
fn is_shown(
    snapshot: &Snapshot,
    topic: &Topic,
    partition: PartitionId,
    left: &mut usize,
) -> Result<bool, StoreError> {
    let prefix = topic.prefix();
    let range = Range {
        partition,
        collection: Collection::Topics,
        from: &prefix,
        exclusive: false,
        to: &format!("{prefix}~"),
    };
    let mut shown = false;
    list_within(snapshot, &range, &mut |_, row| {
        shown = !row.is_hidden() || *left == 0;
        *left = left.saturating_sub(1);
        if shown {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
    Ok(shown)
}

fn show(snapshot: &Snapshot, topic: &Topic) -> Result<Vec<u8>, Problem> {
    let settings = snapshot.entity(&topic.settings_id())?.unwrap_or_default();
    shown(topic, Retention::read(&settings))
}

fn shown(topic: &Topic, retention: Retention) -> Result<Vec<u8>, Problem> {
    to_json(&json!({
        "topic": topic.name(),
        "retain_count": retention.count,
        "retain_seconds": retention.seconds,
    }))
}

/// How much of a topic is kept
#[utoipa::path(get, path = "/v1/topics/{topic}", tag = "topics", operation_id = "getTopic",
    params(TopicParameter, Conditional, Seen),
    responses((status = 200, description = "How much of it is kept", body = TopicShown)))]
pub(super) async fn get(
    State(state): State<Arc<HttpState>>,
    path: TopicPath,
    request: Request,
) -> Result<Response, Problem> {
    let topic = Topic::new(path_text("topic", path)?)?;
    Parameters::read(request.uri(), &[])?;
    let conditions = Conditions::read(request.headers())?;
    Session::of_read(request.headers(), &state).await?;
    let bytes = show(&state.store.snapshot(), &topic)?;
    conditions.answer_read(ETag::of(&bytes), || json_bytes(StatusCode::OK, bytes))
}

/// Says how much of a topic is kept
#[utoipa::path(put, path = "/v1/topics/{topic}", tag = "topics", operation_id = "putTopic",
    params(TopicParameter, Conditional, Seen),
    request_body(content = RetentionBody, example = json!({"retain_count": 1000, "retain_seconds": 604_800})),
    responses((status = 200, description = "How much of it is kept now", body = TopicShown)))]
pub(super) async fn put(
    State(state): State<Arc<HttpState>>,
    path: TopicPath,
    request: Request,
) -> Result<Response, Problem> {
    let topic = Topic::new(path_text("topic", path)?)?;
    let (parts, body) = request.into_parts();
    Parameters::read(&parts.uri, &[])?;
    let conditions = Conditions::read(&parts.headers)?;
    let body = require_json(&parts.headers, body, state.limits.max_body_bytes).await?;
    let retention = read_retention(&body, state.limits.retention)?;
    let id = topic.settings_id();
    let session = Session::of_write(&parts.headers, &state, &id).await?;
    let edited = topic.clone();
    let ((), written) = state
        .store
        .write(
            id.clone(),
            tracked(id, move |edit| {
                if !conditions.is_empty() {
                    let current = shown(&edited, Retention::read(edit.entity))?;
                    conditions.check_write(Some(&ETag::of(&current)))?;
                }
                Ok::<_, Problem>((vec![retention.put(edit.dot, edit.time)], ()))
            }),
        )
        .await?;
    let bytes = shown(&topic, retention)?;
    let tag = ETag::of(&bytes);
    let mut response = json_bytes(StatusCode::OK, bytes);
    tag.put(&mut response);
    Ok(session.answer(written).put(response))
}

fn read_retention(body: &Value, most: Retention) -> Result<Retention, Problem> {
    only_fields(body, &["retain_count", "retain_seconds"])?;
    let number = |name: &str, most: Option<u64>| {
        let most = most.unwrap_or(u64::MAX);
        match body.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(number) => number
                .as_u64()
                .filter(|number| (1..=most).contains(number))
                .map(Some)
                .ok_or_else(|| {
                    let detail = format!("{name} is null, or a whole number from 1 to {most}");
                    Problem::invalid(name, detail)
                }),
        }
    };
    Ok(Retention {
        count: number("retain_count", most.count)?,
        seconds: number("retain_seconds", most.seconds)?,
    })
}

/// How much of a topic is kept.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes what `shown` tells")]
struct TopicShown {
    topic: String,
    /// How many messages; null for as many as the node keeps.
    retain_count: Option<u64>,
    /// For how long; null for as long as the node keeps them.
    retain_seconds: Option<u64>,
}

/// How much of a topic is to be kept; at most what the settings of the node say.
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
#[allow(dead_code, reason = "it describes what `read_retention` reads")]
struct RetentionBody {
    #[schema(minimum = 1, maximum = 100_000)]
    retain_count: Option<u64>,
    #[schema(minimum = 1, maximum = 31_536_000)]
    retain_seconds: Option<u64>,
}
