//! The guard: whether a request is let in, by the token that it shows.
//!
//! Grants that were asked for lately are kept in memory, each with what the partition of the tokens looked like when
//! it was read. While that has not changed, a request costs a hash and a look into a small map; when it has, one
//! read of the one grant. So a token that was revoked, here or elsewhere, is worth nothing from the moment on in
//! which this node has heard of it.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{attempts::Attempts, grants::find};
use crate::{
    model::{Bearer, Grant, GrantId, PartitionId, PartitionState, closed_id, is_closed},
    store::{Snapshot, Store, StoreError},
};

/// The most grants that are kept in memory.
const MAX_KNOWN: usize = 1_024;
const NOT_POISONED: &str = "no holder of the lock panics";

/// By what right a request is let in.
#[derive(Clone, Debug)]
pub enum Admitted {
    /// Access is open: nobody has made a token yet.
    Open,
    /// By this grant.
    By(Arc<Grant>),
}

/// Why a request is not let in.
#[derive(Debug)]
pub enum Refusal {
    /// It shows no token.
    NoToken {
        /// Whether any token was ever made, as far as this node knows.
        any_made: bool,
    },
    /// What it shows is no token of this cluster, or was revoked.
    BadToken,
    /// Its token has ended.
    Expired,
    /// Too many attempts from there have failed.
    TooMany {
        /// When it may try again.
        wait: Duration,
    },
    /// The grants cannot be read.
    Store(StoreError),
}

/// What the partition of the tokens looked like. Equal stamps of one store mean equal tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp(u64);

impl Stamp {
    fn of(snapshot: &Snapshot, partition: PartitionId) -> Self {
        let state: &PartitionState = snapshot.state().partition(partition);
        // What changed has a name, which is in the vector's hash as soon as it is claimed; until then it is a step.
        let hash = state.vector_hash ^ state.digest;
        let [high, low] = [hash >> 64, hash & u128::from(u64::MAX)];
        let folded = u64::try_from(high ^ low).unwrap_or_default();
        Self(folded ^ state.steps.rotate_left(32))
    }
}

#[derive(Debug)]
struct Known {
    stamp: Stamp,
    grant: Arc<Grant>,
}

/// Lets requests in, or not.
pub struct Guard {
    store: Store,
    partition: PartitionId,
    /// Whether everybody is let in until a token is made.
    opens: bool,
    /// Whether this node has heard that a token was made; then that is so for ever.
    closed: AtomicBool,
    /// With which stamp it had not.
    open_at: AtomicU64,
    known: RwLock<BTreeMap<GrantId, Known>>,
    attempts: Mutex<Attempts>,
}

impl Guard {
    /// The guard of a node with this store; `opens` says whether everybody is let in until a token is made.
    #[must_use]
    pub fn new(store: Store, opens: bool) -> Self {
        let partition = PartitionId::of_tokens();
        // A stamp that is not the present one.
        let open_at = AtomicU64::new(!Stamp::of(&store.snapshot(), partition).0);
        Self {
            store,
            partition,
            opens,
            closed: AtomicBool::new(false),
            open_at,
            known: RwLock::default(),
            attempts: Mutex::default(),
        }
    }

    /// Whether a request from `client` that shows `token` is let in, at the time of day `now_ms`.
    pub fn admit(
        &self,
        token: Option<&str>,
        client: IpAddr,
        now_ms: u64,
    ) -> Result<Admitted, Refusal> {
        if self.opens && !self.is_closed()? {
            return Ok(Admitted::Open);
        }
        let Some(token) = token else {
            let any_made = self.is_closed()?;
            return Err(Refusal::NoToken { any_made });
        };
        let grant = self.recognize(token, client)?;
        if grant.has_expired(now_ms) {
            return Err(Refusal::Expired);
        }
        Ok(Admitted::By(grant))
    }

