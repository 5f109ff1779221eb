//! The server's end of WebRTC for one Opus stream in each direction, without I/O.
//!
//! An [`Endpoint`] is made from an [`Offer`] and then fed with datagrams and time; what it wants to
//! send and to tell is polled. It reads no clock and owns no socket, so every test of it is
//! deterministic.
//!
//! | Protocol | Where | Codec |
//! |---|---|---|
//! | SDP offer and answer | `sdp/` | grammar: `rtc::sdp` |
//! | ICE-lite, STUN | `ice/` | `rtc::stun` |
//! | DTLS 1.2 | `dtls/` | `rtc::dtls` |
//! | SRTP, SRTCP | `srtp` | `rtc::srtp` |
//! | TCP framing | `tcp_framing` | here |
//! | RTP, header extensions | [`rtp`] | here |
//! | RTCP | `rtcp/` | `rtc::rtcp` |
//!
//! Nothing that a stranger sends makes state: the shard looks at [`stun_local_ufrag`] only, the
//! endpoint at authenticated binding requests only, and everything else has to come from an address
//! that passed such a check.

mod complaints;
mod config;
mod demux;
mod dtls;
mod endpoint;
mod ice;
mod outbox;
mod rtcp;
pub mod rtp;
mod sdp;
mod srtp;
mod tcp_framing;

pub use config::{EndpointOptions, NtpClock, TransportConfig};
pub use demux::{Packet, PacketKind, StunPacket, classify, stun_local_ufrag};
pub use dtls::{Certificate, CertificateError};
pub use endpoint::{
    AcceptError, AudioOut, CloseReason, Copies, Endpoint, EndpointStats, Event, MAX_COPIES_OUT, MAX_PAYLOAD, OfferKind,
    RtpIn, SlotOut, StreamOrigin, Transmit,
};
pub use outbox::Outbox;
pub use rtcp::RemoteStats;
pub use sdp::{Direction, Offer, SdpError, SdpErrorKind};
pub use tcp_framing::{Deframer, Framing, FramingError, MAX_FRAME};
