//! A room whose people are on two media nodes, with a trunk between them.

use std::time::Duration;

use crate::common::{ROOM, TONE_DBFS, World, gain_cell, slots};
use roomtone_engine::{Action, Command, Event, Key, PeerId, Select, TrunkEnd, TrunkWay};
use roomtone_testkit::peer::ClientOptions;

/// The number of the trunk at each node.
pub const TRUNKS: [u32; 2] = [100, 200];

/// Two engines, each with a clock of its own, and the path between them.
pub struct Nodes {
    pub worlds: [World; 2],
    /// Every so manyth datagram is lost; 0: none.
    pub loses: usize,
    pub carried: usize,
    /// The last datagrams that were carried, by where they came from.
    last: [Vec<u8>; 2],
}

pub fn key(byte: u8) -> Key {
    Key::new([byte; 32])
}

impl Nodes {
    /// On the first node 1 talks and 2 listens, on the second 3 talks and 4 listens.
    pub fn new(world: impl Fn() -> World, options: fn() -> ClientOptions) -> Nodes {
        let mut nodes = Nodes {
            worlds: [world(), world()],
            loses: 0,
            carried: 0,
            last: Default::default(),
        };
        for (at, world) in nodes.worlds.iter_mut().enumerate() {
            for id in Self::people(at) {
                world.join(id, options());
            }
            world.talk(Self::people(at)[0], TONE_DBFS);
            world.connect();
            let way = TrunkWay {
                to: "198.51.100.200:50000".parse().unwrap(),
                trunk: TRUNKS[1 - at],
                send: key(at as u8),
                receive: key(1 - at as u8),
                relay: false,
            };
            world.command(Command::new(ROOM, Action::OpenTrunk { trunk: TRUNKS[at], way }));
            for peer in Self::people(1 - at) {
                let trunk = TRUNKS[at];
                world.command(Command::new(
                    ROOM,
                    Action::JoinRemote {
                        peer,
                        trunk,
                        speak: true,
                    },
                ));
            }
        }
        nodes
    }

    /// In a room that passes on the one who talks alone, in one that mixes always, and in one that forwards.
    pub fn of_all_kinds() -> Vec<Nodes> {
        vec![
            Nodes::new(World::new, ClientOptions::default),
            Nodes::new(World::mixing, ClientOptions::default),
            Nodes::new(|| World::forwarding(3), || slots(3)),
        ]
    }

    fn people(at: usize) -> [PeerId; 2] {
        [[1, 2], [3, 4]][at]
    }

    pub fn run_ms(&mut self, ms: u64) {
        for _ in 0..ms {
            for at in 0..2 {
                self.worlds[at].run_ms(1);
                let sent: Vec<_> = self.worlds[at].beyond.drain(..).collect();
                for (_, mut datagram) in sent {
                    self.carried += 1;
                    self.last[at].clone_from(&datagram);
                    if self.loses == 0 || !self.carried.is_multiple_of(self.loses) {
                        self.worlds[1 - at].hear_trunk(&mut datagram);
                    }
                }
            }
        }
    }

    /// How loud somebody is at a listener of any node, relative to how they spoke.
    fn heard_db(&self, listener: PeerId, speaker: PeerId) -> f32 {
        let client = |id: PeerId| self.worlds.iter().find_map(|world| world.clients.get(&id)).unwrap();
        client(listener).ear.tone_dbfs(client(speaker).hz, 0.5) - client(speaker).dbfs
    }

    pub fn assert_heard(&self, listener: PeerId, speaker: PeerId, db: f32) {
        let heard = self.heard_db(listener, speaker);
        assert!((heard - db).abs() <= 0.5, "{listener} hears {speaker} at {heard:.2} dB");
    }

    pub fn assert_unheard(&self, listener: PeerId, speaker: PeerId) {
        let heard = self.heard_db(listener, speaker);
        assert!(heard < -30.0, "{listener} hears {speaker} at {heard:.2} dB");
    }

    pub fn command(&mut self, at: usize, action: Action) {
        self.worlds[at].command(Command::new(ROOM, action));
    }

