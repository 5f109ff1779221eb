//! Commands and events as Erlang terms.

use std::net::SocketAddr;

use roomtone_engine::{Command, Envelope, Event, GainCell, PeerStats, RoomKind, Select, ShardStats, SlotCell};
use rustler::{Atom, Encoder, Env, NifMap, NifTaggedEnum, Term};

mod atoms {
    rustler::atoms! { roomtone_media, roomtone_log, error, warning, info }
}

/// `engine_start/2`'s options.
#[derive(NifMap)]
pub(crate) struct Options {
    pub(crate) shards: Vec<ShardOptions>,
    pub(crate) bitrate: u32,
    pub(crate) shared_complexity: u8,
    pub(crate) private_bitrate: u32,
    pub(crate) private_complexity: u8,
    pub(crate) uplink_bitrate: u32,
}

/// One shard of it.
#[derive(NifMap)]
pub(crate) struct ShardOptions {
    pub(crate) bind: String,
    pub(crate) candidates: Vec<String>,
}

/// `submit/3`'s commands.
#[derive(NifTaggedEnum)]
pub(crate) enum CommandTerm {
    OpenRoom {
        room: u64,
    },
    SetKind {
        room: u64,
        stereo: bool,
        slots: Option<u32>,
    },
    MoveRoom {
        room: u64,
        to: usize,
    },
    CloseRoom {
        room: u64,
    },
    Join {
        room: u64,
        peer: u64,
        offer: String,
        speak: bool,
        listen: bool,
    },
    Reoffer {
        room: u64,
        peer: u64,
        offer: String,
    },
    Leave {
        room: u64,
        peer: u64,
    },
    SetSpeak {
        room: u64,
        peer: u64,
        speak: bool,
    },
    SetListen {
        room: u64,
        peer: u64,
        listen: bool,
    },
    SetPolicy {
        room: u64,
        default_gain: f64,
        max_talkers: Option<u32>,
        select: SelectTerm,
    },
    SetGains {
        room: u64,
        cells: Vec<(u64, u64, Option<WeightTerm>)>,
    },
    PeerStats {
        room: u64,
        peer: u64,
        reference: u64,
    },
    Fault {
        scope: FaultScope,
        room: u64,
    },
}

/// What is heard: `gain`, or `{gain, pan}`.
#[derive(rustler::NifUntaggedEnum)]
pub(crate) enum WeightTerm {
    Gain(f64),
    Panned((f64, f64)),
}

/// Whom a listener hears where more talk than are heard at once.
#[derive(rustler::NifUnitEnum)]
pub(crate) enum SelectTerm {
    Loudest,
    Nearest,
}

/// Where a fault is wanted.
#[derive(rustler::NifUnitEnum)]
pub(crate) enum FaultScope {
    Shard,
    Room,
}

impl CommandTerm {
    /// The engine's command; `None` if this build has no such command.
    pub(crate) fn command(self) -> Option<Command> {
        Some(match self {
            CommandTerm::OpenRoom { room } => Command::OpenRoom {
                room,
                kind: RoomKind::default(),
            },
            // A room that nobody is in takes the kind that it is opened with.
            CommandTerm::SetKind { room, stereo, slots } => Command::OpenRoom {
                room,
                kind: match slots {
                    Some(slots) => RoomKind::Forward { slots, stereo },
                    None => RoomKind::Mix { stereo },
                },
            },
            CommandTerm::MoveRoom { room, to } => Command::MoveRoom { room, to },
            CommandTerm::CloseRoom { room } => Command::CloseRoom { room },
            CommandTerm::Join {
                room,
                peer,
                offer,
                speak,
                listen,
            } => Command::Join {
                room,
                peer,
                offer,
                speak,
                listen,
            },
            CommandTerm::Reoffer { room, peer, offer } => Command::Reoffer { room, peer, offer },
            CommandTerm::Leave { room, peer } => Command::Leave { room, peer },
            CommandTerm::SetSpeak { room, peer, speak } => Command::SetSpeak { room, peer, speak },
            CommandTerm::SetListen { room, peer, listen } => Command::SetListen { room, peer, listen },
            CommandTerm::SetPolicy {
                room,
                default_gain,
                max_talkers,
                select,
            } => Command::SetPolicy {
                room,
                default_gain: default_gain as f32,
                max_talkers,
                select: match select {
                    SelectTerm::Loudest => Select::Loudest,
                    SelectTerm::Nearest => Select::Nearest,
                },
            },
            CommandTerm::SetGains { room, cells } => Command::SetGains {
                room,
                cells: cells
                    .into_iter()
                    .map(|(listener, speaker, weight)| gain_cell(listener, speaker, weight))
                    .collect(),
            },
            CommandTerm::PeerStats { room, peer, reference } => Command::PeerStats { room, peer, reference },
            CommandTerm::Fault { .. } if !cfg!(debug_assertions) => return None,
            CommandTerm::Fault { scope, room } => Command::Fault {
                room: matches!(scope, FaultScope::Room).then_some(room),
            },
        })
    }
}

