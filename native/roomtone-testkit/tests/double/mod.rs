//! A server double: ICE-lite, DTLS passive, SRTP, one peer. Independent of `roomtone-transport` on purpose: what
//! passes against both doesn't rest on a misunderstanding that the two share.
#![allow(dead_code)] // each test file uses a part of it
#![allow(clippy::unwrap_used)] // Clippy takes only what is marked #[test] for a test

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use roomtone_testkit::link::{Datagram, Link, LinkConfig};
use roomtone_testkit::peer::{ClientPeer, Event};
use rtc::crypto::{HashAlgorithm, RTCCryptoProvider, SignatureScheme};
use rtc::dtls::config::{ClientAuthType, ConfigBuilder, ExtendedMasterSecretType};
use rtc::dtls::endpoint::{Endpoint, EndpointEvent};
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile as DtlsProfile;
use rtc::peer_connection::certificate::{CertificateParams, RTCCertificate};
use rtc::shared::TransportProtocol;
use rtc::srtp::config::{Config, LABEL_EXTRACTOR_DTLS_SRTP};
use rtc::srtp::context::Context;
use rtc::srtp::protection_profile::ProtectionProfile;
use rtc::stun::attributes::{ATTR_PRIORITY, ATTR_USE_CANDIDATE, ATTR_USERNAME};
use rtc::stun::fingerprint::FINGERPRINT;
use rtc::stun::integrity::MessageIntegrity;
use rtc::stun::message::{BINDING_REQUEST, BINDING_SUCCESS, Message};
use rtc::stun::xoraddr::XorMappedAddress;

pub const CLIENT: ([u8; 4], u16) = ([10, 0, 0, 2], 5002);
const KEY: ([u8; 4], u16) = ([127, 0, 0, 1], 65_535);

pub struct Options {
    pub addresses: Vec<SocketAddr>,
    /// The addresses of these that don't answer.
    pub dead: Vec<SocketAddr>,
    pub profile: DtlsProfile,
    pub lie_about_fingerprint: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            addresses: vec![([10, 0, 0, 1], 5001).into()],
            dead: vec![],
            profile: DtlsProfile::Srtp_Aead_Aes_128_Gcm,
            lie_about_fingerprint: false,
        }
    }
}

pub struct Double {
    options: Options,
    provider: Arc<dyn RTCCryptoProvider>,
    certificate: RTCCertificate,
    pub ufrag: String,
    pwd: String,
    remote_ufrag: String,
    remote_fingerprint: String,
    dtls: Endpoint,
    srtp: Option<(Context, Context)>,
    /// (client, our address)
    pub nominated: Option<(SocketAddr, SocketAddr)>,
    pub ssrc: u32,
    pub answers_stun: bool,
    pub stun_seen: u32,
    pub connected: bool,
    pub closed: bool,
    pub rtp: Vec<BytesMut>,
    pub rtcp: Vec<BytesMut>,
    pub out: VecDeque<Datagram>,
}

fn line<'a>(sdp: &'a str, prefix: &str) -> &'a str {
    sdp.lines()
        .find_map(|l| l.strip_prefix(prefix))
        .unwrap_or_else(|| panic!("no {prefix} in\n{sdp}"))
        .trim()
}

fn fingerprint(provider: &Arc<dyn RTCCryptoProvider>, der: &[u8]) -> String {
    let hash = provider.crypto().hash(HashAlgorithm::Sha256, der).unwrap();
    hash.iter().map(|b| format!("{b:02X}")).collect::<Vec<_>>().join(":")
}

impl Double {
    pub fn accept(offer: &str, options: Options) -> (Double, String) {
        let provider = rtc::crypto::default_provider().unwrap();
        let params = CertificateParams::new(vec!["double".to_owned()]).unwrap();
        let certificate =
            RTCCertificate::generate(provider.crypto(), SignatureScheme::EcdsaP256Sha256, params).unwrap();
        let config = ConfigBuilder::default()
            .with_crypto_provider(provider.clone())
            .with_certificates(vec![certificate.dtls_certificate.clone()])
            .with_srtp_protection_profiles(vec![options.profile])
            .with_client_auth(ClientAuthType::RequireAnyClientCert)
            .with_insecure_skip_verify(true)
            .with_extended_master_secret(ExtendedMasterSecretType::Require)
            .build(false, None)
            .unwrap();
        let dtls = Endpoint::new(KEY.into(), TransportProtocol::UDP, Some(Arc::new(config)));
        let mut double = Double {
            options,
            provider,
            certificate,
            ufrag: "server-1".into(),
            pwd: "0123456789abcdef01234567".into(),
            remote_ufrag: String::new(),
            remote_fingerprint: line(offer, "a=fingerprint:sha-256 ").to_owned(),
            dtls,
            srtp: None,
            nominated: None,
            ssrc: 0x5e5e_5e5e,
            answers_stun: true,
            stun_seen: 0,
            connected: false,
            closed: false,
            rtp: vec![],
            rtcp: vec![],
            out: VecDeque::new(),
        };
        let answer = double.answer(offer);
        (double, answer)
    }

