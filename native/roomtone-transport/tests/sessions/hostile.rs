//! Hostile input of strangers and of clients: none of it may panic, make state, or disturb the
//! sound.

use std::net::SocketAddr;

use crate::common::{ClientOptions, Link, MS, Profile};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use roomtone_transport::{AudioOut, CloseReason, Event};

fn stranger() -> SocketAddr {
    "203.0.113.200:1234".parse().unwrap()
}

/// The sound works both ways, still.
fn assert_alive(link: &mut Link, seq: u16) {
    let (heard, got) = (link.rtp().len(), link.client.rtp.len());
    link.client.send_audio(seq, 0, None, &[1]);
    let out = AudioOut {
        timestamp: 0,
        marker: false,
        level: None,
        payload: &[2],
    };
    assert!(link.send_audio(out));
    link.run(30 * MS);
    assert_eq!((link.rtp().len(), link.client.rtp.len()), (heard + 1, got + 1));
}

#[test]
fn strangers_get_nothing() {
    let mut link = Link::connected(ClientOptions::default());
    link.run(5 * MS);
    let hello = link.tape.iter().find(|d| d[0] == 22).unwrap().clone();
    link.client.send_audio(1, 0, None, &[1]);
    link.pump();
    let sound = link.tape.last().unwrap().clone();
    for data in [&hello[..], &sound[..], b"", b"GET / HTTP/1.1"] {
        link.inject(stranger(), data);
        assert!(link.server.poll_transmit().is_none());
    }
    assert_eq!(link.server.stats().dropped_strangers, 4);
    assert!(link.server.poll_event().is_none());
}

#[test]
fn unauthenticated_checks_are_not_answered() {
    let mut link = Link::new(ClientOptions::default());
    let c = &link.client;
    let good_name = format!("{}:{}", c.remote_ufrag, c.ufrag);
    let good = c.check(true, false);
    let mut forgeries = vec![
        c.check_as(&good_name, "wrong password", true, false),
        c.check_as(&format!("{}:other", c.remote_ufrag), &c.remote_pwd, true, false),
        c.check_as("nobody:at all", &c.remote_pwd, true, false),
        c.check_as(&c.remote_ufrag, &c.remote_pwd, true, false),
    ];
    for at in 0..good.len() {
        let mut bent = good.clone();
        bent[at] ^= 0x04;
        forgeries.push(bent);
    }
    for cut in 0..good.len() {
        forgeries.push(good[..cut].to_vec());
    }
    // a binding indication, and a response
    for kind in [[0x00, 0x11], [0x01, 0x01], [0x01, 0x11]] {
        let mut other = good.clone();
        other[..2].copy_from_slice(&kind);
        forgeries.push(other);
    }
    let mut longer = good.clone();
    longer.push(0);
    forgeries.push(longer);
    for forgery in &forgeries {
        link.inject(stranger(), forgery);
        assert!(link.server.poll_transmit().is_none(), "{forgery:02x?}");
        assert!(link.server.poll_event().is_none());
    }
    assert_eq!(link.server.stats().stun_requests, 0);
    link.inject(stranger(), &good);
    assert!(link.server.poll_transmit().is_some(), "the good one is");
}

/// USE-CANDIDATE behind MESSAGE-INTEGRITY isn't signed: an attacker on the way could have put it
/// there.
#[test]
fn a_nomination_behind_the_signature_is_ignored() {
    let mut link = Link::connected(ClientOptions::default());
    let selected = link.server.stats().selected;
    let plain = link.client.check(false, false);
    let body = plain.len() - 8; // without FINGERPRINT
    let mut bent = plain[..body].to_vec();
    bent.extend([0x00, 0x25, 0, 0]);
    let len = (bent.len() + 8 - 20) as u16;
    bent[2..4].copy_from_slice(&len.to_be_bytes());
    let crc = rtc::stun::fingerprint::fingerprint_value(&bent);
    bent.extend([0x80, 0x28, 0, 4]);
    bent.extend(crc.to_be_bytes());
    let before = link.server.stats().stun_requests;
    link.inject(stranger(), &bent);
    assert_eq!(
        link.server.stats().stun_requests,
        before + 1,
        "the request itself is authentic"
    );
    assert_eq!(link.server.stats().selected, selected);
}

