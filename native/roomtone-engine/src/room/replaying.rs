//! A room that is given recorded inputs instead of packets, commands and time ([`Replay`](crate::Replay)).

use std::time::{Duration, Instant};

use roomtone_audio::AudioError;
use roomtone_transport::RemoteStats;

use super::context::ShardContext;
use super::ears::Ears;
use super::peer::Peer;
use super::treatment::Treatment;
use super::{Kind, Room, tap};
use crate::command::{EndReason, PeerId};
use crate::inputs::{Fingerprint, Input, ReplayedPort};
use crate::tap::Tap;
use crate::voice::Voice;

/// The batches of a tap that nobody reads, which are the fewest possible.
const TAP_BATCH: Duration = Duration::from_millis(20);

/// The packets that were sent to a listener by a recording, and those of the replay.
pub(crate) struct Compared {
    pub(crate) peer: PeerId,
    pub(crate) recorded: Fingerprint,
    pub(crate) replayed: Fingerprint,
}

impl Room {
    /// Takes an input. An input for a participant who isn't here has no effect, as in the room that it was recorded in.
    ///
    /// # Errors
    /// As [`Room::handle_timeout`].
    pub(crate) fn replay(
        &mut self,
        now: Instant,
        context: &mut ShardContext,
        input: Input<'_>,
    ) -> Result<Option<Compared>, AudioError> {
        match input {
            // Both are the caller's.
            Input::Begin(_) | Input::Shed(_) => {}
            Input::Kind(kind) => self.set_kind(kind),
            Input::Join {
                peer,
                speak,
                listen,
                facts,
                origins,
            } if self.base.position(peer).is_none() => {
                let port = ReplayedPort::new(facts, origins);
                let peer = Peer::replayed(peer, context.index, port, speak, listen);
                self.kind.pushed(&peer);
                self.base.push(peer);
            }
            Input::Join { .. } => {}
            Input::Facts { peer, facts, origins } => {
                if let Some(port) = self.base.peer_mut(peer).and_then(|peer| peer.endpoint.replayed_mut()) {
                    port.update(facts, origins);
                }
            }
            Input::Source { peer, speak } => self.join_source(context, peer, speak),
            Input::Remote { peer, speak } if self.base.position(peer).is_none() => {
                self.push_remote(context, peer, speak);
            }
            Input::Remote { .. } => {}
            Input::Tap { peer, sound } => {
                let tap = Tap::with_waiting(now, TAP_BATCH, Duration::ZERO);
                self.join_tap(now, context, peer, tap, &sound);
            }
            Input::SetTap { peer, sound } => self.set_tap(peer, &sound),
            Input::Connected { peer } => {
                if self.base.peer_mut(peer).is_some_and(Peer::connect) {
                    self.tell_anew(now, peer);
                }
            }
            Input::TellAnew { peer } => self.tell_anew(now, peer),
            Input::Report {
                peer,
                lost,
                round_trip,
                sent,
            } => {
                if let Some(peer) = self.base.peer_mut(peer) {
                    let report = RemoteStats {
                        fraction_lost: lost,
                        cumulative_lost: 0,
                        jitter: Duration::ZERO,
                        round_trip,
                    };
                    peer.take_report(&report, sent);
                }
            }
            Input::Sound { peer, sound } => {
                if let Some(at) = self.base.position(peer).filter(|at| self.base.peers[*at].speak) {
                    let packet = sound.packet();
                    tap::copy(&mut self.base, now, &self.taps, peer, &packet);
                    self.kind.hear(&mut self.base, now, context, at, &packet);
                }
            }
            Input::Missed { peer } => {
                let Room { base, kind, taps, .. } = self;
                let mut ears = Ears {
                    base,
                    kind,
                    taps,
                    recorder: None,
                };
                ears.miss(now, context, peer);
            }
            Input::Feed { peer, items } => self.feed(now, context, peer, &items),
            Input::Clear { peer } => self.clear_source(now, peer),
            Input::SamePerson { peer, replacement } => {
                if self.base.position(peer).is_some() && self.base.position(replacement).is_some() {
                    self.set_same_person(peer, replacement);
                }
            }
            Input::Speak { peer, speak } => self.set_speak(now, context, peer, speak),
            Input::Voice { peer, voice } => self.replay_voice(peer, voice),
            Input::SuppressNoise { peer, suppress } => {
                if let Some(treatment) = self.treatment(peer) {
                    treatment.suppress(suppress);
                }
            }
            Input::Listen { peer, listen } => self.set_listen(peer, listen),
            Input::Policy {
                default_gain,
                max_talkers,
                select,
            } => self.set_policy(now, default_gain, max_talkers, select),
            Input::Gains { cells } => self.set_gains(now, &cells),
            Input::Places { distance, cells } => self.set_places(distance, &cells),
            Input::Hurry => self.base.grid.hurry(),
            Input::Tick { traced } => {
                if let Some(tick) = self.base.grid.pop_due(now) {
                    self.make_tick(tick, traced, now, context)?;
                }
            }
            Input::Leave { peer } => self.remove(now, context, peer, EndReason::Left),
            Input::Fault => self.fail_at_next_tick(now),
            Input::Sent { peer, sent } => {
                let replayed = self.base.peer_mut(peer).map(|peer| peer.endpoint.sent());
                let (recorded, replayed) = (sent, replayed.unwrap_or_default());
                return Ok(Some(Compared {
                    peer,
                    recorded,
                    replayed,
                }));
            }
        }
        Ok(None)
    }

    // Whether noise is suppressed is an input of its own, which follows if that has changed.
    fn replay_voice(&mut self, id: PeerId, voice: Voice) {
        if let Some(treatment) = self.treatment(id) {
            let suppress = treatment.suppresses();
            treatment.set(voice, suppress);
        }
    }

    fn treatment(&mut self, id: PeerId) -> Option<&mut Treatment> {
        let at = self.base.position(id)?;
        match &mut self.kind {
            Kind::Mixing(mixing) => Some(mixing.treatment(at)),
            Kind::Forwarding(_) => None,
        }
    }

    fn tell_anew(&mut self, now: Instant, id: PeerId) {
        if let (Kind::Forwarding(forwarding), Some(at)) = (&mut self.kind, self.base.position(id)) {
            forwarding.tell_anew(&mut self.base, now, at);
        }
    }

    /// Gives everything that was sent to `heard`: listener, port.
    pub(crate) fn take_replayed(&mut self, mut heard: impl FnMut(PeerId, &mut ReplayedPort)) {
        for peer in &mut self.base.peers {
            if let Some(port) = peer.endpoint.replayed_mut() {
                heard(peer.id, port);
            }
        }
    }
}
