//! The functions of `Roomtone.Native`.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use roomtone_engine::{
    Engine, EngineConfig, MixConfig, RunOutcome, ShardConfig, StartError, SubmitError, TurnConfig, TurnTlsConfig,
};
use rustler::{Atom, Decoder, Env, Error, LocalPid, Resource, ResourceArc, Term};

use crate::notifier::{self, LogLines, Target};
use crate::terms::{self, Options, ShardOptions, TurnOptions};

mod atoms {
    rustler::atoms! {
        ok, stopped, busy, no_shard, bad_command, shard_panicked, no_resources,
        bad_address, no_thread, bind_failed, tcp_bind_failed, no_shards, certificate_failed, invalid_options,
    }
}

/// The longest that one call of `run_shard/3` may keep its thread: the Elixir process hears nothing meanwhile.
const LONGEST_RUN: Duration = Duration::from_secs(10);

/// The content of an `engine` term.
pub(crate) struct Handle {
    // The engine catches its own panics and starts the broken shard anew, so none leaves it half changed.
    engine: AssertUnwindSafe<Engine>,
    target: Target,
    _log_lines: LogLines,
}

#[rustler::resource_impl]
impl Resource for Handle {}

type Reason = (Atom, String);

// Dirty: binds sockets and makes a certificate.
#[rustler::nif(schedule = "DirtyIo")]
fn engine_start(options: Term<'_>, event_pid: LocalPid) -> Result<ResourceArc<Handle>, Reason> {
    let options = Options::decode(options).map_err(|_| {
        (
            atoms::invalid_options(),
            "options are not of the documented shape".to_owned(),
        )
    })?;
    let config = EngineConfig {
        shards: options.shards.iter().map(shard_config).collect::<Result<_, _>>()?,
        mix: MixConfig {
            bitrate: options.bitrate,
            shared_complexity: options.shared_complexity,
            private_bitrate: options.private_bitrate,
            private_complexity: options.private_complexity,
            uplink_bitrate: options.uplink_bitrate,
            ..MixConfig::default()
        },
        turn: options.turn.as_ref().map(turn_config).transpose()?,
        ..EngineConfig::default()
    };
    config
        .mix
        .check()
        .map_err(|error| (atoms::invalid_options(), error.to_string()))?;
    let target: Target = Arc::new(Mutex::new(event_pid));
    let (events, log_lines) =
        notifier::start(target.clone()).map_err(|error| (atoms::no_thread(), error.to_string()))?;
    match Engine::start(config, events) {
        Ok(engine) => Ok(ResourceArc::new(Handle {
            engine: AssertUnwindSafe(engine),
            target,
            _log_lines: log_lines,
        })),
        Err(error) => {
            let code = match error {
                StartError::Bind { protocol: "TCP", .. } => atoms::tcp_bind_failed(),
                StartError::Bind { .. } | StartError::BindLocal { .. } => atoms::bind_failed(),
                StartError::NoShards => atoms::no_shards(),
                StartError::Certificate(_) | StartError::TurnCertificate(_) => atoms::certificate_failed(),
            };
            Err((code, error.to_string()))
        }
    }
}

fn shard_config(options: &ShardOptions) -> Result<ShardConfig, Reason> {
    Ok(ShardConfig {
        bind: address(&options.bind)?,
        candidates: options
            .candidates
            .iter()
            .map(|text| address(text))
            .collect::<Result<_, _>>()?,
        tcp: options.tcp,
    })
}

fn turn_config(options: &TurnOptions) -> Result<TurnConfig, Reason> {
    let bind = options.bind.as_deref().map(address).transpose()?;
    let mut config = TurnConfig::new(bind, "roomtone", options.secret.as_bytes());
    config.local.clone_from(&options.local);
    if let Some(tls) = &options.tls {
        config.tls = Some(TurnTlsConfig {
            bind: address(&tls.bind)?,
            certificates: tls.certificates.as_bytes().to_vec(),
            key: tls.key.as_bytes().to_vec(),
        });
    }
    Ok(config)
}

fn address(text: &str) -> Result<SocketAddr, Reason> {
    text.parse().map_err(|_| {
        (
            atoms::bad_address(),
            format!("{text:?} is not an IP address and a port"),
        )
    })
}

#[rustler::nif]
fn engine_events_to(handle: ResourceArc<Handle>, event_pid: LocalPid) -> Atom {
    *handle.target.lock().unwrap_or_else(PoisonError::into_inner) = event_pid;
    atoms::ok()
}

#[rustler::nif(schedule = "DirtyIo")]
fn run_shard(handle: ResourceArc<Handle>, shard: usize, milliseconds: u64) -> Result<Atom, Error> {
    match handle
        .engine
        .run(shard, Duration::from_millis(milliseconds).min(LONGEST_RUN))
    {
        RunOutcome::Yielded => Ok(atoms::ok()),
        RunOutcome::Stopped => Ok(atoms::stopped()),
        RunOutcome::NoShard => Err(Error::BadArg),
        RunOutcome::Failed(error) => Err(Error::RaiseTerm(Box::new((atoms::no_resources(), error.to_string())))),
        RunOutcome::Panicked(message) => Err(Error::RaiseTerm(Box::new((atoms::shard_panicked(), message)))),
    }
}

#[rustler::nif]
fn submit(handle: ResourceArc<Handle>, shard: usize, command: Term<'_>) -> Result<Atom, Error> {
    let reason = match terms::command(command) {
        Err(_) => atoms::bad_command(),
        Ok(command) => match handle.engine.submit(shard, command) {
            Ok(()) => return Ok(atoms::ok()),
            Err(SubmitError::Busy) => atoms::busy(),
            Err(SubmitError::NoShard) => atoms::no_shard(),
            Err(SubmitError::Stopped) => atoms::stopped(),
        },
    };
    // Rustler makes `{:error, reason}` of this.
    Err(Error::Term(Box::new(reason)))
}

#[rustler::nif]
fn shard_stats(env: Env<'_>, handle: ResourceArc<Handle>, shard: usize) -> Result<Term<'_>, Error> {
    let stats = handle.engine.stats(shard).ok_or(Error::BadArg)?;
    Ok(terms::shard_stats(env, &stats))
}

// Dirty: takes resting shards apart, with all that is in them.
#[rustler::nif(schedule = "DirtyIo")]
fn engine_stop(handle: ResourceArc<Handle>) -> Atom {
    handle.engine.stop();
    atoms::ok()
}
