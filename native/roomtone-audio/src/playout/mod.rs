//! The receive side of one talker: packets in as they arrive, 20 ms of sound out at every tick.
//!
//! A [`Playout`] holds a position on the stream's time line (RTP timestamps, RFC 3550 §5.1, at 48
//! kHz, RFC 7587 §4.1) and moves it by one frame a tick. `timing` decides how far it stays behind
//! the network; `buffer` keeps the waiting packets; `render` turns them into sound. It is always in
//! one of two states:
//!
//! - *silent*: nothing plays (not begun, a pause, a stall), and the position means nothing. A
//!   packet starts the stream once it has waited for the target delay. If several wait, as after a
//!   stall beyond `max_delay`, the latest that has waited long enough starts it, so a burst never
//!   becomes delay.
//! - *playing*: a missing packet is recovered (FEC) or concealed, fading to silence within 100 ms.
//!   A late packet is still played, from its own position, if the stream needs more delay anyway;
//!   so is the copy of a lost one, while losses make it worth waiting for these copies.
//!   Surplus delay is removed in quiet sound, or a pitch period at a time.

mod buffer;
mod crossing;
mod past;
mod render;
mod stretch;
mod timing;

pub use crossing::Crossing;
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
    /// The minimum delay on top of the network's fastest, however clean the link is.
    pub min_delay: Duration,
    /// The maximum delay that jitter may cause; a packet later than that is lost.
    pub max_delay: Duration,
    /// The most packets that may wait.
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

/// The RTP header of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtpMeta {
    /// Sequence number; wraps.
    pub seq: u16,
    /// Timestamp at 48 kHz; wraps.
    pub timestamp: u32,
    /// First packet after a pause (RFC 3551 §4.1).
    pub marker: bool,
    /// The level from the sender (RFC 6464), if there is one.
    pub level: Option<AudioLevel>,
}

/// The outcome of inserting a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InsertOutcome {
    /// It waits to be played.
    Queued,
    /// It had arrived before.
    Duplicate,
    /// Later sound has been played already.
    Late,
    /// The buffer was full: the oldest packet (which may be this one) was dropped.
    Overflow,
    /// Not an Opus packet, or out of step with the stream; ignored.
    Invalid,
    /// The stream has jumped (the second packet in a row shows it). The waiting packets are
    /// dropped; this one waits.
    Reset,
}

/// The kind of sound that a tick returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// The talker's sound.
    Decoded,
    /// The talker's sound, some of it from the copy in the next packet.
    Fec,
    /// Some of it was synthesised, because it hadn't arrived in time.
    Concealed,
    /// Silence: all samples are zero.
    Silence,
}

impl FrameKind {
    /// Whether it is anything but silence.
    pub fn is_sound(self) -> bool {
        self != Self::Silence
    }
}

/// Counters since the start, and the present delays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PlayoutStats {
    /// Packets given to [`Playout::insert`].
    pub received: u64,
    /// Packets whose turn came, decoded or skipped.
    pub played: u64,
    /// Ticks with synthesised sound.
    pub concealed: u64,
    /// Ticks with sound recovered from the next packet.
    pub fec: u64,
    /// Packets played that a later packet carried ([`Playout::insert_restored`]).
    pub restored: u64,
    /// Packets that arrived after later sound had been played.
    pub late: u64,
    /// Packets that had arrived before.
    pub duplicate: u64,
    /// Packets refused.
    pub invalid: u64,
    /// Packets missing when their turn came, including late ones.
    pub lost: u64,
    /// Packets that arrived while the buffer was full.
    pub overflow: u64,
    /// Times the stream jumped.
    pub resets: u64,
    /// Packets dropped unplayed to reduce the delay (the backlog of a stall).
    pub shed: u64,
    /// Samples removed from the sound to reduce the delay.
    pub removed_samples: u64,
    /// Samples inserted in quiet sound to increase the delay.
    pub inserted_samples: u64,
    /// The delay that the stream's jitter requires.
    pub target_delay: Duration,
    /// The time that packets wait from arrival to the tick that plays them (smoothed).
    pub current_delay: Duration,
    /// Interarrival jitter (RFC 3550 §6.4.1).
    pub jitter: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Silent,
    Playing,
    /// One more frame, to fade out the sound of a stream that has jumped.
    Ending,
}

/// The jitter buffer, decoder and concealment of one talker.
///
/// Call [`Playout::pop`] or [`Playout::skip`] exactly once every 20 ms. It costs next to nothing
/// until packets arrive: the decoder is made for the first packet that is heard.
#[derive(Debug)]
pub struct Playout {
    origin: Option<Instant>,
    buffer: PacketBuffer,
    timing: Timing,
    decoder: Option<Decoder>,
    state: State,
    /// The timestamp of the first sample of `fifo`, the next to be played.
    position: i64,
    /// Decoded and not yet played.
    fifo: Vec<f32>,
    /// Sound to fade out under the next packet.
    tail: Vec<f32>,
    /// The timestamp up to which packets have been decoded.
    played_end: Option<i64>,
    last_seq: i64,
    last_level: Option<AudioLevel>,
    last_is_dtx: bool,
    /// Samples synthesised since the last packet.
    concealed: i64,
    /// The last tick ran out of packets.
    underrun: bool,
    /// The last tick was skipped.
    skipped: bool,
    /// The last packets whose turn has come; a decoder may catch up with them.
    recent: past::Recent,
    /// Packets were skipped since the last one was decoded.
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
    /// Makes an empty playout.
    ///
    /// # Errors
    /// Invalid limits: `min_delay` above `max_delay`, more than 2 s, or no packet at all.
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