    /// Whether who was admitted so would be again, at the time of day `now_ms`: for answers that go on for long.
    #[must_use]
    pub fn still_admits(&self, admitted: &Admitted, now_ms: u64) -> bool {
        match admitted {
            Admitted::Open => self.opens && matches!(self.is_closed(), Ok(false)),
            Admitted::By(grant) => {
                let held = find(&self.store.snapshot(), grant.id());
                !grant.has_expired(now_ms) && matches!(held, Ok(Some(held)) if held == **grant)
            }
        }
    }

    /// The grant of a token.
    fn recognize(&self, token: &str, client: IpAddr) -> Result<Arc<Grant>, Refusal> {
        let bearer = Bearer::parse(token).ok_or_else(|| self.fail(client))?;
        let snapshot = self.store.snapshot();
        let stamp = Stamp::of(&snapshot, self.partition);
        let is_known = {
            let known = self.known.read().expect(NOT_POISONED);
            let held = known.get(&bearer.id());
            if let Some(held) = held.filter(|held| held.stamp == stamp) {
                let right = held.grant.is_of(&bearer);
                return right
                    .then(|| held.grant.clone())
                    .ok_or_else(|| self.fail(client));
            }
            held.is_some()
        };
        // Who failed too often is not looked up; those that were let in lately go on from the same address.
        if !is_known && let Some(wait) = self.wait(client) {
            return Err(Refusal::TooMany { wait });
        }
        let grant = find(&snapshot, bearer.id()).map_err(Refusal::Store)?;
        let Some(grant) = grant.filter(|grant| grant.is_of(&bearer)) else {
            return Err(self.fail(client));
        };
        let grant = Arc::new(grant);
        let mut known = self.known.write().expect(NOT_POISONED);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        let held = Known {
            stamp,
            grant: grant.clone(),
        };
        known.insert(bearer.id(), held);
        Ok(grant)
    }

    /// Whether a token was ever made, as far as this node knows.
    fn is_closed(&self) -> Result<bool, Refusal> {
        if self.closed.load(Ordering::Acquire) {
            return Ok(true);
        }
        let snapshot = self.store.snapshot();
        let stamp = Stamp::of(&snapshot, self.partition);
        if self.open_at.load(Ordering::Acquire) == stamp.0 {
            return Ok(false);
        }
        let mark = snapshot.entity(&closed_id()).map_err(Refusal::Store)?;
        let closed = mark.as_ref().is_some_and(is_closed);
        if closed {
            self.closed.store(true, Ordering::Release);
        } else {
            self.open_at.store(stamp.0, Ordering::Release);
        }
        Ok(closed)
    }

    fn wait(&self, client: IpAddr) -> Option<Duration> {
        let attempts = self.attempts.lock().expect(NOT_POISONED);
        attempts.wait(client, Instant::now())
    }

    /// Takes note of an attempt that failed, and says what is answered.
    fn fail(&self, client: IpAddr) -> Refusal {
        let now = Instant::now();
        let mut attempts = self.attempts.lock().expect(NOT_POISONED);
        if let Some(wait) = attempts.wait(client, now) {
            return Refusal::TooMany { wait };
        }
        attempts.failed(client, now);
        Refusal::BadToken
    }
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard")
            .field("opens", &self.opens)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use tempfile::TempDir;

    use super::{
        super::{ATTEMPTS_BURST, GrantError, Grants},
        *,
    };
    use crate::{
        clock::SystemClock,
        model::{GrantDraft, Role},
        store::StoreOptions,
    };

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const ELSEWHERE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    fn opened(directory: &TempDir) -> Store {
        let options = StoreOptions::new(directory.path());
        Store::open(options, Arc::new(SystemClock)).expect("it is free")
    }

    fn draft(role: Role, expires_ms: Option<u64>) -> GrantDraft {
        GrantDraft {
            name: String::new(),
            role,
            limit: None,
            expires_ms,
        }
    }

