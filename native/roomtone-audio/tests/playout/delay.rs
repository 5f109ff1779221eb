//! The delay of a playout: stalls, drift, jitter, spikes and other routes.

use super::*;

#[test]
fn a_stall_of_two_seconds_leaves_no_delay_behind() {
    let mut packets = stream(&tone_packets(), 500, 960, 0.0, 1, 1);
    let (from, to) = (Duration::from_secs(3), Duration::from_secs(5));
    for packet in packets.iter_mut().filter(|p| (from..to).contains(&p.at)) {
        packet.at = to;
    }
    let mut playout = playout();
    let heard = listen(&mut playout, packets, MS * 9, 499);
    let delay = |second: f64| millis(heard.stats[(second * 50.0) as usize].current_delay);
    assert!(
        delay(6.0) < delay(2.9) + 8.0,
        "{} before, {} a second after",
        delay(2.9),
        delay(6.0)
    );
    assert!(
        delay(9.9) < delay(2.9) + 3.0,
        "{} before, {} five seconds after",
        delay(2.9),
        delay(9.9)
    );
    // Faded out, then silent, then back at once.
    assert!(heard.count(FrameKind::Concealed) <= 8);
    assert!(heard.kinds[160..248].iter().all(|k| *k == FrameKind::Silence));
    assert!(heard.kinds[253..].iter().all(|k| *k == FrameKind::Decoded));
    assert!(
        playout.stats().shed > 80,
        "the backlog is dropped: {:?}",
        playout.stats()
    );
    assert!(max_step(&heard.pcm) < click_limit(), "{}", max_step(&heard.pcm));
}

#[test]
fn stalls_of_every_length_are_recovered_from() {
    for stall in [30, 45, 70, 90, 110, 150, 190, 250, 400, 1000] {
        let mut packets = stream(&tone_packets(), 600, 960, 0.0, 1, 1);
        let (from, to) = (Duration::from_secs(2), Duration::from_secs(2) + MS * stall);
        for packet in packets.iter_mut().filter(|p| (from..to).contains(&p.at)) {
            packet.at = to;
        }
        let mut playout = playout();
        let heard = listen(&mut playout, packets, MS * 4, 599);
        let (before, after) = (
            millis(heard.stats[95].current_delay),
            millis(heard.stats[590].current_delay),
        );
        assert!(after < before + 6.0, "stall {stall}: {before} → {after}");
        assert!(
            heard.count(FrameKind::Concealed) <= 9,
            "stall {stall}: {}",
            heard.count(FrameKind::Concealed)
        );
        assert!(
            max_step(&heard.pcm) < click_limit(),
            "stall {stall}: {}",
            max_step(&heard.pcm)
        );
    }
}

fn a_drifting_clock_is_followed_for(minutes: usize) {
    for ppm in [-300.0, 300.0] {
        let count = 3_000 * minutes;
        let packets = stream(&tone_packets(), count, 960, ppm, 60_000, u32::MAX - 5_000_000);
        let mut playout = playout();
        let heard = listen(&mut playout, packets, MS * 11, count - count / 1_500);
        let longest = heard.stats[50..]
            .iter()
            .map(|s| s.current_delay)
            .max()
            .expect("there are stats");
        assert!(millis(longest) < 50.0, "{ppm}: {longest:?}");
        // 300 ppm over a minute are 18 ms: nine frames too many or too few in ten.
        let made_up = heard.count(FrameKind::Concealed);
        assert!(made_up <= minutes * 6 / 5, "{ppm}: {made_up}");
        assert_eq!(
            heard.count(FrameKind::Silence),
            heard.kinds.iter().take_while(|k| !k.is_sound()).count()
        );
        let stats = playout.stats();
        assert!(stats.shed <= 1 && stats.lost == 0, "{stats:?}");
        assert!(max_step(&heard.pcm) < click_limit(), "{ppm}: {}", max_step(&heard.pcm));
        println!("{ppm} ppm: at most {longest:?}, {made_up} frames made up, {stats:?}");
    }
}

#[test]
fn a_drifting_clock_is_followed_for_ten_minutes() {
    a_drifting_clock_is_followed_for(10);
}

