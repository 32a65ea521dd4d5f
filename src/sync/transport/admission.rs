//! How a connection begins: both sides say what they speak, and with a cluster secret prove that they have it.
//!
//! With a secret this is Noise `NNpsk0` (the Noise Protocol Framework, revision 34, sections 7.5 and 9) over X25519,
//! ChaCha20-Poly1305 and BLAKE2s: two messages of 48 bytes behind the prefaces, and fresh keys for each connection, which
//! nobody learns who gets the secret later. The prologue binds version, sealing and the cluster's name.
//!
//! Invariants: a stranger gets no more bytes than it sent, and costs a hash and one attempt to open for each secret, but
//! no exchange of keys; nothing is allocated by what it says.

use std::io;

use snow::{Builder, HandshakeState};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{
    Connection, PREFACE_BYTES,
    preface::{Preface, Word},
    sealed,
};
use crate::{
    secret::{Fingerprint, Key, Keyring, SecretKeys},
    sync::PROTOCOL_VERSION,
};

const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s";

/// The bytes of each of the two messages: an ephemeral key, and the tag of an empty payload.
pub const HANDSHAKE_MESSAGE_BYTES: usize = 48;

/// Who began a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// We did, for the so many-th time at that address: attempts take turns with our secrets, the first one first.
    Dialled {
        /// How many attempts there were before.
        attempt: usize,
    },
    /// The other side did.
    Accepted,
}

/// A connection that may be used.
#[derive(Debug)]
pub struct Admitted {
    /// The connection; what is read and written is sealed below, if there is a secret.
    pub connection: Connection,
    /// With which secret it is sealed.
    pub sealed_with: Option<Fingerprint>,
}

/// Why a connection may not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdmissionError {
    /// It does not begin as one of ours.
    #[error("it does not speak this protocol")]
    Foreign,
    /// The other side speaks another version.
    #[error("it speaks version {theirs} of the protocol, we speak {PROTOCOL_VERSION}")]
    Version {
        /// Its version.
        theirs: u16,
    },
    /// The other side has no secret.
    #[error("it has no cluster secret, and this node has one")]
    Unsealed,
    /// The other side has a secret.
    #[error("it has a cluster secret, and this node has none")]
    Sealed,
    /// What the other side sent does not open.
    #[error("it has another cluster secret than this node, or belongs to another cluster")]
    Stranger,
    /// The other side could not open what we sent.
    #[error("it says that this node has another cluster secret, or belongs to another cluster")]
    Unwelcome,
    /// The other side ended the connection.
    #[error("it closed the connection")]
    Closed,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(io::Error),
    /// The keys could not be agreed on: our own mistake, or no randomness.
    #[error("the handshake failed: {0}")]
    Handshake(String),
}

/// Begins `connection`. The caller bounds the time.
pub async fn admit(
    mut connection: Connection,
    role: Role,
    keyring: &Keyring,
    cluster: &str,
) -> Result<Admitted, AdmissionError> {
    let keys = keyring.keys();
    match role {
        Role::Dialled { attempt } => {
            let turn = attempt.checked_rem(keys.len());
            let keys = turn.and_then(|turn| keys.get(turn));
            dial(connection, keys, cluster).await
        }
        Role::Accepted => {
            let mut preface = [0; PREFACE_BYTES];
            read(&mut connection, &mut preface).await?;
            let theirs = Preface::decode(preface).ok_or(AdmissionError::Foreign)?;
            let sealed = !keys.is_empty();
            if let Err(error) = check(theirs, sealed) {
                let answer = Preface::ours(sealed, Word::Unlike).encode();
                say(&mut connection, &answer).await?;
                return Err(error);
            }
            if sealed {
                answer(connection, &keys, cluster).await
            } else {
                let answer = Preface::ours(false, Word::Welcome).encode();
                say(&mut connection, &answer).await?;
                Ok(open(connection))
            }
        }
    }
}

const fn open(connection: Connection) -> Admitted {
    Admitted {
        connection,
        sealed_with: None,
    }
}

const fn check(theirs: Preface, sealed: bool) -> Result<(), AdmissionError> {
    if theirs.version != PROTOCOL_VERSION {
        return Err(AdmissionError::Version {
            theirs: theirs.version,
        });
    }
    match (theirs.sealed, sealed) {
        (true, false) => Err(AdmissionError::Sealed),
        (false, true) => Err(AdmissionError::Unsealed),
        (true, true) | (false, false) => Ok(()),
    }
}

