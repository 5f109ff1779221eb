//! The trunks of a room whose people are on several media nodes: the packets of talkers who are here go to the other nodes, and those of
//! talkers there come by them.
//!
//! A talker of another node is a participant without a transport. From the jitter buffer on nothing tells them from a talker who is here,
//! so levels, selection, rows, mix-minus and pass-through hold.
//!
//! Up to seventeen nodes have a trunk to each of the others, and nothing that came by one goes by another. A further node has a single
//! one, a *relay* trunk, to a node that passes on to it what comes by the others, and passes on what it sends. Trunks never form a
//! ring of relays: the room's process chooses them so.
//!
//! Nobody's packets go where nobody may hear them (`unheard.rs`): neither at the other node, nor at one that gets them from there.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use roomtone_transport::RtpIn;
use roomtone_trunk::{Frame, Item, Key, KeyNumber, Receiver, Sender, TrunkId};

use super::base::RoomBase;
use super::context::ShardContext;
use super::ears::{Ears, audible};
use super::speaker_rank::SpeakerRank;
use super::speech_detector::SILENCE;
use super::spurt_numbers::SpurtNumbers;
use super::unheard::{LeftOut, Taken, Unheard};
use crate::command::{PeerId, RoomId, Select, TrunkEnd, TrunkWay};
use crate::stats::TrunkStats;

/// While several talk, a packet waits so long for others to share its datagram.
const GATHER: Duration = Duration::from_millis(5);
/// How often the other end is told what came, while anything comes.
const REPORT: Duration = Duration::from_secs(1);
/// The most talkers whose packets go to another node, whatever the room's policy or the load here: a listener there may not hear the
/// loudest, and then hears those after them. More than sixteen at once aren't understood.
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

/// Those who are here or whom this node passes on.
#[derive(Default)]
struct Talkers {
    /// Those who have said something lately.
    lately: Vec<Talker>,
    /// The numbers of the packets of all who are here and have ever said something.
    numbers: HashMap<PeerId, SpurtNumbers>,
}

struct Trunk {
    id: TrunkId,
    to: SocketAddr,
    relay: bool,
    sender: Sender,
    receiver: Receiver,
    /// Those who come by it and whom nobody may hear, and those whom nobody beyond it may hear.
    unheard: Unheard,
    left_out: LeftOut,
    /// Those whose packets went by it lately, because they are among the most relevant.
    selected: Vec<PeerId>,
    /// When what was collected leaves.
    due: Option<Instant>,
    /// When the other end is told again what came.
    report_due: Option<Instant>,
    /// The most datagrams that were missing at once.
    lost: u64,
}

struct Talker {
    id: PeerId,
    rank: SpeakerRank,
    /// How their packets come here; `None`: by their own transport.
    came: Option<Came>,
}

