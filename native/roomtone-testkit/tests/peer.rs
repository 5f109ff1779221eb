//! The client against a server double, on a virtual clock.

mod double;

use std::time::Duration;

use double::{Options, World};
use roomtone_testkit::link::LinkConfig;
use roomtone_testkit::peer::{ClientOptions, CloseReason, Event, Identity, Level, Profiles};
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile as DtlsProfile;

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn honest() -> ClientOptions {
    ClientOptions {
        ssrc: Some(0x0102_0304),
        ..ClientOptions::default()
    }
}

fn perfect(options: ClientOptions) -> World {
    let mut world = World::new(
        options,
        Options::default(),
        LinkConfig {
            latency: 10 * MS,
            ..LinkConfig::default()
        },
    );
    assert!(world.connect(SECOND), "{:?}", world.events);
    world
}

fn reason(world: &World) -> Option<&CloseReason> {
    world.events.iter().find_map(|event| match event {
        Event::Closed(reason) => Some(reason),
        _ => None,
    })
}

/// A plain RTP packet of the server.
fn packet(seq: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x80, 111];
    packet.extend(seq.to_be_bytes());
    packet.extend(timestamp.to_be_bytes());
    packet.extend(0x5e5e_5e5eu32.to_be_bytes());
    packet.extend(payload);
    packet
}

#[test]
fn connects_in_three_round_trips_and_talks_both_ways() {
    let mut world = perfect(honest());
    // One round trip of ICE, two and the cookie's of DTLS, over 20 ms each.
    assert!(
        world.client.stats().connect_time.unwrap() <= 90 * MS,
        "{:?}",
        world.client.stats().connect_time
    );
    assert_eq!(world.events, [Event::Connected]);
    assert_eq!(world.client.profile(), Some("AEAD_AES_128_GCM"));
    let level = Level {
        minus_dbov: 33,
        voice: true,
    };
    assert!(
        world
            .client
            .send_opus(world.now, 4_294_967_000, true, Some(level), b"up")
    );
    world.run(20 * MS);
    let got = world.server.rtp.last().unwrap();
    assert_eq!(got[0], 0x90);
    assert_eq!(got[1], 0x80 | 111);
    assert_eq!(got[4..8], 4_294_967_000u32.to_be_bytes());
    assert_eq!(got[8..12], 0x0102_0304u32.to_be_bytes());
    assert_eq!(got[12..20], [0xbe, 0xde, 0, 1, 0x10, 0x80 | 33, 0, 0]);
    assert_eq!(&got[20..], b"up");
    world.server.send_rtp(&packet(7, 960, b"down"));
    world.run(20 * MS);
    let Some(Event::Audio(audio)) = world.events.last() else {
        panic!("{:?}", world.events)
    };
    assert_eq!(
        (audio.seq, audio.timestamp, audio.ssrc, &audio.payload[..]),
        (7, 960, 0x5e5e_5e5e, &b"down"[..])
    );
    let stats = world.client.stats();
    assert_eq!((stats.packets_sent, stats.packets_received, stats.rejected), (1, 1, 0));
}

#[test]
fn offers_the_profile_it_is_told() {
    for (profiles, server, name) in [
        (
            Profiles::Both,
            DtlsProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
            "SRTP_AES128_CM_HMAC_SHA1_80",
        ),
        (
            Profiles::AesCm,
            DtlsProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
            "SRTP_AES128_CM_HMAC_SHA1_80",
        ),
        (Profiles::Gcm, DtlsProfile::Srtp_Aead_Aes_128_Gcm, "AEAD_AES_128_GCM"),
    ] {
        let server = Options {
            profile: server,
            ..Options::default()
        };
        let mut world = World::new(ClientOptions { profiles, ..honest() }, server, LinkConfig::default());
        assert!(world.connect(SECOND));
        assert_eq!(world.client.profile(), Some(name));
        world.client.send_opus(world.now, 0, false, None, b"x");
        world.server.send_rtp(&packet(1, 0, b"y"));
        world.run(5 * MS);
        assert_eq!(
            (world.server.rtp.len(), world.client.stats().packets_received),
            (1, 1),
            "{name}"
        );
    }
    let server = Options {
        profile: DtlsProfile::Srtp_Aead_Aes_128_Gcm,
        ..Options::default()
    };
    let options = ClientOptions {
        profiles: Profiles::AesCm,
        connect_timeout: 5 * SECOND,
        ..honest()
    };
    let mut world = World::new(options, server, LinkConfig::default());
    assert!(!world.connect(10 * SECOND));
    assert!(matches!(
        reason(&world),
        Some(CloseReason::DtlsFailed(_) | CloseReason::DtlsTimeout)
    ));
}

