//! Commands and events as Erlang terms: `{tag, map}`, as `t:Roomtone.Native.command/0` and `t:Roomtone.Native.event/0` document them.
//!
//! The engine's types are read and written directly, so that there is no second definition of them here.

use std::time::Duration;

use roomtone_engine::{
    Action, Command, Distance, Envelope, Event, FaultScope, GainCell, Histogram, Key, PeerStats, Place, PlaceCell,
    RoomKind, Select, ShardStats, SlotCell, SourceCell, SourceItem, TapSound, Trace, TrunkEnd, TrunkStats, TrunkWay,
    Voice, Way,
};
use rustler::{Atom, Binary, Decoder, Encoder, Env, Error, NifMap, NifResult, ResourceArc, Term};

use crate::tap::{JournalHandle, TapHandle};

mod atoms {
    rustler::atoms! {
        roomtone_media, roomtone_log, error, warning, info,
        // Tags of commands.
        open_room, move_room, close_room, record_inputs, join, reoffer, leave, set_speak, set_listen, set_voice, set_policy, set_gains, set_places, peer_stats,
        join_source, feed, clear_source, join_tap, set_tap, open_trunk, renew_trunk, close_trunk,
        join_remote, trace, fault,
        // Tags of events.
        shard_started, answer, refused, connected, disconnected, levels, slots, speaking, source_played, source_drained,
        source_refused, tap_ready, traced, room_moved, shed, room_failed,
        // Keys.
        trunk, remote, send, receive, relay, direction, number, key, items, mark, tap, journal, sound, mix, talkers, room, peer, to, from, stereo, offer, replacement, speak, listen, voice, suppress, auto_gain, default_gain, max_talkers, select, cells, distance, places, reference, scope,
        addresses, sdp, code, message, reason, others, rest, stats, level, talker, listener, way, shared_by, into_frame_us,
        stages,
        // Values.
        even, plain, music, loudest, nearest, linear, inverse, exponential, shard, sending, receiving,
        // Figures.
        packets_in, bytes_in, packets_out, bytes_out, rejected, oversized, lost_in, copies_in, restored_in, recovered, concealed, late, stretched_ms, jitter_ms, buffer_target_ms, buffer_ms,
        round_trip_ms, fraction_lost_out, redundancy, copies_out, reduced_bitrate, remote_jitter_ms, first_in_ms, first_out_ms, silent_ms, silent_after_media, private_mix, passed_through, auto_gain_db,
        epoch, rooms, peers, datagrams_in, datagrams_out, datagrams_unknown, trunk_datagrams_in, trunk_datagrams_out,
        trunk_bytes_in, trunk_bytes_out, trunk_datagrams_lost, trunks_open, trunks, repeats,
        trunk_datagrams_refused, trunk_packets_unheard, trunk_packets_oversized, send_failures, ticks, ticks_skipped, frames_decoded, frames_evened, frames_suppressed,
        frames_played, frames_recovered, frames_missing, frames_concealed, frames_encoded, frames_encoded_private,
        commands_waiting, packets_sent, packets_passed, mode_changes, packets_refused, packets_oversized, events_dropped, load, shed_level, shed_steps,
        tick_lateness, tick_lateness_sum_us, tick_duration, tick_duration_sum_us, buffer_delay, buffer_delay_sum_us,
        tick_lateness_p50_us, tick_lateness_p99_us, tick_lateness_max_us,
        tick_duration_p50_us, tick_duration_p99_us, tick_duration_max_us,
    }
}

/// A map with atoms as keys: `map!(env, key: value, …)`. A key without a value takes the variable of its name.
macro_rules! map {
    ($env:expr, $($key:ident $(: $value:expr)?),* $(,)?) => {{
        let keys = [$(atoms::$key().to_term($env)),*];
        let values = [$(map!(@value $env, $key $(, $value)?)),*];
        Term::map_from_term_arrays($env, &keys, &values).unwrap_or_else(|_| atoms::error().to_term($env))
    }};
    (@value $env:expr, $key:ident) => { $key.encode($env) };
    (@value $env:expr, $key:ident, $value:expr) => { $value.encode($env) };
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
    pub(crate) turn: Option<TurnOptions>,
}

/// The TURN server of it. Debug isn't derived: it has a secret.
#[derive(NifMap)]
pub(crate) struct TurnOptions {
    pub(crate) bind: Option<String>,
    pub(crate) local: Option<String>,
    pub(crate) tls: Option<TurnTlsOptions>,
    pub(crate) secret: String,
}

