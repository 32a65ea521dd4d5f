//! What `grapevine stress` says at its end.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    time::Duration,
};

use serde::Serialize;

use super::{super::output::shown, command::Kind, ledger::Ledger, verify::Verdict};

#[derive(Debug, Serialize)]
pub(super) struct Report {
    mix: Vec<String>,
    connections: u32,
    nodes: usize,
    seconds: f64,
    acknowledged: u64,
    per_second: f64,
    unanswered: u64,
    errors: BTreeMap<String, u64>,
    latency_ms: Latency,
    agreed_after_s: Option<f64>,
    verified: u64,
    wrong: u64,
    examples: Vec<String>,
}

/// Of what was acknowledged.
#[derive(Debug, Serialize)]
struct Latency {
    p50: f64,
    p90: f64,
    p99: f64,
    p999: f64,
    max: f64,
}

#[allow(clippy::cast_precision_loss, reason = "a rate is told to three digits")]
fn rate(count: u64, seconds: f64) -> f64 {
    count as f64 / seconds.max(f64::EPSILON)
}

impl Report {
    pub(super) fn new(
        mix: &[Kind],
        connections: u32,
        nodes: usize,
        lasted: Duration,
        ledger: &Ledger,
        verdict: &Verdict,
    ) -> Self {
        let seconds = lasted.as_secs_f64();
        let ms = |us: u64| Duration::from_micros(us).as_secs_f64() * 1_000.0;
        let at = |quantile| ms(ledger.latency_us.value_at_quantile(quantile));
        Self {
            mix: mix
                .iter()
                .map(|kind| format!("{kind:?}").to_lowercase())
                .collect(),
            connections,
            nodes,
            seconds,
            acknowledged: ledger.acknowledged,
            per_second: rate(ledger.acknowledged, seconds),
            unanswered: ledger.unanswered,
            errors: ledger.errors.clone(),
            latency_ms: Latency {
                p50: at(0.5),
                p90: at(0.9),
                p99: at(0.99),
                p999: at(0.999),
                max: ms(ledger.latency_us.max()),
            },
            agreed_after_s: verdict.agreed_after.map(|after| after.as_secs_f64()),
            verified: verdict.verified,
            wrong: verdict.wrong,
            examples: verdict.told.clone(),
        }
    }

    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let _never_fails = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> fmt::Result {
        writeln!(
            text,
            "{} for {:.1} s over {} connections to {} nodes",
            self.mix.join(", "),
            self.seconds,
            self.connections,
            self.nodes
        )?;
        writeln!(
            text,
            "writes    {} acknowledged, {:.0} a second; {} not answered",
            self.acknowledged, self.per_second, self.unanswered
        )?;
        let Latency {
            p50,
            p90,
            p99,
            p999,
            max,
        } = self.latency_ms;
        writeln!(
            text,
            "latency   50 % {p50:.1} ms, 90 % {p90:.1} ms, 99 % {p99:.1} ms, 99.9 % {p999:.1} ms, all {max:.1} ms"
        )?;
        for (error, count) in &self.errors {
            writeln!(text, "error     {count} times: {}", shown(error))?;
        }
        match self.agreed_after_s {
            Some(after) => writeln!(text, "agreed    after {after:.2} s")?,
            None => writeln!(text, "agreed    not in time")?,
        }
        write!(
            text,
            "verified  {}, of which {} wrong",
            self.verified, self.wrong
        )?;
        for example in &self.examples {
            write!(text, "\nwrong     {}", shown(example))?;
        }
        Ok(())
    }
}
