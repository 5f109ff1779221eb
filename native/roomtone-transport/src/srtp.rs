//! SRTP and SRTCP (RFC 3711, RFC 7714): keys, contexts and the order in which packets are trusted.
//!
//! Each incoming SSRC has a context of its own, and gets it only after its first packet has proved authentic: so a
//! forged packet leaves no state, and can't put the replay window of a stream somewhere else before the stream begins.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rtc::crypto::{RTCCryptoProvider, SecretVec};
use rtc::rtp::header::{Extension, Header as LibraryHeader};
use rtc::shared::error::Error;
use rtc::srtp::context::Context;
use rtc::srtp::option::{srtcp_replay_protection, srtp_replay_protection};
use rtc::srtp::protection_profile::ProtectionProfile;

use crate::rtp::Header;

const RTP_WINDOW: usize = 128;
const RTCP_WINDOW: usize = 64;
/// Incoming SSRCs with a context. An honest client has one or two, and a new one now and then.
const MAX_STREAMS: usize = 32;
const SRTCP_INDEX: usize = 4;

static ZEROS: [u8; 1024] = [0; 1024];

/// Key material of one direction; wiped when dropped, never shown.
pub(crate) struct MasterKey {
    pub(crate) key: SecretVec,
    pub(crate) salt: SecretVec,
}

/// Why a packet was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Malformed,
    Forged,
    Replayed,
    /// No room for one more SSRC.
    TooManyStreams,
}

struct Stream {
    ssrc: u32,
    context: Context,
}

/// Both directions of an endpoint.
pub(crate) struct Srtp {
    profile: ProtectionProfile,
    outgoing: Context,
    remote: MasterKey,
    streams: Vec<Stream>,
    provider: Arc<dyn RTCCryptoProvider>,
    /// The library wants its own header type, of which it uses length, SSRC and sequence only; these are kept so that
    /// no packet allocates one.
    scratch_in: LibraryHeader,
    scratch_out: LibraryHeader,
}

impl Srtp {
    pub(crate) fn new(
        profile: ProtectionProfile,
        local: &MasterKey,
        remote: MasterKey,
        provider: Arc<dyn RTCCryptoProvider>,
    ) -> Result<Self, Error> {
        let outgoing = Context::new(
            local.key.as_ref(),
            local.salt.as_ref(),
            profile,
            None,
            None,
            provider.crypto(),
        )?;
        Ok(Self {
            profile,
            outgoing,
            remote,
            streams: Vec::new(),
            provider,
            scratch_in: LibraryHeader::default(),
            scratch_out: LibraryHeader::default(),
        })
    }