#[test]
fn connects_over_a_network_that_loses_a_fifth() {
    for seed in 0..10 {
        let link = LinkConfig {
            seed,
            latency: 40 * MS,
            jitter: 20 * MS,
            loss: 0.2,
            ..LinkConfig::default()
        };
        let mut world = World::new(honest(), Options::default(), link);
        assert!(world.connect(20 * SECOND), "seed {seed}: {:?}", world.events);
    }
}

#[test]
fn sequence_numbers_wrap() {
    let mut world = perfect(ClientOptions {
        first_seq: Some(65_530),
        ..honest()
    });
    for i in 0..20u32 {
        assert!(
            world
                .client
                .send_opus(world.now, (i * 960).wrapping_sub(4800), false, None, &[i as u8])
        );
        world
            .server
            .send_rtp(&packet(65_530u16.wrapping_add(i as u16), i * 960, b"z"));
        world.run(20 * MS);
    }
    world.run(20 * MS);
    assert_eq!(world.client.next_seq(), 14);
    assert_eq!(world.server.rtp.len(), 20, "all of them authentic across the rollover");
    let stats = world.client.stats();
    assert_eq!(
        (
            stats.streams[0].received,
            stats.streams[0].lost,
            stats.streams[0].highest_seq
        ),
        (20, 0, 65_549)
    );
}

#[test]
fn finds_the_candidate_that_answers() {
    let dead: std::net::SocketAddr = ([192, 168, 9, 9], 1).into();
    let alive: std::net::SocketAddr = ([10, 0, 0, 1], 5001).into();
    let six: std::net::SocketAddr = "[::1]:5001".parse().unwrap();
    let server = || Options {
        addresses: vec![six, dead, alive],
        dead: vec![six, dead],
        ..Options::default()
    };
    let mut world = World::new(honest(), server(), LinkConfig::default());
    assert!(world.connect(5 * SECOND), "{:?}", world.events);
    assert_eq!(world.client.remote_address(), Some(alive));
    assert_eq!(world.server.nominated, Some((double::CLIENT.into(), alive)));
    // With a candidate of our own, the other family isn't even tried.
    let options = ClientOptions {
        candidates: vec![double::CLIENT.into()],
        ..honest()
    };
    let mut world = World::new(options, server(), LinkConfig::default());
    assert!(
        world
            .client
            .offer()
            .contains("a=candidate:1 1 udp 2130706431 10.0.0.2 5002 typ host\r\n")
    );
    while let Some((to, _)) = world.client.poll_transmit() {
        assert!(to.is_ipv4());
    }
    assert!(world.connect(5 * SECOND));
}

#[test]
fn restarts_ice_while_sound_flows() {
    let mut world = perfect(honest());
    let before = world.client.offer();
    assert_eq!(before, world.client.offer());
    let offer = world.client.restart(world.now);
    assert_ne!(before, offer);
    // The old credentials and pair go on until the new ones answer.
    assert!(world.client.send_opus(world.now, 0, false, None, b"during"));
    world.run(30 * MS);
    assert_eq!(world.server.rtp.len(), 1);
    let answer = world.server.restart(&offer);
    // Roams at the same time: the server sees another address.
    world.client_address = ([10, 0, 0, 77], 7777).into();
    world.server.nominated = None;
    world.client.accept_answer(world.now, &answer).unwrap();
    world.run(100 * MS);
    assert_eq!(world.server.nominated.unwrap().0, world.client_address);
    assert_eq!(world.client.remote_ufrag(), Some("server-1x"));
    assert!(world.client.send_opus(world.now, 960, false, None, b"after"));
    world.server.send_rtp(&packet(1, 0, b"hello"));
    world.run(30 * MS);
    assert_eq!((world.server.rtp.len(), world.client.stats().packets_received), (2, 1));
    world.run(40 * SECOND);
    assert!(world.client.is_connected(), "consent goes on with the new credentials");
    // Another certificate in a later answer is a man in the middle.
    let forged = answer.replace("a=fingerprint:sha-256 ", "a=fingerprint:sha-256 00:");
    assert!(world.client.accept_answer(world.now, &forged).is_err());
}

