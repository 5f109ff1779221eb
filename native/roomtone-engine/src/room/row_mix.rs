//! One mix of a tick: a row's talkers are added up, each at their gain, then limited and encoded.

use roomtone_audio::{AudioError, Channels, FRAME_SAMPLES, Frame, mix};

use super::feed::{Beginning, PassScratch};
use super::mix_encoder::{Encoded, MixEncoder};
use super::shared_mixes::SharedMix;
use crate::command::PeerId;
use crate::stats::ShardStats;

/// Mixes one row. Whether it is silent: nobody is in it.
pub(super) fn mix_row(
    shared: &SharedMix,
    talkers: &[PeerId],
    frames: &[Frame],
    pass: &PassScratch,
    mix: &mut Vec<f32>,
) -> bool {
    let channels = shared.encoder.channels();
    mix.clear();
    mix.resize(FRAME_SAMPLES * channels.count(), 0.0);
    let mut silent = true;
    for (index, talker) in talkers.iter().enumerate() {
        let (before, now) = shared.ramp(index, *talker);
        let (from, to) = (before.gain, now.gain);
        if from == 0.0 && to == 0.0 {
            continue;
        }
        silent = false;
        let mut frame = &frames[index];
        let mut bridged;
        if let Some(Beginning::After(left, seam)) = shared.beginning
            && left == *talker
            && let Some(past) = pass.past(*talker)
        {
            bridged = *frame;
            seam.bridge(past, &mut bridged);
            frame = &bridged;
        }
        if channels == Channels::Stereo {
            let (from, to) = shared.panned_ramp(index, *talker);
            if from == to {
                mix::add_panned(mix, frame, to);
            } else {
                mix::add_panned_ramped(mix, frame, from, to);
            }
            continue;
        }
        if from != to {
            mix::add_ramped(mix, frame, from, to);
        } else if to == 1.0 {
            mix::add(mix, frame);
        } else {
            mix::add_scaled(mix, frame, to);
        }
    }
    silent
}

/// Encodes one mix, and counts it. The packet and its level, or nothing to send.
pub(super) fn encode<'a>(
    encoder: &mut MixEncoder,
    frame: &mut [f32],
    silent: bool,
    packet: &'a mut Vec<u8>,
    stats: &mut ShardStats,
) -> Result<Option<(&'a [u8], u8)>, AudioError> {
    match encoder.encode(frame, silent, packet)? {
        Encoded::Nothing => Ok(None),
        Encoded::Packet(level) => {
            stats.frames_encoded += 1;
            Ok(Some((packet.as_slice(), level)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::MixConfig;
    use crate::room::adaptation::Step;
    use crate::room::gains::Gains;
    use crate::room::shared_mixes::SharedMixes;
    use roomtone_audio::analysis::{Tone, tone_dbfs};

    fn heard_by(listener: PeerId, talkers: &[PeerId], frames: &[Frame]) -> (Vec<f32>, bool) {
        let (mut mixes, mut row, mut mix) = (SharedMixes::default(), Vec::new(), Vec::new());
        Gains::default().row(listener, Channels::Mono, talkers.iter().copied(), &mut row);
        let config = MixConfig::default();
        mixes.place(None, Channels::Mono, &row, Step::Full, &config).unwrap();
        let shared = mixes.active().next().unwrap().1;
        let silent = mix_row(shared, talkers, frames, &PassScratch::default(), &mut mix);
        (mix, silent)
    }

    // Before the encoder: whatever the others say, one's own voice is at least 60 dB down in one's own mix.
    #[test]
    fn nothing_of_oneself_is_in_ones_own_mix() {
        let hz = |i: usize| 300.0 + 100.0 * i as f64;
        let frames: Vec<Frame> = (0..20).map(|i| Tone::new(hz(i), 0.05).frame()).collect();
        let talkers: Vec<PeerId> = (0..20).collect();
        for me in 0..20 {
            let (mix, silent) = heard_by(me as PeerId, &talkers, &frames);
            assert!(!silent);
            for (other, frame) in frames.iter().enumerate() {
                let heard = tone_dbfs(&mix, hz(other)) - tone_dbfs(frame, hz(other));
                if other == me {
                    assert!(heard < -60.0, "{me} hears themselves at {heard} dB");
                } else {
                    assert!(heard.abs() < 0.1, "{me} hears {other} at {heard} dB");
                }
            }
        }
    }

    #[test]
    fn alone_is_silent_to_the_last_bit() {
        let (mix, silent) = heard_by(1, &[1], &[Tone::new(440.0, 0.9).frame()]);
        assert!(silent && mix.iter().all(|sample| *sample == 0.0));
    }
}
