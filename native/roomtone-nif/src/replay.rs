//! Rooms that are played again, for `mix roomtone.replay`.

use std::path::Path;
use std::sync::{Mutex, TryLockError};
use std::time::Duration;

use roomtone_record::{Playback, Played, Wanted};
use rustler::{Atom, Encoder, Env, Resource, ResourceArc, Term};

mod atoms {
    rustler::atoms! {
        more, done, nil,
        version, room, date, streams, left_out, cut_off, room_failed, inputs, packets, compared, different,
        first_difference, lasted_ms, listener, slot, file,
    }
}

/// How long one call takes: in between the caller may end it.
const AT_ONCE: Duration = Duration::from_millis(200);

/// A replay of one process.
struct PlaybackHandle(Mutex<Playback>);

#[rustler::resource_impl]
impl Resource for PlaybackHandle {}

#[rustler::nif(schedule = "DirtyIo")]
fn replay_open(
    file: &str,
    out: &str,
    listener: Option<&str>,
    wav: bool,
) -> Result<ResourceArc<PlaybackHandle>, String> {
    let wanted = Wanted { listener, wav };
    let playback = Playback::open(Path::new(file), Path::new(out), &wanted).map_err(|error| error.to_string())?;
    Ok(ResourceArc::new(PlaybackHandle(Mutex::new(playback))))
}

#[rustler::nif(schedule = "DirtyCpu")]
fn replay_run(env: Env<'_>, handle: ResourceArc<PlaybackHandle>) -> Result<Term<'_>, String> {
    let mut playback = match handle.0.try_lock() {
        Ok(playback) => playback,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        Err(TryLockError::WouldBlock) => return Err("the replay runs in another process".to_owned()),
    };
    match playback.run(AT_ONCE).map_err(|error| error.to_string())? {
        None => Ok((atoms::more(), ms(playback.lasted())).encode(env)),
        Some(played) => Ok((atoms::done(), played_term(env, &played)).encode(env)),
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn map<'a, const N: usize>(env: Env<'a>, fields: [(Atom, Term<'a>); N]) -> Term<'a> {
    let (keys, values): (Vec<Term<'a>>, Vec<Term<'a>>) =
        fields.into_iter().map(|(key, value)| (key.to_term(env), value)).unzip();
    Term::map_from_term_arrays(env, &keys, &values).unwrap_or_else(|_| atoms::nil().to_term(env))
}

fn played_term<'a>(env: Env<'a>, played: &Played) -> Term<'a> {
    let streams: Vec<Term<'a>> = (played.streams.iter())
        .map(|stream| {
            map(
                env,
                [
                    (atoms::listener(), stream.listener.encode(env)),
                    (atoms::slot(), stream.slot.encode(env)),
                    (atoms::file(), stream.file.to_string_lossy().encode(env)),
                    (atoms::packets(), stream.packets.encode(env)),
                ],
            )
        })
        .collect();
    let counts = &played.counts;
    let difference = counts.first_difference.map(|(at, peer)| (ms(at), peer));
    map(
        env,
        [
            (atoms::version(), played.head.version.encode(env)),
            (atoms::room(), played.head.room.encode(env)),
            (atoms::date(), played.head.date.encode(env)),
            (atoms::streams(), streams.encode(env)),
            (atoms::left_out(), played.left_out.encode(env)),
            (atoms::cut_off(), played.cut_off.encode(env)),
            (atoms::room_failed(), played.room_failed.encode(env)),
            (atoms::inputs(), counts.inputs.encode(env)),
            (atoms::packets(), counts.packets.encode(env)),
            (atoms::compared(), counts.compared.encode(env)),
            (atoms::different(), counts.different.encode(env)),
            (atoms::first_difference(), difference.encode(env)),
            (atoms::lasted_ms(), ms(counts.lasted).encode(env)),
        ],
    )
}
