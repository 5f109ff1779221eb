//! A recorded room that is played again: what each listener was sent, in files.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use roomtone_audio::packet;
use roomtone_engine::{HeardPacket, PeerId, Replay, ReplayCounts, ReplayError};
use thiserror::Error;

use crate::inputs_file::{Block, Head, InputsReader, ReadError};
use crate::ogg_opus::{OggOpus, Track};
use crate::recording::file_name;
use crate::track::{Incoming, TimeLine};
use crate::wav::Wav;

/// The most streams that are written: two files are open for each.
const MOST_STREAMS: usize = 200;
/// The inputs between two looks at the clock.
const INPUTS_AT_ONCE: usize = 100;
/// The Opus payload type of the dumps, as browsers number it.
const PAYLOAD_TYPE: u8 = 111;

/// Why a room can't be played again.
#[derive(Debug, Error)]
pub enum PlaybackError {
    /// The file of inputs.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Its content.
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// A file that is written.
    #[error("{path}: {source}")]
    Io {
        /// The path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The recording has nobody of this name.
    #[error("nobody of the name {name} was in the room")]
    NoListener {
        /// The name.
        name: String,
    },
}

/// Which sound of a playback is written, and in which form.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// Of this listener alone.
    pub listener: Option<&'a str>,
    /// As WAV, too.
    pub wav: bool,
}

/// A stream to a listener, as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlayedStream {
    /// The listener's name.
    pub listener: String,
    /// Their number.
    pub peer: PeerId,
    /// The slot, in a room that forwards.
    pub slot: usize,
    /// The file of sound.
    pub file: PathBuf,
    /// The number of packets.
    pub packets: u64,
}

/// The result of a playback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Played {
    /// The recording.
    pub head: Head,
    /// The streams, in the order in which they began.
    pub streams: Vec<PlayedStream>,
    /// Streams beyond those that are written at most.
    pub left_out: u64,
    /// Whether the file ends in the middle of something, as after a crash.
    pub cut_off: bool,
    /// Whether the room failed, at the end of it all.
    pub room_failed: bool,
    /// Figures.
    pub counts: ReplayCounts,
}

/// A room on its way from the file of its inputs to files of what was heard.
pub struct Playback {
    reader: InputsReader<io::BufReader<File>>,
    replay: Replay,
    out: PathBuf,
    names: HashMap<PeerId, String>,
    listener: Option<String>,
    wav: bool,
    head: Head,
    /// The block at hand, and how much of it was played.
    block: (Vec<u8>, usize),
    streams: HashMap<(PeerId, usize), Option<Stream>>,
    room_failed: bool,
}

struct Stream {
    number: usize,
    path: PathBuf,
    ogg: OggOpus,
    wav: Option<(Wav, TimeLine)>,
    line: TimeLine,
    dump: BufWriter<File>,
    packets: u64,
}

impl Playback {
    /// Reads who is in a file of inputs, and makes the folder `out` for what each listener was sent.
    ///
    /// # Errors
    /// [`PlaybackError`].
    pub fn open(file: &Path, out: &Path, wanted: &Wanted<'_>) -> Result<Playback, PlaybackError> {
        let (mut names, mut head) = (HashMap::new(), Head::default());
        let mut reader = InputsReader::open(file)?;
        while let Some(block) = reader.next().map_err(failed(file))? {
            match block {
                Block::Head(found) => head = found,
                Block::Name(peer, name) => drop(names.insert(peer, name)),
                Block::Inputs(_) => {}
            }
        }
        if let Some(name) = wanted
            .listener
            .filter(|name| !names.values().any(|known| known == name))
        {
            return Err(PlaybackError::NoListener { name: name.to_owned() });
        }
        fs::create_dir_all(out).map_err(failed(out))?;
        Ok(Playback {
            reader: InputsReader::open(file)?,
            replay: Replay::new(Instant::now())?,
            out: out.to_owned(),
            names,
            listener: wanted.listener.map(str::to_owned),
            wav: wanted.wav,
            head,
            block: Default::default(),
            streams: HashMap::new(),
            room_failed: false,
        })
    }

