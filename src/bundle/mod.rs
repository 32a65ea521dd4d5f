//! Bundles: what one node holds and another may lack, as a file between nodes that share no network.
//!
//! A bundle carries, per partition, the same pages of a delta that peers exchange, the vector they were read
//! against and the one they complete, and the floor. `format` is the bytes of a file, `export` writes one from
//! snapshots, `import` takes one in. A backup is a bundle of everything, of one moment; `restore` makes a store from it.
//!
//! Invariants: a file that is damaged, cut off, of another cluster, or built upon what is not held here is refused
//! whole, before anything is applied, as is one by or for a store that was expelled; what is applied is joined as a peer's delta is, so the same bundle twice,
//! or an older one after a newer, changes nothing.
//!
//! It must not know HTTP, peers, or the command line.

mod export;
mod format;
mod head;
mod import;
mod restore;
#[cfg(test)]
mod tests;

pub use export::{back_up, export};
pub use format::{BUNDLE_VERSION, BundleError, BundleHeader, MAX_SECTION_BYTES};
pub use head::PartitionHead;
pub use import::{Imported, Importer, verify, verify_backup};
pub use restore::{RestoreError, Restored, restore};
