//! One connection, from the handshake to its end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use grapevine_crdt::ReplicaId;
use tokio::{sync::Semaphore, time::timeout};

use super::{
    clocks::base_ms,
    shared::{Inbound, LinkId, Shared},
};
use crate::sync::{
    MAX_FRAME_BYTES, Message, PeerInfo,
    engine::{MAX_HELLO_TEXT_BYTES, Refusal, check_hello},
    transport::{Connection, Frame, FrameError, Link, LinkReceiver, LinkSender, Received},
};

/// The most bytes of messages of one link between socket and store. One frame always fits.
pub const MAX_ROOM_BYTES: usize = MAX_FRAME_BYTES + 1024 * 1024;

/// The most bytes of messages of all links between socket and store: 256 MiB.
pub const MAX_ROOM_OF_ALL_BYTES: usize = 256 * 1024 * 1024;

/// How long a link may go on to bring what its peer still sends while this node stops.
const LINGER: Duration = Duration::from_secs(1);

static NEXT_LINK: AtomicU64 = AtomicU64::new(1);

/// How a session ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// The other end is this node.
    Ourselves,
    /// The handshake failed or the peer was refused.
    Refused,
    /// The link was up, and is no more.
    Closed {
        /// Who it was.
        peer: ReplicaId,
        /// How long it was up.
        lasted: Duration,
    },
}

