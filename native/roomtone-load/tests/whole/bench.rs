//! The bench as a whole, against a small room in this process: what its report says, not how fast the room is.

use std::future::pending;
use std::path::PathBuf;
use std::time::Duration;

use crate::room::{Faults, Room, TOKEN};
use roomtone_load::bench::{BenchConfig, Case, Door, Kind, Plan, Results, System, Target, Tokens, chart, run, table};

#[allow(clippy::unwrap_used)] // Clippy takes only what is marked #[test] for a test
fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("roomtone-bench-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    path
}

#[allow(clippy::unwrap_used)]
fn config(room: &Room, name: &str, cases: Vec<Case>) -> BenchConfig {
    let (base, room) = room.url.rsplit_once('/').unwrap();
    let folder = folder(name);
    BenchConfig {
        plan: Plan {
            cases,
            repeats: 1,
            time: Duration::from_secs(4),
        },
        target: Target::Running {
            door: Door::Whip {
                base: base.to_owned(),
                tokens: Tokens::Same(Some(TOKEN.into())),
                only_room: Some(room.to_owned()),
                certificate: None,
            },
            pid: Some(std::process::id()),
        },
        keep: Some(folder.join("results.json")),
        folder,
        babble: true,
        ..BenchConfig::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn measures_a_room_and_keeps_what_it_found() {
    let room = Room::open(Faults::default()).await;
    let mix = System::Roomtone(Kind::Mix);
    let cases = vec![Case::room(mix, 4, 2), Case::room(mix, 3, 1)];
    let config = config(&room, "whole", cases);
    // A talker who was kept from talking doesn't catch up, so a busy machine gets some tries. Four hear 50 packets a second, two talk.
    let mut tries = 0;
    let results = loop {
        let mut steps = 0;
        let results = run(config.clone(), |_| steps += 1, pending()).await.unwrap();
        assert!(steps >= 4, "each case begins and is measured: {steps}");
        assert_eq!(results.samples.len(), 2);
        let sample = &results.samples[0];
        let each = sample.seconds * 50.0;
        let (heard, said) = (sample.packets.0 as f64 / each, sample.packets.1 as f64 / each);
        if (heard - 4.0).abs() < 0.4 && (said - 2.0).abs() < 0.4 {
            break results;
        }
        tries += 1;
        assert!(tries < 4, "{heard} streams in, {said} out");
    };
    let sample = &results.samples[0];
    assert!(sample.is_good(), "{sample:?}");
    assert_eq!((sample.joined, sample.connect_ms.len()), (4, 4));
    assert_eq!((sample.lost, sample.broken), (0, (0, 0)));
    // Two listeners heard beeps of two talkers.
    assert!(sample.latency_ms.len() >= 2, "{:?}", sample.latency_ms);
    assert!(sample.heard.0 > 0 && sample.cpu.unwrap() > 0.0 && sample.rss_kb.unwrap().1 > 1000);
    assert_eq!(room.members(), 0, "everybody has left");

    let text = table(&results);
    assert!(text.contains("roomtone mix, N = 4, K = 2"), "{text}");
    assert!(chart(&results).unwrap().contains("Roomtone, mix"));

    // The kept results are the same, and with them there is nothing left to do.
    let kept: Results = serde_json::from_str(&std::fs::read_to_string(config.keep.as_ref().unwrap()).unwrap()).unwrap();
    assert_eq!(kept.samples.len(), 2);
    let resumed = BenchConfig {
        resume: true,
        ..config.clone()
    };
    let again = run(resumed, |_| {}, pending()).await.unwrap();
    assert_eq!(again.samples, kept.samples);
    std::fs::remove_dir_all(config.folder).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn latency_is_that_of_the_server() {
    let delay = Duration::from_millis(200);
    let quick = Room::open(Faults::default()).await;
    let slow = Room::open(Faults {
        delay,
        ..Faults::default()
    })
    .await;
    // A busy machine adds to what is measured, so it gets some tries; it takes nothing away.
    for tries_left in (0..5).rev() {
        let case = || vec![Case::room(System::Roomtone(Kind::Mix), 3, 1)];
        let (quick, slow) = (config(&quick, "quick", case()), config(&slow, "slow", case()));
        let folders = [quick.folder.clone(), slow.folder.clone()];
        let (quick, slow) = tokio::join!(run(quick, |_| {}, pending()), run(slow, |_| {}, pending()));
        let p50 = |results: &Results| results.summaries()[0].latency_ms.expect("beeps were heard").p50;
        let (quick, slow) = (p50(&quick.unwrap()), p50(&slow.unwrap()));
        for folder in folders {
            std::fs::remove_dir_all(folder).unwrap();
        }
        assert!(slow >= 200.0, "{slow}");
        if quick < 120.0 && slow < 320.0 {
            return;
        }
        assert!(tries_left > 0, "{quick} {slow}");
    }
}

#[tokio::test]
async fn a_server_that_refuses_is_reported_as_such() {
    let room = Room::open(Faults::default()).await;
    let mut config = config(&room, "refused", vec![Case::room(System::Roomtone(Kind::Mix), 3, 1)]);
    if let Target::Running {
        door: Door::Whip { tokens, .. },
        ..
    } = &mut config.target
    {
        *tokens = Tokens::Same(None);
    }
    config.plan.time = Duration::from_millis(200);
    let results = run(config.clone(), |_| {}, pending()).await.unwrap();
    let sample = &results.samples[0];
    assert!(!sample.is_good());
    assert!(sample.failures[0].contains("401"), "{:?}", sample.failures);
    assert!(table(&results).contains("NOT GOOD"));
    let spatial = System::Roomtone(Kind::Spatial);
    config.plan.cases = vec![Case::room(spatial, 3, 1)];
    let error = run(config.clone(), |_| {}, pending()).await.unwrap_err();
    assert!(error.to_string().contains("--server"), "{error}");
    std::fs::remove_dir_all(config.folder).unwrap();
}
