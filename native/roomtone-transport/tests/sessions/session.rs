//! An endpoint against a client of the same protocol crates: real ICE, DTLS and SRTP on a virtual
//! clock.

use std::time::Duration;

use crate::common::{ClientOptions, Link, MS, Profile};
use roomtone_transport::{AudioOut, CloseReason, EndpointOptions, Event, Offer};

fn audio(timestamp: u32, payload: &[u8]) -> AudioOut<'_> {
    AudioOut {
        timestamp,
        marker: false,
        level: Some(20),
        payload,
    }
}

/// Sound both ways, with levels, for a profile.
fn both_ways(options: ClientOptions, profile: &str) {
    let mut link = Link::connected(options);
    assert_eq!(link.server.stats().srtp_profile, Some(profile));
    assert!(link.server.can_send() && link.server.can_receive());
    for i in 0..100u32 {
        let payload = [0xF8, i as u8, 2, 3];
        link.client
            .send_audio(1000 + i as u16, 5_000 + 960 * i, Some(0x80 | 30), &payload);
        assert!(link.send_audio(audio(960 * i, &payload)));
        link.run(20 * MS);
    }
    link.run(50 * MS);
    let heard = link.rtp();
    assert_eq!(heard.len(), 100);
    for (i, packet) in heard.iter().enumerate() {
        assert_eq!(packet.seq, 1000 + i as u16);
        assert_eq!(packet.timestamp, 5_000 + 960 * i as u32);
        assert_eq!(packet.level, Some((30, true)));
        assert_eq!(packet.ssrc, 0x1122_3344);
        assert_eq!(&packet.payload[..], [0xF8, i as u8, 2, 3]);
    }
    assert_eq!(link.client.rtp.len(), 100);
    let first = link.client.rtp[0].1.clone();
    let word = |p: &[u8], at: usize| u32::from_be_bytes(p[at..at + 4].try_into().unwrap());
    let sequence = |p: &[u8]| u16::from_be_bytes([p[2], p[3]]);
    for (i, (_, packet)) in link.client.rtp.iter().enumerate() {
        assert_eq!(packet[0], 0x90);
        assert_eq!(packet[1], 111);
        assert_eq!(sequence(packet), sequence(&first).wrapping_add(i as u16));
        assert_eq!(word(packet, 4), word(&first, 4).wrapping_add(960 * i as u32));
        assert_eq!(word(packet, 8), link.server.stats().ssrc);
        assert_eq!(packet[12..20], [0xBE, 0xDE, 0, 1, 0x10, 0x80 | 20, 0, 0]);
        assert_eq!(packet[20..], [0xF8, i as u8, 2, 3]);
    }
    let stats = link.server.stats();
    assert_eq!((stats.packets_in, stats.packets_out), (100, 100));
    assert_eq!((stats.auth_failures, stats.replayed, stats.unknown_ssrc), (0, 0, 0));
    assert_eq!(stats.lost, 0);
    assert!(stats.jitter < MS, "{:?}", stats.jitter);
}

#[test]
fn gcm_is_preferred_though_the_client_lists_it_last() {
    both_ways(ClientOptions::default(), "SRTP_AEAD_AES_128_GCM");
}

#[test]
fn aes_cm_is_taken_from_a_client_without_gcm() {
    let profiles = vec![
        Profile::Srtp_Aes128_Cm_Hmac_Sha1_32,
        Profile::Srtp_Aes128_Cm_Hmac_Sha1_80,
    ];
    both_ways(
        ClientOptions {
            profiles,
            ..Default::default()
        },
        "SRTP_AES128_CM_HMAC_SHA1_80",
    );
}

#[test]
fn aes_256_gcm_is_taken_where_it_is_all_there_is() {
    let profiles = vec![Profile::Srtp_Aead_Aes_256_Gcm];
    both_ways(
        ClientOptions {
            profiles,
            ..Default::default()
        },
        "SRTP_AEAD_AES_256_GCM",
    );
}

#[test]
fn a_client_without_a_profile_of_ours_is_told_at_once() {
    let profiles = vec![Profile::Srtp_Aes128_Cm_Hmac_Sha1_32];
    let mut link = Link::new(ClientOptions {
        profiles,
        ..Default::default()
    });
    link.run(1_000 * MS);
    assert_eq!(link.closed().map(|c| c.1), Some(CloseReason::HandshakeFailed));
}

#[test]
fn connecting_takes_few_round_trips() {
    let link = Link::connected(ClientOptions::default());
    // STUN, ClientHello, its cookie, flight 4 and 5, flight 6: four and a half round trips of 20 ms
    assert!(link.now - link.start <= 100 * MS, "{:?}", link.now - link.start);
    assert!(matches!(link.events[0].1, Event::AddressValidated(a) if a == link.client_address));
    assert!(matches!(link.events[1].1, Event::Connected));
}