/// TLS of it: where, and what the files of HTTPS hold. Debug isn't derived: it has a key.
#[derive(NifMap)]
pub(crate) struct TurnTlsOptions {
    pub(crate) bind: String,
    pub(crate) certificates: String,
    pub(crate) key: String,
}

/// One shard of it.
#[derive(NifMap)]
pub(crate) struct ShardOptions {
    pub(crate) bind: String,
    pub(crate) candidates: Vec<String>,
    pub(crate) tcp: bool,
}

/// `submit/3`'s command.
pub(crate) fn command(term: Term<'_>) -> NifResult<Command> {
    let (tag, fields): (Atom, Term<'_>) = term.decode()?;
    let fields = Fields(fields);
    Ok(Command {
        room: fields.get(atoms::room())?,
        action: action(tag, &fields)?,
    })
}

fn action(tag: Atom, fields: &Fields<'_>) -> NifResult<Action> {
    let peer = || fields.get(atoms::peer());
    Ok(if tag == atoms::open_room() {
        Action::Open {
            kind: room_kind(fields)?,
        }
    } else if tag == atoms::move_room() {
        Action::Move {
            to: fields.get(atoms::to())?,
        }
    } else if tag == atoms::close_room() {
        Action::Close
    } else if tag == atoms::record_inputs() {
        let handle: ResourceArc<JournalHandle> = fields.get(atoms::journal())?;
        Action::RecordInputs {
            journal: handle.0.clone(),
        }
    } else if tag == atoms::join() {
        Action::Join {
            peer: peer()?,
            offer: fields.get(atoms::offer())?,
            speak: fields.get(atoms::speak())?,
            listen: fields.get(atoms::listen())?,
        }
    } else if tag == atoms::reoffer() {
        Action::Reoffer {
            peer: peer()?,
            offer: fields.get(atoms::offer())?,
            replacement: fields.get(atoms::replacement())?,
            speak: fields.get(atoms::speak())?,
            listen: fields.get(atoms::listen())?,
        }
    } else if tag == atoms::leave() {
        Action::Leave { peer: peer()? }
    } else if tag == atoms::set_speak() {
        Action::SetSpeak {
            peer: peer()?,
            speak: fields.get(atoms::speak())?,
        }
    } else if tag == atoms::set_listen() {
        Action::SetListen {
            peer: peer()?,
            listen: fields.get(atoms::listen())?,
        }
    } else if tag == atoms::set_voice() {
        Action::SetVoice {
            peer: peer()?,
            voice: voice(fields.get(atoms::voice())?)?,
            // A web node of the release before doesn't name it.
            suppress: fields.get_or(atoms::suppress(), false)?,
        }
    } else if tag == atoms::set_policy() {
        Action::SetPolicy {
            default_gain: fields.get::<f64>(atoms::default_gain())? as f32,
            max_talkers: fields.get(atoms::max_talkers())?,
            select: select(fields.get(atoms::select())?)?,
        }
    } else if tag == atoms::set_gains() {
        let cells: Vec<Term<'_>> = fields.get(atoms::cells())?;
        Action::SetGains {
            cells: cells.into_iter().map(gain_cell).collect::<NifResult<_>>()?,
        }
    } else if tag == atoms::set_places() {
        Action::SetPlaces {
            distance: distance(fields.get(atoms::distance())?)?,
            places: place_cells(&fields.get::<Binary<'_>>(atoms::places())?)?,
        }
    } else if tag == atoms::join_source() {
        Action::JoinSource {
            peer: peer()?,
            speak: fields.get(atoms::speak())?,
        }
    } else if tag == atoms::feed() {
        let items: Vec<Term<'_>> = fields.get(atoms::items())?;
        Action::Feed {
            peer: peer()?,
            items: items.into_iter().map(source_item).collect::<NifResult<_>>()?,
        }
    } else if tag == atoms::clear_source() {
        Action::ClearSource { peer: peer()? }
    } else if tag == atoms::join_tap() {
        let handle: ResourceArc<TapHandle> = fields.get(atoms::tap())?;
        Action::JoinTap {
            peer: peer()?,
            tap: handle.tap.clone(),
            sound: tap_sound(fields.get(atoms::sound())?)?,
        }
    } else if tag == atoms::set_tap() {
        Action::SetTap {
            peer: peer()?,
            sound: tap_sound(fields.get(atoms::sound())?)?,
        }
    } else if tag == atoms::open_trunk() {
        Action::OpenTrunk {
            trunk: fields.get(atoms::trunk())?,
            way: trunk_way(fields)?,
        }
    } else if tag == atoms::renew_trunk() {
        Action::RenewTrunk {
            trunk: fields.get(atoms::trunk())?,
            end: trunk_end(fields.get(atoms::direction())?)?,
            number: fields.get(atoms::number())?,
            key: trunk_key(fields.get(atoms::key())?)?,
        }
    } else if tag == atoms::close_trunk() {
        Action::CloseTrunk {
            trunk: fields.get(atoms::trunk())?,
        }
    } else if tag == atoms::join_remote() {
        Action::JoinRemote {
            peer: peer()?,
            trunk: fields.get(atoms::trunk())?,
            speak: fields.get(atoms::speak())?,
        }
    } else if tag == atoms::trace() {
        Action::Trace {
            talker: fields.get(atoms::talker())?,
            listener: fields.get(atoms::listener())?,
            reference: fields.get(atoms::reference())?,
        }
    } else if tag == atoms::peer_stats() {
        Action::PeerStats {
            peer: peer()?,
            reference: fields.get(atoms::reference())?,
        }
    } else if tag == atoms::fault() && cfg!(debug_assertions) {
        Action::Fault {
            scope: fault_scope(fields.get(atoms::scope())?)?,
        }
    } else {
        return Err(Error::BadArg);
    })
}

/// The map of a command.
struct Fields<'a>(Term<'a>);

impl<'a> Fields<'a> {
    fn get<T: Decoder<'a>>(&self, key: Atom) -> NifResult<T> {
        self.0.map_get(key)?.decode()
    }

    fn get_or<T: Decoder<'a>>(&self, key: Atom, missing: T) -> NifResult<T> {
        self.0.map_get(key).map_or(Ok(missing), |term| term.decode())
    }
}

