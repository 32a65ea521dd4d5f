//! Sessions: a client that sends back the token of its last write sees that write on every node.
//!
//! A read with a token is answered once this node's vectors cover it; until then it waits a little, asks the
//! peers, and in the end refuses (503). So does a write that is decided from what is there (a deletion covers only what its
//! node has seen, an edit writes only what differs), but only for the partition of its entity. Without a token nothing
//! waits and nothing costs anything here.
//!
//! A token is bounded. Where a write would make it too long, what every member is known to hold is dropped from
//! it: no node is left that could show less. If that is not enough the write is refused *before* anything is
//! written, for a token from which something else is missing would break its promise in silence.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
    time::{Duration, Instant},
};

use axum::{
    http::{HeaderMap, HeaderValue},
    response::Response,
};
use grapevine_crdt::{Dot, FieldCell, ReplicaId, Seq};
use tokio::{sync::Semaphore, time::sleep_until};

use super::{
    HttpState,
    problem::{Problem, ProblemKind},
};
use crate::{
    cluster::ClusterView,
    model::{Collection, EntityId, MAX_SESSION_TOKEN_BYTES, PARTITIONS, PartitionId, SessionToken},
    store::{Edit, Snapshot},
};

const HEADER: &str = "grapevine-token";
/// As the problem names it.
const FIELD: &str = "Grapevine-Token";
/// The most requests that wait at once for writes of their sessions.
const MAX_WAITING_REQUESTS: usize = 256;
/// How often peers are asked while somebody waits.
const ASK_PERIOD: Duration = Duration::from_millis(50);

/// The requests that wait for what their token names.
#[derive(Debug)]
pub(super) struct Waiting {
    places: Semaphore,
    asked: Mutex<Option<Instant>>,
}

impl Default for Waiting {
    fn default() -> Self {
        Self {
            places: Semaphore::new(MAX_WAITING_REQUESTS),
            asked: Mutex::default(),
        }
    }
}

impl Waiting {
    /// Asks the peers what they have, once for all who wait.
    fn ask(&self, cluster: &dyn ClusterView) {
        let mut asked = self.asked.lock().expect("no holder of the lock panics");
        if asked.is_none_or(|asked| asked.elapsed() >= ASK_PERIOD) {
            *asked = Some(Instant::now());
            cluster.ask_peers();
        }
    }

    /// Waits until `lacking` says that nothing is missing, as long as the settings allow.
    pub(super) async fn until(
        &self,
        state: &HttpState,
        lacking: impl Fn(&Snapshot) -> u64,
    ) -> Result<(), Problem> {
        if lacking(&state.store.snapshot()) == 0 {
            return Ok(());
        }
        let Ok(_place) = self.places.try_acquire() else {
            return Err(behind(
                "too many requests wait for writes of other nodes".to_owned(),
            ));
        };
        let deadline = tokio::time::Instant::now() + state.limits.token_wait;
        let mut roots = state.store.roots();
        loop {
            roots.borrow_and_update();
            let missing = lacking(&state.store.snapshot());
            if missing == 0 {
                return Ok(());
            }
            let now = tokio::time::Instant::now();
            if now >= deadline {
                return Err(behind(format!(
                    "{missing} writes that the token names have not reached this node yet"
                )));
            }
            self.ask(&*state.cluster);
            tokio::select! {
                Ok(()) = roots.changed() => {}
                () = sleep_until(deadline.min(now + ASK_PERIOD)) => {}
            }
        }
    }
}

/// What a request says about the session it belongs to.
#[derive(Debug)]
pub(super) struct Session {
    token: Option<SessionToken>,
}

impl Session {
    /// Reads the token of a request, if it has one.
    fn read(headers: &HeaderMap) -> Result<Self, Problem> {
        let mut values = headers.get_all(HEADER).iter();
        let Some(value) = values.next() else {
            return Ok(Self { token: None });
        };
        let malformed = |detail: String| Problem::malformed(FIELD, detail);
        if values.next().is_some() {
            return Err(malformed("is there twice".to_owned()));
        }
        let text = value.to_str().unwrap_or_default();
        let token = SessionToken::from_text(text).map_err(|error| malformed(error.to_string()))?;
        Ok(Self { token: Some(token) })
    }

