//! Generators and measurements of test sounds: tests of all crates use them to check that the right
//! sound came out.
//!
//! Amplitudes are linear (1.0 = a sine of full scale), frequencies in Hz, everything at 48 kHz.

use crate::{FRAME_SAMPLES, Frame, SAMPLE_RATE};
use std::f64::consts::TAU;

/// The amplitude of the sine at `hz` in a block: Goertzel's algorithm behind a Hann window, which
/// keeps strong tones more than about 4 / duration away from leaking in. Exact for a steady tone;
/// 0.0 for an empty block.
pub fn goertzel(pcm: &[f32], hz: f64) -> f64 {
    if pcm.is_empty() {
        return 0.0;
    }
    let step = TAU / pcm.len() as f64;
    let coefficient = 2.0 * (TAU * hz / f64::from(SAMPLE_RATE)).cos();
    let (mut last, mut before, mut weight) = (0.0, 0.0, 0.0);
    for (i, &sample) in pcm.iter().enumerate() {
        let window = 0.5 - 0.5 * (step * (i as f64 + 0.5)).cos();
        weight += window;
        let now = window * f64::from(sample) + coefficient * last - before;
        before = last;
        last = now;
    }
    let power = last * last + before * before - coefficient * last * before;
    2.0 * power.max(0.0).sqrt() / weight
}

/// [`goertzel`] in dB below a sine of full scale; at least −200.
pub fn tone_dbfs(pcm: &[f32], hz: f64) -> f64 {
    to_db(goertzel(pcm, hz))
}

/// Linear to dB (20 · log10), at least −200.
pub fn to_db(linear: f64) -> f64 {
    if linear > 1e-10 { 20.0 * linear.log10() } else { -200.0 }
}

/// dB to linear.
pub fn from_db(db: f64) -> f64 {
    10f64.powf(db / 20.0)
}

/// Root of the mean square; 0.0 for an empty block.
pub fn rms(pcm: &[f32]) -> f64 {
    let sum: f64 = pcm.iter().map(|&s| f64::from(s) * f64::from(s)).sum();
    (sum / pcm.len().max(1) as f64).sqrt()
}

/// The largest step from one sample to the next; a click makes it large.
pub fn max_step(pcm: &[f32]) -> f32 {
    pcm.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max)
}

/// A sine whose phase continues from block to block.
#[derive(Debug, Clone, PartialEq)]
pub struct Tone {
    phase: f64,
    step: f64,
    amplitude: f32,
}

impl Tone {
    /// A tone of `hz` with this amplitude, starting at a zero crossing.
    pub fn new(hz: f64, amplitude: f32) -> Self {
        Self {
            phase: 0.0,
            step: hz / f64::from(SAMPLE_RATE),
            amplitude,
        }
    }

    /// The next sample.
    pub fn next_sample(&mut self) -> f32 {
        let sample = (TAU * self.phase).sin() as f32 * self.amplitude;
        self.phase = (self.phase + self.step).fract();
        sample
    }

    /// Writes the next samples over a block.
    pub fn fill(&mut self, pcm: &mut [f32]) {
        pcm.iter_mut().for_each(|sample| *sample = self.next_sample());
    }

    /// The next 20 ms.
    pub fn frame(&mut self) -> Frame {
        let mut frame = [0.0; FRAME_SAMPLES];
        self.fill(&mut frame);
        frame
    }
}

/// White noise from a seed (xorshift), uniform in ±amplitude.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Noise {
    state: u64,
    amplitude_bits: u32,
}

impl Noise {
    /// The same seed gives the same noise.
    pub fn new(seed: u64, amplitude: f32) -> Self {
        Self {
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            amplitude_bits: amplitude.to_bits(),
        }
    }

    /// The next sample.
    pub fn next_sample(&mut self) -> f32 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        let unit = (self.state >> 40) as f32 / (1u32 << 23) as f32 - 1.0;
        unit * f32::from_bits(self.amplitude_bits)
    }

    /// Writes the next samples over a block.
    pub fn fill(&mut self, pcm: &mut [f32]) {
        pcm.iter_mut().for_each(|sample| *sample = self.next_sample());
    }
}

