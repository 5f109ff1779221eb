//! Packets that are lost, late, out of order, or come twice.

use super::*;

#[test]
fn a_packet_that_ten_others_overtake_costs_one_frame() {
    let mut packets = stream(&voice_packets(), 1_500, 960, 0.0, 65_000, u32::MAX - 40_000);
    // Each twentieth comes 200 ms late, behind ten others.
    for packet in packets.iter_mut().skip(100).step_by(20) {
        packet.at += MS * 199;
    }
    let mut playout = playout();
    let heard = listen(&mut playout, packets, MS * 5, 1_480);
    let stats = playout.stats();
    // Unbroken speech has no quiet moment in which to gain so much delay: a frame of each is made up, and no more.
    let made_up = heard.kinds.iter().filter(|kind| **kind == FrameKind::Concealed).count() as u64;
    assert!(made_up <= 72 && stats.late <= 72, "{made_up} {stats:?}");
    assert_eq!((stats.resets, stats.duplicate, stats.shed), (0, 0, 0));
    assert!(millis(stats.current_delay) < 210.0, "{stats:?}");
}

#[test]
fn ten_packets_that_come_in_reverse_order_are_played_in_theirs() {
    let mut packets = stream(&voice_packets(), 1_000, 960, 0.0, 65_500, u32::MAX - 40_000);
    for ten in packets.chunks_mut(10) {
        let last = ten[9].at;
        // Half a millisecond apart, the first at last.
        (ten.iter_mut().rev().zip(0..)).for_each(|(packet, n)| packet.at = last + MS * n / 2);
    }
    let mut playout = playout();
    let heard = listen(&mut playout, packets, MS * 8, 990);
    let learned = &heard.kinds[150..];
    let made_up = learned.iter().filter(|kind| **kind == FrameKind::Concealed).count();
    let stats = playout.stats();
    assert_eq!((made_up, stats.resets, stats.duplicate), (0, 0, 0), "{stats:?}");
    assert!(learned.iter().all(|kind| kind.is_sound()), "{stats:?}");
    assert!(
        max_step(&heard.pcm[150 * FRAME_SAMPLES..]) < 0.25,
        "{}",
        max_step(&heard.pcm)
    );
    assert!(stats.current_delay <= MS * 230, "{stats:?}");
}

#[test]
fn packets_that_come_twice_are_played_once() {
    let packets = stream(&voice_packets(), 500, 960, 0.0, 65_300, u32::MAX - 40_000);
    let once = listen(&mut playout(), packets.clone(), MS * 8, 490);
    // At once, while it waits, and when it has been played.
    for later in [0, 5, 100] {
        let again = packets.iter().cloned().map(|mut packet| {
            packet.at += MS * later;
            packet
        });
        let mut twice: Vec<Sent> = packets.iter().cloned().chain(again).collect();
        twice.sort_by_key(|packet| packet.at);
        let mut playout = playout();
        let heard = listen(&mut playout, twice, MS * 8, 490);
        let stats = playout.stats();
        assert!(heard.pcm == once.pcm, "{later} ms later: {stats:?}");
        assert!(stats.duplicate + stats.late >= 480, "{later} ms later: {stats:?}");
        assert_eq!((stats.lost, stats.resets), (0, 0), "{later} ms later: {stats:?}");
    }
}

