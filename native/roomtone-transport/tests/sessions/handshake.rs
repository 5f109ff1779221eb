//! DTLS with clients of other kinds: servers of their own, clients that begin anew, and clients
//! that have to be refused.

use std::sync::Mutex;
use std::time::Duration;

use crate::common::{Client, ClientOptions, Link, MS, Profile, origin};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use roomtone_transport::{AudioOut, CloseReason, EndpointOptions, Event, NtpClock, Offer, OfferKind, TransportConfig};

/// The sound works both ways.
fn assert_both_ways(link: &mut Link, seq: u16) {
    let (heard, got) = (link.rtp().len(), link.client.rtp.len());
    link.client.send_audio(seq, u32::from(seq) * 960, None, &[1]);
    let audio = AudioOut {
        timestamp: 0,
        marker: false,
        level: None,
        payload: &[2],
    };
    assert!(link.send_audio(audio));
    link.run(30 * MS);
    assert_eq!((link.rtp().len(), link.client.rtp.len()), (heard + 1, got + 1));
}

fn passive() -> ClientOptions {
    ClientOptions {
        setup: "passive",
        ..Default::default()
    }
}

#[test]
fn a_passive_client_is_called() {
    for profile in [
        Profile::Srtp_Aead_Aes_128_Gcm,
        Profile::Srtp_Aes128_Cm_Hmac_Sha1_80,
        Profile::Srtp_Aead_Aes_256_Gcm,
    ] {
        let mut link = Link::connected(ClientOptions {
            profiles: vec![profile],
            ..passive()
        });
        assert!(link.client.answers[0].contains("a=setup:active\r\n"));
        assert_both_ways(&mut link, 1);
        link.client.close_dtls(link.now);
        link.run(50 * MS);
        assert_eq!(link.closed().map(|c| c.1), Some(CloseReason::RemoteCloseNotify));
    }
}

#[test]
fn nothing_is_sent_to_a_passive_client_before_its_address_is_validated() {
    let mut link = Link::new(passive());
    link.client.checking = false;
    link.run(5_000 * MS);
    assert!(link.server.poll_transmit().is_none());
    assert!(link.server.poll_timeout().is_some());
}

#[test]
fn a_passive_client_is_reached_through_loss() {
    for seed in 0..25 {
        let mut link = Link::new(passive());
        link.seed(seed);
        link.loss = 0.3;
        link.run_until(29_000 * MS, |l| l.client.connected && l.server.is_connected());
        assert!(
            link.client.connected && link.server.is_connected(),
            "seed {seed}: {:?}",
            link.events
        );
    }
}

#[test]
fn a_passive_client_with_another_certificate_is_refused() {
    let mut link = Link::new(ClientOptions { lie: true, ..passive() });
    link.run(1_000 * MS);
    assert_eq!(link.closed().map(|c| c.1), Some(CloseReason::FingerprintMismatch));
    assert!(!link.events.iter().any(|(_, e)| matches!(e, Event::Connected)));
}

#[test]
fn a_passive_client_that_never_answers_times_out() {
    let mut link = Link::new(passive());
    link.run_until(1_000 * MS, |l| l.server.stats().addresses == 1);
    link.deaf_client = true;
    link.run(40_000 * MS);
    let (at, reason) = link.closed().unwrap();
    assert_eq!(reason, CloseReason::HandshakeTimeout);
    assert_eq!(at - link.start, 30_000 * MS);
}

#[test]
fn a_client_with_a_session_id_gets_a_full_handshake() {
    for len in [1, 32] {
        let mut link = Link::connected(ClientOptions {
            session_id: len,
            ..Default::default()
        });
        assert_both_ways(&mut link, 1);
        let hello = link
            .tape
            .iter()
            .filter(|d| d[0] == 22 && d[13] == 1)
            .collect::<Vec<_>>();
        assert!(
            hello.len() >= 2 && hello.iter().all(|d| usize::from(d[59]) == len),
            "it was sent"
        );
    }
    for seed in 0..10 {
        let mut link = Link::new(ClientOptions {
            session_id: 32,
            ..Default::default()
        });
        link.seed(seed);
        link.loss = 0.2;
        link.run_until(25_000 * MS, |l| l.client.connected && l.server.is_connected());
        assert!(link.client.connected && link.server.is_connected(), "seed {seed}");
    }
}

/// Log lines at warn level, of this process.
static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());

struct Lines;

impl log::Log for Lines {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.level() == log::Level::Warn && record.target().starts_with("roomtone") {
            LINES.lock().unwrap().push(record.args().to_string());
        }
    }

    fn flush(&self) {}
}

