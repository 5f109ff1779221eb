//! Recordings of rooms: the mix and each talker as Ogg Opus, from the packets of taps, a timeline of events, and files for audio
//! editors. The mix as a stream for players. And all that goes into a room, in a file from which it is played again.
//!
//! Unlike the crates of the core, this one does I/O and has a thread: the [`Writer`].

#![doc = include_str!("../README.md")]

mod editors;
mod inputs_file;
mod live;
mod ogg_opus;
mod playback;
mod recording;
mod track;
mod wav;
mod writer;

pub use inputs_file::{Head, InputsConfig, ReadError};
pub use live::Live;
pub use playback::{Playback, PlaybackError, Played, PlayedStream, Wanted};
pub use recording::{RecordingConfig, StartError};
pub use writer::{End, Recording, Status, Writer};
