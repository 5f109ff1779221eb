//! A listening socket: accepts within limits and hands each connection to its owner.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{io, mem};

use rustler::{Encoder, LocalPid, Monitor, Resource, ResourceArc, Term};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{oneshot, watch};

use crate::connection::{self, ConnectionHandle, Control, Shared};
use crate::limits::Limits;
use crate::notify;

mod atoms {
    rustler::atoms! { lite_connection }
}

/// The handle that an owner holds. The socket closes when the owner ends or lets go of it.
pub struct ListenerHandle {
    control: watch::Sender<Control>,
}

#[rustler::resource_impl]
impl Resource for ListenerHandle {
    fn down<'a>(&'a self, _env: rustler::Env<'a>, _pid: LocalPid, _monitor: Monitor) {
        self.control.send_replace(Control::Abort);
    }
}

impl Drop for ListenerHandle {
    fn drop(&mut self) {
        self.control.send_replace(Control::Abort);
    }
}

impl ListenerHandle {
    /// Accepts no more; idle connections close, busy ones finish their request.
    pub fn drain(&self) {
        self.control.send_if_modified(|control| {
            mem::replace(control, (*control).max(Control::Drain)) == Control::Run && *control == Control::Drain
        });
    }

    /// Closes everything at once.
    pub fn stop(&self) {
        self.control.send_replace(Control::Abort);
    }
}

/// Binds `address`, and from then on sends connections to `owner`.
pub fn listen(address: SocketAddr, limits: Limits, owner: LocalPid) -> io::Result<(ListenerHandle, SocketAddr)> {
    let runtime = crate::runtime::handle()?;
    let _entered = runtime.enter();
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    let listener = socket.listen(1024)?;
    let bound = listener.local_addr()?;
    let (control, receiver) = watch::channel(Control::Run);
    runtime.spawn(accept(listener, limits, owner, receiver));
    Ok((ListenerHandle { control }, bound))
}

async fn accept(listener: TcpListener, limits: Limits, owner: LocalPid, mut control: watch::Receiver<Control>) {
    let census = Arc::new(Census::default());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = control.changed() => return,
        };
        match accepted {
            Ok((stream, peer)) => match Census::admit(&census, peer.ip(), &limits) {
                Some(seat) => hand_over(stream, peer, seat, &limits, &owner, &control),
                None => refuse(&stream),
            },
            // Out of file descriptors, most likely: without a pause the loop would spin until one is free.
            Err(error) => {
                log::warn!("accept: {error}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn hand_over(
    stream: TcpStream,
    peer: SocketAddr,
    seat: Seat,
    limits: &Limits,
    owner: &LocalPid,
    control: &watch::Receiver<Control>,
) {
    // Small frames must not wait for an acknowledgement of the frame before.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let (attach, attached) = oneshot::channel();
    let shared = Arc::new(Shared::new(attach));
    let served = connection::serve(stream, limits.clone(), Arc::clone(&shared), attached, control.clone());
    tokio::spawn(async move {
        let _seat = seat;
        served.await;
    });
    notify::send(owner, |env| {
        let handle = ResourceArc::new(ConnectionHandle::new(shared));
        (atoms::lite_connection(), handle, (ip_term(env, peer.ip()), peer.port())).encode(env)
    });
}

/// An address as `:inet` has it.
pub fn ip_term(env: rustler::Env<'_>, ip: IpAddr) -> Term<'_> {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            (a, b, c, d).encode(env)
        }
        IpAddr::V6(ip) => {
            let [a, b, c, d, e, f, g, h] = ip.segments();
            rustler::types::tuple::make_tuple(env, &[a, b, c, d, e, f, g, h].map(|segment| segment.encode(env)))
        }
    }
}

/// A refused connection is told why, if that goes without waiting.
fn refuse(stream: &TcpStream) {
    let answer =
        b"HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\ncontent-length: 0\r\nretry-after: 5\r\n\r\n";
    if stream.try_write(answer).is_err() {
        log::debug!("a refused connection was gone before it was told");
    }
}

/// Who is connected.
#[derive(Default)]
struct Census {
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    total: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A place among the connections; free again when dropped.
struct Seat {
    census: Arc<Census>,
    address: IpAddr,
}

impl Census {
    fn admit(census: &Arc<Self>, address: IpAddr, limits: &Limits) -> Option<Seat> {
        let address = group(address);
        let mut counts = census.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let from_here = counts.by_address.get(&address).copied().unwrap_or(0);
        if counts.total >= limits.connections || from_here >= limits.connections_per_address {
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

    fn limits() -> Limits {
        Limits {
            head_bytes: 1,
            headers: 1,
            head_timeout_ms: 1,
            write_timeout_ms: 1,
            connections: 3,
            connections_per_address: 2,
        }
    }

    #[test]
    fn an_address_and_all_together_have_a_limit_and_places_come_free() {
        let census = Arc::new(Census::default());
        let admit = |address: &str| Census::admit(&census, address.parse().unwrap(), &limits());
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
        let admit = |address: &str| Census::admit(&census, address.parse().unwrap(), &limits());
        let _seats = (admit("2001:db8::1").unwrap(), admit("2001:db8::2").unwrap());
        assert!(admit("2001:db8:0:0:ffff::3").is_none());
        assert!(admit("2001:db8:0:1::1").is_some());
    }
}
