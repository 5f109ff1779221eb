//! Streams that weren't announced or that change, packets that are too long, and what keeps a path
//! alive.

use crate::common::{ClientOptions, Link, MS, Profile};
use roomtone_transport::{CloseReason, EndpointOptions, Outbox, SlotOut};

fn bye(ssrc: u32) -> Vec<u8> {
    let mut packet = vec![0x80, 201, 0, 1];
    packet.extend(ssrc.to_be_bytes());
    packet.extend([0x81, 203, 0, 1]);
    packet.extend(ssrc.to_be_bytes());
    packet
}

/// Sends `count` packets of a stream that begins at these numbers, one each 20 ms.
fn talk(link: &mut Link, ssrc: u32, seq: u16, timestamp: u32, count: u16) {
    link.client.options.ssrc = ssrc;
    for i in 0..count {
        let timestamp = timestamp.wrapping_add(u32::from(i) * 960);
        link.client.send_audio(seq.wrapping_add(i), timestamp, None, &[i as u8]);
        link.run(20 * MS);
    }
    link.run(20 * MS);
}

/// Each packet that was heard follows the one before it: one number on, and as much media time as
/// passed between them.
fn assert_continuous(link: &Link, pause: u32) {
    let mut pauses = 0;
    for pair in link.rtp().windows(2) {
        assert_eq!(pair[1].seq, pair[0].seq.wrapping_add(1), "{pair:?}");
        let step = pair[1].timestamp.wrapping_sub(pair[0].timestamp);
        let paused = step.abs_diff(pause) <= 48;
        assert!(step == 960 || paused, "{step} samples between {pair:?}");
        pauses += u32::from(step != 960);
    }
    assert!(pauses <= 3);
}

#[test]
fn a_stream_that_was_not_announced_is_heard_from_its_first_packet() {
    for profile in [Profile::Srtp_Aead_Aes_128_Gcm, Profile::Srtp_Aes128_Cm_Hmac_Sha1_80] {
        let mut link = Link::connected(ClientOptions {
            profiles: vec![profile],
            ..Default::default()
        });
        talk(&mut link, 0xDEAD_BEEF, 40_000, 7, 50);
        assert_eq!(link.rtp().len(), 50, "another SSRC than the offer's");
        assert!(link.rtp().iter().all(|packet| packet.ssrc == 0xDEAD_BEEF));
        assert_eq!(link.rtp()[0].seq, 40_000);
        assert_eq!(link.server.stats().unknown_ssrc, 0);
        // It is reported on like any other.
        link.run(10_000 * MS);
        let reports: Vec<_> = link.client.rtcp.iter().filter(|(_, p)| p[0] & 0x1F == 1).collect();
        assert!(
            reports
                .iter()
                .any(|(_, p)| p.windows(4).any(|w| w == 0xDEAD_BEEFu32.to_be_bytes()))
        );
    }
}

#[test]
fn a_stream_that_changes_in_mid_call_goes_on() {
    // Without a word: one packet is lost at most.
    let mut link = Link::connected(ClientOptions::default());
    talk(&mut link, 0x1122_3344, 100, 5_000, 50);
    let changes = [(7, 9, 4_000_000_000), (8, 65_530, 1), (0x1122_3344, 150, 53_000)];
    for (ssrc, seq, timestamp) in changes {
        let before = link.rtp().len();
        talk(&mut link, ssrc, seq, timestamp, 50);
        assert!(
            link.rtp().len() >= before + 49,
            "{ssrc}: {} of 50",
            link.rtp().len() - before
        );
        assert_eq!(link.rtp().last().unwrap().ssrc, ssrc);
    }
    // The helper waits for 20 ms between two streams, and 20 ms are lost.
    assert_continuous(&link, 2_880);
    // With BYE none is.
    let mut link = Link::connected(ClientOptions::default());
    talk(&mut link, 0x1122_3344, 100, 5_000, 20);
    let sealed = link.client.seal_rtcp(&bye(0x1122_3344));
    link.client.send(sealed);
    talk(&mut link, 99, 30_000, 123_456, 20);
    assert_eq!(link.rtp().len(), 40);
    assert_continuous(&link, 1_920);
    // After a pause none is, either, and the pause stays as long as it was.
    let mut link = Link::connected(ClientOptions::default());
    talk(&mut link, 0x1122_3344, 100, 5_000, 20);
    link.run(1_960 * MS);
    talk(&mut link, 99, 30_000, 123_456, 20);
    assert_eq!(link.rtp().len(), 40);
    assert_continuous(&link, 2_000 * 48);
}

