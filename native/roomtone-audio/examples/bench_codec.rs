//! The cost of a frame on this machine: `cargo run --release -p roomtone-audio --example
//! bench_codec [speech.raw]`.
//!
//! The codec's choices, and so its costs, depend on the sound. To measure speech, give it a
//! recording, 48 kHz, mono, 16 bit: `espeak-ng -w /tmp/s.wav "…"; sox /tmp/s.wav -r 48000 -c 1 -b
//! 16 -e signed /tmp/speech.raw`.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

use roomtone_audio::{analysis::*, *};
use std::{
    hint::black_box,
    time::{Duration, Instant},
};

const FRAMES: usize = 500;

/// Microseconds of one call, the best of five rounds.
fn time(what: &str, calls: usize, mut call: impl FnMut(usize)) {
    let round = |call: &mut dyn FnMut(usize)| {
        let start = Instant::now();
        (0..calls).for_each(call);
        start.elapsed().as_secs_f64() * 1e6 / calls as f64
    };
    let best = (0..5).map(|_| round(&mut call)).fold(f64::MAX, f64::min);
    println!("{what:<44} {best:>9.2} µs");
}

/// A synthetic voice: harmonics of 120 Hz in syllables, and breath.
fn voice() -> Vec<Frame> {
    let mut harmonics: Vec<Tone> = (1..30)
        .map(|n| Tone::new(120.0 * f64::from(n), 0.2 / n as f32))
        .collect();
    let mut breath = Noise::new(1, 0.02);
    (0..FRAMES)
        .map(|i| {
            let mut frame = [0.0; FRAME_SAMPLES];
            breath.fill(&mut frame);
            let loudness = (i as f32 * 0.5).sin().max(0.0);
            harmonics
                .iter_mut()
                .for_each(|tone| mix::add_scaled(&mut frame, &tone.frame(), loudness));
            frame
        })
        .collect()
}

/// Speech from a file, in a loop.
fn recorded(path: &str) -> Vec<Frame> {
    let bytes = std::fs::read(path).unwrap();
    let samples = bytes
        .as_chunks::<2>()
        .0
        .iter()
        .map(|pair| f32::from(i16::from_le_bytes(*pair)) / 32768.0);
    let samples: Vec<f32> = samples.collect();
    let (frames, _) = samples.as_chunks::<FRAME_SAMPLES>();
    frames.iter().copied().cycle().take(FRAMES).collect()
}

