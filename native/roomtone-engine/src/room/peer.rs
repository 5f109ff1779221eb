//! A participant as both kinds of room see them: the transport endpoint, permissions and speech detector.

use std::time::{Duration, Instant};

use roomtone_audio::{Channels, PlayoutStats, SAMPLE_RATE};
use roomtone_transport::{CloseReason, Endpoint, Event as TransportEvent, RemoteStats, SlotOut};

use super::adaptation::{Adaptation, Takes};
use super::context::ShardContext;
use super::port::Port;
use super::speech_detector::SpeechDetector;
use super::tap::TapPort;
use crate::command::{Event, PeerId, PeerStats, RoomId, ShardIndex};
use crate::inputs::{Input, Recorder, ReplayedPort};
use crate::routes::Route;

const SAMPLES_PER_MS: f64 = SAMPLE_RATE as f64 / 1000.0;

/// A participant who is to join.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Newcomer {
    pub(crate) id: PeerId,
    /// Whether the others may hear them.
    pub(crate) speak: bool,
    /// Whether they may hear the others.
    pub(crate) listen: bool,
}

pub(super) struct Peer {
    pub(super) id: PeerId,
    pub(super) endpoint: Port,
    /// The shard whose socket they talk to.
    pub(super) home: ShardIndex,
    pub(super) speak: bool,
    pub(super) listen: bool,
    pub(super) detector: SpeechDetector,
    /// Whether they are on another media node, which tells of their levels and speech.
    pub(super) remote: bool,
    /// As a listener: what is done about their losses.
    pub(super) adaptation: Adaptation,
    connected: bool,
}

/// The events of an endpoint that concern the room.
#[derive(Default)]
pub(super) struct Drained {
    /// ICE and DTLS have just been completed for the first time.
    pub(super) connected: bool,
    /// The endpoint has ended.
    pub(super) closed: Option<CloseReason>,
}

impl Peer {
    pub(super) fn new(id: PeerId, home: ShardIndex, endpoint: Endpoint, speak: bool, listen: bool) -> Peer {
        Peer {
            id,
            endpoint: Port::new(endpoint),
            home,
            speak,
            listen,
            detector: SpeechDetector::default(),
            remote: false,
            adaptation: Adaptation::default(),
            connected: false,
        }
    }

    /// A participant without a transport, who hears nobody.
    pub(super) fn source(id: PeerId, home: ShardIndex, speak: bool) -> Peer {
        Peer {
            id,
            endpoint: Port::none(),
            home,
            speak,
            listen: false,
            detector: SpeechDetector::default(),
            remote: false,
            adaptation: Adaptation::default(),
            connected: true,
        }
    }

    /// A participant who is on another media node.
    pub(super) fn remote(id: PeerId, home: ShardIndex, speak: bool) -> Peer {
        Peer {
            remote: true,
            ..Peer::source(id, home, speak)
        }
    }

    /// A participant without a transport, whom nobody hears.
    pub(super) fn tap(id: PeerId, home: ShardIndex, tap: TapPort) -> Peer {
        Peer {
            id,
            listen: tap.listens(),
            endpoint: Port::tap(tap),
            home,
            speak: false,
            detector: SpeechDetector::default(),
            remote: false,
            adaptation: Adaptation::default(),
            connected: true,
        }
    }

    /// The port of a participant whose room is replayed.
    pub(super) fn replayed(id: PeerId, home: ShardIndex, port: ReplayedPort, speak: bool, listen: bool) -> Peer {
        Peer {
            endpoint: Port::replayed(port),
            listen,
            connected: false,
            ..Peer::source(id, home, speak)
        }
    }

