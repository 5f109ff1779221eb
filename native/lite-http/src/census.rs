//! How many are connected, from where, and which of them haven't sent a whole request yet. Knows nothing of the BEAM.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Seats of the reserve that one address may have.
const RESERVE_OF_ONE: usize = 4;

/// How many connections there may be.
#[derive(Clone, Debug)]
pub struct Rules {
    /// In all, without the reserve.
    pub most: usize,
    /// From one address (IPv6: one /64).
    pub most_of_one: usize,
    /// Beyond `most`, for requests that are served first.
    pub reserve: usize,
    /// Networks that `most_of_one` doesn't hold for: proxies, from which everybody comes.
    pub unlimited: Vec<Network>,
}

/// An address and how many of its first bits count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Reads `192.0.2.0/24`, or an address alone.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(width);
        (bits <= width).then_some(Self { address, bits })
    }

    fn contains(&self, other: IpAddr) -> bool {
        match (self.address, other.to_canonical()) {
            (IpAddr::V4(one), IpAddr::V4(other)) => {
                let shift = 32 - u32::from(self.bits);
                u64::from(u32::from(one)) >> shift == u64::from(u32::from(other)) >> shift
            }
            (IpAddr::V6(one), IpAddr::V6(other)) => {
                let differing = u128::from(one) ^ u128::from(other);
                differing.leading_zeros() >= u32::from(self.bits)
            }
            _ => false,
        }
    }
}

/// Counts of connections.
#[derive(Default)]
pub struct Census {
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    total: usize,
    reserved: usize,
    by_address: HashMap<IpAddr, usize>,
    reserved_by_address: HashMap<IpAddr, usize>,
    /// Those without a whole request, the longest-waiting first.
    waiting: BTreeMap<u64, (IpAddr, Arc<Notify>)>,
    next: u64,
}

/// A place among the connections; free again when dropped.
pub struct Seat {
    census: Arc<Census>,
    address: IpAddr,
    reserve: bool,
    evicted: Arc<Notify>,
    /// Its number among those that wait; `None` while a request is served.
    waiting: Mutex<Option<u64>>,
}

impl Census {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for `address`, if the rules leave one.
    ///
    /// Where connections are scarce, the one that has been without a whole request for longest makes way: one of the same address where
    /// that address has too many, and any where there are too many in all. If all of them are busy, there is the reserve.
    pub fn admit(census: &Arc<Self>, address: IpAddr, rules: &Rules) -> Option<Seat> {
        let unlimited = rules.unlimited.iter().any(|network| network.contains(address));
        let address = group(address);
        let mut counts = census.counts();
        let from_here = counts.by_address.get(&address).copied().unwrap_or(0);
        if !unlimited && from_here >= rules.most_of_one && !counts.evict(Some(address)) {
            return None;
        }
        let reserve = counts.total >= rules.most && !counts.evict(None);
        if reserve {
            let mine = counts.reserved_by_address.get(&address).copied().unwrap_or(0);
            if counts.reserved >= rules.reserve || (mine >= RESERVE_OF_ONE && !unlimited) {
                return None;
            }
            counts.reserved += 1;
            counts.reserved_by_address.insert(address, mine + 1);
        } else {
            counts.total += 1;
            *counts.by_address.entry(address).or_insert(0) += 1;
        }
        let evicted = Arc::new(Notify::new());
        let number = (!reserve).then(|| counts.wait(address, &evicted));
        Some(Seat {
            census: Arc::clone(census),
            address,
            reserve,
            evicted,
            waiting: Mutex::new(number),
        })
    }
}

impl Counts {
    fn wait(&mut self, address: IpAddr, evicted: &Arc<Notify>) -> u64 {
        self.next += 1;
        self.waiting.insert(self.next, (address, Arc::clone(evicted)));
        self.next
    }

    /// Ends the oldest of those that wait, from this address or from any; its place is free at once.
    fn evict(&mut self, address: Option<IpAddr>) -> bool {
        let found = self
            .waiting
            .iter()
            .find(|(_, (other, _))| address.is_none_or(|address| address == *other))
            .map(|(number, _)| *number);
        let Some((address, evicted)) = found.and_then(|number| self.waiting.remove(&number)) else {
            return false;
        };
        self.leave(address);
        evicted.notify_one();
        true
    }

    fn leave(&mut self, address: IpAddr) {
        self.total -= 1;
        decrement(&mut self.by_address, address);
    }
}

fn decrement(counts: &mut HashMap<IpAddr, usize>, address: IpAddr) {
    if let Some(count) = counts.get_mut(&address) {
        *count -= 1;
        if *count == 0 {
            counts.remove(&address);
        }
    }
}

impl Seat {
    /// Whether it is one of the reserve, which is for requests that are served first.
    pub fn reserve(&self) -> bool {
        self.reserve
    }

    /// A whole request has arrived: this connection makes way for nobody.
    pub fn busy(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = *waiting {
            // One that was evicted a moment ago stays so.
            if self.census.counts().waiting.remove(&number).is_some() {
                *waiting = None;
            }
        }
    }

    /// The request was answered, and the next one hasn't come yet.
    pub fn idle(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.is_none() && !self.reserve {
            *waiting = Some(self.census.counts().wait(self.address, &self.evicted));
        }
    }

    /// Returns once it has to make way.
    pub async fn evicted(&self) {
        self.evicted.notified().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let waiting = self.waiting.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let mut counts = self.census.counts();
        if self.reserve {
            counts.reserved -= 1;
            decrement(&mut counts.reserved_by_address, self.address);
        } else {
            // Of one that was evicted the place is free already.
            let evicted = waiting.is_some_and(|number| counts.waiting.remove(&number).is_none());
            if !evicted {
                counts.leave(self.address);
            }
        }
    }
}