    /// The profile's name in the IANA registry.
    pub(crate) fn profile_name(&self) -> &'static str {
        match self.profile {
            ProtectionProfile::AeadAes128Gcm => "SRTP_AEAD_AES_128_GCM",
            ProtectionProfile::AeadAes256Gcm => "SRTP_AEAD_AES_256_GCM",
            ProtectionProfile::Aes128CmHmacSha1_80 => "SRTP_AES128_CM_HMAC_SHA1_80",
            _ => "other",
        }
    }

    /// SSRCs that sent something authentic.
    pub(crate) fn stream_count(&self) -> usize {
        self.streams.len()
    }

    /// Forgets streams that a new offer doesn't have any more, when there is need of room.
    pub(crate) fn retain(&mut self, keep: impl Fn(u32) -> bool) {
        if self.streams.len() >= MAX_STREAMS {
            self.streams.retain(|stream| keep(stream.ssrc));
        }
    }

    /// Protects `packet`, whose first `header_len` bytes are the header.
    pub(crate) fn protect_rtp(
        &mut self,
        packet: &[u8],
        header_len: usize,
        ssrc: u32,
        sequence: u16,
    ) -> Option<BytesMut> {
        describe(&mut self.scratch_out, 0, header_len.checked_sub(16), ssrc, sequence);
        self.outgoing.encrypt_rtp_with_header(packet, &self.scratch_out).ok()
    }

    pub(crate) fn protect_rtcp(&mut self, packet: &[u8]) -> Option<BytesMut> {
        self.outgoing.encrypt_rtcp(packet).ok()
    }

    /// Decrypts an SRTP packet. The caller has checked that the SSRC is welcome.
    pub(crate) fn unprotect_rtp(&mut self, packet: &[u8], header: &Header) -> Result<BytesMut, Refusal> {
        let mut library = std::mem::take(&mut self.scratch_in);
        describe(
            &mut library,
            header.csrc_count,
            header.extension_len(),
            header.ssrc,
            header.sequence,
        );
        let plain = self.open(header.ssrc, |context| context.decrypt_rtp_with_header(packet, &library));
        self.scratch_in = library;
        plain
    }

    /// Decrypts an SRTCP packet.
    pub(crate) fn unprotect_rtcp(&mut self, packet: &[u8]) -> Result<BytesMut, Refusal> {
        let ssrc = packet
            .get(4..8)
            .and_then(|bytes| bytes.try_into().ok())
            .map(u32::from_be_bytes)
            .ok_or(Refusal::Malformed)?;
        // With AES-CM, rtc-srtp 0.21.1 returns a packet whose E flag is clear without looking at its tag. DTLS-SRTP
        // always encrypts SRTCP (RFC 5764 section 4.1.2), so such a packet can only be forged.
        let flag = packet
            .len()
            .checked_sub(self.profile.rtcp_auth_tag_len() + SRTCP_INDEX)
            .and_then(|at| packet.get(at))
            .ok_or(Refusal::Malformed)?;
        if flag & 0x80 == 0 {
            return Err(Refusal::Forged);
        }
        self.open(ssrc, |context| context.decrypt_rtcp(packet))
    }

    fn open(
        &mut self,
        ssrc: u32,
        decrypt: impl FnOnce(&mut Context) -> Result<BytesMut, Error>,
    ) -> Result<BytesMut, Refusal> {
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.ssrc == ssrc) {
            return decrypt(&mut stream.context).map_err(|error| refusal(&error));
        }
        if self.streams.len() >= MAX_STREAMS {
            return Err(Refusal::TooManyStreams);
        }
        let mut context = Context::new(
            self.remote.key.as_ref(),
            self.remote.salt.as_ref(),
            self.profile,
            Some(srtp_replay_protection(RTP_WINDOW)),
            Some(srtcp_replay_protection(RTCP_WINDOW)),
            self.provider.crypto(),
        )
        .map_err(|_| Refusal::Forged)?;
        let plain = decrypt(&mut context).map_err(|error| refusal(&error))?;
        self.streams.push(Stream { ssrc, context });
        Ok(plain)
    }
}

fn refusal(error: &Error) -> Refusal {
    match error {
        Error::SrtpSsrcDuplicated(..) | Error::SrtcpSsrcDuplicated(..) => Refusal::Replayed,
        Error::ErrTooShortRtp | Error::ErrTooShortRtcp => Refusal::Malformed,
        _ => Refusal::Forged,
    }
}

/// Makes the library's header say what ours says: same length, SSRC and sequence.
fn describe(header: &mut LibraryHeader, csrc_count: u8, extension: Option<usize>, ssrc: u32, sequence: u16) {
    header.version = 2;
    header.ssrc = ssrc;
    header.sequence_number = sequence;
    header.csrc.resize(usize::from(csrc_count), 0);
    header.extension = extension.is_some();
    // Neither form of RFC 8285: then the block's length is taken as it stands.
    header.extension_profile = 0;
    header.extensions.truncate(1);
    match extension {
        Some(len) if len > 0 => {
            let payload = Bytes::from_static(&ZEROS[..len.min(ZEROS.len())]);
            match header.extensions.first_mut() {
                Some(first) => first.payload = payload,
                None => header.extensions.push(Extension { id: 0, payload }),
            }
        }
        _ => header.extensions.clear(),
    }
}

#[cfg(test)]
mod tests;
