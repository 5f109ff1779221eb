//! The delay that a stream needs, measured from the arrival of its packets.
//!
//! Everything is in samples of 48 kHz. A packet's *offset* is its arrival on our clock minus its
//! timestamp. The smallest offset of the last seconds is the *base*: the network at its fastest. A
//! packet's *lateness* is its arrival beyond what the base allows. The target delay is what all but
//! very few of the last packets would have needed.
//!
//! While packets are lost that a later packet can restore (in-band FEC), the target is larger by the
//! time that this one takes to come: the *reach*.
//!
//! Because base and lateness are measured over the same short window, a drift of the sender's clock, a new route
//! and a restarted clock move the base and need no special case.

use std::collections::VecDeque;

/// Measurements kept: at least 5 s of sound.
const CAPACITY: usize = 256;
/// Measurements kept however old they are, so that the network is remembered across a pause.
const KEPT: usize = 32;
/// The maximum age of other measurements: 5 s.
const MAX_AGE: i64 = 5 * 48_000;
/// One in this many measurements may be later than the target.
const OUTLIER_OF: usize = 80;
/// A stream that is later than any target could cover for this long has a new base: 1 s.
const FAR_LIMIT: i64 = 48_000;
/// So many measurements in a row (0.6 s) without one of the late half are a calm.
const CALM: usize = 30;
/// A calm so many times as long as the longest one before it means that the jitter has ended.
const CALM_TIMES: usize = 4;
/// A spike that came alone is over after so many measurements (0.5 s) without one of the late half.
const SPIKE_CALM: usize = 25;
/// The longest that a spike holds sound back: 0.3 s of it.
const SPIKE: i64 = 14_400;
/// A spike is alone if the one before is this long ago: 3 s. Waiting for the next would cost more
/// delay for longer than the spike lasts.
const SPIKE_ALONE: i64 = 3 * 48_000;
/// Less jitter than this isn't worth forgetting early: 10 ms.
const LITTLE: i64 = 480;
/// Short packets share a measurement.
const SPAN: i64 = 960;
/// Two restorable losses within this time (5 s) are worth waiting for a third; one isn't, and a
/// clean link stays fast.
const LOSS_WINDOW: i64 = 5 * 48_000;
/// The wait ends after this time without a loss: 10 s.
const LOSS_HOLD: i64 = 10 * 48_000;

#[derive(Debug, Clone, Copy)]
struct Measurement {
    arrival: i64,
    ts: i64,
    earliest: i64,
    latest: i64,
    /// Part of a burst after a stall that no target could have covered.
    stalled: bool,
}

/// A lost packet that a later one could restore.
#[derive(Debug, Clone, Copy)]
struct Loss {
    at: i64,
    /// The time from the lost packet to the one that restores it.
    reach: i64,
}

#[derive(Debug)]
pub(super) struct Timing {
    measurements: VecDeque<Measurement>,
    base: i64,
    target: i64,
    min_target: i64,
    max_target: i64,
    last: Option<(i64, i64)>,
    in_burst: bool,
    far_since: Option<i64>,
    /// The end of the last spike that was forgotten.
    spike: Option<i64>,
    /// The last two, the latest second.
    losses: [Option<Loss>; 2],
    /// The time to wait for packets that restore lost ones.
    reach: i64,
    /// The end of that waiting.
    reach_until: i64,
    /// Interarrival jitter as in RFC 3550 A.8, in 1/16 samples.
    jitter_16: i64,
    /// The timestamp grid of the stream: a packet's start and the distance between possible starts.
    phase: i64,
    step: i64,
}

impl Timing {
    pub fn new(min_target: i64, max_target: i64) -> Self {
        Self {
            measurements: VecDeque::new(),
            base: 0,
            target: min_target,
            min_target,
            max_target,
            last: None,
            in_burst: false,
            far_since: None,
            spike: None,
            losses: [None; 2],
            reach: 0,
            reach_until: 0,
            jitter_16: 0,
            phase: 0,
            step: SPAN,
        }
    }

    /// The delay that the stream needs on top of the base.
    pub fn target(&self) -> i64 {
        self.target
    }

    /// Interarrival jitter (RFC 3550 §6.4.1) in samples.
    pub fn jitter(&self) -> i64 {
        self.jitter_16 / 16
    }

    /// Forgets everything: the stream has jumped.
    pub fn restart(&mut self) {
        self.measurements.clear();
        self.last = None;
        self.in_burst = false;
        self.far_since = None;
        self.spike = None;
        self.target = self.min_target;
    }

    /// Notes at `at` that a packet was lost which the packet `reach` samples later restores, or
    /// could restore with more delay.
    pub fn restorable_loss(&mut self, at: i64, reach: i64) {
        let mut reach = reach.clamp(0, self.max_target);
        match self.losses[1] {
            // One packet restores several: they are one event.
            Some(same) if same.at == at => reach = reach.max(same.reach),
            _ => self.losses[0] = self.losses[1],
        }
        self.losses[1] = Some(Loss { at, reach });
        let Some(before) = self.losses[0].filter(|before| at - before.at <= LOSS_WINDOW) else {
            return;
        };
        let common = reach.min(before.reach);
        self.reach = if at < self.reach_until {
            self.reach.max(common)
        } else {
            common
        };
        self.reach_until = at + LOSS_HOLD;
        self.update();
    }

    /// The part of the target that waits for packets which restore lost ones.
    pub fn reach(&self) -> i64 {
        self.reach
    }

