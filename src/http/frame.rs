//! What is sent to those who listen: encoded once, shared by all of them, and bounded in all.
//!
//! A frame that waits for a listener takes memory. When all that wait take too much, the oldest are emptied; who
//! had not taken them is told that it was too slow.

use std::{
    collections::VecDeque,
    ops::Range,
    sync::{
        Arc, Mutex, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::body::Bytes;

use crate::model::EntityId;

/// The most bytes of all frames that wait for somebody.
const MAX_WAITING_BYTES: usize = 64 * 1_024 * 1_024;
/// The most frames that are kept account of.
const MAX_WAITING_FRAMES: usize = 65_536;
const NOT_POISONED: &str = "no holder of the lock panics";

/// One change within a frame.
#[derive(Debug)]
pub(super) struct Change {
    /// What changed.
    pub(super) id: EntityId,
    /// Where it is among the frame's bytes, as an event.
    event: Range<usize>,
    /// Where its JSON is.
    json: Range<usize>,
}

/// What a frame is.
#[derive(Debug)]
pub(super) enum Content {
    /// What one commit changed.
    Changes(Vec<Change>),
    /// How far everything before it reaches, as a token.
    Position(Range<usize>),
    /// Nothing; it shows that the connection lives.
    Beat,
}

/// Something to be sent, as server-sent events.
#[derive(Debug)]
pub(super) struct Frame {
    /// The last commit that is in it.
    pub(super) group: u64,
    pub(super) content: Content,
    bytes: Mutex<Option<Bytes>>,
    counted: Mutex<Option<Counted>>,
}

impl Frame {
    /// All its bytes; `None` if it waited for too long.
    pub(super) fn bytes(&self) -> Option<Bytes> {
        self.bytes.lock().expect(NOT_POISONED).clone()
    }

    fn empty(&self) {
        self.bytes.lock().expect(NOT_POISONED).take();
        self.counted.lock().expect(NOT_POISONED).take();
    }
}

impl Change {
    /// It as an event, of the bytes of its frame.
    pub(super) fn event(&self, bytes: &Bytes) -> Bytes {
        bytes.slice(self.event.clone())
    }

    /// Its JSON, of the bytes of its frame.
    pub(super) fn json(&self, bytes: &Bytes) -> Bytes {
        bytes.slice(self.json.clone())
    }
}

/// Bytes that are counted as long as this lives.
#[derive(Debug)]
struct Counted {
    bytes: usize,
    all: Arc<AtomicUsize>,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Makes the frame of one commit.
#[derive(Debug, Default)]
pub(super) struct FrameBuilder {
    bytes: Vec<u8>,
    changes: Vec<Change>,
}

impl FrameBuilder {
    /// Adds a change; its event is called `name`.
    pub(super) fn push(&mut self, name: &str, id: EntityId, json: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(b"event: ");
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.extend_from_slice(b"\ndata: ");
        let json_start = self.bytes.len();
        self.bytes.extend_from_slice(json);
        let json_end = self.bytes.len();
        self.bytes.extend_from_slice(b"\n\n");
        self.changes.push(Change {
            id,
            event: start..self.bytes.len(),
            json: json_start..json_end,
        });
    }

    /// Says that with the last change everything up to `token` was told. It is part of that event, so nobody has
    /// the one without the other.
    pub(super) fn end_with(&mut self, token: &str) {
        let position = position(token);
        if let Some(last) = self.changes.last_mut() {
            // Before the empty line that ends the event.
            self.bytes.pop();
            self.bytes.extend_from_slice(&position);
            last.event.end = self.bytes.len();
        } else {
            self.bytes.extend_from_slice(&position);
        }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    pub(super) const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Its bytes, and the changes among them.
    pub(super) fn finish(self) -> (Bytes, Vec<Change>) {
        (self.bytes.into(), self.changes)
    }

    pub(super) fn into_bytes(self) -> Bytes {
        self.bytes.into()
    }
}

/// Says how far everything before it reaches: who loses the connection tells it as `Last-Event-ID`. It is no event
/// of its own, for it has no data.
pub(super) fn position(token: &str) -> Bytes {
    format!("id: {token}\n\n").into()
}

/// The frames that wait.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    all: Arc<AtomicUsize>,
    frames: VecDeque<Weak<Frame>>,
}

impl Waiting {
    /// The frame of what `built` has.
    pub(super) fn changes(&mut self, group: u64, built: FrameBuilder) -> Arc<Frame> {
        let content = Content::Changes(built.changes);
        self.keep(group, content, built.bytes.into())
    }

    /// The frame that says how far everything before it reaches.
    pub(super) fn position(&mut self, group: u64, token: &str) -> Arc<Frame> {
        let bytes = position(token);
        let place = "id: ".len();
        let content = Content::Position(place..place + token.len());
        self.keep(group, content, bytes)
    }

    /// The frame that shows that the connection lives.
    pub(super) fn beat(&mut self) -> Arc<Frame> {
        self.keep(u64::MAX, Content::Beat, Bytes::from_static(b":\n\n"))
    }

    fn keep(&mut self, group: u64, content: Content, bytes: Bytes) -> Arc<Frame> {
        self.all.fetch_add(bytes.len(), Ordering::Relaxed);
        let counted = Counted {
            bytes: bytes.len(),
            all: self.all.clone(),
        };
        let frame = Arc::new(Frame {
            group,
            content,
            bytes: Mutex::new(Some(bytes)),
            counted: Mutex::new(Some(counted)),
        });
        self.frames.push_back(Arc::downgrade(&frame));
        self.bound(MAX_WAITING_BYTES);
        frame
    }

    /// Empties the oldest frames until those that wait take no more than `most` bytes.
    fn bound(&mut self, most: usize) {
        while let Some(oldest) = self.frames.front() {
            match oldest.upgrade() {
                Some(frame)
                    if self.all.load(Ordering::Relaxed) > most
                        || self.frames.len() > MAX_WAITING_FRAMES =>
                {
                    frame.empty();
                }
                Some(_) => break,
                None => {}
            }
            self.frames.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Collection;

    #[test]
    fn frames_that_nobody_takes_grow_without_bound() {
        let mut waiting = Waiting::default();
        let id = EntityId::new(Collection::Kv, "key").expect("a good key");
        let frame = |size: usize| {
            let mut built = FrameBuilder::default();
            built.push("change", id.clone(), &vec![b'1'; size]);
            built
        };
        let first = waiting.changes(1, frame(1_000));
        let second = waiting.changes(2, frame(1_000));
        waiting.bound(1_500);
        assert_eq!(first.bytes(), None, "the oldest goes");
        let bytes = second.bytes().expect("there is room for it");
        let Content::Changes(changes) = &second.content else {
            panic!("it has a change");
        };
        assert_eq!(changes[0].json(&bytes).len(), 1_000);
        assert!(
            changes[0]
                .event(&bytes)
                .starts_with(b"event: change\ndata: 1")
        );
        drop((first, second));
        assert_eq!(waiting.all.load(Ordering::Relaxed), 0);
        let _third = waiting.changes(3, frame(1));
        assert_eq!(waiting.frames.len(), 1, "what was taken is forgotten");
    }
}
