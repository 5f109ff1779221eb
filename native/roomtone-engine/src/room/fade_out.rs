//! The last frame of a talker who is muted or leaves: a voice that is cut off clicks.

use std::time::Instant;

use roomtone_audio::{Frame, FrameKind, Playout};

use super::treatment::Ending;
use crate::command::PeerId;

/// A voice that was heard in the last tick, and fades out in the next.
pub(super) struct FadeOut {
    pub(super) id: PeerId,
    /// The participant has left; only their gains are still there.
    pub(super) gone: bool,
    pub(super) playout: Playout,
    ending: Ending,
}

impl FadeOut {
    /// Of a participant who is muted.
    pub(super) fn muted(id: PeerId, playout: Playout, ending: Ending) -> FadeOut {
        let gone = false;
        FadeOut {
            id,
            gone,
            playout,
            ending,
        }
    }

    /// Of a participant who has left.
    pub(super) fn gone(id: PeerId, playout: Playout, ending: Ending) -> FadeOut {
        let gone = true;
        FadeOut {
            id,
            gone,
            playout,
            ending,
        }
    }

    /// Fills `frame` with their last frame, fading out. Whether there is one.
    pub(super) fn last_frame(&mut self, at: Instant, frame: &mut Frame) -> bool {
        let came = self.playout.has_audio(at) && self.playout.pop(at, frame) != FrameKind::Silence;
        self.ending.apply(frame, came)
    }
}
