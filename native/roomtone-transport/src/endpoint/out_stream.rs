//! A stream that we send: its SSRC, its numbers, and the headers of its packets.
//!
//! An endpoint has one for the mix, and one more for each further m-line on which others' packets
//! are forwarded. Where the peer takes redundant Opus (RED, RFC 2198) and loses packets, a stream
//! keeps its last ones, of which copies go along with those that follow.

use std::time::Instant;

use rtc::crypto::RTCCryptoProvider;

use super::history::History;
use super::media::MAX_PAYLOAD;
use super::types::{AudioOut, StreamOrigin};
use crate::rtcp::Sender;
use crate::rtp::Outgoing;
use crate::rtp::red::{self, Block};
use crate::sdp::Numbers;

/// A packet of Opus with the sender's own count of packets: a packet that was lost, or overtaken,
/// on its way to us stays so on its way on.
#[derive(Clone, Copy, Debug)]
pub struct SlotOut<'a> {
    /// From any origin; each packet one more than the one before it.
    pub sequence: u32,
    /// Media time at 48 kHz, from any origin; wraps.
    pub timestamp: u32,
    /// The first packet after a pause, or of another source.
    pub marker: bool,
    /// The contributing source (RFC 3550 section 5.1), by which the listener's client can tell
    /// whose sound it plays.
    pub csrc: Option<u32>,
    /// −dBov of its sound, sent along where the peer takes levels.
    pub level: Option<u8>,
    /// The Opus packet.
    pub payload: &'a [u8],
}

/// The most copies of earlier packets in one that is sent.
pub const MAX_COPIES_OUT: usize = 2;

/// A packet that was sent.
#[derive(Default)]
struct Kept {
    sequence: u32,
    timestamp: u32,
    /// Empty: there is none.
    payload: Vec<u8>,
}

/// The copies that a packet is sent with: oldest first, and how many.
pub(super) struct CopiesOut<'a> {
    blocks: [Block<'a>; MAX_COPIES_OUT],
    count: usize,
}

impl<'a> CopiesOut<'a> {
    pub(super) fn as_slice(&self) -> &[Block<'a>] {
        &self.blocks[..self.count]
    }
}

/// One stream of ours.
pub(super) struct OutStream {
    pub(super) sender: Sender,
    numbers: Numbers,
    first_sequence: u16,
    timestamp_offset: u32,
    /// How many packets have been numbered here.
    count: u32,
    /// The number that follows the highest that was sent, once there was one.
    next: Option<u32>,
    /// With how many copies of earlier packets each is sent.
    copies: usize,
    /// The last packets, the oldest first.
    kept: [Kept; MAX_COPIES_OUT],
    /// From the first lost packet on that the peer has asked for.
    history: Option<Box<History>>,
}

impl OutStream {
    /// `None` if the random generator fails.
    pub(super) fn new(provider: &dyn RTCCryptoProvider) -> Option<Self> {
        let mut random = [0; 10];
        provider.random().fill(&mut random).ok()?;
        let word = |at: usize| u32::from_be_bytes([random[at], random[at + 1], random[at + 2], random[at + 3]]);
        Some(Self {
            // Zero is legal and confuses more than one implementation.
            sender: Sender::new(word(0).max(1)),
            numbers: Numbers::default(),
            // In the lower half, so that the receiver of the first packets can't be a rollover
            // behind (RFC 3711 section 3.3.1).
            first_sequence: u16::from_be_bytes([random[8], random[9]]) & 0x7FFF,
            timestamp_offset: word(4),
            count: 0,
            next: None,
            copies: 0,
            kept: Default::default(),
            history: None,
        })
    }

    /// Where its numbers begin.
    pub(super) fn origin(&self) -> StreamOrigin {
        StreamOrigin {
            ssrc: self.sender.ssrc,
            sequence: self.first_sequence,
            timestamp: self.timestamp_offset,
        }
    }

    /// Takes the numbers that the peer's offer has.
    pub(super) fn negotiate(&mut self, numbers: Numbers) {
        self.numbers = numbers;
    }

