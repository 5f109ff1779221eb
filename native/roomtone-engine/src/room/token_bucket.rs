//! The rate limit of a talker whose packets are forwarded: each of them costs one packet for every listener.

use std::time::Instant;

/// Packets a second. Opus sends 400 at the most, in frames of 2.5 ms; clocks differ a little.
const PACKETS: f32 = 440.0;
/// Bytes a second. Opus has 63 750 at the most.
const BYTES: f32 = 70_000.0;
/// The burst that may come after a stall, in seconds of these rates.
const BURST: f32 = 1.0;

/// A token bucket of packets, and one of bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct TokenBucket {
    packets: f32,
    bytes: f32,
    at: Option<Instant>,
}

impl Default for TokenBucket {
    fn default() -> Self {
        TokenBucket {
            packets: PACKETS * BURST,
            bytes: BYTES * BURST,
            at: None,
        }
    }
}

impl TokenBucket {
    /// Takes a packet of so many bytes, if both buckets have tokens for it. A refused packet costs nothing.
    pub(super) fn take(&mut self, now: Instant, bytes: usize) -> bool {
        let since = self
            .at
            .map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f32());
        self.at = Some(now);
        self.packets = (self.packets + PACKETS * since).min(PACKETS * BURST);
        self.bytes = (self.bytes + BYTES * since).min(BYTES * BURST);
        let bytes = bytes as f32;
        if self.packets < 1.0 || self.bytes < bytes {
            return false;
        }
        self.packets -= 1.0;
        self.bytes -= bytes;
        true
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use std::time::Duration;

    use super::*;

    // How many of so many packets pass.
    fn passed(packets: u32, every: Duration, bytes: usize) -> u32 {
        let (mut bucket, start) = (TokenBucket::default(), Instant::now());
        let taken = (0..packets).map(|n| u32::from(bucket.take(start + every * n, bytes)));
        taken.sum()
    }

    #[test]
    fn all_that_opus_can_send_is_within_it() {
        assert_eq!(passed(24_000, Duration::from_micros(2_499), 159), 24_000);
        assert_eq!(passed(3_000, Duration::from_millis(20), 1_275), 3_000);
    }

    #[test]
    fn more_is_not_whether_in_packets_or_in_bytes() {
        // Ten seconds, and the burst.
        let packets = passed(100_000, Duration::from_micros(100), 3);
        assert!((4_800..4_900).contains(&packets), "{packets}");
        let bytes = passed(2_000, Duration::from_millis(5), 1_200) * 1_200;
        assert!((760_000..780_000).contains(&bytes), "{bytes}");
    }
}
