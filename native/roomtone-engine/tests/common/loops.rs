//! The loops of a world's shards and the post between them, as slow as a test will have it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use roomtone_engine::ShardMessage;

use super::World;

/// Messages on their way, in order from each shard to each other.
pub struct Loops {
    messages: BTreeMap<(usize, usize), VecDeque<(Instant, ShardMessage)>>,
    /// How long the next message from one shard to another takes, at least.
    pub delay: Box<dyn FnMut(usize, usize) -> Duration>,
    /// Messages that may be on their way from one shard to another.
    pub room: usize,
    /// CommandQueues that a shard takes in a turn of its loop.
    pub commands: usize,
    /// Shards whose loops stand still.
    pub asleep: BTreeSet<usize>,
}

impl Default for Loops {
    fn default() -> Loops {
        Loops {
            messages: BTreeMap::new(),
            delay: Box::new(|_, _| Duration::ZERO),
            room: usize::MAX,
            commands: 16,
            asleep: BTreeSet::new(),
        }
    }
}

impl World {
    /// The loops of all shards come round, until there is nothing left that can be done now.
    pub(super) fn run_shards(&mut self) {
        let count = 1 + self.others.len();
        loop {
            let awake: Vec<usize> = (0..count).filter(|index| !self.loops.asleep.contains(index)).collect();
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
        let commands = self.loops.commands;
        let shard = self.shard_at(index);
        let mut busy = (0..commands).filter(|_| shard.take_work(now)).count() > 0;
        while let Some((from, message)) = self.message_for(index) {
            self.shard_at(index).handle_message(now, from, message);
            busy = true;
        }
        let shard = self.shard_at(index);
        if index > 0 && shard.poll_timeout().is_some_and(|due| due <= now) {
            shard.handle_timeout(now);
        }
        self.take_events(index);
        busy |= self.send_messages(index);
        self.shard_at(index).commit_moves();
        busy
    }

    fn message_for(&mut self, to: usize) -> Option<(usize, ShardMessage)> {
        let now = self.now;
        let due =
            |messages: &&mut VecDeque<(Instant, ShardMessage)>| messages.front().is_some_and(|(due, _)| *due <= now);
        let of_mine = self.loops.messages.iter_mut().filter(|(way, _)| way.1 == to);
        let (from, messages) = of_mine.map(|(way, messages)| (way.0, messages)).find(|(_, l)| due(l))?;
        messages.pop_front().map(|(_, message)| (from, message))
    }

    fn send_messages(&mut self, from: usize) -> bool {
        let now = self.now;
        for to in 0..=self.others.len() {
            let waiting = self.loops.messages.get(&(from, to)).map_or(0, VecDeque::len);
            let room = self.loops.room.saturating_sub(waiting);
            self.shard_at(from).resend(to, room);
        }
        let mut posted = false;
        while let Some((to, message)) = self.shard_at(from).poll_message() {
            let takes = (self.loops.delay)(from, to);
            let messages = self.loops.messages.entry((from, to)).or_default();
            if messages.len() >= self.loops.room {
                self.shard_at(from).defer(to, &message);
                continue;
            }
            let due = messages.back().map_or(now, |last| last.0).max(now + takes);
            messages.push_back((due, message));
            posted = true;
        }
        posted
    }

    /// A shard breaks, and another takes its place.
    pub fn replace_shard(&mut self, index: usize) {
        let address = self.address_of(index);
        let mut next_life = self.fresh_shard(address).in_engine(index, self.queues.clone());
        next_life.announce_restart();
        *self.shard_at(index) = next_life;
    }
}
