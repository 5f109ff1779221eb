//! The participants of a run, and their sound.

use std::time::Instant;

use super::hearing::{BURST_AMPLITUDE, BurstBoard, probe_hz, talker_hz};
use super::{RunConfig, RunError, Sound};
use roomtone_testkit::fixtures::{Burst, Clip, FRAME_SAMPLES, TalkLoop, TalkPacket, Tone, read_wav};

/// A second of packets: every tone and every burst fits into it a whole number of times.
const LOOP_PACKETS: usize = 50;
const BURST_AT: usize = 25;
const BURST_SAMPLES: u64 = 4_800;
/// A tone's amplitude; less where so many talk that their sum would reach the limiter.
const TONE_AMPLITUDE: f32 = 0.1;

/// One participant.
pub struct Role {
    pub name: String,
    pub talk: Option<TalkLoop>,
    /// Frequency and amplitude of the tone that this one sends all the time.
    pub tone: Option<(f32, f32)>,
    pub probe: Option<usize>,
    pub ear: bool,
}

impl Role {
    /// The next packet to send; the board learns when it is a burst's first.
    pub fn next_packet(&mut self, board: &BurstBoard, now: Instant) -> Option<TalkPacket> {
        let talk = self.talk.as_mut()?;
        if let Some(probe) = self.probe
            && talk.position() == BURST_AT
        {
            board.begins(probe, now);
        }
        Some(talk.next())
    }
}

/// The participants in the order in which they join: who talks first, so that the others hear something.
pub fn cast(config: &RunConfig) -> Result<Vec<Role>, RunError> {
    let amplitude = TONE_AMPLITUDE.min(0.5 / config.talkers.max(1) as f32);
    let clip = match &config.sound {
        Sound::Tones => None,
        Sound::Wav(path) => {
            let pcm = read_wav(path)?;
            let packets = pcm.len().div_ceil(FRAME_SAMPLES);
            Some(TalkLoop::encode(Clip::new(pcm), config.bitrate, packets)?)
        }
    };
    let mut roles = Vec::with_capacity(config.peers + config.probes);
    for index in 0..config.talkers.min(config.peers) {
        let number = index + 1;
        roles.push(match &clip {
            Some(clip) => Role {
                name: format!("talker {number}"),
                talk: Some(clip.clone().starting_at(index * 137)),
                tone: None,
                probe: None,
                ear: false,
            },
            None => {
                let hz = talker_hz(index, config.probes);
                let talk = TalkLoop::encode(Tone::new(hz, amplitude), config.bitrate, LOOP_PACKETS)?;
                let name = format!("talker {number} ({hz:.0} Hz)");
                Role {
                    name,
                    talk: Some(talk),
                    tone: Some((hz, amplitude)),
                    probe: None,
                    ear: false,
                }
            }
        });
    }
    for probe in 0..config.probes {
        let delay = (BURST_AT * FRAME_SAMPLES) as u64;
        let period = (LOOP_PACKETS * FRAME_SAMPLES) as u64;
        let burst = Burst::new(probe_hz(probe), BURST_AMPLITUDE, BURST_SAMPLES, period, delay);
        roles.push(Role {
            name: format!("probe {}", probe + 1),
            talk: Some(TalkLoop::encode(burst, config.bitrate, LOOP_PACKETS)?),
            tone: None,
            probe: Some(probe),
            ear: false,
        });
    }
    for number in config.talkers.min(config.peers) + 1..=config.peers {
        roles.push(Role {
            name: format!("listener {number}"),
            talk: None,
            tone: None,
            probe: None,
            ear: false,
        });
    }
    give_ears(&mut roles, config.ears);
    Ok(roles)
}

/// Ears go to listeners, and to two talkers, who show whether they hear themselves.
fn give_ears(roles: &mut [Role], ears: usize) {
    let listeners = roles.iter().filter(|role| role.talk.is_none()).count();
    let talkers = ears.saturating_sub(listeners).max(ears.div_ceil(2).min(2));
    let mut left = (talkers, ears.saturating_sub(talkers));
    for role in roles.iter_mut().filter(|role| role.probe.is_none()) {
        let left = if role.talk.is_some() { &mut left.0 } else { &mut left.1 };
        role.ear = *left > 0;
        *left = left.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(config: RunConfig) -> Vec<(String, bool)> {
        cast(&config)
            .unwrap()
            .into_iter()
            .map(|role| (role.name, role.ear))
            .collect()
    }

    #[test]
    fn talkers_come_first_and_ears_are_shared_out() {
        let config = RunConfig {
            peers: 6,
            talkers: 3,
            probes: 1,
            ears: 4,
            ..RunConfig::default()
        };
        let cast = names(config.clone());
        assert_eq!(cast[0], ("talker 1 (350 Hz)".to_owned(), true));
        assert_eq!(cast[3], ("probe 1".to_owned(), false));
        assert_eq!(cast[4], ("listener 4".to_owned(), true));
        assert_eq!(cast.len(), 7);
        assert_eq!(cast.iter().filter(|(_, ear)| *ear).count(), 4);
        let all_talk = names(RunConfig {
            peers: 5,
            talkers: 5,
            ..config
        });
        assert_eq!(all_talk.iter().filter(|(_, ear)| *ear).count(), 4);
    }
}
