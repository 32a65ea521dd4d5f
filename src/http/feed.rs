//! The feed: every change that this node takes in, its own or a peer's, told to all who listen.
//!
//! One task hears of each commit, encodes what it changed once, and hands it to the channel of those who watch
//! everything and to those of the topics. A channel holds a bounded number of frames: who does not take them in
//! time lags behind, is told so and cut, and nobody waits for it.
//!
//! Invariant: who listens first and takes a snapshot then misses nothing: what is not in the snapshot comes.
//! If the task itself cannot keep up with the store, all who listen are cut.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use grapevine_crdt::VersionVector;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc},
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

use super::{
    HttpState,
    change::{topic_message, watched_json},
    frame::{Frame, FrameBuilder, Waiting},
    problem::Problem,
};
use crate::{
    clock::WallClock,
    model::{ChangesToken, PartitionId, Topic},
    store::{Commit, Snapshot},
};

/// How many commits may wait for the task.
const MAX_WAITING_COMMITS: usize = 4_096;
/// How many frames may wait for one who watches everything.
const WATCH_FRAMES: usize = 1_024;
/// How many frames may wait for one who listens to a topic.
const TOPIC_FRAMES: usize = 256;
/// How often those who watch everything are told how far that reaches, while something changes.
const POSITION_PERIOD: Duration = Duration::from_secs(1);
const NOT_POISONED: &str = "no holder of the lock panics";

/// The frames that come for a listener.
pub(super) type Frames = broadcast::Receiver<Arc<Frame>>;

/// A place among those who listen.
pub(super) type Place = OwnedSemaphorePermit;

/// The channels of a task that runs.
#[derive(Debug)]
struct Channels {
    watchers: broadcast::Sender<Arc<Frame>>,
    topics: BTreeMap<Topic, broadcast::Sender<Arc<Frame>>>,
}

/// What is told to those who listen.
#[derive(Debug)]
pub(super) struct Feed {
    channels: Arc<Mutex<Option<Channels>>>,
    places: Arc<Semaphore>,
    /// How many places there are.
    most: usize,
    heartbeat: Duration,
    closing: CancellationToken,
}

impl Feed {
    /// A feed for `listeners`, who hear something every `heartbeat`.
    pub(super) fn new(listeners: usize, heartbeat: Duration) -> Self {
        Self {
            channels: Arc::default(),
            places: Arc::new(Semaphore::new(listeners)),
            most: listeners,
            heartbeat,
            closing: CancellationToken::new(),
        }
    }

    /// Ends it: all who listen are let go.
    pub(super) fn close(&self) {
        self.closing.cancel();
    }

    /// How many listen.
    pub(super) fn listeners(&self) -> usize {
        self.most - self.places.available_permits()
    }

    /// A place for one who listens.
    pub(super) fn place(&self) -> Result<Place, Problem> {
        let place = self.places.clone().try_acquire_owned();
        place.map_err(|_full| Problem::overloaded("as many listen to this node as may"))
    }

    /// Everything from now on.
    pub(super) fn watch(&self, state: &HttpState) -> Frames {
        self.with_channels(state, |channels| channels.watchers.subscribe())
    }

    /// The messages of a topic from now on.
    pub(super) fn listen(&self, state: &HttpState, topic: &Topic) -> Frames {
        self.with_channels(state, |channels| {
            let channel = channels.topics.entry(topic.clone());
            let channel = channel.or_insert_with(|| broadcast::Sender::new(TOPIC_FRAMES));
            channel.subscribe()
        })
    }

