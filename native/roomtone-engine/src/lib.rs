//! Rooms and participants on a shard.
//!
//! Two halves, kept apart:
//!
//! * the **pure core** ([`Shard`] and its rooms): no I/O and no clock. Datagrams, commands and the passing of time go in
//!   (`handle_datagram`, `handle_command`, `handle_timeout`), datagrams to send, events and the next deadline come out
//!   (`outbox`, `poll_event`, `poll_timeout`). A test drives it on a virtual clock, and a room can be replayed.
//! * the **driver** ([`Engine`]): one UDP socket a shard, a current-thread tokio runtime, and the hand-over of a
//!   shard from one lender of a thread to the next.
//!
//! A room lives on one shard and a shard is run by one thread at a time, so nothing on the path of a packet is locked.

#![doc = include_str!("../README.md")]

mod batch;
mod command;
mod config;
mod control;
mod driver;
mod engine;
mod meter;
mod migration;
mod orders;
mod panics;
mod post;
mod relay;
mod room;
mod routes;
mod shard;
mod shed;
mod stats;
mod timers;
mod transfer;

pub use command::{
    Action, Command, EndReason, Envelope, Event, FaultScope, GainCell, PeerId, PeerStats, Refusal, RoomId, RoomKind,
    Select, ShardIndex, SlotCell, SourceCell,
};
pub use config::{ConfigError, EngineConfig, MixConfig, ShardConfig};
pub use driver::ResourceError;
pub use engine::{Engine, RunOutcome, StartError};
pub use orders::{Orders, SubmitError};
pub use relay::Relay;
pub use shard::Shard;
pub use shed::Round;
pub use stats::{Histogram, ShardStats};
