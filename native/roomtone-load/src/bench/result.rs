//! Results: one sample for each measurement of a case, and their summary.

use serde::{Deserialize, Serialize};

use super::case::{Case, System, Talk};
use super::conversation::Shares;
use super::machine::Machine;
use super::quality::Quality;
use super::ticks::{Burden, Lateness};

/// More than this many cores taken by others, and a sample says more of them than of the server.
pub const NOISY: f64 = 0.1;

/// One measurement of one case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// The case that was measured.
    pub case: Case,
    /// Which of its repetitions, from 0.
    pub repeat: usize,
    /// When, in seconds since 1970.
    pub at: u64,
    /// Load average just before.
    pub load: f64,
    /// The number that joined.
    pub joined: usize,
    /// Why others didn't; each reason once.
    pub failures: Vec<String>,
    /// The number that were thrown out.
    pub ended: Vec<String>,
    /// First offer to last connection.
    pub joins_per_second: f64,
    /// Offer to connected, of each, in milliseconds.
    pub connect_ms: Vec<f64>,
    /// How long all that follows was counted.
    pub seconds: f64,
    /// CPU seconds a second of the server.
    pub cpu: Option<f64>,
    /// Of the bench itself.
    pub own_cpu: f64,
    /// Of everything else on the machine.
    pub others_cpu: Option<f64>,
    /// Resident memory of the server before anybody joined, and at the end.
    pub rss_kb: Option<(u64, u64)>,
    /// RTP packets received and sent by the bench.
    pub packets: (u64, u64),
    /// RTP packets of the server that didn't arrive.
    pub lost: i64,
    /// Packets that ears got, and how many of them were late.
    pub heard: (u64, u64),
    /// Packets that weren't authentic, and packets that couldn't be decoded.
    pub broken: (u64, u64),
    /// Added latency of each beep at each ear, in milliseconds.
    pub latency_ms: Vec<f64>,
    /// Of these: in a conversation, of talkers beside whom nobody speaks, …
    #[serde(default)]
    pub alone_ms: Vec<f64>,
    /// … and beside whom somebody does.
    #[serde(default)]
    pub together_ms: Vec<f64>,
    /// In the conversation of the first room: how much of the time nobody, one, or more speak.
    #[serde(default)]
    pub shares: Option<Shares>,
    /// Share of the server's packets that were passed on without mixing, if it counts them.
    #[serde(default)]
    pub passed: Option<f64>,
    /// How late the server's ticks were.
    pub lateness: Option<Lateness>,
    /// Work of its BEAM besides.
    #[serde(default)]
    pub burden: Option<Burden>,
    /// The server's shed level: 0 nothing.
    pub shed_level: u64,
    /// Of the sound.
    pub quality: Option<Quality>,
}

impl Sample {
    /// Did all join, stay, and hear something?
    pub fn is_good(&self) -> bool {
        let silent = !self.case.is_idle() && self.packets.0 == 0;
        self.joined == self.case.everybody() && self.ended.is_empty() && !silent
    }
}

/// All samples of a bench; also what is kept between two of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// Where it was measured.
    pub machine: Machine,
    /// How long each sample takes, in seconds.
    pub seconds: f64,
    /// The samples.
    pub samples: Vec<Sample>,
}

/// Percentiles of some figures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// How many there are.
    pub count: usize,
    /// The median.
    pub p50: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    /// `None` of nothing.
    pub fn of(mut figures: Vec<f64>) -> Option<Spread> {
        figures.sort_by(f64::total_cmp);
        let at = |q: f64| figures.get(((figures.len() as f64 * q).ceil() as usize).saturating_sub(1));
        Some(Spread {
            count: figures.len(),
            p50: *at(0.5)?,
            p99: *at(0.99)?,
            max: *at(1.0)?,
        })
    }
}

/// The samples of one case together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The case.
    pub case: Case,
    /// How many samples.
    pub samples: usize,
    /// CPU milliseconds of the server for each participant and second: the median, the least and the most.
    pub cpu_ms: Option<(f64, f64, f64)>,
    /// Cores that the server took.
    pub cpu: Option<f64>,
    /// Cores that the bench took.
    pub own_cpu: f64,
    /// Cores that others took, at worst.
    pub others_cpu: f64,
    /// Resident memory of the server, and what came on top of that of the empty one, in kB.
    pub rss_kb: Option<(f64, f64)>,
    /// CPU microseconds of the server for each packet that it sent.
    pub us_per_packet: Option<f64>,
    /// Added latency in milliseconds.
    pub latency_ms: Option<Spread>,
    /// The same of talkers beside whom nobody speaks.
    pub alone_ms: Option<Spread>,
    /// The same of talkers beside whom somebody does.
    pub together_ms: Option<Spread>,
    /// Share of the packets that were passed on without mixing.
    pub passed: Option<f64>,
    /// In the conversation: how much of the time nobody, one, or more speak; means of all samples.
    pub shares: Option<Shares>,
    /// Offer to connected, in milliseconds.
    pub connect_ms: Option<Spread>,
    /// Joins a second.
    pub joins_per_second: f64,
    /// Share of the packets that were lost.
    pub lost: f64,
    /// Share of the packets that came late.
    pub late: f64,
    /// Lateness of the server's ticks: the worst of all samples.
    pub lateness: Option<Lateness>,
    /// Work of its BEAM besides; of the last sample.
    pub burden: Option<Burden>,
    /// The server's highest shed level.
    pub shed_level: u64,
    /// Of the sound.
    pub quality: Option<Quality>,
    /// Did all join, stay, and hear something, each time?
    pub good: bool,
}

