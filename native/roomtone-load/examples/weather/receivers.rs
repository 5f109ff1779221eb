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

use super::{Heard, MS, READINGS, WEATHERS, Weather, back, encoded, is_wanted, link};
use crate::{chromium, janus};

/// The judge gets so much sound from before a reading, for what a receiver's clock may be off, and so much from after it.
const EARLY: Duration = Duration::from_millis(60);
const LATE: Duration = Duration::from_millis(400);
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
        let packets = encoded(said, fec);
        let readings = if weather.holds_back() { 2 * READINGS } else { READINGS };
        let frames = (packets.len() * readings) as u32;
        let (arrivals, holds) = arrivals(weather, voice as u64, frames);
        Stream {
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

    /// A receiver's figures.
    pub fn heard(&self, pcm: &[f32], delays: Vec<(f64, f64)>, late: f64, concealed: f64) -> Heard {
        Heard {
            readings: self.readings(pcm),
            delays,
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

/// Roomtone's jitter buffer, on a virtual clock.
fn roomtone(stream: &Stream) -> Heard {
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
            let meta = RtpMeta {
                seq: arrival.number as u16,
                timestamp: arrival.number * 960,
                marker: arrival.number == 0,
                level: None,
            };
            playout.insert(start + arrival.at, meta, &stream.packet(arrival.number).0);
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
struct Figures {
    pesq: Option<f64>,
    estoi: Option<f64>,
    /// From arrival until it is played, ms: mean, and the value that 95 % don't exceed.
    delay_ms: Option<f64>,
    delay_p95_ms: Option<f64>,
    /// The longest time that the delay took to be back after a spike or an outage, s.
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
    roomtone: Figures,
    chromium: Option<Figures>,
    janus: Option<Figures>,
}

/// Lets all receivers hear all voices on all links.
pub fn run(said: &[Arc<[f32]>], only: Option<&str>, python: &Path, folder: &Path) -> Result<Vec<Row>, String> {
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
        eprintln!(
            "Chromium plays {} streams for {:?}",
            together.len(),
            together[together.len() - 1].length()
        );
        for (at, heard) in places.iter().zip(chromium::play(&together, folder)?) {
            by_chromium[*at] = Some(heard);
        }
        eprintln!("Janus mixes them");
        for (at, heard) in places.iter().zip(janus::play(&together, folder)?) {
            by_janus[*at] = Some(heard);
        }
    }
    let mut rows = Vec::new();
    for (number, (link, weather, fec)) in cases.iter().enumerate() {
        let range = number * said.len()..(number + 1) * said.len();
        let all = |heard: &[Option<Heard>]| -> Result<Option<Figures>, String> {
            let heard: Vec<Heard> = heard[range.clone()].iter().flatten().cloned().collect();
            if heard.is_empty() {
                return Ok(None);
            }
            figures(said, &heard, *weather, python, folder).map(Some)
        };
        let ours: Vec<Heard> = streams[range.clone()].iter().map(roomtone).collect();
        let row = Row {
            link,
            loss_percent: if let Weather::Random(loss) = weather {
                f64::from(*loss) * 100.0
            } else {
                0.0
            },
            fec: *fec,
            roomtone: figures(said, &ours, *weather, python, folder)?,
            chromium: all(&by_chromium)?,
            janus: all(&by_janus)?,
        };
        eprintln!("{}", line(&row));
        rows.push(row);
    }
    Ok(rows)
}

fn figures(
    said: &[Arc<[f32]>],
    heard: &[Heard],
    weather: Weather,
    python: &Path,
    folder: &Path,
) -> Result<Figures, String> {
    let score = crate::score(said, heard, weather, python, folder)?;
    let delays = crate::delays(heard);
    let known = !delays.is_empty();
    let mean = |of: fn(&Heard) -> f64| known.then(|| 100.0 * heard.iter().map(of).sum::<f64>() / heard.len() as f64);
    Ok(Figures {
        pesq: score.map(|score| score.pesq),
        estoi: score.map(|score| score.estoi),
        delay_ms: known.then(|| delays.iter().sum::<f64>() / delays.len() as f64),
        delay_p95_ms: delays.get(delays.len() * 95 / 100).copied(),
        back_s: heard.iter().filter(|_| known).filter_map(back).max_by(f64::total_cmp),
        late_percent: mean(|heard| heard.late),
        concealed_percent: mean(|heard| heard.concealed),
    })
}

fn line(row: &Row) -> String {
    let number =
        |value: Option<f64>, digits: usize| value.map_or("–".to_owned(), |value| format!("{value:.digits$}"));
    let both = [Some(&row.roomtone), row.chromium.as_ref(), row.janus.as_ref()];
    let pair = |of: fn(&Figures) -> (Option<f64>, Option<f64>), digits: (usize, usize), which: usize| {
        let (first, second) = both[which].map_or((None, None), of);
        format!("{} / {}", number(first, digits.0), number(second, digits.1))
    };
    let score = |which| pair(|figures| (figures.pesq, figures.estoi), (2, 3), which);
    let delay = |which| pair(|figures| (figures.delay_ms, figures.delay_p95_ms), (0, 0), which);
    let beside = |of: fn(&Figures) -> Option<f64>| {
        format!(
            "{} / {}",
            number(both[0].and_then(of), 1),
            number(both[1].and_then(of), 1)
        )
    };
    format!(
        "| {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
        row.link,
        if row.fec { "FEC" } else { "plain" },
        score(0),
        score(1),
        score(2),
        delay(0),
        delay(1),
        beside(|figures| figures.back_s),
        beside(|figures| figures.late_percent),
        beside(|figures| figures.concealed_percent),
    )
}

/// The rows as Markdown.
pub fn table(rows: &[Row]) -> String {
    let mut table = "| link | packets | Roomtone, PESQ-WB / ESTOI | Chromium | Janus | Roomtone, buffer, mean / 95 % (ms) | Chromium \
                     | back after (s), Roomtone / Chromium | late (%) | made up (%) |\n\
                     |---|---|---|---|---|---|---|---|---|---|\n"
        .to_owned();
    for row in rows {
        // Writing to a String doesn't fail.
        let _ = writeln!(table, "{}", line(row));
    }
    table
}

/// PESQ-WB over random loss, as SVG.
pub fn chart(rows: &[Row]) -> Result<String, String> {
    const INK: RGBColor = RGBColor(0x11, 0x11, 0x11);
    const GRID: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);
    const STYLE: &str = "<style>text{font-family:system-ui,sans-serif}@media(prefers-color-scheme:dark){\
        [fill=\"#111111\"]{fill:#ddd}[stroke=\"#111111\"]{stroke:#bbb}[stroke=\"#DDDDDD\"]{stroke:#444}}</style>";
    type Of = fn(&Row) -> Option<&Figures>;
    let lines: [(&str, Of, RGBColor); 3] = [
        ("Roomtone", |row| Some(&row.roomtone), RGBColor(0x12, 0x94, 0x80)),
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
