//! The name of a path that isn't a UDP address: a TCP connection.
//!
//! The core knows a path by the address at its other end. For UDP that is enough. A connection has the same kind of address, and must
//! not be taken for a UDP path to that address and port, nor for an earlier connection from there, so it gets the two fields that a UDP
//! address doesn't need: the flow label holds the shard that has the connection, the scope its number there. Anything that shows
//! the address and port to the client (XOR-MAPPED-ADDRESS) shows the true ones.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

use crate::command::ShardIndex;
use crate::pktinfo::OURS;

/// The number of a connection at its shard.
pub(crate) type LinkId = u32;

/// The name of a connection.
pub(crate) fn link_address(peer: SocketAddr, shard: ShardIndex, link: LinkId) -> SocketAddr {
    let ip = match peer.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    // There are a few shards, not 2³².
    let shard = u32::try_from(shard).unwrap_or(u32::MAX - 1) + 1;
    SocketAddrV6::new(ip, peer.port(), shard, link).into()
}

/// The shard and the number of a connection; `None` for the address of a UDP path, which may have the number of an address of ours there
/// ([`crate::pktinfo`]).
pub(crate) fn link_of(address: SocketAddr) -> Option<(ShardIndex, LinkId)> {
    match address {
        SocketAddr::V6(v6) if v6.flowinfo() != 0 && v6.flowinfo() & OURS == 0 => {
            Some((v6.flowinfo() as usize - 1, v6.scope_id()))
        }
        _ => None,
    }
}

/// The address of a datagram's sender, without a flow label: what the system tells of it must not name a connection.
pub(crate) fn udp_address(mut from: SocketAddr) -> SocketAddr {
    if let SocketAddr::V6(v6) = &mut from {
        v6.set_flowinfo(0);
    }
    from
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_from_one_address_differ_from_each_other_and_from_udp() {
        for peer in ["192.0.2.1:5000", "[2001:db8::1]:5000", "[fe80::1%3]:5000"] {
            let peer: SocketAddr = peer.parse().unwrap();
            let (one, two) = (link_address(peer, 0, 7), link_address(peer, 1, 7));
            assert_eq!((link_of(one), link_of(two)), (Some((0, 7)), Some((1, 7))));
            assert_ne!(one, two);
            assert_eq!(one.ip().to_canonical(), peer.ip());
            assert_eq!(one.port(), peer.port());
            assert_eq!(link_of(udp_address(peer)), None);
            assert_eq!(link_of(udp_address(one)), None);
        }
    }
}
