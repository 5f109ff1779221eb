//! One participant: a client, what it says, and what it listens for.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::ear::Listening;
use roomtone_testkit::fixtures::{TalkLoop, TalkPacket};
use roomtone_testkit::peer::{Audio, ClientPeer, Event, Stats};

const PACKET_TIME: Duration = Duration::from_millis(20);
const SAMPLES: u32 = 960;
/// A talker that was kept from talking for so long doesn't catch up.
const TOO_LATE: Duration = Duration::from_millis(200);

/// What a talker has to say.
#[derive(Clone)]
pub struct Script {
    /// Phrases and pauses, from another place on for each talker.
    pub talk: TalkLoop,
    /// Where in it beeps begin.
    pub beeps: Arc<[usize]>,
    /// What is sent while another has the floor.
    pub quiet: TalkLoop,
}

/// What all talkers do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// All talk.
    #[default]
    Talk,
    /// All keep quiet, but for whom a text was given to.
    Quiet,
}

/// The text of one talker.
pub struct Text {
    pub packets: Arc<[TalkPacket]>,
    pub at: usize,
    pub done: Option<oneshot::Sender<()>>,
}

/// What [`Member::drain`] found.
#[derive(Clone, Copy, Debug, Default)]
pub struct News {
    /// RTP packets.
    pub packets: u64,
    /// It has just connected, or will never.
    pub settled: bool,
}

/// A participant.
pub struct Member {
    pub number: usize,
    pub client: ClientPeer,
    /// Which socket, and which address on it.
    pub port: usize,
    pub address: Option<IpAddr>,
    pub script: Option<Script>,
    pub listening: Option<Listening>,
    pub text: Option<Text>,
    pub next_talk: Option<Instant>,
    /// When its client wants to be called, as the timers know it.
    pub wake: Option<Instant>,
    pub joined: Option<oneshot::Sender<Result<Duration, String>>>,
    pub offered: Instant,
    pub ended: Option<String>,
    pub baseline: Stats,
    timestamp: u32,
    talked: bool,
}

impl Member {
    pub fn new(number: usize, client: ClientPeer, seat: (usize, Option<IpAddr>), offered: Instant) -> Member {
        let (port, address) = seat;
        Member {
            number,
            client,
            port,
            address,
            script: None,
            listening: None,
            text: None,
            next_talk: None,
            wake: None,
            joined: None,
            offered,
            ended: None,
            baseline: Stats::default(),
            timestamp: rand::random(),
            talked: false,
        }
    }

    /// Sends what is due. Returns how many packets that were, and whether a beep began.
    pub fn talk(&mut self, now: Instant, mode: Mode) -> (u64, bool) {
        let Some(mut due) = self.next_talk else {
            return (0, false);
        };
        if now.saturating_duration_since(due) > TOO_LATE {
            due = now;
        }
        let (mut sent, mut beeped) = (0, false);
        while due <= now {
            let Some((packet, beeps)) = self.next_packet(mode) else {
                break;
            };
            let marker = !std::mem::replace(&mut self.talked, true);
            if self
                .client
                .send_opus(now, self.timestamp, marker, Some(packet.level), &packet.payload)
            {
                sent += 1;
                beeped |= beeps;
            }
            self.timestamp = self.timestamp.wrapping_add(SAMPLES);
            due += PACKET_TIME;
        }
        self.next_talk = Some(due);
        (sent, beeped)
    }

    /// The next packet, and whether a beep begins in it.
    fn next_packet(&mut self, mode: Mode) -> Option<(TalkPacket, bool)> {
        let script = self.script.as_mut()?;
        if mode == Mode::Talk {
            let beeps = script.beeps.contains(&script.talk.position());
            return Some((script.talk.next(), beeps));
        }
        if let Some(text) = &mut self.text {
            if let Some(packet) = text.packets.get(text.at) {
                text.at += 1;
                return Some((packet.clone(), false));
            }
            if let Some(done) = text.done.take() {
                // Who asked may be gone.
                let _ = done.send(());
            }
            self.text = None;
        }
        Some((script.quiet.next(), false))
    }

    /// Takes what its client has to tell. What somebody listens to closely goes to `heard`.
    pub fn drain(&mut self, now: Instant, heard: &mut Vec<Audio>) -> News {
        let mut news = News::default();
        while let Some(event) = self.client.poll_event() {
            match event {
                Event::Audio(audio) => {
                    news.packets += 1;
                    if self.listening.is_some() {
                        heard.push(audio);
                    }
                }
                Event::Connected => {
                    if let Some(joined) = self.joined.take() {
                        news.settled = true;
                        let _ = joined.send(Ok(now.saturating_duration_since(self.offered)));
                    }
                    if self.script.is_some() {
                        // At a moment of its own: nobody's packets are in step with another's.
                        self.next_talk = Some(now + PACKET_TIME.mul_f32(rand::random::<f32>()));
                    }
                }
                Event::Closed(why) => {
                    self.next_talk = None;
                    if let Some(joined) = self.joined.take() {
                        news.settled = true;
                        let _ = joined.send(Err(why.to_string()));
                    } else {
                        self.ended = Some(why.to_string());
                    }
                }
            }
        }
        news
    }
}
