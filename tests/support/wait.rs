//! Waiting for a condition, with a deadline.

use std::{
    fmt::Debug,
    future::Future,
    time::{Duration, Instant},
};

/// How long anything may take before a test gives up. Far above what it takes on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// How long between two looks at a condition that tells nobody when it comes true.
pub const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Looks until `look` yields something, and yields that. `look` says what it saw instead, which the failure
/// at the deadline repeats.
pub async fn until<T, E: Debug, F: Future<Output = Result<T, E>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let start = Instant::now();
    loop {
        match look().await {
            Ok(found) => return found,
            Err(seen) => assert!(
                start.elapsed() < DEADLINE,
                "after {DEADLINE:?} still no {what}; last seen: {seen:?}"
            ),
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}
