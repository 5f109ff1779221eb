use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc::crypto::{HashAlgorithm, RTCCryptoProvider, default_provider};
use rtc::dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType, HandshakeConfig};
use rtc::dtls::crypto::Certificate;
use rtc::dtls::endpoint::{Endpoint as Dtls, EndpointEvent};
pub use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile as Profile;
use rtc::shared::TransportProtocol;
use rtc::srtp::config::{Config as SrtpConfig, LABEL_EXTRACTOR_DTLS_SRTP};
use rtc::srtp::context::Context;
use rtc::srtp::protection_profile::ProtectionProfile;
use rtc::stun::attributes::{
    ATTR_ICE_CONTROLLED, ATTR_ICE_CONTROLLING, ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME, AttrType,
};
use rtc::stun::fingerprint::FINGERPRINT;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Message, Setter, TransactionId};

use super::resumed::Resumed;

const PEER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 2);

#[derive(Clone)]
pub struct ClientOptions {
    pub profiles: Vec<Profile>,
    pub ssrc: u32,
    pub announce_ssrc: bool,
    pub level_id: Option<u8>,
    pub direction: &'static str,
    /// Announce a fingerprint that isn't ours.
    pub lie: bool,
    /// `passive`: the client is the DTLS server.
    pub setup: &'static str,
    /// The Extended Master Secret extension.
    pub ems: bool,
    /// Bytes of a session id in each ClientHello.
    pub session_id: usize,
    /// The session id of `o=`.
    pub origin: &'static str,
    pub tls_id: Option<&'static str>,
    /// Of each check.
    pub priority: u32,
    pub check_every: Duration,
    /// Offer RED, before plain Opus.
    pub red: bool,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            profiles: vec![Profile::Srtp_Aes128_Cm_Hmac_Sha1_80, Profile::Srtp_Aead_Aes_128_Gcm],
            ssrc: 0x1122_3344,
            announce_ssrc: true,
            level_id: Some(1),
            direction: "sendrecv",
            lie: false,
            setup: "actpass",
            ems: true,
            session_id: 0,
            origin: "1",
            tls_id: None,
            priority: 0x6E00_00FF,
            check_every: Duration::from_millis(500),
            red: false,
        }
    }
}

struct Raw(AttrType, Vec<u8>);

impl Setter for Raw {
    fn add_to(&self, m: &mut Message) -> rtc::shared::error::Result<()> {
        m.add(self.0, &self.1);
        Ok(())
    }
}

pub struct Client {
    pub options: ClientOptions,
    pub ufrag: String,
    pub pwd: String,
    pub remote_ufrag: String,
    pub remote_pwd: String,
    pub answers: Vec<String>,
    provider: Arc<dyn RTCCryptoProvider>,
    certificate: Certificate,
    resumed: Resumed,
    fingerprint: String,
    config: Arc<HandshakeConfig>,
    dtls: Dtls,
    dtls_started: bool,
    pub connected: bool,
    pub dtls_closed: bool,
    pub dtls_error: Option<String>,
    /// The alert in clear that came with it.
    pub alert: Option<u8>,
    tx: Option<Context>,
    rx: Option<Context>,
    pub nominate: bool,
    pub checking: bool,
    pub next_check: Instant,
    pub stun_successes: usize,
    pub stun_errors: Vec<u16>,
    /// Decrypted.
    pub rtp: Vec<(Instant, Vec<u8>)>,
    pub rtcp: Vec<(Instant, Vec<u8>)>,
    pub undecryptable: usize,
    out: VecDeque<Vec<u8>>,
    /// A server's datagrams since it last heard something: sent again, as the library's own timer
    /// stops for good at a message that doesn't complete a flight.
    flight: Vec<Vec<u8>>,
    repeat_at: Option<Instant>,
    restarts: u32,
}

impl Client {
    pub fn new(now: Instant, options: ClientOptions) -> Self {
        let provider = default_provider().unwrap();
        let certificate = Certificate::generate_self_signed(vec!["client".to_owned()], provider.crypto()).unwrap();
        Self::with_certificate(now, options, certificate)
    }

    /// The same client, started again: it has kept its certificate and nothing else.
    pub fn started_again(&self, now: Instant, options: ClientOptions) -> Self {
        let mut client = Self::with_certificate(now, options, self.certificate.clone());
        client.restarts = self.restarts + 1;
        client.ufrag = format!("cagain{}", client.restarts);
        client.pwd = format!("another/password/{:08}", client.restarts);
        client
    }

