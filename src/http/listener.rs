//! One who listens: what it missed, page by page, and then every frame that comes.
//!
//! It takes its place in the feed first and looks at what is held then, so that nothing falls in between. What it
//! missed is told by version vectors: any node can go on where another stopped. Something may be told twice, never
//! not at all. One that does not keep up with the feed is told so, and cut.

use std::{collections::VecDeque, ops::ControlFlow, sync::Arc};

use axum::body::Bytes;
use grapevine_crdt::VersionVector;
use tokio::{sync::broadcast::error::RecvError, task::spawn_blocking};

use super::{
    HttpState,
    change::{topic_message, watched_json},
    changes::{gone, source},
    feed::{Frames, Place, topic_token, watch_token},
    frame::{Content, Frame, FrameBuilder},
    problem::Problem,
    within::{Holder, Within},
};
use crate::{
    model::{ChangesToken, Collection, EntityId, MessageId, Topic},
    store::{ChangesError, DeltaBudget, Range, Snapshot, StoreError, list_within, read_changes},
};

/// How much of what was missed is read at once.
const PAGE: DeltaBudget = DeltaBudget {
    entities: 256,
    bytes: 1_048_576,
};
/// Up to how many messages of a topic that were missed are looked up one by one; where more were, all of the topic
/// are looked at.
const MAX_LOOKED_UP: usize = 10_000;

/// Which changes are told to one who watches.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    pub(super) collection: Option<Collection>,
    pub(super) prefix: String,
    /// What the listener's token is limited to.
    pub(super) within: Option<Within>,
}

impl Filter {
    /// Whether all changes are told.
    pub(super) fn takes_all(&self) -> bool {
        self.collection.is_none() && self.prefix.is_empty() && self.within.is_none()
    }

    /// Whether changes of `id` are told.
    pub(super) fn takes(&self, id: &EntityId) -> bool {
        self.collection
            .is_none_or(|collection| collection == id.collection())
            && id.key().starts_with(&self.prefix)
            && self.within.as_ref().is_none_or(|within| within.takes(id))
    }
}

/// What was missed and is still to be told.
enum Missed {
    /// Everything that the token does not cover.
    Changes(ChangesToken),
    /// These messages.
    Messages(VecDeque<EntityId>),
    /// The messages behind a key, without those whose writes are seen.
    Scan {
        seen: VersionVector,
        from: String,
        exclusive: bool,
    },
    /// Nothing.
    Nothing,
}

/// To what one listens.
enum Subject {
    Everything(Filter),
    Messages(Topic),
}

/// What is told next.
pub(super) enum Told {
    /// Of what was missed: as server-sent events.
    Missed(FrameBuilder, Option<String>),
    /// What came, with its bytes.
    Came(Arc<Frame>, Bytes),
    /// No more, for the listener was too slow.
    Overflow,
    /// No more, for this node ends, or cannot read.
    End,
}

/// One who listens.
pub(super) struct Listener {
    state: Arc<HttpState>,
    subject: Subject,
    frames: Frames,
    /// What is held when what was missed has been told.
    told: Arc<Snapshot>,
    /// Whether a frame was told since: until then, what comes may be read again.
    is_live: bool,
    missed: Missed,
    /// What is told before anything else.
    first: Option<Told>,
    /// By what right it listens, if that is looked at again.
    holder: Option<Holder>,
    _place: Place,
}

impl Listener {
    /// One who watches everything that `filter` takes, from `since` or from now on.
    pub(super) async fn watch(
        state: Arc<HttpState>,
        filter: Filter,
        since: Option<ChangesToken>,
    ) -> Result<Self, Problem> {
        let place = state.feed.place()?;
        let frames = state.feed.watch(&state);
        let told = state.store.snapshot();
        let is_new = since.is_none();
        let mut listener = Self {
            subject: Subject::Everything(filter),
            missed: since.map_or(Missed::Nothing, Missed::Changes),
            state,
            frames,
            told,
            is_live: false,
            first: None,
            holder: None,
            _place: place,
        };
        listener.first = if is_new {
            let token = watch_token(&listener.told).to_text();
            Some(Told::Missed(FrameBuilder::default(), Some(token)))
        } else {
            // A token that is too old is refused before anything is answered.
            listener.read_missed().await?
        };
        Ok(listener)
    }

