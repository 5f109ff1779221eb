//! Which of the peer's streams are let in, and which of them is heard.
//!
//! A peer has one microphone, but not always one SSRC: some clients announce none, others change it
//! (RFC 9143 section 9.2, RFC 3550 section 8.2). Streams that weren't announced are learned from
//! authentic packets, a few at a time. One stream at a time is heard, and where another follows it
//! the numbers go on, so that nothing behind this file takes the change for a jump.

use std::time::{Duration, Instant};

use super::types::{Copies, LostPacket};
use crate::rtcp::Reception;
use crate::rtp::Header;
use crate::rtp::red::Red;

/// Streams let in at once that the offer doesn't announce. The newest takes the place of the
/// oldest.
const MAX_LEARNED: usize = 4;
/// Beyond the first few, one more stream is learned in this time.
const LEARN_INTERVAL: Duration = Duration::from_secs(1);
/// Packets of unknown streams that are looked at in this time, authentic or not: each costs a
/// decryption.
const TRY_INTERVAL: Duration = Duration::from_secs(1);
const MAX_TRIES: u32 = 64;
/// A stream that is silent for this long gives way to another one at once.
const HANDOVER: Duration = Duration::from_millis(100);

/// More missing packets in a row than this are no loss that copies mend, but a pause or a jump.
const MAX_MISSING: u16 = 100;

const CLOCK_RATE: u128 = 48_000;
const FRAME: u32 = 960;

/// A packet's numbers as they are handed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) seq: u16,
    pub(super) timestamp: u32,
    pub(super) marker: bool,
}

/// The stream that is heard.
#[derive(Clone, Copy, Debug)]
struct Heard {
    ssrc: u32,
    /// Offsets that are added to its numbers.
    seq_offset: u16,
    timestamp_offset: u32,
    /// Its newest packet, in the numbers that were handed on.
    newest: Numbers,
    at: Instant,
    /// Bit k: the packet k before the newest was handed on as a copy.
    restored: u64,
    /// It said BYE, or isn't announced any more.
    gone: bool,
}

/// The streams that come in.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    announced: Vec<u32>,
    pub(super) receptions: Vec<Reception>,
    heard: Option<Heard>,
    /// Another stream, whose packet was the last that came.
    challenger: Option<u32>,
    /// Streams that were learned since `learned_since`, less those that time has given back.
    learned: u32,
    learned_since: Option<Instant>,
    tries: u32,
    tries_since: Option<Instant>,
}

impl Incoming {
    /// Takes the SSRCs that an offer announces.
    pub(super) fn announce(&mut self, ssrcs: &[u32]) {
        if self.announced == ssrcs {
            return;
        }
        self.announced = ssrcs.to_vec();
        if !self.announced.is_empty() {
            self.receptions.retain(|r| ssrcs.contains(&r.ssrc));
            self.leave(|ssrc| !ssrcs.contains(&ssrc));
        }
    }

    /// New keys: the streams of the client that had the old ones are over.
    pub(super) fn restart(&mut self) {
        self.receptions.clear();
        self.leave(|_| true);
    }

    /// These streams said BYE.
    pub(super) fn goodbye(&mut self, sources: &[u32]) {
        self.receptions.retain(|r| !sources.contains(&r.ssrc));
        self.leave(|ssrc| sources.contains(&ssrc));
    }

    fn leave(&mut self, is_over: impl Fn(u32) -> bool) {
        if let Some(heard) = self.heard.as_mut() {
            heard.gone |= is_over(heard.ssrc);
        }
    }

    /// Is a packet of this stream to be looked at? `sound`: its payload type is that of Opus.
    pub(super) fn welcomes(&mut self, now: Instant, ssrc: u32, sound: bool) -> bool {
        if self.announced.contains(&ssrc) || self.receptions.iter().any(|r| r.ssrc == ssrc) {
            return true;
        }
        if !sound || !self.may_learn(now) {
            return false;
        }
        if self.tries_since.is_none_or(|since| now >= since + TRY_INTERVAL) {
            self.tries_since = Some(now);
            self.tries = 0;
        }
        self.tries += 1;
        self.tries <= MAX_TRIES
    }

    fn may_learn(&mut self, now: Instant) -> bool {
        let since = *self.learned_since.get_or_insert(now);
        let back = now.saturating_duration_since(since).as_millis() / LEARN_INTERVAL.as_millis();
        if back > 0 {
            self.learned = self.learned.saturating_sub(u32::try_from(back).unwrap_or(u32::MAX));
            self.learned_since = Some(now);
        }
        self.learned < MAX_LEARNED as u32
    }

