//! The only place that knows the Opus binding. It shares no code with `roomtone-audio`, so that a mistake of the mixer's decoder can't
//! hide itself.

use audiopus::coder::{Decoder as OpusDecoder, Encoder as OpusEncoder};
use audiopus::{Application, Bitrate, Channels, SampleRate};

/// The longest Opus packet of one frame.
const MAX_PACKET: usize = 1275;
/// 120 ms, the longest sound of one packet.
const MAX_SAMPLES: usize = 5760;

/// A mono encoder for voice at 48 kHz.
pub struct Encoder {
    inner: OpusEncoder,
    buffer: [u8; MAX_PACKET],
}

impl Encoder {
    /// An encoder with this bit rate, bit/s.
    ///
    /// # Errors
    /// The answer of libopus.
    pub fn new(bitrate: u32) -> Result<Encoder, String> {
        let build = || {
            let mut inner = OpusEncoder::new(SampleRate::Hz48000, Channels::Mono, Application::Voip)?;
            inner.set_bitrate(Bitrate::BitsPerSecond(i32::try_from(bitrate).unwrap_or(i32::MAX)))?;
            Ok(inner)
        };
        let inner = build().map_err(|e: audiopus::Error| e.to_string())?;
        Ok(Encoder {
            inner,
            buffer: [0; MAX_PACKET],
        })
    }

    /// One packet of one frame of samples.
    ///
    /// # Errors
    /// The answer of libopus.
    pub fn encode(&mut self, pcm: &[f32]) -> Result<bytes::Bytes, String> {
        let length = self
            .inner
            .encode_float(pcm, &mut self.buffer)
            .map_err(|e| e.to_string())?;
        Ok(bytes::Bytes::copy_from_slice(&self.buffer[..length]))
    }
}

/// A mono decoder at 48 kHz.
pub struct Decoder {
    inner: OpusDecoder,
    buffer: Vec<f32>,
}

impl Decoder {
    /// A decoder without history.
    ///
    /// # Errors
    /// The answer of libopus.
    pub fn new() -> Result<Decoder, String> {
        let inner = OpusDecoder::new(SampleRate::Hz48000, Channels::Mono).map_err(|e| e.to_string())?;
        Ok(Decoder {
            inner,
            buffer: vec![0.0; MAX_SAMPLES],
        })
    }

    /// The samples of one packet.
    ///
    /// # Errors
    /// The answer of libopus: not an Opus packet.
    pub fn decode(&mut self, packet: &[u8]) -> Result<&[f32], String> {
        let output = &mut self.buffer[..];
        let samples = self
            .inner
            .decode_float(Some(packet), output, false)
            .map_err(|e| e.to_string())?;
        Ok(&self.buffer[..samples])
    }
}
