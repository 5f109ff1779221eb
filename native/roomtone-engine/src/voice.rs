//! The treatment of a talker's voice in a room that mixes.

use serde::{Deserialize, Serialize};

/// The treatment of a talker's sound before others hear it, in a room that mixes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Voice {
    /// Automatic gain, where the room has it.
    #[default]
    Even,
    /// Nothing.
    Plain,
    /// Nothing, and what they send may be stereo: it is passed on as it comes where they are the only one to be heard, and is as loud in
    /// each ear of a stereo mix as it was sent.
    Music,
}
