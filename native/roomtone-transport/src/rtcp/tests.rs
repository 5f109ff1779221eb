use super::*;

#[allow(clippy::disallowed_methods)] // a virtual clock has to start somewhere
fn origin() -> Instant {
    Instant::now()
}

const MS: Duration = Duration::from_millis(1);

fn stream(now: Instant, sequences: impl Iterator<Item = u16>) -> Reception {
    let mut sequences = sequences.peekable();
    let first = *sequences.peek().expect("not empty");
    let mut reception = Reception::new(now, 7, first);
    for (index, sequence) in sequences.enumerate() {
        let at = now + MS * 20 * index as u32;
        reception.packet(at, sequence, (index as u32).wrapping_mul(960));
    }
    reception
}

#[test]
fn no_loss_no_jitter() {
    let now = origin();
    let mut reception = stream(now, 65_500..=65_535);
    let report = reception.report(now);
    assert_eq!((report.fraction_lost, report.total_lost, report.jitter), (0, 0, 0));
    assert_eq!(report.last_sequence_number, 65_535);
}

#[test]
fn wrapped_sequence_counts_cycles() {
    let now = origin();
    let sequences = (0..200u16).map(|i| 65_450u16.wrapping_add(i));
    let mut reception = stream(now, sequences);
    let report = reception.report(now);
    assert_eq!(report.last_sequence_number, 65_450 + 199);
    assert_eq!((reception.lost(), report.total_lost), (0, 0));
}

#[test]
fn loss_is_counted_by_interval_and_in_total() {
    let now = origin();
    // every fourth packet is missing
    let mut reception = stream(now, (0..100u16).filter(|i| i % 4 != 2));
    let first = reception.report(now);
    assert_eq!(first.total_lost, 25);
    assert_eq!(first.fraction_lost, 64);
    assert!((reception.fraction_lost() - 0.25).abs() < 0.01);
    for sequence in 100..200u16 {
        reception.packet(now, sequence, 0);
    }
    let second = reception.report(now);
    assert_eq!((second.fraction_lost, second.total_lost), (0, 25));
}

#[test]
fn duplicates_give_a_negative_total() {
    let now = origin();
    let mut reception = stream(now, [10, 11, 11, 11].into_iter());
    assert_eq!(reception.lost(), -2);
    assert_eq!(reception.report(now).total_lost, 0xFF_FFFE);
}

#[test]
fn reordered_packets_are_not_lost() {
    let now = origin();
    let reception = stream(now, [10, 12, 11, 9, 13].into_iter());
    assert_eq!(reception.lost(), -1, "9 came from before the first packet");
}

#[test]
fn a_jump_restarts_the_count() {
    let now = origin();
    let mut reception = stream(now, (0..50u16).chain([40_000, 40_001, 40_002]));
    assert_eq!(reception.lost(), 0);
    reception.packet(now, 20_000, 0);
    reception.packet(now, 40_003, 0);
    assert_eq!(reception.lost(), 0, "one odd packet is ignored");
}

/// RFC 3550 A.8 with constant alternation: J converges to the mean difference.
#[test]
fn jitter_follows_the_rfc() {
    let now = origin();
    let mut reception = Reception::new(now, 7, 0);
    let mut expected = 0f64;
    for i in 0..400u32 {
        let late = if i % 2 == 0 { Duration::ZERO } else { MS * 4 };
        reception.packet(now + MS * 20 * i + late, i as u16, i.wrapping_mul(960));
        if i > 0 {
            expected += (192.0 - expected) / 16.0;
        }
    }
    let jitter = reception.report(now).jitter;
    assert!(
        (f64::from(jitter) - expected).abs() < 2.0,
        "{jitter} against {expected}"
    );
    assert!((reception.jitter().as_secs_f64() - 0.004).abs() < 0.0002);
}

#[test]
fn jitter_survives_timestamp_wrap() {
    let now = origin();
    let mut reception = Reception::new(now, 7, 0);
    for i in 0..100u32 {
        reception.packet(now + MS * 20 * i, i as u16, (u32::MAX - 20_000).wrapping_add(i * 960));
    }
    assert_eq!(reception.report(now).jitter, 0);
}

