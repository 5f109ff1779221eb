//! Redundant Opus (RED, RFC 2198): lost packets that a later one carries.

use crate::common::{ClientOptions, Link, MS};
use proptest::prelude::*;
use roomtone_transport::{AudioOut, MAX_COPIES_OUT, MAX_PAYLOAD};

const RED: u8 = 63;
const OPUS: u8 = 111;

fn connected() -> Link {
    Link::connected(ClientOptions {
        red: true,
        ..Default::default()
    })
}

/// The payload of packet `n`.
fn opus(n: u16) -> Vec<u8> {
    vec![0xF8, n as u8, (n >> 8) as u8]
}

/// A payload of RED with these copies: offsets and what they hold.
fn red(copies: &[(u32, Vec<u8>)], primary: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (offset, copy) in copies {
        payload.push(0x80 | OPUS);
        payload.extend(&((offset << 10) | copy.len() as u32).to_be_bytes()[1..]);
    }
    payload.push(OPUS);
    copies.iter().for_each(|(_, copy)| payload.extend(copy));
    payload.extend(primary);
    payload
}

fn send(link: &mut Link, payload_type: u8, seq: u16, timestamp: u32, payload: &[u8]) {
    let mut plain = link.client.rtp_packet(seq, timestamp, Some(40), payload);
    plain[1] = payload_type;
    let sealed = link.client.seal_rtp(&plain);
    let from = link.client_address;
    link.inject(from, &sealed);
}

/// Packet `n` of a stream of 20 ms with the two before it.
fn send_nth(link: &mut Link, first: (u16, u32), n: u16) {
    let copies: Vec<_> = (1..=n.min(2))
        .rev()
        .map(|back| (u32::from(back) * 960, opus(n - back)))
        .collect();
    let (seq, timestamp) = (first.0.wrapping_add(n), first.1.wrapping_add(u32::from(n) * 960));
    send(link, RED, seq, timestamp, &red(&copies, &opus(n)));
}

#[test]
fn lost_packets_come_with_the_next_one_in_their_place() {
    let mut link = connected();
    let first = (65_530, u32::MAX - 20_000);
    let lost = |n: u16| [5, 10, 11, 20, 21, 22].contains(&n);
    for n in (0..40).filter(|n| !lost(*n)) {
        send_nth(&mut link, first, n);
    }
    let numbers: Vec<u16> = link
        .rtp()
        .iter()
        .map(|packet| packet.seq.wrapping_sub(first.0))
        .collect();
    let expected: Vec<u16> = (0..40).filter(|n| *n != 20).collect();
    assert_eq!(numbers, expected, "of three in a row two copies come");
    for packet in link.rtp() {
        let n = packet.seq.wrapping_sub(first.0);
        assert_eq!(packet.payload, opus(n));
        assert_eq!(packet.timestamp, first.1.wrapping_add(u32::from(n) * 960));
        assert_eq!(packet.level, Some((40, false)));
        let reach = match n {
            5 | 11 | 22 => Some(960),
            10 | 21 => Some(1920),
            _ => None,
        };
        assert_eq!(packet.restored_after, reach, "{n}");
    }
    let stats = link.server.stats();
    assert_eq!((stats.restored, stats.lost, stats.malformed), (5, 6, 0));
    // The first has none, the second one.
    assert_eq!(stats.copies_in, 2 * 34 - 3);
}

#[test]
fn a_packet_that_was_overtaken_by_its_copy_is_heard_once() {
    let mut link = connected();
    let first = (100, 5_000);
    for n in [0, 1, 3, 2, 4, 7, 5, 6, 8] {
        send_nth(&mut link, first, n);
    }
    let numbers: Vec<u16> = link.rtp().iter().map(|packet| packet.seq - 100).collect();
    assert_eq!(numbers, (0..=8).collect::<Vec<_>>());
}

