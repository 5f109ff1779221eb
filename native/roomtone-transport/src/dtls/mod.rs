//! DTLS 1.2, passive side: the handshake that makes the SRTP keys.
//!
//! The codec and the state machine are `rtc::dtls`; here are its limits, the choice of the SRTP profile, the check of
//! the peer's fingerprint, and retransmission.

mod certificate;
mod filter;

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc::crypto::{RTCCryptoProvider, SecretVec};
use rtc::dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType};
use rtc::dtls::endpoint::{Endpoint, EndpointEvent};
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile as DtlsProfile;
use rtc::shared::TransportProtocol;
use rtc::shared::error::Error;
use rtc::srtp::config::{Config as SrtpConfig, LABEL_EXTRACTOR_DTLS_SRTP};
use rtc::srtp::protection_profile::ProtectionProfile;

pub use certificate::{Certificate, CertificateError};
use filter::{RecordFilter, Verdict};

use crate::config::TransportConfig;
use crate::sdp::Fingerprints;
use crate::srtp::{MasterKey, Srtp};

/// The library tells associations apart by address. Ours belongs to the ICE session, whatever the addresses under it,
/// so it is filed under one that never changes.
const KEY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// What we accept, best first: AES-128-GCM is the cheapest and strong, AES-CM what every client has.
const PREFERENCE: [(u16, DtlsProfile); 3] = [
    (0x0007, DtlsProfile::Srtp_Aead_Aes_128_Gcm),
    (0x0001, DtlsProfile::Srtp_Aes128_Cm_Hmac_Sha1_80),
    (0x0008, DtlsProfile::Srtp_Aead_Aes_256_Gcm),
];

/// First wait before our flight is sent again; doubles up to the longest.
const FIRST_RETRANSMIT: Duration = Duration::from_millis(250);
const LONGEST_RETRANSMIT: Duration = Duration::from_secs(4);
/// The library's own timer is never run (see [`Dtls::handle_timeout`]).
const NEVER: Duration = Duration::from_secs(3600);
/// Datagrams held back until the ClientHello is whole.
const MAX_HELD: usize = 16;

/// What came of a datagram.
pub(crate) enum DtlsEvent {
    Connected(Box<Srtp>),
    /// The peer closed: its close_notify or a fatal alert under the session's keys.
    Closed,
    Failed,
    FingerprintMismatch,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No ClientHello yet.
    Idle,
    Handshaking,
    Connected,
    Closed,
}

/// One association.
pub(crate) struct Dtls {
    endpoint: Endpoint,
    state: State,
    certificate: Arc<Certificate>,
    fingerprints: Fingerprints,
    mismatch: Arc<AtomicBool>,
    filter: RecordFilter,
    budget: u32,
    budget_connected: u32,
    held: Vec<BytesMut>,
    outgoing: VecDeque<BytesMut>,
    flight: Vec<BytesMut>,
    retransmit_at: Option<Instant>,
    retransmit_after: Duration,
    pub(crate) dropped: u64,
}

impl Dtls {
    pub(crate) fn new(certificate: Arc<Certificate>, fingerprints: Fingerprints, config: &TransportConfig) -> Self {
        Self {
            endpoint: Endpoint::new(KEY, TransportProtocol::UDP, None),
            state: State::Idle,
            certificate,
            fingerprints,
            mismatch: Arc::new(AtomicBool::new(false)),
            filter: RecordFilter::default(),
            budget: config.handshake_datagrams,
            budget_connected: config.handshake_datagrams_connected,
            held: Vec::new(),
            outgoing: VecDeque::new(),
            flight: Vec::new(),
            retransmit_at: None,
            retransmit_after: FIRST_RETRANSMIT,
            dropped: 0,
        }
    }

    /// Does a new offer name the same certificate?
    pub(crate) fn expects(&self, fingerprints: &Fingerprints) -> bool {
        self.fingerprints == *fingerprints
    }

