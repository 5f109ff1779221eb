//! Turn-taking: when each of several people speaks, pauses, falls in and agrees, as plain spans of time.
//!
//! The model alternates turns. A turn consists of units of speech with pauses between them; the next turn begins a little before its
//! end (an overlap) or a little after it (a gap); in a long turn a listener says a word or two (a back-channel). Lengths are
//! log-normal and gaps have their mode near 200 ms, as in Heldner and Edlund, "Pauses, gaps and overlaps in conversations" (Journal of
//! Phonetics 38, 2010), Stivers et al., "Universals and cultural variation in turn-taking in conversation" (PNAS 106, 2009), and
//! Levinson and Torreira, "Timing in turn-taking" (Frontiers in Psychology 6, 2015). The rates are set so that one person speaks 80 % of
//! the time, two or more 10 %, nobody 10 %.

use std::ops::Range;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, LogNormal};
use serde::{Deserialize, Serialize};

/// Frames of 20 ms in a second.
const FRAMES: f64 = 50.0;
/// A turn: seconds.
const TURN_MEAN: f64 = 3.0;
const TURN_SPREAD: f64 = 0.65;
const TURN: (f64, f64) = (0.7, 12.0);
/// A unit of speech within a turn.
const UNIT_MEAN: f64 = 1.9;
const UNIT_SPREAD: f64 = 0.5;
const SHORTEST_UNIT: f64 = 0.5;
/// A pause between two units of a turn.
const PAUSE: Range<f64> = 0.14..0.36;
/// Share of the turns that begin before the one before is over, and by how much.
const OVERLAPPED: f64 = 0.40;
const OVERLAP: Range<f64> = 0.2..0.6;
/// The time between all others.
const GAP_MEAN: f64 = 0.24;
const GAP_SPREAD: f64 = 0.6;
const GAP: (f64, f64) = (0.04, 1.5);
/// Back-channels in a second of a turn, and how long one is.
const BACKCHANNELS: f64 = 0.13;
const BACKCHANNEL: Range<f64> = 0.3..1.0;
/// A back-channel keeps this distance from both ends of a turn.
const AWAY_FROM_ENDS: f64 = 0.8;
/// Share of the turns that go back to the speaker before: two people carry most of a conversation.
const REPLIES: f64 = 0.6;
/// Conversations among which a typical one is chosen.
const TRIES: u64 = 400;
/// A share that is nearer to its goal than this is near enough.
const NEAR: f64 = 0.015;

/// Why somebody speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Has the floor; the number of the turn.
    Turn(u32),
    /// Says "yes", "mm-hm", "right" while another has it.
    Backchannel,
}

/// Some uninterrupted speech of one person, in frames of 20 ms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// By place in the room.
    pub speaker: usize,
    /// When.
    pub frames: Range<u32>,
    /// Why.
    pub part: Part,
}

/// How much of the time nobody, one, or two and more speak.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shares {
    /// Nobody.
    pub none: f64,
    /// Exactly one.
    pub one: f64,
    /// Two and more.
    pub more: f64,
}

/// Long conversations have these; a monologue has no second voice.
const GOAL: Shares = Shares {
    none: 0.10,
    one: 0.80,
    more: 0.10,
};

/// Everybody's spans of speech. They repeat: after the last frame comes the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// How many people take turns.
    pub people: usize,
    /// How long it is.
    pub frames: u32,
    /// Sorted by their beginning. Spans of one speaker don't touch.
    pub spans: Vec<Span>,
}

impl Conversation {
    /// A conversation of so many people and frames. The same arguments make the same conversation.
    pub fn new(people: usize, frames: u32, seed: u64) -> Conversation {
        let mut spans = Talk::new(people.max(1), seed).until(f64::from(frames) / FRAMES);
        for span in &mut spans {
            span.frames.end = span.frames.end.min(frames);
        }
        spans.retain(|span| !span.frames.is_empty());
        spans.sort_by_key(|span| (span.frames.start, span.speaker));
        Conversation { people, frames, spans }
    }

    /// Of the conversations with this seed and the following ones the first that has the usual shares, else the nearest to them: what is
    /// measured for a few seconds is then no chance extract.
    pub fn typical(people: usize, frames: u32, seed: u64) -> Conversation {
        let mut best: Option<(f64, Conversation)> = None;
        for attempt in 0..TRIES {
            let next = Conversation::new(people, frames, seed.wrapping_mul(TRIES).wrapping_add(attempt));
            let distance = next.shares().distance(people);
            if best.as_ref().is_none_or(|best| distance < best.0) {
                best = Some((distance, next));
            }
            if distance < NEAR {
                break;
            }
        }
        best.expect("at least one try").1
    }

    /// How many speak in each frame.
    pub fn voices(&self) -> Vec<u32> {
        let mut voices = vec![0; self.frames as usize];
        for span in &self.spans {
            for frame in span.frames.clone() {
                voices[frame as usize] += 1;
            }
        }
        voices
    }

