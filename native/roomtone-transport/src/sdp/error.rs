//! Why an offer is refused: a sentence for people and a code for programs.

/// The kind of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SdpErrorKind {
    /// More than 64 KiB.
    TooLarge,
    /// Not SDP, or a line that doesn't mean anything.
    Malformed,
    /// No audio m-line, or only rejected ones.
    NoAudio,
    /// No audio m-line offers Opus.
    NoOpus,
    /// No `a=fingerprint`.
    NoFingerprint,
    /// A fingerprint that can't be read, or only of hashes that we don't take.
    BadFingerprint,
    /// No `a=ice-ufrag` or no `a=ice-pwd`.
    NoIceCredentials,
    /// ICE credentials of a wrong length or with wrong characters.
    BadIceCredentials,
    /// No `a=rtcp-mux`: we have one port.
    NoRtcpMux,
    /// `a=setup` with a value that isn't `actpass`, `active` or `passive`.
    BadSetup,
    /// The audio m-line is not RTP over DTLS-SRTP, or has no transport of its own and shares none
    /// that is taken.
    BadTransport,
    /// One m-line sends and another receives, each on a transport of its own.
    NotBundled,
    /// The offerer is ICE-lite as we are: nobody would send checks.
    IceLite,
    /// More m-lines than any client has.
    TooManyMedia,
    /// An `a=mid` that is no token, or is used twice.
    BadMid,
    /// A re-offer with another certificate: that needs a new session.
    FingerprintChanged,
    /// A re-offer in which the audio m-line isn't the one it was.
    MediaChanged,
}

/// A refused offer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SdpError {
    kind: SdpErrorKind,
    message: String,
}

impl SdpError {
    pub(crate) fn new(kind: SdpErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// The kind of the fault.
    pub fn kind(&self) -> SdpErrorKind {
        self.kind
    }

    /// A stable name for [`kind`](Self::kind), such as `"no_opus"`.
    pub fn code(&self) -> &'static str {
        match self.kind {
            SdpErrorKind::TooLarge => "too_large",
            SdpErrorKind::Malformed => "malformed",
            SdpErrorKind::NoAudio => "no_audio",
            SdpErrorKind::NoOpus => "no_opus",
            SdpErrorKind::NoFingerprint => "no_fingerprint",
            SdpErrorKind::BadFingerprint => "bad_fingerprint",
            SdpErrorKind::NoIceCredentials => "no_ice_credentials",
            SdpErrorKind::BadIceCredentials => "bad_ice_credentials",
            SdpErrorKind::NoRtcpMux => "no_rtcp_mux",
            SdpErrorKind::BadSetup => "bad_setup",
            SdpErrorKind::BadTransport => "bad_transport",
            SdpErrorKind::NotBundled => "not_bundled",
            SdpErrorKind::IceLite => "ice_lite",
            SdpErrorKind::TooManyMedia => "too_many_media",
            SdpErrorKind::BadMid => "bad_mid",
            SdpErrorKind::FingerprintChanged => "fingerprint_changed",
            SdpErrorKind::MediaChanged => "media_changed",
        }
    }
}
