//! The loops of a world's shards and the post between them, as slow as a test will have it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use roomtone_engine::Relay;

use super::World;

/// Letters on their way, in order from each shard to each other.
pub struct Post {
    letters: BTreeMap<(usize, usize), VecDeque<(Instant, Relay)>>,
    /// How long the next letter from one shard to another takes, at least.
    pub delay: Box<dyn FnMut(usize, usize) -> Duration>,
    /// Letters that may be on their way from one shard to another.
    pub room: usize,
    /// Orders that a shard takes in a turn of its loop.
    pub orders: usize,
    /// Shards whose loops stand still.
    pub asleep: BTreeSet<usize>,
}

impl Default for Post {
    fn default() -> Post {
        Post {
            letters: BTreeMap::new(),
            delay: Box::new(|_, _| Duration::ZERO),
            room: usize::MAX,
            orders: 16,
            asleep: BTreeSet::new(),
        }
    }
}

impl World {
    /// The loops of all shards come round, until there is nothing left that can be done now.
    pub(super) fn run_shards(&mut self) {
        let count = 1 + self.others.len();
        loop {
            let awake: Vec<usize> = (0..count).filter(|index| !self.post.asleep.contains(index)).collect();
            let busy = awake
                .into_iter()
                .filter(|index| self.run_shard_once(*index))
                .collect::<Vec<_>>();
            if busy.is_empty() {
                break;
            }
        }
    }

    /// One turn of a shard's loop, in the order of the real one. True if there may be more to do.
    pub fn run_shard_once(&mut self, index: usize) -> bool {
        let now = self.now;
        let orders = self.post.orders;
        let shard = self.shard_at(index);
        let mut busy = (0..orders).filter(|_| shard.take_order(now)).count() > 0;
        while let Some((from, letter)) = self.letter_for(index) {
            self.shard_at(index).handle_relay(now, from, letter);
            busy = true;
        }
        let shard = self.shard_at(index);
        if index > 0 && shard.poll_timeout().is_some_and(|due| due <= now) {
            shard.handle_timeout(now);
        }
        self.take_events(index);
        busy |= self.post_letters(index);
        self.shard_at(index).settle();
        busy
    }

    fn letter_for(&mut self, to: usize) -> Option<(usize, Relay)> {
        let now = self.now;
        let due = |letters: &&mut VecDeque<(Instant, Relay)>| letters.front().is_some_and(|(due, _)| *due <= now);
        let of_mine = self.post.letters.iter_mut().filter(|(way, _)| way.1 == to);
        let (from, letters) = of_mine.map(|(way, letters)| (way.0, letters)).find(|(_, l)| due(l))?;
        letters.pop_front().map(|(_, letter)| (from, letter))
    }

    fn post_letters(&mut self, from: usize) -> bool {
        let now = self.now;
        for to in 0..=self.others.len() {
            let waiting = self.post.letters.get(&(from, to)).map_or(0, VecDeque::len);
            let room = self.post.room.saturating_sub(waiting);
            self.shard_at(from).make_good(to, room);
        }
        let mut posted = false;
        while let Some((to, letter)) = self.shard_at(from).poll_relay() {
            let takes = (self.post.delay)(from, to);
            let letters = self.post.letters.entry((from, to)).or_default();
            if letters.len() >= self.post.room {
                self.shard_at(from).put_off(to, &letter);
                continue;
            }
            let due = letters.back().map_or(now, |last| last.0).max(now + takes);
            letters.push_back((due, letter));
            posted = true;
        }
        posted
    }

    /// A shard breaks, and another takes its place.
    pub fn replace_shard(&mut self, index: usize) {
        let address = self.address_of(index);
        let mut next_life = self.fresh_shard(address).among(index, self.orders.clone());
        next_life.reborn();
        *self.shard_at(index) = next_life;
    }
}
