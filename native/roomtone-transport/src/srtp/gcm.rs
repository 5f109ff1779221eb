//! AEAD_AES_128_GCM for SRTP and SRTCP (RFC 7714), in place: the hot path of the mixer, so that a
//! packet costs the cipher and nothing else.
//!
//! The cipher is `ring`'s. This file has the nonce and the additional data of a packet, and the
//! derivation of the keys.

use ring::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, Tag, UnboundKey};
use rtc::crypto::{BlockCipherAlgorithm, RTCCryptoProvider};

use super::MasterKey;

pub(super) const TAG: usize = 16;
const SALT: usize = 12;
const SRTCP_HEADER: usize = 8;
const SRTCP_INDEX: usize = 4;
/// The E flag before the SRTCP index: encrypted.
const E: u32 = 1 << 31;

/// Labels of RFC 3711 §4.3.2.
const RTP_KEY: u8 = 0;
const RTP_SALT: u8 = 2;
const RTCP_KEY: u8 = 3;
const RTCP_SALT: u8 = 5;

/// The session keys of one direction.
pub(super) struct Gcm {
    rtp: (LessSafeKey, [u8; SALT]),
    rtcp: (LessSafeKey, [u8; SALT]),
}

impl Gcm {
    /// `None` where the master key or salt has a wrong length.
    pub(super) fn new(master: &MasterKey, provider: &dyn RTCCryptoProvider) -> Option<Gcm> {
        let (key, salt) = (master.key.as_ref(), master.salt.as_ref());
        if key.len() != 16 || salt.len() != SALT {
            return None;
        }
        let session = |key_label, salt_label| {
            let session_key = derive(key, salt, key_label, provider)?;
            let session_salt = derive(key, salt, salt_label, provider)?;
            let cipher = LessSafeKey::new(UnboundKey::new(&AES_128_GCM, &session_key).ok()?);
            Some((cipher, session_salt.first_chunk().copied()?))
        };
        Some(Gcm {
            rtp: session(RTP_KEY, RTP_SALT)?,
            rtcp: session(RTCP_KEY, RTCP_SALT)?,
        })
    }

    /// Encrypts what follows the header of the RTP packet at the end of `out`, from `start` on, and
    /// appends the tag.
    pub(super) fn seal_rtp(&self, out: &mut Vec<u8>, start: usize, header_len: usize, ssrc: u32, index: u64) -> bool {
        let (key, salt) = &self.rtp;
        let Some((header, body)) = out
            .get_mut(start..)
            .and_then(|packet| packet.split_at_mut_checked(header_len))
        else {
            return false;
        };
        let nonce = rtp_nonce(salt, ssrc, index);
        match key.seal_in_place_separate_tag(nonce, Aad::from(&*header), body) {
            Ok(tag) => {
                out.extend_from_slice(tag.as_ref());
                true
            }
            Err(_) => false,
        }
    }

    /// Decrypts an RTP packet where it is. The length of the plain packet, header and payload;
    /// `None`: it isn't authentic, and its bytes are worth nothing.
    pub(super) fn open_rtp(&self, packet: &mut [u8], header_len: usize, ssrc: u32, index: u64) -> Option<usize> {
        let (key, salt) = &self.rtp;
        let end = packet.len().checked_sub(TAG)?;
        let (header, rest) = packet.split_at_mut_checked(header_len)?;
        let (body, tag) = rest.split_at_mut_checked(end.checked_sub(header_len)?)?;
        let tag = Tag::from(*tag.first_chunk::<TAG>()?);
        key.open_in_place_separate_tag(rtp_nonce(salt, ssrc, index), Aad::from(&*header), tag, body, 0..)
            .ok()?;
        Some(end)
    }

    /// Encrypts the RTCP packet in `out`, and appends tag and index.
    pub(super) fn seal_rtcp(&self, out: &mut Vec<u8>, index: u32) -> bool {
        let (key, salt) = &self.rtcp;
        let trailer = (E | index).to_be_bytes();
        let Some((header, body)) = out.split_at_mut_checked(SRTCP_HEADER) else {
            return false;
        };
        let nonce = rtcp_nonce(salt, header, index);
        match key.seal_in_place_separate_tag(nonce, Aad::from(rtcp_aad(header, trailer)), body) {
            Ok(tag) => {
                out.extend_from_slice(tag.as_ref());
                out.extend_from_slice(&trailer);
                true
            }
            Err(_) => false,
        }
    }