fn room_kind(fields: &Fields<'_>) -> NifResult<RoomKind> {
    let stereo = fields.get(atoms::stereo())?;
    Ok(match fields.get(atoms::slots())? {
        Some(slots) => RoomKind::Forward { slots, stereo },
        None => RoomKind::Mix {
            stereo,
            // A web node of the release before doesn't name it.
            auto_gain: fields.get_or(atoms::auto_gain(), false)?,
        },
    })
}

// `{:mix, default gain, [{peer, gain}], stereo?}` or `{:talkers, [peer] | nil}`.
fn tap_sound(term: Term<'_>) -> NifResult<TapSound> {
    if let Ok((tag, default, gains, stereo)) = term.decode::<(Atom, f64, Vec<(u64, f64)>, bool)>() {
        if tag != atoms::mix() {
            return Err(Error::BadArg);
        }
        let gains = gains.into_iter().map(|(peer, gain)| (peer, gain as f32));
        return Ok(TapSound::Mix {
            default_gain: default as f32,
            gains: gains.collect(),
            stereo,
        });
    }
    let (tag, only): (Atom, Option<Vec<u64>>) = term.decode()?;
    if tag == atoms::talkers() {
        Ok(TapSound::Talkers { only })
    } else {
        Err(Error::BadArg)
    }
}

fn voice(atom: Atom) -> NifResult<Voice> {
    if atom == atoms::even() {
        Ok(Voice::Even)
    } else if atom == atoms::plain() {
        Ok(Voice::Plain)
    } else if atom == atoms::music() {
        Ok(Voice::Music)
    } else {
        Err(Error::BadArg)
    }
}

fn select(atom: Atom) -> NifResult<Select> {
    if atom == atoms::loudest() {
        Ok(Select::Loudest)
    } else if atom == atoms::nearest() {
        Ok(Select::Nearest)
    } else {
        Err(Error::BadArg)
    }
}

fn trunk_way(fields: &Fields<'_>) -> NifResult<TrunkWay> {
    let to: &str = fields.get(atoms::to())?;
    Ok(TrunkWay {
        to: to.parse().map_err(|_| Error::BadArg)?,
        trunk: fields.get(atoms::remote())?,
        send: trunk_key(fields.get(atoms::send())?)?,
        receive: trunk_key(fields.get(atoms::receive())?)?,
        // A web node of the release before doesn't name it.
        relay: fields.get(atoms::relay()).unwrap_or(false),
    })
}

