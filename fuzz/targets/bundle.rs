//! A bundle from another node.

use grapevine::bundle::verify;

pub(super) fn run(bytes: &[u8]) {
    if let Ok(whole) = verify(bytes) {
        assert!(whole.partitions <= 256, "more partitions than there are");
    }
}
