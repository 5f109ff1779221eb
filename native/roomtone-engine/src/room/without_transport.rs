//! Participants without a transport: sources, taps, and people of other media nodes who come by a trunk.

use std::borrow::Cow;
use std::time::Instant;

use roomtone_audio::AudioError;
use roomtone_trunk::{Key, KeyNumber, TrunkId};

use super::context::ShardContext;
use super::ears::Ears;
use super::gains::GainPan;
use super::peer::Peer;
use super::source::{Due, Source};
use super::tap::{self, Takes, TapPort};
use super::tick_grid::Tick;
use super::{Kind, Room};
use crate::command::{Event, PeerId, Refusal, SourceItem, TrunkEnd, TrunkWay};
use crate::inputs::Input;
use crate::stats::TrunkStats;
use crate::tap::{Tap, TapSound};
use crate::trace::Stage;

impl Room {
    /// A new participant without a transport, who can only be heard.
    pub(crate) fn join_source(&mut self, context: &mut ShardContext, id: PeerId, speak: bool) {
        if self.base.position(id).is_some() {
            return self.refuse(context, id, Refusal::PeerExists);
        }
        self.note(|| Input::Source { peer: id, speak });
        let peer = Peer::source(id, context.index, speak);
        self.kind.pushed(&peer);
        self.base.push(peer);
        self.sources.push(Source::new(id));
        let room = self.base.id;
        context.events.push_back(Event::Connected { room, peer: id });
    }

    /// A new participant without a transport, who only hears, and puts what it hears into a queue.
    pub(crate) fn join_tap(
        &mut self,
        now: Instant,
        context: &mut ShardContext,
        id: PeerId,
        tap: Tap,
        sound: &TapSound,
    ) {
        if self.base.position(id).is_some() {
            return self.refuse(context, id, Refusal::PeerExists);
        }
        let takes = match (sound, &self.kind) {
            (TapSound::Talkers { only }, _) => Takes::Talkers { only: only.clone() },
            (TapSound::Mix { stereo, .. }, Kind::Mixing(mixing)) => Takes::Mix {
                stereo: *stereo && mixing.is_stereo(),
            },
            (TapSound::Mix { .. }, Kind::Forwarding(_)) => return self.refuse(context, id, Refusal::NotMixed),
        };
        self.note(|| Input::Tap {
            peer: id,
            sound: Cow::Borrowed(sound),
        });
        let peer = Peer::tap(id, context.index, TapPort::new(tap, takes));
        self.kind.pushed(&peer);
        self.base.push(peer);
        self.taps.push(id);
        self.give_tap(id, sound);
        // The tap hears of silence, too.
        self.base.grid.keep_ticking(now);
        let room = self.base.id;
        context.events.push_back(Event::Connected { room, peer: id });
    }

    /// Changes whom a tap takes, or how loud; that of a mix stays one.
    pub(crate) fn set_tap(&mut self, id: PeerId, sound: &TapSound) {
        self.note(|| Input::SetTap {
            peer: id,
            sound: Cow::Borrowed(sound),
        });
        self.give_tap(id, sound);
    }

    fn give_tap(&mut self, id: PeerId, sound: &TapSound) {
        let Some(tap) = self.base.peer_mut(id).and_then(|peer| peer.endpoint.tap_mut()) else {
            return;
        };
        match (sound, &mut tap.takes) {
            (TapSound::Talkers { only: new }, Takes::Talkers { only }) => only.clone_from(new),
            (
                TapSound::Mix {
                    default_gain, gains, ..
                },
                Takes::Mix { .. },
            ) => {
                // A cell of a participant who isn't here would never be forgotten.
                let here = gains.iter().filter(|(peer, _)| self.base.position(*peer).is_some());
                let cells: Vec<(PeerId, GainPan)> =
                    here.map(|(peer, gain)| (*peer, GainPan::new(*gain, 0.0))).collect();
                self.base
                    .gains
                    .set_row(id, GainPan::new(*default_gain, 0.0), cells.into_iter());
            }
            _ => {}
        }
    }

    /// Whether the room may move to another shard. The other ends of its trunks know this one.
    pub(crate) fn may_move(&self) -> bool {
        self.trunks.is_empty()
    }

    /// Opens the way to another media node.
    pub(crate) fn open_trunk(&mut self, context: &mut ShardContext, id: TrunkId, way: &TrunkWay) {
        context.trunks.insert(id, self.base.id);
        self.trunks.open(id, way);
    }

