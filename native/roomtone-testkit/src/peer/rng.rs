//! Spread of timers. Seeded by the SSRC, so that a test that fixes it gets the same times on every run.

use std::time::{Duration, Instant};

pub(super) struct Rng(u64);

impl Rng {
    pub fn new(seed: u32) -> Rng {
        Rng(u64::from(seed) << 1 | 1)
    }

    fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// `now` + 0.8…1.2 × `mean`; `None` where that is beyond time.
    pub fn around(&mut self, now: Instant, mean: Duration) -> Option<Instant> {
        if mean == Duration::MAX {
            return None;
        }
        let unit = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        now.checked_add(Duration::try_from_secs_f64(mean.as_secs_f64() * (0.8 + 0.4 * unit)).ok()?)
    }
}