/// `cargo test --release -p roomtone-audio --test playout -- --ignored --nocapture`
#[test]
#[ignore = "takes minutes"]
fn a_drifting_clock_is_followed_for_an_hour() {
    a_drifting_clock_is_followed_for(60);
}

#[test]
fn jitter_is_learned_and_forgotten() {
    let mut rng = StdRng::seed_from_u64(5);
    let mut packets = stream(&tone_packets(), 1500, 960, 0.0, 1, 1);
    for packet in packets.iter_mut().filter(|p| (10..20).contains(&p.at.as_secs())) {
        packet.at += Duration::from_micros(rng.random_range(0..60_000));
    }
    let mut playout = playout();
    let heard = listen(&mut playout, packets, MS * 3, 1490);
    let made_up = |range: std::ops::Range<usize>| {
        heard.kinds[range]
            .iter()
            .filter(|k| **k == FrameKind::Concealed)
            .count()
    };
    assert_eq!(made_up(0..500), 0);
    assert!(made_up(500..600) <= 8, "learning: {}", made_up(500..600));
    assert!(made_up(600..1000) <= 6, "learned: {}", made_up(600..1000));
    let target = |tick: usize| millis(heard.stats[tick].target_delay);
    assert!((45.0..70.0).contains(&target(900)), "{}", target(900));
    assert!(target(1480) < 7.0, "{}", target(1480));
    let delay = |tick: usize| millis(heard.stats[tick].current_delay);
    assert!(delay(1480) < delay(480) + 8.0, "{} → {}", delay(480), delay(1480));
    assert_eq!(playout.stats().lost, playout.stats().late);
    assert!(max_step(&heard.pcm) < click_limit(), "{}", max_step(&heard.pcm));
}

#[test]
fn delay_is_back_within_two_seconds_after_the_jitter_ends() {
    for (seed, phase) in [(1, 3), (2, 9), (3, 17)] {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut packets = stream(&voice_packets(), 1500, 960, 0.0, 1, 1);
        for packet in packets.iter_mut().filter(|p| (6..20).contains(&p.at.as_secs())) {
            packet.at += Duration::from_micros(rng.random_range(0..60_000));
        }
        let mut playout = playout();
        let heard = listen(&mut playout, packets, MS * phase, 1490);
        let delay = |tick: usize| millis(heard.stats[tick].current_delay);
        assert!(delay(950) > 20.0, "{}", delay(950));
        // The last packet with jitter comes by tick 1003. Where the tick falls badly, a frame more is within the hysteresis.
        assert!(delay(1_103) < delay(280) + 22.0, "{} → {}", delay(280), delay(1_103));
        let late = playout.stats().late as f64 / 700.0;
        assert!(late < 0.01, "{late}");
        assert!((1_110..1_490).all(|tick| heard.kinds[tick] == FrameKind::Decoded));
    }
}

#[test]
fn jitter_that_comes_now_and_then_is_not_forgotten() {
    // A radio that is busy for half a second each two seconds.
    let mut rng = StdRng::seed_from_u64(8);
    let mut packets = stream(&voice_packets(), 3_000, 960, 0.0, 1, 1);
    for packet in packets.iter_mut().filter(|p| p.at.as_millis() % 2_000 < 500) {
        packet.at += Duration::from_micros(rng.random_range(0..60_000));
    }
    let mut playout = playout();
    let heard = listen(&mut playout, packets, MS * 5, 2_990);
    let made_up = heard.kinds[300..]
        .iter()
        .filter(|kind| **kind == FrameKind::Concealed)
        .count();
    assert!(made_up <= 14, "{made_up}");
}

#[test]
fn five_outages_in_a_minute_leave_no_delay_behind() {
    let mut packets = stream(&voice_packets(), 3_000, 960, 0.0, 1, 1);
    let ends: Vec<u64> = (0..5).map(|n| 12_000 * n + 8_000).collect();
    for packet in &mut packets {
        let at = packet.at.as_millis() as u64;
        if let Some(end) = ends.iter().find(|end| (**end - 2_000..**end).contains(&at)) {
            packet.at = Duration::from_millis(*end);
        }
    }
    let mut playout = playout();
    let heard = listen(&mut playout, packets, MS * 7, 2_990);
    let delay = |ms: u64| millis(heard.stats[(ms / 20) as usize].current_delay);
    for end in ends.iter().filter(|end| **end < 58_000) {
        let (before, after) = (delay(end - 2_100), delay(end + 2_000));
        assert!(after < before + 8.0, "at {end} ms: {before} → {after}");
    }
}

