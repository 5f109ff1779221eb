//! Speech through bad networks, on a virtual clock: how good it is, and how late.
//!
//! ```text
//! cargo run --release -p roomtone-load --example weather -- [--part ways|receivers] [--json FILE] [--svg FILE] [--only LINK]
//! ```
//!
//! It has two parts. The *ways* need no clock but a virtual one:
//!
//! Real clients (ICE, DTLS, SRTP, RTCP) and the real engine, without sockets, so the figures don't depend on the machine. Chance is
//! seeded, but RTCP falls due at random (RFC 3550), and so which packets are lost differs from run to run: scores by up to 0.1.
//! In one half of the rows the bad link is between the talker and the server, and the server's jitter buffer is measured. In the other
//! half it is between the server and the listener, who plays with the same jitter buffer. The room mixes.
//!
//! The *receivers* get one talker's packets as the same links let them arrive: Roomtone's jitter buffer on a virtual clock, and by
//! real time a Chromium and Janus's AudioBridge, which have to be installed.
//!
//! Scores are those of the listener's sound against what was said, means over four voices of two readings each. `bin/bench --weather`
//! writes the tables and the chart of docs/benchmarks-networks.md.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)] // a virtual clock has to start somewhere, and a bench that fails says where

#[path = "../../../roomtone-engine/tests/common/mod.rs"]
mod common;

mod answers;
mod chromium;
mod ear;
mod janus;
mod networks;
mod receivers;

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{ROOM, World};
use networks::{WEATHERS, Weather, link};
use roomtone_audio::{
    Application, Decoder, Encoder, EncoderConfig, FRAME_SAMPLES, FrameKind, Playout, PlayoutConfig, RtpMeta, level,
};
use roomtone_engine::{Action, Command, Event, PeerStats};
use roomtone_load::bench::{Noise, Recording, Score, Speech, judge, python};
use roomtone_testkit::link::LinkConfig;
use roomtone_testkit::peer::{ClientOptions, Level};
use serde::Serialize;

const MS: Duration = Duration::from_millis(1);
const RED: u8 = 63;
const BITRATE: u32 = 32_000;
const TALKER: u64 = 1;
const LISTENER: u64 = 2;
/// A text is read three times. The first is for the weather to be learned.
const READINGS: usize = 3;
/// A delay is back when it is within this of what it was.
const BACK_MS: f64 = 10.0;

/// Means against losses.
#[derive(Clone, Copy, PartialEq)]
enum Means {
    /// Nothing, but for concealment.
    Nothing,
    /// In-band FEC.
    Fec,
    /// So many copies of earlier packets in each.
    Copies(usize),
    /// Lost packets are asked for (NACK), over a round trip of 30 ms.
    Nack,
    /// Those that the server chooses by the listener's reports; with RED or without.
    Adaptive(bool),
}

impl Means {
    fn name(self) -> String {
        match self {
            Means::Nothing => "concealment".to_owned(),
            Means::Fec => "FEC".to_owned(),
            Means::Nack => "NACK, round trip 30 ms".to_owned(),
            Means::Copies(copies) => format!("RED, {copies} back"),
            Means::Adaptive(false) => "adaptive, no RED".to_owned(),
            Means::Adaptive(true) => "adaptive, RED".to_owned(),
        }
    }
}

/// One row of the table.
#[derive(Serialize)]
struct Row {
    link: &'static str,
    direction: &'static str,
    means: String,
    pesq: Option<f64>,
    estoi: Option<f64>,
    /// Of the jitter buffer, ms: mean, and the value that 95 % don't exceed.
    delay_ms: f64,
    delay_p95_ms: f64,
    /// The longest time that the delay took to be back after a spike or an outage, s.
    back_s: Option<f64>,
    /// Of the packets, percent: lost on the way; late.
    lost_percent: f64,
    late_percent: f64,
    /// Of the frames of sound, percent: made up.
    concealed_percent: f64,
}

/// The sound and the figures of a listener.
#[derive(Clone)]
struct Heard {
    /// Each reading, with some sound around it.
    readings: Vec<Vec<f32>>,
    /// Of the jitter buffer: when, s, and ms.
    delays: Vec<(f64, f64)>,
    /// From mouth to ear: when, s, and ms.
    ear: Vec<(f64, f64)>,
    lost: f64,
    late: f64,
    concealed: f64,
    /// When the link held everything back: from, to, s.
    holds: Vec<(f64, f64)>,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("weather: {why}");
            ExitCode::FAILURE
        }
    }
}

