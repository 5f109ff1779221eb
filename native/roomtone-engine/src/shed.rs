//! Load shedding: a shard whose thread has too much to do gives something up before it misses a deadline.
//!
//! Two measurements show the load: the work of ticks and how late they begin, round by round of 20 ms (dozens of rooms that begin to talk
//! at once), and the load of a whole second (many small rooms, or a flood).

use std::time::{Duration, Instant};

use roomtone_audio::FRAME_DURATION;

/// Of a second a shard may work this much before it sheds.
const HIGH: f32 = 0.85;
/// Below this it takes something back.
const LOW: f32 = 0.55;
/// The time over which load is averaged.
const SECOND: Duration = Duration::from_secs(1);
/// Of a round the ticks may take this much, or all work together where they are late: a round that took more is a tight one.
const TIGHT: f32 = 0.85;
/// Ticks that begin later than this are about to miss the next.
const LATE: Duration = Duration::from_millis(10);
/// So many more tight rounds than others are no accident: a thread that had to wait for its core once makes one, however long.
const PRESSURE: u32 = 5;
/// The next tick shows the effect of a step. Rounds within this time still work off what had piled up, at most three ticks.
const EFFECT: Duration = Duration::from_millis(200);
/// How long the load must have been low before something is taken back.
const CALM: Duration = Duration::from_secs(5);
/// The longest that it must, after it was taken back too soon over and over.
const LONGEST_CALM: Duration = Duration::from_secs(60);
/// A step that is repeated within this time was taken back too soon.
const RELAPSE: Duration = Duration::from_secs(10);
/// Talkers heard at once in a room, when it has come to that.
const FEW_TALKERS: usize = 3;

/// The work of a shard's thread in one round: 20 ms, or a little more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Round {
    /// How long it was.
    pub lasted: Duration,
    /// How much of it the thread worked.
    pub worked: Duration,
    /// How much of that were ticks, with the sending of what they made.
    pub ticking: Duration,
}

impl Round {
    fn share(&self, part: Duration) -> f32 {
        part.as_secs_f32() / self.lasted.as_secs_f32().max(f32::MIN_POSITIVE)
    }

    // Lateness is the shard's own doing only where it was busy; a thread that isn't given a core is late too.
    fn is_tight(&self, late: Duration) -> bool {
        self.share(self.ticking) >= TIGHT || (late >= LATE && self.share(self.worked) >= TIGHT)
    }

    /// The work of ticks in each 20 ms of it: 20 ms is all of it.
    pub(crate) fn ticking_per_frame(&self) -> Duration {
        FRAME_DURATION.mul_f32(self.share(self.ticking))
    }
}

/// The steps, in the order in which they are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// As configured.
    Nothing,
    /// Opus complexity 5 at most: shared mixes cost less. (Private ones have nothing to give where they have bits instead.)
    Complexity,
    /// Opus complexity 0: CELT alone. And noise isn't suppressed.
    MoreComplexity,
    /// Only the loudest few of a room are heard.
    Talkers,
    /// And nobody new is let in.
    Joins,
}

impl Step {
    fn further(self) -> Step {
        match self {
            Step::Nothing => Step::Complexity,
            Step::Complexity => Step::MoreComplexity,
            Step::MoreComplexity => Step::Talkers,
            Step::Talkers | Step::Joins => Step::Joins,
        }
    }

    fn back(self) -> Step {
        match self {
            Step::Joins => Step::Talkers,
            Step::Talkers => Step::MoreComplexity,
            Step::MoreComplexity => Step::Complexity,
            Step::Complexity | Step::Nothing => Step::Nothing,
        }
    }
}

/// The state of shedding.
#[derive(Debug)]
pub(crate) struct Shed {
    step: Step,
    pressure: u32,
    /// The latest tick since the last round.
    late: Duration,
    gave_up_at: Option<Instant>,
    /// Whether that was for a second's load, which isn't told twice.
    by_second: bool,
    took_back_at: Option<Instant>,
    calm_since: Option<Instant>,
    calm: Duration,
}

