//! Sound of any rate at any other, piece by piece.

use rubato::audioadapter_buffers::direct::InterleavedSlice;
use rubato::{Fft, FixedSync, Resampler as _};

/// The rates that are taken, in Hz.
const RATES: std::ops::RangeInclusive<u32> = 1_000..=384_000;
/// The samples that the filter takes at once, of a second.
const CHUNKS_A_SECOND: u32 = 100;

/// A converter of one mono stream: each piece goes on from the one before.
pub struct Converter {
    /// `None`: both rates are the same.
    filter: Option<Filter>,
}

struct Filter {
    inner: Fft<f32>,
    from: u64,
    to: u64,
    /// Samples that don't fill a chunk yet.
    rest: Vec<f32>,
    out: Vec<f32>,
    /// Samples of the filter's delay that are still to be left out.
    skip: usize,
    taken: u64,
    given: u64,
}

impl Converter {
    /// Between these rates in Hz: 1,000 to 384,000. `None` for any other.
    pub fn new(from: u32, to: u32) -> Option<Converter> {
        if !RATES.contains(&from) || !RATES.contains(&to) {
            return None;
        }
        if from == to {
            return Some(Converter { filter: None });
        }
        let chunk = (from / CHUNKS_A_SECOND).max(1) as usize;
        let inner = Fft::new(from as usize, to as usize, chunk, 1, FixedSync::Input).ok()?;
        Some(Converter {
            filter: Some(Filter {
                from: from.into(),
                to: to.into(),
                rest: Vec::new(),
                out: Vec::new(),
                skip: inner.output_delay(),
                inner,
                taken: 0,
                given: 0,
            }),
        })
    }

    /// Appends a piece, at the other rate, to `out`, but for its last milliseconds: they come with the next.
    pub fn push(&mut self, pcm: &[f32], out: &mut Vec<f32>) {
        match &mut self.filter {
            None => out.extend_from_slice(pcm),
            Some(filter) => {
                filter.taken += pcm.len() as u64;
                filter.push(pcm, out);
            }
        }
    }

    /// Appends what is left. The sound is as long as it was. A piece that comes later begins anew.
    pub fn finish(&mut self, out: &mut Vec<f32>) {
        let Some(filter) = &mut self.filter else { return };
        let length = (filter.taken * filter.to).div_ceil(filter.from);
        while filter.given < length {
            let begin = out.len();
            let silence = vec![0.0; filter.inner.input_frames_next()];
            let before = filter.given;
            filter.push(&silence, out);
            if filter.given > length {
                out.truncate(begin + (length - before) as usize);
                filter.given = length;
            }
        }
        filter.inner.reset();
        filter.rest.clear();
        (filter.skip, filter.taken, filter.given) = (filter.inner.output_delay(), 0, 0);
    }
}

impl Filter {
    fn push(&mut self, pcm: &[f32], out: &mut Vec<f32>) {
        self.rest.extend_from_slice(pcm);
        let mut taken = 0;
        loop {
            let needed = self.inner.input_frames_next();
            let Some(chunk) = self.rest.get(taken..taken + needed) else {
                break;
            };
            self.out.resize(self.inner.output_frames_max(), 0.0);
            let length = self.out.len();
            let input = InterleavedSlice::new(chunk, 1, needed);
            let output = InterleavedSlice::new_mut(&mut self.out, 1, length);
            let (Ok(input), Ok(mut output)) = (input, output) else {
                break;
            };
            // The sizes are what it asks for, so it can't fail.
            let Ok((_, given)) = self.inner.process_into_buffer(&input, &mut output, None) else {
                break;
            };
            taken += needed;
            let skip = self.skip.min(given);
            self.skip -= skip;
            out.extend_from_slice(&self.out[skip..given]);
            self.given += (given - skip) as u64;
        }
        self.rest.drain(..taken);
    }
}