fn trunk_key(bytes: Binary<'_>) -> NifResult<Key> {
    let bytes = <[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| Error::BadArg)?;
    Ok(Key::new(bytes))
}

fn trunk_end(atom: Atom) -> NifResult<TrunkEnd> {
    if atom == atoms::sending() {
        Ok(TrunkEnd::Sending)
    } else if atom == atoms::receiving() {
        Ok(TrunkEnd::Receiving)
    } else {
        Err(Error::BadArg)
    }
}

fn fault_scope(atom: Atom) -> NifResult<FaultScope> {
    if atom == atoms::room() {
        Ok(FaultScope::Room)
    } else if atom == atoms::shard() {
        Ok(FaultScope::Shard)
    } else {
        Err(Error::BadArg)
    }
}

// `{:mark, number}`, or `{packet, level}`, where `nil` is a level that isn't known.
fn source_item(term: Term<'_>) -> NifResult<SourceItem> {
    if let Ok((tag, mark)) = term.decode::<(Atom, u64)>() {
        return if tag == atoms::mark() {
            Ok(SourceItem::Mark(mark))
        } else {
            Err(Error::BadArg)
        };
    }
    let (packet, level): (Binary<'_>, Option<u8>) = term.decode()?;
    Ok(SourceItem::Packet {
        data: packet.as_slice().to_vec(),
        level,
    })
}

// `{listener, speaker, weight}`; a weight is `nil`, a gain, or `{gain, pan}`.
fn gain_cell(term: Term<'_>) -> NifResult<GainCell> {
    let (listener, speaker, weight): (u64, u64, Term<'_>) = term.decode()?;
    let (gain, pan): (Option<f64>, f64) = match weight.decode::<Option<f64>>() {
        Ok(gain) => (gain, 0.0),
        Err(_) => weight.decode().map(|(gain, pan)| (Some(gain), pan))?,
    };
    Ok(GainCell {
        listener,
        speaker,
        gain: gain.map(|gain| gain as f32),
        pan: pan as f32,
    })
}

// `{model, reference, max, rolloff}`; only the linear model has a `max`.
fn distance(term: Term<'_>) -> NifResult<Distance> {
    let (model, reference, max, rolloff): (Atom, f64, f64, f64) = term.decode()?;
    if model == atoms::linear() {
        Ok(Distance::Linear {
            reference,
            max,
            rolloff,
        })
    } else if model == atoms::inverse() {
        Ok(Distance::Inverse { reference, rolloff })
    } else if model == atoms::exponential() {
        Ok(Distance::Exponential { reference, rolloff })
    } else {
        Err(Error::BadArg)
    }
}

/// The bytes of a place: the peer (u64), a tag, position and facing (f64 each), all big-endian.
const PLACE_SIZE: usize = 8 + 1 + 6 * 8;

// One place after the other. Tag 0: nowhere; 1: there; 2: there, and heard everywhere.
fn place_cells(bytes: &[u8]) -> NifResult<Vec<PlaceCell>> {
    let cells = bytes.chunks(PLACE_SIZE).map(|cell| {
        let (peer, rest) = cell.split_first_chunk()?;
        let (tag, rest) = rest.split_first()?;
        let axes: &[u8; 48] = rest.try_into().ok()?;
        let mut axes = axes.as_chunks().0.iter().map(|axis| f64::from_be_bytes(*axis));
        let mut vector = || std::array::from_fn(|_| axes.next().unwrap_or_default());
        let place = Place {
            at: vector(),
            facing: vector(),
            everywhere: *tag == 2,
        };
        (*tag <= 2).then_some(PlaceCell {
            peer: u64::from_be_bytes(*peer),
            place: (*tag > 0).then_some(place),
        })
    });
    cells.collect::<Option<_>>().ok_or(Error::BadArg)
}

/// `{:roomtone_media, shard, epoch, event}`.
pub(crate) fn message<'a>(env: Env<'a>, envelope: &Envelope) -> Term<'a> {
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

fn event_term<'a>(env: Env<'a>, event: &Event) -> (Atom, Term<'a>) {
    match event {
        Event::ShardStarted { addresses } => {
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            (atoms::shard_started(), map!(env, addresses))
        }
        Event::Answer { room, peer, sdp } => (atoms::answer(), map!(env, room, peer, sdp)),
        Event::Refused { room, peer, refusal } => {
            let code = stable_name(env, refusal.code());
            (
                atoms::refused(),
                map!(env, room, peer, code, message: refusal.to_string()),
            )
        }
        Event::Connected { room, peer } => (atoms::connected(), map!(env, room, peer)),
        Event::Disconnected { room, peer, reason } => {
            let reason = stable_name(env, reason.as_str());
            (atoms::disconnected(), map!(env, room, peer, reason))
        }
        Event::Levels { room, levels } => (atoms::levels(), map!(env, room, levels)),
        Event::Slots {
            room,
            peer,
            slots,
            others,
            rest,
        } => {
            let slots: Vec<_> = slots.iter().map(slot_cell).collect();
            let others: Vec<_> = others.iter().map(source_cell).collect();
            (atoms::slots(), map!(env, room, peer, slots, others, rest))
        }
        Event::Speaking { room, peer, speaking } => (atoms::speaking(), map!(env, room, peer, speaking)),
        Event::SourcePlayed { room, peer, mark } => (atoms::source_played(), map!(env, room, peer, mark)),
        Event::SourceDrained { room, peer } => (atoms::source_drained(), map!(env, room, peer)),
        Event::SourceRefused { room, peer, items } => (atoms::source_refused(), map!(env, room, peer, items)),
        Event::TapReady { room, peer } => (atoms::tap_ready(), map!(env, room, peer)),
        Event::PeerStats { reference, stats } => {
            let stats = stats.as_ref().map(|stats| peer_stats(env, stats));
            (atoms::peer_stats(), map!(env, reference, stats))
        }
        Event::Traced { room, trace } => (atoms::traced(), traced(env, *room, trace)),
        Event::RoomMoved { room, from } => (atoms::room_moved(), map!(env, room, from)),
        Event::Shed { level } => (atoms::shed(), map!(env, level)),
        Event::RoomFailed { room } => (atoms::room_failed(), map!(env, room)),
    }
}

