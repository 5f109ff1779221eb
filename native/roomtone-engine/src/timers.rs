//! Deadlines of many keys, the earliest first.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::hash::Hash;
use std::time::Instant;

/// A timer queue. Moving a deadline later leaves its entry in the queue, which moves only when its old time comes: a deadline that is pushed back
/// with every packet costs no queue operation.
#[derive(Debug)]
pub(crate) struct Timers<K> {
    queue: BinaryHeap<Reverse<(Instant, K)>>,
    deadlines: HashMap<K, Deadline>,
}

#[derive(Clone, Copy, Debug)]
struct Deadline {
    due: Instant,
    /// The time of its entry in the queue, at `due` or before. All others of its key are stale.
    queued: Instant,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Timers {
            queue: BinaryHeap::new(),
            deadlines: HashMap::new(),
        }
    }
}

impl<K: Copy + Ord + Hash> Timers<K> {
    /// `key` fires at `due`, and no longer when it was to fire before.
    pub(crate) fn schedule(&mut self, key: K, due: Instant) {
        match self.deadlines.get_mut(&key) {
            Some(deadline) if deadline.queued <= due => deadline.due = due,
            _ => self.enqueue(key, due),
        }
    }

    fn enqueue(&mut self, key: K, due: Instant) {
        self.deadlines.insert(key, Deadline { due, queued: due });
        self.queue.push(Reverse((due, key)));
    }

    /// Forgets `key`.
    pub(crate) fn remove(&mut self, key: &K) {
        self.deadlines.remove(key);
        // Its entries stay in the queue until their time, when they are seen to be stale; unless they are most of it.
        if self.queue.len() > 64 && self.queue.len() > 4 * self.deadlines.len() {
            let deadlines = &self.deadlines;
            self.queue
                .retain(|Reverse((at, key))| deadlines.get(key).is_some_and(|deadline| deadline.queued == *at));
        }
    }

    /// When the next key fires.
    pub(crate) fn next(&mut self) -> Option<Instant> {
        while let Some(Reverse((at, key))) = self.queue.peek().copied() {
            match self.deadlines.get(&key) {
                Some(deadline) if deadline.queued != at => {}
                Some(deadline) if deadline.due == at => return Some(at),
                Some(Deadline { due, .. }) => {
                    let due = *due;
                    self.queue.pop();
                    self.enqueue(key, due);
                    continue;
                }
                None => {}
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
        self.deadlines.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn keys_fire_in_order_once_and_at_their_last_deadline() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::default();
        timers.schedule('b', at(20));
        timers.schedule('a', at(10));
        timers.schedule('a', at(30)); // later
        timers.schedule('b', at(5)); // earlier
        assert_eq!(timers.next(), Some(at(5)));
        assert_eq!(timers.pop_due(at(4)), None);
        assert_eq!(timers.pop_due(at(29)), Some('b'));
        assert_eq!(timers.pop_due(at(29)), None);
        assert_eq!(timers.next(), Some(at(30)));
        assert_eq!(timers.pop_due(at(30)), Some('a'));
        assert_eq!(timers.pop_due(at(99)), None);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn deadlines_that_move_to_and_fro_leave_no_entries_behind() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut timers = Timers::default();
        for ms in 0..1000 {
            timers.schedule('a', at(ms + 50));
            timers.schedule('a', at(ms + 20 + ms % 7));
            timers.schedule('b', at(ms + 30));
            assert_eq!(timers.next(), Some(at((ms + 20 + ms % 7).min(ms + 30))));
            assert_eq!(timers.pop_due(at(ms)), None);
            assert!(timers.queue.len() < 40, "{}", timers.queue.len());
        }
        assert_eq!(timers.pop_due(at(2000)), Some('a'));
        assert_eq!(timers.pop_due(at(2000)), Some('b'));
        assert_eq!(timers.pop_due(at(2000)), None);
        assert!(timers.queue.is_empty());
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
