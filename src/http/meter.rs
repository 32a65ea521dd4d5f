//! Counting requests and how long they take, by route, method and class of status.
//!
//! Invariant: series are bounded: their labels are patterns of paths ([`patterns`]), methods and classes that are known, and one
//! value for all else.

use std::{
    sync::{Arc, OnceLock},
    time::Instant,
};

use axum::http::{Method, StatusCode};
use prometheus_client::metrics::{
    counter::Counter,
    family::{Family, MetricConstructor},
    gauge::Gauge,
    histogram::{Histogram, exponential_buckets},
};

use super::rights::patterns;
use crate::metrics::{Exposition, Labels};

/// What a request for something that is no path of this API is counted under.
const NO_ROUTE: &str = "none";
const METHODS: [&str; 8] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "other",
];
/// From the first digit of a status, less one.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// From 0.1 ms to 26 s, each four times the one before but for the middle, where most requests are.
#[derive(Clone, Debug)]
struct Latency;

impl MetricConstructor<Histogram> for Latency {
    fn new_metric(&self) -> Histogram {
        Histogram::new(exponential_buckets(0.000_1, 2.5, 14))
    }
}

/// What is counted of one method on one route; taken from the families once.
#[derive(Debug)]
struct Slot {
    classes: [Counter; CLASSES.len()],
    seconds: Histogram,
}

/// The counts of a server.
#[derive(Debug)]
pub(super) struct Meter {
    routes: matchit::Router<usize>,
    patterns: Vec<&'static str>,
    /// By route, then by method. The last are for [`NO_ROUTE`].
    slots: Vec<[OnceLock<Slot>; METHODS.len()]>,
    requests: Family<Labels, Counter>,
    seconds: Family<Labels, Histogram, Latency>,
    under_way: Gauge,
    connections: Gauge,
    accepted: Counter,
}

impl Default for Meter {
    fn default() -> Self {
        let mut routes = matchit::Router::new();
        let patterns: Vec<&str> = patterns().collect();
        for (place, route) in patterns.iter().enumerate() {
            routes
                .insert(*route, place)
                .expect("the patterns are those of the router, which takes them too");
        }
        Self {
            routes,
            slots: std::iter::repeat_with(Default::default)
                .take(patterns.len() + 1)
                .collect(),
            patterns,
            requests: Family::default(),
            seconds: Family::new_with_constructor(Latency),
            under_way: Gauge::default(),
            connections: Gauge::default(),
            accepted: Counter::default(),
        }
    }
}

impl Meter {
    /// A request begins.
    pub(super) fn begin(self: &Arc<Self>, method: &Method, path: &str) -> Timing {
        self.under_way.inc();
        let route = self
            .routes
            .at(path)
            .map_or(self.patterns.len(), |found| *found.value);
        Timing {
            meter: Arc::clone(self),
            route,
            method: place_of(method),
            began: Instant::now(),
        }
    }

    /// A connection was accepted.
    pub(super) fn connected(self: &Arc<Self>) -> Connected {
        self.accepted.inc();
        self.connections.inc();
        Connected(Arc::clone(self))
    }

    /// Adds what was counted.
    pub(super) fn measure(&self, out: &mut Exposition) {
        out.metric(
            "grapevine_http_requests",
            "Requests that were answered, by the pattern of their path",
            self.requests.clone(),
        );
        out.metric(
            "grapevine_http_request_duration_seconds",
            "From the head of a request to the head of its answer; what is streamed takes longer",
            self.seconds.clone(),
        );
        out.metric(
            "grapevine_http_requests_under_way",
            "Requests that are not answered yet",
            self.under_way.clone(),
        );
        out.metric(
            "grapevine_http_connections",
            "Connections that are open",
            self.connections.clone(),
        );
        out.metric(
            "grapevine_http_connections_accepted",
            "Connections that were accepted",
            self.accepted.clone(),
        );
    }

    fn slot(&self, route: usize, method: usize) -> &Slot {
        self.slots[route][method].get_or_init(|| {
            let labels = |status: Option<&str>| {
                let route = self.patterns.get(route).unwrap_or(&NO_ROUTE);
                let mut labels = vec![
                    ("method", METHODS[method].to_owned()),
                    ("route", (*route).to_owned()),
                ];
                labels.extend(status.map(|status| ("status", status.to_owned())));
                labels
            };
            let class = |class| self.requests.get_or_create_owned(&labels(Some(class)));
            Slot {
                classes: CLASSES.map(class),
                seconds: self.seconds.get_or_create_owned(&labels(None)),
            }
        })
    }
}

fn place_of(method: &Method) -> usize {
    let named = METHODS.iter().position(|name| *name == method.as_str());
    named.unwrap_or(METHODS.len() - 1)
}

/// A request that is being answered. Dropped before it was, it counts nothing: the client is gone.
pub(super) struct Timing {
    meter: Arc<Meter>,
    route: usize,
    method: usize,
    began: Instant,
}

impl Timing {
    /// Its method, if it is one that is known.
    pub(super) fn method(&self) -> &'static str {
        METHODS[self.method]
    }

    /// The pattern of its path.
    pub(super) fn route(&self) -> &'static str {
        self.meter.patterns.get(self.route).unwrap_or(&NO_ROUTE)
    }

    /// It was answered.
    pub(super) fn end(self, status: StatusCode) {
        let slot = self.meter.slot(self.route, self.method);
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        slot.classes[class.min(CLASSES.len() - 1)].inc();
        slot.seconds.observe(self.began.elapsed().as_secs_f64());
    }
}

impl Drop for Timing {
    fn drop(&mut self) {
        self.meter.under_way.dec();
    }
}

/// A connection that is open.
pub(super) struct Connected(Arc<Meter>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections.dec();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_that_ask_for_anything_make_no_new_series() {
        let meter = Arc::new(Meter::default());
        for number in 0..1_000 {
            let method = Method::from_bytes(format!("M{number}").as_bytes()).expect("a token");
            let timing = meter.begin(&method, &format!("/{number}/x"));
            timing.end(StatusCode::NOT_FOUND);
            let timing = meter.begin(&Method::GET, &format!("/v1/kv/a/{number}"));
            timing.end(StatusCode::OK);
        }
        drop(meter.begin(&Method::GET, "/ping"));
        let mut out = Exposition::default();
        meter.measure(&mut out);
        let text = out.text().expect("a text takes everything");
        assert!(text.lines().count() < 60, "{text}");
        let get = r#"{method="GET",route="/v1/kv/{*key}",status="2xx"} 1000"#;
        assert!(text.contains(get), "{text}");
        let other = r#"{method="other",route="none",status="4xx"} 1000"#;
        assert!(text.contains(other), "{text}");
        assert!(text.contains("under_way 0"), "{text}");
    }
}
