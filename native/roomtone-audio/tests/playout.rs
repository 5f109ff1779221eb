//! The jitter buffer on a virtual clock.

mod common;
use common::*;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use roomtone_audio::{analysis::*, *};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

#[allow(clippy::unwrap_used)]
fn playout() -> Playout {
    Playout::new(PlayoutConfig::default()).unwrap()
}

fn tone_packets() -> Vec<Vec<u8>> {
    encoded_tone(500.0, 0.25, 200, 50, &EncoderConfig::default())
}

fn voice_packets() -> Vec<Vec<u8>> {
    encoded_voice(&EncoderConfig {
        complexity: 2,
        ..Default::default()
    })
}

/// Steps of the tone itself, with a margin for codec and cross-fades; a click is far above.
fn click_limit() -> f32 {
    0.25 * std::f32::consts::TAU * 500.0 / 48_000.0 * 1.6
}

#[test]
fn a_clean_link_adds_little_for_every_phase_of_the_tick() {
    let mut added = 0.0;
    for phase in 0..20 {
        let mut playout = playout();
        let packets = stream(&tone_packets(), 500, 960, 0.0, 65_500, u32::MAX - 100_000);
        let heard = listen(&mut playout, packets, MS * phase, 500);
        assert_eq!(heard.count(FrameKind::Concealed), 0, "phase {phase}");
        assert!(heard.count(FrameKind::Decoded) >= 496, "phase {phase}");
        let stats = playout.stats();
        assert_eq!(
            (stats.lost, stats.late, stats.duplicate, stats.invalid, stats.shed),
            (0, 0, 0, 0, 0)
        );
        // The wait for the tick after the arrival depends on the phase; the rest is ours.
        let tick_wait = f64::from(phase % 20);
        added += millis(stats.current_delay) - tick_wait;
        assert!((tone_dbfs(&heard.pcm[96_000..], 500.0) - to_db(0.25)).abs() < 1.0);
        assert!(
            max_step(&heard.pcm) < click_limit(),
            "phase {phase}: {}",
            max_step(&heard.pcm)
        );
    }
    assert!((0.0..=10.0).contains(&(added / 20.0)), "{} ms on average", added / 20.0);
}

/// One packet of several with one frame each (RFC 6716 section 3.2.5).
fn packed(packets: &[Vec<u8>]) -> Vec<u8> {
    let mut packed = vec![packets[0][0] | 3, 0x80 | packets.len() as u8];
    for packet in &packets[..packets.len() - 1] {
        let len = packet.len() - 1;
        match len {
            ..252 => packed.push(len as u8),
            _ => packed.extend([(252 + len % 4) as u8, ((len - 252 - len % 4) / 4) as u8]),
        }
    }
    for packet in packets {
        assert_eq!(packet[0], packets[0][0], "one frame of the same kind");
        packed.extend(&packet[1..]);
    }
    packed
}

#[test]
fn every_packet_length_plays_without_a_seam() {
    for (millis_10, samples) in [
        (25, 120),
        (50, 240),
        (100, 480),
        (200, 960),
        (400, 1920),
        (600, 2880),
        (1200, 5760),
    ] {
        let config = EncoderConfig {
            application: Application::Audio,
            bitrate: 96_000,
            ..Default::default()
        };
        let per_second = 480_000 / (samples * 10);
        // An encoder makes no packets beyond 60 ms; gateways pack several into one.
        let payloads = match millis_10 {
            1200 => {
                let frames = encoded_tone(500.0, 0.25, 200, 48, &config);
                frames.chunks_exact(6).map(packed).collect()
            }
            _ => encoded_tone(500.0, 0.25, millis_10, per_second as usize, &config),
        };
        for phase in [0, 7, 13] {
            let mut playout = playout();
            let packets = stream(&payloads, 4 * 48_000 / samples as usize, samples, 0.0, 7, 77);
            let heard = listen(&mut playout, packets, MS * phase, 199);
            assert_eq!(heard.count(FrameKind::Concealed), 0, "{samples} samples, phase {phase}");
            let late = heard.kinds.iter().position(|k| k.is_sound()).unwrap();
            assert!(
                late <= 6.max(samples as usize / 960 + 1),
                "{samples}: starts at tick {late}"
            );
            assert!(
                heard.kinds[late..].iter().all(|k| *k == FrameKind::Decoded),
                "{samples}"
            );
            assert!(
                max_step(&heard.pcm[9600..]) < click_limit(),
                "{samples}: {}",
                max_step(&heard.pcm[9600..])
            );
            assert!(
                (tone_dbfs(&heard.pcm[96_000..], 500.0) - to_db(0.25)).abs() < 1.0,
                "{samples}: {}",
                tone_dbfs(&heard.pcm[96_000..], 500.0)
            );
            let wait = millis(playout.stats().current_delay);
            assert!(wait < 46.0, "{samples} samples wait {wait} ms");
        }
    }
}

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

