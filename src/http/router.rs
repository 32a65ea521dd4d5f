//! Which path is answered by what. No middleware: each layer would cost every request an allocation.
//!
//! A route is its handler's `#[utoipa::path]`, which says method and path and describes them; here it is only named.
//! Handlers of one path go into one `routes!`.

use std::sync::Arc;

use axum::{
    Router,
    http::{Method, Uri},
};
use utoipa::OpenApi as _;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    HttpState, absorb, batch, bundle, changes, cluster, cluster_leave, conflicts, contact_history,
    contact_list, contact_photo, contacts, counters, docs, duplicates, elements, export, health,
    import, kv, log_level, merge, metrics, openapi,
    problem::{Problem, ProblemKind},
    tallies, tokens, topic_settings, topics, watch,
};

/// The whole API, without who may ask: [`serve`](super::serve) sees to that.
pub fn router(state: HttpState) -> Router {
    let (router, _description) = routes().split_for_parts();
    router
        .fallback(unknown)
        .method_not_allowed_fallback(not_allowed)
        .with_state(Arc::new(state))
}

/// Every route, with its description.
pub(super) fn routes() -> OpenApiRouter<Arc<HttpState>> {
    OpenApiRouter::with_openapi(openapi::Description::openapi())
        .routes(routes!(kv::get, kv::put, kv::delete))
        .routes(routes!(kv::list))
        .routes(routes!(contact_list::list, contacts::create))
        .routes(routes!(import::import))
        .routes(routes!(export::get))
        .routes(routes!(duplicates::list))
        .routes(routes!(
            contacts::get,
            contacts::put,
            contacts::patch,
            contacts::delete
        ))
        .routes(routes!(elements::phones::list, elements::phones::create))
        .routes(routes!(
            elements::phones::read,
            elements::phones::put,
            elements::phones::patch,
            elements::phones::delete
        ))
        .routes(routes!(elements::emails::list, elements::emails::create))
        .routes(routes!(
            elements::emails::read,
            elements::emails::put,
            elements::emails::patch,
            elements::emails::delete
        ))
        .routes(routes!(elements::urls::list, elements::urls::create))
        .routes(routes!(
            elements::urls::read,
            elements::urls::put,
            elements::urls::patch,
            elements::urls::delete
        ))
        .routes(routes!(
            elements::addresses::list,
            elements::addresses::create
        ))
        .routes(routes!(
            elements::addresses::read,
            elements::addresses::put,
            elements::addresses::patch,
            elements::addresses::delete
        ))
        .routes(routes!(
            contact_photo::get,
            contact_photo::put,
            contact_photo::delete
        ))
        .routes(routes!(contact_history::history))
        .routes(routes!(contact_history::undo))
        .routes(routes!(contact_history::restore))
        .routes(routes!(conflicts::list_all))
        .routes(routes!(absorb::post))
        .routes(routes!(conflicts::list))
        .routes(routes!(conflicts::choose))
        .routes(routes!(conflicts::dismiss))
        .routes(routes!(counters::list))
        .routes(routes!(counters::get, counters::delete))
        .routes(routes!(counters::increment))
        .routes(routes!(counters::decrement))
        .routes(routes!(counters::reset))
        .routes(routes!(bundle::get, bundle::post))
        .routes(routes!(bundle::post_export))
        .routes(routes!(bundle::token))
        .routes(routes!(bundle::backup))
        .routes(routes!(log_level::get, log_level::put))
        .routes(routes!(metrics::get))
        .routes(routes!(tallies::list))
        .routes(routes!(tallies::get, tallies::put))
        .routes(routes!(topic_settings::list))
        .routes(routes!(topic_settings::get, topic_settings::put))
        .routes(routes!(topics::list, topics::post))
        .routes(routes!(topics::get, topics::delete))
        .routes(routes!(watch::stream))
        .routes(routes!(watch::watch))
        .routes(routes!(batch::post))
        .routes(routes!(changes::get, changes::post))
        .routes(routes!(merge::post))
        .routes(routes!(cluster::get))
        .routes(routes!(cluster::forget))
        .routes(routes!(cluster::convergence))
        .routes(routes!(cluster_leave::post))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::create_first))
        .routes(routes!(tokens::get, tokens::revoke))
        .routes(routes!(health::ping))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(openapi::get))
        .routes(routes!(docs::get))
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
