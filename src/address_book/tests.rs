//! The address book beside a reader that looks at every contact: lists, search and duplicates say the same, page by
//! page, also while contacts are written between the pages.

use std::collections::{BTreeMap, BTreeSet};

use grapevine_crdt::{Entity, ReplicaId};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    model::{
        Collection, ContactDraft, ContactQuery, ContactTerms, EntityId, WriteStamp, contact_edit,
    },
    store::{MemoryRows, Rows, State, StoreError, Workspace, read_entity},
};

const IDS: usize = 40;
/// Few, and with many beginnings in common.
const WORDS: [&str; 12] = [
    "An", "Ána", "Anna", "Annabel", "Bo", "Bob", "bobby", "Łuk", "20", "2079", "007", "Straße",
];

#[derive(Clone, Debug)]
struct Person {
    name: Vec<usize>,
    organization: Option<usize>,
    group: Option<usize>,
    phone: Option<u8>,
    email: Option<usize>,
}

#[derive(Default)]
struct Book {
    rows: MemoryRows,
    state: State,
    groups: u64,
}

fn id(number: usize) -> EntityId {
    EntityId::new(Collection::Contacts, format!("c{number:02}")).expect("an id")
}

impl Book {
    /// Puts a contact, or removes it.
    fn write(&mut self, number: usize, person: Option<&Person>) {
        let json = person.map(|person| {
            let words: Vec<&str> = person.name.iter().map(|word| WORDS[*word]).collect();
            json!({
                "name": words.join(" "),
                "organization": person.organization.map(|word| WORDS[word]),
                "groups": person.group.map(|word| WORDS[word]).into_iter().collect::<Vec<_>>(),
                "phones": person.phone.map(|end| json!({"number": format!("+44 20 79460{end:03}")}))
                    .into_iter().collect::<Vec<_>>(),
                "emails": person.email.map(|word| json!({"address": format!("{}@x.org", WORDS[word])}))
                    .into_iter().collect::<Vec<_>>(),
            })
        });
        let draft = json.map(|json| ContactDraft::from_json(None, &json).expect("a contact"));
        let mut workspace = Workspace::new(&self.rows, self.state.clone());
        let replica = ReplicaId::from_bytes([1; 16]);
        let written = workspace.write(&id(number), replica, 1, |edit| {
            Ok::<_, StoreError>(match &draft {
                Some(draft) => {
                    let stamp = WriteStamp {
                        dot: edit.dot,
                        time: edit.time,
                        collected: None,
                        region: None,
                    };
                    contact_edit::put(edit.entity, draft, stamp).0
                }
                None => contact_edit::delete(edit.entity, edit.dot),
            })
        });
        written.expect("it is written").expect("nothing refuses");
        self.groups += 1;
        let (_, changes) = workspace.finish(self.groups);
        self.rows.apply(changes.rows);
        self.state = changes.state;
    }

    fn write_all(&mut self, steps: &[(usize, Option<Person>)]) {
        for (number, person) in steps {
            self.write(*number, person.as_ref());
        }
    }

    fn all(&self) -> BTreeMap<String, ContactTerms> {
        (0..IDS)
            .filter_map(|number| {
                let entity = read_entity(&self.rows, &id(number)).expect("it is read")?;
                Some((id(number).key().to_owned(), ContactTerms::of(&entity)?))
            })
            .collect()
    }
}

/// Takes `limit` contacts.
fn page(
    limit: usize,
    ids: &mut Vec<String>,
) -> impl FnMut(&EntityId, &Entity) -> Result<Taken, StoreError> {
    let mut count = 0;
    move |id, _| {
        if count == limit {
            return Ok(Taken::Full);
        }
        count += 1;
        ids.push(id.key().to_owned());
        Ok(Taken::Yes)
    }
}

/// All pages; `between` is called before each but the first.
fn listed(
    book: &mut Book,
    group: Option<&str>,
    limit: usize,
    mut between: impl FnMut(&mut Book),
) -> Vec<String> {
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let next = list_by_name(
            &book.rows,
            group,
            after.as_deref(),
            &mut page(limit, &mut ids),
        );
        after = next.expect("it is listed");
        if after.is_none() {
            return ids;
        }
        between(book);
    }
}

fn found(
    book: &mut Book,
    query: &ContactQuery,
    group: Option<&str>,
    limit: usize,
    mut between: impl FnMut(&mut Book),
) -> Vec<String> {
    let (mut ids, mut after) = (Vec::new(), None);
    loop {
        let next = search(&book.rows, query, group, after, &mut page(limit, &mut ids));
        after = next.expect("it is searched");
        if after.is_none() {
            return ids;
        }
        between(book);
    }
}

/// The rank of a contact that a query of one word finds.
fn rank(terms: &ContactTerms, word: &str) -> Option<(bool, bool, String, String)> {
    let of = |words: &BTreeSet<String>, other: bool| {
        let words = words.iter().filter(|found| found.starts_with(word));
        let ranks = words.map(|found| (found != word, other, found.clone(), terms.name.clone()));
        ranks.min()
    };
    let ranks = [of(&terms.name_words, false), of(&terms.other_words, true)];
    ranks.into_iter().flatten().min()
}