    /// One who listens to a topic: from what `seen` covers, or from the message `from` on, or from now on.
    pub(super) async fn listen(
        state: Arc<HttpState>,
        topic: Topic,
        seen: Option<VersionVector>,
        from: Option<MessageId>,
    ) -> Result<Self, Problem> {
        let place = state.feed.place()?;
        let frames = state.feed.listen(&state, &topic);
        let told = state.store.snapshot();
        let missed = match (seen, from) {
            (Some(seen), _) => {
                let (snapshot, topic) = (told.clone(), topic.clone());
                blocking(move || missed_messages(&snapshot, &topic, seen)).await?
            }
            (None, Some(from)) => Missed::Scan {
                seen: VersionVector::default(),
                from: topic.message_id(&from).key().to_owned(),
                exclusive: false,
            },
            (None, None) => Missed::Nothing,
        };
        let mut listener = Self {
            subject: Subject::Messages(topic),
            state,
            frames,
            told,
            is_live: false,
            missed,
            first: None,
            holder: None,
            _place: place,
        };
        if matches!(listener.missed, Missed::Nothing) {
            let token = listener.token();
            listener.first = Some(Told::Missed(FrameBuilder::default(), Some(token)));
        }
        Ok(listener)
    }

    /// Looks again and again whether it still may listen by the right of `holder`.
    pub(super) fn held_by(mut self, holder: Option<Holder>) -> Self {
        self.holder = holder;
        self
    }

    /// Whether it still may. Asked with every beat and position, so at least as often as there is a heartbeat.
    fn may_listen(&self) -> bool {
        let now_ms = self.state.clock.unix_ms();
        let guard = &self.state.guard;
        self.holder
            .as_ref()
            .is_none_or(|holder| guard.still_admits(holder.admitted(), now_ms))
    }

    /// Which changes it is told; `None` for all that come.
    pub(super) fn filter(&self) -> Option<&Filter> {
        match &self.subject {
            Subject::Everything(filter) if !filter.takes_all() => Some(filter),
            Subject::Everything(_) | Subject::Messages(_) => None,
        }
    }

    /// How far it has been told.
    fn token(&self) -> String {
        match &self.subject {
            Subject::Everything(_) => watch_token(&self.told).to_text(),
            Subject::Messages(topic) => {
                let partition = topic.settings_id().partition();
                let vector = &self.told.state().partition(partition).vector;
                topic_token(partition, vector)
            }
        }
    }

    /// Waits for what is told next.
    pub(super) async fn next(mut self) -> (Self, Told) {
        if let Some(first) = self.first.take() {
            return (self, first);
        }
        loop {
            if !matches!(self.missed, Missed::Nothing) && !self.may_listen() {
                return (self, Told::End);
            }
            match self.read_missed().await {
                Ok(Some(told)) => return (self, told),
                Ok(None) => {}
                Err(_logged) => return (self, Told::End),
            }
            match self.frames.recv().await {
                Ok(frame) if frame.group <= self.told.group() => {}
                Ok(frame) => {
                    let is_pause = !matches!(frame.content, Content::Changes(_));
                    if is_pause && !self.may_listen() {
                        return (self, Told::End);
                    }
                    let Some(bytes) = frame.bytes() else {
                        return (self, Told::Overflow);
                    };
                    self.is_live |= matches!(frame.content, Content::Changes(_));
                    return (self, Told::Came(frame, bytes));
                }
                Err(RecvError::Lagged(_)) if !self.is_live => {
                    // It took its time over what it had missed, which can be read once more.
                    if let Err(_logged) = self.look_again().await {
                        return (self, Told::End);
                    }
                }
                Err(RecvError::Lagged(_)) => return (self, Told::Overflow),
                Err(RecvError::Closed) => return (self, Told::End),
            }
        }
    }