    /// Decrypts an SRTCP packet where it is: the plain length. A packet that isn't encrypted is
    /// never let in: DTLS-SRTP always encrypts (RFC 5764 §4.1.2).
    pub(super) fn open_rtcp(&self, packet: &mut [u8]) -> Option<usize> {
        let (key, salt) = &self.rtcp;
        let index = rtcp_index(packet)?;
        let trailer = (E | index).to_be_bytes();
        let end = packet.len().checked_sub(SRTCP_INDEX + TAG)?;
        let (header, rest) = packet.split_at_mut_checked(SRTCP_HEADER)?;
        let (body, rest) = rest.split_at_mut_checked(end.checked_sub(SRTCP_HEADER)?)?;
        let tag = Tag::from(*rest.first_chunk::<TAG>()?);
        let nonce = rtcp_nonce(salt, header, index);
        key.open_in_place_separate_tag(nonce, Aad::from(rtcp_aad(header, trailer)), tag, body, 0..)
            .ok()?;
        Some(end)
    }
}

/// The index that an SRTCP packet bears, 31 bits; `None` where it is too short or says that it
/// isn't encrypted.
pub(super) fn rtcp_index(packet: &[u8]) -> Option<u32> {
    let word = u32::from_be_bytes(*packet.last_chunk::<SRTCP_INDEX>()?);
    (packet.len() >= SRTCP_HEADER + TAG + SRTCP_INDEX && word & E != 0).then_some(word & !E)
}

/// RFC 7714 §8.1: two zero bytes, SSRC, ROC and sequence number, with the salt over it.
fn rtp_nonce(salt: &[u8; SALT], ssrc: u32, index: u64) -> Nonce {
    nonce(salt, ssrc.to_be_bytes(), index)
}

/// RFC 7714 §9.1: the same shape, with two zero bytes before the 31-bit index.
fn rtcp_nonce(salt: &[u8; SALT], header: &[u8], index: u32) -> Nonce {
    let mut ssrc = [0; 4];
    ssrc.copy_from_slice(&header[4..SRTCP_HEADER]);
    nonce(salt, ssrc, u64::from(index))
}

fn nonce(salt: &[u8; SALT], ssrc: [u8; 4], index: u64) -> Nonce {
    let mut nonce = *salt;
    // The index has 48 bits: the first two bytes of its eight are zero, and lie upon the SSRC's
    // last two.
    for (byte, value) in nonce[2..6].iter_mut().zip(ssrc) {
        *byte ^= value;
    }
    for (byte, value) in nonce[6..].iter_mut().zip(&index.to_be_bytes()[2..]) {
        *byte ^= value;
    }
    Nonce::assume_unique_for_key(nonce)
}

/// RFC 7714 §9.2: the first eight bytes, then E flag and index.
fn rtcp_aad(header: &[u8], trailer: [u8; SRTCP_INDEX]) -> [u8; SRTCP_HEADER + SRTCP_INDEX] {
    let mut aad = [0; SRTCP_HEADER + SRTCP_INDEX];
    aad[..SRTCP_HEADER].copy_from_slice(header);
    aad[SRTCP_HEADER..].copy_from_slice(&trailer);
    aad
}

/// RFC 3711 §4.3.1 with a key derivation rate of zero; RFC 7714 §11 fills the 96-bit salt up with
/// zeros. One block: 16 bytes, or the first twelve of them.
fn derive(master: &[u8], salt: &[u8], label: u8, provider: &dyn RTCCryptoProvider) -> Option<[u8; 16]> {
    let mut block = [0; 16];
    block[..SALT].copy_from_slice(salt);
    block[7] ^= label;
    provider
        .crypto()
        .block_encrypt(BlockCipherAlgorithm::Aes128, master, &mut block)
        .ok()?;
    Some(block)
}