    /// The packet with the number that is next here.
    pub(super) fn number<'a>(&self, audio: AudioOut<'a>) -> SlotOut<'a> {
        SlotOut {
            sequence: self.count,
            timestamp: audio.timestamp,
            marker: audio.marker,
            csrc: None,
            level: audio.level,
            payload: audio.payload,
        }
    }

    /// The header of a packet.
    pub(super) fn header(&self, audio: &SlotOut<'_>) -> Outgoing {
        let level = self.numbers.level.zip(audio.level);
        Outgoing {
            marker: audio.marker,
            payload_type: self.numbers.opus,
            sequence: self.first_sequence.wrapping_add(audio.sequence as u16),
            timestamp: audio.timestamp.wrapping_add(self.timestamp_offset),
            ssrc: self.sender.ssrc,
            csrc: audio.csrc,
            level: level.map(|(id, level)| (id, level, level < 127)),
        }
    }

    /// Payload types for a packet with copies: of RED, and of what is in it.
    pub(super) fn red_types(&self) -> Option<(u8, u8)> {
        self.numbers.red.map(|red| (red, self.numbers.opus))
    }

    /// Sends this many copies of earlier packets with each, where the peer takes them.
    pub(super) fn set_copies(&mut self, copies: usize) {
        let copies = copies.min(MAX_COPIES_OUT);
        if copies > self.copies {
            for kept in &mut self.kept {
                // All that it will ever take, so that no packet has to wait for memory.
                kept.payload.reserve(red::MAX_LEN);
            }
        }
        if copies == 0 {
            self.kept = Default::default();
        }
        self.copies = copies;
    }

    /// The copies that go along with a packet: of those right before it, as many as its length
    /// leaves room for.
    pub(super) fn copies_for(&self, audio: &SlotOut<'_>) -> CopiesOut<'_> {
        let mut copies = CopiesOut {
            blocks: Default::default(),
            count: 0,
        };
        if self.copies == 0 || self.numbers.red.is_none() {
            return copies;
        }
        let mut room = MAX_PAYLOAD.saturating_sub(red::len(&[], audio.payload));
        // From the newest on, as that is the one that can replace a lone loss.
        for kept in self.kept.iter().rev() {
            let block = Block {
                offset: audio.timestamp.wrapping_sub(kept.timestamp),
                payload: &kept.payload,
            };
            let back = audio.sequence.wrapping_sub(kept.sequence);
            let cost = red::len(&[block], &[]).saturating_sub(red::len(&[], &[]));
            if (1..=self.copies as u32).contains(&back) && red::fits(&block) && cost <= room {
                room -= cost;
                copies.blocks[copies.count] = block;
                copies.count += 1;
            }
        }
        copies.blocks[..copies.count].reverse();
        copies
    }

    /// The number that follows the highest that was sent, if there was one. From there on none has been on the way.
    pub(super) fn next(&self) -> Option<u32> {
        self.next
    }

    /// Takes note of a packet that was sent, and keeps it for those that follow it.
    pub(super) fn keep(&mut self, audio: &SlotOut<'_>) {
        let next = audio.sequence.wrapping_add(1);
        if self
            .next
            .is_none_or(|before| next.wrapping_sub(before).cast_signed() > 0)
        {
            self.next = Some(next);
        }
        if self.copies == 0 || self.numbers.red.is_none() || audio.payload.len() > red::MAX_LEN {
            return;
        }
        let newest = &self.kept[MAX_COPIES_OUT - 1];
        // One that was overtaken isn't before the next one.
        if !newest.payload.is_empty() && audio.sequence.wrapping_sub(newest.sequence) as i32 <= 0 {
            return;
        }
        self.kept.rotate_left(1);
        let kept = &mut self.kept[MAX_COPIES_OUT - 1];
        kept.sequence = audio.sequence;
        kept.timestamp = audio.timestamp;
        kept.payload.clear();
        kept.payload.extend_from_slice(audio.payload);
    }

    /// Keeps a packet as it went out, if the peer asks for lost ones.
    pub(super) fn remember(&mut self, now: Instant, sequence: u16, packet: &[u8]) {
        if let Some(history) = &mut self.history {
            history.keep(now, sequence, packet);
        }
    }

    /// The packet that the peer asks for once more. The first time there is none yet: a peer that
    /// loses nothing costs nothing.
    pub(super) fn again(&mut self, now: Instant, sequence: u16) -> Option<&[u8]> {
        if !self.numbers.nack {
            return None;
        }
        self.history
            .get_or_insert_with(|| Box::new(History::new()))
            .again(now, sequence)
    }

    /// A packet that was [numbered](Self::number) here was sent.
    pub(super) fn numbered(&mut self) {
        self.count = self.count.wrapping_add(1);
    }
}
