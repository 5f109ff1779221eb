//! The state of a forwarding room's participants: as a talker, and as a listener with one stream for each slot.

use std::time::{Duration, Instant};

use roomtone_audio::{Decoder, Playout, PlayoutConfig, RtpMeta};
use roomtone_transport::RtpIn;

use super::forwarded_stream::ForwardedStream;
use super::speaker_rank::SpeakerRank;
use super::speech_detector::SILENCE;
use super::token_bucket::TokenBucket;
use crate::command::{PeerId, SlotCell, SourceCell};

/// A talker without a packet for this long is silent.
const ABSENT: Duration = Duration::from_millis(60);

/// A talker, as their packets tell of them.
pub(super) struct TalkerState {
    /// The contributing source (RFC 3550) of their packets.
    pub(super) source: u32,
    pub(super) rank: SpeakerRank,
    pub(super) bucket: TokenBucket,
    /// For talkers who send no levels: their sound is decoded, measured and thrown away.
    decoder: Option<Decoder>,
    /// The last packets, for introductions. Nothing of it is ever played.
    history: Option<Playout>,
    /// The listeners who might not hear the last packet, and the one before it.
    refused: [Vec<PeerId>; 2],
}

impl TalkerState {
    pub(super) fn new(source: u32) -> TalkerState {
        TalkerState {
            source,
            rank: SpeakerRank::default(),
            bucket: TokenBucket::default(),
            decoder: None,
            history: None,
            refused: Default::default(),
        }
    }

    /// Forgets all that they said, as they are muted. Their tokens stay as they are.
    pub(super) fn mute(&mut self) {
        self.rank = SpeakerRank::default();
        self.decoder = None;
        self.history = None;
    }

    /// Keeps a packet of theirs for introductions.
    pub(super) fn keep(&mut self, now: Instant, packet: &RtpIn<'_>) {
        self.refused.swap(0, 1);
        self.refused[0].clear();
        if self.history.is_none() {
            self.history = Playout::new(PlayoutConfig::default()).ok();
        }
        if let Some(history) = &mut self.history {
            let meta = RtpMeta {
                seq: packet.seq,
                timestamp: packet.timestamp,
                marker: packet.marker,
                level: None,
            };
            history.insert(now, meta, packet.payload);
        }
    }

    /// A tick has passed.
    pub(super) fn pass_time(&mut self, now: Instant) {
        if let Some(history) = &mut self.history {
            history.skip(now);
        }
    }

    /// A listener may not hear the last packet.
    pub(super) fn refuse(&mut self, listener: PeerId) {
        self.refused[0].push(listener);
    }

    /// The packets that may introduce the newest one to a listener: none of which the listener might not hear.
    pub(super) fn history_for(&self, listener: PeerId) -> Option<&Playout> {
        let refused = self.refused.iter().flatten().any(|refused| *refused == listener);
        self.history.as_ref().filter(|_| !refused)
    }

    /// Whether no packet of theirs has come lately.
    pub(super) fn is_absent(&self, now: Instant) -> bool {
        self.rank.measured_before(now).is_none_or(|since| since >= ABSENT)
    }

    /// Takes the level of a packet (−dBov), measured if the packet doesn't tell it.
    pub(super) fn update_level(&mut self, now: Instant, packet: &RtpIn<'_>, pcm: &mut Vec<f32>) -> u8 {
        let level = match packet.level {
            Some((level, _)) => level,
            None => self.measure(packet.payload, pcm),
        };
        self.rank.update(now, level);
        level
    }

    fn measure(&mut self, payload: &[u8], pcm: &mut Vec<f32>) -> u8 {
        if self.decoder.is_none() {
            self.decoder = Decoder::new().ok();
        }
        pcm.clear();
        let decoded = self.decoder.as_mut().map(|decoder| decoder.decode(payload, pcm));
        match decoded {
            Some(Ok(_)) => roomtone_audio::level(pcm).dbov_minus,
            // A payload that isn't Opus isn't sound.
            _ => SILENCE,
        }
    }
}

/// The content of an [`Event::Slots`](crate::Event::Slots).
#[derive(Clone, PartialEq)]
pub(super) struct SlotList {
    pub(super) slots: Vec<SlotCell>,
    pub(super) others: Vec<SourceCell>,
    pub(super) rest: f32,
}

/// A listener's streams, and what the listener was told of them.
pub(super) struct ListenerStreams {
    pub(super) slots: Vec<ForwardedStream>,
    /// Whether there is something to tell the listener.
    pub(super) changed: bool,
    pub(super) told: Option<SlotList>,
    pub(super) told_at: Option<Instant>,
}

impl ListenerStreams {
    /// Empty slots.
    pub(super) fn new(slots: usize) -> ListenerStreams {
        ListenerStreams {
            slots: (0..slots).map(|_| ForwardedStream::default()).collect(),
            changed: false,
            told: None,
            told_at: None,
        }
    }

    /// The slot that a talker is in.
    pub(super) fn slot_of(&self, talker: PeerId) -> Option<usize> {
        self.slots.iter().position(|slot| slot.talker == Some(talker))
    }

    /// Whether somebody is in a slot.
    pub(super) fn in_use(&self) -> bool {
        self.slots.iter().any(|slot| slot.talker.is_some())
    }

    /// The listener may have lost the last list, or never had one: the next is sent whatever it holds.
    pub(super) fn tell_anew(&mut self) {
        self.told = None;
        self.changed = true;
    }

    /// The packets of a talker, or everybody's (`None`), are left out from here on: the next one sent begins a talk spurt.
    pub(super) fn pause(&mut self, talker: Option<PeerId>) {
        for slot in &mut self.slots {
            if talker.is_none() || slot.talker == talker {
                slot.pause();
            }
        }
    }

    /// Takes the talkers out of all but the first `most` slots.
    pub(super) fn keep(&mut self, most: usize) {
        for slot in self.slots.iter_mut().skip(most).filter(|slot| slot.talker.is_some()) {
            slot.release();
            self.changed = true;
        }
    }

    /// Takes a talker out of their slot.
    pub(super) fn release(&mut self, talker: PeerId) {
        if let Some(at) = self.slot_of(talker) {
            self.slots[at].release();
            self.changed = true;
        }
    }
}
