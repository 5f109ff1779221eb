//! Everything that goes into a room, in a form in which it can be kept and played again.
//!
//! A room's sound depends on its inputs alone, but not all of these come by a command: the numbers of a stream are drawn by chance, a
//! packet is what DTLS and SRTP have made of a datagram, ticks begin when the thread gets to them, and a shard sheds load by what it
//! measures. So inputs are recorded where the room takes them, behind the endpoints ([`Input`]), each with the time at which the room
//! took it. A [`Recorder`] in the room writes them into blocks of memory, which go through a [`Journal`] to the thread that has the
//! file. [`Replay`] gives them to a room again.

mod format;
mod journal;
mod recorder;
mod replay;

pub(crate) use format::{Begin, Facts, Fingerprint, Input, Origin, Sound};
pub use journal::{Journal, JournalEnd};
pub(crate) use recorder::Recorder;
pub(crate) use replay::ReplayedPort;
pub use replay::{HeardPacket, Replay, ReplayCounts, ReplayError};