    /// A new offer of the same client: with new credentials of ours, as an ICE restart asks.
    pub fn restart(&mut self, offer: &str) -> String {
        self.ufrag = format!("{}x", self.ufrag);
        self.answer(offer)
    }

    fn answer(&mut self, offer: &str) -> String {
        self.remote_ufrag = line(offer, "a=ice-ufrag:").to_owned();
        let mut fp = fingerprint(&self.provider, &self.certificate.dtls_certificate.certificate[0]);
        if self.options.lie_about_fingerprint {
            let last = fp.pop().unwrap();
            fp.push(if last == '0' { '1' } else { '0' });
        }
        let (ufrag, pwd, ssrc) = (&self.ufrag, &self.pwd, self.ssrc);
        let mut sdp = format!(
            "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\na=ice-lite\r\na=fingerprint:sha-256 {fp}\r\n\
             m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 0.0.0.0\r\na=setup:passive\r\na=mid:0\r\n\
             a=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\na=rtcp-mux\r\na=rtpmap:111 opus/48000/2\r\na=sendrecv\r\n\
             a=ssrc:{ssrc} cname:double\r\n"
        );
        if let Some(level) = offer.lines().find(|l| l.contains("ssrc-audio-level")) {
            sdp += &format!("{level}\r\n");
        }
        for (i, address) in self.options.addresses.iter().enumerate() {
            let priority = 2_000_000_000 - i;
            sdp += &format!(
                "a=candidate:{i} 1 udp {priority} {} {} typ host\r\n",
                address.ip(),
                address.port()
            );
        }
        sdp
    }

    fn send(&mut self, from: SocketAddr, to: SocketAddr, data: impl Into<Bytes>) {
        self.out.push_back(Datagram {
            from,
            to,
            data: data.into(),
        });
    }

    pub fn handle(&mut self, now: Instant, datagram: Datagram) {
        if self.options.dead.contains(&datagram.to) {
            return;
        }
        match datagram.data[0] {
            0..=3 => self.stun(datagram),
            20..=63 if self.nominated.is_some() => self.dtls(now, &datagram.data),
            128..=191 => {
                let Some((_, incoming)) = &mut self.srtp else { return };
                if (192..=223).contains(&datagram.data[1]) {
                    self.rtcp
                        .push(incoming.decrypt_rtcp(&datagram.data).expect("authentic RTCP"));
                } else {
                    self.rtp
                        .push(incoming.decrypt_rtp(&datagram.data).expect("authentic RTP"));
                }
            }
            other => panic!("the client sent a packet of kind {other}"),
        }
    }

    fn stun(&mut self, datagram: Datagram) {
        self.stun_seen += 1;
        let mut request = Message::new();
        request.unmarshal_binary(&datagram.data).unwrap();
        assert_eq!(request.typ, BINDING_REQUEST);
        let username = String::from_utf8(request.get(ATTR_USERNAME).unwrap()).unwrap();
        if !self.answers_stun || username != format!("{}:{}", self.ufrag, self.remote_ufrag) {
            return;
        }
        MessageIntegrity::check(&mut request, self.pwd.as_bytes(), self.provider.crypto()).unwrap();
        FINGERPRINT.check(&request).unwrap();
        assert_eq!(request.get(ATTR_PRIORITY).unwrap().len(), 4);
        if request.contains(ATTR_USE_CANDIDATE) {
            self.nominated = Some((datagram.from, datagram.to));
        }
        let mut response = Message::new();
        response
            .build(&[
                Box::new(request),
                Box::new(BINDING_SUCCESS),
                Box::new(XorMappedAddress {
                    ip: datagram.from.ip(),
                    port: datagram.from.port(),
                }),
                Box::new(MessageIntegrity::new_short_term_integrity_with_provider(
                    self.pwd.clone(),
                    self.provider.crypto(),
                )),
                Box::new(FINGERPRINT),
            ])
            .unwrap();
        self.send(datagram.to, datagram.from, response.raw);
    }

