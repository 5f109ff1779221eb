//! The receive side of one speaker: packets in as they come, 20 ms of sound out at every tick.
//!
//! A [`Playout`] holds a position on the stream's time line (RTP timestamps, RFC 3550 §5.1, at 48 kHz, RFC 7587 §4.1) and
//! moves it by one frame a tick. How far it stays behind the network is decided by `timing`; `buffer` keeps the packets that
//! wait; `render` turns them into sound. It is always in one of two states:
//!
//! - *silent*: nothing plays (not begun, a pause, a stall). The position means nothing. A packet starts the stream once it
//!   has waited for the target delay. If several wait, as after a stall, the latest that has waited long enough is the one,
//!   so a burst never becomes delay.
//! - *playing*: a missing packet is recovered (FEC) or concealed, fading to silence within 100 ms. A packet that came late
//!   is still played, from where it belongs, if the stream needs more delay anyway. Delay that is no longer needed is taken
//!   out where it is quiet, or a pitch period at a time.

mod buffer;
mod past;
mod render;
mod stretch;
mod timing;

pub use past::{Past, Seam};
pub(crate) use stretch::dot;

use crate::{AudioError, AudioLevel, Decoder, FRAME_SAMPLES, SAMPLE_RATE, codec::packet};
use buffer::{BufferedPacket, PacketBuffer};
use std::time::{Duration, Instant};
use timing::Timing;

const FRAME: i64 = FRAME_SAMPLES as i64;

/// Limits of a [`Playout`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlayoutConfig {
    /// The least delay on top of the network's fastest, however clean the link is.
    pub min_delay: Duration,
    /// The most delay that jitter may cause; what comes later than that is lost.
    pub max_delay: Duration,
    /// Packets that may wait.
    pub max_packets: usize,
}

impl Default for PlayoutConfig {
    /// 5 to 200 ms, 128 packets.
    fn default() -> Self {
        Self {
            min_delay: Duration::from_millis(5),
            max_delay: Duration::from_millis(200),
            max_packets: 128,
        }
    }
}

/// The fields of a packet's RTP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtpMeta {
    /// Sequence number; wraps.
    pub seq: u16,
    /// Timestamp at 48 kHz; wraps.
    pub timestamp: u32,
    /// First packet after a pause (RFC 3551 §4.1).
    pub marker: bool,
    /// The level that the sender gives (RFC 6464), if it does.
    pub level: Option<AudioLevel>,
}

/// The fate of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InsertOutcome {
    /// It waits to be played.
    Queued,
    /// It had come before.
    Duplicate,
    /// A later packet was played already.
    Late,
    /// The buffer was full: the oldest packet (which may be this one) went.
    Overflow,
    /// Not an Opus packet, or out of step with the stream. Ignored.
    Invalid,
    /// The stream has jumped: this is the second packet in a row beyond the jump. It waits; those before it are gone.
    Reset,
}

/// The content of a tick's frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// The speaker's sound.
    Decoded,
    /// The speaker's sound, some of it from the copy that the next packet carried.
    Fec,
    /// Some of it made up, because it didn't come (in time).
    Concealed,
    /// Nothing: all samples are zero.
    Silence,
}

impl FrameKind {
    /// Anything but silence?
    pub fn is_sound(self) -> bool {
        self != Self::Silence
    }
}

/// Counters since the start, and the delays now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PlayoutStats {
    /// Packets given to [`Playout::insert`].
    pub received: u64,
    /// Packets whose turn came, decoded or skipped.
    pub played: u64,
    /// Ticks with sound that was made up.
    pub concealed: u64,
    /// Ticks with sound recovered from the next packet.
    pub fec: u64,
    /// Packets that came after what follows them was played.
    pub late: u64,
    /// Packets that had come before.
    pub duplicate: u64,
    /// Packets refused.
    pub invalid: u64,
    /// Packets missing when their turn came, late ones included.
    pub lost: u64,
    /// Packets that came while the buffer was full.
    pub overflow: u64,
    /// Times the stream jumped.
    pub resets: u64,
    /// Packets dropped unplayed to get rid of delay (the backlog of a stall).
    pub shed: u64,
    /// Samples taken out of the sound to get rid of delay.
    pub removed_samples: u64,
    /// Samples put in, in quiet sound, to gain delay.
    pub inserted_samples: u64,
    /// Delay that the stream's jitter asks for.
    pub target_delay: Duration,
    /// How long packets wait from arrival to the tick that plays them (smoothed).
    pub current_delay: Duration,
    /// Interarrival jitter (RFC 3550 §6.4.1).
    pub jitter: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Silent,
    Playing,
    /// One frame more, to fade out what was heard of a stream that has jumped.
    Ending,
}

