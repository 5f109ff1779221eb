//! The engine with real sockets and threads: lending, hand-over, panics, stopping.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)]

use std::net::UdpSocket;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, unbounded};
use roomtone_engine::{
    Action, Command, Engine, EngineConfig, Envelope, Event, FaultScope, RoomKind, RunOutcome, ShardConfig, StartError,
    SubmitError,
};
use roomtone_testkit::fixtures::{OpusTalker, Tone};
use roomtone_testkit::peer::{ClientOptions, ClientPeer, Event as ClientEvent};

fn engine() -> (Arc<Engine>, Receiver<Envelope>) {
    let (sender, receiver) = unbounded();
    let shard = ShardConfig {
        bind: "127.0.0.1:0".parse().unwrap(),
        candidates: vec!["127.0.0.1:0".parse().unwrap()],
        tcp: true,
    };
    let config = EngineConfig {
        shards: vec![shard.clone(), shard],
        ..EngineConfig::default()
    };
    (Arc::new(Engine::start(config, sender).unwrap()), receiver)
}

fn lend(engine: &Arc<Engine>, shard: usize, ms: u64) -> thread::JoinHandle<RunOutcome> {
    let engine = engine.clone();
    thread::spawn(move || engine.run(shard, Duration::from_millis(ms)))
}

fn next(events: &Receiver<Envelope>) -> Envelope {
    events
        .recv_timeout(Duration::from_secs(5))
        .expect("an event within five seconds")
}

// Joins over a real socket and runs the client until it is connected.
fn connect(engine: &Engine, events: &Receiver<Envelope>, room: u64, peer: u64) -> (ClientPeer, UdpSocket) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(5))).unwrap();
    let mut client = ClientPeer::new(Instant::now(), ClientOptions::default()).unwrap();
    let offer = client.offer();
    engine
        .submit(
            0,
            Command::new(
                room,
                Action::Join {
                    peer,
                    offer,
                    speak: true,
                    listen: true,
                },
            ),
        )
        .unwrap();
    loop {
        if let Event::Answer { peer: to, sdp, .. } = next(events).event
            && to == peer
        {
            client.accept_answer(Instant::now(), &sdp).unwrap();
            break;
        }
    }
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(5) {
        if pump(&mut client, &socket).contains(&ClientEvent::Connected) {
            return (client, socket);
        }
    }
    panic!("not connected within five seconds");
}

fn pump(client: &mut ClientPeer, socket: &UdpSocket) -> Vec<ClientEvent> {
    let mut buffer = [0; 2048];
    client.handle_timeout(Instant::now());
    while let Some((to, data)) = client.poll_transmit() {
        socket.send_to(&data, to).unwrap();
    }
    if let Ok((length, from)) = socket.recv_from(&mut buffer) {
        client.handle_datagram(Instant::now(), from, &mut buffer[..length]);
    }
    std::iter::from_fn(|| client.poll_event()).collect()
}

#[test]
fn a_second_lender_takes_over_and_the_calls_go_on() {
    let (engine, events) = engine();
    let first = lend(&engine, 0, 60_000);
    assert!(matches!(
        next(&events),
        Envelope {
            shard: 0,
            epoch: 1,
            event: Event::ShardStarted { .. }
        }
    ));
    engine
        .submit(
            0,
            Command::new(
                1,
                Action::Open {
                    kind: RoomKind::default(),
                },
            ),
        )
        .unwrap();
    let (mut client, socket) = connect(&engine, &events, 1, 10);
    let second = lend(&engine, 0, 60_000);
    assert!(matches!(first.join().unwrap(), RunOutcome::Yielded));
    // The same call, through the second lender: a client that hears from its server stays connected.
    let before = client.stats().packets_received;
    engine
        .submit(0, Command::new(1, Action::PeerStats { peer: 10, reference: 3 }))
        .unwrap();
    let stats = loop {
        if let Event::PeerStats { stats, .. } = next(&events).event {
            break stats;
        }
    };
    assert!(stats.expect("the participant is still there").connected);
    assert_eq!(client.stats().packets_received, before);
    engine.stop();
    assert!(matches!(second.join().unwrap(), RunOutcome::Stopped));
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(5) {
        if pump(&mut client, &socket)
            .iter()
            .any(|event| matches!(event, ClientEvent::Closed(_)))
        {
            return;
        }
    }
    panic!("nobody told the client that the engine was stopped");
}