#[test]
fn losses_are_recovered_where_that_is_possible_and_concealed_otherwise() {
    // On a clean link the packet after a lost one isn't there in time. Two losses with a copy are
    // worth a packet more of delay, and from then on it always is.
    for (fec, min_delay) in [(false, 5), (true, 5), (false, 30), (true, 30)] {
        let config = EncoderConfig {
            fec,
            expected_loss_percent: 20,
            ..Default::default()
        };
        let payloads = encoded_voice(&config);
        let whole = stream(&payloads, 500, 960, 0.0, 1, 1);
        let lossy: Vec<Sent> = whole.iter().filter(|p| p.seq % 10 != 5).cloned().collect();
        // The encoder omits the copy where it classifies the sound as noise.
        let has_copy = |seq: u16| packet::parse(&payloads[usize::from(seq - 1) % 50]).unwrap().has_fec;
        let copies = (0..49).filter(|n| has_copy(n * 10 + 6)).count() as u64;
        assert_eq!(copies > 10, fec, "{copies}");
        let limits = PlayoutConfig {
            min_delay: MS * min_delay,
            ..Default::default()
        };
        let clean = listen(&mut Playout::new(limits.clone()).unwrap(), whole, MS * 10, 490);
        let mut playout = Playout::new(limits).unwrap();
        let heard = listen(&mut playout, lossy, MS * 10, 490);

        let stats = playout.stats();
        assert_eq!(stats.lost, 49, "{stats:?}");
        // The third is heard twice: synthesised, which gains the packet of delay, and its copy.
        let (unprepared, twice) = if fec && min_delay < 20 { (2, 1) } else { (0, 0) };
        let recovered = copies - unprepared;
        assert_eq!(
            (stats.fec, stats.concealed),
            (recovered, 49 - recovered + twice as u64),
            "{stats:?}"
        );
        assert_eq!(heard.count(FrameKind::Silence), clean.count(FrameKind::Silence));
        let (first, last) = (heard.stats[40].current_delay, stats.current_delay);
        let packet = if fec && min_delay < 20 { 20 } else { 0 };
        assert!(
            last < first + MS * (packet + 8),
            "loss isn't jitter: {first:?} → {last:?}"
        );

        let (there, holed) = (&clean.pcm[48_000..], &heard.pcm[48_000..]);
        assert!(
            (to_db(rms(holed)) - to_db(rms(there))).abs() < 1.0,
            "{} {}",
            to_db(rms(holed)),
            to_db(rms(there))
        );
        assert!(
            max_step(holed) < max_step(there) * 1.5,
            "{} {}",
            max_step(holed),
            max_step(there)
        );
        // The copy has a lower rate, but the same sound.
        for tick in (50..490).filter(|&tick| heard.kinds[tick] == FrameKind::Fec) {
            let of = |pcm: &[f32], tick: usize| to_db(rms(&pcm[tick * 960..][..960]));
            let (clean, copy) = (of(&clean.pcm, tick - twice), of(&heard.pcm, tick));
            assert!((clean - copy).abs() < 3.0, "{tick}: {clean} {copy}");
        }
    }
}

#[test]
fn the_wait_for_copies_begins_with_the_second_loss_and_ends_on_a_clean_link() {
    let config = EncoderConfig {
        fec: true,
        expected_loss_percent: 20,
        ..Default::default()
    };
    let payloads = encoded_voice(&config);
    for quiet in [false, true] {
        // Without copies there is nothing to wait for.
        let payloads = if quiet { tone_packets() } else { payloads.clone() };
        let lossy: Vec<Sent> = stream(&payloads, 1500, 960, 0.0, 1, 1)
            .into_iter()
            .filter(|p| p.seq < 150 || p.seq > 400 || p.seq % 10 != 5)
            .collect();
        let mut playout = playout();
        let heard = listen(&mut playout, lossy, MS * 10, 1490);
        let target = |tick: usize| millis(heard.stats[tick].target_delay);
        let delay = |tick: usize| millis(heard.stats[tick].current_delay);
        let more = if quiet { 0.0 } else { 20.0 };
        assert!(target(140) < 6.0, "{}", target(140));
        assert!((target(390) - target(140) - more).abs() < 1.0, "{}", target(390));
        assert!(delay(390) < delay(140) + more + 8.0, "{} → {}", delay(140), delay(390));
        assert!(target(1000) < 6.0, "{}", target(1000));
        assert!(delay(1480) < delay(140) + 6.0, "{} → {}", delay(140), delay(1480));
        assert_eq!(playout.stats().late, 0);
    }
    // A single loss now and then isn't worth it.
    let rare: Vec<Sent> = stream(&payloads, 1500, 960, 0.0, 1, 1)
        .into_iter()
        .filter(|p| p.seq % 300 != 5)
        .collect();
    let heard = listen(&mut playout(), rare, MS * 10, 1490);
    assert!(heard.stats.iter().all(|stats| stats.target_delay < MS * 6));
}

