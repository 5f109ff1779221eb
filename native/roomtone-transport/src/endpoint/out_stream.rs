//! A stream that we send: its SSRC, its numbers, and the headers of its packets.
//!
//! An endpoint has one for the mix, and one more for each further m-line on which others' packets
//! are forwarded.

use rtc::crypto::RTCCryptoProvider;

use super::types::AudioOut;
use crate::rtcp::Sender;
use crate::rtp::Outgoing;
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

/// One stream of ours.
pub(super) struct OutStream {
    pub(super) sender: Sender,
    numbers: Numbers,
    first_sequence: u16,
    timestamp_offset: u32,
    /// How many packets have been numbered here.
    count: u32,
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
        })
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

    /// A packet that was [numbered](Self::number) here was sent.
    pub(super) fn numbered(&mut self) {
        self.count = self.count.wrapping_add(1);
    }
}
