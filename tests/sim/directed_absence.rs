//! Members that were away: expelled, put back to an old copy, copied.

use crate::{fault::Fault, invariants::Invariant};

pub(crate) fn bites(invariant: Invariant, fault: Fault) {
    crate::invariants::bites::assert_bites(invariant, fault);
}
