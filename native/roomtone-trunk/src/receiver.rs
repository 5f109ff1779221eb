//! The receiving end.

use thiserror::Error;

use crate::key::{Cipher, Key, KeyNumber};
use crate::wire::{Header, Item, Report, item};
use crate::{MAX_DATAGRAM, TrunkId};

/// A datagram so far behind the newest is refused.
const WINDOW: u64 = 1024;
const WORDS: usize = (WINDOW / 64) as usize;
/// So many talkers' frames are remembered, to pass on each once.
const MOST_TALKERS: usize = 64;

/// Why a datagram was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Rejected {
    /// It isn't one of this trunk, or too long.
    #[error("not a datagram of this trunk")]
    NotOurs,
    /// It was sealed with a key that isn't known any more, or not yet.
    #[error("sealed with another key")]
    OtherKey,
    /// It came before, or is too old to tell.
    #[error("it came before, or too late")]
    Replayed,
    /// It wasn't made by the other end, or was changed on its way.
    #[error("forged or damaged")]
    Forged,
    /// The other end made it, but it can't be read.
    #[error("it can't be read")]
    Malformed,
}

/// The figures of a receiving end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReceiverStats {
    /// Datagrams that were taken.
    pub received: u64,
    /// Their bytes, without UDP and IP headers.
    pub bytes: u64,
    /// Datagrams that never came, or too late. One that was only overtaken counts until it comes.
    pub lost: u64,
    /// Datagrams that were refused.
    pub rejected: u64,
    /// Frames that were passed on.
    pub frames: u64,
    /// Frames that came once more.
    pub repeated: u64,
}

/// Opens datagrams, and passes on each frame once.
pub struct Receiver {
    trunk: TrunkId,
    /// The present key, and the one before it.
    keys: [Option<Epoch>; 2],
    talkers: Vec<Talker>,
    /// Lost under keys before these two.
    lost_before: u64,
    /// Whether the last datagram has the highest counter of the present key.
    newest: bool,
    stats: ReceiverStats,
}

/// The time of a key.
struct Epoch {
    number: KeyNumber,
    cipher: Cipher,
    window: Window,
}

impl Receiver {
    /// The receiving end of a trunk that is called `trunk` here.
    pub fn new(trunk: TrunkId, number: KeyNumber, key: &Key) -> Receiver {
        Receiver {
            trunk,
            keys: [Some(Epoch::new(number, key)), None],
            talkers: Vec::with_capacity(MOST_TALKERS),
            lost_before: 0,
            newest: false,
            stats: ReceiverStats::default(),
        }
    }

    /// Takes another key from now on, and the present one until the next.
    pub fn renew(&mut self, number: KeyNumber, key: &Key) {
        let former = self.keys[0].replace(Epoch::new(number, key));
        let (former, same) = match former {
            Some(epoch) if epoch.number == number => (None, Some(epoch)),
            former => (former, None),
        };
        let gone = [std::mem::replace(&mut self.keys[1], former), same];
        self.lost_before += lost(&gone);
        self.newest = false;
    }

    /// The figures so far.
    pub fn stats(&self) -> ReceiverStats {
        ReceiverStats {
            lost: self.lost_before + lost(&self.keys),
            ..self.stats
        }
    }

    /// The report to the sender, who takes it for an answer to the datagram with the highest counter. `None` unless the last datagram
    /// is that one: it was overtaken, was sealed with the former key, or was refused.
    pub fn report(&self) -> Option<Report> {
        if !self.newest {
            return None;
        }
        let window = &self.keys[0].as_ref()?.window;
        Some(Report {
            highest: window.highest?,
            received: window.received,
        })
    }

