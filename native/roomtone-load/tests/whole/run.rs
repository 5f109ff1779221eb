//! The load generator as a whole, over real sockets, against a small room.

use std::future::pending;
use std::time::Duration;

use crate::room::{Faults, Room, TOKEN};
use roomtone_load::run::{ClientKind, RunConfig, RunError, RunReport, Sound, run};
use roomtone_load::whip::WhipError;
use roomtone_testkit::peer::Profiles;

fn config(room: &Room) -> RunConfig {
    RunConfig {
        url: room.url.clone(),
        token: Some(TOKEN.into()),
        peers: 4,
        talkers: 2,
        time: Duration::from_secs(4),
        ..RunConfig::default()
    }
}

async fn report(config: RunConfig) -> RunReport {
    let report = run(config, |_| {}, pending()).await.expect("a run");
    println!("{report}");
    report
}

/// How many packets a second came in and went out, over the 50 of one stream.
fn streams(report: &RunReport) -> (f64, f64) {
    let each = report.seconds * 50.0;
    (report.packets_in as f64 / each, report.packets_out as f64 / each)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_joins_hears_and_leaves() {
    // A talker who was kept from talking doesn't catch up, so a busy machine gets some tries. Five hear, three talk.
    let (mut room, mut seen, mut report);
    let mut tries = 0;
    loop {
        room = Room::open(Faults::default()).await;
        let config = RunConfig {
            pid: Some(std::process::id()),
            ..config(&room)
        };
        seen = 0;
        report = run(config, |progress| seen = seen.max(progress.joined), pending())
            .await
            .unwrap();
        println!("{report}");
        let (heard, said) = streams(&report);
        if (heard - 5.0).abs() < 0.2 && (said - 3.0).abs() < 0.2 {
            break;
        }
        tries += 1;
        assert!(tries < 4, "{heard} streams in, {said} out");
    }
    assert!(report.is_good());
    assert_eq!((seen, report.joined, room.members()), (5, 5, 0));
    assert_eq!((report.heard.len(), report.tones.len()), (4, 2));
    for heard in &report.heard {
        for (tone, level) in report.tones.iter().zip(&heard.dbfs) {
            let own = heard.listener.contains(tone.as_str());
            assert!(
                if own {
                    *level < -50.0
                } else {
                    (*level + 20.0).abs() < 1.5
                },
                "{} {tone} {level}",
                heard.listener
            );
        }
    }
    assert_eq!((report.packets_lost, report.rejected, report.undecodable), (0, 0, 0));
    // The listeners at least joined when somebody was talking already.
    let first_audio = report.first_audio_ms.unwrap();
    assert!(first_audio.count >= 2 && first_audio.p50 < 5000.0, "{first_audio}");
    let latency = report.latency_ms.expect("bursts were heard");
    assert!(latency.count >= 4 && latency.p50 < 500.0, "{latency}");
    assert!(report.server.unwrap().rss_kb > 1000);
    let json: serde_json::Value = serde_json::from_str(&serde_json::to_string(&report).unwrap()).unwrap();
    assert_eq!(json["joined"], 5);
}

// On one thread, so that the participants begin in their order and the first talker is the first to join.
#[tokio::test(flavor = "current_thread")]
async fn says_who_isnt_heard_and_who_hears_themselves() {
    let room = Room::open(Faults {
        deaf_to: Some(0),
        ..Faults::default()
    })
    .await;
    let joins_at_once = 1;
    let time = Duration::from_secs(2);
    let deaf = report(RunConfig {
        joins_at_once,
        time,
        ..config(&room)
    })
    .await;
    assert!(!deaf.is_good());
    assert_eq!(deaf.unheard.len(), 3, "{:?}", deaf.unheard);
    assert!(
        deaf.unheard
            .iter()
            .all(|wrong| wrong.contains("doesn't hear talker 1 (350 Hz)")),
        "{:?}",
        deaf.unheard
    );

    let room = Room::open(Faults {
        echo: true,
        ..Faults::default()
    })
    .await;
    let echo = report(RunConfig { time, ..config(&room) }).await;
    assert_eq!(echo.unheard.len(), 2, "{:?}", echo.unheard);
    assert!(
        echo.unheard.iter().all(|wrong| wrong.contains("hears itself")),
        "{:?}",
        echo.unheard
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn latency_is_that_of_the_server() {
    let late = Duration::from_millis(200);
    let quick = Room::open(Faults::default()).await;
    let slow = Room::open(Faults {
        delay: late,
        ..Faults::default()
    })
    .await;
    let only = |room| RunConfig {
        peers: 2,
        talkers: 0,
        time: Duration::from_secs(6),
        ..config(room)
    };
    // A busy machine adds to both, and not the same, so it gets some tries; it takes nothing away.
    for tries_left in (0..4).rev() {
        let (quick, slow) = tokio::join!(report(only(&quick)), report(only(&slow)));
        let (quick, slow) = (quick.latency_ms.unwrap(), slow.latency_ms.unwrap());
        assert!(slow.p50 >= 200.0, "{slow}");
        if slow.p50 - quick.p50 > 100.0 {
            return;
        }
        assert!(tries_left > 0, "{quick}\n{slow}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn says_who_was_thrown_out() {
    let room = Room::open(Faults {
        throw_out: Some(1),
        ..Faults::default()
    })
    .await;
    let report = report(RunConfig {
        joins_at_once: 1,
        probes: 0,
        ..config(&room)
    })
    .await;
    assert_eq!(report.thrown_out.len(), 1, "{:?}", report.thrown_out);
    assert!(report.thrown_out[0].contains("goodbye"), "{:?}", report.thrown_out);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_webrtc_crate_hears_the_tones() {
    let room = Room::open(Faults::default()).await;
    let time = Duration::from_secs(3);
    let report = report(RunConfig {
        client: ClientKind::Webrtc,
        peers: 3,
        time,
        ..config(&room)
    })
    .await;
    assert!(report.is_good());
    assert_eq!((report.joined, report.heard.len()), (4, 3));
    assert!(report.latency_ms.is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plays_a_recording_with_aes_cm() {
    let path = std::env::temp_dir().join(format!("roomtone-load-run-{}.wav", std::process::id()));
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 16_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(&path, spec).unwrap();
    for i in 0..16_000i32 {
        writer.write_sample(((i * 37) % 4001 - 2000) as i16).unwrap();
    }
    writer.finalize().unwrap();
    let room = Room::open(Faults {
        stereo_only: true,
        ..Faults::default()
    })
    .await;
    let sound = Sound::Wav(path.clone());
    let time = Duration::from_secs(2);
    let report = report(RunConfig {
        sound,
        time,
        profiles: Profiles::AesCm,
        stereo: true,
        ..config(&room)
    })
    .await;
    std::fs::remove_file(path).unwrap();
    assert!(report.is_good() && report.tones.is_empty());

    let room = Room::open(Faults {
        deaf_to: Some(0),
        ..Faults::default()
    })
    .await;
    let sound = Sound::Wav("/nowhere.wav".into());
    let error = run(RunConfig { sound, ..config(&room) }, |_| {}, pending())
        .await
        .unwrap_err();
    assert!(error.to_string().contains("/nowhere.wav"), "{error}");
}

#[tokio::test]
async fn errors_are_clear_and_quick() {
    let room = Room::open(Faults::default()).await;
    let start = std::time::Instant::now();
    let fails = async |config: RunConfig| run(config, |_| {}, pending()).await.unwrap_err();
    let error = fails(RunConfig {
        token: Some("bad".into()),
        ..config(&room)
    })
    .await;
    assert!(
        matches!(error, RunError::Whip(WhipError::Unauthorized { .. })),
        "{error}"
    );
    assert!(error.to_string().contains("the token has expired"), "{error}");
    let error = fails(RunConfig {
        url: "http://127.0.0.1:1/whip/x".into(),
        ..config(&room)
    })
    .await;
    assert!(matches!(error, RunError::Whip(WhipError::Connect { .. })), "{error}");
    let error = fails(RunConfig {
        url: room.url.replace("room", "nowhere"),
        ..config(&room)
    })
    .await;
    assert!(
        matches!(error, RunError::Whip(WhipError::Status { status: 404, .. })),
        "{error}"
    );
    let error = fails(RunConfig {
        url: "lobby".into(),
        ..config(&room)
    })
    .await;
    assert!(matches!(error, RunError::Whip(WhipError::Url { .. })), "{error}");
    let error = fails(RunConfig {
        talkers: 5,
        ..config(&room)
    })
    .await;
    assert!(error.to_string().contains("talkers"), "{error}");
    let error = fails(RunConfig {
        pid: Some(u32::MAX),
        ..config(&room)
    })
    .await;
    assert!(error.to_string().contains("--pid"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaves_when_told_to() {
    let room = Room::open(Faults::default()).await;
    let (told, mut joined) = tokio::sync::watch::channel(0);
    let stop = async {
        joined.wait_for(|count| *count == 5).await.unwrap();
    };
    let config = RunConfig {
        time: Duration::from_secs(60),
        ..config(&room)
    };
    let report = run(config, |progress| _ = told.send_replace(progress.joined), stop)
        .await
        .unwrap();
    assert!(report.interrupted && report.thrown_out.is_empty(), "{report}");
    assert_eq!((report.joined, room.members()), (5, 0));
}
