//! Suppresses the noise of a sound, for `suppression.py`: samples (f32, 48 kHz, mono, as they lie in memory)
//! from standard input to standard output, and the median time that a frame of 20 ms takes to standard error, in µs.

use std::io::{Read as _, Write as _};
use std::time::Instant;

use nnnoiseless::DenoiseState;
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

fn main() {
    let by = std::env::args().nth(1);
    let mut suppress: Box<dyn FnMut(&mut [f32; FRAME_SAMPLES])> = match by.as_deref() {
        Some("off") => Box::new(|_| ()),
        Some("nnnoiseless") => Box::new(nnnoiseless()),
        Some("sonora-low") => Box::new(sonora(NoiseSuppressionLevel::Low)),
        Some("sonora-moderate") => Box::new(sonora(NoiseSuppressionLevel::Moderate)),
        Some("sonora-high") => Box::new(sonora(NoiseSuppressionLevel::High)),
        _ => {
            eprintln!("usage: suppress off|nnnoiseless|sonora-low|sonora-moderate|sonora-high");
            std::process::exit(2);
        }
    };
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).unwrap();
    let mut sound: Vec<f32> = bytes
        .as_chunks()
        .0
        .iter()
        .map(|sample| f32::from_ne_bytes(*sample))
        .collect();
    let mut times = Vec::new();
    for frame in sound.as_chunks_mut::<FRAME_SAMPLES>().0 {
        let begin = Instant::now();
        suppress(frame);
        times.push(begin.elapsed().as_nanos() as f64 / 1e3);
    }
    times.sort_by(f64::total_cmp);
    eprint!("{:.1}", times[times.len() / 2]);
    let bytes: Vec<u8> = sound.iter().flat_map(|sample| sample.to_ne_bytes()).collect();
    std::io::stdout().write_all(&bytes).unwrap();
}
