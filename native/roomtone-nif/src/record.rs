//! Recordings: a handle for each, and one thread that writes them all. And the mix as a stream for players.

use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, TryLockError};
use std::time::Duration;

use roomtone_engine::PeerId;
use roomtone_record::{End, InputsConfig, Live, Recording, RecordingConfig, StartError, Status, Writer};
use rustler::{Atom, Binary, Encoder, Env, NifMap, OwnedBinary, Resource, ResourceArc, Term};

use crate::tap::{JournalHandle, TapHandle};

mod atoms {
    rustler::atoms! {
        ok, nil, nothing, exists, no_permission, disk_full, io, no_thread,
        running, stopped, too_long, behind, too_late, in_use, state, bytes, lost_ms,
    }
}

/// The time that the end of a recording waits for the disk.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// A recording of one process. It stops when the process's handle is gone.
struct RecordingHandle(Recording);

#[rustler::resource_impl]
impl Resource for RecordingHandle {}

/// `record_start/1`'s options.
#[derive(NifMap)]
struct RecordOptions {
    folder: String,
    room: String,
    date: String,
    mix: bool,
    tracks: bool,
    stereo: bool,
}

type Tap = Option<ResourceArc<TapHandle>>;
type Started = (ResourceArc<RecordingHandle>, Tap, Tap);

// One for the whole VM, from the first recording on.
static WRITER: OnceLock<Writer> = OnceLock::new();

fn writer() -> io::Result<&'static Writer> {
    match WRITER.get() {
        Some(writer) => Ok(writer),
        None => {
            let writer = Writer::start()?;
            Ok(WRITER.get_or_init(|| writer))
        }
    }
}

#[rustler::nif(schedule = "DirtyIo")]
fn record_start(options: RecordOptions) -> Result<Started, (Atom, String)> {
    let writer = writer().map_err(|error| (atoms::no_thread(), error.to_string()))?;
    let config = RecordingConfig {
        folder: PathBuf::from(options.folder),
        room: options.room,
        date: options.date,
        mix: options.mix,
        tracks: options.tracks,
        stereo: options.stereo,
    };
    let recording = writer.record(config).map_err(start_error)?;
    let tap = |tap: Option<&roomtone_engine::Tap>| tap.map(|tap| ResourceArc::new(TapHandle::unread(tap.clone())));
    let (mix, tracks) = (tap(recording.mix_tap()), tap(recording.tracks_tap()));
    Ok((ResourceArc::new(RecordingHandle(recording)), mix, tracks))
}

/// `record_inputs/1`'s options.
#[derive(NifMap)]
struct InputsOptions {
    file: String,
    room: String,
    date: String,
    most_bytes: u64,
}

type InputsStarted = (ResourceArc<RecordingHandle>, ResourceArc<JournalHandle>);

#[rustler::nif(schedule = "DirtyIo")]
fn record_inputs(options: InputsOptions) -> Result<InputsStarted, (Atom, String)> {
    let writer = writer().map_err(|error| (atoms::no_thread(), error.to_string()))?;
    let config = InputsConfig {
        file: PathBuf::from(options.file),
        room: options.room,
        date: options.date,
        most_bytes: options.most_bytes,
    };
    let recording = writer.record_inputs(&config).map_err(start_error)?;
    let journal = recording.journal().cloned();
    let journal = journal.ok_or_else(|| (atoms::nothing(), "there is no journal".to_owned()))?;
    Ok((
        ResourceArc::new(RecordingHandle(recording)),
        ResourceArc::new(JournalHandle(journal)),
    ))
}

fn start_error(error: StartError) -> (Atom, String) {
    let code = match &error {
        StartError::Nothing => atoms::nothing(),
        StartError::Io { source, .. } => match source.kind() {
            io::ErrorKind::AlreadyExists => atoms::exists(),
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => atoms::no_permission(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => atoms::disk_full(),
            _ => atoms::io(),
        },
    };
    (code, error.to_string())
}

#[rustler::nif]
fn record_names(handle: ResourceArc<RecordingHandle>, names: Vec<(PeerId, String)>) -> Atom {
    for (peer, name) in names {
        handle.0.name(peer, &name);
    }
    atoms::ok()
}

#[rustler::nif]
fn record_enter(handle: ResourceArc<RecordingHandle>, event: &str, fields: Vec<(String, String)>) -> Atom {
    let fields: Vec<(&str, &str)> = fields
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_str()))
        .collect();
    handle.0.enter(event, &fields);
    atoms::ok()
}

#[rustler::nif]
fn record_status(env: Env<'_>, handle: ResourceArc<RecordingHandle>) -> Term<'_> {
    status_term(env, &handle.0.status())
}

// Dirty: waits for the disk.
#[rustler::nif(schedule = "DirtyIo")]
fn record_stop(env: Env<'_>, handle: ResourceArc<RecordingHandle>) -> Term<'_> {
    status_term(env, &handle.0.stop(STOP_WAIT))
}

fn status_term<'a>(env: Env<'a>, status: &Status) -> Term<'a> {
    let state = match &status.end {
        None => atoms::running().encode(env),
        Some(End::Stopped) => atoms::stopped().encode(env),
        Some(End::DiskFull) => atoms::disk_full().encode(env),
        Some(End::TooLong) => atoms::too_long().encode(env),
        Some(End::Behind) => atoms::behind().encode(env),
        Some(End::TooLate) => atoms::too_late().encode(env),
        Some(End::Io(text)) => (atoms::io(), text).encode(env),
    };
    let keys = [atoms::state(), atoms::bytes(), atoms::lost_ms()].map(|key| key.to_term(env));
    let values = [state, status.bytes.encode(env), status.lost_ms.encode(env)];
    Term::map_from_term_arrays(env, &keys, &values).unwrap_or_else(|_| atoms::nil().to_term(env))
}

/// A stream for one listener by HTTP.
struct LiveHandle(Mutex<Live>);

#[rustler::resource_impl]
impl Resource for LiveHandle {}

#[rustler::nif]
fn live_new(stereo: bool, title: &str) -> Result<ResourceArc<LiveHandle>, Atom> {
    let live = Live::new(stereo, title).map_err(|_| atoms::io())?;
    Ok(ResourceArc::new(LiveHandle(Mutex::new(live))))
}

#[rustler::nif]
fn live_append<'a>(
    env: Env<'a>,
    handle: ResourceArc<LiveHandle>,
    media_time: u32,
    samples: u32,
    packets: Vec<(u32, Binary<'a>)>,
) -> Result<Binary<'a>, Atom> {
    let mut live = match handle.0.try_lock() {
        Ok(live) => live,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return Err(atoms::in_use()),
    };
    let packets: Vec<(u32, &[u8])> = packets.iter().map(|(at, data)| (*at, data.as_slice())).collect();
    let pages = live.append(media_time, samples, &packets).map_err(|_| atoms::io())?;
    let mut out = OwnedBinary::new(pages.len());
    out.as_mut_slice().copy_from_slice(&pages);
    Ok(out.release(env))
}
