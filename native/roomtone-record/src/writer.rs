//! The thread that writes all recordings, and the handle of one.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded, unbounded};
use roomtone_engine::{Journal, PeerId, Tap};
use serde_json::{Value, json};

use crate::inputs_file::{InputsConfig, InputsFile};
use crate::recording::{Files, Note, RecordingConfig, StartError};

/// How often everything is written.
const EVERY: Duration = Duration::from_millis(250);
/// Notes that may wait for the disk.
const NOTES: usize = 10_000;

/// How a recording ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It was stopped.
    Stopped,
    /// The disk is full.
    DiskFull,
    /// The file of a room's inputs has as many bytes as it may have.
    TooLong,
    /// The disk was too slow for a room's inputs, of which none may be left out.
    Behind,
    /// Somebody had been in the room already, so that its inputs can't be recorded.
    TooLate,
    /// The disk failed, with the system's words.
    Io(String),
}

/// The state of a recording.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// `None` while it runs.
    pub end: Option<End>,
    /// Bytes on disk.
    pub bytes: u64,
    /// Milliseconds that were lost because the disk was slow, of the mix and of the tracks.
    pub lost_ms: u64,
}

struct Shared {
    status: Mutex<Status>,
    ended: Condvar,
    stop: AtomicBool,
}

impl Shared {
    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The handle of a recording. The recording is stopped when it is dropped.
pub struct Recording {
    shared: Arc<Shared>,
    notes: Sender<Note>,
    wake: Sender<Order>,
    taps: (Option<Tap>, Option<Tap>),
    journal: Option<Journal>,
    began: Instant,
}

/// The files of a recording.
enum Output {
    Sound(Box<Files>),
    Inputs(InputsFile),
}

struct Job {
    output: Output,
    notes: Receiver<Note>,
    shared: Arc<Shared>,
}

enum Order {
    Begin(Box<Job>),
    Look,
}

/// The thread. It ends when this and all recordings are dropped.
pub struct Writer {
    orders: Sender<Order>,
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no thread.
    pub fn start() -> std::io::Result<Writer> {
        let (orders, received) = unbounded();
        thread::Builder::new()
            .name("roomtone-record".to_owned())
            .spawn(move || run(&received))?;
        Ok(Writer { orders })
    }

    /// Begins a recording. Makes its folder in the caller's thread.
    ///
    /// # Errors
    /// [`StartError`].
    pub fn record(&self, config: RecordingConfig) -> Result<Recording, StartError> {
        let began = Instant::now();
        let files = Files::create(config, began)?;
        let taps = files.taps();
        Ok(self.begin(Output::Sound(Box::new(files)), taps, began))
    }

    /// Begins a recording of a room's inputs, which come by its [`Recording::journal`]. Makes its file in the caller's thread.
    ///
    /// # Errors
    /// [`StartError::Io`].
    pub fn record_inputs(&self, config: &InputsConfig) -> Result<Recording, StartError> {
        let file = InputsFile::create(config).map_err(|source| StartError::Io {
            path: config.file.clone(),
            source,
        })?;
        Ok(self.begin(Output::Inputs(file), (None, None), Instant::now()))
    }

    fn begin(&self, output: Output, taps: (Option<Tap>, Option<Tap>), began: Instant) -> Recording {
        let (notes, received) = bounded(NOTES);
        let shared = Arc::new(Shared {
            status: Mutex::default(),
            ended: Condvar::new(),
            stop: AtomicBool::new(false),
        });
        let recording = Recording {
            shared: shared.clone(),
            notes,
            wake: self.orders.clone(),
            taps,
            journal: match &output {
                Output::Sound(_) => None,
                Output::Inputs(file) => Some(file.journal().clone()),
            },
            began,
        };
        let job = Job {
            output,
            notes: received,
            shared,
        };
        let _ = self.orders.send(Order::Begin(Box::new(job)));
        recording
    }
}

impl Recording {
    /// The queue for the mix, if that is recorded.
    pub fn mix_tap(&self) -> Option<&Tap> {
        self.taps.0.as_ref()
    }

    /// The queue for the talkers, if these are recorded.
    pub fn tracks_tap(&self) -> Option<&Tap> {
        self.taps.1.as_ref()
    }

    /// The queue for the room's inputs, if these are recorded.
    pub fn journal(&self) -> Option<&Journal> {
        self.journal.as_ref()
    }

    /// Names a talker. A track goes by the name that its talker has by the first packet.
    pub fn name(&self, talker: PeerId, name: &str) {
        self.note(Note::Name(talker, name.to_owned()));
    }

