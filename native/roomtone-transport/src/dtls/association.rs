//! One DTLS association, in either role: the library's state machine, its limits, and
//! retransmission.

use std::collections::VecDeque;
use std::fmt;
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

use super::filter::{self, RecordFilter, Verdict};
use super::hello::{ClientHello, without_session_id};
use super::transcript::{Originals, Restoring};
use super::{Certificate, DtlsEvent, Role};
use crate::complaints::{Cause, Complaints};
use crate::config::TransportConfig;
use crate::sdp::Fingerprints;
use crate::srtp::{MasterKey, Srtp};

/// The library tells associations apart by address. Ours belongs to the ICE session, whatever the
/// addresses under it, so it is filed under one that never changes.
const KEY: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 1);

/// The profiles that we accept, best first: AES-128-GCM is the cheapest and strong, AES-CM what
/// every client has.
const PREFERENCE: [(u16, DtlsProfile); 3] = [
    (0x0007, DtlsProfile::Srtp_Aead_Aes_128_Gcm),
    (0x0001, DtlsProfile::Srtp_Aes128_Cm_Hmac_Sha1_80),
    (0x0008, DtlsProfile::Srtp_Aead_Aes_256_Gcm),
];

/// First wait before our flight is sent again; doubles up to the longest.
const FIRST_RETRANSMIT: Duration = Duration::from_millis(250);
const LONGEST_RETRANSMIT: Duration = Duration::from_secs(4);
/// The library's timer as a server is never run (see [`Association::handle_timeout`]); as a client
/// it is due whenever ours is.
const NEVER: Duration = Duration::from_secs(3600);
const AT_ONCE: Duration = Duration::from_millis(1);
/// A flight that the library builds anew so often; one more would be its end.
const REBUILDS: u32 = 7;
/// Datagrams held back until the ClientHello is whole.
const MAX_HELD: usize = 16;
/// RSA keys below this are refused by the crypto library.
const RSA_BITS: usize = 2048;
/// RFC 5246 section 7.2.
const HANDSHAKE_FAILURE: u8 = 40;

/// Settings that all associations of an endpoint share.
pub(super) struct Terms {
    pub(super) certificate: Arc<Certificate>,
    pub(super) fingerprints: Fingerprints,
    pub(super) complaints: Arc<Complaints>,
    pub(super) budget: u32,
    pub(super) budget_connected: u32,
}