    /// Counts an authentic packet of sound. The first one of a stream makes room for it.
    pub(super) fn count(&mut self, now: Instant, header: &Header) {
        if let Some(reception) = self.receptions.iter_mut().find(|r| r.ssrc == header.ssrc) {
            reception.packet(now, header.sequence, header.timestamp);
            return;
        }
        if !self.announced.contains(&header.ssrc) {
            self.learned += 1;
            let announced = &self.announced;
            let learned = |r: &Reception| !announced.contains(&r.ssrc);
            if self.receptions.iter().filter(|r| learned(r)).count() >= MAX_LEARNED
                && let Some(oldest) = self.receptions.iter().position(learned)
            {
                self.receptions.remove(oldest);
            }
        }
        let mut reception = Reception::new(now, header.ssrc, header.sequence);
        reception.packet(now, header.sequence, header.timestamp);
        self.receptions.push(reception);
    }

    /// The numbers of a packet of sound; `None` if its stream isn't the one that is heard.
    ///
    /// Another stream takes over at once where the one before has ended or is silent, else with its
    /// second packet in a row.
    pub(super) fn place(&mut self, now: Instant, header: &Header) -> Option<Numbers> {
        let Header { ssrc, sequence, .. } = *header;
        let own = Numbers {
            seq: sequence,
            timestamp: header.timestamp,
            marker: header.marker,
        };
        let Some(heard) = self.heard.as_mut() else {
            self.heard = Some(Heard {
                ssrc,
                seq_offset: 0,
                timestamp_offset: 0,
                newest: own,
                at: now,
                restored: 0,
                gone: false,
            });
            return Some(own);
        };
        if heard.ssrc == ssrc {
            self.challenger = None;
            let placed = Numbers {
                seq: own.seq.wrapping_add(heard.seq_offset),
                timestamp: own.timestamp.wrapping_add(heard.timestamp_offset),
                ..own
            };
            heard.gone = false;
            heard.at = now;
            // A stream that has jumped counts as newer, too.
            let step = placed.seq.wrapping_sub(heard.newest.seq);
            if step < 0x8000 {
                heard.newest = placed;
                heard.restored = heard.restored.checked_shl(step.into()).unwrap_or(0);
                return Some(placed);
            }
            let back = heard.newest.seq.wrapping_sub(placed.seq);
            let restored = heard.restored.checked_shr(back.into()).unwrap_or(0) & 1 == 1;
            return (!restored).then_some(placed);
        }
        let silent = now.saturating_duration_since(heard.at);
        if !heard.gone && silent < HANDOVER && self.challenger != Some(ssrc) {
            self.challenger = Some(ssrc);
            return None;
        }
        self.challenger = None;
        let passed = (silent.as_nanos() * CLOCK_RATE / 1_000_000_000) as u32;
        let placed = Numbers {
            seq: heard.newest.seq.wrapping_add(1),
            timestamp: heard.newest.timestamp.wrapping_add(passed.max(FRAME)),
            marker: true,
        };
        *heard = Heard {
            ssrc,
            seq_offset: placed.seq.wrapping_sub(own.seq),
            timestamp_offset: placed.timestamp.wrapping_sub(own.timestamp),
            newest: placed,
            at: now,
            restored: 0,
            gone: false,
        };
        Some(placed)
    }

    /// The newest packet of this stream, if it is the one that is heard.
    pub(super) fn newest(&self, ssrc: u32) -> Option<Numbers> {
        self.heard.filter(|heard| heard.ssrc == ssrc).map(|heard| heard.newest)
    }

