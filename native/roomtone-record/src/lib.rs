//! Recordings of rooms: the mix and each talker as Ogg Opus, from the packets of taps, a timeline of events, and files for audio
//! editors. And the mix as a stream for players.
//!
//! Unlike the crates of the core, this one does I/O and has a thread: the [`Writer`].

#![doc = include_str!("../README.md")]

mod editors;
mod live;
mod ogg_opus;
mod recording;
mod track;
mod writer;

pub use live::Live;
pub use recording::{RecordingConfig, StartError};
pub use writer::{End, Recording, Status, Writer};
