//! What is measured: who mixes, how many are there, and how many of them talk.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Listeners that decode what they hear, in all rooms together.
pub const EARS: usize = 4;

/// More a server doesn't forward to one listener.
const MOST_SLOTS: usize = 8;

/// How a room of Roomtone is mixed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Everybody hears everybody.
    #[default]
    Mix,
    /// Everybody hears by distance, and nobody is where another is.
    Spatial,
    /// Nothing is mixed: the talkers' packets are handed on.
    Forward,
}

impl Kind {
    /// As the server's API names it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Mix => "mix",
            Kind::Spatial => "spatial",
            Kind::Forward => "forward",
        }
    }
}

/// How Janus encodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JanusSetting {
    /// As it comes: complexity 4, libopus chooses the bit rate.
    Default,
    /// Nearest to what Roomtone does: 32 kbit/s at complexity 5.
    Equal,
}

impl JanusSetting {
    /// Bits a second of each mix.
    pub fn bitrate(self) -> Option<u32> {
        (self == JanusSetting::Equal).then_some(32_000)
    }

    /// Opus complexity of each mix.
    pub fn quality(self) -> Option<u8> {
        (self == JanusSetting::Equal).then_some(5)
    }
}

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum System {
    /// Us.
    Roomtone(Kind),
    /// Janus's AudioBridge.
    Janus(JanusSetting),
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            System::Roomtone(kind) => write!(f, "roomtone {}", kind.name()),
            System::Janus(JanusSetting::Default) => write!(f, "janus default"),
            System::Janus(JanusSetting::Equal) => write!(f, "janus 32k q5"),
        }
    }
}

/// One thing that is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// Who is measured.
    pub system: System,
    /// How many rooms.
    pub rooms: usize,
    /// Participants of each.
    pub people: usize,
    /// How many of them talk.
    pub talkers: usize,
    /// Is the quality of the sound judged too?
    pub judged: bool,
    /// How often, at most: what is large or only about memory needs no repetition.
    pub most_repeats: usize,
}

impl Case {
    /// One room.
    pub fn room(system: System, people: usize, talkers: usize) -> Case {
        Case {
            system,
            rooms: 1,
            people,
            talkers: talkers.min(people),
            judged: false,
            most_repeats: usize::MAX,
        }
    }

    /// How many talkers are forwarded to each, where packets are.
    pub fn slots(&self) -> usize {
        if self.system == System::Roomtone(Kind::Forward) {
            self.talkers.clamp(1, MOST_SLOTS)
        } else {
            0
        }
    }

    /// Participants of all rooms.
    pub fn everybody(&self) -> usize {
        self.rooms * self.people
    }

    /// Is it about what a server costs that has nothing to do?
    pub fn is_idle(&self) -> bool {
        self.talkers == 0
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.system)?;
        if self.rooms > 1 {
            write!(f, ", {} rooms", self.rooms)?;
        }
        write!(f, ", N = {}", self.people)?;
        if self.is_idle() {
            write!(f, ", muted")
        } else {
            write!(f, ", K = {}", self.talkers)
        }
    }
}

/// What to measure.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The cases, in the order in which they are measured.
    pub cases: Vec<Case>,
    /// How often each.
    pub repeats: usize,
    /// For how long each time.
    pub time: Duration,
}

impl Plan {
    /// Rooms of one kind, at several sizes, with Janus beside it or not.
    pub fn sizes(kind: Kind, sizes: &[usize], talkers: usize, rooms: usize, janus: bool) -> Vec<Case> {
        let mut systems = vec![System::Roomtone(kind)];
        if janus {
            systems.extend([System::Janus(JanusSetting::Default), System::Janus(JanusSetting::Equal)]);
        }
        let mut cases = Vec::new();
        for people in sizes {
            for system in &systems {
                let case = Case::room(*system, *people, talkers);
                cases.push(Case { rooms, ..case });
            }
        }
        // Quality doesn't depend on the size: once for each system is enough.
        let last = cases.len().saturating_sub(systems.len());
        cases[last..].iter_mut().for_each(|case| case.judged = !case.is_idle());
        cases
    }

    /// The whole table of docs/benchmarks.md.
    pub fn table(janus: bool) -> Vec<Case> {
        let once = |case: Case| Case {
            most_repeats: 1,
            ..case
        };
        let mix = System::Roomtone(Kind::Mix);
        let mut cases = Plan::sizes(Kind::Mix, &[10, 25, 50, 100], 3, 1, janus);
        let spatial = Case::room(System::Roomtone(Kind::Spatial), 50, 3);
        let forward = Case::room(System::Roomtone(Kind::Forward), 50, 3);
        let small = Case {
            rooms: 100,
            ..Case::room(mix, 5, 1)
        };
        let idle = Case {
            rooms: 1000,
            ..Case::room(mix, 2, 0)
        };
        // The one who listens among four hears a mix of their own: how it sounds where bits are spent instead of CPU.
        let own = Case {
            judged: true,
            ..once(Case::room(mix, 4, 3))
        };
        cases.extend([
            own,
            spatial,
            Case {
                judged: true,
                ..forward
            },
            small,
        ]);
        // 40 talkers more than the case with 3: what a talker's memory is.
        cases.extend([once(Case::room(mix, 100, 43)), Case::room(mix, 1000, 3), once(idle)]);
        cases
    }

    /// A look: one size each.
    pub fn quick(janus: bool) -> Vec<Case> {
        let mut cases = Plan::sizes(Kind::Mix, &[10, 50], 3, 1, janus);
        cases.push(Case::room(System::Roomtone(Kind::Spatial), 50, 3));
        cases
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plans_have_what_the_table_has() {
        let names: Vec<String> = Plan::table(true).iter().map(Case::to_string).collect();
        for name in [
            "roomtone mix, N = 10, K = 3",
            "janus default, N = 100, K = 3",
            "janus 32k q5, N = 50, K = 3",
            "roomtone mix, N = 4, K = 3",
            "roomtone spatial, N = 50, K = 3",
            "roomtone mix, 1000 rooms, N = 2, muted",
        ] {
            assert!(names.iter().any(|known| known == name), "{name} of {names:?}");
        }
        let alone = Plan::sizes(Kind::Forward, &[2], 3, 1, false);
        assert_eq!((alone.len(), alone[0].talkers, alone[0].judged), (1, 2, true));
    }
}
