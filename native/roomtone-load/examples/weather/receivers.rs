//! One talker's packets as a bad network lets them arrive, given to several receivers: Roomtone's jitter buffer, Chromium's, and
//! Janus's AudioBridge. Each gets the very same packets at the same times.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use plotters::prelude::*;
use roomtone_audio::{FRAME_SAMPLES, FrameKind, Playout, PlayoutConfig, RtpMeta};
use roomtone_testkit::link::{Datagram, Link};
use roomtone_testkit::peer::Level;
use serde::Serialize;

use super::networks::{WEATHERS, Weather, link};
use super::{Delays, Heard, MS, READINGS, attempt, back, encoded, is_wanted};
use crate::answers::{self, Sent};
use crate::ear::{PACKET_MS, mouth_to_ear};
use crate::{chromium, janus};

/// The judge gets so much sound from before a reading, for what a receiver's clock may be off, and so much from after it.
const EARLY: Duration = Duration::from_millis(60);
const LATE: Duration = Duration::from_millis(400);
/// The look-ahead of Opus (RFC 6716, section 2).
const CODEC_MS: f64 = 6.5;
/// Connections at once: more would need more than two cores.
const AT_ONCE: usize = 28;

/// A packet that arrives.
pub struct Arrival {
    /// After the first was sent.
    pub at: Duration,
    /// Its place among those that were sent.
    pub number: u32,
}

/// The packets for a receiver.
pub struct Stream {
    /// The text of one reading.
    said: Vec<f32>,
    /// One reading, which repeats.
    packets: Vec<(Bytes, Level)>,
    /// In the order in which they arrive.
    pub arrivals: Vec<Arrival>,
    /// When the link held everything back: from, to, s.
    holds: Vec<(f64, f64)>,
    /// Packets that were sent.
    frames: u32,
    /// The receiver's ticks fall so long after the talker's.
    phase: Duration,
}

impl Stream {
    fn new(said: &[f32], voice: usize, weather: Weather, fec: bool) -> Stream {
        let readings = if weather.holds_back() { 2 * READINGS } else { READINGS };
        Stream::with(said, voice, weather, fec, readings)
    }

    /// A clean stream, at least as long as all these.
    pub fn clean_beside(streams: &[&Stream]) -> Stream {
        let said = &streams[0].said;
        let longest = streams
            .iter()
            .map(|stream| stream.frames as usize)
            .max()
            .unwrap_or_default();
        let readings = longest.div_ceil(said.len() / FRAME_SAMPLES);
        Stream::with(said, 0, Weather::Clean, false, readings)
    }

    fn with(said: &[f32], voice: usize, weather: Weather, fec: bool, readings: usize) -> Stream {
        let packets = encoded(said, fec);
        let frames = (packets.len() * readings) as u32;
        let (arrivals, holds) = arrivals(weather, voice as u64, frames);
        Stream {
            said: said[..packets.len() * FRAME_SAMPLES].to_vec(),
            packets,
            arrivals,
            holds,
            frames,
            phase: MS * (5 * voice as u32 + 2),
        }
    }

    /// A packet of Opus, and its level.
    pub fn packet(&self, number: u32) -> &(Bytes, Level) {
        &self.packets[number as usize % self.packets.len()]
    }

    /// Until nothing more is to be heard.
    pub fn length(&self) -> Duration {
        20 * MS * self.frames + LATE + 100 * MS
    }

    /// The readings by which a receiver is judged, of all that it played since the first packet was sent.
    pub fn readings(&self, pcm: &[f32]) -> Vec<Vec<f32>> {
        let samples = |at: Duration| (at.as_secs_f64() * 48_000.0) as usize;
        let reading = 20 * MS * self.packets.len() as u32;
        let cut = |n: u32| {
            let to = samples(reading * (n + 1) + LATE).min(pcm.len());
            pcm[samples(reading * n - EARLY).min(to)..to].to_vec()
        };
        (1..READINGS as u32).map(cut).collect()
    }

