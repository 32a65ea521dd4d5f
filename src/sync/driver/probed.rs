//! Whether a peer told what it holds, and whether that is news.
//!
//! Probes carry no number, so an answer cannot be told from one that was on its way already. But each probe
//! has one answer at most: once a peer has answered more often than it was asked before some moment, it has
//! answered a question that was put after that moment. Answers that are lost only make us ask more often.

use crate::{model::Root, sync::Message};

/// What was asked of a peer since it came up, and what it told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probed {
    epoch: u64,
    asked: u64,
    answered: u64,
    told: Option<Root>,
}

impl Probed {
    /// A peer that came up; `epoch` is higher each time.
    pub(super) const fn new(epoch: u64) -> Self {
        Self {
            epoch,
            asked: 0,
            answered: 0,
            told: None,
        }
    }

    /// The root that the peer told last.
    #[must_use]
    pub const fn told(&self) -> Option<Root> {
        self.told
    }

    /// Whether the peer has answered a probe that was sent after `before` was taken; `None` if it was down
    /// then.
    #[must_use]
    pub fn answered_since(&self, before: Option<&Self>) -> bool {
        match before {
            Some(before) if before.epoch == self.epoch => self.answered > before.asked,
            Some(_) | None => self.answered > 0,
        }
    }

    /// Notes a message to the peer; `taken` says whether it is on its way.
    pub(super) const fn say(&mut self, message: &Message, taken: bool) {
        if let Message::Probe { .. } = message {
            self.asked += taken as u64;
        }
    }

    /// Notes a message from the peer; says whether it tells its root.
    pub(super) const fn hear(&mut self, message: &Message) -> bool {
        if let Message::InStep { root } | Message::Summaries { root, .. } = message {
            self.told = Some(*root);
            self.answered += 1;
            return true;
        }
        if let Message::Probe { root } = message {
            self.told = Some(*root);
            return true;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROBE: Message = Message::Probe { root: Root(1) };
    const IN_STEP: Message = Message::InStep { root: Root(1) };

    #[test]
    fn an_answer_that_was_on_its_way_is_no_news() {
        let mut probed = Probed::new(1);
        probed.say(&PROBE, true);
        let before = probed;
        probed.say(&PROBE, true);
        assert!(probed.hear(&IN_STEP));
        assert!(!probed.answered_since(Some(&before)));
        assert!(probed.hear(&IN_STEP));
        assert!(probed.answered_since(Some(&before)));
        assert_eq!(probed.told(), Some(Root(1)));
    }

    #[test]
    fn what_a_peer_asks_is_no_answer() {
        let mut probed = Probed::new(1);
        let before = probed;
        probed.say(&PROBE, true);
        assert!(probed.hear(&PROBE));
        assert!(!probed.answered_since(Some(&before)));
    }

    #[test]
    fn a_peer_that_came_back_owes_no_answers() {
        let mut before = Probed::new(1);
        for _ in 0..10 {
            before.say(&PROBE, true);
        }
        let mut probed = Probed::new(2);
        probed.say(&PROBE, true);
        assert!(!probed.answered_since(Some(&before)));
        assert!(probed.hear(&IN_STEP));
        assert!(probed.answered_since(Some(&before)));
        assert!(probed.answered_since(None));
    }

    #[test]
    fn a_probe_that_was_dropped_was_not_asked() {
        let mut probed = Probed::new(1);
        probed.say(&PROBE, false);
        let before = probed;
        probed.say(&PROBE, true);
        assert!(probed.hear(&IN_STEP));
        assert!(probed.answered_since(Some(&before)));
    }
}
