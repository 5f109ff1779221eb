//! The functions of `Roomtone.Test.Native`.

use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use roomtone_engine::{Action, Envelope, MixConfig};
use roomtone_testkit::fixtures::read_wav;
use roomtone_testkit::peer::{ClientOptions, ClientPeer, Direction};
use rustler::{Atom, Decoder, Encoder, Env, NifMap, OwnedBinary, Resource, ResourceArc, Term};

use crate::participant::Participant;
use crate::scene::Scene;
use crate::terms::{self, Options};
use crate::voice::Sound;

mod atoms {
    rustler::atoms! { ok, error, bad_command, bad_options, no_participant, nothing_said }
}

/// The longest step of `advance/4`: its caller sends the events on in between.
const LONGEST_STEP: Duration = Duration::from_secs(60);
/// The most that `heard/3` returns.
const LONGEST_HEARD_MS: u32 = 10_000;

/// The content of a `scene` term.
pub(crate) struct SceneHandle(AssertUnwindSafe<Mutex<Scene>>);
#[rustler::resource_impl]
impl Resource for SceneHandle {}

impl SceneHandle {
    fn lock(&self) -> MutexGuard<'_, Scene> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The content of a `client` term: empty once its offer was used.
pub(crate) struct ClientHandle(AssertUnwindSafe<Mutex<Option<ClientPeer>>>);
#[rustler::resource_impl]
impl Resource for ClientHandle {}

/// `client/1`'s options.
#[derive(NifMap)]
struct ClientTerm {
    speak: bool,
    listen: bool,
    slots: usize,
}

type Reason = (Atom, String);

fn failed(text: String) -> Reason {
    (atoms::error(), text)
}

// Dirty: makes a certificate.
#[rustler::nif(schedule = "DirtyCpu")]
fn scene(options: Term<'_>) -> Result<ResourceArc<SceneHandle>, Reason> {
    let options = Options::decode(options).map_err(|_| {
        (
            atoms::bad_options(),
            "options are not of the documented shape".to_owned(),
        )
    })?;
    let mix = MixConfig {
        bitrate: options.bitrate,
        shared_complexity: options.shared_complexity,
        private_bitrate: options.private_bitrate,
        private_complexity: options.private_complexity,
        uplink_bitrate: options.uplink_bitrate,
        ..MixConfig::default()
    };
    mix.check().map_err(|error| (atoms::bad_options(), error.to_string()))?;
    let scene = Scene::new(mix).map_err(failed)?;
    Ok(ResourceArc::new(SceneHandle(AssertUnwindSafe(Mutex::new(scene)))))
}

// Dirty: the first one makes a certificate.
#[rustler::nif(schedule = "DirtyCpu")]
fn client(options: ClientTerm) -> Result<(ResourceArc<ClientHandle>, String), Reason> {
    let direction = match (options.speak, options.listen) {
        (true, true) => Direction::SendRecv,
        (true, false) => Direction::SendOnly,
        (false, true) => Direction::RecvOnly,
        (false, false) => Direction::Inactive,
    };
    let options = ClientOptions {
        direction,
        slots: options.slots,
        ..ClientOptions::default()
    };
    let peer = Participant::client(Instant::now(), options).map_err(failed)?;
    let offer = peer.offer();
    Ok((
        ResourceArc::new(ClientHandle(AssertUnwindSafe(Mutex::new(Some(peer))))),
        offer,
    ))
}

#[rustler::nif(schedule = "DirtyCpu")]
fn command<'a>(
    env: Env<'a>,
    handle: ResourceArc<SceneHandle>,
    shard: usize,
    term: Term<'a>,
    client: Option<ResourceArc<ClientHandle>>,
) -> Result<Term<'a>, Reason> {
    let command = terms::command(term)
        .ok()
        .filter(|command| !matches!(command.action, Action::Fault { .. }))
        .ok_or_else(|| (atoms::bad_command(), "not a command".to_owned()))?;
    let client = client.and_then(|client| client.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    let events = handle.lock().command(command, client).map_err(failed)?;
    Ok(messages(env, shard, events))
}

