//! Which participant a datagram is for.

use std::collections::HashMap;
use std::net::SocketAddr;

use roomtone_transport::{PacketKind, classify, stun_local_ufrag};

use crate::command::{PeerId, RoomId};
use crate::relay::Route;

/// Where a participant is.
pub(crate) type Place = (RoomId, PeerId);

/// The routing tables of a shard: source addresses that ICE has validated, and the ufrags that we gave out.
#[derive(Debug, Default)]
pub(crate) struct Routes {
    by_address: HashMap<SocketAddr, Place>,
    by_ufrag: HashMap<String, Place>,
}

impl Routes {
    /// Who gets this datagram: STUN goes by its ufrag, since an address may change hands (a NAT gives a port to somebody else);
    /// all else only by a validated address. `None`: nobody, it isn't looked at further.
    pub(crate) fn find(&self, from: SocketAddr, datagram: &[u8]) -> Option<Place> {
        if classify(datagram) == PacketKind::Stun
            && let Some(ufrag) = stun_local_ufrag(datagram)
        {
            return self.by_ufrag.get(ufrag).copied();
        }
        self.by_address.get(&from).copied()
    }

    /// ICE has validated an address: it belongs to `place` from now on, whoever had it before.
    pub(crate) fn address(&mut self, address: SocketAddr, place: Place) {
        self.by_address.insert(address, place);
    }

    /// An address is no longer `place`'s, unless it is somebody else's already.
    pub(crate) fn retire_address(&mut self, address: SocketAddr, place: Place) {
        if self.by_address.get(&address) == Some(&place) {
            self.by_address.remove(&address);
        }
    }

    /// A ufrag that was given to `place`.
    pub(crate) fn ufrag(&mut self, ufrag: &str, place: Place) {
        if !self.by_ufrag.contains_key(ufrag) {
            self.by_ufrag.insert(ufrag.to_owned(), place);
        }
    }

    /// A ufrag that is used no more.
    pub(crate) fn retire_ufrag(&mut self, ufrag: &str) {
        self.by_ufrag.remove(ufrag);
    }

    /// Forgets everything that leads into a room, for when the room itself can't be asked.
    pub(crate) fn remove_room(&mut self, room: RoomId) {
        self.by_address.retain(|_, place| place.0 != room);
        self.by_ufrag.retain(|_, place| place.0 != room);
    }

    /// All routes into a room anew, as somebody knows them who may not have heard that an address is somebody else's by now.
    pub(crate) fn replace_room(&mut self, room: RoomId, routes: Vec<(PeerId, Route)>) {
        self.remove_room(room);
        for (peer, route) in routes {
            match route {
                Route::Address(address) if self.by_address.contains_key(&address) => {}
                route => route.apply(self, (room, peer)),
            }
        }
    }

    /// How many addresses and ufrags are known, for tests of what strangers can make us remember.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.by_address.len(), self.by_ufrag.len())
    }
}