    fn refused(&self) -> [u64; 2] {
        [0, 1].map(|at| self.worlds[at].shard.stats().trunk_datagrams_refused)
    }
}

pub trait HearTrunk {
    fn hear_trunk(&mut self, datagram: &mut [u8]);
}

impl HearTrunk for World {
    fn hear_trunk(&mut self, datagram: &mut [u8]) {
        let from = "198.51.100.201:50000".parse().unwrap();
        self.shard.handle_datagram(self.now, from, datagram);
    }
}

#[test]
fn everybody_hears_the_others_of_both_nodes_at_their_level_and_nobody_themselves() {
    for mut nodes in Nodes::of_all_kinds() {
        nodes.run_ms(2500);
        for talker in [1, 3] {
            for listener in 1..=4 {
                if listener == talker {
                    nodes.assert_unheard(listener, talker);
                } else {
                    nodes.assert_heard(listener, talker, 0.0);
                }
            }
        }
        assert_eq!(nodes.refused(), [0, 0]);
        // Their own node tells of people: of their coming, going and speech, and how loud they are.
        for (world, here) in nodes.worlds.iter().zip([1, 3]) {
            let speaking = world.events_of(|event| matches!(event, Event::Speaking { .. }));
            assert!(
                matches!(speaking[..], [Event::Speaking { peer, speaking: true, .. }] if *peer == here),
                "{speaking:?}"
            );
            let loud = world.events_of(|event| matches!(event, Event::Levels { .. }));
            assert!(!loud.is_empty());
            for event in loud {
                let Event::Levels { levels, .. } = event else {
                    unreachable!()
                };
                assert!(levels.iter().all(|(peer, ..)| *peer == here), "{levels:?}");
            }
            let others = world.events_of(|event| match event {
                Event::Connected { peer, .. } | Event::Disconnected { peer, .. } => (*peer <= 2) != (here <= 2),
                _ => false,
            });
            assert!(others.is_empty(), "{others:?}");
        }
    }
}

#[test]
fn rows_and_mutes_hold_for_talkers_of_another_node() {
    let mut nodes = Nodes::new(World::mixing, ClientOptions::default);
    let cells = vec![gain_cell(4, 1, 0.5)];
    nodes.command(1, Action::SetGains { cells });
    nodes.run_ms(2500);
    nodes.assert_heard(4, 1, -6.02);
    nodes.assert_heard(3, 1, 0.0);
    nodes.command(1, Action::SetSpeak { peer: 1, speak: false });
    nodes.run_ms(1500);
    nodes.assert_unheard(4, 1);
    nodes.assert_heard(2, 1, 0.0);
    nodes.command(1, Action::SetSpeak { peer: 1, speak: true });
    nodes.command(0, Action::SetSpeak { peer: 1, speak: false });
    nodes.run_ms(1500);
    nodes.assert_unheard(4, 1);
    nodes.assert_heard(2, 3, 0.0);
}

/// On one node each listener hears the loudest of those whom they may hear.
#[test]
fn a_listener_who_may_not_hear_the_loudest_hears_the_next_whatever_others_hear() {
    let mut nodes = Nodes::new(World::mixing, ClientOptions::default);
    nodes.worlds[1].clients.get_mut(&3).unwrap().talker = None;
    nodes.worlds[0].talk(2, TONE_DBFS - 20.0);
    for at in 0..2 {
        let policy = Action::SetPolicy {
            default_gain: 1.0,
            max_talkers: Some(1),
            select: Select::Loudest,
        };
        nodes.command(at, policy);
    }
    let cells = vec![gain_cell(4, 1, 0.0)];
    nodes.command(1, Action::SetGains { cells });
    nodes.run_ms(2500);
    nodes.assert_heard(3, 1, 0.0);
    nodes.assert_heard(4, 2, 0.0);
    nodes.assert_unheard(4, 1);
}

