//! The state that a connection's handle and its task share.

use std::sync::{Mutex, OnceLock, PoisonError};

use rustler::LocalPid;
use tokio::sync::{oneshot, watch};

use crate::outgoing::Outgoing;

/// The order to a listener or a connection. It only ever goes up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Control {
    /// Go on.
    Run,
    /// Finish what is under way.
    Drain,
    /// Close at once.
    Abort,
}

/// The part of a connection that its handle and its task share.
pub struct Shared {
    control: watch::Sender<Control>,
    attach: Mutex<Option<oneshot::Sender<LocalPid>>>,
    /// The way out, once the connection is a WebSocket.
    pub socket: OnceLock<Outgoing>,
}

impl Shared {
    /// A connection that waits for its process.
    pub fn new(attach: oneshot::Sender<LocalPid>) -> Self {
        Self {
            control: watch::Sender::new(Control::Run),
            attach: Mutex::new(Some(attach)),
            socket: OnceLock::new(),
        }
    }

    /// Gives the connection to `pid`; `false` if it has a process or is gone.
    pub fn attach(&self, pid: LocalPid) -> bool {
        let attach = self.attach.lock().unwrap_or_else(PoisonError::into_inner).take();
        attach.is_some_and(|attach| attach.send(pid).is_ok())
    }

    /// Closes the connection at once.
    pub fn abort(&self) {
        self.control.send_replace(Control::Abort);
    }

    /// Changes of [`Control`].
    pub fn control(&self) -> watch::Receiver<Control> {
        self.control.subscribe()
    }
}
