//! One secret: 32 random bytes, and the text by which people pass it on.

use core::fmt;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use rand::RngExt as _;
use zeroize::Zeroizing;

/// What the text of a secret begins with, so that people and scanners know one when they see it.
const PREFIX: &str = "gvsecret1_";

const SECRET_BYTES: usize = 32;
const CHECKSUM_BYTES: usize = 4;

/// The characters behind the prefix: 36 bytes in base64.
const ENCODED_CHARS: usize = 48;

const CHECKSUM_CONTEXT: &str = "grapevine 2026 cluster secret checksum";
const FINGERPRINT_CONTEXT: &str = "grapevine 2026 cluster secret fingerprint";

/// A secret that all nodes of a cluster share. Shows itself to nobody but [`Self::reveal`].
#[derive(Clone)]
pub struct Secret(Zeroizing<[u8; SECRET_BYTES]>);

/// Names a secret without telling it: 32 bits of a hash.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint(u32);

/// Why a text is no secret. It is not repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// It does not begin as one does.
    #[error("a secret begins with `{PREFIX}`, as `grapevine secret new` prints it")]
    Prefix,
    /// It is longer or shorter than one, or has characters that none has.
    #[error("a secret has {ENCODED_CHARS} characters of A-Z, a-z, 0-9, `-`, `_` behind `{PREFIX}`")]
    Shape,
    /// Its checksum does not fit.
    #[error("its checksum does not fit: it was mistyped, or cut and filled up")]
    Checksum,
    /// There is none.
    #[error("there is no secret in it; `grapevine secret new` makes one")]
    Missing,
    /// There are more than two.
    #[error("there are more than {} secrets in it", super::MAX_SECRETS)]
    TooMany,
    /// One is there twice.
    #[error("the same secret is in it twice")]
    Twice,
}

impl Secret {
    /// A new one.
    #[must_use]
    pub fn random() -> Self {
        let mut bytes = Zeroizing::new([0; SECRET_BYTES]);
        rand::rng().fill(&mut *bytes);
        Self(bytes)
    }

    /// The one with these bytes.
    #[must_use]
    pub fn from_bytes(bytes: [u8; SECRET_BYTES]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let encoded = text.strip_prefix(PREFIX).ok_or(SecretError::Prefix)?;
        if encoded.len() != ENCODED_CHARS {
            return Err(SecretError::Shape);
        }
        let decoded = URL_SAFE_NO_PAD
            .decode(encoded)
            .map_err(|_| SecretError::Shape)?;
        let decoded = Zeroizing::new(decoded);
        let (bytes, checksum) = decoded
            .split_first_chunk::<SECRET_BYTES>()
            .ok_or(SecretError::Shape)?;
        let secret = Self::from_bytes(*bytes);
        if checksum != secret.checksum() {
            return Err(SecretError::Checksum);
        }
        Ok(secret)
    }

    /// Whether a text looks like a secret, whole or not, and must not be repeated.
    #[must_use]
    pub fn is_like(text: &str) -> bool {
        text.contains(PREFIX)
    }

    /// The text form: the one place where a secret shows itself.
    #[must_use]
    pub fn reveal(&self) -> Zeroizing<String> {
        let bytes = Zeroizing::new([&self.0[..], &self.checksum()].concat());
        let encoded = Zeroizing::new(URL_SAFE_NO_PAD.encode(&*bytes));
        Zeroizing::new(format!("{PREFIX}{}", *encoded))
    }

    /// What it may be called in a log.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let hash = blake3::derive_key(FINGERPRINT_CONTEXT, &*self.0);
        Fingerprint(u32::from_be_bytes([hash[0], hash[1], hash[2], hash[3]]))
    }

    pub(super) fn bytes(&self) -> &[u8; SECRET_BYTES] {
        &self.0
    }

    fn checksum(&self) -> [u8; CHECKSUM_BYTES] {
        let hash = blake3::derive_key(CHECKSUM_CONTEXT, &*self.0);
        [hash[0], hash[1], hash[2], hash[3]]
    }
}

/// Takes equally long whatever the bytes are.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        blake3::Hash::from_bytes(*self.0) == blake3::Hash::from_bytes(*other.0)
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.fingerprint())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Secret {
        Secret::from_bytes(core::array::from_fn(|index| {
            u8::try_from(index).expect("there are 32")
        }))
    }

    /// The text form is a promise: secrets are kept in files for years.
    #[test]
    fn a_new_version_reads_old_secrets_differently() {
        let text = known().reveal();
        assert_eq!(
            *text,
            "gvsecret1_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh_wv5Ml"
        );
        assert_eq!(Secret::parse(&text), Ok(known()));
        assert_eq!(known().fingerprint().to_string(), "8447fcd5");
    }

    #[test]
    fn a_mistyped_secret_makes_a_cluster_of_its_own() {
        let good = Secret::random().reveal();
        assert!(Secret::parse(&good).is_ok());
        for index in PREFIX.len()..good.len() {
            let mut changed = good.as_bytes().to_vec();
            changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).expect("it is plain");
            assert!(Secret::parse(&changed).is_err(), "at {index}");
        }
        assert_eq!(Secret::parse("hunter2"), Err(SecretError::Prefix));
        assert_eq!(Secret::parse(&good[..57]), Err(SecretError::Shape));
        assert_eq!(
            Secret::parse(&format!("{}A", *good)),
            Err(SecretError::Shape)
        );
        let strange = format!("{}?{}", &good[..30], &good[31..]);
        assert_eq!(Secret::parse(&strange), Err(SecretError::Shape));
    }

    #[test]
    fn a_debug_line_shows_the_secret() {
        let secret = Secret::random();
        let text = secret.reveal();
        let shown = format!("{secret:?} {:?}", Secret::parse("gvsecret1_abc"));
        assert!(!shown.contains(&text[PREFIX.len()..]), "{shown}");
        assert!(!shown.contains("abc"), "{shown}");
        for window in secret.bytes().windows(4) {
            let hex = window.iter().map(|byte| format!("{byte:02x}"));
            let hex = hex.collect::<Vec<_>>().concat();
            assert!(!shown.contains(&hex), "{shown}");
        }
    }
}
