//! Files that are decoded: WAV, FLAC, MP3, and Ogg with Vorbis or FLAC.

use std::fs::File;
use std::io::ErrorKind;

use roomtone_audio::SAMPLE_RATE;
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::common::Limit;
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSourceStream, MediaSourceStreamOptions};
use symphonia::core::meta::MetadataOptions;

use crate::{FileError, Part};
use roomtone_resample::Converter;

/// The most bytes of a file's title, artist and the like, and of its picture.
const MOST_METADATA: usize = 1 << 20;
/// Packets, one after the other, that aren't of the track or can't be decoded.
const MOST_OTHERS: u32 = 1_000;
const PART_SAMPLES: usize = SAMPLE_RATE as usize;

/// A file, and the track of it that is played.
pub(crate) struct DecodedFile {
    format: Box<dyn FormatReader>,
    track: Track,
    interleaved: Vec<f32>,
    mono: Vec<f32>,
    ended: bool,
}

struct Track {
    id: u32,
    decoder: Box<dyn AudioDecoder>,
    /// From the rate of its first samples on.
    converter: Option<(u32, Converter)>,
}

impl DecodedFile {
    pub(crate) fn new(file: File) -> Result<DecodedFile, FileError> {
        let stream = MediaSourceStream::new(Box::new(file), MediaSourceStreamOptions::default());
        let limit = Limit::Maximum(MOST_METADATA);
        let metadata = MetadataOptions::default()
            .limit_tag_bytes(limit)
            .limit_visual_bytes(limit);
        let format = symphonia::default::get_probe()
            .probe(&Hint::new(), stream, FormatOptions::default(), metadata)
            .map_err(|error| match error {
                Error::IoError(error) if error.kind() != ErrorKind::UnexpectedEof => FileError::Io(error),
                _ => FileError::UnknownFormat,
            })?;
        let track = Track::of(format.as_ref())?;
        Ok(DecodedFile {
            format,
            track,
            interleaved: Vec::new(),
            mono: Vec::new(),
            ended: false,
        })
    }

    pub(crate) fn next_part(&mut self) -> Result<Option<Part>, FileError> {
        let (mut pcm, mut others) = (Vec::new(), 0);
        while !self.ended && pcm.len() < PART_SAMPLES {
            if self.packet(&mut pcm)? {
                others = 0;
                continue;
            }
            others += 1;
            if others > MOST_OTHERS {
                return Err(FileError::Broken("there is too much in it that isn't sound".to_owned()));
            }
        }
        Ok(if pcm.is_empty() { None } else { Some(Part::Pcm(pcm)) })
    }

    // Decodes a packet; whether it had sound.
    fn packet(&mut self, pcm: &mut Vec<f32>) -> Result<bool, FileError> {
        let packet = match self.format.next_packet() {
            Ok(Some(packet)) => packet,
            Ok(None) => return Ok(self.end(pcm)),
            // It was cut off.
            Err(Error::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => return Ok(self.end(pcm)),
            // A chained stream begins.
            Err(Error::ResetRequired) => {
                self.track.finish(pcm);
                self.track = Track::of(self.format.as_ref())?;
                return Ok(false);
            }
            Err(error) => return Err(broken(error)),
        };
        if packet.track_id != self.track.id {
            return Ok(false);
        }
        let sound = match self.track.decoder.decode(&packet) {
            Ok(sound) => sound,
            // As after a loss.
            Err(Error::DecodeError(_)) => return Ok(false),
            Err(Error::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(broken(error)),
        };
        let channels = sound.spec().channels().count();
        let rate = sound.spec().rate();
        sound.copy_to_vec_interleaved(&mut self.interleaved);
        self.mono.clear();
        match channels {
            1 => self.mono.extend_from_slice(&self.interleaved),
            2 => {
                let (pairs, _) = self.interleaved.as_chunks::<2>();
                self.mono.extend(pairs.iter().map(|[left, right]| (left + right) / 2.0));
            }
            _ => return Err(FileError::TooManyChannels(channels as u32)),
        }
        // A file of floats may have anything.
        for sample in &mut self.mono {
            *sample = if sample.is_finite() {
                sample.clamp(-1.0, 1.0)
            } else {
                0.0
            };
        }
        let any = !self.mono.is_empty();
        self.track.convert(rate, &self.mono, pcm)?;
        Ok(any)
    }

    fn end(&mut self, pcm: &mut Vec<f32>) -> bool {
        self.ended = true;
        self.track.finish(pcm);
        true
    }
}

impl Track {
    fn of(format: &dyn FormatReader) -> Result<Track, FileError> {
        let track = format.default_track(TrackType::Audio).ok_or(FileError::UnknownFormat)?;
        let params = track.codec_params.as_ref().and_then(|params| params.audio());
        let params = params.ok_or(FileError::UnknownFormat)?;
        if let Some(channels) = params.channels.as_ref().map(|channels| channels.count())
            && channels > 2
        {
            return Err(FileError::TooManyChannels(channels as u32));
        }
        let decoder = symphonia::default::get_codecs()
            .make_audio_decoder(params, &AudioDecoderOptions::default())
            .map_err(|_| FileError::UnknownFormat)?;
        Ok(Track {
            id: track.id,
            decoder,
            converter: None,
        })
    }

    fn convert(&mut self, rate: u32, mono: &[f32], pcm: &mut Vec<f32>) -> Result<(), FileError> {
        if self.converter.as_ref().is_none_or(|(from, _)| *from != rate) {
            self.finish(pcm);
            let converter = Converter::new(rate, SAMPLE_RATE)
                .ok_or_else(|| FileError::Broken(format!("it has a rate of {rate} Hz")))?;
            self.converter = Some((rate, converter));
        }
        if let Some((_, converter)) = &mut self.converter {
            converter.push(mono, pcm);
        }
        Ok(())
    }

    fn finish(&mut self, pcm: &mut Vec<f32>) {
        if let Some((_, mut converter)) = self.converter.take() {
            converter.finish(pcm);
        }
    }
}

fn broken(error: Error) -> FileError {
    match error {
        Error::IoError(error) => FileError::Io(error),
        error => FileError::Broken(error.to_string()),
    }
}
