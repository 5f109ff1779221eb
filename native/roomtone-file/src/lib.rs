//! Sound files as sound for a voice room, part by part: the packets of Ogg Opus as they are, others decoded.
//!
//! Unlike the crates of the core, this one does I/O.

#![doc = include_str!("../README.md")]

mod budget;
mod decoded;
mod opus;

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use roomtone_audio::AudioError;
use thiserror::Error;

use crate::decoded::DecodedFile;
use crate::opus::OpusFile;

/// Bytes by which a format is known.
const HEAD: usize = 36;

/// Why a file can't be played, or not further.
#[derive(Debug, Error)]
pub enum FileError {
    /// It can't be read.
    #[error("the file can't be read: {0}")]
    Io(#[from] io::Error),
    /// A folder, a device, a pipe.
    #[error("it isn't a plain file")]
    NotAFile,
    /// It is of no format that is known here.
    #[error("its format isn't known")]
    UnknownFormat,
    /// It breaks the rules of its format.
    #[error("it is broken: {0}")]
    Broken(String),
    /// More than two channels.
    #[error("it has {0} channels, and more than two can't be played")]
    TooManyChannels(u32),
    /// The codec failed.
    #[error(transparent)]
    Codec(#[from] AudioError),
}

/// An Opus packet (RFC 6716).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Its bytes.
    pub data: Vec<u8>,
    /// Its duration in samples at 48 kHz.
    pub samples: u32,
}

/// About a second of a file.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// Packets, as the file has them.
    Packets(Vec<Packet>),
    /// Samples, mono at 48 kHz, full scale ±1.0.
    Pcm(Vec<f32>),
}

/// A file that is being read.
pub struct SoundFile(Kind);

enum Kind {
    Opus(Box<OpusFile<BufReader<File>>>),
    Decoded(Box<DecodedFile>),
}

impl SoundFile {
    /// Opens a file and reads its headers.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn open(path: &Path) -> Result<SoundFile, FileError> {
        // Before it is opened: a pipe would block.
        if !std::fs::metadata(path)?.is_file() {
            return Err(FileError::NotAFile);
        }
        let mut file = File::open(path)?;
        let mut head = Vec::with_capacity(HEAD);
        file.by_ref().take(HEAD as u64).read_to_end(&mut head)?;
        file.seek(SeekFrom::Start(0))?;
        Ok(SoundFile(if opus::is_opus(&head) {
            Kind::Opus(Box::new(OpusFile::new(BufReader::new(file))?))
        } else {
            Kind::Decoded(Box::new(DecodedFile::new(file)?))
        }))
    }

    /// The next part; `None` at the end. A file that was cut off ends there.
    ///
    /// # Errors
    /// [`FileError`]. Nothing more comes after it.
    pub fn next_part(&mut self) -> Result<Option<Part>, FileError> {
        match &mut self.0 {
            Kind::Opus(file) => file.next_part(),
            Kind::Decoded(file) => file.next_part(),
        }
    }
}
