//! The commands that wait for the shards of an engine: one queue each, and the locations of rooms that have moved.
//!
//! Commands about a room are carried out in the order in which they were submitted, wherever the room is and whichever shard the caller
//! names. For that, a room that moves takes its waiting commands along, and its new location is known from the same moment on: all in
//! one step, so that nothing can come between. Nobody waits for a shard, and nothing has to be put in order afterwards.
//!
//! A room on its way waits here too. It belongs to the engine then, so the end of either shard isn't the end of the room.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use thiserror::Error;

use crate::command::{Action, Command, RoomId, ShardIndex};
use crate::control::Control;
use crate::transfer::RoomTransfer;

/// The most commands that wait for one shard. A full queue means that the shard isn't run, or is far behind.
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

/// The command queues of one engine's shards.
#[derive(Default)]
pub struct CommandQueues {
    shards: Vec<ShardQueue>,
    /// Rooms that have moved at least once, until they are closed. Locked before any queue.
    locations: RwLock<HashMap<RoomId, Location>>,
    /// The number of these. A caller of [`CommandQueues::submit`] who finds none while holding a queue needs no lock on them: a room
    /// that leaves sets this before it takes its commands out of the queue.
    moved: AtomicUsize,
}

/// The queue of one shard, and the flags by which its loop is woken.
#[derive(Default)]
struct ShardQueue {
    queue: Mutex<Queue>,
    control: Arc<Control>,
}

#[derive(Default)]
struct Queue {
    /// Rooms to take in. They come first: their participants' sound waits, and commands about them stand among the commands.
    rooms: VecDeque<RoomTransfer>,
    commands: VecDeque<Command>,
    /// Rooms that were taken in, and where they came from, until their [`Event::RoomMoved`](crate::Event::RoomMoved) is handed on.
    unacknowledged: Vec<(RoomId, ShardIndex)>,
}

struct Location {
    /// The shard that has the room, or will have it. A room that failed is opened again here.
    shard: ShardIndex,
    /// Other shards where the room was, which have something to forget when it ends.
    visited: Vec<ShardIndex>,
}

/// The next thing for a shard to do.
pub(crate) enum Work {
    TakeIn(RoomTransfer),
    Command(Command),
}

/// The losses at the end of a shard's epoch.
#[derive(Default)]
pub(crate) struct Lost {
    /// Rooms that had moved, and the other shards where they were.
    pub(crate) rooms: Vec<(RoomId, Vec<ShardIndex>)>,
    /// Rooms among them whose [`Event::RoomMoved`](crate::Event::RoomMoved) wasn't handed on, and where they came from.
    pub(crate) unacknowledged: Vec<(RoomId, ShardIndex)>,
}

impl CommandQueues {
    /// Queues for so many shards.
    pub fn new(shards: usize) -> CommandQueues {
        CommandQueues {
            shards: std::iter::repeat_with(ShardQueue::default).take(shards).collect(),
            locations: RwLock::default(),
            moved: AtomicUsize::new(0),
        }
    }