/// The trunk by which a talker's packets come.
#[derive(Clone, Copy)]
struct Came {
    by: TrunkId,
    relay: bool,
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
            unheard: Unheard::default(),
            left_out: LeftOut::default(),
            selected: Vec::with_capacity(MOST_TALKERS),
            due: None,
            report_due: None,
            lost: 0,
        });
    }

    pub(super) fn renew(
        &mut self,
        now: Instant,
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
                trunk.flush(now, context);
                trunk.sender.renew(number, key);
            }
        }
    }

    /// Whether it was open.
    pub(super) fn close(&mut self, now: Instant, context: &mut ShardContext, id: TrunkId) -> bool {
        let Some(at) = self.trunks.iter().position(|trunk| trunk.id == id) else {
            return false;
        };
        self.trunks.swap_remove(at).flush(now, context);
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

    /// A talker's packets don't come here for a while: what they say then is a new talk spurt.
    pub(super) fn pause(&mut self, peer: PeerId) {
        self.talkers.pause(peer);
    }

    /// A participant has left. Whether they were on another node.
    pub(super) fn forget(&mut self, peer: PeerId) -> bool {
        self.talkers.forget(peer);
        for trunk in &mut self.trunks {
            trunk.selected.retain(|id| *id != peer);
            trunk.unheard.forget(peer);
        }
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
        if let Some(frame) = self.talkers.number(now, &frame) {
            for trunk in &mut self.trunks {
                trunk.pass_on(base.select, &self.talkers, now, context, &frame);
            }
        }
    }

    /// Opens a datagram, has the packets of those heard who are to come by its trunk, and passes them on to nodes that get them by this
    /// one alone.
    pub(super) fn receive(
        &mut self,
        ears: &mut Ears<'_>,
        now: Instant,
        context: &mut ShardContext,
        id: TrunkId,
        datagram: &mut [u8],
    ) {
        let select = ears.base.select;
        let length = datagram.len() as u64;
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
        let Trunk {
            receiver,
            sender,
            unheard,
            left_out,
            ..
        } = trunk;
        let passes_on = |other: &Trunk| other.relay || from_relay;
        let relays = others.iter().any(passes_on);
        let mut others_told = false;
        let opened = receiver.open(datagram, |item| match item {
            Item::Frame(frame) if remote.get(&frame.talker) == Some(&id) => {
                let talker = frame.talker;
                let wanted = |other: &Trunk| passes_on(other) && !other.left_out.has(now, talker);
                let taken = unheard.take(now, talker, || ears.audible(talker) || others.iter().any(wanted));
                match taken {
                    Taken::Heard => {}
                    Taken::HeardNoMore => return ears.miss(now, context, talker),
                    Taken::Unheard => return,
                }
                if ears.hear(now, context, &frame) && relays {
                    let (by, relay) = (id, from_relay);
                    talkers.note(now, &frame, Some(Came { by, relay }));
                    for other in others.iter_mut().filter(|other| passes_on(other)) {
                        other.pass_on(select, talkers, now, context, &frame);
                    }
                }
            }
            Item::Frame(_) => {}
            Item::Report(report) => sender.take_report(now, report),
            Item::Unheard(list) => others_told |= left_out.told(now, &list),
        });
        if opened.is_err() {
            context.stats.trunk_datagrams_refused += 1;
            return;
        }
        context.stats.trunk_datagrams_in += 1;
        context.stats.trunk_bytes_in += length;
        trunk.count_lost(context);
        trunk.report(now, context);
        if others_told {
            // Those who come by other trunks may be wanted there again.
            self.gains_changed(now);
        }
    }

    /// Gains, places or listeners may have changed, so that somebody may hear those whom nobody could.
    pub(super) fn gains_changed(&mut self, now: Instant) {
        for trunk in &mut self.trunks {
            trunk.unheard.gains_changed(now);
        }
    }

    /// When [`Trunks::handle_timeout`] should be called.
    pub(super) fn next(&self) -> Option<Instant> {
        let due = self.trunks.iter().flat_map(|trunk| [trunk.due, trunk.unheard.next()]);
        due.flatten().min()
    }

    /// Tells the other ends whom nobody may hear, and sends what has waited long enough.
    pub(super) fn handle_timeout(
        &mut self,
        base: &RoomBase,
        taps: &[PeerId],
        now: Instant,
        context: &mut ShardContext,
    ) {
        for at in 0..self.trunks.len() {
            if self.trunks[at].unheard.next().is_some_and(|due| due <= now) {
                self.tell_unheard(at, base, taps, now, context);
            }
            let trunk = &mut self.trunks[at];
            if trunk.due.is_some_and(|due| due <= now) {
                trunk.flush(now, context);
            }
        }
    }

    fn tell_unheard(&mut self, at: usize, base: &RoomBase, taps: &[PeerId], now: Instant, context: &mut ShardContext) {
        let last = self.trunks.len() - 1;
        self.trunks.swap(at, last);
        if let Some((trunk, others)) = self.trunks.split_last_mut() {
            let relay = trunk.relay;
            let wanted = |other: &Trunk, id| (other.relay || relay) && !other.left_out.has(now, id);
            let tell = trunk.unheard.handle_timeout(now, base.peers.len(), |id| {
                audible(base, taps, id) || others.iter().any(|other| wanted(other, id))
            });
            if tell {
                trunk.tell_unheard(now, context);
            }
        }
        self.trunks.swap(at, last);
    }

    /// Sends everything that was collected.
    pub(super) fn flush(&mut self, now: Instant, context: &mut ShardContext) {
        for trunk in &mut self.trunks {
            trunk.flush(now, context);
        }
    }

    /// Their figures; `room` is the number of the room.
    pub(super) fn stats(&self, room: RoomId) -> impl Iterator<Item = TrunkStats> + '_ {
        self.trunks.iter().map(move |trunk| trunk.stats(room))
    }
}

