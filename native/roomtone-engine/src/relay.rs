//! What the shards of a node tell each other about rooms that were moved from one to another.
//!
//! A participant keeps the address that they were told when they came: that of their *home*, the shard whose socket it is. When
//! their room moves on, the home hands their datagrams over to the shard where the room is now, and what is for them goes out by the
//! home's socket, written there by whichever thread runs the room. Nobody on the far side can see the difference.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::SocketAddr;

use roomtone_transport::Outbox;

use crate::command::{Command, RoomId};
use crate::room::Room;
use crate::routes::{Place, Routes};

/// A shard's index in the engine.
pub type ShardIndex = usize;

/// News from one shard to another.
pub struct Relay(pub(crate) Parcel);

pub(crate) enum Parcel {
    /// A room moves in.
    Room(Box<Moving>),
    /// A datagram for somebody in a room that has moved.
    Datagram {
        place: Place,
        from: SocketAddr,
        data: Vec<u8>,
    },
    /// An order about a room that has moved.
    Command(Command),
    /// A change of the routes of somebody whose home this is.
    Route(Place, Route),
    /// The room is no more.
    Gone(RoomId),
    /// The room, which was once here, is with the sender.
    Lives(RoomId),
    /// The sender has begun another life: what it knew is lost.
    Reborn,
}

impl Relay {
    /// Whether it may be lost: sound that comes late is worth nothing.
    pub(crate) fn is_fleeting(&self) -> bool {
        matches!(self.0, Parcel::Datagram { .. })
    }
}

/// A room on its way.
pub(crate) struct Moving {
    pub(crate) id: RoomId,
    pub(crate) room: Room,
    /// The shards that have something to forget when it is gone.
    pub(crate) trail: Vec<ShardIndex>,
}

/// A change of routes.
#[derive(Clone, Debug)]
pub(crate) enum Route {
    Address(SocketAddr),
    RetireAddress(SocketAddr),
    Ufrag(String),
    RetireUfrag(String),
}

impl Route {
    /// Makes the change.
    pub(crate) fn apply(self, routes: &mut Routes, place: Place) {
        match self {
            Route::Address(address) => routes.address(address, place),
            Route::RetireAddress(address) => routes.retire_address(address, place),
            Route::Ufrag(ufrag) => routes.ufrag(&ufrag, place),
            Route::RetireUfrag(ufrag) => routes.retire_ufrag(&ufrag),
        }
    }
}

/// What a shard knows of the others.
#[derive(Default)]
pub(crate) struct Neighbours {
    /// Its own index.
    pub(crate) index: ShardIndex,
    /// How many shards there are.
    pub(crate) count: usize,
    /// Where rooms went that were here.
    pub(crate) moved: HashMap<RoomId, ShardIndex>,
    /// Where rooms were that are here now.
    pub(crate) trails: HashMap<RoomId, Vec<ShardIndex>>,
    /// What is to be sent by the sockets of others.
    pub(crate) outboxes: BTreeMap<ShardIndex, Outbox>,
    relays: VecDeque<(ShardIndex, Relay)>,
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
        for to in (0..self.count).filter(|to| *to != self.index) {
            self.relays.push_back((to, Relay(parcel())));
        }
    }
}
