//! Commands for a room that moves between shards, while loops stall and messages are late: they are carried out in order, none is lost
//! when a shard breaks, and the sound goes on.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::common::{ROOM, World, gain_cell, reoffer};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use roomtone_engine::{Action, Command, Event, FaultScope, MixConfig, PeerId, RoomKind, SubmitError};
use roomtone_testkit::peer::{ClientOptions, ClientPeer};

const SHARDS: usize = 3;

/// The outcome of a command, as its event tells.
#[derive(Debug, PartialEq)]
enum Outcome {
    Answered(PeerId),
    Refused(PeerId, &'static str),
    Gone(PeerId, &'static str),
    Asked(u64, bool),
}

fn outcomes(world: &World) -> Vec<Outcome> {
    let outcome = |event: &Event| match event {
        Event::Answer { peer, .. } => Some(Outcome::Answered(*peer)),
        Event::Refused { peer, refusal, .. } => Some(Outcome::Refused(*peer, refusal.code())),
        Event::Disconnected { peer, reason, .. } => Some(Outcome::Gone(*peer, reason.as_str())),
        Event::PeerStats { reference, stats } => Some(Outcome::Asked(*reference, stats.is_some())),
        _ => None,
    };
    world.events.iter().filter_map(|(_, event)| outcome(event)).collect()
}

/// A caller who submits random commands for the room.
struct Caller {
    random: StdRng,
    offer: String,
    peers: u64,
    asked: u64,
}

impl Caller {
    fn new(world: &World, seed: u64) -> Caller {
        Caller {
            random: StdRng::seed_from_u64(seed),
            offer: ClientPeer::new(world.now, ClientOptions::default()).unwrap().offer(),
            peers: 0,
            asked: 0,
        }
    }

    fn shard(&mut self) -> usize {
        self.random.random_range(0..SHARDS)
    }

    /// A command whose outcome depends on those before it.
    fn command(&mut self) -> Command {
        let (room, offer) = (ROOM, self.offer.clone());
        let peer = self.random.random_range(0..=self.peers);
        match self.random.random_range(0..5) {
            0 => {
                self.peers += 1;
                let peer = self.peers;
                let (speak, listen) = (true, true);
                Command::new(
                    room,
                    Action::Join {
                        peer,
                        offer,
                        speak,
                        listen,
                    },
                )
            }
            1 => Command::new(room, Action::Leave { peer }),
            2 => Command::new(room, reoffer(peer, offer)),
            _ => {
                self.asked += 1;
                let reference = self.asked;
                Command::new(room, Action::PeerStats { peer, reference })
            }
        }
    }

    /// Loops come round and messages arrive, or not.
    fn let_some_time_pass(&mut self, world: &mut World) {
        for _ in 0..self.random.random_range(0..4) {
            world.loops.commands = self.random.random_range(1..4);
            let shard = self.shard();
            world.run_shard_once(shard);
            world.now += Duration::from_millis(self.random.random_range(0..2));
        }
    }
}

/// Shards whose messages take up to 20 ms, each as it likes, where one message at a time is on its way or as many as there are.
fn slow_world(seed: u64) -> World {
    let mut world = World::of_many(SHARDS);
    let mut random = StdRng::seed_from_u64(seed);
    world.loops.room = [1, 3, usize::MAX][random.random_range(0..3)];
    world.loops.delay = Box::new(move |_, _| Duration::from_millis(random.random_range(0..20)));
    world
}

fn close(world: &mut World, shard: usize) {
    world.submit(shard, Command::new(ROOM, Action::Close));
    world.run_ms(100);
    for index in 0..SHARDS {
        assert_eq!(world.shard_at(index).remembered(), (0, 0, 0), "shard {index}");
        assert_eq!(world.shard_at(index).stats().peers, 0, "shard {index}");
    }
    assert_eq!(world.queues.remembered(), (0, 0));
}

#[test]
fn orders_are_carried_out_as_they_were_given_wherever_the_room_is() {
    for seed in 0..40 {
        let mut world = slow_world(seed);
        // The same, where nothing ever moves.
        let mut lone = World::new();
        let mut caller = Caller::new(&world, seed);
        let mut moves = 0;
        for _ in 0..80 {
            let named = caller.shard();
            // A room's first address is for the caller to know.
            let named = if moves == 0 { 0 } else { named };
            if caller.random.random_bool(0.25) {
                let to = caller.shard();
                world.submit(named, Command::new(ROOM, Action::Move { to }));
            } else {
                let command = caller.command();
                world.submit(named, command.clone());
                lone.command(command);
            }
            caller.let_some_time_pass(&mut world);
            moves = world.events_of(|event| matches!(event, Event::RoomMoved { .. })).len();
        }
        world.run_ms(200);
        lone.collect();
        assert!(moves > 3, "{seed}: {moves} moves");
        assert_eq!(outcomes(&world), outcomes(&lone), "{seed}");
        close(&mut world, caller.shard());
    }
}

/// The shard that has the room, for a reader of the shards' events.
#[derive(Default)]
struct Belief {
    place: usize,
    moved: bool,
    /// How many events they know.
    heard: usize,
}

impl Belief {
    /// Hears the news, and that a shard broke. Opens the room again if it is lost, where it is believed to be; true if so.
    fn catch_up(&mut self, world: &World, broken: Option<usize>) -> bool {
        let mut lost = false;
        for ((_, event), shard) in world.events.iter().zip(&world.told_by).skip(self.heard) {
            match event {
                Event::RoomMoved { .. } => (self.place, self.moved, lost) = (*shard, true, false),
                Event::RoomFailed { .. } => lost = true,
                _ => {}
            }
        }
        self.heard = world.events.len();
        lost |= broken == Some(self.place);
        if lost {
            world.submit(
                self.place,
                Command::new(
                    ROOM,
                    Action::Open {
                        kind: RoomKind::default(),
                    },
                ),
            );
        }
        lost
    }
}

#[test]
fn whatever_breaks_the_world_knows_where_the_room_is_and_nothing_is_carried_out_too_early() {
    let mut lost = 0;
    for seed in 0..60 {
        let mut world = slow_world(seed);
        let mut caller = Caller::new(&world, seed);
        let mut belief = Belief::default();
        for _ in 0..120 {
            let named = if belief.moved { caller.shard() } else { 0 };
            let order = match caller.random.random_range(0..20) {
                0..=6 => Command::new(ROOM, Action::Move { to: caller.shard() }),
                _ => caller.command(),
            };
            world.submit(named, order);
            caller.let_some_time_pass(&mut world);
            let broken = caller.random.random_bool(0.05).then(|| caller.shard());
            if let Some(broken) = broken {
                world.replace_shard(broken);
            }
            lost += usize::from(belief.catch_up(&world, broken));
        }
        world.run_ms(200);
        lost += usize::from(belief.catch_up(&world, None));
        world.run_ms(200);
        let here: Vec<usize> = (0..SHARDS)
            .filter(|index| world.shard_at(*index).stats().rooms > 0)
            .collect();
        assert_eq!(here, [belief.place], "{seed}");
        let asked = world.events_of(|event| matches!(event, Event::PeerStats { .. }));
        let references: Vec<u64> = asked
            .iter()
            .filter_map(|event| match event {
                Event::PeerStats { reference, .. } => Some(*reference),
                _ => None,
            })
            .collect();
        assert!(references.is_sorted(), "{seed}: {references:?}");
        assert!(references.len() > 5, "{seed}");
        close(&mut world, caller.shard());
    }
    assert!(lost > 20, "{lost} lost");
}

fn set_gain(world: &mut World, shard: usize, gain: f32) {
    let cells = vec![gain_cell(2, 1, gain)];
    world.submit(shard, Command::new(ROOM, Action::SetGains { cells }));
}

#[test]
fn the_sound_goes_on_and_the_last_word_holds() {
    // A mix comes from the jitter buffer, which bridges a loop that stands still. A packet that is passed on comes as late as it was held up.
    moves_and_gains_at_random(false, Duration::from_millis(40));
    moves_and_gains_at_random(true, Duration::from_millis(60));
}

fn moves_and_gains_at_random(pass_through: bool, longest_gap: Duration) {
    for seed in 0..4 {
        let mix = MixConfig {
            pass_through,
            ..MixConfig::default()
        };
        let mut world = World::of_many_with(SHARDS, mix);
        world.join_talking(1);
        world.join(2, ClientOptions::default());
        world.join(3, ClientOptions::default());
        world.connect();
        world.run_ms(500);
        let mut random = StdRng::seed_from_u64(seed);
        let mut delays = StdRng::seed_from_u64(seed + 100);
        world.loops.delay = Box::new(move |_, _| Duration::from_millis(delays.random_range(0..5)));
        world.loops.commands = 1;
        world.submit(0, Command::new(ROOM, Action::Move { to: 1 }));
        world.run_ms(20);
        let from = world.now;
        for _ in 0..100 {
            let (named, to) = (random.random_range(0..SHARDS), random.random_range(0..SHARDS));
            // Each loop stands still for a while, now and then.
            world.loops.asleep = BTreeSet::from_iter(random.random_bool(0.3).then(|| random.random_range(0..SHARDS)));
            set_gain(&mut world, named, 0.25);
            world.submit(random.random_range(0..SHARDS), Command::new(ROOM, Action::Move { to }));
            set_gain(&mut world, random.random_range(0..SHARDS), 1.0);
            world.run_ms(random.random_range(0..20));
            world.loops.asleep.clear();
            // Awake at least for a moment, or two sleeps would be one of more than two frames.
            world.run_ms(random.random_range(2..30));
            // Sooner or later it is where it was sent last, and what was said last of it holds: see below.
            set_gain(&mut world, named, 0.5);
        }
        world.run_ms(1000);
        let moves = world.events_of(|event| matches!(event, Event::RoomMoved { .. })).len();
        assert!(moves > 40, "{seed}: {moves} moves");
        let heard = world.heard_db(2, 1, 0.5);
        assert!((heard + 6.02).abs() < 1.0, "{seed}: {heard:.1} dB");
        assert!(world.heard_db(3, 1, 0.5).abs() < 1.0, "{seed}: nothing was said of 3");
        for listener in [2, 3] {
            let client = &world.clients[&listener];
            client.assert_continuous();
            let times: Vec<_> = client.heard.iter().map(|h| h.0).filter(|at| *at >= from).collect();
            let gap = times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap();
            assert!(
                gap <= longest_gap,
                "{seed}: {listener} heard nothing for {gap:?} (pass-through: {pass_through})"
            );
        }
    }
}

#[test]
fn an_address_that_changes_while_no_message_gets_through_is_known_at_home_afterwards() {
    let mut world = World::with_talker_and_listener(SHARDS);
    world.submit(0, Command::new(ROOM, Action::Move { to: 1 }));
    world.run_ms(300);
    let client = world.clients.get_mut(&1).unwrap();
    client.address.set_port(client.address.port() + 5000);
    let now = world.now;
    let offer = client.peer.restart(now);
    world.submit(2, Command::new(ROOM, reoffer(1, offer)));
    // The new ufrag is never told: the box is full.
    world.loops.room = 0;
    world.run_ms(500);
    assert!(world.shard_at(1).has_pending());
    assert!(
        world.heard_db(2, 1, 0.2) < -20.0,
        "nobody knows them by their new address"
    );
    world.loops.room = 1;
    world.run_ms(2000);
    assert!(!world.shard_at(1).has_pending());
    world.assert_everyone_hears_the_others(&[1], 0.5, 1.0);
    close(&mut world, 2);
}

#[test]
fn a_room_on_its_way_outlives_both_shards() {
    let mut world = World::with_talker_and_listener(SHARDS);
    world.submit(0, Command::new(ROOM, Action::Move { to: 1 }));
    world.run_ms(20);
    world.loops.asleep = BTreeSet::from([2]);
    world.submit(1, Command::new(ROOM, Action::Move { to: 2 }));
    world.run_ms(1);
    set_gain(&mut world, 0, 0.5);
    // Neither those who sent it nor those who should take it are there any more.
    for index in 0..SHARDS {
        world.replace_shard(index);
    }
    world.loops.asleep.clear();
    world.run_ms(1000);
    assert_eq!(world.shard_at(2).stats().peers, 2);
    let heard = world.heard_db(2, 1, 0.5);
    assert!(
        (heard + 6.02).abs() < 1.0,
        "heard at {heard:.1} dB: what was ordered came along"
    );
    assert_eq!(
        world.events_of(|event| matches!(event, Event::RoomFailed { .. })).len(),
        0
    );
    close(&mut world, 0);
}

#[test]
fn a_room_that_was_taken_in_and_lost_before_anybody_heard_of_it_is_told_of() {
    let mut world = World::of_many(SHARDS);
    world.loops.asleep = BTreeSet::from([1]);
    world.submit(0, Command::new(ROOM, Action::Move { to: 1 }));
    world.run_ms(1);
    let now = world.now;
    assert!(world.shard_at(1).take_work(now));
    world.replace_shard(1);
    world.loops.asleep.clear();
    world.run_ms(5);
    let told: Vec<_> = world.events.iter().map(|(_, event)| event.clone()).collect();
    let (room, from) = (ROOM, 0);
    assert_eq!(told, [Event::RoomMoved { room, from }, Event::RoomFailed { room }]);
    assert_eq!(world.told_by, [1, 1]);
    // Once they know, it is not told again.
    world.replace_shard(1);
    world.run_ms(5);
    assert_eq!(world.events.len(), 2);
    close(&mut world, 2);
}

#[test]
fn a_shard_that_is_far_behind_takes_no_room() {
    let mut world = World::of_many(SHARDS);
    world.loops.asleep = BTreeSet::from([1]);
    // As many as it takes until it says that it is enough.
    while world.queues.submit(1, Command::new(4711, Action::Close)) != Err(SubmitError::Busy) {}
    world.submit(0, Command::new(ROOM, Action::Move { to: 1 }));
    world.run_ms(5);
    assert_eq!(world.shard_at(0).stats().rooms, 1);
    world.loops.asleep.clear();
    world.run_ms(5);
    assert_eq!(world.queues.remembered(), (0, 0));
    world.submit(0, Command::new(ROOM, Action::Move { to: 1 }));
    world.run_ms(5);
    assert_eq!(world.shard_at(1).stats().rooms, 1);
}

#[test]
fn what_was_ordered_of_a_life_that_ended_is_void() {
    let mut world = World::of_many(SHARDS);
    world.loops.asleep = BTreeSet::from([1]);
    world.submit(
        1,
        Command::new(
            8,
            Action::Open {
                kind: RoomKind::default(),
            },
        ),
    );
    world.replace_shard(1);
    world.loops.asleep.clear();
    world.run_ms(5);
    assert_eq!(world.shard_at(1).stats().rooms, 0);
}

#[test]
fn the_address_of_a_room_that_was_to_be_closed_ends_with_its_shard() {
    let mut world = World::of_many(SHARDS);
    world.submit(0, Command::new(ROOM, Action::Move { to: 1 }));
    world.run_ms(50);
    assert_eq!(world.queues.remembered(), (1, 0));
    world.loops.asleep = BTreeSet::from([1]);
    world.submit(0, Command::new(ROOM, Action::Close));
    world.replace_shard(1);
    world.loops.asleep.clear();
    world.run_ms(50);
    assert_eq!(world.queues.remembered(), (0, 0));
}

#[test]
fn sound_that_is_quicker_than_its_room_waits_for_nothing() {
    let mut world = World::of_many(SHARDS);
    world.join_talking(1);
    world.connect();
    world.loops.asleep = BTreeSet::from([1]);
    world.submit(0, Command::new(ROOM, Action::Move { to: 1 }));
    world.run_ms(1);
    world.loops.asleep.clear();
    // The loop doesn't get to its commands.
    world.loops.commands = 0;
    world.run_ms(40);
    assert_eq!(world.shard_at(1).stats().rooms, 1);
}

/// From now on messages from the second shard to the first take a second.
fn slow_messages_home(world: &mut World) {
    world.loops.delay = Box::new(|from, to| Duration::from_secs(u64::from((from, to) == (1, 0))));
}

#[test]
fn what_is_told_late_of_where_a_room_was_is_not_believed() {
    let mut world = World::of_many(SHARDS);
    slow_messages_home(&mut world);
    let go = |world: &World, to| world.submit(0, Command::new(ROOM, Action::Move { to }));
    go(&world, 1);
    // Comes in where the room has a last moment; their address is found where it is then, and is to be known at home.
    world.join_talking(1);
    world.run_ms(200);
    go(&world, 2);
    world.run_ms(200);
    close(&mut world, 0);
    world.run_ms(2000);
    assert_eq!(world.shard_at(0).remembered(), (0, 0, 0));
}

#[test]
fn what_is_told_late_of_a_rooms_end_is_not_believed_of_the_next() {
    let mut world = World::of_many(SHARDS);
    world.submit(0, Command::new(ROOM, Action::Move { to: 1 }));
    world.join_talking(9);
    world.run_ms(5);
    slow_messages_home(&mut world);
    world.submit(
        1,
        Command::new(
            ROOM,
            Action::Fault {
                scope: FaultScope::Room,
            },
        ),
    );
    world.run_ms(50);
    let failed = |event: &Event| matches!(event, Event::RoomFailed { .. });
    assert_eq!(world.events_of(failed).len(), 1);
    world.clients.clear();
    world.submit(
        1,
        Command::new(
            ROOM,
            Action::Open {
                kind: RoomKind::default(),
            },
        ),
    );
    world.submit(1, Command::new(ROOM, Action::Move { to: 0 }));
    world.run_ms(5);
    world.join_talking(1);
    world.join(2, ClientOptions::default());
    world.connect();
    world.submit(0, Command::new(ROOM, Action::Move { to: 2 }));
    world.run_ms(2000);
    world.assert_everyone_hears_the_others(&[1], 0.5, 1.0);
}
