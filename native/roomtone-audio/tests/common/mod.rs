//! A talker, a link with variable delay, and a listener on a virtual clock.
#![allow(dead_code, missing_docs, clippy::unwrap_used)]

use roomtone_audio::*;
use std::time::{Duration, Instant};

/// Packets of a tone that may be repeated without a seam if together they hold whole periods of it:
/// they are taken from the second round.
pub fn encoded_tone(hz: f64, amplitude: f32, millis_10: usize, packets: usize, config: &EncoderConfig) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(config).unwrap();
    let mut tone = analysis::Tone::new(hz, amplitude);
    let mut pcm = vec![0.0; millis_10 * 48 / 10];
    let mut all: Vec<Vec<u8>> = (0..2 * packets)
        .map(|_| {
            tone.fill(&mut pcm);
            let mut out = Vec::new();
            encoder.encode(&pcm, &mut out).unwrap();
            out
        })
        .collect();
    all.split_off(packets)
}

/// One second of a signal that an encoder classifies as voice: four syllables of harmonics of 125
/// Hz, in packets of 20 ms.
pub fn encoded_voice(config: &EncoderConfig) -> Vec<Vec<u8>> {
    let mut encoder = Encoder::new(config).unwrap();
    let mut harmonics: Vec<analysis::Tone> = (1..24)
        .map(|n| analysis::Tone::new(125.0 * f64::from(n), 0.15 / n as f32))
        .collect();
    let mut all: Vec<Vec<u8>> = (0..100)
        .map(|i| {
            let mut frame = [0.0; FRAME_SAMPLES];
            let loudness = (i as f32 * 0.04 * std::f32::consts::TAU).sin().mul_add(0.4, 0.6);
            harmonics
                .iter_mut()
                .for_each(|tone| mix::add_scaled(&mut frame, &tone.frame(), loudness));
            let mut out = Vec::new();
            encoder.encode(&frame, &mut out).unwrap();
            out
        })
        .collect();
    all.split_off(50)
}

/// One packet in transit.
#[derive(Clone)]
pub struct Sent {
    pub at: Duration,
    pub seq: u16,
    pub timestamp: u32,
    pub marker: bool,
    pub level: Option<AudioLevel>,
    pub payload: Vec<u8>,
}

/// Packets of `samples` each, sent on the sender's clock (`ppm` fast) from `start` on.
pub fn stream(payloads: &[Vec<u8>], count: usize, samples: u32, ppm: f64, seq: u16, timestamp: u32) -> Vec<Sent> {
    (0..count)
        .map(|i| {
            let sent = (i + 1) as f64 * f64::from(samples) / 48_000.0 / (1.0 + ppm * 1e-6);
            Sent {
                at: Duration::from_secs_f64(sent),
                seq: seq.wrapping_add(i as u16),
                timestamp: timestamp.wrapping_add(i as u32 * samples),
                marker: i == 0,
                level: Some(AudioLevel {
                    dbov_minus: 23,
                    voice: true,
                }),
                payload: payloads[i % payloads.len()].clone(),
            }
        })
        .collect()
}

pub fn meta(sent: &Sent) -> RtpMeta {
    RtpMeta {
        seq: sent.seq,
        timestamp: sent.timestamp,
        marker: sent.marker,
        level: sent.level,
    }
}

/// The output of a playout.
#[derive(Default)]
pub struct Heard {
    pub kinds: Vec<FrameKind>,
    pub pcm: Vec<f32>,
    pub stats: Vec<PlayoutStats>,
}

impl Heard {
    pub fn count(&self, kind: FrameKind) -> usize {
        self.kinds.iter().filter(|&&k| k == kind).count()
    }
}

/// Delivers packets at their times (in any order given) and ticks every 20 ms from `phase` on for `ticks`.
pub fn listen(playout: &mut Playout, mut packets: Vec<Sent>, phase: Duration, ticks: usize) -> Heard {
    packets.sort_by_key(|p| p.at);
    let origin = origin();
    let mut heard = Heard::default();
    let mut next = packets.iter().peekable();
    let mut frame = [0.0; FRAME_SAMPLES];
    for tick in 0..ticks {
        let now = phase + FRAME_DURATION * tick as u32;
        while let Some(packet) = next.next_if(|p| p.at <= now) {
            playout.insert(origin + packet.at, meta(packet), &packet.payload);
        }
        let at = origin + now;
        let expected = playout.has_audio(at);
        let kind = playout.pop(at, &mut frame);
        assert_eq!(expected, kind.is_sound(), "tick {tick}");
        assert!(kind.is_sound() || frame.iter().all(|&s| s == 0.0));
        heard.kinds.push(kind);
        heard.pcm.extend_from_slice(&frame);
        heard.stats.push(playout.stats());
    }
    heard
}

/// An arbitrary moment; only differences count.
#[allow(clippy::disallowed_methods)]
pub fn origin() -> Instant {
    use std::sync::OnceLock;
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(Instant::now)
}

pub fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
