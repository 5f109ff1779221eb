//! The ears of one participant: packets, tones, and how late the bursts of the probes arrive.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::ear::CountingEar;
use roomtone_testkit::fixtures::{SAMPLE_RATE, TONES, tone_hz};
use roomtone_testkit::peer::Audio;

/// Sound that an ear keeps.
pub const EAR_MEMORY: Duration = Duration::from_secs(6);
/// Amplitude of a burst, and of what passes for one: a quarter of it within 5 ms.
pub const BURST_AMPLITUDE: f32 = 0.25;
const BURST_HEARD: f32 = BURST_AMPLITUDE / 4.0;
const BURST_BLOCK: usize = 240;
/// A burst is new when its tone has been away for so long.
const QUIET: Duration = Duration::from_millis(300);
/// Bursts come every second; what seems later than this belongs to no burst we know of.
const LATEST: Duration = Duration::from_millis(900);

/// Place, among the tones, of probe 0's; the others are below it. 4,150 Hz is within the band that Opus keeps for voice.
const PROBE_TONE: usize = 19;
/// More probes than this aren't worth their tones.
pub const MAX_PROBES: usize = 8;

/// Tone of a probe.
pub fn probe_hz(probe: usize) -> f32 {
    tone_hz(PROBE_TONE - probe % MAX_PROBES)
}

/// Tone of a talker: none of the probes'.
pub fn talker_hz(talker: usize, probes: usize) -> f32 {
    let talker = talker % (TONES - MAX_PROBES);
    tone_hz(if talker + probes > PROBE_TONE {
        talker + probes
    } else {
        talker
    })
}

/// When each probe sent the packet with the first sample of its newest burst.
pub struct BurstBoard(Vec<Mutex<Option<Instant>>>);

impl BurstBoard {
    pub fn new(probes: usize) -> BurstBoard {
        BurstBoard((0..probes).map(|_| Mutex::new(None)).collect())
    }

    pub fn begins(&self, probe: usize, at: Instant) {
        if let Some(slot) = self.0.get(probe) {
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
        }
    }

    fn newest(&self, probe: usize) -> Option<Instant> {
        *self.0.get(probe)?.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The ears of a participant, if it has any.
pub struct Hearing {
    pub(crate) sound: CountingEar,
    pub latencies: Vec<Duration>,
    /// The longest wait for the next packet of a talk spurt.
    pub longest_gap: Option<Duration>,
    last_packet: Option<Instant>,
    watches: Vec<Option<Instant>>,
    own_probe: Option<usize>,
}

impl Hearing {
    pub fn new(probes: usize, own_probe: Option<usize>) -> Hearing {
        Hearing {
            sound: CountingEar::remembering(EAR_MEMORY),
            latencies: Vec::new(),
            longest_gap: None,
            last_packet: None,
            watches: vec![None; probes],
            own_probe,
        }
    }

    /// Hears a packet that came at `at`.
    pub fn packet(&mut self, at: Instant, audio: &Audio, board: &BurstBoard) {
        // A pause comes before a marker, not a gap.
        if let Some(last) = self.last_packet.replace(at).filter(|_| !audio.marker) {
            let gap = at.saturating_duration_since(last);
            self.longest_gap = self.longest_gap.max(Some(gap));
        }
        let Some(pcm) = self.sound.hear(audio) else { return };
        for (probe, last) in self.watches.iter_mut().enumerate() {
            if self.own_probe == Some(probe) || !burst_in(pcm, probe_hz(probe)) {
                continue;
            }
            let is_new = last.is_none_or(|last| at.saturating_duration_since(last) > QUIET);
            *last = Some(at);
            let sent = board.newest(probe).filter(|_| is_new);
            self.latencies.extend(
                sent.map(|sent| at.saturating_duration_since(sent))
                    .filter(|late| *late < LATEST),
            );
        }
    }
}

fn burst_in(pcm: &[f32], hz: f32) -> bool {
    let step = std::f32::consts::TAU * hz / SAMPLE_RATE as f32;
    pcm.chunks_exact(BURST_BLOCK).any(|block| {
        let (mut cos, mut sin) = (0.0f32, 0.0f32);
        for (i, sample) in block.iter().enumerate() {
            let (s, c) = (step * i as f32).sin_cos();
            cos += sample * c;
            sin += sample * s;
        }
        2.0 * cos.hypot(sin) / block.len() as f32 > BURST_HEARD
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use roomtone_testkit::fixtures::{Burst, OpusTalker, Source, Tone};

    /// Three talkers and a probe.
    struct Babble(Vec<Tone>, Burst);

    impl Source for Babble {
        fn fill(&mut self, pcm: &mut [f32]) {
            self.1.fill(pcm);
            let mut more = vec![0.0; pcm.len()];
            for tone in &mut self.0 {
                tone.fill(&mut more);
                pcm.iter_mut().zip(&more).for_each(|(sum, sample)| *sum += sample);
            }
        }
    }

    #[test]
    fn measures_how_late_a_burst_is_heard() {
        let board = BurstBoard::new(1);
        let mut hearing = Hearing::new(1, None);
        let tones = (0..3).map(|i| Tone::new(tone_hz(i), 0.1)).collect();
        // The burst begins with packet 25, then 75, …
        let babble = Babble(tones, Burst::new(probe_hz(0), BURST_AMPLITUDE, 4_800, 48_000, 24_000));
        let mut talker = OpusTalker::new(babble, 32_000).unwrap();
        let start = Instant::now();
        for i in 0..200u16 {
            let sent = start + Duration::from_millis(20) * u32::from(i);
            if i % 50 == 25 {
                board.begins(0, sent);
            }
            let payload = talker.next().unwrap().payload;
            let timestamp = u32::from(i) * 960;
            let audio = Audio {
                seq: i,
                timestamp,
                marker: false,
                ssrc: 1,
                csrc: None,
                payload_type: 111,
                level: None,
                payload,
            };
            hearing.packet(sent + Duration::from_millis(30), &audio, &board);
        }
        assert_eq!(hearing.latencies, [Duration::from_millis(30); 4]);
        assert_eq!(hearing.longest_gap, Some(Duration::from_millis(20)));
        // The sender of the bursts doesn't listen for them.
        assert!(Hearing::new(1, Some(0)).watches.len() == 1);
    }
}