#[test]
fn each_end_of_a_trunk_tells_what_came_left_and_was_lost_and_how_long_the_way_is() {
    let mut nodes = Nodes::new(World::mixing, ClientOptions::default);
    nodes.run_ms(1000);
    nodes.loses = 7;
    nodes.run_ms(3000);
    nodes.loses = 0;
    nodes.run_ms(4000);
    for (at, number) in TRUNKS.into_iter().enumerate() {
        let stats = nodes.worlds[at].shard.stats();
        assert_eq!((stats.trunks_open, stats.trunks.len()), (1, 1));
        let trunk = &stats.trunks[0];
        assert_eq!((trunk.trunk, trunk.room), (number, ROOM));
        assert_eq!(trunk.to.to_string(), "198.51.100.200:50000");
        assert_eq!(
            (trunk.datagrams_in, trunk.bytes_in, trunk.lost_in),
            (
                stats.trunk_datagrams_in,
                stats.trunk_bytes_in,
                stats.trunk_datagrams_lost
            )
        );
        assert_eq!(
            (trunk.datagrams_out, trunk.bytes_out),
            (stats.trunk_datagrams_out, stats.trunk_bytes_out)
        );
        let other = nodes.worlds[1 - at].shard.stats();
        assert_eq!(trunk.datagrams_in + trunk.lost_in, other.trunks[0].datagrams_out);
        assert!(trunk.lost_in > 10, "{trunk:?}");
        assert!(trunk.bytes_in > 50 * trunk.datagrams_in, "{trunk:?}");
        assert!(trunk.bytes_out > 50 * trunk.datagrams_out, "{trunk:?}");
        // The nodes take turns of a millisecond.
        let round_trip = trunk.round_trip.expect("there were reports");
        assert!(round_trip <= Duration::from_millis(2), "{round_trip:?}");
        assert!(trunk.jitter.expect("there were reports") <= Duration::from_millis(2));
    }
    nodes.command(0, Action::CloseTrunk { trunk: TRUNKS[0] });
    let stats = nodes.worlds[0].shard.stats();
    assert_eq!((stats.trunks_open, stats.trunks.len()), (0, 0));
    assert!(stats.trunk_datagrams_lost > 10, "the shard's own counters stay");
}

#[test]
fn bytes_of_strangers_are_refused_counted_and_change_nothing() {
    let mut nodes = Nodes::new(World::new, ClientOptions::default);
    nodes.run_ms(2000);
    let good = nodes.last[0].clone();
    let before = nodes.worlds[1].shard.remembered();
    let foreign = {
        let mut sender = roomtone_trunk::Sender::new(TRUNKS[1], 0, &key(9));
        let mut sealed = Vec::new();
        let frame = roomtone_trunk::Frame {
            talker: 1,
            sequence: 1,
            timestamp: 0,
            marker: false,
            level: None,
            payload: &[0; 50],
        };
        let now = nodes.worlds[0].now;
        sender.push(now, &frame, |_| ()).unwrap();
        sender.flush(now, |datagram| sealed.extend_from_slice(datagram));
        sealed
    };
    let mut stray = good.clone();
    stray[5] ^= 1;
    let mut long = good.clone();
    long.resize(1500, 7);
    for n in 0..1000usize {
        let mut damaged = good.clone();
        damaged[6 + n % (good.len() - 6)] ^= 1 << (n % 8);
        // The last one came before.
        for mut datagram in [damaged, foreign.clone(), stray.clone(), long.clone(), good.clone()] {
            nodes.worlds[1].hear_trunk(&mut datagram);
        }
    }
    assert_eq!(nodes.refused(), [0, 5000]);
    assert_eq!(nodes.worlds[1].shard.remembered(), before);
    nodes.run_ms(1000);
    nodes.assert_heard(4, 1, 0.0);
    assert_eq!(nodes.refused(), [0, 5000]);
}

#[test]
fn lost_datagrams_cost_almost_no_sound_once_the_loss_was_noticed() {
    let mut nodes = Nodes::new(World::mixing, ClientOptions::default);
    nodes.loses = 7;
    nodes.run_ms(4000);
    let missing = |nodes: &Nodes| nodes.worlds[1].shard.stats().frames_missing;
    let before = missing(&nodes);
    nodes.run_ms(5000);
    let lost = missing(&nodes) - before;
    assert!(lost <= 5, "{lost} of 500 frames are missing");
    nodes.assert_heard(4, 1, 0.0);
}

