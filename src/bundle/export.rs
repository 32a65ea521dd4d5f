//! Writing a bundle from a store, partition by partition.
//!
//! Each partition is read from one snapshot, so that its pages may be claimed whole; the next may be read from
//! a later one, so that no snapshot is kept for long. Only a backup reads all from one.

use std::{io::Write, sync::Arc};

use grapevine_crdt::VersionVector;

use super::format::{BundleError, BundleHeader, BundleWriter, PartitionHead, Section};
use crate::{
    model::{ChangesToken, PartitionId},
    store::{DeltaBudget, Snapshot, Store},
};

/// The bounds of one page.
const PAGE: DeltaBudget = DeltaBudget {
    entities: 1_000,
    bytes: 1024 * 1024,
};

/// Writes what `since` does not cover of `store` to `out`.
pub fn export(
    store: &Store,
    header: BundleHeader,
    since: &ChangesToken,
    out: impl Write,
) -> Result<(), BundleError> {
    write(|| store.snapshot(), header, since, out)
}

/// Writes everything that `snapshot` sees to `out`: a bundle of one moment, from which a store can be made again
/// ([`restore`](super::restore())). The snapshot pins what it sees for as long as that takes.
pub fn back_up(
    snapshot: &Arc<Snapshot>,
    header: BundleHeader,
    out: impl Write,
) -> Result<(), BundleError> {
    write(
        || Arc::clone(snapshot),
        header,
        &ChangesToken::default(),
        out,
    )
}

fn write(
    snapshot: impl Fn() -> Arc<Snapshot>,
    header: BundleHeader,
    since: &ChangesToken,
    out: impl Write,
) -> Result<(), BundleError> {
    let mut writer = BundleWriter::begin(out, header)?;
    let (mut partitions, mut entities) = (0, 0);
    for id in PartitionId::all() {
        let snapshot = snapshot();
        let held = snapshot.state().partition(id);
        let known = since.fetched(id);
        if known.is_some_and(|known| !known.includes(&held.floor.vector)) {
            return Err(BundleError::Gone);
        }
        let base = meet(known.unwrap_or(&VersionVector::default()), &held.vector);
        if base == held.vector && held.unclaimed == 0 {
            continue;
        }
        let about = PartitionHead {
            partition: id,
            base: base.clone(),
            vector: held.vector.clone(),
            floor: held.floor.as_ref().clone(),
            clock: snapshot.state().clock(),
        };
        writer.section(&Section::Partition(about))?;
        partitions += 1;
        let mut cursor = None;
        loop {
            let mut damaged = Vec::new();
            let page = snapshot.sound_delta(id, &base, cursor, PAGE, &mut damaged)?;
            for id in damaged {
                tracing::warn!("what is stored of {id} is damaged and is left out of the bundle");
            }
            if !page.entities.is_empty() {
                entities += page.entities.len() as u64;
                writer.section(&Section::Page(page.entities))?;
            }
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
    }
    writer.section(&Section::End {
        partitions,
        entities,
    })?;
    writer.finish()
}

/// What both cover: more than that need not be held by who takes in what one lacks of the other.
fn meet(one: &VersionVector, other: &VersionVector) -> VersionVector {
    one.iter()
        .map(|(replica, seq)| (replica, seq.min(other.get(replica))))
        .collect()
}
