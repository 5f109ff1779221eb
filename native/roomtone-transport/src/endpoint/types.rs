//! Input and output of an [`Endpoint`](super::Endpoint), and the ways in which one can fail or
//! end.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::BytesMut;

use crate::rtcp::RemoteStats;
use crate::rtp::red::MAX_COPIES;
use crate::sdp::SdpError;

/// Why an offer wasn't accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// The offer is at fault.
    #[error(transparent)]
    Sdp(#[from] SdpError),
    /// The configuration names no address.
    #[error("no candidate address is configured")]
    NoCandidates,
    /// The random generator or another part of the crypto library failed.
    #[error("the crypto library failed")]
    Crypto,
}

impl AcceptError {
    /// A stable name, such as `"no_opus"` or `"crypto"`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Sdp(error) => error.code(),
            Self::NoCandidates => "no_candidates",
            Self::Crypto => "crypto",
        }
    }
}

/// The purpose of another offer of the same participant; see
/// [`Endpoint::judge`](super::Endpoint::judge).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OfferKind {
    /// To change the connection that there is: an ICE restart, another direction, other SSRCs.
    Restart,
    /// To make a new one: the client has begun anew, and knows nothing of the one that there is.
    NewConnection,
}

/// A datagram to be sent.
#[derive(Debug)]
pub struct Transmit {
    /// Where to.
    pub to: SocketAddr,
    /// The bytes.
    pub data: BytesMut,
}

/// News from an endpoint.
#[derive(Debug)]
pub enum Event {
    /// Datagrams from this address may be routed here.
    AddressValidated(SocketAddr),
    /// Not any more.
    AddressRetired(SocketAddr),
    /// This local ufrag is out of use.
    UfragRetired(String),
    /// DTLS is done: sound can flow.
    Connected,
    /// The peer's report about our stream.
    RemoteStats(RemoteStats),
    /// It's over; the last event.
    Closed(CloseReason),
}

/// An authentic packet of Opus, neither replayed nor empty.
///
/// Debug tells the payload's length and never the sound.
#[derive(Clone, Copy)]
pub struct RtpIn<'a> {
    /// Sequence number, 16 bits, wraps.
    pub seq: u16,
    /// Media time at 48 kHz, 32 bits, wraps.
    pub timestamp: u32,
    /// First packet of a talk spurt.
    pub marker: bool,
    /// The stream it belongs to.
    pub ssrc: u32,
    /// RFC 6464: −dBov (0 loudest, 127 silent), and whether the sender hears a voice.
    pub level: Option<(u8, bool)>,
    /// The Opus packet.
    pub payload: &'a [u8],
    /// `None`: it came itself. Otherwise it was lost, and this many samples of media time later
    /// came a packet that carries it (RED, RFC 2198).
    pub restored_after: Option<u32>,
    /// The lost packets that it carries.
    pub copies: Copies<'a>,
}

/// Copies of lost packets in a later one.
#[derive(Clone, Copy, Default)]
pub struct Copies<'a> {
    pub(super) copies: [LostPacket<'a>; MAX_COPIES],
    pub(super) count: usize,
}

impl Copies<'_> {
    /// Whether the packet with this number is among them.
    pub(super) fn has(&self, seq: u16) -> bool {
        self.copies[..self.count].iter().any(|copy| copy.seq == seq)
    }
}

/// A lost packet that a later one carries.
#[derive(Clone, Copy, Default)]
pub(super) struct LostPacket<'a> {
    pub(super) seq: u16,
    pub(super) offset: u32,
    pub(super) payload: &'a [u8],
}

impl<'a> RtpIn<'a> {
    /// The lost packets that it carries, oldest first, as if they had come before it. Each comes
    /// once: if it was overtaken and arrives after all, that is its second coming, and is dropped.
    pub fn restored(&self) -> impl Iterator<Item = RtpIn<'a>> {
        let Copies { copies, count } = self.copies;
        let carrier = *self;
        copies.into_iter().take(count).map(move |copy| RtpIn {
            seq: copy.seq,
            timestamp: carrier.timestamp.wrapping_sub(copy.offset),
            marker: false,
            payload: copy.payload,
            restored_after: Some(copy.offset),
            copies: Copies::default(),
            ..carrier
        })
    }
}

impl fmt::Debug for RtpIn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RtpIn")
            .field("seq", &self.seq)
            .field("timestamp", &self.timestamp)
            .field("marker", &self.marker)
            .field("ssrc", &self.ssrc)
            .field("level", &self.level)
            .field("payload", &format_args!("{} bytes", self.payload.len()))
            .field("restored_after", &self.restored_after)
            .field("copies", &self.copies.count)
            .finish()
    }
}