#[test]
fn pauses_and_streams_that_begin_or_change_restore_nothing() {
    let mut link = connected();
    let copy = [(960, vec![9])];
    // The first packet; a pause in which no packet was sent; plain Opus in between; another SSRC.
    send(&mut link, RED, 10, 960, &red(&copy, &[1]));
    send(&mut link, RED, 11, 96_000, &red(&copy, &[2]));
    send(&mut link, OPUS, 12, 96_960, &[3]);
    send(&mut link, RED, 13, 97_920, &red(&copy, &[4]));
    link.client.options.ssrc = 7;
    link.run(200 * MS);
    send(&mut link, RED, 500, 1, &red(&copy, &[5]));
    let heard: Vec<Vec<u8>> = link.rtp().iter().map(|packet| packet.payload.clone()).collect();
    assert_eq!(heard, [[1], [2], [3], [4], [5]]);
    // A jump is no loss.
    send(&mut link, RED, 5_000, 1_000_000, &red(&copy, &[6]));
    assert_eq!(link.server.stats().restored, 0);
}

#[test]
fn copies_of_packets_of_other_lengths_are_placed_by_their_order() {
    let mut link = connected();
    send(&mut link, OPUS, 1, 0, &[1]);
    // 10 ms and 20 ms are missing.
    send(
        &mut link,
        RED,
        4,
        2_400,
        &red(&[(1_440, vec![2]), (960, vec![3])], &[4]),
    );
    let heard: Vec<(u16, u32)> = link
        .rtp()
        .iter()
        .map(|packet| (packet.seq, packet.timestamp))
        .skip(1)
        .collect();
    let start = link.rtp()[0].timestamp;
    let heard: Vec<(u16, u32)> = heard.into_iter().map(|(seq, at)| (seq, at - start)).collect();
    assert_eq!(heard, [(2, 960), (3, 1_440), (4, 2_400)]);
}

#[test]
fn broken_redundancy_is_counted_and_silence_is_not_heard() {
    let mut link = connected();
    send(&mut link, OPUS, 1, 0, &[1]);
    send(&mut link, RED, 2, 960, &[0x80 | OPUS]);
    send(&mut link, RED, 3, 1_920, &[13, 1, 2]);
    assert_eq!(link.server.stats().malformed, 2);
    send(&mut link, RED, 4, 2_880, &red(&[], &[]));
    send(&mut link, RED, 5, 3_840, &[]);
    assert_eq!((link.rtp().len(), link.server.stats().malformed), (1, 2));
}

#[test]
fn without_the_offer_redundancy_is_refused() {
    let mut link = Link::connected(ClientOptions::default());
    send(&mut link, RED, 1, 0, &red(&[], &[1]));
    assert_eq!((link.rtp().len(), link.server.stats().malformed), (0, 1));
}

/// The server sends packets of these lengths, 20 ms each; a payload is full of its number.
fn server_sends(link: &mut Link, lengths: &[usize]) {
    for (n, length) in lengths.iter().enumerate() {
        let payload = vec![n as u8; *length];
        assert!(link.send_audio(AudioOut {
            timestamp: n as u32 * 960,
            marker: false,
            level: None,
            payload: &payload,
        }));
    }
    link.run(50 * MS);
}

/// A packet that the client got: its payload type, its copies as number and offset, and its own number.
type Apart = (u8, Vec<(u8, u32)>, u8);

fn taken_apart(link: &Link) -> Vec<Apart> {
    let apart = |packet: &Vec<u8>| {
        // No extension was sent.
        let (payload_type, mut rest) = (packet[1] & 0x7F, &packet[12..]);
        let mut copies = Vec::new();
        if payload_type == RED {
            while rest[0] & 0x80 != 0 {
                assert_eq!(rest[0] & 0x7F, OPUS);
                let word = u32::from_be_bytes([0, rest[1], rest[2], rest[3]]);
                copies.push((word >> 10, (word & 0x3FF) as usize));
                rest = &rest[4..];
            }
            assert_eq!(rest[0], OPUS);
            rest = &rest[1..];
        }
        let mut read = Vec::new();
        for (offset, length) in copies {
            assert!(rest[..length].iter().all(|byte| *byte == rest[0]));
            read.push((rest[0], offset));
            rest = &rest[length..];
        }
        assert!(rest.iter().all(|byte| *byte == rest[0]));
        (payload_type, read, rest[0])
    };
    link.client.rtp.iter().map(|(_, packet)| apart(packet)).collect()
}