impl Talkers {
    // The packet of a talker who is here, as it goes to other nodes; `None`: the talker is silent, or it is too late. A node that passes it
    // on changes nothing: it may come later there than the next packet by another way, and the numbers of all ways are to be the same.
    fn number<'a>(&mut self, now: Instant, packet: &Frame<'a>) -> Option<Frame<'a>> {
        let talks = self.note(now, packet, None);
        let numbers = self.numbers.entry(packet.talker).or_default();
        if !talks {
            numbers.pause();
            return None;
        }
        let (sequence, begins) = numbers.give(packet.sequence)?;
        let marker = packet.marker || begins;
        Some(Frame {
            sequence,
            marker,
            ..*packet
        })
    }

    // Takes the level of a talker's packet. Whether they aren't silent.
    fn note(&mut self, now: Instant, packet: &Frame<'_>, came: Option<Came>) -> bool {
        let id = packet.talker;
        let at = match self.lately.iter().position(|talker| talker.id == id) {
            Some(at) => at,
            None => {
                let long_ago = |talker: &Talker| talker.rank.measured_before(now).is_none_or(|since| since > FORGOTTEN);
                self.lately.retain(|talker| !long_ago(talker));
                let rank = SpeakerRank::default();
                self.lately.push(Talker { id, rank, came });
                self.lately.len() - 1
            }
        };
        let untold = if packet.payload.len() > PAUSE { UNTOLD } else { SILENCE };
        let level = packet.level.map_or(untold, |(level, _)| level);
        let talker = &mut self.lately[at];
        talker.came = came;
        talker.rank.update(now, level);
        talker.rank.is_open(now)
    }

    fn pause(&mut self, id: PeerId) {
        if let Some(numbers) = self.numbers.get_mut(&id) {
            numbers.pause();
        }
    }

    fn forget(&mut self, id: PeerId) {
        self.lately.retain(|talker| talker.id != id);
        self.numbers.remove(&id);
    }

    // Those but one who aren't silent.
    fn open_but(&self, now: Instant, id: PeerId) -> impl Iterator<Item = &Talker> {
        let others = self.lately.iter();
        others.filter(move |other| other.id != id && other.rank.is_open(now))
    }
}

impl Trunk {
    // Sends a packet that a talker's own node doesn't keep for silence, if they are one of the most relevant of those whom somebody beyond
    // it may hear.
    fn pass_on(
        &mut self,
        select: Select,
        talkers: &Talkers,
        now: Instant,
        context: &mut ShardContext,
        frame: &Frame<'_>,
    ) {
        if !self.selects(select, talkers, now, frame.talker) {
            return;
        }
        if self.left_out.keeps(now, frame.talker) {
            context.stats.trunk_packets_unheard += 1;
            return;
        }
        self.push(now, context, frame);
        let shares = talkers
            .open_but(now, frame.talker)
            .any(|other| self.takes(other) && !self.left_out.has(now, other.id));
        if !shares {
            self.flush(now, context);
        }
    }

    // Whether a talker's packets go by it at all, as [`Trunks::receive`] passes them on.
    fn takes(&self, talker: &Talker) -> bool {
        talker
            .came
            .is_none_or(|came| came.by != self.id && (self.relay || came.relay))
    }

    fn selects(&mut self, select: Select, talkers: &Talkers, now: Instant, id: PeerId) -> bool {
        let place = self.selected.iter().position(|selected| *selected == id);
        let rank = |talker: &Talker| {
            let selected = self.selected.contains(&talker.id);
            talker.rank.rank(now, select, selected)
        };
        let own = talkers.lately.iter().find(|talker| talker.id == id);
        let selects = own.is_some_and(|own| {
            let own = rank(own);
            let others = talkers.open_but(now, id).filter(|other| self.takes(other));
            let before = others.filter(|other| rank(other) > own && !self.left_out.has(now, other.id));
            before.take(MOST_TALKERS).count() < MOST_TALKERS
        });
        match place {
            None if selects => {
                if self.selected.len() >= MOST_TALKERS {
                    let talks = |id: &PeerId| {
                        talkers
                            .lately
                            .iter()
                            .any(|other| other.id == *id && other.rank.is_open(now))
                    };
                    self.selected.retain(talks);
                }
                self.selected.push(id);
            }
            Some(place) if !selects => {
                self.selected.swap_remove(place);
            }
            _ => {}
        }
        selects
    }

    // Tells the other end at once.
    fn tell_unheard(&mut self, now: Instant, context: &mut ShardContext) {
        let (to, (number, talkers)) = (self.to, self.unheard.list());
        self.sender
            .push_unheard(now, number, &talkers, |datagram| send(context, to, datagram));
        self.flush(now, context);
    }

    fn push(&mut self, now: Instant, context: &mut ShardContext, frame: &Frame<'_>) {
        let to = self.to;
        let pushed = self.sender.push(now, frame, |datagram| send(context, to, datagram));
        context.stats.trunk_packets_oversized += u64::from(pushed.is_err());
        self.wait(now);
    }