/// The arguments.
#[derive(Default)]
struct Options {
    json: Option<PathBuf>,
    svg: Option<PathBuf>,
    only: Option<String>,
    part: Option<String>,
}

impl Options {
    fn read(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
        let mut options = Options::default();
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--json" => options.json = Some(PathBuf::from(value()?)),
                "--svg" => options.svg = Some(PathBuf::from(value()?)),
                "--only" => options.only = Some(value()?),
                "--part" => {
                    let part = value()?;
                    if part != "ways" && part != "receivers" {
                        return Err(format!("--part {part}: there are ways and receivers"));
                    }
                    options.part = Some(part);
                }
                _ => {
                    return Err(format!(
                        "unknown argument {argument}; there are --part, --json, --svg and --only"
                    ));
                }
            }
        }
        Ok(options)
    }

    fn has(&self, part: &str) -> bool {
        self.part.as_ref().is_none_or(|only| only == part)
    }
}

/// All results.
#[derive(Default, Serialize)]
struct Results {
    ways: Vec<Row>,
    receivers: receivers::Results,
    /// Measurements that failed, and why.
    failed: Vec<String>,
}

fn run() -> Result<(), String> {
    let options = Options::read(std::env::args().skip(1))?;
    let python = python(Path::new("."))?;
    let folder = Path::new("tmp/bench");
    std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    let speech = Speech::prepare(&folder.join("voices"), Noise::default()).map_err(|error| error.to_string())?;
    if !speech.real {
        return Err("espeak-ng is missing: without speech there is nothing to judge".into());
    }
    let said: Vec<Arc<[f32]>> = speech.voices.iter().map(|voice| voice.said.clone()).collect();
    let only = options.only.as_deref();
    let mut results = Results::default();
    if options.has("ways") {
        results.ways = ways(&said, only, (&python, folder), &mut results.failed);
        println!("{}", table(&results.ways));
        results.write(&options)?;
    }
    if options.has("receivers") {
        results.receivers = receivers::run(&said, only, (&python, folder), &mut results.failed);
        println!("{}", receivers::tables(&results.receivers));
        results.write(&options)?;
    }
    if results.failed.is_empty() {
        return Ok(());
    }
    println!("Not measured:\n");
    results.failed.iter().for_each(|failed| println!("- {failed}"));
    Err(format!(
        "{} of the measurements failed, the others are written",
        results.failed.len()
    ))
}

impl Results {
    /// Writes what there is by now.
    fn write(&self, options: &Options) -> Result<(), String> {
        let write = |path: &Path, text: String| {
            std::fs::write(path, text + "\n").map_err(|error| format!("{}: {error}", path.display()))
        };
        if let Some(path) = &options.json {
            write(
                path,
                serde_json::to_string_pretty(self).map_err(|error| error.to_string())?,
            )?;
        }
        match &options.svg {
            Some(path) if !self.receivers.rows.is_empty() => write(path, receivers::chart(&self.receivers.rows)?),
            _ => Ok(()),
        }
    }
}

/// Runs a measurement; tells of one that fails, and goes on.
fn attempt<T>(what: &str, failed: &mut Vec<String>, measure: impl FnOnce() -> Result<T, String>) -> Option<T> {
    let result = catch_unwind(AssertUnwindSafe(measure));
    let why = match result {
        Ok(Ok(value)) => return Some(value),
        Ok(Err(why)) => why,
        Err(_) => "it panicked, as told above".to_owned(),
    };
    eprintln!("weather: {what}: {why}");
    failed.push(format!("{what}: {why}"));
    None
}

/// Whether a link is among those that were asked for by parts of their names, with commas between.
fn is_wanted(link: &str, only: Option<&str>) -> bool {
    only.is_none_or(|only| only.split(',').any(|part| link.contains(part)))
}

/// Speech through the engine, to it and from it.
fn ways(said: &[Arc<[f32]>], only: Option<&str>, place: (&Path, &Path), failed: &mut Vec<String>) -> Vec<Row> {
    let mut rows = Vec::new();
    for (link, weather) in WEATHERS {
        if !is_wanted(link, only) {
            continue;
        }
        let losses = matches!(weather, Weather::Random(_) | Weather::Bursts);
        let mut cases = vec![("in", Means::Nothing)];
        if losses {
            cases.extend([
                ("in", Means::Fec),
                ("in", Means::Copies(1)),
                ("in", Means::Copies(2)),
                ("in", Means::Nack),
            ]);
        }
        if weather == Weather::Clean {
            cases.extend([("in", Means::Copies(1)), ("in", Means::Nack)]);
        }
        if !matches!(weather, Weather::Drift(_)) {
            cases.extend([("out", Means::Adaptive(false)), ("out", Means::Adaptive(true))]);
        }
        for (direction, means) in cases {
            let what = format!("{link}, {direction}, {}", means.name());
            rows.extend(attempt(&what, failed, || {
                let voices = said.iter().enumerate();
                let heard: Vec<Heard> = voices
                    .map(|(voice, said)| through(said, voice as u64, weather, direction == "in", means))
                    .collect();
                let row = row(link, direction, means, weather, said, &heard, place)?;
                eprintln!("{}", line(&row));
                Ok(row)
            }));
        }
    }
    rows
}