    pub fn with_certificate(now: Instant, options: ClientOptions, certificate: Certificate) -> Self {
        let provider = default_provider().unwrap();
        let digest = provider
            .crypto()
            .hash(HashAlgorithm::Sha256, &certificate.certificate[0])
            .unwrap();
        let mut hex: Vec<String> = digest.iter().map(|b| format!("{b:02X}")).collect();
        if options.lie {
            hex.reverse();
        }
        let resumed = Resumed::new(options.session_id);
        let config = ConfigBuilder::default()
            .with_crypto_provider(resumed.provider(provider.clone()))
            .with_certificates(vec![resumed.certificate(certificate.clone())])
            .with_srtp_protection_profiles(options.profiles.clone())
            .with_insecure_skip_verify(true)
            .with_extended_master_secret(match options.ems {
                true => ExtendedMasterSecretType::Require,
                false => ExtendedMasterSecretType::Disable,
            })
            .with_flight_interval(Duration::from_millis(300));
        let passive = options.setup == "passive";
        let config = match passive {
            true => config
                .with_client_auth(ClientAuthType::RequireAnyClientCert)
                .build(false, None),
            false => config.build(true, Some(PEER)),
        };
        let config = Arc::new(config.unwrap());
        Self {
            ufrag: "cufrag0".to_owned(),
            pwd: "cpassword-cpassword-0000".replace('-', "/"),
            remote_ufrag: String::new(),
            remote_pwd: String::new(),
            answers: vec![],
            provider,
            fingerprint: format!("sha-256 {}", hex.join(":")),
            dtls: Dtls::new(PEER, TransportProtocol::UDP, passive.then(|| config.clone())),
            config,
            certificate,
            resumed,
            dtls_started: passive,
            connected: false,
            dtls_closed: false,
            dtls_error: None,
            alert: None,
            tx: None,
            rx: None,
            nominate: true,
            checking: true,
            next_check: now,
            stun_successes: 0,
            stun_errors: vec![],
            rtp: vec![],
            rtcp: vec![],
            undecryptable: 0,
            out: VecDeque::new(),
            flight: vec![],
            repeat_at: None,
            restarts: 0,
            options,
        }
    }

    pub fn offer(&self) -> String {
        let o = &self.options;
        let mut sdp = format!(
            "v=0\r\no=- {} 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
             m=audio 9 UDP/TLS/RTP/SAVPF {}\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=ice-ufrag:{}\r\na=ice-pwd:{}\r\n\
             a=fingerprint:{}\r\na=setup:{}\r\na=rtcp-mux\r\na=rtcp-rsize\r\na={}\r\na=rtpmap:111 opus/48000/2\r\n",
            o.origin,
            if o.red { "63 111" } else { "111" },
            self.ufrag,
            self.pwd,
            self.fingerprint,
            o.setup,
            o.direction
        );
        if o.red {
            sdp += "a=rtpmap:63 red/48000/2\r\na=fmtp:63 111/111\r\n";
        }
        if let Some(id) = o.level_id {
            sdp += &format!("a=extmap:{id} urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n");
        }
        if let Some(id) = o.tls_id {
            sdp += &format!("a=tls-id:{id}\r\n");
        }
        if o.announce_ssrc {
            sdp += &format!("a=ssrc:{} cname:client\r\n", o.ssrc);
        }
        sdp
    }

    /// New credentials, as an ICE restart has them.
    pub fn restart(&mut self) -> String {
        self.restarts += 1;
        self.ufrag = format!("cufrag{}", self.restarts);
        self.pwd = format!("cpassword/cpassword/{:04}", self.restarts);
        self.offer()
    }

    pub fn take_answer(&mut self, answer: &str) {
        let find = |key: &str| {
            answer
                .lines()
                .find_map(|l| l.strip_prefix(key))
                .unwrap_or_else(|| panic!("no {key} in {answer}"))
                .to_owned()
        };
        self.remote_ufrag = find("a=ice-ufrag:");
        self.remote_pwd = find("a=ice-pwd:");
        self.answers.push(answer.to_owned());
    }

