//! One synthetic participant, and what they heard.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use roomtone_audio::{Channels, Decoder};
use roomtone_engine::{PeerId, RoomId};
use roomtone_testkit::fixtures::{OpusTalker, tone_hz};
use roomtone_testkit::link::{Datagram, Link, LinkConfig};
use roomtone_testkit::listen::Ear;
use roomtone_testkit::peer::{Audio, ClientOptions, ClientPeer, Event as ClientEvent};

use super::TONE_DBFS;

/// One synthetic participant.
pub struct Client {
    pub id: PeerId,
    pub room: RoomId,
    pub address: SocketAddr,
    pub peer: ClientPeer,
    pub ear: Ear,
    pub talker: Option<OpusTalker>,
    pub hz: f32,
    /// How loud their tone is at them, dBFS (amplitude of the sine).
    pub dbfs: f32,
    pub media_time: u32,
    pub talk_phase: Duration,
    pub next_talk: Instant,
    pub connected: bool,
    pub closed: bool,
    /// Everything heard: (arrival, sequence number, timestamp, marker, payload length).
    pub heard: Vec<(Instant, u16, u32, bool, usize)>,
    /// How long each of these lasts, samples.
    pub lasts: Vec<u32>,
    /// Of which source each of these was.
    pub heard_from: Vec<u32>,
    /// The contributing source that each of these names.
    pub contributed: Vec<Option<u32>>,
    /// The Opus packets, while somebody wants them: an ear hears mono.
    pub payloads: Option<Vec<bytes::Bytes>>,
    /// The Opus packets that they sent, while somebody wants them.
    pub sent: Option<BTreeSet<bytes::Bytes>>,
    pub to_server: Link,
    pub to_client: Link,
    pub first_timestamp: u32,
}

impl Client {
    pub(super) fn new(now: Instant, room: RoomId, id: PeerId, options: ClientOptions) -> Client {
        let address = SocketAddr::from(([198, 51, 100, (id / 200) as u8 + 1], 10_000 + id as u16));
        Client {
            id,
            room,
            address,
            peer: ClientPeer::new(now, options).unwrap(),
            ear: Ear::new(),
            talker: None,
            hz: tone_hz(id as usize % 32),
            dbfs: TONE_DBFS,
            media_time: 0,
            talk_phase: Duration::from_millis(id * 7 % 20),
            next_talk: now + Duration::from_millis(id * 7 % 20),
            connected: false,
            closed: false,
            heard: Vec::new(),
            lasts: Vec::new(),
            heard_from: Vec::new(),
            contributed: Vec::new(),
            payloads: None,
            sent: None,
            to_server: Link::new(LinkConfig::default()),
            to_client: Link::new(LinkConfig::default()),
            first_timestamp: 0,
        }
    }

    pub(super) fn talk(&mut self, now: Instant) {
        while self.next_talk <= now {
            self.next_talk += Duration::from_millis(20);
            self.media_time = self.media_time.wrapping_add(960);
            if !self.connected {
                continue;
            }
            if let Some(talker) = self.talker.as_mut() {
                let packet = talker.next().unwrap();
                let timestamp = self.media_time.wrapping_add(self.first_timestamp);
                if let Some(sent) = self.sent.as_mut() {
                    sent.insert(packet.payload.clone());
                }
                self.peer
                    .send_opus(now, timestamp, false, Some(packet.level), &packet.payload);
            }
        }
    }

    pub(super) fn drain(&mut self, now: Instant) {
        while let Some(event) = self.peer.poll_event() {
            match event {
                ClientEvent::Connected => self.connected = true,
                ClientEvent::Audio(audio) => self.hear(now, &audio),
                ClientEvent::Closed(_) => self.closed = true,
            }
        }
        while let Some((to, data)) = self.peer.poll_transmit() {
            self.to_server.send(
                now,
                Datagram {
                    from: self.address,
                    to,
                    data,
                },
            );
        }
    }

    fn hear(&mut self, now: Instant, audio: &Audio) {
        self.heard
            .push((now, audio.seq, audio.timestamp, audio.marker, audio.payload.len()));
        self.lasts
            .push(roomtone_audio::packet::parse(&audio.payload).unwrap().samples);
        self.heard_from.push(audio.ssrc);
        self.contributed.push(audio.csrc);
        if let Some(payloads) = self.payloads.as_mut() {
            payloads.push(audio.payload.clone());
        }
        self.ear.hear(audio).unwrap();
    }

    /// Both ears' sound since payloads are kept, which are no longer kept then.
    pub fn ears(&mut self) -> [Vec<f32>; 2] {
        let mut decoder = Decoder::with_channels(Channels::Stereo).unwrap();
        let mut pcm = Vec::new();
        for payload in self.payloads.take().unwrap() {
            decoder.decode(&payload, &mut pcm).unwrap();
        }
        let ear = |side: usize| pcm.iter().skip(side).step_by(2).copied().collect();
        [ear(0), ear(1)]
    }

    /// Checks that each packet of a source follows the one before: sequence numbers by one, timestamps by whole frames of Opus and by
    /// exactly the length of the packet before where no new talk spurt begins.
    pub fn assert_continuous(&self) {
        let sources: BTreeSet<u32> = self.heard_from.iter().copied().collect();
        for source in sources {
            self.assert_source_continuous(source);
        }
    }

    /// The packets of one source.
    pub fn of_source(&self, source: u32) -> Vec<(Instant, u16, u32, bool, usize)> {
        let both = self.heard.iter().zip(&self.heard_from);
        both.filter(|(_, from)| **from == source)
            .map(|(packet, _)| *packet)
            .collect()
    }

    fn assert_source_continuous(&self, source: u32) {
        let lasts = self.lasts.iter().zip(&self.heard_from);
        let lasts = lasts.filter(|(_, from)| **from == source).map(|(lasts, _)| *lasts);
        for (pair, lasts) in self.of_source(source).windows(2).zip(lasts) {
            let [(_, seq, ts, ..), (_, next_seq, next_ts, marker, _)] = pair else {
                unreachable!()
            };
            assert_eq!(next_seq.wrapping_sub(*seq), 1, "{}: gap in sequence numbers", self.id);
            let advance = next_ts.wrapping_sub(*ts);
            assert_eq!(advance % 120, 0, "{}: timestamp off the grid", self.id);
            assert!(
                *marker || advance == lasts,
                "{}: timestamps jump by {advance} inside a talk spurt",
                self.id
            );
        }
    }
}
