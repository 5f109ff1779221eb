//! The bit rate and complexity of a mix: CPU is spent on mixes with many listeners, bits on mixes with few.
//!
//! Opus at 32 kbit/s sounds best with SILK and much searching, and that costs as much for one listener as for a thousand. With twice
//! the bits CELT alone sounds as well, and with three times the bits better, for a fifth of the CPU (`docs/mixing.md` has the figures).

use roomtone_audio::{Channels, Encoder, Signal};

use super::adaptation::Variant;
use crate::config::MixConfig;

/// The loss in percent that in-band FEC is made for: from 15 on libopus gives it a good part of the bits.
const FEC_LOSS_PERCENT: u8 = 20;

/// Up to this many listeners, all but one of a room of eight, bits are cheaper than the encoder's search for a shorter description; above it, the
/// search is.
const FEW: u32 = 7;

/// How a mix is encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EncoderProfile {
    pub(super) bitrate: u32,
    pub(super) complexity: u8,
    pub(super) signal: Signal,
    /// In-band FEC for this loss, percent; 0: none.
    pub(super) fec: u8,
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
            fec: 0,
        }
    }

    /// The profile of a mix for connections that lose packets or have few bits, at `bitrate` (mono). Only SILK has in-band FEC (RFC 6716
    /// §2.1.7).
    pub(super) fn reduced(config: &MixConfig, channels: Channels, bitrate: u32, most: u8) -> EncoderProfile {
        EncoderProfile {
            bitrate: MixConfig::bitrate_of(bitrate.min(config.bitrate), channels),
            complexity: config.private_complexity.min(most),
            signal: Signal::Auto,
            fec: FEC_LOSS_PERCENT,
        }
    }

    /// The profile of one of a mix's variants. `bitrate`: the lowest that its listeners need.
    pub(super) fn of_variant(
        config: &MixConfig,
        channels: Channels,
        shared: bool,
        (variant, bitrate): (Variant, Option<u32>),
        most: u8,
    ) -> EncoderProfile {
        match (variant, bitrate) {
            (Variant::Full, _) | (_, None) => EncoderProfile::of(config, channels, shared, most),
            (_, Some(bitrate)) => EncoderProfile::reduced(config, channels, bitrate, most),
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
        if encoder.config().expected_loss_percent != self.fec {
            encoder.set_expected_loss(self.fec)?;
            encoder.set_fec(self.fec > 0)?;
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
    fn a_variant_has_no_more_bits_than_everybody_and_carries_fec() {
        let config = MixConfig::default();
        let of = |variant, bitrate| EncoderProfile::of_variant(&config, Channels::Mono, true, (variant, bitrate), 10);
        assert_eq!(
            of(Variant::Full, None),
            EncoderProfile::of(&config, Channels::Mono, true, 10)
        );
        let robust = of(Variant::Robust, Some(32_000));
        assert_eq!(
            (robust.bitrate, robust.fec > 0, robust.signal),
            (32_000, true, Signal::Auto)
        );
        let few = MixConfig {
            bitrate: 20_000,
            ..config.clone()
        };
        let robust = EncoderProfile::of_variant(&few, Channels::Mono, true, (Variant::Robust, Some(24_000)), 10);
        assert_eq!(robust.bitrate, 20_000);
        // At 12 kbit/s libopus finds no room for it.
        let thin = of(Variant::Thin, Some(16_000));
        let mut encoder = Encoder::new(&roomtone_audio::EncoderConfig::default()).unwrap();
        let (mut at, mut packet) = (0, Vec::new());
        // Four syllables a second: only speech gets FEC.
        let mut fec_in = |encoder: &mut Encoder, profile: EncoderProfile| {
            profile.apply(encoder).unwrap();
            let mut found = 0;
            for _ in 0..100 {
                let frame: Vec<f32> = (at..at + roomtone_audio::FRAME_SAMPLES)
                    .map(|n| {
                        let time = n as f32 / 48_000.0;
                        let harmonic = |k: i32| (std::f32::consts::TAU * 125.0 * k as f32 * time).sin() / k as f32;
                        (std::f32::consts::PI * 4.0 * time).sin().powi(2) * 0.2 * (1..=12).map(harmonic).sum::<f32>()
                    })
                    .collect();
                at += frame.len();
                encoder.encode(&frame, &mut packet).unwrap();
                found += usize::from(roomtone_audio::packet::parse(&packet).unwrap().has_fec);
            }
            found
        };
        assert_eq!(fec_in(&mut encoder, of(Variant::Full, None)), 0);
        let found = [robust, thin].map(|profile| fec_in(&mut encoder, profile));
        assert!(found.iter().all(|found| *found > 30), "{found:?}");
        // The first frames may still be on the way from one to the other.
        fec_in(&mut encoder, of(Variant::Full, None));
        assert_eq!(fec_in(&mut encoder, of(Variant::Full, None)), 0);
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