#[test]
fn keys_are_renewed_without_a_loss_and_a_closed_trunk_takes_its_talkers_along() {
    let mut nodes = Nodes::new(World::mixing, ClientOptions::default);
    nodes.run_ms(1500);
    for (at, end) in [(1, TrunkEnd::Receiving), (0, TrunkEnd::Sending)] {
        let (trunk, number) = (TRUNKS[at], 1);
        nodes.command(
            at,
            Action::RenewTrunk {
                trunk,
                end,
                number,
                key: key(50),
            },
        );
        nodes.run_ms(100);
    }
    let before = nodes.worlds[1].shard.stats().frames_missing;
    nodes.run_ms(1000);
    nodes.assert_heard(4, 1, 0.0);
    assert_eq!(
        (nodes.refused(), nodes.worlds[1].shard.stats().frames_missing),
        ([0, 0], before)
    );

    nodes.command(1, Action::CloseTrunk { trunk: TRUNKS[1] });
    assert_eq!(nodes.worlds[1].shard.stats().peers, 2);
    nodes.run_ms(1500);
    nodes.assert_unheard(4, 1);
    nodes.assert_heard(4, 3, 0.0);
    assert!(nodes.refused()[1] > 0);
    assert!(
        nodes.worlds[1]
            .events_of(|event| matches!(event, Event::Disconnected { .. }))
            .is_empty()
    );
}

#[test]
fn gains_that_are_set_again_hold_for_talkers_who_come_back_by_another_trunk() {
    let mut nodes = Nodes::new(World::mixing, ClientOptions::default);
    let cells = || vec![gain_cell(4, 1, 0.0)];
    nodes.command(1, Action::SetGains { cells: cells() });
    nodes.run_ms(1500);
    nodes.assert_unheard(4, 1);

    // Their voice is still to fade out when all of this arrives.
    nodes.command(1, Action::CloseTrunk { trunk: TRUNKS[1] });
    let way = TrunkWay {
        to: "198.51.100.200:50000".parse().unwrap(),
        trunk: TRUNKS[0],
        send: key(1),
        receive: key(0),
        relay: false,
    };
    let trunk = TRUNKS[1];
    nodes.command(1, Action::OpenTrunk { trunk, way });
    for peer in Nodes::people(0) {
        let speak = true;
        nodes.command(1, Action::JoinRemote { peer, trunk, speak });
    }
    nodes.command(1, Action::SetGains { cells: cells() });
    nodes.run_ms(1500);
    nodes.assert_heard(3, 1, 0.0);
    nodes.assert_unheard(4, 1);
}

#[test]
fn nothing_goes_by_a_trunk_while_nobody_talks() {
    let mut nodes = Nodes::new(World::new, ClientOptions::default);
    nodes.run_ms(500);
    for world in &mut nodes.worlds {
        for client in world.clients.values_mut() {
            client.talker = None;
        }
    }
    nodes.run_ms(200);
    let before = nodes.carried;
    nodes.run_ms(5000);
    assert_eq!(nodes.carried, before);
}

/// Three nodes in a row: the one in the middle has a trunk to each of the others, which have none to each other.
pub fn row_of_three(relay: bool) -> [World; 3] {
    row_with_relays(|_| relay)
}