async fn dial(
    mut connection: Connection,
    keys: Option<&SecretKeys>,
    cluster: &str,
) -> Result<Admitted, AdmissionError> {
    let preface = Preface::ours(keys.is_some(), Word::Welcome).encode();
    let mut said = preface.to_vec();
    let mut noise = None;
    if let Some(keys) = keys {
        let mut state = handshake(&keys.peer, cluster, true)?;
        let mut message = [0; HANDSHAKE_MESSAGE_BYTES];
        let written = state.write_message(&[], &mut message).map_err(failed)?;
        said.extend_from_slice(&message[..written]);
        noise = Some((state, keys.fingerprint));
    }
    say(&mut connection, &said).await?;
    let mut preface = [0; PREFACE_BYTES];
    read(&mut connection, &mut preface).await?;
    let theirs = Preface::decode(preface).ok_or(AdmissionError::Foreign)?;
    check(theirs, noise.is_some())?;
    match theirs.word {
        Word::Welcome => {}
        Word::Unlike | Word::Closed => return Err(AdmissionError::Unwelcome),
    }
    let Some((mut state, fingerprint)) = noise else {
        return Ok(open(connection));
    };
    let mut message = [0; HANDSHAKE_MESSAGE_BYTES];
    read(&mut connection, &mut message).await?;
    state
        .read_message(&message, &mut [])
        .map_err(|_| AdmissionError::Stranger)?;
    seal(connection, state, fingerprint)
}

/// The other side says something only after it has proved that it has one of our secrets.
async fn answer(
    mut connection: Connection,
    keys: &[SecretKeys],
    cluster: &str,
) -> Result<Admitted, AdmissionError> {
    let mut message = [0; HANDSHAKE_MESSAGE_BYTES];
    read(&mut connection, &mut message).await?;
    for keys in keys {
        let mut state = handshake(&keys.peer, cluster, false)?;
        if state.read_message(&message, &mut []).is_err() {
            continue;
        }
        let mut said = Preface::ours(true, Word::Welcome).encode().to_vec();
        let mut message = [0; HANDSHAKE_MESSAGE_BYTES];
        let written = state.write_message(&[], &mut message).map_err(failed)?;
        said.extend_from_slice(&message[..written]);
        say(&mut connection, &said).await?;
        return seal(connection, state, keys.fingerprint);
    }
    let refusal = Preface::ours(true, Word::Closed).encode();
    say(&mut connection, &refusal).await?;
    Err(AdmissionError::Stranger)
}

fn seal(
    connection: Connection,
    state: HandshakeState,
    fingerprint: Fingerprint,
) -> Result<Admitted, AdmissionError> {
    let state = state.into_stateless_transport_mode().map_err(failed)?;
    Ok(Admitted {
        connection: sealed::wrap(connection, state),
        sealed_with: Some(fingerprint),
    })
}

fn handshake(key: &Key, cluster: &str, initiator: bool) -> Result<HandshakeState, AdmissionError> {
    let preface = Preface::ours(true, Word::Welcome).encode();
    let prologue = [&preface[..], cluster.as_bytes()].concat();
    let parameters = PATTERN.parse().map_err(failed)?;
    let builder = Builder::new(parameters)
        .psk(0, key.bytes())
        .and_then(|builder| builder.prologue(&prologue))
        .map_err(failed)?;
    let state = if initiator {
        builder.build_initiator()
    } else {
        builder.build_responder()
    };
    state.map_err(failed)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is what `map_err` hands over"
)]
fn failed(error: snow::Error) -> AdmissionError {
    AdmissionError::Handshake(error.to_string())
}

async fn read(connection: &mut Connection, bytes: &mut [u8]) -> Result<(), AdmissionError> {
    let read = connection.reading.read_exact(bytes).await;
    read.map(|_| ()).map_err(broken)
}

async fn say(connection: &mut Connection, bytes: &[u8]) -> Result<(), AdmissionError> {
    let said = connection.writing.write_all(bytes).await;
    said.map_err(broken)?;
    connection.writing.flush().await.map_err(broken)
}

fn broken(error: io::Error) -> AdmissionError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe => AdmissionError::Closed,
        _ => AdmissionError::Io(error),
    }
}