    /// The session of a read, which may be answered once this returns.
    pub(super) async fn of_read(headers: &HeaderMap, state: &HttpState) -> Result<(), Problem> {
        let Self { token: Some(token) } = Self::read(headers)? else {
            return Ok(());
        };
        let lacking = |snapshot: &Snapshot| {
            let state = snapshot.state();
            token.lacking(|partition| &state.partition(partition).vector)
        };
        state.waiting.until(state, lacking).await
    }

    /// Whether the session knows of writes to this partition that this node does not hold yet.
    pub(super) fn lacks(&self, state: &HttpState, partition: PartitionId) -> bool {
        self.token.as_ref().is_some_and(|token| {
            let snapshot = state.store.snapshot();
            token.lacking_in(partition, &snapshot.state().partition(partition).vector) > 0
        })
    }

    /// The session of a write to one entity that says the same whatever is there: it needs to have seen nothing.
    pub(super) async fn of_blind_write(
        headers: &HeaderMap,
        state: &HttpState,
    ) -> Result<Self, Problem> {
        Self::read(headers)?.with_room(state, 1).await
    }

    /// The session of a write that is decided from what `id` is, which may be written once this returns: then
    /// this node holds what the session wrote to it.
    pub(super) async fn of_write(
        headers: &HeaderMap,
        state: &HttpState,
        id: &EntityId,
    ) -> Result<Self, Problem> {
        let session = Self::read(headers)?;
        session
            .wait_for(state, std::iter::once(id.partition()))
            .await?;
        session.with_room(state, 1).await
    }

    /// As [`Self::of_write`], for any number of entities of these partitions.
    pub(super) async fn of_writes(
        headers: &HeaderMap,
        state: &HttpState,
        partitions: &BTreeSet<PartitionId>,
    ) -> Result<Self, Problem> {
        let session = Self::read(headers)?;
        session.wait_for(state, partitions.iter().copied()).await?;
        session.with_room(state, PARTITIONS).await
    }

    /// Waits until this node holds what the session wrote in these partitions.
    async fn wait_for(
        &self,
        state: &HttpState,
        partitions: impl Iterator<Item = PartitionId> + Clone,
    ) -> Result<(), Problem> {
        let Some(token) = &self.token else {
            return Ok(());
        };
        let lacking = |snapshot: &Snapshot| {
            let held = snapshot.state();
            partitions
                .clone()
                .map(|partition| token.lacking_in(partition, &held.partition(partition).vector))
                .fold(0, u64::saturating_add)
        };
        state.waiting.until(state, lacking).await
    }

    /// The session, if its token has room for a write in each of `partitions` partitions.
    async fn with_room(mut self, state: &HttpState, partitions: usize) -> Result<Self, Problem> {
        let Some(token) = &mut self.token else {
            return Ok(self);
        };
        let has_room = |token: &SessionToken| {
            token.weight() + SessionToken::growth(partitions) <= MAX_SESSION_TOKEN_BYTES
        };
        if has_room(token) {
            return Ok(self);
        }
        // The order matters: what the members told later covers at least this.
        let snapshot = state.store.snapshot();
        let ours = state.store.replica();
        let members = state.cluster.members().await;
        let all_have_ours = members
            .iter()
            .all(|member| Some(member.replica) == ours || member.lag == Some(0));
        if all_have_ours {
            token.forget(|partition| &snapshot.state().partition(partition).vector);
        }
        if has_room(token) {
            return Ok(self);
        }
        Err(Problem::new(
            ProblemKind::TokenFull,
            "the token names all the writes it can, and not every member is known to hold them; \
             come back, or begin a new session without it",
        )
        .about(FIELD))
    }

    /// The token of the answer to a write: that of the request, and what was written.
    pub(super) fn answer(self, written: Written) -> Token {
        self.answer_all([written])
    }

