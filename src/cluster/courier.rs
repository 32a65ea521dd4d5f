//! Makes datagrams of messages and messages of datagrams, and lets nothing pass that is not from a member, new, and from
//! where it says.
//!
//! Without a secret a message is its datagram. With one it is sealed in a [`letter`](super::letter), and:
//!
//! - **Nothing is taken twice.** Each process draws a *life* and numbers its letters; of every life a
//!   [`window`](super::window) tells what came.
//! - **Nothing old is taken.** A message proves that its sender can read what this process answers to the address it comes
//!   from: it carries the *token* that this process made for that address, a keyed hash under a key that it drew when it
//!   started. So a recording is worth nothing to a process that was started later, to another node, or from another
//!   address; and no clock is asked.
//! - **Nobody is answered with more than he sent.** A letter whose proof is not good is answered by one without a body,
//!   with a token: never more bytes than came. Only who receives that answer, and can open it, gets any further.
//!
//! Each message also offers a token to its receiver, so two nodes that meet lose one round and no more. When
//! [`MAX_LIVES`] lives are known, the key of the tokens is changed and all windows are forgotten: what came before is
//! not taken any more, so forgetting lets nothing in twice.
//!
//! It is pure: randomness is handed in, and it sends nothing itself.

use std::{collections::BTreeMap, net::SocketAddr};

use super::{
    datagram::MAX_DATAGRAM_BYTES,
    letter::{self, Kind, Letter, Life, Name, SEALED_EXTRA_BYTES, Seal, SealError, Token},
    window::Window,
};
use crate::secret::Keyring;

/// The most lives of senders that are told apart.
const MAX_LIVES: usize = 4_096;

/// The most addresses of which the token is known.
const MAX_ADDRESSES: usize = 4_096;

/// The most messages that wait for a token, one for each address.
const MAX_WAITING: usize = 64;

/// How the next key of the tokens follows from the last.
const NEXT_KEY_CONTEXT: &str = "grapevine 2026 gossip tokens, next key";

/// What is drawn when a process starts.
#[derive(Clone, Copy)]
pub(super) struct Drawn {
    pub(super) life: Life,
    pub(super) token_key: [u8; 32],
}

/// What is to be sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Posted {
    /// This datagram.
    Now(Vec<u8>),
    /// This datagram, which asks for a token; the message follows when it comes.
    AfterToken(Vec<u8>),
    /// The message is too large for a datagram.
    TooLarge(Vec<u8>),
}

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Delivered {
    /// A message.
    Message(Vec<u8>),
    /// Nothing yet: its sender is to be sent this datagram, which is not longer than what came.
    Unproven(Vec<u8>),
    /// A token, and the datagram that waited for it.
    Token(Option<(SocketAddr, Vec<u8>)>),
}

pub(super) struct Courier {
    keyring: Keyring,
    seals: Vec<Seal>,
    drawn: Drawn,
    /// How many letters were sealed.
    number: u64,
    /// By what we prove ourselves to each address.
    tokens: BTreeMap<SocketAddr, Token>,
    windows: BTreeMap<Life, Window>,
    waiting: BTreeMap<SocketAddr, Vec<u8>>,
}

impl Courier {
    pub(super) fn new(keyring: Keyring, drawn: Drawn) -> Self {
        let seals = keyring.keys().iter().map(Seal::new).collect();
        Self {
            keyring,
            seals,
            drawn,
            number: 0,
            tokens: BTreeMap::new(),
            windows: BTreeMap::new(),
            waiting: BTreeMap::new(),
        }
    }

    /// What is to be sent so that `message` comes to `to`.
    pub(super) fn post(&mut self, to: SocketAddr, message: Vec<u8>) -> Posted {
        self.refresh();
        let extra = if self.seals.is_empty() {
            0
        } else {
            SEALED_EXTRA_BYTES
        };
        if message.len() + extra > MAX_DATAGRAM_BYTES {
            return Posted::TooLarge(message);
        }
        if self.seals.is_empty() {
            return Posted::Now(message);
        }
        let to = canonical(to);
        if let Some(proof) = self.tokens.get(&to).copied() {
            return Posted::Now(self.message(to, proof, message));
        }
        if self.waiting.len() < MAX_WAITING || self.waiting.contains_key(&to) {
            self.waiting.insert(to, message);
        }
        let greeting = Letter {
            kind: Kind::Greeting,
            proof: Token::default(),
            offer: self.token(to),
            sent_to: to,
            body: Vec::new(),
        };
        Posted::AfterToken(self.close(&greeting))
    }

