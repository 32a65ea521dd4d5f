//! A disk in memory that forgets: what was not synced survives a crash in part, in any order, torn anywhere.

use std::{
    collections::BTreeMap,
    io::{Error, ErrorKind},
};

use rand::{RngExt, rngs::Xoshiro256PlusPlus};

#[derive(Clone, Debug)]
enum Change {
    Write { offset: usize, bytes: Vec<u8> },
    Length(usize),
}

/// One file.
#[derive(Clone, Debug, Default)]
pub(super) struct Medium {
    /// What a crash leaves in any case.
    durable: Vec<u8>,
    /// What reads see.
    live: Vec<u8>,
    /// What happened since the last sync, in order.
    pending: Vec<Change>,
}

/// In which pieces what is pending survives: of each piece the content after any of the writes to it.
/// A sector is not torn so finely by any disk, but nobody has to rely on that; redb relies on 9 bytes at once
/// while it makes a file.
const PIECES: [usize; 5] = [16, 64, 512, 4_096, 1 << 20];

impl Medium {
    /// A file as a crash has left it.
    pub(super) fn new(bytes: Vec<u8>) -> Self {
        Self {
            live: bytes.clone(),
            durable: bytes,
            pending: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.live.len()
    }

    pub(super) fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), Error> {
        let offset = usize::try_from(offset).map_err(Error::other)?;
        let bytes = self
            .live
            .get(offset..offset + out.len())
            .ok_or(ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        let offset = usize::try_from(offset).map_err(Error::other)?;
        let place = self.live.get_mut(offset..offset + bytes.len());
        place
            .ok_or(ErrorKind::UnexpectedEof)?
            .copy_from_slice(bytes);
        self.pending.push(Change::Write {
            offset,
            bytes: bytes.to_vec(),
        });
        Ok(())
    }

    pub(super) fn set_len(&mut self, length: u64) -> Result<(), Error> {
        let length = usize::try_from(length).map_err(Error::other)?;
        self.live.resize(length, 0);
        self.pending.push(Change::Length(length));
        Ok(())
    }

    /// Makes durable what is pending.
    pub(super) fn sync(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            match change {
                Change::Write { offset, bytes } => {
                    let end = offset + bytes.len();
                    if self.durable.len() < end {
                        self.durable.resize(end, 0);
                    }
                    self.durable[offset..end].copy_from_slice(&bytes);
                }
                Change::Length(length) => self.durable.resize(length, 0),
            }
        }
    }

    /// A sync that fails as kernels let it: a part is durable, the rest is never written again, and reads
    /// see all of it as before.
    pub(super) fn fail_to_sync(&mut self, rng: &mut Xoshiro256PlusPlus) {
        self.durable = self.after_crash(rng);
        self.pending.clear();
    }

    /// Writes all that reads see to the disk.
    pub(super) fn renew(&mut self) {
        self.durable.clone_from(&self.live);
        self.pending.clear();
    }

    /// What a crash now leaves.
    pub(super) fn after_crash(&self, rng: &mut Xoshiro256PlusPlus) -> Vec<u8> {
        let changes = self.pending.len();
        let whole_file = usize::MAX;
        let piece = match rng.random_range(0..8) {
            // Nothing, everything, or all up to some moment.
            0..3 => whole_file,
            _ => PIECES[rng.random_range(0..PIECES.len())],
        };
        let whole = match rng.random_range(0..3) {
            0 => 0,
            1 => changes,
            _ => rng.random_range(0..=changes),
        };
        let mut lengths = vec![self.durable.len()];
        let mut cuts: BTreeMap<usize, usize> = BTreeMap::new();
        let mut image = self.durable.clone();
        for (index, change) in self.pending.iter().enumerate() {
            match change {
                Change::Length(length) if piece == whole_file => {
                    if index < whole {
                        lengths = vec![*length];
                    }
                }
                Change::Length(length) => lengths.push(*length),
                Change::Write { offset, bytes } => {
                    if image.len() < offset + bytes.len() {
                        image.resize(offset + bytes.len(), 0);
                    }
                    let mut done = 0;
                    while done < bytes.len() {
                        let at = offset + done;
                        let number = at / piece;
                        let rest = (number + 1).saturating_mul(piece) - at;
                        let end = bytes.len().min(done + rest);
                        let cut = if piece == whole_file {
                            whole
                        } else {
                            *cuts
                                .entry(number)
                                .or_insert_with(|| rng.random_range(0..=changes))
                        };
                        if index < cut {
                            image[at..offset + end].copy_from_slice(&bytes[done..end]);
                        }
                        done = end;
                    }
                }
            }
        }
        image.resize(lengths[rng.random_range(0..lengths.len())], 0);
        image
    }
}
