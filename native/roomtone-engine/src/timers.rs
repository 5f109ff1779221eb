//! Deadlines of many keys, the earliest first.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::Hash;
use std::time::Instant;

/// A timer queue that may fire early, never late: moving a deadline later leaves the old entry, whose firing finds nothing due.
/// So a deadline that is pushed back with every packet costs no queue operation.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    queue: BinaryHeap<Reverse<(Instant, K)>>,
    earliest: HashMap<K, Instant>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Timers {
            queue: BinaryHeap::new(),
            earliest: HashMap::new(),
        }
    }
}

impl<K: Copy + Ord + Hash> Timers<K> {
    /// Makes sure that `key` fires at `due` or before.
    pub(crate) fn schedule(&mut self, key: K, due: Instant) {
        if self.earliest.get(&key).is_some_and(|set| *set <= due) {
            return;
        }
        self.earliest.insert(key, due);
        self.queue.push(Reverse((due, key)));
    }

    /// Forgets `key`.
    pub(crate) fn remove(&mut self, key: &K) {
        self.earliest.remove(key);
        // Its entries stay in the queue until their time, when they are seen to be stale; unless they are most of it.
        if self.queue.len() > 64 && self.queue.len() > 4 * self.earliest.len() {
            let earliest = &self.earliest;
            self.queue.retain(|Reverse((due, key))| earliest.get(key) == Some(due));
        }
    }

    /// When the next key fires.
    pub(crate) fn next(&mut self) -> Option<Instant> {
        while let Some(Reverse((due, key))) = self.queue.peek() {
            if self.earliest.get(key) == Some(due) {
                return Some(*due);
            }
            self.queue.pop();
        }
        None
    }

    /// The next key that is due, which has no timer from now on.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        let Reverse((_, key)) = self.queue.pop()?;
        self.earliest.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn keys_fire_in_order_once_and_never_late() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::default();
        timers.schedule('b', at(20));
        timers.schedule('a', at(10));
        timers.schedule('a', at(30)); // later: the earlier one stays
        timers.schedule('b', at(5)); // earlier: moves
        assert_eq!(timers.next(), Some(at(5)));
        assert_eq!(timers.pop_due(at(4)), None);
        assert_eq!(timers.pop_due(at(30)), Some('b'));
        assert_eq!(timers.pop_due(at(30)), Some('a'));
        assert_eq!(timers.pop_due(at(30)), None);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn removed_keys_neither_fire_nor_pile_up() {
        let start = Instant::now();
        let mut timers = Timers::default();
        for round in 0..10_000u32 {
            timers.schedule(round, start + Duration::from_secs(3600));
            timers.remove(&round);
        }
        assert!(timers.queue.len() <= 65, "{}", timers.queue.len());
        assert_eq!(timers.next(), None);
    }
}
