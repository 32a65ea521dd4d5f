//! One connection, from the handshake to its end.

use std::{
    io,
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
    strangers::{Waiting, host},
};
use crate::{
    secret::Fingerprint,
    sync::{
        MAX_FRAME_BYTES, Message, PeerInfo,
        engine::{MAX_HELLO_TEXT_BYTES, Refusal, check_hello},
        transport::{
            AdmissionError, Connection, Frame, FrameError, Link, LinkReceiver, LinkSender,
            Received, Role, admit,
        },
    },
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
    #[error("{0}")]
    Admission(#[from] AdmissionError),
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

/// Runs `connection` until it ends; says how. One that was accepted is `waiting` until it has passed the handshake.
pub(super) async fn run(
    shared: &Shared,
    connection: Connection,
    role: Role,
    waiting: Option<Waiting>,
) -> Ending {
    let remote = connection.remote.clone();
    let place = match role {
        Role::Dialled { .. } => &remote,
        Role::Accepted => host(&remote),
    };
    let met = tokio::select! {
        () = shared.stopping.cancelled() => return Ending::Refused,
        met = meet(shared, connection, role) => met,
    };
    let Met {
        ours,
        theirs,
        base_ms,
        sealed_with,
        sender,
        mut receiver,
    } = match met {
        Ok(met) => met,
        Err(HandshakeError::Refused(Refusal::Ourselves)) => return Ending::Ourselves,
        Err(error) => {
            refuse(shared, place, &error);
            return Ending::Refused;
        }
    };
    match role {
        Role::Dialled { .. } => shared.strangers.let_in(place),
        // Others may come from the same host.
        Role::Accepted => {}
    }
    drop(waiting);
    shared.counters.handshakes.increment();
    receiver.trust();
    let since = Instant::now();
    let peer = theirs.replica;
    let name = theirs.name.clone();
    let link = LinkId(NEXT_LINK.fetch_add(1, Ordering::Relaxed));
    let up = Inbound::Up {
        link,
        ours: ours.replica,
        base_ms,
        sealed_with,
        info: theirs,
        sender: sender.clone(),
    };
    if shared.inbound.send(up).await.is_ok() {
        let result = forward(shared, link, &mut receiver).await;
        let _stopping = shared.inbound.send(Inbound::Down(link)).await;
        if let Err(error) = result {
            if is_the_fault_of_the_other(&error) {
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
    sealed_with: Option<Fingerprint>,
    sender: LinkSender,
    receiver: LinkReceiver,
}

/// Both parts of the handshake: that the other side may come in, and who it is.
async fn meet(shared: &Shared, connection: Connection, role: Role) -> Result<Met, HandshakeError> {
    let config = &shared.config;
    let admission = admit(connection, role, &config.keyring, &config.local.cluster);
    let admitted = timeout(config.handshake_timeout, admission)
        .await
        .map_err(|_| HandshakeError::Silent)??;
    let sealed_with = admitted.sealed_with;
    let traffic = shared.accounts.open();
    let link = Link::open(admitted.connection, &config.link, Arc::clone(&traffic));
    let Link {
        sender,
        mut receiver,
        ..
    } = link;
    let greeted = greet(shared, &sender, &mut receiver).await?;
    let (ours, theirs, base_ms) = greeted;
    shared.accounts.name(&traffic, &theirs.name);
    Ok(Met {
        ours,
        theirs,
        base_ms,
        sealed_with,
        sender,
        receiver,
    })
}

/// Counts and tells that somebody was refused. Those that said who they are were named already.
fn refuse(shared: &Shared, place: &str, error: &HandshakeError) {
    let is_told = match error {
        HandshakeError::Silent | HandshakeError::NoHello => true,
        HandshakeError::Frame(error) => is_the_fault_of_the_other(error),
        HandshakeError::Admission(error) => match error {
            AdmissionError::Foreign
            | AdmissionError::Version { .. }
            | AdmissionError::Unsealed
            | AdmissionError::Sealed
            | AdmissionError::Stranger
            | AdmissionError::Unwelcome => true,
            AdmissionError::Io(_) | AdmissionError::Handshake(_) => false,
            AdmissionError::Closed => return hung_up(place),
        },
        HandshakeError::Refused(_) | HandshakeError::NotReady => false,
        HandshakeError::Closed => return hung_up(place),
    };
    if is_told {
        turn_away(shared, place, &error.to_string());
    } else {
        shared.counters.refusals.increment();
        tracing::debug!("no sync with {place}: {error}");
    }
}

/// Who goes by itself is not refused: a node that dialled itself may be the first to find that out.
fn hung_up(place: &str) {
    tracing::debug!("no sync with {place}: it closed the connection");
}

/// Counts and tells that somebody was refused before it said who it is.
pub(super) fn turn_away(shared: &Shared, place: &str, reason: &str) {
    shared.counters.refusals.increment();
    let now = shared.now();
    shared.strangers.turned_away(place, reason.to_owned(), now);
    let warning = format!("no sync with {place}: {reason}");
    if shared.warnings.is_due(&warning) {
        tracing::warn!("{warning}");
    } else {
        tracing::debug!("{warning}");
    }
}

/// Whether what came was not what a peer says, rather than that the connection broke.
fn is_the_fault_of_the_other(error: &FrameError) -> bool {
    match error {
        FrameError::TooLarge { .. } | FrameError::Garbage(_) => true,
        FrameError::Io(error) => error.kind() == io::ErrorKind::InvalidData,
        FrameError::Torn | FrameError::Silent(_) | FrameError::Stalled(_) => false,
    }
}

async fn greet(
    shared: &Shared,
    sender: &LinkSender,
    receiver: &mut LinkReceiver,
) -> Result<(PeerInfo, PeerInfo, i64), HandshakeError> {
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
    Ok((ours, theirs, base_ms(now)))
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
