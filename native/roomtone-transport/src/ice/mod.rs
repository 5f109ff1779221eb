//! ICE-lite (RFC 8445): we answer the peer's authenticated checks and remember which of its
//! addresses passed.
//!
//! A pair is one remote address, because the shard has one socket. Of the pairs that the peer has
//! nominated and that were heard lately, the one with the highest priority is in use (RFC 8445
//! section 8.1.1); before any nomination the first that passed. A restart (a new offer with new
//! credentials) keeps the old credentials and the pair in use until a check with the new ones
//! nominates.

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

/// A pair in use that is silent for this long is left for one that isn't, nominated or not: the
/// peer's NAT may have given it a new port, and some clients don't repeat USE-CANDIDATE.
const STALE: Duration = Duration::from_secs(5);
/// A pair that carried the peer's media and is silent for this long is left for the one that
/// carries it now.
const MOVED: Duration = Duration::from_secs(1);

const ICE_CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const UFRAG_LEN: usize = 8;
const PWD_LEN: usize = 24;

/// Both sides' credentials of one ICE session. Debug shows no password.
pub(crate) struct Credentials {
    local_ufrag: String,
    local_pwd: String,
    remote_ufrag: String,
    remote_pwd: String,
    /// The USERNAME that a request must have.
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
    /// The last media packet.
    last_media: Option<Instant>,
    /// PRIORITY of the peer's last check.
    priority: u32,
    /// Nominated, and as which one: later nominations have higher numbers.
    nominated: Option<u64>,
    /// The peer's media moved to another pair, and hasn't come back.
    left: bool,
}

impl Pair {
    fn silent(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.last_heard)
    }

    fn is_usable(&self, now: Instant) -> bool {
        !self.left && self.silent(now) < STALE
    }
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
    nominations: u64,
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
            nominations: 0,
            max_pairs: max_pairs.max(1),
            last_heard: now,
            events: Vec::new(),
            requests: 0,
            rejected: 0,
        })
    }

    /// Takes a new offer: other credentials in it restart ICE. Returns the credentials for the
    /// answer.
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
        // The peer is alive: its offer came through the signalling.
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

    /// Other credentials have been answered, and no check with them has nominated yet.
    pub(crate) fn is_restarting(&self) -> bool {
        self.next.is_some()
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

    /// An authentic media packet came from a validated address.
    pub(crate) fn heard(&mut self, now: Instant, from: SocketAddr) {
        self.last_heard = now;
        let Some(pair) = self.pairs.iter_mut().find(|pair| pair.address == from) else {
            return;
        };
        pair.last_heard = now;
        pair.last_media = Some(now);
        let returned = std::mem::replace(&mut pair.left, false);
        if self.selected != Some(from) {
            self.follow(now, returned);
        }
    }

    // Media came from another pair than the one in use.
    fn follow(&mut self, now: Instant, returned: bool) {
        let selected = self.selected;
        let in_use = self.pairs.iter_mut().find(|pair| Some(pair.address) == selected);
        let moved =
            in_use.filter(|pair| pair.silent(now) >= MOVED && pair.last_media.is_some_and(|at| now < at + STALE));
        if let Some(pair) = moved {
            pair.left = true;
            self.reselect(now);
        } else if returned {
            self.reselect(now);
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
            // Without this answer the peer would wait for our checks for ever. The address is not
            // validated by it.
            return request.conflict(password, crypto);
        }
        let response = request.success(from, password, crypto)?;
        let pair = self.validate(now, from);
        self.pairs[pair].priority = request.priority;
        if request.nominates {
            // `take` only once it is known to be the new ones: a nomination with the old ones ends no restart.
            if is_next && let Some(next) = self.next.take() {
                let old = std::mem::replace(&mut self.current, next);
                self.events.push(IceEvent::UfragRetired(old.local_ufrag));
                self.pairs.iter_mut().for_each(|pair| pair.nominated = None);
            }
            self.nominations += 1;
            self.pairs[pair].nominated = Some(self.nominations);
        } else if self.pairs[pair]
            .nominated
            .is_some_and(|number| number < self.nominations)
        {
            // A peer that has chosen another pair since, and doesn't repeat its choice of this one,
            // has left it.
            self.pairs[pair].nominated = None;
        }
        self.reselect(now);
        Some(response)
    }

    // The pair of an address that has passed a check.
    fn validate(&mut self, now: Instant, from: SocketAddr) -> usize {
        self.last_heard = now;
        // Said again with each check: an address that somebody else has claimed meanwhile comes
        // back to its owner.
        self.events.push(IceEvent::Validated(from));
        if let Some(index) = self.pairs.iter().position(|pair| pair.address == from) {
            self.pairs[index].last_heard = now;
            return index;
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
            last_media: None,
            priority: 0,
            nominated: None,
            left: false,
        });
        self.pairs.len() - 1
    }

    fn retire(&mut self, index: usize) {
        let pair = self.pairs.swap_remove(index);
        if self.selected == Some(pair.address) {
            self.selected = None;
        }
        self.events.push(IceEvent::Retired(pair.address));
    }

    /// Takes the best pair. A nominated one that was heard lately is better than any other, and of
    /// several the one with the highest priority, then the one nominated last. Without one, the
    /// pair in use stays until it goes silent; then it is the pair heard last.
    fn reselect(&mut self, now: Instant) {
        let selected = self.selected;
        let worth = |pair: &&Pair| {
            let usable = pair.is_usable(now);
            let nominated = pair.nominated.filter(|_| usable).map(|number| (pair.priority, number));
            let in_use = Some(pair.address) == selected;
            (usable, nominated, usable && in_use, pair.last_heard, in_use)
        };
        if let Some(best) = self.pairs.iter().max_by_key(worth) {
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
        let in_use = self.pairs.iter().find(|pair| Some(pair.address) == self.selected);
        let others = || self.pairs.iter().filter(|pair| Some(pair.address) != self.selected);
        // The pair in use goes silent while another one is heard.
        let stale = in_use.filter(|pair| others().any(|other| other.last_heard > pair.last_heard));
        let stale = stale.map(|pair| pair.last_heard + STALE);
        others().map(|pair| pair.last_heard + timeout).chain(stale).min()
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
