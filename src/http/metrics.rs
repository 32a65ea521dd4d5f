//! `/metrics`: one scrape, for Prometheus.

use std::sync::Arc;

use axum::{
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, header},
    response::Response,
};

use super::{HttpState, problem::Problem, query::Parameters};
use crate::metrics::{Exposition, METRICS_CONTENT_TYPE, measure_process, real};

/// What this node measures, for Prometheus
#[utoipa::path(get, path = "/metrics", tag = "health", operation_id = "getMetrics",
    responses((status = 200, description = "The text format of Prometheus", body = String, content_type = "text/plain; version=0.0.4; charset=utf-8")))]
pub(super) async fn get(
    State(state): State<Arc<HttpState>>,
    request: Request,
) -> Result<Response, Problem> {
    Parameters::read(request.uri(), &[])?;
    let mut out = Exposition::default();
    let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    let help = "What runs here; always 1";
    out.gauges("grapevine_build_info", help, [(version, 1.0)]);
    state.meter.measure(&mut out);
    out.gauge(
        "grapevine_http_listeners",
        "Those who listen to topics or to all changes",
        real(state.feed.listeners()),
    );
    let help = "Whether this node is about to stop";
    out.flag("grapevine_draining", help, state.draining.is_cancelled());
    state.cluster.measure(&mut out).await;
    measure_process(&mut out);
    let text = out.text().map_err(|error| Problem::internal(&error))?;
    let mut response = Response::new(Body::from(text));
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(METRICS_CONTENT_TYPE),
    );
    Ok(response)
}