fn gain_cell(listener: u64, speaker: u64, weight: Option<WeightTerm>) -> GainCell {
    let (gain, pan) = match weight {
        None => (None, 0.0),
        Some(WeightTerm::Gain(gain)) => (Some(gain as f32), 0.0),
        Some(WeightTerm::Panned((gain, pan))) => (Some(gain as f32), pan as f32),
    };
    GainCell {
        listener,
        speaker,
        gain,
        pan,
    }
}

#[derive(NifTaggedEnum)]
enum EventTerm {
    ShardStarted {
        addresses: Vec<String>,
    },
    Answer {
        room: u64,
        peer: u64,
        sdp: String,
    },
    Refused {
        room: u64,
        peer: u64,
        code: Atom,
        message: String,
    },
    Connected {
        room: u64,
        peer: u64,
    },
    Disconnected {
        room: u64,
        peer: u64,
        reason: Atom,
    },
    Levels {
        room: u64,
        levels: Vec<(u64, u8, bool)>,
    },
    Slots {
        room: u64,
        peer: u64,
        slots: Vec<(u8, Option<u64>, u32, f64, f64)>,
        others: Vec<(u64, u32, f64, f64)>,
        rest: f64,
    },
    Speaking {
        room: u64,
        peer: u64,
        speaking: bool,
    },
    PeerStats {
        reference: u64,
        stats: Option<PeerStatsTerm>,
    },
    RoomMoved {
        room: u64,
        from: usize,
    },
    Shed {
        level: u8,
    },
    RoomFailed {
        room: u64,
    },
}

#[derive(NifMap)]
struct PeerStatsTerm {
    connected: bool,
    packets_in: u64,
    bytes_in: u64,
    packets_out: u64,
    bytes_out: u64,
    rejected: u64,
    lost_in: u64,
    concealed: u64,
    late: u64,
    jitter_ms: f64,
    buffer_target_ms: f64,
    buffer_ms: f64,
    round_trip_ms: Option<f64>,
    fraction_lost_out: Option<f64>,
    remote_jitter_ms: Option<f64>,
    private_mix: bool,
}

impl From<PeerStats> for PeerStatsTerm {
    fn from(stats: PeerStats) -> Self {
        PeerStatsTerm {
            connected: stats.connected,
            packets_in: stats.packets_in,
            bytes_in: stats.bytes_in,
            packets_out: stats.packets_out,
            bytes_out: stats.bytes_out,
            rejected: stats.rejected,
            lost_in: stats.lost_in,
            concealed: stats.concealed,
            late: stats.late,
            jitter_ms: stats.jitter_ms,
            buffer_target_ms: stats.buffer_target_ms,
            buffer_ms: stats.buffer_ms,
            round_trip_ms: stats.round_trip_ms,
            fraction_lost_out: stats.fraction_lost_out,
            remote_jitter_ms: stats.remote_jitter_ms,
            private_mix: stats.private_mix,
        }
    }
}

/// `shard_stats/2`'s answer; times in microseconds. `tick_lateness` is a histogram: `{first value past the bucket, count}`.
#[derive(NifMap)]
pub(crate) struct ShardStatsTerm {
    epoch: u64,
    rooms: u64,
    peers: u64,
    datagrams_in: u64,
    datagrams_out: u64,
    datagrams_unknown: u64,
    send_failures: u64,
    ticks: u64,
    ticks_skipped: u64,
    frames_decoded: u64,
    frames_encoded: u64,
    packets_sent: u64,
    packets_refused: u64,
    events_dropped: u64,
    load: f64,
    shed_level: u64,
    shed_steps: u64,
    tick_lateness: Vec<(u64, u64)>,
    tick_lateness_p50_us: u64,
    tick_lateness_p99_us: u64,
    tick_lateness_max_us: u64,
    tick_duration_p50_us: u64,
    tick_duration_p99_us: u64,
    tick_duration_max_us: u64,
}