fn logged(text: &str) -> bool {
    LINES.lock().unwrap().iter().any(|line| line.contains(text))
}

fn listen_to_the_log() {
    if log::set_logger(&Lines).is_ok() {
        log::set_max_level(log::LevelFilter::Warn);
    }
}

#[test]
fn a_client_without_extended_master_secret_is_refused_with_alert_and_log_line() {
    listen_to_the_log();
    let mut link = Link::new(ClientOptions {
        ems: false,
        ..Default::default()
    });
    link.run(1_000 * MS);
    assert_eq!(link.closed().map(|c| c.1), Some(CloseReason::HandshakeFailed));
    assert_eq!(link.client.alert, Some(40), "handshake_failure (RFC 7627 section 5.2)");
    assert!(logged("without the Extended Master Secret extension"));
    // A server without it likewise.
    let mut link = Link::new(ClientOptions {
        ems: false,
        ..passive()
    });
    link.run(1_000 * MS);
    assert_eq!(link.closed().map(|c| c.1), Some(CloseReason::HandshakeFailed));
    assert!(link.client.alert.is_some());
    assert!(logged("a DTLS server without the Extended Master Secret extension"));
}

#[test]
fn a_client_without_a_profile_of_ours_is_refused_with_alert_and_log_line() {
    listen_to_the_log();
    let mut link = Link::new(ClientOptions {
        profiles: vec![Profile::Srtp_Aes128_Cm_Hmac_Sha1_32],
        ..Default::default()
    });
    link.run(1_000 * MS);
    assert_eq!(link.client.alert, Some(40));
    assert!(logged("none of our SRTP profiles"));
}

#[test]
fn a_short_rsa_key_is_refused_with_alert_and_log_line() {
    listen_to_the_log();
    let certificate = crate::common::short_rsa();
    let mut link = Link::of(Client::with_certificate(
        origin(),
        ClientOptions::default(),
        certificate,
    ));
    link.run(1_000 * MS);
    assert_eq!(link.closed().map(|c| c.1), Some(CloseReason::HandshakeFailed));
    assert_eq!(link.client.alert, Some(42), "bad_certificate");
    assert!(
        logged("whose RSA key has 1024 bits; 2048 are needed"),
        "{:?}",
        LINES.lock().unwrap()
    );
}

/// The client process is started again, with the certificate that it keeps on disk.
fn start_again(link: &mut Link, options: ClientOptions) -> OfferKind {
    let client = link.client.started_again(link.now, options);
    let offer = Offer::parse(&client.offer()).unwrap();
    let kind = link.server.judge(&offer);
    let answer = link.server.reoffer(link.now, &offer).unwrap();
    link.client = client;
    link.client.take_answer(&answer);
    // Another process has another socket.
    link.client_address.set_port(link.client_address.port() + 1);
    link.client_hears = vec![link.client_address];
    kind
}

fn named(origin: &'static str, tls_id: Option<&'static str>, setup: &'static str) -> ClientOptions {
    ClientOptions {
        origin,
        tls_id,
        setup,
        ..Default::default()
    }
}

const FIRST: &str = "aaaaaaaaaaaaaaaaaaaaaaaa";
const SECOND: &str = "bbbbbbbbbbbbbbbbbbbbbbbb";

#[test]
fn a_client_that_is_started_again_with_its_certificate_connects_anew() {
    for setup in ["actpass", "passive"] {
        for has_tls_id in [true, false] {
            let options = |origin, tls_id| named(origin, Some(tls_id).filter(|_| has_tls_id), setup);
            let mut link = Link::connected(options("1", FIRST));
            assert_both_ways(&mut link, 1);
            for (origin, tls_id) in [("2", SECOND), ("3", FIRST), ("4", SECOND)] {
                let kind = start_again(&mut link, options(origin, tls_id));
                assert_eq!(kind, OfferKind::NewConnection);
                link.run_until(2_000 * MS, |l| l.client.connected);
                assert!(link.client.connected, "{setup} {origin}: {:?}", link.client.dtls_error);
                link.run(200 * MS);
                assert_both_ways(&mut link, 7);
            }
            let connected = link
                .events
                .iter()
                .filter(|(_, e)| matches!(e, Event::Connected))
                .count();
            assert_eq!(connected, 1, "told once");
            assert!(!link.server.is_closed());
        }
    }
}

#[test]
fn a_client_that_is_started_again_during_its_first_handshake_connects() {
    for setup in ["actpass", "passive"] {
        let mut link = Link::new(named("1", None, setup));
        link.run_until(1_000 * MS, |l| l.now - l.start >= 45 * MS);
        assert!(!link.server.is_connected());
        assert_eq!(
            start_again(&mut link, named("2", None, setup)),
            OfferKind::NewConnection
        );
        link.run_until(5_000 * MS, |l| l.client.connected && l.server.is_connected());
        assert!(link.client.connected && link.server.is_connected());
        assert_both_ways(&mut link, 1);
    }
}