#[test]
fn pauses_are_silent_and_speech_resumes_whole() {
    // 1 s of speech, a packet with only a header, 1.3 s of nothing (sequence continues, time
    // jumps), and so on.
    let speech = tone_packets();
    let mut packets = Vec::new();
    let (mut seq, mut timestamp) = (40_000u16, 4_000_000_000u32);
    for burst in 0..12u32 {
        let start = Duration::from_millis(u64::from(burst) * 2320);
        for i in 0..51u32 {
            let payload = if i < 50 {
                speech[i as usize].clone()
            } else {
                vec![speech[0][0] & 0xfc]
            };
            let at = start + FRAME_DURATION * (i + 1);
            packets.push(Sent {
                at,
                seq,
                timestamp,
                marker: i == 0,
                level: None,
                payload,
            });
            seq = seq.wrapping_add(1);
            timestamp = timestamp.wrapping_add(960);
        }
        timestamp = timestamp.wrapping_add(48_000 * 13 / 10);
    }
    let mut playout = playout();
    let heard = listen(&mut playout, packets, MS * 15, 12 * 116);
    let stats = playout.stats();
    assert_eq!((stats.lost, stats.shed, stats.resets), (0, 0, 0), "{stats:?}");
    // One frame for each pause to fade out, and otherwise nothing synthesised.
    assert!(
        heard.count(FrameKind::Concealed) <= 12,
        "{}",
        heard.count(FrameKind::Concealed)
    );
    assert!(heard.count(FrameKind::Silence) >= 12 * 62);
    assert_eq!(heard.count(FrameKind::Decoded), 12 * 51);
    assert!(max_step(&heard.pcm) < click_limit(), "{}", max_step(&heard.pcm));
}

#[test]
fn an_unannounced_mute_fades_within_a_tenth_of_a_second() {
    let mut playout = playout();
    let heard = listen(&mut playout, stream(&tone_packets(), 100, 960, 0.0, 1, 1), MS * 5, 120);
    let last = heard.kinds.iter().rposition(|k| *k == FrameKind::Decoded).unwrap();
    let silent = heard.kinds[last..]
        .iter()
        .position(|k| *k == FrameKind::Silence)
        .unwrap();
    assert!(silent <= 6, "{silent}");
    assert!(playout.is_idle());
    assert!(max_step(&heard.pcm) < click_limit());
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

#[test]
fn skipping_keeps_in_step_and_resumes_without_a_click() {
    let packets = stream(&tone_packets(), 400, 960, 0.0, 1, 1);
    let mut playout = playout();
    let origin = origin();
    let mut frame = [0.0; 960];
    let mut heard = Vec::new();
    let mut next = packets.iter().peekable();
    for tick in 0..395u32 {
        let now = MS * 8 + FRAME_DURATION * tick;
        while let Some(packet) = next.next_if(|p| p.at <= now) {
            playout.insert(origin + packet.at, meta(packet), &packet.payload);
        }
        if tick / 25 % 2 == 1 {
            assert_eq!(
                playout.next_level(origin + now),
                Some(AudioLevel {
                    dbov_minus: 23,
                    voice: true
                })
            );
            assert_eq!(playout.skip(origin + now), FrameKind::Decoded, "tick {tick}");
            heard.extend_from_slice(&[0.0; 960]);
        } else {
            let kind = playout.pop(origin + now, &mut frame);
            assert!(kind == FrameKind::Decoded || tick < 3);
            if (tick + 1) / 25 % 2 == 1 {
                mix::ramp(&mut frame, 1.0, 0.0);
            }
            heard.extend_from_slice(&frame);
        }
    }
    let stats = playout.stats();
    assert_eq!((stats.lost, stats.concealed, stats.shed), (0, 0, 0), "{stats:?}");
    assert!(millis(stats.current_delay) < 30.0);
    assert!(max_step(&heard) < click_limit(), "{}", max_step(&heard));
    for piece in [51, 101, 151, 201] {
        let back = &heard[piece * 960..][..9600];
        assert!(
            (tone_dbfs(back, 500.0) - to_db(0.25)).abs() < 1.0,
            "{piece}: {}",
            tone_dbfs(back, 500.0)
        );
    }
}

#[test]
fn levels_are_known_without_decoding() {
    let mut playout = playout();
    let origin = origin();
    assert_eq!(playout.next_level(origin), Some(AudioLevel::SILENCE));
    assert!(!playout.has_audio(origin) && playout.is_idle());
    let payload = &tone_packets()[0];
    let level = Some(AudioLevel {
        dbov_minus: 40,
        voice: true,
    });
    playout.insert(
        origin,
        RtpMeta {
            seq: 1,
            timestamp: 0,
            marker: true,
            level,
        },
        payload,
    );
    assert!(!playout.has_audio(origin), "not before it has waited for the delay");
    assert!(playout.has_audio(origin + MS * 10));
    assert_eq!(playout.next_level(origin + MS * 10), level);
    assert_eq!(playout.skip(origin + MS * 10), FrameKind::Decoded);
    playout.insert(
        origin + MS * 20,
        RtpMeta {
            seq: 2,
            timestamp: 960,
            marker: false,
            level: None,
        },
        payload,
    );
    assert_eq!(playout.next_level(origin + MS * 30), None, "this one has no level");
}