impl From<ShardStats> for ShardStatsTerm {
    fn from(stats: ShardStats) -> Self {
        let us = |duration: std::time::Duration| duration.as_micros() as u64;
        ShardStatsTerm {
            epoch: stats.epoch,
            rooms: stats.rooms,
            peers: stats.peers,
            datagrams_in: stats.datagrams_in,
            datagrams_out: stats.datagrams_out,
            datagrams_unknown: stats.datagrams_unknown,
            send_failures: stats.send_failures,
            ticks: stats.ticks,
            ticks_skipped: stats.ticks_skipped,
            frames_decoded: stats.frames_decoded,
            frames_encoded: stats.frames_encoded,
            packets_sent: stats.packets_sent,
            packets_refused: stats.packets_refused,
            events_dropped: stats.events_dropped,
            load: f64::from(stats.load),
            shed_level: stats.shed_level,
            shed_steps: stats.shed_steps,
            tick_lateness: stats.tick_lateness.buckets().collect(),
            tick_lateness_p50_us: us(stats.tick_lateness.quantile(0.5)),
            tick_lateness_p99_us: us(stats.tick_lateness.quantile(0.99)),
            tick_lateness_max_us: us(stats.tick_lateness.max()),
            tick_duration_p50_us: us(stats.tick_duration.quantile(0.5)),
            tick_duration_p99_us: us(stats.tick_duration.quantile(0.99)),
            tick_duration_max_us: us(stats.tick_duration.max()),
        }
    }
}

/// `{:roomtone_media, shard, epoch, event}`.
pub(crate) fn message<'a>(env: Env<'a>, envelope: Envelope) -> Term<'a> {
    let Envelope { shard, epoch, event } = envelope;
    (atoms::roomtone_media(), shard, epoch, event_term(env, event)).encode(env)
}

/// `{:roomtone_log, level, text}`, the level one of Elixir's `Logger`.
pub(crate) fn log_message<'a>(env: Env<'a>, level: log::Level, text: &str) -> Term<'a> {
    let level = match level {
        log::Level::Error => atoms::error(),
        log::Level::Warn => atoms::warning(),
        _ => atoms::info(),
    };
    (atoms::roomtone_log(), level, text).encode(env)
}

fn event_term(env: Env<'_>, event: Event) -> EventTerm {
    match event {
        Event::ShardStarted { addresses } => EventTerm::ShardStarted {
            addresses: addresses.iter().map(SocketAddr::to_string).collect(),
        },
        Event::Answer { room, peer, sdp } => EventTerm::Answer { room, peer, sdp },
        Event::Refused { room, peer, refusal } => EventTerm::Refused {
            room,
            peer,
            code: word(env, refusal.code()),
            message: refusal.to_string(),
        },
        Event::Connected { room, peer } => EventTerm::Connected { room, peer },
        Event::Disconnected { room, peer, reason } => EventTerm::Disconnected {
            room,
            peer,
            reason: word(env, reason.as_str()),
        },
        Event::Levels { room, levels } => EventTerm::Levels { room, levels },
        Event::Slots {
            room,
            peer,
            slots,
            others,
            rest,
        } => EventTerm::Slots {
            room,
            peer,
            slots: slots.into_iter().map(slot_term).collect(),
            others: others
                .into_iter()
                .map(|cell| (cell.speaker, cell.source, f64::from(cell.gain), f64::from(cell.pan)))
                .collect(),
            rest: f64::from(rest),
        },
        Event::Speaking { room, peer, speaking } => EventTerm::Speaking { room, peer, speaking },
        Event::PeerStats { reference, stats } => EventTerm::PeerStats {
            reference,
            stats: stats.map(|stats| (*stats).into()),
        },
        Event::RoomMoved { room, from } => EventTerm::RoomMoved { room, from },
        Event::Shed { level } => EventTerm::Shed { level },
        Event::RoomFailed { room } => EventTerm::RoomFailed { room },
    }
}

fn slot_term(cell: SlotCell) -> (u8, Option<u64>, u32, f64, f64) {
    let (gain, pan) = (f64::from(cell.gain), f64::from(cell.pan));
    (cell.slot, cell.speaker, cell.source, gain, pan)
}

// The engine's words are string literals, so these atoms are few and none is made from input.
fn word(env: Env<'_>, word: &'static str) -> Atom {
    Atom::from_str(env, word).expect("a literal of the engine is shorter than 256 bytes")
}
