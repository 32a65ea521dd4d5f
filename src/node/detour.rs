//! Carries messages of gossip that are too large for a datagram over the links of sync.

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    cluster::{Carrier, Detour},
    sync::driver::{Carried, Driver},
};

/// How many messages wait between the links and gossip.
const MAX_WAITING: usize = 4;

struct OverLinks(Driver);

impl Carrier for OverLinks {
    fn carry(&self, to: SocketAddr, message: Bytes) -> bool {
        self.0.carry(to, message)
    }
}

/// The detour over the links of `driver`, until `stopping`.
pub(super) fn detour(driver: &Driver, stopping: &CancellationToken) -> Option<Detour> {
    let mut carried = driver.carried()?;
    let (sender, incoming) = mpsc::channel(MAX_WAITING);
    let stopping = stopping.clone();
    tokio::spawn(stopping.run_until_cancelled_owned(async move {
        while let Some(Carried { from, message }) = carried.recv().await {
            if sender.send((from, message)).await.is_err() {
                return;
            }
        }
    }));
    Some(Detour {
        carrier: Arc::new(OverLinks(driver.clone())),
        incoming,
    })
}
