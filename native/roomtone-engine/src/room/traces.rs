//! The packets of a room that are followed on their way: none, unless somebody asked ([`Action::Trace`](crate::Action::Trace)).
//!
//! The code on a packet's way asks [`Traces::is_empty`] first, so that a packet costs one branch where nobody looks. The one allocation
//! for a trace is made when it is asked for.

use std::time::{Duration, Instant};

use super::context::ShardContext;
use crate::command::{PeerId, RoomId};
use crate::trace::{Stage, Trace, Way};

/// The most that are followed at once in a room; the oldest gives way.
const MOST: usize = 8;
/// A question that no packet has answered for so long is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(2);

/// A trace whose packet is encrypted, on its way to the kernel.
pub(crate) struct SealedTrace {
    pub(crate) room: RoomId,
    pub(crate) trace: Box<Trace>,
}

#[derive(Default)]
pub(super) struct Traces {
    followed: Vec<Followed>,
    /// When the present tick began.
    tick: Option<Instant>,
}

struct Followed {
    trace: Box<Trace>,
    /// The only listener who counts, if it isn't the first.
    listener: Option<PeerId>,
    asked: Instant,
    place: Place,
}

#[derive(Clone, Copy, PartialEq)]
enum Place {
    /// The next packet of the talker is the one.
    Awaited,
    /// In the call that brought it; its RTP timestamp.
    Arrived(u32),
    /// In the jitter buffer.
    Waiting(u32),
    /// In the tick that plays it.
    Playing,
}

impl Traces {
    /// Whether nobody looks.
    pub(super) fn is_empty(&self) -> bool {
        cfg!(feature = "untraced") || self.followed.is_empty()
    }

    /// Follows the next packet of a talker to a listener, or to the first who gets it.
    pub(super) fn ask(&mut self, now: Instant, reference: u64, talker: PeerId, listener: Option<PeerId>) {
        let recent = |one: &Followed| now.saturating_duration_since(one.asked) < FORGOTTEN;
        self.followed.retain(recent);
        if self.followed.len() >= MOST {
            self.followed.remove(0);
        }
        self.followed.push(Followed {
            trace: Box::new(Trace::new(reference, talker)),
            listener,
            asked: now,
            place: Place::Awaited,
        });
    }

    /// Whether the next packet of a talker is to be followed.
    pub(super) fn awaits(&self, talker: PeerId) -> bool {
        let awaited = |one: &Followed| one.trace.talker == talker && one.place == Place::Awaited;
        !self.is_empty() && self.followed.iter().any(awaited)
    }

    /// That packet is here.
    pub(super) fn arrived(&mut self, talker: PeerId, timestamp: u32, stamps: &[(Stage, Instant)]) {
        let awaited = |one: &&mut Followed| one.trace.talker == talker && one.place == Place::Awaited;
        for one in self.followed.iter_mut().filter(awaited) {
            one.place = Place::Arrived(timestamp);
            for (stage, at) in stamps {
                one.trace.stamp(*stage, *at);
            }
        }
    }

    /// The packet that has arrived in this call is in the jitter buffer.
    pub(super) fn buffered(&mut self, at: Instant) {
        for one in &mut self.followed {
            if matches!(one.place, Place::Arrived(_)) {
                one.trace.stamp(Stage::Buffered, at);
            }
        }
    }

    /// The call that brought a packet ends: the packet waits for its tick, unless it was sent on or thrown away.
    pub(super) fn call_ends(&mut self, room: RoomId, context: &mut ShardContext) {
        for one in &mut self.followed {
            if let Place::Arrived(timestamp) = one.place
                && one.trace.has(Stage::Buffered)
            {
                one.place = Place::Waiting(timestamp);
            }
        }
        self.finish(room, context, Way::Nowhere, |one| {
            matches!(one.place, Place::Arrived(_))
        });
    }

    /// A tick begins.
    pub(super) fn tick_begins(&mut self, at: Instant) {
        self.tick = Some(at);
    }

    /// A talker's frame of this tick was taken; `decoded`: not merely skipped. `turn` tells of an RTP timestamp whether this was that
    /// packet's turn, and how far into the frame its sound begins.
    pub(super) fn played(
        &mut self,
        talker: PeerId,
        at: Instant,
        decoded: bool,
        turn: impl Fn(u32) -> Option<Duration>,
    ) {
        for one in self.followed.iter_mut().filter(|one| one.trace.talker == talker) {
            let Place::Waiting(timestamp) = one.place else { continue };
            let Some(into_frame) = turn(timestamp) else { continue };
            one.place = Place::Playing;
            one.trace.into_frame = into_frame;
            if let Some(tick) = self.tick {
                one.trace.stamp(Stage::Tick, tick);
            }
            if decoded {
                one.trace.stamp(Stage::Decoded, at);
            }
        }
    }

    /// A mix has reached a stage. `carries` tells whether a talker's sound is in it.
    pub(super) fn mix_reached(&mut self, stage: Stage, at: Instant, carries: impl Fn(PeerId) -> bool) {
        for one in &mut self.followed {
            if one.place == Place::Playing && carries(one.trace.talker) {
                one.trace.stamp(stage, at);
            }
        }
    }

    /// A packet for `listener` is encrypted. `carries` tells whether a talker's sound is in it.
    pub(super) fn sealed(
        &mut self,
        room: RoomId,
        context: &mut ShardContext,
        listener: PeerId,
        way: Way,
        at: Instant,
        carries: impl Fn(PeerId) -> bool,
    ) {
        let mixed = matches!(way, Way::Mixed { .. });
        self.finish(room, context, way, |one| {
            let here = match one.place {
                Place::Playing => mixed,
                Place::Arrived(_) => !mixed,
                Place::Awaited | Place::Waiting(_) => false,
            };
            let wanted = one.listener.is_none_or(|wanted| wanted == listener);
            if !here || !wanted || !carries(one.trace.talker) {
                return false;
            }
            one.trace.listener = Some(listener);
            one.trace.stamp(Stage::Sealed, at);
            true
        });
    }

    /// The tick has ended: what was played in it and sent to nobody is heard by nobody.
    pub(super) fn tick_ends(&mut self, room: RoomId, context: &mut ShardContext) {
        self.finish(room, context, Way::Nowhere, |one| one.place == Place::Playing);
    }

    /// A talker is muted or gone, and what waited of them is thrown away.
    pub(super) fn silenced(&mut self, room: RoomId, context: &mut ShardContext, talker: PeerId) {
        self.finish(room, context, Way::Nowhere, |one| one.trace.talker == talker);
    }

    fn finish(
        &mut self,
        room: RoomId,
        context: &mut ShardContext,
        way: Way,
        mut ended: impl FnMut(&mut Followed) -> bool,
    ) {
        let mut at = 0;
        while at < self.followed.len() {
            if ended(&mut self.followed[at]) {
                let mut trace = self.followed.remove(at).trace;
                trace.way = way;
                context.sealed.push(SealedTrace { room, trace });
            } else {
                at += 1;
            }
        }
    }
}
