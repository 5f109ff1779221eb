//! The sequence numbers under which a talker's packets go to other nodes.
//!
//! While a talker is silent their client goes on sending, and none of that goes by a trunk. With the client's own numbers the other
//! node, and the listeners to whom it passes the packets on, would take each pause for packets that were lost. So the numbers of a talk
//! spurt go on where those of the one before ended, and its first packet has the marker (RFC 3551 §4.1). Packets that are missing within a
//! spurt were lost before they came here, and leave their gap.
//!
//! Only a talker's own node numbers their packets. Each node that passes them on closes its gate at another packet, so numbers of its own
//! would go back for a listener to whom the talker comes by another one from then on.

/// A larger step back is another stream of the talker, not packets out of order (RFC 3550 A.1, MAX_MISORDER).
const MOST_MISORDERED: u16 = 127;

/// The numbers of one talker.
#[derive(Clone, Debug, Default)]
pub(super) struct SpurtNumbers {
    /// The number that follows the newest one that was given; `None`: none was.
    next: Option<u16>,
    /// The present talk spurt; `None`: they are silent.
    spurt: Option<Spurt>,
}

#[derive(Clone, Copy, Debug)]
struct Spurt {
    /// It is added to the talker's own numbers.
    added: u16,
    /// By how much the newest number is above the first.
    length: u16,
}

impl SpurtNumbers {
    /// A packet isn't sent, because the talker is silent.
    pub(super) fn pause(&mut self) {
        self.spurt = None;
    }

    /// The number of a packet that is sent, and whether it begins a talk spurt. `None`: the packet is from before that began.
    pub(super) fn give(&mut self, sequence: u16) -> Option<(u16, bool)> {
        let (Some(next), Some(mut spurt)) = (self.next, self.spurt) else {
            let number = self.next.unwrap_or(sequence);
            self.next = Some(number.wrapping_add(1));
            self.spurt = Some(Spurt {
                added: number.wrapping_sub(sequence),
                length: 0,
            });
            return Some((number, true));
        };
        let number = sequence.wrapping_add(spurt.added);
        let newest = next.wrapping_sub(1);
        let (ahead, behind) = (number.wrapping_sub(newest), newest.wrapping_sub(number));
        if ahead < 0x8000 {
            spurt.length = spurt.length.saturating_add(ahead);
        } else if behind <= MOST_MISORDERED {
            return (behind <= spurt.length).then_some((number, false));
        } else {
            spurt.length = 0;
        }
        self.next = Some(number.wrapping_add(1));
        self.spurt = Some(spurt);
        Some((number, false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn give(numbers: &mut SpurtNumbers, sequences: impl IntoIterator<Item = u16>) -> Vec<Option<(u16, bool)>> {
        sequences.into_iter().map(|sequence| numbers.give(sequence)).collect()
    }

    #[test]
    fn a_spurt_goes_on_where_the_one_before_ended() {
        let mut numbers = SpurtNumbers::default();
        let first = [Some((65_534, true)), Some((65_535, false)), Some((0, false))];
        assert_eq!(give(&mut numbers, [65_534, 65_535, 0]), first);
        numbers.pause();
        assert_eq!(give(&mut numbers, [25, 26]), [Some((1, true)), Some((2, false))]);
        numbers.pause();
        numbers.pause();
        assert_eq!(give(&mut numbers, [1_000]), [Some((3, true))]);
    }

    #[test]
    fn lost_packets_leave_their_gap_and_late_ones_get_it() {
        let mut numbers = SpurtNumbers::default();
        give(&mut numbers, [7]);
        numbers.pause();
        assert_eq!(
            give(&mut numbers, [100, 103, 101, 104]),
            [Some((8, true)), Some((11, false)), Some((9, false)), Some((12, false))]
        );
        assert_eq!(give(&mut numbers, [99]), [None], "it is from before the spurt");
    }

    #[test]
    fn a_long_spurt_and_a_stream_that_jumps_keep_their_steps() {
        let mut numbers = SpurtNumbers::default();
        for sequence in 0..200_000u32 {
            let begins = sequence == 0;
            assert_eq!(numbers.give(sequence as u16), Some((sequence as u16, begins)));
        }
        let newest = 199_999u32 as u16;
        assert_eq!(numbers.give(newest - 100), Some((newest - 100, false)), "late");
        let jumped = newest.wrapping_sub(20_000);
        assert_eq!(
            give(&mut numbers, [jumped, jumped + 1, jumped - 1]),
            [Some((jumped, false)), Some((jumped + 1, false)), None]
        );
    }
}