#[test]
fn a_new_connection_that_never_comes_about_ends_in_a_timeout() {
    let mut link = Link::connected(named("1", None, "actpass"));
    let client = link.client.started_again(link.now, named("2", None, "actpass"));
    let offer = Offer::parse(&client.offer()).unwrap();
    let answer = link.server.reoffer(link.now, &offer).unwrap();
    link.client = client;
    link.client.take_answer(&answer);
    // ICE completes, and DTLS is never begun.
    link.client.no_dtls();
    let asked = link.now;
    link.run(40_000 * MS);
    let (at, reason) = link.closed().unwrap();
    assert_eq!((at - asked, reason), (30_000 * MS, CloseReason::HandshakeTimeout));
    // A client that goes on with the old association, whatever its offer says, keeps it.
    let mut link = Link::connected(named("1", None, "actpass"));
    link.client.options.origin = "2";
    let offer = Offer::parse(&link.client.restart()).unwrap();
    assert_eq!(link.server.judge(&offer), OfferKind::NewConnection);
    let answer = link.server.reoffer(link.now, &offer).unwrap();
    link.client.take_answer(&answer);
    for seq in 0..40 {
        assert_both_ways(&mut link, seq);
        link.run(1_000 * MS);
    }
}

#[test]
fn a_hello_on_an_old_association_leaves_it_until_the_new_one_succeeds() {
    let mut link = Link::connected(ClientOptions::default());
    assert_both_ways(&mut link, 1);
    link.run(1_000 * MS);
    // A hello of the same address, without any signalling, and nothing after it.
    let mut other = link.client.started_again(link.now, ClientOptions::default());
    other.start_dtls(link.now);
    let hello = other.poll_transmit().unwrap();
    let from = link.client_address;
    link.inject(from, &hello);
    assert!(link.server.poll_transmit().is_some(), "it is answered");
    link.run(1_000 * MS);
    assert_both_ways(&mut link, 2);
    link.run(40_000 * MS);
    assert_both_ways(&mut link, 3);
    // One that goes through with it.
    let (ufrag, pwd) = (link.client.remote_ufrag.clone(), link.client.remote_pwd.clone());
    let mut client = link.client.started_again(link.now, ClientOptions::default());
    client.ufrag.clone_from(&link.client.ufrag);
    client.pwd.clone_from(&link.client.pwd);
    (client.remote_ufrag, client.remote_pwd) = (ufrag, pwd);
    link.client = client;
    link.run_until(3_000 * MS, |l| l.client.connected);
    assert!(link.client.connected, "{:?}", link.client.dtls_error);
    link.run(200 * MS);
    assert_both_ways(&mut link, 9);
}

#[test]
fn a_new_handshake_with_another_certificate_changes_nothing() {
    let mut link = Link::connected(ClientOptions::default());
    let mut other = Client::new(link.now, ClientOptions::default());
    other.start_dtls(link.now);
    let from = link.client_address;
    for _ in 0..20 {
        while let Some(datagram) = other.poll_transmit() {
            link.inject(from, &datagram);
        }
        while let Some(transmit) = link.server.poll_transmit() {
            if (20..=63).contains(&transmit.data[0]) {
                other.handle(link.now, &transmit.data);
            }
        }
    }
    assert!(!other.connected || other.dtls_error.is_some());
    assert!(link.server.poll_event().is_none());
    link.run(100 * MS);
    assert_both_ways(&mut link, 1);
}

#[test]
fn a_flood_of_hellos_is_bounded_and_ends_nothing() {
    for connected in [false, true] {
        let mut link = Link::new(ClientOptions::default());
        if connected {
            link.connect();
        } else {
            let check = link.client.check(true, false);
            let from = link.client_address;
            link.inject(from, &check);
        }
        let from = link.client_address;
        let mut other = link.client.started_again(link.now, ClientOptions::default());
        other.start_dtls(link.now);
        let hello = other.poll_transmit().unwrap();
        let mut rng = StdRng::seed_from_u64(6);
        let mut answers = 0;
        for i in 0..20_000u32 {
            let mut hello = hello.clone();
            hello[7..11].copy_from_slice(&i.to_be_bytes()); // of the record number
            rng.fill_bytes(&mut hello[27..59]);
            link.inject(from, &hello);
            while link.server.poll_transmit().is_some() {
                answers += 1;
            }
            if i % 20 == 0 {
                link.now += MS;
                link.server.handle_timeout(link.now);
            }
        }
        assert!(answers < 100, "no amplifier: {answers} answers to 20,000 hellos");
        assert!(!link.server.is_closed());
        if connected {
            assert_both_ways(&mut link, 1);
        }
    }
}