/// PESQ and ESTOI of all readings. `None` where the delay jumps within a phrase: neither measure can align that.
fn score(
    said: &[Arc<[f32]>],
    heard: &[Heard],
    weather: Weather,
    python: &Path,
    folder: &Path,
) -> Result<Option<Score>, String> {
    if weather.holds_back() {
        return Ok(None);
    }
    let mut recordings = Vec::new();
    for (said, heard) in said.iter().zip(heard) {
        recordings.extend(heard.readings.iter().map(|reading| Recording {
            said: vec![said.clone()],
            sent: vec![said.clone()],
            heard: reading.clone(),
        }));
    }
    let quality = judge(python, folder, &recordings).map_err(|error| error.to_string())?;
    Ok(quality.alone.map(|voices| voices.heard))
}

/// One kind of delays.
type Delays = fn(&Heard) -> &[(f64, f64)];

/// All delays of a kind, the shortest first.
fn delays(heard: &[Heard], of: Delays) -> Vec<f64> {
    let mut delays: Vec<f64> = heard
        .iter()
        .flat_map(|heard| of(heard).iter().map(|delay| delay.1))
        .collect();
    delays.sort_by(f64::total_cmp);
    delays
}

fn row(
    link: &'static str,
    direction: &'static str,
    means: Means,
    weather: Weather,
    said: &[Arc<[f32]>],
    heard: &[Heard],
    (python, folder): (&Path, &Path),
) -> Result<Row, String> {
    let score = score(said, heard, weather, python, folder)?;
    let delays = delays(heard, |heard| &heard.delays);
    let mean = |of: fn(&Heard) -> f64| heard.iter().map(of).sum::<f64>() / heard.len() as f64;
    Ok(Row {
        link,
        direction,
        means: means.name(),
        pesq: score.map(|score| score.pesq),
        estoi: score.map(|score| score.estoi),
        delay_ms: delays.iter().sum::<f64>() / delays.len().max(1) as f64,
        delay_p95_ms: delays.get(delays.len() * 95 / 100).copied().unwrap_or(0.0),
        back_s: heard
            .iter()
            .filter_map(|heard| back(heard, |heard| &heard.delays))
            .max_by(f64::total_cmp),
        lost_percent: mean(|heard| heard.lost * 100.0),
        late_percent: mean(|heard| heard.late * 100.0),
        concealed_percent: mean(|heard| heard.concealed * 100.0),
    })
}

/// The longest time from the end of a spike or an outage until the delay is what it was before the first, s.
fn back(heard: &Heard, of: Delays) -> Option<f64> {
    let first = heard.holds.first()?.0;
    let before: Vec<f64> = of(heard)
        .iter()
        .filter(|(at, _)| *at < first)
        .map(|delay| delay.1)
        .collect();
    let usual = before.iter().sum::<f64>() / before.len().max(1) as f64;
    let until = |(number, (_, end)): (usize, &(f64, f64))| {
        let next = heard.holds.get(number + 1).map(|next| next.0);
        let mut after = of(heard)
            .iter()
            .filter(|(at, _)| *at > *end && next.is_none_or(|next| *at < next))
            .peekable();
        if after.peek().is_none() {
            // Nothing was recognised: it wasn't back before the next one. After the last one nothing more may have been said.
            return next.map(|next| next - end);
        }
        let late = after.filter(|(_, delay)| *delay > usual + BACK_MS);
        Some(late.map(|(at, _)| at - end).fold(0.0, f64::max))
    };
    if before.is_empty() {
        return None;
    }
    heard.holds.iter().enumerate().filter_map(until).max_by(f64::total_cmp)
}

