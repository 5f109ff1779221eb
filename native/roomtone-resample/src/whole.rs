//! A whole sound at another rate.

use rubato::audioadapter_buffers::owned::InterleavedOwned;
use rubato::{Fft, FixedSync, Resampler as _};

/// Frames that the filter takes at once.
const CHUNK: usize = 1_024;

/// A sound at the rate `to` instead of `from`, both in Hz; `pcm` is interleaved.
///
/// `None` if a rate or `channels` is 0, or if `pcm` ends within a frame.
pub fn convert(pcm: Vec<f32>, from: u32, to: u32, channels: usize) -> Option<Vec<f32>> {
    if from == 0 || to == 0 || channels == 0 || !pcm.len().is_multiple_of(channels) {
        return None;
    }
    if from == to || pcm.is_empty() {
        return Some(pcm);
    }
    let frames = pcm.len() / channels;
    let mut resampler = Fft::<f32>::new(from as usize, to as usize, CHUNK, channels, FixedSync::Input).ok()?;
    let input = InterleavedOwned::new_from(pcm, channels, frames).ok()?;
    Some(resampler.process_all(&input, frames, None).ok()?.take_data())
}
