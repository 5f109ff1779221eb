//! Ears: decode what comes, one decoder a source, and measure the tones in it.

use std::fmt;
use std::time::Duration;

use crate::fixtures::SAMPLE_RATE;
use crate::opus::Decoder;
use crate::peer::Audio;

/// Memory of each source, unless an ear is told otherwise.
const DEFAULT_MEMORY: Duration = Duration::from_secs(60);
/// The longest pause of a source that is kept as silence; a longer jump of timestamps is another stream.
const LONGEST_PAUSE: u32 = 2 * SAMPLE_RATE;
/// The lowest level reported, also for digital silence.
const FLOOR_DBFS: f32 = -120.0;

/// Why a packet couldn't be heard.
#[derive(Debug, thiserror::Error)]
#[error("cannot decode packet {seq} of source {ssrc:#010x}: {why}")]
pub struct ListenError {
    /// Source of the packet.
    pub ssrc: u32,
    /// Its sequence number.
    pub seq: u16,
    /// The codec's error.
    pub why: String,
}

/// Decodes a listener's packets and remembers the sound.
pub struct Ear {
    memory: usize,
    sources: Vec<Source>,
}

struct Source {
    ssrc: u32,
    decoder: Decoder,
    pcm: Vec<f32>,
    newest: Option<(u16, u32)>,
    new_from: usize,
}

impl Default for Ear {
    fn default() -> Self {
        Ear::new()
    }
}

impl Ear {
    /// An ear that remembers the last minute.
    pub fn new() -> Ear {
        Ear::remembering(DEFAULT_MEMORY)
    }

    /// An ear that remembers this long.
    pub fn remembering(memory: Duration) -> Ear {
        Ear {
            memory: (memory.as_secs_f64() * f64::from(SAMPLE_RATE)) as usize,
            sources: Vec::new(),
        }
    }

    /// Decodes one packet, in the order of arrival, and returns its sound. A gap before it (lost packets, DTX)
    /// is silence in the ear's memory, and isn't concealed. Late and repeated packets are not heard.
    pub fn hear(&mut self, packet: &Audio) -> Result<&[f32], ListenError> {
        let failed = |why: String| ListenError {
            ssrc: packet.ssrc,
            seq: packet.seq,
            why,
        };
        let index = match self.sources.iter().position(|source| source.ssrc == packet.ssrc) {
            Some(index) => index,
            None => {
                let decoder = Decoder::new().map_err(failed)?;
                let (ssrc, newest) = (packet.ssrc, None);
                self.sources.push(Source {
                    ssrc,
                    decoder,
                    pcm: Vec::new(),
                    newest,
                    new_from: 0,
                });
                self.sources.len() - 1
            }
        };
        let source = &mut self.sources[index];
        if let Some((seq, expected)) = source.newest {
            if packet.seq.wrapping_sub(seq) as i16 <= 0 {
                return Ok(&[]);
            }
            let pause = packet.timestamp.wrapping_sub(expected);
            if pause <= LONGEST_PAUSE {
                source.pcm.resize(source.pcm.len() + pause as usize, 0.0);
            }
        }
        let pcm = source.decoder.decode(&packet.payload).map_err(failed)?;
        source.newest = Some((packet.seq, packet.timestamp.wrapping_add(pcm.len() as u32)));
        // Forgetting moves what is remembered: do it seldom.
        if source.pcm.len() > 2 * self.memory {
            let forget = source.pcm.len() - self.memory;
            source.pcm.drain(..forget);
        }
        source.new_from = source.pcm.len();
        source.pcm.extend_from_slice(pcm);
        Ok(&source.pcm[source.new_from..])
    }

