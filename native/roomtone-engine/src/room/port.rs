//! The way of a participant to the network: a transport endpoint, or none for a source, which nobody sends anything to. A tap has a queue
//! in place of it.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use roomtone_transport::{Endpoint, EndpointStats, Event, Outbox, Packet, RtpIn, SlotOut, Transmit};

use super::tap::TapPort;

/// An endpoint, or its absence. Without one nothing is ever due, sent or received, but what a tap takes.
pub(super) struct Port(Option<Endpoint>, Option<Box<TapPort>>);

impl Port {
    /// The port of a participant with a transport.
    pub(super) fn new(endpoint: Endpoint) -> Port {
        Port(Some(endpoint), None)
    }

    /// The port of a source.
    pub(super) fn none() -> Port {
        Port(None, None)
    }

    /// The port of a tap.
    pub(super) fn tap(tap: TapPort) -> Port {
        Port(None, Some(Box::new(tap)))
    }

    /// The tap, where there is one.
    pub(super) fn tap_mut(&mut self) -> Option<&mut TapPort> {
        self.1.as_deref_mut()
    }

    /// Takes the tap out, to be put back by [`Port::put_tap`].
    pub(super) fn take_tap(&mut self) -> Option<Box<TapPort>> {
        self.1.take()
    }

    /// Puts a tap back.
    pub(super) fn put_tap(&mut self, tap: Box<TapPort>) {
        self.1 = Some(tap);
    }

    fn listening_tap(&self) -> Option<&TapPort> {
        self.1.as_deref().filter(|tap| tap.listens())
    }

    /// The endpoint, where there is one.
    pub(super) fn endpoint_mut(&mut self) -> Option<&mut Endpoint> {
        self.0.as_mut()
    }

    /// As [`Endpoint::slots`].
    pub(super) fn slots(&self) -> usize {
        self.0.as_ref().map_or(0, Endpoint::slots)
    }

    /// As [`Endpoint::is_connected`].
    pub(super) fn is_connected(&self) -> bool {
        self.0.as_ref().is_some_and(Endpoint::is_connected)
    }

    /// As [`Endpoint::can_send`].
    pub(super) fn can_send(&self) -> bool {
        self.listening_tap().is_some() || self.0.as_ref().is_some_and(Endpoint::can_send)
    }

    /// As [`Endpoint::sends_stereo`].
    pub(super) fn sends_stereo(&self) -> bool {
        self.listening_tap().is_some_and(TapPort::stereo) || self.0.as_ref().is_some_and(Endpoint::sends_stereo)
    }

    /// As [`Endpoint::max_average_bitrate`].
    pub(super) fn max_average_bitrate(&self) -> Option<u32> {
        self.0.as_ref().and_then(Endpoint::max_average_bitrate)
    }

    /// As [`Endpoint::takes_red`].
    pub(super) fn takes_red(&self) -> bool {
        self.0.as_ref().is_some_and(Endpoint::takes_red)
    }

    /// As [`Endpoint::set_copies`].
    pub(super) fn set_copies(&mut self, copies: usize) {
        if let Some(endpoint) = &mut self.0 {
            endpoint.set_copies(copies);
        }
    }

    /// As [`Endpoint::local_ufrags`].
    pub(super) fn local_ufrags(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(Endpoint::local_ufrags)
    }

    /// As [`Endpoint::addresses`].
    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.0.iter().flat_map(Endpoint::addresses)
    }

    /// As [`Endpoint::send_slot`].
    pub(super) fn send_slot(&mut self, now: Instant, slot: usize, audio: &SlotOut<'_>, out: &mut Outbox) -> bool {
        if let Some(tap) = &mut self.1 {
            tap.send(now, audio);
            return true;
        }
        self.0
            .as_mut()
            .is_some_and(|endpoint| endpoint.send_slot(now, slot, audio, out))
    }

    /// As [`Endpoint::handle_packet`].
    pub(super) fn handle_packet<'d>(
        &mut self,
        now: Instant,
        from: SocketAddr,
        packet: Packet<'d>,
    ) -> Option<RtpIn<'d>> {
        self.0.as_mut()?.handle_packet(now, from, packet)
    }

    /// As [`Endpoint::handle_timeout`].
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        if let Some(endpoint) = &mut self.0 {
            endpoint.handle_timeout(now);
        }
    }

    /// As [`Endpoint::poll_timeout`].
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.0.as_ref()?.poll_timeout()
    }

    /// As [`Endpoint::poll_event`].
    pub(super) fn poll_event(&mut self) -> Option<Event> {
        self.0.as_mut()?.poll_event()
    }

    /// As [`Endpoint::poll_transmit`].
    pub(super) fn poll_transmit(&mut self) -> Option<Transmit> {
        self.0.as_mut()?.poll_transmit()
    }

    /// As [`Endpoint::close`].
    pub(super) fn close(&mut self, now: Instant) {
        if let Some(endpoint) = &mut self.0 {
            endpoint.close(now);
        }
    }

    /// As [`Endpoint::stats`]; all zeros for a source.
    pub(super) fn stats(&self) -> EndpointStats {
        self.0.as_ref().map(Endpoint::stats).unwrap_or_default()
    }

    /// As [`Endpoint::silence`]. A source has no connection that could go silent.
    pub(super) fn silence(&self, now: Instant) -> (Duration, bool) {
        self.0
            .as_ref()
            .map_or((Duration::ZERO, false), |endpoint| endpoint.silence(now))
    }
}
