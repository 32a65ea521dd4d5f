//! Reading the address book: sorted lists, search, duplicates; over the store's index of what contacts are found by.
//!
//! Each page is read from one snapshot and ends with the place after which the next begins. A place is a row of the
//! index, so a contact that is written meanwhile neither moves others nor comes twice. Every page has a bound on the
//! rows it reads and the contacts it looks at. What the index names is looked at before it is shown: a damaged index
//! may hide a contact, but never shows one that is not there.
//!
//! It must not know HTTP, nor how rows are kept.

mod duplicates;
mod listing;
mod search;
mod walk;

pub use duplicates::{
    DuplicateGroup, DuplicatePlace, MAX_DUPLICATES_PER_GROUP, Reason, list_duplicates,
};
pub use listing::list_by_name;
pub use search::{SearchPlace, search};
pub use walk::{MAX_WORK_PER_PAGE, Taken};

#[cfg(test)]
mod tests;
