//! 20 ms at 48 kHz to 20 ms at another rate, without gaps between the frames.

use roomtone_audio::{FRAME_SAMPLES, SAMPLE_RATE};
use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler as _, WindowFunction};

/// The rates that 20 ms have a whole number of samples of.
pub(crate) const RATES: [u32; 7] = [8_000, 12_000, 16_000, 24_000, 32_000, 44_100, 48_000];
/// Half a frame at a time is a whole number of periods of each rate; it makes the filter's delay 5 ms.
const SUB_CHUNKS: usize = 2;

/// A resampler for one stream.
pub(crate) struct Resampler {
    inner: Option<Fft<f32>>,
    channels: usize,
    out_frames: usize,
}

impl Resampler {
    /// To one of [`RATES`]; `None` for any other.
    pub(crate) fn new(rate: u32, channels: usize) -> Option<Resampler> {
        if !RATES.contains(&rate) {
            return None;
        }
        let out_frames = FRAME_SAMPLES * rate as usize / SAMPLE_RATE as usize;
        let inner = if rate == SAMPLE_RATE {
            None
        } else {
            let (from, to) = (SAMPLE_RATE as usize, rate as usize);
            let window = WindowFunction::BlackmanHarris2;
            let fft = Fft::new_custom(from, to, FRAME_SAMPLES, SUB_CHUNKS, channels, window, FixedSync::Both);
            Some(fft.ok()?)
        };
        Some(Resampler {
            inner,
            channels,
            out_frames,
        })
    }

    /// Appends a frame, resampled, to `out`. It is 20 ms long, interleaved.
    pub(crate) fn process(&mut self, frame: &[f32], out: &mut Vec<f32>) {
        let Some(resampler) = &mut self.inner else {
            out.extend_from_slice(frame);
            return;
        };
        let begin = out.len();
        out.resize(begin + self.out_frames * self.channels, 0.0);
        let input = InterleavedSlice::new(frame, self.channels, FRAME_SAMPLES);
        let output = InterleavedSlice::new_mut(&mut out[begin..], self.channels, self.out_frames);
        if let (Ok(input), Ok(mut output)) = (input, output) {
            // The sizes are fixed and right, so it can't fail.
            let _ = resampler.process_into_buffer(&input, &mut output, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use roomtone_audio::analysis::Tone;

    #[test]
    fn a_tone_keeps_its_level_and_its_length_at_every_rate() {
        for rate in RATES {
            let mut resampler = Resampler::new(rate, 1).unwrap();
            let (mut tone, mut out) = (Tone::new(440.0, 0.1), Vec::new());
            for _ in 0..50 {
                resampler.process(&tone.frame(), &mut out);
            }
            assert_eq!(out.len(), rate as usize);
            let settled = &out[out.len() / 2..];
            let square: f32 = settled.iter().map(|sample| sample * sample).sum::<f32>() / settled.len() as f32;
            let level = 10.0 * square.log10();
            assert!((level + 23.01).abs() < 0.1, "{rate} Hz: {level} dB");
        }
        assert!(Resampler::new(11_025, 1).is_none());
    }
}
