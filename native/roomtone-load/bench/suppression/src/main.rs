//! Suppresses the noise of a sound, for `suppression.py`: samples (f32, 48 kHz, mono, as they lie in memory; for hush-vani 16 kHz)
//! from standard input to standard output, and the median time that a frame of 20 ms takes to standard error, in µs. If a second
//! argument gives bits a second, the sound is encoded with Opus and decoded before.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::time::Instant;

use hush_vani::{Hush, HushStream};
use nnnoiseless::DenoiseState;
use roomtone_audio::{Decoder, Encoder, EncoderConfig, FrameLevel, NoiseGauge, NoiseSuppressor};
use sonora::config::{NoiseSuppression, NoiseSuppressionLevel};
use sonora::{AudioProcessing, Config, StreamConfig};

/// Samples of 20 ms, and of 10.
const FRAME_SAMPLES: usize = 960;
const PART: usize = 480;

fn sonora(level: NoiseSuppressionLevel) -> impl FnMut(&mut [f32; FRAME_SAMPLES]) {
    let suppression = NoiseSuppression {
        level,
        ..NoiseSuppression::default()
    };
    let config = Config {
        noise_suppression: Some(suppression),
        ..Config::default()
    };
    let mut processing = AudioProcessing::builder()
        .config(config)
        .capture_config(StreamConfig::new(48_000, 1))
        .render_config(StreamConfig::new(48_000, 1))
        .build();
    move |frame| {
        for part in frame.as_chunks_mut::<PART>().0 {
            let from = *part;
            processing.process_capture_f32(&[&from], &mut [part]).unwrap();
        }
    }
}

// RNNoise wants the range of 16-bit samples.
fn nnnoiseless() -> impl FnMut(&mut [f32; FRAME_SAMPLES]) {
    let mut state = DenoiseState::new();
    move |frame| {
        for part in frame.as_chunks_mut::<PART>().0 {
            let from = part.map(|sample| sample * 32_768.0);
            state.process_frame(part, &from);
            part.iter_mut().for_each(|sample| *sample /= 32_768.0);
        }
    }
}

// As the engine has it: what is to be done follows from the levels in the packets.
fn roomtone() -> impl FnMut(&mut [f32; FRAME_SAMPLES]) {
    let (mut gauge, mut suppressor) = (NoiseGauge::default(), NoiseSuppressor::default());
    suppressor.skip(false);
    // The least level of this second and of the one before.
    let (mut least, mut frames) = ([-60f32, f32::INFINITY], 0);
    move |frame| {
        let minus_dbov = roomtone_audio::level(frame).dbov_minus;
        least[1] = least[1].min(-f32::from(minus_dbov));
        frames += 1;
        if frames % 50 == 0 {
            least = [least[1], f32::INFINITY];
        }
        let noise_dbov = least[0].min(least[1]).max(-90.0);
        let loud = -f32::from(minus_dbov) >= noise_dbov + 9.0;
        gauge.follow(FrameLevel {
            minus_dbov,
            loud,
            noise_dbov,
        });
        suppressor.apply(frame, gauge.is_noisy());
    }
}

// 16 kHz.
fn hush() -> impl FnMut(&mut [f32; FRAME_SAMPLES / 3]) {
    let mut stream = HushStream::new(Arc::new(Hush::new().unwrap()));
    move |frame| {
        let left = stream.process(&frame[..]);
        frame.copy_from_slice(&left);
    }
}

fn coded(sound: &[f32], bitrate: u32) -> Vec<f32> {
    let config = EncoderConfig {
        bitrate,
        ..EncoderConfig::default()
    };
    let (mut encoder, mut decoder) = (Encoder::new(&config).unwrap(), Decoder::new().unwrap());
    let (mut packet, mut decoded) = (Vec::new(), Vec::new());
    for frame in sound.as_chunks::<FRAME_SAMPLES>().0 {
        encoder.encode(frame, &mut packet).unwrap();
        decoder.decode(&packet, &mut decoded).unwrap();
    }
    decoded
}

fn run<const N: usize>(sound: &mut [f32], mut suppress: impl FnMut(&mut [f32; N])) -> Vec<f64> {
    let mut times = Vec::new();
    for frame in sound.as_chunks_mut::<N>().0 {
        let begin = Instant::now();
        suppress(frame);
        times.push(begin.elapsed().as_nanos() as f64 / 1e3);
    }
    times
}

fn main() {
    let by = std::env::args().nth(1);
    let bitrate = std::env::args().nth(2).map(|bitrate| bitrate.parse().unwrap());
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).unwrap();
    let samples = bytes.as_chunks().0.iter();
    let mut sound: Vec<f32> = samples.map(|sample| f32::from_ne_bytes(*sample)).collect();
    if let Some(bitrate) = bitrate {
        sound = coded(&sound, bitrate);
    }
    let mut times = match by.as_deref() {
        Some("off") => run(&mut sound, |_: &mut [f32; FRAME_SAMPLES]| ()),
        Some("roomtone") => run(&mut sound, roomtone()),
        Some("nnnoiseless") => run(&mut sound, nnnoiseless()),
        Some("sonora-low") => run(&mut sound, sonora(NoiseSuppressionLevel::Low)),
        Some("sonora-moderate") => run(&mut sound, sonora(NoiseSuppressionLevel::Moderate)),
        Some("sonora-high") => run(&mut sound, sonora(NoiseSuppressionLevel::High)),
        Some("hush-vani") => run(&mut sound, hush()),
        _ => {
            eprintln!("usage: suppression off|roomtone|nnnoiseless|sonora-low|sonora-moderate|sonora-high|hush-vani [bits a second]");
            std::process::exit(2);
        }
    };
    times.sort_by(f64::total_cmp);
    eprint!("{:.1}", times[times.len() / 2]);
    let bytes: Vec<u8> = sound.iter().flat_map(|sample| sample.to_ne_bytes()).collect();
    std::io::stdout().write_all(&bytes).unwrap();
}