    /// Goes on for about so long. `None`: there is more to do.
    ///
    /// # Errors
    /// [`PlaybackError`]. The playback is over.
    pub fn run(&mut self, time: Duration) -> Result<Option<Played>, PlaybackError> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            if !self.step()? {
                return self.finish().map(Some);
            }
        }
        Ok(None)
    }

    /// How much of the call was played.
    pub fn lasted(&self) -> Duration {
        self.replay.counts().lasted
    }

    // Plays some inputs. False at the end.
    fn step(&mut self) -> Result<bool, PlaybackError> {
        let (block, at) = &mut self.block;
        if *at == block.len() {
            match self.reader.next().map_err(failed(&self.out))? {
                Some(Block::Inputs(inputs)) => self.block = (inputs, 0),
                Some(_) => {}
                None => return Ok(false),
            }
            return Ok(true);
        }
        let mut rest = &block[*at..];
        let (out, names, listener, wav) = (&self.out, &self.names, &self.listener, self.wav);
        let (streams, mut written) = (&mut self.streams, Ok(()));
        let played = self.replay.step(&mut rest, INPUTS_AT_ONCE, |packet| {
            let name = names.get(&packet.listener).map_or("unknown", String::as_str);
            if written.is_ok() && listener.as_ref().is_none_or(|wanted| wanted == name) {
                written = write(streams, (out, wav), name, &packet);
            }
        });
        *at = block.len() - rest.len();
        written?;
        match played {
            Err(ReplayError::RoomFailed { .. }) => {
                // As the one that was recorded: there is nothing after it.
                self.room_failed = true;
                Ok(false)
            }
            played => Ok(played.map(|()| true)?),
        }
    }

    fn finish(&mut self) -> Result<Played, PlaybackError> {
        let counts = self.replay.counts();
        let end = samples(counts.lasted);
        let mut played = Played {
            head: self.head.clone(),
            streams: Vec::new(),
            left_out: 0,
            cut_off: self.reader.cut_off,
            room_failed: self.room_failed,
            counts,
        };
        let mut streams: Vec<_> = self.streams.drain().collect();
        streams.sort_by_key(|(_, stream)| stream.as_ref().map(|stream| stream.number));
        for ((peer, slot), stream) in streams {
            let Some(mut stream) = stream else {
                played.left_out += 1;
                continue;
            };
            let finished = (stream.ogg.pages().fill(end as u64))
                .and_then(|()| stream.ogg.finish())
                .and_then(|()| stream.dump.flush());
            finished.map_err(failed(&stream.path))?;
            if let Some((mut wav, _)) = stream.wav {
                let finished = wav.fill(end as u64).and_then(|()| wav.finish());
                finished.map_err(failed(&stream.path.with_extension("wav")))?;
            }
            played.streams.push(PlayedStream {
                listener: self.names.get(&peer).cloned().unwrap_or_else(|| "unknown".to_owned()),
                peer,
                slot,
                file: stream.path,
                packets: stream.packets,
            });
        }
        Ok(played)
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> PlaybackError {
    let path = path.to_owned();
    move |source| PlaybackError::Io { path, source }
}

fn samples(time: Duration) -> i64 {
    (time.as_nanos() * 48 / 1_000_000) as i64
}

fn write(
    streams: &mut HashMap<(PeerId, usize), Option<Stream>>,
    (out, wav): (&Path, bool),
    name: &str,
    packet: &HeardPacket<'_>,
) -> Result<(), PlaybackError> {
    let key = (packet.listener, packet.slot);
    if !streams.contains_key(&key) {
        let number = streams.len() + 1;
        let stream = (number <= MOST_STREAMS).then(|| Stream::create((out, wav), number, name, packet));
        streams.insert(key, stream.transpose()?);
    }
    match streams.get_mut(&key) {
        Some(Some(stream)) => stream.write(packet).map_err(failed(&stream.path)),
        _ => Ok(()),
    }
}

impl Stream {
    fn create(
        (out, wav): (&Path, bool),
        number: usize,
        name: &str,
        packet: &HeardPacket<'_>,
    ) -> Result<Stream, PlaybackError> {
        let path = out.join(format!("{number:02}-{}.ogg", file_name(name)));
        let stereo = packet::parse(packet.payload).is_ok_and(|info| info.stereo);
        let title = format!("heard by {name}");
        let made = OggOpus::create(&path, packet.ssrc, 1 + u8::from(stereo), &[("TITLE", &title)]);
        let ogg = made.map_err(failed(&path))?;
        let dump_path = path.with_extension("rtpdump");
        let dump = File::options().write(true).create_new(true).open(&dump_path);
        let mut dump = BufWriter::new(dump.map_err(failed(&dump_path))?);
        dump.write_all(b"#!rtpplay1.0 0.0.0.0/0\n")
            .and_then(|()| dump.write_all(&[0; 16]))
            .map_err(failed(&dump_path))?;
        let wav_path = path.with_extension("wav");
        let wav = wav.then(|| Wav::create(&wav_path)).transpose();
        let wav = wav.map_err(failed(&wav_path))?;
        Ok(Stream {
            number,
            path,
            ogg,
            wav: wav.map(|wav| (wav, TimeLine::default())),
            line: TimeLine::default(),
            dump,
            packets: 0,
        })
    }

    fn write(&mut self, packet: &HeardPacket<'_>) -> io::Result<()> {
        self.packets += 1;
        let incoming = Incoming {
            payload: packet.payload,
            timestamp: packet.timestamp,
            level: None,
            arrival: samples(packet.at),
            exact: false,
        };
        self.line.place(&incoming, self.ogg.pages())?;
        if let Some((wav, line)) = &mut self.wav {
            line.place(&incoming, wav)?;
        }
        self.ogg.flush()?;
        self.dump_packet(packet)
    }

    // A record of an rtpdump file, as rtptools write it and Wireshark reads it.
    fn dump_packet(&mut self, packet: &HeardPacket<'_>) -> io::Result<()> {
        let csrc = packet.csrc.map(u32::to_be_bytes);
        let header = 12 + if csrc.is_some() { 4 } else { 0 };
        let length = header + packet.payload.len();
        let ms = u32::try_from(packet.at.as_millis()).unwrap_or(u32::MAX);
        self.dump.write_all(&(length as u16 + 8).to_be_bytes())?;
        self.dump.write_all(&(length as u16).to_be_bytes())?;
        self.dump.write_all(&ms.to_be_bytes())?;
        self.dump.write_all(&[
            0x80 | u8::from(csrc.is_some()),
            (u8::from(packet.marker) << 7) | PAYLOAD_TYPE,
        ])?;
        self.dump.write_all(&packet.sequence.to_be_bytes())?;
        self.dump.write_all(&packet.timestamp.to_be_bytes())?;
        self.dump.write_all(&packet.ssrc.to_be_bytes())?;
        if let Some(csrc) = csrc {
            self.dump.write_all(&csrc)?;
        }
        self.dump.write_all(packet.payload)
    }
}