    /// From here on delays count, s.
    pub fn learned(&self) -> f64 {
        if self.holds.is_empty() {
            self.packets.len() as f64 * 0.02
        } else {
            2.0
        }
    }

    /// How late a recording is, ms: the delay from mouth to ear, but for what is known of it. Of a clean stream.
    pub fn late(&self, heard: &Heard) -> Result<f64, String> {
        let middle = |delays: &[(f64, f64)]| {
            let mut delays: Vec<f64> = delays.iter().map(|delay| delay.1).collect();
            delays.sort_by(f64::total_cmp);
            delays
                .get(delays.len() / 2)
                .copied()
                .ok_or("nothing is heard of a clean stream")
        };
        Ok(middle(&heard.ear)? - middle(&heard.delays)? - PACKET_MS - CODEC_MS)
    }

    /// A receiver's figures.
    pub fn heard(&self, pcm: &[f32], delays: Vec<(f64, f64)>, late: f64, concealed: f64) -> Heard {
        let readings = self.frames as usize / self.packets.len();
        let mut ear = mouth_to_ear(&self.said, readings, pcm);
        ear.retain(|(at, _)| *at > self.learned());
        Heard {
            readings: self.readings(pcm),
            delays,
            ear,
            lost: 1.0 - self.arrivals.len() as f64 / f64::from(self.frames),
            late,
            concealed,
            holds: self.holds.clone(),
        }
    }
}

/// When which packets arrive.
fn arrivals(weather: Weather, seed: u64, frames: u32) -> (Vec<Arrival>, Vec<(f64, f64)>) {
    let start = Instant::now();
    let mut way = Link::new(link(weather, seed, Duration::ZERO).0);
    let (mut arrivals, mut holds) = (Vec::new(), Vec::<(f64, f64)>::new());
    let (mut next, mut was_held) = (0, false);
    let total = 20 * MS * frames + 3_000 * MS;
    for elapsed in (0..).map(|ms| MS * ms).take_while(|elapsed| *elapsed < total) {
        let now = start + elapsed;
        let (config, held) = link(weather, seed, elapsed);
        if held || was_held {
            way.set_config(config);
        }
        match (was_held, held) {
            (false, true) => holds.push((elapsed.as_secs_f64(), total.as_secs_f64())),
            (true, false) => holds
                .iter_mut()
                .for_each(|hold| hold.1 = hold.1.min(elapsed.as_secs_f64())),
            _ => {}
        }
        was_held = held;
        if next < frames && 20 * MS * next <= elapsed {
            let data = Bytes::copy_from_slice(&next.to_be_bytes());
            let (from, to) = (([192, 0, 2, 1], 1).into(), ([192, 0, 2, 2], 2).into());
            way.send(now, Datagram { from, to, data });
            next += 1;
        }
        while let Some(datagram) = way.receive(now) {
            let number = u32::from_be_bytes(datagram.data[..].try_into().unwrap());
            arrivals.push(Arrival { at: elapsed, number });
        }
    }
    let sent = 0.02 * f64::from(frames);
    holds.retain(|hold| hold.1 < sent);
    (arrivals, holds)
}

