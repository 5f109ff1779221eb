//! The ears of one participant in a bench: how late the beeps are, how regular the packets, and the sound itself where it is judged.

use std::time::{Duration, Instant};

use crate::bench::speech::beep_in;
use crate::ear::CountingEar;
use roomtone_testkit::fixtures::SAMPLE_RATE;
use roomtone_testkit::peer::Audio;

/// Sound that an ear keeps: more than the longest text that is judged.
const MEMORY: Duration = Duration::from_secs(15);
/// A sound that seems later than this belongs to no beep we know of: there is one in each pause, more than a second apart.
const LATEST: Duration = Duration::from_millis(1200);
/// A packet that is this much later than the stream's earliest would be too late for a player that allows one frame.
const LATE: f64 = 0.02;
/// Packets whose delay is kept.
const MOST_DELAYS: usize = 100_000;

/// One whose beeps are listened for.
#[derive(Clone, Debug)]
pub struct Watch {
    /// The talker who beeps, by the crowd's numbers.
    pub talker: usize,
    /// Frequency of their beep.
    pub hz: f32,
    /// The beep that was heard last, by when it was sent.
    heard: Option<Instant>,
}

impl Watch {
    pub fn new(talker: usize, hz: f32) -> Watch {
        Watch {
            talker,
            hz,
            heard: None,
        }
    }
}

/// The ears of a participant.
pub struct Listening {
    pub(crate) sound: CountingEar,
    pub latencies: Vec<Duration>,
    watches: Vec<Watch>,
    /// Of each packet: its source, and arrival less media time, in seconds.
    delays: Vec<(u32, f64)>,
    epoch: Option<Instant>,
}

impl Listening {
    pub fn new(watches: Vec<Watch>) -> Listening {
        Listening {
            sound: CountingEar::remembering(MEMORY),
            latencies: Vec::new(),
            watches,
            delays: Vec::new(),
            epoch: None,
        }
    }

    /// Begins to count anew.
    pub fn reset(&mut self) {
        self.latencies.clear();
        self.delays.clear();
        self.sound.undecodable = 0;
    }

    /// Hears a packet. `beeped` tells when a talker's newest beep was sent.
    pub fn packet(&mut self, at: Instant, audio: &Audio, beeped: impl Fn(usize) -> Option<Instant>) {
        let epoch = *self.epoch.get_or_insert(at);
        if self.delays.len() < MOST_DELAYS {
            let media = f64::from(audio.timestamp) / f64::from(SAMPLE_RATE);
            self.delays
                .push((audio.ssrc, at.saturating_duration_since(epoch).as_secs_f64() - media));
        }
        let Some(pcm) = self.sound.hear(audio) else { return };
        for watch in &mut self.watches {
            let Some(sent) = beeped(watch.talker).filter(|sent| watch.heard != Some(*sent)) else {
                continue;
            };
            let late = at.saturating_duration_since(sent);
            if at >= sent && late < LATEST && beep_in(pcm, watch.hz) {
                watch.heard = Some(sent);
                self.latencies.push(late);
            }
        }
    }

    /// Packets since the reset, and how many of them were late.
    pub fn late(&self) -> (u64, u64) {
        let mut late = 0;
        for ssrc in self.sources() {
            let delays = || self.delays.iter().filter(|delay| delay.0 == ssrc).map(|delay| delay.1);
            let earliest = delays().fold(f64::INFINITY, f64::min);
            // A timestamp that went round, or a source begun anew: nothing to measure by.
            late += delays()
                .filter(|delay| (LATE..60.0).contains(&(delay - earliest)))
                .count() as u64;
        }
        (self.delays.len() as u64, late)
    }

    fn sources(&self) -> Vec<u32> {
        let mut sources: Vec<u32> = self.delays.iter().map(|delay| delay.0).collect();
        sources.sort_unstable();
        sources.dedup();
        sources
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::speech::Speech;

    #[test]
    fn measures_how_late_beeps_and_packets_are() {
        let voice = Speech::babble().unwrap().voices.remove(0);
        let mut listening = Listening::new(vec![Watch::new(3, voice.hz)]);
        let mut talk = voice.beeping.clone();
        let start = Instant::now();
        let mut beeped = None;
        for i in 0..300u32 {
            let sent = start + Duration::from_millis(20) * i;
            if voice.beeps.contains(&talk.position()) {
                beeped = Some(sent);
            }
            let audio = Audio {
                seq: i as u16,
                timestamp: i * 960,
                marker: false,
                ssrc: 1,
                csrc: None,
                payload_type: 111,
                level: None,
                payload: talk.next().payload,
            };
            // Three of them are held up.
            let delay = if i % 100 == 50 { 70 } else { 30 };
            listening.packet(sent + Duration::from_millis(delay), &audio, |talker| {
                assert_eq!(talker, 3);
                beeped
            });
        }
        assert_eq!(listening.latencies, [Duration::from_millis(30); 2]);
        assert_eq!(listening.late(), (300, 3));
        listening.reset();
        assert_eq!(listening.late(), (0, 0));
    }
}