/// The jitter buffer, decoder and concealment of one speaker.
///
/// Call [`Playout::pop`] or [`Playout::skip`] exactly once every 20 ms. It costs next to nothing until packets come: the
/// decoder is made for the first packet that is heard.
///
/// # Examples
///
/// The caller brings the packets and the time. Here a packet comes every 20 ms, and each tick gives a frame:
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use roomtone_audio::{Encoder, EncoderConfig, FRAME_SAMPLES, Playout, PlayoutConfig, RtpMeta};
///
/// # fn main() -> Result<(), roomtone_audio::AudioError> {
/// let mut encoder = Encoder::new(&EncoderConfig::default())?;
/// let mut playout = Playout::new(PlayoutConfig::default())?;
/// let start = Instant::now();
/// let (mut payload, mut frame) = (Vec::new(), [0.0; FRAME_SAMPLES]);
/// let mut with_sound = 0;
/// for n in 0..50 {
///     let now = start + Duration::from_millis(20 * n);
///     encoder.encode(&[0.1; FRAME_SAMPLES], &mut payload)?;
///     let packet = RtpMeta { seq: n as u16, timestamp: 960 * n as u32, marker: n == 0, level: None };
///     playout.insert(now, packet, &payload);
///
///     let kind = playout.pop(now + Duration::from_millis(10), &mut frame);
///     with_sound += usize::from(kind.is_sound());
/// }
/// assert!(with_sound >= 48, "playing begins after the target delay: {with_sound}");
/// assert_eq!(playout.stats().lost, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Playout {
    origin: Option<Instant>,
    buffer: PacketBuffer,
    timing: Timing,
    decoder: Option<Decoder>,
    state: State,
    /// Timestamp of the first sample of `fifo`, which is the next to go out.
    position: i64,
    /// Decoded and not yet out.
    fifo: Vec<f32>,
    /// Sound to fade out under the next packet.
    tail: Vec<f32>,
    /// Where decoding has got to.
    played_end: Option<i64>,
    last_seq: i64,
    last_level: Option<AudioLevel>,
    last_is_dtx: bool,
    /// Samples made up since the last packet.
    concealed: i64,
    /// The last tick ran out of packets.
    underrun: bool,
    /// The last tick was skipped.
    skipped: bool,
    /// The last packets whose turn has come, for a decoder to catch up with.
    recent: past::Recent,
    /// Packets were passed by since the last one was decoded.
    cold: bool,
    /// RMS of the last frame, and of speech (a slowly falling maximum).
    last_rms: f32,
    speech_rms: f32,
    ticks_ahead: u32,
    ticks_behind: u32,
    ticks_since_cut: u32,
    wait_16: i64,
    stats: PlayoutStats,
}

impl Playout {
    /// Makes an empty one.
    ///
    /// # Errors
    /// Limits that make no sense: `min_delay` above `max_delay`, more than 2 s, or no packet at all.
    pub fn new(config: PlayoutConfig) -> Result<Self, AudioError> {
        if config.min_delay > config.max_delay || config.max_delay > Duration::from_secs(2) {
            return Err(AudioError::Config("min_delay ≤ max_delay ≤ 2 s"));
        }
        if !(2..=4096).contains(&config.max_packets) {
            return Err(AudioError::Config("max_packets: 2 to 4096"));
        }
        Ok(Self {
            origin: None,
            buffer: PacketBuffer::new(config.max_packets),
            timing: Timing::new(to_samples(config.min_delay), to_samples(config.max_delay)),
            decoder: None,
            state: State::Silent,
            position: 0,
            fifo: Vec::new(),
            tail: Vec::new(),
            played_end: None,
            last_seq: 0,
            last_level: None,
            last_is_dtx: false,
            concealed: 0,
            underrun: false,
            skipped: false,
            recent: past::Recent::default(),
            cold: false,
            last_rms: 0.0,
            speech_rms: 0.0,
            ticks_ahead: 0,
            ticks_behind: 0,
            ticks_since_cut: 0,
            wait_16: 0,
            stats: PlayoutStats::default(),
        })
    }

