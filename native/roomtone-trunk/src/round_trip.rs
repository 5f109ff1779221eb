//! The time to the other end and back, by its reports.
//!
//! A report leaves at once for the datagram that has the highest counter until then, so the time from that datagram to its report is a
//! round trip.

use std::time::{Duration, Instant};

/// So many datagrams' times are kept: a second of a busy trunk.
const KEPT: usize = 256;

/// The round trip, and how much it varies, as TCP has them (RFC 6298, section 2), but for the first measurement: the deviation begins at 0
/// instead of half of it, which would be told as jitter for seconds. It is no part of a timer.
#[derive(Default)]
pub(crate) struct RoundTrip {
    /// The counters of the last datagrams, and when they left.
    sent: Vec<(u64, Instant)>,
    reported: Option<u64>,
    smoothed: Option<Duration>,
    deviation: Duration,
}

impl RoundTrip {
    pub(crate) fn new() -> RoundTrip {
        RoundTrip {
            sent: Vec::with_capacity(KEPT),
            ..RoundTrip::default()
        }
    }

    /// A datagram leaves. Counters go up by one each time.
    pub(crate) fn sent(&mut self, now: Instant, counter: u64) {
        let entry = (counter, now);
        match self.sent.get_mut(Self::place(counter)) {
            Some(kept) => *kept = entry,
            None => self.sent.push(entry),
        }
    }

    /// The other end tells the highest counter that came.
    pub(crate) fn reported(&mut self, now: Instant, highest: u64) {
        // One that comes late tells of the same datagram again.
        if self.reported.is_some_and(|reported| highest <= reported) {
            return;
        }
        let sent = self.sent.get(Self::place(highest));
        if let Some((_, left)) = sent.filter(|(counter, _)| *counter == highest) {
            self.reported = Some(highest);
            self.measured(now.saturating_duration_since(*left));
        }
    }

    /// Counters begin anew.
    pub(crate) fn restart(&mut self) {
        self.sent.clear();
        self.reported = None;
    }

    /// `None` before the first report.
    pub(crate) fn smoothed(&self) -> Option<Duration> {
        self.smoothed
    }

    /// The mean deviation.
    pub(crate) fn deviation(&self) -> Option<Duration> {
        self.smoothed.map(|_| self.deviation)
    }

    fn measured(&mut self, took: Duration) {
        let Some(smoothed) = self.smoothed else {
            self.smoothed = Some(took);
            return;
        };
        self.deviation = (self.deviation * 3 + smoothed.abs_diff(took)) / 4;
        self.smoothed = Some((smoothed * 7 + took) / 8);
    }

    fn place(counter: u64) -> usize {
        (counter % KEPT as u64) as usize
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_steady_round_trip_is_told_as_it_is_and_does_not_vary() {
        let (mut now, mut trip) = (Instant::now(), RoundTrip::new());
        assert_eq!((trip.smoothed(), trip.deviation()), (None, None));
        for counter in 0..1_000 {
            trip.sent(now, counter);
            if counter % 50 == 0 {
                trip.reported(now + 40 * MS, counter);
            }
            now += 20 * MS;
        }
        assert_eq!(trip.smoothed(), Some(40 * MS));
        assert_eq!(trip.deviation(), Some(Duration::ZERO));
    }

    #[test]
    fn a_round_trip_that_varies_is_told_by_its_mean_and_mean_deviation() {
        let (mut now, mut trip) = (Instant::now(), RoundTrip::new());
        for counter in 0..500u32 {
            trip.sent(now, counter.into());
            trip.reported(now + if counter % 2 == 0 { 30 * MS } else { 50 * MS }, counter.into());
            now += 100 * MS;
        }
        let (mean, deviation) = (trip.smoothed().unwrap(), trip.deviation().unwrap());
        assert!((38 * MS..42 * MS).contains(&mean), "{mean:?}");
        assert!((8 * MS..12 * MS).contains(&deviation), "{deviation:?}");
    }

    #[test]
    fn reports_that_are_late_of_another_key_or_of_long_ago_tell_nothing() {
        let (now, mut trip) = (Instant::now(), RoundTrip::new());
        for counter in 0..300 {
            trip.sent(now, counter);
        }
        trip.reported(now + MS, 10);
        assert_eq!(trip.smoothed(), None, "its time isn't kept any more");
        trip.reported(now + MS, 299);
        trip.reported(now + 90 * MS, 299);
        trip.reported(now + 90 * MS, 200);
        assert_eq!((trip.smoothed(), trip.deviation()), (Some(MS), Some(Duration::ZERO)));
        trip.restart();
        trip.reported(now + 90 * MS, 299);
        trip.sent(now + 90 * MS, 0);
        trip.reported(now + 91 * MS, 0);
        assert_eq!((trip.smoothed(), trip.deviation()), (Some(MS), Some(Duration::ZERO)));
    }
}
