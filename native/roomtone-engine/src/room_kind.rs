//! The kinds of rooms.

use serde::{Deserialize, Serialize};

/// A room either mixes its talkers or forwards their packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RoomKind {
    /// One mix for each way of hearing (an MCU with mix-minus).
    Mix {
        /// Whether clients that ask for stereo (`stereo=1` in their offer) get it.
        stereo: bool,
        /// Whether talkers who are much softer or louder than others are brought to one level.
        auto_gain: bool,
    },
    /// The packets of the most relevant talkers, as they came (an SFU with last-N).
    Forward {
        /// The most talkers that each listener gets.
        slots: u32,
        /// Whether talkers may send stereo.
        stereo: bool,
    },
}

impl Default for RoomKind {
    fn default() -> Self {
        RoomKind::Mix {
            stereo: false,
            auto_gain: false,
        }
    }
}
