//! The half of a room that doesn't depend on its kind: participants, gains, the tick grid, and the levels reported in events.

use std::collections::HashMap;
use std::time::Instant;

use super::context::ShardContext;
use super::gains::Gains;
use super::peer::Peer;
use super::speech_detector::SILENCE;
use super::tick_grid::TickGrid;
use super::traces::Traces;
use crate::command::{Event, PeerId, RoomId, Select};
use crate::trace::Way;

pub(super) struct RoomBase {
    pub(super) id: RoomId,
    /// The kinds of room keep a list of their own halves in the same order.
    pub(super) peers: Vec<Peer>,
    index: HashMap<PeerId, usize>,
    /// The listeners whose packets may wait for those that follow.
    packing: Vec<PeerId>,
    /// When [`RoomBase::send_packed`] may have something to send. Some of it may have gone out earlier, with packets that followed.
    pub(super) next_packed: Option<Instant>,
    pub(super) gains: Gains,
    /// The most talkers that a listener hears at once, by policy.
    pub(super) max_talkers: usize,
    pub(super) select: Select,
    pub(super) grid: TickGrid,
    /// The packets that are followed on their way.
    pub(super) traces: Traces,
    levels_due: Instant,
    /// Whether the last list of levels had anybody in it.
    levels_reported: bool,
    /// Whether anybody has ever been in.
    used: bool,
}

impl RoomBase {
    pub(super) fn new(id: RoomId, grid: Instant) -> RoomBase {
        RoomBase {
            id,
            peers: Vec::new(),
            index: HashMap::new(),
            packing: Vec::new(),
            next_packed: None,
            gains: Gains::default(),
            max_talkers: usize::MAX,
            select: Select::default(),
            grid: TickGrid::new(grid),
            traces: Traces::default(),
            levels_due: grid,
            levels_reported: false,
            used: false,
        }
    }

    /// Where a participant is in `peers`.
    pub(super) fn position(&self, id: PeerId) -> Option<usize> {
        self.index.get(&id).copied()
    }

    pub(super) fn peer_mut(&mut self, id: PeerId) -> Option<&mut Peer> {
        self.position(id).map(|at| &mut self.peers[at])
    }

    /// Adds a participant, as the last of `peers`.
    pub(super) fn push(&mut self, peer: Peer) {
        self.used = true;
        self.index.insert(peer.id, self.peers.len());
        self.peers.push(peer);
    }

    /// Whether anybody has ever been in.
    pub(super) fn is_used(&self) -> bool {
        self.used
    }

    /// Takes a participant out of `peers`, as `swap_remove` does. Their gains stay.
    pub(super) fn swap_remove(&mut self, at: usize) -> Peer {
        let gone = self.peers.swap_remove(at);
        self.index.remove(&gone.id);
        self.packing.retain(|id| *id != gone.id);
        if let Some(moved) = self.peers.get(at) {
            self.index.insert(moved.id, at);
        }
        gone
    }

    /// A participant's client has told the length of packets that it wants.
    pub(super) fn note_packing(&mut self, at: usize) {
        let peer = &self.peers[at];
        if peer.endpoint.packs() && !self.packing.contains(&peer.id) {
            self.packing.push(peer.id);
        }
    }

    /// Sends the packets that have waited for long enough for those that follow.
    pub(super) fn send_packed(&mut self, now: Instant, context: &mut ShardContext) {
        if self.next_packed.is_none_or(|due| now < due) {
            return;
        }
        self.next_packed = None;
        for id in &self.packing {
            if let Some(at) = self.index.get(id) {
                let peer = &mut self.peers[*at];
                peer.endpoint.send_packed(now, context.outbox_of(peer.home));
                let next = [self.next_packed, peer.endpoint.packed_due()];
                self.next_packed = next.into_iter().flatten().min();
            }
        }
    }

    /// The most talkers that a listener hears at once, by the room's policy and by the shard's load.
    pub(super) fn most_talkers(&self, context: &ShardContext) -> usize {
        self.max_talkers.min(context.shed.max_talkers())
    }

    /// Takes the level (−dBov) of a participant's frame, and reports whether they began or ceased to speak.
    pub(super) fn update_speaking(&mut self, now: Instant, context: &mut ShardContext, at: usize, level: u8) {
        let (mix, peer) = (&context.mix, &mut self.peers[at]);
        if peer
            .detector
            .update(now, level, mix.speaking_threshold, mix.speaking_release)
        {
            self.tell_speaking(context, at);
        }
    }

    /// A muted participant ceases to speak at once: the detector's release time would be seen by everybody.
    pub(super) fn cease_speaking(&mut self, context: &mut ShardContext, at: usize) {
        if std::mem::take(&mut self.peers[at].detector).speaking() {
            self.tell_speaking(context, at);
        }
    }

    fn tell_speaking(&self, context: &mut ShardContext, at: usize) {
        let peer = &self.peers[at];
        if peer.remote {
            return;
        }
        context.events.push_back(Event::Speaking {
            room: self.id,
            peer: peer.id,
            speaking: peer.detector.speaking(),
        });
    }

    /// Tells the levels of everybody who is on this node, if it is time.
    pub(super) fn tell_levels(&mut self, at: Instant, context: &mut ShardContext) {
        if at < self.levels_due {
            return;
        }
        let levels = &mut context.scratch.levels;
        levels.clear();
        for peer in self.peers.iter_mut().filter(|peer| !peer.remote) {
            let level = peer.detector.take_loudest();
            if level < SILENCE || peer.detector.speaking() {
                levels.push((peer.id, level, peer.detector.speaking()));
            }
        }
        // One empty list after sound tells that it is over.
        if !levels.is_empty() || self.levels_reported {
            self.levels_reported = !levels.is_empty();
            self.levels_due = at + context.mix.levels_interval;
            context.events.push_back(Event::Levels {
                room: self.id,
                levels: levels.clone(),
            });
        }
    }

    /// A packet of `talker` was sent on to the listener at `listener`, if there is a talker.
    pub(super) fn forwarded(
        &mut self,
        now: Instant,
        context: &mut ShardContext,
        talker: Option<PeerId>,
        listener: usize,
    ) {
        if let (false, Some(talker)) = (self.traces.is_empty(), talker) {
            let (listener, at) = (self.peers[listener].id, context.moment(now));
            self.traces
                .sealed(self.id, context, listener, Way::Forwarded, at, |id| id == talker);
        }
    }

    /// The call that brought a talker's packet ends.
    pub(super) fn packet_ends(&mut self, context: &mut ShardContext) {
        if !self.traces.is_empty() {
            self.traces.call_ends(self.id, context);
        }
    }

    /// Whether somebody counts as speaking, or the silence hasn't been reported yet.
    pub(super) fn has_work(&self) -> bool {
        self.levels_reported || self.peers.iter().any(|peer| peer.detector.speaking())
    }
}
