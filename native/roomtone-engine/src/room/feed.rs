//! The source of a listener's packets in a mixing room: a mix, or one talker; and the state that a change between the two needs.
//! [`passing`](super::passing) makes the changes.

use roomtone_audio::packet::PacketInfo;
use roomtone_audio::{Decoder, Past, Seam};
use roomtone_transport::RtpIn;

use crate::command::PeerId;

/// The share of a packet in a talker's average bit rate.
const RATE_SHARE: f32 = 0.05;

/// The source of a listener's packets in a mixing room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Feed {
    /// A mix, or nothing while it is silent.
    #[default]
    Mix,
    /// The packets of one talker, as they come.
    Passed(PeerId),
    /// A mix from the next tick on, and the packets of this talker until now.
    Leaving(PeerId),
}

/// The newest packet of a talker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Newest {
    pub(super) ssrc: u32,
    pub(super) seq: u16,
    pub(super) timestamp: u32,
    /// The timestamp right after it.
    pub(super) end: u32,
    /// Its first byte (RFC 6716 §3.1).
    pub(super) toc: u8,
}

impl Newest {
    pub(super) fn of(packet: &RtpIn<'_>, samples: u32) -> Newest {
        Newest {
            ssrc: packet.ssrc,
            seq: packet.seq,
            timestamp: packet.timestamp,
            end: packet.timestamp.wrapping_add(samples),
            toc: packet.payload.first().copied().unwrap_or_default(),
        }
    }
}

/// Properties of a talker's packets.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PacketTrend {
    /// Average bits a second; 0: none have come.
    pub(super) bitrate: f32,
    /// How many of the last packets in a row were a pause.
    pub(super) pauses: u16,
    /// Whether the last one could be passed on.
    pub(super) passable: bool,
    /// Whether they are music: what they hold is for both ears.
    pub(super) music: bool,
    /// `None`: none has come since the stream jumped.
    pub(super) newest: Option<Newest>,
    /// For so many ticks no [crossing](super::crossing) to them is tried, because one has failed.
    pub(super) refused: u16,
}

impl PacketTrend {
    /// Takes a packet that may have come after one that follows it.
    pub(super) fn note(&mut self, packet: Newest) {
        let older = |known: Newest| known.ssrc == packet.ssrc && packet.end.wrapping_sub(known.end) as i32 <= 0;
        if !self.newest.is_some_and(older) {
            self.newest = Some(packet);
        }
    }

    pub(super) fn update(&mut self, info: &PacketInfo, bytes: usize, pause: bool) {
        let rate = 8.0 * bytes as f32 * 48_000.0 / info.samples as f32;
        self.bitrate = if self.bitrate == 0.0 {
            rate
        } else {
            self.bitrate + RATE_SHARE * (rate - self.bitrate)
        };
        self.pauses = if pause { self.pauses.saturating_add(1) } else { 0 };
    }
}

/// A talker whose packets were passed on, for the mixes that go on from them.
#[derive(Default)]
pub(super) struct Recalled {
    pub(super) talker: PeerId,
    pub(super) past: Past,
}

/// Working space for the passages between packets and mixes.
#[derive(Default)]
pub(super) struct PassScratch {
    pub(super) decoder: Option<Decoder>,
    /// Those of this tick are the first `count`.
    pub(super) recalled: Vec<Recalled>,
    pub(super) count: usize,
    /// Talkers (by index) who speak.
    pub(super) speaking: Vec<usize>,
}

impl PassScratch {
    /// The past of a talker that was recalled in this tick.
    pub(super) fn past(&self, talker: PeerId) -> Option<&Past> {
        let mut recalled = self.recalled[..self.count].iter();
        recalled.find(|one| one.talker == talker).map(|one| &one.past)
    }
}

/// The beginning of a mix whose listeners have heard something else until now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beginning {
    /// It follows on a talker's packets.
    After(PeerId, Seam),
    /// They have heard nothing lately.
    AfterSilence,
}
