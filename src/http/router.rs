//! Which path is answered by what. No middleware: each layer would cost every request an allocation.

use std::sync::Arc;

use axum::{
    Router,
    http::{Method, Uri},
    routing::{delete, get, post},
};

use super::{
    HttpState, absorb, batch, bundle, changes, cluster, conflicts, contact_list, contacts,
    counters, duplicates, health, import, kv, log_level, merge, metrics,
    problem::{Problem, ProblemKind},
    tallies, tokens, topic_settings, topics, watch,
};

/// The whole API, without who may ask: [`serve`](super::serve) sees to that.
pub fn router(state: HttpState) -> Router {
    Router::new()
        .route(
            "/v1/kv/{*key}",
            get(kv::get).put(kv::put).delete(kv::delete),
        )
        .route("/v1/kv", get(kv::list))
        .route(
            "/v1/contacts",
            get(contact_list::list).post(contacts::create),
        )
        .route("/v1/contacts/import", post(import::import))
        .route("/v1/contacts/duplicates", get(duplicates::list))
        .route(
            "/v1/contacts/{id}",
            get(contacts::get)
                .put(contacts::put)
                .patch(contacts::patch)
                .delete(contacts::delete),
        )
        .route("/v1/conflicts", get(conflicts::list_all))
        .route("/v1/contacts/{id}/absorb/{other}", post(absorb::post))
        .route("/v1/contacts/{id}/conflicts", get(conflicts::list))
        .route(
            "/v1/contacts/{id}/conflicts/{conflict}/choose",
            post(conflicts::choose),
        )
        .route(
            "/v1/contacts/{id}/conflicts/{conflict}/dismiss",
            post(conflicts::dismiss),
        )
        .route("/v1/counters", get(counters::list))
        .route(
            "/v1/counters/{name}",
            get(counters::get).delete(counters::delete),
        )
        .route("/v1/counters/{name}/increment", post(counters::increment))
        .route("/v1/counters/{name}/decrement", post(counters::decrement))
        .route("/v1/counters/{name}/reset", post(counters::reset))
        .route("/v1/backup", get(bundle::backup))
        .route("/v1/bundle", get(bundle::get).post(bundle::post))
        .route("/v1/bundle/export", post(bundle::post_export))
        .route("/v1/bundle/token", get(bundle::token))
        .route("/v1/counters/{name}/tallies", get(tallies::list))
        .route(
            "/v1/counters/{name}/tallies/{writer}",
            get(tallies::get).put(tallies::put),
        )
        .route("/v1/topics", get(topic_settings::list))
        .route(
            "/v1/topics/{topic}",
            get(topic_settings::get).put(topic_settings::put),
        )
        .route(
            "/v1/topics/{topic}/messages",
            get(topics::list).post(topics::post),
        )
        .route(
            "/v1/topics/{topic}/messages/{id}",
            get(topics::get).delete(topics::delete),
        )
        .route("/v1/topics/{topic}/stream", get(watch::stream))
        .route("/v1/watch", get(watch::watch))
        .route("/v1/batch", post(batch::post))
        .route("/v1/changes", get(changes::get).post(changes::post))
        .route("/v1/merge", post(merge::post))
        .route("/v1/cluster", get(cluster::get))
        .route("/v1/cluster/members/{id}", delete(cluster::forget))
        .route("/v1/cluster/convergence", get(cluster::convergence))
        .route(
            "/v1/admin/log-level",
            get(log_level::get).put(log_level::put),
        )
        .route("/metrics", get(metrics::get))
        .route("/v1/tokens", get(tokens::list).post(tokens::create))
        .route("/v1/tokens/first", post(tokens::create_first))
        .route("/v1/tokens/{id}", get(tokens::get).delete(tokens::revoke))
        .route("/ping", get(health::ping))
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .fallback(unknown)
        .method_not_allowed_fallback(not_allowed)
        .with_state(Arc::new(state))
}

#[allow(clippy::unused_async, reason = "handlers are async")]
async fn unknown(uri: Uri) -> Problem {
    Problem::not_found(format!("{} is not a path of this API", uri.path()))
}

#[allow(clippy::unused_async, reason = "handlers are async")]
async fn not_allowed(method: Method, uri: Uri) -> Problem {
    let detail = format!("{method} is not possible on {}; see `Allow`", uri.path());
    Problem::new(ProblemKind::MethodNotAllowed, detail)
}