#[test]
fn consent_expires_when_the_server_is_gone_and_not_before() {
    let mut world = perfect(honest());
    world.run(60 * SECOND);
    assert!(world.client.is_connected());
    let checks = world.server.stun_seen;
    assert!((10..=18).contains(&checks), "{checks} checks in a minute");
    world.server.answers_stun = false;
    world.run(20 * SECOND);
    assert!(world.client.is_connected());
    world.run(15 * SECOND);
    assert_eq!(reason(&world), Some(&CloseReason::ConsentExpired));
    assert_eq!(world.client.poll_timeout(), None);
}

#[test]
fn gives_up_when_nobody_answers() {
    let options = ClientOptions {
        connect_timeout: 3 * SECOND,
        ..honest()
    };
    let mut world = World::new(
        options,
        Options::default(),
        LinkConfig {
            loss: 1.0,
            ..LinkConfig::default()
        },
    );
    assert!(!world.connect(4 * SECOND));
    assert_eq!(reason(&world), Some(&CloseReason::IceTimeout));
}

#[test]
fn checks_the_certificate_and_may_lie_about_its_own() {
    let server = Options {
        lie_about_fingerprint: true,
        ..Options::default()
    };
    let mut world = World::new(honest(), server, LinkConfig::default());
    assert!(!world.connect(SECOND));
    assert_eq!(reason(&world), Some(&CloseReason::FingerprintMismatch));

    let other = Identity::generate().unwrap();
    let options = ClientOptions {
        claim_fingerprint: Some(other.fingerprint()),
        ..honest()
    };
    let mut world = World::new(options, Options::default(), LinkConfig::default());
    world.run(SECOND);
    assert!(world.server.closed && !world.server.connected);
}

#[test]
fn says_goodbye_and_hears_it() {
    let mut world = perfect(honest());
    world.client.close(world.now);
    assert!(world.client.is_closed() && !world.client.send_opus(world.now, 0, false, None, b"x"));
    world.run(30 * MS);
    let bye = world.server.rtcp.last().expect("a BYE");
    // RR without blocks, then BYE with one source: ours.
    assert_eq!(
        (bye[1], bye[9], &bye[12..16]),
        (201, 203, &0x0102_0304u32.to_be_bytes()[..])
    );
    assert!(world.server.closed, "close_notify");
    assert_eq!(reason(&world), Some(&CloseReason::Local));

    let mut world = perfect(honest());
    world.server.close(world.now);
    world.run(30 * MS);
    assert_eq!(reason(&world), Some(&CloseReason::RemoteCloseNotify));

    let mut world = perfect(honest());
    let mut bye = vec![0x80, 201, 0, 1];
    bye.extend(0x5e5e_5e5eu32.to_be_bytes());
    bye.extend([0x81, 203, 0, 1]);
    bye.extend(0x5e5e_5e5eu32.to_be_bytes());
    world.server.send_rtcp(&bye);
    world.run(30 * MS);
    assert_eq!(reason(&world), Some(&CloseReason::RemoteBye));
}

