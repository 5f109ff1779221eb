//! Where a packet belongs in a track.
//!
//! RTP timestamps tell how packets follow on each other, their arrival when they were said. A track keeps the difference of the two at its least: that
//! of the packet that was fastest. Within a talk spurt packets follow on each other as their timestamps do. In pauses, where a packet more or less
//! isn't heard, the track goes to where it should be; so clocks that differ don't add up.

use std::io;

use roomtone_audio::packet;

use crate::ogg_opus::{SHORTEST, Track};

/// A stream whose timestamps jump by more than this (2 s) has begun anew.
const JUMP: i64 = 96_000;
/// A loss of up to this (60 ms) is concealed by the player's decoder; a longer one is silence.
const CONCEALED: u64 = 2_880;
/// A packet at least this soft (−dBov) may be left out or led by silence, to keep time.
const QUIET: u8 = 60;
/// A track this far behind where it should be (2.5 ms, what the shortest frame takes) is put right before the next quiet packet …
const BEHIND: i64 = SHORTEST as i64;
/// … one that is further ahead than rounding makes it, by this much (0.25 ms, so that it isn't behind afterwards), in its place …
const AHEAD: i64 = 12;
/// … and one this far off (100 ms) at any packet.
const FAR_OFF: i64 = 4_800;
/// The fastest packet of so many samples (10 s) tells where the track belongs.
const SETTLED: i64 = 480_000;
/// By how much the least difference grows with each packet: a clock that is slow by up to 100 ppm.
const FORGET: f64 = 0.000_1;

/// A packet for a track.
#[derive(Clone, Copy)]
pub(crate) struct Incoming<'a> {
    pub(crate) payload: &'a [u8],
    pub(crate) timestamp: u32,
    /// Its level (−dBov), if it is known.
    pub(crate) level: Option<u8>,
    /// When it came, in samples from the beginning of the recording; for a mix, its media time on that line.
    pub(crate) arrival: i64,
    /// Whether `arrival` is where it belongs.
    pub(crate) exact: bool,
}

/// The time line of one stream.
#[derive(Default)]
pub(crate) struct TimeLine {
    /// The last timestamp, unwrapped.
    last: Option<(u32, i64)>,
    /// The least difference of arrival and timestamp, of late.
    offset: f64,
    /// … and since the stream began: that of the fastest packet.
    fastest: f64,
    /// The timestamp at which the next packet is expected.
    next: i64,
    /// Where the last packet ends, if it stands where the fastest one tells.
    end: i64,
    /// Samples since the stream began.
    heard: i64,
    /// The mode and bandwidth of the last packet, for concealment.
    toc: u8,
}

impl TimeLine {
    /// The stream ends: what comes next is another.
    pub(crate) fn restart(&mut self) {
        self.last = None;
    }

    /// Whether the fastest of some packets is known.
    pub(crate) fn settled(&self) -> bool {
        self.heard >= SETTLED
    }

    /// By how many samples a track with this end has to be heard later, so that the next packets stand exactly where they belong: at most half of the
    /// shortest frame, because silence does the rest.
    pub(crate) fn remainder(&self, end: u64) -> i64 {
        let half = SHORTEST as i64 / 2;
        (self.end - end as i64 + half).rem_euclid(SHORTEST as i64) - half
    }

    /// Appends a packet to its track.
    pub(crate) fn place(&mut self, packet: &Incoming<'_>, track: &mut impl Track) -> io::Result<()> {
        let Ok(info) = packet::parse(packet.payload) else {
            return Ok(());
        };
        let samples = i64::from(info.samples);
        let (timestamp, begins) = self.unwrap(packet, samples);
        if timestamp < self.next {
            // It came twice, or after those that follow it.
            return Ok(());
        }
        let hole = (timestamp - self.next) as u64;
        let (belongs, stands) = if packet.exact {
            (packet.arrival, packet.arrival)
        } else {
            (timestamp + self.offset as i64, timestamp + self.fastest as i64)
        };
        // To the nearest place that silence can lead to.
        let target = belongs + SHORTEST as i64 / 2;
        let off = target - (track.end() + hole) as i64;
        let quiet = packet.level.is_some_and(|level| level >= QUIET);
        self.next = timestamp + samples;
        self.end = stands + samples;
        self.heard += if packet.exact { SETTLED } else { samples };
        // A pause, or a loss: silence up to where the packet belongs.
        if hole > CONCEALED || packet.exact || begins {
            track.fill(target.max(0) as u64)?;
        } else if hole > 0 {
            self.conceal(hole, track)?;
        }
        if off > FAR_OFF || (off >= BEHIND && quiet) {
            track.fill(target.max(0) as u64)?;
        }
        let ahead = track.end() as i64 - target;
        if ahead > FAR_OFF || (ahead > AHEAD && quiet) {
            // As much silence as is left of its time.
            return track.fill((target + samples).max(0) as u64);
        }
        self.toc = packet.payload.first().copied().unwrap_or_default();
        track.append(packet.payload, info.samples.into())
    }

    // An empty frame of the same mode makes a decoder conceal it (RFC 6716 §4.4).
    fn conceal(&self, hole: u64, track: &mut impl Track) -> io::Result<()> {
        let until = track.end() + hole;
        let empty = [self.toc & !0b11];
        if let Ok(info) = packet::parse(&empty) {
            while track.end() + u64::from(info.samples) <= until {
                track.append(&empty, info.samples.into())?;
            }
        }
        track.fill(until)
    }

