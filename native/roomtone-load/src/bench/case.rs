//! A case of the bench: the mixer, the number of participants, and the number of talkers.

use std::fmt;
use std::str::FromStr;
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

/// How the talkers of a case talk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Talk {
    /// All at the same time, each in phrases with pauses of half a second.
    #[default]
    All,
    /// In turns, as in a conversation: mostly one, sometimes two, sometimes nobody.
    Turns,
}

/// The microphone's signal while a talker doesn't speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Noise {
    /// Background noise of this RMS in dBFS, 50 packets a second: a browser as it comes. The rest of a quiet room behind its
    /// noise suppression is about −72.
    Dbfs(i8),
    /// Nothing but a packet in 400 ms, from the eleventh quiet packet on: a browser with `usedtx=1` (Opus DTX).
    Dtx,
}

impl Default for Noise {
    fn default() -> Noise {
        Noise::Dbfs(-72)
    }
}

impl Noise {
    /// RMS in dBFS of the microphone's noise, also where most of it isn't sent.
    pub fn dbfs(self) -> f32 {
        match self {
            Noise::Dbfs(level) => f32::from(level),
            Noise::Dtx => Noise::default().dbfs(),
        }
    }
}

impl FromStr for Noise {
    type Err = String;

    /// `dtx`, or a level like `-72`.
    fn from_str(text: &str) -> Result<Noise, String> {
        if text == "dtx" {
            return Ok(Noise::Dtx);
        }
        match text.parse() {
            Ok(level @ -90..=-40) => Ok(Noise::Dbfs(level)),
            _ => Err("either dtx, or a level from -90 to -40 dBFS".into()),
        }
    }
}

/// How participants' packets get to Roomtone and back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// UDP, to the media port.
    #[default]
    Udp,
    /// TCP, to the media port (RFC 6544).
    IceTcp,
    /// The built-in TURN server (RFC 8656), by UDP.
    TurnUdp,
    /// The same, by TCP.
    TurnTcp,
    /// The same, by TLS on a port of its own.
    TurnTls,
    /// The same, by TLS on the port of HTTPS.
    TurnHttps,
}

impl Way {
    /// All of them, with their names on the command line.
    const NAMES: [(&'static str, Way); 6] = [
        ("udp", Way::Udp),
        ("ice-tcp", Way::IceTcp),
        ("turn-udp", Way::TurnUdp),
        ("turn-tcp", Way::TurnTcp),
        ("turn-tls", Way::TurnTls),
        ("turn-https", Way::TurnHttps),
    ];

    /// Does it lead through the TURN server?
    pub fn is_turn(self) -> bool {
        !matches!(self, Way::Udp | Way::IceTcp)
    }

    /// Does it need a certificate?
    pub fn is_tls(self) -> bool {
        matches!(self, Way::TurnTls | Way::TurnHttps)
    }
}

impl FromStr for Way {
    type Err = String;

    fn from_str(text: &str) -> Result<Way, String> {
        let named = Way::NAMES.iter().find(|(name, _)| *name == text);
        named.map(|(_, way)| *way).ok_or_else(|| {
            let names = Way::NAMES.map(|(name, _)| name);
            format!("one of {}", names.join(", "))
        })
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Way::Udp => "UDP",
            Way::IceTcp => "ICE-TCP",
            Way::TurnUdp => "TURN/UDP",
            Way::TurnTcp => "TURN/TCP",
            Way::TurnTls => "TURN/TLS",
            Way::TurnHttps => "TURN/TLS on the port of HTTPS",
        })
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

/// The server that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum System {
    /// Us.
    Roomtone(Kind),
    /// Janus's AudioBridge, which mixes.
    Janus(JanusSetting),
    /// Janus's VideoRoom, which forwards; audio only.
    VideoRoom,
}

impl System {
    /// Does it hand packets on instead of mixing?
    pub fn forwards(self) -> bool {
        matches!(self, System::Roomtone(Kind::Forward) | System::VideoRoom)
    }

