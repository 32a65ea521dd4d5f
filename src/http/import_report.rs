//! What became of the cards of an import: a line for each as it is decided, or one report of bounded length.

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::problem::Problem;
use crate::model::{Card, Change, RejectedCard, RejectedProperty};

/// The most cards that a report tells of one by one, those that were rejected and the others each.
pub(super) const MAX_CARDS_REPORTED: usize = 20_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Status {
    Created,
    Updated,
    Unchanged,
    Rejected,
}

/// What became of one card.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CardReport {
    index: usize,
    id: Option<String>,
    name: Option<String>,
    pub(super) status: Status,
    taken: Vec<String>,
    kept: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rejected: Vec<RejectedProperty>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

impl CardReport {
    pub(super) fn taken(index: usize, card: &Card, change: Change) -> Self {
        Self {
            index,
            id: Some(card.id.clone()),
            name: Some(card.draft.name.clone()),
            status: match change {
                Change::Created => Status::Created,
                Change::Updated => Status::Updated,
                Change::Unchanged => Status::Unchanged,
            },
            taken: card.taken_names.clone(),
            kept: card.kept_names().into_iter().map(str::to_owned).collect(),
            rejected: card.rejected.clone(),
            problem: None,
        }
    }

    pub(super) fn refused(index: usize, card: &Card, problem: String) -> Self {
        Self {
            id: Some(card.id.clone()),
            name: Some(card.draft.name.clone()),
            ..Self::unread(
                index,
                RejectedCard {
                    problem,
                    rejected: Vec::new(),
                },
            )
        }
    }

    pub(super) fn unread(index: usize, card: RejectedCard) -> Self {
        Self {
            index,
            id: None,
            name: None,
            status: Status::Rejected,
            taken: Vec::new(),
            kept: Vec::new(),
            rejected: card.rejected,
            problem: Some(card.problem),
        }
    }
}

/// How many cards there were, by what became of them.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct Counts {
    created: usize,
    updated: usize,
    unchanged: usize,
    rejected: usize,
    pub(super) stray_lines: usize,
    /// Columns of CSV of which nothing is taken.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) ignored_columns: Vec<String>,
}

impl Counts {
    pub(super) const fn count(&mut self, status: Status) {
        match status {
            Status::Created => self.created += 1,
            Status::Updated => self.updated += 1,
            Status::Unchanged => self.unchanged += 1,
            Status::Rejected => self.rejected += 1,
        }
    }

    pub(super) const fn total(&self) -> usize {
        self.created + self.updated + self.unchanged + self.rejected
    }

    /// How far an import had got, to be said with what ended it.
    pub(super) fn so_far(&self) -> String {
        let taken = self.created + self.updated + self.unchanged;
        format!("{taken} cards before were taken in, and importing again changes nothing of them")
    }
}

/// The whole report.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct Report {
    #[serde(flatten)]
    pub(super) counts: Counts,
    /// Cards that are only counted.
    cards_left_out: usize,
    cards: Vec<CardReport>,
    #[serde(skip)]
    rejected_listed: usize,
}

impl Report {
    pub(super) fn list(&mut self, card: CardReport) {
        let is_rejected = card.status == Status::Rejected;
        let listed = if is_rejected {
            self.rejected_listed
        } else {
            self.cards.len() - self.rejected_listed
        };
        if listed == MAX_CARDS_REPORTED {
            self.cards_left_out += 1;
            return;
        }
        self.rejected_listed += usize::from(is_rejected);
        self.cards.push(card);
    }
}

/// The last line of an import that was told card by card; `token` is that of the session.
pub(super) fn summary(counts: &Counts, token: &str) -> Value {
    json!({ "summary": counts, "token": token })
}

/// The last line of one that could not go on.
pub(super) fn ended_by(problem: Problem, counts: &Counts) -> Value {
    let (_, problem) = problem.told();
    json!({ "problem": problem, "summary": counts })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(index: usize) -> CardReport {
        let problem = String::new();
        let rejected = Vec::new();
        CardReport::unread(index, RejectedCard { problem, rejected })
    }

    #[test]
    fn a_report_grows_without_bound_or_leaves_out_who_was_rejected() {
        let mut report = Report::default();
        for index in 0..MAX_CARDS_REPORTED + 5 {
            let status = Status::Created;
            let card = card(index);
            report.list(CardReport { status, ..card });
        }
        report.list(card(MAX_CARDS_REPORTED + 5));
        assert_eq!(report.cards_left_out, 5);
        assert_eq!(report.cards.len(), MAX_CARDS_REPORTED + 1);
    }
}