    fn with_channels<T>(&self, state: &HttpState, take: impl FnOnce(&mut Channels) -> T) -> T {
        let mut channels = self.channels.lock().expect(NOT_POISONED);
        let channels = channels.get_or_insert_with(|| {
            let task = Task {
                channels: self.channels.clone(),
                waiting: Waiting::default(),
                clock: state.clock.clone(),
                untold: None,
            };
            let commits = state.store.watch(MAX_WAITING_COMMITS);
            tokio::spawn(task.run(commits, self.heartbeat, self.closing.clone()));
            Channels {
                watchers: broadcast::Sender::new(WATCH_FRAMES),
                topics: BTreeMap::new(),
            }
        });
        take(channels)
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

/// What hears of commits.
struct Task {
    channels: Arc<Mutex<Option<Channels>>>,
    waiting: Waiting,
    clock: Arc<dyn WallClock>,
    /// The last commit of which those who watch everything were not told how far it reaches.
    untold: Option<Arc<Snapshot>>,
}

impl Task {
    async fn run(
        mut self,
        mut commits: mpsc::Receiver<Commit>,
        heartbeat: Duration,
        closing: CancellationToken,
    ) {
        let mut beats = interval(heartbeat);
        let mut positions = interval(POSITION_PERIOD);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        positions.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = closing.cancelled() => break,
                commit = commits.recv() => match commit {
                    Some(commit) => self.take(&commit),
                    None => break,
                },
                _ = positions.tick() => self.tell_position(),
                _ = beats.tick() => self.beat(),
            }
        }
        // Who listens then finds its channel closed; who comes later starts another task.
        self.channels.lock().expect(NOT_POISONED).take();
    }

    fn take(&mut self, commit: &Commit) {
        let mut channels = self.channels.lock().expect(NOT_POISONED);
        let Some(channels) = channels.as_mut() else {
            return;
        };
        let snapshot = &commit.snapshot;
        let is_watched = channels.watchers.receiver_count() > 0;
        let now_ms = self.clock.unix_ms();
        let mut all = FrameBuilder::default();
        let mut topics: BTreeMap<Topic, FrameBuilder> = BTreeMap::new();
        for id in commit.ids.iter() {
            if let Some((topic, json)) =
                topic_message(snapshot, id, |topic| channels.topics.contains_key(topic))
            {
                let frame = topics.entry(topic).or_default();
                frame.push("message", id.clone(), &json);
            }
            if is_watched && let Some(json) = watched_json(snapshot, id, now_ms) {
                all.push("change", id.clone(), &json);
            }
        }
        let group = snapshot.group();
        for (topic, mut frame) in topics {
            let partition = topic.settings_id().partition();
            let vector = &snapshot.state().partition(partition).vector;
            frame.end_with(&topic_token(partition, vector));
            if let Some(channel) = channels.topics.get(&topic) {
                let _nobody = channel.send(self.waiting.changes(group, frame));
            }
        }
        if !all.is_empty() {
            let _nobody = channels.watchers.send(self.waiting.changes(group, all));
        }
        if is_watched {
            self.untold = Some(snapshot.clone());
        }
    }

    fn tell_position(&mut self) {
        let Some(snapshot) = self.untold.take() else {
            return;
        };
        let mut channels = self.channels.lock().expect(NOT_POISONED);
        if let Some(channels) = channels.as_mut()
            && channels.watchers.receiver_count() > 0
        {
            let token = watch_token(&snapshot).to_text();
            let frame = self.waiting.position(snapshot.group(), &token);
            let _nobody = channels.watchers.send(frame);
        }
    }

    fn beat(&mut self) {
        let mut channels = self.channels.lock().expect(NOT_POISONED);
        let Some(channels) = channels.as_mut() else {
            return;
        };
        let beat = self.waiting.beat();
        channels
            .topics
            .retain(|_, channel| channel.send(beat.clone()).is_ok());
        let _nobody = channels.watchers.send(beat);
    }
}

/// How far the messages of a topic in this partition are told.
pub(super) fn topic_token(partition: PartitionId, vector: &VersionVector) -> String {
    let mut token = ChangesToken::default();
    token.fetch(partition, vector.clone());
    token.to_text()
}

/// How far everything in a snapshot reaches.
pub(super) fn watch_token(snapshot: &Snapshot) -> ChangesToken {
    let mut token = ChangesToken::default();
    for (partition, state) in snapshot.state().partitions() {
        token.fetch(partition, state.vector.clone());
    }
    token
}
