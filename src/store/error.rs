//! What can go wrong below the store's interface.

use crate::codec::CodecError;

/// Why the store could not do what it was asked. Unless a variant says otherwise, no state changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A row cannot be read: the file is damaged or of another version.
    #[error("a row of table {table} cannot be read: {source}")]
    Row {
        /// The table.
        table: &'static str,
        /// What is wrong with it.
        source: CodecError,
    },
    /// A value cannot be encoded.
    #[error("{0}")]
    Codec(#[from] CodecError),
    /// A row's key has not the shape its table promises.
    #[error("a key of table {0} has not the shape of that table")]
    Key(&'static str),
    /// The store is closing or has failed; whether a write that was under way is stored is unknown.
    #[error("the store is closed")]
    Closed,
    /// The replica has written 2^64 - 1 times to one partition, or the clock is exhausted.
    #[error("this life of the node can make no more writes")]
    Exhausted,
}
