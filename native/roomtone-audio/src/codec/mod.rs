//! Opus (RFC 6716): packets, encoder, decoder.

mod decoder;
mod encoder;
mod packed;
pub mod packet;
mod state;

pub use decoder::Decoder;
pub use encoder::{Encoder, EncoderConfig, LOOKAHEAD_SAMPLES, MAX_PACKET_BYTES, Signal};
pub use packed::Packed;

/// Channels of an encoder or decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Channels {
    /// One channel.
    #[default]
    Mono,
    /// Two channels, interleaved left, right.
    Stereo,
}

impl Channels {
    /// The number of channels.
    pub const fn count(self) -> usize {
        match self {
            Self::Mono => 1,
            Self::Stereo => 2,
        }
    }
}

/// Whether `samples` (per channel, 48 kHz) is the length of one Opus frame (RFC 6716 §2.1.4).
pub(crate) const fn is_frame_length(samples: usize) -> bool {
    matches!(samples, 120 | 240 | 480 | 960 | 1920 | 2880)
}
