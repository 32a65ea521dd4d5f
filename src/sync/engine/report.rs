//! What a peer last told of a partition: how much of it it holds.
//!
//! A report is what it was at one moment of one life. A newer one replaces it and never joins it: two reports
//! together may say what was true at no moment, and what is collected on such a word comes back. One that was
//! overtaken on its way only says less than could be known.

use std::sync::Arc;

use grapevine_crdt::VersionVector;

use crate::model::{HashedVector, PartitionState};

/// How much of a partition a peer said that it holds.
#[derive(Clone, Debug)]
pub(super) enum Told {
    /// It never said since it came up.
    Nothing,
    /// What we held at that moment.
    Ours(Arc<PartitionState>),
    /// This.
    Vector(HashedVector),
}

/// What a peer last told of a partition.
#[derive(Clone, Debug)]
pub(super) struct Report {
    pub(super) told: Told,
    /// Whether it held cells that its vector did not cover.
    pub(super) unclaimed: bool,
    /// When it told it, on our monotonic clock.
    pub(super) told_ms: u64,
}

impl Report {
    /// Of a peer that told nothing yet.
    pub(super) const NOTHING: Self = Self {
        told: Told::Nothing,
        unclaimed: false,
        told_ms: 0,
    };

    pub(super) fn vector(&self) -> Option<&VersionVector> {
        match &self.told {
            Told::Nothing => None,
            Told::Ours(state) => Some(&state.vector),
            Told::Vector(vector) => Some(vector.vector()),
        }
    }

    pub(super) fn hashed(&self) -> Option<HashedVector> {
        match &self.told {
            Told::Nothing => None,
            Told::Ours(state) => Some(state.hashed()),
            Told::Vector(vector) => Some(vector.clone()),
        }
    }
}
