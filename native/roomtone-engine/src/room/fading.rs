//! Who is heard no more fades out: a voice that ends within a period of it is a click.

use std::time::Instant;

use roomtone_audio::{Frame, FrameKind, Playout, mix};

use super::Room;
use super::peer::Peer;
use crate::command::PeerId;

/// What is left of somebody who was heard in the last tick, and was muted or has left since.
pub(super) struct Fading {
    pub(super) id: PeerId,
    /// They aren't in the room any more, only their gains are.
    gone: bool,
    playout: Playout,
}

impl Fading {
    /// Their last frame, fading out. Whether there is one.
    pub(super) fn last_frame(&mut self, at: Instant, frame: &mut Frame) -> bool {
        if !self.playout.has_audio(at) || self.playout.pop(at, frame) == FrameKind::Silence {
            return false;
        }
        mix::ramp(frame, 1.0, 0.0);
        true
    }
}

impl Peer {
    /// Their voice, if it was heard in the last tick; they have it no more.
    fn take_voice(&mut self) -> Option<Playout> {
        self.playout.take_if(|_| self.standing.heard)
    }
}

impl Room {
    /// Somebody is to be muted: what was heard of them fades out with the next tick.
    pub(super) fn fade_muted(&mut self, id: PeerId) {
        if let Some(playout) = self.peer_mut(id).and_then(Peer::take_voice) {
            let gone = false;
            self.fading.push(Fading { id, gone, playout });
        }
    }

    /// Somebody has left: they fade out with the next tick, and what was set of them is forgotten then.
    pub(super) fn fade_gone(&mut self, now: Instant, mut peer: Peer) {
        let id = peer.id;
        match peer.take_voice() {
            Some(playout) => {
                let gone = true;
                self.fading.push(Fading { id, gone, playout });
                self.keep_ticking(now);
            }
            // Muted in this very moment: their gains must stay until the end of what is left of them, or it would be heard by those who may not.
            None => match self.fading.iter_mut().find(|fading| fading.id == id) {
                Some(fading) => fading.gone = true,
                None => self.gains.forget(id),
            },
        }
    }

    /// The tick is over, and with it all that faded out in it.
    pub(super) fn end_fading(&mut self) {
        for faded in self.fading.drain(..).filter(|faded| faded.gone) {
            self.gains.forget(faded.id);
        }
    }
}