#[test]
fn an_unannounced_ssrc_is_learned_and_few_of_them() {
    let mut link = Link::connected(ClientOptions {
        announce_ssrc: false,
        ..Default::default()
    });
    for ssrc in 0..10u32 {
        link.client.options.ssrc = 0x100 + ssrc;
        link.client.send_audio(1, 0, None, &[1]);
    }
    link.run(20 * MS);
    let stats = link.server.stats();
    assert_eq!((stats.packets_in, stats.unknown_ssrc), (4, 6));
    assert_eq!(link.rtp().len(), 1, "one microphone");
    // A client that begins a new stream is heard as soon as the old one is silent.
    link.run(1_100 * MS);
    link.client.send_audio(1, 0, None, &[1]);
    link.run(20 * MS);
    assert_eq!(link.rtp().len(), 2);
}

#[test]
fn directions_are_mirrored_and_kept() {
    for (theirs, ours, can_send, can_receive) in [
        ("sendrecv", "sendrecv", true, true),
        ("sendonly", "recvonly", false, true),
        ("recvonly", "sendonly", true, false),
        ("inactive", "inactive", false, false),
    ] {
        let mut link = Link::connected(ClientOptions {
            direction: theirs,
            ..Default::default()
        });
        assert!(link.client.answers[0].contains(&format!("a={ours}\r\n")), "{theirs}");
        assert_eq!(link.client.answers[0].contains("a=ssrc:"), can_send);
        assert_eq!(link.server.can_send(), can_send);
        assert_eq!(link.server.can_receive(), can_receive);
        assert_eq!(link.send_audio(audio(0, &[1])), can_send);
        link.client.send_audio(1, 0, None, &[1]);
        link.run(50 * MS);
        assert_eq!(link.rtp().len(), usize::from(can_receive), "{theirs}");
        assert_eq!(link.client.rtp.len(), usize::from(can_send), "{theirs}");
    }
    let options = EndpointOptions {
        recv: false,
        cname: "x".into(),
        ..EndpointOptions::default()
    };
    let link = Link::with(ClientOptions::default(), options, |_| {});
    assert!(link.client.answers[0].contains("a=sendonly\r\n"));
}

#[test]
fn sequence_numbers_and_timestamps_wrap_both_ways() {
    for profiles in [
        vec![Profile::Srtp_Aead_Aes_128_Gcm],
        vec![Profile::Srtp_Aes128_Cm_Hmac_Sha1_80],
    ] {
        let mut link = Link::connected(ClientOptions {
            profiles,
            ..Default::default()
        });
        link.latency = Duration::ZERO;
        // Twice around, in steps of 1 around the seams and with loss elsewhere: the rollover
        // counter must follow.
        let mut sent = 0u32;
        let mut step = 0u32;
        while step < 140_000 {
            let seq = (step as u16).wrapping_add(30_000);
            let close_to_seam = !(200..=65_335).contains(&seq);
            if close_to_seam || step.is_multiple_of(97) {
                link.client
                    .send_audio(seq, 0xFFFF_0000u32.wrapping_add(step * 960), None, &[7]);
                sent += 1;
                link.run(Duration::ZERO); // nothing may queue up
            }
            step += 1;
        }
        link.run(MS);
        assert_eq!(link.rtp().len() as u32, sent);
        let stats = link.server.stats();
        assert_eq!((stats.auth_failures, stats.replayed, stats.malformed), (0, 0, 0));
        assert!(
            link.rtp().windows(2).any(|w| w[0].timestamp > w[1].timestamp),
            "timestamps wrapped"
        );

        for i in 0..70_000u32 {
            assert!(link.send_audio(audio(0xFFFF_FF00u32.wrapping_add(i), &[7])));
            link.pump();
            if i % 1000 == 0 {
                link.run(Duration::ZERO);
            }
        }
        link.run(MS);
        assert_eq!(link.client.rtp.len(), 70_000);
        assert_eq!(link.client.undecryptable, 0);
    }
}

#[test]
fn silence_ends_a_connection_after_thirty_seconds() {
    let mut link = Link::connected(ClientOptions::default());
    link.run(60_000 * MS);
    assert!(!link.server.is_closed(), "checks keep it open");
    link.client.checking = false;
    link.run(20 * MS);
    let silent_since = link.now;
    link.run(29_000 * MS);
    assert!(!link.server.is_closed());
    link.run(2_000 * MS);
    let (at, reason) = link.closed().expect("closed");
    assert_eq!(reason, CloseReason::ConsentExpired);
    assert!(at - silent_since <= 30_000 * MS && at - silent_since > 29_000 * MS);
    assert!(matches!(link.events.last().unwrap().1, Event::Closed(_)));
    assert_eq!(link.server.poll_timeout(), None);
    assert!(!link.send_audio(audio(0, &[1])));
}

