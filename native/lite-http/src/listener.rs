//! A listening socket: accepts within limits and hands each connection to its owner.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use std::{io, mem};

use rustler::{Encoder, LocalPid, Monitor, Resource, ResourceArc, Term};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{oneshot, watch};

use crate::census::{Census, Seat};
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
            Ok((stream, peer)) => {
                match Census::admit(&census, peer.ip(), limits.connections, limits.connections_per_address) {
                    Some(seat) => hand_over(stream, peer, seat, &limits, &owner, &control),
                    None => refuse(&stream),
                }
            }
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
