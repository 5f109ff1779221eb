//! Trunks: the packets of several talkers in one encrypted datagram, between two media nodes.
//!
//! The crate is sans-IO: a [`Sender`] collects frames and gives out datagrams, a [`Receiver`] takes datagrams and gives out frames. After the
//! first datagrams neither allocates.

#![doc = include_str!("../README.md")]

mod key;
mod receiver;
mod round_trip;
mod sender;
mod wire;

pub use key::{Key, KeyNumber};
pub use receiver::{Receiver, ReceiverStats, Rejected};
pub use sender::{Sender, SenderStats, TooLong};
pub use wire::{Frame, Item, Report, Unheard, trunk_of};

/// The number that the receiver of a trunk gives it.
pub type TrunkId = u32;

/// The most bytes of a datagram: what any path with an MTU of 1,280 carries, by IPv6 as well.
pub const MAX_DATAGRAM: usize = 1200;
/// The most bytes of an Opus packet in a trunk.
pub const MAX_PAYLOAD: usize = MAX_DATAGRAM - wire::HEADER - wire::TAG - wire::FRAME_HEADER;
/// The most talkers that are told to be unheard.
pub const MOST_UNHEARD: usize = 128;