    /// What came since what was told is missed too.
    async fn look_again(&mut self) -> Result<(), Problem> {
        let (before, now) = (self.told.clone(), self.state.store.snapshot());
        self.missed = match &self.subject {
            Subject::Everything(_) => Missed::Changes(watch_token(&before)),
            Subject::Messages(topic) => {
                let partition = topic.settings_id().partition();
                let seen = before.state().partition(partition).vector.clone();
                let (snapshot, topic) = (now.clone(), topic.clone());
                blocking(move || missed_messages(&snapshot, &topic, seen)).await?
            }
        };
        self.told = now;
        Ok(())
    }

    /// The next page of what was missed, if anything is left of it.
    async fn read_missed(&mut self) -> Result<Option<Told>, Problem> {
        match core::mem::replace(&mut self.missed, Missed::Nothing) {
            Missed::Nothing => Ok(None),
            Missed::Changes(token) => self.read_changes(token).await.map(Some),
            Missed::Messages(ids) => self.read_messages(ids).await.map(Some),
            Missed::Scan {
                seen,
                from,
                exclusive,
            } => self.scan(seen, from, exclusive).await.map(Some),
        }
    }

    async fn read_changes(&mut self, token: ChangesToken) -> Result<Told, Problem> {
        let snapshot = self.state.store.snapshot();
        let source = source(&self.state.store);
        let filter = match &self.subject {
            Subject::Everything(filter) => filter.clone(),
            Subject::Messages(_) => Filter::default(),
        };
        let read = snapshot.clone();
        let now_ms = self.state.clock.unix_ms();
        let (frame, token, more) = blocking(move || {
            let page = read_changes(&*read, read.state(), source, token, PAGE);
            let page = page.map_err(|error| match error {
                ChangesError::Gone => gone(),
                ChangesError::Store(error) => error.into(),
            })?;
            let mut frame = FrameBuilder::default();
            for (id, _) in page.entities {
                if filter.takes(&id)
                    && let Some(json) = watched_json(&read, &id, now_ms)
                {
                    frame.push("change", id, &json);
                }
            }
            Ok::<_, Problem>((frame, page.token, page.more))
        })
        .await?;
        let text = token.to_text();
        if more {
            self.missed = Missed::Changes(token);
        } else {
            self.told = snapshot;
        }
        Ok(Told::Missed(frame, Some(text)))
    }

    async fn read_messages(&mut self, mut ids: VecDeque<EntityId>) -> Result<Told, Problem> {
        let snapshot = self.state.store.snapshot();
        let (frame, ids) = blocking(move || {
            let mut frame = FrameBuilder::default();
            let mut left = PAGE.entities;
            while left > 0
                && frame.len() < PAGE.bytes
                && let Some(id) = ids.pop_front()
            {
                if let Some((_, json)) = topic_message(&snapshot, &id, |_| true) {
                    frame.push("message", id, &json);
                }
                left -= 1;
            }
            Ok::<_, Problem>((frame, ids))
        })
        .await?;
        if ids.is_empty() {
            return Ok(Told::Missed(frame, Some(self.token())));
        }
        self.missed = Missed::Messages(ids);
        Ok(Told::Missed(frame, None))
    }

