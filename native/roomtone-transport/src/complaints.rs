//! Log lines for the operator about clients that can't be served, few enough that nobody can fill a
//! disk with them.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// One line of a kind in this time; what comes in between is counted.
const PAUSE: Duration = Duration::from_secs(10);

/// The subject of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    ExtendedMasterSecret,
    WeakKey,
    SrtpProfile,
    Fingerprint,
    Handshake,
    Oversized,
}

/// Limits the lines of all endpoints that share a configuration.
pub(crate) struct Complaints {
    origin: Instant,
    kinds: [Kind; 6],
}

/// Milliseconds since the origin before which nothing is written, and how many lines were left out.
#[derive(Default)]
struct Kind {
    quiet_until: AtomicU64,
    left_out: AtomicU64,
}

impl Complaints {
    pub(crate) fn new(origin: Instant) -> Self {
        Self {
            origin,
            kinds: Default::default(),
        }
    }

    /// Writes a line at warn level, or counts it. `text` begins with what happened.
    pub(crate) fn warn(&self, now: Instant, cause: Cause, text: fmt::Arguments<'_>) {
        if let Some(left_out) = self.admit(now, cause) {
            match left_out {
                0 => log::warn!("{text}"),
                more => log::warn!("{text} ({more} more like this since the last such line)"),
            }
        }
    }

    // `Some`: a line may be written, and so many were left out before it.
    fn admit(&self, now: Instant, cause: Cause) -> Option<u64> {
        let kind = &self.kinds[cause as usize];
        let at = now.saturating_duration_since(self.origin).as_millis() as u64;
        let until = kind.quiet_until.load(Ordering::Relaxed);
        let next = at + PAUSE.as_millis() as u64;
        let exchange = |until| {
            kind.quiet_until
                .compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed)
        };
        if at >= until && exchange(until).is_ok() {
            Some(kind.left_out.swap(0, Ordering::Relaxed))
        } else {
            kind.left_out.fetch_add(1, Ordering::Relaxed);
            None
        }
    }
}

impl fmt::Debug for Complaints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Complaints")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods)] // a virtual clock has to start somewhere
    fn one_line_of_a_kind_in_ten_seconds_tells_how_many_were_left_out() {
        let start = Instant::now();
        let complaints = Complaints::new(start);
        assert_eq!(complaints.admit(start, Cause::WeakKey), Some(0));
        for ms in 0..100 {
            assert_eq!(
                complaints.admit(start + Duration::from_millis(ms), Cause::WeakKey),
                None
            );
        }
        assert_eq!(complaints.admit(start, Cause::SrtpProfile), Some(0), "another kind");
        assert_eq!(complaints.admit(start + PAUSE, Cause::WeakKey), Some(100));
    }
}
