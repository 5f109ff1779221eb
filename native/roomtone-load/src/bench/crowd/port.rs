//! A UDP socket that several participants share, told apart by their addresses in 127.0.0.0/8.
//!
//! The server sees a different address for each, as with sockets of their own, but 32 packets are read with one system call, at
//! times of our choosing: so the generator leaves the server the cores, and the server's `sendto` doesn't pay for waking us.
//! The kernel notes when a packet arrived, so reading late makes no latency.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};

/// Participants on one socket where they can share one.
pub const SHARED_BY: usize = 32;
/// More than any datagram on an Ethernet.
const DATAGRAM: usize = 2048;
/// Half a second of packets for all who share the socket.
const BUFFER_BYTES: usize = 1 << 20;

/// The socket.
pub struct Port {
    socket: UdpSocket,
    state: UdpSocketState,
}

/// Room for one batch of datagrams.
pub struct Batch {
    bytes: Vec<u8>,
    meta: [RecvMeta; BATCH_SIZE],
}

impl Default for Batch {
    fn default() -> Self {
        Batch {
            bytes: vec![0; BATCH_SIZE * DATAGRAM],
            meta: [RecvMeta::default(); BATCH_SIZE],
        }
    }
}

/// A datagram that came in.
pub struct Incoming<'a> {
    /// When the kernel got it.
    pub at: Instant,
    /// Its owner.
    pub from: SocketAddr,
    /// Which of the participants it is for.
    pub to: Option<IpAddr>,
    /// Its message.
    pub data: &'a mut [u8],
}

impl Port {
    /// Opens a socket on this address.
    pub fn open(bind: IpAddr) -> io::Result<Port> {
        let socket = UdpSocket::bind((bind, 0))?;
        let state = UdpSocketState::new((&socket).into())?;
        // As much as the system gives.
        let _ = state.set_recv_buffer_size((&socket).into(), BUFFER_BYTES);
        Ok(Port { socket, state })
    }

    /// The address of the participant in this place of the socket.
    pub fn address_of(place: usize) -> IpAddr {
        let last = u8::try_from(place % SHARED_BY).expect("32 fit into a byte");
        IpAddr::V4(Ipv4Addr::new(127, 77, 0, last + 1))
    }

    /// The place that an address belongs to.
    pub fn place_of(address: IpAddr) -> Option<usize> {
        match address {
            IpAddr::V4(address) => match address.octets() {
                [127, 77, 0, last] => usize::from(last).checked_sub(1),
                _ => None,
            },
            IpAddr::V6(_) => None,
        }
    }

    /// Sends a datagram. UDP may lose packets anyway: what can't be sent is only logged.
    pub fn send(&self, src_ip: Option<IpAddr>, destination: SocketAddr, contents: &[u8]) {
        let transmit = Transmit {
            destination,
            ecn: None,
            contents,
            segment_size: None,
            src_ip,
        };
        if let Err(error) = self.state.try_send((&self.socket).into(), &transmit) {
            log::debug!("cannot send to {destination}: {error}");
        }
    }

    /// Reads all there is.
    pub fn receive(&self, batch: &mut Batch, mut take: impl FnMut(Incoming<'_>)) {
        loop {
            let mut buffers: Vec<IoSliceMut<'_>> = batch.bytes.chunks_mut(DATAGRAM).map(IoSliceMut::new).collect();
            let count = match self.state.recv((&self.socket).into(), &mut buffers, &mut batch.meta) {
                Ok(count) => count,
                // Would block; or an ICMP error, which says nothing of the next datagram.
                Err(_) => return,
            };
            let now = (Instant::now(), SystemTime::now());
            for (meta, bytes) in batch.meta[..count].iter().zip(batch.bytes.chunks_mut(DATAGRAM)) {
                let length = meta.len.min(bytes.len());
                let at = meta.timestamp.and_then(|stamp| arrived(stamp, now)).unwrap_or(now.0);
                for data in bytes[..length].chunks_mut(meta.stride.max(1)) {
                    take(Incoming {
                        at,
                        from: meta.addr,
                        to: meta.dst_ip,
                        data,
                    });
                }
            }
            if count < BATCH_SIZE {
                return;
            }
        }
    }
}

/// The kernel's clock is that of the calendar.
fn arrived(stamp: Duration, (now, calendar): (Instant, SystemTime)) -> Option<Instant> {
    let ago = calendar.duration_since(UNIX_EPOCH + stamp).ok()?;
    now.checked_sub(ago)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn participants_of_one_socket_have_addresses_of_their_own() {
        let ours = Port::open(Ipv4Addr::UNSPECIFIED.into()).unwrap();
        let port = ours.socket.local_addr().unwrap().port();
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = server.local_addr().unwrap();
        let sent = Instant::now();
        for place in 0..SHARED_BY {
            ours.send(Some(Port::address_of(place)), to, &[place as u8]);
        }
        let mut seen = Vec::new();
        for _ in 0..SHARED_BY {
            let mut byte = [0];
            let (_, from) = server.recv_from(&mut byte).unwrap();
            assert_eq!(
                (from.port(), Port::place_of(from.ip())),
                (port, Some(usize::from(byte[0])))
            );
            server.send_to(&byte, from).unwrap();
            seen.push(from);
        }
        seen.dedup();
        assert_eq!(seen.len(), SHARED_BY);
        let mut heard = Vec::new();
        ours.receive(&mut Batch::default(), |incoming| {
            assert_eq!(incoming.from, to);
            assert!(incoming.at >= sent && incoming.at <= Instant::now());
            assert_eq!(
                incoming.to.and_then(Port::place_of),
                Some(usize::from(incoming.data[0]))
            );
            heard.push(incoming.data[0]);
        });
        assert_eq!(heard.len(), SHARED_BY);
    }

    #[test]
    fn strangers_have_no_place() {
        for address in ["127.0.0.1", "10.0.0.1", "::1", "127.77.0.0"] {
            assert_eq!(Port::place_of(address.parse().unwrap()), None, "{address}");
        }
    }
}