    /// The token of the answer to many writes. There is room for the writes themselves; of what they left
    /// alone is named what fits, the youngest lives first.
    pub(super) fn answer_all(self, written: impl IntoIterator<Item = Written>) -> Token {
        let mut writes = Writes::default();
        written.into_iter().for_each(|written| writes.add(written));
        self.answer_writes(writes)
    }

    /// As [`Self::answer_all`], for writes that were added up.
    pub(super) fn answer_writes(self, writes: Writes) -> Token {
        let mut token = self.token.unwrap_or_default();
        for ((replica, partition), seq) in writes.own {
            token.insert(partition, Dot::new(replica, seq));
        }
        for ((replica, partition), seq) in writes.kept.into_iter().rev() {
            if token.weight() + SessionToken::growth(1) > MAX_SESSION_TOKEN_BYTES {
                break;
            }
            token.insert(partition, Dot::new(replica, seq));
        }
        Token(token)
    }
}

/// What must be held to see many writes, in bounded memory however many they are.
#[derive(Debug, Default)]
pub(super) struct Writes {
    own: BTreeMap<(ReplicaId, PartitionId), Seq>,
    kept: BTreeMap<(ReplicaId, PartitionId), Seq>,
}

impl Writes {
    pub(super) fn add(&mut self, written: Written) {
        let raise = |highest: &mut BTreeMap<_, Seq>, dot: Dot| {
            let seq: &mut Seq = highest.entry((dot.replica, written.partition)).or_default();
            *seq = dot.seq.max(*seq);
        };
        if let Some(own) = written.own {
            raise(&mut self.own, own);
        }
        for dot in written.kept {
            raise(&mut self.kept, dot);
        }
    }
}

/// What must be held to see a write.
#[derive(Clone, Debug)]
pub(super) struct Written {
    partition: PartitionId,
    /// The write itself; `None` if nothing had to be written.
    own: Option<Dot>,
    /// What stood there already and is part of what the write asked for.
    kept: Vec<Dot>,
}

impl Written {
    /// What `edit` writes to `id` with `cells`. A write that changes a part, or nothing because all is as it
    /// asks for, is only seen together with what it left alone.
    pub(super) fn of(id: &EntityId, edit: &Edit<'_>, cells: &[FieldCell]) -> Self {
        let whole = match id.collection() {
            Collection::Counters | Collection::Kv | Collection::Topics | Collection::Tokens => {
                false
            }
            Collection::Contacts | Collection::Roster => true,
        };
        let kept = if whole || cells.is_empty() {
            edit.entity.dots().into_iter().collect()
        } else {
            Vec::new()
        };
        Self {
            partition: id.partition(),
            own: (!cells.is_empty()).then_some(edit.dot),
            kept,
        }
    }
}

/// What an edit decides: its cells, and its answer.
type Decided<T, E> = Result<(Vec<FieldCell>, T), E>;

/// Makes of `edit` an edit that also yields what must be held to see it.
pub(super) fn tracked<T, E>(
    id: EntityId,
    edit: impl FnOnce(Edit<'_>) -> Decided<T, E> + Send + 'static,
) -> impl FnOnce(Edit<'_>) -> Decided<(T, Written), E> + Send + 'static {
    move |context| {
        let again = Edit { ..context };
        let (cells, value) = edit(context)?;
        let written = Written::of(&id, &again, &cells);
        Ok((cells, (value, written)))
    }
}

/// The token of an answer.
#[derive(Debug)]
pub(super) struct Token(SessionToken);

impl Token {
    /// As it is sent back.
    pub(super) fn to_text(&self) -> String {
        self.0.to_text()
    }

    /// Puts it on an answer.
    pub(super) fn put(&self, mut response: Response) -> Response {
        if let Ok(value) = HeaderValue::try_from(self.0.to_text()) {
            response.headers_mut().insert(HEADER, value);
        }
        response
    }
}

fn behind(detail: String) -> Problem {
    Problem::new(ProblemKind::Behind, detail).about(FIELD)
}
