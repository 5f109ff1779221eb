//! A machine with several addresses answers from the one that it was asked at. A socket for all addresses leaves that choice to the
//! routes otherwise, and a client ignores an answer that comes from elsewhere (RFC 8445, section 7.2.5.2.1).
//!
//! The core knows a path by the address at its other end. Which of ours is at this end goes with it, as a number in the field for the
//! flow label, so that one client by two addresses of ours is two pairs of ICE.

#![allow(clippy::disallowed_methods)] // this is the I/O half

use std::io;
use std::net::{IpAddr, SocketAddr, SocketAddrV6, UdpSocket};
#[cfg(target_os = "linux")]
use std::sync::OnceLock;

/// Addresses of this machine that are told apart. Further ones, if it is given so many while it runs, are left to the routes.
pub(crate) const MOST: u32 = 255;
/// Marks the number of an address of ours among flow labels, the others of which name connections.
pub(crate) const OURS: u32 = 1 << 31;

/// The addresses of this machine that datagrams came to, by their numbers: IPv4 ones at IPv4 sockets, and IPv6 ones (mapped ones too) at
/// sockets for both. For all shards, as each sends by the sockets of the others.
#[cfg(target_os = "linux")]
static ADDRESSES: [OnceLock<IpAddr>; MOST as usize] = [const { OnceLock::new() }; MOST as usize];

/// `from`, as reached at an address of ours.
#[cfg(target_os = "linux")]
fn reached_at(from: SocketAddr, ours: IpAddr) -> SocketAddr {
    for (number, slot) in (0u32..).zip(&ADDRESSES) {
        // Another shard may take the slot at the same time, for another address.
        if *slot.get_or_init(|| ours) == ours {
            let mut path = path(from.ip(), from.port(), number);
            if let (SocketAddr::V6(path), SocketAddr::V6(from)) = (&mut path, from) {
                path.set_scope_id(from.scope_id());
            }
            return path;
        }
    }
    from
}

/// The path to an address and port by the address of ours that has this number.
pub(crate) fn path(ip: IpAddr, port: u16, number: u32) -> SocketAddr {
    let ip = match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    };
    SocketAddrV6::new(ip, port, OURS | number, 0).into()
}

/// The number of the address of ours that a path leads to, if it is known.
pub(crate) fn number_of(path: SocketAddr) -> Option<u32> {
    match path {
        SocketAddr::V6(v6) if v6.flowinfo() & OURS != 0 => Some(v6.flowinfo() & !OURS),
        _ => None,
    }
}

/// The address to send to, and the one of ours to send from, if it is known.
#[cfg(target_os = "linux")]
pub(crate) fn ends(mut to: SocketAddr) -> (SocketAddr, Option<IpAddr>) {
    let Some(number) = number_of(to) else {
        return (to, None);
    };
    if let SocketAddr::V6(v6) = &mut to {
        v6.set_flowinfo(0);
    }
    let ours = ADDRESSES.get(number as usize).and_then(OnceLock::get).copied();
    if ours.is_some_and(|ours| ours.is_ipv4()) {
        to.set_ip(to.ip().to_canonical());
    }
    (to, ours)
}

/// The ancillary data of a datagram: an address of ours, as an `in6_pktinfo` (RFC 3542, section 6) or an `in_pktinfo` (ip(7)).
#[cfg(target_os = "linux")]
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Ancillary {
    header: libc::cmsghdr,
    info: [u8; size_of::<libc::in6_pktinfo>()],
    // Up to CMSG_SPACE.
    padding: u32,
}

/// Within an `in6_pktinfo`, then the number of the interface.
#[cfg(target_os = "linux")]
const IPV6_ADDRESS: std::ops::Range<usize> = 0..16;
/// Within an `in_pktinfo`: the number of the interface, our address, and the one in the header, which is another one for a broadcast.
#[cfg(target_os = "linux")]
const IPV4_ADDRESS: std::ops::Range<usize> = 4..8;

#[cfg(target_os = "linux")]
impl Ancillary {
    /// The bytes of one, with its padding.
    pub(crate) const SIZE: usize = size_of::<Ancillary>();

    /// That a datagram is to be sent from this address, by whichever interface the routes say.
    pub(crate) fn sent_from(&mut self, ours: IpAddr) {
        let size = match ours {
            IpAddr::V4(ip) => {
                self.header.cmsg_level = libc::IPPROTO_IP;
                self.header.cmsg_type = libc::IP_PKTINFO;
                self.info[IPV4_ADDRESS].copy_from_slice(&ip.octets());
                size_of::<libc::in_pktinfo>()
            }
            IpAddr::V6(ip) => {
                self.header.cmsg_level = libc::IPPROTO_IPV6;
                self.header.cmsg_type = libc::IPV6_PKTINFO;
                self.info[IPV6_ADDRESS].copy_from_slice(&ip.octets());
                size_of::<libc::in6_pktinfo>()
            }
        };
        self.header.cmsg_len = (std::mem::offset_of!(Ancillary, info) + size) as _;
    }

