//! Taps: a handle has the queue that a command gives to the room, and the reader of it.

use std::collections::HashMap;
use std::sync::{Mutex, TryLockError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use roomtone_audio::Channels;
use roomtone_engine::{Journal, PeerId, Tap};
use roomtone_tap::{Batch, ConfigError, Format, Reader, ReaderConfig, Sound, Source, Track};
use rustler::{Atom, Binary, Encoder, Env, Error, NifMap, OwnedBinary, Resource, ResourceArc, Term};

mod atoms {
    rustler::atoms! {
        ok, voice, bad_voice, empty, in_use, f32, s16, opus, mix, talkers, sum,
        bad_rate, bad_format, bad_channels, no_memory,
        at, timestamp, ms, lost, speaking, level, tracks, pcm, packets, talker,
    }
}

/// A tap of one process.
pub(crate) struct TapHandle {
    pub(crate) tap: Tap,
    /// `None`: something else than a process reads it.
    reader: Option<Mutex<Reader>>,
}

impl TapHandle {
    /// A tap that no process reads.
    pub(crate) fn unread(tap: Tap) -> TapHandle {
        TapHandle { tap, reader: None }
    }
}

#[rustler::resource_impl]
impl Resource for TapHandle {}

/// The queue of a room's inputs.
pub(crate) struct JournalHandle(pub(crate) Journal);

#[rustler::resource_impl]
impl Resource for JournalHandle {}

/// `tap_new/1`'s options.
#[derive(NifMap)]
struct TapOptions {
    batch_ms: u64,
    format: Atom,
    rate: u32,
    channels: u8,
    source: Atom,
}

#[rustler::nif]
fn tap_new(options: Term<'_>) -> Result<(Atom, ResourceArc<TapHandle>), Error> {
    // A node of a release without it doesn't tell.
    let voice = match options.map_get(atoms::voice()) {
        Ok(voice) => voice.decode()?,
        Err(_) => false,
    };
    // Rustler makes `{:error, reason}` of this.
    let handle = tap(&options.decode()?, voice).map_err(|reason| Error::Term(Box::new(reason)))?;
    Ok((atoms::ok(), handle))
}

fn tap(options: &TapOptions, voice: bool) -> Result<ResourceArc<TapHandle>, Atom> {
    let format = match options.format {
        format if format == atoms::f32() => Format::F32,
        format if format == atoms::s16() => Format::S16,
        format if format == atoms::opus() => Format::Opus,
        _ => return Err(atoms::bad_format()),
    };
    let source = match options.source {
        source if source == atoms::talkers() => Source::Talkers,
        source if source == atoms::sum() => Source::Sum,
        _ => Source::Mix,
    };
    let channels = match options.channels {
        1 => Channels::Mono,
        2 => Channels::Stereo,
        _ => return Err(atoms::bad_channels()),
    };
    let tap = Tap::new(Instant::now(), Duration::from_millis(options.batch_ms));
    let config = ReaderConfig {
        format,
        rate: options.rate,
        channels,
        source,
        voice,
    };
    let reader = Reader::new(tap.clone(), config).map_err(|error| match error {
        ConfigError::Rate => atoms::bad_rate(),
        ConfigError::Stereo => atoms::bad_channels(),
        ConfigError::Sum => atoms::bad_format(),
        ConfigError::Voice => atoms::bad_voice(),
        ConfigError::Memory => atoms::no_memory(),
    })?;
    let reader = Some(Mutex::new(reader));
    Ok(ResourceArc::new(TapHandle { tap, reader }))
}

// Dirty: decodes up to half a second of each talker.
#[rustler::nif(schedule = "DirtyCpu")]
fn tap_read<'a>(env: Env<'a>, handle: ResourceArc<TapHandle>) -> Result<Term<'a>, Atom> {
    let mut reader = lock(handle.reader.as_ref())?;
    let format = reader.format();
    Ok(match reader.read() {
        Some(batch) => batch_term(env, format, &batch),
        None => atoms::empty().encode(env),
    })
}

#[rustler::nif]
fn tap_gains(handle: ResourceArc<TapHandle>, default: f64, gains: Vec<(PeerId, f64)>) -> Result<Atom, Atom> {
    let gains: HashMap<PeerId, f32> = gains.into_iter().map(|(peer, gain)| (peer, gain as f32)).collect();
    lock(handle.reader.as_ref())?.set_gains(default as f32, gains);
    Ok(atoms::ok())
}

