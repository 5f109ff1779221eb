//! A client's options, misbehaviour included.

use std::net::SocketAddr;
use std::time::Duration;

use super::identity::Identity;

/// Which way sound flows, as the client's offer says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// Talks and listens.
    #[default]
    SendRecv,
    /// Talks only.
    SendOnly,
    /// Listens only.
    RecvOnly,
    /// Neither; the connection alone.
    Inactive,
}

impl Direction {
    /// The SDP attribute of this direction.
    pub fn attribute(self) -> &'static str {
        match self {
            Direction::SendRecv => "sendrecv",
            Direction::SendOnly => "sendonly",
            Direction::RecvOnly => "recvonly",
            Direction::Inactive => "inactive",
        }
    }

    /// Does the client send sound?
    pub fn sends(self) -> bool {
        matches!(self, Direction::SendRecv | Direction::SendOnly)
    }
}

/// The SRTP protection profiles that the client offers, in its order of preference.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Profiles {
    /// AEAD_AES_128_GCM, else SRTP_AES128_CM_HMAC_SHA1_80.
    #[default]
    Both,
    /// AEAD_AES_128_GCM alone.
    Gcm,
    /// SRTP_AES128_CM_HMAC_SHA1_80 alone.
    AesCm,
}

/// How a [`ClientPeer`](super::ClientPeer) behaves. The default is an honest peer that talks and listens.
#[derive(Clone, Debug)]
pub struct ClientOptions {
    /// Direction of the audio m-line.
    pub direction: Direction,
    /// Our synchronization source; random when `None`.
    pub ssrc: Option<u32>,
    /// Put `a=ssrc` into the offer. Without it the server has to learn the source from the first packet.
    pub announce_ssrc: bool,
    /// Offer the RFC 6464 level extension, and send it when a level is given.
    pub level_ext: bool,
    /// The one-byte header extension id that is offered for it (1–14).
    pub level_ext_id: u8,
    /// Payload type of Opus.
    pub payload_type: u8,
    /// Payload type of redundant Opus (RED, RFC 2198), if it is offered.
    pub red: Option<u8>,
    /// With how many copies of earlier packets each packet is sent, if RED is agreed on. With any, RED is offered before plain Opus.
    pub red_copies: usize,
    /// Lost packets are asked for once more, and such requests are answered (NACK, RFC 4585), if the server agrees.
    pub nack: bool,
    /// Ask for packets of this length, ms (`a=ptime`).
    pub ptime: Option<u32>,
    /// Ask for stereo (`stereo=1`).
    pub stereo: bool,
    /// `a=mid` of the audio m-line.
    pub mid: String,
    /// RTCP canonical name.
    pub cname: String,
    /// SRTP profiles to offer.
    pub profiles: Profiles,
    /// First RTP sequence number; random when `None`.
    pub first_seq: Option<u16>,
    /// The DTLS certificate; `None` is one that all peers of this process share.
    pub identity: Option<Identity>,
    /// A fingerprint to state in place of the true one (`sha-256 AA:BB:…`).
    pub claim_fingerprint: Option<String>,
    /// Further audio m-lines that only receive, for the talkers of a room of kind `forward`.
    pub slots: usize,
    /// Further m-sections, appended to the offer as they are (lines end in CRLF).
    pub extra_media: String,
    /// Further lines of the audio section, without line ends.
    pub extra_attributes: Vec<String>,
    /// Host candidates of our own to put into the offer. When there are any, server candidates of an address family
    /// that isn't among them are left out.
    pub candidates: Vec<SocketAddr>,
    /// How long ICE and DTLS may take, from the answer on.
    pub connect_timeout: Duration,
    /// Mean time between consent checks (RFC 7675); `Duration::MAX` never asks again.
    pub consent_interval: Duration,
    /// Without any answer for so long, the connection is over.
    pub consent_timeout: Duration,
    /// Mean time between RTCP reports; `Duration::MAX` sends none.
    pub report_interval: Duration,
    /// Time after which an unanswered DTLS flight is repeated.
    pub dtls_retransmit: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        ClientOptions {
            direction: Direction::SendRecv,
            ssrc: None,
            announce_ssrc: true,
            level_ext: true,
            level_ext_id: 1,
            payload_type: 111,
            red: None,
            red_copies: 0,
            nack: false,
            ptime: None,
            stereo: false,
            mid: "0".into(),
            cname: "roomtone-load".into(),
            profiles: Profiles::Both,
            first_seq: None,
            identity: None,
            claim_fingerprint: None,
            slots: 0,
            extra_media: String::new(),
            extra_attributes: Vec::new(),
            candidates: Vec::new(),
            connect_timeout: Duration::from_secs(30),
            consent_interval: Duration::from_secs(5),
            consent_timeout: Duration::from_secs(30),
            report_interval: Duration::from_secs(5),
            dtls_retransmit: Duration::from_millis(250),
        }
    }
}