    /// The copies in the newest packet of those that are missing between it and `before`, the
    /// newest one until it came.
    ///
    /// RFC 2198 gives a copy's time stamp and not its sequence number. Where the missing packets are
    /// of one length, that follows from the time stamps; otherwise the copies count as the last that
    /// are missing.
    pub(super) fn restore<'d>(&mut self, before: Numbers, red: &Red<'d>) -> Copies<'d> {
        let mut restored = Copies::default();
        let Some(heard) = self.heard.as_mut() else {
            return restored;
        };
        let newest = heard.newest;
        let step = newest.seq.wrapping_sub(before.seq);
        let span = newest.timestamp.wrapping_sub(before.timestamp);
        if !(2..=MAX_MISSING).contains(&step) || span > i32::MAX as u32 {
            return restored;
        }
        let (step, length) = (u32::from(step), span / u32::from(step));
        let even = span.is_multiple_of(step) && length > 0;
        let missing = red.copies().iter().filter(|copy| copy.offset < span);
        let mut behind = missing.clone().count() as u32;
        let mut last = step;
        for copy in missing {
            let back = if even && copy.offset.is_multiple_of(length) {
                copy.offset / length
            } else {
                behind
            };
            behind -= 1;
            // Strictly forward, never a packet that came, and only what is remembered.
            if back == 0 || back >= last.min(u64::BITS) {
                continue;
            }
            last = back;
            heard.restored |= 1u64.checked_shl(back).unwrap_or(0);
            restored.copies[restored.count] = LostPacket {
                seq: newest.seq.wrapping_sub(back as u16),
                offset: copy.offset,
                payload: copy.payload,
            };
            restored.count += 1;
        }
        restored
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn header(ssrc: u32, sequence: u16, timestamp: u32) -> Header {
        let mut packet = vec![0x80, 111];
        packet.extend(sequence.to_be_bytes());
        packet.extend(timestamp.to_be_bytes());
        packet.extend(ssrc.to_be_bytes());
        Header::parse(&packet).expect("twelve bytes")
    }

    #[allow(clippy::disallowed_methods)] // a virtual clock has to start somewhere
    fn origin() -> Instant {
        Instant::now()
    }

    fn numbers(seq: u16, timestamp: u32, marker: bool) -> Option<Numbers> {
        Some(Numbers { seq, timestamp, marker })
    }

    #[test]
    fn a_stream_that_follows_another_goes_on_with_its_numbers() {
        let (start, mut incoming) = (origin(), Incoming::default());
        assert_eq!(
            incoming.place(start, &header(1, 65_535, 900)),
            numbers(65_535, 900, false)
        );
        // Silent for a second, so the first packet of the other is heard.
        let later = start + 1_000 * MS;
        assert_eq!(incoming.place(later, &header(2, 7, 5)), numbers(0, 48_900, true));
        assert_eq!(incoming.place(later, &header(2, 8, 965)), numbers(1, 49_860, false));
        assert_eq!(
            incoming.place(later, &header(2, 6, 5u32.wrapping_sub(960))),
            numbers(65_535, 47_940, false)
        );
        assert_eq!(incoming.place(later, &header(2, 9, 1_925)), numbers(2, 50_820, false));
    }

    #[test]
    fn a_stray_packet_of_another_stream_changes_nothing_and_two_in_a_row_do() {
        let (start, mut incoming) = (origin(), Incoming::default());
        for i in 0..10u16 {
            let now = start + u32::from(i) * 20 * MS;
            assert!(incoming.place(now, &header(1, i, u32::from(i) * 960)).is_some());
            assert_eq!(incoming.place(now, &header(2, i, 0)), None);
        }
        let now = start + 190 * MS;
        assert_eq!(incoming.place(now, &header(2, 40, 7)), numbers(10, 9 * 960 + 960, true));
        incoming.goodbye(&[2]);
        assert!(incoming.place(now, &header(3, 0, 0)).is_some(), "after BYE at once");
    }

    #[test]
    fn streams_are_learned_a_few_at_a_time() {
        let (start, mut incoming) = (origin(), Incoming::default());
        incoming.announce(&[1]);
        let mut learned = 0;
        for ssrc in 100..5_100 {
            if incoming.welcomes(start, ssrc, true) {
                incoming.count(start, &header(ssrc, 0, 0));
                learned += 1;
            }
        }
        assert_eq!((learned, incoming.receptions.len()), (4, 4));
        assert!(incoming.welcomes(start, 1, true), "the announced one always");
        incoming.count(start, &header(1, 0, 0));
        let later = start + 1_100 * MS;
        assert!(!incoming.welcomes(later, 9_999, false), "not for other payload types");
        assert!(incoming.welcomes(later, 9_999, true));
        incoming.count(later, &header(9_999, 0, 0));
        let ssrcs: Vec<u32> = incoming.receptions.iter().map(|r| r.ssrc).collect();
        assert_eq!(
            ssrcs,
            [101, 102, 103, 1, 9_999],
            "the oldest makes room, the announced one never"
        );
        // A sender that can't authenticate gets a few tries.
        let tries = (0..1_000)
            .filter(|i| incoming.welcomes(later + 2_000 * MS, 20_000 + i, true))
            .count();
        assert_eq!(tries as u32, MAX_TRIES);
    }
}
