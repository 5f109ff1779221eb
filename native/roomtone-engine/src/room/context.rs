//! Everything that a room may use of the shard it runs on. Rooms know nothing else of shards.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use roomtone_transport::{Certificate, Outbox, TransportConfig};
use roomtone_trunk::TrunkId;

use super::scratch::Scratch;
use super::traces::SealedTrace;
use crate::command::{Event, RoomId, ShardIndex};
use crate::config::MixConfig;
use crate::routes::{Destination, Route, Routes};
use crate::shed::Shed;
use crate::stats::ShardStats;

/// Shared by the rooms of a shard, and passed into every call of a room.
pub(crate) struct ShardContext {
    /// The shard's own index.
    pub(crate) index: ShardIndex,
    pub(crate) mix: MixConfig,
    pub(crate) transport: Arc<TransportConfig>,
    pub(crate) certificate: Arc<Certificate>,
    /// The origin of every room's tick grid; each room adds a phase of its own.
    pub(crate) origin: Instant,
    pub(crate) routes: Routes,
    /// The room of each trunk.
    pub(crate) trunks: HashMap<TrunkId, RoomId>,
    /// Route changes for participants whose home is another shard. The shard passes them on after each call of a room.
    pub(crate) remote_routes: Vec<(ShardIndex, Destination, Route)>,
    pub(crate) events: VecDeque<Event>,
    /// Datagrams to send by the shard's own socket: a tick's packets are one batch.
    pub(crate) outbox: Outbox,
    /// Datagrams to send by the sockets of other shards.
    pub(crate) remote_outboxes: BTreeMap<ShardIndex, Outbox>,
    pub(crate) stats: ShardStats,
    pub(crate) scratch: Scratch,
    pub(crate) shed: Shed,
    /// Reads the time within a call, for packets that are followed; without it a call takes no time.
    pub(crate) clock: Option<fn() -> Instant>,
    /// When the kernel took the present datagram in, if the caller has found out.
    pub(crate) arrived: Option<Instant>,
    /// Until when a packet to be followed may come.
    pub(crate) traces_until: Option<Instant>,
    /// When the first of the packets goes out that this call has left waiting for those that follow (`a=ptime`).
    pub(crate) packed_due: Option<Instant>,
    /// Traces that end when the datagrams of the outboxes are sent.
    pub(crate) sealed: Vec<SealedTrace>,
}

/// A deadline further off than this isn't urgent …
const FAR_OFF: Duration = Duration::from_millis(100);
/// … and waits for the next multiple of this: the thread wakes up once for the reports of many, not once for each.
const GRID: Duration = Duration::from_millis(20);

impl ShardContext {
    /// The time at this point of a call that began at `now`.
    pub(crate) fn moment(&self, now: Instant) -> Instant {
        self.clock.map_or(now, |clock| clock())
    }

    /// The deadline for work that is wanted at `due`: `due` itself, or up to 20 ms later if it is far off.
    pub(crate) fn unhurried(&self, now: Instant, due: Instant) -> Instant {
        if due.saturating_duration_since(now) < FAR_OFF {
            return due;
        }
        let since = due.saturating_duration_since(self.origin);
        let grid = GRID.as_nanos();
        let over = Duration::from_nanos((since.as_nanos() % grid) as u64);
        if over.is_zero() { due } else { due + (GRID - over) }
    }

    /// The outbox whose datagrams leave by the socket of `home`.
    pub(crate) fn outbox_of(&mut self, home: ShardIndex) -> &mut Outbox {
        if home == self.index {
            &mut self.outbox
        } else {
            self.remote_outboxes.entry(home).or_default()
        }
    }

    /// Changes the routes of a participant, whichever shard is their home.
    pub(crate) fn route(&mut self, home: ShardIndex, destination: Destination, route: Route) {
        if home == self.index {
            self.routes.apply(destination, route);
        } else {
            self.remote_routes.push((home, destination, route));
        }
    }
}
