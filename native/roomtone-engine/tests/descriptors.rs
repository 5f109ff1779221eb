//! A process without file descriptors: alone in its test binary, because the limit is the process's.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

use std::time::Duration;

use roomtone_engine::{Engine, EngineConfig, Event, RunOutcome, ShardConfig};

#[test]
fn a_shard_without_descriptors_fails_with_words_and_begins_once_there_are_some() {
    let (sender, events) = crossbeam_channel::bounded(16);
    let config = EngineConfig {
        shards: vec![ShardConfig {
            bind: "127.0.0.1:0".parse().unwrap(),
            candidates: vec!["127.0.0.1:0".parse().unwrap()],
            tcp: true,
        }],
        ..EngineConfig::default()
    };
    let engine = Engine::start(config, sender).unwrap();
    let (soft, hard) = rlimit::Resource::NOFILE.get().unwrap();
    // Below all that are open: each further one is refused.
    rlimit::Resource::NOFILE.set(3, hard).unwrap();
    let refused = engine.run(0, Duration::from_millis(1));
    rlimit::Resource::NOFILE.set(soft, hard).unwrap();
    let RunOutcome::Failed(error) = refused else {
        panic!("{refused:?}")
    };
    assert!(
        error.to_string().starts_with("cannot open an epoll instance: "),
        "{error}"
    );
    assert!(events.is_empty(), "nothing has begun");
    assert!(matches!(engine.run(0, Duration::from_millis(1)), RunOutcome::Yielded));
    let begun = events.recv_timeout(Duration::from_secs(60)).unwrap();
    assert!(matches!(begun.event, Event::ShardStarted { .. }), "{begun:?}");
    assert_eq!(begun.epoch, 1);
}
