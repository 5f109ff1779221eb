//! The routing tables: which participant a datagram is for.

use std::collections::HashMap;
use std::net::SocketAddr;

use roomtone_transport::{Packet, PacketKind, classify, stun_local_ufrag};

use crate::command::{PeerId, RoomId};

/// The participant whom a datagram is for.
pub(crate) type Destination = (RoomId, PeerId);

/// A change of routes.
#[derive(Clone, Debug)]
pub(crate) enum Route {
    /// ICE has validated an address: it is the participant's from now on, whoever had it before.
    Address(SocketAddr),
    /// An address is no longer the participant's, unless it is somebody else's already.
    RetireAddress(SocketAddr),
    /// A ufrag was given to the participant.
    Ufrag(String),
    /// A ufrag is no longer in use.
    RetireUfrag(String),
}

/// The routing tables of a shard: source addresses that ICE has validated, and the ufrags that we gave out.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    by_address: HashMap<SocketAddr, Destination>,
    by_ufrag: HashMap<String, Destination>,
}

impl Routes {
    /// The destination of a packet: STUN goes by its ufrag, since an address may change hands (a NAT gives a port to somebody
    /// else); all else goes only by a validated address. `None`: the packet is dropped.
    pub(crate) fn find(&self, from: SocketAddr, packet: &Packet<'_>) -> Option<Destination> {
        match packet.local_ufrag() {
            Some(ufrag) => self.by_ufrag.get(ufrag).copied(),
            None => self.by_address.get(&from).copied(),
        }
    }

    /// Whether an address is a participant's.
    pub(crate) fn knows(&self, address: SocketAddr) -> bool {
        self.by_address.contains_key(&address)
    }

    /// Whether a datagram is a STUN request with a ufrag that we gave out.
    pub(crate) fn knows_ufrag_of(&self, datagram: &[u8]) -> bool {
        classify(datagram) == PacketKind::Stun
            && stun_local_ufrag(datagram).is_some_and(|ufrag| self.by_ufrag.contains_key(ufrag))
    }

    /// Makes a change.
    pub(crate) fn apply(&mut self, destination: Destination, route: Route) {
        match route {
            Route::Address(address) => {
                self.by_address.insert(address, destination);
            }
            Route::RetireAddress(address) => {
                if self.by_address.get(&address) == Some(&destination) {
                    self.by_address.remove(&address);
                }
            }
            Route::Ufrag(ufrag) => {
                self.by_ufrag.entry(ufrag).or_insert(destination);
            }
            Route::RetireUfrag(ufrag) => {
                self.by_ufrag.remove(&ufrag);
            }
        }
    }

    /// Forgets everything that leads into a room, for when the room itself can't be asked.
    pub(crate) fn remove_room(&mut self, room: RoomId) {
        self.by_address.retain(|_, destination| destination.0 != room);
        self.by_ufrag.retain(|_, destination| destination.0 != room);
    }

    /// Replaces all routes into a room. An address that is somebody else's by now stays theirs: the new routes may be older.
    pub(crate) fn replace_room(&mut self, room: RoomId, routes: Vec<(PeerId, Route)>) {
        self.remove_room(room);
        for (peer, route) in routes {
            match route {
                Route::Address(address) if self.by_address.contains_key(&address) => {}
                route => self.apply((room, peer), route),
            }
        }
    }

    /// How many addresses and ufrags are known, for tests of what strangers can make us remember.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.by_address.len(), self.by_ufrag.len())
    }
}