impl Default for Shed {
    fn default() -> Self {
        Shed {
            step: Step::Nothing,
            pressure: 0,
            late: Duration::ZERO,
            gave_up_at: None,
            by_second: false,
            took_back_at: None,
            calm_since: None,
            calm: CALM,
        }
    }
}

impl Shed {
    /// At a level, as [`Shed::level`] tells it; one that there isn't is the last one.
    pub(crate) fn at_level(level: u8) -> Shed {
        let steps = (0..level.min(Step::Joins as u8)).fold(Step::Nothing, |step, _| step.further());
        Shed {
            step: steps,
            ..Shed::default()
        }
    }

    /// A tick began this much late.
    pub(crate) fn late(&mut self, late: Duration) {
        self.late = self.late.max(late);
    }

    /// A round is over. True if something was given up.
    pub(crate) fn round(&mut self, now: Instant, round: &Round) -> bool {
        let late = std::mem::take(&mut self.late);
        if within(EFFECT, self.gave_up_at, now) {
            return false;
        }
        if !round.is_tight(late) {
            let rounds = round.lasted.as_millis() / FRAME_DURATION.as_millis();
            self.pressure = self
                .pressure
                .saturating_sub(u32::try_from(rounds.max(1)).unwrap_or(u32::MAX));
            return false;
        }
        self.pressure += 1;
        self.pressure >= PRESSURE && self.give_up(now, false)
    }

    /// Takes the share of the last second in which the shard worked (0…1). True if something has changed.
    pub(crate) fn report(&mut self, now: Instant, load: f32) -> bool {
        if load > HIGH {
            self.calm_since = None;
            // Where ticks have shed already, that second was partly before it.
            return (self.by_second || !within(SECOND, self.gave_up_at, now)) && self.give_up(now, true);
        }
        if load >= LOW {
            self.calm_since = None;
            return false;
        }
        let since = *self.calm_since.get_or_insert(now);
        if now.saturating_duration_since(since) < self.calm {
            return false;
        }
        self.calm_since = None;
        if self.step == Step::Nothing {
            self.calm = CALM;
            return false;
        }
        self.step = self.step.back();
        self.took_back_at = Some(now);
        true
    }

    fn give_up(&mut self, now: Instant, by_second: bool) -> bool {
        self.pressure = 0;
        self.calm_since = None;
        if self.step == Step::Joins {
            return false;
        }
        if within(RELAPSE, self.took_back_at.take(), now) {
            self.calm = (self.calm * 2).min(LONGEST_CALM);
        }
        self.gave_up_at = Some(now);
        self.by_second = by_second;
        self.step = self.step.further();
        true
    }

    /// The most Opus complexity that may be spent.
    pub(crate) fn complexity(&self) -> u8 {
        match self.step {
            Step::Nothing => 10,
            Step::Complexity => 5,
            _ => 0,
        }
    }

    /// Whether noise isn't suppressed.
    pub(crate) fn leaves_noise(&self) -> bool {
        self.step >= Step::MoreComplexity
    }

    /// The most talkers of a room that may be heard at once.
    pub(crate) fn max_talkers(&self) -> usize {
        if self.step >= Step::Talkers {
            FEW_TALKERS
        } else {
            usize::MAX
        }
    }

    /// Whether newcomers are refused.
    pub(crate) fn refuses_joins(&self) -> bool {
        self.step == Step::Joins
    }

    /// How far shedding has gone: 0 not at all, 4 all the way.
    pub(crate) fn level(&self) -> u8 {
        self.step as u8
    }
}

fn within(time: Duration, since: Option<Instant>, now: Instant) -> bool {
    since.is_some_and(|since| now.saturating_duration_since(since) < time)
}

#[cfg(test)]
mod tests;
