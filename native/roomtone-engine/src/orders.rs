//! Where orders wait for the shards of an engine: one queue each, and the addresses of the rooms that have moved.
//!
//! What is ordered of a room is carried out in the order in which it was submitted, wherever the room is and whichever shard was
//! named. For that, a room that moves takes along what still waits for it, and its new address is known from the same moment on:
//! all in one step, so that nothing can come between. Nobody has to wait for anybody, and nothing has to be put in order afterwards.
//!
//! A room on its way waits here too. It belongs to the engine then, so neither shard's end is the room's.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;

use crate::command::{Action, Command, RoomId, ShardIndex};
use crate::control::Control;
use crate::transfer::RoomTransfer;

/// Commands that may wait for one shard. Full means that the shard isn't run, or is far behind: the caller is told.
const COMMAND_QUEUE: usize = 4096;

/// Why a command was not taken.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SubmitError {
    /// The shard's queue is full: it isn't run, or is behind. Try again later.
    #[error("the shard's command queue is full")]
    Busy,
    /// There is no shard of that index.
    #[error("no such shard")]
    NoShard,
    /// The engine was stopped.
    #[error("the engine was stopped")]
    Stopped,
}

/// The orders that wait for the shards of one engine.
#[derive(Default)]
pub struct Orders {
    desks: Vec<Desk>,
    /// Rooms that have moved at least once, until they are closed. Locked before any queue.
    addresses: Mutex<HashMap<RoomId, Address>>,
}

/// What waits for one shard.
#[derive(Default)]
struct Desk {
    queue: Mutex<Queue>,
    control: Arc<Control>,
}

#[derive(Default)]
struct Queue {
    /// Come first: the sound of many waits for them, and what is ordered of them stands among the commands.
    rooms: VecDeque<RoomTransfer>,
    commands: VecDeque<Command>,
    /// Rooms that were taken, and where they came from, as long as nobody outside knows.
    unheard: Vec<(RoomId, ShardIndex)>,
}

struct Address {
    /// Where the room is, or on its way to. Also of one that came to grief: where it is opened again.
    shard: ShardIndex,
    /// The shards that have something to forget when it is gone.
    trail: Vec<ShardIndex>,
}

/// What a shard is to do next.
pub(crate) enum Order {
    TakeIn(RoomTransfer),
    Command(Command),
}

/// What was lost with a shard's life.
#[derive(Default)]
pub(crate) struct Lost {
    /// Rooms, and who has something to forget of them.
    pub(crate) trails: Vec<(RoomId, Vec<ShardIndex>)>,
    /// Those of them that nobody knows to have come, and where they came from.
    pub(crate) unheard: Vec<(RoomId, ShardIndex)>,
}

impl Orders {
    /// For so many shards.
    pub fn new(shards: usize) -> Orders {
        Orders {
            desks: std::iter::repeat_with(Desk::default).take(shards).collect(),
            addresses: Mutex::default(),
        }
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.desks.len()
    }

    pub(crate) fn control(&self, shard: ShardIndex) -> &Arc<Control> {
        &self.desks[shard].control
    }

    /// Queues a command and wakes the shard's loop; for a room that has moved, those of the shard where it is. Never waits for a shard.
    ///
    /// # Errors
    /// [`SubmitError`]: the queue is full, there is no such shard, or the engine was stopped.
    pub fn submit(&self, shard: ShardIndex, command: Command) -> Result<(), SubmitError> {
        let named = self.desks.get(shard).ok_or(SubmitError::NoShard)?;
        let addresses = lock(&self.addresses);
        let address = addresses.get(&command.room);
        let desk = address.map_or(named, |address| &self.desks[address.shard]);
        if desk.control.stopped() {
            return Err(SubmitError::Stopped);
        }
        {
            let mut queue = lock(&desk.queue);
            if queue.commands.len() >= COMMAND_QUEUE {
                return Err(SubmitError::Busy);
            }
            queue.commands.push_back(command);
        }
        drop(addresses);
        desk.control.wake();
        Ok(())
    }

    /// What the shard is to do next.
    pub(crate) fn take(&self, shard: ShardIndex) -> Option<Order> {
        let mut queue = lock(&self.desks.get(shard)?.queue);
        if let Some(moving) = queue.take_room() {
            return Some(Order::TakeIn(moving));
        }
        queue.commands.pop_front().map(Order::Command)
    }

    /// The next room that is to be taken in.
    pub(crate) fn take_room(&self, shard: ShardIndex) -> Option<RoomTransfer> {
        lock(&self.desks.get(shard)?.queue).take_room()
    }

    /// The world knows of all rooms that the shard has taken in.
    pub(crate) fn heard(&self, shard: ShardIndex) {
        lock(&self.desks[shard].queue).unheard.clear();
    }

