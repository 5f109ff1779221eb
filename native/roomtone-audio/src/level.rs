//! The level of a frame: RFC 6464.

/// The level of a frame, as the header extension of RFC 6464 carries it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AudioLevel {
    /// Level in −dBov: 0 is the loudest possible (a square wave of full scale), 127 is silence.
    pub dbov_minus: u8,
    /// Whether the sender classifies it as voice (the "V" bit).
    pub voice: bool,
}

impl AudioLevel {
    /// Digital silence.
    pub const SILENCE: Self = Self {
        dbov_minus: 127,
        voice: false,
    };

    /// The louder of the two; voice if either is.
    #[must_use]
    pub fn louder(self, other: Self) -> Self {
        Self {
            dbov_minus: self.dbov_minus.min(other.dbov_minus),
            voice: self.voice || other.voice,
        }
    }
}

/// A frame at least this loud counts as voice if nothing better is known, in −dBov.
const VOICE_DBOV_MINUS: u8 = 50;

/// Measures a block (any length, full scale ±1.0): the RMS in −dBov, rounded and clamped to 0..=127
/// (RFC 6464 §3). `voice` is a plain threshold at −50 dBov.
pub fn level(pcm: &[f32]) -> AudioLevel {
    if pcm.is_empty() {
        return AudioLevel::SILENCE;
    }
    let mean_square = sum_of_squares(pcm) / pcm.len() as f32;
    // NaN counts as silence; infinity is clamped to 0.
    if mean_square.is_nan() || mean_square < 2e-13 {
        return AudioLevel::SILENCE;
    }
    let dbov_minus = (-10.0 * mean_square.log10()).round().clamp(0.0, 127.0) as u8;
    AudioLevel {
        dbov_minus,
        voice: dbov_minus <= VOICE_DBOV_MINUS,
    }
}

/// Eight lanes let the compiler use SIMD: otherwise it may not reorder float additions.
pub(crate) fn sum_of_squares(pcm: &[f32]) -> f32 {
    let (chunks, tail) = pcm.as_chunks::<8>();
    let mut lanes = [0f32; 8];
    for chunk in chunks {
        for (lane, sample) in lanes.iter_mut().zip(chunk) {
            *lane += sample * sample;
        }
    }
    lanes.iter().sum::<f32>() + tail.iter().map(|s| s * s).sum::<f32>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reference_points() {
        assert_eq!(
            level(&[1.0, -1.0, 1.0, -1.0]).dbov_minus,
            0,
            "a full-scale square wave is the reference"
        );
        assert_eq!(level(&[0.0; 960]), AudioLevel::SILENCE);
        assert_eq!(level(&[]), AudioLevel::SILENCE);
        assert_eq!(
            level(&[0.1; 961]),
            AudioLevel {
                dbov_minus: 20,
                voice: true
            }
        );
        assert_eq!(
            level(&[0.001; 33]),
            AudioLevel {
                dbov_minus: 60,
                voice: false
            }
        );
        assert_eq!(level(&[1e-9; 960]), AudioLevel::SILENCE);
        assert_eq!(level(&[50.0; 960]).dbov_minus, 0);
        assert_eq!(level(&[f32::NAN; 960]), AudioLevel::SILENCE);
    }

    #[test]
    fn a_full_scale_sine_is_three_db_down() {
        let mut frame = [0.0; 960];
        crate::analysis::Tone::new(1000.0, 1.0).fill(&mut frame);
        assert_eq!(level(&frame).dbov_minus, 3);
    }
}
