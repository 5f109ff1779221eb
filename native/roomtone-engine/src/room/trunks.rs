//! The trunks of a room whose people are on several media nodes: the packets of talkers who are here go to the other nodes, and those of
//! talkers there come by them.
//!
//! A talker of another node is a participant without a transport. From the jitter buffer on nothing tells them from a talker who is here,
//! so levels, selection, rows, mix-minus and pass-through hold.
//!
//! Up to seventeen nodes have a trunk to each of the others, and nothing that came by one goes by another. A further node has a single
//! one, a *relay* trunk, to a node that passes on to it what comes by the others, and passes on what it sends. Trunks never form a
//! ring of relays: the room's process chooses them so.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use roomtone_transport::{Copies, RtpIn};
use roomtone_trunk::{Frame, Key, KeyNumber, Receiver, Sender, TrunkId};

use super::base::RoomBase;
use super::context::ShardContext;
use super::speaker_rank::SpeakerRank;
use super::speech_detector::SILENCE;
use crate::command::{PeerId, Select, TrunkEnd, TrunkWay};

/// A packet waits so long for others to share its datagram.
const GATHER: Duration = Duration::from_millis(5);
/// How often the other end is told what came, while anything comes.
const REPORT: Duration = Duration::from_secs(1);
/// The most talkers whose packets go to another node: more at once aren't understood.
const MOST_TALKERS: usize = 16;
/// A talker unheard of for so long is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(10);
/// The level (−dBov) of a packet that doesn't tell it: sound is sent, and its other node measures it.
const UNTOLD: u8 = 30;
/// A packet of so few bytes is a pause (DTX).
const PAUSE: usize = 2;

/// The trunks of a room.
#[derive(Default)]
pub(super) struct Trunks {
    trunks: Vec<Trunk>,
    /// The participants who are on other nodes.
    remote: HashMap<PeerId, TrunkId>,
    talkers: Talkers,
}

/// Those who are here or whom this node passes on, and have said something lately.
#[derive(Default)]
struct Talkers(Vec<Talker>);

struct Trunk {
    id: TrunkId,
    to: SocketAddr,
    relay: bool,
    sender: Sender,
    receiver: Receiver,
    /// When what was collected leaves.
    due: Option<Instant>,
    /// When the other end is told again what came.
    report_due: Option<Instant>,
}

struct Talker {
    id: PeerId,
    rank: SpeakerRank,
    selected: bool,
}

impl Trunks {
    pub(super) fn is_empty(&self) -> bool {
        self.trunks.is_empty()
    }

    pub(super) fn open(&mut self, id: TrunkId, way: &TrunkWay) {
        self.trunks.push(Trunk {
            id,
            to: way.to,
            relay: way.relay,
            sender: Sender::new(way.trunk, 0, &way.send),
            receiver: Receiver::new(id, 0, &way.receive),
            due: None,
            report_due: None,
        });
    }

    pub(super) fn renew(
        &mut self,
        context: &mut ShardContext,
        id: TrunkId,
        end: TrunkEnd,
        number: KeyNumber,
        key: &Key,
    ) {
        let Some(trunk) = self.trunks.iter_mut().find(|trunk| trunk.id == id) else {
            return;
        };
        match end {
            TrunkEnd::Receiving => trunk.receiver.renew(number, key),
            TrunkEnd::Sending => {
                trunk.flush(context);
                trunk.sender.renew(number, key);
            }
        }
    }

    /// Whether it was open.
    pub(super) fn close(&mut self, context: &mut ShardContext, id: TrunkId) -> bool {
        let Some(at) = self.trunks.iter().position(|trunk| trunk.id == id) else {
            return false;
        };
        self.trunks.swap_remove(at).flush(context);
        true
    }

    /// A participant who came by a trunk.
    pub(super) fn one_of(&self, id: TrunkId) -> Option<PeerId> {
        let found = self.remote.iter().find(|(_, trunk)| **trunk == id);
        found.map(|(peer, _)| *peer)
    }

    pub(super) fn is_remote(&self, peer: PeerId) -> bool {
        self.remote.contains_key(&peer)
    }

    /// Notes that a participant is heard by a trunk, if that is open.
    pub(super) fn join(&mut self, peer: PeerId, trunk: TrunkId) -> bool {
        let open = self.trunks.iter().any(|known| known.id == trunk);
        if open {
            self.remote.insert(peer, trunk);
        }
        open
    }

    /// A participant has left. Whether they were on another node.
    pub(super) fn forget(&mut self, peer: PeerId) -> bool {
        self.talkers.0.retain(|talker| talker.id != peer);
        self.remote.remove(&peer).is_some()
    }

    /// Sends the packet of a talker who is here to all other nodes, if they are among the most relevant.
    pub(super) fn send(
        &mut self,
        base: &RoomBase,
        now: Instant,
        context: &mut ShardContext,
        talker: PeerId,
        packet: &RtpIn<'_>,
    ) {
        if self.trunks.is_empty() {
            return;
        }
        let frame = Frame {
            talker,
            sequence: packet.seq,
            timestamp: packet.timestamp,
            marker: packet.marker,
            level: packet.level,
            payload: packet.payload,
        };
        if !self.talkers.selects(Choice::of(base, context), now, &frame) {
            return;
        }
        for trunk in &mut self.trunks {
            trunk.push(now, context, &frame);
        }
    }