#[test]
fn of_two_streams_at_a_time_one_is_heard() {
    let mut link = Link::connected(ClientOptions::default());
    for i in 0..100u16 {
        for ssrc in [0x1122_3344, 55] {
            link.client.options.ssrc = ssrc;
            link.client.send_audio(i, u32::from(i) * 960, None, &[1]);
        }
        link.run(20 * MS);
    }
    link.run(20 * MS);
    assert_eq!(link.rtp().len(), 100);
    assert!(link.rtp().iter().all(|packet| packet.ssrc == 0x1122_3344));
}

#[test]
fn packets_too_long_to_be_forwarded_are_counted() {
    let options = EndpointOptions {
        slots: 1,
        ..Default::default()
    };
    let mut link = Link::with(ClientOptions::default(), options, |_| {});
    link.connect();
    let (mut out, payload) = (Outbox::new(), [3; 1_500]);
    let packet = |len: usize, sequence| SlotOut {
        sequence,
        timestamp: 0,
        marker: false,
        csrc: Some(1),
        level: None,
        payload: &payload[..len],
    };
    assert!(link.server.send_slot(link.now, 0, &packet(1_200, 0), &mut out));
    assert_eq!(link.server.stats().oversized, 0);
    for len in [1_201, 1_500] {
        assert!(!link.server.send_slot(link.now, 0, &packet(len, 1), &mut out));
    }
    assert_eq!(link.server.stats().oversized, 2);
    assert_eq!(out.iter().count(), 1);
}

#[test]
fn the_next_number_of_a_slot_is_above_all_that_were_sent_there() {
    let mut link = Link::connected(ClientOptions::default());
    let mut out = Outbox::new();
    assert_eq!(link.server.next_number(0), None);
    for (sequence, next) in [(u32::MAX - 1, u32::MAX), (0, 1), (u32::MAX, 1), (2, 3)] {
        let packet = SlotOut {
            sequence,
            timestamp: 0,
            marker: false,
            csrc: None,
            level: None,
            payload: &[3; 9],
        };
        assert!(link.server.send_slot(link.now, 0, &packet, &mut out));
        assert_eq!([0, 1].map(|slot| link.server.next_number(slot)), [Some(next), None]);
    }
}

/// A Binding indication, and a request without USERNAME, as keep-alives of some clients are.
fn keepalives() -> [Vec<u8>; 2] {
    let head = |kind: u8| [&[0, kind, 0, 0, 0x21, 0x12, 0xA4, 0x42][..], &[7; 12]].concat();
    [head(0x11), head(0x01)]
}

#[test]
fn keepalives_that_are_not_signed_keep_nothing_alive() {
    let mut link = Link::connected(ClientOptions::default());
    link.client.checking = false;
    let (from, last) = (link.client_address, link.now);
    while link.closed().is_none() && link.now - last < 60_000 * MS {
        for keepalive in keepalives() {
            link.inject(from, &keepalive);
        }
        link.run(1_000 * MS);
    }
    let (at, reason) = link.closed().unwrap();
    assert_eq!(reason, CloseReason::ConsentExpired);
    assert!(at - last <= 30_500 * MS, "{:?}", at - last);
}

#[test]
fn a_path_that_carries_media_lives_beside_them() {
    for rtcp in [false, true] {
        let mut link = Link::connected(ClientOptions::default());
        link.client.checking = false;
        let from = link.client_address;
        for i in 0..120u16 {
            for keepalive in keepalives() {
                link.inject(from, &keepalive);
            }
            if rtcp {
                let mut report = vec![0x80, 201, 0, 1];
                report.extend(0x1122_3344u32.to_be_bytes());
                let sealed = link.client.seal_rtcp(&report);
                link.client.send(sealed);
            } else {
                link.client.send_audio(i, u32::from(i) * 48_000, None, &[1]);
            }
            link.run(1_000 * MS);
        }
        assert!(!link.server.is_closed());
        assert_eq!(link.server.stats().selected, Some(from));
    }
}
