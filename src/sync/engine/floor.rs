//! Who has not taken in what was collected, and therefore exchanges no deltas and no pushes with us.
//!
//! What is collected cannot be told by a delta. Who does not know of it would keep what is gone here, and give
//! it back. Such a peer hears [`Message::Behind`], and takes part in the partition anew ([`super::rejoin`]).

use grapevine_crdt::VersionVector;

use super::{
    PullRequest, View,
    core::{Engine, Step},
    pull::Pull,
    validate::{self, Violation},
};
use crate::model::{Floor, PartitionId};

impl Engine {
    /// Whether a peer with this vector lacks what we collected.
    pub(super) fn lacks_our_floor(
        view: &dyn View,
        partition: PartitionId,
        theirs: &VersionVector,
    ) -> bool {
        let ours = view.partition(partition);
        !theirs.includes(&ours.floor.vector)
    }

    /// Tells a peer that asked for a page that it needs more than that.
    pub(super) fn tell_behind(
        step: &mut Step<'_>,
        peer: grapevine_crdt::ReplicaId,
        request: &PullRequest,
    ) {
        let ours = step.view.partition(request.partition);
        step.send(peer, request.behind(&ours));
    }

    /// Whether nothing is held of a partition, claimed or not, and nothing is on its way to the writer.
    pub(super) fn holds_nothing(&self, view: &dyn View, partition: PartitionId) -> bool {
        let ours = view.partition(partition);
        ours.vector.is_empty()
            && ours.unclaimed == 0
            && !self.pulls.of_partition(partition)
            && !self.is_applying(partition)
    }
}

/// Whether what a pull has brought may be claimed with `floor`: we took in before what was collected, or held
/// nothing of it that could be gone.
pub(super) fn may_absorb(view: &dyn View, pull: &Pull, floor: &Floor) -> bool {
    let ours = view.partition(pull.partition);
    let held_nothing = pull.fresh && ours.vector.is_empty();
    held_nothing || ours.vector.includes(&floor.vector)
}

/// A floor that a peer tells with its vector.
pub(super) fn check(
    partition: PartitionId,
    vector: &VersionVector,
    floor: &Floor,
    announced: Option<grapevine_crdt::Timestamp>,
) -> Result<(), Violation> {
    let above = announced.is_some_and(|announced| floor.rank.time() > announced);
    if above || floor.vector.len() > validate::MAX_VECTOR_ENTRIES || !vector.includes(&floor.vector)
    {
        return Err(Violation::Floor(partition));
    }
    Ok(())
}
