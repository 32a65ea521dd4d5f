//! Counting what is held, page by page: how many entities of which collection, in how many bytes.

use std::{
    collections::BTreeMap,
    ops::{AddAssign, ControlFlow},
};

use super::{Rows, StoreError, Table, layout};
use crate::model::{Collection, EntityId, PartitionId};

/// What is held of one collection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Entities that readers see.
    pub visible: u64,
    /// Entities that were removed, or have no content, and of which something is held all the same.
    pub hidden: u64,
    /// Bytes of their rows, keys included.
    pub bytes: u64,
}

impl AddAssign for Held {
    fn add_assign(&mut self, more: Self) {
        self.visible += more.visible;
        self.hidden += more.hidden;
        self.bytes += more.bytes;
    }
}

/// One page of a count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CensusPage {
    /// What the page holds of each collection.
    pub held: BTreeMap<Collection, Held>,
    /// Where the next page begins; `None` at the end of the partition.
    pub next: Option<EntityId>,
}

/// Counts the first `limit` entities of `partition` behind `after`. A row that cannot be read counts as it is: by its
/// key and its length.
pub fn count_held<R: Rows + ?Sized>(
    rows: &R,
    partition: PartitionId,
    after: Option<&EntityId>,
    limit: usize,
) -> Result<CensusPage, StoreError> {
    let from = after.map_or_else(
        || vec![partition.get()],
        |id| layout::entity_key(partition, id).to_vec(),
    );
    let end = layout::partition_end(partition);
    let (mut page, mut last, mut read) = (CensusPage::default(), None, 0);
    rows.scan(Table::Entities, &from, true, &end, &mut |key, row| {
        if read >= limit {
            page.next = last.take();
            return ControlFlow::Break(());
        }
        let Ok(id) = layout::parse_entity_key(key) else {
            return ControlFlow::Continue(());
        };
        read += 1;
        let hidden = u64::from(layout::stored_hash(row) == 0);
        *page.held.entry(id.collection()).or_default() += Held {
            visible: 1 - hidden,
            hidden,
            bytes: u64::try_from(key.len() + row.len()).unwrap_or(u64::MAX),
        };
        last = Some(id);
        ControlFlow::Continue(())
    })?;
    Ok(page)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::store::MemoryRows;

    #[test]
    fn pages_of_any_size_count_the_same() {
        let mut rows = MemoryRows::default();
        let partition = EntityId::new(Collection::Kv, "a").expect("a good key");
        let partition = partition.partition();
        let ids = (0..50_000)
            .map(|number| EntityId::new(Collection::Kv, number.to_string()).expect("a good key"))
            .filter(|id| id.partition() == partition);
        let ids: Vec<EntityId> = ids.collect();
        for (number, id) in ids.iter().enumerate() {
            let hash = u128::from(!number.is_multiple_of(3));
            let mut row = vec![1];
            row.extend_from_slice(&hash.to_be_bytes());
            let key = layout::entity_key(partition, id);
            rows.apply([((Table::Entities, key), Some(Bytes::from(row)))]);
        }
        let mut counts = Vec::new();
        for limit in [1, 7, 100_000] {
            let (mut held, mut after) = (Held::default(), None);
            loop {
                let page = count_held(&rows, partition, after.as_ref(), limit).expect("memory");
                held += page.held.get(&Collection::Kv).copied().unwrap_or_default();
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
            counts.push(held);
        }
        assert_eq!(counts[0].visible + counts[0].hidden, ids.len() as u64);
        assert!(counts[0].hidden > 10 && counts[0].bytes > 0);
        assert_eq!(counts, vec![counts[0]; 3]);
    }
}
