//! Which packets of a stream have come: the rollover counter (RFC 3711 §3.3.1) and the replay list
//! (§3.3.2).

/// Packets behind the newest one that are still let in, once each.
const WIDTH: u64 = 128;

/// The newest index of a stream, and which of those before it have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    newest: u64,
    /// Bit `n`: `newest - n` has come.
    seen: u128,
}

impl Window {
    /// Begins with the first authentic packet.
    pub(super) fn new(index: u64) -> Window {
        Window { newest: index, seen: 1 }
    }

    /// The most likely index (ROC · 2¹⁶ + SEQ) of a packet of an RTP stream with this window. A
    /// packet from before the stream's first rollover that there was none of has no index: `None`.
    pub(super) fn guess(&self, sequence: u16) -> Option<u64> {
        let newest = self.newest as u16;
        let roc = self.newest >> 16;
        let ahead = sequence.wrapping_sub(newest) < 0x8000;
        let roc = match (ahead, sequence < newest) {
            (true, true) => roc + 1,
            (false, false) if sequence != newest => roc.checked_sub(1)?,
            _ => roc,
        };
        Some(roc << 16 | u64::from(sequence))
    }

    /// Whether a packet of this index is new. Ask before it is authenticated, since that is dear,
    /// and [`note`](Self::note) it after.
    pub(super) fn is_new(&self, index: u64) -> bool {
        match self.newest.checked_sub(index) {
            None => true,
            Some(behind) => behind < WIDTH && self.seen >> behind & 1 == 0,
        }
    }

    /// An authentic packet of this index has come.
    pub(super) fn note(&mut self, index: u64) {
        match index.checked_sub(self.newest) {
            Some(ahead) => {
                self.seen = if ahead < WIDTH { self.seen << ahead } else { 0 };
                self.seen |= 1;
                self.newest = index;
            }
            None => {
                let behind = self.newest - index;
                if behind < WIDTH {
                    self.seen |= 1 << behind;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    #[test]
    fn rollovers_are_counted_both_ways() {
        let mut window = Window::new(65_530);
        assert_eq!(window.guess(3), Some(65_539));
        window.note(65_539);
        assert_eq!(window.guess(65_533), Some(65_533), "late, from before the rollover");
        assert_eq!(window.guess(65_000), Some(65_000));
        assert_eq!(window.guess(3), Some(65_539));
        assert_eq!(Window::new(5).guess(65_000), None, "there was nothing before");
        assert_eq!(Window::new(5).guess(32_772), Some(32_772));
    }

    proptest! {
        /// Against a list of everything that came.
        #[test]
        fn each_index_is_let_in_once_and_old_ones_not_at_all(steps in proptest::collection::vec(-200i64..200, 1..400)) {
            let mut at = 70_000i64;
            let mut window = Window::new(at as u64);
            let mut seen = HashSet::from([at]);
            let mut newest = at;
            for step in steps {
                at = newest + step;
                let fresh = window.is_new(at as u64);
                prop_assert_eq!(fresh, newest - at < WIDTH as i64 && !seen.contains(&at), "{} at {}", at, newest);
                prop_assert_eq!(window.guess(at as u16), Some(at as u64));
                if fresh {
                    window.note(at as u64);
                    seen.insert(at);
                    newest = newest.max(at);
                }
            }
        }
    }
}