    // The first report comes a while after the first datagram. One that is due waits for a datagram that isn't overtaken.
    fn report(&mut self, now: Instant, context: &mut ShardContext) {
        let due = *self.report_due.get_or_insert(now + REPORT);
        if now < due {
            return;
        }
        if let Some(report) = self.receiver.report() {
            self.report_due = Some(now + REPORT);
            let to = self.to;
            self.sender
                .push_report(now, report, |datagram| send(context, to, datagram));
            // At once: the other end measures the round trip by it.
            self.flush(now, context);
        }
    }

    // A datagram that is overtaken is missing until it comes, but a counter never goes back.
    fn count_lost(&mut self, context: &mut ShardContext) {
        let lost = self.receiver.stats().lost;
        context.stats.trunk_datagrams_lost += lost.saturating_sub(self.lost);
        self.lost = self.lost.max(lost);
    }

    fn stats(&self, room: RoomId) -> TrunkStats {
        let (came, left) = (self.receiver.stats(), self.sender.stats());
        TrunkStats {
            trunk: self.id,
            room,
            to: self.to,
            datagrams_in: came.received,
            bytes_in: came.bytes,
            lost_in: self.lost,
            datagrams_out: left.datagrams,
            bytes_out: left.bytes,
            repeats: self.sender.repeats(),
            round_trip: left.round_trip,
            jitter: left.jitter,
        }
    }

    fn wait(&mut self, now: Instant) {
        if !self.sender.is_empty() {
            self.due.get_or_insert(now + GATHER);
        }
    }

    fn flush(&mut self, now: Instant, context: &mut ShardContext) {
        let to = self.to;
        self.sender.flush(now, |datagram| send(context, to, datagram));
        self.due = None;
    }
}

fn send(context: &mut ShardContext, to: SocketAddr, datagram: &[u8]) {
    context.stats.trunk_datagrams_out += 1;
    context.stats.trunk_bytes_out += datagram.len() as u64;
    context.outbox.push(to, datagram);
}

#[cfg(test)]
#[allow(clippy::disallowed_methods)]
mod tests {
    use super::*;

    /// Talkers 1 to 20, each 2 dB softer than the one before. The first sixteen come as told, the others are here.
    fn talkers(now: Instant, came: Option<Came>) -> Talkers {
        let mut talkers = Talkers::default();
        for id in 1..=20u8 {
            let frame = Frame {
                talker: id.into(),
                sequence: 1,
                timestamp: 960,
                marker: false,
                level: Some((20 + 2 * id, true)),
                payload: &[0; 50],
            };
            talkers.note(now, &frame, came.filter(|_| id <= 16));
        }
        talkers
    }

    fn open(trunks: &mut Trunks, relay: bool) -> &mut Trunk {
        let way = TrunkWay {
            to: "198.51.100.200:50000".parse().unwrap(),
            trunk: 1,
            send: Key::new([1; 32]),
            receive: Key::new([2; 32]),
            relay,
        };
        trunks.open(1, &way);
        &mut trunks.trunks[0]
    }

    fn selected(trunk: &mut Trunk, talkers: &Talkers, now: Instant) -> Vec<PeerId> {
        let chosen = (1..=20).filter(|id| trunk.selects(Select::Loudest, talkers, now, *id));
        chosen.collect()
    }

    #[test]
    fn the_sixteen_loudest_go_of_those_whom_somebody_there_may_hear() {
        let (now, mut trunks) = (Instant::now(), Trunks::default());
        let (trunk, talkers) = (open(&mut trunks, false), talkers(now, None));
        assert_eq!(selected(trunk, &talkers, now), (1..=16).collect::<Vec<_>>());
        // Those who are left out take no place from others, and go by as the packet a second that tells of them.
        trunk.left_out = LeftOut::of(now, &[1, 5, 9]);
        assert_eq!(selected(trunk, &talkers, now), (1..=19).collect::<Vec<_>>());
    }

    #[test]
    fn those_whose_packets_do_not_go_by_a_trunk_take_no_place_there() {
        let now = Instant::now();
        let places_left = |relay, by, from_relay| {
            let came = Some(Came { by, relay: from_relay });
            let (mut trunks, talkers) = (Trunks::default(), talkers(now, came));
            let chosen = selected(open(&mut trunks, relay), &talkers, now);
            chosen.into_iter().filter(|id| *id > 16).count()
        };
        // From a node of the core to another, and back to where they came from.
        assert_eq!(places_left(false, 2, false), 4);
        assert_eq!(places_left(true, 1, true), 4);
        // From the core to a node further out, and from there to the core.
        assert_eq!(places_left(true, 2, false), 0);
        assert_eq!(places_left(false, 2, true), 0);
    }
}
