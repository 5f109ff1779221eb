//! Load generator, bench and test kit of Roomtone: synthetic WebRTC peers, a lossy link, tones and speech, and ears.
//!
//! - [`peer`]: a WebRTC client without I/O, light enough for thousands in a process, and a test double that can be
//!   told to misbehave.
//! - [`link`]: a bad network on a virtual clock.
//! - [`fixtures`]: sound to send. [`listen`]: ears that measure what arrives.
//! - [`whip`] and [`run`]: all of it over real sockets, against a server.
//! - [`bench`](mod@bench): what a room costs a server, beside Janus. The program `roomtone-load` is a thin shell around these two.
pub mod bench;
pub mod fixtures;
mod http;
pub mod link;
pub mod listen;
mod opus;
pub mod peer;
pub mod run;
pub mod whip;
