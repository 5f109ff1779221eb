//! The packets of the peer that are missing, and may be asked for once more (NACK, RFC 4585).
//!
//! That pays where the round trip is short. A peer that we send nothing to reports none, so it is
//! measured by the answers, too: while it isn't known, one packet is asked for now and then. The
//! answer looks like the packet itself. So a packet that others have only overtaken would make the
//! round trip too short, and the one that measures it is asked for late, when no such packet is to
//! be expected any more. Where packets overtake each other, the others are asked for later, too.

use std::time::{Duration, Instant};

/// The longest round trip for which it pays: a listener waits for it, and a little longer.
const MAX_ROUND_TRIP: Duration = Duration::from_millis(60);
/// More in a row are a pause, a jump or a connection that is gone.
const MAX_IN_A_ROW: u16 = 8;
/// The most that are asked for at a time.
const MAX_MISSING: usize = 16;
/// An answer takes this much longer than the round trip at the most.
const SLACK: Duration = Duration::from_millis(15);
/// One packet is asked for so often.
const MAX_TIMES: u8 = 2;
/// The time between two attempts to measure the round trip: while it isn't known, and once it was
/// too long.
const TRY_INTERVAL: Duration = Duration::from_millis(500);
const TRY_AGAIN: Duration = Duration::from_secs(10);
/// The packet that measures the round trip is asked for so long after it was missed.
const OVERTAKEN_AT_MOST: Duration = Duration::from_millis(100);
/// The others are asked for this much later at the most, since the listener waits for them.
const MAX_PATIENCE: Duration = Duration::from_millis(40);
/// For so long after a packet that was overtaken, more of them are expected.
const PATIENCE_LASTS: Duration = Duration::from_secs(10);
/// So many packets are asked for in a second; a peer that loses more than that needs other means.
const MAX_PER_SECOND: u32 = 50;

#[derive(Clone, Copy)]
struct Wanted {
    sequence: u16,
    /// When it was missed.
    missed: Instant,
    asked: Option<Instant>,
    times: u8,
    /// Whether it was asked for late enough for its answer to tell the round trip.
    measures: bool,
}

/// The missing packets of one stream.
#[derive(Default)]
pub(super) struct Missing {
    ssrc: u32,
    newest: Option<u16>,
    wanted: [Option<Wanted>; MAX_MISSING],
    /// Packets asked for in the present second.
    asked: u32,
    since: Option<Instant>,
    /// The round trip, by the time that an answer took.
    measured: Option<Duration>,
    /// The next attempt to measure it.
    next_try: Option<Instant>,
    /// The round trip as it was known last.
    known: Option<Duration>,
    /// How late the packets come that others overtake, and until when that is expected.
    patience: Duration,
    patience_ends: Option<Instant>,
}

impl Missing {
    /// An authentic packet came. `restored`: whether the packet so many before it was in it.
    pub(super) fn came(&mut self, now: Instant, ssrc: u32, sequence: u16, restored: impl Fn(u16) -> bool) {
        if self.ssrc != ssrc {
            self.ssrc = ssrc;
            self.newest = None;
            self.wanted = Default::default();
        }
        let answered = self.wanted.iter().flatten().find(|wanted| wanted.sequence == sequence);
        if let Some(wanted) = answered.copied() {
            self.learn(now, &wanted);
        }
        let Some(newest) = self.newest else {
            self.newest = Some(sequence);
            return;
        };
        let step = sequence.wrapping_sub(newest);
        if step >= 0x8000 {
            self.forget(|wanted| wanted.sequence == sequence);
            return;
        }
        self.newest = Some(sequence);
        // A packet that is still missing from before may be in it, too.
        self.forget(|wanted| {
            let back = sequence.wrapping_sub(wanted.sequence);
            restored(back) || back > 50
        });
        if step > MAX_IN_A_ROW + 1 {
            return;
        }
        for back in (1..step).rev().filter(|back| !restored(*back)) {
            if let Some(free) = self.wanted.iter_mut().find(|place| place.is_none()) {
                *free = Some(Wanted {
                    sequence: sequence.wrapping_sub(back),
                    missed: now,
                    asked: None,
                    times: 0,
                    measures: false,
                });
            }
        }
    }

