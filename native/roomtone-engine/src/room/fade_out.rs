//! The last frame of a talker who is muted or leaves: a voice that is cut off clicks.

use std::time::Instant;

use roomtone_audio::{Frame, FrameKind, Playout, mix};

use crate::command::PeerId;

/// A voice that was heard in the last tick, and fades out in the next.
pub(super) struct FadeOut {
    pub(super) id: PeerId,
    /// The participant has left; only their gains are still there.
    pub(super) gone: bool,
    pub(super) playout: Playout,
    /// Their automatic gain, linear.
    gain: f32,
}

impl FadeOut {
    /// Of a participant who is muted.
    pub(super) fn muted(id: PeerId, playout: Playout, gain: f32) -> FadeOut {
        let gone = false;
        FadeOut {
            id,
            gone,
            playout,
            gain,
        }
    }

    /// Of a participant who has left.
    pub(super) fn gone(id: PeerId, playout: Playout, gain: f32) -> FadeOut {
        let gone = true;
        FadeOut {
            id,
            gone,
            playout,
            gain,
        }
    }

    /// Fills `frame` with their last frame, fading out. Whether there is one.
    pub(super) fn last_frame(&mut self, at: Instant, frame: &mut Frame) -> bool {
        if !self.playout.has_audio(at) || self.playout.pop(at, frame) == FrameKind::Silence {
            return false;
        }
        mix::ramp(frame, self.gain, 0.0);
        true
    }
}