#[test]
fn a_client_in_the_wrong_role_gets_487() {
    let mut link = Link::new(ClientOptions::default());
    let request = link.client.check(true, true);
    let from = link.client_address;
    link.inject(from, &request);
    let answer = link.server.poll_transmit().expect("answered");
    link.client.handle(link.now, &answer.data);
    assert_eq!(link.client.stun_errors, [487]);
    assert!(
        link.server.poll_event().is_none(),
        "and its address isn't validated by that"
    );
}

#[test]
fn addresses_are_bounded() {
    let mut link = Link::connected(ClientOptions::default());
    for port in 0..1_000u16 {
        let from = SocketAddr::new(stranger().ip(), 1_000 + port);
        let request = link.client.check(false, false);
        link.inject(from, &request);
        link.run(MS);
    }
    let (mut validated, mut routed) = (std::collections::HashSet::new(), std::collections::HashSet::new());
    for (_, event) in &link.events {
        match event {
            Event::AddressValidated(address) => {
                validated.insert(*address);
                routed.insert(*address);
            }
            Event::AddressRetired(address) => assert!(routed.remove(address)),
            _ => {}
        }
    }
    assert_eq!(validated.len(), 1_001);
    assert_eq!(routed.len(), 16);
    assert_eq!(link.server.stats().selected, Some(link.client_address));
    assert_alive(&mut link, 9);
}

fn both_profiles(test: impl Fn(&mut Link)) {
    for profile in [Profile::Srtp_Aead_Aes_128_Gcm, Profile::Srtp_Aes128_Cm_Hmac_Sha1_80] {
        let mut link = Link::connected(ClientOptions {
            profiles: vec![profile],
            ..Default::default()
        });
        test(&mut link);
    }
}

#[test]
fn forged_replayed_and_truncated_sound_is_dropped() {
    both_profiles(|link| {
        let from = link.client_address;
        let packet = link.client.rtp_packet(10, 0, Some(5), &[1; 60]);
        let sealed = link.client.seal_rtp(&packet);
        // Forgeries come first: they must not spoil the stream before it has begun.
        for at in 0..sealed.len() {
            let mut bent = sealed.clone();
            bent[at] ^= 0x01;
            link.inject(from, &bent);
        }
        let mut far_away = sealed.clone();
        far_away[2..4].copy_from_slice(&[0xF0, 0]);
        link.inject(from, &far_away);
        for cut in 0..sealed.len() {
            link.inject(from, &sealed[..cut]);
        }
        link.pump();
        assert!(link.rtp().is_empty());
        let stats = link.server.stats();
        assert!(stats.auth_failures > 50, "{stats:?}");
        link.inject(from, &sealed);
        link.inject(from, &sealed);
        link.pump();
        assert_eq!(link.rtp().len(), 1);
        assert_eq!(link.server.stats().replayed, 1);
        assert_alive(link, 11);
    });
}

#[test]
fn packets_replayed_after_a_rollover_are_refused() {
    both_profiles(|link| {
        let from = link.client_address;
        let mut first = vec![];
        for i in 0..70_000u32 {
            let packet = link.client.rtp_packet((i as u16).wrapping_add(100), i, None, &[1]);
            let sealed = link.client.seal_rtp(&packet);
            link.inject(from, &sealed);
            while link.server.poll_event().is_some() {}
            if i < 5_000 {
                first.push(sealed);
            }
        }
        let before = link.server.stats().packets_in;
        for old in &first {
            link.inject(from, old);
        }
        assert_eq!(link.server.stats().packets_in, before);
        assert_eq!(before, 70_000);
    });
}

#[test]
fn a_flood_of_unknown_ssrcs_is_bounded() {
    both_profiles(|link| {
        let from = link.client_address;
        for ssrc in 0..5_000u32 {
            link.client.options.ssrc = ssrc;
            let packet = link.client.rtp_packet(1, 0, None, &[1; 20]);
            let sealed = link.client.seal_rtp(&packet); // authentic, even
            link.inject(from, &sealed);
        }
        let stats = link.server.stats();
        assert_eq!((stats.unknown_ssrc, stats.packets_in), (4_996, 4), "four are learned");
        assert_eq!(link.rtp().len(), 1, "and one is heard");
        // One more a second, however long it goes on.
        for second in 0..100u32 {
            link.run(1_000 * MS);
            for ssrc in 0..20u32 {
                link.client.options.ssrc = 10_000 + 100 * second + ssrc;
                let packet = link.client.rtp_packet(1, 0, None, &[1; 20]);
                let sealed = link.client.seal_rtp(&packet);
                link.inject(from, &sealed);
            }
        }
        let stats = link.server.stats();
        assert!((100..=110).contains(&stats.packets_in), "{stats:?}");
        assert!(stats.streams <= 32, "{stats:?}");
        link.client.options.ssrc = 0x1122_3344;
        link.run(200 * MS);
        assert_alive(link, 1);
    });
}

