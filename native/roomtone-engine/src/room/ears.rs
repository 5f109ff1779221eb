//! The ears of a node for talkers who come by a trunk: whether anybody here may hear them, and their packets, as if these came from them.

use std::time::Instant;

use roomtone_transport::{Copies, RtpIn};
use roomtone_trunk::Frame;

use super::base::RoomBase;
use super::context::ShardContext;
use super::{Kind, tap};
use crate::command::PeerId;
use crate::inputs::{Input, Recorder, Sound};

/// A room, as a trunk of it sees it.
pub(super) struct Ears<'a> {
    pub(super) base: &'a mut RoomBase,
    pub(super) kind: &'a mut Kind,
    pub(super) taps: &'a [PeerId],
    /// While everything that goes into the room is recorded.
    pub(super) recorder: Option<&'a mut Recorder>,
}

impl Ears<'_> {
    /// As [`audible`].
    pub(super) fn audible(&self, talker: PeerId) -> bool {
        audible(self.base, self.taps, talker)
    }

    /// Hears a packet of a talker of another node. Whether they may be heard.
    pub(super) fn hear(&mut self, now: Instant, context: &mut ShardContext, frame: &Frame<'_>) -> bool {
        let talker = frame.talker;
        let Some(at) = self.base.position(talker).filter(|at| self.base.peers[*at].speak) else {
            return false;
        };
        let packet = as_rtp(frame);
        if let Some(recorder) = &mut self.recorder {
            let sound = Sound::of(&packet);
            recorder.write(Input::Sound { peer: talker, sound });
        }
        tap::copy(self.base, now, self.taps, talker, &packet);
        self.kind.hear(self.base, now, context, at, &packet);
        self.base.packet_ends(context);
        true
    }

    /// A talker's packets end, because nobody may hear them: the next ones begin anew.
    pub(super) fn miss(&mut self, now: Instant, context: &mut ShardContext, talker: PeerId) {
        if let Some(at) = self.base.position(talker) {
            if let Some(recorder) = &mut self.recorder {
                recorder.write(Input::Missed { peer: talker });
            }
            self.kind.mute(at, talker);
            self.base.cease_speaking(context, at);
            self.base.grid.keep_ticking(now);
        }
    }
}

/// Whether anybody of this node may hear a talker, or a tap takes their packets.
pub(super) fn audible(base: &RoomBase, taps: &[PeerId], talker: PeerId) -> bool {
    let takes = |tap: &PeerId| {
        let at = base.position(*tap);
        at.is_some_and(|at| base.peers[at].endpoint.tap_takes(talker))
    };
    let hears = |listener: PeerId| base.gains.gain(listener, talker) > 0.0;
    base.peers.iter().any(|peer| peer.listen && hears(peer.id)) || taps.iter().any(takes)
}

// The packet of a talker of another node, as if it came from them.
fn as_rtp<'a>(frame: &Frame<'a>) -> RtpIn<'a> {
    RtpIn {
        seq: frame.sequence,
        timestamp: frame.timestamp,
        marker: frame.marker,
        // Nothing but changes of it counts, and they have one stream here.
        ssrc: frame.talker as u32,
        level: frame.level,
        payload: frame.payload,
        restored_after: None,
        copies: Copies::default(),
    }
}
