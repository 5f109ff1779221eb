//! Commands to a shard, in any order, between datagrams and time.

use std::time::Duration;

use roomtone_engine::{
    Action, Command, Distance, Event, GainCell, MixConfig, Place, PlaceCell, RoomKind, Select, Shard, SourceItem, Voice,
};
use roomtone_testkit::fixtures::{OpusTalker, Tone};
use roomtone_testkit::peer::{ClientOptions, ClientPeer};

use super::Target;
use crate::pieces::{Pieces, join};
use crate::session::{CERTIFICATE, START, client_address, config};

const MOST_PEERS: usize = 8;

pub(super) const COMMANDS: Target = Target {
    name: "commands",
    run: |data| {
        let mut now = *START;
        let mut shard = Shard::new(now, config(), CERTIFICATE.clone(), MixConfig::default(), MOST_PEERS);
        let offer = ClientPeer::new(now, ClientOptions::default()).map(|client| client.offer());
        let offer = offer.expect("a client can be made");
        for piece in Pieces(data).take(64) {
            match piece.kind {
                0xff => shard.handle_datagram(now, client_address(), &mut piece.data.to_vec()),
                0xfe => {
                    for _ in 0..piece.data.first().copied().unwrap_or(1) % 32 {
                        now += Duration::from_millis(20);
                        shard.handle_timeout(now);
                    }
                }
                kind => shard.handle_command(now, command(kind, piece.data, &offer)),
            }
            while let Some(event) = shard.poll_event() {
                assert!(!matches!(event, Event::RoomFailed { .. }), "{event:?}");
            }
            shard.outbox().clear();
        }
        shard.close(now);
    },
    seeds: || {
        let packet = OpusTalker::new(Tone::new(440.0, 0.3), 32_000)
            .and_then(|mut talker| talker.next())
            .map(|packet| packet.payload.to_vec())
            .unwrap_or_default();
        let feed = [&[1, 1, 0][..], &packet].concat();
        vec![
            join([
                (0, &[1, 0][..]),
                (3, &[1, 1, 3][..]),
                (10, &[1, 2, 1][..]),
                (11, &feed[..]),
                (0xfe, &[9][..]),
            ]),
            join([
                (0, &[1, 3][..]),
                (10, &[1, 1, 1][..]),
                (10, &[1, 2, 1][..]),
                (8, &[1, 3, 1][..]),
                (9, &[1, 1, 2, 0, 0, 0, 63][..]),
                (0xfe, &[9][..]),
                (2, &[1][..]),
            ]),
            join([
                (3, &[1, 1, 3][..]),
                (5, &[1, 1][..]),
                (12, &[1, 1][..]),
                (13, &[1, 1][..]),
                (4, &[1, 1, 3][..]),
            ]),
        ]
    },
};

/// A command about one of four rooms and sixteen participants. Bytes that aren't there are 0.
fn command(kind: u8, data: &[u8], offer: &str) -> Command {
    let byte = |at: usize| data.get(at).copied().unwrap_or(0);
    let (room, peer, flags) = (u64::from(byte(0) % 4), u64::from(byte(1) % 16), byte(2));
    let (speak, listen) = (flags & 1 != 0, flags & 2 != 0);
    let number = |at: usize| f32::from_le_bytes([byte(at), byte(at + 1), byte(at + 2), byte(at + 3)]);
    let rest = data.get(3..).unwrap_or_default();
    let sdp = match std::str::from_utf8(rest) {
        Ok(text) if flags & 4 != 0 => text.to_owned(),
        _ => offer.to_owned(),
    };
    let action = match kind % 17 {
        0 | 1 => Action::Open {
            kind: match byte(1) % 4 {
                stereo @ 0..=1 => RoomKind::Mix {
                    stereo: stereo == 1,
                    auto_gain: speak,
                },
                stereo => RoomKind::Forward {
                    slots: u32::from(flags),
                    stereo: stereo == 3,
                },
            },
        },
        2 => Action::Close,
        3 => Action::Join {
            peer,
            offer: sdp,
            speak,
            listen,
        },
        4 => Action::Reoffer {
            peer,
            offer: sdp,
            replacement: u64::from(flags >> 4),
            speak,
            listen,
        },
        5 => Action::Leave { peer },
        6 => Action::SetSpeak { peer, speak },
        7 => Action::SetListen { peer, listen },
        8 => Action::SetPolicy {
            default_gain: number(3),
            max_talkers: (flags & 4 != 0).then_some(u32::from(byte(1))),
            select: if speak { Select::Loudest } else { Select::Nearest },
        },
        9 => Action::SetGains {
            cells: data[data.len().min(1)..]
                .chunks_exact(6)
                .map(|cell| GainCell {
                    listener: u64::from(cell[0] % 16),
                    speaker: u64::from(cell[1] % 16),
                    gain: (cell[0] < 128).then(|| f32::from_le_bytes([cell[2], cell[3], cell[4], cell[5]])),
                    pan: f32::from(cell[5].cast_signed()) / 100.0,
                })
                .collect(),
        },
        10 => Action::JoinSource { peer, speak },
        11 => Action::Feed {
            peer,
            items: vec![
                SourceItem::Mark(u64::from(flags)),
                SourceItem::Packet {
                    data: rest.to_vec(),
                    level: listen.then_some(flags),
                },
            ],
        },
        12 => Action::ClearSource { peer },
        13 => Action::PeerStats { peer, reference: 1 },
        14 => Action::SetPlaces {
            distance: Distance::Linear {
                reference: 1.0,
                max: f64::from(number(3)),
                rolloff: f64::from(flags),
            },
            places: data[data.len().min(1)..]
                .chunks_exact(6)
                .map(|cell| PlaceCell {
                    peer: u64::from(cell[0] % 16),
                    place: (cell[0] < 192).then(|| Place {
                        at: [cell[1], cell[2], cell[3]].map(|axis| f64::from(axis.cast_signed())),
                        facing: [
                            0.0,
                            f64::from(cell[4]),
                            f64::from(f32::from_be_bytes([cell[2], cell[3], cell[4], cell[5]])),
                        ],
                        everywhere: cell[5] % 4 == 0,
                    }),
                })
                .collect(),
        },
        15 => Action::SetVoice {
            peer,
            voice: [Voice::Even, Voice::Plain, Voice::Music][usize::from(flags % 3)],
            suppress: listen,
        },
        _ => Action::Move {
            to: usize::from(byte(1)),
        },
    };
    Command::new(room, action)
}
