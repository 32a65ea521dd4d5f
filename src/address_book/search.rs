//! Search: contacts of which every word of a query begins some word, without reading those that lack the rarest.
//!
//! A query is answered in *legs*. For each of its readings: first, if it has several words, contacts that have them
//! all in their names; then all others. In each leg one word *drives*, the one that the fewest rows begin with; its
//! rows are walked, first those of the very word, names before other fields, then those of longer words. A contact has
//! several rows; it is shown at the first of them in that order, and no more. So a place is a leg, who drives it, and
//! a row; nothing is remembered from page to page.

use std::ops::ControlFlow;

use grapevine_crdt::Entity;
use serde::{Deserialize, Serialize};

use super::walk::{Budget, CONTACT_WORK, Looked, Taken, after_prefix, look, walk};
use crate::{
    model::{
        ContactQuery, ContactTerms, EntityId, IndexList, IndexRow,
        contact_index::{name_words, starts},
    },
    store::{Rows, StoreError},
};

/// How many rows of a word are counted to see which is the rarest.
const MAX_COUNTED_ROWS: usize = 256;

/// Where a page ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SearchPlace {
    reading: u8,
    /// Whether the leg is the one of contacts that have all words in their names.
    in_names: bool,
    /// Which word of the reading drives.
    driver: u8,
    /// Which of the driver's stretches.
    stretch: u8,
    /// The row; empty at the beginning of the stretch.
    after: Vec<u8>,
}

/// The rows of one driver that are walked in one go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stretch {
    list: IndexList,
    /// Rows of the very word, or of longer ones.
    exact: bool,
}

const IN_NAMES: [Stretch; 2] = [
    Stretch {
        list: IndexList::NameWords,
        exact: true,
    },
    Stretch {
        list: IndexList::NameWords,
        exact: false,
    },
];
const EVERYWHERE: [Stretch; 4] = [
    Stretch {
        list: IndexList::NameWords,
        exact: true,
    },
    Stretch {
        list: IndexList::OtherWords,
        exact: true,
    },
    Stretch {
        list: IndexList::NameWords,
        exact: false,
    },
    Stretch {
        list: IndexList::OtherWords,
        exact: false,
    },
];

impl Stretch {
    fn bounds(self, word: &str) -> (Vec<u8>, Vec<u8>) {
        let exact = self.list.start(word, false);
        let behind_exact = after_prefix(&exact);
        if self.exact {
            (exact, behind_exact)
        } else {
            (behind_exact, after_prefix(&self.list.start(word, true)))
        }
    }
}

/// Calls `visit` for the contacts that `query` finds, those of `group` if there is one, behind `after`, best first.
/// Yields the place after which the next page begins, unless this was the last.
pub fn search<R: Rows + ?Sized, E: From<StoreError>>(
    rows: &R,
    query: &ContactQuery,
    group: Option<&str>,
    after: Option<SearchPlace>,
    visit: &mut dyn FnMut(&EntityId, &Entity) -> Result<Taken, E>,
) -> Result<Option<SearchPlace>, E> {
    let mut budget = Budget::new();
    let mut resumed = after;
    for (reading, words) in query.readings().iter().enumerate() {
        for in_names in [true, false] {
            let leg = (small(reading), !in_names);
            if (in_names && words.len() < 2)
                || resumed
                    .as_ref()
                    .is_some_and(|place| leg < (place.reading, !place.in_names))
            {
                continue;
            }
            let stretches = if in_names {
                &IN_NAMES[..]
            } else {
                &EVERYWHERE[..]
            };
            let place = resumed.take().filter(|place| {
                leg == (place.reading, !place.in_names) && usize::from(place.driver) < words.len()
            });
            let place = match place {
                Some(place) => place,
                None => SearchPlace {
                    reading: small(reading),
                    in_names,
                    driver: small(rarest(rows, words, stretches, &mut budget)?),
                    stretch: 0,
                    after: Vec::new(),
                },
            };
            let leg = Leg {
                rows,
                query,
                group,
                words,
                driver: &words[usize::from(place.driver)],
                stretches,
            };
            if let Some(next) = leg.walk(place, &mut budget, visit)? {
                return Ok(Some(next));
            }
        }
    }
    Ok(None)
}

