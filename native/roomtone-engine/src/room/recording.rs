//! The recording of a room's inputs: what the room notes of them, for [`Recorder`].

use std::borrow::Cow;
use std::time::Instant;

use super::context::ShardContext;
use super::peer::Peer;
use super::{Kind, Room};
use crate::command::RoomKind;
use crate::inputs::{Begin, Input, Journal, Origin, Recorder};

impl Kind {
    fn room_kind(&self) -> RoomKind {
        match self {
            Kind::Mixing(mixing) => RoomKind::Mix {
                stereo: mixing.is_stereo(),
                auto_gain: mixing.has_auto_gain(),
            },
            Kind::Forwarding(forwarding) => forwarding.room_kind(),
        }
    }
}

impl Room {
    /// From now on everything that goes into the room is written into a journal, if nobody has been in yet: what was before has no
    /// part in what anybody hears, but for the settings, which come first.
    pub(crate) fn record_inputs(&mut self, now: Instant, context: &ShardContext, journal: &Journal) {
        if self.base.is_used() || self.recorder.is_some() {
            return Recorder::refuse(journal);
        }
        let begin = Begin {
            version: Begin::VERSION,
            kind: self.kind.room_kind(),
            mix: context.mix.clone(),
        };
        let recorder = Recorder::new(journal.clone(), now, self.base.grid.start(), begin);
        self.recorder = Some(Box::new(recorder));
        let (default_gain, select) = (self.base.gains.default_gain(), self.base.select);
        let max_talkers = u32::try_from(self.base.max_talkers).ok();
        self.note(|| Input::Policy {
            default_gain,
            max_talkers,
            select,
        });
        if let Some(distance) = self.base.gains.distance() {
            self.note(|| Input::Places {
                distance,
                cells: Cow::Borrowed(&[]),
            });
        }
    }

    /// Notes an input, if inputs are recorded.
    pub(super) fn note<'a>(&mut self, input: impl FnOnce() -> Input<'a>) {
        if let Some(recorder) = &mut self.recorder {
            recorder.write(input());
        }
    }

    /// A call begins at this time.
    pub(super) fn recorded_at(&mut self, now: Instant) {
        if let Some(recorder) = &mut self.recorder {
            recorder.at(now);
        }
    }

    /// Notes how much load the shard sheds, which counts for packets and ticks.
    pub(super) fn note_shed(&mut self, context: &ShardContext) {
        if let Some(recorder) = &mut self.recorder {
            recorder.shed(context.shed.level());
        }
    }

    /// Notes that a tick is made, and now and then what was sent until then.
    pub(super) fn note_tick(&mut self, context: &ShardContext, traced: bool) {
        let Some(recorder) = &mut self.recorder else { return };
        recorder.shed(context.shed.level());
        if recorder.checks() {
            for peer in &mut self.base.peers {
                if let Some(sent) = peer.endpoint.take_sent() {
                    recorder.write(Input::Sent { peer: peer.id, sent });
                }
            }
        }
        recorder.write(Input::Tick { traced });
    }

    /// Notes a participant with a transport who is about to join.
    pub(super) fn note_join(&mut self, peer: &mut Peer) {
        let Some(recorder) = &mut self.recorder else { return };
        if let Some(facts) = peer.endpoint.begin_notes() {
            recorder.write(Input::Join {
                peer: peer.id,
                speak: peer.speak,
                listen: peer.listen,
                facts,
                origins: peer.endpoint.origins().map(Origin::from).collect(),
            });
        }
    }

    /// Notes the facts of an endpoint, if they have changed.
    pub(super) fn note_facts(&mut self, at: usize) {
        let Some(recorder) = &mut self.recorder else { return };
        let peer = &mut self.base.peers[at];
        if let Some(facts) = peer.endpoint.changed_facts() {
            recorder.write(Input::Facts {
                peer: peer.id,
                facts,
                origins: peer.endpoint.origins().map(Origin::from).collect(),
            });
        }
    }

    /// Notes that a participant leaves, and what they were sent.
    pub(super) fn note_leave(&mut self, at: usize) {
        let Some(recorder) = &mut self.recorder else { return };
        let peer = &mut self.base.peers[at];
        if let Some(sent) = peer.endpoint.take_sent() {
            recorder.write(Input::Sent { peer: peer.id, sent });
        }
        recorder.write(Input::Leave { peer: peer.id });
    }
}
