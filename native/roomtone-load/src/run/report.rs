//! Results of a run.

use std::fmt;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Outcome, Shared, Took, Usage};
use roomtone_testkit::listen::LevelMatrix;

/// The part of the run over which tones are measured, at its end.
const MEASURE_SECONDS: f32 = 4.0;
/// A tone counts as heard when it is at most this much below what was sent.
const HEARD_WITHIN_DB: f32 = 20.0;
/// Nobody shall hear their own tone less than this much below what they sent.
const OWN_BELOW_DB: f32 = 20.0;
/// Sound of a recording counts as heard above this.
const SOUND_DBFS: f32 = -60.0;
const MAX_FAILURES: usize = 10;

/// Some times, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize, PartialEq)]
pub struct Percentiles {
    /// How many there are.
    pub count: usize,
    /// The median.
    pub p50: f64,
    /// 99 of 100 are below.
    pub p99: f64,
    /// The longest.
    pub max: f64,
}

impl Percentiles {
    /// `None` if there are none.
    pub fn of(times: impl IntoIterator<Item = Duration>) -> Option<Percentiles> {
        let mut times: Vec<f64> = times.into_iter().map(|time| time.as_secs_f64() * 1000.0).collect();
        times.sort_by(f64::total_cmp);
        let at = |part: f64| {
            times
                .get(((times.len() as f64 * part).ceil() as usize).saturating_sub(1))
                .copied()
        };
        Some(Percentiles {
            count: times.len(),
            p50: at(0.5)?,
            p99: at(0.99)?,
            max: at(1.0)?,
        })
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms (n = {})",
            self.p50, self.p99, self.max, self.count
        )
    }
}

/// Resources of the server while all were there.
#[derive(Clone, Copy, Debug, Serialize, PartialEq)]
pub struct Server {
    /// CPU seconds a second.
    pub cpu: f64,
    /// CPU milliseconds a participant and second.
    pub cpu_ms_per_participant_second: f64,
    /// Resident memory at the end.
    pub rss_kb: u64,
    /// Resident memory before anybody joined.
    pub rss_before_kb: u64,
    /// The share of one participant.
    pub rss_kb_per_participant: f64,
}

/// Sound at one pair of ears.
#[derive(Clone, Debug, Serialize, PartialEq)]
pub struct Heard {
    /// The listener.
    pub listener: String,
    /// Level of each tone, in dBFS, in the order of [`RunReport::tones`].
    pub dbfs: Vec<f32>,
}

/// The result of a run.
#[derive(Clone, Debug, Serialize)]
pub struct RunReport {
    /// Participants that should join, probes included.
    pub participants: usize,
    /// Those that talk all the time.
    pub talkers: usize,
    /// Those that send bursts.
    pub probes: usize,
    /// Participants that joined.
    pub joined: usize,
    /// Why others didn't: each reason once, the first few.
    pub failures: Vec<String>,
    /// Participants that were thrown out before the end (the first few).
    pub thrown_out: Vec<String>,
    /// It was stopped before its time.
    pub interrupted: bool,
    /// First offer to last connection.
    pub joins_per_second: Option<f64>,
    /// Offer to connected (ICE and DTLS done).
    pub connect_ms: Option<Percentiles>,
    /// Offer to first packet of sound, of those who joined when somebody talked already.
    pub first_audio_ms: Option<Percentiles>,
    /// The time that everything below is of.
    pub seconds: f64,
    /// RTP packets received.
    pub packets_in: u64,
    /// RTP packets sent.
    pub packets_out: u64,
    /// RTP packets of the server that didn't arrive.
    pub packets_lost: i64,
    /// Datagrams that were no authentic packets.
    pub rejected: u64,
    /// Packets that Opus couldn't decode.
    pub undecodable: u64,
    /// Names of the tones.
    pub tones: Vec<String>,
    /// The level of each tone at each listener.
    pub heard: Vec<Heard>,
    /// Tones that should have been heard and weren't, or the reverse.
    pub unheard: Vec<String>,
    /// A probe's packet with the first sample of a burst sent → its sound received.
    pub latency_ms: Option<Percentiles>,
    /// The longest that an ear waited for the next packet of a talk spurt, milliseconds: 20 and a little where nothing is wrong.
    pub longest_gap_ms: Option<f64>,
    /// With a process id: what the server used.
    pub server: Option<Server>,
    /// CPU seconds a second of the load generator itself: near the number of cores, its figures mean little.
    pub own_cpu: Option<f64>,
}

impl RunReport {
    /// Did everybody join, stay, and hear what they should?
    pub fn is_good(&self) -> bool {
        self.joined == self.participants && self.unheard.is_empty() && self.thrown_out.is_empty()
    }
}

pub(super) type Moment = (Instant, Option<Usage>, Option<Usage>);

pub(super) struct Timing {
    pub before: Option<Usage>,
    pub steady: Option<Moment>,
    pub measured: Moment,
    pub interrupted: bool,
}

