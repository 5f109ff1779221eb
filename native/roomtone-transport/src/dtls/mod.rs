//! DTLS 1.2: the handshake that makes the SRTP keys.
//!
//! The codec and the state machine are `rtc::dtls`; here are its limits, the choice of the SRTP
//! profile, the check of the peer's fingerprint, retransmission, and which of two associations is
//! in use.

mod association;
mod certificate;
mod filter;
mod hello;
mod transcript;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;

use association::{Association, Terms};
pub use certificate::{Certificate, CertificateError};

use crate::config::TransportConfig;
use crate::sdp::Fingerprints;
use crate::srtp::Srtp;

/// Handshakes that a ClientHello may begin beside an association, or in place of an unfinished one:
/// at most one in this time.
const HELLO_INTERVAL: Duration = Duration::from_secs(1);
/// A handshake whose client has answered our cookie isn't given up for another hello before this.
const PATIENCE: Duration = Duration::from_secs(10);

/// Our part in the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The peer begins.
    Server,
    /// We begin: the offer has `a=setup:passive`.
    Client,
}

/// The outcome of a datagram.
pub(crate) enum DtlsEvent {
    /// There are keys, the first or new ones.
    Connected(Box<Srtp>),
    /// The peer closed: its close_notify or a fatal alert under the session's keys.
    Closed,
    Failed,
    FingerprintMismatch,
}

/// The DTLS of an endpoint.
///
/// As a rule there is one association. A client that has begun anew, and has nothing left of it,
/// sends a ClientHello: then a second one shakes hands beside it, and takes its place once that has
/// succeeded (RFC 6347 section 4.2.8). Until then the first
/// stays in use: a forged source address alone can't end it.
pub(crate) struct Dtls {
    terms: Terms,
    role: Role,
    current: Association,
    next: Option<Box<Association>>,
    /// When the newest handshake began.
    begun: Option<Instant>,
    /// A client's handshake is to be begun as soon as there is an address to send to.
    connecting: bool,
    give_up_after: Duration,
    dropped: u64,
}

impl Dtls {
    pub(crate) fn new(
        role: Role,
        certificate: Arc<Certificate>,
        fingerprints: Fingerprints,
        config: &TransportConfig,
    ) -> Self {
        let terms = Terms::new(certificate, fingerprints, config);
        Self {
            current: Association::new(role, &terms),
            next: None,
            begun: None,
            connecting: role == Role::Client,
            give_up_after: config.handshake_timeout,
            dropped: 0,
            terms,
            role,
        }
    }

    /// Does a new offer name the same certificate?
    pub(crate) fn expects(&self, fingerprints: &Fingerprints) -> bool {
        self.terms.fingerprints == *fingerprints
    }

    /// Our part in the handshake.
    pub(crate) fn role(&self) -> Role {
        self.role
    }

    /// The peer has said that it begins a new connection. The old association stays until the new
    /// one is there.
    pub(crate) fn renew(&mut self, role: Role) {
        self.role = role;
        self.connecting = role == Role::Client;
        self.begun = None;
        self.drop_next();
        if !self.current.is_connected() {
            self.replace_current(Association::new(role, &self.terms));
        }
    }

    /// Has a handshake to be begun by us?
    pub(crate) fn wants_to_connect(&self) -> bool {
        self.connecting
    }

    /// Begins the handshake as its client.
    pub(crate) fn connect(&mut self, now: Instant) -> Option<DtlsEvent> {
        self.connecting = false;
        if !self.current.is_connected() {
            return self.current.connect(now, &self.terms);
        }
        let mut next = Association::new(Role::Client, &self.terms);
        let event = next.connect(now, &self.terms);
        self.begun = Some(now);
        self.next = Some(Box::new(next));
        event.and_then(|event| self.settle(event))
    }

    /// Takes a datagram from a validated address.
    pub(crate) fn handle(&mut self, now: Instant, datagram: &[u8]) -> Option<DtlsEvent> {
        if self.role == Role::Server {
            self.greet(now, datagram);
        }
        // An alert under keys is of the association that has them.
        let to_next = !self.current.is_connected() || filter::is_handshake(datagram);
        match self.next.as_mut().filter(|_| to_next) {
            Some(next) => {
                let event = next.handle(now, datagram, &self.terms)?;
                self.settle(event)
            }
            None => self.current.handle(now, datagram, &self.terms),
        }
    }

    // Makes room for a client that begins anew.
    fn greet(&mut self, now: Instant, datagram: &[u8]) {
        let newest = self.next.as_deref().unwrap_or(&self.current);
        let Some(random) = filter::first_random(datagram) else {
            return;
        };
        if newest.is_idle() {
            self.begun = Some(now);
            return;
        }
        if [self.current.random(), newest.random()].contains(&Some(random)) {
            return;
        }
        let wait = match newest.is_connected() {
            false if newest.is_reachable() => PATIENCE,
            _ => HELLO_INTERVAL,
        };
        if self
            .begun
            .is_some_and(|begun| now.saturating_duration_since(begun) < wait)
        {
            return;
        }
        self.begun = Some(now);
        let fresh = Association::new(Role::Server, &self.terms);
        if self.current.is_connected() {
            self.drop_next();
            self.next = Some(Box::new(fresh));
        } else {
            self.replace_current(fresh);
        }
    }

    // Takes the outcome of the handshake beside the association.
    fn settle(&mut self, event: DtlsEvent) -> Option<DtlsEvent> {
        match event {
            DtlsEvent::Connected(srtp) => {
                if let Some(next) = self.next.take() {
                    self.replace_current(*next);
                }
                Some(DtlsEvent::Connected(srtp))
            }
            // It leaves the association as it was.
            DtlsEvent::Closed | DtlsEvent::Failed | DtlsEvent::FingerprintMismatch => None,
        }
    }

    fn replace_current(&mut self, fresh: Association) {
        self.dropped += std::mem::replace(&mut self.current, fresh).dropped;
    }

    fn drop_next(&mut self) {
        self.dropped += self.next.take().map_or(0, |next| next.dropped);
    }

    /// Datagrams that weren't looked at.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped + self.current.dropped + self.next.as_ref().map_or(0, |next| next.dropped)
    }

    pub(crate) fn poll_transmit(&mut self) -> Option<BytesMut> {
        let current = self.current.poll_transmit();
        current.or_else(|| self.next.as_mut()?.poll_transmit())
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let next = self.next.as_ref();
        let given_up = next.and(self.begun).map(|begun| begun + self.give_up_after);
        [
            self.current.poll_timeout(),
            next.and_then(|next| next.poll_timeout()),
            given_up,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Sends flights again, and gives up a handshake beside the association that leads nowhere.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        let given_up = self.begun.is_some_and(|begun| begun + self.give_up_after <= now);
        if given_up {
            self.drop_next();
        }
        self.current.handle_timeout(now);
        if let Some(next) = self.next.as_mut() {
            next.handle_timeout(now);
        }
    }

    /// Says close_notify, where there is a session to close.
    pub(crate) fn close(&mut self, now: Instant) {
        self.drop_next();
        self.connecting = false;
        self.current.close(now);
    }
}
