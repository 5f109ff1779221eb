//! The other profiles, by `rtc-srtp`: what clients get that have no AES-128-GCM. It allocates for
//! each packet.

use bytes::{Bytes, BytesMut};
use rtc::crypto::RTCCryptoProvider;
use rtc::rtp::header::{Extension, Header as LibraryHeader};
use rtc::shared::error::Error;
use rtc::srtp::context::Context;
use rtc::srtp::option::{srtcp_replay_protection, srtp_replay_protection};
use rtc::srtp::protection_profile::ProtectionProfile;

use super::{MasterKey, Refusal};
use crate::rtp::Header;

const RTP_WINDOW: usize = 128;
const RTCP_WINDOW: usize = 64;
const SRTCP_INDEX: usize = 4;

static ZEROS: [u8; 1024] = [0; 1024];

/// One direction, or one incoming stream.
pub(super) struct Library {
    context: Context,
    profile: ProtectionProfile,
    /// The library wants its own header type, of which it uses length, SSRC and sequence only.
    scratch: LibraryHeader,
}

impl Library {
    pub(super) fn outgoing(
        profile: ProtectionProfile,
        key: &MasterKey,
        provider: &dyn RTCCryptoProvider,
    ) -> Result<Library, Error> {
        Library::new(profile, key, provider, false)
    }

    pub(super) fn incoming(
        profile: ProtectionProfile,
        key: &MasterKey,
        provider: &dyn RTCCryptoProvider,
    ) -> Result<Library, Error> {
        Library::new(profile, key, provider, true)
    }

    fn new(
        profile: ProtectionProfile,
        key: &MasterKey,
        provider: &dyn RTCCryptoProvider,
        replay: bool,
    ) -> Result<Library, Error> {
        let context = Context::new(
            key.key.as_ref(),
            key.salt.as_ref(),
            profile,
            replay.then(|| srtp_replay_protection(RTP_WINDOW)),
            replay.then(|| srtcp_replay_protection(RTCP_WINDOW)),
            provider.crypto(),
        )?;
        Ok(Library {
            context,
            profile,
            scratch: LibraryHeader::default(),
        })
    }

    pub(super) fn seal_rtp(&mut self, packet: &[u8], header_len: usize, ssrc: u32, sequence: u16) -> Option<BytesMut> {
        // We wrote it ourselves: it is what its length says.
        let first = packet.first().copied().unwrap_or_default();
        let csrc_count = first & 0x0F;
        let bare = 12 + 4 * usize::from(csrc_count);
        let extension = (first & 0x10 != 0).then(|| header_len.saturating_sub(bare + 4));
        describe(&mut self.scratch, csrc_count, extension, ssrc, sequence);
        self.context.encrypt_rtp_with_header(packet, &self.scratch).ok()
    }

    pub(super) fn seal_rtcp(&mut self, packet: &[u8]) -> Option<BytesMut> {
        self.context.encrypt_rtcp(packet).ok()
    }

    pub(super) fn open_rtp(&mut self, packet: &[u8], header: &Header) -> Result<BytesMut, Refusal> {
        describe(
            &mut self.scratch,
            header.csrc_count,
            header.extension_len(),
            header.ssrc,
            header.sequence,
        );
        self.context
            .decrypt_rtp_with_header(packet, &self.scratch)
            .map_err(|error| refusal(&error))
    }

    pub(super) fn open_rtcp(&mut self, packet: &[u8]) -> Result<BytesMut, Refusal> {
        // With AES-CM, rtc-srtp 0.21.1 returns a packet whose E flag is clear without looking at
        // its tag. DTLS-SRTP always encrypts SRTCP (RFC 5764 section 4.1.2), so such a packet can
        // only be forged.
        let flag = packet
            .len()
            .checked_sub(self.profile.rtcp_auth_tag_len() + SRTCP_INDEX)
            .and_then(|at| packet.get(at))
            .ok_or(Refusal::Malformed)?;
        if flag & 0x80 == 0 {
            return Err(Refusal::Forged);
        }
        self.context.decrypt_rtcp(packet).map_err(|error| refusal(&error))
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
