//! A listening socket: accepts within limits and hands each connection to its owner.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use std::{io, mem};

use rustler::{Encoder, LocalPid, Monitor, Resource, ResourceArc, Term};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::census::{Census, Seat};
use crate::connection::{self, ConnectionHandle};
use crate::guard::WriteGuard;
use crate::limits::Limits;
use crate::shared::{Control, Shared};
use crate::{notify, redirect, relay, tls};

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

/// State that the tasks of a listener share.
struct Port {
    limits: Limits,
    owner: LocalPid,
    tls: Option<TlsAcceptor>,
    /// The name of the TURN server's socket.
    turn: Option<String>,
    control: watch::Receiver<Control>,
}

/// A connection that has shaken hands, by what its client speaks.
enum Secured {
    Http(TlsStream<TcpStream>),
    /// For the TURN server of this name.
    Turn(TlsStream<TcpStream>, String),
}

/// Binds `address`, and from then on sends connections to `owner`; with `tls`, once they have shaken hands. Of these, the ones that
/// speak STUN go to the TURN server in this process whose Unix socket has the abstract name `turn`.
pub fn listen(
    address: SocketAddr,
    limits: Limits,
    tls: Option<TlsAcceptor>,
    turn: Option<String>,
    owner: LocalPid,
) -> io::Result<(ListenerHandle, SocketAddr)> {
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
    let port = Port {
        limits,
        owner,
        tls,
        turn,
        control: receiver,
    };
    runtime.spawn(accept(listener, port));
    Ok((ListenerHandle { control }, bound))
}

async fn accept(listener: TcpListener, port: Port) {
    let census = Arc::new(Census::default());
    let rules = port.limits.rules();
    let mut control = port.control.clone();
    let port = Arc::new(port);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = control.changed() => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                match Census::admit(&census, peer.ip(), &rules) {
                    Some(seat) => {
                        tokio::spawn(welcome(stream, peer, Arc::new(seat), Arc::clone(&port)));
                    }
                    // To one that waits for TLS, nothing can be said in plain words.
                    None if port.tls.is_some() => {}
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

/// Sees to a connection until it ends; the seat is free then.
async fn welcome(stream: TcpStream, peer: SocketAddr, seat: Arc<Seat>, port: Arc<Port>) {
    // Small frames must not wait for an acknowledgement of the frame before.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    match &port.tls {
        None => serve(stream, peer, seat, &port).await,
        Some(acceptor) => {
            let shaken = tokio::select! {
                shaken = shake_hands(stream, acceptor, &port) => shaken,
                () = seat.evicted() => None,
            };
            match shaken {
                Some(Secured::Http(stream)) => serve(stream, peer, seat, &port).await,
                Some(Secured::Turn(stream, turn)) => hand_on(stream, peer, &turn, &seat, &port).await,
                None => {}
            }
        }
    }
}

/// TLS on a connection, for which a client has as long as for the head of a request. One that speaks plain HTTP is told where to go.
async fn shake_hands(stream: TcpStream, acceptor: &TlsAcceptor, port: &Port) -> Option<Secured> {
    let mut control = port.control.clone();
    let shaking = async {
        let mut first = [0];
        if stream.peek(&mut first).await.ok()? == 1 && tls::plain_http(first[0]) {
            let stream = WriteGuard::new(stream, port.limits.write_timeout());
            redirect::to_https(stream, &connection::builder(&port.limits)).await;
            return None;
        }
        match acceptor.accept(stream).await {
            Ok(mut stream) => match &port.turn {
                Some(turn) if relay::speaks_stun(&mut stream).await => Some(Secured::Turn(stream, turn.clone())),
                _ => Some(Secured::Http(stream)),
            },
            // Scanners, and browsers that don't trust the certificate (yet).
            Err(error) => {
                log::debug!("TLS handshake: {error}");
                None
            }
        }
    };
    tokio::select! {
        shaken = timeout(port.limits.head_timeout(), shaking) => shaken.ok().flatten(),
        // Any other command ends the wait: no exchange is under way here.
        _ = control.wait_for(|control| *control != Control::Run) => None,
    }
}

/// Hands a connection to the TURN server, and carries its bytes to its end.
async fn hand_on(stream: TlsStream<TcpStream>, peer: SocketAddr, turn: &str, seat: &Seat, port: &Port) {
    // A call makes way for nobody, and goes on while the pages' requests end.
    seat.busy();
    let mut control = port.control.clone();
    let stream = WriteGuard::new(stream, port.limits.write_timeout());
    tokio::select! {
        relayed = relay::relay(stream, peer, turn) => {
            if let Err(error) = relayed {
                log::debug!("TURN on the port of HTTPS: {error}");
            }
        }
        _ = control.wait_for(|control| *control == Control::Abort) => {}
    }
}

/// Hands a connection to the owner and serves it to its end.
async fn serve<S>(stream: S, peer: SocketAddr, seat: Arc<Seat>, port: &Port)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (attach, attached) = oneshot::channel();
    let shared = Arc::new(Shared::new(attach));
    let handle = ConnectionHandle::new(Arc::clone(&shared));
    notify::send(&port.owner, |env| {
        let handle = ResourceArc::new(handle);
        (atoms::lite_connection(), handle, (ip_term(env, peer.ip()), peer.port())).encode(env)
    });
    connection::serve(
        stream,
        port.limits.clone(),
        seat,
        shared,
        attached,
        port.control.clone(),
    )
    .await;
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