/// The word of which there are the fewest rows; if there are many of each, the longest.
fn rarest<R: Rows + ?Sized>(
    rows: &R,
    words: &[String],
    stretches: &[Stretch],
    budget: &mut Budget,
) -> Result<usize, StoreError> {
    if words.len() < 2 {
        return Ok(0);
    }
    let mut best = (usize::MAX, usize::MAX, 0);
    for (place, word) in words.iter().enumerate() {
        let mut count = 0;
        for list in [IndexList::NameWords, IndexList::OtherWords] {
            if !stretches.iter().any(|stretch| stretch.list == list) {
                continue;
            }
            let from = list.start(word, true);
            let counted = walk(rows, &from, false, &after_prefix(&from), &mut |_, _| {
                count += 1;
                Ok::<_, StoreError>(if count < MAX_COUNTED_ROWS && count <= best.0 {
                    ControlFlow::Continue(())
                } else {
                    ControlFlow::Break(())
                })
            })?;
            if counted.is_some() {
                break;
            }
        }
        budget.spend(count);
        best = best.min((count, usize::MAX - word.len(), place));
    }
    Ok(best.2)
}

fn small(number: usize) -> u8 {
    u8::try_from(number).expect("a query has few words and fewer readings")
}

/// One leg of a query.
struct Leg<'a, R: ?Sized> {
    rows: &'a R,
    query: &'a ContactQuery,
    group: Option<&'a str>,
    words: &'a [String],
    driver: &'a str,
    stretches: &'a [Stretch],
}

impl<R: Rows + ?Sized> Leg<'_, R> {
    fn walk<E: From<StoreError>>(
        &self,
        mut place: SearchPlace,
        budget: &mut Budget,
        visit: &mut dyn FnMut(&EntityId, &Entity) -> Result<Taken, E>,
    ) -> Result<Option<SearchPlace>, E> {
        let first = usize::from(place.stretch);
        for (number, stretch) in self.stretches.iter().enumerate().skip(first) {
            if number > first {
                place.after.clear();
            }
            place.stretch = small(number);
            let (start, end) = stretch.bounds(self.driver);
            // A place that somebody made up may be anywhere.
            let resumes = place.after > start && place.after < end;
            let from = if resumes { place.after.clone() } else { start };
            let full = walk(self.rows, &from, resumes, &end, &mut |key, row| {
                if !budget.spend(1) {
                    return Ok(ControlFlow::Break(()));
                }
                if self.may_show(&place, *stretch, row) {
                    if !budget.spend(CONTACT_WORK) {
                        return Ok(ControlFlow::Break(()));
                    }
                    let looked = look(self.rows, row.id)?;
                    if let Some(looked) = looked.filter(|looked| self.shows(&place, looked, row))
                        && visit(&looked.id, &looked.entity)? == Taken::Full
                    {
                        return Ok(ControlFlow::Break(()));
                    }
                }
                place.after.clear();
                place.after.extend_from_slice(key);
                Ok::<_, E>(ControlFlow::Continue(()))
            })?;
            if full.is_some() {
                return Ok(Some(place));
            }
        }
        Ok(None)
    }

    /// What the row alone says of whether its contact is to be shown here: no contact is read in vain that has the
    /// driver in its name and not the other words.
    fn may_show(&self, place: &SearchPlace, stretch: Stretch, row: IndexRow<'_>) -> bool {
        let has =
            |word: &String| name_words(row.name).any(|found| found.starts_with(word.as_str()));
        let all = self.words.iter().all(has);
        if place.in_names {
            return all
                && first_of(name_words(row.name), self.driver)
                    == Some((!stretch.exact, row.first));
        }
        // The leg before has shown it.
        !(all && self.words.len() > 1)
    }

    fn shows(&self, place: &SearchPlace, looked: &Looked, row: IndexRow<'_>) -> bool {
        let terms = &looked.terms;
        terms.name == row.name
            && self.query.finds(terms) == Some(usize::from(place.reading))
            && self.group.is_none_or(|group| terms.groups.contains(group))
            && if place.in_names {
                terms.name_words.contains(row.first)
            } else {
                first_row(terms, self.driver) == Some((row.list, row.first))
            }
    }
}

/// The first row of a contact among those of `driver`, in the order of [`EVERYWHERE`].
fn first_row<'a>(terms: &'a ContactTerms, driver: &'a str) -> Option<(IndexList, &'a str)> {
    let first = |list, words| {
        let (is_longer, word) = first_of(starts(words, driver), driver)?;
        Some((is_longer, list, word))
    };
    [
        first(IndexList::NameWords, &terms.name_words),
        first(IndexList::OtherWords, &terms.other_words),
    ]
    .into_iter()
    .flatten()
    .min()
    .map(|(_, list, word)| (list, word))
}

/// Of `words` the first that begins with `driver`: the very word, else the least; and whether it is longer.
fn first_of<'a>(words: impl Iterator<Item = &'a str>, driver: &str) -> Option<(bool, &'a str)> {
    words
        .filter(|word| word.starts_with(driver))
        .map(|word| (word.len() > driver.len(), word))
        .min()
}
