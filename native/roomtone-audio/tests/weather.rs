//! The jitter buffer over long times and on realistic links: everything at once, and how often it
//! is audible.

mod common;
use common::*;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use roomtone_audio::{
    analysis::{max_step, rms},
    *,
};
use std::time::Duration;

const MS: Duration = Duration::from_millis(1);

fn packets(count: usize, ppm: f64) -> Vec<Sent> {
    stream(
        &encoded_voice(&EncoderConfig {
            complexity: 2,
            ..Default::default()
        }),
        count,
        960,
        ppm,
        65_000,
        u32::MAX / 2,
    )
}

fn playout() -> Playout {
    Playout::new(PlayoutConfig::default()).expect("default limits")
}

/// The sum of a few uniform values: bell-shaped, and never negative.
fn bell(rng: &mut StdRng, mean_us: u32) -> Duration {
    let sum: u32 = (0..4).map(|_| rng.random_range(0..=mean_us / 2)).sum();
    Duration::from_micros(sum.into())
}

#[test]
fn wireless_for_ten_minutes() {
    for (ppm, seed) in [(-120.0, 1), (80.0, 2)] {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut packets = packets(30_000, ppm);
        let mut held_until = Duration::ZERO;
        for packet in &mut packets {
            packet.at += bell(&mut rng, 8_000);
            // Occasionally the radio is busy, and the waiting packets arrive at once.
            if rng.random_bool(0.002) {
                held_until = packet.at + MS * rng.random_range(10..80);
            }
            packet.at = packet.at.max(held_until);
        }
        packets.retain(|_| !rng.random_bool(0.005));
        let sent = packets.len() as f64;
        let mut playout = playout();
        let heard = listen(&mut playout, packets, MS * 7, 29_900);
        let stats = playout.stats();
        let made_up = heard.count(FrameKind::Concealed) as f64 / 29_900.0;
        assert!(made_up < 0.02, "{made_up}: {stats:?}");
        assert!((stats.late + stats.shed) as f64 / sent < 0.008, "{stats:?}");
        let mut delays: Vec<f64> = heard.stats[100..].iter().map(|s| millis(s.current_delay)).collect();
        delays.sort_by(f64::total_cmp);
        assert!(delays[delays.len() / 2] < 45.0, "p50 {}", delays[delays.len() / 2]);
        assert!(
            delays[delays.len() * 99 / 100] < 110.0,
            "p99 {}",
            delays[delays.len() * 99 / 100]
        );
        assert_eq!((stats.resets, stats.overflow, stats.invalid), (0, 0, 0));
    }
}

#[test]
fn occasional_late_ticks_change_nothing() {
    let mut rng = StdRng::seed_from_u64(9);
    for phase in [0, 5, 10, 15, 19] {
        let packets = packets(1500, 0.0);
        let mut playout = playout();
        let mut frame = [0.0; FRAME_SAMPLES];
        let mut next = packets.iter().peekable();
        let mut concealed = 0;
        for tick in 0..1490u32 {
            let late = Duration::from_micros(if rng.random_bool(0.1) {
                rng.random_range(0..4_000)
            } else {
                50
            });
            let now = MS * phase + FRAME_DURATION * tick + late;
            while let Some(packet) = next.next_if(|p| p.at <= now) {
                playout.insert(origin() + packet.at, meta(packet), &packet.payload);
            }
            concealed += u32::from(playout.pop(origin() + now, &mut frame) == FrameKind::Concealed);
        }
        let stats = playout.stats();
        assert!(concealed <= 1, "phase {phase}: {stats:?}");
        assert!(
            stats.removed_samples + stats.inserted_samples <= 960,
            "phase {phase}: {stats:?}"
        );
        assert!(stats.current_delay < MS * 30, "phase {phase}: {stats:?}");
    }
}