    /// Takes a datagram from a validated address.
    pub(crate) fn handle(&mut self, now: Instant, datagram: &[u8]) -> Option<DtlsEvent> {
        let connected = self.state == State::Connected;
        let verdict = match self.state {
            State::Closed => Verdict::Drop,
            _ => self.filter.judge(datagram, connected),
        };
        let allowed = match verdict {
            Verdict::Drop => false,
            Verdict::Alert => true,
            Verdict::Handshake if self.budget > 0 => {
                self.budget -= 1;
                true
            }
            Verdict::Handshake => false,
        };
        if !allowed {
            self.dropped += 1;
            return None;
        }
        if self.state != State::Idle {
            return self.read(now, BytesMut::from(datagram));
        }
        if self.held.len() >= MAX_HELD {
            self.dropped += 1;
            return None;
        }
        self.held.push(BytesMut::from(datagram));
        let offered = self.filter.offered_profiles()?;
        self.filter.forget_hello();
        if let Err(error) = self.begin(&offered) {
            log::debug!("dtls: no handshake: {error}");
            self.state = State::Closed;
            return Some(DtlsEvent::Failed);
        }
        for held in std::mem::take(&mut self.held) {
            let event = self.read(now, held);
            if event.is_some() {
                return event;
            }
        }
        None
    }

    /// The library takes the first profile of the client's list that is also in ours. So that our preference counts,
    /// ours is the one best profile that the client has.
    fn begin(&mut self, offered: &[u16]) -> Result<(), Error> {
        let profile = PREFERENCE
            .iter()
            .find(|(id, _)| offered.contains(id))
            .map(|(_, profile)| *profile)
            .ok_or_else(|| Error::Other("the client has no SRTP profile of ours".to_owned()))?;
        let fingerprints = self.fingerprints.clone();
        let mismatch = self.mismatch.clone();
        let config = ConfigBuilder::default()
            .with_crypto_provider(self.certificate.provider.clone())
            .with_certificates(vec![self.certificate.dtls.clone()])
            .with_srtp_protection_profiles(vec![profile])
            // No authority signs these certificates: the fingerprint in the offer vouches for them (RFC 8827).
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            .with_insecure_skip_verify(true)
            .with_verify_peer_certificate(Some(Arc::new(move |chain: &[Vec<u8>], _| match chain.first() {
                Some(certificate) if fingerprints.matches(certificate) => Ok(()),
                _ => {
                    mismatch.store(true, Ordering::Relaxed);
                    Err(Error::Other("fingerprint mismatch".to_owned()))
                }
            })))
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .with_flight_interval(NEVER)
            .build(false, None)?;
        self.endpoint.set_server_config(Some(Arc::new(config)));
        self.state = State::Handshaking;
        Ok(())
    }

    fn read(&mut self, now: Instant, datagram: BytesMut) -> Option<DtlsEvent> {
        let result = self.endpoint.read(now, KEY, None, datagram);
        let was_connected = self.state == State::Connected;
        let event = match result {
            Ok(events) => events.into_iter().find_map(|event| match event {
                EndpointEvent::HandshakeComplete => Some(self.connected()),
                EndpointEvent::PeerClosed if was_connected => Some(DtlsEvent::Closed),
                EndpointEvent::PeerClosed => Some(DtlsEvent::Failed),
                _ => None,
            }),
            Err(_) if self.mismatch.load(Ordering::Relaxed) => Some(DtlsEvent::FingerprintMismatch),
            Err(Error::ErrAlertFatalOrClose) if was_connected => Some(DtlsEvent::Closed),
            // An established association doesn't fall over a bad record.
            Err(_) if was_connected => None,
            Err(error) => {
                log::debug!("dtls: handshake failed: {error}");
                Some(DtlsEvent::Failed)
            }
        };
        self.collect(now);
        if matches!(
            event,
            Some(DtlsEvent::Closed | DtlsEvent::Failed | DtlsEvent::FingerprintMismatch)
        ) {
            self.state = State::Closed;
            self.stop_retransmitting();
        }
        event
    }