/// A packet of Opus to be sent.
#[derive(Clone, Copy, Debug)]
pub struct AudioOut<'a> {
    /// Media time at 48 kHz, from any origin; wraps.
    pub timestamp: u32,
    /// First packet after a pause.
    pub marker: bool,
    /// −dBov of its sound, sent along where the peer takes levels.
    pub level: Option<u8>,
    /// The Opus packet.
    pub payload: &'a [u8],
}

/// Where the numbers of a stream of ours begin: what [`SlotOut`](super::SlotOut) counts is added to these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamOrigin {
    /// Its SSRC.
    pub ssrc: u32,
    /// The sequence number of its first packet.
    pub sequence: u16,
    /// The RTP timestamp of media time 0.
    pub timestamp: u32,
}

/// Why an endpoint is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// Nothing authentic was heard for the consent time-out.
    ConsentExpired,
    /// DTLS failed, or found no SRTP profile in common.
    HandshakeFailed,
    /// Not connected in time.
    HandshakeTimeout,
    /// The peer's certificate isn't the one its offer names.
    FingerprintMismatch,
    /// The peer said BYE and then nothing more.
    RemoteBye,
    /// The peer closed DTLS.
    RemoteCloseNotify,
    /// [`Endpoint::close`](super::Endpoint::close) was called.
    Local,
}

impl CloseReason {
    /// A stable name, such as `"consent_expired"`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConsentExpired => "consent_expired",
            Self::HandshakeFailed => "handshake_failed",
            Self::HandshakeTimeout => "handshake_timeout",
            Self::FingerprintMismatch => "fingerprint_mismatch",
            Self::RemoteBye => "remote_bye",
            Self::RemoteCloseNotify => "remote_close_notify",
            Self::Local => "local",
        }
    }
}

/// A snapshot of an endpoint's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EndpointStats {
    /// RTP packets let in.
    pub packets_in: u64,
    /// Their payload bytes.
    pub bytes_in: u64,
    /// RTP packets sent.
    pub packets_out: u64,
    /// Their payload bytes.
    pub bytes_out: u64,
    /// Copies of earlier packets that came along with others (RED, RFC 2198).
    pub copies_in: u64,
    /// Copies of earlier packets that went along with them.
    pub copies_out: u64,
    /// Time from the connection to the first RTP packet let in.
    pub first_in: Option<Duration>,
    /// Time from the connection to the first RTP packet sent.
    pub first_out: Option<Duration>,
    /// SRTP and SRTCP packets whose tag was wrong.
    pub auth_failures: u64,
    /// SRTP and SRTCP packets that had come before.
    pub replayed: u64,
    /// Packets of others that were too long to be forwarded to this peer: more than 1,200 bytes of
    /// Opus.
    pub oversized: u64,
    /// Packets of SSRCs that aren't let in.
    pub unknown_ssrc: u64,
    /// Packets that can't be read, or of payload types that weren't agreed on.
    pub malformed: u64,
    /// Datagrams other than STUN from addresses that ICE hasn't validated.
    pub dropped_strangers: u64,
    /// STUN requests answered.
    pub stun_requests: u64,
    /// STUN datagrams not answered.
    pub stun_rejected: u64,
    /// DTLS datagrams beyond the caps, or impossible.
    pub dtls_dropped: u64,
    /// Incoming packets lost, all streams together.
    pub lost: i64,
    /// Of these, packets that a later one carried (RED, RFC 2198).
    pub restored: u64,
    /// Lost packets that the peer was asked for once more (NACK, RFC 4585); each time counts.
    pub asked: u64,
    /// Packets that were sent once more because the peer asked for them.
    pub resent: u64,
    /// Share of incoming packets lost in the last report's interval.
    pub fraction_lost: f32,
    /// Jitter of incoming packets.
    pub jitter: Duration,
    /// Share of our packets that the peer lost lately.
    pub remote_fraction_lost: Option<f32>,
    /// Jitter of our packets at the peer.
    pub remote_jitter: Option<Duration>,
    /// Round trip by RTCP.
    pub round_trip: Option<Duration>,
    /// SSRCs with an SRTP context (at most 32).
    pub streams: usize,
    /// Validated addresses.
    pub addresses: usize,
    /// The peer's address in use.
    pub selected: Option<SocketAddr>,
    /// SSRC of the stream that we send.
    pub ssrc: u32,
    /// The SRTP profile, once connected.
    pub srtp_profile: Option<&'static str>,
}
