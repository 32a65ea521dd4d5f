//! Progress of long work, on standard error and only on a terminal.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

const ITEMS: &str = "{msg} [{bar:30}] {pos}/{len}, {eta} left";
const ELAPSED: &str = "{msg} [{bar:30}] {elapsed}";
const COUNTING: &str = "{msg} {pos}, {per_sec}";
const GROWING: &str = "{msg} {bytes}, {bytes_per_sec}";

/// Bytes of which nobody knows how many there will be.
pub(super) fn growing(what: &'static str) -> ProgressBar {
    styled(ProgressBar::no_length(), GROWING).with_message(what)
}

/// Things of which nobody knows how many there will be.
pub(super) fn counting(what: &'static str) -> ProgressBar {
    styled(ProgressBar::no_length(), COUNTING).with_message(what)
}

/// So many things of `total`.
pub(super) fn items(what: &'static str, total: u64) -> ProgressBar {
    styled(ProgressBar::new(total), ITEMS).with_message(what)
}

/// So much time of `total`; [`at`] moves it.
pub(super) fn elapsed(what: &'static str, total: Duration) -> ProgressBar {
    styled(ProgressBar::new(ms(total)), ELAPSED).with_message(what)
}

/// So much time is over.
pub(super) fn at(bar: &ProgressBar, elapsed: Duration) {
    bar.set_position(ms(elapsed));
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn styled(bar: ProgressBar, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).expect("the template is well formed");
    bar.with_style(style)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_templates_are_well_formed() {
        super::items("testing", 1).finish_and_clear();
        super::elapsed("testing", super::Duration::ZERO).finish_and_clear();
        super::counting("testing").finish_and_clear();
        super::growing("testing").finish_and_clear();
    }
}
