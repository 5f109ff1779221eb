//! Offer in, answer out (RFC 8866, RFC 9429, RFC 9143). The m-line on which the peer sends Opus is
//! accepted, and the one on which it receives where that is another; where the caller has a use for
//! them, so are further ones that only receive. The rest is rejected in place.
//!
//! `sdp-types` splits the lines; what they mean to us is decided here.

mod answer;
mod error;
mod fingerprint;
mod formats;
mod grammar;
mod offer;

pub(crate) use answer::AnswerParams;
pub use error::{SdpError, SdpErrorKind};
pub(crate) use fingerprint::{Fingerprints, describe as describe_certificate};
pub use offer::Offer;
pub(crate) use offer::{Numbers, Setup};

/// Direction of a stream, from the point of view of the side that writes the description.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Sends and receives.
    SendRecv,
    /// Only sends.
    SendOnly,
    /// Only receives.
    RecvOnly,
    /// Neither.
    Inactive,
}

impl Direction {
    pub(crate) fn of(send: bool, recv: bool) -> Self {
        match (send, recv) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "sendrecv" => Self::SendRecv,
            "sendonly" => Self::SendOnly,
            "recvonly" => Self::RecvOnly,
            "inactive" => Self::Inactive,
            _ => return None,
        })
    }

    /// The attribute's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    /// Does the describing side send?
    pub fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Does the describing side receive?
    pub fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }
}