    /// Takes a packet that came at `now`.
    pub fn insert(&mut self, now: Instant, packet: RtpMeta, payload: &[u8]) -> InsertOutcome {
        self.stats.received += 1;
        let Ok(info) = packet::parse(payload) else {
            self.stats.invalid += 1;
            return InsertOutcome::Invalid;
        };
        let origin = *self.origin.get_or_insert(now);
        let arrival = to_samples(now.saturating_duration_since(origin));
        let (outcome, ts) = self.buffer.insert(&packet, &info, arrival, payload, self.played_end);
        match outcome {
            InsertOutcome::Queued => {}
            InsertOutcome::Duplicate => self.stats.duplicate += 1,
            InsertOutcome::Late => self.stats.late += 1,
            InsertOutcome::Overflow => self.stats.overflow += 1,
            InsertOutcome::Invalid => self.stats.invalid += 1,
            InsertOutcome::Reset => {
                self.stats.resets += 1;
                self.timing.restart();
                self.played_end = None;
                self.underrun = false;
                if self.state == State::Playing {
                    self.state = State::Ending;
                }
            }
        }
        if let Some(ts) = ts {
            self.timing.observe(arrival, ts, i64::from(info.samples));
        }
        outcome
    }

    /// The level of the frame that the next [`Playout::pop`] would play, as its sender measured it; nothing is decoded for
    /// it. `None`: the sender gives no levels, so only decoding can tell.
    pub fn next_level(&self, now: Instant) -> Option<AudioLevel> {
        let from = match self.state {
            State::Playing => self.position,
            State::Ending => return self.last_level,
            State::Silent => match self.start(self.clock(now)).and_then(|index| self.buffer.get(index)) {
                Some(packet) => packet.ts,
                None => return Some(AudioLevel::SILENCE),
            },
        };
        let mut any = !self.fifo.is_empty();
        let mut loudest = if any { self.last_level? } else { AudioLevel::SILENCE };
        for packet in self
            .buffer
            .iter()
            .filter(|packet| packet.ts < from + FRAME && packet.end() > from)
        {
            loudest = loudest.louder(packet.level?);
            any = true;
        }
        if any { Some(loudest) } else { self.last_level }
    }

    /// Would the next [`Playout::pop`] give anything but silence?
    pub fn has_audio(&self, now: Instant) -> bool {
        self.state != State::Silent || self.start(self.clock(now)).is_some()
    }

    /// Nothing waits and nothing plays: until a packet comes, every tick is silence and may as well be left out.
    pub fn is_idle(&self) -> bool {
        self.state == State::Silent && self.buffer.is_empty()
    }

    /// Counters and delays.
    pub fn stats(&self) -> PlayoutStats {
        PlayoutStats {
            target_delay: to_duration(self.timing.target()),
            current_delay: to_duration(self.wait_16 / 16),
            jitter: to_duration(self.timing.jitter()),
            ..self.stats
        }
    }

    /// `now` in samples since the first packet.
    fn clock(&self, now: Instant) -> i64 {
        self.origin
            .map_or(0, |origin| to_samples(now.saturating_duration_since(origin)))
    }

    /// Which of the packets that wait would start the stream now: the first that is due, unless it waited a whole frame
    /// longer than it had to, as the backlog of a stall has; then the latest that is due.
    fn start(&self, now: i64) -> Option<usize> {
        let mut latest = None;
        for (index, packet) in self.buffer.iter().enumerate() {
            if !self.timing.is_due(now, packet.ts, 0) {
                break;
            }
            latest = Some(index);
            if !self.timing.is_due(now, packet.ts, FRAME) {
                break;
            }
        }
        latest
    }

    fn stop(&mut self) {
        self.state = State::Silent;
        self.fifo.clear();
        self.tail.clear();
        self.underrun = false;
        self.concealed = 0;
        self.ticks_ahead = 0;
        self.ticks_behind = 0;
    }

    fn begin(&mut self, position: i64) {
        self.stop();
        self.state = State::Playing;
        self.position = position;
        self.shed_before(position);
    }

    /// Drops the packets that end at or before a timestamp.
    fn shed_before(&mut self, position: i64) {
        while self.buffer.front().is_some_and(|packet| packet.end() <= position) {
            if let Some(packet) = self.buffer.take_front() {
                self.stats.shed += 1;
                self.pass(&packet);
                self.keep(packet);
            }
        }
    }

