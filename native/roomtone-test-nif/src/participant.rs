//! A participant: a WebRTC client with a voice and an ear.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use roomtone_testkit::fixtures::{FRAME_SAMPLES, tone_hz};
use roomtone_testkit::listen::dbfs;
use roomtone_testkit::peer::{ClientOptions, ClientPeer, Event};

use crate::ear::{self, Ear};
use crate::voice::{Kind, TONE_AMPLITUDE, Voice};

const FRAME: Duration = Duration::from_millis(20);
/// Samples of said sound that are louder than this are speech, and not a ramp or nothing.
const AUDIBLE: f32 = 1e-4;

/// How well one participant is heard by another.
pub(crate) struct Measured {
    /// Relative to how it was said, dB; −120 is nothing.
    pub(crate) db: f32,
    /// For how much of the time the speaker said something.
    pub(crate) spoke: Duration,
}

/// One participant.
pub(crate) struct Participant {
    pub(crate) address: SocketAddr,
    pub(crate) peer: ClientPeer,
    pub(crate) voice: Voice,
    pub(crate) ear: Ear,
    pub(crate) connected: bool,
    pub(crate) over: Option<String>,
    next_frame: Instant,
    timestamp: u32,
}

impl Participant {
    /// The `number`th of a scene: it chooses their tone, their address and when in the 20 ms they send.
    pub(crate) fn new(now: Instant, number: usize, peer: ClientPeer) -> Result<Participant, String> {
        let octets = (number as u16 % 60_000 + 1).to_be_bytes();
        Ok(Participant {
            address: SocketAddr::from(([198, 18, octets[0], octets[1]], 40_000)),
            peer,
            voice: Voice::new(tone_hz(number))?,
            ear: Ear::default(),
            connected: false,
            over: None,
            next_frame: now + Duration::from_millis(number as u64 * 7 % 20),
            timestamp: 0,
        })
    }

    /// A client that hasn't met its server yet.
    pub(crate) fn client(now: Instant, options: ClientOptions) -> Result<ClientPeer, String> {
        ClientPeer::new(now, options).map_err(|error| error.to_string())
    }

    /// Does what is due: sound every 20 ms, and what the connection asks for.
    pub(crate) fn handle_time(&mut self, now: Instant) -> Result<(), String> {
        while self.next_frame <= now {
            self.next_frame += FRAME;
            self.timestamp = self.timestamp.wrapping_add(FRAME_SAMPLES as u32);
            // Silence is sent as what it is, as a browser does: the server can't see a muted microphone.
            if self.connected {
                let (payload, level) = self.voice.next().map_err(|error| error.to_string())?;
                self.peer.send_opus(now, self.timestamp, false, Some(level), &payload);
            }
        }
        if self.peer.poll_timeout().is_some_and(|due| due <= now) {
            self.peer.handle_timeout(now);
        }
        self.take_events(now)
    }

    /// Takes a datagram of the server.
    pub(crate) fn handle_datagram(&mut self, now: Instant, from: SocketAddr, data: &mut [u8]) -> Result<(), String> {
        self.peer.handle_datagram(now, from, data);
        self.take_events(now)
    }

    fn take_events(&mut self, now: Instant) -> Result<(), String> {
        while let Some(event) = self.peer.poll_event() {
            match event {
                Event::Connected => self.connected = true,
                Event::Audio(packet) => self.ear.hear(now, &packet)?,
                Event::Closed(reason) => {
                    self.connected = false;
                    self.over = Some(reason.to_string());
                }
            }
        }
        Ok(())
    }

    /// How this listener hears a speaker in the last seconds; `None` if the speaker was never told to say anything.
    pub(crate) fn hears(&self, speaker: &Participant, now: Instant, seconds: f32) -> Option<Measured> {
        let kind = speaker.voice.kind()?;
        let heard = self.ear.heard(now, seconds);
        let db = match kind {
            Kind::Tone => ear::tone_dbfs(&heard, speaker.voice.hz) - dbfs(TONE_AMPLITUDE),
            Kind::Clip => ear::clip_db(&heard, &speaker.voice.said(seconds + 0.4)),
        };
        let said = speaker.voice.said(seconds);
        let frames = said
            .chunks(FRAME_SAMPLES)
            .filter(|frame| frame.iter().any(|sample| sample.abs() > AUDIBLE))
            .count();
        Some(Measured {
            db: db.max(ear::NOTHING_DB),
            spoke: FRAME * frames as u32,
        })
    }
}