pub(super) fn sum_up(shared: &Shared, outcomes: Vec<Outcome>, timing: Timing) -> RunReport {
    let config = &shared.config;
    let of_name = |name: &str, why: String| format!("{name}: {why}");
    let mut reasons: Vec<(String, &str, usize)> = Vec::new();
    let mut took: Vec<(&Outcome, &Took)> = Vec::new();
    for outcome in &outcomes {
        match &outcome.result {
            Ok(counted) => took.push((outcome, counted)),
            Err(error) => {
                let why = error.to_string();
                match reasons.iter_mut().find(|(known, ..)| *known == why) {
                    Some((_, _, times)) => *times += 1,
                    None => reasons.push((why, &outcome.name, 1)),
                }
            }
        }
    }
    let failures = reasons
        .into_iter()
        .take(MAX_FAILURES)
        .map(|(why, first, times)| match times {
            1 => of_name(first, why),
            _ => format!("{first} and {} others: {why}", times - 1),
        });
    let failures = failures.collect();
    let seconds = timing
        .steady
        .map_or(0.0, |start| (timing.measured.0 - start.0).as_secs_f64());
    let first = *shared.first_offer.lock().unwrap_or_else(PoisonError::into_inner);
    let last = *shared.last_join.lock().unwrap_or_else(PoisonError::into_inner);
    let joining = first
        .zip(last)
        .map(|(first, last)| last.saturating_duration_since(first).as_secs_f64());
    let rate = |start: Option<Usage>, end: Option<Usage>| {
        start
            .zip(end)
            .filter(|_| seconds > 0.0)
            .map(|(start, end)| (end.cpu_seconds - start.cpu_seconds) / seconds)
    };
    let server = rate(timing.steady.and_then(|s| s.1), timing.measured.1).map(|cpu| {
        let rss_kb = timing.measured.1.map_or(0, |usage| usage.rss_kb);
        let rss_before_kb = timing.before.map_or(0, |usage| usage.rss_kb);
        let participants = took.len().max(1) as f64;
        Server {
            cpu,
            cpu_ms_per_participant_second: cpu * 1000.0 / participants,
            rss_kb,
            rss_before_kb,
            rss_kb_per_participant: (rss_kb as f64 - rss_before_kb as f64) / participants,
        }
    });
    let thrown_out = took
        .iter()
        .filter_map(|(outcome, took)| Some(of_name(&outcome.name, took.ended.clone()?)));
    let thrown_out: Vec<String> = thrown_out.take(MAX_FAILURES).collect();
    // Sound that is too short to be measured has no verdict.
    let long_enough = seconds >= 1.0;
    let (tones, heard, unheard) = if long_enough {
        levels(&took, seconds)
    } else {
        Default::default()
    };
    RunReport {
        participants: outcomes.len(),
        talkers: config.talkers,
        probes: config.probes,
        joined: took.len(),
        failures,
        thrown_out,
        interrupted: timing.interrupted,
        joins_per_second: joining.filter(|time| *time > 0.0).map(|time| took.len() as f64 / time),
        connect_ms: Percentiles::of(took.iter().map(|(_, took)| took.connect)),
        first_audio_ms: Percentiles::of(took.iter().filter_map(|(_, took)| took.first_audio)),
        seconds,
        packets_in: took.iter().map(|(_, took)| took.packets_in).sum(),
        packets_out: took.iter().map(|(_, took)| took.packets_out).sum(),
        packets_lost: took.iter().map(|(_, took)| took.lost).sum(),
        rejected: took.iter().map(|(_, took)| took.rejected).sum(),
        undecodable: took
            .iter()
            .filter_map(|(_, took)| took.hearing.as_ref())
            .map(|h| h.sound.undecodable)
            .sum(),
        tones,
        heard,
        unheard,
        longest_gap_ms: took
            .iter()
            .filter_map(|(_, took)| took.hearing.as_ref()?.longest_gap)
            .max()
            .map(|gap| gap.as_secs_f64() * 1000.0),
        latency_ms: Percentiles::of(
            took.iter()
                .filter_map(|(_, took)| took.hearing.as_ref())
                .flat_map(|h| h.latencies.iter().copied()),
        ),
        server,
        own_cpu: rate(timing.steady.and_then(|s| s.2), timing.measured.2),
    }
}