#[test]
fn a_panic_empties_the_shard_and_a_new_epoch_begins_on_the_same_port() {
    let (engine, events) = engine();
    let lender = lend(&engine, 0, 60_000);
    let Event::ShardStarted { addresses } = next(&events).event else {
        panic!("no start")
    };
    engine
        .submit(
            0,
            Command::new(
                1,
                Action::Open {
                    kind: RoomKind::default(),
                },
            ),
        )
        .unwrap();
    connect(&engine, &events, 1, 10);
    engine
        .submit(
            0,
            Command::new(
                0,
                Action::Fault {
                    scope: FaultScope::Shard,
                },
            ),
        )
        .unwrap();
    let RunOutcome::Panicked(text) = lender.join().unwrap() else {
        panic!("no panic")
    };
    assert!(text.contains("a fault was asked for"), "{text}");
    let lender = lend(&engine, 0, 60_000);
    let again = loop {
        let envelope = next(&events);
        if envelope.epoch == 2 {
            break envelope;
        }
    };
    assert_eq!(again.event, Event::ShardStarted { addresses });
    engine
        .submit(
            0,
            Command::new(
                1,
                Action::Open {
                    kind: RoomKind::default(),
                },
            ),
        )
        .unwrap();
    connect(&engine, &events, 1, 11);
    engine.stop();
    assert!(matches!(lender.join().unwrap(), RunOutcome::Stopped));
}

#[test]
fn a_shard_that_nobody_runs_is_busy_after_a_while_and_not_unbounded() {
    let (engine, _events) = engine();
    let mut taken = 0;
    while engine.submit(
        1,
        Command::new(
            taken,
            Action::Open {
                kind: RoomKind::default(),
            },
        ),
    ) != Err(SubmitError::Busy)
    {
        taken += 1;
        assert!(taken < 100_000, "the queue has no bound");
    }
    assert_eq!(
        engine.submit(
            2,
            Command::new(
                1,
                Action::Open {
                    kind: RoomKind::default()
                }
            )
        ),
        Err(SubmitError::NoShard)
    );
    assert!(matches!(engine.run(2, Duration::from_millis(1)), RunOutcome::NoShard));
    engine.stop();
    assert_eq!(
        engine.submit(
            0,
            Command::new(
                1,
                Action::Open {
                    kind: RoomKind::default()
                }
            )
        ),
        Err(SubmitError::Stopped)
    );
    assert!(matches!(engine.run(0, Duration::from_secs(60)), RunOutcome::Stopped));
}

#[test]
fn a_port_in_use_is_an_error_that_names_it_and_stopping_frees_it() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let bind = taken.local_addr().unwrap();
    let config = || EngineConfig {
        shards: vec![ShardConfig {
            bind,
            candidates: vec![bind],
            tcp: true,
        }],
        ..EngineConfig::default()
    };
    let (sender, _events) = unbounded();
    let error = Engine::start(config(), sender.clone())
        .err()
        .expect("the port is taken");
    assert!(matches!(error, StartError::Bind { .. }));
    assert!(error.to_string().contains(&bind.to_string()), "{error}");
    assert!(matches!(
        Engine::start(EngineConfig::default(), sender.clone()),
        Err(StartError::NoShards)
    ));
    drop(taken);
    let engine = Engine::start(config(), sender.clone()).unwrap();
    assert!(matches!(engine.run(0, Duration::from_millis(1)), RunOutcome::Yielded));
    engine.stop();
    Engine::start(config(), sender).expect("a stopped engine has let go of its port");
}

