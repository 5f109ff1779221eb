//! Rooms and participants on a shard.
//!
//! Two halves, kept apart:
//!
//! * the **pure core** ([`Shard`] and its rooms): no I/O and no clock. Datagrams, commands and the passing of time go in
//!   (`handle_datagram`, `handle_command`, `handle_timeout`), datagrams to send, events and the next deadline come out
//!   (`outbox`, `poll_event`, `poll_timeout`). A test drives it on a virtual clock, and a room can be replayed.
//! * the **driver** ([`Engine`]): one UDP socket a shard with TCP beside it, one epoll instance (mio) to wait for both, and the hand-over
//!   of a shard from one lent thread to the next.
//!
//! A room lives on one shard and a shard is run by one thread at a time, so nothing on the path of a packet is locked.

#![doc = include_str!("../README.md")]

mod arrival;
mod batch;
mod command;
mod command_queues;
mod config;
mod control;
mod driver;
mod engine;
mod inbox;
mod inputs;
mod links;
mod mailboxes;
mod meter;
mod migration;
mod neighbours;
mod panics;
mod pktinfo;
mod room;
mod room_kind;
mod routes;
mod shard;
mod shard_message;
mod shed;
mod stats;
mod tap;
mod timers;
mod trace;
mod transfer;
mod voice;

pub use command::{
    Action, Command, Distance, EndReason, Envelope, Event, FaultScope, GainCell, PeerId, PeerStats, Place, PlaceCell,
    Refusal, RoomId, RoomKind, Select, ShardIndex, SlotCell, SourceCell, SourceItem, TrunkEnd, TrunkWay,
};
pub use command_queues::{CommandQueues, SubmitError};
pub use config::{ConfigError, EngineConfig, MixConfig, ShardConfig, TurnConfig, TurnTlsConfig};
pub use driver::ResourceError;
pub use engine::{Engine, RunOutcome, StartError};
pub use inputs::{HeardPacket, Journal, JournalEnd, Replay, ReplayCounts, ReplayError};
pub use roomtone_trunk::{Key, KeyNumber, TrunkId};
pub use shard::Shard;
pub use shard_message::ShardMessage;
pub use shed::Round;
pub use stats::{Histogram, ShardStats, TrunkStats};
pub use tap::{Tap, TapBatch, TapPacket, TapSound};
pub use trace::{Stage, Trace, Way};
pub use voice::Voice;
