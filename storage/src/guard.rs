//! The guard: a small file of our own that remembers the vote and the end of the log.
//!
//! sled may open shorter than it was closed, without a word. A node that forgot its vote or acknowledged entries
//! breaks Raft, so what was acknowledged is also written here, after sled and before the acknowledgement. At
//! start sled must not know less than the guard.
//!
//! Two slots are written in turn, each a block of its own: a torn write leaves the other slot, which holds
//! the state before a write that nobody was told of.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::durable;
use crate::error::StorageError;
use crate::frame::{frame, unframe};
use crate::record::{LogPosition, VoteRecord};

const SLOT: u64 = 4096;
const CONTEXT: &[u8] = b"dmnode guard";
const PAYLOAD: usize = 8 + 1 + 17 + 1 + 24;

/// What the guard remembers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Guarded {
    pub vote: Option<VoteRecord>,
    pub last: Option<LogPosition>,
}

/// The open guard file.
#[derive(Debug)]
pub(crate) struct Guard {
    path: PathBuf,
    file: File,
    sequence: u64,
    current: Guarded,
}

impl Guard {
    /// Opens the guard; `Ok(None)` when there is none.
    pub fn open(path: &Path) -> Result<Option<Self>, StorageError> {
        let Some(bytes) = durable::read_file(path)? else { return Ok(None) };
        let mut best: Option<(u64, Guarded)> = None;
        for slot in bytes.chunks(SLOT as usize) {
            let valid = slot.get(..crate::frame::FRAME_HEADER + PAYLOAD).and_then(|framed| {
                let payload = unframe(CONTEXT, framed).ok()?;
                decode(payload)
            });
            if let Some((sequence, guarded)) = valid
                && best.is_none_or(|(other, _)| sequence > other)
            {
                best = Some((sequence, guarded));
            }
        }
        let Some((sequence, current)) = best else {
            return Err(StorageError::damaged(path, "neither of its two records is whole"));
        };
        let file =
            OpenOptions::new().write(true).open(path).map_err(|err| StorageError::io("open", path, err))?;
        Ok(Some(Self { path: path.to_owned(), file, sequence, current }))
    }

    /// Creates an empty guard, durably.
    pub fn create(path: &Path) -> Result<Self, StorageError> {
        let mut bytes = vec![0; 2 * SLOT as usize];
        let framed = frame(CONTEXT, &encode(0, &Guarded::default()));
        if let Some(slot) = bytes.get_mut(..framed.len()) {
            slot.copy_from_slice(&framed);
        }
        durable::write_file(path, &bytes)?;
        Self::open(path)?.ok_or_else(|| StorageError::damaged(path, "it vanished while being created"))
    }

    /// What is remembered.
    pub fn current(&self) -> Guarded {
        self.current
    }

    /// Remembers, durably.
    pub fn write(&mut self, guarded: Guarded) -> Result<(), StorageError> {
        if guarded == self.current {
            return Ok(());
        }
        let sequence = self.sequence + 1;
        let framed = frame(CONTEXT, &encode(sequence, &guarded));
        self.file
            .write_all_at(&framed, (sequence % 2) * SLOT)
            .and_then(|()| self.file.sync_data())
            .map_err(|err| StorageError::io("write", &self.path, err))?;
        self.sequence = sequence;
        self.current = guarded;
        Ok(())
    }
}

fn encode(sequence: u64, guarded: &Guarded) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(PAYLOAD);
    bytes.extend_from_slice(&sequence.to_le_bytes());
    bytes.push(u8::from(guarded.vote.is_some()));
    bytes.extend_from_slice(&guarded.vote.unwrap_or_default().to_bytes());
    bytes.push(u8::from(guarded.last.is_some()));
    bytes.extend_from_slice(&guarded.last.unwrap_or_default().to_bytes());
    bytes
}

fn decode(payload: &[u8]) -> Option<(u64, Guarded)> {
    let (sequence, rest) = payload.split_first_chunk::<8>()?;
    let (has_vote, rest) = rest.split_first()?;
    let (vote, rest) = rest.split_at_checked(VoteRecord::SIZE)?;
    let (has_last, last) = rest.split_first()?;
    let vote = VoteRecord::from_bytes(vote)?;
    let last = LogPosition::from_bytes(last)?;
    Some((
        u64::from_le_bytes(*sequence),
        Guarded { vote: (*has_vote == 1).then_some(vote), last: (*has_last == 1).then_some(last) },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guarded(term: u64) -> Guarded {
        Guarded {
            vote: Some(VoteRecord { term, node: 3, committed: true }),
            last: Some(LogPosition { term, node: 3, index: term * 10 }),
        }
    }

    #[test]
    fn remembers_the_last_write() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("guard");
        assert!(Guard::open(&path).unwrap().is_none());
        let mut guard = Guard::create(&path).unwrap();
        for term in 1..5 {
            guard.write(guarded(term)).unwrap();
        }
        drop(guard);
        assert_eq!(Guard::open(&path).unwrap().unwrap().current(), guarded(4));
    }

    #[test]
    fn a_torn_write_leaves_the_record_before() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("guard");
        let mut guard = Guard::create(&path).unwrap();
        guard.write(guarded(1)).unwrap();
        guard.write(guarded(2)).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        // The second write went to slot 0.
        for at in 0..60 {
            let mut torn = bytes.clone();
            torn[at] ^= 0x40;
            std::fs::write(&path, &torn).unwrap();
            assert_eq!(Guard::open(&path).unwrap().unwrap().current(), guarded(1), "byte {at}");
        }
        std::fs::write(&path, vec![0; 8192]).unwrap();
        assert!(matches!(Guard::open(&path), Err(StorageError::Damaged { .. })));
        std::fs::write(&path, b"").unwrap();
        assert!(matches!(Guard::open(&path), Err(StorageError::Damaged { .. })));
    }
}