#[rustler::nif(schedule = "DirtyCpu")]
fn advance(env: Env<'_>, handle: ResourceArc<SceneHandle>, shard: usize, ms: u32) -> Result<Term<'_>, Reason> {
    let duration = Duration::from_millis(u64::from(ms)).min(LONGEST_STEP);
    let events = handle.lock().advance(duration).map_err(failed)?;
    Ok(messages(env, shard, events))
}

fn messages(env: Env<'_>, shard: usize, events: Vec<roomtone_engine::Event>) -> Term<'_> {
    let messages: Vec<Term<'_>> = events
        .into_iter()
        .map(|event| terms::message(env, &Envelope { shard, epoch: 1, event }))
        .collect();
    messages.encode(env)
}

/// Whether a participant is connected; the reason, if their connection is over.
#[rustler::nif]
fn connected(handle: ResourceArc<SceneHandle>, peer: u64) -> Result<bool, Reason> {
    let mut scene = handle.lock();
    let participant = scene.participant(peer).ok_or_else(nobody)?;
    match participant.over.clone() {
        Some(reason) => Err(failed(reason)),
        None => Ok(participant.connected),
    }
}

#[rustler::nif(schedule = "DirtyIo")]
fn say(handle: ResourceArc<SceneHandle>, peer: u64, path: Option<String>, ms: Option<u32>) -> Result<Atom, Reason> {
    let sound = match path {
        Some(path) => Sound::Clip(read_wav(path).map_err(|error| failed(error.to_string()))?),
        None => Sound::Tone,
    };
    let mut scene = handle.lock();
    let participant = scene.participant(peer).ok_or_else(nobody)?;
    participant
        .voice
        .say(sound, ms.map(|ms| Duration::from_millis(ms.into())));
    Ok(atoms::ok())
}

#[rustler::nif]
fn hush(handle: ResourceArc<SceneHandle>, peer: u64) -> Result<Atom, Reason> {
    handle.lock().participant(peer).ok_or_else(nobody)?.voice.hush();
    Ok(atoms::ok())
}

#[rustler::nif]
fn hang_up(handle: ResourceArc<SceneHandle>, peer: u64) -> Result<Atom, Reason> {
    let mut scene = handle.lock();
    let now = scene.now;
    scene.participant(peer).ok_or_else(nobody)?.peer.close(now);
    Ok(atoms::ok())
}

/// How a listener hears a speaker over the last milliseconds: decibels, and for how many milliseconds the speaker spoke.
#[rustler::nif(schedule = "DirtyCpu")]
fn hears(handle: ResourceArc<SceneHandle>, listener: u64, speaker: u64, ms: u32) -> Result<(f32, u64), Reason> {
    let scene = handle.lock();
    let (listener, speaker) = scene.pair(listener, speaker).ok_or_else(nobody)?;
    let measured = listener
        .hears(speaker, scene.now, seconds(ms))
        .ok_or_else(|| (atoms::nothing_said(), "the speaker was never told to speak".to_owned()))?;
    Ok((measured.db, measured.spoke.as_millis() as u64))
}

#[rustler::nif(schedule = "DirtyCpu")]
fn heard(env: Env<'_>, handle: ResourceArc<SceneHandle>, peer: u64, ms: u32) -> Result<Term<'_>, Reason> {
    let mut scene = handle.lock();
    let now = scene.now;
    let pcm = scene.participant(peer).ok_or_else(nobody)?.ear.heard(now, seconds(ms));
    let mut binary = OwnedBinary::new(4 * pcm.len());
    for (bytes, sample) in binary.as_mut_slice().chunks_exact_mut(4).zip(&pcm) {
        bytes.copy_from_slice(&sample.to_le_bytes());
    }
    Ok(binary.release(env).encode(env))
}

fn seconds(ms: u32) -> f32 {
    ms.min(LONGEST_HEARD_MS) as f32 / 1000.0
}

fn nobody() -> Reason {
    (
        atoms::no_participant(),
        "no client of this test is behind them".to_owned(),
    )
}
