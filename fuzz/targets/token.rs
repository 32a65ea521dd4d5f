//! The tokens that clients send back: of changes, and of sessions.

use grapevine::model::{ChangesToken, SessionToken};

pub(super) fn run(bytes: &[u8]) {
    let Ok(text) = core::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(token) = ChangesToken::from_text(text) {
        let again = ChangesToken::from_text(&token.to_text());
        assert_eq!(again.as_ref(), Ok(&token));
    }
    if let Ok(token) = SessionToken::from_text(text) {
        let again = SessionToken::from_text(&token.to_text());
        assert_eq!(again.as_ref(), Ok(&token));
    }
}