    async fn scan(
        &mut self,
        seen: VersionVector,
        from: String,
        exclusive: bool,
    ) -> Result<Told, Problem> {
        let Subject::Messages(topic) = &self.subject else {
            return Ok(Told::End);
        };
        let snapshot = self.state.store.snapshot();
        let topic = topic.clone();
        let (frame, seen, next) = blocking(move || {
            let range = Range {
                partition: topic.settings_id().partition(),
                collection: Collection::Topics,
                from: &from,
                exclusive,
                to: &format!("{}g", topic.prefix()),
            };
            let mut ids = Vec::new();
            let mut failed = Ok(());
            list_within(&*snapshot, &range, &mut |id, row| match row.read() {
                Ok(entity) => {
                    let is_new = !entity.delta(&seen).is_empty();
                    ids.push((id, is_new));
                    if ids.len() == PAGE.entities {
                        return ControlFlow::Break(());
                    }
                    ControlFlow::Continue(())
                }
                Err(error) => {
                    failed = Err(error);
                    ControlFlow::Break(())
                }
            })?;
            failed?;
            let last = ids.last().filter(|_| ids.len() == PAGE.entities);
            let mut next = last.map(|(id, _)| id.key().to_owned());
            let mut frame = FrameBuilder::default();
            for (id, is_new) in ids {
                if frame.len() >= PAGE.bytes {
                    break;
                }
                let key = id.key().to_owned();
                if is_new && let Some((_, json)) = topic_message(&snapshot, &id, |_| true) {
                    frame.push("message", id, &json);
                }
                if frame.len() >= PAGE.bytes {
                    next = Some(key);
                }
            }
            Ok::<_, Problem>((frame, seen, next))
        })
        .await?;
        let Some(from) = next else {
            return Ok(Told::Missed(frame, Some(self.token())));
        };
        self.missed = Missed::Scan {
            seen,
            from,
            exclusive: true,
        };
        Ok(Told::Missed(frame, None))
    }
}

/// The messages of a topic in `snapshot` that `seen` does not cover, in their order.
fn missed_messages(
    snapshot: &Snapshot,
    topic: &Topic,
    seen: VersionVector,
) -> Result<Missed, StoreError> {
    let partition = topic.settings_id().partition();
    let prefix = topic.prefix();
    let budget = DeltaBudget {
        entities: MAX_LOOKED_UP,
        bytes: usize::MAX,
    };
    let page = snapshot.delta(partition, &seen, None, budget)?;
    if page.next.is_some() {
        return Ok(Missed::Scan {
            seen,
            from: format!("{prefix}0"),
            exclusive: false,
        });
    }
    let ids = page.entities.into_iter().map(|cells| cells.id);
    let ids = ids.filter(|id| id.collection() == Collection::Topics);
    let mut ids: Vec<EntityId> = ids.filter(|id| id.key().starts_with(&prefix)).collect();
    ids.sort_unstable();
    Ok(Missed::Messages(ids.into()))
}

async fn blocking<T, E>(read: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<T, Problem>
where
    T: Send + 'static,
    E: Into<Problem> + Send + 'static,
{
    spawn_blocking(read)
        .await
        .map_err(|error| Problem::internal(&error))?
        .map_err(Into::into)
}

/// What is told as server-sent events; `None` if that is nothing.
pub(super) fn as_events(told: Told, filter: Option<&Filter>) -> Option<Bytes> {
    match told {
        Told::Missed(mut frame, token) => {
            if let Some(token) = token {
                frame.end_with(&token);
            }
            let bytes = frame.into_bytes();
            (!bytes.is_empty()).then_some(bytes)
        }
        Told::Came(frame, bytes) => match (&frame.content, filter) {
            (Content::Changes(changes), Some(filter)) => {
                let mut told = Vec::new();
                for change in changes.iter().filter(|change| filter.takes(&change.id)) {
                    told.extend_from_slice(&change.event(&bytes));
                }
                (!told.is_empty()).then(|| told.into())
            }
            (Content::Changes(_) | Content::Position(_) | Content::Beat, _) => Some(bytes),
        },
        Told::Overflow => Some(Bytes::from_static(
            b"event: overflow\ndata: {\"detail\":\"you read too slowly; come back with Last-Event-ID\"}\n\n",
        )),
        Told::End => None,
    }
}
