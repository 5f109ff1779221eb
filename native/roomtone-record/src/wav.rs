//! A track decoded into a WAV file, sample for sample where an Ogg Opus file of the same packets has it.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;

use hound::{SampleFormat, WavSpec, WavWriter};
use roomtone_audio::{Channels, Decoder, SAMPLE_RATE};

use crate::ogg_opus::{LOOKAHEAD, Track};

/// A WAV file of 16 bits in stereo at 48 kHz, whatever the packets are: a stream may become stereo at any time.
pub(crate) struct Wav {
    file: WavWriter<BufWriter<File>>,
    decoder: Decoder,
    pcm: Vec<f32>,
    /// The end of the last packet, in samples.
    end: u64,
    /// Samples that are still to be left out: the delay of the encoder.
    skipped: u64,
}

impl Wav {
    /// A new file.
    pub(crate) fn create(path: &Path) -> io::Result<Wav> {
        let file = File::options().write(true).create_new(true).open(path)?;
        let spec = WavSpec {
            channels: 2,
            sample_rate: SAMPLE_RATE,
            bits_per_sample: 16,
            sample_format: SampleFormat::Int,
        };
        Ok(Wav {
            file: WavWriter::new(BufWriter::new(file), spec).map_err(failed)?,
            decoder: Decoder::with_channels(Channels::Stereo).map_err(io::Error::other)?,
            pcm: Vec::new(),
            end: 0,
            skipped: LOOKAHEAD,
        })
    }

    /// Writes the lengths into its head.
    pub(crate) fn finish(self) -> io::Result<()> {
        self.file.finalize().map_err(failed)
    }
}

impl Track for Wav {
    fn end(&self) -> u64 {
        self.end
    }

    fn append(&mut self, packet: &[u8], samples: u64) -> io::Result<()> {
        self.pcm.clear();
        if self.decoder.decode(packet, &mut self.pcm).is_err() {
            // As a player does with a packet that it can't decode.
            let _ = self.decoder.conceal(samples as usize, &mut self.pcm);
        }
        self.pcm.resize(2 * samples as usize, 0.0);
        let left_out = self.skipped.min(samples);
        self.skipped -= left_out;
        self.end += samples;
        for sample in &self.pcm[2 * left_out as usize..] {
            let sample = (sample * 32_768.0).round().clamp(-32_768.0, 32_767.0) as i16;
            self.file.write_sample(sample).map_err(failed)?;
        }
        Ok(())
    }
}

fn failed(error: hound::Error) -> io::Error {
    match error {
        hound::Error::IoError(error) => error,
        // More than 4 GiB, in six hours.
        other => io::Error::other(other),
    }
}