impl Results {
    /// Each case once, in the order in which they were measured first.
    pub fn summaries(&self) -> Vec<Summary> {
        let mut cases: Vec<&Case> = Vec::new();
        for sample in &self.samples {
            if !cases.contains(&&sample.case) {
                cases.push(&sample.case);
            }
        }
        cases.into_iter().map(|case| self.summary(case)).collect()
    }

    fn summary(&self, case: &Case) -> Summary {
        let samples: Vec<&Sample> = self.samples.iter().filter(|sample| sample.case == *case).collect();
        let all = |figure: fn(&Sample) -> Option<f64>| samples.iter().filter_map(|sample| figure(sample)).collect();
        let median = |figure| Spread::of(all(figure)).map(|spread| spread.p50);
        let everybody = case.everybody() as f64;
        let cpu = Spread::of(all(|sample| sample.cpu));
        let least: Option<f64> = all(|sample| sample.cpu).into_iter().reduce(f64::min);
        let sum = |figure: fn(&Sample) -> f64| samples.iter().map(|sample| figure(sample)).sum::<f64>();
        let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        let (lost, received) = (sum(|s| s.lost.max(0) as f64), sum(|s| s.packets.0 as f64));
        Summary {
            case: case.clone(),
            samples: samples.len(),
            cpu_ms: cpu
                .zip(least)
                .map(|(cpu, least)| (cpu.p50, least, cpu.max))
                .map(|(median, least, most)| {
                    let each = |cores: f64| cores * 1000.0 / everybody;
                    (each(median), each(least), each(most))
                }),
            cpu: cpu.map(|cpu| cpu.p50),
            own_cpu: median(|sample| Some(sample.own_cpu)).unwrap_or(0.0),
            others_cpu: all(|sample| sample.others_cpu).into_iter().fold(0.0, f64::max),
            rss_kb: median(|sample| sample.rss_kb.map(|rss| rss.1 as f64))
                .zip(median(|sample| sample.rss_kb.map(|rss| rss.1 as f64 - rss.0 as f64))),
            us_per_packet: median(|sample| {
                let packets = sample.packets.0 as f64 / sample.seconds;
                (packets > 0.0).then_some(sample.cpu? * 1e6 / packets)
            }),
            latency_ms: Spread::of(samples.iter().flat_map(|sample| sample.latency_ms.clone()).collect()),
            alone_ms: Spread::of(samples.iter().flat_map(|sample| sample.alone_ms.clone()).collect()),
            together_ms: Spread::of(samples.iter().flat_map(|sample| sample.together_ms.clone()).collect()),
            passed: median(|sample| sample.passed),
            shares: Shares::mean(samples.iter().filter_map(|sample| sample.shares)),
            connect_ms: Spread::of(samples.iter().flat_map(|sample| sample.connect_ms.clone()).collect()),
            joins_per_second: median(|sample| Some(sample.joins_per_second)).unwrap_or(0.0),
            lost: share(lost, received + lost),
            late: share(sum(|s| s.heard.1 as f64), sum(|s| s.heard.0 as f64)),
            lateness: samples
                .iter()
                .filter_map(|sample| sample.lateness)
                .reduce(|worst, next| Lateness {
                    count: worst.count + next.count,
                    p50: worst.p50.max(next.p50),
                    p99: worst.p99.max(next.p99),
                    max: worst.max.max(next.max),
                }),
            burden: samples.iter().rev().find_map(|sample| sample.burden),
            shed_level: samples.iter().map(|sample| sample.shed_level).max().unwrap_or(0),
            quality: samples.iter().find_map(|sample| sample.quality),
            good: samples.iter().all(|sample| sample.is_good()),
        }
    }

    /// Memory of a listener and a talker in each server: from the differences between two sizes of room, and between few and
    /// many talkers in rooms of one size.
    pub fn memory(&self) -> Vec<Memory> {
        let summaries = self.summaries();
        let mut systems: Vec<System> = Vec::new();
        for summary in &summaries {
            if !systems.contains(&summary.case.system) {
                systems.push(summary.case.system);
            }
        }
        systems
            .into_iter()
            .filter_map(|system| memory_of(system, &summaries))
            .collect()
    }
}