/// Roomtone's jitter buffer, on a virtual clock. Each packet carries so many earlier ones.
fn roomtone(stream: &Stream, copies: usize) -> Heard {
    let mut came = vec![false; stream.frames as usize];
    let mut playout = Playout::new(PlayoutConfig::default()).unwrap();
    let start = Instant::now();
    let mut arrivals = stream.arrivals.iter().peekable();
    let (mut pcm, mut frame) = (
        vec![0.0; (stream.phase.as_secs_f64() * 48_000.0) as usize],
        [0.0; FRAME_SAMPLES],
    );
    let mut delays = Vec::new();
    let (mut at, mut concealed, mut sound) = (stream.phase, 0u32, 0u32);
    while at < stream.length() {
        while let Some(arrival) = arrivals.next_if(|arrival| arrival.at <= at) {
            let meta = |number: u32| RtpMeta {
                seq: number as u16,
                timestamp: number * 960,
                marker: number == 0,
                level: None,
            };
            let first = arrival.number.saturating_sub(copies as u32);
            for number in first..arrival.number {
                // Nothing is known of the time before the first packet.
                if !std::mem::replace(&mut came[number as usize], true) && arrival.number > stream.arrivals[0].number {
                    let reach = (arrival.number - number) * 960;
                    playout.insert_restored(start + arrival.at, meta(number), &stream.packet(number).0, reach);
                }
            }
            if !std::mem::replace(&mut came[arrival.number as usize], true) {
                let payload = &stream.packet(arrival.number).0;
                playout.insert(start + arrival.at, meta(arrival.number), payload);
            }
        }
        let kind = playout.pop(start + at, &mut frame);
        sound += u32::from(kind.is_sound());
        concealed += u32::from(kind == FrameKind::Concealed);
        pcm.extend_from_slice(&frame);
        if at.as_secs_f64() > stream.learned() {
            delays.push((at.as_secs_f64(), playout.stats().current_delay.as_secs_f64() * 1000.0));
        }
        at += 20 * MS;
    }
    let stats = playout.stats();
    let late = (stats.late + stats.shed) as f64 / stream.arrivals.len() as f64;
    stream.heard(&pcm, delays, late, f64::from(concealed) / f64::from(sound.max(1)))
}

/// One receiver's figures on one link.
#[derive(Clone, Serialize)]
pub struct Figures {
    pesq: Option<f64>,
    estoi: Option<f64>,
    /// From mouth to ear, by what is heard, ms: mean, and the value that 95 % don't exceed.
    ear_ms: Option<f64>,
    ear_p95_ms: Option<f64>,
    /// The longest time that it took to be back after a spike or an outage, s.
    ear_back_s: Option<f64>,
    /// From arrival until it is played, as the receiver counts it, ms: mean, and the value that 95 % don't exceed.
    delay_ms: Option<f64>,
    delay_p95_ms: Option<f64>,
    /// The longest time that this delay took to be back after a spike or an outage, s.
    back_s: Option<f64>,
    /// Of the packets that came, percent: not played, because they were late.
    late_percent: Option<f64>,
    /// Of the sound, percent: made up.
    concealed_percent: Option<f64>,
}

/// One link, with one kind of packets.
#[derive(Serialize)]
pub struct Row {
    link: &'static str,
    loss_percent: f64,
    fec: bool,
    roomtone: Option<Figures>,
    chromium: Option<Figures>,
    janus: Option<Figures>,
}

/// One link, with what each server's answer makes a browser send.
#[derive(Serialize)]
pub struct AnswerRow {
    link: &'static str,
    to_roomtone: Sent,
    roomtone: Option<Figures>,
    to_janus: Sent,
    janus: Option<Figures>,
}

/// All that was measured.
#[derive(Default, Serialize)]
pub struct Results {
    pub rows: Vec<Row>,
    answers: Vec<AnswerRow>,
}