    /// Measures the arrival of a packet.
    pub fn observe(&mut self, arrival: i64, ts: i64, samples: i64) {
        let offset = arrival - ts;
        if let Some((last_arrival, last_ts)) = self.last {
            let transit_change = (offset - (last_arrival - last_ts)).abs().min(48_000 * 10);
            self.jitter_16 += transit_change - (self.jitter_16 + 8) / 16;
        }
        self.phase = ts;
        self.step = samples.min(SPAN);

        let lateness = offset - self.base;
        if self.measurements.is_empty() {
            self.base = offset;
        } else if lateness > self.max_target {
            self.in_burst = true;
            let since = *self.far_since.get_or_insert(arrival);
            if arrival - since >= FAR_LIMIT {
                self.restart();
                self.base = offset;
            }
        } else {
            self.far_since = None;
            let paced = self.last.is_none_or(|(last, _)| arrival - last >= samples / 2);
            if paced || lateness <= self.min_target {
                self.in_burst = false;
            }
        }
        self.last = Some((arrival, ts));
        if arrival >= self.reach_until {
            self.reach = 0;
        }
        self.record(arrival, ts, offset);
        self.update();
        if self.forget_what_has_ended() {
            self.update();
        }
    }

    /// Jitter that was there all the time and has stopped is over, and so is a spike that came
    /// alone: nothing is left of them after 2 s. Jitter that comes now and then, such as a radio that
    /// is busy each two seconds, stays known for as long as it is in the window. Whether something
    /// was forgotten.
    fn forget_what_has_ended(&mut self) -> bool {
        let half = self.target / 2;
        let jitter = self.target - self.reach - self.min_target;
        if jitter <= 0 || self.measurements.len() < 2 * CALM {
            return false;
        }
        let base = self.base;
        let is_late = |m: &Measurement| m.stalled || m.latest - base > half;
        let calm = self.measurements.iter().rev().take_while(|m| !is_late(m)).count();
        if calm < SPIKE_CALM || calm == self.measurements.len() {
            return false;
        }
        let before = self.measurements.len() - calm;
        if let Some(end) = self.lone_spike(before, is_late) {
            self.spike = Some(end);
            // The last of what was held back came with it, hardly late any more.
            let rest = self.measurements.iter().skip(before);
            let rest = rest.take_while(|m| m.arrival - end < SPAN).count();
            self.measurements.drain(..before + rest);
            return true;
        }
        if calm < CALM || jitter < LITTLE {
            return false;
        }
        let (mut run, mut longest) = (0, 0);
        for measurement in self.measurements.iter().take(before) {
            run = if is_late(measurement) { 0 } else { run + 1 };
            longest = longest.max(run);
        }
        let ended = calm >= CALM_TIMES * longest;
        if ended {
            self.measurements.drain(..before);
        }
        ended
    }

    /// When the spike ended that is the only jitter among the first measurements, if the one before
    /// it is long ago.
    fn lone_spike(&self, count: usize, is_late: impl Fn(&Measurement) -> bool) -> Option<i64> {
        let mut late = self.measurements.iter().take(count).filter(|m| is_late(m));
        let first = late.next()?;
        let last = late.next_back().unwrap_or(first);
        let alone = self.spike.is_none_or(|before| first.arrival - before >= SPIKE_ALONE);
        (alone && last.ts - first.ts <= SPIKE).then_some(last.arrival)
    }

    fn record(&mut self, arrival: i64, ts: i64, offset: i64) {
        if let Some(open) = self.measurements.back_mut()
            && (open.ts..open.ts + SPAN).contains(&ts)
            && !open.stalled
            && !self.in_burst
        {
            open.earliest = open.earliest.min(offset);
            open.latest = open.latest.max(offset);
            return;
        }
        while self.measurements.len() >= CAPACITY
            || (self.measurements.len() > KEPT
                && self
                    .measurements
                    .front()
                    .is_some_and(|oldest| arrival - oldest.arrival > MAX_AGE))
        {
            self.measurements.pop_front();
        }
        let stalled = self.in_burst;
        self.measurements.push_back(Measurement {
            arrival,
            ts,
            earliest: offset,
            latest: offset,
            stalled,
        });
    }

    fn update(&mut self) {
        self.base = self.measurements.iter().map(|m| m.earliest).min().unwrap_or(self.base);
        let mut late = [0i64; CAPACITY];
        let mut count = 0;
        for measurement in &self.measurements {
            let lateness = measurement.latest - self.base;
            if !measurement.stalled && lateness <= self.max_target {
                late[count] = lateness;
                count += 1;
            }
        }
        let late = &mut late[..count];
        let needed = match count.checked_sub(1) {
            None => 0,
            Some(last) => *late.select_nth_unstable(last - count / OUTLIER_OF).1,
        };
        let needed = needed.clamp(self.min_target, self.max_target);
        self.target = (needed + self.reach).min(self.max_target.max(needed));
    }

    /// Whether the packet at `ts` is at `now` no later than a target could allow for.
    pub fn is_within_reach(&self, now: i64, ts: i64) -> bool {
        now - self.base - ts - SPAN <= self.max_target
    }

    /// Whether a frame that begins with the packet at `ts` may be played at `now`, with `extra` to
    /// spare. The frame's last packet must have arrived; for packets below 20 ms that isn't the
    /// first.
    pub fn is_due(&self, now: i64, ts: i64, extra: i64) -> bool {
        now - self.base - ts - (SPAN - self.step) >= self.target + extra
    }

    /// The position at which a frame played at `now` should begin: at a packet's start, as late in
    /// the stream as the target (and `extra`) allows.
    pub fn ideal(&self, now: i64, extra: i64) -> i64 {
        let latest = now - self.base - self.target - extra - (SPAN - self.step);
        self.phase + (latest - self.phase).div_euclid(self.step) * self.step
    }
}
