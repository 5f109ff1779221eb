//! SRTP and SRTCP (RFC 3711, RFC 7714): keys, streams and the order in which packets are trusted.
//!
//! Each incoming SSRC has a state of its own, and gets it only after its first packet has proved
//! authentic: so a forged packet leaves no state, and can't put the replay window of a stream
//! somewhere else before the stream begins.
//!
//! AEAD_AES_128_GCM, which every current browser takes, is done here on `ring`, in place and
//! without allocating (`gcm.rs`, `window.rs`); the other profiles by `rtc-srtp` (`library.rs`).

mod gcm;
mod library;
mod window;

use std::sync::Arc;

use bytes::BytesMut;
use rtc::crypto::{RTCCryptoProvider, SecretVec};
use rtc::shared::error::Error;
use rtc::srtp::protection_profile::ProtectionProfile;

use crate::rtp::Header;
use gcm::Gcm;
use library::Library;
use window::Window;

/// Incoming SSRCs with a state. An honest client has one or two, and a new one now and then.
const MAX_STREAMS: usize = 32;
/// SSRCs that we send.
const MAX_OUTGOING: usize = 16;
/// The SRTCP index has 31 bits, and none may come twice under a key (RFC 3711 §3.4): at five
/// reports a second, 13 years.
const MAX_RTCP_INDEX: u32 = (1 << 31) - 1;

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
}

enum Outgoing {
    Gcm {
        cipher: Box<Gcm>,
        /// Where each of our SSRCs is in its sequence.
        streams: Vec<(u32, Window)>,
        rtcp_index: u32,
    },
    Library(Box<Library>),
}

enum Incoming {
    Gcm {
        cipher: Box<Gcm>,
        streams: Vec<Stream>,
    },
    Library {
        remote: MasterKey,
        streams: Vec<LibraryStream>,
    },
}

/// The replay windows of an SSRC.
struct Stream {
    ssrc: u32,
    rtp: Option<Window>,
    rtcp: Option<Window>,
    used: u64,
}

struct LibraryStream {
    ssrc: u32,
    library: Library,
    used: u64,
}

/// A state that an authentic packet came for at some time, counted in packets.
trait Used {
    fn used(&self) -> u64;
}

impl Used for Stream {
    fn used(&self) -> u64 {
        self.used
    }
}

impl Used for LibraryStream {
    fn used(&self) -> u64 {
        self.used
    }
}

// Adds a stream. If there are too many, it takes the place of the one that has been silent for
// longest: an old packet of that could be replayed then, which is why there are many more places
// than streams that are let in.
fn add<T: Used>(streams: &mut Vec<T>, stream: T) -> usize {
    let oldest = streams.iter().enumerate().min_by_key(|(_, stream)| stream.used());
    match oldest.map(|(at, _)| at).filter(|_| streams.len() >= MAX_STREAMS) {
        Some(at) => {
            streams[at] = stream;
            at
        }
        None => {
            streams.push(stream);
            streams.len() - 1
        }
    }
}

impl Stream {
    fn rtp(&mut self) -> &mut Option<Window> {
        &mut self.rtp
    }

    fn rtcp(&mut self) -> &mut Option<Window> {
        &mut self.rtcp
    }
}

/// Both directions of an endpoint.
pub(crate) struct Srtp {
    profile: ProtectionProfile,
    outgoing: Outgoing,
    incoming: Incoming,
    /// Authentic packets so far.
    count: u64,
    provider: Arc<dyn RTCCryptoProvider>,
}

