//! Talkers whose packets other nodes pass on: they come by another of these, and nothing is lost.

use std::collections::VecDeque;

use crate::common::{ROOM, TONE_DBFS, World};
use crate::trunks::{HearTrunk, key, number};
use roomtone_engine::{Action, Command, TrunkWay};
use roomtone_testkit::fixtures::{Burst, OpusTalker};
use roomtone_testkit::peer::ClientOptions;

/// The node of the talker, two that pass on, and the node of the listener, which has trunks to these alone.
const TALKER: usize = 0;
const RELAYS: [usize; 2] = [1, 2];
const LISTENER: usize = 3;

/// A word of 100 ms each second, and the packets until the gate closes.
const PACKETS_A_WORD: usize = 24;

struct Square {
    worlds: [World; 4],
    now_ms: u64,
    /// Datagrams to the first relay, with when they arrive.
    way: VecDeque<(u64, Vec<u8>)>,
    /// How many milliseconds the way there takes, except for the beginning of a word.
    late_ms: u64,
    word_began_ms: u64,
    last_sent_ms: u64,
}

impl Square {
    fn new() -> Square {
        let mut worlds = [World::new(), World::new(), World::new(), World::new()];
        for relay in RELAYS {
            for (at, other) in [(TALKER, relay), (relay, TALKER), (relay, LISTENER), (LISTENER, relay)] {
                let way = TrunkWay {
                    to: format!("198.51.100.{other}:50000").parse().unwrap(),
                    trunk: number(other, at),
                    send: key((4 * at + other) as u8),
                    receive: key((4 * other + at) as u8),
                    relay: at == LISTENER || other == LISTENER,
                };
                let trunk = number(at, other);
                worlds[at].command(Command::new(ROOM, Action::OpenTrunk { trunk, way }));
            }
        }
        worlds[TALKER].join(1, ClientOptions::default());
        worlds[LISTENER].join(2, ClientOptions::default());
        for at in [TALKER, LISTENER] {
            worlds[at].connect();
        }
        let client = worlds[TALKER].clients.get_mut(&1).unwrap();
        let burst = Burst::new(client.hz, 10f32.powf(TONE_DBFS / 20.0), 4_800, 48_000, 24_000);
        client.talker = Some(OpusTalker::new(burst, 32_000).unwrap());
        let mut square = Square {
            worlds,
            now_ms: 0,
            way: VecDeque::new(),
            late_ms: 0,
            word_began_ms: 0,
            last_sent_ms: 0,
        };
        for relay in RELAYS {
            square.comes_by(relay, 1, TALKER);
            square.comes_by(relay, 2, LISTENER);
        }
        square.comes_by(TALKER, 2, RELAYS[1]);
        square.comes_by(LISTENER, 1, RELAYS[1]);
        square
    }

    fn comes_by(&mut self, at: usize, peer: u64, other: usize) {
        let (trunk, speak) = (number(at, other), true);
        self.worlds[at].command(Command::new(ROOM, Action::JoinRemote { peer, trunk, speak }));
    }

    fn run_ms(&mut self, ms: u64) {
        for _ in 0..ms {
            self.now_ms += 1;
            for at in 0..4 {
                self.worlds[at].run_ms(1);
                let sent: Vec<_> = self.worlds[at].beyond.drain(..).collect();
                for (to, mut datagram) in sent {
                    let to = (0..4).find(|other| to.to_string() == format!("198.51.100.{other}:50000"));
                    match to.unwrap() {
                        to if (at, to) == (TALKER, RELAYS[0]) => self.send_late(datagram),
                        to => self.worlds[to].hear_trunk(&mut datagram),
                    }
                }
            }
            while self.way.front().is_some_and(|(due, _)| *due <= self.now_ms) {
                let (_, mut datagram) = self.way.pop_front().unwrap();
                self.worlds[RELAYS[0]].hear_trunk(&mut datagram);
            }
        }
    }

    fn send_late(&mut self, datagram: Vec<u8>) {
        if self.now_ms - self.last_sent_ms > 200 {
            self.word_began_ms = self.now_ms;
        }
        self.last_sent_ms = self.now_ms;
        let begins = self.now_ms - self.word_began_ms < 200;
        self.way
            .push_back((self.now_ms + if begins { 0 } else { self.late_ms }, datagram));
    }

    /// The packets that the listener hears in these seconds.
    fn heard_in(&mut self, seconds: u64) -> usize {
        let heard = |square: &Square| square.worlds[LISTENER].clients[&2].heard.len();
        let before = heard(self);
        self.run_ms(1000 * seconds);
        heard(self) - before
    }

    /// Until nobody has talked for a moment.
    fn run_to_a_pause(&mut self) {
        while self.heard_in(1) == 0 {}
        loop {
            let before = self.worlds[LISTENER].clients[&2].heard.len();
            self.run_ms(250);
            if self.worlds[LISTENER].clients[&2].heard.len() == before {
                return;
            }
        }
    }
}

#[test]
fn a_talker_who_comes_by_another_relay_goes_on_however_late_packets_came_there() {
    let mut square = Square::new();
    square.run_to_a_pause();
    // The end of each word comes to the first relay when the gate there would be shut.
    square.late_ms = 100;
    assert_eq!(square.heard_in(8), 8 * PACKETS_A_WORD);
    square.late_ms = 0;
    square.comes_by(LISTENER, 1, RELAYS[0]);
    assert_eq!(square.heard_in(3), 3 * PACKETS_A_WORD);
    square.comes_by(LISTENER, 1, RELAYS[1]);
    assert_eq!(square.heard_in(3), 3 * PACKETS_A_WORD);
    square.worlds[LISTENER].clients[&2].assert_continuous();
}