    /// Inserts a packet that arrived at `now`.
    pub fn insert(&mut self, now: Instant, packet: RtpMeta, payload: &[u8]) -> InsertOutcome {
        self.take(now, packet, payload, None)
    }

    /// Inserts a packet that was lost, and that another one, `reach` samples later in the stream,
    /// brought at `now` (RED, RFC 2198). Call it before the other one is inserted.
    ///
    /// Its arrival tells nothing about the network. But where such losses go on, the stream gets
    /// the delay that it takes to wait for the copies.
    pub fn insert_restored(&mut self, now: Instant, packet: RtpMeta, payload: &[u8], reach: u32) -> InsertOutcome {
        self.take(now, packet, payload, Some(reach))
    }

    fn take(&mut self, now: Instant, packet: RtpMeta, payload: &[u8], reach: Option<u32>) -> InsertOutcome {
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
        match (ts, reach) {
            (Some(ts), None) => self.timing.observe(arrival, ts, i64::from(info.samples)),
            (Some(ts), Some(reach)) => {
                self.buffer.mark_restored(ts);
                self.timing.restorable_loss(arrival, i64::from(reach));
            }
            (None, _) => {}
        }
        outcome
    }

    /// The level of the frame that the next [`Playout::pop`] would play, as its sender measured it,
    /// without decoding. `None`: the sender gives no levels, so only decoding can tell.
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

    /// Whether the next [`Playout::pop`] would return anything but silence.
    pub fn has_audio(&self, now: Instant) -> bool {
        self.state != State::Silent || self.start(self.clock(now)).is_some()
    }

    /// Whether nothing waits and nothing plays: until a packet arrives every tick is silence, and
    /// ticks may be left out.
    pub fn is_idle(&self) -> bool {
        self.state == State::Silent && self.buffer.is_empty()
    }

    /// Whether the packet of this RTP timestamp has had its turn, and if so, how far into the frame that was played last its sound
    /// begins: 0 to 20 ms.
    pub fn turn_of(&self, timestamp: u32) -> Option<Duration> {
        // Both wrap: the low 32 bits of our time line are those of the stream.
        let end = self.played_end? as u32;
        let played = end.wrapping_sub(timestamp) as i32 > 0;
        let into = timestamp.wrapping_sub((self.position - FRAME) as u32) as i32;
        played.then(|| to_duration(i64::from(into).clamp(0, FRAME)))
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

    /// The waiting packet that would start the stream now: the first that is due, unless it has
    /// waited a whole frame too long, like the backlog of a stall; then the latest that is due. After
    /// a stall that a target could have covered nothing is left out: the delay falls while it plays.
    fn start(&self, now: i64) -> Option<usize> {
        let mut latest = None;
        if let Some(first) = self.buffer.front()
            && self.played_end == Some(first.ts)
            && !first.restored
            && self.timing.is_due(now, first.ts, 0)
            && self.timing.is_within_reach(now, first.ts)
        {
            return Some(0);
        }
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
                if packet.restored {
                    self.stats.lost += 1;
                } else {
                    self.stats.shed += 1;
                }
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
            let lost = u64::try_from(packet.seq - self.last_seq - 1).unwrap_or(0);
            self.stats.lost += lost;
            if lost > 0 && packet.has_fec {
                self.timing.restorable_loss(packet.arrival, packet.frame_samples);
            }
        }
        self.last_seq = packet.seq;
        self.played_end = Some(self.played_end.map_or(packet.end(), |end| end.max(packet.end())));
        self.last_level = packet.level;
        self.last_is_dtx = packet.is_dtx;
    }

    /// After an underrun: if the packets that then arrived lie behind the position, go back to
    /// them, but no further than the target delay requires. A packet with a copy of the lost one
    /// before it lies where that copy does.
    fn rewind_target(&self, now: i64) -> Option<i64> {
        if !self.underrun {
            return None;
        }
        let index = self.start(now).unwrap_or(0);
        let next = self.buffer.get(index)?;
        if next.ts < self.position {
            return Some(next.ts);
        }
        let copy = next.ts - next.frame_samples;
        let lost = next.has_fec && !next.marker && next.seq > self.last_seq + 1;
        let unplayed = self.played_end.is_some_and(|end| copy >= end);
        let wanted = self.timing.reach() > 0 && self.timing.ideal(now, 0) < self.position;
        (lost && unplayed && wanted && copy < self.position).then_some(copy)
    }

    fn note_wait(&mut self, now: i64, packet: &BufferedPacket, offset: i64) {
        if packet.restored {
            // It arrived with the packet whose wait counts.
            self.stats.restored += 1;
            self.stats.played += 1;
            return;
        }
        let wait = (now - packet.arrival + offset).max(0) * 16;
        self.wait_16 += if self.stats.played == 0 {
            wait
        } else {
            (wait - self.wait_16) / 16
        };
        self.stats.played += 1;
    }

    /// As [`Playout::pop`], for a tick at which the talker isn't heard: the same bookkeeping, no
    /// decoding. The first frame popped afterwards fades in over 5 ms.
    ///
    /// The sound popped last ends abruptly: to stop hearing a talker, pop once more, ramp that to
    /// zero, then skip.
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
        // Nobody listens, so the delay is corrected at once.
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
