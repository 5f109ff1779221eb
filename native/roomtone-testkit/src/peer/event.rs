//! A client's events and counters.

use std::time::{Duration, Instant};

use bytes::Bytes;

/// Something the owner of a client wants to know.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// ICE and DTLS are done; sound may flow.
    Connected,
    /// A packet of sound, authenticated and decrypted. A lost one that a later one carried (RED) comes before that one.
    Audio(Audio),
    /// The connection is over; nothing comes after this.
    Closed(CloseReason),
}

/// One RTP packet as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Audio {
    /// RTP sequence number.
    pub seq: u16,
    /// RTP timestamp (48 kHz).
    pub timestamp: u32,
    /// RTP marker: first packet after silence.
    pub marker: bool,
    /// Synchronization source.
    pub ssrc: u32,
    /// The first contributing source, if there is one.
    pub csrc: Option<u32>,
    /// RTP payload type.
    pub payload_type: u8,
    /// Level extension, if the packet carries one.
    pub level: Option<Level>,
    /// The Opus packet.
    pub payload: Bytes,
}

/// An RFC 6464 audio level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// 0 is the loudest, 127 silence.
    pub minus_dbov: u8,
    /// The sender takes it for a voice.
    pub voice: bool,
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// No candidate of the server answered in time.
    IceTimeout,
    /// The DTLS handshake didn't end in time.
    DtlsTimeout,
    /// The DTLS handshake failed; the words are the library's.
    DtlsFailed(String),
    /// The server's certificate isn't the one of its answer.
    FingerprintMismatch,
    /// The server no longer answers consent checks.
    ConsentExpired,
    /// The server said BYE.
    RemoteBye,
    /// The server closed DTLS.
    RemoteCloseNotify,
    /// We left.
    Local,
}

impl std::fmt::Display for CloseReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            CloseReason::IceTimeout => "no candidate of the server answered (ICE)",
            CloseReason::DtlsTimeout => "the DTLS handshake didn't end in time",
            CloseReason::DtlsFailed(why) => return write!(f, "the DTLS handshake failed: {why}"),
            CloseReason::FingerprintMismatch => "the server's certificate isn't the one its answer names",
            CloseReason::ConsentExpired => "the server no longer answers",
            CloseReason::RemoteBye => "the server said goodbye (RTCP BYE)",
            CloseReason::RemoteCloseNotify => "the server closed DTLS",
            CloseReason::Local => "we left",
        })
    }
}

/// Counters since the client was made.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// RTP packets sent.
    pub packets_sent: u64,
    /// RTP bytes sent, with header and tag.
    pub bytes_sent: u64,
    /// RTP packets received and authenticated.
    pub packets_received: u64,
    /// RTP bytes received, with header and tag.
    pub bytes_received: u64,
    /// Of these packets, those of RED (RFC 2198).
    pub red_received: u64,
    /// Copies of earlier packets in them.
    pub copies_received: u64,
    /// Requests for packets that we missed (NACK, RFC 4585), and packets of ours that were sent once more at such a request.
    pub asked: u64,
    /// See `asked`.
    pub resent: u64,
    /// Packets that failed to authenticate or to parse.
    pub rejected: u64,
    /// RTCP packets (compounds) received.
    pub rtcp_received: u64,
    /// One entry for each source heard.
    pub streams: Vec<StreamStats>,
    /// The newest sender report of the server.
    pub last_sender_report: Option<SenderReport>,
    /// The newest reception report of the server about us.
    pub reported: Option<Reported>,
    /// From `accept_answer` to `Connected`.
    pub connect_time: Option<Duration>,
    /// Round trip of the newest STUN check.
    pub ice_round_trip: Option<Duration>,
}

/// Reception of one source.
#[derive(Clone, Debug, Default)]
pub struct StreamStats {
    /// Synchronization source.
    pub ssrc: u32,
    /// Packets received.
    pub received: u64,
    /// Packets expected less packets received.
    pub lost: i64,
    /// Packets that came after a later one, or twice.
    pub duplicates_or_late: u64,
    /// Times that a sequence number was jumped over.
    pub seq_gaps: u64,
    /// Sequence number of the first packet.
    pub first_seq: u16,
    /// Highest sequence number, extended by the wrap-around count.
    pub highest_seq: u32,
    /// Interarrival jitter (RFC 3550).
    pub jitter: Duration,
}

/// An RTCP sender report as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderReport {
    /// The reporter.
    pub ssrc: u32,
    /// NTP time of the report.
    pub ntp: u64,
    /// RTP timestamp of the same moment.
    pub rtp_timestamp: u32,
    /// Packets the server sent us.
    pub packets: u32,
    /// Payload octets the server sent us.
    pub octets: u32,
    /// When we got it.
    pub at: Instant,
}

/// The server's report on our stream.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reported {
    /// Loss since the report before, 0–1.
    pub fraction_lost: f32,
    /// Loss since the start.
    pub cumulative_lost: i32,
    /// Interarrival jitter at the server.
    pub jitter: Duration,
    /// Round trip, from our sender report; `None` before the server has one.
    pub round_trip: Option<Duration>,
    /// Highest extended sequence number the server has.
    pub highest_seq: u32,
}
