//! The talkers whom a trunk leaves out, because nobody beyond it may hear them.
//!
//! The node that hears finds out, since it has the gains of its listeners: [`Unheard`] tells the other end, whose [`LeftOut`] keeps
//! their packets back. Both ends forget by themselves, so that no loss of a list silences anybody for long: a list counts for three
//! seconds, and is told again every second. A talker who is left out still sends a packet a second, by which the hearing node knows
//! that they talk.

use std::time::{Duration, Instant};

use roomtone_trunk::{MOST_UNHEARD, Unheard as List};

use crate::command::PeerId;

/// A talker whom nobody may hear is left out after this time, so that gains that change to and fro cost nothing.
const HANGOVER: Duration = Duration::from_secs(1);
/// Whether somebody may hear a talker is asked this often, while their packets come.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// A list is told again after this time, …
const TELL_AGAIN: Duration = Duration::from_secs(1);
/// … a new one so many times more, …
const REPEATS: u8 = 2;
/// … this long after each other: one that is lost must not cost a word its beginning.
const REPEAT: Duration = Duration::from_millis(20);
/// A talker of whom no packet came for so long isn't followed any more, and isn't in the list.
const FORGOTTEN: Duration = Duration::from_secs(3);
/// A list that isn't told again ends after this time.
const VALID: Duration = Duration::from_secs(3);
/// A talker who is left out still sends one packet in this time.
const PROBE: Duration = Duration::from_secs(1);
/// After a change of gains so many pairs of a listener and a talker are looked at together, and the others after [`REPEAT`].
const PAIRS_AT_ONCE: usize = 5_000;

/// The talkers who come by a trunk, at the node that hears them.
#[derive(Default)]
pub(super) struct Unheard {
    followed: Vec<Followed>,
    /// The number of the present list.
    number: u32,
    repeats: u8,
    /// When the list is to be told.
    due: Option<Instant>,
    /// When gains that have changed are to be looked at.
    recheck: Option<Instant>,
}

struct Followed {
    id: PeerId,
    last_packet: Instant,
    ask_at: Instant,
    /// Since when nobody may hear them.
    unheard: Option<Instant>,
    /// Whether they are in the list.
    told: bool,
    /// Whether gains have changed since it was found that nobody may hear them.
    stale: bool,
}

/// How a packet that came is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Somebody hears it, or did a moment ago.
    Heard,
    /// The first that nobody is to hear.
    HeardNoMore,
    /// Nobody is to hear it.
    Unheard,
}

impl Unheard {
    /// A talker's packet came; `audible` finds out whether somebody may hear them.
    pub(super) fn take(&mut self, now: Instant, id: PeerId, audible: impl FnOnce() -> bool) -> Taken {
        let Some(at) = self.follow(now, id) else {
            return Taken::Heard;
        };
        let talker = &mut self.followed[at];
        talker.last_packet = now;
        if now >= talker.ask_at {
            talker.ask_at = now + ASK_AGAIN;
            if audible() {
                talker.unheard = None;
                if std::mem::take(&mut talker.told) {
                    self.changed(now);
                }
                return Taken::Heard;
            }
            let since = *talker.unheard.get_or_insert(now);
            if !talker.told && now >= since + HANGOVER {
                talker.told = true;
                self.changed(now);
                return Taken::HeardNoMore;
            }
        }
        if talker.told { Taken::Unheard } else { Taken::Heard }
    }

    // Where a talker is; one too many isn't followed, and is heard.
    fn follow(&mut self, now: Instant, id: PeerId) -> Option<usize> {
        let known = self.followed.iter().position(|talker| talker.id == id);
        if known.is_some() {
            return known;
        }
        if self.followed.len() == MOST_UNHEARD {
            self.forget_silent(now);
        }
        if self.followed.len() == MOST_UNHEARD {
            return None;
        }
        self.followed.push(Followed {
            id,
            last_packet: now,
            ask_at: now,
            unheard: None,
            told: false,
            stale: false,
        });
        Some(self.followed.len() - 1)
    }

    fn forget_silent(&mut self, now: Instant) {
        let mut told = false;
        self.followed.retain(|talker| {
            let stays = now < talker.last_packet + FORGOTTEN;
            told |= talker.told && !stays;
            stays
        });
        if told {
            self.changed(now);
        }
    }

    fn changed(&mut self, now: Instant) {
        self.number = self.number.wrapping_add(1);
        self.repeats = REPEATS;
        self.due = Some(now);
    }

    /// Gains, places or listeners have changed.
    pub(super) fn gains_changed(&mut self, now: Instant) {
        for talker in self.followed.iter_mut().filter(|talker| talker.told) {
            talker.stale = true;
            self.recheck.get_or_insert(now);
        }
    }