    /// Is it a plugin of Janus?
    pub fn is_janus(self) -> bool {
        matches!(self, System::Janus(_) | System::VideoRoom)
    }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            System::Roomtone(kind) => write!(f, "roomtone {}", kind.name()),
            System::Janus(JanusSetting::Default) => write!(f, "janus default"),
            System::Janus(JanusSetting::Equal) => write!(f, "janus 32k q5"),
            System::VideoRoom => write!(f, "janus videoroom"),
        }
    }
}

/// One thing that is measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// The server that is measured.
    pub system: System,
    /// How many rooms.
    pub rooms: usize,
    /// Participants of each.
    pub people: usize,
    /// How many of them talk.
    pub talkers: usize,
    /// At the same time, or in turns.
    #[serde(default)]
    pub talk: Talk,
    /// The signal that they send while they don't.
    #[serde(default)]
    pub noise: Noise,
    /// How their packets travel.
    #[serde(default)]
    pub way: Way,
    /// Is Roomtone's BEAM kept as busy as can be with other things?
    #[serde(default)]
    pub burdened: bool,
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
            talk: Talk::All,
            noise: Noise::default(),
            way: Way::default(),
            burdened: false,
            judged: false,
            most_repeats: usize::MAX,
        }
    }

    /// A conversation of all people of one room.
    pub fn turns(system: System, people: usize) -> Case {
        Case {
            talk: Talk::Turns,
            ..Case::room(system, people, people)
        }
    }

    /// How many talkers are forwarded to each, where Roomtone does that.
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
            write!(f, ", K = {}", self.talkers)?;
            if self.talk == Talk::Turns {
                write!(f, " in turns")?;
            }
            match self.noise {
                noise if noise == Noise::default() => {}
                Noise::Dbfs(level) => write!(f, ", noise {level} dBFS")?,
                Noise::Dtx => write!(f, ", DTX")?,
            }
            if self.way != Way::default() {
                write!(f, ", by {}", self.way)?;
            }
            if self.burdened {
                write!(f, ", BEAM under load")?;
            }
            Ok(())
        }
    }
}

