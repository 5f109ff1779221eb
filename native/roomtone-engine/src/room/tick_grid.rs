//! When a room ticks: every 20 ms on a grid of its own, while it has something to do. Ticks of which nobody would hear anything may wait for the
//! next packet, so that the thread doesn't wake up for them alone.

use std::time::{Duration, Instant};

use roomtone_audio::{FRAME_DURATION, FRAME_SAMPLES};

/// After a stall this many ticks are made up for. Older ones are skipped, and their sound with them. A listener's jitter buffer
/// absorbs a burst of three packets.
const CATCH_UP: u64 = 3;

/// How long a tick waits for a packet: a talker sends one every 20 ms, give or take some jitter.
const PATIENCE: Duration = Duration::from_millis(30);

const FRAME_NANOS: u64 = FRAME_DURATION.as_nanos() as u64;

/// A room's tick times, and the next tick while the room isn't at rest.
#[derive(Debug)]
pub(super) struct TickGrid {
    start: Instant,
    next: Option<u64>,
    /// Whether ticks wait for a packet.
    waits: bool,
}

/// A tick that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tick {
    /// Its number on the grid.
    pub(super) n: u64,
    /// When it should have begun.
    pub(super) at: Instant,
    /// Ticks left out before it, because the thread was too late for them.
    pub(super) skipped: u64,
    /// Whether it was free to wait for a packet.
    pub(super) waited: bool,
}

impl Tick {
    /// Its media time at 48 kHz. It goes on while nothing is sent (RFC 3550 §5.1).
    pub(super) fn timestamp(self) -> u32 {
        (self.n as u32).wrapping_mul(FRAME_SAMPLES as u32)
    }
}

impl TickGrid {
    /// At rest; ticks are whole frames after `start`.
    pub(super) fn new(start: Instant) -> TickGrid {
        TickGrid {
            start,
            next: None,
            waits: false,
        }
    }

    /// Ticks from the next point of the grid on, if the room is at rest.
    pub(super) fn keep_ticking(&mut self, now: Instant) {
        if self.next.is_none() {
            let since = now.saturating_duration_since(self.start).as_nanos() as u64;
            self.next = Some(since / FRAME_NANOS + 1);
        }
    }

    /// No further ticks until [`TickGrid::keep_ticking`].
    pub(super) fn rest(&mut self) {
        self.next = None;
        self.waits = false;
    }

    /// Whether the next tick may wait for a packet, until [`TickGrid::hurry`].
    pub(super) fn wait_for_packets(&mut self, waits: bool) {
        self.waits = waits;
    }

    /// Whether the next tick waits for a packet.
    pub(super) fn waits(&self) -> bool {
        self.waits
    }

    /// The next tick doesn't wait for a packet.
    pub(super) fn hurry(&mut self) {
        self.waits = false;
    }

    /// Whether a tick has waited for the packet that comes now.
    pub(super) fn has_waited(&self, now: Instant) -> bool {
        self.waits && self.is_due(now)
    }

    /// When the next tick has to be made, if there is one.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next.map(|n| self.time(n) + self.patience())
    }

    fn patience(&self) -> Duration {
        if self.waits { PATIENCE } else { Duration::ZERO }
    }

    /// Whether a tick is due by `now`.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next.is_some_and(|n| self.time(n) <= now)
    }

    /// The time from which whole frames are counted.
    pub(super) fn start(&self) -> Instant {
        self.start
    }

    /// The next tick that is due by `now`; the grid goes on to the one after it.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Tick> {
        let n = self.next?;
        let at = self.time(n);
        if at > now {
            return None;
        }
        let behind = ((now - at).as_nanos() / FRAME_DURATION.as_nanos()) as u64;
        let skipped = if now - at > FRAME_DURATION * CATCH_UP as u32 + self.patience() {
            behind - (CATCH_UP - 1)
        } else {
            0
        };
        let n = n + skipped;
        self.next = Some(n + 1);
        let at = self.time(n);
        Some(Tick {
            n,
            at,
            skipped,
            waited: self.waits,
        })
    }

    /// The media time at `now` at 48 kHz, rounded to whole frames of the grid.
    pub(super) fn media_time(&self, now: Instant) -> u32 {
        let since = now.saturating_duration_since(self.start);
        let frames = (since + FRAME_DURATION / 2).as_millis() / FRAME_DURATION.as_millis();
        (frames as u64).wrapping_mul(FRAME_SAMPLES as u64) as u32
    }

    fn time(&self, n: u64) -> Instant {
        // Multiplied in nanoseconds: `Duration * u32` would end after 994 days.
        self.start + Duration::from_nanos(FRAME_NANOS * n)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_skips_all_but_the_last_ticks() {
        let start = Instant::now();
        let mut grid = TickGrid::new(start);
        assert_eq!(grid.pop_due(start + FRAME_DURATION), None, "at rest");
        grid.keep_ticking(start);
        let tick = |n: u64, skipped| {
            let at = start + FRAME_DURATION * n as u32;
            let waited = false;
            Some(Tick { n, at, skipped, waited })
        };
        assert_eq!(grid.pop_due(start), None);
        assert_eq!(grid.pop_due(start + FRAME_DURATION), tick(1, 0));
        let late = start + FRAME_DURATION * 10;
        assert_eq!(grid.pop_due(late), tick(8, 6));
        assert_eq!(grid.pop_due(late), tick(9, 0));
        assert_eq!(grid.pop_due(late), tick(10, 0));
        assert_eq!(grid.pop_due(late), None);
        assert_eq!(grid.media_time(late), 9600);
    }

    #[test]
    fn ticks_that_may_wait_are_made_with_a_packet_or_after_a_while() {
        let start = Instant::now();
        let ms = |ms| start + Duration::from_millis(ms);
        let mut grid = TickGrid::new(start);
        grid.keep_ticking(start);
        assert_eq!(grid.next(), Some(ms(20)));
        grid.wait_for_packets(true);
        assert_eq!(grid.next(), Some(ms(50)));
        assert!(!grid.has_waited(ms(19)) && grid.has_waited(ms(20)));
        let waited = grid.pop_due(ms(33)).unwrap();
        assert_eq!((waited.at, waited.waited), (ms(20), true));
        assert_eq!(grid.pop_due(ms(33)), None);
        assert_eq!(grid.next(), Some(ms(70)));
        grid.hurry();
        assert_eq!(grid.next(), Some(ms(40)));
        assert!(!grid.has_waited(ms(40)), "it comes by itself");
        assert!(!grid.pop_due(ms(40)).unwrap().waited);
    }
}