/// Lets all receivers hear all voices on all links.
pub fn run(said: &[Arc<[f32]>], only: Option<&str>, place: (&Path, &Path), failed: &mut Vec<String>) -> Results {
    let folder = place.1;
    let mut cases = Vec::new();
    for (name, weather) in WEATHERS {
        if matches!(weather, Weather::Drift(_)) || !is_wanted(name, only) {
            continue;
        }
        cases.push((name, weather, false));
        if matches!(weather, Weather::Random(_) | Weather::Bursts) {
            cases.push((name, weather, true));
        }
    }
    let streams: Vec<Stream> = cases
        .iter()
        .flat_map(|(_, weather, fec)| {
            let voices = said.iter().enumerate();
            voices.map(|(voice, said)| Stream::new(said, voice, *weather, *fec))
        })
        .collect();
    // All that need as long are played at once.
    let mut order: Vec<usize> = (0..streams.len()).collect();
    order.sort_by_key(|at| streams[*at].length());
    let (mut by_chromium, mut by_janus) = (vec![None; streams.len()], vec![None; streams.len()]);
    for places in order.chunks(AT_ONCE) {
        let together: Vec<&Stream> = places.iter().map(|at| &streams[*at]).collect();
        let mut numbers: Vec<usize> = places.iter().map(|at| at / said.len()).collect();
        numbers.sort_unstable();
        let mut links: Vec<&str> = numbers.iter().map(|number| cases[*number].0).collect();
        links.dedup();
        let links = links.join(", ");
        let mut play = |receiver: &str, play: Play, by: &mut [Option<Heard>]| {
            eprintln!("{receiver} plays {} streams: {links}", together.len());
            // A browser or a server that didn't start may the second time.
            let twice = || {
                play(&together, folder).or_else(|first| {
                    eprintln!("weather: {receiver}: {first}; once more");
                    play(&together, folder)
                })
            };
            let heard = attempt(&format!("{receiver}, {links}"), failed, twice);
            for (at, heard) in places.iter().zip(heard.into_iter().flatten()) {
                by[*at] = Some(heard);
            }
        };
        play("Chromium", chromium::play, &mut by_chromium);
        play("Janus", janus::play, &mut by_janus);
    }
    let answered = cases
        .iter()
        .any(|(_, weather, _)| matches!(weather, Weather::Random(_)));
    let sent = if answered {
        attempt("the answers of the servers", failed, || answers::sent(folder))
    } else {
        None
    };
    let mut results = Results::default();
    for (number, (link, weather, fec)) in cases.iter().enumerate() {
        let range = number * said.len()..(number + 1) * said.len();
        // Without all of them there is no figure; why was told when they were played.
        let mut all = |receiver: &str, heard: &dyn Fn() -> Vec<Heard>| {
            let what = format!("{receiver}, {link}");
            let heard = attempt(&what, failed, || Ok(heard())).filter(|heard| heard.len() == said.len())?;
            attempt(&what, failed, || figures(said, &heard, *weather, place))
        };
        let known =
            |heard: &[Option<Heard>]| -> Vec<Heard> { heard[range.clone()].iter().flatten().cloned().collect() };
        let ours = |copies| -> Vec<Heard> {
            streams[range.clone()]
                .iter()
                .map(|stream| roomtone(stream, copies))
                .collect()
        };
        let row = Row {
            link,
            loss_percent: if let Weather::Random(loss) = weather {
                f64::from(*loss) * 100.0
            } else {
                0.0
            },
            fec: *fec,
            roomtone: all("Roomtone", &|| ours(0)),
            chromium: all("Chromium", &|| known(&by_chromium)),
            janus: all("Janus", &|| known(&by_janus)),
        };
        eprintln!("{}\n{}", sound_line(&row), delay_line(&row));
        if let (Weather::Random(_), Some((to_roomtone, to_janus))) = (weather, &sent)
            && *fec == to_janus.fec
            && *fec == to_roomtone.fec
        {
            let row = AnswerRow {
                link,
                to_roomtone: to_roomtone.clone(),
                roomtone: all("Roomtone", &|| ours(to_roomtone.copies)),
                to_janus: to_janus.clone(),
                janus: row.janus.clone(),
            };
            eprintln!("{}", answer_line(&row));
            results.answers.push(row);
        }
        results.rows.push(row);
    }
    if let Some((to_roomtone, to_janus)) = sent.filter(|_| results.answers.is_empty()) {
        let why = format!(
            "{} to Roomtone and {} to Janus aren't the same Opus",
            to_roomtone.name(),
            to_janus.name()
        );
        failed.push(format!("what each server's answer makes Chromium send: {why}"));
    }
    results
}

type Play = fn(&[&Stream], &Path) -> Result<Vec<Heard>, String>;