    // Its timestamp, and whether a stream begins with it.
    fn unwrap(&mut self, packet: &Incoming<'_>, samples: i64) -> (i64, bool) {
        let step = self
            .last
            .map(|(last, unwrapped)| (packet.timestamp.wrapping_sub(last) as i32, unwrapped));
        let arrives = |timestamp: i64| (packet.arrival - samples - timestamp) as f64;
        let (timestamp, begins) = match step {
            Some((step, unwrapped))
                if i64::from(step).abs() <= JUMP || self.goes_with(packet, unwrapped + i64::from(step), samples) =>
            {
                let timestamp = unwrapped + i64::from(step);
                self.offset = (self.offset + samples as f64 * FORGET).min(arrives(timestamp));
                self.fastest = self.fastest.min(arrives(timestamp));
                (timestamp, false)
            }
            // A new stream.
            _ => {
                self.offset = arrives(0);
                self.fastest = self.offset;
                self.next = 0;
                self.heard = 0;
                (0, true)
            }
        };
        self.last = Some((packet.timestamp, timestamp));
        (timestamp, begins)
    }

    // Whether a long step of the timestamps took as long.
    fn goes_with(&self, packet: &Incoming<'_>, timestamp: i64, samples: i64) -> bool {
        let expected = timestamp + self.offset as i64;
        (packet.arrival - samples - expected).abs() <= JUMP
    }
}

const _: () = assert!(SHORTEST == 120);

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(crate) mod tests {
    use super::*;
    use crate::ogg_opus::OggPages;

    const FRAME: [u8; 3] = [0xf8, 0xff, 0xfe];

    fn track() -> OggPages {
        OggPages::new(7, 1, 48_000, &[]).unwrap()
    }

    /// A different delay for each packet, of up to 30 ms, the same in each run.
    pub(crate) fn jitter(seed: u32, packet: u32) -> i64 {
        let mut mixed = packet
            .wrapping_add(seed.wrapping_mul(0x1_0000))
            .wrapping_mul(0x9e37_79b9);
        for factor in [0x85eb_ca6b, 0xc2b2_ae35] {
            mixed = (mixed ^ (mixed >> 15)).wrapping_mul(factor);
        }
        i64::from((mixed ^ (mixed >> 16)) % 1_441)
    }

    /// An hour of a talker whose clock is off by so many millionths, with jitter of up to 30 ms, and a pause of quiet packets now and then. The
    /// error of the track's end after the first minute, in ms: least and most.
    fn hour(ppm: f64, track: &mut OggPages) -> (f64, f64) {
        let mut line = TimeLine::default();
        let (mut least, mut most) = (f64::MAX, f64::MIN);
        for n in 0..180_000u32 {
            // One second of fifteen is quiet.
            let quiet = n % 750 < 50;
            let said = f64::from(n) * 960.0 * (1.0 + ppm / 1e6);
            let jitter = jitter(1, n) as f64;
            let incoming = Incoming {
                payload: &FRAME,
                timestamp: n.wrapping_mul(960).wrapping_add(u32::MAX - 100_000),
                level: Some(if quiet { 80 } else { 25 }),
                arrival: (said + 960.0 + jitter) as i64,
                exact: false,
            };
            line.place(&incoming, track).unwrap();
            if n % 750 == 749 && n > 3_000 {
                let error = (track.end() as f64 - said - 960.0) / 48.0;
                least = least.min(error);
                most = most.max(error);
            }
            track.bytes().clear();
        }
        (least, most)
    }

    #[test]
    fn a_clock_that_drifts_does_not_add_up() {
        for ppm in [-90.0, 0.0, 90.0] {
            let (least, most) = hour(ppm, &mut track());
            // Half of the shortest frame, the drift of 14 s in which somebody talks, and what the fastest of late is slower by.
            assert!(least > -3.4 && most < 3.4, "{ppm} ppm: {least} to {most} ms");
        }
    }

    #[test]
    fn a_lost_packet_is_concealed_and_a_pause_is_silence_at_its_length() {
        let mut track = track();
        {
            let mut line = TimeLine::default();
            let mut place = |frame: u32, track: &mut OggPages| {
                let incoming = Incoming {
                    payload: &FRAME,
                    timestamp: frame * 960,
                    level: Some(25),
                    arrival: i64::from(frame + 1) * 960,
                    exact: false,
                };
                line.place(&incoming, track).unwrap();
            };
            for frame in [50, 51, 53, 53, 52, 54, 500, 501] {
                place(frame, &mut track);
            }
            let end = track.end() as i64 - 502 * 960;
            assert!(end.abs() <= 120, "off by {end} samples");
        }
    }

    #[test]
    fn a_stream_that_begins_anew_is_settled_by_its_own_packets() {
        let (mut line, mut track) = (TimeLine::default(), track());
        let mut place = |stream: i64, frame: i64, late: i64| {
            let incoming = Incoming {
                payload: &FRAME,
                timestamp: (stream * 400_000_000 + frame * 960) as u32,
                level: Some(25),
                arrival: stream * 960_000 + (frame + 1) * 960 + late,
                exact: false,
            };
            line.place(&incoming, &mut track).unwrap();
            line.settled()
        };
        assert!(!(0..499).any(|frame| place(0, frame, 0)));
        assert_eq!((0..600).position(|frame| place(1, frame, 400)), Some(499));
    }

    #[test]
    fn a_stream_that_begins_anew_is_placed_by_its_arrival() {
        let mut track = track();
        {
            let mut line = TimeLine::default();
            for (timestamp, arrival) in [(5_000_000u32, 48_960i64), (77, 480_960)] {
                let incoming = Incoming {
                    payload: &FRAME,
                    timestamp,
                    level: Some(25),
                    arrival,
                    exact: false,
                };
                line.place(&incoming, &mut track).unwrap();
            }
            let end = track.end() as i64 - 480_960;
            assert!(end.abs() <= 120, "off by {end} samples");
        }
    }
}
