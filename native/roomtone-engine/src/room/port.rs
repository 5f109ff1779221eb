//! The way of a participant to the network: a transport endpoint, or none for a source, which nobody sends anything to. A tap has a queue
//! in place of it, and a participant who is replayed what was recorded of theirs.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use roomtone_transport::{Endpoint, EndpointStats, Event, Outbox, Packet, RtpIn, SlotOut, StreamOrigin, Transmit};

use super::packing::Packing;
use super::tap::TapPort;
use crate::command::PeerId;
use crate::inputs::{Facts, Fingerprint, ReplayedPort};

/// An endpoint, or its absence. Without one nothing is ever due, sent or received, but what a tap takes.
pub(super) struct Port {
    kind: PortKind,
    /// Of a client that wants longer packets.
    packing: Option<Box<Packing>>,
    /// While the inputs of the room are recorded, and when they are replayed.
    noted: Option<Box<Noted>>,
}

// Nearly all of them are endpoints, and these stand side by side.
#[allow(clippy::large_enum_variant)]
enum PortKind {
    Absent,
    Endpoint(Endpoint),
    Tap(Box<TapPort>),
    Replayed(Box<ReplayedPort>),
}

/// The part of a participant's port that a recording of the room's inputs has.
#[derive(Default)]
struct Noted {
    facts: Facts,
    /// All that was sent.
    sent: Fingerprint,
    /// The number of packets when it was last written down.
    written: u64,
}

impl Port {
    /// The port of a participant with a transport.
    pub(super) fn new(endpoint: Endpoint) -> Port {
        let mut port = Port::of(PortKind::Endpoint(endpoint));
        port.renegotiate();
        port
    }

    /// The port of a source.
    pub(super) fn none() -> Port {
        Port::of(PortKind::Absent)
    }

    /// The port of a tap.
    pub(super) fn tap(tap: TapPort) -> Port {
        Port::of(PortKind::Tap(Box::new(tap)))
    }

    /// The port of a participant whose room is replayed.
    pub(super) fn replayed(port: ReplayedPort) -> Port {
        let mut port = Port::of(PortKind::Replayed(Box::new(port)));
        port.noted = Some(Box::default());
        port
    }

    fn of(kind: PortKind) -> Port {
        Port {
            kind,
            packing: None,
            noted: None,
        }
    }

    /// The endpoint has answered another offer: its client may want packets of another length.
    pub(super) fn renegotiate(&mut self) {
        let PortKind::Endpoint(endpoint) = &self.kind else {
            return;
        };
        let wanted = (0..endpoint.slots().max(1)).map(|slot| (endpoint.packet_ms(slot), endpoint.next_number(slot)));
        match &mut self.packing {
            Some(packing) => packing.renegotiate(wanted),
            None => self.packing = Packing::new(wanted),
        }
    }

    /// Whether packets to them may wait for those that follow.
    pub(super) fn packs(&self) -> bool {
        self.packing.is_some()
    }

    /// Packets to them don't wait while `suspended`.
    pub(super) fn suspend_packing(&mut self, suspended: bool) {
        if let Some(packing) = &mut self.packing {
            packing.suspend(suspended);
        }
    }

    /// When [`Port::send_packed`] has something to send.
    pub(super) fn packed_due(&self) -> Option<Instant> {
        self.packing.as_ref()?.next()
    }

    /// Sends the packets that have waited for long enough.
    pub(super) fn send_packed(&mut self, now: Instant, out: &mut Outbox) {
        if let (Some(packing), PortKind::Endpoint(endpoint)) = (&mut self.packing, &mut self.kind) {
            packing.send_due(now, |slot, audio| endpoint.send_slot(now, slot, audio, out));
        }
    }

    /// Whether it is a tap that takes the packets of a talker.
    pub(super) fn tap_takes(&self, talker: PeerId) -> bool {
        match &self.kind {
            PortKind::Tap(tap) => tap.takes(talker),
            _ => false,
        }
    }

    fn endpoint(&self) -> Option<&Endpoint> {
        match &self.kind {
            PortKind::Endpoint(endpoint) => Some(endpoint),
            _ => None,
        }
    }