    /// When [`Unheard::handle_timeout`] is to be called.
    pub(super) fn next(&self) -> Option<Instant> {
        [self.due, self.recheck].into_iter().flatten().min()
    }

    /// Looks at those whose gains have changed: each takes as long as there are `listeners`. Returns whether the list is to be told now.
    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        listeners: usize,
        mut audible: impl FnMut(PeerId) -> bool,
    ) -> bool {
        if self.recheck.is_some_and(|due| due <= now) {
            let most = (PAIRS_AT_ONCE / listeners.max(1)).max(1);
            let mut stale = self.followed.iter_mut().filter(|talker| talker.stale);
            let mut heard = false;
            for talker in stale.by_ref().take(most) {
                talker.stale = false;
                if talker.told && audible(talker.id) {
                    (talker.told, talker.unheard) = (false, None);
                    heard = true;
                }
            }
            self.recheck = stale.next().map(|_| now + REPEAT);
            if heard {
                self.changed(now);
            }
        }
        if self.due.is_none_or(|due| due > now) {
            return false;
        }
        self.forget_silent(now);
        self.due = if self.repeats > 0 {
            self.repeats -= 1;
            Some(now + REPEAT)
        } else if self.followed.iter().any(|talker| talker.told) {
            Some(now + TELL_AGAIN)
        } else {
            None
        };
        true
    }

    /// The list, and its number.
    pub(super) fn list(&self) -> (u32, Vec<PeerId>) {
        let told = self.followed.iter().filter(|talker| talker.told);
        (self.number, told.map(|talker| talker.id).collect())
    }

    /// A participant has left.
    pub(super) fn forget(&mut self, id: PeerId) {
        self.followed.retain(|talker| talker.id != id);
    }
}

/// The talkers whom the other end of a trunk has told to be unheard, at the node that sends.
#[derive(Default)]
pub(super) struct LeftOut {
    number: u32,
    until: Option<Instant>,
    /// With the time of their last packet, in order of their numbers.
    talkers: Vec<(PeerId, Instant)>,
}

impl LeftOut {
    /// As after the list of these talkers, by their numbers.
    #[cfg(test)]
    pub(super) fn of(now: Instant, talkers: &[PeerId]) -> LeftOut {
        LeftOut {
            number: 1,
            until: Some(now + VALID),
            talkers: talkers.iter().map(|id| (*id, now)).collect(),
        }
    }

    /// The other end has told its list. Whether it is another than before.
    pub(super) fn told(&mut self, now: Instant, list: &List<'_>) -> bool {
        let ahead = list.number.wrapping_sub(self.number);
        if ahead == 0 {
            let expired = self.until.is_some_and(|until| now >= until);
            self.until = self.until.map(|_| now + VALID);
            return expired;
        }
        // One that was overtaken.
        if ahead > u32::MAX / 2 {
            return false;
        }
        let sent = |id| self.place(id).map_or(now, |at| self.talkers[at].1);
        let mut talkers: Vec<_> = list.talkers().map(|id| (id, sent(id))).collect();
        talkers.sort_unstable();
        talkers.dedup_by_key(|talker| talker.0);
        self.talkers = talkers;
        self.number = list.number;
        self.until = Some(now + VALID).filter(|_| !self.talkers.is_empty());
        true
    }

    fn place(&self, id: PeerId) -> Option<usize> {
        self.talkers.binary_search_by_key(&id, |talker| talker.0).ok()
    }

    /// Whether nobody beyond the trunk may hear a talker.
    pub(super) fn has(&self, now: Instant, id: PeerId) -> bool {
        self.until.is_some_and(|until| now < until) && self.place(id).is_some()
    }

    /// Whether a packet of a talker stays here.
    pub(super) fn keeps(&mut self, now: Instant, id: PeerId) -> bool {
        if self.until.is_none_or(|until| now >= until) {
            return false;
        }
        let Some(at) = self.place(id) else { return false };
        let last = &mut self.talkers[at].1;
        if now >= *last + PROBE {
            *last = now;
            return false;
        }
        true
    }
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;
    use roomtone_trunk::{Item, Key, Receiver, Sender};

    const TICK: Duration = Duration::from_millis(20);

    // The list as the other end gets it.
    fn told(unheard: &Unheard, left_out: &mut LeftOut, now: Instant) -> bool {
        let (key, (number, talkers)) = (Key::new([1; 32]), unheard.list());
        let (mut sender, mut datagram) = (Sender::new(1, 0, &key), Vec::new());
        sender.push_unheard(now, number, &talkers, |_| ());
        sender.flush(now, |bytes| datagram.extend_from_slice(bytes));
        let mut changed = false;
        let opened = Receiver::new(1, 0, &key).open(&mut datagram, |item| {
            if let Item::Unheard(list) = item {
                changed = left_out.told(now, &list);
            }
        });
        assert_eq!(opened, Ok(()));
        changed
    }

