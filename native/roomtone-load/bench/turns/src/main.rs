//! Scores a sound, for `turns.py`: samples (f32, 16 kHz, mono, as they lie in memory) from standard input; one score for each frame
//! of 16 ms to standard output, and the mean time that a frame takes to standard error, in µs.

use std::io::Read as _;
use std::time::Instant;

use roomtone_audio::VoiceDetector;

const FRAME: usize = 256;

// Without Roomtone's treatment of digital silence.
fn earshot() -> impl FnMut(&[f32]) -> f32 {
    let mut detector = earshot::Detector::default();
    move |frame| {
        let frame: Vec<i16> = frame.iter().map(|sample| (sample * 32_767.0).round() as i16).collect();
        detector.predict_i16(&frame)
    }
}

fn roomtone() -> impl FnMut(&[f32]) -> f32 {
    let mut detector = VoiceDetector::default();
    move |frame| detector.hear(frame)
}

fn run(sound: &[f32], mut score: impl FnMut(&[f32]) -> f32) {
    let begin = Instant::now();
    let scores: Vec<f32> = sound.chunks_exact(FRAME).map(&mut score).collect();
    eprint!(
        "{}",
        begin.elapsed().as_nanos() as f64 / 1e3 / scores.len().max(1) as f64
    );
    for score in scores {
        println!("{score:.4}");
    }
}

fn main() {
    let mut bytes = Vec::new();
    std::io::stdin().read_to_end(&mut bytes).unwrap();
    let samples = bytes.as_chunks().0.iter();
    let sound: Vec<f32> = samples.map(|sample| f32::from_ne_bytes(*sample)).collect();
    match std::env::args().nth(1).as_deref() {
        Some("earshot") => run(&sound, earshot()),
        Some("roomtone") => run(&sound, roomtone()),
        _ => {
            eprintln!("usage: turns earshot|roomtone");
            std::process::exit(2);
        }
    }
}
