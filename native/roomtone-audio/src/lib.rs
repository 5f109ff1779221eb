//! The sound of Roomtone: Opus encoding and decoding, a jitter buffer for each talker, levels,
//! mixing, limiting, and the measurements that tests of all crates use.
//!
//! Everything inside is 48 kHz `f32` with full scale at ±1.0, in frames of 20 ms. The crate is
//! sans-IO: it opens nothing, starts nothing and reads no clock; `now` is an argument. No packet
//! content makes it panic, and memory is bounded. The steady state allocates nothing: buffers are
//! reused.
//!
//! ```
//! use roomtone_audio::{Decoder, Encoder, EncoderConfig, analysis::Tone, level};
//!
//! let mut encoder = Encoder::new(&EncoderConfig::default())?;
//! let mut decoder = Decoder::new()?;
//! let (mut tone, mut packet, mut sound) = (Tone::new(440.0, 0.1), Vec::new(), Vec::new());
//! for _ in 0..10 {
//!     encoder.encode(&tone.frame(), &mut packet)?;
//!     sound.clear();
//!     decoder.decode(&packet, &mut sound)?;
//! }
//! assert_eq!(level(&sound).dbov_minus, 23);
//! # Ok::<(), roomtone_audio::AudioError>(())
//! ```

pub mod analysis;
mod auto_gain;
mod codec;
mod error;
mod level;
mod limiter;
pub mod mix;
mod noise_gauge;
mod noise_suppressor;
mod playout;
mod speech_level;
mod voice_detector;

pub use audiopus::Application;
pub use auto_gain::{AutoGain, FrameLevel};
pub use codec::{
    Channels, Decoder, Encoder, EncoderConfig, LOOKAHEAD_SAMPLES, MAX_PACKET_BYTES, Packed, Signal, packet,
};
pub use error::AudioError;
pub use level::{AudioLevel, level};
pub use limiter::Limiter;
pub use noise_gauge::NoiseGauge;
pub use noise_suppressor::NoiseSuppressor;
pub use playout::{Crossing, FrameKind, InsertOutcome, Past, Playout, PlayoutConfig, PlayoutStats, RtpMeta, Seam};
pub use voice_detector::VoiceDetector;

/// Samples per second, everywhere.
pub const SAMPLE_RATE: u32 = 48_000;
/// Samples per channel of one frame.
pub const FRAME_SAMPLES: usize = 960;
/// Duration of one frame: one tick.
pub const FRAME_DURATION: std::time::Duration = std::time::Duration::from_millis(20);
/// 20 ms of mono sound; full scale is ±1.0.
pub type Frame = [f32; FRAME_SAMPLES];
