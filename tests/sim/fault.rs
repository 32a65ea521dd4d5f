//! Deliberately broken behaviour, with which the checks prove that they bite.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Every page of a pull claims its vector.
    ClaimsEarly,
    /// Pages do not tell that the partition changed between them.
    HidesStamps,
    /// A restarted node goes on from an old copy of its disk under its old replica id.
    ReusesLife,
    /// Now and then the state of a commit is published without its rows.
    TearsCommits,
    /// A page leaves out what the server may not claim itself.
    OmitsUnclaimed,
    /// Cells of a peer take the place of what was held.
    Overwrites,
    /// Clients hear of writes before they are durable.
    AcksEarly,
    /// A restarted node forgets the high-water mark of its clock.
    ForgetsClock,
    /// Now and then an entity is lost between the network and the writer.
    LosesEntities,
}