#[test]
fn reports_as_rfc_3550_asks() {
    let mut world = perfect(honest());
    for i in 0..600u32 {
        world
            .client
            .send_opus(world.now, 1_000 + i * 960, false, None, b"sound");
        if i % 4 != 3 {
            world.server.send_rtp(&packet(i as u16, i * 960, b"down"));
        }
        // A sender report of the server's after a second, and its view of us.
        if i == 50 {
            let mut report = vec![0x81, 200, 0, 12];
            report.extend(0x5e5e_5e5eu32.to_be_bytes());
            report.extend([0, 0, 0, 9, 0x80, 0, 0, 0]);
            for word in [7u32, 50, 200, 0x0102_0304, (64 << 24) | 12, 66_000, 480, 0, 0] {
                report.extend(word.to_be_bytes());
            }
            world.server.send_rtcp(&report);
        }
        world.run(20 * MS);
    }
    let reports: Vec<_> = world.server.rtcp.iter().filter(|p| p[1] == 200).collect();
    assert!((2..=4).contains(&reports.len()), "{} in 12 s", reports.len());
    let last = reports.last().unwrap();
    let word = |at: usize| u32::from_be_bytes(last[at..at + 4].try_into().unwrap());
    assert_eq!(last[0] & 31, 1, "one block");
    assert_eq!(word(4), 0x0102_0304);
    let sent = word(20);
    assert_eq!(word(24), sent * 5, "octets of payload");
    // RTP time and NTP time are of the same moment: 20 ms a packet since the first.
    assert!(
        (1_000 + (sent - 1) * 960..1_000 + (sent + 1) * 960).contains(&word(16)),
        "{} {sent}",
        word(16)
    );
    assert_eq!(word(28), 0x5e5e_5e5e);
    assert!(
        (56..=72).contains(&(word(32) >> 24)),
        "a quarter lost: {}",
        word(32) >> 24
    );
    assert_eq!(word(44), 0x0009_8000, "middle of the server's NTP time");
    assert!(word(48) > 65_536, "more than a second ago");
    let stats = world.client.stats();
    let reported = stats.reported.unwrap();
    assert_eq!(
        (reported.fraction_lost, reported.cumulative_lost, reported.highest_seq),
        (0.25, 12, 66_000)
    );
    assert_eq!((reported.jitter, reported.round_trip), (10 * MS, None));
    assert_eq!(stats.last_sender_report.unwrap().ntp, 0x0000_0009_8000_0000);
    assert!(last.windows(2).any(|w| w == [1, 13]), "SDES with CNAME roomtone-load");
}

#[test]
fn the_offer_says_what_the_options_say() {
    let offer = |options| perfect(options).client.offer();
    let text = offer(honest());
    for line in [
        "a=setup:actpass",
        "a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level",
        "a=ssrc:16909060 ",
        "a=sendrecv",
    ] {
        assert!(text.contains(&format!("\r\n{line}")), "{line} in\n{text}");
    }
    let text = offer(ClientOptions {
        level_ext: false,
        announce_ssrc: false,
        ..honest()
    });
    assert!(!text.contains("extmap") && !text.contains("a=ssrc"));
    let text = offer(ClientOptions {
        direction: roomtone_testkit::peer::Direction::RecvOnly,
        extra_media: "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:v\r\n".into(),
        extra_attributes: vec!["a=x-test:1".into()],
        ..honest()
    });
    assert!(
        text.contains("\r\na=recvonly\r\n") && text.contains("a=group:BUNDLE 0 v\r\n"),
        "{text}"
    );
    assert!(text.contains("a=x-test:1\r\nm=video"), "{text}");
}

#[test]
fn survives_whatever_arrives() {
    let mut world = perfect(honest());
    let server = world.client.remote_address().unwrap();
    let mut seed = 1u64;
    let mut random = || {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as u8
    };
    world.client.send_opus(world.now, 0, false, None, b"before");
    let now = world.now;
    for round in 0..20_000usize {
        let mut junk: Vec<u8> = (0..round % 200).map(|_| random()).collect();
        if let Some(first) = junk.first_mut() {
            *first = [0, 1, 20, 22, 23, 25, 128, 144, 191, 64, 255][round % 11];
        }
        let from = if round % 3 == 0 {
            ([6, 6, 6, 6], 6).into()
        } else {
            server
        };
        world.client.handle_datagram(now, from, &mut junk);
    }
    assert!(world.client.is_connected(), "{:?}", world.events);
    world.server.send_rtp(&packet(1, 0, b"still here"));
    world.run(20 * MS);
    assert_eq!(world.client.stats().packets_received, 1);
    assert!(world.client.stats().rejected > 15_000);
}

#[test]
fn a_pulled_cable_is_silent() {
    let mut world = perfect(honest());
    world.client.go_silent(true);
    let seen = world.server.stun_seen;
    for _ in 0..50 {
        world.client.send_opus(world.now, 0, false, None, b"x");
        world.run(200 * MS);
    }
    assert_eq!((world.server.rtp.len(), world.server.stun_seen), (0, seen));
    world.client.go_silent(false);
    world.run(10 * SECOND);
    assert!(world.server.stun_seen > seen && world.client.is_connected());
}
