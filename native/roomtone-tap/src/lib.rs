//! The consumer's side of a tap: the sound of a room, or of each of its talkers, as PCM or Opus.
//!
//! The engine puts packets into a [`Tap`](roomtone_engine::Tap); a [`Reader`] takes them out, batch by batch, and decodes and resamples them
//! where its consumer wants PCM. It does so on the consumer's thread, so a tap costs the room nothing but a copy of the packets.

#![doc = include_str!("../README.md")]

mod reader;
mod voice;

pub use reader::{Batch, ConfigError, Format, Reader, ReaderConfig, Sound, Source, Track};
