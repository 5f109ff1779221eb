//! DTLS and the SRTP contexts that come out of it.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rtc::dtls::endpoint::{Endpoint, EndpointEvent};
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::shared::TransportProtocol;
use rtc::shared::error::Error;
use rtc::srtp::config::{Config, LABEL_EXTRACTOR_DTLS_SRTP};
use rtc::srtp::context::Context;
use rtc::srtp::option::{srtcp_replay_protection, srtp_replay_protection};
use rtc::srtp::protection_profile::ProtectionProfile;

use super::{ClientError, CloseReason, Identity, Profiles};

/// rtc-dtls knows connections by address. Ours belongs to the ICE session, which may change addresses, so it goes by
/// a constant one.
const KEY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 65_535);

pub(super) struct Crypt {
    dtls: Endpoint,
    srtp: Option<Srtp>,
}

struct Srtp {
    profile: &'static str,
    outgoing: Context,
    incoming: Context,
}

/// The outcome of a DTLS datagram.
pub(super) enum Progress {
    Nothing,
    Rejected,
    Connected,
    Closed(CloseReason),
}

impl Crypt {
    pub fn connect(
        now: Instant,
        identity: &Identity,
        profiles: Profiles,
        retransmit: Duration,
    ) -> Result<Crypt, ClientError> {
        let config = identity.handshake_config(profiles, retransmit)?;
        let mut dtls = Endpoint::new(KEY, TransportProtocol::UDP, None);
        dtls.connect(now, KEY, config, None)
            .map_err(|e| ClientError::Crypto(e.to_string()))?;
        Ok(Crypt { dtls, srtp: None })
    }

    pub fn handle(&mut self, now: Instant, data: &[u8], identity: &Identity, expected: &str) -> Progress {
        let events = match self.dtls.read(now, KEY, None, BytesMut::from(data)) {
            Ok(events) => events,
            Err(Error::ErrAlertFatalOrClose) => {
                return Progress::Closed(match self.srtp {
                    Some(_) => CloseReason::RemoteCloseNotify,
                    None => CloseReason::DtlsFailed("the server refused with an alert".into()),
                });
            }
            // A DTLS record is easily forged before the keys are there: only the deadline ends a handshake.
            Err(error) => {
                log::debug!("DTLS: {error}");
                return Progress::Rejected;
            }
        };
        let mut progress = Progress::Nothing;
        for event in events {
            match event {
                EndpointEvent::HandshakeComplete => match self.finish_handshake(identity, expected) {
                    Ok(srtp) => {
                        self.srtp = Some(srtp);
                        progress = Progress::Connected;
                    }
                    Err(reason) => return Progress::Closed(reason),
                },
                EndpointEvent::PeerClosed => return Progress::Closed(CloseReason::RemoteCloseNotify),
                _ => {}
            }
        }
        progress
    }

    fn finish_handshake(&self, identity: &Identity, expected: &str) -> Result<Srtp, CloseReason> {
        let failed = |why: String| CloseReason::DtlsFailed(why);
        let state = self
            .dtls
            .get_connection_state(KEY)
            .ok_or_else(|| failed("no connection".into()))?;
        let certificate = state
            .peer_certificates
            .first()
            .ok_or(CloseReason::FingerprintMismatch)?;
        let fingerprint = identity
            .fingerprint_of(certificate)
            .map_err(|e| failed(e.to_string()))?;
        if fingerprint != expected {
            return Err(CloseReason::FingerprintMismatch);
        }
        let (name, profile) = match state.srtp_protection_profile() {
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm => ("AEAD_AES_128_GCM", ProtectionProfile::AeadAes128Gcm),
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => {
                ("SRTP_AES128_CM_HMAC_SHA1_80", ProtectionProfile::Aes128CmHmacSha1_80)
            }
            other => return Err(failed(format!("the server chose no SRTP profile of ours ({other:?})"))),
        };
        let mut config = Config {
            profile,
            ..Config::default()
        };
        let length = config.keying_material_len();
        let material = state
            .export_keying_material(LABEL_EXTRACTOR_DTLS_SRTP, &[], length)
            .map_err(|e| failed(e.to_string()))?;
        config
            .set_session_keys_from_keying_material(material.as_ref(), true)
            .map_err(|e| failed(e.to_string()))?;
        let crypto = identity.provider().crypto();
        let keys = &config.keys;
        let outgoing = Context::new(
            &keys.local_master_key,
            &keys.local_master_salt,
            profile,
            None,
            None,
            crypto,
        );
        let incoming = Context::new(
            &keys.remote_master_key,
            &keys.remote_master_salt,
            profile,
            Some(srtp_replay_protection(128)),
            Some(srtcp_replay_protection(64)),
            crypto,
        );
        Ok(Srtp {
            profile: name,
            outgoing: outgoing.map_err(|e| failed(e.to_string()))?,
            incoming: incoming.map_err(|e| failed(e.to_string()))?,
        })
    }

    pub fn handle_timeout(&mut self, now: Instant) -> Result<(), CloseReason> {
        if self.poll_timeout().is_some_and(|at| at <= now) {
            self.dtls
                .handle_timeout(KEY, now)
                .map_err(|e| CloseReason::DtlsFailed(e.to_string()))?;
        }
        Ok(())
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        self.dtls.poll_timeout(&KEY)
    }

    pub fn poll_transmit(&mut self) -> Option<Bytes> {
        self.dtls.poll_transmit().map(|transmit| transmit.message.freeze())
    }

    pub fn close(&mut self, now: Instant) {
        self.dtls.stop(now, KEY);
    }

    pub fn profile(&self) -> Option<&'static str> {
        self.srtp.as_ref().map(|srtp| srtp.profile)
    }

    pub fn protect_rtp(&mut self, plain: &[u8]) -> Option<Bytes> {
        self.srtp
            .as_mut()?
            .outgoing
            .encrypt_rtp(plain)
            .ok()
            .map(BytesMut::freeze)
    }

    pub fn protect_rtcp(&mut self, plain: &[u8]) -> Option<Bytes> {
        self.srtp
            .as_mut()?
            .outgoing
            .encrypt_rtcp(plain)
            .ok()
            .map(BytesMut::freeze)
    }

    pub fn unprotect_rtp(&mut self, data: &[u8]) -> Option<Bytes> {
        self.srtp
            .as_mut()?
            .incoming
            .decrypt_rtp(data)
            .ok()
            .map(BytesMut::freeze)
    }

    pub fn unprotect_rtcp(&mut self, data: &[u8]) -> Option<Bytes> {
        self.srtp
            .as_mut()?
            .incoming
            .decrypt_rtcp(data)
            .ok()
            .map(BytesMut::freeze)
    }
}
