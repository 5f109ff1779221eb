//! What the rooms of a shard share.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use roomtone_audio::Frame;
use roomtone_transport::{Certificate, Outbox, TransportConfig};

use crate::command::{Event, PeerId};
use crate::config::MixConfig;
use crate::room::Weight;
use crate::routes::Routes;
use crate::shed::Shed;
use crate::stats::ShardStats;

/// What rooms share on a shard; every call into a room gets it.
pub(crate) struct Common {
    pub(crate) mix: MixConfig,
    pub(crate) transport: Arc<TransportConfig>,
    pub(crate) certificate: Arc<Certificate>,
    /// Where the grids of ticks of all rooms begin; each is a phase later.
    pub(crate) origin: Instant,
    pub(crate) routes: Routes,
    pub(crate) events: VecDeque<Event>,
    /// What is to be sent: a tick's packets are one batch.
    pub(crate) outbox: Outbox,
    pub(crate) stats: ShardStats,
    pub(crate) scratch: Scratch,
    pub(crate) shed: Shed,
}

/// Working space of a tick, one for all rooms of a shard.
#[derive(Default)]
pub(crate) struct Scratch {
    pub(crate) candidates: Vec<(usize, f32)>,
    pub(crate) talkers: Vec<PeerId>,
    /// A frame for each talker; more may be there from larger rooms.
    pub(crate) frames: Vec<Frame>,
    pub(crate) row: Vec<Weight>,
    pub(crate) mix: Vec<f32>,
    pub(crate) packet: Vec<u8>,
    pub(crate) heard: Vec<(PeerId, u8, bool)>,
}
