//! The thread that turns the engine's events into messages.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded};
use roomtone_engine::Envelope;
use rustler::{LocalPid, OwnedEnv};

use crate::terms::message;

/// Events that may wait for the thread; the engine keeps some more.
const QUEUE: usize = 65_536;

/// Who gets the events; can be changed while the engine runs.
pub(crate) type Target = Arc<Mutex<LocalPid>>;

/// Starts the thread. It ends when the last sender is gone, that is with the engine: it holds no handle of it.
pub(crate) fn start(target: Target) -> std::io::Result<Sender<Envelope>> {
    let (sender, receiver) = bounded(QUEUE);
    thread::Builder::new()
        .name("roomtone-events".to_owned())
        .spawn(move || notify(&receiver, &target))?;
    Ok(sender)
}

fn notify(events: &Receiver<Envelope>, target: &Mutex<LocalPid>) {
    let mut env = OwnedEnv::new();
    while let Ok(envelope) = events.recv() {
        let pid = *target.lock().unwrap_or_else(PoisonError::into_inner);
        // A dead target loses its news: whoever takes its place asks the engine's state anew.
        let _ = env.send_and_clear(&pid, |env| message(env, envelope));
    }
}
