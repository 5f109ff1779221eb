//! The sending end.

use std::time::{Duration, Instant};

use thiserror::Error;

use crate::key::{Cipher, Key, KeyNumber};
use crate::round_trip::RoundTrip;
use crate::wire::{FRAME_HEADER, Frame, HEADER, Header, Report, TAG, unheard_size, write_unheard};
use crate::{MAX_DATAGRAM, MAX_PAYLOAD, MOST_UNHEARD, TrunkId};

/// The longest Opus packet (RFC 6716 §3.2.5), 120 ms at 48 kHz. A frame further back than this is from before a pause.
const LONGEST_PACKET: u32 = 5_760;
/// So many talkers' previous frames are kept.
const MOST_KEPT: usize = 32;
/// A report of fewer datagrams tells nothing about loss.
const FEW: u64 = 10;
/// For so many reports without loss frames are still repeated.
const PATIENCE: u32 = 10;

/// A frame that fits into no datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a packet of {0} bytes is too long for a trunk: {MAX_PAYLOAD} at the most")]
pub struct TooLong(pub usize);

/// The figures of a sending end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderStats {
    /// Datagrams that were sent.
    pub datagrams: u64,
    /// Their bytes, without UDP and IP headers.
    pub bytes: u64,
    /// The time to the other end and back, smoothed; `None` before its first report.
    pub round_trip: Option<Duration>,
    /// The mean deviation of it: jitter, there and back.
    pub jitter: Option<Duration>,
}

/// Collects frames, and puts several into one datagram.
pub struct Sender {
    trunk: TrunkId,
    number: KeyNumber,
    cipher: Cipher,
    counter: u64,
    /// The next datagram, as far as it goes; empty without an item.
    datagram: Vec<u8>,
    /// The previous frame of each talker, the one longest without a new frame first.
    kept: Vec<Kept>,
    reported: Report,
    /// Reports for which frames are still repeated.
    repeats: u32,
    round_trip: RoundTrip,
    datagrams: u64,
    bytes: u64,
}

struct Kept {
    talker: u64,
    sequence: u16,
    timestamp: u32,
    marker: bool,
    level: Option<(u8, bool)>,
    payload: Vec<u8>,
}

impl Kept {
    fn frame(&self) -> Frame<'_> {
        Frame {
            talker: self.talker,
            sequence: self.sequence,
            timestamp: self.timestamp,
            marker: self.marker,
            level: self.level,
            payload: &self.payload,
        }
    }
}

impl Sender {
    /// The sending end of the trunk that its receiver calls `trunk`.
    pub fn new(trunk: TrunkId, number: KeyNumber, key: &Key) -> Sender {
        Sender {
            trunk,
            number,
            cipher: key.cipher(),
            counter: 0,
            datagram: Vec::with_capacity(MAX_DATAGRAM),
            kept: Vec::new(),
            reported: NOTHING,
            repeats: 0,
            round_trip: RoundTrip::new(),
            datagrams: 0,
            bytes: 0,
        }
    }

    /// Goes on with another key, which the receiver must have by now. Call [`Sender::flush`] before.
    pub fn renew(&mut self, number: KeyNumber, key: &Key) {
        debug_assert!(self.datagram.is_empty(), "collected for the former key");
        self.datagram.clear();
        self.number = number;
        self.cipher = key.cipher();
        self.counter = 0;
        self.reported = NOTHING;
        self.round_trip.restart();
    }

    /// The figures so far.
    pub fn stats(&self) -> SenderStats {
        SenderStats {
            datagrams: self.datagrams,
            bytes: self.bytes,
            round_trip: self.round_trip.smoothed(),
            jitter: self.round_trip.deviation(),
        }
    }

    /// Whether nothing is collected.
    pub fn is_empty(&self) -> bool {
        self.datagram.is_empty()
    }

    /// Whether frames are sent twice, because the receiver lost some.
    pub fn repeats(&self) -> bool {
        self.repeats > 0
    }

