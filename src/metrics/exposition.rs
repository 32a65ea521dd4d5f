//! One answer to a scrape, in the text format of Prometheus (version 0.0.4).

use std::{fmt, sync::atomic::AtomicU64, time::Duration};

use prometheus_client::{
    encoding::{
        EncodeMetric, MetricEncoder,
        prometheus_text::{self, CONTENT_TYPE},
    },
    metrics::{MetricType, counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Metric, Registry},
};

/// The media type of [`Exposition::text`].
pub const METRICS_CONTENT_TYPE: &str = CONTENT_TYPE;

/// The labels of one series.
pub type Labels = Vec<(&'static str, String)>;

type Real = Gauge<f64, AtomicU64>;

/// What is told at one scrape. Names of counters are given without `_total`, which is put behind them.
#[derive(Debug, Default)]
pub struct Exposition(Registry);

impl Exposition {
    /// A number that only rises.
    pub fn count(&mut self, name: &'static str, help: &'static str, value: u64) {
        let counter = Counter::<u64>::default();
        counter.inc_by(value);
        self.metric(name, help, counter);
    }

    /// Numbers that only rise, one for each of `values`.
    pub fn counts(
        &mut self,
        name: &'static str,
        help: &'static str,
        values: impl IntoIterator<Item = (Labels, u64)>,
    ) {
        let family = Family::<Labels, Counter>::default();
        for (labels, value) in values {
            family.get_or_create(&labels).inc_by(value);
        }
        self.metric(name, help, family);
    }

    /// Time that only grows, in seconds.
    pub fn count_seconds(&mut self, name: &'static str, help: &'static str, value: Duration) {
        let counter = Counter::<f64, AtomicU64>::default();
        counter.inc_by(value.as_secs_f64());
        self.metric(name, help, counter);
    }

    /// A number as it is now.
    pub fn gauge(&mut self, name: &'static str, help: &'static str, value: f64) {
        let gauge = Real::default();
        gauge.set(value);
        self.metric(name, help, gauge);
    }

    /// Numbers as they are now, one for each of `values`.
    pub fn gauges(
        &mut self,
        name: &'static str,
        help: &'static str,
        values: impl IntoIterator<Item = (Labels, f64)>,
    ) {
        let family = Family::<Labels, Real>::default();
        for (labels, value) in values {
            family.get_or_create(&labels).set(value);
        }
        self.metric(name, help, family);
    }

    /// Whether something is so now: 1 or 0.
    pub fn flag(&mut self, name: &'static str, help: &'static str, value: bool) {
        self.gauge(name, help, f64::from(u8::from(value)));
    }

    /// A distribution.
    pub fn histogram(&mut self, name: &'static str, help: &'static str, histogram: &Histogram) {
        self.metric(name, help, histogram.clone());
    }

    /// Anything else that is a metric.
    pub fn metric(&mut self, name: &'static str, help: &'static str, metric: impl Metric) {
        self.0.register(name, help, Named(metric));
    }

    /// All of it.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.0)?;
        Ok(text)
    }
}

/// A metric that is told by its name even while it has no series, so that a query for it is never one for nothing.
#[derive(Debug)]
struct Named<M>(M);

impl<M: EncodeMetric> EncodeMetric for Named<M> {
    fn encode(&self, encoder: MetricEncoder<'_>) -> fmt::Result {
        self.0.encode(encoder)
    }

    fn metric_type(&self) -> MetricType {
        self.0.metric_type()
    }
}

/// A whole number as metrics have them; above 2^53 the nearest that there is.
#[must_use]
#[allow(
    clippy::cast_precision_loss,
    reason = "nobody reads sixteen digits off a metric"
)]
pub fn real(number: impl TryInto<u64>) -> f64 {
    number.try_into().unwrap_or(u64::MAX) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_calls_itself_cannot_break_the_lines_of_a_scrape() {
        let mut out = Exposition::default();
        let name = "ann\"} 1\nforged{x=\"\\".to_owned();
        out.gauges("grapevine_x", "X", [(vec![("peer", name)], 1.0)]);
        out.count("grapevine_y", "Y", 3);
        let text = out.text().expect("a text takes everything");
        assert_eq!(text.lines().count(), 6, "{text}");
        assert!(
            text.contains(r#"{peer="ann\"} 1\nforged{x=\"\\"} 1"#),
            "{text}"
        );
        assert!(text.contains("grapevine_y_total 3"), "{text}");
    }
}
