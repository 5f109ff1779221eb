//! The bench: what a room costs a server, how late and how good its sound is, beside Janus's AudioBridge with the same people.
//!
//! Each measurement has a server of its own, started for it on free ports. A plan's cases are repeated in turn, not one after
//! another, so that a noisy minute doesn't hit all repetitions of one case; after each, the results so far are written.
//!
//! ```no_run
//! # async fn example() -> Result<(), roomtone_load::bench::BenchError> {
//! use roomtone_load::bench::{BenchConfig, run, table};
//!
//! let results = run(BenchConfig::default(), |news| eprintln!("{news}"), std::future::pending()).await?;
//! println!("{}", table(&results));
//! # Ok(())
//! # }
//! ```

mod case;
mod chart;
mod conversation;
mod crowd;
mod door;
mod janus;
mod lines;
mod machine;
mod measure;
mod process;
mod quality;
mod result;
mod roomtone;
mod speech;
mod table;
mod ticks;

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use case::{Case, JanusSetting, Kind, Noise, Plan, System, Talk, Way};
pub use chart::{ChartError, chart};
pub use conversation::Shares;
pub use door::{Door, Tokens};
pub use janus::{AudioBridge, Janus};
pub use machine::Machine;
pub use measure::Target;
pub use quality::{Quality, Recording, Score, Voices, judge, python};
pub use result::{Memory, NOISY, Results, Sample, Spread, Summary};
pub use speech::{Speech, Voice};
pub use table::table;
pub use ticks::{Burden, Lateness};

use measure::Bench;
use roomtone_testkit::fixtures::FixtureError;

/// A load average above this at the start says that the machine isn't quiet.
const QUIET_LOAD: f64 = 0.5;

/// How long a measurement may take where permissions of a TURN server must not end meanwhile, those five minutes less all that comes
/// before and after.
const TURN_LIFETIME: Duration = Duration::from_secs(120);

/// The work to do.
#[derive(Clone, Debug)]
pub struct BenchConfig {
    /// The cases to measure.
    pub plan: Plan,
    /// The server that is measured.
    pub target: Target,
    /// Where Roomtone's source is.
    pub repository: PathBuf,
    /// For logs, voices and what else is made on the way.
    pub folder: PathBuf,
    /// Talkers babble instead of speaking: quick to make, without espeak-ng, and nothing to judge.
    pub babble: bool,
    /// Decides who takes turns when: the same number, the same conversations.
    pub seed: u64,
    /// Where results are kept after each measurement.
    pub keep: Option<PathBuf>,
    /// Goes on with the results that are kept there.
    pub resume: bool,
}

impl Default for BenchConfig {
    fn default() -> Self {
        BenchConfig {
            plan: Plan {
                cases: Plan::quick(false),
                repeats: 1,
                time: Duration::from_secs(5),
            },
            target: Target::Own,
            repository: PathBuf::from("."),
            folder: PathBuf::from("tmp/bench"),
            babble: false,
            seed: 1,
            keep: None,
            resume: false,
        }
    }
}

/// Why a bench can't go on.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// A setting makes no sense.
    #[error("{0}")]
    Config(String),
    /// A voice can't be made.
    #[error(transparent)]
    Fixture(#[from] FixtureError),
    /// A server doesn't do what it should.
    #[error("{name}: {why}{}", log_part(log))]
    Server {
        /// Which.
        name: &'static str,
        /// The problem.
        why: String,
        /// The end of its log.
        log: String,
    },
    /// Quality can't be judged.
    #[error("the quality can't be judged: {0}")]
    Quality(String),
    /// Results can't be kept, or what was kept can't be read.
    #[error("{path}: {why}")]
    Results {
        /// Which file.
        path: String,
        /// The problem.
        why: String,
    },
}

fn log_part(log: &str) -> String {
    if log.trim().is_empty() {
        String::new()
    } else {
        format!("\nthe end of its log:\n{log}")
    }
}

/// Progress messages of a bench.
#[derive(Debug)]
pub enum News<'a> {
    /// Something that its user should know.
    Note(String),
    /// A case is being measured: which of how many.
    Begins(&'a Case, usize, usize),
    /// It was measured; this is how long there is still to go.
    Measured(&'a Sample, Duration),
    /// It couldn't be measured.
    Failed(&'a Case, &'a BenchError),
}

impl fmt::Display for News<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            News::Note(note) => write!(f, "note: {note}"),
            News::Begins(case, number, of) => write!(f, "[{number}/{of}] {case} …"),
            News::Measured(sample, left) => {
                let cpu = sample.cpu.map_or("CPU unknown".into(), |cpu| {
                    format!(
                        "{:.2} ms a participant-second",
                        cpu * 1000.0 / sample.case.everybody() as f64
                    )
                });
                let latency = Spread::of(sample.latency_ms.clone());
                let latency = latency.map_or(String::new(), |l| format!(", latency {:.0}/{:.0} ms", l.p50, l.p99));
                write!(f, "        {cpu}{latency}, {} joined", sample.joined)?;
                if sample.others_cpu.is_some_and(|others| others > NOISY) {
                    write!(f, ", NOISY: others took {:.2} cores", sample.others_cpu.unwrap_or(0.0))?;
                }
                if !sample.is_good() {
                    write!(f, ", NOT GOOD {:?}{:?}", sample.failures, sample.ended)?;
                }
                write!(f, "; {} s to go", left.as_secs())
            }
            News::Failed(case, error) => write!(f, "        {case} FAILED: {error}"),
        }
    }
}