/// The same; `relay` tells of the trunk between a node and the next whether it is a relay trunk.
pub fn row_with_relays(relay: impl Fn(usize) -> bool) -> [World; 3] {
    let mut worlds = [World::mixing(), World::mixing(), World::mixing()];
    for (at, world) in worlds.iter_mut().enumerate() {
        let id = at as PeerId + 1;
        world.join_talking(id);
        world.connect();
        for other in (0..3).filter(|other| at.abs_diff(*other) == 1) {
            let way = TrunkWay {
                to: format!("198.51.100.{other}:50000").parse().unwrap(),
                trunk: number(other, at),
                send: key((3 * at + other) as u8),
                receive: key((3 * other + at) as u8),
                relay: relay(at.min(other)),
            };
            let trunk = number(at, other);
            world.command(Command::new(ROOM, Action::OpenTrunk { trunk, way }));
        }
        for other in (0..3).filter(|other| *other != at) {
            let next = if other > at { at + 1 } else { at - 1 };
            let action = Action::JoinRemote {
                peer: other as PeerId + 1,
                trunk: number(at, next),
                speak: true,
            };
            world.command(Command::new(ROOM, action));
        }
    }
    worlds
}

// The number that `at` gives its trunk to `other`.
pub fn number(at: usize, other: usize) -> u32 {
    (10 * at + other) as u32
}

pub fn run_row(worlds: &mut [World; 3], ms: u64) {
    watch_row(worlds, ms, |_, _| {});
}

/// The same; `carried` is told from where and to where a datagram goes.
pub fn watch_row(worlds: &mut [World; 3], ms: u64, mut carried: impl FnMut(usize, usize)) {
    for _ in 0..ms {
        for at in 0..3 {
            worlds[at].run_ms(1);
            let sent: Vec<_> = worlds[at].beyond.drain(..).collect();
            for (to, mut datagram) in sent {
                let std::net::IpAddr::V4(ip) = to.ip() else {
                    panic!("{to}")
                };
                let to = usize::from(ip.octets()[3]);
                carried(at, to);
                worlds[to].hear_trunk(&mut datagram);
            }
        }
    }
}

pub fn heard_in_row(worlds: &[World; 3], listener: usize, speaker: usize) -> f32 {
    let talker = &worlds[speaker].clients[&(speaker as PeerId + 1)];
    let client = &worlds[listener].clients[&(listener as PeerId + 1)];
    client.ear.tone_dbfs(talker.hz, 0.5) - talker.dbfs
}

#[test]
fn a_node_in_the_middle_passes_on_what_comes_by_a_relay_trunk() {
    let mut worlds = row_of_three(true);
    run_row(&mut worlds, 2500);
    for listener in 0..3 {
        for speaker in (0..3).filter(|speaker| *speaker != listener) {
            let heard = heard_in_row(&worlds, listener, speaker);
            assert!(heard.abs() <= 0.5, "{listener} hears {speaker} at {heard:.2} dB");
        }
        assert!(heard_in_row(&worlds, listener, listener) < -30.0);
    }
    // A participant who comes by another trunk from now on isn't heard by the former one.
    for trunk in [number(2, 0), number(2, 1)] {
        let way = TrunkWay {
            to: "198.51.100.0:50000".parse().unwrap(),
            trunk: 99,
            send: key(99),
            receive: key(98),
            relay: false,
        };
        if trunk == number(2, 0) {
            worlds[2].command(Command::new(ROOM, Action::OpenTrunk { trunk, way }));
        }
        let (peer, speak) = (1, true);
        worlds[2].command(Command::new(ROOM, Action::JoinRemote { peer, trunk, speak }));
        run_row(&mut worlds, 1500);
        let heard = heard_in_row(&worlds, 2, 0);
        assert_eq!(heard.abs() <= 0.5, trunk == number(2, 1), "{heard:.2} dB by {trunk}");
    }
    // Nobody goes on who may not be heard at the node in the middle.
    let silence = Action::SetSpeak { peer: 1, speak: false };
    worlds[1].command(Command::new(ROOM, silence));
    run_row(&mut worlds, 1500);
    assert!(heard_in_row(&worlds, 2, 0) < -30.0);
    assert!(heard_in_row(&worlds, 2, 1).abs() <= 0.5);
}

#[test]
fn what_comes_by_a_trunk_between_nodes_that_all_have_one_goes_no_further() {
    let mut worlds = row_of_three(false);
    run_row(&mut worlds, 2500);
    assert!(heard_in_row(&worlds, 1, 0).abs() <= 0.5);
    assert!(heard_in_row(&worlds, 2, 0) < -30.0);
}
