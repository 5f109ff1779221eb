//! Statistics of one incoming stream: loss as in RFC 3550 A.3, jitter as in A.8, and its last
//! sender report.

use std::time::{Duration, Instant};

use rtc::rtcp::reception_report::ReceptionReport;

const CLOCK_RATE: u64 = 48_000;
/// A jump further than this is a restart of the stream (RFC 3550 A.1, MAX_DROPOUT).
const MAX_DROPOUT: u16 = 3_000;
const MAX_MISORDER: u16 = 100;

#[derive(Debug)]
pub(crate) struct Reception {
    pub(crate) ssrc: u32,
    base: u64,
    highest: u64,
    received: u64,
    /// Lost before the stream jumped to other sequence numbers.
    lost_before: i64,
    expected_prior: u64,
    received_prior: u64,
    fraction_lost: u8,
    /// Where a jump may have gone: the sequence number that would prove it.
    restart: Option<u16>,
    transit: Option<i64>,
    /// In timestamp units, times 16.
    jitter: u64,
    origin: Instant,
    last_report: Option<(u32, Instant)>,
}

impl Reception {
    pub(crate) fn new(now: Instant, ssrc: u32, first: u16) -> Self {
        Self {
            ssrc,
            // One cycle above zero, so that a packet from before the first one has a place.
            base: 0x1_0000 + u64::from(first),
            highest: 0x1_0000 + u64::from(first),
            received: 0,
            lost_before: 0,
            expected_prior: 0,
            received_prior: 0,
            fraction_lost: 0,
            restart: None,
            transit: None,
            jitter: 0,
            origin: now,
            last_report: None,
        }
    }

    /// Counts an authentic packet.
    pub(crate) fn packet(&mut self, now: Instant, sequence: u16, timestamp: u32) {
        let ahead = sequence.wrapping_sub(self.highest as u16);
        if ahead < MAX_DROPOUT {
            self.highest += u64::from(ahead);
        } else if ahead <= u16::MAX - MAX_MISORDER {
            if self.restart != Some(sequence) {
                // One odd packet proves nothing; two in a row do.
                self.restart = Some(sequence.wrapping_add(1));
                return;
            }
            self.lost_before = self.lost();
            self.base = 0x1_0000 + u64::from(sequence);
            self.highest = self.base;
            self.received = 0;
            self.expected_prior = 0;
            self.received_prior = 0;
            self.transit = None;
        }
        self.restart = None;
        self.received += 1;
        self.update_jitter(now, timestamp);
    }

    fn update_jitter(&mut self, now: Instant, timestamp: u32) {
        let since = now.saturating_duration_since(self.origin);
        let arrival = (since.as_nanos() * u128::from(CLOCK_RATE) / 1_000_000_000) as u64;
        // Both clocks wrap at 32 bits, so their difference is taken there.
        let transit = i64::from((arrival as u32).wrapping_sub(timestamp) as i32);
        if let Some(before) = self.transit.replace(transit) {
            let difference = (transit - before).unsigned_abs() & 0xFFFF_FFFF;
            let difference = difference.min(0x1_0000_0000 - difference.min(0x1_0000_0000));
            // A pause without packets whose time stamps stand still would count as minutes of
            // jitter.
            if difference < CLOCK_RATE * 10 {
                self.jitter = self.jitter + difference - ((self.jitter + 8) >> 4);
            }
        }
    }

    fn expected(&self) -> u64 {
        self.highest - self.base + 1
    }

    /// Packets that never came; below zero where duplicates or packets from before the first one
    /// did.
    pub(crate) fn lost(&self) -> i64 {
        if self.received == 0 {
            return self.lost_before;
        }
        self.lost_before + self.expected() as i64 - self.received as i64
    }

    pub(crate) fn jitter(&self) -> Duration {
        Duration::from_nanos((self.jitter >> 4) * 1_000_000_000 / CLOCK_RATE)
    }

    /// Share of packets lost in the interval of the last report, 0 to 1.
    pub(crate) fn fraction_lost(&self) -> f32 {
        f32::from(self.fraction_lost) / 256.0
    }

    /// The stream's sender says what time it is.
    pub(crate) fn sender_report(&mut self, now: Instant, ntp: u64) {
        self.last_report = Some(((ntp >> 16) as u32, now));
    }

    /// The block for our next report; begins a new interval.
    pub(crate) fn report(&mut self, now: Instant) -> ReceptionReport {
        let expected = self.expected();
        let expected_interval = expected - self.expected_prior;
        let received_interval = self.received - self.received_prior;
        self.expected_prior = expected;
        self.received_prior = self.received;
        let lost_interval = expected_interval.saturating_sub(received_interval);
        self.fraction_lost = (lost_interval << 8)
            .checked_div(expected_interval)
            .map_or(0, |share| share.min(255) as u8);
        let (last_sender_report, delay) = match self.last_report {
            Some((middle, at)) => (middle, short(now.saturating_duration_since(at))),
            None => (0, 0),
        };
        ReceptionReport {
            ssrc: self.ssrc,
            fraction_lost: self.fraction_lost,
            // 24 bits with a sign on the wire; the library takes the bits.
            total_lost: (self.lost().clamp(-0x80_0000, 0x7F_FFFF) as u32) & 0xFF_FFFF,
            last_sequence_number: (self.highest - 0x1_0000) as u32,
            jitter: (self.jitter >> 4) as u32,
            last_sender_report,
            delay,
        }
    }
}

/// Units of 1/65536 s.
pub(super) fn short(d: Duration) -> u32 {
    u32::try_from(d.as_nanos() * 65_536 / 1_000_000_000).unwrap_or(u32::MAX)
}