    /// The address that a datagram came to, if `length` bytes of this tell it.
    fn came_to(&self, length: usize) -> Option<IpAddr> {
        let told = |size: usize| length >= std::mem::offset_of!(Ancillary, info) + size;
        match (self.header.cmsg_level, self.header.cmsg_type) {
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) if told(size_of::<libc::in6_pktinfo>()) => {
                Some(<[u8; 16]>::try_from(&self.info[IPV6_ADDRESS]).ok()?.into())
            }
            (libc::IPPROTO_IP, libc::IP_PKTINFO) if told(size_of::<libc::in_pktinfo>()) => {
                Some(<[u8; 4]>::try_from(&self.info[IPV4_ADDRESS]).ok()?.into())
            }
            _ => None,
        }
    }
}

/// Has the system tell with each datagram which address it came to. Only a socket for all addresses needs it.
#[cfg(target_os = "linux")]
pub(crate) fn tell_addresses(socket: &UdpSocket) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    let (level, option) = if socket.local_addr()?.is_ipv6() {
        (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO)
    } else {
        (libc::IPPROTO_IP, libc::IP_PKTINFO)
    };
    let on: libc::c_int = 1;
    // SAFETY: the option is an int, which outlives the call.
    #[allow(unsafe_code)]
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Sends a datagram, from the address of ours that the path `to` leads to.
///
/// # Errors
/// As [`UdpSocket::send_to`].
#[cfg(target_os = "linux")]
pub(crate) fn send(socket: &UdpSocket, to: SocketAddr, datagram: &[u8]) -> io::Result<usize> {
    use std::os::fd::AsRawFd;

    use socket2::SockAddr;

    let (to, Some(ours)) = ends(to) else {
        return socket.send_to(datagram, to);
    };
    let address = SockAddr::from(to);
    // SAFETY: plain C structures of integers and pointers, for which zero is a valid value.
    #[allow(unsafe_code)]
    let (mut message, mut ancillary): (libc::msghdr, Ancillary) = unsafe { std::mem::zeroed() };
    ancillary.sent_from(ours);
    let mut part = libc::iovec {
        iov_base: datagram.as_ptr().cast_mut().cast(),
        iov_len: datagram.len(),
    };
    message.msg_name = address.as_ptr().cast_mut().cast();
    message.msg_namelen = address.len();
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut ancillary).cast();
    message.msg_controllen = Ancillary::SIZE as _;
    // SAFETY: the message points to an address, a part and ancillary data that outlive the call, and the part to borrowed bytes; the system
    // only reads them.
    #[allow(unsafe_code)]
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_DONTWAIT) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Takes a datagram: how long it is, and where it came from, at which address of ours if the system tells.
///
/// # Errors
/// As [`UdpSocket::recv_from`]: `WouldBlock` where there is none.
#[cfg(target_os = "linux")]
pub(crate) fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    use std::os::fd::AsRawFd;

    use socket2::SockAddr;

    // SAFETY: plain C structures of integers and pointers, for which zero is a valid value.
    #[allow(unsafe_code)]
    let (mut message, mut ancillary): (libc::msghdr, Ancillary) = unsafe { std::mem::zeroed() };
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = (&raw mut ancillary).cast();
    message.msg_controllen = Ancillary::SIZE as _;
    let mut call = |storage: *mut libc::sockaddr_storage, length: *mut libc::socklen_t| {
        message.msg_name = storage.cast();
        // SAFETY: `length` is that of `storage`, both of which socket2 lends for this call.
        #[allow(unsafe_code)]
        let room = unsafe { *length };
        message.msg_namelen = room;
        // SAFETY: the message points to a buffer, an address and ancillary data that outlive the call, with their lengths.
        #[allow(unsafe_code)]
        let read = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_DONTWAIT) };
        let read = usize::try_from(read).map_err(|_| io::Error::last_os_error())?;
        // SAFETY: as above.
        #[allow(unsafe_code)]
        unsafe {
            *length = message.msg_namelen;
        }
        Ok(read)
    };
    // SAFETY: the call writes an address and its length where it is told to.
    #[allow(unsafe_code)]
    let (read, from) = unsafe { SockAddr::try_init(|storage, length| call(storage.cast(), length)) }?;
    let from = from.as_socket().ok_or(io::ErrorKind::InvalidData)?;
    let from = crate::links::udp_address(from);
    Ok((read, sender(from, &ancillary, message.msg_controllen as _)))
}

