//! The half of a room that differs by its kind: it mixes, or it forwards.

use std::time::Instant;

use roomtone_transport::RtpIn;

use super::base::RoomBase;
use super::context::ShardContext;
use super::forwarding::Forwarding;
use super::mixing::Mixing;
use super::peer::Peer;
use crate::command::{PeerId, RoomKind};

/// The half of a room that depends on its kind.
pub(super) enum Kind {
    Mixing(Mixing),
    Forwarding(Forwarding),
}

impl Kind {
    /// Without participants.
    pub(super) fn new(kind: RoomKind) -> Kind {
        match kind {
            RoomKind::Mix { stereo, auto_gain } => Kind::Mixing(Mixing::new(stereo, auto_gain)),
            RoomKind::Forward { slots, stereo } => Kind::Forwarding(Forwarding::new(slots, stereo)),
        }
    }

    /// The room has a new participant, its last.
    pub(super) fn pushed(&mut self, peer: &Peer) {
        match self {
            Kind::Mixing(mixing) => mixing.pushed(),
            Kind::Forwarding(forwarding) => forwarding.pushed(peer),
        }
    }

    /// Nothing of a participant is heard from now on.
    pub(super) fn mute(&mut self, at: usize, id: PeerId) {
        match self {
            Kind::Mixing(mixing) => mixing.mute(at, id),
            Kind::Forwarding(forwarding) => forwarding.mute(at, id),
        }
    }

    /// The sound of a participant who may speak.
    pub(super) fn hear(
        &mut self,
        base: &mut RoomBase,
        now: Instant,
        context: &mut ShardContext,
        at: usize,
        packet: &RtpIn<'_>,
    ) {
        match self {
            Kind::Mixing(mixing) => {
                if mixing.take_packet(base, now, context, at, packet) {
                    base.grid.keep_ticking(now);
                }
            }
            Kind::Forwarding(forwarding) => {
                forwarding.forward(base, now, context, at, packet);
                base.grid.keep_ticking(now);
            }
        }
    }
}
