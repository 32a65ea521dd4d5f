//! What waits to be sent over one link: two bounded lanes, pushes ahead of replies.
//!
//! A lane that is full refuses; nothing here waits for a peer. Losing a frame is allowed: anti-entropy finds
//! what a lost push held, and a lost reply is asked for again.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard},
};

use tokio::sync::Notify;

use super::Frame;

/// The bounds of one lane. A frame that alone exceeds `bytes` still passes an empty lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) frames: usize,
    pub(super) bytes: usize,
}

#[derive(Debug)]
struct Lane {
    frames: VecDeque<Frame>,
    bytes: usize,
    bounds: Bounds,
}

/// What became of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It will be sent.
    Taken,
    /// It did not fit: from now on the peer is behind.
    FellBehind,
    /// The peer is behind, or the link is over.
    Dropped,
}

#[derive(Debug)]
struct Lanes {
    pushes: Lane,
    replies: Lane,
    /// How many pushes went out since the last reply.
    pushes_in_a_row: usize,
    finished: bool,
    /// The peer missed a push: it finds what it lacks by asking, and until it has asked no push helps it.
    behind: bool,
}

/// After so many pushes a reply that waits goes first, so that a stream of writes cannot keep two nodes from
/// ever comparing what they hold.
const MAX_PUSHES_IN_A_ROW: usize = 16;

/// The two lanes and the bell that wakes their writer.
#[derive(Debug)]
pub(super) struct Outbox {
    lanes: Mutex<Lanes>,
    changed: Notify,
}

impl Lane {
    const fn new(bounds: Bounds) -> Self {
        Self {
            frames: VecDeque::new(),
            bytes: 0,
            bounds,
        }
    }

    fn put(&mut self, frame: Frame) -> bool {
        let bytes = frame.bytes().len();
        let fits = self.frames.len() < self.bounds.frames
            && (self.frames.is_empty() || self.bytes + bytes <= self.bounds.bytes);
        if fits {
            self.bytes += bytes;
            self.frames.push_back(frame);
        }
        fits
    }

    fn take(&mut self) -> Option<Frame> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.bytes().len();
        Some(frame)
    }
}

impl Outbox {
    pub(super) fn new(pushes: Bounds, replies: Bounds) -> Self {
        Self {
            lanes: Mutex::new(Lanes {
                pushes: Lane::new(pushes),
                replies: Lane::new(replies),
                pushes_in_a_row: 0,
                finished: false,
                behind: false,
            }),
            changed: Notify::new(),
        }
    }

    /// Queues a push, unless the peer is behind.
    pub(super) fn push(&self, frame: Frame) -> Pushed {
        let mut lanes = self.lanes();
        if lanes.finished || lanes.behind {
            return Pushed::Dropped;
        }
        if lanes.pushes.put(frame) {
            drop(lanes);
            self.changed.notify_one();
            return Pushed::Taken;
        }
        lanes.behind = true;
        Pushed::FellBehind
    }

    /// The peer asked for what it lacks, or agrees. If it has taken all pushes that it was to get, it is no
    /// longer behind.
    pub(super) fn has_asked(&self) {
        let mut lanes = self.lanes();
        lanes.behind &= !lanes.pushes.frames.is_empty();
    }

    /// How many bytes wait in both lanes.
    pub(super) fn bytes(&self) -> usize {
        let lanes = self.lanes();
        lanes.pushes.bytes + lanes.replies.bytes
    }

    /// Whether the reply was taken.
    pub(super) fn reply(&self, frame: Frame) -> bool {
        let mut lanes = self.lanes();
        let taken = !lanes.finished && lanes.replies.put(frame);
        drop(lanes);
        self.changed.notify_one();
        taken
    }

    /// Takes no more; what waits is still handed out.
    pub(super) fn finish(&self) {
        self.lanes().finished = true;
        self.changed.notify_one();
    }

    /// The next frame, pushes first; `None` once it is finished and empty. One caller at a time; dropping
    /// the future loses nothing.
    pub(super) async fn next(&self) -> Option<Frame> {
        loop {
            {
                let mut lanes = self.lanes();
                if let Some(frame) = take_from(&mut lanes) {
                    return Some(frame);
                }
                if lanes.finished {
                    return None;
                }
            }
            self.changed.notified().await;
        }
    }

    /// The next frame if one waits.
    pub(super) fn try_next(&self) -> Option<Frame> {
        take_from(&mut self.lanes())
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        self.lanes.lock().expect("no holder of the lock panics")
    }
}

fn take_from(lanes: &mut Lanes) -> Option<Frame> {
    let reply_is_due = lanes.pushes_in_a_row >= MAX_PUSHES_IN_A_ROW;
    if (!reply_is_due || lanes.replies.frames.is_empty())
        && let Some(push) = lanes.pushes.take()
    {
        lanes.pushes_in_a_row += 1;
        return Some(push);
    }
    lanes.pushes_in_a_row = 0;
    lanes.replies.take()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{model::Root, sync::Message};

    #[test]
    fn a_stream_of_pushes_keeps_replies_back_for_ever() {
        let bounds = Bounds {
            frames: 1_000,
            bytes: 1_000_000,
        };
        let outbox = Outbox::new(bounds, bounds);
        let frame = |root| {
            let message = Message::Probe { root: Root(root) };
            Frame::encode(&message).expect("a short message")
        };
        let (push, reply) = (frame(1), frame(2));
        assert!(outbox.reply(reply.clone()));
        for _ in 0..100 {
            assert_eq!(outbox.push(push.clone()), Pushed::Taken);
        }
        let before = core::iter::from_fn(|| outbox.try_next())
            .take_while(|next| next.bytes() != reply.bytes())
            .count();
        assert_eq!(before, MAX_PUSHES_IN_A_ROW);
    }

    #[test]
    fn a_peer_that_is_behind_is_sent_every_second_push() {
        let bounds = Bounds {
            frames: 2,
            bytes: 1_000_000,
        };
        let outbox = Outbox::new(bounds, bounds);
        let message = Message::Probe { root: Root(1) };
        let push = Frame::encode(&message).expect("a short message");
        assert_eq!(outbox.push(push.clone()), Pushed::Taken);
        assert_eq!(outbox.push(push.clone()), Pushed::Taken);
        assert_eq!(outbox.push(push.clone()), Pushed::FellBehind);
        assert!(outbox.try_next().is_some());
        assert_eq!(outbox.push(push.clone()), Pushed::Dropped);
        // What it asked before it has taken its pushes says nothing of those.
        outbox.has_asked();
        assert_eq!(outbox.push(push.clone()), Pushed::Dropped);
        assert!(outbox.try_next().is_some());
        assert_eq!(outbox.push(push.clone()), Pushed::Dropped);
        outbox.has_asked();
        assert_eq!(outbox.push(push), Pushed::Taken);
    }
}