// Times in microseconds, from the first stage on.
fn traced<'a>(env: Env<'a>, room: u64, trace: &Trace) -> Term<'a> {
    let us = |duration: Duration| duration.as_nanos() as f64 / 1000.0;
    let stages = trace
        .stages()
        .map(|(stage, at)| (stable_name(env, stage.as_str()), us(at)));
    let shared_by = match trace.way {
        Way::Mixed { listeners } => Some(listeners),
        _ => None,
    };
    map!(env,
        room,
        reference: trace.reference,
        talker: trace.talker,
        listener: trace.listener,
        way: stable_name(env, trace.way.as_str()),
        shared_by,
        into_frame_us: us(trace.into_frame),
        stages: stages.collect::<Vec<_>>(),
    )
}

fn slot_cell(cell: &SlotCell) -> (u8, Option<u64>, u32, f32, f32) {
    (cell.slot, cell.speaker, cell.source, cell.gain, cell.pan)
}

fn source_cell(cell: &SourceCell) -> (u64, u32, f32, f32) {
    (cell.speaker, cell.source, cell.gain, cell.pan)
}

// The engine's names are string literals, so these atoms are few and none is made from input.
fn stable_name(env: Env<'_>, name: &'static str) -> Atom {
    Atom::from_str(env, name).unwrap_or_else(|_| atoms::error())
}

fn peer_stats<'a>(env: Env<'a>, stats: &PeerStats) -> Term<'a> {
    map!(env,
        connected: stats.connected,
        packets_in: stats.packets_in,
        bytes_in: stats.bytes_in,
        packets_out: stats.packets_out,
        bytes_out: stats.bytes_out,
        rejected: stats.rejected,
        oversized: stats.oversized,
        lost_in: stats.lost_in,
        copies_in: stats.copies_in,
        restored_in: stats.restored_in,
        recovered: stats.recovered,
        concealed: stats.concealed,
        late: stats.late,
        stretched_ms: stats.stretched_ms,
        jitter_ms: stats.jitter_ms,
        buffer_target_ms: stats.buffer_target_ms,
        buffer_ms: stats.buffer_ms,
        round_trip_ms: stats.round_trip_ms,
        fraction_lost_out: stats.fraction_lost_out,
        redundancy: stats.redundancy,
        copies_out: stats.copies_out,
        reduced_bitrate: stats.reduced_bitrate,
        remote_jitter_ms: stats.remote_jitter_ms,
        first_in_ms: stats.first_in_ms,
        first_out_ms: stats.first_out_ms,
        silent_ms: stats.silent_ms,
        silent_after_media: stats.silent_after_media,
        private_mix: stats.private_mix,
        passed_through: stats.passed_through,
        auto_gain_db: stats.auto_gain_db,
    )
}

