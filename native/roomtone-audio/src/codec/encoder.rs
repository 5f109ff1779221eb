//! The sending side of the codec.

use super::{Channels, state::EncoderState};
use crate::AudioError;
use audiopus::{Application, ffi};

/// The longest packet that the encoder writes, in bytes: the largest Opus frame (RFC 6716 §3.2.1: 1275) and its TOC byte.
pub const MAX_PACKET_BYTES: usize = 1276;

/// The kind of sound that an encoder expects, for its choice between the two codecs of Opus (RFC
/// 6716 §2).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Signal {
    /// libopus decides, by application, bit rate and, from complexity 7 on, by analysing the sound:
    /// at speech rates SILK, with CELT above 8 kHz.
    #[default]
    Auto,
    /// CELT alone below complexity 7 and above 22 kbit/s: a fifth of the CPU or less, and more bits
    /// for the same quality. The setting may change at any time; the encoder switches between the
    /// codecs without a gap (RFC 6716 §4.5).
    Music,
}

/// The settings of an encoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncoderConfig {
    /// Bits per second, 500 to 512,000.
    pub bitrate: u32,
    /// CPU spent for quality, 0 to 10.
    pub complexity: u8,
    /// The use: [`Application::Voip`] keeps SILK or hybrid at speech rates, [`Application::Audio`]
    /// prefers CELT.
    pub application: Application,
    /// Carry a low-rate copy of each frame in the next packet (in-band FEC, RFC 6716 §2.1.7).
    pub fec: bool,
    /// Packet loss that the far side reports, 0 to 100 %; it decides how much goes to robustness
    /// and FEC.
    pub expected_loss_percent: u8,
    /// Channels of the input.
    pub channels: Channels,
    /// The codec to prefer.
    pub signal: Signal,
}

impl Default for EncoderConfig {
    /// The shared mix: VOIP, 32 kbit/s, complexity 10, mono, no FEC.
    fn default() -> Self {
        Self {
            bitrate: 32_000,
            complexity: 10,
            application: Application::Voip,
            fec: false,
            expected_loss_percent: 0,
            channels: Channels::Mono,
            signal: Signal::Auto,
        }
    }
}

/// `OPUS_SET_FORCE_MODE` and its values, from libopus' private header (`opus_private.h`). libopus
/// is built with this project, so the version is fixed.
const FORCE_MODE: i32 = 11_002;
const SILK_ONLY: i32 = 1000;
const HYBRID: i32 = 1001;
const CELT_ONLY: i32 = 1002;

/// The delay in samples from the input of an encoder for [`Application::Voip`] or
/// [`Application::Audio`] to a decoder's output: their [`Encoder::lookahead`].
pub const LOOKAHEAD_SAMPLES: usize = 312;

/// An Opus encoder at 48 kHz.
///
/// A clone is a twin: given the same sound it writes the same packets, byte for byte, so a listener
/// can move from one to the other and its decoder doesn't notice. [`Clone::clone_from`] copies into
/// the memory of an unused encoder and allocates nothing.
#[derive(Debug)]
pub struct Encoder {
    state: EncoderState,
    config: EncoderConfig,
}

impl Clone for Encoder {
    fn clone(&self) -> Self {
        Self {
            state: self.state.clone(),
            config: self.config.clone(),
        }
    }

    fn clone_from(&mut self, source: &Self) {
        self.state.clone_from(&source.state);
        self.config.clone_from(&source.config);
    }
}

impl Encoder {
    /// Makes an encoder.
    ///
    /// # Errors
    /// A setting that libopus refuses.
    pub fn new(config: &EncoderConfig) -> Result<Self, AudioError> {
        let mut encoder = Self {
            state: EncoderState::new(config.channels, config.application)?,
            config: config.clone(),
        };
        encoder.set_bitrate(config.bitrate)?;
        encoder.set_complexity(config.complexity)?;
        encoder.set_expected_loss(config.expected_loss_percent)?;
        encoder.set_fec(config.fec)?;
        encoder.set_signal(config.signal)?;
        Ok(encoder)
    }

    /// The settings in force.
    pub fn config(&self) -> &EncoderConfig {
        &self.config
    }

    /// Encodes one frame of 2.5, 5, 10, 20, 40 or 60 ms, interleaved if stereo, into `out`. Clears
    /// `out` first and reuses its memory.
    ///
    /// # Errors
    /// A length that isn't an Opus frame, or a failure of libopus; `out` is then empty.
    pub fn encode(&mut self, pcm: &[f32], out: &mut Vec<u8>) -> Result<(), AudioError> {
        out.resize(MAX_PACKET_BYTES, 0);
        let result = self.state.encode(pcm, out);
        out.truncate(result.as_ref().map_or(0, |&bytes| bytes));
        result.map(drop)
    }

