//! Counters of the server itself: how late its ticks were, and how much of the sound it passed on as it came.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Counters of all shards together, since the server's start.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ticks {
    /// Upper edge of each bucket in microseconds, and how many ticks were in it.
    lateness: BTreeMap<u64, u64>,
    /// The most that any shard has given up for lack of time.
    pub shed_level: u64,
    /// All its other whole numbers, by name: the sum of all shards.
    counters: BTreeMap<String, u64>,
}

/// Milliseconds, to the precision of the server's buckets (a factor of √2), rounded up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lateness {
    /// How many ticks there were.
    pub count: u64,
    /// Half of them were no later.
    pub p50: f64,
    /// 99 of 100 were no later.
    pub p99: f64,
    /// None was later.
    pub max: f64,
}

/// The load on a BEAM beside a room, since that began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Burden {
    /// Megabytes of garbage collected in a second.
    pub garbage_mb_s: u64,
    /// Processes that there were.
    pub processes: u64,
    /// Megabytes that processes had.
    pub memory_mb: u64,
    /// Collections of the large heap, and the longest in milliseconds.
    pub collections: (u64, u64),
    /// Times that code was purged.
    pub purges: u64,
}

impl Ticks {
    /// From lines such as `shard 0 shed_level=0 tick_lateness=12:5,16:1`; what it doesn't know it leaves out.
    pub fn read(lines: &[String]) -> Ticks {
        let mut ticks = Ticks::default();
        for (key, value) in lines
            .iter()
            .flat_map(|line| line.split(' '))
            .filter_map(|pair| pair.split_once('='))
        {
            match key {
                "shed_level" => ticks.shed_level = ticks.shed_level.max(value.parse().unwrap_or(0)),
                "tick_lateness" => {
                    for (edge, count) in value.split(',').filter_map(|bucket| bucket.split_once(':')) {
                        if let (Ok(edge), Ok(count)) = (edge.parse(), count.parse::<u64>()) {
                            *ticks.lateness.entry(edge).or_default() += count;
                        }
                    }
                }
                _ => {
                    if let Ok(count) = value.parse::<u64>() {
                        *ticks.counters.entry(key.to_owned()).or_default() += count;
                    }
                }
            }
        }
        ticks
    }

    /// Share of the packets since an earlier reading that were a talker's own, passed on without mixing; `None` if the server doesn't
    /// count them.
    pub fn passed(&self, before: &Ticks) -> Option<f64> {
        let since = |name: &str| -> Option<u64> {
            let count = self.counters.get(name)?;
            Some(count.saturating_sub(*before.counters.get(name).unwrap_or(&0)))
        };
        let passed = since("packets_passed")?;
        let sent = since("packets_sent")?;
        (sent > 0).then(|| passed as f64 / sent as f64)
    }

    /// The load on the BEAM, if the bench makes one.
    pub fn burden(&self) -> Option<Burden> {
        let count = |name: &str| self.counters.get(name).copied();
        Some(Burden {
            garbage_mb_s: count("load_garbage_mb_s")?,
            processes: count("load_processes")?,
            memory_mb: count("load_memory_mb")?,
            collections: (count("load_collections")?, count("load_longest_collection_ms")?),
            purges: count("load_purges")?,
        })
    }

    /// Of the ticks since an earlier reading; `None` if there was none.
    pub fn since(&self, before: &Ticks) -> Option<Lateness> {
        let counts: Vec<(u64, u64)> = self
            .lateness
            .iter()
            .map(|(edge, count)| (*edge, count.saturating_sub(*before.lateness.get(edge).unwrap_or(&0))))
            .filter(|bucket| bucket.1 > 0)
            .collect();
        let count: u64 = counts.iter().map(|bucket| bucket.1).sum();
        let quantile = |q: f64| {
            let rank = (q * count as f64).ceil().max(1.0) as u64;
            let mut seen = 0;
            let bucket = counts.iter().find(|bucket| {
                seen += bucket.1;
                seen >= rank
            });
            bucket.map_or(0.0, |bucket| bucket.0 as f64 / 1000.0)
        };
        (count > 0).then(|| Lateness {
            count,
            p50: quantile(0.5),
            p99: quantile(0.99),
            max: quantile(1.0),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Ticks {
        Ticks::read(&text.lines().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn passed_packets_are_those_between_two_readings() {
        let before = read("shard 0 packets_sent=100 packets_passed=0\nshard 1 packets_sent=0 packets_passed=0");
        let after =
            read("shard 0 packets_sent=200 packets_passed=60\nshard 1 packets_sent=100 packets_passed=90 load=0.5");
        assert_eq!(after.passed(&before), Some(0.75));
        assert_eq!(before.passed(&before), None, "nothing was sent");
        assert_eq!(
            read("shard 0 packets_sent=100").passed(&Ticks::default()),
            None,
            "not counted"
        );
    }

    #[test]
    fn the_load_of_a_beam_is_told_beside_the_shards() {
        let text = "shard 0 rooms=1\nload load_garbage_mb_s=700 load_processes=100412 load_collections=5 \
            load_longest_collection_ms=2100 load_purges=80 load_memory_mb=2400";
        let burden = Burden {
            garbage_mb_s: 700,
            processes: 100_412,
            memory_mb: 2400,
            collections: (5, 2100),
            purges: 80,
        };
        assert_eq!(read(text).burden(), Some(burden));
        assert_eq!(read("shard 0 rooms=1").burden(), None);
    }

    #[test]
    fn lateness_is_of_the_time_between_two_readings() {
        let before = read("shard 0 rooms=1 tick_lateness=8:100,12:1\nshard 1 tick_lateness=");
        let after =
            read("shard 0 rooms=1 shed_level=1 tick_lateness=8:150,12:1\nshard 1 tick_lateness=8:48,12:1,4000:1");
        let late = after.since(&before).unwrap();
        assert_eq!((late.count, late.p50, late.p99, late.max), (100, 0.008, 0.012, 4.0));
        assert_eq!((before.since(&before), after.shed_level), (None, 1));
        assert_eq!(read("shard 0 tick_lateness=x:1,2:y,3").since(&Ticks::default()), None);
    }
}
