//! An allocation: a client's permission to exchange datagrams with the media path.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rtc::stun::message::TransactionId;

use crate::PeerIndex;

/// RFC 8656 section 9.
const PERMISSION: Duration = Duration::from_secs(300);
/// RFC 8656 section 12.
const CHANNEL: Duration = Duration::from_secs(600);

pub(crate) struct Allocation {
    pub(crate) client: SocketAddr,
    /// Its owner, without the expiry of the credentials that made it.
    pub(crate) identity: String,
    pub(crate) username: String,
    /// Of the request that made it: a repeat of it is answered alike (RFC 8656 section 7.2).
    pub(crate) transaction: TransactionId,
    pub(crate) relayed: SocketAddr,
    pub(crate) until: Instant,
    // There are as many at most as the media path has addresses.
    permissions: Vec<(IpAddr, Instant)>,
    channels: Vec<(u16, PeerIndex, Instant)>,
}

impl Allocation {
    pub(crate) fn new(
        client: SocketAddr,
        username: &str,
        identity: &str,
        transaction: TransactionId,
        relayed: SocketAddr,
        until: Instant,
    ) -> Allocation {
        Allocation {
            client,
            identity: identity.to_owned(),
            username: username.to_owned(),
            transaction,
            relayed,
            until,
            permissions: Vec::new(),
            channels: Vec::new(),
        }
    }

    pub(crate) fn permit(&mut self, now: Instant, ip: IpAddr) {
        let until = now + PERMISSION;
        match self.permissions.iter_mut().find(|(permitted, _)| *permitted == ip) {
            Some((_, old)) => *old = until,
            None => self.permissions.push((ip, until)),
        }
    }

    pub(crate) fn permits(&self, now: Instant, ip: IpAddr) -> bool {
        self.permissions
            .iter()
            .any(|(permitted, until)| *permitted == ip && *until > now)
    }

    /// Binds a channel, or its binding goes on. False if either of the two is bound otherwise.
    pub(crate) fn bind(&mut self, now: Instant, number: u16, peer: PeerIndex) -> bool {
        self.channels.retain(|(_, _, until)| *until > now);
        let until = now + CHANNEL;
        match self
            .channels
            .iter_mut()
            .find(|(bound, to, _)| *bound == number || *to == peer)
        {
            Some((bound, to, old)) if *bound == number && *to == peer => *old = until,
            Some(_) => return false,
            None => self.channels.push((number, peer, until)),
        }
        true
    }

    pub(crate) fn peer_of(&self, now: Instant, number: u16) -> Option<PeerIndex> {
        let mut channels = self.channels.iter();
        channels
            .find(|(bound, _, until)| *bound == number && *until > now)
            .map(|(_, peer, _)| *peer)
    }

    pub(crate) fn channel_of(&self, now: Instant, peer: PeerIndex) -> Option<u16> {
        let mut channels = self.channels.iter();
        channels
            .find(|(_, to, until)| *to == peer && *until > now)
            .map(|(number, _, _)| *number)
    }
}
