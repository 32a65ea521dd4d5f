//! The rules that keep collection and rejoin safe, each by its name.

/// Which rules are obeyed. All of them, but for simulations that show what each is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each rule is obeyed or not, whatever the others are"
)]
pub struct Rules {
    /// Nothing is collected before our vector includes the newest report of every member in full.
    pub covers_reports: bool,
    /// Nothing is collected before every member of the roster has told what it holds, the absent ones too.
    pub waits_for_absent: bool,
    /// Nothing is collected that came after the roster was read.
    pub reads_the_roster: bool,
    /// A newer report replaces the one before it, and what a peer told before it came up anew is forgotten.
    pub replaces_reports: bool,
    /// No page is sent to, and none is taken from, who has not taken in what was collected.
    pub checks_floor_of_pulls: bool,
    /// No push is taken from who has not taken in what was collected.
    pub checks_floor_of_pushes: bool,
    /// Who was expelled takes part anew, whatever it meets first.
    pub rejoins_expelled: bool,
    /// Nor do two that were expelled meet as before, whoever expelled them.
    pub keeps_expelled_apart: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            covers_reports: true,
            waits_for_absent: true,
            reads_the_roster: true,
            replaces_reports: true,
            checks_floor_of_pulls: true,
            checks_floor_of_pushes: true,
            rejoins_expelled: true,
            keeps_expelled_apart: true,
        }
    }
}