    /// Opens a datagram, has the packets of those heard who are to come by its trunk, and passes them on to nodes that get them by this
    /// one alone. `hear` returns whether they may be heard.
    pub(super) fn receive(
        &mut self,
        choice: Choice,
        now: Instant,
        context: &mut ShardContext,
        id: TrunkId,
        datagram: &mut [u8],
        mut hear: impl FnMut(&mut ShardContext, Frame<'_>) -> bool,
    ) {
        let Trunks {
            trunks,
            remote,
            talkers,
        } = self;
        let Some(at) = trunks.iter().position(|trunk| trunk.id == id) else {
            return;
        };
        let last = trunks.len() - 1;
        trunks.swap(at, last);
        let Some((trunk, others)) = trunks.split_last_mut() else {
            return;
        };
        let from_relay = trunk.relay;
        let relays = others.iter().any(|other| other.relay || from_relay);
        let mut told = None;
        let opened = trunk.receiver.open(
            datagram,
            |frame| {
                if remote.get(&frame.talker) == Some(&id)
                    && hear(context, frame)
                    && relays
                    && talkers.selects(choice, now, &frame)
                {
                    for other in others.iter_mut().filter(|other| other.relay || from_relay) {
                        other.push(now, context, &frame);
                    }
                }
            },
            |report| told = Some(report),
        );
        if opened.is_err() {
            context.stats.trunk_datagrams_refused += 1;
            return;
        }
        context.stats.trunk_datagrams_in += 1;
        if let Some(report) = told {
            trunk.sender.take_report(report);
        }
        trunk.report(now, context);
    }

    /// When something that was collected has to leave.
    pub(super) fn next(&self) -> Option<Instant> {
        self.trunks.iter().filter_map(|trunk| trunk.due).min()
    }

    /// Sends what has waited long enough.
    pub(super) fn flush_due(&mut self, now: Instant, context: &mut ShardContext) {
        for trunk in &mut self.trunks {
            if trunk.due.is_some_and(|due| due <= now) {
                trunk.flush(context);
            }
        }
    }

    /// Sends everything that was collected.
    pub(super) fn flush(&mut self, context: &mut ShardContext) {
        for trunk in &mut self.trunks {
            trunk.flush(context);
        }
    }
}

/// How the most relevant talkers are chosen.
#[derive(Clone, Copy)]
pub(super) struct Choice {
    select: Select,
    most: usize,
}

impl Choice {
    pub(super) fn of(base: &RoomBase, context: &ShardContext) -> Choice {
        Choice {
            select: base.select,
            most: base.most_talkers(context).min(MOST_TALKERS),
        }
    }

    /// Of those that are passed on: each node chooses once more for its own listeners, and passing on costs next to nothing,
    /// so a busy node between takes nobody from the others.
    pub(super) fn relayed(base: &RoomBase) -> Choice {
        Choice {
            select: base.select,
            most: MOST_TALKERS,
        }
    }
}

impl Talkers {
    // Whether a talker is one of the most relevant, after this packet.
    fn selects(&mut self, choice: Choice, now: Instant, packet: &Frame<'_>) -> bool {
        let id = packet.talker;
        let at = match self.0.iter().position(|talker| talker.id == id) {
            Some(at) => at,
            None => {
                let long_ago = |talker: &Talker| talker.rank.measured_before(now).is_none_or(|since| since > FORGOTTEN);
                self.0.retain(|talker| !long_ago(talker));
                self.0.push(Talker {
                    id,
                    rank: SpeakerRank::default(),
                    selected: false,
                });
                self.0.len() - 1
            }
        };
        let untold = if packet.payload.len() > PAUSE { UNTOLD } else { SILENCE };
        let level = packet.level.map_or(untold, |(level, _)| level);
        self.0[at].rank.update(now, level);
        let rank = |talker: &Talker| talker.rank.rank(now, choice.select, talker.selected);
        let own = rank(&self.0[at]);
        let others = self.0.iter().filter(|other| other.id != id);
        let before = others
            .filter(|other| other.rank.is_open(now) && rank(other) > own)
            .count();
        let selected = self.0[at].rank.is_open(now) && before < choice.most;
        self.0[at].selected = selected;
        selected
    }
}

impl Trunk {
    fn push(&mut self, now: Instant, context: &mut ShardContext, frame: &Frame<'_>) {
        let to = self.to;
        let pushed = self.sender.push(frame, |datagram| send(context, to, datagram));
        context.stats.trunk_packets_oversized += u64::from(pushed.is_err());
        self.wait(now);
    }

    // The first report comes a while after the first datagram.
    fn report(&mut self, now: Instant, context: &mut ShardContext) {
        let due = *self.report_due.get_or_insert(now + REPORT);
        if now < due {
            return;
        }
        self.report_due = Some(now + REPORT);
        if let Some(report) = self.receiver.report() {
            let to = self.to;
            self.sender.push_report(report, |datagram| send(context, to, datagram));
            self.wait(now);
        }
    }

    fn wait(&mut self, now: Instant) {
        if !self.sender.is_empty() {
            self.due.get_or_insert(now + GATHER);
        }
    }

    fn flush(&mut self, context: &mut ShardContext) {
        let to = self.to;
        self.sender.flush(|datagram| send(context, to, datagram));
        self.due = None;
    }
}

fn send(context: &mut ShardContext, to: SocketAddr, datagram: &[u8]) {
    context.stats.trunk_datagrams_out += 1;
    context.outbox.push(to, datagram);
}

/// The packet of a talker of another node, as if it came from them.
pub(super) fn as_rtp<'a>(frame: &Frame<'a>) -> RtpIn<'a> {
    RtpIn {
        seq: frame.sequence,
        timestamp: frame.timestamp,
        marker: frame.marker,
        // Nothing but changes of it counts, and they have one stream here.
        ssrc: frame.talker as u32,
        level: frame.level,
        payload: frame.payload,
        restored_after: None,
        copies: Copies::default(),
    }
}