    #[tokio::test]
    async fn the_first_token_closes_access_for_ever_and_there_is_one() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = opened(&directory);
        let grants = Grants::new(store.clone());
        let guard = Guard::new(store.clone(), true);
        assert!(matches!(guard.admit(None, HERE, 0), Ok(Admitted::Open)));
        let (one, other) = tokio::join!(grants.make_first(0), grants.make_first(0));
        let (first, second) = if one.is_ok() {
            (one, other)
        } else {
            (other, one)
        };
        let (grant, bearer) = first.expect("one of them is the first");
        assert!(matches!(second, Err(GrantError::NotFirst)));
        assert!(matches!(
            guard.admit(None, HERE, 0),
            Err(Refusal::NoToken { any_made: true })
        ));
        let text = bearer.to_text();
        assert!(matches!(guard.admit(Some(&text), HERE, 0), Ok(Admitted::By(by)) if *by == grant));
        assert!(grants.revoke(grant.id()).await.expect("it is written"));
        assert!(matches!(
            guard.admit(Some(&text), HERE, 0),
            Err(Refusal::BadToken)
        ));
        let again = Guard::new(store.clone(), true);
        assert!(matches!(
            again.admit(None, HERE, 0),
            Err(Refusal::NoToken { .. })
        ));
        store.close().await;
    }

    #[tokio::test]
    async fn a_revoked_or_expired_token_is_worth_nothing_at_once() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = opened(&directory);
        let grants = Grants::new(store.clone());
        let guard = Guard::new(store.clone(), false);
        assert!(matches!(
            guard.admit(None, HERE, 0),
            Err(Refusal::NoToken { any_made: false })
        ));
        let (grant, bearer) = grants
            .make(draft(Role::Read, Some(10)), 0)
            .await
            .expect("it is made");
        let text = bearer.to_text();
        for _ in 0..2 {
            assert!(guard.admit(Some(&text), HERE, 9).is_ok());
        }
        assert!(matches!(
            guard.admit(Some(&text), HERE, 10),
            Err(Refusal::Expired)
        ));
        let (other, _) = grants
            .make(draft(Role::Write, None), 0)
            .await
            .expect("it is made");
        assert_eq!(grants.list().expect("it can be read").len(), 2);
        assert!(grants.revoke(other.id()).await.expect("it is written"));
        assert!(!grants.revoke(other.id()).await.expect("nothing is written"));
        assert!(guard.admit(Some(&text), HERE, 9).is_ok());
        assert!(grants.revoke(grant.id()).await.expect("it is written"));
        assert!(matches!(
            guard.admit(Some(&text), HERE, 9),
            Err(Refusal::BadToken)
        ));
        store.close().await;
    }

    #[tokio::test]
    async fn who_guesses_is_not_looked_up_any_more_and_locks_out_nobody_who_is_known() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let store = opened(&directory);
        let grants = Grants::new(store.clone());
        let guard = Guard::new(store.clone(), false);
        let make = async || {
            let made = grants.make(draft(Role::Read, None), 0).await;
            made.expect("it is made").1.to_text()
        };
        let (known, new) = (make().await, make().await);
        assert!(guard.admit(Some(&known), ELSEWHERE, 0).is_ok());
        let mut guess = known.clone().into_bytes();
        guess[30] ^= 1;
        let guess = String::from_utf8(guess).expect("it is ASCII");
        for _ in 0..ATTEMPTS_BURST {
            let refused = guard.admit(Some(&guess), ELSEWHERE, 0);
            assert!(matches!(refused, Err(Refusal::BadToken)), "{refused:?}");
        }
        for text in [&guess, "x", &new] {
            let refused = guard.admit(Some(text), ELSEWHERE, 0);
            assert!(
                matches!(refused, Err(Refusal::TooMany { .. })),
                "{refused:?}"
            );
        }
        assert!(guard.admit(Some(&known), ELSEWHERE, 0).is_ok());
        assert!(guard.admit(Some(&new), HERE, 0).is_ok());
        store.close().await;
    }
}