#[test]
fn authentic_sound_keeps_a_session_alive_and_forged_sound_does_not() {
    let mut link = Link::connected(ClientOptions::default());
    link.client.checking = false;
    for i in 0..40u16 {
        link.client.send_audio(i, 0, None, &[1]);
        link.run(1_000 * MS);
    }
    assert!(!link.server.is_closed());
    // A listener's reports count as well.
    for _ in 0..40 {
        let mut report = vec![0x80, 201, 0, 1];
        report.extend(0x1122_3344u32.to_be_bytes());
        let sealed = link.client.seal_rtcp(&report);
        link.client.send(sealed);
        link.run(1_000 * MS);
    }
    assert!(!link.server.is_closed());
    let forged = link.client.rtp_packet(1_000, 0, None, &[1; 40]);
    let replayed = link.tape.last().unwrap().clone();
    let from = link.client_address;
    for _ in 0..31 {
        link.inject(from, &forged);
        link.inject(from, &replayed);
        link.run(1_000 * MS);
    }
    assert_eq!(link.closed().map(|c| c.1), Some(CloseReason::ConsentExpired));
}

#[test]
fn wrong_fingerprint_ends_the_handshake() {
    let mut link = Link::new(ClientOptions {
        lie: true,
        ..Default::default()
    });
    link.run(1_000 * MS);
    assert_eq!(link.closed().map(|c| c.1), Some(CloseReason::FingerprintMismatch));
    assert!(!link.events.iter().any(|(_, e)| matches!(e, Event::Connected)));
    assert!(link.client.dtls_error.is_some(), "the client got an alert");
}

#[test]
fn handshakes_survive_loss() {
    for seed in 0..25 {
        let mut link = Link::new(ClientOptions::default());
        link.seed(seed);
        link.loss = 0.3;
        link.run_until(25_000 * MS, |l| l.client.connected && l.server.is_connected());
        assert!(link.client.connected && link.server.is_connected(), "seed {seed}");
    }
}

#[test]
fn a_handshake_that_never_ends_times_out() {
    let mut link = Link::new(ClientOptions::default());
    link.run_until(1_000 * MS, |l| l.now - l.start >= 45 * MS);
    link.deaf_server = true; // hears nothing from the middle of the handshake on
    let mut sent = 0;
    while link.closed().is_none() && link.now - link.start < 40_000 * MS {
        link.run_until(100 * MS, |_| false);
        sent += 1;
    }
    let (at, reason) = link.closed().expect("closed");
    assert_eq!(reason, CloseReason::HandshakeTimeout);
    assert_eq!(at - link.start, 30_000 * MS);
    assert!(sent < 400);

    let mut silent = Link::new(ClientOptions::default());
    silent.client.checking = false;
    silent.run(31_000 * MS);
    assert_eq!(silent.closed().map(|c| c.1), Some(CloseReason::HandshakeTimeout));
}

#[test]
fn closing_says_bye_and_close_notify() {
    let mut link = Link::connected(ClientOptions::default());
    link.server.close(link.now);
    assert!(link.server.is_closed());
    link.server.close(link.now);
    link.run(50 * MS);
    assert_eq!(
        link.events
            .iter()
            .filter(|(_, e)| matches!(e, Event::Closed(CloseReason::Local)))
            .count(),
        1
    );
    assert!(link.client.dtls_closed, "close_notify arrived");
    let (_, bye) = link.client.rtcp.last().expect("RTCP arrived");
    let tail = &bye[bye.len() - 12..];
    assert_eq!(tail[..4], [0x81, 203, 0, 2]);
    assert_eq!(tail[4..8], link.server.stats().ssrc.to_be_bytes());
    assert_eq!(tail[8..], *b"\x03end");
    assert!(link.events.iter().any(|(_, e)| matches!(e, Event::AddressRetired(_))));
}

#[test]
fn close_notify_of_the_client_ends_the_session() {
    let mut link = Link::connected(ClientOptions::default());
    link.client.close_dtls(link.now);
    link.run(50 * MS);
    assert_eq!(link.closed().map(|c| c.1), Some(CloseReason::RemoteCloseNotify));
}

fn bye(ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, 1];
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0x81, 203, 0, 1]);
    packet.extend(ssrc.to_be_bytes());
    packet
}

