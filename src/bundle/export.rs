//! Writing a bundle from a store, partition by partition.
//!
//! Each partition is read from one snapshot, so that its pages may be claimed whole; the next may be read from
//! a later one, so that no snapshot is kept for long. Only a backup reads all from one.

use std::{io::Write, sync::Arc};

use super::{
    format::{BundleError, BundleHeader, BundleWriter, Section},
    head::PartitionHead,
};
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
        let head = PartitionHead::of(snapshot.state(), id, since.fetched(id))?;
        let Some(head) = head else {
            continue;
        };
        let base = head.base.clone();
        writer.section(&Section::Partition(head))?;
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
