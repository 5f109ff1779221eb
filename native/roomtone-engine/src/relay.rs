//! What the shards of a node tell each other about rooms that were moved from one to another.
//!
//! A participant keeps the address that they were told when they came: that of their *home*, the shard whose socket it is. When
//! their room moves on, the home hands their datagrams over to the shard where the room is now, and what is for them goes out by the
//! home's socket, written there by whichever thread runs the room. Nobody on the far side can see the difference.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use crate::command::{PeerId, RoomId, ShardIndex};
use crate::orders::Orders;
use crate::routes::{Destination, Route};

/// News from one shard to another.
pub struct Relay(pub(crate) Parcel);

pub(crate) enum Parcel {
    /// A datagram for somebody in a room that has moved.
    Datagram {
        destination: Destination,
        from: SocketAddr,
        data: Vec<u8>,
    },
    /// A change of the routes of somebody whose home this is.
    Route(Destination, Route),
    /// The room is no more.
    Gone(RoomId),
    /// The room, which was once here, is with the sender; all routes of those whose home this is.
    Lives(RoomId, Vec<(PeerId, Route)>),
    /// The sender has begun another life: what it knew is lost.
    Reborn,
}

impl Relay {
    /// What is to be told later if this can't be delivered now.
    fn debt(&self) -> Option<Debt> {
        match &self.0 {
            // Sound that comes late is worth nothing.
            Parcel::Datagram { .. } => None,
            Parcel::Route((room, _), _) | Parcel::Gone(room) | Parcel::Lives(room, _) => Some(Debt::Room(*room)),
            Parcel::Reborn => Some(Debt::Reborn),
        }
    }
}

/// What another shard is still to be told. Not the news that couldn't be delivered, which are out of date by then and may be any number:
/// how things are with a room then. So there is nothing that could be overtaken, and no more than there are rooms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Debt {
    /// First of all: what it is told of rooms afterwards is of the new life.
    Reborn,
    Room(RoomId),
}

/// What a shard knows of the others.
#[derive(Default)]
pub(crate) struct Neighbours {
    /// The shard's own index.
    pub(crate) index: ShardIndex,
    /// What is ordered of all the shards' rooms, and the rooms' addresses.
    pub(crate) orders: Arc<Orders>,
    /// Where rooms went that were here, for their participants' datagrams.
    pub(crate) moved: HashMap<RoomId, ShardIndex>,
    /// Rooms that leave once the world has heard all that happened in them here.
    pub(crate) departing: BTreeMap<RoomId, ShardIndex>,
    /// Whether rooms came of which the world has not heard.
    pub(crate) unheard: bool,
    relays: VecDeque<(ShardIndex, Relay)>,
    debts: BTreeMap<ShardIndex, BTreeSet<Debt>>,
}

impl Neighbours {
    /// The next piece of news, and for whom.
    pub(crate) fn poll(&mut self) -> Option<(ShardIndex, Relay)> {
        self.relays.pop_front()
    }

    pub(crate) fn tell(&mut self, to: ShardIndex, parcel: Parcel) {
        self.relays.push_back((to, Relay(parcel)));
    }

    pub(crate) fn tell_all(&mut self, parcel: impl Fn() -> Parcel) {
        for to in (0..self.orders.shards()).filter(|to| *to != self.index) {
            self.relays.push_back((to, Relay(parcel())));
        }
    }

    /// A piece of news that can't be delivered.
    pub(crate) fn put_off(&mut self, to: ShardIndex, relay: &Relay) {
        if let Some(debt) = relay.debt() {
            self.debts.entry(to).or_default().insert(debt);
        }
    }

    /// What is to be told next of what was put off.
    pub(crate) fn next_debt(&mut self, to: ShardIndex) -> Option<Debt> {
        let debts = self.debts.get_mut(&to)?;
        let debt = debts.pop_first();
        if debts.is_empty() {
            self.debts.remove(&to);
        }
        debt
    }

    /// Whether there is any such thing.
    pub(crate) fn owes(&self) -> bool {
        !self.debts.is_empty()
    }
}