fn people() -> impl Strategy<Value = Vec<(usize, Option<Person>)>> {
    let word = || 0..WORDS.len();
    let some = || proptest::option::of(word());
    let person = (
        proptest::collection::vec(word(), 1..4),
        some(),
        some(),
        proptest::option::of(0..12_u8),
        some(),
    )
        .prop_map(|(name, organization, group, phone, email)| Person {
            name,
            organization,
            group,
            phone,
            email,
        });
    let step = (0..IDS, proptest::option::weighted(0.85, person));
    proptest::collection::vec(step, 1..90)
}

fn query() -> impl Strategy<Value = String> {
    let beginning = prop_oneof![
        (0..WORDS.len(), 1..9_usize)
            .prop_map(|(word, most)| WORDS[word].chars().take(most).collect::<String>()),
        Just("+44".to_owned()),
        Just("020".to_owned()),
        Just("x".to_owned()),
    ];
    proptest::collection::vec(beginning, 1..4).prop_map(|words| words.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, max_shrink_iters: 500, ..ProptestConfig::default() })]

    #[test]
    fn a_list_lacks_a_contact_or_is_not_in_order(steps in people(), limit in 1..9_usize, group in 0..WORDS.len()) {
        let mut book = Book::default();
        book.write_all(&steps);
        for group in [None, Some(WORDS[group])] {
            let mut wanted: Vec<(String, String)> = book.all().into_iter()
                .filter(|(_, terms)| group.is_none_or(|group| terms.groups.contains(group)))
                .map(|(id, terms)| (terms.name, id))
                .collect();
            wanted.sort();
            let wanted: Vec<String> = wanted.into_iter().map(|(_, id)| id).collect();
            prop_assert_eq!(listed(&mut book, group, limit, |_| ()), wanted);
        }
    }

    #[test]
    fn search_finds_another_set_than_reading_all_contacts(
        steps in people(), text in query(), limit in 1..9_usize, group in proptest::option::of(0..WORDS.len())
    ) {
        let mut book = Book::default();
        book.write_all(&steps);
        let query = ContactQuery::read(&text).expect("a query");
        let group = group.map(|group| WORDS[group]);
        let all = book.all();
        let in_group = |terms: &ContactTerms| group.is_none_or(|group| terms.groups.contains(group));
        let wanted: BTreeSet<&String> = all.iter()
            .filter(|(_, terms)| in_group(terms) && query.finds(terms).is_some())
            .map(|(id, _)| id)
            .collect();
        let found = found(&mut book, &query, group, limit, |_| ());
        prop_assert_eq!(found.len(), wanted.len(), "{:?} {:?}", found, wanted);
        prop_assert_eq!(found.iter().collect::<BTreeSet<_>>(), wanted);
        if let [words] = query.readings() && let [word] = words.as_slice() {
            let mut ranked = found.clone();
            ranked.sort_by_key(|id| (rank(&all[id], word), id.clone()));
            prop_assert_eq!(found, ranked);
        } else {
            let reading = |id: &String| query.finds(&all[id]);
            let in_name = |id: &String| {
                let words = &query.readings()[reading(id).expect("it is found")];
                let names = &all[id].name_words;
                words.iter().all(|word| names.iter().any(|name| name.starts_with(word.as_str())))
            };
            // A reading of one word has one leg.
            let leg = |id: &String| {
                let reading = reading(id).expect("it is found");
                (reading, query.readings()[reading].len() > 1 && !in_name(id))
            };
            let legs: Vec<_> = found.iter().map(leg).collect();
            prop_assert!(legs.is_sorted(), "{:?}", legs);
        }
    }

    #[test]
    fn what_is_written_between_pages_moves_others(
        steps in people(), meanwhile in people(), text in query(), limit in 1..4_usize
    ) {
        let mut book = Book::default();
        book.write_all(&steps);
        let query = ContactQuery::read(&text).expect("a query");
        let touched: BTreeSet<String> = meanwhile.iter().map(|(number, _)| id(*number).key().to_owned()).collect();
        let kept: BTreeMap<String, ContactTerms> = book.all().into_iter()
            .filter(|(id, _)| !touched.contains(id))
            .collect();
        let untouched = |ids: Vec<String>| {
            let ids: Vec<String> = ids.into_iter().filter(|id| kept.contains_key(id)).collect();
            let set: BTreeSet<String> = ids.iter().cloned().collect();
            assert_eq!(set.len(), ids.len(), "none comes twice");
            set
        };
        let mut pending = meanwhile.iter();
        let all = listed(&mut book, None, limit, |book| {
            if let Some((number, person)) = pending.next() {
                book.write(*number, person.as_ref());
            }
        });
        prop_assert_eq!(untouched(all), kept.keys().cloned().collect::<BTreeSet<_>>());
        let found = found(&mut book, &query, None, limit, |book| {
            if let Some((number, person)) = pending.next() {
                book.write(*number, person.as_ref());
            }
        });
        let wanted: BTreeSet<String> = kept.iter()
            .filter(|(_, terms)| query.finds(terms).is_some())
            .map(|(id, _)| id.clone())
            .collect();
        prop_assert_eq!(untouched(found), wanted);
    }

    #[test]
    fn duplicates_are_others_than_reading_all_contacts_shows(steps in people(), limit in 1..4_usize) {
        let mut book = Book::default();
        book.write_all(&steps);
        let mut wanted: BTreeMap<(Reason, String), BTreeSet<String>> = BTreeMap::new();
        for (id, terms) in book.all() {
            let phones = terms.phones.into_iter().map(|value| (Reason::Phone, value));
            let emails = terms.emails.into_iter().map(|value| (Reason::Email, value));
            for key in phones.chain(emails).chain([(Reason::Name, terms.name)]) {
                wanted.entry(key).or_default().insert(id.clone());
            }
        }
        wanted.retain(|_, ids| ids.len() > 1);
        let (mut told, mut after) = (Vec::new(), None);
        loop {
            let mut count = 0;
            let next = list_duplicates(&book.rows, after, &mut |reason, group| {
                if count == limit {
                    return Ok::<_, StoreError>(Taken::Full);
                }
                count += 1;
                let ids = group.contacts.iter().map(|(id, _)| id.key().to_owned()).collect();
                told.push(((reason, group.value), ids));
                Ok(Taken::Yes)
            });
            after = next.expect("they are listed");
            if after.is_none() {
                break;
            }
        }
        prop_assert_eq!(told, wanted.into_iter().collect::<Vec<_>>());
    }
}

