//! The sound that a participant hears.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use roomtone_testkit::fixtures::SAMPLE_RATE;
use roomtone_testkit::listen::{dbfs, goertzel_amplitude};
use roomtone_testkit::opus::Decoder;
use roomtone_testkit::peer::Audio;

/// How much is remembered, samples.
const MEMORY: usize = 10 * SAMPLE_RATE as usize;
/// The length of a packet: sound doesn't stop before the next one is due.
const PACKET: Duration = Duration::from_millis(20);
/// A tone is measured over this long, samples: 100 ms, in which whole periods of all tones fit.
const PIECE: usize = 4_800;
/// Between two places where a tone is measured: 20 ms.
const STEP: usize = 960;
/// A recording is looked for this far back in what was said, samples: 400 ms of jitter buffer and codecs.
const LONGEST_DELAY: usize = 19_200;
/// Of a recording, only every eighth sample counts in the first search: 6 kHz are enough for voices.
const COARSE: usize = 8;
/// Two sounds are the same if they correlate as well as this: other voices reach 0.3.
const SAME: f64 = 0.4;
/// Nothing.
pub(crate) const NOTHING_DB: f32 = -120.0;

struct Stream {
    decoder: Decoder,
    pcm: VecDeque<f32>,
    newest: Option<(u16, u32)>,
    arrived: Instant,
}

/// Decodes what comes, one decoder a source, and remembers it.
#[derive(Default)]
pub(crate) struct Ear {
    streams: HashMap<u32, Stream>,
    /// In a room that forwards: the gains at which a page plays talkers, by contributing source.
    gains: HashMap<u32, f32>,
    rest: Option<f32>,
}

impl Ear {
    /// Takes over at which gains talkers are to be played, and the gain of everybody else.
    pub(crate) fn set_gains(&mut self, gains: impl IntoIterator<Item = (u32, f32)>, rest: f32) {
        self.gains = gains.into_iter().collect();
        self.rest = Some(rest);
    }

    pub(crate) fn hear(&mut self, now: Instant, packet: &Audio) -> Result<(), String> {
        let gain = match packet.csrc {
            Some(source) => self.gains.get(&source).copied().or(self.rest).unwrap_or(1.0),
            None => 1.0,
        };
        let stream = match self.streams.entry(packet.ssrc) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => new.insert(Stream {
                decoder: Decoder::new()?,
                pcm: VecDeque::new(),
                newest: None,
                arrived: now,
            }),
        };
        stream.hear(now, packet, gain)
    }

    /// The last seconds of all sources together, until now.
    pub(crate) fn heard(&self, now: Instant, seconds: f32) -> Vec<f32> {
        let length = (seconds * SAMPLE_RATE as f32) as usize;
        let mut sum = vec![0.0; length];
        for stream in self.streams.values() {
            let silent = (now - stream.arrived).saturating_sub(PACKET);
            let end = length.saturating_sub((silent.as_secs_f64() * f64::from(SAMPLE_RATE)) as usize);
            let part = end.min(stream.pcm.len());
            let samples = stream.pcm.iter().skip(stream.pcm.len() - part);
            sum[end - part..end]
                .iter_mut()
                .zip(samples)
                .for_each(|(sum, sample)| *sum += sample);
        }
        sum
    }
}

impl Stream {
    fn hear(&mut self, now: Instant, packet: &Audio, gain: f32) -> Result<(), String> {
        if let Some((seq, expected)) = self.newest {
            if packet.seq.wrapping_sub(seq) as i16 <= 0 {
                return Ok(());
            }
            let pause = packet.timestamp.wrapping_sub(expected) as usize;
            if pause <= MEMORY {
                self.pcm.extend(std::iter::repeat_n(0.0, pause));
            }
        }
        let pcm = self.decoder.decode(&packet.payload)?;
        self.pcm.extend(pcm.iter().map(|sample| sample * gain));
        self.newest = Some((packet.seq, packet.timestamp.wrapping_add(pcm.len() as u32)));
        self.arrived = now;
        let forget = self.pcm.len().saturating_sub(MEMORY);
        self.pcm.drain(..forget);
        Ok(())
    }
}

/// The level of a tone where it is loudest, dBFS.
pub(crate) fn tone_dbfs(pcm: &[f32], hz: f32) -> f32 {
    let loudest = pcm
        .windows(PIECE)
        .step_by(STEP)
        .map(|piece| goertzel_amplitude(piece, hz))
        .fold(0.0, f32::max);
    dbfs(loudest)
}

/// How loud a recording is in what was heard, relative to how it was said, dB; [`NOTHING_DB`] if it isn't in it. `said` ends when
/// `heard` does, and is longer by the longest delay.
pub(crate) fn clip_db(heard: &[f32], said: &[f32]) -> f32 {
    let delays = said.len().saturating_sub(heard.len()).min(LONGEST_DELAY);
    let at = |delay: usize| &said[said.len() - heard.len() - delay..][..heard.len()];
    if said.len() < heard.len() {
        return NOTHING_DB;
    }
    let coarse = (0..=delays).step_by(COARSE / 2).max_by(|a, b| {
        let (a, b) = (likeness(heard, at(*a), COARSE), likeness(heard, at(*b), COARSE));
        a.0.total_cmp(&b.0)
    });
    let coarse = coarse.unwrap_or(0);
    let best = (coarse.saturating_sub(COARSE)..=(coarse + COARSE).min(delays))
        .map(|delay| likeness(heard, at(delay), 1))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match best {
        Some((correlation, gain)) if correlation >= SAME => dbfs(gain as f32),
        _ => NOTHING_DB,
    }
}

// The correlation of two sounds, and the gain at which the second is in the first.
fn likeness(heard: &[f32], said: &[f32], step: usize) -> (f64, f64) {
    let (mut both, mut of_heard, mut of_said) = (0.0, 0.0, 0.0);
    for (heard, said) in heard.iter().zip(said).step_by(step) {
        let (heard, said) = (f64::from(*heard), f64::from(*said));
        both += heard * said;
        of_heard += heard * heard;
        of_said += said * said;
    }
    if of_heard == 0.0 || of_said == 0.0 {
        return (0.0, 0.0);
    }
    (both / (of_heard * of_said).sqrt(), both / of_said)
}