    /// Decrypts a datagram in its place, and passes on what is in it: each frame once.
    ///
    /// # Errors
    /// The datagram is refused as a whole. It was counted.
    pub fn open(&mut self, datagram: &mut [u8], mut pass_on: impl FnMut(Item<'_>)) -> Result<(), Rejected> {
        let length = datagram.len() as u64;
        self.newest = false;
        let opened = self.decrypt(datagram).inspect_err(|_| self.stats.rejected += 1)?;
        self.stats.received += 1;
        self.stats.bytes += length;
        let mut body = opened;
        while let Some((item, rest)) = item(body) {
            body = rest;
            if let Item::Frame(frame) = item {
                if !is_first(&mut self.talkers, frame.talker, frame.sequence) {
                    self.stats.repeated += 1;
                    continue;
                }
                self.stats.frames += 1;
            }
            pass_on(item);
        }
        Ok(())
    }

    fn decrypt<'a>(&mut self, datagram: &'a mut [u8]) -> Result<&'a [u8], Rejected> {
        let header = Header::read(datagram).filter(|header| header.trunk == self.trunk);
        let header = header
            .filter(|_| datagram.len() <= MAX_DATAGRAM)
            .ok_or(Rejected::NotOurs)?;
        let mut epochs = self.keys.iter_mut().zip([true, false]);
        let (epoch, present) = epochs
            .find_map(|(epoch, present)| Some((epoch.as_mut().filter(|epoch| epoch.number == header.key)?, present)))
            .ok_or(Rejected::OtherKey)?;
        if !epoch.window.is_new(header.counter) {
            return Err(Rejected::Replayed);
        }
        let body = epoch.cipher.open(header.counter, datagram).ok_or(Rejected::Forged)?;
        // Only what is authentic may move the window.
        epoch.window.take(header.counter);
        self.newest = present && epoch.window.highest == Some(header.counter);
        let mut rest = body;
        while !rest.is_empty() {
            rest = item(rest).ok_or(Rejected::Malformed)?.1;
        }
        Ok(body)
    }
}

fn lost(epochs: &[Option<Epoch>]) -> u64 {
    epochs.iter().flatten().map(|epoch| epoch.window.lost()).sum()
}

impl Epoch {
    fn new(number: KeyNumber, key: &Key) -> Epoch {
        Epoch {
            number,
            cipher: key.cipher(),
            window: Window::default(),
        }
    }
}

/// The counters that came (RFC 4303, section 3.4.3).
#[derive(Default)]
struct Window {
    highest: Option<u64>,
    received: u64,
    seen: [u64; WORDS],
}

impl Window {
    fn is_new(&self, counter: u64) -> bool {
        match self.highest {
            Some(highest) if counter <= highest => highest - counter < WINDOW && !self.has(counter),
            _ => true,
        }
    }

    fn take(&mut self, counter: u64) {
        let highest = self.highest.unwrap_or(counter);
        if counter > highest {
            for passed in highest + 1..=counter.min(highest + WINDOW) {
                *self.word(passed) &= !(1 << (passed % 64));
            }
            if counter - highest > WINDOW {
                self.seen = [0; WORDS];
            }
        }
        self.highest = Some(highest.max(counter));
        self.received += 1;
        *self.word(counter) |= 1 << (counter % 64);
    }

    fn lost(&self) -> u64 {
        self.highest
            .map_or(0, |highest| (highest + 1).saturating_sub(self.received))
    }

    fn has(&self, counter: u64) -> bool {
        self.seen[Self::place(counter)] & (1 << (counter % 64)) != 0
    }

    fn word(&mut self, counter: u64) -> &mut u64 {
        &mut self.seen[Self::place(counter)]
    }

    fn place(counter: u64) -> usize {
        (counter / 64 % WORDS as u64) as usize
    }
}

/// The last 64 frames of a talker.
struct Talker {
    id: u64,
    newest: u16,
    seen: u64,
}

// Whether a frame didn't come before. One that is too old to tell counts as having come.
fn is_first(talkers: &mut Vec<Talker>, id: u64, sequence: u16) -> bool {
    let mut talker = match talkers.iter().position(|talker| talker.id == id) {
        Some(at) => talkers.remove(at),
        None => {
            if talkers.len() == MOST_TALKERS {
                // The one longest without a frame.
                talkers.remove(0);
            }
            Talker {
                id,
                newest: sequence,
                seen: 0,
            }
        }
    };
    let ahead = sequence.wrapping_sub(talker.newest);
    let first = if ahead == 0 || ahead < 0x8000 {
        talker.seen = talker.seen.checked_shl(u32::from(ahead)).unwrap_or(0);
        talker.newest = sequence;
        talker.seen & 1 == 0
    } else {
        let behind = talker.newest.wrapping_sub(sequence);
        behind < 64 && talker.seen & (1 << behind) == 0
    };
    let behind = talker.newest.wrapping_sub(sequence);
    if behind < 64 {
        talker.seen |= 1 << behind;
    }
    talkers.push(talker);
    first
}