/// A thousand people with a common name, and one of them with a rare one.
#[test]
fn a_rare_word_is_looked_for_among_all_who_have_a_common_one() {
    let mut book = Book::default();
    let person = |name: Vec<usize>, organization| Person {
        name,
        organization,
        group: None,
        phone: None,
        email: None,
    };
    for number in 0..1_000 {
        book.write(number, Some(&person(vec![2], None)));
    }
    book.write(500, Some(&person(vec![2], Some(7))));
    let counting = Counting {
        rows: &book.rows,
        gets: 0.into(),
    };
    let query = ContactQuery::read("anna luk").expect("a query");
    let mut ids = Vec::new();
    let next =
        search(&counting, &query, None, None, &mut page(10, &mut ids)).expect("it is searched");
    assert_eq!((ids, next), (vec!["c500".to_owned()], None));
    assert_eq!(counting.gets.get(), 1, "contacts that were looked at");
}

/// However little a page finds, its work ends, and the next goes on.
#[test]
fn a_page_that_finds_nothing_reads_everything() {
    let mut book = Book::default();
    for number in 0..6_000 {
        let (name, organization) = if number % 2 == 0 {
            (2, Some(5))
        } else {
            (6, Some(3))
        };
        let person = Person {
            name: vec![name],
            organization,
            group: None,
            phone: None,
            email: None,
        };
        book.write(number, Some(&person));
    }
    book.write(
        5_999,
        Some(&Person {
            name: vec![2],
            organization: Some(7),
            group: Some(11),
            phone: None,
            email: None,
        }),
    );
    let query = ContactQuery::read("ann strasse").expect("a query");
    let counting = Counting {
        rows: &book.rows,
        gets: 0.into(),
    };
    // Every word is common by itself, so that none is rare: a group that only one of them is in.
    let (mut ids, mut after, mut pages) = (Vec::new(), None, 0);
    loop {
        let query = if pages == 0 {
            &query
        } else {
            &ContactQuery::read("ann").expect("a query")
        };
        let group = (pages > 0).then_some(WORDS[11]);
        let before = counting.gets.get();
        after = search(&counting, query, group, after, &mut page(10, &mut ids))
            .expect("it is searched");
        assert!(counting.gets.get() - before <= MAX_WORK_PER_PAGE / 10);
        pages += 1;
        if pages > 1 && after.is_none() {
            break;
        }
    }
    assert_eq!(ids, ["c5999", "c5999"]);
    assert!(pages > 2, "{pages}");
}

struct Counting<'a> {
    rows: &'a MemoryRows,
    gets: std::cell::Cell<usize>,
}

impl Rows for Counting<'_> {
    fn get(
        &self,
        table: crate::store::Table,
        key: &[u8],
    ) -> Result<Option<bytes::Bytes>, StoreError> {
        self.gets.set(self.gets.get() + 1);
        self.rows.get(table, key)
    }

    fn scan(
        &self,
        table: crate::store::Table,
        from: &[u8],
        exclusive: bool,
        to: &[u8],
        visit: &mut crate::store::Visit<'_>,
    ) -> Result<(), StoreError> {
        self.rows.scan(table, from, exclusive, to, visit)
    }
}
