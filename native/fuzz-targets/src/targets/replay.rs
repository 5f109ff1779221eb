//! Recordings of a room's inputs, which somebody may send to be played again.

use std::time::Duration;

use roomtone_engine::{
    Action, Command, Journal, MixConfig, Replay, ReplayError, RoomKind, Shard, SourceItem, Tap, TapSound,
};
use roomtone_testkit::fixtures::{OpusTalker, Tone};
use roomtone_testkit::peer::{ClientOptions, ClientPeer};

use super::Target;
use crate::session::{CERTIFICATE, START, config};

const MOST_INPUTS: usize = 2_000;

pub(super) const REPLAY: Target = Target {
    name: "replay",
    run: |data| {
        let mut replay = Replay::new(*START).expect("a replay can be made");
        let (mut rest, mut heard) = (data, 0);
        let played = replay.step(&mut rest, MOST_INPUTS, |packet| heard += packet.payload.len());
        if let Err(ReplayError::RoomFailed { at }) = played {
            assert!(replay.was_to_fail(), "the room failed at {at:?}");
        }
    },
    seeds: || {
        let kinds = [
            RoomKind::Mix {
                stereo: true,
                auto_gain: true,
            },
            RoomKind::Forward {
                slots: 2,
                stereo: false,
            },
        ];
        kinds.map(recording).to_vec()
    },
};

fn recording(kind: RoomKind) -> Vec<u8> {
    let (mut now, journal) = (*START, Journal::new());
    let mut shard = Shard::new(now, config(), CERTIFICATE.clone(), MixConfig::default(), 10);
    let offer = ClientPeer::new(now, ClientOptions::default()).map(|client| client.offer());
    let mut talker = OpusTalker::new(Tone::new(440.0, 0.3), 32_000).expect("an encoder can be made");
    let items = std::iter::from_fn(|| talker.next().ok())
        .take(20)
        .map(|packet| SourceItem::Packet {
            data: packet.payload.to_vec(),
            level: Some(20),
        });
    let items: Vec<SourceItem> = items.collect();
    let actions = [
        Action::Open { kind },
        Action::RecordInputs {
            journal: journal.clone(),
        },
        Action::JoinSource { peer: 1, speak: true },
        Action::JoinTap {
            peer: 2,
            tap: Tap::new(now, Duration::from_millis(100)),
            sound: TapSound::Mix {
                default_gain: 1.0,
                gains: vec![(1, 0.5)],
                stereo: true,
            },
        },
        Action::Join {
            peer: 3,
            offer: offer.expect("a client can be made"),
            speak: true,
            listen: true,
        },
        Action::Feed { peer: 1, items },
    ];
    for action in actions {
        shard.handle_command(now, Command::new(1, action));
    }
    for _ in 0..600 {
        now += Duration::from_millis(1);
        shard.handle_timeout(now);
    }
    shard.handle_command(now, Command::new(1, Action::Close));
    std::iter::from_fn(|| journal.take()).flatten().collect()
}