#[test]
fn a_sender_on_hold_with_a_stopped_clock_resumes_at_once() {
    for pause in [700u64, 5_000, 60_000] {
        let mut packets = packets(800, 0.0);
        packets
            .iter_mut()
            .skip(300)
            .for_each(|p| p.at += Duration::from_millis(pause));
        let ticks = 800 + pause as usize / 20 - 5;
        let mut playout = playout();
        let heard = listen(&mut playout, packets, MS * 13, ticks);
        let back = 300 + pause as usize / 20;
        assert!(heard.kinds[back + 3..back + 10].iter().all(|k| k.is_sound()), "{pause}");
        assert!(
            heard.kinds[back + 60..ticks - 2]
                .iter()
                .all(|k| *k == FrameKind::Decoded),
            "{pause}"
        );
        assert!(
            heard.kinds[306..back - 1].iter().all(|k| *k == FrameKind::Silence),
            "{pause}"
        );
        let stats = playout.stats();
        assert!(stats.current_delay < MS * 30, "{pause}: {stats:?}");
        assert_eq!(stats.lost, 0, "{stats:?}");
        assert!(max_step(&heard.pcm) < 0.25, "{}", max_step(&heard.pcm));
    }
}

#[test]
fn a_pause_of_a_day_wraps_the_timestamp_and_does_no_harm() {
    let mut packets = packets(400, 0.0);
    let day = Duration::from_secs(86_400);
    for packet in packets.iter_mut().skip(200) {
        packet.at += day;
        packet.timestamp = packet.timestamp.wrapping_add((86_400u64 * 48_000) as u32);
    }
    let mut playout = playout();
    let later = packets.split_off(200);
    listen(&mut playout, packets, MS * 3, 230);
    assert!(playout.is_idle(), "no ticks are needed until something comes");
    let mut frame = [0.0; FRAME_SAMPLES];
    let mut kinds = Vec::new();
    let mut next = later.iter().peekable();
    let start = later[0].at;
    for tick in 0..195u32 {
        let now = start + MS * 3 + FRAME_DURATION * tick;
        while let Some(packet) = next.next_if(|p| p.at <= now) {
            playout.insert(origin() + packet.at, meta(packet), &packet.payload);
        }
        kinds.push(playout.pop(origin() + now, &mut frame));
    }
    assert!(
        kinds[60..].iter().all(|k| *k == FrameKind::Decoded),
        "{:?}",
        playout.stats()
    );
    assert!(playout.stats().current_delay < MS * 30);
}

#[test]
fn short_and_long_packets_survive_loss_and_jitter() {
    for (millis_10, samples) in [(25usize, 120u32), (100, 480), (400, 1920), (600, 2880)] {
        let mut rng = StdRng::seed_from_u64(u64::from(samples));
        let count = 48_000 / samples as usize;
        let config = EncoderConfig {
            bitrate: 64_000,
            complexity: 2,
            ..Default::default()
        };
        let mut packets = stream(
            &encoded_tone(500.0, 0.2, millis_10, count, &config),
            count * 20,
            samples,
            50.0,
            9,
            9,
        );
        packets.iter_mut().for_each(|p| p.at += bell(&mut rng, 6_000));
        packets.retain(|_| !rng.random_bool(0.01));
        let mut playout = playout();
        let heard = listen(&mut playout, packets, MS * 7, 940);
        let stats = playout.stats();
        let made_up = heard.count(FrameKind::Concealed) as f64 / 940.0;
        // A lost packet of 2.5 ms damages one frame of 20 ms, one of 60 ms three of them.
        assert!(made_up < 0.13, "{samples}: {made_up} {stats:?}");
        assert!(stats.current_delay < MS * 75, "{samples}: {stats:?}");
        assert_eq!(
            heard.kinds[10..].iter().filter(|k| **k == FrameKind::Silence).count(),
            0,
            "{samples}"
        );
    }
}

