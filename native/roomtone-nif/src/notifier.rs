//! The thread that turns the engine's events, and what it logs, into messages.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, Once, PoisonError, Weak};
use std::thread;

use crossbeam_channel::{Receiver, Sender, bounded, select};
use log::{Level, LevelFilter, Log, Metadata, Record};
use roomtone_engine::Envelope;
use rustler::{Env, LocalPid, OwnedEnv, Term};

use crate::terms::{log_message, message};

/// Events that may wait for the thread; the engine keeps some more.
const QUEUE: usize = 65_536;
/// Log lines that may wait; more are dropped, since whoever logs must not wait.
const LOG_QUEUE: usize = 256;
/// The longest log line, in bytes.
const LOG_LINE: usize = 1_000;

/// The process that gets the messages; can be changed while the engine runs.
pub(crate) type Target = Arc<Mutex<LocalPid>>;

/// Keeps an engine's log lines coming: they stop when this is dropped.
pub(crate) struct LogLines(#[allow(dead_code)] Arc<Sender<Line>>);

type Line = (Level, String);

/// Starts the thread. It ends when the last sender is gone, that is with the engine: it holds no handle of it.
pub(crate) fn start(target: Target) -> std::io::Result<(Sender<Envelope>, LogLines)> {
    let (sender, receiver) = bounded(QUEUE);
    let (log_sender, lines) = bounded(LOG_QUEUE);
    let log_sender = Arc::new(log_sender);
    install(&log_sender);
    thread::Builder::new()
        .name("roomtone-events".to_owned())
        .spawn(move || notify(&receiver, &lines, &target))?;
    Ok((sender, LogLines(log_sender)))
}

fn notify(events: &Receiver<Envelope>, lines: &Receiver<Line>, target: &Mutex<LocalPid>) {
    let mut env = OwnedEnv::new();
    loop {
        select! {
            recv(events) -> envelope => match envelope {
                Ok(envelope) => send(&mut env, target, |env| message(env, &envelope)),
                Err(_) => return,
            },
            recv(lines) -> line => match line {
                Ok((level, text)) => send(&mut env, target, |env| log_message(env, level, &text)),
                // The engine's handle is being dropped; its events end next.
                Err(_) => return events.iter().for_each(drop),
            },
        }
    }
}

fn send(env: &mut OwnedEnv, target: &Mutex<LocalPid>, term: impl for<'a> FnOnce(Env<'a>) -> Term<'a>) {
    let pid = *target.lock().unwrap_or_else(PoisonError::into_inner);
    // A bug in one message must not end all news. A dead target loses its news: whoever takes its place asks for the state.
    let sent = catch_unwind(AssertUnwindSafe(|| env.send_and_clear(&pid, term)));
    if sent.is_err() {
        *env = OwnedEnv::new();
    }
}

// The process has one logger, and engines come and go: it writes to the newest.
static NEWEST: Mutex<Weak<Sender<Line>>> = Mutex::new(Weak::new());
static INSTALL: Once = Once::new();

struct Forward;

fn install(sender: &Arc<Sender<Line>>) {
    *NEWEST.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(sender);
    INSTALL.call_once(|| {
        if log::set_logger(&Forward).is_ok() {
            log::set_max_level(LevelFilter::Info);
        }
    });
}

impl Log for Forward {
    // Only what is ours: the libraries tell strangers' mistakes at levels that would fill anybody's log.
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Info && metadata.target().starts_with("roomtone")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let newest = NEWEST.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        if let Some(sender) = newest {
            let mut text = record.args().to_string();
            text.truncate(text.floor_char_boundary(LOG_LINE));
            // Full: dropped, rather than waited for.
            let _ = sender.try_send((record.level(), text));
        }
    }

    fn flush(&self) {}
}