fn figures(
    said: &[Arc<[f32]>],
    heard: &[Heard],
    weather: Weather,
    (python, folder): (&Path, &Path),
) -> Result<Figures, String> {
    let score = crate::score(said, heard, weather, python, folder)?;
    let delay = |of: Delays| {
        let delays = crate::delays(heard, of);
        let mean = (!delays.is_empty()).then(|| delays.iter().sum::<f64>() / delays.len() as f64);
        let back = heard.iter().filter_map(|heard| back(heard, of)).max_by(f64::total_cmp);
        (
            mean,
            delays.get(delays.len() * 95 / 100).copied(),
            back.filter(|_| mean.is_some()),
        )
    };
    let (ear_ms, ear_p95_ms, ear_back_s) = delay(|heard| &heard.ear);
    let (delay_ms, delay_p95_ms, back_s) = delay(|heard| &heard.delays);
    let mean = |of: fn(&Heard) -> f64| delay_ms.map(|_| 100.0 * heard.iter().map(of).sum::<f64>() / heard.len() as f64);
    Ok(Figures {
        pesq: score.map(|score| score.pesq),
        estoi: score.map(|score| score.estoi),
        ear_ms,
        ear_p95_ms,
        ear_back_s,
        delay_ms,
        delay_p95_ms,
        back_s,
        late_percent: mean(|heard| heard.late),
        concealed_percent: mean(|heard| heard.concealed),
    })
}

/// Two numbers of one receiver.
fn pair(figures: Option<&Figures>, of: fn(&Figures) -> (Option<f64>, Option<f64>), digits: (usize, usize)) -> String {
    let (first, second) = figures.map_or((None, None), of);
    if first.is_none() && second.is_none() {
        return "–".to_owned();
    }
    format!("{} / {}", number(first, digits.0), number(second, digits.1))
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or("–".to_owned(), |value| format!("{value:.digits$}"))
}

fn score(figures: Option<&Figures>) -> String {
    pair(figures, |figures| (figures.pesq, figures.estoi), (2, 3))
}

fn sound_line(row: &Row) -> String {
    let both = |of: fn(&Figures) -> Option<f64>| {
        let of = |figures: &Option<Figures>| number(figures.as_ref().and_then(of), 1);
        format!("{} / {}", of(&row.roomtone), of(&row.chromium))
    };
    format!(
        "| {} | {} | {} | {} | {} | {} | {} |",
        row.link,
        if row.fec { "FEC" } else { "plain" },
        score(row.roomtone.as_ref()),
        score(row.chromium.as_ref()),
        score(row.janus.as_ref()),
        both(|figures| figures.late_percent),
        both(|figures| figures.concealed_percent),
    )
}

fn delay_line(row: &Row) -> String {
    let all = [&row.roomtone, &row.chromium, &row.janus].map(Option::as_ref);
    let ear = all.map(|figures| pair(figures, |figures| (figures.ear_ms, figures.ear_p95_ms), (0, 0)));
    let back = all.map(|figures| number(figures.and_then(|figures| figures.ear_back_s), 1));
    let buffer = |which: usize| pair(all[which], |figures| (figures.delay_ms, figures.delay_p95_ms), (0, 0));
    format!(
        "| {} | {} | {} | {} | {} | {} |",
        row.link,
        if row.fec { "FEC" } else { "plain" },
        ear.join(" | "),
        back.join(" / "),
        buffer(0),
        buffer(1),
    )
}

fn answer_line(row: &AnswerRow) -> String {
    format!(
        "| {} | {} | {} | {} | {} |",
        row.link,
        row.to_roomtone.name(),
        score(row.roomtone.as_ref()),
        row.to_janus.name(),
        score(row.janus.as_ref()),
    )
}

/// The rows as Markdown: how it sounds, how late it is, and the same with what each server's answer makes a browser send.
pub fn tables(results: &Results) -> String {
    let lines = |line: fn(&Row) -> String| results.rows.iter().map(line).collect();
    let tables: [(&str, Vec<String>); 3] = [
        (
            "| link | packets | Roomtone, PESQ-WB / ESTOI | Chromium | Janus | late (%), Roomtone / Chromium | made up (%), Roomtone / Chromium |",
            lines(sound_line),
        ),
        (
            "| link | packets | Roomtone, mouth to ear, mean / 95 % (ms) | Chromium | Janus | back after (s), Roomtone / Chromium / Janus | Roomtone, buffer, mean / 95 % (ms) | Chromium |",
            lines(delay_line),
        ),
        (
            "| link | Chromium sends to Roomtone | PESQ-WB / ESTOI | Chromium sends to Janus | PESQ-WB / ESTOI |",
            results.answers.iter().map(answer_line).collect(),
        ),
    ];
    let mut text = String::new();
    for (head, lines) in tables.iter().filter(|(_, lines)| !lines.is_empty()) {
        let rule = "---|".repeat(head.matches('|').count() - 1);
        // Writing to a String doesn't fail.
        let _ = writeln!(text, "{head}\n|{rule}\n{}\n", lines.join("\n"));
    }
    text
}