#[test]
fn round_trip_comes_back() {
    let now = origin();
    let clock = NtpClock::from_unix(now, Duration::from_secs(1_700_000_000));
    let mut ours = Sender::new(1);
    ours.sent(now, 5_000, 100);
    let sent = report(now, &clock, std::iter::once(&mut ours), &mut [], "us").expect("marshals");
    // The peer hears it 30 ms later, holds it for a second, and its answer takes 40 ms.
    let peer_clock = NtpClock::from_unix(now, Duration::from_secs(5));
    let mut peer = Reception::new(now, 1, 0);
    peer.packet(now, 0, 0);
    let heard = now + MS * 30;
    let mut seen = vec![];
    read(heard, &peer_clock, |ssrc| ssrc == 2, &sent, |found| seen.push(found));
    let Some(Incoming::SenderReport(1, ntp)) = seen.first() else {
        panic!("no sender report in {seen:?}");
    };
    peer.sender_report(heard, *ntp);
    let answered = heard + MS * 1000;
    let mut peer_sender = Sender::new(2);
    let answer = report(
        answered,
        &peer_clock,
        std::iter::once(&mut peer_sender),
        &mut [peer],
        "peer",
    )
    .expect("marshals");
    let mut seen = vec![];
    read(
        answered + MS * 40,
        &clock,
        |ssrc| ssrc == 1,
        &answer,
        |found| seen.push(found),
    );
    let Some(Incoming::AboutUs(stats)) = seen.first() else {
        panic!("no block about us in {seen:?}");
    };
    let round_trip = stats.round_trip.expect("LSR was set");
    assert!(round_trip.abs_diff(MS * 70) < MS, "{round_trip:?}");
}

#[test]
fn sender_reports_map_media_time_to_wall_time() {
    let now = origin();
    let clock = NtpClock::from_unix(now, Duration::from_secs(100));
    let mut sender = Sender::new(9);
    sender.sent(now, 1_000, 80);
    let later = now + MS * 500;
    let bytes = report(later, &clock, std::iter::once(&mut sender), &mut [], "name").expect("marshals");
    let parsed = SenderReport::unmarshal(&mut &bytes[..28]).expect("an SR first");
    assert_eq!(parsed.rtp_time, 1_000 + 24_000);
    assert_eq!(parsed.ntp_time, clock.ntp(later));
    assert_eq!((parsed.packet_count, parsed.octet_count), (1, 80));
    // Nothing sent since: the next one is a receiver report.
    let bytes = report(later, &clock, std::iter::once(&mut sender), &mut [], "name").expect("marshals");
    assert_eq!(bytes[1], RECEIVER_REPORT);
    assert!(bytes.windows(4).any(|w| w == b"name"));
}

#[test]
fn goodbye_is_read_back_and_hostile_packets_are_not() {
    let now = origin();
    let clock = NtpClock::new(now, 0);
    let bytes = goodbye(vec![77], "n").expect("marshals");
    let collect = |bytes: &[u8]| {
        let mut seen = vec![];
        read(now, &clock, |ssrc| ssrc == 1, bytes, |found| seen.push(found));
        seen
    };
    assert_eq!(collect(&bytes), [Incoming::Goodbye(vec![77])]);
    for cut in 0..bytes.len() {
        assert!(collect(&bytes[..cut]).is_empty(), "cut at {cut}");
    }
    // counts that the length doesn't cover
    assert!(collect(&[0x9F, 200, 0, 1, 0, 0, 0, 1]).is_empty());
    assert!(collect(&[0x9F, 203, 0, 0]).is_empty());
    assert!(collect(&[0x81, 203, 0xFF, 0xFF, 0, 0, 0, 1]).is_empty());
}

#[test]
fn intervals_stay_in_the_range_of_rfc_3550() {
    let mean = Duration::from_secs(5);
    for random in [0.0, 0.3, 0.999] {
        let regular = interval(mean, false, random);
        assert!(regular > mean / 3 && regular < mean * 5 / 4, "{regular:?}");
        assert!(interval(mean, true, random) < regular);
    }
}