    /// The sources heard so far.
    pub fn sources(&self) -> impl Iterator<Item = u32> + '_ {
        self.sources.iter().map(|source| source.ssrc)
    }

    /// All that is remembered of a source.
    pub fn pcm(&self, ssrc: u32) -> &[f32] {
        self.sources
            .iter()
            .find(|source| source.ssrc == ssrc)
            .map_or(&[], |source| &source.pcm)
    }

    /// The last seconds of all sources together, aligned at their ends; shorter where less has been heard.
    pub fn recent(&self, seconds: f32) -> Vec<f32> {
        let wanted = (f64::from(seconds) * f64::from(SAMPLE_RATE)) as usize;
        let length = self
            .sources
            .iter()
            .map(|source| source.pcm.len().min(wanted))
            .max()
            .unwrap_or(0);
        let mut sum = vec![0.0; length];
        for source in &self.sources {
            let part = &source.pcm[source.pcm.len().saturating_sub(wanted)..];
            let start = length - part.len();
            sum[start..]
                .iter_mut()
                .zip(part)
                .for_each(|(sum, sample)| *sum += sample);
        }
        sum
    }

    /// Level of a tone in the last seconds: 0 dBFS is a sine of full scale, −120 is nothing. The time that counts is
    /// that of the packets: where none come any more, [`clear`](Self::clear) first.
    pub fn tone_dbfs(&self, hz: f32, seconds: f32) -> f32 {
        dbfs(goertzel_amplitude(&self.recent(seconds), hz))
    }

    /// Forgets the sound, but not the state of the decoders.
    pub fn clear(&mut self) {
        for source in &mut self.sources {
            source.pcm.clear();
            source.new_from = 0;
        }
    }
}

/// Amplitude of the sine at `hz` (Goertzel's filter under a Hann window); 1.0 is full scale.
pub fn goertzel_amplitude(pcm: &[f32], hz: f32) -> f32 {
    if pcm.is_empty() {
        return 0.0;
    }
    let length = pcm.len() as f64;
    let step = std::f64::consts::TAU * f64::from(hz) / f64::from(SAMPLE_RATE);
    let coefficient = 2.0 * step.cos();
    let (mut before, mut last) = (0.0f64, 0.0f64);
    for (index, sample) in pcm.iter().enumerate() {
        let window = 0.5 - 0.5 * (std::f64::consts::TAU * (index as f64 + 0.5) / length).cos();
        let next = f64::from(*sample) * window + coefficient * last - before;
        before = last;
        last = next;
    }
    let power = last * last + before * before - coefficient * last * before;
    // The window's mean is a half; a sine's energy is split between ±hz.
    (power.max(0.0).sqrt() * 4.0 / length) as f32
}

/// Amplitude in dB; nothing is −120.
pub fn dbfs(amplitude: f32) -> f32 {
    if amplitude > 0.0 {
        (20.0 * amplitude.log10()).max(FLOOR_DBFS)
    } else {
        FLOOR_DBFS
    }
}

/// The level of each talker's tone at each listener.
#[derive(Clone, Debug, PartialEq)]
pub struct LevelMatrix {
    listeners: Vec<String>,
    tones: Vec<String>,
    dbfs: Vec<f32>,
}

impl LevelMatrix {
    /// Measures every tone at every ear, over the last seconds.
    pub fn measure<L: ToString, T: ToString>(ears: &[(L, &Ear)], tones: &[(T, f32)], seconds: f32) -> LevelMatrix {
        let mut matrix = LevelMatrix {
            listeners: ears.iter().map(|(name, _)| name.to_string()).collect(),
            tones: tones.iter().map(|(name, _)| name.to_string()).collect(),
            dbfs: Vec::with_capacity(ears.len() * tones.len()),
        };
        for (_, ear) in ears {
            let pcm = ear.recent(seconds);
            matrix
                .dbfs
                .extend(tones.iter().map(|(_, hz)| dbfs(goertzel_amplitude(&pcm, *hz))));
        }
        matrix
    }

    /// Level of the tone at the listener, by their places; −120 where there is no such place.
    pub fn get(&self, listener: usize, tone: usize) -> f32 {
        if tone >= self.tones.len() {
            return FLOOR_DBFS;
        }
        self.dbfs
            .get(listener * self.tones.len() + tone)
            .copied()
            .unwrap_or(FLOOR_DBFS)
    }

    /// Names of the listeners, one a row.
    pub fn listeners(&self) -> &[String] {
        &self.listeners
    }

    /// Names of the tones, one a column.
    pub fn tones(&self) -> &[String] {
        &self.tones
    }
}