fn main() {
    let sound = std::env::args().nth(1).map_or_else(voice, |path| recorded(&path));
    let mut packet = Vec::new();
    let searching = [0, 3, 5, 6, 8, 10].map(|complexity| (32_000, Signal::Auto, complexity));
    let celt = [32_000, 48_000, 64_000].map(|bitrate| (bitrate, Signal::Music, 0));
    for (bitrate, signal, complexity) in searching.into_iter().chain(celt) {
        let config = EncoderConfig {
            bitrate,
            signal,
            complexity,
            ..Default::default()
        };
        let mut encoder = Encoder::new(&config).unwrap();
        let what = if signal == Signal::Music {
            "CELT alone"
        } else {
            "SILK and CELT"
        };
        let kbits = bitrate / 1000;
        time(
            &format!("encode {kbits} kbit/s, {what}, complexity {complexity}"),
            FRAMES,
            |i| encoder.encode(&sound[i], &mut packet).unwrap(),
        );
    }
    let mut encoder = Encoder::new(&EncoderConfig::default()).unwrap();
    let mut spare = encoder.clone();
    time("clone an encoder", FRAMES, |_| drop(black_box(encoder.clone())));
    time("clone an encoder into another", FRAMES, |_| {
        spare.clone_from(black_box(&encoder))
    });

    let packets: Vec<Vec<u8>> = sound
        .iter()
        .map(|frame| {
            encoder.encode(frame, &mut packet).unwrap();
            packet.clone()
        })
        .collect();
    let mut decoder = Decoder::new().unwrap();
    let mut pcm = Vec::new();
    time("decode", FRAMES, |i| {
        pcm.clear();
        decoder.decode(&packets[i], &mut pcm).unwrap();
    });
    time("conceal", FRAMES, |_| {
        pcm.clear();
        decoder.conceal(960, &mut pcm).unwrap();
    });
    time("decode four and conceal the fifth", FRAMES / 5, |i| {
        for packet in &packets[i * 5..i * 5 + 4] {
            pcm.clear();
            decoder.decode(packet, &mut pcm).unwrap();
        }
        pcm.clear();
        decoder.conceal(960, &mut pcm).unwrap();
    });

    let mut frame = [0.0; FRAME_SAMPLES];
    for (what, skip) in [("playout: insert and pop", false), ("playout: insert and skip", true)] {
        let mut playout = Playout::new(PlayoutConfig::default()).unwrap();
        let origin = Instant::now();
        let mut at = 0u32;
        time(what, FRAMES, |i| {
            let now = origin + FRAME_DURATION * at;
            let meta = RtpMeta {
                seq: at as u16,
                timestamp: at * 960,
                marker: false,
                level: None,
            };
            playout.insert(now, meta, &packets[i]);
            let tick = now + Duration::from_millis(7);
            let kind = if skip {
                playout.skip(tick)
            } else {
                playout.pop(tick, &mut frame)
            };
            black_box(kind);
            at += 1;
        });
    }
    let mut idle = Playout::new(PlayoutConfig::default()).unwrap();
    let now = Instant::now();
    time("playout: pop of a silent peer", FRAMES, |_| {
        black_box(idle.pop(now, &mut frame));
    });

    let mut sum = [0.0; FRAME_SAMPLES];
    time("mix 3 frames", FRAMES, |i| {
        sum.fill(0.0);
        (0..3).for_each(|k| mix::add(&mut sum, black_box(&sound[(i + k) % FRAMES])));
    });
    time("mix 50 frames, each with a gain of its own", FRAMES, |i| {
        sum.fill(0.0);
        (0..50).for_each(|k| mix::add_scaled(&mut sum, black_box(&sound[(i + k) % FRAMES]), 0.3 + k as f32));
    });
    let mut stereo = [0.0; 2 * FRAME_SAMPLES];
    time("mix 3 frames, panned", FRAMES, |i| {
        stereo.fill(0.0);
        let gain = mix::StereoGain::panned(1.0, 0.3);
        (0..3).for_each(|k| mix::add_panned(&mut stereo, black_box(&sound[(i + k) % FRAMES]), gain));
    });
    let mut limiter = Limiter::new();
    time("limit a quiet frame", FRAMES, |i| {
        sum.copy_from_slice(&sound[i]);
        mix::scale(&mut sum, 0.1);
        limiter.process(black_box(&mut sum));
    });
    time("limit a loud frame", FRAMES, |i| {
        sum.copy_from_slice(&sound[i]);
        mix::scale(&mut sum, 8.0);
        limiter.process(black_box(&mut sum));
    });
    let mut gain = AutoGain::default();
    let levels: Vec<u8> = sound
        .iter()
        .map(|frame| level(frame).dbov_minus.saturating_add(15))
        .collect();
    time("automatic gain: follow a level", FRAMES, |i| {
        let frame = FrameLevel {
            minus_dbov: black_box(levels[i]),
            loud: levels[i] < 71,
            noise_dbov: -80.0,
        };
        gain.follow(frame, Some(3.0));
    });
    time("automatic gain: change a frame", FRAMES, |i| {
        let mut frame = black_box(sound[i]);
        gain.apply(&mut frame);
        black_box(frame);
    });
    let mut gauge = NoiseGauge::default();
    time("noise suppression: follow a level", FRAMES, |i| {
        gauge.follow(FrameLevel {
            minus_dbov: black_box(levels[i]),
            loud: levels[i] < 71,
            noise_dbov: -80.0,
        });
    });
    let mut suppressor = NoiseSuppressor::default();
    time("noise suppression: change a frame", FRAMES, |i| {
        let mut frame = black_box(sound[i]);
        suppressor.apply(&mut frame, true);
        black_box(frame);
    });
    time("level", FRAMES, |i| {
        black_box(level(black_box(&sound[i])));
    });
}