#[test]
fn a_room_moves_to_another_thread_and_socket_during_a_call() {
    let (engine, events) = engine();
    let lenders = [lend(&engine, 0, 60_000), lend(&engine, 1, 60_000)];
    for _ in 0..2 {
        assert!(matches!(next(&events).event, Event::ShardStarted { .. }));
    }
    engine
        .submit(
            0,
            Command::new(
                1,
                Action::Open {
                    kind: RoomKind::default(),
                },
            ),
        )
        .unwrap();
    let (mut talker, talker_socket) = connect(&engine, &events, 1, 10);
    let (mut listener, listener_socket) = connect(&engine, &events, 1, 11);
    let home = listener.remote_address();
    let mut tone = OpusTalker::new(Tone::new(440.0, 0.1), 32_000).unwrap();
    let begin = Instant::now();
    let (mut frames, mut moves, mut heard) = (0u32, 0, 0u64);
    // Long enough for many frames after the last move, however slow the machine is.
    while begin.elapsed() < Duration::from_secs(30) && !(moves == 6 && heard > 100) {
        if begin.elapsed() >= Duration::from_millis(20) * frames {
            let packet = tone.next().unwrap();
            talker.send_opus(Instant::now(), frames * 960, false, Some(packet.level), &packet.payload);
            frames += 1;
        }
        pump(&mut talker, &talker_socket);
        let sounds = pump(&mut listener, &listener_socket);
        heard += sounds
            .iter()
            .filter(|event| matches!(event, ClientEvent::Audio(_)))
            .count() as u64;
        if moves < 6 && heard > 20 {
            let (here, there) = (moves % 2, (moves + 1) % 2);
            engine
                .submit(here, Command::new(1, Action::Move { to: there }))
                .unwrap();
            loop {
                let envelope = next(&events);
                if let Event::RoomMoved { room: 1, from } = envelope.event {
                    assert_eq!((envelope.shard, from), (there, here));
                    break;
                }
            }
            (moves, heard) = (moves + 1, 0);
        }
    }
    assert!(moves == 6 && heard > 100, "{moves} moves, then {heard} packets");
    assert_eq!(listener.remote_address(), home, "the address stays");
    assert_eq!(listener.stats().streams[0].seq_gaps, 0);
    assert_eq!(listener.stats().rejected, 0);
    let stats = engine.stats(0).unwrap();
    // Most ticks wait for a packet, because nothing is mixed; those that were due by themselves are measured.
    assert!(stats.ticks > 20, "{stats:?}");
    assert!(
        stats.tick_duration.count() > 0,
        "what ticks take is measured: {stats:?}"
    );
    engine.stop();
    for lender in lenders {
        assert!(matches!(lender.join().unwrap(), RunOutcome::Stopped));
    }
}

#[test]
fn orders_of_many_threads_are_carried_out_in_each_ones_order_while_the_room_moves() {
    const CALLERS: u64 = 3;
    const COMMANDS: u64 = 400;
    let (engine, events) = engine();
    let lenders = [lend(&engine, 0, 60_000), lend(&engine, 1, 60_000)];
    for _ in 0..2 {
        assert!(matches!(next(&events).event, Event::ShardStarted { .. }));
    }
    engine
        .submit(
            0,
            Command::new(
                1,
                Action::Open {
                    kind: RoomKind::default(),
                },
            ),
        )
        .unwrap();
    // Once it has an address, any shard may be named.
    engine.submit(0, Command::new(1, Action::Move { to: 1 })).unwrap();
    assert!(matches!(next(&events).event, Event::RoomMoved { .. }));
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let engine = engine.clone();
            std::thread::spawn(move || {
                for command in 0..COMMANDS {
                    let reference = caller * COMMANDS + command;
                    let (room, to, peer) = (1, (command / 4 % 2) as usize, 1);
                    if command % 4 == 0 {
                        engine.submit(to, Command::new(room, Action::Move { to })).unwrap();
                    }
                    let named = ((command + caller) % 2) as usize;
                    engine
                        .submit(named, Command::new(room, Action::PeerStats { peer, reference }))
                        .unwrap();
                }
            })
        })
        .collect();
    let (mut answered, mut moves) = (vec![Vec::new(); CALLERS as usize], 0);
    while answered.iter().map(Vec::len).sum::<usize>() < (CALLERS * COMMANDS) as usize {
        match next(&events).event {
            Event::PeerStats { reference, .. } => answered[(reference / COMMANDS) as usize].push(reference),
            Event::RoomMoved { .. } => moves += 1,
            _ => {}
        }
    }
    assert!(answered.iter().all(|references| references.is_sorted()));
    assert!(moves > 0);
    callers.into_iter().for_each(|caller| caller.join().unwrap());
    engine.stop();
    for lender in lenders {
        assert!(matches!(lender.join().unwrap(), RunOutcome::Stopped));
    }
}