    fn connected(&mut self) -> DtlsEvent {
        match self.export() {
            Ok(srtp) => {
                self.state = State::Connected;
                self.budget = self.budget_connected;
                DtlsEvent::Connected(Box::new(srtp))
            }
            Err(error) => {
                log::debug!("dtls: no SRTP keys: {error}");
                DtlsEvent::Failed
            }
        }
    }

    /// RFC 5764 section 4.2: the SRTP keys come out of the DTLS session.
    fn export(&self) -> Result<Srtp, Error> {
        let state = self
            .endpoint
            .get_connection_state(KEY)
            .ok_or_else(|| Error::Other("no association".to_owned()))?;
        let profile = match state.srtp_protection_profile() {
            DtlsProfile::Srtp_Aead_Aes_128_Gcm => ProtectionProfile::AeadAes128Gcm,
            DtlsProfile::Srtp_Aead_Aes_256_Gcm => ProtectionProfile::AeadAes256Gcm,
            DtlsProfile::Srtp_Aes128_Cm_Hmac_Sha1_80 => ProtectionProfile::Aes128CmHmacSha1_80,
            other => return Err(Error::Other(format!("SRTP profile {other:?} negotiated"))),
        };
        let mut config = SrtpConfig {
            profile,
            ..Default::default()
        };
        let material = state.export_keying_material(LABEL_EXTRACTOR_DTLS_SRTP, &[], config.keying_material_len())?;
        config.set_session_keys_from_keying_material(material.as_ref(), false)?;
        let keys = config.keys;
        let local = MasterKey {
            key: SecretVec::new(keys.local_master_key),
            salt: SecretVec::new(keys.local_master_salt),
        };
        let remote = MasterKey {
            key: SecretVec::new(keys.remote_master_key),
            salt: SecretVec::new(keys.remote_master_salt),
        };
        let provider: Arc<dyn RTCCryptoProvider> = self.certificate.provider.clone();
        Srtp::new(profile, &local, remote, provider)
    }

    /// Takes what the library wants to send. Before the handshake is done that is a flight, kept to be sent again.
    fn collect(&mut self, now: Instant) {
        let mut fresh = vec![];
        while let Some(transmit) = self.endpoint.poll_transmit() {
            fresh.push(transmit.message);
        }
        if self.state == State::Connected {
            self.stop_retransmitting();
        } else if !fresh.is_empty() {
            self.flight.clone_from(&fresh);
            self.retransmit_after = FIRST_RETRANSMIT;
            self.retransmit_at = Some(now + FIRST_RETRANSMIT);
        }
        self.outgoing.extend(fresh);
    }

    fn stop_retransmitting(&mut self) {
        self.flight = Vec::new();
        self.retransmit_at = None;
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<BytesMut> {
        self.outgoing.pop_front()
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.retransmit_at
    }

    /// Sends our flight again.
    ///
    /// Not with the library's timer: rtc-dtls 0.21.1 stops it for good when a message arrives that doesn't complete
    /// the peer's flight, such as a repeated ClientHello, and gives up after seven repeats. The same datagrams serve:
    /// the peer drops the records that it has and takes those that it missed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.retransmit_at.is_some_and(|at| at <= now) {
            self.outgoing.extend(self.flight.iter().cloned());
            self.retransmit_after = (self.retransmit_after * 2).min(LONGEST_RETRANSMIT);
            self.retransmit_at = Some(now + self.retransmit_after);
        }
    }

    /// Says close_notify, where there is a session to close.
    pub(crate) fn close(&mut self, now: Instant) {
        self.stop_retransmitting();
        if self.state == State::Connected && self.endpoint.close(now).is_ok() {
            self.state = State::Closed;
            self.collect(now);
            self.stop_retransmitting();
        }
        self.state = State::Closed;
    }
}
