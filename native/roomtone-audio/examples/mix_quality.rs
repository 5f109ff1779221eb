//! The quality of a mix with each way of encoding it, and the cost of a frame: `cargo run --release
//! -p roomtone-audio --example mix_quality OUT SPEECH.raw…`.
//!
//! Speech is 48 kHz, mono, 16 bit. It passes through a talker's Opus and a mix's. The output and
//! the original are written to OUT as WAV. Each profile prints one line: its name, µs of one
//! encode, kbit/s, and the pairs to compare, for `native/roomtone-load/bench/quality.py`.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

use roomtone_audio::*;
use std::{fmt::Write as _, fs, path::Path, time::Instant};

const TALKER_BITRATE: u32 = 40_000;

fn read(path: &str) -> Vec<Frame> {
    let bytes = fs::read(path).unwrap();
    let samples = bytes.as_chunks::<2>().0.iter();
    let samples: Vec<f32> = samples
        .map(|pair| f32::from(i16::from_le_bytes(*pair)) / 32768.0)
        .collect();
    samples.as_chunks::<FRAME_SAMPLES>().0.to_vec()
}

fn write(path: &Path, pcm: &[f32]) {
    let bytes = 2 * pcm.len() as u32;
    let mut file = Vec::new();
    file.extend_from_slice(b"RIFF");
    file.extend_from_slice(&(bytes + 36).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt ");
    for word in [16u32, 0x0001_0001, SAMPLE_RATE, 2 * SAMPLE_RATE, 0x0010_0002] {
        file.extend_from_slice(&word.to_le_bytes());
    }
    file.extend_from_slice(b"data");
    file.extend_from_slice(&bytes.to_le_bytes());
    for sample in pcm {
        let sample = (sample * 32768.0).round().clamp(-32768.0, 32767.0) as i16;
        file.extend_from_slice(&sample.to_le_bytes());
    }
    fs::write(path, file).unwrap();
}

/// The decoded sound of a listener, µs of an encode, and bits per second.
fn through(config: &EncoderConfig, frames: &[Frame]) -> (Vec<Frame>, f64, f64) {
    // The fastest encode of each frame, so that other work on the machine doesn't count.
    let (mut best, mut heard, mut bytes) = (vec![f64::MAX; frames.len()], Vec::new(), 0);
    for _ in 0..5 {
        let mut encoder = Encoder::new(config).unwrap();
        let mut decoder = Decoder::new().unwrap();
        let mut packet = Vec::new();
        heard.clear();
        bytes = 0;
        for (frame, best) in frames.iter().zip(&mut best) {
            let start = Instant::now();
            encoder.encode(frame, &mut packet).unwrap();
            *best = best.min(start.elapsed().as_secs_f64());
            bytes += packet.len();
            decoder.decode(&packet, &mut heard).unwrap();
        }
    }
    let best = best.iter().sum::<f64>() / frames.len() as f64;
    let bits = 8.0 * 50.0 * bytes as f64 / frames.len() as f64;
    (heard.as_chunks::<FRAME_SAMPLES>().0.to_vec(), best * 1e6, bits)
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let out = arguments.next().expect("OUT SPEECH.raw…");
    let out = Path::new(&out);
    let speech: Vec<Vec<Frame>> = arguments.map(|path| read(&path)).collect();
    let talker = EncoderConfig {
        bitrate: TALKER_BITRATE,
        complexity: 9,
        ..Default::default()
    };
    let mut profiles = vec![("passed through".to_owned(), None)];
    for (bitrate, complexity, signal) in [
        (52_000, 4, Signal::Auto),
        (52_000, 5, Signal::Auto),
        (48_000, 0, Signal::Auto),
        (48_000, 1, Signal::Auto),
        (48_000, 2, Signal::Auto),
        (48_000, 3, Signal::Auto),
        (64_000, 0, Signal::Auto),
        (64_000, 2, Signal::Auto),
        (64_000, 0, Signal::Music),
        (64_000, 1, Signal::Music),
        (64_000, 2, Signal::Music),
        (80_000, 0, Signal::Music),
        (96_000, 0, Signal::Music),
        (96_000, 1, Signal::Music),
        (112_000, 0, Signal::Music),
        (128_000, 0, Signal::Music),
    ] {
        let config = EncoderConfig {
            bitrate,
            complexity,
            signal,
            ..Default::default()
        };
        let codec = if signal == Signal::Music { "CELT" } else { "auto" };
        profiles.push((
            format!("{} kbit/s {codec} cx{complexity}", bitrate / 1000),
            Some(config),
        ));
    }
    for (at, (name, config)) in profiles.iter().enumerate() {
        let (mut us, mut bits, mut pairs) = (0.0, 0.0, String::new());
        for (which, said) in speech.iter().enumerate() {
            let (came, ..) = through(&talker, said);
            let (heard, cost, rate) = match config {
                None => (came, 0.0, 0.0),
                Some(config) => through(config, &came),
            };
            let (reference, degraded) = (
                out.join(format!("said{which}.wav")),
                out.join(format!("{at}-{which}.wav")),
            );
            write(&reference, said.as_flattened());
            write(&degraded, heard.as_flattened());
            us += cost / speech.len() as f64;
            bits += rate / speech.len() as f64;
            let _ = write!(pairs, "|{}\t{}", reference.display(), degraded.display());
        }
        println!("{name}|{us:.0}|{:.0}{pairs}", bits / 1000.0);
    }
}