#[test]
fn a_bye_ends_it_only_if_nothing_follows() {
    let mut link = Link::connected(ClientOptions::default());
    let packet = bye(link.client.options.ssrc);
    let sealed = link.client.seal_rtcp(&packet);
    link.client.send(sealed);
    link.run(10_000 * MS);
    assert!(
        !link.server.is_closed(),
        "a browser that stops a track says BYE and stays"
    );
    link.client.checking = false;
    link.run(50 * MS);
    let sealed = link.client.seal_rtcp(&packet);
    link.client.send(sealed);
    let said = link.now;
    link.run(10_000 * MS);
    let (at, reason) = link.closed().expect("closed");
    assert_eq!(reason, CloseReason::RemoteBye);
    assert!(at - said < 7_000 * MS);
}

#[test]
fn reports_carry_loss_jitter_and_round_trip() {
    let mut link = Link::connected(ClientOptions::default());
    for i in 0..1_000u32 {
        if i % 10 != 3 {
            link.client.send_audio(i as u16, i * 960, None, &[1]);
        }
        link.send_audio(audio(i * 960, &[1; 50]));
        link.run(20 * MS);
    }
    let reports: Vec<_> = link.client.rtcp.iter().filter(|(_, p)| p[1] == 200).cloned().collect();
    assert!(reports.len() >= 3, "an SR about every five seconds: {}", reports.len());
    let (heard_at, sr) = reports.last().unwrap();
    let word = |p: &[u8], at: usize| u32::from_be_bytes(p[at..at + 4].try_into().unwrap());
    assert_eq!(word(sr, 4), link.server.stats().ssrc);
    assert_eq!(word(sr, 28), link.client.options.ssrc);
    // Of 256, over a report's time, which is a matter of chance (RFC 3550 §6.3.5): 107 packets can
    // have ten lost, which is 23.
    assert!((23..=28).contains(&sr[32]), "a tenth is lost: {}", sr[32]);
    assert!(link.server.stats().lost >= 90);
    // NTP and RTP time advance together
    let ntp = |p: &[u8]| f64::from(word(p, 8)) + f64::from(word(p, 12)) / 4_294_967_296.0;
    let (first, last) = (&reports[0].1, sr);
    let rtp = f64::from(word(last, 16).wrapping_sub(word(first, 16))) / 48_000.0;
    assert!((ntp(last) - ntp(first) - rtp).abs() < 0.001);

    // The client answers it: 300 ms held back, 10 ms of latency each way.
    let mut rr = vec![0x81, 201, 0, 7];
    rr.extend(link.client.options.ssrc.to_be_bytes());
    rr.extend(link.server.stats().ssrc.to_be_bytes());
    rr.extend([64, 0xFF, 0xFF, 0xFE]); // a quarter lost lately, −2 in total
    rr.extend([0, 0, 0, 9]);
    rr.extend(480u32.to_be_bytes());
    rr.extend(((word(sr, 8) << 16) | (word(sr, 12) >> 16)).to_be_bytes());
    let held = link.now - *heard_at + 300 * MS;
    rr.extend(((held.as_secs_f64() * 65_536.0) as u32).to_be_bytes());
    link.run(300 * MS);
    let sealed = link.client.seal_rtcp(&rr);
    link.client.send(sealed);
    link.run(20 * MS);
    let stats = link
        .events
        .iter()
        .find_map(|(_, e)| match e {
            Event::RemoteStats(stats) => Some(*stats),
            _ => None,
        })
        .expect("reported");
    assert_eq!(stats.fraction_lost, 0.25);
    assert_eq!(stats.cumulative_lost, -2);
    assert_eq!(stats.jitter, 10 * MS);
    assert!(stats.round_trip.unwrap().abs_diff(20 * MS) < MS, "{stats:?}");
    assert_eq!(link.server.stats().round_trip, stats.round_trip);
}

#[test]
fn a_listener_gets_reports_too_and_secrets_stay_inside() {
    let mut link = Link::connected(ClientOptions {
        direction: "sendonly",
        ..Default::default()
    });
    link.client.send_audio(1, 1, None, &[1]);
    link.run(20_000 * MS);
    assert!(link.client.rtcp.iter().any(|(_, p)| p[1] == 201 && p[0] & 0x1F == 1));
    let pwd = link.client.remote_pwd.clone();
    let shown = format!("{:?} {:?}", link.server, Offer::parse(&link.client.offer()).unwrap());
    assert!(!shown.contains(&pwd) && !shown.contains(&link.client.pwd));
    assert!(shown.contains(&link.client.remote_ufrag));
}