    /// Of its whole time.
    pub fn shares(&self) -> Shares {
        let voices = self.voices();
        let share =
            |of: fn(u32) -> bool| voices.iter().filter(|count| of(**count)).count() as f64 / voices.len().max(1) as f64;
        Shares {
            none: share(|count| count == 0),
            one: share(|count| count == 1),
            more: share(|count| count > 1),
        }
    }
}

impl Shares {
    /// Of several conversations; `None` of none.
    pub fn mean(all: impl Iterator<Item = Shares>) -> Option<Shares> {
        let all: Vec<Shares> = all.collect();
        let mean = |share: fn(&Shares) -> f64| all.iter().map(share).sum::<f64>() / all.len() as f64;
        (!all.is_empty()).then(|| Shares {
            none: mean(|shares| shares.none),
            one: mean(|shares| shares.one),
            more: mean(|shares| shares.more),
        })
    }

    fn distance(&self, people: usize) -> f64 {
        let more = if people > 1 { (self.more - GOAL.more).abs() } else { 0.0 };
        more.max((self.none - GOAL.none).abs())
    }
}

/// The making of one.
struct Talk {
    random: StdRng,
    people: usize,
    spans: Vec<Span>,
    /// Of each: when they end to speak, in seconds.
    busy_until: Vec<f64>,
}

impl Talk {
    fn new(people: usize, seed: u64) -> Talk {
        Talk {
            random: StdRng::seed_from_u64(seed),
            people,
            spans: Vec::new(),
            busy_until: vec![0.0; people],
        }
    }

    fn until(mut self, end: f64) -> Vec<Span> {
        let (mut at, mut turn) = (0.0, 0);
        let (mut speaker, mut before) = (0, None);
        while at < end {
            let length = self.log_normal(TURN_MEAN, TURN_SPREAD).clamp(TURN.0, TURN.1);
            self.turn(speaker, turn, at, length);
            self.backchannels(speaker, at, length);
            let over = at + length;
            let next = self.next_speaker(speaker, before);
            at = if next != speaker && self.random.random_bool(OVERLAPPED) {
                // A short turn isn't talked over as a whole.
                over - self.random.random_range(OVERLAP).min(length / 2.0)
            } else {
                over + self.log_normal(GAP_MEAN, GAP_SPREAD).clamp(GAP.0, GAP.1)
            };
            at = at.max(self.busy_until[next] + PAUSE.start);
            (before, speaker, turn) = (Some(speaker), next, turn + 1);
        }
        self.spans
    }

    fn turn(&mut self, speaker: usize, turn: u32, from: f64, length: f64) {
        let (mut at, end) = (from, from + length);
        while at < end {
            let unit = self.log_normal(UNIT_MEAN, UNIT_SPREAD).max(SHORTEST_UNIT);
            let pause = self.random.random_range(PAUSE);
            // The rest is too short for a unit of its own.
            let unit = if at + unit + pause + SHORTEST_UNIT > end {
                end - at
            } else {
                unit
            };
            self.speak(speaker, at, unit, Part::Turn(turn));
            at += unit + pause;
        }
    }

    fn backchannels(&mut self, speaker: usize, from: f64, length: f64) {
        let room = length - 2.0 * AWAY_FROM_ENDS;
        if self.people < 2 || room < BACKCHANNEL.start {
            return;
        }
        let mut at = from + AWAY_FROM_ENDS;
        loop {
            // The time between events of a constant rate.
            let wait: f64 = -self.random.random_range(f64::EPSILON..1.0).ln() / BACKCHANNELS;
            at += wait;
            let left = from + length - AWAY_FROM_ENDS - at;
            if left < BACKCHANNEL.start {
                return;
            }
            let length = self.random.random_range(BACKCHANNEL).min(left);
            let who = self.other_than(speaker);
            if self.busy_until[who] < at {
                self.speak(who, at, length, Part::Backchannel);
                at += length;
            }
        }
    }

    fn speak(&mut self, speaker: usize, at: f64, length: f64, part: Part) {
        let frame = |seconds: f64| (seconds * FRAMES).round() as u32;
        self.busy_until[speaker] = self.busy_until[speaker].max(at + length);
        self.spans.push(Span {
            speaker,
            frames: frame(at)..frame(at + length),
            part,
        });
    }

    fn next_speaker(&mut self, speaker: usize, before: Option<usize>) -> usize {
        match before {
            _ if self.people < 2 => speaker,
            Some(before) if before != speaker && self.random.random_bool(REPLIES) => before,
            _ => self.other_than(speaker),
        }
    }

    fn other_than(&mut self, speaker: usize) -> usize {
        let others: Vec<usize> = (0..self.people).filter(|person| *person != speaker).collect();
        others.choose(&mut self.random).copied().unwrap_or(speaker)
    }