#[test]
fn delay_is_gained_in_quiet_sound_before_anything_is_missing() {
    let config = EncoderConfig {
        complexity: 2,
        ..Default::default()
    };
    let packets = stream(&encoded_tone(500.0, 0.001, 200, 50, &config), 15_000, 960, -300.0, 1, 1);
    let mut playout = playout();
    let heard = listen(&mut playout, packets, MS * 12, 14_990);
    let stats = playout.stats();
    // 90 ms of drift.
    assert!((3840..=5760).contains(&stats.inserted_samples), "{stats:?}");
    assert_eq!(
        (heard.count(FrameKind::Concealed), stats.shed, stats.lost),
        (0, 0, 0),
        "{stats:?}"
    );
}

#[test]
fn a_short_pause_that_is_known_in_time_does_not_count_as_a_loss() {
    let config = EncoderConfig {
        fec: true,
        expected_loss_percent: 20,
        ..Default::default()
    };
    let mut packets = stream(&encoded_voice(&config), 200, 960, 0.0, 1, 1);
    for packet in packets.iter_mut().skip(103) {
        packet.at += MS * 60;
        packet.timestamp += 3 * 960;
    }
    let patient = PlayoutConfig {
        min_delay: MS * 120,
        ..Default::default()
    };
    let mut playout = Playout::new(patient).expect("sane limits");
    let heard = listen(&mut playout, packets, MS * 8, 195);
    let gap = heard
        .kinds
        .iter()
        .position(|k| *k == FrameKind::Concealed)
        .expect("it fades out");
    assert_eq!(
        heard.kinds[gap + 1..gap + 4],
        [FrameKind::Silence, FrameKind::Silence, FrameKind::Decoded]
    );
    let stats = playout.stats();
    assert_eq!(
        (stats.fec, stats.concealed, stats.lost, stats.shed),
        (0, 1, 0, 0),
        "{stats:?}"
    );
}

#[test]
fn the_jitter_of_a_long_route_is_learned_within_two_seconds() {
    let mut rng = StdRng::seed_from_u64(4);
    let mut packets = packets(700, 0.0);
    packets
        .iter_mut()
        .skip(300)
        .for_each(|p| p.at += MS * 400 + Duration::from_micros(rng.random_range(0..40_000)));
    let mut playout = playout();
    let heard = listen(&mut playout, packets, MS * 12, 690);
    let made_up = heard.kinds[420..]
        .iter()
        .filter(|k| **k == FrameKind::Concealed)
        .count();
    assert!(made_up <= 2, "{made_up} {:?}", playout.stats());
    assert!(heard.stats[430].target_delay > MS * 25, "{:?}", heard.stats[430]);
}

#[test]
fn after_skips_the_first_frame_is_already_the_right_sound() {
    let packets = packets(400, 0.0);
    let (mut always, mut skipping) = (playout(), playout());
    let (mut there, mut back) = ([0.0; FRAME_SAMPLES], [0.0; FRAME_SAMPLES]);
    let mut next = packets.iter().peekable();
    let mut off = Vec::new();
    for tick in 0..390u32 {
        let now = MS * 9 + FRAME_DURATION * tick;
        while let Some(packet) = next.next_if(|p| p.at <= now) {
            always.insert(origin() + packet.at, meta(packet), &packet.payload);
            skipping.insert(origin() + packet.at, meta(packet), &packet.payload);
        }
        always.pop(origin() + now, &mut there);
        if tick % 13 != 12 {
            skipping.skip(origin() + now);
            continue;
        }
        skipping.pop(origin() + now, &mut back);
        // After the fade-in.
        let difference: Vec<f32> = there.iter().zip(&back).skip(240).map(|(a, b)| a - b).collect();
        if tick > 50 {
            off.push(rms(&difference) / rms(&there[240..]));
        }
    }
    // Usually the same sample by sample. Otherwise an unchanging voice is the codec's hardest case:
    // it predicts from older sound than it got. Without catching up hardly any frame is right.
    let right = off.iter().filter(|off| **off < 0.05).count();
    assert!(
        right * 2 >= off.len() - 1 && off.iter().all(|off| *off < 1.0),
        "{off:?}"
    );
}