#[test]
fn delay_is_back_within_two_seconds_after_each_spike() {
    for (seed, longest) in [(3, true), (4, false), (5, false)] {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut packets = stream(&voice_packets(), 3_000, 960, 0.0, 1, 1);
        // A delay of a frame more is within the hysteresis.
        let long = |rng: &mut StdRng| if longest { 200 } else { rng.random_range(40..200) };
        let spikes: Vec<(u64, u64)> = (1..12).map(|n| (5_000 * n, long(&mut rng))).collect();
        for packet in &mut packets {
            let at = packet.at.as_millis() as u64;
            if let Some((from, long)) = spikes.iter().find(|(from, long)| (*from..from + long).contains(&at)) {
                packet.at = Duration::from_millis(from + long);
            }
        }
        let mut playout = playout();
        let heard = listen(&mut playout, packets, MS * 7, 2_990);
        let delay = |ms: u64| millis(heard.stats[(ms / 20) as usize].current_delay);
        for (from, long) in spikes {
            let (usual, after) = (delay(4_900), delay(from + long + 2_000));
            assert!(after < usual + 10.0, "{from} ms, {long} ms: {usual} → {after}");
        }
        let stats = playout.stats();
        let unheard = (stats.late + stats.shed + stats.lost) as f64 / 3_000.0;
        assert!(unheard < 0.01, "{unheard} {stats:?}");
    }
}

#[test]
fn a_stream_that_jumps_continues_after_the_second_packet() {
    let payloads = tone_packets();
    let mut packets = stream(&payloads, 200, 960, 0.0, 100, 1000);
    for (i, packet) in packets.iter_mut().enumerate().skip(100) {
        packet.seq = 40_000 + i as u16;
        packet.timestamp = 3_000_000_000 + i as u32 * 960;
    }
    let mut playout = playout();
    let heard = listen(&mut playout, packets, MS * 5, 195);
    let stats = playout.stats();
    assert_eq!((stats.resets, stats.invalid), (1, 1), "{stats:?}");
    assert!(heard.kinds[106..].iter().all(|k| *k == FrameKind::Decoded));
    assert!(max_step(&heard.pcm) < click_limit(), "{}", max_step(&heard.pcm));

    // A timestamp that goes back while sequence numbers go on is a jump, too.
    let mut packets = stream(&payloads, 200, 960, 0.0, 100, 10_000_000);
    packets.iter_mut().skip(100).for_each(|p| p.timestamp -= 9_000_000);
    let mut playout = self::playout();
    let heard = listen(&mut playout, packets, MS * 5, 195);
    assert_eq!(playout.stats().resets, 1);
    assert!(heard.kinds[106..].iter().all(|k| *k == FrameKind::Decoded));
}

#[test]
fn a_new_route_with_more_delay_is_accepted() {
    for more in [35u32, 120, 350, 900] {
        let mut packets = stream(&tone_packets(), 1000, 960, 0.0, 1, 1);
        packets
            .iter_mut()
            .filter(|p| p.at >= Duration::from_secs(4))
            .for_each(|p| p.at += MS * more);
        let mut playout = playout();
        let heard = listen(&mut playout, packets, MS * 12, 990);
        let settled = 4 * 50 + more as usize / 20 + 110;
        assert!(
            heard.kinds[settled..].iter().all(|k| *k == FrameKind::Decoded),
            "{more}"
        );
        let made_up = heard.count(FrameKind::Concealed);
        assert!(made_up <= 10, "{more}: {made_up}");
        let delay = millis(playout.stats().current_delay);
        assert!(delay < 46.0, "{more}: {delay}");
        // Back on the short route.
        assert!(max_step(&heard.pcm) < click_limit(), "{more}: {}", max_step(&heard.pcm));
    }
}
