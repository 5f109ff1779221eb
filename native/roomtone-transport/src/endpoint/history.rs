//! The last packets of a stream of ours, as they went out, for a peer that asks for lost ones once
//! more (NACK, RFC 4585).
//!
//! They are kept sealed: what goes out again is the same packet, bit for bit, so no index of the
//! cipher is used twice.

use std::time::{Duration, Instant};

/// The most packets kept.
const PACKETS: usize = 32;
/// The most bytes kept: half a second of a mix with copies.
const BYTES: usize = 8 * 1024;
/// An older packet is of no use to anybody.
const MAX_AGE: Duration = Duration::from_millis(500);
/// One packet goes out again so often, however often it is asked for.
const MAX_REPEATS: u8 = 2;

#[derive(Clone, Copy)]
struct Place {
    sequence: u16,
    start: usize,
    len: usize,
    at: Instant,
    repeats: u8,
}

/// A ring of bytes, and the places of the packets in it.
pub(super) struct History {
    bytes: Box<[u8]>,
    places: [Option<Place>; PACKETS],
    /// The next place to be taken, and the byte behind the newest packet.
    next: usize,
    end: usize,
}

impl History {
    /// All memory that it ever needs.
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; BYTES].into_boxed_slice(),
            places: [None; PACKETS],
            next: 0,
            end: 0,
        }
    }

    /// Keeps a packet that went out, in the place of the oldest ones.
    pub(super) fn keep(&mut self, now: Instant, sequence: u16, packet: &[u8]) {
        if packet.len() > BYTES {
            return;
        }
        let start = if self.end + packet.len() > BYTES { 0 } else { self.end };
        let end = start + packet.len();
        for place in &mut self.places {
            if place.is_some_and(|old| old.start < end && start < old.start + old.len) {
                *place = None;
            }
        }
        self.bytes[start..end].copy_from_slice(packet);
        self.places[self.next] = Some(Place {
            sequence,
            start,
            len: packet.len(),
            at: now,
            repeats: 0,
        });
        self.next = (self.next + 1) % PACKETS;
        self.end = end;
    }

    /// A packet that is asked for once more. `None`: it is too old, or went out often enough.
    pub(super) fn again(&mut self, now: Instant, sequence: u16) -> Option<&[u8]> {
        let asked = |place: &&mut Place| place.sequence == sequence;
        let place = self.places.iter_mut().flatten().find(asked)?;
        if now.saturating_duration_since(place.at) > MAX_AGE || place.repeats == MAX_REPEATS {
            return None;
        }
        place.repeats += 1;
        self.bytes.get(place.start..place.start + place.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[allow(clippy::disallowed_methods)] // a virtual clock has to start somewhere
    fn origin() -> Instant {
        Instant::now()
    }

    #[test]
    fn the_last_packets_are_kept_and_go_out_twice_at_most() {
        let (start, mut history) = (origin(), History::new());
        for length in [40usize, 300, 1_250] {
            for n in 0..200u16 {
                let packet = vec![n as u8; length + usize::from(n % 3)];
                history.keep(start, n, &packet);
                assert_eq!(history.again(start, n), Some(&packet[..]));
                assert_eq!(history.again(start, n), Some(&packet[..]));
                assert_eq!(history.again(start, n), None);
            }
            let kept: Vec<u16> = (0..200)
                .filter(|n| history.places.iter().flatten().any(|p| p.sequence == *n))
                .collect();
            let fits = (BYTES / (length + 2) - 1).min(PACKETS);
            assert!(kept.len() >= fits && kept.len() <= PACKETS, "{length}: {kept:?}");
            assert_eq!(kept, (200 - kept.len() as u16..200).collect::<Vec<_>>());
        }
    }

    #[test]
    fn old_packets_and_unknown_ones_do_not_go_out() {
        let (start, mut history) = (origin(), History::new());
        history.keep(start, 65_535, &[1, 2, 3]);
        assert_eq!(history.again(start, 0), None);
        assert_eq!(history.again(start + MAX_AGE * 2, 65_535), None);
        assert_eq!(history.again(start + MAX_AGE, 65_535), Some(&[1, 2, 3][..]));
        history.keep(start, 1, &[0; BYTES + 1]);
        assert_eq!(history.again(start, 1), None);
    }
}
