//! Datagrams on their way out.

use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;

/// Datagrams to be sent, one behind the other in memory that is used again and again: what a tick
/// sends is one batch, and in the steady state none of it is allocated.
#[derive(Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    datagrams: Vec<(SocketAddr, Range<usize>)>,
    /// Batches in a row that filled little of the memory.
    small: u32,
}

/// Memory that is kept whatever becomes of it: 500 packets of sound.
const KEPT: usize = 64 << 10;
/// Small batches in a row after which memory is given back: those of ten seconds and more.
const MANY: u32 = 1024;

impl Outbox {
    /// An empty one.
    pub fn new() -> Outbox {
        Outbox::default()
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    /// How many datagrams there are.
    pub fn len(&self) -> usize {
        self.datagrams.len()
    }

    /// The datagram at `index` and where it goes; `None` past the end.
    pub fn get(&self, index: usize) -> Option<(SocketAddr, &[u8])> {
        let (to, range) = self.datagrams.get(index)?;
        Some((*to, &self.bytes[range.clone()]))
    }

    /// The datagram that was added last.
    pub(crate) fn last(&self) -> Option<&[u8]> {
        let (_, range) = self.datagrams.last()?;
        Some(&self.bytes[range.clone()])
    }

    /// The datagrams in the order they are to be sent.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (SocketAddr, &[u8])> {
        self.datagrams
            .iter()
            .map(|(to, range)| (*to, &self.bytes[range.clone()]))
    }

    /// Adds a datagram.
    pub fn push(&mut self, to: SocketAddr, datagram: &[u8]) {
        self.write(to, |bytes, _| {
            bytes.extend_from_slice(datagram);
            true
        });
    }

    /// Forgets the datagrams, and keeps the memory, unless little of it was needed for a long time.
    pub fn clear(&mut self) {
        let used = self.bytes.len();
        if used == 0 {
            return;
        }
        let spare = self.bytes.capacity() > KEPT.max(16 * used);
        self.small = if spare { self.small + 1 } else { 0 };
        if self.small > MANY {
            self.bytes.shrink_to(used);
            self.datagrams.shrink_to(self.datagrams.len());
            self.small = 0;
        }
        self.bytes.clear();
        self.datagrams.clear();
    }

    /// Adds the datagram that `write` appends to the bytes, which begin at the given place; nothing
    /// if it says `false`.
    pub(crate) fn write(&mut self, to: SocketAddr, write: impl FnOnce(&mut Vec<u8>, usize) -> bool) -> bool {
        let start = self.datagrams.last().map_or(0, |(_, range)| range.end);
        // Removes the remains of a write that panicked.
        self.bytes.truncate(start);
        let good = write(&mut self.bytes, start);
        if good {
            self.datagrams.push((to, start..self.bytes.len()));
        } else {
            self.bytes.truncate(start);
        }
        good
    }
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Outbox({} datagrams, {} bytes)",
            self.datagrams.len(),
            self.bytes.len()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_kept_over_pauses_and_given_back_later() {
        let to = SocketAddr::from(([192, 0, 2, 1], 1));
        let mut outbox = Outbox::new();
        let mut batch = |count: usize| {
            (0..count).for_each(|_| outbox.push(to, &[0; 100]));
            outbox.clear();
            outbox.clear();
            outbox.bytes.capacity()
        };
        let large = batch(2000);
        assert!(
            (0..100).all(|_| batch(1) == large),
            "a tick between others' is no reason"
        );
        assert_eq!(batch(2000), large);
        for _ in 0..2000 {
            batch(1);
        }
        assert!(batch(1) <= KEPT);
    }

    #[test]
    fn datagrams_come_out_as_they_went_in_and_failed_ones_leave_no_trace() {
        let to = |port| SocketAddr::from(([192, 0, 2, 1], port));
        let mut outbox = Outbox::new();
        outbox.push(to(1), b"one");
        assert!(!outbox.write(to(2), |bytes, _| {
            bytes.extend_from_slice(b"half");
            false
        }));
        outbox.push(to(3), b"three");
        let all: Vec<_> = outbox.iter().map(|(to, data)| (to.port(), data.to_vec())).collect();
        assert_eq!(all, [(1, b"one".to_vec()), (3, b"three".to_vec())]);
        assert_eq!(outbox.get(1), Some((to(3), b"three".as_slice())));
        outbox.clear();
        assert!(outbox.is_empty() && outbox.get(0).is_none());
        outbox.push(to(4), b"four");
        assert_eq!(outbox.iter().next(), Some((to(4), b"four".as_slice())));
    }
}