#[test]
fn what_is_sent_carries_as_many_copies_as_are_asked_for() {
    let mut link = connected();
    assert!(link.server.takes_red());
    server_sends(&mut link, &[20, 20]);
    assert!(
        taken_apart(&link).iter().all(|packet| packet.0 == OPUS),
        "none at first"
    );
    link.client.rtp.clear();
    link.server.set_copies(1);
    server_sends(&mut link, &[20, 21, 22]);
    let one = |n| (RED, vec![(n - 1, 960)], n);
    assert_eq!(taken_apart(&link), [(OPUS, vec![], 0), one(1), one(2)]);
    link.client.rtp.clear();
    // More than there may be.
    link.server.set_copies(MAX_COPIES_OUT + 5);
    server_sends(&mut link, &[20, 21, 22, 23]);
    let two = |n| (RED, vec![(n - 2, 1_920), (n - 1, 960)], n);
    let sent = taken_apart(&link);
    assert_eq!(sent[2..], [two(2), two(3)]);
    // The client and we count the same bytes: 4 for each copy's head, 1 for the packet's.
    let stats = link.server.stats();
    assert_eq!(stats.copies_out, 2 + 1 + 2 + 2);
    link.client.rtp.clear();
    link.server.set_copies(0);
    server_sends(&mut link, &[20, 20]);
    assert!(
        taken_apart(&link).iter().all(|packet| packet.0 == OPUS),
        "none any more"
    );
}

#[test]
fn copies_that_are_too_long_or_too_old_stay_out() {
    let mut link = connected();
    link.server.set_copies(2);
    // The third leaves room for one, the fourth for none; the fifth is too long to be copied.
    server_sends(&mut link, &[400, 400, 700, MAX_PAYLOAD, 1_100, 40, 40]);
    let sent: Vec<Vec<u8>> = taken_apart(&link)
        .into_iter()
        .map(|(_, copies, _)| copies.into_iter().map(|copy| copy.0).collect())
        .collect();
    assert_eq!(sent, [vec![], vec![0], vec![1], vec![], vec![], vec![], vec![5]]);
    assert!(
        link.client
            .rtp
            .iter()
            .all(|(_, packet)| packet.len() <= 12 + MAX_PAYLOAD)
    );
    // After a pause of 400 ms a copy's offset has no place in the packet.
    link.client.rtp.clear();
    for timestamp in [100_000, 100_960, 120_160, 121_120] {
        let payload = [1; 10];
        link.send_audio(AudioOut {
            timestamp,
            marker: false,
            level: None,
            payload: &payload,
        });
    }
    link.run(50 * MS);
    let counts: Vec<usize> = taken_apart(&link).iter().map(|(_, copies, _)| copies.len()).collect();
    assert_eq!(counts, [0, 1, 0, 1]);
}

#[test]
fn a_peer_that_has_not_agreed_on_red_gets_plain_opus() {
    let mut link = Link::connected(ClientOptions::default());
    assert!(!link.server.takes_red());
    link.server.set_copies(2);
    server_sends(&mut link, &[20; 5]);
    assert_eq!(link.client.rtp.len(), 5);
    assert!(taken_apart(&link).iter().all(|packet| packet.0 == OPUS));
    assert_eq!(link.server.stats().copies_out, 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn any_numbers_and_copies_stay_in_order(
        packets in proptest::collection::vec(
            (0u16..6, 0u32..4_000, proptest::collection::vec((1u32..16_384, 0usize..5), 0..8), any::<bool>()),
            1..80,
        ),
    ) {
        let mut link = connected();
        let (mut seq, mut timestamp) = (65_000u16, u32::MAX - 10_000);
        for (step, time, copies, back) in packets {
            let step = if back { 0u16.wrapping_sub(step) } else { step };
            seq = seq.wrapping_add(step);
            timestamp = timestamp.wrapping_add(time);
            let copies: Vec<_> = copies.into_iter().map(|(offset, length)| (offset, vec![1; length])).collect();
            send(&mut link, RED, seq, timestamp, &red(&copies, &[2]));
        }
        let mut heard = std::collections::BTreeSet::new();
        for packet in link.rtp() {
            prop_assert!(heard.insert(packet.seq), "{} came twice", packet.seq);
        }
        let restored = link.rtp().iter().filter(|packet| packet.restored_after.is_some()).count();
        prop_assert_eq!(restored as u64, link.server.stats().restored);
    }
}