/// Reads a text to the server and on to the listener.
fn through(said: &[f32], seed: u64, weather: Weather, uplink: bool, means: Means) -> Heard {
    let red = matches!(means, Means::Copies(_) | Means::Adaptive(true));
    let mut world = World::mixing();
    let talker = ClientOptions {
        red: (uplink && red).then_some(RED),
        red_copies: if let Means::Copies(copies) = means { copies } else { 0 },
        nack: means == Means::Nack,
        ..ClientOptions::default()
    };
    world.join(TALKER, talker);
    let listener = ClientOptions {
        red: (!uplink && red).then_some(RED),
        ..ClientOptions::default()
    };
    world.join(LISTENER, listener);
    world.connect();
    if means == Means::Nack {
        let back = &mut world.clients.get_mut(&TALKER).unwrap().to_client;
        back.set_config(LinkConfig {
            latency: 15 * MS,
            ..LinkConfig::default()
        });
    }
    let packets = encoded(said, means == Means::Fec);
    let reading = packets.len() as u32;
    let start = world.now;
    world.clients.get_mut(&LISTENER).unwrap().payloads = Some(Vec::new());
    world.clients.get_mut(&LISTENER).unwrap().heard.clear();
    let mut before = None;
    let (mut delays, mut holds) = (Vec::new(), Vec::<(f64, f64)>::new());
    // Long enough for a browser's reports to tell of the losses.
    let readings = if matches!(weather, Weather::Outages) {
        2 * READINGS
    } else {
        READINGS
    };
    let frames = reading * readings as u32;
    let ppm = if let Weather::Drift(ppm) = weather {
        f64::from(ppm)
    } else {
        0.0
    };
    let of_packet = |n: u32| Duration::from_secs_f64(f64::from(n) * 0.02 / (1.0 + ppm / 1e6));
    // From when on delays count.
    let learned = if weather.holds_back() {
        2_000 * MS
    } else {
        of_packet(reading)
    };
    let mut next = 0;
    let total = of_packet(frames) + 500 * MS;
    let mut elapsed = Duration::ZERO;
    let mut was_held = false;
    while elapsed < total {
        let (config, held) = link(weather, seed, elapsed);
        let client = world.clients.get_mut(if uplink { &TALKER } else { &LISTENER }).unwrap();
        let way = if uplink {
            &mut client.to_server
        } else {
            &mut client.to_client
        };
        if held || was_held || elapsed.is_zero() {
            let latency = if means == Means::Nack { 15 * MS } else { config.latency };
            way.set_config(LinkConfig { latency, ..config });
        }
        let at = elapsed.as_secs_f64();
        match (was_held, held) {
            (false, true) => holds.push((at, total.as_secs_f64())),
            (true, false) => holds.iter_mut().for_each(|hold| hold.1 = hold.1.min(at)),
            _ => {}
        }
        was_held = held;
        while next < frames && of_packet(next) <= elapsed {
            let (payload, level) = &packets[(next % reading) as usize];
            let talker = world.clients.get_mut(&TALKER).unwrap();
            talker
                .peer
                .send_opus(world.now, next * 960, next == 0, Some(*level), payload);
            next += 1;
        }
        world.run(MS);
        elapsed = world.now - start;
        if uplink && elapsed.as_millis().is_multiple_of(50) {
            let stats = stats(&mut world);
            before.get_or_insert_with(|| stats.clone());
            if elapsed > learned {
                delays.push((elapsed.as_secs_f64(), stats.buffer_ms));
            }
        }
    }
    let (pcm, late, lost, concealed) = if uplink {
        let (now, before) = (stats(&mut world), before.unwrap());
        let sent = f64::from(frames);
        let part = |now: u64, before: u64| now.saturating_sub(before) as f64 / sent;
        (
            decoded(&world, start),
            part(now.late, before.late),
            part(now.lost_in, before.lost_in),
            part(now.concealed, before.concealed),
        )
    } else {
        played(&world, start, total, &mut delays, learned.as_secs_f64())
    };
    let samples = |at: Duration| (at.as_secs_f64() * 48_000.0) as usize;
    let cut = |n: usize| {
        let from = samples(of_packet(reading * n as u32));
        // With the delay of the server, and a little more.
        let to = (samples(of_packet(reading * (n as u32 + 1))) + samples(400 * MS)).min(pcm.len());
        pcm[from.min(to)..to].to_vec()
    };
    Heard {
        readings: (1..READINGS).map(cut).collect(),
        delays,
        ear: Vec::new(),
        lost,
        late,
        concealed,
        holds,
    }
}

/// Opus of a text, and the levels that go with it.
fn encoded(pcm: &[f32], fec: bool) -> Vec<(bytes::Bytes, Level)> {
    let mut encoder = Encoder::new(&EncoderConfig {
        bitrate: BITRATE,
        application: Application::Voip,
        fec,
        expected_loss_percent: if fec { 20 } else { 0 },
        ..EncoderConfig::default()
    })
    .unwrap();
    let mut packet = Vec::new();
    let frames = pcm.chunks_exact(FRAME_SAMPLES);
    frames
        .map(|frame| {
            encoder.encode(frame, &mut packet).unwrap();
            let level = level(frame);
            let level = Level {
                minus_dbov: level.dbov_minus,
                voice: level.dbov_minus < 50,
            };
            (bytes::Bytes::copy_from_slice(&packet), level)
        })
        .collect()
}

