//! Deliberately broken behaviour, with which the checks prove that they bite.

use grapevine::sync::engine::Rules;

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
    /// What is deleted from the roster counts before it is taken in whole.
    CountsWhatIsNotWhole,
    /// A bundle by or for who was expelled is taken in.
    ImportsFromTheExpelled,
    /// A bundle is taken in that builds upon what is not held.
    ImportsWithoutTheBase,
    /// Clients hear of writes before they are durable.
    AcksEarly,
    /// A restarted node forgets the high-water mark of its clock.
    ForgetsClock,
    /// Now and then an entity is lost between the network and the writer.
    LosesEntities,
    /// What every member has taken in is collected, whatever else they hold.
    CollectsWhatAllHave,
    /// Members that told nothing are not waited for.
    CollectsWithoutTheAbsent,
    /// What came after the roster was read is collected as well.
    CollectsBeforeReading,
    /// A record that builds upon what is not held is taken in.
    TakesWithoutTheRest,
    /// What a peer tells joins what it told before, for ever.
    JoinsReports,
    /// Pages are sent to, and taken from, whoever lacks what was collected.
    PullsBelowTheFloor,
    /// Pushes are taken from whoever lacks what was collected.
    PushesBelowTheFloor,
    /// Who was expelled takes part as anybody.
    ReturnsAsAnybody,
    /// Those that were expelled meet each other as before.
    MeetsAmongTheExpelled,
    /// A rejoin keeps what the other side dropped.
    RejoinsWithoutDropping,
    /// A rejoin writes nothing anew.
    RejoinsWithoutIssuing,
    /// A rejoin writes anew under the times of before.
    IssuesWithoutFreshTimes,
    /// A machine that was put back writes on under its life although the time of day leapt.
    IgnoresLeaps,
    /// Who makes an entity of which it holds nothing does not say what was collected.
    MakesWithoutClearing,
    /// A request with a key is counted each time it comes.
    CountsRetries,
    /// A reset forgets a little of what it has not seen.
    ForgetsTooMuch,
    /// An edit says that it has seen what its writer has not.
    ClaimsToHaveSeen,
    /// Edits from outside are ranked by when they arrive.
    RanksByArrival,
}

impl Fault {
    /// The rules that engines obey under this fault.
    pub(crate) fn rules(fault: Option<Self>) -> Rules {
        Rules {
            covers_reports: fault != Some(Self::CollectsWhatAllHave),
            waits_for_absent: fault != Some(Self::CollectsWithoutTheAbsent),
            reads_the_roster: fault != Some(Self::CollectsBeforeReading),
            replaces_reports: fault != Some(Self::JoinsReports),
            checks_floor_of_pulls: fault != Some(Self::PullsBelowTheFloor),
            checks_floor_of_pushes: fault != Some(Self::PushesBelowTheFloor),
            rejoins_expelled: fault != Some(Self::ReturnsAsAnybody),
            keeps_expelled_apart: fault != Some(Self::MeetsAmongTheExpelled),
        }
    }
}
