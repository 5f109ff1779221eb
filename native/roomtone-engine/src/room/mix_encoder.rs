//! One mix on its way out: limiter, encoder, and when to stay silent.

use roomtone_audio::{AudioError, Channels, Encoder, EncoderConfig, FRAME_SAMPLES, Frame, Limiter};

use super::adaptation::Variant;
use super::encoder_profile::EncoderProfile;
use crate::config::MixConfig;

/// The most that Opus takes.
const MAX_COMPLEXITY: u8 = 10;

/// Silent frames that are still encoded after sound: listeners' decoders fade out on them instead of concealing an end.
const HANGOVER_FRAMES: u32 = 10;

/// The outcome of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoded {
    /// A packet, in the buffer; the level of its frame (−dBov).
    Packet(u8),
    /// Digital silence, after enough of it: nothing to send (DTX).
    Nothing,
}

/// The encoder of a mix. A clone has the same history: from the same frames it makes the same packets.
#[derive(Clone)]
pub(super) struct MixEncoder {
    encoder: Encoder,
    limiter: Limiter,
    silent_frames: u32,
    /// Whether it has the profile of a mix with many listeners.
    shared: bool,
    /// Whether the next frame is for decoders that have heard something else until now.
    unpredicted: bool,
}

impl MixEncoder {
    /// An encoder without history.
    pub(super) fn new(config: &MixConfig, channels: Channels) -> Result<MixEncoder, AudioError> {
        let profile = EncoderProfile::of(config, channels, false, MAX_COMPLEXITY);
        let encoder = Encoder::new(&EncoderConfig {
            channels,
            bitrate: profile.bitrate,
            complexity: profile.complexity,
            signal: profile.signal,
            ..EncoderConfig::default()
        })?;
        Ok(MixEncoder {
            encoder,
            limiter: Limiter::default(),
            silent_frames: HANGOVER_FRAMES,
            shared: false,
            unpredicted: false,
        })
    }

    /// Takes the profile that so many listeners are worth. `variant`: for which connections, and at which bit rate. `most` is the Opus
    /// complexity that the shard can afford.
    pub(super) fn spend(
        &mut self,
        config: &MixConfig,
        listeners: u32,
        variant: (Variant, Option<u32>),
        most: u8,
    ) -> Result<(), AudioError> {
        self.shared = EncoderProfile::is_shared(listeners, self.shared);
        EncoderProfile::of_variant(config, self.channels(), self.shared, variant, most).apply(&mut self.encoder)
    }

    /// Goes on from what was heard before of something else: what is made of these frames is thrown away, and the next frame doesn't refer to them.
    pub(super) fn lead_in(&mut self, frames: &[Frame], packet: &mut Vec<u8>) -> Result<(), AudioError> {
        for frame in frames {
            match self.channels() {
                Channels::Mono => self.encoder.encode(frame, packet)?,
                Channels::Stereo => {
                    let both: [f32; 2 * FRAME_SAMPLES] = std::array::from_fn(|i| frame[i / 2]);
                    self.encoder.encode(&both, packet)?
                }
            };
        }
        self.encoder.set_prediction(false)?;
        self.unpredicted = true;
        self.silent_frames = 0;
        Ok(())
    }

    /// Mono or stereo.
    pub(super) fn channels(&self) -> Channels {
        self.encoder.channels()
    }

    /// Limits and encodes one frame (stereo: interleaved) into `packet`. `silent`: nobody contributes to the frame, which is all zeros.
    pub(super) fn encode(
        &mut self,
        frame: &mut [f32],
        silent: bool,
        packet: &mut Vec<u8>,
    ) -> Result<Encoded, AudioError> {
        if silent {
            self.silent_frames = self.silent_frames.saturating_add(1);
            if self.resting() {
                return Ok(Encoded::Nothing);
            }
        } else {
            self.silent_frames = 0;
        }
        self.limiter.process_interleaved(frame, self.encoder.channels());
        self.encoder.encode(frame, packet)?;
        if std::mem::take(&mut self.unpredicted) {
            self.encoder.set_prediction(true)?;
        }
        Ok(Encoded::Packet(roomtone_audio::level(frame).dbov_minus))
    }

    /// Whether the silence has lasted long enough to send nothing (DTX).
    pub(super) fn resting(&self) -> bool {
        self.silent_frames > HANGOVER_FRAMES
    }
}
