//! ICE-lite (RFC 8445): we answer the peer's authenticated checks and remember which of its addresses passed.
//!
//! A pair is one remote address, because the shard has one socket. The pair in use is the one that the peer nominated
//! last; before any nomination the first that passed. A restart (a new offer with new credentials) keeps the old
//! credentials and the pair in use until a check with the new ones nominates.

mod stun;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc::crypto::RTCCryptoProvider;

use crate::demux::StunPacket;
use crate::sdp::Offer;
use stun::read_request;

/// A pair in use that is silent for this long is left for one that isn't, nominated or not: the peer's NAT may have
/// given it a new port, and some clients don't repeat USE-CANDIDATE.
const STALE: Duration = Duration::from_secs(5);

const ICE_CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const UFRAG_LEN: usize = 8;
const PWD_LEN: usize = 24;

/// Both sides' credentials of one ICE session. Debug shows no password.
pub(crate) struct Credentials {
    local_ufrag: String,
    local_pwd: String,
    remote_ufrag: String,
    remote_pwd: String,
    /// What USERNAME of a request has to be.
    username: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.username)
            .finish_non_exhaustive()
    }
}

impl Credentials {
    fn new(offer: &Offer, provider: &dyn RTCCryptoProvider) -> Option<Self> {
        let local_ufrag = random_text(UFRAG_LEN, provider)?;
        Some(Self {
            username: format!("{local_ufrag}:{}", offer.ice.ufrag),
            local_pwd: random_text(PWD_LEN, provider)?,
            local_ufrag,
            remote_ufrag: offer.ice.ufrag.clone(),
            remote_pwd: offer.ice.pwd.clone(),
        })
    }

    fn is_for(&self, offer: &Offer) -> bool {
        self.remote_ufrag == offer.ice.ufrag && self.remote_pwd == offer.ice.pwd
    }

    pub(crate) fn local(&self) -> (&str, &str) {
        (&self.local_ufrag, &self.local_pwd)
    }
}

/// ICE characters, six bits of randomness each.
pub(crate) fn random_text(len: usize, provider: &dyn RTCCryptoProvider) -> Option<String> {
    let mut bytes = vec![0; len];
    provider.random().fill(&mut bytes).ok()?;
    Some(
        bytes
            .iter()
            .map(|byte| ICE_CHARS[usize::from(byte & 63)] as char)
            .collect(),
    )
}

#[derive(Debug)]
struct Pair {
    address: SocketAddr,
    last_heard: Instant,
}

/// News for the endpoint's user.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum IceEvent {
    Validated(SocketAddr),
    Retired(SocketAddr),
    UfragRetired(String),
}

/// The lite agent of one endpoint.
#[derive(Debug)]
pub(crate) struct IceAgent {
    current: Credentials,
    next: Option<Credentials>,
    pairs: Vec<Pair>,
    selected: Option<SocketAddr>,
    max_pairs: usize,
    last_heard: Instant,
    pub(crate) events: Vec<IceEvent>,
    pub(crate) requests: u64,
    pub(crate) rejected: u64,
}

impl IceAgent {
    pub(crate) fn new(now: Instant, offer: &Offer, max_pairs: usize, provider: &dyn RTCCryptoProvider) -> Option<Self> {
        Some(Self {
            current: Credentials::new(offer, provider)?,
            next: None,
            pairs: Vec::new(),
            selected: None,
            max_pairs: max_pairs.max(1),
            last_heard: now,
            events: Vec::new(),
            requests: 0,
            rejected: 0,
        })
    }

    /// Takes a new offer: other credentials in it restart ICE. Returns the credentials for the answer.
    pub(crate) fn reoffer(
        &mut self,
        now: Instant,
        offer: &Offer,
        provider: &dyn RTCCryptoProvider,
    ) -> Option<&Credentials> {
        let pending = self.next.as_ref().is_some_and(|next| next.is_for(offer));
        let same = self.next.is_none() && self.current.is_for(offer);
        if !pending && !same {
            let fresh = Credentials::new(offer, provider)?;
            if let Some(unused) = self.next.replace(fresh) {
                self.events.push(IceEvent::UfragRetired(unused.local_ufrag));
            }
        }
        // The peer is alive, it just said so through the signalling.
        self.last_heard = now;
        Some(self.credentials())
    }

    /// The credentials that an answer carries now.
    pub(crate) fn credentials(&self) -> &Credentials {
        self.next.as_ref().unwrap_or(&self.current)
    }