/// Measures all that the plan has, until it is done or `stop` is ready. All measurements until then are in the results.
pub async fn run(
    config: BenchConfig,
    mut news: impl FnMut(&News<'_>),
    stop: impl Future<Output = ()>,
) -> Result<Results, BenchError> {
    check(&config)?;
    let mut results = earlier(&config)?;
    let has_janus = config.plan.cases.iter().any(|case| case.system.is_janus());
    results.machine = Machine {
        janus: if has_janus { janus::version() } else { None },
        ..Machine::this()
    };
    results.seconds = config.plan.time.as_secs_f64();
    if results.machine.load > QUIET_LOAD {
        news(&News::Note(format!(
            "the load average is {:.2}: the machine isn't quiet, and the figures will show it",
            results.machine.load
        )));
    }
    let unreadable = |error: std::io::Error| BenchError::Results {
        path: config.folder.display().to_string(),
        why: error.to_string(),
    };
    std::fs::create_dir_all(&config.folder).map_err(unreadable)?;
    let folder = config.folder.canonicalize().map_err(unreadable)?;
    let speeches = speeches(&config, &folder)?;
    let is_real = speeches.iter().all(|speech| speech.1.real);
    if !is_real && !config.babble {
        let note = "no espeak-ng, so people babble, and quality isn't judged: `bin/setup --bench` installs it";
        news(&News::Note(note.into()));
    }
    let is_own = matches!(config.target, Target::Own);
    if is_own && config.plan.cases.iter().any(|case| !case.system.is_janus()) {
        roomtone::build(&config.repository)?;
    }
    let python = match quality::python(&config.repository) {
        Ok(python) => Some(python),
        Err(why) => {
            if is_real && config.plan.cases.iter().any(|case| case.judged) {
                news(&News::Note(format!("{why}; quality isn't judged")));
            }
            None
        }
    };
    let bench = Bench {
        repository: config.repository.clone(),
        folder,
        speeches,
        seed: config.seed,
        target: config.target.clone(),
        time: config.plan.time,
    };
    let work = async {
        let open = todo(&config.plan, &results);
        let (all, begin) = (open.len(), Instant::now());
        for (done, (case, repeat)) in open.into_iter().enumerate() {
            news(&News::Begins(&case, done + 1, all));
            let measured = match bench.measure(&case, repeat).await {
                Ok((mut sample, recordings)) => {
                    if let Some(python) = python.as_ref().filter(|_| !recordings.is_empty()) {
                        match quality::judge(python, &bench.folder, &recordings) {
                            Ok(quality) => sample.quality = Some(quality),
                            Err(error) => news(&News::Note(error.to_string())),
                        }
                    }
                    sample
                }
                // One server that doesn't start is no reason to lose the others' figures.
                Err(error) => {
                    news(&News::Failed(&case, &error));
                    if done == 0 && all == 1 {
                        return Err(error);
                    }
                    continue;
                }
            };
            let each = begin.elapsed() / (done + 1) as u32;
            news(&News::Measured(&measured, each * (all - done - 1) as u32));
            results.samples.push(measured);
            save(&config, &results)?;
        }
        Ok(())
    };
    tokio::select! {
        outcome = work => outcome?,
        () = stop => {}
    }
    Ok(results)
}

/// The voices, over the noise of each case.
fn speeches(config: &BenchConfig, folder: &Path) -> Result<Vec<(Noise, Speech)>, BenchError> {
    let mut noises: Vec<Noise> = Vec::new();
    for case in &config.plan.cases {
        if !noises.contains(&case.noise) {
            noises.push(case.noise);
        }
    }
    let speech = |noise: Noise| {
        if config.babble {
            Speech::babble_over(noise)
        } else {
            Speech::prepare(&folder.join("voices"), noise)
        }
    };
    noises.into_iter().map(|noise| Ok((noise, speech(noise)?))).collect()
}

fn check(config: &BenchConfig) -> Result<(), BenchError> {
    let wrong = |why: String| Err(BenchError::Config(why));
    let plan = &config.plan;
    if plan.cases.is_empty() || plan.repeats == 0 {
        return wrong("nothing to measure".into());
    }
    if plan.cases.iter().any(|case| case.everybody() == 0) {
        return wrong("a room with nobody in it: --n and --rooms take 1 or more".into());
    }
    let by_other_ways = |case: &Case| case.way != Way::default();
    if plan
        .cases
        .iter()
        .any(|case| by_other_ways(case) && case.system.is_janus())
    {
        return wrong("Janus is measured by UDP only: --way goes without --against".into());
    }
    if plan.cases.iter().any(|case| case.way.is_turn()) && plan.time > TURN_LIFETIME {
        return wrong(format!(
            "permissions of a TURN server last five minutes, and nobody renews them here: --seconds takes {} at most with it",
            TURN_LIFETIME.as_secs()
        ));
    }
    if matches!(config.target, Target::Running { .. }) && plan.cases.iter().any(|case| case.way.is_tls()) {
        return wrong(
            "TURN over TLS is measured only on a server that the bench starts itself: leave --server out".into(),
        );
    }
    let without_feeds = |case: &Case| case.system == System::VideoRoom && case.is_idle();
    if plan.cases.iter().any(without_feeds) {
        return wrong(
            "Janus's VideoRoom takes no listener where nobody talks: --talkers takes 1 or more with it".into(),
        );
    }
    if matches!(config.target, Target::Own) && !config.repository.join("mix.exs").exists() {
        return wrong(format!(
            "no mix.exs in {}: run this in Roomtone's folder, or say where that is with --repository",
            config.repository.display()
        ));
    }
    // Sockets are shared on this machine; what remains is a connection for each join under way, and one for each elsewhere.
    let most = plan.cases.iter().map(Case::everybody).max().unwrap_or(0) as u64 + 256;
    match rlimit::increase_nofile_limit(most) {
        Ok(limit) if limit < most.min(1024) => wrong(format!(
            "{most} open files may be needed, and this system gives {limit}: raise it with `ulimit -n {most}`"
        )),
        _ => Ok(()),
    }
}

/// In turn: all cases once, then all once more.
fn todo(plan: &Plan, results: &Results) -> Vec<(Case, usize)> {
    let is_open = |case: &Case, repeat: usize| {
        let done = |sample: &Sample| sample.case == *case && sample.repeat == repeat;
        !results.samples.iter().any(done)
    };
    let rounds = (0..plan.repeats).flat_map(|repeat| plan.cases.iter().map(move |case| (case, repeat)));
    rounds
        .filter(|(case, repeat)| *repeat < case.most_repeats && is_open(case, *repeat))
        .map(|(case, repeat)| (case.clone(), repeat))
        .collect()
}

fn earlier(config: &BenchConfig) -> Result<Results, BenchError> {
    let Some(path) = config.keep.as_ref().filter(|path| config.resume && path.exists()) else {
        return Ok(Results::default());
    };
    let failed = |why: String| BenchError::Results {
        path: path.display().to_string(),
        why,
    };
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    let results: Results =
        serde_json::from_str(&text).map_err(|error| failed(format!("these are no results: {error}")))?;
    if results.seconds != config.plan.time.as_secs_f64() {
        return Err(failed(format!(
            "these are of {} s each, not of {} s: leave --resume out, or take the same --seconds",
            results.seconds,
            config.plan.time.as_secs_f64()
        )));
    }
    Ok(results)
}

/// Whole or not at all: an interruption doesn't spoil what there was.
fn save(config: &BenchConfig, results: &Results) -> Result<(), BenchError> {
    let Some(path) = &config.keep else { return Ok(()) };
    let failed = |why: String| BenchError::Results {
        path: path.display().to_string(),
        why,
    };
    let text = serde_json::to_string(results).map_err(|error| failed(error.to_string()))?;
    let unfinished = path.with_extension("part");
    std::fs::write(&unfinished, text)
        .and_then(|()| std::fs::rename(&unfinished, path))
        .map_err(|error| failed(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cases_take_turns_and_what_is_done_is_not_done_again() {
        let mix = System::Roomtone(Kind::Mix);
        let once = Case {
            most_repeats: 1,
            ..Case::room(mix, 1000, 3)
        };
        let plan = Plan {
            cases: vec![Case::room(mix, 10, 3), once],
            repeats: 2,
            time: Duration::from_secs(1),
        };
        let mut results = Results::default();
        let sizes = |results: &Results| -> Vec<(usize, usize)> {
            todo(&plan, results)
                .iter()
                .map(|(case, repeat)| (case.people, *repeat))
                .collect()
        };
        assert_eq!(sizes(&results), [(10, 0), (1000, 0), (10, 1)]);
        results.samples.push(result::tests::sample(mix, 10, 3, 0.1));
        assert_eq!(sizes(&results), [(1000, 0), (10, 1)]);
    }

    #[test]
    fn says_what_makes_no_sense() {
        let config = BenchConfig {
            repository: "/nowhere".into(),
            ..BenchConfig::default()
        };
        assert!(check(&config).unwrap_err().to_string().contains("mix.exs"));
        let mut config = BenchConfig::default();
        config.plan.cases = vec![Case::room(System::VideoRoom, 3, 0)];
        assert!(check(&config).unwrap_err().to_string().contains("--talkers"));
    }
}