    /// With this mean, not this median.
    fn log_normal(&mut self, mean: f64, spread: f64) -> f64 {
        let normal = LogNormal::new(mean.ln() - spread * spread / 2.0, spread).expect("a finite spread");
        normal.sample(&mut self.random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HALF_AN_HOUR: u32 = 30 * 60 * 50;

    fn mean(figures: &[f64]) -> f64 {
        figures.iter().sum::<f64>() / figures.len() as f64
    }

    #[test]
    fn one_speaks_most_of_the_time_whatever_the_size() {
        for people in [2, 3, 5, 10, 100] {
            let shares = Conversation::new(people, HALF_AN_HOUR, 7).shares();
            assert!((0.77..0.83).contains(&shares.one), "{people}: {shares:?}");
            assert!((0.08..0.12).contains(&shares.more), "{people}: {shares:?}");
            assert!((0.08..0.12).contains(&shares.none), "{people}: {shares:?}");
        }
    }

    #[test]
    fn one_person_alone_makes_a_monologue_with_pauses() {
        let shares = Conversation::new(1, HALF_AN_HOUR, 7).shares();
        assert_eq!(shares.more, 0.0);
        assert!((0.08..0.25).contains(&shares.none), "{shares:?}");
    }

    #[test]
    fn turns_pauses_overlaps_and_backchannels_have_their_lengths() {
        let talk = Conversation::new(4, HALF_AN_HOUR, 3);
        let seconds = |frames: u32| f64::from(frames) / FRAMES;
        // The last is cut.
        let turns = talk.spans.iter().filter_map(|span| match span.part {
            Part::Turn(turn) => Some(turn),
            Part::Backchannel => None,
        });
        let turns: Vec<(usize, Range<u32>)> = (0..turns.max().unwrap())
            .map(|turn| {
                let units = || talk.spans.iter().filter(|span| span.part == Part::Turn(turn));
                let start = units().map(|unit| unit.frames.start).min().unwrap();
                let end = units().map(|unit| unit.frames.end).max().unwrap();
                (units().next().unwrap().speaker, start..end)
            })
            .collect();
        let lengths: Vec<f64> = turns.iter().map(|turn| seconds(turn.1.len() as u32)).collect();
        assert!((2.0..4.0).contains(&mean(&lengths)), "{}", mean(&lengths));
        let long = lengths.iter().filter(|length| **length > 6.0).count();
        assert!(long > 10 && long < lengths.len() / 5, "{long} of {}", lengths.len());

        let mut gaps = Vec::new();
        let mut overlaps = Vec::new();
        for pair in turns.windows(2) {
            assert_ne!(pair[0].0, pair[1].0, "another takes the turn");
            match pair[1].1.start.checked_sub(pair[0].1.end) {
                Some(gap) => gaps.push(seconds(gap)),
                None => overlaps.push(seconds(pair[0].1.end - pair[1].1.start)),
            }
        }
        let share = overlaps.len() as f64 / turns.len() as f64;
        assert!((0.3..0.5).contains(&share), "{share}");
        assert!(overlaps.iter().all(|overlap| *overlap <= 0.62));
        assert!((0.3..0.5).contains(&mean(&overlaps)), "{}", mean(&overlaps));
        assert!((0.15..0.5).contains(&mean(&gaps)), "{}", mean(&gaps));

        let backchannels: Vec<&Span> = talk
            .spans
            .iter()
            .filter(|span| span.part == Part::Backchannel)
            .collect();
        assert!(backchannels.len() > 50, "{}", backchannels.len());
        for span in backchannels {
            assert!((0.28..1.02).contains(&seconds(span.frames.len() as u32)), "{span:?}");
            let within = |turn: &(usize, Range<u32>)| {
                turn.0 != span.speaker && turn.1.start < span.frames.start && span.frames.end < turn.1.end
            };
            assert!(turns.iter().any(within), "{span:?} is in somebody else's turn");
        }
    }

    #[test]
    fn nobody_speaks_twice_at_the_same_time() {
        for (people, seed) in [(2, 1), (3, 2), (30, 3)] {
            let talk = Conversation::new(people, HALF_AN_HOUR, seed);
            for speaker in 0..people {
                let own: Vec<&Span> = talk.spans.iter().filter(|span| span.speaker == speaker).collect();
                for pair in own.windows(2) {
                    assert!(pair[0].frames.end < pair[1].frames.start, "{pair:?}");
                }
            }
            assert!(talk.spans.iter().all(|span| span.frames.end <= talk.frames));
        }
    }

    #[test]
    fn the_seed_decides() {
        let talk = |seed| Conversation::new(5, 5000, seed);
        assert_eq!(talk(4), talk(4));
        assert_ne!(talk(4), talk(5));
        assert_eq!(Conversation::typical(5, 400, 9), Conversation::typical(5, 400, 9));
    }

    #[test]
    fn a_few_seconds_have_the_shares_of_a_long_conversation() {
        for seconds in [5, 8] {
            for people in [2, 5, 10, 100] {
                for seed in 0..3 {
                    let shares = Conversation::typical(people, seconds * 50, seed).shares();
                    assert!((shares.none - 0.1).abs() < 0.025, "{people} {seed}: {shares:?}");
                    assert!((shares.more - 0.1).abs() < 0.025, "{people} {seed}: {shares:?}");
                }
            }
        }
        // Too short to have everything: the nearest will do.
        assert_eq!(Conversation::typical(2, 3, 1).frames, 3);
    }
}