/// PESQ-WB over random loss, as SVG.
pub fn chart(rows: &[Row]) -> Result<String, String> {
    const INK: RGBColor = RGBColor(0x11, 0x11, 0x11);
    const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);
    const STYLE: &str = "<style>text{font-family:system-ui,sans-serif}@media(prefers-color-scheme:dark){\
        [fill=\"#111111\"]{fill:#ddd}[stroke=\"#111111\"]{stroke:#bbb}[stroke=\"#DDDDDD\"]{stroke:#444}}</style>";
    type Of = fn(&Row) -> Option<&Figures>;
    let lines: [(&str, Of, RGBColor); 3] = [
        ("Roomtone", |row| row.roomtone.as_ref(), RGBColor(0x12, 0x94, 0x80)),
        ("Chromium", |row| row.chromium.as_ref(), RGBColor(0x3d, 0x7f, 0xd6)),
        (
            "Janus AudioBridge",
            |row| row.janus.as_ref(),
            RGBColor(0xd9, 0x62, 0x2b),
        ),
    ];
    let points = |of: Of, fec: bool| -> Vec<(f64, f64)> {
        let belongs = |row: &&Row| row.link == "clean" || (row.loss_percent > 0.0 && row.fec == fec);
        let rows = rows.iter().filter(belongs);
        rows.filter_map(|row| Some((row.loss_percent, of(row)?.pesq?)))
            .collect()
    };
    let mut svg = String::new();
    let wrong = |error: &dyn std::fmt::Display| format!("no chart: {error}");
    {
        let root = SVGBackend::with_string(&mut svg, (760, 400)).into_drawing_area();
        let mut chart = ChartBuilder::on(&root)
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(48)
            .build_cartesian_2d(0.0..20.5, 1.0..4.6)
            .map_err(|error| wrong(&error))?;
        chart
            .configure_mesh()
            .axis_style(INK)
            .bold_line_style(GRID)
            .light_line_style(TRANSPARENT)
            .label_style(("sans-serif", 13).into_font().color(&INK))
            .x_desc("packets lost at random, %")
            .y_desc("PESQ-WB")
            .draw()
            .map_err(|error| wrong(&error))?;
        for (name, of, colour) in lines {
            for fec in [false, true] {
                let points = points(of, fec);
                let label = format!("{name}, {}", if fec { "with FEC" } else { "without" });
                let style = colour.stroke_width(2);
                let drawn = if fec {
                    chart.draw_series(LineSeries::new(points.clone(), style))
                } else {
                    chart.draw_series(DashedLineSeries::new(points.clone(), 6, 4, style))
                };
                drawn
                    .map_err(|error| wrong(&error))?
                    .label(label)
                    .legend(move |(x, y)| {
                        let end = if fec { x + 18 } else { x + 8 };
                        PathElement::new(vec![(x, y), (end, y)], style)
                    });
                let dots = points.iter().map(|at| Circle::new(*at, 3, colour.filled()));
                chart.draw_series(dots).map_err(|error| wrong(&error))?;
            }
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .label_font(("sans-serif", 13).into_font().color(&INK))
            .draw()
            .map_err(|error| wrong(&error))?;
        root.present().map_err(|error| wrong(&error))?;
    }
    // Right after the opening tag.
    let (tag, rest) = svg.split_once('>').ok_or("plotters wrote no SVG")?;
    Ok(format!("{tag}>{STYLE}{rest}"))
}
