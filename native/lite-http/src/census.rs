//! How many are connected, and from where. Knows nothing of the BEAM.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Counts of connections.
#[derive(Default)]
pub struct Census {
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A place among the connections; free again when dropped.
pub struct Seat {
    census: Arc<Census>,
    address: IpAddr,
}

impl Census {
    /// A place for `address`, if there is one among `most` and it has fewer than `most_of_one`.
    pub fn admit(census: &Arc<Self>, address: IpAddr, most: usize, most_of_one: usize) -> Option<Seat> {
        let address = group(address);
        let mut counts = census.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let from_here = counts.by_address.get(&address).copied().unwrap_or(0);
        if counts.total >= most || from_here >= most_of_one {
            return None;
        }
        counts.total += 1;
        counts.by_address.insert(address, from_here + 1);
        Some(Seat {
            census: Arc::clone(census),
            address,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self.census.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.total -= 1;
        if let Some(count) = counts.by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.by_address.remove(&self.address);
            }
        }
    }
}

/// One household: an IPv4 address, or an IPv6 /64, since a client has all addresses of that.
fn group(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from(u128::from(ip) & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_and_all_together_have_a_limit_and_places_come_free() {
        let census = Arc::new(Census::default());
        let admit = |address: &str| Census::admit(&census, address.parse().unwrap(), 3, 2);
        let first = admit("10.0.0.1").unwrap();
        let _second = admit("::ffff:10.0.0.1").unwrap();
        assert!(admit("10.0.0.1").is_none(), "a mapped address is the same household");
        let _third = admit("10.0.0.2").unwrap();
        assert!(admit("10.0.0.3").is_none(), "the total is reached");
        drop(first);
        assert!(admit("10.0.0.1").is_some());
        assert_eq!(census.counts.lock().unwrap().by_address.len(), 2);
    }

    #[test]
    fn a_64_network_is_one_household() {
        let census = Arc::new(Census::default());
        let admit = |address: &str| Census::admit(&census, address.parse().unwrap(), 3, 2);
        let _seats = (admit("2001:db8::1").unwrap(), admit("2001:db8::2").unwrap());
        assert!(admit("2001:db8:0:0:ffff::3").is_none());
        assert!(admit("2001:db8:0:1::1").is_some());
    }
}
