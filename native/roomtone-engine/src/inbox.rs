//! Reading many datagrams by one system call, where the system has one for it.

#![allow(clippy::disallowed_methods)] // this is the I/O half

use std::io;
use std::net::{SocketAddr, UdpSocket};

#[cfg(target_os = "linux")]
use crate::pktinfo::Ancillary;

/// Datagrams a call. More wait only while the thread is late, and then the next call takes them.
pub(crate) const BATCH: usize = 16;
/// The largest datagram looked at; WebRTC keeps to 1,500 bytes.
const DATAGRAM: usize = 2048;

/// Datagrams that were read and not looked at yet.
pub(crate) struct Inbox {
    slots: Box<[Slot]>,
    next: usize,
    filled: usize,
}

struct Slot {
    buffer: [u8; DATAGRAM],
    length: usize,
    #[cfg(target_os = "linux")]
    name: (libc::sockaddr_storage, libc::socklen_t),
    #[cfg(target_os = "linux")]
    ancillary: (Ancillary, usize),
    #[cfg(not(target_os = "linux"))]
    from: Option<SocketAddr>,
}

impl Inbox {
    /// An empty one.
    pub(crate) fn new() -> Inbox {
        Inbox {
            slots: (0..BATCH).map(|_| Slot::new()).collect(),
            next: 0,
            filled: 0,
        }
    }

    /// Whether all that was read has been taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.next == self.filled
    }

    /// The next datagram and its sender.
    pub(crate) fn pop(&mut self) -> Option<(SocketAddr, &mut [u8])> {
        while self.next < self.filled {
            let at = self.next;
            self.next += 1;
            if let Some(from) = self.slots[at].sender() {
                let slot = &mut self.slots[at];
                return Some((from, &mut slot.buffer[..slot.length]));
            }
        }
        None
    }

    /// Reads `most` datagrams without waiting, in place of those that were here. Whether no more wait in the socket.
    ///
    /// # Errors
    /// `WouldBlock` where there is none. Anything else is an ICMP error of an earlier datagram, which tells nothing about the next one.
    pub(crate) fn fill(&mut self, socket: &UdpSocket, most: usize) -> io::Result<bool> {
        let most = most.clamp(1, BATCH);
        (self.next, self.filled) = (0, 0);
        self.filled = receive(socket, &mut self.slots[..most])?;
        Ok(self.filled < most)
    }
}

impl Slot {
    fn new() -> Slot {
        // SAFETY: plain C structures of integers and pointers, for which zero is a valid value.
        #[cfg(target_os = "linux")]
        #[allow(unsafe_code)]
        let (name, ancillary) = unsafe { std::mem::zeroed() };
        Slot {
            buffer: [0; DATAGRAM],
            length: 0,
            #[cfg(target_os = "linux")]
            name,
            #[cfg(target_os = "linux")]
            ancillary,
            #[cfg(not(target_os = "linux"))]
            from: None,
        }
    }

    #[cfg(target_os = "linux")]
    fn sender(&self) -> Option<SocketAddr> {
        use socket2::SockAddr;

        let (name, length) = self.name;
        // SAFETY: the address and its length are those that the system wrote; it is copied to where socket2 wants it.
        #[allow(unsafe_code)]
        let from = unsafe {
            SockAddr::try_init(|to, to_length| {
                to.cast::<libc::sockaddr_storage>().write(name);
                to_length.write(length);
                Ok(())
            })
        };
        let from = crate::links::udp_address(from.ok()?.1.as_socket()?);
        Some(crate::pktinfo::sender(from, &self.ancillary.0, self.ancillary.1))
    }

    #[cfg(not(target_os = "linux"))]
    fn sender(&self) -> Option<SocketAddr> {
        self.from.map(crate::links::udp_address)
    }
}

#[cfg(target_os = "linux")]
fn receive(socket: &UdpSocket, slots: &mut [Slot]) -> io::Result<usize> {
    use std::os::fd::AsRawFd;

    // SAFETY: plain C structures of integers and pointers, for which zero is a valid value.
    #[allow(unsafe_code)]
    let (mut headers, mut parts): ([libc::mmsghdr; BATCH], [libc::iovec; BATCH]) = unsafe { std::mem::zeroed() };
    for ((slot, part), header) in slots.iter_mut().zip(&mut parts).zip(&mut headers) {
        *part = libc::iovec {
            iov_base: slot.buffer.as_mut_ptr().cast(),
            iov_len: slot.buffer.len(),
        };
        let header = &mut header.msg_hdr;
        header.msg_name = (&raw mut slot.name.0).cast();
        header.msg_namelen = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
        header.msg_iov = part;
        header.msg_iovlen = 1;
        header.msg_control = (&raw mut slot.ancillary.0).cast();
        header.msg_controllen = Ancillary::SIZE as _;
    }
    let most = slots.len().min(BATCH) as libc::c_uint;
    // SAFETY: the first `most` headers point to a buffer, an address and ancillary data of one slot each, with their lengths; slots and parts
    // outlive the call.
    #[allow(unsafe_code)]
    let read = unsafe {
        libc::recvmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            most,
            libc::MSG_DONTWAIT as _,
            std::ptr::null_mut(),
        )
    };
    let read = usize::try_from(read).map_err(|_| io::Error::last_os_error())?;
    for (slot, header) in slots.iter_mut().zip(&headers).take(read) {
        slot.length = (header.msg_len as usize).min(DATAGRAM);
        slot.name.1 = header.msg_hdr.msg_namelen;
        slot.ancillary.1 = header.msg_hdr.msg_controllen as _;
    }
    Ok(read)
}

/// The same, one datagram a call.
#[cfg(not(target_os = "linux"))]
fn receive(socket: &UdpSocket, slots: &mut [Slot]) -> io::Result<usize> {
    let mut read = 0;
    for slot in slots {
        match socket.recv_from(&mut slot.buffer) {
            Ok((length, from)) => (slot.length, slot.from) = (length, Some(from)),
            Err(error) if read == 0 => return Err(error),
            Err(_) => break,
        }
        read += 1;
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn all_datagrams_arrive_in_order_with_their_senders() {
        let to = crate::driver::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let from: Vec<UdpSocket> = (0..3).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
        let mut inbox = Inbox::new();
        assert_eq!(inbox.fill(&to, BATCH).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(inbox.is_empty() && inbox.pop().is_none());
        for n in 0..40u8 {
            let length = usize::from(n) * 50;
            let target = to.local_addr().unwrap();
            from[usize::from(n) % 3].send_to(&vec![n; length], target).unwrap();
        }
        let mut n = 0u8;
        while n < 40 {
            let drained = match inbox.fill(&to, BATCH) {
                Ok(drained) => drained,
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    std::thread::sleep(Duration::from_millis(1));
                    continue;
                }
            };
            let before = n;
            while let Some((sender, datagram)) = inbox.pop() {
                assert_eq!(sender, from[usize::from(n) % 3].local_addr().unwrap());
                assert_eq!(datagram, vec![n; usize::from(n) * 50]);
                n += 1;
            }
            assert_eq!(drained, usize::from(n - before) < BATCH);
        }
        assert!(inbox.is_empty());
    }
}