    /// A binding request; `extra` may add attributes.
    pub fn check(&self, nominate: bool, controlled: bool) -> Vec<u8> {
        self.check_as(
            &format!("{}:{}", self.remote_ufrag, self.ufrag),
            &self.remote_pwd,
            nominate,
            controlled,
        )
    }

    /// A nomination for a candidate of this priority.
    pub fn nomination(&mut self, priority: u32) -> Vec<u8> {
        let own = std::mem::replace(&mut self.options.priority, priority);
        let check = self.check(true, false);
        self.options.priority = own;
        check
    }

    pub fn check_as(&self, username: &str, password: &str, nominate: bool, controlled: bool) -> Vec<u8> {
        let mut message = Message::new();
        let role = if controlled {
            ATTR_ICE_CONTROLLED
        } else {
            ATTR_ICE_CONTROLLING
        };
        let mut setters: Vec<Box<dyn Setter + '_>> = vec![
            Box::new(TransactionId::new()),
            Box::new(BINDING_REQUEST),
            Box::new(Raw(ATTR_USERNAME, username.as_bytes().to_vec())),
            Box::new(Raw(role, vec![1; 8])),
            Box::new(Raw(ATTR_PRIORITY, self.options.priority.to_be_bytes().to_vec())),
        ];
        if nominate {
            setters.push(Box::new(Raw(ATTR_USE_CANDIDATE, vec![])));
        }
        setters.push(Box::new(MessageIntegrity::new_short_term_integrity_with_provider(
            password.to_owned(),
            self.provider.crypto(),
        )));
        setters.push(Box::new(FINGERPRINT));
        message.build(&setters).unwrap();
        message.raw
    }

    fn is_server(&self) -> bool {
        self.options.setup == "passive"
    }

    pub fn poll_timeout(&self) -> Option<Instant> {
        let check = self.checking.then_some(self.next_check);
        let dtls = if self.is_server() {
            self.repeat_at
        } else {
            self.dtls.poll_timeout(&PEER)
        };
        [check, dtls.filter(|_| !self.connected)].into_iter().flatten().min()
    }

    pub fn handle_timeout(&mut self, now: Instant) {
        if self.checking && self.next_check <= now {
            let request = self.check(self.nominate, false);
            self.out.push_back(request);
            self.next_check = now + self.options.check_every;
        }
        if self.is_server() {
            if self.repeat_at.is_some_and(|at| at <= now) && !self.connected {
                self.out.extend(self.flight.iter().cloned());
                self.repeat_at = Some(now + Duration::from_millis(500));
            }
        } else if self.dtls_started && !self.connected {
            let _ = self.dtls.handle_timeout(PEER, now);
            self.collect();
        }
    }

    /// Never begins the handshake.
    pub fn no_dtls(&mut self) {
        self.dtls_started = true;
    }

    pub fn start_dtls(&mut self, now: Instant) {
        self.dtls_started = true;
        self.dtls.connect(now, PEER, self.config.clone(), None).unwrap();
        self.collect();
    }

    fn collect(&mut self) {
        while let Some(t) = self.dtls.poll_transmit() {
            self.flight.push(self.resumed.on_the_wire(&t.message));
            self.out.extend(self.flight.last().cloned());
        }
    }

    pub fn close_dtls(&mut self, now: Instant) {
        self.dtls.close(now).unwrap();
        self.collect();
    }

    pub fn handle(&mut self, now: Instant, datagram: &[u8]) {
        match datagram[0] {
            0..=3 => self.handle_stun(now, datagram),
            20..=63 => self.handle_dtls(now, datagram),
            _ => {
                let rtcp = (192..=223).contains(&datagram[1]);
                let Some(rx) = &mut self.rx else {
                    self.undecryptable += 1;
                    return;
                };
                let plain = if rtcp {
                    rx.decrypt_rtcp(datagram)
                } else {
                    rx.decrypt_rtp(datagram)
                };
                match plain {
                    Ok(plain) if rtcp => self.rtcp.push((now, plain.to_vec())),
                    Ok(plain) => self.rtp.push((now, plain.to_vec())),
                    Err(_) => self.undecryptable += 1,
                }
            }
        }
    }

    fn handle_stun(&mut self, now: Instant, datagram: &[u8]) {
        let mut message = Message::new();
        message.unmarshal_binary(datagram).unwrap();
        FINGERPRINT.check(&message).unwrap();
        MessageIntegrity::check(&mut message, self.remote_pwd.as_bytes(), self.provider.crypto()).unwrap_or_else(
            |_| {
                // After a restart, an answer under the old credentials may still be under way.
                assert!(self.restarts > 0, "bad integrity from the server");
            },
        );
        if message.typ == BINDING_SUCCESS {
            self.stun_successes += 1;
            if !self.dtls_started {
                self.start_dtls(now);
            }
        } else {
            let mut code = rtc::stun::error_code::ErrorCodeAttribute::default();
            rtc::stun::message::Getter::get_from(&mut code, &message).unwrap();
            self.stun_errors.push(code.code.0);
        }
    }

    fn handle_dtls(&mut self, now: Instant, datagram: &[u8]) {
        if !self.dtls_started || self.dtls_closed {
            return;
        }
        let repeated = std::mem::take(&mut self.flight);
        match self.dtls.read(now, PEER, None, BytesMut::from(datagram)) {
            Ok(events) => {
                for event in events {
                    match event {
                        EndpointEvent::HandshakeComplete => self.keys(),
                        EndpointEvent::PeerClosed => self.dtls_closed = true,
                        _ => {}
                    }
                }
            }
            Err(error) => {
                self.dtls_error = Some(error.to_string());
                self.alert = datagram.get(13..15).filter(|_| datagram[0] == 21).map(|alert| alert[1]);
            }
        }
        self.collect();
        if self.flight.is_empty() {
            self.flight = repeated;
        } else {
            self.repeat_at = Some(now + Duration::from_millis(500));
        }
    }

    fn keys(&mut self) {
        let state = self.dtls.get_connection_state(PEER).unwrap();
        let profile = match state.srtp_protection_profile() {
            Profile::Srtp_Aead_Aes_128_Gcm => ProtectionProfile::AeadAes128Gcm,
            Profile::Srtp_Aead_Aes_256_Gcm => ProtectionProfile::AeadAes256Gcm,
            _ => ProtectionProfile::Aes128CmHmacSha1_80,
        };
        let mut config = SrtpConfig {
            profile,
            ..Default::default()
        };
        let material = state
            .export_keying_material(LABEL_EXTRACTOR_DTLS_SRTP, &[], config.keying_material_len())
            .unwrap();
        config
            .set_session_keys_from_keying_material(material.as_ref(), self.options.setup != "passive")
            .unwrap();
        let k = &config.keys;
        let context =
            |key: &[u8], salt: &[u8]| Context::new(key, salt, profile, None, None, self.provider.crypto()).unwrap();
        self.tx = Some(context(&k.local_master_key, &k.local_master_salt));
        self.rx = Some(context(&k.remote_master_key, &k.remote_master_salt));
        self.connected = true;
    }

    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.out.pop_front()
    }

    pub fn send(&mut self, datagram: Vec<u8>) {
        self.out.push_back(datagram);
    }

    /// An RTP packet, with its level in a one-byte extension if there is one.
    pub fn rtp_packet(&self, seq: u16, timestamp: u32, level: Option<u8>, payload: &[u8]) -> Vec<u8> {
        let mut p = vec![if level.is_some() { 0x90 } else { 0x80 }, 111];
        p.extend(seq.to_be_bytes());
        p.extend(timestamp.to_be_bytes());
        p.extend(self.options.ssrc.to_be_bytes());
        if let (Some(level), Some(id)) = (level, self.options.level_id) {
            p.extend([0xBE, 0xDE, 0, 1, id << 4, level, 0, 0]);
        }
        p.extend(payload);
        p
    }

    pub fn seal_rtp(&mut self, plain: &[u8]) -> Vec<u8> {
        self.tx
            .as_mut()
            .expect("connected")
            .encrypt_rtp(plain)
            .unwrap()
            .to_vec()
    }

    pub fn seal_rtcp(&mut self, plain: &[u8]) -> Vec<u8> {
        self.tx
            .as_mut()
            .expect("connected")
            .encrypt_rtcp(plain)
            .unwrap()
            .to_vec()
    }

    pub fn send_audio(&mut self, seq: u16, timestamp: u32, level: Option<u8>, payload: &[u8]) {
        let plain = self.rtp_packet(seq, timestamp, level, payload);
        let sealed = self.seal_rtp(&plain);
        self.out.push_back(sealed);
    }
}