impl Terms {
    pub(super) fn new(certificate: Arc<Certificate>, fingerprints: Fingerprints, config: &TransportConfig) -> Self {
        Self {
            certificate,
            fingerprints,
            complaints: config.complaints.clone(),
            budget: config.handshake_datagrams,
            budget_connected: config.handshake_datagrams_connected,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No ClientHello yet.
    Idle,
    Handshaking,
    Connected,
    Closed,
}

pub(super) struct Association {
    role: Role,
    endpoint: Endpoint,
    state: State,
    mismatch: Arc<AtomicBool>,
    filter: RecordFilter,
    budget: u32,
    held: Vec<BytesMut>,
    /// The random of the client's hello: another one is another handshake.
    random: Vec<u8>,
    /// The hellos as they came, where the library gets them without their session id.
    originals: Option<Originals>,
    outgoing: VecDeque<BytesMut>,
    flight: Vec<BytesMut>,
    retransmit_at: Option<Instant>,
    retransmit_after: Duration,
    rebuilds: u32,
    pub(super) dropped: u64,
}

impl Association {
    pub(super) fn new(role: Role, terms: &Terms) -> Self {
        Self {
            role,
            endpoint: Endpoint::new(KEY, TransportProtocol::UDP, None),
            state: State::Idle,
            mismatch: Arc::new(AtomicBool::new(false)),
            filter: RecordFilter::new(role),
            budget: terms.budget,
            held: Vec::new(),
            random: Vec::new(),
            originals: None,
            outgoing: VecDeque::new(),
            flight: Vec::new(),
            retransmit_at: None,
            retransmit_after: FIRST_RETRANSMIT,
            rebuilds: 0,
            dropped: 0,
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    pub(super) fn is_connected(&self) -> bool {
        self.state == State::Connected
    }

    /// The client's random, once its hello has come.
    pub(super) fn random(&self) -> Option<&[u8]> {
        (!self.random.is_empty()).then_some(&self.random[..])
    }

    /// The client has answered our cookie, so it is at the address that it sends from.
    pub(super) fn is_reachable(&self) -> bool {
        self.flight.len() > 1 || self.flight.iter().any(|datagram| datagram.len() > 100)
    }

    /// Begins the handshake as its client.
    pub(super) fn connect(&mut self, now: Instant, terms: &Terms) -> Option<DtlsEvent> {
        if self.role != Role::Client || self.state != State::Idle {
            return None;
        }
        self.state = State::Handshaking;
        let profiles = PREFERENCE.iter().map(|(_, profile)| *profile).collect();
        let config = self.config(terms, terms.certificate.provider.clone(), profiles, AT_ONCE);
        let begun = config
            .build(true, Some(KEY))
            .and_then(|config| self.endpoint.connect(now, KEY, Arc::new(config), None));
        self.collect(now);
        match begun {
            Ok(()) => None,
            Err(error) => Some(self.failed(now, terms, &error)),
        }
    }

    /// Takes a datagram from a validated address.
    pub(super) fn handle(&mut self, now: Instant, datagram: &[u8], terms: &Terms) -> Option<DtlsEvent> {
        let connected = self.state == State::Connected;
        let verdict = match self.state {
            State::Closed => Verdict::Drop,
            State::Idle if self.role == Role::Client => Verdict::Drop,
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
            return self.pass(now, BytesMut::from(datagram), terms);
        }
        // Nothing else comes before our answer to it, unless it is left over from another
        // handshake.
        if self.held.len() >= MAX_HELD || !filter::is_first_hello(datagram) {
            self.dropped += 1;
            return None;
        }
        self.held.push(BytesMut::from(datagram));
        let hello = ClientHello::parse(self.filter.hello()?).unwrap_or_default();
        if let Some(event) = self.begin(now, &hello, terms) {
            return Some(event);
        }
        for held in std::mem::take(&mut self.held) {
            let event = self.pass(now, held, terms);
            if event.is_some() {
                return event;
            }
        }
        None
    }

    /// Takes the ClientHello. The library takes the first profile of the client's list that is also
    /// in ours. So that our preference counts, ours is the one best profile that the client has.
    fn begin(&mut self, now: Instant, hello: &ClientHello, terms: &Terms) -> Option<DtlsEvent> {
        let profile = PREFERENCE.iter().find(|(id, _)| hello.profiles.contains(id));
        let Some((_, profile)) = profile else {
            let text = format_args!("refused a DTLS client that has none of our SRTP profiles (RFC 5764)");
            return Some(self.refuse(now, terms, Cause::SrtpProfile, text));
        };
        if !hello.extended_master_secret {
            let text = format_args!("refused a DTLS client without the Extended Master Secret extension (RFC 7627)");
            return Some(self.refuse(now, terms, Cause::ExtendedMasterSecret, text));
        }
        self.random.clone_from(&hello.random);
        let mut provider: Arc<dyn RTCCryptoProvider> = terms.certificate.provider.clone();
        if hello.session_id > 0 {
            let originals = Originals::default();
            provider = Arc::new(Restoring {
                inner: provider,
                originals: originals.clone(),
            });
            self.originals = Some(originals);
        } else {
            self.filter.forget_hello();
        }
        match self.config(terms, provider, vec![*profile], NEVER).build(false, None) {
            Ok(config) => {
                self.endpoint.set_server_config(Some(Arc::new(config)));
                self.state = State::Handshaking;
                None
            }
            Err(error) => Some(self.failed(now, terms, &error)),
        }
    }

    fn config(
        &self,
        terms: &Terms,
        provider: Arc<dyn RTCCryptoProvider>,
        profiles: Vec<DtlsProfile>,
        interval: Duration,
    ) -> ConfigBuilder {
        let fingerprints = terms.fingerprints.clone();
        let mismatch = self.mismatch.clone();
        ConfigBuilder::default()
            .with_crypto_provider(provider)
            .with_certificates(vec![terms.certificate.dtls.clone()])
            .with_srtp_protection_profiles(profiles)
            // No authority signs these certificates: the fingerprint in the offer vouches for them
            // (RFC 8827).
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
            .with_flight_interval(interval)
    }

    // Hands a datagram to the library, in the form that it can read.
    fn pass(&mut self, now: Instant, datagram: BytesMut, terms: &Terms) -> Option<DtlsEvent> {
        if let Some(originals) = self.originals.clone() {
            let records = self.filter.rewrite(&datagram, |message| {
                let given = without_session_id(message)?;
                originals.note(&given, message);
                Some(given)
            });
            return match records.concat() {
                empty if empty.is_empty() => None,
                records => self.read(now, BytesMut::from(&records[..]), terms),
            };
        }
        // The server repeats its flight because ours hasn't come. The library would stop its timer
        // over that.
        let repeated = self.role == Role::Client
            && self.state == State::Handshaking
            && filter::is_plain_flight(&datagram)
            && self.flight.iter().any(|ours| filter::changes_cipher(ours));
        if repeated {
            return None;
        }
        self.read(now, datagram, terms)
    }

    fn read(&mut self, now: Instant, datagram: BytesMut, terms: &Terms) -> Option<DtlsEvent> {
        let result = self.endpoint.read(now, KEY, None, datagram);
        let was_connected = self.state == State::Connected;
        let event = match result {
            Ok(events) => events.into_iter().find_map(|event| match event {
                EndpointEvent::HandshakeComplete => Some(self.connected(now, terms)),
                EndpointEvent::PeerClosed if was_connected => Some(DtlsEvent::Closed),
                EndpointEvent::PeerClosed => Some(DtlsEvent::Failed),
                _ => None,
            }),
            Err(Error::ErrAlertFatalOrClose) if was_connected => Some(DtlsEvent::Closed),
            // An established association doesn't fall over a bad record.
            Err(_) if was_connected => None,
            Err(error) => Some(self.failed(now, terms, &error)),
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

    fn connected(&mut self, now: Instant, terms: &Terms) -> DtlsEvent {
        match self.export(terms) {
            Ok(srtp) => {
                self.state = State::Connected;
                self.budget = terms.budget_connected;
                self.filter.forget_hello();
                DtlsEvent::Connected(Box::new(srtp))
            }
            Err(error) => self.failed(now, terms, &error),
        }
    }

    // The end of a handshake, with a line for the operator.
    fn failed(&mut self, now: Instant, terms: &Terms, error: &Error) -> DtlsEvent {
        self.state = State::Closed;
        let complain = |cause, text: fmt::Arguments<'_>| terms.complaints.warn(now, cause, text);
        if self.mismatch.load(Ordering::Relaxed) {
            let text = format_args!("refused a DTLS peer whose certificate isn't the one in its offer");
            complain(Cause::Fingerprint, text);
            return DtlsEvent::FingerprintMismatch;
        }
        let weak = self.endpoint.get_connection_state(KEY);
        let weak = weak.and_then(|state| rsa_bits(state.peer_certificates.first()?));
        match (weak.filter(|bits| *bits < RSA_BITS), error) {
            (Some(bits), _) => {
                let text = format_args!("refused a DTLS peer whose RSA key has {bits} bits; {RSA_BITS} are needed");
                complain(Cause::WeakKey, text);
            }
            (None, Error::ErrClientRequiredButNoServerEms) => {
                let text =
                    format_args!("refused a DTLS server without the Extended Master Secret extension (RFC 7627)");
                complain(Cause::ExtendedMasterSecret, text);
            }
            (None, error) => complain(Cause::Handshake, format_args!("a DTLS handshake failed: {error}")),
        }
        DtlsEvent::Failed
    }

    // The end of a handshake that hasn't reached the library.
    fn refuse(&mut self, now: Instant, terms: &Terms, cause: Cause, text: fmt::Arguments<'_>) -> DtlsEvent {
        self.state = State::Closed;
        self.held = Vec::new();
        self.outgoing
            .push_back(BytesMut::from(&filter::fatal_alert(HANDSHAKE_FAILURE)[..]));
        terms.complaints.warn(now, cause, text);
        DtlsEvent::Failed
    }

    /// RFC 5764 section 4.2: the SRTP keys come out of the DTLS session.
    fn export(&self, terms: &Terms) -> Result<Srtp, Error> {
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
        config.set_session_keys_from_keying_material(material.as_ref(), self.role == Role::Client)?;
        let keys = config.keys;
        let local = MasterKey {
            key: SecretVec::new(keys.local_master_key),
            salt: SecretVec::new(keys.local_master_salt),
        };
        let remote = MasterKey {
            key: SecretVec::new(keys.remote_master_key),
            salt: SecretVec::new(keys.remote_master_salt),
        };
        let provider: Arc<dyn RTCCryptoProvider> = terms.certificate.provider.clone();
        Srtp::new(profile, &local, remote, provider)
    }

    /// Takes what the library wants to send. Before the handshake is done that is a flight, kept to
    /// be sent again.
    fn collect(&mut self, now: Instant) {
        let fresh = self.fresh();
        if self.state == State::Connected {
            self.stop_retransmitting();
        } else if !fresh.is_empty() {
            self.flight.clone_from(&fresh);
            self.retransmit_after = FIRST_RETRANSMIT;
            self.retransmit_at = Some(now + FIRST_RETRANSMIT);
            self.rebuilds = 0;
        }
        self.outgoing.extend(fresh);
    }

    fn fresh(&mut self) -> Vec<BytesMut> {
        std::iter::from_fn(|| self.endpoint.poll_transmit())
            .map(|transmit| transmit.message)
            .collect()
    }

    fn stop_retransmitting(&mut self) {
        self.flight = Vec::new();
        self.retransmit_at = None;
    }

    pub(super) fn poll_transmit(&mut self) -> Option<BytesMut> {
        self.outgoing.pop_front()
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.retransmit_at
    }

    /// Sends our flight again.
    ///
    /// As a server not with the library's timer: rtc-dtls 0.21.1 stops it for good when a message
    /// arrives that doesn't complete the peer's flight, such as a repeated ClientHello, and gives
    /// up after seven repeats. The same datagrams serve: the peer drops the records that it has and
    /// takes those that it missed.
    ///
    /// As a client with the library's, as long as it goes: a server that has finished sends its
    /// last flight again only when it sees ours under new record numbers (RFC 6347 section 4.2.4).
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if self.retransmit_at.is_none_or(|at| at > now) {
            return;
        }
        let rebuild = self.endpoint.poll_timeout(&KEY).filter(|at| *at <= now);
        if self.role == Role::Client && rebuild.is_some() && self.rebuilds < REBUILDS {
            self.rebuilds += 1;
            // An error is the end of the library's repeats, not of the handshake.
            let _ = self.endpoint.handle_timeout(KEY, now);
            let fresh = self.fresh();
            if !fresh.is_empty() {
                self.flight = fresh;
            }
        }
        self.outgoing.extend(self.flight.iter().cloned());
        self.retransmit_after = (self.retransmit_after * 2).min(LONGEST_RETRANSMIT);
        self.retransmit_at = Some(now + self.retransmit_after);
    }

    /// Says close_notify, where there is a session to close.
    pub(super) fn close(&mut self, now: Instant) {
        self.stop_retransmitting();
        if self.state == State::Connected && self.endpoint.close(now).is_ok() {
            self.state = State::Closed;
            let fresh = self.fresh();
            self.outgoing.extend(fresh);
        }
        self.state = State::Closed;
    }
}

/// The length of the RSA key in a certificate; `None` where it has another kind of key.
fn rsa_bits(certificate: &[u8]) -> Option<usize> {
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate).ok()?;
    match certificate.public_key().parsed().ok()? {
        x509_parser::public_key::PublicKey::RSA(key) => Some(key.key_size()),
        _ => None,
    }
}
