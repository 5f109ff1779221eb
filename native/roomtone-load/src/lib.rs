//! Load generator, bench and test kit of Roomtone: synthetic WebRTC peers, a lossy link, tones and speech, and ears.
//!
//! - [`peer`]: a WebRTC client without I/O, light enough for thousands in a process, and a test double that can be
//!   told to misbehave.
pub mod peer;