    /// Adds an entry to the timeline: `fields` with the time of now and the event's name.
    pub fn enter(&self, event: &str, fields: &[(&str, &str)]) {
        let mut entry = json!({"ms": self.began.elapsed().as_millis() as u64, "event": event});
        if let Value::Object(entry) = &mut entry {
            entry.extend(fields.iter().map(|(key, value)| ((*key).to_owned(), json!(value))));
        }
        self.note(Note::Entry(entry));
    }

    fn note(&self, note: Note) {
        if let Err(TrySendError::Full(_)) = self.notes.try_send(note) {
            log::warn!("a recording's disk is too slow for its timeline: an entry is lost");
        }
    }

    /// How it is.
    pub fn status(&self) -> Status {
        self.shared.status().clone()
    }

    /// Ends it, and waits so long for its files to be whole.
    pub fn stop(&self, wait: Duration) -> Status {
        self.shared.stop.store(true, Ordering::SeqCst);
        let _ = self.wake.send(Order::Look);
        let status = self.shared.status();
        let ended = self
            .shared
            .ended
            .wait_timeout_while(status, wait, |status| status.end.is_none());
        ended.unwrap_or_else(PoisonError::into_inner).0.clone()
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
    }
}

fn run(orders: &Receiver<Order>) {
    let mut jobs: Vec<Job> = Vec::new();
    let mut due = Instant::now() + EVERY;
    let mut last = false;
    while !last {
        match orders.recv_deadline(due) {
            Ok(Order::Begin(job)) => jobs.push(*job),
            Ok(Order::Look) => jobs.retain_mut(|job| !job.shared.stop.load(Ordering::SeqCst) || go_on(job)),
            Err(RecvTimeoutError::Timeout) => {
                jobs.retain_mut(go_on);
                due = Instant::now() + EVERY;
            }
            Err(RecvTimeoutError::Disconnected) => {
                jobs.iter()
                    .for_each(|job| job.shared.stop.store(true, Ordering::SeqCst));
                jobs.retain_mut(go_on);
                last = true;
            }
        }
    }
}

// Writes what there is; whether the recording goes on.
fn go_on(job: &mut Job) -> bool {
    // A bug in one recording ends that one.
    let end = catch_unwind(AssertUnwindSafe(|| write(job)));
    let end = end.unwrap_or_else(|_| Some(End::Io("a bug".to_owned())));
    let mut status = job.shared.status();
    match &job.output {
        Output::Sound(files) => (status.bytes, status.lost_ms) = (files.bytes(), files.lost_ms),
        Output::Inputs(file) => status.bytes = file.bytes(),
    }
    status.end = end;
    let ended = status.end.is_some();
    drop(status);
    if ended {
        job.shared.ended.notify_all();
    }
    !ended
}

fn write(job: &mut Job) -> Option<End> {
    let stop = job.shared.stop.load(Ordering::SeqCst);
    let now = Instant::now();
    let notes = job.notes.try_iter();
    let written = match &mut job.output {
        Output::Sound(files) => write_sound(files, notes, stop, now),
        Output::Inputs(file) => write_inputs(file, notes, stop),
    };
    match written {
        Ok(end) => end,
        Err(error) => {
            let full = matches!(
                error.kind(),
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded | std::io::ErrorKind::FileTooLarge
            );
            log::error!("a recording ends: {error}");
            match &mut job.output {
                Output::Sound(files) => files.give_up(now, if full { "disk_full" } else { "io" }),
                Output::Inputs(file) => file.journal().close(),
            }
            Some(if full {
                End::DiskFull
            } else {
                End::Io(error.to_string())
            })
        }
    }
}

fn write_sound(
    files: &mut Files,
    mut notes: impl Iterator<Item = Note>,
    stop: bool,
    now: Instant,
) -> std::io::Result<Option<End>> {
    notes.try_for_each(|note| files.note(note))?;
    if stop {
        files.finish(now, "stopped")?;
        return Ok(Some(End::Stopped));
    }
    files.write().map(|()| None)
}

fn write_inputs(
    file: &mut InputsFile,
    mut notes: impl Iterator<Item = Note>,
    stop: bool,
) -> std::io::Result<Option<End>> {
    notes.try_for_each(|note| match note {
        Note::Name(peer, name) => file.name(peer, &name),
        Note::Entry(_) => Ok(()),
    })?;
    let end = file.write()?.or(stop.then_some(End::Stopped));
    if end.is_some() {
        file.journal().close();
    }
    Ok(end)
}