// A handle is one process's. A second one that comes at the same moment gets an error; it never blocks a scheduler.
fn lock(reader: Option<&Mutex<Reader>>) -> Result<std::sync::MutexGuard<'_, Reader>, Atom> {
    match reader.ok_or(atoms::in_use())?.try_lock() {
        Ok(guard) => Ok(guard),
        Err(TryLockError::Poisoned(poisoned)) => Ok(poisoned.into_inner()),
        Err(TryLockError::WouldBlock) => Err(atoms::in_use()),
    }
}

fn batch_term<'a>(env: Env<'a>, format: Format, batch: &Batch) -> Term<'a> {
    let mut pairs: Vec<(Atom, Term<'a>)> = vec![
        (atoms::at(), unix_micros(batch.began).encode(env)),
        (atoms::timestamp(), batch.media_time.encode(env)),
        (atoms::ms(), (batch.ticks * 20).encode(env)),
        (atoms::lost(), batch.lost.encode(env)),
        (atoms::speaking(), batch.speaking.encode(env)),
    ];
    match &batch.mix {
        Some((sound, level)) => {
            pairs.push((atoms::level(), level.encode(env)));
            pairs.push(sound_pair(env, format, sound));
        }
        None => {
            let tracks: Vec<Term<'a>> = batch
                .tracks
                .iter()
                .map(|track| track_term(env, format, track))
                .collect();
            pairs.push((atoms::tracks(), tracks.encode(env)));
        }
    }
    map(env, &pairs)
}

fn track_term<'a>(env: Env<'a>, format: Format, track: &Track) -> Term<'a> {
    let mut pairs = vec![
        (atoms::talker(), track.talker.encode(env)),
        (atoms::level(), track.level.encode(env)),
        sound_pair(env, format, &track.sound),
    ];
    if let Some(score) = track.voice {
        pairs.push((atoms::voice(), f64::from(score).encode(env)));
    }
    map(env, &pairs)
}

fn sound_pair<'a>(env: Env<'a>, format: Format, sound: &Sound) -> (Atom, Term<'a>) {
    match sound {
        Sound::Pcm(pcm) => (atoms::pcm(), pcm_binary(env, format, pcm).encode(env)),
        Sound::Packets(packets) => {
            let packets: Vec<(u32, Binary<'a>)> = packets.iter().map(|(at, data)| (*at, binary(env, data))).collect();
            (atoms::packets(), packets.encode(env))
        }
    }
}

fn pcm_binary<'a>(env: Env<'a>, format: Format, pcm: &[f32]) -> Binary<'a> {
    if format == Format::S16 {
        let mut out = OwnedBinary::new(pcm.len() * 2);
        for (to, sample) in out.as_mut_slice().as_chunks_mut::<2>().0.iter_mut().zip(pcm) {
            *to = ((sample.clamp(-1.0, 1.0) * f32::from(i16::MAX)).round() as i16).to_le_bytes();
        }
        return out.release(env);
    }
    let mut out = OwnedBinary::new(pcm.len() * 4);
    for (to, sample) in out.as_mut_slice().as_chunks_mut::<4>().0.iter_mut().zip(pcm) {
        *to = sample.to_le_bytes();
    }
    out.release(env)
}

fn binary<'a>(env: Env<'a>, data: &[u8]) -> Binary<'a> {
    let mut out = OwnedBinary::new(data.len());
    out.as_mut_slice().copy_from_slice(data);
    out.release(env)
}

fn map<'a>(env: Env<'a>, pairs: &[(Atom, Term<'a>)]) -> Term<'a> {
    let keys: Vec<Term<'a>> = pairs.iter().map(|(key, _)| key.to_term(env)).collect();
    let values: Vec<Term<'a>> = pairs.iter().map(|(_, value)| *value).collect();
    Term::map_from_term_arrays(env, &keys, &values).unwrap_or_else(|_| atoms::empty().to_term(env))
}

fn unix_micros(at: Instant) -> u64 {
    let ago = Instant::now().saturating_duration_since(at);
    let then = SystemTime::now().checked_sub(ago).unwrap_or(UNIX_EPOCH);
    let since = then.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}
