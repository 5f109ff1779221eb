//! A machine with several addresses answers from the one that it was asked at. A socket for all addresses leaves that choice to the
//! routes otherwise, and a client ignores an answer that comes from elsewhere (RFC 8445, section 7.2.5.2.1).
//!
//! The core knows a path by the address at its other end. Which of ours is at this end goes with it, as a number in the field for the
//! flow label, so that one client by two addresses of ours is two pairs of ICE.

#![allow(clippy::disallowed_methods)] // this is the I/O half

use std::io;
use std::net::{SocketAddr, UdpSocket};
#[cfg(target_os = "linux")]
use std::{net::Ipv6Addr, sync::OnceLock};

/// Addresses of this machine that are told apart. Further ones, if it is given so many while it runs, are left to the routes.
#[cfg(target_os = "linux")]
const MOST: usize = 255;
/// Marks the number of an address of ours among flow labels, the others of which name connections.
pub(crate) const OURS: u32 = 1 << 31;

/// The addresses of this machine that datagrams came to, by their numbers. For all shards, as each sends by the sockets of the others.
#[cfg(target_os = "linux")]
static ADDRESSES: [OnceLock<Ipv6Addr>; MOST] = [const { OnceLock::new() }; MOST];

/// `from`, as reached at an address of ours.
#[cfg(target_os = "linux")]
fn reached_at(from: SocketAddr, ours: Ipv6Addr) -> SocketAddr {
    let SocketAddr::V6(mut from) = from else {
        return from;
    };
    for (number, slot) in (0u32..).zip(&ADDRESSES) {
        // Another shard may take the slot at the same time, for another address.
        if *slot.get_or_init(|| ours) == ours {
            from.set_flowinfo(OURS | number);
            break;
        }
    }
    from.into()
}

/// The address to send to, and the one of ours to send from, if it is known.
#[cfg(target_os = "linux")]
pub(crate) fn ends(to: SocketAddr) -> (SocketAddr, Option<Ipv6Addr>) {
    let SocketAddr::V6(mut v6) = to else {
        return (to, None);
    };
    let number = v6.flowinfo();
    if number & OURS == 0 {
        return (to, None);
    }
    v6.set_flowinfo(0);
    let ours = ADDRESSES.get((number & !OURS) as usize).and_then(OnceLock::get);
    (v6.into(), ours.copied())
}

/// The ancillary data of a datagram (RFC 3542, section 6): an address of ours.
#[cfg(target_os = "linux")]
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Ancillary {
    header: libc::cmsghdr,
    info: libc::in6_pktinfo,
    // Up to CMSG_SPACE.
    padding: u32,
}

#[cfg(target_os = "linux")]
impl Ancillary {
    /// The bytes of one, with its padding.
    pub(crate) const SIZE: usize = size_of::<Ancillary>();

    /// That a datagram is to be sent from this address.
    pub(crate) fn sent_from(&mut self, ours: Ipv6Addr) {
        // SAFETY: a computation with a constant.
        #[allow(unsafe_code)]
        let length = unsafe { libc::CMSG_LEN(size_of::<libc::in6_pktinfo>() as u32) };
        self.header.cmsg_len = length as _;
        self.header.cmsg_level = libc::IPPROTO_IPV6;
        self.header.cmsg_type = libc::IPV6_PKTINFO;
        self.info.ipi6_addr.s6_addr = ours.octets();
        // By whichever interface the routes say.
        self.info.ipi6_ifindex = 0;
    }
}

/// Has the system tell with each datagram which address it came to. Only a socket for all addresses, IPv6 and IPv4, needs it.
#[cfg(target_os = "linux")]
pub(crate) fn tell_addresses(socket: &UdpSocket) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    let on: libc::c_int = 1;
    // SAFETY: the option is an int, which outlives the call.
    #[allow(unsafe_code)]
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IPV6,
            libc::IPV6_RECVPKTINFO,
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
    let least = size_of::<libc::cmsghdr>() + size_of::<libc::in6_pktinfo>();
    let told = message.msg_controllen >= least as _
        && (ancillary.header.cmsg_level, ancillary.header.cmsg_type) == (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO);
    if !told {
        return Ok((read, from));
    }
    Ok((read, reached_at(from, Ipv6Addr::from(ancillary.info.ipi6_addr.s6_addr))))
}

/// Elsewhere the routes choose.
#[cfg(not(target_os = "linux"))]
pub(crate) fn tell_addresses(_socket: &UdpSocket) -> io::Result<()> {
    Ok(())
}

/// Takes a datagram.
#[cfg(not(target_os = "linux"))]
pub(crate) fn receive(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    let (read, from) = socket.recv_from(buffer)?;
    Ok((read, crate::links::udp_address(from)))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
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

    #[test]
    fn answers_come_from_the_address_that_was_asked() {
        let Ok(server) = driver::bind("[::]:0".parse().unwrap()) else {
            println!("skipped: no IPv6 here");
            return;
        };
        let port = server.local_addr().unwrap().port();
        // All of 127.0.0.0/8 is this machine; by itself it would answer 127.0.0.1 from 127.0.0.1.
        let servers = ["127.0.0.1", "127.0.0.2", "127.0.0.3", "::1"];
        let (mut clients, mut outbox) = (Vec::new(), Outbox::new());
        for at in servers {
            let own = if at == "::1" { "::1" } else { "127.0.0.1" };
            let client = client(own, at, port);
            let from = take(&server);
            assert_eq!(from.ip().to_canonical(), client.local_addr().unwrap().ip());
            assert_eq!(crate::links::link_of(from), None);
            outbox.push(from, at.as_bytes());
            clients.push(client);
        }
        assert_eq!(batch::send(&server, &outbox, 0).unwrap(), servers.len());
        for (client, at) in clients.iter().zip(servers) {
            let mut buffer = [0; 64];
            let length = client.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], at.as_bytes());
        }
    }

    #[test]
    fn one_client_by_two_addresses_of_ours_is_two_paths() {
        let Ok(server) = driver::bind("[::]:0".parse().unwrap()) else {
            println!("skipped: no IPv6 here");
            return;
        };
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

    #[test]
    fn a_socket_of_one_address_needs_none_of_it() {
        let server = driver::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let client = client("127.0.0.1", "127.0.0.1", server.local_addr().unwrap().port());
        let from = take(&server);
        assert_eq!(from, client.local_addr().unwrap());
        assert_eq!(ends(from), (from, None));
    }
}
