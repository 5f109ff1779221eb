//! CPU and memory of a process, from Linux's /proc.

use std::fs;

/// Linux reports CPU time in hundredths of a second to user space, on every architecture.
const TICKS_PER_SECOND: f64 = 100.0;

/// Resources that a process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// utime + stime, in seconds.
    pub cpu_seconds: f64,
    /// Resident memory, in kB.
    pub rss_kb: u64,
}

/// Usage of a process; `None` if there is no such process (or no /proc).
pub fn usage(pid: u32) -> Option<Usage> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(Usage {
        cpu_seconds: cpu_seconds(&stat)?,
        rss_kb: rss_kb(&status)?,
    })
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    // The name in brackets may hold anything, brackets and blanks included.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some((ticks(11)? + ticks(12)?) as f64 / TICKS_PER_SECOND)
}

fn rss_kb(status: &str) -> Option<u64> {
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?
        .trim()
        .split(' ')
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_proc() {
        let stat = "42 (a) b) c) S 1 1 1 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 1 0 9 1 1";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(rss_kb("Name:\tx\nVmRSS:\t    1234 kB\n"), Some(1234));
        assert_eq!(cpu_seconds("nonsense"), None);
        let own = usage(std::process::id()).unwrap();
        assert!(own.rss_kb > 500);
        assert!(usage(u32::MAX).is_none());
    }
}
