//! How much of its time a shard's thread works: by rounds of 20 ms, and by the second.

use std::time::Duration;

use roomtone_audio::FRAME_DURATION;

use crate::shed::Round;

/// Adds up the turns of a loop.
#[derive(Default)]
pub(crate) struct Meter {
    round: Round,
    second: Round,
    load: f32,
}

/// The measurements that a turn has completed.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Measured {
    pub(crate) round: Option<Round>,
    /// The share of the last second in which the thread worked.
    pub(crate) load: Option<f32>,
}

impl Meter {
    /// Takes a turn of the loop. However long one turn is, it completes one round at most: what took a thread so long once may
    /// have been that it wasn't given a core.
    pub(crate) fn add(&mut self, turn: Round) -> Measured {
        let mut measured = Measured::default();
        self.round.add(turn);
        if self.round.lasted >= FRAME_DURATION {
            measured.round = Some(std::mem::take(&mut self.round));
        }
        self.second.add(turn);
        if self.second.lasted >= Duration::from_secs(1) {
            let second = std::mem::take(&mut self.second);
            self.load = second.worked.as_secs_f32() / second.lasted.as_secs_f32();
            measured.load = Some(self.load);
        }
        measured
    }

    /// The load of the last whole second (0…1).
    pub(crate) fn load(&self) -> f32 {
        self.load
    }
}

impl Round {
    fn add(&mut self, turn: Round) {
        self.lasted += turn.lasted;
        self.worked += turn.worked;
        self.ticking += turn.ticking;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn turn(lasted: u32, worked: u32, ticking: u32) -> Round {
        Round {
            lasted: lasted * MS,
            worked: worked * MS,
            ticking: ticking * MS,
        }
    }

    #[test]
    fn turns_add_up_to_rounds_and_seconds() {
        let mut meter = Meter::default();
        for at in 1..=1000 {
            // Each millisecond a packet, and in each tenth of them a tick.
            let measured = meter.add(if at % 10 == 0 { turn(1, 1, 1) } else { turn(1, 0, 0) });
            let round = (at % 20 == 0).then(|| turn(20, 2, 2));
            assert_eq!(measured.round, round, "at {at}");
            assert_eq!(measured.load.is_some(), at == 1000);
        }
        assert!((meter.load() - 0.1).abs() < 1e-6, "{}", meter.load());
    }

    #[test]
    fn a_turn_of_any_length_is_one_round() {
        let mut meter = Meter::default();
        meter.add(turn(5, 1, 0));
        assert_eq!(meter.add(turn(300, 300, 299)).round, Some(turn(305, 301, 299)));
        assert_eq!(meter.add(turn(19, 0, 0)).round, None);
    }
}