    fn dtls(&mut self, now: Instant, data: &[u8]) {
        let events = self
            .dtls
            .read(now, KEY.into(), None, BytesMut::from(data))
            .unwrap_or_default();
        for event in events {
            match event {
                EndpointEvent::HandshakeComplete => {
                    let state = self.dtls.get_connection_state(KEY.into()).unwrap();
                    let theirs = fingerprint(&self.provider, &state.peer_certificates[0]);
                    if theirs != self.remote_fingerprint {
                        self.closed = true;
                        self.dtls.stop(now, KEY.into());
                        break;
                    }
                    let profile = match state.srtp_protection_profile() {
                        DtlsProfile::Srtp_Aead_Aes_128_Gcm => ProtectionProfile::AeadAes128Gcm,
                        _ => ProtectionProfile::Aes128CmHmacSha1_80,
                    };
                    let mut config = Config {
                        profile,
                        ..Config::default()
                    };
                    let length = config.keying_material_len();
                    let material = state
                        .export_keying_material(LABEL_EXTRACTOR_DTLS_SRTP, &[], length)
                        .unwrap();
                    config
                        .set_session_keys_from_keying_material(material.as_ref(), false)
                        .unwrap();
                    let keys = &config.keys;
                    let context = |key: &[u8], salt: &[u8]| {
                        Context::new(key, salt, profile, None, None, self.provider.crypto()).unwrap()
                    };
                    self.srtp = Some((
                        context(&keys.local_master_key, &keys.local_master_salt),
                        context(&keys.remote_master_key, &keys.remote_master_salt),
                    ));
                    self.connected = true;
                }
                EndpointEvent::PeerClosed => self.closed = true,
                _ => {}
            }
        }
        self.flush();
    }

    fn flush(&mut self) {
        while let Some(transmit) = self.dtls.poll_transmit() {
            let (to, from) = self.nominated.unwrap();
            self.send(from, to, transmit.message.freeze());
        }
    }

    pub fn timeout(&mut self, now: Instant) {
        if self.dtls.poll_timeout(&KEY.into()).is_some_and(|at| at <= now) {
            let _ = self.dtls.handle_timeout(KEY.into(), now);
            self.flush();
        }
    }

    pub fn close(&mut self, now: Instant) {
        self.dtls.stop(now, KEY.into());
        self.flush();
    }

    pub fn send_rtp(&mut self, plain: &[u8]) {
        let protected = self.srtp.as_mut().unwrap().0.encrypt_rtp(plain).unwrap().freeze();
        let (to, from) = self.nominated.unwrap();
        self.send(from, to, protected);
    }

    pub fn send_rtcp(&mut self, plain: &[u8]) {
        let protected = self.srtp.as_mut().unwrap().0.encrypt_rtcp(plain).unwrap().freeze();
        let (to, from) = self.nominated.unwrap();
        self.send(from, to, protected);
    }
}

/// Client, server double and the network between them, on a virtual clock.
pub struct World {
    pub start: Instant,
    pub now: Instant,
    pub client: ClientPeer,
    pub server: Double,
    pub up: Link,
    pub down: Link,
    pub events: Vec<Event>,
    pub client_address: SocketAddr,
}

impl World {
    pub fn new(options: roomtone_testkit::peer::ClientOptions, server: Options, link: LinkConfig) -> World {
        let now = Instant::now();
        let mut client = ClientPeer::new(now, options).unwrap();
        let (server, answer) = Double::accept(&client.offer(), server);
        client.accept_answer(now, &answer).unwrap();
        let down = LinkConfig {
            seed: link.seed + 1,
            ..link
        };
        World {
            start: now,
            now,
            client,
            server,
            up: Link::new(link),
            down: Link::new(down),
            events: vec![],
            client_address: CLIENT.into(),
        }
    }

    /// Lets a millisecond pass.
    pub fn step(&mut self) {
        self.now += Duration::from_millis(1);
        let now = self.now;
        if self.client.poll_timeout().is_some_and(|at| at <= now) {
            self.client.handle_timeout(now);
        }
        self.server.timeout(now);
        // Until nothing more happens in this millisecond.
        loop {
            let mut quiet = true;
            while let Some((to, data)) = self.client.poll_transmit() {
                self.up.send(
                    now,
                    Datagram {
                        from: self.client_address,
                        to,
                        data,
                    },
                );
            }
            while let Some(datagram) = self.server.out.pop_front() {
                self.down.send(now, datagram);
            }
            while let Some(datagram) = self.up.receive(now) {
                quiet = false;
                self.server.handle(now, datagram);
            }
            while let Some(datagram) = self.down.receive(now) {
                quiet = false;
                if datagram.to == self.client_address {
                    self.client
                        .handle_datagram(now, datagram.from, &mut datagram.data.to_vec());
                }
            }
            while let Some(event) = self.client.poll_event() {
                self.events.push(event);
            }
            if quiet {
                break;
            }
        }
    }

    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.step();
        }
    }

    /// Until the client is connected; false after this long.
    pub fn connect(&mut self, within: Duration) -> bool {
        let end = self.now + within;
        while self.now < end && !self.client.is_connected() && !self.client.is_closed() {
            self.step();
        }
        self.client.is_connected()
    }
}