    /// What came with `datagram`.
    pub(super) fn take(
        &mut self,
        from: SocketAddr,
        datagram: &[u8],
    ) -> Result<Delivered, SealError> {
        self.refresh();
        if self.seals.is_empty() {
            return match datagram.first() {
                Some(&letter::VERSION) => Err(SealError::Sealed),
                Some(_) | None => Ok(Delivered::Message(datagram.to_vec())),
            };
        }
        let (name, letter) = letter::open(&self.seals, datagram)?;
        let from = canonical(from);
        match letter.kind {
            Kind::Message if letter.proof == self.token(from) => {
                self.take_name(name)?;
                // A token that was asked for is known to be good; this one may be for another address of ours.
                if !self.tokens.contains_key(&from) {
                    self.learn(from, letter.offer);
                }
                Ok(Delivered::Message(letter.body))
            }
            Kind::Message | Kind::Greeting => {
                let answer = Letter {
                    kind: Kind::Answer,
                    proof: name.life,
                    offer: self.token(from),
                    sent_to: letter.sent_to,
                    body: Vec::new(),
                };
                Ok(Delivered::Unproven(self.close(&answer)))
            }
            Kind::Answer if letter.proof == self.drawn.life => {
                self.take_name(name)?;
                let at = canonical(letter.sent_to);
                self.learn(at, letter.offer);
                let message = self.waiting.remove(&at);
                let datagram = message.map(|message| (at, self.message(at, letter.offer, message)));
                Ok(Delivered::Token(datagram))
            }
            // It answers a process that is over.
            Kind::Answer => Err(SealError::Repeated),
        }
    }

    /// The keys may have changed.
    fn refresh(&mut self) {
        if let Some(keys) = self.keyring.changed() {
            self.seals = keys.iter().map(Seal::new).collect();
        }
    }

    fn take_name(&mut self, name: Name) -> Result<(), SealError> {
        if self.windows.len() >= MAX_LIVES && !self.windows.contains_key(&name.life) {
            self.drawn.token_key = blake3::derive_key(NEXT_KEY_CONTEXT, &self.drawn.token_key);
            self.windows.clear();
        }
        let window = self.windows.entry(name.life).or_default();
        if window.take(name.number) {
            Ok(())
        } else {
            Err(SealError::Repeated)
        }
    }

    fn learn(&mut self, address: SocketAddr, token: Token) {
        if self.tokens.len() >= MAX_ADDRESSES && !self.tokens.contains_key(&address) {
            self.tokens.pop_first();
        }
        self.tokens.insert(address, token);
    }

    /// The token by which whoever receives at `address` proves it to us.
    fn token(&self, address: SocketAddr) -> Token {
        let hash = blake3::keyed_hash(&self.drawn.token_key, &letter::address_bytes(address));
        let (token, _) = hash
            .as_bytes()
            .split_first_chunk()
            .expect("a BLAKE3 hash has 32 bytes");
        *token
    }

    fn message(&mut self, to: SocketAddr, proof: Token, body: Vec<u8>) -> Vec<u8> {
        let letter = Letter {
            kind: Kind::Message,
            proof,
            offer: self.token(to),
            sent_to: to,
            body,
        };
        self.close(&letter)
    }

    fn close(&mut self, letter: &Letter) -> Vec<u8> {
        let name = Name {
            life: self.drawn.life,
            number: self.number,
        };
        self.number += 1;
        let seal = self.seals.first();
        seal.map_or_else(Vec::new, |seal| seal.close(name, letter))
    }
}

impl std::fmt::Debug for Courier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Courier").finish_non_exhaustive()
    }
}

/// One address has one form, however the socket tells it.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests;