/// rtc-srtp takes an SRTCP packet without the E flag as it comes, tag unseen, under AES-CM: a BYE
/// for everybody.
#[test]
fn unencrypted_srtcp_is_a_forgery() {
    both_profiles(|link| {
        let from = link.client_address;
        let mut bye = vec![0x80, 201, 0, 1];
        bye.extend(0x1122_3344u32.to_be_bytes());
        bye.extend([0x81, 203, 0, 1]);
        bye.extend(0x1122_3344u32.to_be_bytes());
        for tail in [14, 20] {
            let mut packet = bye.clone();
            packet.extend(vec![0; tail]);
            link.inject(from, &packet);
        }
        assert_eq!(link.server.stats().auth_failures, 2);
        link.client.checking = false;
        link.run(10_000 * MS);
        assert!(!link.server.is_closed());
    });
}

#[test]
fn encrypted_nonsense_is_survived() {
    both_profiles(|link| {
        let from = link.client_address;
        let mut rng = StdRng::seed_from_u64(5);
        for i in 0..3_000u32 {
            let mut body = vec![0; rng.random_range(0..80)];
            rng.fill_bytes(&mut body);
            // RTP whose header lies, but which is sealed well
            let mut packet = link.client.rtp_packet(i as u16, 0, None, &body);
            packet[0] = 0x80 | (rng.random::<u8>() & 0x20);
            packet[1] = rng.random::<u8>() & 0xBF;
            if !(192..=223).contains(&packet[1]) {
                let sealed = link.client.seal_rtp(&packet);
                link.inject(from, &sealed);
            }
            // RTCP likewise
            let mut packet = vec![0x80 | (rng.random::<u8>() & 0x3F), 200 + (i % 8) as u8];
            packet.extend(rng.random_range(0..20u16).to_be_bytes());
            packet.extend(0x1122_3344u32.to_be_bytes());
            packet.extend(&body);
            let sealed = link.client.seal_rtcp(&packet);
            link.inject(from, &sealed);
            link.pump();
        }
        assert!(link.server.stats().auth_failures == 0);
        assert!(!link.server.is_closed());
        assert_alive(link, 3_000);
    });
}

#[test]
fn a_flood_of_junk_changes_nothing() {
    let mut link = Link::connected(ClientOptions::default());
    let from = link.client_address;
    let mut rng = StdRng::seed_from_u64(9);
    let mut data = vec![0u8; 1_500];
    for i in 0..100_000u32 {
        let len = rng.random_range(0..300);
        rng.fill_bytes(&mut data[..len]);
        if len > 12 {
            data[0] = [0, 22, 21, 20, 128, 144, 129, 255][i as usize % 8];
            match i % 8 {
                1..=3 => data[1..3].copy_from_slice(&[0xFE, 0xFD]),
                4 | 5 => data[8..12].copy_from_slice(&0x1122_3344u32.to_be_bytes()),
                6 => data[1] = 201,
                _ => {}
            }
        }
        let address = if i % 2 == 0 { from } else { stranger() };
        let mut datagram = data[..len].to_vec();
        link.server.handle_datagram(link.now, address, &mut datagram);
        assert!(link.server.poll_event().is_none());
    }
    let stats = link.server.stats();
    assert!(
        stats.dropped_strangers > 30_000 && stats.dtls_dropped > 10_000 && stats.auth_failures > 1_000,
        "{stats:?}"
    );
    while link.server.poll_transmit().is_some() {}
    assert_alive(&mut link, 1);
}