fn trunk_stats<'a>(env: Env<'a>, stats: &TrunkStats) -> Term<'a> {
    let ms = |duration: Option<Duration>| duration.map(|duration| duration.as_secs_f64() * 1000.0);
    map!(env,
        trunk: stats.trunk,
        room: stats.room,
        to: stats.to.to_string(),
        datagrams_in: stats.datagrams_in,
        bytes_in: stats.bytes_in,
        lost_in: stats.lost_in,
        datagrams_out: stats.datagrams_out,
        bytes_out: stats.bytes_out,
        repeats: stats.repeats,
        round_trip_ms: ms(stats.round_trip),
        jitter_ms: ms(stats.jitter),
    )
}

/// `shard_stats/2`'s answer; times in microseconds. `tick_lateness`, `tick_duration` and `buffer_delay` are histograms:
/// `{first value past the bucket, count}`.
pub(crate) fn shard_stats<'a>(env: Env<'a>, stats: &ShardStats) -> Term<'a> {
    let us = |duration: Duration| duration.as_micros() as u64;
    let (lateness, duration, delay) = (&stats.tick_lateness, &stats.tick_duration, &stats.buffer_delay);
    let buckets = |histogram: &Histogram| histogram.buckets().collect::<Vec<_>>();
    let trunks: Vec<Term<'_>> = stats.trunks.iter().map(|trunk| trunk_stats(env, trunk)).collect();
    map!(env,
        epoch: stats.epoch,
        rooms: stats.rooms,
        peers: stats.peers,
        datagrams_in: stats.datagrams_in,
        bytes_in: stats.bytes_in,
        datagrams_out: stats.datagrams_out,
        bytes_out: stats.bytes_out,
        datagrams_unknown: stats.datagrams_unknown,
        trunk_datagrams_in: stats.trunk_datagrams_in,
        trunk_bytes_in: stats.trunk_bytes_in,
        trunk_datagrams_lost: stats.trunk_datagrams_lost,
        trunk_datagrams_out: stats.trunk_datagrams_out,
        trunk_bytes_out: stats.trunk_bytes_out,
        trunk_datagrams_refused: stats.trunk_datagrams_refused,
        trunk_packets_unheard: stats.trunk_packets_unheard,
        trunk_packets_oversized: stats.trunk_packets_oversized,
        trunks_open: stats.trunks_open,
        trunks: trunks,
        send_failures: stats.send_failures,
        ticks: stats.ticks,
        ticks_skipped: stats.ticks_skipped,
        frames_decoded: stats.frames_decoded,
        frames_evened: stats.frames_evened,
        frames_suppressed: stats.frames_suppressed,
        frames_played: stats.frames_played,
        frames_recovered: stats.frames_recovered,
        frames_missing: stats.frames_missing,
        frames_concealed: stats.frames_concealed,
        frames_encoded: stats.frames_encoded,
        frames_encoded_private: stats.frames_encoded_private,
        packets_sent: stats.packets_sent,
        packets_passed: stats.packets_passed,
        mode_changes: stats.mode_changes,
        packets_refused: stats.packets_refused,
        packets_oversized: stats.packets_oversized,
        events_dropped: stats.events_dropped,
        commands_waiting: stats.commands_waiting,
        load: stats.load,
        shed_level: stats.shed_level,
        shed_steps: stats.shed_steps,
        tick_lateness: buckets(lateness),
        tick_lateness_sum_us: us(lateness.sum()),
        tick_duration: buckets(duration),
        tick_duration_sum_us: us(duration.sum()),
        buffer_delay: buckets(delay),
        buffer_delay_sum_us: us(delay.sum()),
        tick_lateness_p50_us: us(lateness.quantile(0.5)),
        tick_lateness_p99_us: us(lateness.quantile(0.99)),
        tick_lateness_max_us: us(lateness.max()),
        tick_duration_p50_us: us(duration.quantile(0.5)),
        tick_duration_p99_us: us(duration.quantile(0.99)),
        tick_duration_max_us: us(duration.max()),
    )
}