    pub(crate) fn local_ufrags(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.current)
            .chain(&self.next)
            .map(|c| c.local_ufrag.as_str())
    }

    /// The address to send to.
    pub(crate) fn selected(&self) -> Option<SocketAddr> {
        self.selected
    }

    pub(crate) fn is_validated(&self, address: SocketAddr) -> bool {
        self.pairs.iter().any(|pair| pair.address == address)
    }

    /// When something authentic was last heard from the peer.
    pub(crate) fn last_heard(&self) -> Instant {
        self.last_heard
    }

    /// An authentic packet came from a validated address.
    pub(crate) fn heard(&mut self, now: Instant, from: SocketAddr) {
        self.last_heard = now;
        if let Some(pair) = self.pairs.iter_mut().find(|pair| pair.address == from) {
            pair.last_heard = now;
        }
    }

    /// Answers a request. `None` for everything that isn't an authentic request to us.
    pub(crate) fn handle(
        &mut self,
        now: Instant,
        from: SocketAddr,
        packet: StunPacket<'_>,
        provider: &dyn RTCCryptoProvider,
    ) -> Option<BytesMut> {
        let answer = self.answer(now, from, packet, provider);
        match answer {
            Some(_) => self.requests += 1,
            None => self.rejected += 1,
        }
        answer
    }

    fn answer(
        &mut self,
        now: Instant,
        from: SocketAddr,
        packet: StunPacket<'_>,
        provider: &dyn RTCCryptoProvider,
    ) -> Option<BytesMut> {
        let username = packet.username?;
        let is_next = self.next.as_ref().is_some_and(|c| c.username == username);
        let credentials = match &self.next {
            Some(next) if is_next => next,
            _ if self.current.username == username => &self.current,
            _ => return None,
        };
        let crypto = provider.crypto();
        let password = &credentials.local_pwd;
        let request = read_request(packet.bytes, username, password, crypto)?;
        if request.role_conflict {
            // Without this answer the peer would wait for our checks for ever. The address is not validated by it.
            return request.conflict(password, crypto);
        }
        let response = request.success(from, password, crypto)?;
        self.validate(now, from);
        if request.nominates {
            self.selected = Some(from);
            // `take` only once it is known to be the new ones: a nomination with the old ones ends no restart.
            if is_next && let Some(next) = self.next.take() {
                let old = std::mem::replace(&mut self.current, next);
                self.events.push(IceEvent::UfragRetired(old.local_ufrag));
            }
        }
        self.reselect(now);
        Some(response)
    }

    fn validate(&mut self, now: Instant, from: SocketAddr) {
        self.last_heard = now;
        if let Some(pair) = self.pairs.iter_mut().find(|pair| pair.address == from) {
            pair.last_heard = now;
            // Said again with each check: an address that somebody else has claimed meanwhile comes back to its owner.
            self.events.push(IceEvent::Validated(from));
            return;
        }
        if self.pairs.len() >= self.max_pairs {
            let selected = self.selected;
            let oldest = self
                .pairs
                .iter()
                .enumerate()
                .filter(|(_, pair)| Some(pair.address) != selected || self.max_pairs == 1)
                .min_by_key(|(_, pair)| pair.last_heard)
                .map(|(index, _)| index);
            if let Some(index) = oldest {
                self.retire(index);
            }
        }
        self.pairs.push(Pair {
            address: from,
            last_heard: now,
        });
        self.events.push(IceEvent::Validated(from));
    }

    fn retire(&mut self, index: usize) {
        let pair = self.pairs.swap_remove(index);
        if self.selected == Some(pair.address) {
            self.selected = None;
        }
        self.events.push(IceEvent::Retired(pair.address));
    }

    /// Takes the pair heard last when there is none in use, or when that one went silent.
    fn reselect(&mut self, now: Instant) {
        let in_use = self
            .pairs
            .iter()
            .find(|pair| Some(pair.address) == self.selected)
            .map(|pair| pair.last_heard);
        if in_use.is_some_and(|heard| now.saturating_duration_since(heard) < STALE) {
            return;
        }
        if let Some(best) = self.pairs.iter().max_by_key(|pair| pair.last_heard)
            && in_use.is_none_or(|heard| best.last_heard > heard)
        {
            self.selected = Some(best.address);
        }
    }

    /// Lets go of the addresses that are silent for `timeout`, except the one in use.
    pub(crate) fn expire(&mut self, now: Instant, timeout: Duration) {
        self.reselect(now);
        let selected = self.selected;
        while let Some(index) = self.pairs.iter().position(|pair| {
            Some(pair.address) != selected && now.saturating_duration_since(pair.last_heard) >= timeout
        }) {
            self.retire(index);
        }
    }

    /// When [`expire`](Self::expire) has something to do next.
    pub(crate) fn next_expiry(&self, timeout: Duration) -> Option<Instant> {
        self.pairs
            .iter()
            .filter(|pair| Some(pair.address) != self.selected)
            .map(|pair| pair.last_heard + timeout)
            .min()
    }

    /// Gives every address back.
    pub(crate) fn retire_all(&mut self) {
        while !self.pairs.is_empty() {
            self.retire(self.pairs.len() - 1);
        }
    }

    /// The addresses that were validated.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.pairs.iter().map(|pair| pair.address)
    }

    /// How many these are.
    pub(crate) fn pair_count(&self) -> usize {
        self.pairs.len()
    }
}
