//! Sending many datagrams by one system call, where the system has one for it.

#![allow(clippy::disallowed_methods)] // this is the I/O half

use std::io;
use std::net::UdpSocket;
use std::time::Duration;

use roomtone_transport::Outbox;

use crate::links::link_of;
#[cfg(target_os = "linux")]
use crate::pktinfo::{Ancillary, ends};

/// Datagrams a call. Larger batches save nothing more, and this many addresses fit on the stack.
#[cfg(target_os = "linux")]
const BATCH: usize = 64;

/// Sends datagrams of `outbox`, from the one at `first` on, without waiting: how many, at least one. The first one goes to a UDP address; one
/// that doesn't ends the batch.
///
/// # Errors
/// The first one could not be sent: `WouldBlock` if the socket's buffer is full, anything else is that datagram's own misfortune.
#[cfg(target_os = "linux")]
pub(crate) fn send(socket: &UdpSocket, outbox: &Outbox, first: usize) -> io::Result<usize> {
    use std::os::fd::AsRawFd;

    use socket2::SockAddr;

    let by_udp = |at: &usize| outbox.get(*at).is_some_and(|(to, _)| link_of(to).is_none());
    let count = (first..outbox.len()).take(BATCH).take_while(by_udp).count();
    // SAFETY: these are plain C structures of integers and pointers, for which zero is a valid value.
    #[allow(unsafe_code)]
    let (mut headers, mut parts): ([libc::mmsghdr; BATCH], [libc::iovec; BATCH]) = unsafe { std::mem::zeroed() };
    // SAFETY: as above.
    #[allow(unsafe_code)]
    let mut ancillary: [Ancillary; BATCH] = unsafe { std::mem::zeroed() };
    let mut addresses: [Option<SockAddr>; BATCH] = [const { None }; BATCH];
    for (at, slot) in addresses.iter_mut().enumerate().take(count) {
        let Some((to, datagram)) = outbox.get(first + at) else {
            break;
        };
        let (to, ours) = ends(to);
        let address = slot.insert(SockAddr::from(to));
        parts[at] = libc::iovec {
            iov_base: datagram.as_ptr().cast_mut().cast(),
            iov_len: datagram.len(),
        };
        let header = &mut headers[at].msg_hdr;
        header.msg_name = address.as_ptr().cast_mut().cast();
        header.msg_namelen = address.len();
        header.msg_iov = &raw mut parts[at];
        header.msg_iovlen = 1;
        if let Some(ours) = ours {
            ancillary[at].sent_from(ours);
            header.msg_control = (&raw mut ancillary[at]).cast();
            header.msg_controllen = Ancillary::SIZE as _;
        }
    }
    // SAFETY: the first `count` headers point to addresses, ancillary data and parts that live until the end of this function, and the parts to bytes of
    // `outbox`, which is borrowed; the system only reads them (it writes `msg_len` of the headers, which are ours).
    #[allow(unsafe_code)]
    let sent = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            count as libc::c_uint,
            libc::MSG_DONTWAIT,
        )
    };
    match usize::try_from(sent) {
        Ok(0) if count > 0 => Err(io::ErrorKind::WouldBlock.into()),
        Ok(sent) => Ok(sent),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// Waits until the socket's buffer has room for a datagram, for `patience` at the longest. Whether it has.
#[cfg(unix)]
pub(crate) fn wait_for_room(socket: &UdpSocket, patience: Duration) -> bool {
    use std::os::fd::AsRawFd;

    let mut asked = libc::pollfd {
        fd: socket.as_raw_fd(),
        events: libc::POLLOUT,
        revents: 0,
    };
    let ms = libc::c_int::try_from(patience.as_micros().div_ceil(1_000)).unwrap_or(libc::c_int::MAX);
    // SAFETY: one descriptor is asked for, in a structure that outlives the call.
    #[allow(unsafe_code)]
    let ready = unsafe { libc::poll(&raw mut asked, 1, ms) };
    // A signal ends the wait early: the caller tries again, and minds its own patience.
    ready > 0 || (ready < 0 && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted)
}

/// The bytes of `count` datagrams of `outbox`, from the one at `first` on.
pub(crate) fn bytes(outbox: &Outbox, first: usize, count: usize) -> u64 {
    let datagrams = (first..first + count).filter_map(|at| outbox.get(at));
    datagrams.map(|(_, datagram)| datagram.len() as u64).sum()
}

/// The same, one datagram a call.
#[cfg(not(target_os = "linux"))]
pub(crate) fn send(socket: &UdpSocket, outbox: &Outbox, first: usize) -> io::Result<usize> {
    match outbox.get(first) {
        Some((to, datagram)) => socket.send_to(datagram, to).map(|_| 1),
        None => Ok(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_datagrams_arrive_in_order_also_past_one_that_cannot_be_sent() {
        let from = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to: Vec<UdpSocket> = (0..3).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        let mut outbox = Outbox::new();
        for n in 0..200u8 {
            // An address family that the socket doesn't have.
            if n == 100 {
                outbox.push("[::1]:9".parse().unwrap(), b"lost");
            }
            outbox.push(to[usize::from(n) % 3].local_addr().unwrap(), &[n; 33]);
        }
        let (mut at, mut failed) = (0, 0);
        while at < outbox.len() {
            match send(&from, &outbox, at) {
                Ok(sent) => at += sent,
                Err(_) => {
                    failed += 1;
                    at += 1;
                }
            }
        }
        assert_eq!(failed, 1);
        assert_eq!(
            (bytes(&outbox, 0, 100), bytes(&outbox, 99, 2), bytes(&outbox, 200, 9)),
            (3300, 37, 33)
        );
        let mut buffer = [0; 64];
        for n in 0..200u8 {
            let length = to[usize::from(n) % 3].recv(&mut buffer).unwrap();
            assert_eq!(buffer[..length], [n; 33]);
        }
    }
}
