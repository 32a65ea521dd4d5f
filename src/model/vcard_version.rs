//! The versions of vCard that are written.

/// A version of vCard that is written; 2.1 is only read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CardVersion {
    /// RFC 2426.
    V3,
    /// RFC 6350.
    V4,
}

impl CardVersion {
    /// What `VERSION` says.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V3 => "3.0",
            Self::V4 => "4.0",
        }
    }
}
