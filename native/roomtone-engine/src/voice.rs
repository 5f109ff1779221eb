//! What a room that mixes does to a talker's voice.

use serde::{Deserialize, Serialize};

/// What is done to a talker's sound before others hear it, in a room that mixes.
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