    /// Another key for an end of a trunk.
    pub(crate) fn renew_trunk(
        &mut self,
        now: Instant,
        context: &mut ShardContext,
        id: TrunkId,
        end: TrunkEnd,
        number: KeyNumber,
        key: &Key,
    ) {
        self.trunks.renew(now, context, id, end, number, key);
    }

    /// The figures of its trunks.
    pub(crate) fn trunk_stats(&self) -> impl Iterator<Item = TrunkStats> + '_ {
        self.trunks.stats(self.base.id)
    }

    /// Closes the way to another media node. Those who came by it leave.
    pub(crate) fn close_trunk(&mut self, now: Instant, context: &mut ShardContext, id: TrunkId) {
        if self.trunks.close(now, context, id) {
            context.trunks.remove(&id);
            while let Some(peer) = self.trunks.one_of(id) {
                self.leave(now, context, peer);
            }
        }
    }

    /// A participant who is on another media node. One who is known comes by this trunk from now on.
    pub(crate) fn join_remote(&mut self, context: &mut ShardContext, id: PeerId, trunk: TrunkId, speak: bool) {
        if self.trunks.is_remote(id) {
            self.trunks.join(id, trunk);
        } else if self.base.position(id).is_none() && self.trunks.join(id, trunk) {
            self.push_remote(context, id, speak);
        }
    }

    /// A participant who is on another media node, by whichever trunk.
    pub(super) fn push_remote(&mut self, context: &mut ShardContext, id: PeerId, speak: bool) {
        self.note(|| Input::Remote { peer: id, speak });
        let peer = Peer::remote(id, context.index, speak);
        self.kind.pushed(&peer);
        self.base.push(peer);
    }

    /// A datagram that came by a trunk: its talkers are heard as if their packets came from them.
    ///
    /// # Errors
    /// As [`Room::handle_timeout`].
    pub(crate) fn handle_trunk(
        &mut self,
        now: Instant,
        context: &mut ShardContext,
        id: TrunkId,
        datagram: &mut [u8],
    ) -> Result<(), AudioError> {
        self.recorded_at(now);
        self.make_waiting_ticks(now, context)?;
        self.note_shed(context);
        let Room {
            base,
            kind,
            taps,
            trunks,
            recorder,
            ..
        } = self;
        let mut ears = Ears {
            base,
            kind,
            taps,
            recorder: recorder.as_deref_mut(),
        };
        trunks.receive(&mut ears, now, context, id, datagram);
        Ok(())
    }

    /// Sound for a source to play after what it has already.
    pub(crate) fn feed(&mut self, now: Instant, context: &mut ShardContext, id: PeerId, items: &[SourceItem]) {
        self.note(|| Input::Feed {
            peer: id,
            items: Cow::Borrowed(items),
        });
        let source = self.sources.iter_mut().find(|source| source.id == id);
        let refused = source.map_or(items.len() as u32, |source| source.feed(items));
        if refused > 0 {
            let (room, peer) = (self.base.id, id);
            context.events.push_back(Event::SourceRefused {
                room,
                peer,
                items: refused,
            });
        }
        self.base.grid.keep_ticking(now);
    }

    /// Ends what a source plays; it stays and can be fed anew.
    pub(crate) fn clear_source(&mut self, now: Instant, id: PeerId) {
        self.note(|| Input::Clear { peer: id });
        if let Some(source) = self.sources.iter_mut().find(|source| source.id == id) {
            source.clear();
            self.base.grid.keep_ticking(now);
        }
    }

    /// Takes from each source what is to be heard from this tick on. A muted source goes on unheard, as a person would.
    pub(super) fn play_sources(&mut self, tick: Tick, now: Instant, context: &mut ShardContext) {
        let Room {
            base,
            kind,
            sources,
            taps,
            trunks,
            ..
        } = self;
        for source in sources {
            let Some(at) = base.position(source.id) else { continue };
            let (room, peer) = (base.id, source.id);
            while let Some(due) = source.next(tick.timestamp()) {
                match due {
                    Due::Packet(packet) if base.peers[at].speak => {
                        tap::copy(base, now, taps, peer, &packet);
                        trunks.send(base, now, context, peer, &packet);
                        if base.traces.awaits(peer) {
                            base.traces
                                .arrived(peer, packet.timestamp, &[(Stage::Opened, context.moment(now))]);
                        }
                        kind.hear(base, now, context, at, &packet);
                        base.packet_ends(context);
                    }
                    Due::Packet(_) => {}
                    Due::Mark(mark) => context.events.push_back(Event::SourcePlayed { room, peer, mark }),
                    Due::Drained => context.events.push_back(Event::SourceDrained { room, peer }),
                }
            }
        }
    }
}
