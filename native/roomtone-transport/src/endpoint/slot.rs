//! A further stream of ours: packets of others that go out as they came in, under our own SSRC.

use rtc::crypto::RTCCryptoProvider;

use crate::rtcp::Sender;
use crate::rtp::Outgoing;
use crate::sdp::OfferSlot;

/// A packet of Opus for one of the further m-lines of a peer. Who sends it counts, so that what was lost, or came in the wrong
/// order, on the way to us stays so on the way on.
#[derive(Clone, Copy, Debug)]
pub struct SlotOut<'a> {
    /// From any origin; each packet one more than the one before it.
    pub sequence: u32,
    /// Media time at 48 kHz, from any origin; wraps.
    pub timestamp: u32,
    /// The first packet after a pause, or of another source.
    pub marker: bool,
    /// Who it is of, as the contributing source (RFC 3550 section 5.1): the listener's client can tell it of what it plays just now.
    pub csrc: Option<u32>,
    /// −dBov of its sound, sent along where the peer takes levels.
    pub level: Option<u8>,
    /// The Opus packet.
    pub payload: &'a [u8],
}

/// One of these streams.
pub(super) struct SlotStream {
    pub(super) sender: Sender,
    payload_type: u8,
    level_id: Option<u8>,
    first_sequence: u16,
    timestamp_offset: u32,
}

impl SlotStream {
    /// `None` if the random generator fails.
    pub(super) fn new(slot: &OfferSlot, provider: &dyn RTCCryptoProvider) -> Option<Self> {
        let mut random = [0; 10];
        provider.random().fill(&mut random).ok()?;
        let word = |at: usize| u32::from_be_bytes([random[at], random[at + 1], random[at + 2], random[at + 3]]);
        Some(Self {
            sender: Sender::new(word(0).max(1)),
            payload_type: slot.payload_type,
            level_id: slot.level_id,
            // In the lower half, as that of the first stream.
            first_sequence: u16::from_be_bytes([random[8], random[9]]) & 0x7FFF,
            timestamp_offset: word(4),
        })
    }

    /// Another offer may have other numbers for the same things.
    pub(super) fn negotiate(&mut self, slot: &OfferSlot) {
        self.payload_type = slot.payload_type;
        self.level_id = slot.level_id;
    }

    /// The header of a packet.
    pub(super) fn header(&self, audio: &SlotOut<'_>) -> Outgoing {
        Outgoing {
            marker: audio.marker,
            payload_type: self.payload_type,
            sequence: self.first_sequence.wrapping_add(audio.sequence as u16),
            timestamp: audio.timestamp.wrapping_add(self.timestamp_offset),
            ssrc: self.sender.ssrc,
            csrc: audio.csrc,
            level: self
                .level_id
                .zip(audio.level)
                .map(|(id, level)| (id, level, level < 127)),
        }
    }
}