impl Srtp {
    pub(crate) fn new(
        profile: ProtectionProfile,
        local: &MasterKey,
        remote: MasterKey,
        provider: Arc<dyn RTCCryptoProvider>,
    ) -> Result<Self, Error> {
        let ciphers = match profile {
            ProtectionProfile::AeadAes128Gcm => Gcm::new(local, &*provider).zip(Gcm::new(&remote, &*provider)),
            _ => None,
        };
        let (outgoing, incoming) = match ciphers {
            Some((ours, theirs)) => (
                Outgoing::Gcm {
                    cipher: Box::new(ours),
                    streams: Vec::new(),
                    rtcp_index: 0,
                },
                Incoming::Gcm {
                    cipher: Box::new(theirs),
                    streams: Vec::new(),
                },
            ),
            None => (
                Outgoing::Library(Box::new(Library::outgoing(profile, local, &*provider)?)),
                Incoming::Library {
                    remote,
                    streams: Vec::new(),
                },
            ),
        };
        Ok(Self {
            profile,
            outgoing,
            incoming,
            count: 0,
            provider,
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
        match &self.incoming {
            Incoming::Gcm { streams, .. } => streams.len(),
            Incoming::Library { streams, .. } => streams.len(),
        }
    }

    /// Protects the packet that `out` has from `start` on, whose first `header_len` bytes are the
    /// header. `false`: it can't be done, and what `out` has from `start` on is worth nothing.
    pub(crate) fn protect_rtp(
        &mut self,
        out: &mut Vec<u8>,
        start: usize,
        header_len: usize,
        ssrc: u32,
        sequence: u16,
    ) -> bool {
        match &mut self.outgoing {
            Outgoing::Gcm { cipher, streams, .. } => match next_index(streams, ssrc, sequence) {
                Some(index) => cipher.seal_rtp(out, start, header_len, ssrc, index),
                None => false,
            },
            Outgoing::Library(library) => {
                let plain = out.get(start..).unwrap_or_default();
                match library.seal_rtp(plain, header_len, ssrc, sequence) {
                    Some(sealed) => {
                        out.truncate(start);
                        out.extend_from_slice(&sealed);
                        true
                    }
                    None => false,
                }
            }
        }
    }

    pub(crate) fn protect_rtcp(&mut self, packet: &[u8]) -> Option<BytesMut> {
        match &mut self.outgoing {
            Outgoing::Gcm { cipher, rtcp_index, .. } => {
                if *rtcp_index >= MAX_RTCP_INDEX {
                    return None;
                }
                *rtcp_index += 1;
                let mut out = packet.to_vec();
                cipher
                    .seal_rtcp(&mut out, *rtcp_index)
                    .then(|| BytesMut::from(out.as_slice()))
            }
            Outgoing::Library(library) => library.seal_rtcp(packet),
        }
    }

    /// Decrypts an SRTP packet where it is, and returns the length of the plain one. The caller has
    /// checked that the SSRC is welcome. After an error the bytes are worth nothing.
    pub(crate) fn unprotect_rtp(&mut self, packet: &mut [u8], header: &Header) -> Result<usize, Refusal> {
        match &mut self.incoming {
            Incoming::Gcm { cipher, streams } => {
                if packet.len() < header.len + gcm::TAG {
                    return Err(Refusal::Malformed);
                }
                let sequence = header.sequence;
                let_in(streams, &mut self.count, header.ssrc, Stream::rtp, |window| {
                    // A stream begins without rollovers (RFC 3711 §3.3.1).
                    let index = window.map_or(Some(u64::from(sequence)), |window| window.guess(sequence));
                    let index = index.ok_or(Refusal::Replayed)?;
                    if window.is_some_and(|window| !window.is_new(index)) {
                        return Err(Refusal::Replayed);
                    }
                    let plain = cipher.open_rtp(packet, header.len, header.ssrc, index);
                    Ok((index, plain.ok_or(Refusal::Forged)?))
                })
            }
            Incoming::Library { .. } => {
                let plain = self.by_library(header.ssrc, |library| library.open_rtp(packet, header))?;
                copy_back(packet, &plain)
            }
        }
    }

    /// Decrypts an SRTCP packet where it is, as [`Srtp::unprotect_rtp`] does.
    pub(crate) fn unprotect_rtcp(&mut self, packet: &mut [u8]) -> Result<usize, Refusal> {
        let ssrc = packet
            .get(4..8)
            .and_then(|bytes| bytes.try_into().ok())
            .map(u32::from_be_bytes)
            .ok_or(Refusal::Malformed)?;
        match &mut self.incoming {
            Incoming::Gcm { cipher, streams } => {
                let index = u64::from(gcm::rtcp_index(packet).ok_or(Refusal::Forged)?);
                let_in(streams, &mut self.count, ssrc, Stream::rtcp, |window| {
                    if window.is_some_and(|window| !window.is_new(index)) {
                        return Err(Refusal::Replayed);
                    }
                    Ok((index, cipher.open_rtcp(packet).ok_or(Refusal::Forged)?))
                })
            }
            Incoming::Library { .. } => {
                let plain = self.by_library(ssrc, |library| library.open_rtcp(packet))?;
                copy_back(packet, &plain)
            }
        }
    }

    // The library keeps one context for each incoming SSRC.
    fn by_library(
        &mut self,
        ssrc: u32,
        decrypt: impl FnOnce(&mut Library) -> Result<BytesMut, Refusal>,
    ) -> Result<BytesMut, Refusal> {
        let Incoming::Library { remote, streams } = &mut self.incoming else {
            return Err(Refusal::Forged);
        };
        let used = self.count + 1;
        if let Some(stream) = streams.iter_mut().find(|stream| stream.ssrc == ssrc) {
            let plain = decrypt(&mut stream.library)?;
            stream.used = used;
            self.count = used;
            return Ok(plain);
        }
        let mut library = Library::incoming(self.profile, remote, &*self.provider).map_err(|_| Refusal::Forged)?;
        let plain = decrypt(&mut library)?;
        add(streams, LibraryStream { ssrc, library, used });
        self.count = used;
        Ok(plain)
    }
}

// Notes an authentic packet of `ssrc`, and makes room for the stream if it is the first one. `open`
// gets the window so far.
fn let_in(
    streams: &mut Vec<Stream>,
    count: &mut u64,
    ssrc: u32,
    window: impl Fn(&mut Stream) -> &mut Option<Window>,
    open: impl FnOnce(Option<&Window>) -> Result<(u64, usize), Refusal>,
) -> Result<usize, Refusal> {
    let known = streams.iter().position(|stream| stream.ssrc == ssrc);
    let so_far = known.and_then(|at| *window(&mut streams[at]));
    let (index, plain) = open(so_far.as_ref())?;
    *count += 1;
    let used = *count;
    let at = known.unwrap_or_else(|| {
        let fresh = Stream {
            ssrc,
            rtp: None,
            rtcp: None,
            used,
        };
        add(streams, fresh)
    });
    let stream = &mut streams[at];
    stream.used = used;
    match window(stream) {
        Some(window) => window.note(index),
        fresh => *fresh = Some(Window::new(index)),
    }
    Ok(plain)
}

// The index of our next packet of `ssrc`; each index is used once, or the cipher would be broken.
fn next_index(streams: &mut Vec<(u32, Window)>, ssrc: u32, sequence: u16) -> Option<u64> {
    if let Some((_, window)) = streams.iter_mut().find(|(known, _)| *known == ssrc) {
        let index = window.guess(sequence).filter(|index| window.is_new(*index))?;
        window.note(index);
        return Some(index);
    }
    if streams.len() >= MAX_OUTGOING {
        return None;
    }
    let index = u64::from(sequence);
    streams.push((ssrc, Window::new(index)));
    Some(index)
}

fn copy_back(packet: &mut [u8], plain: &[u8]) -> Result<usize, Refusal> {
    packet
        .get_mut(..plain.len())
        .ok_or(Refusal::Malformed)?
        .copy_from_slice(plain);
    Ok(plain.len())
}

#[cfg(test)]
mod tests;