    /// Sets the bits per second, from the next frame on.
    ///
    /// # Errors
    /// Outside of 500 to 512,000.
    pub fn set_bitrate(&mut self, bitrate: u32) -> Result<(), AudioError> {
        if !(500..=512_000).contains(&bitrate) {
            return Err(AudioError::Config("bitrate: 500 to 512000 bits per second"));
        }
        self.state
            .set("set the bitrate", ffi::OPUS_SET_BITRATE_REQUEST, bitrate as i32)?;
        self.config.bitrate = bitrate;
        Ok(())
    }

    /// Sets the complexity, from the next frame on.
    ///
    /// # Errors
    /// Above 10.
    pub fn set_complexity(&mut self, complexity: u8) -> Result<(), AudioError> {
        if complexity > 10 {
            return Err(AudioError::Config("complexity: 0 to 10"));
        }
        self.state.set(
            "set the complexity",
            ffi::OPUS_SET_COMPLEXITY_REQUEST,
            i32::from(complexity),
        )?;
        self.config.complexity = complexity;
        Ok(())
    }

    /// Sets the kind of sound to expect, from the next frame on.
    ///
    /// # Errors
    /// libopus refused.
    pub fn set_signal(&mut self, signal: Signal) -> Result<(), AudioError> {
        let value = match signal {
            Signal::Auto => ffi::OPUS_AUTO,
            Signal::Music => ffi::OPUS_SIGNAL_MUSIC,
        };
        self.state.set("set the signal", ffi::OPUS_SET_SIGNAL_REQUEST, value)?;
        self.config.signal = signal;
        Ok(())
    }

    /// Sets the packet loss to expect, in percent, from the next frame on.
    ///
    /// # Errors
    /// Above 100.
    pub fn set_expected_loss(&mut self, percent: u8) -> Result<(), AudioError> {
        if percent > 100 {
            return Err(AudioError::Config("expected_loss_percent: 0 to 100"));
        }
        self.state.set(
            "set the expected loss",
            ffi::OPUS_SET_PACKET_LOSS_PERC_REQUEST,
            i32::from(percent),
        )?;
        self.config.expected_loss_percent = percent;
        Ok(())
    }

    /// Switches in-band FEC, from the next frame on. The encoder writes FEC only if the expected
    /// loss is above 0, too.
    ///
    /// # Errors
    /// libopus refused.
    pub fn set_fec(&mut self, fec: bool) -> Result<(), AudioError> {
        self.state
            .set("switch FEC", ffi::OPUS_SET_INBAND_FEC_REQUEST, i32::from(fec))?;
        self.config.fec = fec;
        Ok(())
    }

    /// Sets whether the next frames are predicted from earlier ones, as is usual. A decoder that
    /// has heard something else can start at a frame without prediction.
    ///
    /// # Errors
    /// libopus refused.
    pub fn set_prediction(&mut self, prediction: bool) -> Result<(), AudioError> {
        self.state.set(
            "switch prediction",
            ffi::OPUS_SET_PREDICTION_DISABLED_REQUEST,
            i32::from(!prediction),
        )
    }

    /// Encodes like `packet` from the next frame on: with the same layer of Opus and the same
    /// bandwidth (RFC 6716 §3.1), so that a decoder continues from one to the other without a
    /// reset.
    ///
    /// # Errors
    /// libopus failed, or the packet is empty.
    pub fn imitate(&mut self, packet: &[u8]) -> Result<(), AudioError> {
        let toc = *packet.first().ok_or(AudioError::Config("a packet to imitate"))?;
        let (mode, bandwidth) = match toc >> 3 {
            config @ 0..=11 => (SILK_ONLY, i32::from(config / 4)),
            config @ 12..=15 => (HYBRID, 3 + i32::from((config - 12) / 2)),
            // CELT has no medium band.
            config => (CELT_ONLY, [0, 2, 3, 4][usize::from((config - 16) / 4)]),
        };
        self.state.set("force a mode", FORCE_MODE, mode)?;
        let narrowest = ffi::OPUS_BANDWIDTH_NARROWBAND;
        self.state.set(
            "set the bandwidth",
            ffi::OPUS_SET_BANDWIDTH_REQUEST,
            narrowest + bandwidth,
        )
    }

    /// The delay of the codec in samples per channel, from the input to the decoder's output.
    ///
    /// # Errors
    /// libopus refused.
    pub fn lookahead(&mut self) -> Result<usize, AudioError> {
        self.state
            .get("read the look-ahead", ffi::OPUS_GET_LOOKAHEAD_REQUEST)
            .map(|n| usize::try_from(n).unwrap_or(0))
    }

    /// Resets the state, as if freshly made; settings stay.
    ///
    /// # Errors
    /// libopus refused.
    pub fn reset(&mut self) -> Result<(), AudioError> {
        self.state.set("reset an encoder", ffi::OPUS_RESET_STATE, 0)
    }

    /// Channels that [`Encoder::encode`] expects.
    pub fn channels(&self) -> Channels {
        self.state.channels()
    }
}