fn memory_of(system: System, summaries: &[Summary]) -> Option<Memory> {
    let is_simple = |case: &Case| case.rooms == 1 && case.system == system && case.talk == Talk::All && !case.burdened;
    let rooms: Vec<(&Case, f64)> = summaries
        .iter()
        .filter(|summary| is_simple(&summary.case))
        .filter_map(|summary| Some((&summary.case, summary.rss_kb?.1)))
        .collect();
    let alike = |a: &Case, b: &Case| a.talkers == b.talkers && a.people != b.people;
    let pairs = rooms
        .iter()
        .flat_map(|small| rooms.iter().map(move |large| (small, large)))
        .filter(|(small, large)| alike(small.0, large.0) && small.0.people < large.0.people);
    let listener = pairs
        .max_by_key(|(small, large)| large.0.people - small.0.people)
        .map(|(small, large)| (large.1 - small.1) / (large.0.people - small.0.people) as f64)?;
    let talker = rooms
        .iter()
        .flat_map(|few| rooms.iter().map(move |many| (few, many)))
        .find(|(few, many)| few.0.people == many.0.people && few.0.talkers < many.0.talkers)
        .map(|(few, many)| (many.1 - few.1) / (many.0.talkers - few.0.talkers) as f64);
    Some(Memory {
        system,
        listener,
        talker: talker.map(|more| listener + more),
    })
}

/// kB of a server's resident memory.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Memory {
    /// The server.
    pub system: System,
    /// For each who listens.
    pub listener: f64,
    /// For each who talks.
    pub talker: Option<f64>,
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::bench::case::{JanusSetting, Kind};

    pub fn sample(system: System, people: usize, talkers: usize, cpu: f64) -> Sample {
        Sample {
            case: Case::room(system, people, talkers),
            repeat: 0,
            at: 0,
            load: 0.0,
            joined: people,
            failures: vec![],
            ended: vec![],
            joins_per_second: 100.0,
            connect_ms: vec![10.0; people],
            seconds: 8.0,
            cpu: Some(cpu),
            own_cpu: 0.1,
            others_cpu: Some(0.02),
            rss_kb: Some((70_000, 71_000 + 40 * (people - talkers) as u64 + 100 * talkers as u64)),
            packets: (8 * 50 * people as u64, 8 * 50 * talkers as u64),
            lost: 0,
            heard: (1600, 2),
            broken: (0, 0),
            latency_ms: (10..20).map(f64::from).collect(),
            alone_ms: vec![],
            together_ms: vec![],
            shares: None,
            passed: None,
            lateness: None,
            burden: None,
            shed_level: 0,
            quality: None,
        }
    }

    #[test]
    fn cases_are_summed_up_by_their_medians() {
        let mix = System::Roomtone(Kind::Mix);
        let janus = System::Janus(JanusSetting::Default);
        let samples = vec![
            sample(mix, 10, 3, 0.04),
            sample(janus, 10, 3, 0.13),
            sample(mix, 10, 3, 0.06),
            sample(mix, 10, 3, 0.05),
        ];
        let results = Results {
            samples,
            ..Results::default()
        };
        let summaries = results.summaries();
        assert_eq!((summaries.len(), summaries[0].samples), (2, 3));
        let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
        let (median, least, most) = summaries[0].cpu_ms.unwrap();
        assert!(close(median, 5.0) && close(least, 4.0) && close(most, 6.0));
        assert_eq!(summaries[0].latency_ms.unwrap().count, 30);
        // 0.05 cores for 500 packets a second.
        assert!(close(summaries[0].us_per_packet.unwrap(), 100.0));
        assert!(summaries[0].good && close(summaries[0].late, 2.0 / 1600.0));
    }

    #[test]
    fn memory_is_that_of_the_differences() {
        let mix = System::Roomtone(Kind::Mix);
        let samples = vec![
            sample(mix, 10, 3, 0.1),
            sample(mix, 100, 3, 0.1),
            sample(mix, 100, 43, 0.1),
        ];
        let results = Results {
            samples,
            ..Results::default()
        };
        let [memory] = results.memory().try_into().unwrap();
        assert_eq!(
            (memory.system, memory.listener, memory.talker),
            (mix, 40.0, Some(100.0))
        );
        assert!(Results::default().memory().is_empty());
    }

    #[test]
    fn a_sample_where_nothing_was_heard_is_not_good() {
        let mut sample = sample(System::Roomtone(Kind::Mix), 10, 3, 0.1);
        assert!(sample.is_good());
        sample.packets.0 = 0;
        assert!(!sample.is_good());
    }
}
