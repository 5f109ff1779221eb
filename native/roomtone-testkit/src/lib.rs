//! The test kit of Roomtone's crates: synthetic WebRTC peers, a lossy link, tones and recordings, and ears that measure.
//!
//! - [`peer`]: a WebRTC client without I/O, light enough for thousands in a process, and a test double that can be
//!   told to misbehave.
//! - [`link`]: a bad network on a virtual clock.
//! - [`fixtures`]: sound to send. [`listen`]: ears that measure what arrives.
//! - [`opus`]: the codec that these use, libopus without the code of `roomtone-audio`.
pub mod fixtures;
pub mod link;
pub mod listen;
pub mod opus;
pub mod peer;
