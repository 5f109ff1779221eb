//! One mix on its way out: limiter, encoder, and when to stay silent.

use roomtone_audio::{AudioError, Encoder, EncoderConfig, Limiter};

use crate::config::MixConfig;

/// Silent frames that are still encoded after sound: listeners' decoders fade out on them instead of concealing an end.
const HANGOVER_FRAMES: u32 = 10;

/// What one tick of an output came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoded {
    /// A packet, in the buffer; how loud its frame is (−dBov).
    Packet(u8),
    /// Digital silence, after enough of it: nothing to send (DTX).
    Nothing,
}

/// A mix that one or many listeners hear.
pub(crate) struct Output {
    encoder: Encoder,
    limiter: Limiter,
    silent_frames: u32,
}

impl Output {
    /// A fresh output. `shared`: for many listeners.
    pub(crate) fn new(config: &MixConfig, shared: bool) -> Result<Output, AudioError> {
        let encoder = Encoder::new(&EncoderConfig {
            bitrate: config.bitrate,
            complexity: if shared {
                config.shared_complexity
            } else {
                config.private_complexity
            },
            ..EncoderConfig::default()
        })?;
        Ok(Output {
            encoder,
            limiter: Limiter::default(),
            silent_frames: HANGOVER_FRAMES,
        })
    }

    /// A twin with the same history, for a listener who leaves the shared mix: their decoder doesn't notice.
    pub(crate) fn fork(&self, config: &MixConfig) -> Result<Output, AudioError> {
        let mut encoder = self.encoder.clone();
        encoder.set_complexity(config.private_complexity)?;
        Ok(Output {
            encoder,
            limiter: self.limiter.clone(),
            silent_frames: self.silent_frames,
        })
    }

    /// Makes a private output the room's shared one.
    pub(crate) fn share(&mut self, config: &MixConfig) -> Result<(), AudioError> {
        self.encoder.set_complexity(config.shared_complexity)
    }

    /// Limits and encodes one frame into `packet`. `silent`: nobody contributes to the frame, which is all zeros.
    pub(crate) fn encode(
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
        self.limiter.process(frame);
        self.encoder.encode(frame, packet)?;
        Ok(Encoded::Packet(roomtone_audio::level(frame).dbov_minus))
    }

    /// Whether the output has nothing left to say.
    pub(crate) fn resting(&self) -> bool {
        self.silent_frames > HANGOVER_FRAMES
    }
}
