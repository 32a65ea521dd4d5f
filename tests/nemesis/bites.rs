//! The danger: the checker sees nothing. Each history here has one thing wrong that it must find, beside the
//! same one with nothing wrong.

use crate::{
    checker::{Final, expect},
    history::{Answer, Call, Entry, State},
};

const KEY: &str = "/v1/kv/a";
const CARD: &str = "/v1/contacts/a";

fn entry(call: Call, answer: Answer) -> Entry {
    Entry {
        at_ms: 0,
        node: 0,
        call,
        answer,
    }
}

fn done(call: Call) -> Entry {
    entry(call, Answer::Done)
}

fn unknown(call: Call) -> Entry {
    entry(call, Answer::Indeterminate("no answer".to_owned()))
}

fn state(fields: &[(&str, &str)]) -> State {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    fields.iter().map(owned).collect()
}

fn put(value: &str) -> Call {
    Call::Put(KEY.to_owned(), state(&[("value", value)]))
}

fn read(path: &str, shown: Option<State>) -> Entry {
    entry(Call::Read(path.to_owned()), Answer::Shown(shown))
}

fn count(by: i64, key: Option<&str>) -> Call {
    Call::Count("own".to_owned(), by, key.map(str::to_owned))
}

fn counted(value: i64) -> Entry {
    entry(Call::ReadCounter("own".to_owned()), Answer::Counted(value))
}

/// One node that shows this.
fn shows(path: &str, shown: Option<State>, counted: i64) -> Final {
    let mut all = Final::default();
    all.entities.insert(path.to_owned(), shown);
    all.counters.insert("own".to_owned(), counted);
    all
}

fn violations(history: Vec<Entry>) -> usize {
    expect(&[history]).violations.len()
}

fn wrongs(history: Vec<Entry>, shows: Final) -> usize {
    expect(&[history]).judge(&[shows]).len()
}

#[test]
fn a_lost_write_passes() {
    let history = vec![done(put("1")), done(put("2"))];
    let value = |value| Some(state(&[("value", value)]));
    assert_eq!(wrongs(history.clone(), shows(KEY, value("2"), 0)), 0);
    assert_eq!(wrongs(history.clone(), shows(KEY, value("1"), 0)), 1);
    assert_eq!(wrongs(history, shows(KEY, None, 0)), 1);
    let removed = vec![done(put("1")), done(Call::Remove(KEY.to_owned()))];
    assert_eq!(wrongs(removed.clone(), shows(KEY, None, 0)), 0);
    assert_eq!(wrongs(removed, shows(KEY, value("1"), 0)), 1);
    let doubtful = vec![done(put("1")), unknown(put("2"))];
    assert_eq!(wrongs(doubtful.clone(), shows(KEY, value("1"), 0)), 0);
    assert_eq!(wrongs(doubtful.clone(), shows(KEY, value("2"), 0)), 0);
    assert_eq!(wrongs(doubtful.clone(), shows(KEY, None, 0)), 1);
    let retried = [doubtful, vec![done(put("2"))]].concat();
    assert_eq!(wrongs(retried, shows(KEY, value("1"), 0)), 1);
}

#[test]
fn a_lost_field_of_a_contact_passes() {
    let whole = state(&[("name", "1"), ("note", "2")]);
    let patched = state(&[("name", "1"), ("note", "3")]);
    let history = vec![
        done(Call::Put(CARD.to_owned(), whole.clone())),
        done(Call::Patch(CARD.to_owned(), state(&[("note", "3")]))),
    ];
    assert_eq!(wrongs(history.clone(), shows(CARD, Some(patched), 0)), 0);
    assert_eq!(wrongs(history, shows(CARD, Some(whole), 0)), 1);
}

#[test]
fn a_lost_increment_or_one_counted_twice_passes() {
    let history = vec![done(count(3, None)), unknown(count(2, None))];
    for (value, wrong) in [(2, 1), (3, 0), (5, 0), (6, 1)] {
        assert_eq!(wrongs(history.clone(), shows(KEY, None, value)), wrong);
    }
    let history = vec![done(count(3, None)), unknown(count(-2, None))];
    for (value, wrong) in [(0, 1), (1, 0), (3, 0), (4, 1)] {
        assert_eq!(wrongs(history.clone(), shows(KEY, None, value)), wrong);
    }
}

#[test]
fn a_keyed_increment_that_counts_twice_passes() {
    let history = vec![
        unknown(count(3, Some("k"))),
        done(count(3, Some("k"))),
        unknown(count(3, Some("k"))),
        done(count(3, Some("k"))),
    ];
    for (value, wrong) in [(0, 1), (3, 0), (6, 1)] {
        assert_eq!(wrongs(history.clone(), shows(KEY, None, value)), wrong);
    }
}

#[test]
fn a_session_that_goes_back_passes() {
    let value = |value| Some(state(&[("value", value)]));
    let written = vec![done(put("1")), done(put("2")), done(count(3, None))];
    let then = |entry| violations([written.clone(), vec![entry]].concat());
    assert_eq!(then(read(KEY, value("2"))), 0);
    assert_eq!(then(read(KEY, value("1"))), 1);
    assert_eq!(then(read(KEY, None)), 1);
    assert_eq!(then(counted(3)), 0);
    assert_eq!(then(counted(2)), 1);
    assert_eq!(then(counted(4)), 1);
    let anew = done(Call::NewSession);
    let after = [written, vec![anew, read(KEY, None), counted(0)]].concat();
    assert_eq!(violations(after), 0);
}

#[test]
fn an_answer_that_no_healthy_node_gives_passes() {
    let refused = |why: &str| entry(put("1"), Answer::Refused(why.to_owned()));
    assert_eq!(violations(vec![refused("behind")]), 0);
    assert_eq!(violations(vec![refused("internal")]), 1);
}

#[test]
fn nodes_that_differ_pass() {
    let history = vec![unknown(put("1"))];
    let value = Some(state(&[("value", "1")]));
    let finals = [shows(KEY, None, 0), shows(KEY, value, 0)];
    assert_eq!(expect(&[history]).judge(&finals).len(), 1);
}