    /// Moves the endpoint's events and datagrams on.
    pub(super) fn drain(
        &mut self,
        room: RoomId,
        context: &mut ShardContext,
        recorder: &mut Option<Box<Recorder>>,
    ) -> Drained {
        let mut drained = Drained::default();
        let destination = (room, self.id);
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                TransportEvent::AddressValidated(address) => {
                    context.route(self.home, destination, Route::Address(address));
                }
                TransportEvent::AddressRetired(address) => {
                    context.route(self.home, destination, Route::RetireAddress(address));
                }
                TransportEvent::UfragRetired(ufrag) => {
                    context.route(self.home, destination, Route::RetireUfrag(ufrag));
                }
                TransportEvent::Connected => {
                    if self.connect() {
                        drained.connected = true;
                        if let Some(recorder) = recorder {
                            recorder.write(Input::Connected { peer: self.id });
                        }
                        context.events.push_back(Event::Connected { room, peer: self.id });
                    }
                }
                TransportEvent::RemoteStats(report) => {
                    let sent = self.endpoint.stats().packets_out;
                    if let Some(recorder) = recorder {
                        recorder.write(Input::Report {
                            peer: self.id,
                            lost: report.fraction_lost,
                            round_trip: report.round_trip,
                            sent,
                        });
                    }
                    self.take_report(&report, sent);
                }
                TransportEvent::Closed(reason) => drained.closed = Some(reason),
            }
        }
        while let Some(transmit) = self.endpoint.poll_transmit() {
            context.outbox_of(self.home).push(transmit.to, &transmit.data);
        }
        drained
    }

    /// As [`Port::send_slot`].
    pub(super) fn send_slot(
        &mut self,
        now: Instant,
        slot: usize,
        audio: &SlotOut<'_>,
        context: &mut ShardContext,
    ) -> bool {
        let sent = self.endpoint.send_slot(now, slot, audio, context.outbox_of(self.home));
        let due = [context.packed_due, self.endpoint.packed_due()];
        context.packed_due = due.into_iter().flatten().min();
        sent
    }

    /// ICE and DTLS are done. Whether that is the first time.
    pub(super) fn connect(&mut self) -> bool {
        !std::mem::replace(&mut self.connected, true)
    }

    /// Takes their report of losses; `sent` packets were sent to them until then.
    pub(super) fn take_report(&mut self, report: &RemoteStats, sent: u64) {
        self.adaptation.report(report, self.takes(), sent);
        self.endpoint.set_copies(self.adaptation.copies());
        self.endpoint.suspend_packing(self.adaptation.repairs());
    }

    /// Their endpoint has answered another offer.
    pub(super) fn renegotiate(&mut self) {
        self.endpoint.renegotiate();
        // Packing that begins with it doesn't know of their losses.
        self.endpoint.suspend_packing(self.adaptation.repairs());
    }

    /// The channels of a mix for them: stereo if they asked for it and the room has it.
    pub(super) fn channels(&self) -> Channels {
        if self.endpoint.sends_stereo() {
            Channels::Stereo
        } else {
            Channels::Mono
        }
    }

    fn takes(&self) -> Takes {
        match (self.endpoint.takes_red(), self.channels()) {
            (true, _) => Takes::Copies,
            (false, Channels::Mono) => Takes::Fec,
            (false, Channels::Stereo) => Takes::Neither,
        }
    }

    /// Whether a mix of the others is made for them.
    pub(super) fn hears(&self) -> bool {
        self.listen && self.connected && self.endpoint.can_send()
    }

    /// Their figures.
    pub(super) fn stats(&self, now: Instant, playout: &PlayoutStats, private_mix: bool) -> PeerStats {
        let transport = self.endpoint.stats();
        let (silent, silent_after_media) = self.endpoint.silence(now);
        let ms = |duration: Duration| duration.as_secs_f64() * 1000.0;
        PeerStats {
            connected: self.connected,
            packets_in: transport.packets_in,
            bytes_in: transport.bytes_in,
            packets_out: transport.packets_out,
            bytes_out: transport.bytes_out,
            rejected: transport.auth_failures + transport.replayed + transport.unknown_ssrc + transport.malformed,
            oversized: transport.oversized,
            lost_in: u64::try_from(transport.lost).unwrap_or(0),
            copies_in: transport.copies_in,
            restored_in: transport.restored,
            recovered: playout.fec,
            concealed: playout.concealed,
            late: playout.late,
            stretched_ms: (playout.inserted_samples + playout.removed_samples) as f64 / SAMPLES_PER_MS,
            jitter_ms: ms(transport.jitter),
            buffer_target_ms: ms(playout.target_delay),
            buffer_ms: ms(playout.current_delay),
            round_trip_ms: transport.round_trip.map(ms),
            fraction_lost_out: transport.remote_fraction_lost.map(f64::from),
            redundancy: if self.endpoint.takes_red() {
                self.adaptation.copies() as u8
            } else {
                0
            },
            copies_out: transport.copies_out,
            reduced_bitrate: self.adaptation.step().bitrate(),
            remote_jitter_ms: transport.remote_jitter.map(ms),
            first_in_ms: transport.first_in.map(ms),
            first_out_ms: transport.first_out.map(ms),
            silent_ms: ms(silent),
            silent_after_media,
            private_mix,
            passed_through: false,
            auto_gain_db: 0.0,
        }
    }
}