/// A linear sweep from one frequency to another: unlike a tone it resembles itself at one delay
/// only.
pub fn chirp(from_hz: f64, to_hz: f64, samples: usize, amplitude: f32) -> Vec<f32> {
    let rate = f64::from(SAMPLE_RATE);
    let slope = (to_hz - from_hz) / samples.max(1) as f64;
    let phase = |i: f64| (from_hz * i + 0.5 * slope * i * i) / rate;
    (0..samples)
        .map(|i| (TAU * phase(i as f64).fract()).sin() as f32 * amplitude)
        .collect()
}

/// The position of `reference` in `signal`: the shift in samples with the best normalised
/// correlation, and that correlation (1.0 = the same shape). `None` if either is silent or `signal`
/// is the shorter one. Takes time proportional to the product of the lengths.
pub fn find_delay(reference: &[f32], signal: &[f32]) -> Option<(usize, f64)> {
    let own = rms(reference);
    if reference.is_empty() || signal.len() < reference.len() || own < 1e-9 {
        return None;
    }
    let mut energy: f64 = signal[..reference.len()]
        .iter()
        .map(|&s| f64::from(s) * f64::from(s))
        .sum();
    let mut best: Option<(usize, f64)> = None;
    for shift in 0..=signal.len() - reference.len() {
        if shift > 0 {
            let (gone, come) = (
                f64::from(signal[shift - 1]),
                f64::from(signal[shift + reference.len() - 1]),
            );
            energy += come * come - gone * gone;
        }
        let scale = own * (energy.max(0.0) * reference.len() as f64).sqrt();
        if scale < 1e-9 {
            continue;
        }
        let product = crate::playout::dot(reference, &signal[shift..shift + reference.len()]);
        let correlation = f64::from(product) / scale;
        if best.is_none_or(|(_, value)| correlation > value) {
            best = Some((shift, correlation));
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goertzel_reads_amplitudes_and_separates_neighbours() {
        let mut pcm = vec![0.0; 9600];
        Tone::new(440.3, 0.5).fill(&mut pcm);
        let mut other = vec![0.0; 9600];
        Tone::new(800.0, 0.01).fill(&mut other);
        crate::mix::add(&mut pcm, &other);
        assert!((goertzel(&pcm, 440.3) - 0.5).abs() < 1e-3);
        assert!((tone_dbfs(&pcm, 800.0) + 40.0).abs() < 0.1);
        assert!(tone_dbfs(&pcm, 1500.0) < -90.0);
        assert_eq!(tone_dbfs(&[], 1.0), -200.0);
        assert!((from_db(to_db(0.3)) - 0.3).abs() < 1e-12);
    }

    #[test]
    fn a_tone_continues_across_blocks() {
        let mut whole = vec![0.0; 1920];
        Tone::new(333.0, 1.0).fill(&mut whole);
        let mut tone = Tone::new(333.0, 1.0);
        let parts = [tone.frame(), tone.frame()].concat();
        assert_eq!(whole, parts);
    }

    #[test]
    fn a_chirp_is_found_at_its_position() {
        let chirp = chirp(300.0, 3000.0, 4800, 0.5);
        let mut signal = vec![0.0; 20_000];
        Noise::new(7, 0.05).fill(&mut signal);
        crate::mix::add_scaled(&mut signal[5678..5678 + 4800], &chirp, 0.3);
        let (shift, correlation) = find_delay(&chirp, &signal).unwrap();
        assert_eq!(shift, 5678);
        assert!(correlation > 0.9);
        assert_eq!(find_delay(&chirp, &[0.0; 10]), None);
        assert_eq!(find_delay(&chirp, &[0.0; 10_000]), None);
    }

    #[test]
    fn noise_is_centred_and_bounded() {
        let mut pcm = vec![0.0; 48_000];
        Noise::new(1, 0.5).fill(&mut pcm);
        assert!(pcm.iter().all(|s| s.abs() <= 0.5));
        assert!(pcm.iter().sum::<f32>().abs() / 48_000.0 < 0.01);
        assert!((rms(&pcm) - 0.5 / 3f64.sqrt()).abs() < 0.01);
    }
}