    /// A packet came that was missing: the answer to a request, or one that others had overtaken.
    fn learn(&mut self, now: Instant, wanted: &Wanted) {
        let took = wanted.asked.map(|at| now.saturating_duration_since(at));
        let is_answer = |took: &Duration| wanted.measures || self.known.is_some_and(|known| *took >= known / 2);
        match took.filter(is_answer) {
            // A packet that was overtaken makes it shorter, never longer.
            Some(took) if wanted.times == 1 && (wanted.measures || self.measured < Some(took)) => {
                self.measured = Some(took);
            }
            Some(_) => {}
            None => {
                let late = now.saturating_duration_since(wanted.missed);
                self.patience = self.patience(now).max(late).min(MAX_PATIENCE);
                self.patience_ends = Some(now + PATIENCE_LASTS);
            }
        }
    }

    /// How long a packet may be missing before it is asked for.
    fn patience(&self, now: Instant) -> Duration {
        match self.patience_ends {
            Some(end) if now < end => self.patience,
            _ => Duration::ZERO,
        }
    }

    fn forget(&mut self, is_over: impl Fn(&Wanted) -> bool) {
        for place in &mut self.wanted {
            if place.as_ref().is_some_and(&is_over) {
                *place = None;
            }
        }
    }

    /// The packets to ask for now: those of which an answer isn't under way. `reported`: the round
    /// trip by RTCP.
    pub(super) fn ask(
        &mut self,
        now: Instant,
        reported: Option<Duration>,
    ) -> Option<(u32, impl Iterator<Item = u16> + use<>)> {
        let known = reported.or(self.measured);
        self.known = known;
        let pays = known.is_some_and(|known| known <= MAX_ROUND_TRIP);
        if pays {
            self.next_try.get_or_insert(now + TRY_INTERVAL);
        }
        // One packet is asked for late now and then, to tell answers from packets that were overtaken.
        let mut may_measure = (pays || reported.is_none()) && self.next_try.is_none_or(|at| now >= at);
        if self.since.is_none_or(|since| now >= since + Duration::from_secs(1)) {
            self.since = Some(now);
            self.asked = 0;
        }
        let patience = self.patience(now);
        let mut lost = [None; MAX_MISSING];
        for (place, lost) in self.wanted.iter_mut().zip(&mut lost) {
            let Some(wanted) = place else { continue };
            let missing_for = now.saturating_duration_since(wanted.missed);
            let measures = wanted.asked.is_none() && std::mem::take(&mut may_measure);
            let waits = match wanted.asked {
                // One that measures is given all the time that it may need.
                Some(at) => now < at + known.filter(|_| pays && !wanted.measures).unwrap_or(TRY_AGAIN) + SLACK,
                None if measures => missing_for < OVERTAKEN_AT_MOST,
                None => pays && missing_for < patience,
            };
            if waits {
                continue;
            }
            // One that nobody asks for in time is given up.
            if wanted.times == MAX_TIMES || self.asked >= MAX_PER_SECOND || !(pays || measures) {
                *place = None;
                continue;
            }
            if measures {
                let wait = if known.is_some() { TRY_AGAIN } else { TRY_INTERVAL };
                self.next_try = Some(now + wait);
            }
            self.asked += 1;
            wanted.asked = Some(now);
            wanted.times += 1;
            wanted.measures = measures;
            *lost = Some(wanted.sequence);
        }
        let any = lost.iter().any(Option::is_some);
        any.then_some((self.ssrc, lost.into_iter().flatten()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[allow(clippy::disallowed_methods)] // a virtual clock has to start somewhere
    fn origin() -> Instant {
        Instant::now()
    }

    fn ask(missing: &mut Missing, now: Instant) -> Vec<u16> {
        missing
            .ask(now, Some(30 * MS))
            .map_or(Vec::new(), |(_, lost)| lost.collect())
    }

    #[test]
    fn a_missing_packet_is_asked_for_twice_and_no_more_once_it_came() {
        let (start, mut missing) = (origin(), Missing::default());
        missing.came(start, 7, 65_534, |_| false);
        missing.came(start, 7, 2, |back| back == 3);
        assert_eq!(ask(&mut missing, start), [0, 1], "65,535 was in it");
        assert!(ask(&mut missing, start + 40 * MS).is_empty(), "an answer is under way");
        missing.came(start + 45 * MS, 7, 0, |_| false);
        missing.came(start + 45 * MS, 7, 3, |_| false);
        assert_eq!(ask(&mut missing, start + 50 * MS), [1]);
        assert!(ask(&mut missing, start + 100 * MS).is_empty());
        assert!(ask(&mut missing, start + 200 * MS).is_empty(), "twice is enough");
    }

    #[test]
    fn pauses_jumps_and_other_streams_are_not_asked_for() {
        let (start, mut missing) = (origin(), Missing::default());
        missing.came(start, 7, 10, |_| false);
        missing.came(start, 7, 40, |_| false);
        assert!(ask(&mut missing, start).is_empty(), "too many in a row");
        missing.came(start, 7, 42, |_| false);
        missing.came(start, 8, 50, |_| false);
        assert!(
            ask(&mut missing, start).is_empty(),
            "of another stream nothing is known"
        );
    }

    #[test]
    fn a_peer_whose_numbers_have_endless_gaps_is_asked_little() {
        let (start, mut missing) = (origin(), Missing::default());
        let mut asked = 0;
        for n in 0..10_000u32 {
            missing.came(start, 7, (n * 7) as u16, |_| false);
            asked += ask(&mut missing, start + MS * n / 10).len();
        }
        assert!(asked <= 2 * MAX_PER_SECOND as usize, "{asked} in a second");
    }

    #[test]
    fn a_round_trip_that_nobody_reports_is_measured_and_a_long_one_is_left_alone() {
        for (takes, pays) in [(40, true), (140, false)] {
            let (start, mut missing) = (origin(), Missing::default());
            let (mut asked, mut answers) = (0, Vec::<(Instant, u16)>::new());
            // A tenth is lost; all that is asked for comes.
            for n in 0..1_000u16 {
                let now = start + 20 * MS * u32::from(n);
                answers.retain(|(at, sequence)| {
                    if *at <= now {
                        missing.came(*at, 7, *sequence, |_| false);
                    }
                    *at > now
                });
                if n % 10 == 5 {
                    continue;
                }
                missing.came(now, 7, n, |_| false);
                let lost: Vec<u16> = missing.ask(now, None).map_or(Vec::new(), |(_, lost)| lost.collect());
                asked += lost.len();
                answers.extend(lost.into_iter().map(|sequence| (now + MS * takes, sequence)));
            }
            assert!(if pays { asked > 90 } else { asked <= 5 }, "{takes} ms: {asked}");
        }
    }

    /// Packets of which every `overtaken`th is overtaken by two others, and every `lost`th is lost: how many were asked for in a minute
    /// that had come by themselves, and how many of the others.
    fn asked_for(round_trip: Duration, overtaken: u32, lost: u32, reported: Option<Duration>) -> (usize, usize) {
        let (start, mut missing) = (origin(), Missing::default());
        let is_lost = |n: u32| n % lost == lost / 2;
        let mut arrivals: Vec<(Instant, u16)> = (0..3_000u32)
            .filter(|n| !is_lost(*n))
            .map(|n| {
                let late = if n % overtaken == 1 { 45 * MS } else { Duration::ZERO };
                (start + 20 * MS * n + late, n as u16)
            })
            .collect();
        let (mut useless, mut useful) = (0, 0);
        while let Some(at) = (0..arrivals.len()).min_by_key(|at| arrivals[*at].0) {
            let (now, sequence) = arrivals.swap_remove(at);
            missing.came(now, 7, sequence, |_| false);
            for asked in missing.ask(now, reported).into_iter().flat_map(|(_, lost)| lost) {
                let lost = is_lost(u32::from(asked));
                useful += usize::from(lost);
                useless += usize::from(!lost);
                arrivals.push((now + round_trip, asked));
            }
        }
        (useless, useful)
    }

    #[test]
    fn packets_that_others_overtake_are_not_taken_for_answers() {
        // Nothing is lost, and each tenth packet comes 25 ms after it was missed.
        let (useless, _) = asked_for(200 * MS, 10, u32::MAX, None);
        assert_eq!(useless, 0, "a round trip that isn't known pays for nothing");
        let (useless, _) = asked_for(30 * MS, 10, u32::MAX, Some(30 * MS));
        assert!(useless <= 14, "at the beginning, and when 10 s are over: {useless}");
        // Some are lost, too.
        let (useless, useful) = asked_for(200 * MS, 10, 50, None);
        assert!(
            useless <= 3 && useful <= 10,
            "{useless} {useful}: the round trip is too long"
        );
        let (useless, useful) = asked_for(30 * MS, 10, 50, None);
        assert!(useless <= 14, "{useless}");
        assert!(useful >= 55, "of 60 lost packets {useful} are asked for");
    }
}