/// `from`, as reached at the address of ours that its datagram came to, if `length` bytes of ancillary data tell it.
#[cfg(target_os = "linux")]
pub(crate) fn sender(from: SocketAddr, ancillary: &Ancillary, length: usize) -> SocketAddr {
    match ancillary.came_to(length) {
        Some(ours) => reached_at(from, ours),
        None => from,
    }
}

/// Elsewhere the routes choose.
#[cfg(not(target_os = "linux"))]
pub(crate) fn tell_addresses(_socket: &UdpSocket) -> io::Result<()> {
    Ok(())
}

/// Sends a datagram.
#[cfg(not(target_os = "linux"))]
pub(crate) fn send(socket: &UdpSocket, to: SocketAddr, datagram: &[u8]) -> io::Result<usize> {
    socket.send_to(datagram, to)
}

/// Takes a datagram.
#[cfg(not(target_os = "linux"))]
pub(crate) fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    let (read, from) = socket.recv_from(buffer)?;
    Ok((read, crate::links::udp_address(from)))
}

#[cfg(all(test, target_os = "linux"))]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};
    use std::time::Duration;

    use roomtone_transport::Outbox;

    use super::*;
    use crate::{batch, driver};

    fn client(address: &str, server: &str, port: u16) -> UdpSocket {
        let client = UdpSocket::bind((address, 0)).expect("a client's socket");
        // From then on the system drops what comes from any other address.
        client.connect((server, port)).expect("a client's socket");
        client
            .set_read_timeout(Some(Duration::from_secs(5)))
            .expect("a client's socket");
        client.send(b"where are you?").expect("a client's socket");
        client
    }

    fn take(server: &UdpSocket) -> SocketAddr {
        let mut buffer = [0; 64];
        loop {
            match receive(server, &mut buffer) {
                Ok((length, from)) => {
                    assert_eq!(&buffer[..length], b"where are you?");
                    return from;
                }
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Servers for all addresses, and those of this machine that each can be asked at.
    fn servers() -> Vec<(UdpSocket, Vec<&'static str>)> {
        // All of 127.0.0.0/8 is this machine; by itself it would answer 127.0.0.1 from 127.0.0.1.
        let ipv4 = ["127.0.0.1", "127.0.0.2", "127.0.0.3"];
        let bind = |ip: IpAddr| driver::bind(SocketAddr::new(ip, 0));
        let alone = bind(Ipv4Addr::UNSPECIFIED.into()).expect("a server's socket");
        let mut servers = vec![(alone, ipv4.to_vec())];
        match bind(Ipv6Addr::UNSPECIFIED.into()) {
            Ok(both) => servers.push((both, [&ipv4[..], &["::1"]].concat())),
            Err(_) => println!("no IPv6 here"),
        }
        servers
    }

    #[test]
    fn answers_come_from_the_address_that_was_asked() {
        for (server, addresses) in servers() {
            let port = server.local_addr().unwrap().port();
            let (mut clients, mut outbox) = (Vec::new(), Outbox::new());
            for at in &addresses {
                let own = if *at == "::1" { "::1" } else { "127.0.0.1" };
                let client = client(own, at, port);
                let from = take(&server);
                assert_eq!(from.ip().to_canonical(), client.local_addr().unwrap().ip());
                assert_eq!(crate::links::link_of(from), None);
                outbox.push(from, at.as_bytes());
                clients.push((client, from));
            }
            assert_eq!(batch::send(&server, &outbox, 0).unwrap(), addresses.len());
            for ((client, from), at) in clients.iter().zip(&addresses) {
                let mut buffer = [0; 64];
                let length = client.recv(&mut buffer).unwrap();
                assert_eq!(&buffer[..length], at.as_bytes());
                assert_eq!(send(&server, *from, b"alone").unwrap(), 5);
                assert_eq!(client.recv(&mut buffer).unwrap(), 5);
            }
        }
    }

    #[test]
    fn one_client_by_two_addresses_of_ours_is_two_paths() {
        for (server, _) in servers() {
            let port = server.local_addr().unwrap().port();
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            let paths = ["127.0.0.1", "127.0.0.2", "127.0.0.1"].map(|at| {
                client.send_to(b"where are you?", (at, port)).unwrap();
                take(&server)
            });
            assert_ne!(paths[0], paths[1]);
            assert_eq!(paths[0], paths[2]);
            assert_eq!(ends(paths[0]).0, ends(paths[1]).0);
        }
    }

    #[test]
    fn a_socket_of_one_address_needs_none_of_it() {
        let server = driver::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let client = client("127.0.0.1", "127.0.0.1", server.local_addr().unwrap().port());
        let from = take(&server);
        assert_eq!(from, client.local_addr().unwrap());
        assert_eq!(ends(from), (from, None));
    }
}
