//! A batch: several writes of this node that are decided one after another, each seeing those before it, and share one
//! group commit: they become durable together, or none does.
//!
//! Each is judged alone: one that refuses changes nothing, and the others stand.

use std::panic::{AssertUnwindSafe, catch_unwind};

use grapevine_crdt::FieldCell;
use tokio::sync::oneshot;

use super::{
    Edit, Snapshot, StoreError, Workspace,
    handle::WriteError,
    step::{Ended, Life, Step},
};
use crate::{model::EntityId, traces::WriteSpans};

/// A batch takes no further write once its steps and their rows have this many bytes.
const MAX_BATCH_BYTES: usize = 16 * 1024 * 1024;

/// Makes the writes of a batch.
pub struct BatchWriter<'a, 'w> {
    workspace: &'a mut Workspace<'w, Snapshot>,
    life: &'a mut Life,
    now: u64,
    begun_at: usize,
    spans: &'a WriteSpans,
}

impl BatchWriter<'_, '_> {
    /// Makes one write, as [`Store::write`](super::Store::write) does; it is durable when the batch is answered.
    ///
    /// Refused as [`StoreError::Overloaded`] when the batch has become too large.
    pub fn write<T, E>(
        &mut self,
        id: &EntityId,
        edit: impl FnOnce(Edit<'_>) -> Result<(Vec<FieldCell>, T), E>,
    ) -> Result<T, WriteError<E>> {
        if self.workspace.bytes() - self.begun_at >= MAX_BATCH_BYTES {
            return Err(StoreError::Overloaded.into());
        }
        decide(self.workspace, self.life, self.now, id, edit, self.spans)
    }
}

/// Decides one write with the group so far.
pub(super) fn decide<T, E>(
    workspace: &mut Workspace<'_, Snapshot>,
    life: &mut Life,
    now: u64,
    id: &EntityId,
    edit: impl FnOnce(Edit<'_>) -> Result<(Vec<FieldCell>, T), E>,
    spans: &WriteSpans,
) -> Result<T, WriteError<E>> {
    let mut answer = None;
    // An edit that panics has touched nothing but what it owns: the workspace is changed only with the
    // cells it returns.
    let result = workspace.write(id, life.begin(), now, |context| {
        match catch_unwind(AssertUnwindSafe(|| edit(context))) {
            Ok(Ok((cells, value))) => {
                answer = Some(value);
                Ok(cells)
            }
            Ok(Err(error)) => Err(WriteError::Rejected(error)),
            Err(_panic) => Err(WriteError::Store(StoreError::Panicked)),
        }
    });
    if let Ok(Ok(Some(dot))) = &result {
        spans.wrote(id.partition(), *dot);
    }
    match (result, answer) {
        (Ok(Ok(_dot)), Some(value)) => Ok(value),
        (Ok(Ok(_dot)), None) => Err(WriteError::Store(StoreError::Closed)),
        (Ok(Err(error)), _) => Err(error),
        (Err(error), _) => Err(WriteError::Store(error)),
    }
}

/// A batch in the writer's queue.
pub(super) struct Batch<T, F> {
    make: Option<F>,
    made: Result<T, StoreError>,
    reply: oneshot::Sender<Result<T, StoreError>>,
    spans: WriteSpans,
}

impl<T, F> Batch<T, F> {
    pub(super) const fn new(
        make: F,
        reply: oneshot::Sender<Result<T, StoreError>>,
        spans: WriteSpans,
    ) -> Self {
        Self {
            make: Some(make),
            made: Err(StoreError::Closed),
            reply,
            spans,
        }
    }
}

impl<T, F> Step for Batch<T, F>
where
    T: Send,
    F: FnOnce(&mut BatchWriter<'_, '_>) -> T + Send,
{
    fn decide(&mut self, workspace: &mut Workspace<'_, Snapshot>, life: &mut Life, now: u64) {
        let Some(make) = self.make.take() else {
            return;
        };
        let mut writer = BatchWriter {
            begun_at: workspace.bytes(),
            workspace,
            life,
            now,
            spans: &self.spans,
        };
        let answer = catch_unwind(AssertUnwindSafe(|| make(&mut writer)));
        self.made = answer.map_err(|_panic| StoreError::Panicked);
    }

    fn is_local(&self) -> bool {
        true
    }

    fn complete(self: Box<Self>, ended: Ended<'_>) {
        let answer = match ended {
            Ok(()) => self.made,
            Err(error) => Err(error()),
        };
        let _gone = self.reply.send(answer);
    }
}
