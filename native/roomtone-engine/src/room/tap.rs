//! The taps of a room: participants without a transport who hear, and whom nobody hears.
//!
//! A tap of a mix is a listener like any other, with a row of gains of its own: [`Port`](super::port::Port) puts its packets into the
//! tap's queue instead of a socket. So it shares the mix and the encode of those who hear the same, and is passed the packets of one
//! talker where they are. A tap of talkers is given a copy of their packets as these arrive.

use std::time::Instant;

use roomtone_transport::{RtpIn, SlotOut};

use super::base::RoomBase;
use super::context::ShardContext;
use super::tick_grid::Tick;
use crate::command::{Event, PeerId};
use crate::tap::{Tap, TapWriter, Written};

/// The sound that a tap is given.
pub(super) enum Takes {
    /// All that is sent to it as a listener.
    Mix { stereo: bool },
    /// The packets of these talkers; `None`: of all.
    Talkers { only: Option<Vec<PeerId>> },
}

/// A tap, in the place of an endpoint.
pub(super) struct TapPort {
    writer: TapWriter,
    pub(super) takes: Takes,
}

impl TapPort {
    pub(super) fn new(tap: Tap, takes: Takes) -> TapPort {
        TapPort {
            writer: TapWriter::new(tap),
            takes,
        }
    }

    /// Whether it is a listener.
    pub(super) fn listens(&self) -> bool {
        matches!(self.takes, Takes::Mix { .. })
    }

    /// Whether it takes stereo.
    pub(super) fn stereo(&self) -> bool {
        matches!(self.takes, Takes::Mix { stereo: true })
    }

    /// A packet of a mix, or one that is passed on.
    pub(super) fn send(&mut self, now: Instant, audio: &SlotOut<'_>) {
        let written = Written {
            talker: None,
            sequence: audio.sequence as u16,
            timestamp: audio.timestamp,
            marker: audio.marker,
            level: audio.level,
            payload: audio.payload,
        };
        self.writer.write(now, &written);
    }

    /// Whether it takes the packets of a talker.
    pub(super) fn takes(&self, talker: PeerId) -> bool {
        match &self.takes {
            Takes::Talkers { only } => only.as_ref().is_none_or(|only| only.contains(&talker)),
            Takes::Mix { .. } => false,
        }
    }
}

/// Gives a talker's packet to those of the taps that want it.
pub(super) fn copy(base: &mut RoomBase, now: Instant, taps: &[PeerId], talker: PeerId, packet: &RtpIn<'_>) {
    let written = Written {
        talker: Some(talker),
        sequence: packet.seq,
        timestamp: packet.timestamp,
        marker: packet.marker,
        level: packet.level.map(|(level, _)| level),
        payload: packet.payload,
    };
    for id in taps {
        let tap = base.peer_mut(*id).and_then(|peer| peer.endpoint.tap_mut());
        if let Some(tap) = tap.filter(|tap| tap.takes(talker)) {
            tap.writer.write(now, &written);
        }
    }
}

/// A tick is done, and with it perhaps a batch.
pub(super) fn tick(base: &mut RoomBase, context: &mut ShardContext, taps: &[PeerId], tick: Tick) {
    let since = 1 + u32::try_from(tick.skipped).unwrap_or(u32::MAX - 1);
    for id in taps {
        let Some(at) = base.position(*id) else { continue };
        let Some(mut port) = base.peers[at].endpoint.take_tap() else {
            continue;
        };
        let heard = |peer: PeerId| match &port.takes {
            Takes::Mix { .. } => base.gains.gain(*id, peer) > 0.0,
            Takes::Talkers { only } => only.as_ref().is_none_or(|only| only.contains(&peer)),
        };
        let speaking = base.peers.iter().filter(|peer| peer.detector.speaking());
        let speaking = speaking.map(|peer| peer.id).filter(|peer| heard(*peer));
        let ready = port.writer.tick(tick.at, tick.timestamp(), since, speaking);
        base.peers[at].endpoint.put_tap(port);
        if ready {
            let (room, peer) = (base.id, *id);
            context.events.push_back(Event::TapReady { room, peer });
        }
    }
}
