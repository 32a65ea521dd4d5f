//! Judges histories: what may be there at the end, and what a session may be shown on the way.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{Answer, Call, Entry, State};

/// Refusals that a healthy node may answer with while the network is not.
const EXPECTED: [&str; 3] = ["behind", "overloaded", "token-full"];

/// How much has been counted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) acknowledged: i64,
    /// What indeterminate increments and decrements may have added.
    pub(crate) at_most_more: i64,
    pub(crate) at_most_less: i64,
}

impl Tally {
    fn holds(&self, value: i64) -> bool {
        let least = self.acknowledged - self.at_most_less;
        (least..=self.acknowledged + self.at_most_more).contains(&value)
    }

    fn doubt(&mut self, by: i64) {
        if by < 0 {
            self.at_most_less -= by;
        } else {
            self.at_most_more += by;
        }
    }

    /// What was in doubt is certain now.
    fn settle(&mut self, by: i64) {
        if by < 0 {
            self.at_most_less += by;
        } else {
            self.at_most_more -= by;
        }
    }
}

/// What histories allow.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    /// For each entity what may be there: one thing, or more if an answer was indeterminate.
    pub(crate) entities: BTreeMap<String, Vec<Option<State>>>,
    pub(crate) counters: BTreeMap<String, Tally>,
    /// What was not allowed already.
    pub(crate) violations: Vec<String>,
    pub(crate) figures: BTreeMap<String, usize>,
}

/// What a node shows at the end.
#[derive(Debug, Default)]
pub(crate) struct Final {
    pub(crate) entities: BTreeMap<String, Option<State>>,
    pub(crate) counters: BTreeMap<String, i64>,
}

/// What one client was promised.
#[derive(Default)]
struct Session {
    counted: BTreeMap<String, i64>,
    /// Counts by counter and key: whether they are certain.
    keyed: BTreeMap<(String, String), bool>,
    /// Entities that its token says nothing about.
    left: BTreeSet<String>,
}

/// Replays what each client did.
pub(crate) fn expect(histories: &[Vec<Entry>]) -> Expected {
    let mut expected = Expected::default();
    for history in histories {
        let mut session = Session::default();
        for entry in history {
            expected.take(entry, &mut session);
        }
    }
    expected
}

impl Expected {
    fn take(&mut self, entry: &Entry, session: &mut Session) {
        self.count(entry);
        if let Answer::Refused(why) = &entry.answer {
            if !EXPECTED.contains(&why.as_str()) {
                self.violations.push(format!("refused: {entry}"));
            }
            return;
        }
        let certain = !matches!(entry.answer, Answer::Indeterminate(_));
        match &entry.call {
            Call::NewSession => {
                session.counted.clear();
                session.left.extend(self.entities.keys().cloned());
            }
            Call::Put(path, state) => self.write(path, certain, |_| Some(state.clone())),
            Call::Remove(path) => self.write(path, certain, |_| None),
            Call::Patch(path, fields) => self.write(path, certain, |before| {
                let mut state = before.clone().unwrap_or_default();
                state.extend(fields.clone());
                Some(state)
            }),
            Call::Count(counter, by, key) => {
                self.counts(counter, *by, key.as_ref(), certain, session);
            }
            Call::Read(path) => self.reads(path, entry, session),
            Call::ReadCounter(counter) => self.reads_counter(counter, entry, session),
        }
    }

    fn write(
        &mut self,
        path: &str,
        certain: bool,
        after: impl Fn(&Option<State>) -> Option<State>,
    ) {
        let allowed = self
            .entities
            .entry(path.to_owned())
            .or_insert_with(|| vec![None]);
        let mut then = if certain { Vec::new() } else { allowed.clone() };
        for before in allowed.iter() {
            let after = after(before);
            if !then.contains(&after) {
                then.push(after);
            }
        }
        *allowed = then;
    }

    fn counts(
        &mut self,
        counter: &str,
        by: i64,
        key: Option<&String>,
        certain: bool,
        session: &mut Session,
    ) {
        let tally = self.counters.entry(counter.to_owned()).or_default();
        if let Some(key) = key {
            let name = (counter.to_owned(), key.clone());
            match session.keyed.insert(name.clone(), certain) {
                Some(true) => {
                    session.keyed.insert(name, true);
                    return;
                }
                Some(false) if !certain => return,
                Some(false) => tally.settle(by),
                None => {}
            }
        }
        if certain {
            tally.acknowledged += by;
            *session.counted.entry(counter.to_owned()).or_default() += by;
        } else {
            tally.doubt(by);
        }
    }

    fn reads(&mut self, path: &str, entry: &Entry, session: &Session) {
        let Answer::Shown(state) = &entry.answer else {
            return;
        };
        let nothing = vec![None];
        let allowed = self.entities.get(path).unwrap_or(&nothing);
        if !allowed.contains(state) && !session.left.contains(path) {
            self.violations.push(format!(
                "read older than written: {entry}; allowed {allowed:?}"
            ));
        }
    }

    /// A counter that only this client counts on.
    fn reads_counter(&mut self, counter: &str, entry: &Entry, session: &Session) {
        let Answer::Counted(value) = entry.answer else {
            return;
        };
        let tally = self.counters.get(counter).copied().unwrap_or_default();
        let least = session.counted.get(counter).copied().unwrap_or_default();
        let most = tally.acknowledged + tally.at_most_more;
        if !(least..=most).contains(&value) {
            self.violations
                .push(format!("counted {value}, not {least} to {most}: {entry}"));
        }
    }

    fn count(&mut self, entry: &Entry) {
        let what = match (&entry.answer, entry.call.is_write()) {
            (Answer::Done, true) => "writes acknowledged".to_owned(),
            (Answer::Done, false) => "sessions begun anew".to_owned(),
            (Answer::Shown(_) | Answer::Counted(_), _) => "reads answered".to_owned(),
            (Answer::Refused(why), true) => format!("writes refused, {why}"),
            (Answer::Refused(why), false) => format!("reads refused, {why}"),
            (Answer::Indeterminate(why), true) => format!("writes indeterminate, {why}"),
            (Answer::Indeterminate(why), false) => format!("reads without answer, {why}"),
        };
        *self.figures.entry(what).or_default() += 1;
    }

    /// What is wrong with what the nodes show at the end.
    pub(crate) fn judge(&self, finals: &[Final]) -> Vec<String> {
        let mut wrong = Vec::new();
        for (node, shown) in finals.iter().enumerate() {
            for (path, allowed) in &self.entities {
                let state = shown.entities.get(path).unwrap_or(&None);
                if !allowed.contains(state) {
                    wrong.push(format!(
                        "lost on node {node}: {path} shows {state:?}; allowed {allowed:?}"
                    ));
                }
            }
            for (counter, tally) in &self.counters {
                let value = shown.counters.get(counter).copied().unwrap_or_default();
                if !tally.holds(value) {
                    wrong.push(format!("node {node}: {counter} is {value}, not {tally:?}"));
                }
            }
            if shown.entities != finals[0].entities || shown.counters != finals[0].counters {
                wrong.push(format!("node {node} differs from the first"));
            }
        }
        wrong
    }
}