/// The cases to measure.
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
    /// Rooms of several sizes on each of these systems. Quality is judged at the largest.
    pub fn sizes(systems: &[System], sizes: &[usize], talkers: usize, rooms: usize) -> Vec<Case> {
        let mut cases = Vec::new();
        for people in sizes {
            for system in systems {
                let case = Case::room(*system, *people, talkers);
                cases.push(Case { rooms, ..case });
            }
        }
        // Quality doesn't depend on the size: once for each system is enough.
        let last = cases.len().saturating_sub(systems.len());
        cases[last..].iter_mut().for_each(|case| case.judged = !case.is_idle());
        cases
    }

    /// Conversations of all who are in a room, of several sizes, on each of these systems. Quality is judged at all of them: whether
    /// there is anything to mix depends on the size.
    pub fn turns(systems: &[System], sizes: &[usize]) -> Vec<Case> {
        let of_size = |people: &usize| {
            let people = *people;
            systems.iter().map(move |system| Case {
                judged: true,
                ..Case::turns(*system, people)
            })
        };
        sizes.iter().flat_map(of_size).collect()
    }

    /// The same cases by each of these ways. The first of them alone is judged: the sound is the same.
    pub fn by(ways: &[Way], cases: &[Case]) -> Vec<Case> {
        let each = |case: &Case| {
            let case = case.clone();
            ways.iter().enumerate().map(move |(place, way)| Case {
                way: *way,
                judged: case.judged && place == 0,
                ..case.clone()
            })
        };
        cases.iter().flat_map(each).collect()
    }

    /// The whole table of docs/benchmarks.md.
    pub fn table(janus: bool) -> Vec<Case> {
        let once = |case: Case| Case {
            most_repeats: 1,
            ..case
        };
        let judged = |case: Case| Case { judged: true, ..case };
        let mix = System::Roomtone(Kind::Mix);
        let forward = System::Roomtone(Kind::Forward);
        let usual = System::Janus(JanusSetting::Default);
        let beside = |system: System, others: &[System]| -> Vec<System> {
            let others = others.iter().copied().filter(|_| janus);
            std::iter::once(system).chain(others).collect()
        };
        let mut cases = Plan::sizes(
            &beside(mix, &[usual, System::Janus(JanusSetting::Equal)]),
            &[10, 25, 50, 100],
            3,
            1,
        );
        cases.extend(Plan::turns(&beside(mix, &[usual]), &[2, 5, 10, 100]));
        cases.extend(
            beside(mix, &[usual])
                .into_iter()
                .map(|system| judged(Case::room(system, 2, 1))),
        );
        cases.extend(Plan::sizes(&beside(forward, &[System::VideoRoom]), &[10, 50], 3, 1));
        let small = Case {
            rooms: 100,
            ..Case::room(mix, 5, 1)
        };
        let idle = Case {
            rooms: 1000,
            ..Case::room(mix, 2, 0)
        };
        // A mix of their own, for the only listener among four: how it sounds where bits are spent instead of CPU.
        cases.push(judged(once(Case::room(mix, 4, 3))));
        cases.extend([Case::room(System::Roomtone(Kind::Spatial), 50, 3), small]);
        // 40 talkers more than the case with 3: what a talker's memory is.
        cases.extend([once(Case::room(mix, 100, 43)), Case::room(mix, 1000, 3), once(idle)]);
        cases
    }

    /// A look: one size each.
    pub fn quick(janus: bool) -> Vec<Case> {
        let mut systems = vec![System::Roomtone(Kind::Mix)];
        if janus {
            systems.extend([System::Janus(JanusSetting::Default), System::Janus(JanusSetting::Equal)]);
        }
        let mut cases = Plan::sizes(&systems, &[10, 50], 3, 1);
        cases.push(Case::room(System::Roomtone(Kind::Spatial), 50, 3));
        cases
    }

    /// A room of 50 at rest, and the same while the BEAM that it belongs to is as busy as it can be.
    pub fn beam_load() -> Vec<Case> {
        let rest = Case::room(System::Roomtone(Kind::Mix), 50, 3);
        let burdened = Case {
            burdened: true,
            ..rest.clone()
        };
        vec![rest, burdened]
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
            "roomtone mix, N = 5, K = 5 in turns",
            "janus default, N = 100, K = 100 in turns",
            "janus videoroom, N = 50, K = 3",
            "roomtone mix, 1000 rooms, N = 2, muted",
        ] {
            assert!(names.iter().any(|known| known == name), "{name} of {names:?}");
        }
        let alone = Plan::sizes(&[System::Roomtone(Kind::Forward)], &[2], 3, 1);
        assert_eq!((alone.len(), alone[0].talkers, alone[0].judged), (1, 2, true));
        assert!(Plan::table(false).iter().all(|case| !case.system.is_janus()));
        let load = Plan::beam_load();
        assert_eq!((load[0].people, load[0].burdened, load[1].burdened), (50, false, true));
    }

    #[test]
    fn noise_is_a_level_or_dtx() {
        assert_eq!("-60".parse(), Ok(Noise::Dbfs(-60)));
        assert_eq!("dtx".parse(), Ok(Noise::Dtx));
        for wrong in ["0", "60", "-200", "loud", ""] {
            assert!(wrong.parse::<Noise>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn samples_of_before_there_were_turns_are_read() {
        let old = r#"{"system":{"roomtone":"mix"},"rooms":1,"people":10,"talkers":3,"judged":false,"most_repeats":1}"#;
        let case: Case = serde_json::from_str(old).unwrap();
        assert_eq!(
            (case.talk, case.noise, case.burdened),
            (Talk::All, Noise::Dbfs(-72), false)
        );
        assert_eq!(case.to_string(), "roomtone mix, N = 10, K = 3");
    }
}
