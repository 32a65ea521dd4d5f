//! What is done with bytes from outside, one function for each kind of them: the fuzz targets run these, and so
//! does the test of the corpus (`tests/corpus.rs`).
//!
//! Each takes any bytes and must not panic. What it makes of good ones must hold what it says.

mod bundle;
mod datagram;
mod handshake;
mod http;
mod message;
mod rows;
mod settings;
mod token;
mod vcard;

/// Takes any bytes.
pub(crate) type Target = fn(&[u8]);

/// Every target, with the name of its directory in `fuzz/seeds`.
#[allow(dead_code, reason = "a fuzz target uses its own")]
pub(crate) const ALL: [(&str, Target); 9] = [
    ("bundle", bundle::run),
    ("datagram", datagram::run),
    ("handshake", handshake::run),
    ("http", http::run),
    ("message", message::run),
    ("rows", rows::run),
    ("settings", settings::run),
    ("token", token::run),
    ("vcard", vcard::run),
];

/// Runs the target called `name`.
#[allow(dead_code, reason = "the test of the corpus runs all")]
pub(crate) fn run(name: &str, bytes: &[u8]) {
    let (_, target) = ALL
        .into_iter()
        .find(|(known, _)| *known == name)
        .expect("a target of this name");
    target(bytes);
}
