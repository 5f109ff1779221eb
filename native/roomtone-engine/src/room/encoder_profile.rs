//! The bit rate and complexity of a mix: CPU is spent on mixes with many listeners, bits on mixes with few.
//!
//! Opus at 32 kbit/s sounds best with SILK and much searching, and that costs as much for one listener as for a thousand. With twice
//! the bits CELT alone sounds as well, and with three times the bits better, for a fifth of the CPU (`docs/mixing.md` has the figures).

use roomtone_audio::{Channels, Encoder, Signal};

use crate::config::MixConfig;

/// Up to this many listeners, all but one of a room of eight, bits are cheaper than the encoder's search for a shorter description; above it, the
/// search is.
const FEW: u32 = 7;

/// How a mix is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EncoderProfile {
    pub(super) bitrate: u32,
    pub(super) complexity: u8,
    pub(super) signal: Signal,
}

impl EncoderProfile {
    /// The profile of a mix, shared by many listeners or not. `most` is the Opus complexity that the shard can afford.
    pub(super) fn of(config: &MixConfig, channels: Channels, shared: bool, most: u8) -> EncoderProfile {
        let (bitrate, complexity) = if shared {
            (config.bitrate, config.shared_complexity.min(most))
        } else if config.private_bitrate >= MixConfig::CELT_BITRATE {
            (config.private_bitrate, 0)
        } else {
            (config.private_bitrate, config.private_complexity.min(most))
        };
        EncoderProfile {
            bitrate: MixConfig::bitrate_of(bitrate, channels),
            complexity,
            // At complexity 0 CELT alone sounds better, too, at any bit rate that it can be had for.
            signal: if complexity == 0 { Signal::Music } else { Signal::Auto },
        }
    }

    /// Whether a mix with so many listeners counts as shared. There is hysteresis, so that a listener who comes and goes changes
    /// nothing.
    pub(super) fn is_shared(listeners: u32, was: bool) -> bool {
        listeners > FEW || (was && listeners == FEW)
    }

    /// Sets those parameters of the encoder that differ.
    pub(super) fn apply(self, encoder: &mut Encoder) -> Result<(), roomtone_audio::AudioError> {
        if encoder.config().complexity != self.complexity {
            encoder.set_complexity(self.complexity)?;
        }
        if encoder.config().signal != self.signal {
            encoder.set_signal(self.signal)?;
        }
        if encoder.config().bitrate != self.bitrate {
            encoder.set_bitrate(self.bitrate)?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(config: &MixConfig, shared: bool, most: u8) -> (u32, u8, Signal) {
        let profile = EncoderProfile::of(config, Channels::Mono, shared, most);
        (profile.bitrate, profile.complexity, profile.signal)
    }

    #[test]
    fn cpu_for_many_bits_for_few() {
        let config = MixConfig::default();
        assert_eq!(of(&config, true, 10), (32_000, 10, Signal::Auto));
        assert_eq!(of(&config, false, 10), (96_000, 0, Signal::Music));
        assert_eq!(
            EncoderProfile::of(&config, Channels::Stereo, false, 10).bitrate,
            144_000
        );
    }

    #[test]
    fn under_load_complexity_goes_and_the_bits_stay() {
        let config = MixConfig::default();
        assert_eq!(of(&config, true, 5), (32_000, 5, Signal::Auto));
        assert_eq!(of(&config, true, 0), (32_000, 0, Signal::Music));
        assert_eq!(of(&config, false, 0), (96_000, 0, Signal::Music));
    }

    #[test]
    fn few_bits_for_few_listeners_are_a_matter_of_complexity() {
        let config = MixConfig {
            private_bitrate: 32_000,
            ..MixConfig::default()
        };
        assert_eq!(of(&config, false, 10), (32_000, 5, Signal::Auto));
        assert_eq!(of(&config, false, 0), (32_000, 0, Signal::Music));
    }

    #[test]
    fn one_who_comes_and_goes_changes_nothing() {
        assert!(!EncoderProfile::is_shared(FEW, false) && EncoderProfile::is_shared(FEW + 1, false));
        assert!(EncoderProfile::is_shared(FEW, true) && !EncoderProfile::is_shared(FEW - 1, true));
    }

    #[test]
    fn the_encoder_gets_what_is_meant() {
        let config = MixConfig::default();
        let mut encoder = Encoder::new(&roomtone_audio::EncoderConfig::default()).unwrap();
        let mut packet = Vec::new();
        let mut noise = roomtone_audio::analysis::Noise::new(1, 0.3);
        let mut bytes_and_config = |encoder: &mut Encoder| {
            let mut frame = [0.0; roomtone_audio::FRAME_SAMPLES];
            // The passage takes a frame or two.
            for _ in 0..5 {
                noise.fill(&mut frame);
                encoder.encode(&frame, &mut packet).unwrap();
            }
            // RFC 6716 §3.1: configurations 16 and up are CELT alone, 12 to 15 hybrid, and those below SILK alone.
            (packet.len(), packet[0] >> 3)
        };
        for (shared, most) in [(true, 10), (false, 10), (true, 10), (true, 0), (true, 5)] {
            let profile = EncoderProfile::of(&config, Channels::Mono, shared, most);
            profile.apply(&mut encoder).unwrap();
            let (bytes, configuration) = bytes_and_config(&mut encoder);
            assert_eq!(configuration >= 16, profile.signal == Signal::Music, "{profile:?}");
            if profile.signal == Signal::Music {
                let usual = profile.bitrate as usize / 8 / 50;
                assert!(
                    (usual * 3 / 4..usual * 3 / 2).contains(&bytes),
                    "{bytes} bytes, {profile:?}"
                );
            }
        }
    }
}
