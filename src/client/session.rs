//! What a client has written, as the token that it sends along.

use std::sync::Mutex;

use hyper::{
    HeaderMap,
    header::{HeaderName, HeaderValue},
};

use crate::model::{MAX_SESSION_TOKEN_BYTES, SessionToken};

const HEADER: HeaderName = HeaderName::from_static("grapevine-token");

/// The session of one client. Requests may be under way at once: what their answers name is joined.
#[derive(Debug, Default)]
pub(super) struct Session(Mutex<Option<HeaderValue>>);

impl Session {
    pub(super) fn starting_with(token: Option<&str>) -> Self {
        Self(Mutex::new(
            token.and_then(|token| HeaderValue::try_from(token).ok()),
        ))
    }

    pub(super) fn token(&self) -> Option<String> {
        let held = self.held();
        let text = held.as_ref()?.to_str().ok()?;
        Some(text.to_owned())
    }

    pub(super) fn put(&self, headers: &mut HeaderMap) {
        if let Some(token) = &*self.held() {
            headers.insert(HEADER, token.clone());
        }
    }

    /// Takes the token of an answer in. It names what the request named, so it replaces that; what came meanwhile
    /// is added. If both do not fit one token, the answer's stays.
    pub(super) fn take(&self, sent: Option<&HeaderValue>, answer: &HeaderMap) {
        let Some(answered) = answer.get(HEADER) else {
            return;
        };
        let mut held = self.held();
        let token = if held.as_ref() == sent {
            None
        } else {
            held.as_ref().and_then(|held| joined(held, answered))
        };
        *held = Some(token.unwrap_or_else(|| answered.clone()));
    }

    /// Takes a token in that came in the body of an answer.
    pub(super) fn join(&self, token: &str) {
        if let Ok(value) = HeaderValue::try_from(token) {
            let answer = HeaderMap::from_iter([(HEADER, value)]);
            self.take(None, &answer);
        }
    }

    pub(super) fn sent(headers: &HeaderMap) -> Option<&HeaderValue> {
        headers.get(HEADER)
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Option<HeaderValue>> {
        self.0.lock().expect("no holder of the lock panics")
    }
}

fn joined(one: &HeaderValue, other: &HeaderValue) -> Option<HeaderValue> {
    let mut token = SessionToken::from_text(one.to_str().ok()?).ok()?;
    token.join(&SessionToken::from_text(other.to_str().ok()?).ok()?);
    if token.weight() > MAX_SESSION_TOKEN_BYTES {
        return None;
    }
    HeaderValue::try_from(token.to_text()).ok()
}

#[cfg(test)]
mod tests {
    use grapevine_crdt::{Dot, ReplicaId, Seq};

    use super::*;
    use crate::model::PartitionId;

    #[test]
    fn answers_that_cross_lose_nothing_of_each_other() {
        let token = |partition: u8| {
            let mut token = SessionToken::default();
            let dot = Dot::new(ReplicaId::from_bytes([partition; 16]), Seq::new(1));
            token.insert(PartitionId::new(partition), dot);
            token
        };
        let answer = |token: &SessionToken| {
            let value = HeaderValue::try_from(token.to_text()).expect("it is ASCII");
            HeaderMap::from_iter([(HEADER, value)])
        };
        let session = Session::default();
        // Both requests were sent before either was answered.
        session.take(None, &answer(&token(1)));
        session.take(None, &answer(&token(2)));
        let held = session.token().expect("there is one");
        let held = SessionToken::from_text(&held).expect("it can be read");
        let mut both = token(1);
        both.join(&token(2));
        assert_eq!(held, both);
    }
}
