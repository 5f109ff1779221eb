//! One participant: a client, what it says, and what it listens for.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::ear::Listening;
use crate::bench::lines::{Company, Turns};
use roomtone_testkit::fixtures::{TalkLoop, TalkPacket};
use roomtone_testkit::peer::{Audio, ClientPeer, Event, Level, Stats};

const PACKET_TIME: Duration = Duration::from_millis(20);
const SAMPLES: u32 = 960;
/// With DTX: so many quiet packets are sent after the last loud one (libopus's 200 ms), …
const DTX_AFTER: u32 = 10;
/// … and of those that follow, each of this number (RFC 6716, section 2.1.9: one in 400 ms).
const DTX_EACH: u32 = 20;
/// A talker that was kept from talking for so long doesn't catch up.
const TOO_LATE: Duration = Duration::from_millis(200);

/// The speech of a talker.
#[derive(Clone)]
pub struct Script {
    /// Phrases and pauses, from another place on for each talker.
    pub talk: TalkLoop,
    /// Where in it beeps begin.
    pub beeps: Arc<[usize]>,
    /// The signal that is sent while another has the floor.
    pub quiet: TalkLoop,
    /// The talker's part in a conversation, in place of `talk`.
    pub turns: Option<Turns>,
    /// Most of the quiet packets are left out.
    pub dtx: bool,
}

/// A beep that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beep {
    /// When its first packet was.
    pub at: Instant,
    /// Does anybody else speak?
    pub company: Company,
}

/// The activity of all talkers.
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

/// The findings of [`Member::drain`].
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
    /// The packet before was sent; else the next begins a spurt.
    talked: bool,
    /// Quiet packets since the last loud one.
    quiet_packets: u32,
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
            quiet_packets: 0,
        }
    }

    /// Sends what is due. Returns how many packets that were, and the beep that began. `begin`: when the conversation did.
    pub fn talk(&mut self, now: Instant, mode: Mode, begin: Option<Instant>) -> (u64, Option<Beep>) {
        let Some(mut due) = self.next_talk else {
            return (0, None);
        };
        if now.saturating_duration_since(due) > TOO_LATE {
            due = now;
        }
        let (mut sent, mut beeped) = (0, None);
        while due <= now {
            let frame = begin.map(|begin| frames_between(begin, due));
            let Some((packet, beeps)) = self.next_packet(mode, frame) else {
                break;
            };
            let leaves_out = self.leaves_out(packet.level);
            let marker = !std::mem::replace(&mut self.talked, !leaves_out);
            if !leaves_out
                && self
                    .client
                    .send_opus(now, self.timestamp, marker, Some(packet.level), &packet.payload)
            {
                sent += 1;
                beeped = beeps.map(|company| Beep { at: now, company }).or(beeped);
            }
            self.timestamp = self.timestamp.wrapping_add(SAMPLES);
            due += PACKET_TIME;
        }
        self.next_talk = Some(due);
        (sent, beeped)
    }

    /// DTX, as libopus does it.
    fn leaves_out(&mut self, level: Level) -> bool {
        if level.voice || !self.script.as_ref().is_some_and(|script| script.dtx) {
            self.quiet_packets = 0;
            return false;
        }
        self.quiet_packets += 1;
        let since = self.quiet_packets.saturating_sub(DTX_AFTER);
        since > 0 && !since.is_multiple_of(DTX_EACH)
    }

    /// The next packet, and in what company a beep begins in it, if one does.
    fn next_packet(&mut self, mode: Mode, frame: Option<i64>) -> Option<(TalkPacket, Option<Company>)> {
        let script = self.script.as_mut()?;
        if mode == Mode::Talk {
            if let Some(turns) = &script.turns {
                let said = frame.and_then(|frame| turns.at(frame));
                return Some(said.unwrap_or_else(|| (script.quiet.next(), None)));
            }
            let beeps = script.beeps.contains(&script.talk.position());
            return Some((script.talk.next(), beeps.then_some(Company::Unknown)));
        }
        if let Some(text) = &mut self.text {
            if let Some(packet) = text.packets.get(text.at) {
                text.at += 1;
                return Some((packet.clone(), None));
            }
            if let Some(done) = text.done.take() {
                // The one that asked may be gone.
                let _ = done.send(());
            }
            self.text = None;
        }
        Some((script.quiet.next(), None))
    }

    /// Takes what its client has to tell. Sound that somebody listens to closely goes to `heard`.
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

/// From one moment to another, in packets; negative if that was before.
fn frames_between(begin: Instant, at: Instant) -> i64 {
    let frames = |time: Duration| (time.as_nanos() / PACKET_TIME.as_nanos()) as i64;
    match at.checked_duration_since(begin) {
        Some(after) => frames(after),
        None => -1 - frames(begin - at - Duration::from_nanos(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::speech::Speech;
    use roomtone_testkit::peer::ClientOptions;

    fn member(script: Script) -> Member {
        let now = Instant::now();
        let client = ClientPeer::new(now, ClientOptions::default()).unwrap();
        let mut member = Member::new(0, client, (0, None), now);
        member.script = Some(script);
        member
    }

    #[test]
    fn frames_count_on_both_sides_of_the_beginning() {
        let begin = Instant::now() + Duration::from_secs(5);
        let at = |ms: i64| {
            let time = Duration::from_millis(ms.unsigned_abs());
            frames_between(begin, if ms < 0 { begin - time } else { begin + time })
        };
        assert_eq!([-21, -20, -1, 0, 19, 20].map(at), [-2, -1, -1, 0, 0, 1]);
    }

    #[test]
    fn dtx_leaves_out_most_of_the_quiet_and_nothing_of_the_speech() {
        let voice = Speech::babble().unwrap().voices.remove(0);
        let mut script = Script {
            talk: voice.talk.clone(),
            beeps: [].into(),
            quiet: voice.quiet.clone(),
            turns: None,
            dtx: true,
        };
        let (quiet, loud) = (script.quiet.next().level, script.talk.next().level);
        assert!(loud.voice && !quiet.voice);
        let mut with = member(script.clone());
        let sent: Vec<usize> = (0..75).filter(|_| !with.leaves_out(quiet)).collect();
        assert_eq!(sent, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 29, 49, 69]);
        assert!((0..50).all(|_| !with.leaves_out(loud)));
        assert!((0..10).all(|_| !with.leaves_out(quiet)) && with.leaves_out(quiet));
        let mut without = member(Script { dtx: false, ..script });
        assert!((0..75).all(|_| !without.leaves_out(quiet)));
    }
}
