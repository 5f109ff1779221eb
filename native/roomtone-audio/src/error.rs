//! The errors of this crate, each with its cause.

use thiserror::Error;

/// An error of the codec or of a configuration.
///
/// A hostile packet on the receive side isn't an error of [`Playout`](crate::Playout), which
/// refuses or conceals it.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AudioError {
    /// A call to libopus failed.
    #[error("libopus refused to {action}: {cause}")]
    Opus {
        /// The action that failed.
        action: &'static str,
        /// The error of libopus.
        cause: audiopus::Error,
    },
    /// Opus has no frame of this length (RFC 6716 §2.1.4: 2.5 to 60 ms).
    #[error("{samples} samples over {channels} channel(s) is no Opus frame of 2.5, 5, 10, 20, 40 or 60 ms")]
    FrameLength {
        /// Length of the block, all channels together.
        samples: usize,
        /// Channels of the encoder.
        channels: usize,
    },
    /// A packet breaks the framing rules of RFC 6716 §3.4.
    #[error("not an Opus packet: {0}")]
    Packet(#[from] crate::packet::PacketError),
    /// An invalid configuration.
    #[error("bad configuration: {0}")]
    Config(&'static str),
}

impl AudioError {
    pub(crate) fn opus(action: &'static str, cause: audiopus::Error) -> Self {
        Self::Opus { action, cause }
    }

    /// Turns libopus' return value (negative = error code) into a result.
    pub(crate) fn check(action: &'static str, code: i32) -> Result<i32, Self> {
        if code < 0 {
            Err(Self::opus(
                action,
                audiopus::Error::Opus(audiopus::ErrorCode::from(code)),
            ))
        } else {
            Ok(code)
        }
    }
}