    /// The endpoint, where there is one.
    pub(super) fn endpoint_mut(&mut self) -> Option<&mut Endpoint> {
        match &mut self.kind {
            PortKind::Endpoint(endpoint) => Some(endpoint),
            _ => None,
        }
    }

    /// The replayed port, where there is one.
    pub(super) fn replayed_mut(&mut self) -> Option<&mut ReplayedPort> {
        match &mut self.kind {
            PortKind::Replayed(port) => Some(port),
            _ => None,
        }
    }

    /// The tap, where there is one.
    pub(super) fn tap_mut(&mut self) -> Option<&mut TapPort> {
        match &mut self.kind {
            PortKind::Tap(tap) => Some(tap),
            _ => None,
        }
    }

    /// Takes the tap out, to be put back by [`Port::put_tap`].
    pub(super) fn take_tap(&mut self) -> Option<Box<TapPort>> {
        match std::mem::replace(&mut self.kind, PortKind::Absent) {
            PortKind::Tap(tap) => Some(tap),
            other => {
                self.kind = other;
                None
            }
        }
    }

    /// Puts a tap back.
    pub(super) fn put_tap(&mut self, tap: Box<TapPort>) {
        self.kind = PortKind::Tap(tap);
    }

    // The facts that a recording of the room's inputs has to have of an endpoint.
    fn facts(&self) -> Option<Facts> {
        let endpoint = self.endpoint()?;
        Some(Facts {
            slots: endpoint.slots() as u32,
            connected: endpoint.is_connected(),
            can_send: endpoint.can_send(),
            has_address: endpoint.has_address(),
            stereo: endpoint.sends_stereo(),
            red: endpoint.takes_red(),
            max_bitrate: endpoint.max_average_bitrate(),
        })
    }

    /// From now on the facts of the endpoint and what is sent are noted. The facts, where there are any.
    pub(super) fn begin_notes(&mut self) -> Option<Facts> {
        let facts = self.facts()?;
        self.noted = Some(Box::new(Noted {
            facts,
            ..Noted::default()
        }));
        Some(facts)
    }

    /// The facts, if they have changed since they were last noted.
    pub(super) fn changed_facts(&mut self) -> Option<Facts> {
        self.noted.as_ref()?;
        let facts = self.facts()?;
        let noted = self.noted.as_mut()?;
        (std::mem::replace(&mut noted.facts, facts) != facts).then_some(facts)
    }

    /// Where the numbers of the streams to them begin.
    pub(super) fn origins(&self) -> impl Iterator<Item = StreamOrigin> {
        self.endpoint().into_iter().flat_map(Endpoint::origins)
    }

    /// All that was sent, if notes are taken and anything was sent since this was last asked for.
    pub(super) fn take_sent(&mut self) -> Option<Fingerprint> {
        let noted = self.noted.as_mut()?;
        let news = noted.sent.packets != noted.written;
        noted.written = noted.sent.packets;
        news.then_some(noted.sent)
    }

    /// All that was sent while notes were taken.
    pub(super) fn sent(&self) -> Fingerprint {
        self.noted.as_ref().map(|noted| noted.sent).unwrap_or_default()
    }

    fn listening_tap(&self) -> Option<&TapPort> {
        match &self.kind {
            PortKind::Tap(tap) => Some(tap.as_ref()).filter(|tap| tap.listens()),
            _ => None,
        }
    }

    /// As [`Endpoint::slots`].
    pub(super) fn slots(&self) -> usize {
        match &self.kind {
            PortKind::Endpoint(endpoint) => endpoint.slots(),
            PortKind::Replayed(port) => port.facts.slots as usize,
            PortKind::Tap(_) | PortKind::Absent => 0,
        }
    }

    /// As [`Endpoint::is_connected`].
    pub(super) fn is_connected(&self) -> bool {
        match &self.kind {
            PortKind::Endpoint(endpoint) => endpoint.is_connected(),
            PortKind::Replayed(port) => port.facts.connected,
            PortKind::Tap(_) | PortKind::Absent => false,
        }
    }

    /// As [`Endpoint::can_send`].
    pub(super) fn can_send(&self) -> bool {
        match &self.kind {
            PortKind::Endpoint(endpoint) => endpoint.can_send(),
            PortKind::Replayed(port) => port.facts.can_send,
            PortKind::Tap(_) | PortKind::Absent => self.listening_tap().is_some(),
        }
    }

