//! A bearer token as its holder shows it: `gvt1.<id>.<secret>`, the id of its grant and 256 random bits.
//!
//! The text is a `b64token` (RFC 6750, section 2.1). Its beginning is there so that scanners for leaked secrets find
//! it.
//!
//! Invariant: what is kept of a secret is its hash. The secret has 256 bits of entropy, so nobody finds it by trying,
//! and a slow or salted hash, which is for passwords, would protect nothing more.

use core::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use super::GrantId;

/// How many random bytes a secret has.
pub const SECRET_BYTES: usize = 32;

const PREFIX: &str = "gvt1.";
/// The characters of a secret in base64.
const SECRET_CHARS: usize = 43;
/// No secret: it parts these hashes from those of anything else.
const KEY: &[u8; 32] = b"grapevine 2026 bearer token hash";

/// A bearer token. It is not shown by accident: its debug form tells the id alone.
#[derive(Clone)]
pub struct Bearer {
    id: GrantId,
    secret: [u8; SECRET_BYTES],
}

impl Bearer {
    /// The token of the grant `id` with this secret.
    #[must_use]
    pub const fn new(id: GrantId, secret: [u8; SECRET_BYTES]) -> Self {
        Self { id, secret }
    }

    /// The token that `text` is; `None` if it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once('.')?;
        let id = GrantId::parse(id)?;
        if secret.len() != SECRET_CHARS {
            return None;
        }
        let mut bytes = [0; SECRET_BYTES];
        let length = URL_SAFE_NO_PAD.decode_slice(secret, &mut bytes).ok()?;
        (length == SECRET_BYTES).then_some(Self { id, secret: bytes })
    }

    /// The grant that it names.
    #[must_use]
    pub const fn id(&self) -> GrantId {
        self.id
    }

    /// What is kept of its secret.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        *blake3::keyed_hash(KEY, &self.secret).as_bytes()
    }

    /// The token as its holder shows it. Whoever reads this has the token.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!(
            "{PREFIX}{}.{}",
            self.id,
            URL_SAFE_NO_PAD.encode(self.secret)
        )
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bearer")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_token_is_a_promise() {
        let bearer = Bearer::new(GrantId::from_u64(0x0123_4567_89ab_cdef), [7; 32]);
        let text = "gvt1.0123456789abcdef.BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";
        assert_eq!(bearer.to_text(), text);
        let read = Bearer::parse(text).expect("it is one");
        assert_eq!((read.id(), read.secret), (bearer.id(), [7; 32]));
    }

    #[test]
    fn what_is_no_token_is_none() {
        let good = Bearer::new(GrantId::from_u64(1), [7; 32]).to_text();
        let long = format!("{good}A");
        // The last character holds bits that are no part of the secret: another spelling is another text.
        let spelled = format!("{}d", &good[..good.len() - 1]);
        for bad in [
            "",
            "gvt1.",
            "gvt1.1.2",
            &good[1..],
            &good[..good.len() - 1],
            &long,
            &spelled,
            &good.to_uppercase(),
            "gvt1.0123456789ABCDEF.BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc",
            "gvt1.0123456789abcdef.BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBw=",
        ] {
            assert!(Bearer::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_token_is_not_shown_by_accident() {
        let bearer = Bearer::new(GrantId::from_u64(1), [7; 32]);
        let shown = format!("{bearer:?}");
        assert!(shown.contains("0000000000000001"), "{shown}");
        assert!(!shown.contains("Bwc") && !shown.contains('7'), "{shown}");
    }
}