    /// A packet that has had its turn may be of use once more.
    fn keep(&mut self, packet: BufferedPacket) {
        let displaced = self.recent.push(packet);
        self.buffer.recycle(displaced);
    }

    /// The stream moves on past a packet, played or not.
    fn pass(&mut self, packet: &BufferedPacket) {
        if let Some(end) = self.played_end
            && packet.ts >= end
        {
            self.stats.lost += u64::try_from(packet.seq - self.last_seq - 1).unwrap_or(0);
        }
        self.last_seq = packet.seq;
        self.played_end = Some(self.played_end.map_or(packet.end(), |end| end.max(packet.end())));
        self.last_level = packet.level;
        self.last_is_dtx = packet.is_dtx;
    }

    /// After running out of packets: if what then came lies behind the position, go back to it, but no further than the
    /// target delay asks for.
    fn rewind_target(&self, now: i64) -> Option<i64> {
        let index = self.start(now).unwrap_or(0);
        let back = self.buffer.get(index)?.ts;
        (self.underrun && back < self.position).then_some(back)
    }

    fn note_wait(&mut self, now: i64, packet: &BufferedPacket, offset: i64) {
        let wait = (now - packet.arrival + offset).max(0) * 16;
        self.wait_16 += if self.stats.played == 0 {
            wait
        } else {
            (wait - self.wait_16) / 16
        };
        self.stats.played += 1;
    }

    /// As [`Playout::pop`], for a tick at which the speaker isn't heard: the same book-keeping, no decoding. The first
    /// frame popped afterwards fades in over 5 ms.
    ///
    /// Cuts off sharply after the last frame: to stop hearing a speaker, pop once more, ramp that to zero, then skip.
    pub fn skip(&mut self, now: Instant) -> FrameKind {
        let now = self.clock(now);
        self.skipped = true;
        if self.state == State::Ending {
            self.stop();
            return FrameKind::Concealed;
        }
        if self.state == State::Silent {
            match self.start(now).and_then(|index| self.buffer.get(index)) {
                Some(packet) => self.begin(packet.ts),
                None => return FrameKind::Silence,
            }
        }
        if let Some(position) = self.rewind_target(now) {
            self.position = position;
            self.shed_before(position);
        }
        self.underrun = false;
        self.skip_playing(now)
    }

    fn skip_playing(&mut self, now: i64) -> FrameKind {
        // Nobody listens, so the delay is set right at once.
        let ready = self.fifo.len() as i64;
        let spare = ready + self.buffer.contiguous_from(self.position + ready) - FRAME;
        let ahead = self.timing.ideal(now, render::HYSTERESIS) - self.position;
        let behind = self.position - self.timing.ideal(now, 0);
        let step = if ahead > 0 && spare > 0 {
            FRAME + ahead.min(spare)
        } else {
            FRAME - behind.clamp(0, FRAME)
        };
        let before = self.position;
        self.position += step;
        let from_fifo = (step.min(ready)) as usize;
        self.fifo.drain(..from_fifo);
        let mut any = from_fifo > 0 || step == 0;
        while self.buffer.front().is_some_and(|packet| packet.end() <= self.position) {
            let Some(packet) = self.buffer.take_front() else {
                break;
            };
            self.note_wait(now, &packet, (packet.ts - before).max(0));
            self.pass(&packet);
            self.keep(packet);
            self.cold = true;
            any = true;
        }
        if self.buffer.front().is_some_and(|packet| packet.ts < self.position) {
            any = true;
        }
        if any {
            self.concealed = 0;
            return FrameKind::Decoded;
        }
        let pause = self
            .buffer
            .front()
            .is_some_and(|next| next.seq == self.last_seq + 1 || next.marker);
        self.underrun = self.buffer.is_empty();
        self.concealed += FRAME;
        if pause || self.last_is_dtx || self.concealed >= render::CONCEAL_LIMIT {
            self.stop();
        }
        FrameKind::Concealed
    }
}

fn to_samples(duration: Duration) -> i64 {
    let rate = u64::from(SAMPLE_RATE);
    let whole = duration.as_secs().saturating_mul(rate);
    let part = u64::from(duration.subsec_nanos()) * rate / 1_000_000_000;
    i64::try_from(whole.saturating_add(part)).unwrap_or(i64::MAX / 4)
}

fn to_duration(samples: i64) -> Duration {
    Duration::from_nanos(
        u64::try_from(samples)
            .unwrap_or(0)
            .saturating_mul(1_000_000_000 / 48_000),
    )
}
