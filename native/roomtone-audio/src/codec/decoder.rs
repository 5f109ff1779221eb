//! The receiving side of the codec.

use super::state::DecoderState;
use super::{Channels, packet};
use crate::AudioError;
use audiopus::ffi;

/// Decoded samples are clamped to this: a hostile packet may decode to any number, a sane one
/// overshoots full scale a little.
const SAMPLE_LIMIT: f32 = 2.0;
/// The complexity from which libopus conceals by its neural network. From 6 on one that is built with OSCE changes good frames, too.
const DEEP_PLC: i32 = 5;

/// An Opus decoder at 48 kHz.
///
/// The output has the decoder's channels, whatever the packet's: libopus mixes down or doubles. With the feature `deep-plc` lost
/// sound is made by libopus's neural network, at some 35 times the cost of what it does otherwise.
#[derive(Debug)]
pub struct Decoder {
    inner: DecoderState,
    channels: Channels,
}

impl Decoder {
    /// Makes a mono decoder.
    ///
    /// # Errors
    /// No memory.
    pub fn new() -> Result<Self, AudioError> {
        Self::with_channels(Channels::Mono)
    }

    /// Makes a decoder with one or two channels (interleaved) at its output.
    ///
    /// # Errors
    /// No memory.
    pub fn with_channels(channels: Channels) -> Result<Self, AudioError> {
        let mut inner = DecoderState::new(channels)?;
        if cfg!(feature = "deep-plc") {
            inner.set("conceal by deep PLC", ffi::OPUS_SET_COMPLEXITY_REQUEST, DEEP_PLC)?;
        }
        Ok(Self { inner, channels })
    }

    /// Decodes a packet, appends its sound to `out` and returns the samples per channel.
    ///
    /// # Errors
    /// Not an Opus packet, or undecodable content; `out` is unchanged.
    pub fn decode(&mut self, packet: &[u8], out: &mut Vec<f32>) -> Result<usize, AudioError> {
        let info = packet::parse(packet)?;
        self.run("decode", Some(packet), info.samples as usize, false, out)
    }

    /// Recovers the `samples` (per channel) right before `packet`, which followed a lost one, from
    /// the copy that it may carry (in-band FEC, RFC 6716 §2.1.7). Without a copy this is
    /// [`Decoder::conceal`].
    ///
    /// # Errors
    /// Not an Opus packet, or `samples` isn't a multiple of 2.5 ms, or is above 120 ms; `out` is
    /// unchanged.
    pub fn decode_fec(&mut self, packet: &[u8], samples: usize, out: &mut Vec<f32>) -> Result<usize, AudioError> {
        packet::parse(packet)?;
        self.run("recover a frame", Some(packet), samples, true, out)
    }

    /// Synthesises `samples` (per channel) in place of lost sound: packet loss concealment (RFC
    /// 6716 §4.4).
    ///
    /// # Errors
    /// `samples` isn't a multiple of 2.5 ms, or is above 120 ms; `out` is unchanged.
    pub fn conceal(&mut self, samples: usize, out: &mut Vec<f32>) -> Result<usize, AudioError> {
        self.run("conceal a frame", None, samples, false, out)
    }

    /// Resets the state of the decoder.
    ///
    /// # Errors
    /// libopus refused.
    pub fn reset(&mut self) -> Result<(), AudioError> {
        self.inner.set("reset a decoder", ffi::OPUS_RESET_STATE, 0)
    }

    /// Channels of the output.
    pub fn channels(&self) -> Channels {
        self.channels
    }

    fn run(
        &mut self,
        action: &'static str,
        packet: Option<&[u8]>,
        samples: usize,
        fec: bool,
        out: &mut Vec<f32>,
    ) -> Result<usize, AudioError> {
        // Checked here because a debug build of libopus aborts on such arguments.
        let samples_fit = samples > 0 && samples.is_multiple_of(120) && samples <= packet::MAX_SAMPLES as usize;
        if !samples_fit {
            return Err(AudioError::FrameLength { samples, channels: 1 });
        }
        let start = out.len();
        out.resize(start + samples * self.channels.count(), 0.0);
        match self.inner.decode(action, packet, &mut out[start..], fec) {
            Ok(decoded) => {
                let decoded = decoded.min(samples);
                out.truncate(start + decoded * self.channels.count());
                sanitise(&mut out[start..]);
                Ok(decoded)
            }
            Err(error) => {
                out.truncate(start);
                Err(error)
            }
        }
    }
}

/// Clamps samples to a sane range. A block with a NaN is silenced whole, so that one hostile packet
/// can't poison the mix of a room.
fn sanitise(pcm: &mut [f32]) {
    // One cheap pass in the usual case; the maximum of the magnitudes would hide a NaN, their sum
    // doesn't.
    let sum: f32 = pcm.iter().map(|s| s.abs()).sum();
    if !sum.is_finite() {
        pcm.fill(0.0);
    } else if sum > SAMPLE_LIMIT {
        pcm.iter_mut().for_each(|s| *s = s.clamp(-SAMPLE_LIMIT, SAMPLE_LIMIT));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_with_a_nan_is_silenced_and_a_loud_one_clamped() {
        let mut pcm = [0.1, f32::NAN, 0.2];
        sanitise(&mut pcm);
        assert_eq!(pcm, [0.0; 3]);
        let mut pcm = [0.1, f32::INFINITY];
        sanitise(&mut pcm);
        assert_eq!(pcm, [0.0; 2]);
        let mut pcm = [0.5, -70.0, 1.25];
        sanitise(&mut pcm);
        assert_eq!(pcm, [0.5, -2.0, 1.25]);
    }

    /// `cargo test -p roomtone-audio --features deep-plc` shows that libopus has the network and that it is used.
    #[cfg(feature = "deep-plc")]
    #[test]
    fn lost_sound_is_made_by_the_network() {
        let mut encoder = crate::Encoder::new(&crate::EncoderConfig::default()).unwrap();
        let mut tone = crate::analysis::Tone::new(200.0, 0.3);
        let mut packet = Vec::new();
        let mut decoders = [DEEP_PLC, 0].map(|complexity| {
            let mut decoder = Decoder::new().unwrap();
            let request = ffi::OPUS_SET_COMPLEXITY_REQUEST;
            decoder.inner.set("set the complexity", request, complexity).unwrap();
            decoder
        });
        let mut heard = [Vec::new(), Vec::new()];
        for _ in 0..20 {
            encoder.encode(&tone.frame(), &mut packet).unwrap();
            for (decoder, heard) in decoders.iter_mut().zip(&mut heard) {
                heard.clear();
                decoder.decode(&packet, heard).unwrap();
            }
        }
        assert_eq!(heard[0], heard[1], "frames that came are the same");
        for (decoder, heard) in decoders.iter_mut().zip(&mut heard) {
            heard.clear();
            decoder.conceal(960, heard).unwrap();
        }
        assert_ne!(heard[0], heard[1]);
    }

    #[test]
    fn lengths_that_are_no_opus_frame_are_refused() {
        let mut decoder = Decoder::new().unwrap();
        let mut out = vec![1.0];
        for samples in [0, 1, 119, 121, 5880, usize::MAX - 7] {
            assert!(decoder.conceal(samples, &mut out).is_err(), "{samples}");
        }
        assert_eq!(out, [1.0]);
    }
}