#[test]
fn copies_of_lost_packets_are_played_as_if_they_had_come() {
    for (burst, copies) in [(1, 1), (2, 2), (3, 2)] {
        let payloads = encoded_voice(&EncoderConfig::default());
        let whole = stream(&payloads, 1000, 960, 0.0, 65_000, u32::MAX - 9_600);
        let lost = |n: usize| n > 100 && n % 25 < burst;
        let clean = listen(&mut playout(), whole.clone(), MS * 10, 990);
        let mut playout = playout();
        let (mut pcm, mut frame) = (Vec::new(), [0.0; FRAME_SAMPLES]);
        let (mut next, mut before) = (0, None);
        for tick in 0..990u32 {
            let now = MS * 10 + FRAME_DURATION * tick;
            while whole[next].at <= now {
                let at = origin() + whole[next].at;
                if !lost(next) {
                    let missing = next - before.map_or(0, |before: usize| before + 1);
                    for back in (1..=missing.min(copies)).rev() {
                        let copy = &whole[next - back];
                        let reach = back as u32 * 960;
                        let outcome = playout.insert_restored(at, meta(copy), &copy.payload, reach);
                        assert!(matches!(outcome, InsertOutcome::Queued), "{outcome:?}");
                    }
                    playout.insert(at, meta(&whole[next]), &whole[next].payload);
                    before = Some(next);
                }
                next += 1;
            }
            playout.pop(origin() + now, &mut frame);
            pcm.extend_from_slice(&frame);
        }
        let stats = playout.stats();
        let losses = (101..next).filter(|n| lost(*n)).count() as u64;
        let gaps = losses / burst as u64;
        let beyond = (burst - copies.min(burst)) as u64;
        // Two gaps to see that they go on, and the third to gain the delay.
        assert!(stats.restored >= (gaps - 3) * copies as u64, "{stats:?}");
        assert!(
            stats.concealed <= 3 * burst as u64 + gaps * beyond,
            "{burst} lost, {copies} copies: {stats:?}"
        );
        assert!(stats.lost <= 3 * burst as u64 + gaps * beyond, "{stats:?}");
        assert_eq!((stats.shed, stats.late, stats.duplicate), (0, 0, 0), "{stats:?}");
        // Nothing was measured with the copies, so this is the reach and no jitter.
        let reach = 20.0 * copies as f64;
        assert!((millis(stats.target_delay) - 5.0 - reach).abs() < 1.0, "{stats:?}");
        assert!(stats.jitter < MS, "{stats:?}");
        assert!(max_step(&pcm) < max_step(&clean.pcm) * 1.5);
        let (there, here) = (rms(&clean.pcm[480_000..]), rms(&pcm[480_000..]));
        assert!(beyond > 0 || (to_db(there) - to_db(here)).abs() < 0.5, "{there} {here}");
    }
}

#[test]
fn several_losses_in_a_row_fade_and_are_never_louder_than_the_talker() {
    // The packets after the gap haven't arrived yet at 5 ms of delay, and wait already at 150 ms.
    for (burst, min_delay) in [2, 3, 4, 6, 8].iter().flat_map(|&n| [(n, 5), (n, 150)]) {
        let payloads = encoded_voice(&EncoderConfig::default());
        // 50 packets hold the whole signal; 53 packets from gap to gap begin each at another sound.
        let lossy = stream(&payloads, 1000, 960, 0.0, 1, 1)
            .into_iter()
            .filter(|p| p.seq < 100 || p.seq % 53 >= burst)
            .collect();
        let limits = PlayoutConfig {
            min_delay: MS * min_delay,
            ..Default::default()
        };
        let heard = listen(&mut Playout::new(limits).unwrap(), lossy, MS * 10, 980);
        let frames: Vec<f64> = heard.pcm.chunks(FRAME_SAMPLES).map(rms).collect();
        let loudest = frames[20..80].iter().copied().fold(0.0, f64::max);
        let mut made_up = 0;
        for (tick, kind) in heard.kinds.iter().enumerate().skip(80) {
            made_up = if *kind == FrameKind::Concealed { made_up + 1 } else { 0 };
            // Full level for 20 ms, then down to nothing after 100 ms; 1 dB for the synthesis.
            let gain = (1.25 - 0.25 * f64::from(made_up)).clamp(0.0, 1.0);
            let allowed = 1.12 * loudest * if made_up > 1 { gain + 0.25 } else { 1.0 };
            assert!(
                made_up <= 6,
                "{burst} lost, {min_delay} ms: {made_up} frames at tick {tick}"
            );
            assert!(
                frames[tick] <= allowed,
                "{burst} lost, {min_delay} ms, tick {tick}, {made_up} made up: {} of {allowed}",
                frames[tick]
            );
        }
        assert!(heard.count(FrameKind::Concealed) >= 15 * burst.min(4) as usize);
    }
}
