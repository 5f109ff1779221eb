//! What the rooms of a shard share.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roomtone_audio::Frame;
use roomtone_transport::{Certificate, Outbox, TransportConfig};

use crate::command::{Event, PeerId};
use crate::config::MixConfig;
use crate::relay::{Neighbours, Parcel, Route, ShardIndex};
use crate::room::Weight;
use crate::routes::{Place, Routes};
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
    /// The other shards, as far as they concern rooms that were moved.
    pub(crate) neighbours: Neighbours,
}

/// What isn't due for this long isn't in a hurry either, …
const FAR_OFF: Duration = Duration::from_millis(100);
/// … and waits for the next of these: the thread wakes up once for the reports of many, not for each.
const GRID: Duration = Duration::from_millis(20);

impl Common {
    /// When something is done that is asked for at `due`: then, or up to 20 ms later if that is far off anyway.
    pub(crate) fn unhurried(&self, now: Instant, due: Instant) -> Instant {
        if due.saturating_duration_since(now) < FAR_OFF {
            return due;
        }
        let since = due.saturating_duration_since(self.origin);
        let grid = GRID.as_nanos();
        let over = Duration::from_nanos((since.as_nanos() % grid) as u64);
        if over.is_zero() { due } else { due + (GRID - over) }
    }

    /// Where datagrams go that are to be sent by the socket of `home`.
    pub(crate) fn outbox_of(&mut self, home: ShardIndex) -> &mut Outbox {
        if home == self.neighbours.index {
            &mut self.outbox
        } else {
            self.neighbours.outboxes.entry(home).or_default()
        }
    }

    /// Changes the routes of a participant, wherever their home is.
    pub(crate) fn route(&mut self, home: ShardIndex, place: Place, route: Route) {
        if home == self.neighbours.index {
            route.apply(&mut self.routes, place);
        } else {
            self.neighbours.tell(home, Parcel::Route(place, route));
        }
    }
}

/// Working space of a tick, one for all rooms of a shard.
#[derive(Default)]
pub(crate) struct Scratch {
    pub(crate) candidates: Vec<(usize, f32)>,
    pub(crate) audible: crate::room::Audible,
    pub(crate) talkers: Vec<PeerId>,
    /// A frame for each talker; more may be there from larger rooms.
    pub(crate) frames: Vec<Frame>,
    pub(crate) row: Vec<Weight>,
    pub(crate) mix: Vec<f32>,
    pub(crate) packet: Vec<u8>,
    pub(crate) heard: Vec<(PeerId, u8, bool)>,
}
