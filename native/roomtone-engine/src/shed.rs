//! What a shard gives up when its thread has too much to do, before a deadline is missed.

use std::time::{Duration, Instant};

/// Of its time a shard may work this much before it sheds.
const HIGH: f32 = 0.85;
/// Below this it takes something back.
const LOW: f32 = 0.55;
/// How long it must have been below.
const CALM: Duration = Duration::from_secs(5);
/// Talkers heard at once in a room, when it has come to that.
const FEW_TALKERS: usize = 3;

/// The steps, in the order in which they are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    /// As configured.
    Nothing,
    /// Opus complexity 5 at most: shared mixes cost half.
    Complexity,
    /// Opus complexity 0.
    MoreComplexity,
    /// Only the loudest few of a room are heard.
    Talkers,
    /// And nobody new is let in.
    Joins,
}

/// The state of shedding.
#[derive(Debug)]
pub(crate) struct Shed {
    step: Step,
    calm_since: Option<Instant>,
}

impl Default for Shed {
    fn default() -> Self {
        Shed {
            step: Step::Nothing,
            calm_since: None,
        }
    }
}

impl Shed {
    /// Takes the share of the last second in which the shard worked (0…1). True if something has changed.
    pub(crate) fn report(&mut self, now: Instant, load: f32) -> bool {
        let before = self.step;
        if load > HIGH {
            self.calm_since = None;
            self.step = match self.step {
                Step::Nothing => Step::Complexity,
                Step::Complexity => Step::MoreComplexity,
                Step::MoreComplexity => Step::Talkers,
                Step::Talkers | Step::Joins => Step::Joins,
            };
        } else if load < LOW {
            let since = *self.calm_since.get_or_insert(now);
            if now.saturating_duration_since(since) >= CALM {
                self.calm_since = None;
                self.step = match self.step {
                    Step::Joins => Step::Talkers,
                    Step::Talkers => Step::MoreComplexity,
                    Step::MoreComplexity => Step::Complexity,
                    Step::Complexity | Step::Nothing => Step::Nothing,
                };
            }
        } else {
            self.calm_since = None;
        }
        before != self.step
    }

    /// The most Opus complexity that may be spent.
    pub(crate) fn complexity(&self) -> u8 {
        match self.step {
            Step::Nothing => 10,
            Step::Complexity => 5,
            _ => 0,
        }
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

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    #[test]
    fn complexity_goes_first_then_talkers_then_joins_and_all_comes_back() {
        let mut shed = Shed::default();
        let mut now = Instant::now();
        let mut steps = Vec::new();
        for _ in 0..6 {
            now += Duration::from_secs(1);
            shed.report(now, 0.95);
            steps.push((shed.complexity(), shed.max_talkers(), shed.refuses_joins()));
        }
        let all = usize::MAX;
        assert_eq!(
            steps,
            [
                (5, all, false),
                (0, all, false),
                (0, 3, false),
                (0, 3, true),
                (0, 3, true),
                (0, 3, true)
            ]
        );
        for _ in 0..10 {
            now += Duration::from_secs(1);
            assert!(!shed.report(now, 0.7), "between the two marks nothing changes");
        }
        for _ in 0..25 {
            now += Duration::from_secs(1);
            shed.report(now, 0.1);
        }
        assert_eq!((shed.complexity(), shed.level()), (10, 0));
    }

    #[test]
    fn one_calm_second_is_not_enough() {
        let mut shed = Shed::default();
        let mut now = Instant::now();
        shed.report(now, 1.0);
        for second in 0..20 {
            now += Duration::from_secs(1);
            shed.report(now, if second % 3 == 2 { 0.7 } else { 0.1 });
        }
        assert_eq!(shed.level(), 1);
    }
}