fn stats(world: &mut World) -> PeerStats {
    world.command(Command::new(
        ROOM,
        Action::PeerStats {
            peer: TALKER,
            reference: 1,
        },
    ));
    world.collect();
    match world.events.pop() {
        Some((_, Event::PeerStats { stats: Some(stats), .. })) => *stats,
        other => panic!("no figures: {other:?}"),
    }
}

/// The packets of a listener with a perfect link, each where it came.
fn decoded(world: &World, start: Instant) -> Vec<f32> {
    let client = &world.clients[&LISTENER];
    let mut decoder = Decoder::new().unwrap();
    let (mut pcm, mut frame) = (Vec::new(), Vec::new());
    let packets = client.heard.iter().zip(client.payloads.as_ref().unwrap());
    let mut first = None;
    for ((at, _, timestamp, ..), payload) in packets {
        let came = ((*at - start).as_secs_f64() * 48_000.0) as usize;
        let (origin, zero) = *first.get_or_insert((came, *timestamp));
        let place = origin + timestamp.wrapping_sub(zero) as usize;
        frame.clear();
        decoder.decode(payload, &mut frame).unwrap();
        pcm.resize(place.max(pcm.len()), 0.0);
        pcm.extend_from_slice(&frame);
    }
    pcm
}

/// The sound that a listener with a bad link plays, and of packets and frames the parts that were late, lost and made up.
fn played(
    world: &World,
    start: Instant,
    total: Duration,
    delays: &mut Vec<(f64, f64)>,
    from: f64,
) -> (Vec<f32>, f64, f64, f64) {
    let client = &world.clients[&LISTENER];
    let mut playout = Playout::new(PlayoutConfig::default()).unwrap();
    let mut packets = client.heard.iter().zip(client.payloads.as_ref().unwrap()).peekable();
    let (mut pcm, mut frame) = (Vec::new(), [0.0; FRAME_SAMPLES]);
    let (mut now, mut concealed, mut sound) = (start, 0, 0);
    while now - start < total {
        now += 20 * MS;
        while let Some(((at, seq, timestamp, marker, _), payload)) = packets.next_if(|((at, ..), _)| *at <= now) {
            let meta = RtpMeta {
                seq: *seq,
                timestamp: *timestamp,
                marker: *marker,
                level: None,
            };
            playout.insert(*at, meta, payload);
        }
        let kind = playout.pop(now, &mut frame);
        sound += usize::from(kind.is_sound());
        concealed += usize::from(kind == FrameKind::Concealed);
        pcm.extend_from_slice(&frame);
        let at = (now - start).as_secs_f64();
        if at > from {
            delays.push((at, playout.stats().current_delay.as_secs_f64() * 1000.0));
        }
    }
    let stats = client.peer.stats();
    let stream = &stats.streams[0];
    let due = (stream.received as i64 + stream.lost).max(1) as f64;
    let late = (playout.stats().late + playout.stats().shed) as f64 / due;
    (
        pcm,
        late,
        stream.lost.max(0) as f64 / due,
        f64::from(concealed as u32) / f64::from(sound.max(1) as u32),
    )
}

fn line(row: &Row) -> String {
    let number =
        |value: Option<f64>, digits: usize| value.map_or("–".to_owned(), |value| format!("{value:.digits$}"));
    format!(
        "| {} | {} | {} | {} / {} | {:.0} / {:.0} | {} | {:.1} | {:.1} |",
        row.link,
        if row.direction == "in" {
            "to the server"
        } else {
            "to the listener"
        },
        row.means,
        number(row.pesq, 2),
        number(row.estoi, 3),
        row.delay_ms,
        row.delay_p95_ms,
        number(row.back_s, 1),
        row.late_percent,
        row.concealed_percent,
    )
}

fn table(rows: &[Row]) -> String {
    let mut table =
        "| link | bad on the way | against losses | PESQ-WB / ESTOI | buffer, mean / 95 % (ms) | back after (s) \
                     | late (%) | made up (%) |\n|---|---|---|---|---|---|---|---|\n"
            .to_owned();
    for row in rows {
        // Writing to a String doesn't fail.
        let _ = writeln!(table, "{}", line(row));
    }
    table
}
