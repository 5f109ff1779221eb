//! Errors, each with its cause.

use thiserror::Error;

/// An error of the codec or of a configuration.
///
/// Hostile packets on the receive side are not errors of [`Playout`](crate::Playout): it refuses or conceals them.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AudioError {
    /// libopus refused a call.
    #[error("libopus refused to {action}: {cause}")]
    Opus {
        /// The call.
        action: &'static str,
        /// Its answer.
        cause: audiopus::Error,
    },
    /// A block of samples has a length that Opus has no frame for (RFC 6716 §2.1.4: 2.5 to 60 ms).
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
    /// A configuration that makes no sense.
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