    /// Collects a frame. If it doesn't fit, what was collected leaves first, by `send`.
    ///
    /// # Errors
    /// The frame fits into no datagram.
    pub fn push(&mut self, now: Instant, frame: &Frame<'_>, send: impl FnOnce(&[u8])) -> Result<(), TooLong> {
        if frame.payload.len() > MAX_PAYLOAD {
            return Err(TooLong(frame.payload.len()));
        }
        if !self.fits(frame.size()) {
            self.flush(now, send);
        }
        self.begin();
        self.repeat(frame);
        frame.write(&mut self.datagram);
        self.keep(frame);
        Ok(())
    }

    /// Adds a report to what is collected. Call [`Sender::flush`] at once: the other end takes the time until it comes for that of the way.
    pub fn push_report(&mut self, now: Instant, report: Report, send: impl FnOnce(&[u8])) {
        if !self.fits(Report::SIZE) {
            self.flush(now, send);
        }
        self.begin();
        report.write(&mut self.datagram);
    }

    /// Adds a list of talkers whom nobody here may hear, and which the other end need not send; the first
    /// [`MOST_UNHEARD`] of them. `number` counts the lists.
    pub fn push_unheard(&mut self, now: Instant, number: u32, talkers: &[u64], send: impl FnOnce(&[u8])) {
        let talkers = &talkers[..talkers.len().min(MOST_UNHEARD)];
        if !self.fits(unheard_size(talkers.len())) {
            self.flush(now, send);
        }
        self.begin();
        write_unheard(number, talkers, &mut self.datagram);
    }

    /// Sends what was collected, by `send`.
    pub fn flush(&mut self, now: Instant, send: impl FnOnce(&[u8])) {
        if self.datagram.is_empty() {
            return;
        }
        self.cipher.seal(self.counter, &mut self.datagram);
        self.round_trip.sent(now, self.counter);
        self.counter += 1;
        self.datagrams += 1;
        self.bytes += self.datagram.len() as u64;
        send(&self.datagram);
        self.datagram.clear();
    }

    /// Takes what the receiver reported of this direction.
    pub fn take_report(&mut self, now: Instant, report: Report) {
        // Of the former key, or an old one that was overtaken.
        if report.highest >= self.counter || report.received <= self.reported.received {
            return;
        }
        self.round_trip.reported(now, report.highest);
        let sent = report.highest.wrapping_sub(self.reported.highest);
        if sent < FEW {
            return;
        }
        let received = report.received - self.reported.received;
        self.reported = report;
        self.repeats = if received * 100 < sent * 99 {
            PATIENCE
        } else {
            self.repeats.saturating_sub(1)
        };
    }

    fn fits(&self, size: usize) -> bool {
        self.datagram.len().max(HEADER) + size + TAG <= MAX_DATAGRAM
    }

    fn begin(&mut self) {
        if self.datagram.is_empty() {
            let header = Header {
                key: self.number,
                trunk: self.trunk,
                counter: self.counter,
            };
            header.write(&mut self.datagram);
        }
    }

    // Sends the talker's previous frame again, where that is worth it and both have room.
    fn repeat(&mut self, frame: &Frame<'_>) {
        let previous = self.kept.iter().find(|kept| kept.talker == frame.talker);
        if let Some(previous) = previous
            && self.repeats > 0
            && frame.sequence.wrapping_sub(previous.sequence) == 1
            && frame.timestamp.wrapping_sub(previous.timestamp) <= LONGEST_PACKET
            && self.fits(FRAME_HEADER + previous.payload.len() + frame.size())
        {
            previous.frame().write(&mut self.datagram);
        }
    }

    fn keep(&mut self, frame: &Frame<'_>) {
        let at = self.kept.iter().position(|kept| kept.talker == frame.talker);
        let mut kept = match at {
            Some(at) => self.kept.remove(at),
            None if self.kept.len() < MOST_KEPT => Kept {
                talker: frame.talker,
                sequence: 0,
                timestamp: 0,
                marker: false,
                level: None,
                payload: Vec::with_capacity(MAX_PAYLOAD),
            },
            None => self.kept.remove(0),
        };
        kept.talker = frame.talker;
        kept.sequence = frame.sequence;
        kept.timestamp = frame.timestamp;
        kept.marker = frame.marker;
        kept.level = frame.level;
        kept.payload.clear();
        kept.payload.extend_from_slice(frame.payload);
        self.kept.push(kept);
    }
}

/// Before the first report: as if the datagram before the first had come.
const NOTHING: Report = Report {
    highest: u64::MAX,
    received: 0,
};