#[test]
fn junk_in_place_of_a_servers_flight_is_survived() {
    for seed in 0..60u64 {
        let mut link = Link::new(passive());
        link.seed(seed);
        let from = link.client_address;
        link.run_until(1_000 * MS, |l| l.now - l.start >= (15 + seed as u32 * 3 % 60) * MS);
        let mut rng = StdRng::seed_from_u64(seed);
        let sample: Vec<Vec<u8>> = link.tape.iter().filter(|d| d[0] == 22).cloned().collect();
        for _ in 0..200 {
            let mut datagram = match sample.get(rng.random_range(0..sample.len().max(1))) {
                Some(datagram) => datagram.clone(),
                None => {
                    let mut junk = vec![0; rng.random_range(13..200)];
                    rng.fill_bytes(&mut junk);
                    junk[..5].copy_from_slice(&[22, 0xFE, 0xFD, 0, 0]);
                    junk
                }
            };
            for _ in 0..4 {
                let at = rng.random_range(0..datagram.len());
                datagram[at] = rng.random();
            }
            link.inject(from, &datagram);
        }
        link.run(1_000 * MS);
    }
}

#[test]
fn floods_at_a_handshake_of_ours_are_capped() {
    let mut link = Link::new(passive());
    let from = link.client_address;
    let check = link.client.check(true, false);
    link.inject(from, &check);
    while link.server.poll_transmit().is_some() {}
    let mut sent = 0;
    for i in 0..1_000u32 {
        // HelloVerifyRequest with another cookie each time.
        let cookie = i.to_be_bytes();
        let mut message = vec![3, 0, 0, 7];
        message.extend((i as u16).to_be_bytes());
        message.extend([0, 0, 0, 0, 0, 7, 0xFE, 0xFD, 4]);
        message.extend(cookie);
        let mut record = vec![22, 0xFE, 0xFD, 0, 0, 0, 0];
        record.extend(i.to_be_bytes());
        record.extend((message.len() as u16).to_be_bytes());
        record.extend(message);
        link.inject(from, &record);
        while link.server.poll_transmit().is_some() {
            sent += 1;
        }
    }
    assert!(sent <= 64, "{sent} hellos for 1,000 cookies");
    assert!(link.server.stats().dtls_dropped >= 900);
}

/// A client that makes itself known by its own certificate, on an endpoint with time limits of its
/// own.
#[test]
fn limits_are_those_of_the_configuration() {
    let now = origin();
    let mut config = TransportConfig::new(vec!["192.0.2.1:50000".parse().unwrap()], NtpClock::new(now, 0));
    config.handshake_timeout = Duration::from_secs(5);
    let client = Client::new(now, passive());
    let mut link = Link::with_client(now, client, EndpointOptions::default(), config);
    link.deaf_client = true;
    link.run(10_000 * MS);
    assert_eq!(link.closed().map(|c| c.0 - link.start), Some(5_000 * MS));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// A hello with anything behind its random, in any pieces, never panics and never ends an
    /// association.
    #[test]
    fn any_hello_is_survived(
        body in proptest::collection::vec(any::<u8>(), 34..400),
        cuts in proptest::collection::vec(1usize..200, 0..6),
        sequence in 0u16..3,
        connected: bool,
    ) {
        let mut link = Link::new(ClientOptions::default());
        if connected {
            link.connect();
        } else {
            let check = link.client.check(true, false);
            let from = link.client_address;
            link.inject(from, &check);
        }
        let from = link.client_address;
        let (mut at, mut number) = (0, 50_000u32);
        for cut in cuts.into_iter().chain([body.len()]) {
            let end = (at + cut).min(body.len());
            if end == at {
                continue;
            }
            let u24 = |n: usize| (n as u32).to_be_bytes()[1..].to_vec();
            let message = [&[1u8][..], &u24(body.len()), &sequence.to_be_bytes(), &u24(at), &u24(end - at), &body[at..end]].concat();
            let record = [&[22, 0xFE, 0xFD, 0, 0, 0, 0][..], &number.to_be_bytes(), &(message.len() as u16).to_be_bytes(), &message].concat();
            link.inject(from, &record);
            (at, number) = (end, number + 1);
        }
        if connected {
            link.run(50 * MS);
            prop_assert!(!link.server.is_closed());
            assert_both_ways(&mut link, 1);
        }
    }
}
