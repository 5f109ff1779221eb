//! The file of a room's inputs: blocks, each with its length and a checksum, so that a file which ends in the middle of one is whole
//! up to it.
//!
//! A file has the voices of everybody who spoke in the room, so only its owner may read it.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use crc::{CRC_32_ISCSI, Crc};
use roomtone_engine::{Journal, JournalEnd, PeerId};
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::writer::End;

/// The first bytes of a file: its kind, and the version of what this module writes.
const MAGIC: &[u8; 16] = b"roomtone inputs1";
/// The most bytes of a block. A room's are 64 KiB long, but for lists of gains in very large rooms.
const LONGEST_BLOCK: u32 = 32 << 20;
/// The longest name that is written, bytes.
const LONGEST_NAME: usize = 1_000;

static CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// The wishes for a recording of a room's inputs.
#[derive(Clone, Debug)]
pub struct InputsConfig {
    /// The file, which is made. It must not exist yet.
    pub file: PathBuf,
    /// The name of the room.
    pub room: String,
    /// The time of its beginning, as ISO 8601.
    pub date: String,
    /// The most bytes of the file. The recording ends there: without its beginning a room can't be played again.
    pub most_bytes: u64,
}

/// The recording that a file is of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// The version of Roomtone.
    pub version: String,
    /// The name of the room.
    pub room: String,
    /// The time of its beginning, as ISO 8601.
    pub date: String,
}

/// A part of a file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Block {
    /// The recording that it is of.
    Head(Head),
    /// The name of a participant.
    Name(PeerId, String),
    /// Inputs of the room.
    Inputs(Vec<u8>),
}

const HEAD: u8 = 0;
const NAME: u8 = 1;
const INPUTS: u8 = 2;

/// A file that is being written.
pub(crate) struct InputsFile {
    file: File,
    journal: Journal,
    written: u64,
    most_bytes: u64,
}

impl InputsFile {
    /// Makes the file.
    pub(crate) fn create(config: &InputsConfig) -> io::Result<InputsFile> {
        if let Some(folder) = config.file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let mut options = File::options();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = InputsFile {
            file: options.open(&config.file)?,
            journal: Journal::new(),
            written: MAGIC.len() as u64,
            most_bytes: config.most_bytes,
        };
        file.file.write_all(MAGIC)?;
        let head = Head {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            room: config.room.clone(),
            date: config.date.clone(),
        };
        file.write_block(HEAD, &packed(&head)?)?;
        Ok(file)
    }

    /// The queue that the room should fill.
    pub(crate) fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Bytes on disk.
    pub(crate) fn bytes(&self) -> u64 {
        self.written
    }

    /// Writes down who somebody is.
    pub(crate) fn name(&mut self, peer: PeerId, name: &str) -> io::Result<()> {
        let end = (0..=LONGEST_NAME.min(name.len()))
            .rev()
            .find(|at| name.is_char_boundary(*at));
        let name = &name[..end.unwrap_or(0)];
        self.write_block(NAME, &packed(&(peer, name))?)
    }

    /// Writes what the room has handed over. The reason, where the recording has ended.
    pub(crate) fn write(&mut self) -> io::Result<Option<End>> {
        // Asked first: the room hands its last block over before it ends.
        let ended = self.journal.ended();
        while let Some(block) = self.journal.take() {
            if self.written + block.len() as u64 > self.most_bytes {
                return Ok(Some(End::TooLong));
            }
            let written = self.write_block(INPUTS, &block);
            self.journal.give_back(block);
            written?;
        }
        Ok(ended.map(|end| match end {
            JournalEnd::Room | JournalEnd::Closed => End::Stopped,
            JournalEnd::Behind => End::Behind,
            JournalEnd::Used => End::TooLate,
        }))
    }

    fn write_block(&mut self, kind: u8, data: &[u8]) -> io::Result<()> {
        let length = u32::try_from(data.len()).map_err(|_| io::Error::from(ErrorKind::FileTooLarge))?;
        let mut digest = CRC.digest();
        digest.update(&[kind]);
        digest.update(data);
        let mut head = [0; 9];
        head[0] = kind;
        head[1..5].copy_from_slice(&length.to_le_bytes());
        head[5..].copy_from_slice(&digest.finalize().to_le_bytes());
        let mut put = || {
            self.file.write_all(&head)?;
            self.file.write_all(data)
        };
        put()?;
        self.written += head.len() as u64 + data.len() as u64;
        Ok(())
    }
}

fn packed(value: &impl Serialize) -> io::Result<Vec<u8>> {
    postcard::to_extend(value, Vec::new()).map_err(io::Error::other)
}

/// Why a file can't be read.
#[derive(Debug, Error)]
pub enum ReadError {
    /// It is something else.
    #[error("{path} isn't a recording of a room's inputs, or another version's")]
    Foreign {
        /// The path.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("{path}: {source}")]
    Io {
        /// The path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
}

/// A file that is being read.
pub(crate) struct InputsReader<R> {
    from: R,
    /// Whether it ended in the middle of a block, or with one that was damaged.
    pub(crate) cut_off: bool,
}

impl InputsReader<io::BufReader<File>> {
    pub(crate) fn open(path: &Path) -> Result<Self, ReadError> {
        let failed = |source| ReadError::Io {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(failed)?;
        InputsReader::new(io::BufReader::new(file)).map_err(|source| match source.kind() {
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof => ReadError::Foreign { path: path.to_owned() },
            _ => failed(source),
        })
    }
}

impl<R: Read> InputsReader<R> {
    pub(crate) fn new(mut from: R) -> io::Result<InputsReader<R>> {
        let mut magic = [0; MAGIC.len()];
        from.read_exact(&mut magic)?;
        if magic != *MAGIC {
            return Err(ErrorKind::InvalidData.into());
        }
        Ok(InputsReader { from, cut_off: false })
    }

    /// The next block; `None` at the end, or where the rest is damaged.
    pub(crate) fn next(&mut self) -> io::Result<Option<Block>> {
        let mut head = [0; 9];
        let got = read_up_to(&mut self.from, &mut head)?;
        let [kind, l0, l1, l2, l3, sum @ ..] = head;
        let length = u32::from_le_bytes([l0, l1, l2, l3]);
        if got < head.len() || length > LONGEST_BLOCK {
            self.cut_off |= got > 0;
            return Ok(None);
        }
        // Not allocated at once: the length may be made up.
        let mut data = Vec::new();
        (&mut self.from).take(length.into()).read_to_end(&mut data)?;
        let mut digest = CRC.digest();
        digest.update(&[kind]);
        digest.update(&data);
        if data.len() < length as usize || digest.finalize() != u32::from_le_bytes(sum) {
            self.cut_off = true;
            return Ok(None);
        }
        let block = match kind {
            HEAD => postcard::from_bytes(&data).ok().map(Block::Head),
            NAME => postcard::from_bytes(&data)
                .ok()
                .map(|(peer, name)| Block::Name(peer, name)),
            INPUTS => Some(Block::Inputs(data)),
            _ => None,
        };
        self.cut_off |= block.is_none();
        Ok(block)
    }
}

fn read_up_to(from: &mut impl Read, bytes: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < bytes.len() {
        match from.read(&mut bytes[got..]) {
            Ok(0) => break,
            Ok(more) => got += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}
