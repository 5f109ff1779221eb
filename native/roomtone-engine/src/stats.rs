//! Counters and histograms of a shard.

use std::net::SocketAddr;
use std::time::Duration;

use roomtone_audio::FrameKind;
use roomtone_trunk::TrunkId;
use serde::{Serialize, Serializer};

use crate::command::RoomId;

/// A histogram of durations: buckets of a factor of √2 from 1 µs to about a second, the last one open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Histogram {
    #[serde(serialize_with = "slice")]
    counts: [u64; Histogram::BUCKETS],
    max_us: u64,
    sum_us: u64,
}

// Serde has no implementation for arrays of more than 32 elements.
fn slice<S: Serializer>(counts: &[u64], serializer: S) -> Result<S::Ok, S::Error> {
    counts.serialize(serializer)
}

impl Default for Histogram {
    fn default() -> Self {
        Histogram {
            counts: [0; Histogram::BUCKETS],
            max_us: 0,
            sum_us: 0,
        }
    }
}

impl Histogram {
    const BUCKETS: usize = 40;

    /// Counts one duration.
    pub fn record(&mut self, value: Duration) {
        let us = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        self.max_us = self.max_us.max(us);
        self.sum_us = self.sum_us.saturating_add(us);
        self.counts[Self::bucket(us)] += 1;
    }

    // Two buckets an octave: the place of the highest bit, and whether the next one is set.
    fn bucket(us: u64) -> usize {
        if us < 2 {
            return 0;
        }
        let octave = us.ilog2() as usize;
        let half = ((us >> (octave - 1)) & 1) as usize;
        (octave * 2 + half - 1).min(Self::BUCKETS - 1)
    }

    // The first value past the bucket, in microseconds.
    fn upper_edge(bucket: usize) -> u64 {
        let base = 1u64 << bucket.div_ceil(2);
        if bucket % 2 == 1 { base + base / 2 } else { base * 2 }
    }

    /// The buckets that aren't empty: the first value past each, in microseconds, and how many durations are in it. Two
    /// readings, one taken from the other, tell of the time between them.
    pub fn buckets(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let counts = self.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        counts.map(|(bucket, count)| (Self::upper_edge(bucket), *count))
    }

    /// All durations counted, added up.
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_us)
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The largest duration counted.
    pub fn max(&self) -> Duration {
        Duration::from_micros(self.max_us)
    }

    /// An upper bound of the `q` quantile (0…1), to the precision of the buckets; zero if nothing was counted.
    pub fn quantile(&self, q: f64) -> Duration {
        let total = self.count();
        if total == 0 {
            return Duration::ZERO;
        }
        let rank = (q.clamp(0.0, 1.0) * total as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            // The last bucket has no upper edge.
            if seen >= rank && bucket + 1 < Self::BUCKETS {
                return Duration::from_micros(Self::upper_edge(bucket).min(self.max_us));
            }
        }
        self.max()
    }
}

/// A shard's counters since its epoch began, and its present state.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ShardStats {
    /// The shard's epoch.
    pub epoch: u64,
    /// Rooms open.
    pub rooms: u64,
    /// Participants, connected or on the way to it.
    pub peers: u64,
    /// Datagrams in.
    pub datagrams_in: u64,
    /// Their bytes, without UDP and IP headers.
    pub bytes_in: u64,
    /// Datagrams out.
    pub datagrams_out: u64,
    /// Their bytes, without UDP and IP headers.
    pub bytes_out: u64,
    /// Datagrams that belonged to nobody.
    pub datagrams_unknown: u64,
    /// Datagrams that came by trunks, from other media nodes.
    pub trunk_datagrams_in: u64,
    /// Their bytes, without UDP and IP headers.
    pub trunk_bytes_in: u64,
    /// Datagrams that should have come by trunks, and didn't. One that is only overtaken may count.
    pub trunk_datagrams_lost: u64,
    /// Datagrams that left by trunks.
    pub trunk_datagrams_out: u64,
    /// Their bytes, without UDP and IP headers.
    pub trunk_bytes_out: u64,
    /// Datagrams that claimed to come by a trunk and were refused: forged, repeated, of an unknown trunk or key.
    pub trunk_datagrams_refused: u64,
    /// Packets that didn't leave by a trunk, because nobody beyond it may hear their talker.
    pub trunk_packets_unheard: u64,
    /// Packets that didn't leave by a trunk, because no datagram has room for them.
    pub trunk_packets_oversized: u64,
    /// Trunks that are open.
    pub trunks_open: u64,
    /// Those of them with the lowest numbers of rooms, [`TrunkStats::MOST`] at most.
    pub trunks: Vec<TrunkStats>,
    /// Datagrams that the system didn't take (full socket buffer or no route).
    pub send_failures: u64,
    /// Room ticks run.
    pub ticks: u64,
    /// Room ticks that were left out, because the shard was too late for them: 20 ms of sound each.
    pub ticks_skipped: u64,
    /// Frames decoded (or concealed by the decoder).
    pub frames_decoded: u64,
    /// Of these, frames of talkers with an automatic gain.
    pub frames_evened: u64,
    /// Of these, frames of talkers whose noise is suppressed.
    pub frames_suppressed: u64,
    /// Talkers' frames of 20 ms whose time came, heard or not; rooms that forward have none.
    pub frames_played: u64,
    /// Of these, frames recovered from the next packet's copy (in-band FEC).
    pub frames_recovered: u64,
    /// Of these, frames whose packet was lost or late, and which no copy replaced.
    pub frames_missing: u64,
    /// Of these, frames that somebody heard and that were therefore concealed.
    pub frames_concealed: u64,
    /// Opus frames encoded.
    pub frames_encoded: u64,
    /// Of these, frames of a mix with one listener.
    pub frames_encoded_private: u64,
    /// Audio packets sent, each counted by itself where several went out as one (`a=ptime`).
    pub packets_sent: u64,
    /// Of these, in rooms that mix: talkers' packets that were passed on as they came, because their listener hears nobody else.
    pub packets_passed: u64,
    /// Listeners' changes between talkers' packets and mixes, either way.
    pub mode_changes: u64,
    /// Packets that weren't forwarded, because their talker sent more than sound needs.
    pub packets_refused: u64,
    /// Packets that weren't forwarded, because they hold more than 1,200 bytes of Opus.
    pub packets_oversized: u64,
    /// How much is given up for lack of time: 0 nothing, 1 and 2 Opus complexity, 3 all but the loudest talkers, 4 newcomers too.
    pub shed_level: u64,
    /// How many times something was given up.
    pub shed_steps: u64,
    /// The share of the last second in which the shard worked, 0…1.
    pub load: f32,
    /// Events that could not be handed on because nobody took them.
    pub events_dropped: u64,
    /// Commands that wait in the shard's queue.
    pub commands_waiting: u64,
    /// The delay in the jitter buffer of each frame that was played.
    pub buffer_delay: Histogram,
    /// How late ticks began.
    pub tick_lateness: Histogram,
    /// How long the ticks of 20 ms took together, with the sending of what they made.
    pub tick_duration: Histogram,
}

