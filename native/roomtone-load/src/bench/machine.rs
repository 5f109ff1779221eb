//! The machine that is measured on, and what else it has to do.

use std::fs;
use std::time::Instant;

use serde::{Deserialize, Serialize};

/// Linux counts CPU time in hundredths of a second.
const TICKS_PER_SECOND: f64 = 100.0;

/// Facts about the machine that a reader of the figures needs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Cores.
    pub cores: usize,
    /// As the kernel names them.
    pub processor: String,
    /// Operating system and kernel.
    pub system: String,
    /// Version of the Janus that was measured, if one was.
    pub janus: Option<String>,
    /// Load average of the last minute when the bench began.
    pub load: f64,
}

impl Machine {
    /// This one, now.
    pub fn this() -> Machine {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let processor = field(&cpuinfo, "model name", ':').unwrap_or("unknown processor");
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let name = field(&release, "PRETTY_NAME", '=')
            .unwrap_or("unknown system")
            .trim_matches('"');
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Machine {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor: processor.to_owned(),
            system: format!("{name}, Linux {}", kernel.trim()),
            janus: None,
            load: load_average().unwrap_or(0.0),
        }
    }
}

fn field<'a>(text: &'a str, key: &str, separator: char) -> Option<&'a str> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(separator)?.1.trim())
}

/// Of the last minute.
pub fn load_average() -> Option<f64> {
    let text = fs::read_to_string("/proc/loadavg").ok()?;
    text.split(' ').next()?.parse().ok()
}

/// CPU time of the whole machine at some moment.
#[derive(Clone, Copy, Debug)]
pub struct Busy {
    at: Instant,
    seconds: f64,
}

impl Busy {
    /// Now; time that a hypervisor gave to other machines counts as busy too, since it wasn't there for us.
    pub fn now() -> Option<Busy> {
        let stat = fs::read_to_string("/proc/stat").ok()?;
        Some(Busy {
            at: Instant::now(),
            seconds: busy_seconds(stat.lines().next()?)?,
        })
    }

    /// Cores that were busy since then, on average.
    pub fn since(&self, before: &Busy) -> f64 {
        let passed = (self.at - before.at).as_secs_f64();
        if passed > 0.0 {
            (self.seconds - before.seconds) / passed
        } else {
            0.0
        }
    }
}

fn busy_seconds(line: &str) -> Option<f64> {
    let fields: Option<Vec<u64>> = line
        .strip_prefix("cpu ")?
        .split_ascii_whitespace()
        .map(|field| field.parse().ok())
        .collect();
    let fields = fields?;
    // user nice system idle iowait irq softirq steal; guests are within user.
    let busy: u64 = fields.iter().take(8).sum::<u64>() - fields.get(3)? - fields.get(4)?;
    Some(busy as f64 / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_proc() {
        assert_eq!(busy_seconds("cpu  100 0 50 1000 5 10 20 20 0 0"), Some(2.0));
        assert_eq!(busy_seconds("cpu0 1 2"), None);
        assert!(Machine::this().cores > 0);
        let before = Busy::now().unwrap();
        assert!(Busy::now().unwrap().since(&before) >= 0.0);
    }
}