#[derive(Debug, thiserror::Error)]
enum HandshakeError {
    #[error("this node has no life to introduce yet")]
    NotReady,
    #[error("it said nothing in time")]
    Silent,
    #[error("it closed the connection")]
    Closed,
    #[error("its first message was no greeting")]
    NoHello,
    #[error("{0}")]
    Refused(#[from] Refusal),
    #[error("{0}")]
    Frame(#[from] FrameError),
}

/// Runs `connection` until it ends; says how.
pub(super) async fn run(shared: &Shared, connection: Connection) -> Ending {
    let traffic = shared.accounts.open();
    let link = Link::open(connection, &shared.config.link, Arc::clone(&traffic));
    let Link {
        sender,
        mut receiver,
        remote,
    } = link;
    let handshake = tokio::select! {
        () = shared.stopping.cancelled() => return Ending::Refused,
        handshake = handshake(shared, &sender, &mut receiver) => handshake,
    };
    let Met {
        ours,
        theirs,
        base_ms,
    } = match handshake {
        Ok(met) => met,
        Err(HandshakeError::Refused(Refusal::Ourselves)) => return Ending::Ourselves,
        Err(error) => {
            shared.counters.refusals.increment();
            let warning = format!("no sync with {remote}: {error}");
            match error {
                // Those that said who they are were named already.
                HandshakeError::Refused(_)
                | HandshakeError::NotReady
                | HandshakeError::Silent
                | HandshakeError::Closed
                | HandshakeError::NoHello
                | HandshakeError::Frame(_) => tracing::debug!("{warning}"),
            }
            return Ending::Refused;
        }
    };
    shared.counters.handshakes.increment();
    receiver.trust();
    let since = Instant::now();
    let peer = theirs.replica;
    let name = theirs.name.clone();
    shared.accounts.name(&traffic, &name);
    let link = LinkId(NEXT_LINK.fetch_add(1, Ordering::Relaxed));
    let up = Inbound::Up {
        link,
        ours: ours.replica,
        base_ms,
        info: theirs,
        sender: sender.clone(),
    };
    if shared.inbound.send(up).await.is_ok() {
        let result = forward(shared, link, &mut receiver).await;
        let _stopping = shared.inbound.send(Inbound::Down(link)).await;
        if let Err(error) = result {
            if matches!(error, FrameError::TooLarge { .. } | FrameError::Garbage(_)) {
                shared.counters.disconnects.increment();
            }
            // Ports and contents differ each time; that is no news.
            let kind = std::mem::discriminant(&error);
            if shared.warnings.is_due(&format!("link {name} {kind:?}")) {
                tracing::warn!("a link to {name} at {remote} ended: {error}");
            }
        }
    }
    sender.break_off();
    Ending::Closed {
        peer,
        lasted: since.elapsed(),
    }
}

/// A handshake that was passed.
struct Met {
    ours: PeerInfo,
    theirs: PeerInfo,
    base_ms: i64,
}

async fn handshake(
    shared: &Shared,
    sender: &LinkSender,
    receiver: &mut LinkReceiver,
) -> Result<Met, HandshakeError> {
    let said = shared.hello().ok_or(HandshakeError::NotReady)?;
    sender.reply(Frame::encode(&Message::Hello(said.clone()))?);
    let first = timeout(shared.config.handshake_timeout, receiver.receive())
        .await
        .map_err(|_| HandshakeError::Silent)??;
    let Received { message, .. } = first.ok_or(HandshakeError::Closed)?;
    let Message::Hello(theirs) = message else {
        return Err(HandshakeError::NoHello);
    };
    // Clocks are compared as they are now, not as they were before the peer took its time.
    let now = shared.now();
    let ours = PeerInfo {
        unix_ms: now.unix_ms,
        ..said
    };
    let checked = check_hello(&ours, &theirs, shared.config.max_clock_skew_ms);
    shared.clocks.heard(&theirs, checked.as_ref().err(), now);
    if let Err(refusal) = checked {
        tell(shared, &theirs, &refusal);
        return Err(refusal.into());
    }
    Ok(Met {
        ours,
        theirs,
        base_ms: base_ms(now),
    })
}

/// Logs a refusal, once in a while for each peer and kind.
fn tell(shared: &Shared, theirs: &PeerInfo, refusal: &Refusal) {
    let kind = match refusal {
        Refusal::Ourselves => return,
        Refusal::TooLong(_) => {
            // What it says of itself is not repeated.
            tracing::debug!("a peer is refused: {refusal}");
            return;
        }
        Refusal::Version { .. } if theirs.name.len() > MAX_HELLO_TEXT_BYTES => return,
        Refusal::Version { .. } => "version",
        Refusal::Cluster { .. } => "cluster",
        Refusal::WallClock { .. } => "wall clock",
        Refusal::LogicalClock { .. } => "logical clock",
    };
    let PeerInfo { name, peer, .. } = theirs;
    if shared
        .warnings
        .is_due(&format!("refused {name} {peer}: {kind}"))
    {
        let replica = theirs.replica;
        tracing::warn!("the peer {name} ({replica}, {peer}) is refused: {refusal}");
    }
}

/// Hands on what comes until the link ends; when the node stops, only waits for the peer to end its side.
async fn forward(
    shared: &Shared,
    link: LinkId,
    receiver: &mut LinkReceiver,
) -> Result<(), FrameError> {
    let room = Arc::new(Semaphore::new(MAX_ROOM_BYTES));
    loop {
        let arrived = tokio::select! {
            () = shared.stopped.cancelled() => return linger(receiver).await,
            arrived = receiver.receive() => arrived?,
        };
        let Some(Received { message, bytes }) = arrived else {
            return Ok(());
        };
        let permits = u32::try_from(bytes.min(MAX_ROOM_BYTES)).unwrap_or(u32::MAX);
        let Ok(of_link) = Arc::clone(&room).acquire_many_owned(permits).await else {
            return Ok(());
        };
        let Ok(of_all) = Arc::clone(&shared.room).acquire_many_owned(permits).await else {
            return Ok(());
        };
        let inbound = Inbound::Message {
            link,
            message,
            room: Arc::new([of_link, of_all]),
        };
        if shared.inbound.send(inbound).await.is_err() {
            return linger(receiver).await;
        }
    }
}

/// What we still had to say is on its way; closing while the peer speaks could tear it.
async fn linger(receiver: &mut LinkReceiver) -> Result<(), FrameError> {
    let drained = timeout(LINGER, async {
        while receiver.receive().await?.is_some() {}
        Ok(())
    });
    drained.await.unwrap_or(Ok(()))
}