    /// Whether a room may be sent to a shard: one that is far behind takes none, or what comes along with them would grow without end.
    pub(crate) fn accepts(&self, shard: ShardIndex) -> bool {
        let desk = self.desks.get(shard);
        desk.is_some_and(|desk| lock(&desk.queue).commands.len() < COMMAND_QUEUE)
    }

    /// A room leaves a shard for another.
    pub(crate) fn send(&self, to: ShardIndex, moving: RoomTransfer) {
        let (id, from) = (moving.id, moving.from);
        let mut addresses = lock(&self.addresses);
        let waiting = lock(&self.desks[from].queue).take_commands(id);
        {
            let mut queue = lock(&self.desks[to].queue);
            queue.rooms.push_back(moving);
            queue.commands.extend(waiting);
        }
        let address = addresses.entry(id).or_insert_with(|| Address {
            shard: to,
            trail: Vec::new(),
        });
        address.shard = to;
        // The other one, too, if it was there before: it has nothing to forget only once it has the room.
        if !address.trail.contains(&from) {
            address.trail.push(from);
        }
        drop(addresses);
        self.desks[to].control.wake();
    }

    /// A room has come; the other shards where it was.
    pub(crate) fn arrived(&self, room: RoomId, at: ShardIndex) -> Vec<ShardIndex> {
        let mut addresses = lock(&self.addresses);
        let Some(address) = addresses.get_mut(&room) else {
            return Vec::new();
        };
        address.trail.retain(|shard| *shard != at);
        address.trail.clone()
    }

    /// A room came to grief, or is about to be closed; the other shards where it was.
    pub(crate) fn take_trail(&self, room: RoomId) -> Vec<ShardIndex> {
        let mut addresses = lock(&self.addresses);
        let address = addresses.get_mut(&room);
        address.map_or_else(Vec::new, |address| std::mem::take(&mut address.trail))
    }

    /// The number means no room any more.
    pub(crate) fn forget(&self, room: RoomId) {
        lock(&self.addresses).remove(&room);
    }

    /// Whether a room has moved, and is with this shard or on its way there.
    pub(crate) fn is_at(&self, room: RoomId, shard: ShardIndex) -> bool {
        lock(&self.addresses)
            .get(&room)
            .is_some_and(|address| address.shard == shard)
    }

    /// Whether a shard has a room, will have it, or was left by it.
    pub(crate) fn concerns(&self, room: RoomId, shard: ShardIndex) -> bool {
        lock(&self.addresses)
            .get(&room)
            .is_some_and(|address| address.shard == shard || address.trail.contains(&shard))
    }

    /// Whether a room was at this shard, and has something there to be forgotten.
    pub(crate) fn has_left(&self, room: RoomId, shard: ShardIndex) -> bool {
        lock(&self.addresses)
            .get(&room)
            .is_some_and(|address| address.trail.contains(&shard))
    }

    /// A shard begins a life. What was ordered of the last one means rooms that no longer exist; what is on its way is still to come.
    pub(crate) fn restart(&self, shard: ShardIndex) -> Lost {
        let mut addresses = lock(&self.addresses);
        let Some(desk) = self.desks.get(shard) else {
            return Lost::default();
        };
        let mut queue = lock(&desk.queue);
        let coming: HashSet<RoomId> = queue.rooms.iter().map(|moving| moving.id).collect();
        let is_coming = |room: &RoomId| coming.contains(room);
        let mut closed = Vec::new();
        queue.commands.retain(|command| {
            let stays = is_coming(&command.room);
            if command.action == Action::Close && !stays {
                closed.push(command.room);
            }
            stays
        });
        let gone = addresses
            .iter_mut()
            .filter(|(room, address)| address.shard == shard && !is_coming(room));
        let lost = Lost {
            trails: gone
                .map(|(room, address)| (*room, std::mem::take(&mut address.trail)))
                .collect(),
            unheard: std::mem::take(&mut queue.unheard),
        };
        // Nobody will open or close these again.
        closed.iter().for_each(|room| drop(addresses.remove(room)));
        lost
    }

    /// How many rooms' addresses are known, and how many commands and rooms wait: for tests of what is remembered.
    pub fn remembered(&self) -> (usize, usize) {
        let addresses = lock(&self.addresses).len();
        let waiting = self.desks.iter().map(|desk| {
            let queue = lock(&desk.queue);
            queue.commands.len() + queue.rooms.len()
        });
        (addresses, waiting.sum())
    }
}

impl Queue {
    fn take_room(&mut self) -> Option<RoomTransfer> {
        let moving = self.rooms.pop_front()?;
        self.unheard.push((moving.id, moving.from));
        Some(moving)
    }

    fn take_commands(&mut self, room: RoomId) -> Vec<Command> {
        let mut taken = Vec::new();
        for _ in 0..self.commands.len() {
            match self.commands.pop_front() {
                Some(command) if command.room == room => taken.push(command),
                Some(command) => self.commands.push_back(command),
                None => break,
            }
        }
        taken
    }
}

// Nothing in here panics half-way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
