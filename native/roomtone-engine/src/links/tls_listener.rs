//! TLS handshakes, on a thread of their own: each takes as much CPU as the sound of a small room, and the clients are strangers.
//!
//! The shard takes the connections over once they are encrypted. The thread ends with the [`TlsListener`].

#![allow(clippy::disallowed_methods)] // this is the I/O half

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as PlainListener, TcpStream as PlainStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::{Id, JoinSet};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConnection;

use super::household;
use crate::control::Control;

/// Handshakes at a time. Others wait to be accepted.
const MOST: usize = 512;
/// Of one address (of IPv6, one /64).
const MOST_OF_ONE: usize = 32;
/// How long a client has for its handshake.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Connections that wait for the shard, which takes them in a few milliseconds.
const WAITING: usize = 256;
/// How long nothing is accepted when the system has no descriptor for it.
const OUT_OF_DESCRIPTORS: Duration = Duration::from_millis(50);

/// A connection whose handshake is done.
pub(crate) struct Secured {
    pub(super) stream: PlainStream,
    pub(super) peer: SocketAddr,
    pub(super) tls: ServerConnection,
}

/// A listener for TLS, and the thread behind it.
pub(crate) struct TlsListener {
    address: SocketAddr,
    secured: Receiver<Secured>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl TlsListener {
    /// Accepts connections from now on, and wakes the shard behind `control` for each that is ready for it.
    pub(crate) fn open(
        listener: PlainListener,
        acceptor: TlsAcceptor,
        control: Arc<Control>,
    ) -> io::Result<TlsListener> {
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let (sender, secured) = bounded(WAITING);
        let (stop, stopped) = oneshot::channel();
        let handshaking = Handshaking {
            acceptor,
            sender,
            control,
        };
        let thread = std::thread::Builder::new()
            .name("roomtone-turns".to_owned())
            .spawn(move || run(&runtime, listener, &handshaking, stopped))?;
        Ok(TlsListener {
            address,
            secured,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The connections that are ready.
    pub(crate) fn secured(&self) -> Receiver<Secured> {
        self.secured.clone()
    }
}

impl Drop for TlsListener {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // It has panicked, or it ends within one step of a handshake.
            let _ = thread.join();
        }
    }
}

struct Handshaking {
    acceptor: TlsAcceptor,
    sender: Sender<Secured>,
    control: Arc<Control>,
}

fn run(runtime: &Runtime, listener: TcpListener, handshaking: &Handshaking, mut stopped: oneshot::Receiver<()>) {
    runtime.block_on(async {
        let mut handshakes = Handshakes::default();
        loop {
            tokio::select! {
                _ = &mut stopped => return,
                () = handshakes.one_ends(), if !handshakes.tasks.is_empty() => {}
                accepted = listener.accept(), if handshakes.tasks.len() < MOST => match accepted {
                    Ok((stream, peer)) => handshakes.begin(handshaking, stream, peer),
                    Err(_) => tokio::time::sleep(OUT_OF_DESCRIPTORS).await,
                },
            }
        }
    });
}

/// The handshakes under way, and whose they are.
#[derive(Default)]
struct Handshakes {
    tasks: JoinSet<()>,
    households: HashMap<Id, IpAddr>,
}

impl Handshakes {
    fn begin(&mut self, handshaking: &Handshaking, stream: TcpStream, peer: SocketAddr) {
        let household = household(peer.ip());
        if self.households.values().filter(|one| **one == household).count() >= MOST_OF_ONE {
            // Dropping the stream closes it.
            return;
        }
        let (acceptor, sender, control) = (
            handshaking.acceptor.clone(),
            handshaking.sender.clone(),
            handshaking.control.clone(),
        );
        let task = self.tasks.spawn(async move {
            let Ok(Ok(secured)) = timeout(HANDSHAKE, acceptor.accept(stream)).await else {
                return;
            };
            let (stream, tls) = secured.into_inner();
            if let Ok(stream) = stream.into_std()
                && sender.try_send(Secured { stream, peer, tls }).is_ok()
            {
                control.wake();
            }
        });
        self.households.insert(task.id(), household);
    }

    async fn one_ends(&mut self) {
        let id = match self.tasks.join_next_with_id().await {
            Some(Ok((id, ()))) => id,
            Some(Err(error)) => error.id(),
            None => return,
        };
        self.households.remove(&id);
    }
}