    /// The number of shards.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    pub(crate) fn control(&self, shard: ShardIndex) -> &Arc<Control> {
        &self.shards[shard].control
    }

    /// Queues a command and wakes the shard's loop; for a room that has moved, those of the shard where it is. Never waits for a shard.
    ///
    /// # Errors
    /// [`SubmitError`]: the queue is full, there is no such shard, or the engine was stopped.
    pub fn submit(&self, shard: ShardIndex, command: Command) -> Result<(), SubmitError> {
        let named = self.shards.get(shard).ok_or(SubmitError::NoShard)?;
        let queue = named.queue();
        if self.moved.load(Ordering::SeqCst) == 0 {
            return named.push(queue, command);
        }
        drop(queue);
        let locations = self.read_locations();
        let location = locations.get(&command.room);
        let shard = location.map_or(named, |location| &self.shards[location.shard]);
        let queue = shard.queue();
        // A room that leaves from now on waits for the queue, and takes the command along.
        drop(locations);
        shard.push(queue, command)
    }

    /// The number of commands that wait for a shard.
    pub fn waiting(&self, shard: ShardIndex) -> usize {
        self.shards.get(shard).map_or(0, |shard| shard.queue().commands.len())
    }

    /// The next thing for a shard to do.
    pub(crate) fn take(&self, shard: ShardIndex) -> Option<Work> {
        let mut queue = self.shards.get(shard)?.queue();
        if let Some(transfer) = queue.take_room() {
            return Some(Work::TakeIn(transfer));
        }
        queue.commands.pop_front().map(Work::Command)
    }

    /// The next room that a shard is to take in.
    pub(crate) fn take_room(&self, shard: ShardIndex) -> Option<RoomTransfer> {
        self.shards.get(shard)?.queue().take_room()
    }

    /// All events about rooms that the shard has taken in were handed on.
    pub(crate) fn acknowledge(&self, shard: ShardIndex) {
        self.shards[shard].queue().unacknowledged.clear();
    }

    /// Whether a room may be sent to a shard. One that is far behind takes none: the commands that come along would grow without end.
    pub(crate) fn accepts(&self, shard: ShardIndex) -> bool {
        let shard = self.shards.get(shard);
        shard.is_some_and(|shard| shard.queue().commands.len() < COMMAND_QUEUE)
    }

    /// A room leaves a shard for another, with the commands that wait for it.
    pub(crate) fn send(&self, to: ShardIndex, transfer: RoomTransfer) {
        let (id, from) = (transfer.id, transfer.from);
        let mut locations = self.write_locations();
        let location = locations.entry(id).or_insert_with(|| Location {
            shard: to,
            visited: Vec::new(),
        });
        location.shard = to;
        // The other one, too, if it was there before: it has nothing to forget only once it has the room.
        if !location.visited.contains(&from) {
            location.visited.push(from);
        }
        self.count_moved(&locations);
        let waiting = self.shards[from].queue().take_commands(id);
        {
            let mut queue = self.shards[to].queue();
            queue.rooms.push_back(transfer);
            queue.commands.extend(waiting);
        }
        drop(locations);
        self.shards[to].control.wake();
    }

    /// A room has come; the other shards where it was.
    pub(crate) fn arrived(&self, room: RoomId, at: ShardIndex) -> Vec<ShardIndex> {
        let mut locations = self.write_locations();
        let Some(location) = locations.get_mut(&room) else {
            return Vec::new();
        };
        location.visited.retain(|shard| *shard != at);
        location.visited.clone()
    }

    /// A room has failed, or is about to be closed; the other shards where it was.
    pub(crate) fn take_visited(&self, room: RoomId) -> Vec<ShardIndex> {
        if self.moved.load(Ordering::SeqCst) == 0 {
            return Vec::new();
        }
        let mut locations = self.write_locations();
        let location = locations.get_mut(&room);
        location.map_or_else(Vec::new, |location| std::mem::take(&mut location.visited))
    }

    /// A room was closed: its number has no location.
    pub(crate) fn forget(&self, room: RoomId) {
        if self.moved.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut locations = self.write_locations();
        locations.remove(&room);
        self.count_moved(&locations);
    }

    /// Whether a room has moved, and is with this shard or on its way there.
    pub(crate) fn is_at(&self, room: RoomId, shard: ShardIndex) -> bool {
        self.located(room, |location| location.shard == shard)
    }

    /// Whether a room that has moved is with this shard, on its way there, or was there.
    pub(crate) fn concerns(&self, room: RoomId, shard: ShardIndex) -> bool {
        self.located(room, |location| {
            location.shard == shard || location.visited.contains(&shard)
        })
    }

    /// Whether a room was at this shard, which has something to forget of it.
    pub(crate) fn has_left(&self, room: RoomId, shard: ShardIndex) -> bool {
        self.located(room, |location| location.visited.contains(&shard))
    }

    fn located(&self, room: RoomId, asked: impl Fn(&Location) -> bool) -> bool {
        self.read_locations().get(&room).is_some_and(asked)
    }

    /// A shard begins an epoch. Commands of the last one are about rooms that no longer exist; rooms on their way are still to come.
    pub(crate) fn restart(&self, shard: ShardIndex) -> Lost {
        let mut locations = self.write_locations();
        let Some(restarted) = self.shards.get(shard) else {
            return Lost::default();
        };
        let mut queue = restarted.queue();
        let coming: HashSet<RoomId> = queue.rooms.iter().map(|transfer| transfer.id).collect();
        let mut closed = Vec::new();
        queue.commands.retain(|command| {
            let stays = coming.contains(&command.room);
            if command.action == Action::Close && !stays {
                closed.push(command.room);
            }
            stays
        });
        let gone = locations
            .iter_mut()
            .filter(|(room, location)| location.shard == shard && !coming.contains(room));
        let lost = Lost {
            rooms: gone
                .map(|(room, location)| (*room, std::mem::take(&mut location.visited)))
                .collect(),
            unacknowledged: std::mem::take(&mut queue.unacknowledged),
        };
        // Nobody will open or close these again.
        closed.iter().for_each(|room| drop(locations.remove(room)));
        self.count_moved(&locations);
        lost
    }

    /// The number of rooms whose location is known, and of commands and rooms that wait: for tests of what is remembered.
    #[doc(hidden)]
    pub fn remembered(&self) -> (usize, usize) {
        let locations = self.read_locations().len();
        let waiting = self.shards.iter().map(|shard| {
            let queue = shard.queue();
            queue.commands.len() + queue.rooms.len()
        });
        (locations, waiting.sum())
    }

    fn count_moved(&self, locations: &HashMap<RoomId, Location>) {
        self.moved.store(locations.len(), Ordering::SeqCst);
    }

    // Nothing panics half-way while one of these locks is held.
    fn read_locations(&self) -> RwLockReadGuard<'_, HashMap<RoomId, Location>> {
        self.locations.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_locations(&self) -> RwLockWriteGuard<'_, HashMap<RoomId, Location>> {
        self.locations.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ShardQueue {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, mut queue: MutexGuard<'_, Queue>, command: Command) -> Result<(), SubmitError> {
        if self.control.stopped() {
            return Err(SubmitError::Stopped);
        }
        if queue.commands.len() >= COMMAND_QUEUE {
            return Err(SubmitError::Busy);
        }
        queue.commands.push_back(command);
        drop(queue);
        self.control.wake();
        Ok(())
    }
}

impl Queue {
    fn take_room(&mut self) -> Option<RoomTransfer> {
        let transfer = self.rooms.pop_front()?;
        self.unacknowledged.push((transfer.id, transfer.from));
        Some(transfer)
    }

    fn take_commands(&mut self, room: RoomId) -> Vec<Command> {
        let (taken, left) = std::mem::take(&mut self.commands)
            .into_iter()
            .partition::<VecDeque<_>, _>(|command| command.room == room);
        self.commands = left;
        taken.into()
    }
}
