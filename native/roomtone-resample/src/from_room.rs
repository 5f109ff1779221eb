//! 20 ms at 48 kHz to 20 ms at another rate, without gaps between the frames.

use roomtone_audio::{FRAME_SAMPLES, SAMPLE_RATE};
use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler as _, WindowFunction};

/// The rates of [`FromRoom`], in Hz: those of which 20 ms have a whole number of samples.
pub const ROOM_RATES: [u32; 7] = [8_000, 12_000, 16_000, 24_000, 32_000, 44_100, 48_000];
/// Half a frame at a time is a whole number of periods of each rate; it makes the filter's delay 5 ms.
const SUB_CHUNKS: usize = 2;

/// A converter of one stream at 48 kHz, frame by frame.
pub struct FromRoom {
    inner: Option<Fft<f32>>,
    channels: usize,
    out_frames: usize,
}

impl FromRoom {
    /// To one of [`ROOM_RATES`], of 1 or 2 channels; `None` for any other.
    pub fn new(rate: u32, channels: usize) -> Option<FromRoom> {
        if !ROOM_RATES.contains(&rate) || !(1..=2).contains(&channels) {
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
        Some(FromRoom {
            inner,
            channels,
            out_frames,
        })
    }

    /// Appends a frame, resampled, to `out`. It is 20 ms long, interleaved: 960 samples of each channel.
    ///
    /// A frame of another length becomes 20 ms of silence, unless the rate is that of the room: then it is appended as it is.
    pub fn process(&mut self, frame: &[f32], out: &mut Vec<f32>) {
        let Some(resampler) = &mut self.inner else {
            out.extend_from_slice(frame);
            return;
        };
        let begin = out.len();
        out.resize(begin + self.out_frames * self.channels, 0.0);
        let input = InterleavedSlice::new(frame, self.channels, FRAME_SAMPLES);
        let output = InterleavedSlice::new_mut(&mut out[begin..], self.channels, self.out_frames);
        if let (Ok(input), Ok(mut output)) = (input, output) {
            // With a frame of the right length it can't fail.
            let _ = resampler.process_into_buffer(&input, &mut output, None);
        }
    }
}