/// A DTLS record around handshake fragments.
fn record(epoch: u16, number: u64, body: &[u8]) -> Vec<u8> {
    let mut r = vec![22, 0xFE, 0xFD];
    r.extend(epoch.to_be_bytes());
    r.extend(&number.to_be_bytes()[2..]);
    r.extend((body.len() as u16).to_be_bytes());
    r.extend(body);
    r
}

#[test]
fn dtls_floods_are_capped_before_and_after_the_handshake() {
    // Before: 64 datagrams, then none.
    let mut link = Link::new(ClientOptions::default());
    let from = link.client_address;
    let request = link.client.check(true, false);
    link.inject(from, &request);
    let fragment = |seq: u16, at: u8| {
        let mut f = vec![11, 0, 40, 0]; // a Certificate of 10 KiB, piecemeal
        f.extend(seq.to_be_bytes());
        f.extend([0, 0, at, 0, 0, 1, 7]);
        f
    };
    for i in 0..500u64 {
        link.inject(from, &record(0, i, &fragment(3, i as u8)));
    }
    let dropped = link.server.stats().dtls_dropped;
    assert!(dropped >= 500 - 64, "{dropped}");

    // After: sixteen, and records of an epoch to come never.
    let mut link = Link::connected(ClientOptions::default());
    link.run(20 * MS);
    for i in 0..500u64 {
        link.inject(from, &record(0, 1_000 + i, &fragment(3, i as u8)));
        link.inject(from, &record(2, i, &[0; 40]));
        let mut alert = record(2, i, &[0; 40]);
        alert[0] = 21;
        link.inject(from, &alert);
        let mut plain_alert = record(0, 5_000 + i, &[2, 40]);
        plain_alert[0] = 21;
        link.inject(from, &plain_alert);
        let mut data = record(1, i, &[0; 40]);
        data[0] = 23;
        link.inject(from, &data);
    }
    assert!(link.server.stats().dtls_dropped >= 2_500 - 16);
    assert!(!link.server.is_closed());
    let mut answers = 0;
    while link.server.poll_transmit().is_some() {
        answers += 1;
    }
    assert!(answers <= 16, "no amplifier: {answers}");
    assert_alive(&mut link, 1);
}

#[test]
fn empty_and_impossible_fragments_are_refused() {
    let mut link = Link::new(ClientOptions::default());
    let from = link.client_address;
    let request = link.client.check(true, false);
    link.inject(from, &request);
    let cases: [&[u8]; 5] = [
        &[1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0],             // empty
        &[1, 0, 0, 1, 0, 0, 0, 0, 5, 0, 0, 1, 9],          // beyond its message
        &[1, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0, 1, 9], // 16 MiB
        &[1, 0, 0, 1, 0xFF, 0xFF, 0, 0, 0, 0, 0, 1, 9],    // message number 65535
        &[1, 0, 0],                                        // cut
    ];
    for case in cases {
        link.inject(from, &record(0, 0, case));
    }
    // 100 empty ones in one datagram
    let many: Vec<u8> = std::iter::repeat_n(cases[0], 100).flatten().copied().collect();
    link.inject(from, &record(0, 0, &many));
    assert_eq!(link.server.stats().dtls_dropped, 6);
    // and a client that comes after that connects
    link.connect();
}

#[test]
fn random_handshake_bytes_never_panic() {
    for seed in 0..40 {
        let mut link = Link::new(ClientOptions::default());
        link.seed(seed);
        let from = link.client_address;
        link.run_until(1_000 * MS, |l| l.now - l.start >= (20 + seed as u32 * 3 % 60) * MS);
        let mut rng = StdRng::seed_from_u64(seed);
        let sample: Vec<Vec<u8>> = link.tape.iter().filter(|d| d[0] == 22).cloned().collect();
        for _ in 0..100 {
            if let Some(datagram) = sample.get(rng.random_range(0..sample.len().max(1))) {
                let mut bent = datagram.clone();
                for _ in 0..3 {
                    let at = rng.random_range(13..bent.len());
                    bent[at] = rng.random();
                }
                link.inject(from, &bent);
            }
        }
        link.pump();
        // It may have failed, but then it has told.
        assert_eq!(link.server.is_closed(), link.closed().is_some());
        if let Some((_, reason)) = link.closed() {
            assert!(matches!(
                reason,
                CloseReason::HandshakeFailed | CloseReason::FingerprintMismatch
            ));
        }
    }
}