    /// As [`Endpoint::sends_stereo`].
    pub(super) fn sends_stereo(&self) -> bool {
        match &self.kind {
            PortKind::Endpoint(endpoint) => endpoint.sends_stereo(),
            PortKind::Replayed(port) => port.facts.stereo,
            PortKind::Tap(_) | PortKind::Absent => self.listening_tap().is_some_and(TapPort::stereo),
        }
    }

    /// As [`Endpoint::max_average_bitrate`].
    pub(super) fn max_average_bitrate(&self) -> Option<u32> {
        match &self.kind {
            PortKind::Endpoint(endpoint) => endpoint.max_average_bitrate(),
            PortKind::Replayed(port) => port.facts.max_bitrate,
            PortKind::Tap(_) | PortKind::Absent => None,
        }
    }

    /// As [`Endpoint::takes_red`].
    pub(super) fn takes_red(&self) -> bool {
        match &self.kind {
            PortKind::Endpoint(endpoint) => endpoint.takes_red(),
            PortKind::Replayed(port) => port.facts.red,
            PortKind::Tap(_) | PortKind::Absent => false,
        }
    }

    /// As [`Endpoint::set_copies`].
    pub(super) fn set_copies(&mut self, copies: usize) {
        if let Some(endpoint) = self.endpoint_mut() {
            endpoint.set_copies(copies);
        }
    }

    /// As [`Endpoint::local_ufrags`].
    pub(super) fn local_ufrags(&self) -> impl Iterator<Item = &str> {
        self.endpoint().into_iter().flat_map(Endpoint::local_ufrags)
    }

    /// As [`Endpoint::addresses`].
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.endpoint().into_iter().flat_map(Endpoint::addresses)
    }

    /// As [`Endpoint::send_slot`]. The packet may wait for those that follow.
    pub(super) fn send_slot(&mut self, now: Instant, slot: usize, audio: &SlotOut<'_>, out: &mut Outbox) -> bool {
        let sent = match &mut self.kind {
            PortKind::Absent => false,
            PortKind::Endpoint(endpoint) => match &mut self.packing {
                Some(packing) if endpoint.can_send_slot(slot) => {
                    packing.take(now, slot, audio, |audio| endpoint.send_slot(now, slot, audio, out))
                }
                _ => endpoint.send_slot(now, slot, audio, out),
            },
            PortKind::Tap(tap) => {
                tap.send(now, audio);
                true
            }
            PortKind::Replayed(port) => port.send_slot(now, slot, audio),
        };
        if sent && let Some(noted) = &mut self.noted {
            noted.sent.add(slot, audio);
        }
        sent
    }

    /// As [`Endpoint::handle_packet`].
    pub(super) fn handle_packet<'d>(
        &mut self,
        now: Instant,
        from: SocketAddr,
        packet: Packet<'d>,
    ) -> Option<RtpIn<'d>> {
        self.endpoint_mut()?.handle_packet(now, from, packet)
    }

    /// As [`Endpoint::handle_timeout`].
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let Some(endpoint) = self.endpoint_mut() {
            endpoint.handle_timeout(now);
        }
    }

    /// As [`Endpoint::poll_timeout`].
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.endpoint()?.poll_timeout()
    }

    /// As [`Endpoint::poll_event`].
    pub(super) fn poll_event(&mut self) -> Option<Event> {
        self.endpoint_mut()?.poll_event()
    }

    /// As [`Endpoint::poll_transmit`].
    pub(super) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.endpoint_mut()?.poll_transmit()
    }

    /// As [`Endpoint::close`].
    pub(super) fn close(&mut self, now: Instant) {
        if let Some(endpoint) = self.endpoint_mut() {
            endpoint.close(now);
        }
    }

    /// As [`Endpoint::stats`]; all zeros for a source.
    pub(super) fn stats(&self) -> EndpointStats {
        self.endpoint().map(Endpoint::stats).unwrap_or_default()
    }

    /// As [`Endpoint::silence`]. A source has no connection that could go silent.
    pub(super) fn silence(&self, now: Instant) -> (Duration, bool) {
        self.endpoint()
            .map_or((Duration::ZERO, false), |endpoint| endpoint.silence(now))
    }
}