fn levels(took: &[(&Outcome, &Took)], seconds: f64) -> (Vec<String>, Vec<Heard>, Vec<String>) {
    // A participant who was thrown out hears nothing; that is told by itself.
    let ears: Vec<_> = took
        .iter()
        .filter(|(_, took)| took.ended.is_none())
        .filter_map(|(outcome, took)| Some((*outcome, &took.hearing.as_ref()?.sound.ear)))
        .collect();
    let tones: Vec<_> = took
        .iter()
        .filter_map(|(outcome, _)| Some((*outcome, outcome.tone?)))
        .collect();
    let window = MEASURE_SECONDS.min(seconds as f32);
    let rows: Vec<_> = ears
        .iter()
        .map(|(outcome, ear)| (outcome.name.as_str(), *ear))
        .collect();
    let columns: Vec<_> = tones.iter().map(|(_, (hz, _))| (format!("{hz:.0} Hz"), *hz)).collect();
    let matrix = LevelMatrix::measure(&rows, &columns, window);
    let mut unheard = Vec::new();
    for (row, (listener, ear)) in ears.iter().enumerate() {
        for (column, (talker, (_, amplitude))) in tones.iter().enumerate() {
            let (sent, level) = (20.0 * amplitude.log10(), matrix.get(row, column));
            if talker.name == listener.name {
                if level > sent - OWN_BELOW_DB {
                    unheard.push(format!("{} hears itself at {level:.1} dBFS", listener.name));
                }
            } else if level < sent - HEARD_WITHIN_DB {
                unheard.push(format!(
                    "{} doesn't hear {}: {level:.1} of {sent:.1} dBFS",
                    listener.name, talker.name
                ));
            }
        }
        let others = took
            .iter()
            .any(|(o, _)| o.is_talker && o.name != listener.name && !o.name.starts_with("probe"));
        if tones.is_empty() && others {
            let pcm = ear.recent(window);
            let power = pcm.iter().map(|s| f64::from(s * s)).sum::<f64>() / pcm.len().max(1) as f64;
            let level = 10.0 * power.max(1e-12).log10() as f32;
            if level < SOUND_DBFS {
                unheard.push(format!("{} hears nothing: {level:.1} dBFS", listener.name));
            }
        }
    }
    let heard = ears.iter().enumerate().map(|(row, (outcome, _))| Heard {
        listener: outcome.name.clone(),
        dbfs: (0..columns.len()).map(|column| matrix.get(row, column)).collect(),
    });
    let heard = heard.collect();
    (matrix.tones().to_vec(), heard, unheard)
}

impl fmt::Display for RunReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
        writeln!(
            f,
            "participants  {} of {} joined ({} talkers, {} probes){}",
            self.joined,
            self.participants,
            self.talkers,
            self.probes,
            if self.interrupted { ", interrupted" } else { "" }
        )?;
        for failure in &self.failures {
            writeln!(f, "              not joined: {failure}")?;
        }
        for end in &self.thrown_out {
            writeln!(f, "              not to the end: {end}")?;
        }
        writeln!(
            f,
            "joins         {}",
            or(self.joins_per_second.map(|rate| format!("{rate:.1} a second")))
        )?;
        writeln!(f, "  connected   {}", or(self.connect_ms.map(|p| p.to_string())))?;
        writeln!(f, "  first audio {}", or(self.first_audio_ms.map(|p| p.to_string())))?;
        let rate = |packets: u64| {
            if self.seconds > 0.0 {
                packets as f64 / self.seconds
            } else {
                0.0
            }
        };
        let expected = self.packets_in as f64 + self.packets_lost.max(0) as f64;
        let percent = if expected > 0.0 {
            100.0 * self.packets_lost.max(0) as f64 / expected
        } else {
            0.0
        };
        writeln!(
            f,
            "packets       in {} ({:.0}/s), out {} ({:.0}/s) in {:.1} s; lost {} ({percent:.3} %), rejected {}, undecodable {}",
            self.packets_in,
            rate(self.packets_in),
            self.packets_out,
            rate(self.packets_out),
            self.seconds,
            self.packets_lost,
            self.rejected,
            self.undecodable
        )?;
        writeln!(f, "added latency {}", or(self.latency_ms.map(|p| p.to_string())))?;
        writeln!(
            f,
            "longest gap   {}",
            or(self.longest_gap_ms.map(|ms| format!("{ms:.1} ms")))
        )?;
        if let Some(server) = &self.server {
            writeln!(
                f,
                "server        {:.3} CPU s/s, {:.2} ms a participant-second; RSS {} MB ({:.0} kB a participant)",
                server.cpu,
                server.cpu_ms_per_participant_second,
                server.rss_kb / 1024,
                server.rss_kb_per_participant
            )?;
        }
        writeln!(
            f,
            "this tool     {} CPU s/s",
            or(self.own_cpu.map(|cpu| format!("{cpu:.3}")))
        )?;
        if !self.tones.is_empty() && !self.heard.is_empty() {
            let first = self.heard.iter().map(|heard| heard.listener.len()).max().unwrap_or(0);
            write!(f, "heard, dBFS   {:first$}", "")?;
            for tone in &self.tones {
                write!(f, "  {tone:>8}")?;
            }
            for heard in &self.heard {
                write!(f, "\n              {:first$}", heard.listener)?;
                for level in &heard.dbfs {
                    write!(f, "  {level:>8.1}")?;
                }
            }
            writeln!(f)?;
        }
        for wrong in &self.unheard {
            writeln!(f, "WRONG         {wrong}")?;
        }
        write!(f, "{}", if self.is_good() { "good" } else { "NOT GOOD" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_times() {
        assert_eq!(Percentiles::of([]), None);
        let times = (1..=200).rev().map(Duration::from_millis);
        assert_eq!(
            Percentiles::of(times),
            Some(Percentiles {
                count: 200,
                p50: 100.0,
                p99: 198.0,
                max: 200.0
            })
        );
        let one = Percentiles::of([Duration::from_millis(7)]).unwrap();
        assert_eq!((one.p50, one.p99, one.max), (7.0, 7.0, 7.0));
    }
}
