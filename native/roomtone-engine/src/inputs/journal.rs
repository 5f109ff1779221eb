//! The queue between a room whose inputs are recorded and the thread that has the file.
//!
//! The blocks of a journal are made when it is made and go round, so that the room allocates nothing and waits for nobody. Unlike
//! the sound of a [`Tap`](crate::Tap), inputs can't be left out: when the file is so far behind that no block is free, the recording
//! ends there, and is whole up to that place.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};

/// The bytes after which a block is given to the file.
pub(crate) const BLOCK: usize = 64 * 1024;
/// The blocks of a journal: half a minute of ten talkers at once waits for a slow disk.
const BLOCKS: usize = 32;

const RUNS: u8 = 0;
const ENDED: u8 = 1;
const BEHIND: u8 = 2;
const USED: u8 = 3;
const CLOSED: u8 = 4;

/// Why nothing more comes by a journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JournalEnd {
    /// The room has ended, or failed.
    Room,
    /// The file was too far behind.
    Behind,
    /// Somebody has been in the room already, so that it can't be played again from its beginning; or it is recorded already.
    Used,
    /// The owner closed it ([`Journal::close`]).
    Closed,
}

/// The inputs of a room on their way to a file: the consumer's end, and what a command brings to the room.
#[derive(Clone)]
pub struct Journal(Arc<Shared>);

struct Shared {
    full: (Sender<Vec<u8>>, Receiver<Vec<u8>>),
    spare: (Sender<Vec<u8>>, Receiver<Vec<u8>>),
    state: AtomicU8,
}

impl Journal {
    /// An empty one, with the memory that it will need: 2 MiB, of which the system gives what is used.
    #[allow(clippy::new_without_default)] // there is no default one
    pub fn new() -> Journal {
        let shared = Shared {
            full: bounded(BLOCKS),
            spare: bounded(BLOCKS),
            state: AtomicU8::new(RUNS),
        };
        for _ in 0..BLOCKS {
            let _ = shared.spare.0.try_send(Vec::with_capacity(BLOCK + BLOCK / 4));
        }
        Journal(Arc::new(shared))
    }

    /// The oldest block that waits: whole entries, for [`Replay::read`](crate::Replay::read).
    pub fn take(&self) -> Option<Vec<u8>> {
        self.0.full.1.try_recv().ok()
    }

    /// Gives a block back to be filled anew.
    pub fn give_back(&self, mut block: Vec<u8>) {
        block.clear();
        // One that had to grow for a long list isn't kept so.
        block.shrink_to(BLOCK * 2);
        let _ = self.0.spare.0.try_send(block);
    }

    /// Ends the recording: the room writes nothing more.
    pub fn close(&self) {
        self.end(CLOSED);
    }

    /// Why nothing more comes; `None` while something may. Blocks may wait still.
    pub fn ended(&self) -> Option<JournalEnd> {
        match self.0.state.load(Ordering::Acquire) {
            RUNS => None,
            BEHIND => Some(JournalEnd::Behind),
            USED => Some(JournalEnd::Used),
            CLOSED => Some(JournalEnd::Closed),
            _ => Some(JournalEnd::Room),
        }
    }

    fn end(&self, state: u8) {
        // The first reason counts.
        let _ = (self.0.state).compare_exchange(RUNS, state, Ordering::AcqRel, Ordering::Acquire);
    }
}

impl fmt::Debug for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journal")
            .field("ended", &self.ended())
            .finish_non_exhaustive()
    }
}

impl PartialEq for Journal {
    fn eq(&self, other: &Journal) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

/// The room's end of a journal.
pub(crate) struct JournalWriter {
    journal: Journal,
    /// The block that is being filled; `None` once the recording has ended.
    block: Option<Vec<u8>>,
}

impl JournalWriter {
    pub(crate) fn new(journal: Journal) -> JournalWriter {
        let block = journal.0.spare.1.try_recv().ok();
        JournalWriter { journal, block }
    }

    /// Refuses a journal for a room that can't be recorded.
    pub(crate) fn refuse(journal: &Journal) {
        journal.end(USED);
    }

    /// The block to append to; `None` once the recording has ended.
    pub(crate) fn block(&mut self) -> Option<&mut Vec<u8>> {
        self.block.as_mut()
    }

    /// Gives the block to the file. Whether the recording goes on.
    pub(crate) fn hand_over(&mut self) -> bool {
        let Some(block) = self.block.take() else { return false };
        if self.journal.ended().is_some() {
            return false;
        }
        if block.is_empty() {
            self.block = Some(block);
            return true;
        }
        // There is a place for each block that there is.
        let _ = self.journal.0.full.0.try_send(block);
        self.block = self.journal.0.spare.1.try_recv().ok();
        if self.block.is_none() {
            log::error!("the inputs of a room come faster than the disk takes them: their recording ends");
            self.journal.end(BEHIND);
        }
        self.block.is_some()
    }
}

impl Drop for JournalWriter {
    fn drop(&mut self) {
        self.hand_over();
        self.journal.end(ENDED);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn blocks_go_round_and_the_last_one_comes_with_the_end() {
        let journal = Journal::new();
        let mut writer = JournalWriter::new(journal.clone());
        for n in 0..200u8 {
            writer.block().unwrap().push(n);
            assert!(writer.hand_over());
            let block = journal.take().unwrap();
            assert_eq!(block, [n]);
            journal.give_back(block);
        }
        assert!(writer.hand_over(), "an empty block stays");
        assert_eq!((journal.take(), journal.ended()), (None, None));
        writer.block().unwrap().push(1);
        drop(writer);
        assert_eq!(journal.ended(), Some(JournalEnd::Room));
        assert_eq!(journal.take(), Some(vec![1]));
    }

    #[test]
    fn a_file_that_is_behind_ends_the_recording_and_loses_nothing_before() {
        let journal = Journal::new();
        let mut writer = JournalWriter::new(journal.clone());
        let mut given = 0;
        while let Some(block) = writer.block() {
            block.push(given);
            given += 1;
            writer.hand_over();
        }
        assert_eq!(journal.ended(), Some(JournalEnd::Behind));
        let taken: Vec<u8> = std::iter::from_fn(|| journal.take()).flatten().collect();
        assert_eq!(taken, (0..given).collect::<Vec<_>>());
        assert_eq!(usize::from(given), BLOCKS);
    }

    #[test]
    fn a_closed_journal_takes_nothing_more() {
        let journal = Journal::new();
        let mut writer = JournalWriter::new(journal.clone());
        writer.block().unwrap().push(1);
        journal.close();
        assert!(!writer.hand_over());
        assert!(writer.block().is_none());
        drop(writer);
        assert_eq!((journal.ended(), journal.take()), (Some(JournalEnd::Closed), None));
    }
}