/// One household: an IPv4 address, or an IPv6 /64, since a client has all addresses of that.
pub fn group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from(u128::from(ip) & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(most: usize, most_of_one: usize) -> Rules {
        Rules {
            most,
            most_of_one,
            reserve: 2,
            unlimited: vec![Network::parse("127.0.0.0/8").unwrap()],
        }
    }

    fn admit(census: &Arc<Census>, address: &str, rules: &Rules) -> Option<Seat> {
        Census::admit(census, address.parse().unwrap(), rules)
    }

    fn busy(census: &Arc<Census>, address: &str, rules: &Rules) -> Option<Seat> {
        let seat = admit(census, address, rules)?;
        seat.busy();
        Some(seat)
    }

    #[test]
    fn an_address_and_all_together_have_a_limit_and_places_come_free() {
        let census = Arc::new(Census::default());
        let rules = Rules {
            reserve: 0,
            ..rules(3, 2)
        };
        let first = busy(&census, "10.0.0.1", &rules).unwrap();
        let _second = busy(&census, "::ffff:10.0.0.1", &rules).unwrap();
        assert!(
            admit(&census, "10.0.0.1", &rules).is_none(),
            "a mapped address is the same household"
        );
        let _third = busy(&census, "10.0.0.2", &rules).unwrap();
        assert!(admit(&census, "10.0.0.3", &rules).is_none(), "the total is reached");
        drop(first);
        assert!(admit(&census, "10.0.0.1", &rules).is_some());
        assert_eq!(census.counts().by_address.len(), 2);
        assert_eq!(census.counts().total, 2);
    }

    #[test]
    fn a_64_network_is_one_household() {
        let census = Arc::new(Census::default());
        let rules = rules(9, 2);
        let _seats = (
            busy(&census, "2001:db8::1", &rules).unwrap(),
            busy(&census, "2001:db8::2", &rules).unwrap(),
        );
        assert!(admit(&census, "2001:db8:0:0:ffff::3", &rules).is_none());
        assert!(admit(&census, "2001:db8:0:1::1", &rules).is_some());
    }

    #[tokio::test]
    async fn the_oldest_without_a_request_makes_way() {
        let census = Arc::new(Census::default());
        let rules = rules(3, 3);
        let served = busy(&census, "10.0.0.1", &rules).unwrap();
        let oldest = admit(&census, "10.0.0.2", &rules).unwrap();
        let younger = admit(&census, "10.0.0.3", &rules).unwrap();
        let newcomer = admit(&census, "10.0.0.4", &rules).unwrap();
        oldest.evicted().await;
        drop(oldest);
        assert_eq!(census.counts().total, 3);
        // It has a request now, so the other one goes.
        newcomer.busy();
        let _next = admit(&census, "10.0.0.5", &rules).unwrap();
        younger.evicted().await;
        // Between two requests a connection waits again, behind those who came before.
        served.idle();
        assert_eq!(census.counts().waiting.len(), 2);
    }

    #[tokio::test]
    async fn an_address_with_too_many_makes_place_by_itself() {
        let census = Arc::new(Census::default());
        let rules = rules(9, 2);
        let other = admit(&census, "10.0.0.9", &rules).unwrap();
        let first = admit(&census, "10.0.0.1", &rules).unwrap();
        let _second = admit(&census, "10.0.0.1", &rules).unwrap();
        let _third = admit(&census, "10.0.0.1", &rules).unwrap();
        first.evicted().await;
        assert_eq!(census.counts().waiting.len(), 3, "another address is left alone");
        drop(other);
    }

    #[test]
    fn a_proxy_has_no_limit_of_its_own() {
        let census = Arc::new(Census::default());
        let rules = rules(9, 2);
        let seats: Vec<_> = (0..9).map(|_| busy(&census, "127.0.0.1", &rules).unwrap()).collect();
        assert!(seats.iter().all(|seat| !seat.reserve()));
    }

    #[test]
    fn when_all_are_busy_there_is_a_reserve() {
        let census = Arc::new(Census::default());
        let rules = rules(1, 9);
        let _only = busy(&census, "10.0.0.1", &rules).unwrap();
        let first = admit(&census, "10.0.0.2", &rules).unwrap();
        let second = admit(&census, "10.0.0.2", &rules).unwrap();
        assert!(first.reserve() && second.reserve());
        assert!(admit(&census, "10.0.0.2", &rules).is_none());
        drop(first);
        assert!(admit(&census, "10.0.0.3", &rules).is_some());
        assert_eq!(census.counts().total, 1);
    }

    #[test]
    fn networks_are_read_and_compared() {
        let inside = |network: &str, address: &str| Network::parse(network).unwrap().contains(address.parse().unwrap());
        assert!(inside("10.0.0.0/8", "10.255.0.1") && !inside("10.0.0.0/8", "11.0.0.1"));
        assert!(inside("192.0.2.7", "::ffff:192.0.2.7") && inside("0.0.0.0/0", "192.0.2.7"));
        assert!(inside("2001:db8::/32", "2001:db8:ffff::1") && !inside("2001:db8::/32", "2001:db9::1"));
        assert!(inside("::/0", "2001:db9::1") && !inside("::/0", "192.0.2.7"));
        for wrong in ["", "10.0.0.0/33", "::1/129", "10.0.0/8", "a/8", "10.0.0.0/"] {
            assert_eq!(Network::parse(wrong), None, "{wrong}");
        }
    }
}