impl fmt::Display for LevelMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = self
            .listeners
            .iter()
            .map(String::len)
            .max()
            .unwrap_or(0)
            .max("dBFS".len());
        write!(f, "{:first$}", "dBFS")?;
        let width = self.tones.iter().map(String::len).max().unwrap_or(0).max(6);
        for tone in &self.tones {
            write!(f, "  {tone:>width$}")?;
        }
        for (row, listener) in self.listeners.iter().enumerate() {
            write!(f, "\n{listener:first$}")?;
            for column in 0..self.tones.len() {
                write!(f, "  {:>width$.1}", self.get(row, column))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{OpusTalker, Source as _, Tone, tone_hz};

    fn packet(seq: u16, timestamp: u32, payload: bytes::Bytes) -> Audio {
        Audio {
            seq,
            timestamp,
            marker: false,
            ssrc: 1,
            csrc: None,
            payload_type: 111,
            level: None,
            payload,
        }
    }

    #[test]
    fn goertzel_measures_amplitudes_and_nothing_else() {
        let mut pcm = vec![0.0; 48_000];
        Tone::new(tone_hz(2), 0.25).fill(&mut pcm);
        assert!((goertzel_amplitude(&pcm, tone_hz(2)) - 0.25).abs() < 1e-4);
        assert!(dbfs(goertzel_amplitude(&pcm, tone_hz(3))) < -80.0);
        assert_eq!(dbfs(goertzel_amplitude(&[], 1000.0)), -120.0);
        assert_eq!(dbfs(goertzel_amplitude(&[0.0; 960], 1000.0)), -120.0);
    }

    #[test]
    fn hears_tones_through_opus() {
        let mut ear = Ear::new();
        let mut talker = OpusTalker::new(Tone::new(tone_hz(1), 0.1), 32_000).unwrap();
        for i in 0..100u16 {
            // Across the wrap-around of both counters.
            let payload = talker.next().unwrap().payload;
            let heard = ear.hear(&packet(
                i.wrapping_sub(50),
                (960 * u32::from(i)).wrapping_sub(48_000),
                payload,
            ));
            assert_eq!(heard.unwrap().len(), 960);
        }
        assert!(
            (ear.tone_dbfs(tone_hz(1), 1.0) + 20.0).abs() < 1.0,
            "{}",
            ear.tone_dbfs(tone_hz(1), 1.0)
        );
        assert!(
            ear.tone_dbfs(tone_hz(5), 1.0) < -55.0,
            "{}",
            ear.tone_dbfs(tone_hz(5), 1.0)
        );
        let matrix = LevelMatrix::measure(&[("ear", &ear)], &[("350", tone_hz(0)), ("550", tone_hz(1))], 1.0);
        assert!((matrix.get(0, 1) + 20.0).abs() < 1.0);
        assert_eq!(matrix.get(1, 1), -120.0);
        assert!(matrix.to_string().contains("ear "), "{matrix}");
        ear.clear();
        assert_eq!(ear.tone_dbfs(tone_hz(1), 1.0), -120.0);
    }

    #[test]
    fn pauses_are_silence_and_repetitions_are_not_heard() {
        let mut ear = Ear::new();
        let mut talker = OpusTalker::new(Tone::new(tone_hz(1), 0.1), 32_000).unwrap();
        let first = talker.next().unwrap().payload;
        ear.hear(&packet(0, 0, first.clone())).unwrap();
        assert!(ear.hear(&packet(0, 0, first.clone())).unwrap().is_empty());
        ear.hear(&packet(1, 9_600, first.clone())).unwrap();
        assert_eq!(ear.pcm(1).len(), 9_600 + 960);
        assert!(ear.pcm(1)[960..9_600].iter().all(|s| *s == 0.0));
        // A jump of an hour is no pause.
        ear.hear(&packet(2, 172_800_000, first)).unwrap();
        assert_eq!(ear.pcm(1).len(), 9_600 + 960 + 960);
    }

    #[test]
    fn forgets() {
        let mut ear = Ear::remembering(Duration::from_millis(100));
        let mut talker = OpusTalker::new(Tone::new(tone_hz(1), 0.1), 32_000).unwrap();
        for i in 0..50u16 {
            ear.hear(&packet(i, 960 * u32::from(i), talker.next().unwrap().payload))
                .unwrap();
            assert!(ear.pcm(1).len() <= 2 * 4_800 + 960);
        }
    }

    #[test]
    fn garbage_is_an_error() {
        let mut ear = Ear::new();
        assert!(ear.hear(&packet(0, 0, bytes::Bytes::new())).is_err());
        for seed in 0..200u16 {
            let bytes: Vec<u8> = (0..seed)
                .map(|i| (i.wrapping_mul(31) ^ seed.wrapping_mul(7)) as u8)
                .collect();
            let _ = ear.hear(&packet(seed + 1, 0, bytes.into()));
        }
    }
}