/// The figures of one end of a trunk since it was opened.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TrunkStats {
    /// The number that this shard gave it.
    pub trunk: TrunkId,
    /// Its room, by the number that this shard knows.
    pub room: RoomId,
    /// The address of the shard at the other end.
    pub to: SocketAddr,
    /// Datagrams that came.
    pub datagrams_in: u64,
    /// Their bytes, without UDP and IP headers.
    pub bytes_in: u64,
    /// Datagrams that should have come, and didn't. One that is only overtaken may count.
    pub lost_in: u64,
    /// Datagrams that left.
    pub datagrams_out: u64,
    /// Their bytes, without UDP and IP headers.
    pub bytes_out: u64,
    /// Whether each frame is sent twice, because the other end lost some.
    pub repeats: bool,
    /// The time to the other end and back by the reports of the last seconds in which anything went there, smoothed; `None` before the
    /// first.
    pub round_trip: Option<Duration>,
    /// The mean deviation of it.
    pub jitter: Option<Duration>,
}

impl TrunkStats {
    /// Trunks of a shard that are told of at once.
    pub const MOST: usize = 64;
}

impl ShardStats {
    /// Counts a talker's frame whose time came, after `delay` in the jitter buffer. `heard`: it was taken for a mix.
    pub(crate) fn count_frame(&mut self, kind: FrameKind, delay: Duration, heard: bool) {
        if !kind.is_sound() {
            return;
        }
        self.frames_played += 1;
        self.buffer_delay.record(delay);
        match kind {
            FrameKind::Fec => self.frames_recovered += 1,
            FrameKind::Concealed => {
                self.frames_missing += 1;
                self.frames_concealed += u64::from(heard);
            }
            FrameKind::Decoded | FrameKind::Silence => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_below_the_upper_edge_of_its_bucket_and_not_of_the_one_before() {
        for us in (0..4096).chain([10_000, 20_000, 65_000, 90_000, 1_000_000]) {
            let bucket = Histogram::bucket(us);
            assert!(us < Histogram::upper_edge(bucket), "{us} in {bucket}");
            assert!(
                bucket == 0 || us >= Histogram::upper_edge(bucket - 1),
                "{us} in {bucket}"
            );
        }
    }

    #[test]
    fn quantiles_bound_the_values() {
        let mut histogram = Histogram::default();
        for us in 1..=1000 {
            histogram.record(Duration::from_micros(us));
        }
        let median = histogram.quantile(0.5).as_micros();
        assert!((500..=768).contains(&median), "{median}");
        assert_eq!(histogram.quantile(1.0), Duration::from_micros(1000));
        assert_eq!(histogram.buckets().next(), Some((2, 1)));
        assert_eq!(histogram.buckets().map(|bucket| bucket.1).sum::<u64>(), 1000);
        assert_eq!(histogram.count(), 1000);
        assert_eq!(histogram.sum(), Duration::from_micros(500_500));
    }

    #[test]
    fn frames_are_counted_by_what_became_of_them() {
        let (mut stats, delay) = (ShardStats::default(), Duration::from_millis(40));
        stats.count_frame(FrameKind::Silence, delay, true);
        assert_eq!(stats, ShardStats::default());
        stats.count_frame(FrameKind::Decoded, delay, true);
        stats.count_frame(FrameKind::Fec, delay, true);
        stats.count_frame(FrameKind::Concealed, delay, true);
        stats.count_frame(FrameKind::Concealed, delay, false);
        let frames = (stats.frames_played, stats.frames_recovered, stats.frames_missing);
        assert_eq!((frames, stats.frames_concealed), ((4, 1, 2), 1));
        assert_eq!((stats.buffer_delay.count(), stats.buffer_delay.sum()), (4, 4 * delay));
    }

    #[test]
    fn an_empty_histogram_says_zero_and_a_huge_value_is_kept() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile(0.99), Duration::ZERO);
        histogram.record(Duration::from_secs(100));
        assert_eq!(histogram.quantile(0.5), Duration::from_secs(100));
        assert_eq!(histogram.max(), Duration::from_secs(100));
    }
}