    #[test]
    fn a_talker_is_left_out_after_the_hangover_and_at_once_no_more() {
        let (start, mut unheard, mut left_out) = (Instant::now(), Unheard::default(), LeftOut::default());
        let mut now = start;
        let mut taken = Vec::new();
        while now < start + Duration::from_millis(1_500) {
            taken.push(unheard.take(now, 1, || false));
            assert_eq!(unheard.take(now, 2, || true), Taken::Heard);
            now += TICK;
        }
        let heard = taken.iter().filter(|taken| **taken == Taken::Heard).count();
        assert_eq!((heard, taken[50]), (50, Taken::HeardNoMore));
        assert!(taken[51..].iter().all(|taken| *taken == Taken::Unheard));
        assert!(unheard.handle_timeout(now, 9, |_| true));
        assert!(told(&unheard, &mut left_out, now) && !told(&unheard, &mut left_out, now));
        assert!(left_out.has(now, 1) && !left_out.has(now, 2));

        unheard.gains_changed(now);
        assert_eq!(unheard.next(), Some(now));
        assert!(unheard.handle_timeout(now, 9, |id| id == 1));
        assert!(told(&unheard, &mut left_out, now));
        assert!(!left_out.has(now, 1));
    }

    #[test]
    fn a_list_is_told_three_times_and_then_every_second_until_nobody_is_in_it() {
        let (start, mut unheard) = (Instant::now(), Unheard::default());
        let mut times = Vec::new();
        for tick in 0..400u32 {
            let now = start + TICK * tick;
            if tick < 200 {
                unheard.take(now, 1, || false);
            }
            while unheard.next().is_some_and(|due| due <= now) {
                if unheard.handle_timeout(now, 9, |_| false) {
                    times.push((tick, unheard.list().1.len()));
                }
            }
        }
        let ticks: Vec<u32> = times.iter().map(|time| time.0).collect();
        assert_eq!(ticks[..5], [50, 51, 52, 102, 152]);
        assert_eq!(times.iter().filter(|time| time.1 == 0).count(), 3, "{times:?}");
        assert_eq!(unheard.next(), None);
    }

    #[test]
    fn a_talker_who_is_left_out_sends_a_packet_a_second_until_the_list_is_too_old() {
        let (start, mut unheard, mut left_out) = (Instant::now(), Unheard::default(), LeftOut::default());
        for tick in 0..=50u32 {
            unheard.take(start + TICK * tick, 1, || false);
        }
        told(&unheard, &mut left_out, start);
        let sent = |left_out: &mut LeftOut, seconds: std::ops::Range<u64>| {
            let ticks = seconds.start * 50..seconds.end * 50;
            ticks
                .filter(|tick| !left_out.keeps(start + TICK * *tick as u32, 1))
                .count()
        };
        assert_eq!(sent(&mut left_out, 0..3), 2);
        assert_eq!(sent(&mut left_out, 3..4), 50);
        told(&unheard, &mut left_out, start + Duration::from_secs(2));
        assert_eq!(sent(&mut left_out, 4..5), 1);
    }

    #[test]
    fn an_old_list_changes_nothing_and_more_talkers_than_fit_are_heard() {
        let (now, mut unheard, mut left_out) = (Instant::now(), Unheard::default(), LeftOut::default());
        let old = Unheard::default();
        for id in 0..200 {
            unheard.take(now, id, || false);
        }
        let later = now + HANGOVER;
        let heard = (0..200).filter(|id| unheard.take(later, *id, || false) == Taken::Heard);
        assert_eq!(heard.count(), 200 - MOST_UNHEARD);
        assert!(told(&unheard, &mut left_out, later));
        assert!(!told(&old, &mut left_out, later) && left_out.has(later, 0));
    }

    #[test]
    fn after_a_change_of_gains_many_pairs_are_looked_at_in_turns() {
        let (now, mut unheard) = (Instant::now(), Unheard::default());
        for at in [now, now + HANGOVER] {
            for id in 0..100 {
                unheard.take(at, id, || false);
            }
        }
        let mut now = now + HANGOVER;
        unheard.gains_changed(now);
        let mut asked = Vec::new();
        for _ in 0..2 {
            let before = asked.len();
            unheard.handle_timeout(now, 100, |id| {
                asked.push(id);
                false
            });
            assert_eq!(asked.len() - before, 50);
            now += REPEAT;
        }
        unheard.handle_timeout(now, 100, |_| panic!("everybody was looked at"));
        assert_eq!(asked, (0..100).collect::<Vec<_>>());
    }
}
