//! A light WebRTC client without I/O: ICE controlling, DTLS active, SRTP, RTCP, one Opus m-line.
//!
//! The contract, the same as that of the server's endpoint: feed it datagrams ([`ClientPeer::handle_datagram`]) and
//! time ([`ClientPeer::handle_timeout`], due at [`ClientPeer::poll_timeout`]); after *every* call drain
//! [`ClientPeer::poll_transmit`] and [`ClientPeer::poll_event`]. It reads no clock: the same calls do the same on any
//! machine, but for keys and random identifiers.
//!
//! ```
//! use std::time::Instant;
//! use roomtone_testkit::peer::{ClientOptions, ClientPeer};
//!
//! # fn main() -> Result<(), roomtone_testkit::peer::ClientError> {
//! let now = Instant::now();
//! let mut peer = ClientPeer::new(now, ClientOptions::default())?;
//! assert!(peer.offer().contains("m=audio 9 UDP/TLS/RTP/SAVPF 111"));
//! // peer.accept_answer(now, &answer)?; then carry datagrams both ways.
//! assert!(peer.poll_transmit().is_none());
//! # Ok(())
//! # }
//! ```

mod crypt;
mod event;
mod ice;
mod identity;
mod inspect;
mod nack;
mod options;
mod red;
mod rng;
mod rtcp;
mod rtp;
mod sdp;

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;

pub use event::{Audio, CloseReason, Event, Level, Reported, SenderReport, Stats, StreamStats};
pub use identity::Identity;
pub use options::{ClientOptions, Direction, Profiles};
pub use rtp::TrackLoss;

use crypt::{Crypt, Progress};
use ice::{Consent, Credentials, Ice};
use rng::Rng;
use sdp::Answer;

/// Sources that a client keeps statistics of; a mixer sends one, a forwarder a few.
const MAX_STREAMS: usize = 64;

/// Why a client can't be made or can't go on.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The crypto library refused something.
    #[error("cryptography: {0}")]
    Crypto(String),
    /// The server's answer can't be used.
    #[error("the SDP answer can't be used: {0}")]
    Answer(String),
    /// The connection is over.
    #[error("the connection is closed")]
    Closed,
}

/// A WebRTC client; see the [module](self).
pub struct ClientPeer {
    options: ClientOptions,
    identity: Identity,
    created: Instant,
    session: u64,
    version: u32,
    ssrc: u32,
    seq: u16,
    rng: Rng,
    ice: Ice,
    /// The generation of an ICE restart, until one of its pairs is nominated.
    next_ice: Option<Ice>,
    answer: Option<Answer>,
    answered_at: Option<Instant>,
    crypt: Option<Crypt>,
    next_report: Option<Instant>,
    sent: rtcp::Sent,
    streams: Vec<rtp::Stream>,
    history: red::History,
    resend: nack::History,
    missing: nack::Missing,
    /// The sequence number that came last, by source.
    newest: HashMap<u32, u16>,
    stats: Stats,
    connected: bool,
    closed: bool,
    silent: bool,
    scratch: Vec<u8>,
    transmits: VecDeque<(SocketAddr, Bytes)>,
    events: VecDeque<Event>,
}

impl ClientPeer {
    /// Makes a client that hasn't met its server yet.
    pub fn new(now: Instant, options: ClientOptions) -> Result<ClientPeer, ClientError> {
        let identity = match &options.identity {
            Some(identity) => identity.clone(),
            None => Identity::shared()?,
        };
        let ssrc = options.ssrc.unwrap_or_else(rand::random);
        Ok(ClientPeer {
            created: now,
            session: u64::from(rand::random::<u32>()),
            version: 1,
            ssrc,
            // The upper half is left out, so that a wrap-around is seen when a test asks for it, not by chance.
            seq: options.first_seq.unwrap_or_else(|| rand::random::<u16>() >> 1),
            rng: Rng::new(ssrc),
            ice: Ice::new(identity.provider().clone()),
            next_ice: None,
            answer: None,
            answered_at: None,
            crypt: None,
            next_report: None,
            sent: rtcp::Sent::default(),
            streams: Vec::new(),
            history: red::History::default(),
            resend: nack::History::default(),
            missing: nack::Missing::default(),
            newest: HashMap::new(),
            stats: Stats::default(),
            connected: false,
            closed: false,
            silent: false,
            scratch: Vec::new(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            identity,
            options,
        })
    }

    /// The SDP offer. The same text until [`restart`](Self::restart).
    pub fn offer(&self) -> String {
        let local = &self.next_ice.as_ref().unwrap_or(&self.ice).local;
        let fingerprint = self
            .options
            .claim_fingerprint
            .clone()
            .unwrap_or_else(|| self.identity.fingerprint());
        sdp::offer(&sdp::OfferParts {
            options: &self.options,
            session: self.session,
            version: self.version,
            ufrag: &local.ufrag,
            pwd: &local.pwd,
            fingerprint: &fingerprint,
            ssrc: self.ssrc,
        })
    }

    /// Takes the server's answer and begins to connect, or to move on after a [`restart`](Self::restart).
    pub fn accept_answer(&mut self, now: Instant, answer: &str) -> Result<(), ClientError> {
        if self.closed {
            return Err(ClientError::Closed);
        }
        let mut answer = Answer::parse(answer)?;
        let own = &self.options.candidates;
        if !own.is_empty() {
            answer
                .candidates
                .retain(|theirs| own.iter().any(|ours| ours.is_ipv4() == theirs.is_ipv4()));
            if answer.candidates.is_empty() {
                return Err(ClientError::Answer("no candidate of our address family".into()));
            }
        }
        let remote = Credentials {
            ufrag: answer.ufrag.clone(),
            pwd: answer.pwd.clone(),
        };
        match &self.answer {
            None => {
                self.ice.start(now, remote, &answer.candidates);
                self.answered_at = Some(now);
            }
            Some(before) if before.fingerprint != answer.fingerprint => {
                return Err(ClientError::Answer("another fingerprint than before".into()));
            }
            Some(_) if self.next_ice.is_none() && self.ice.remote.as_ref() == Some(&remote) => {}
            Some(_) => {
                let next = self.next_ice.get_or_insert_with(|| {
                    let mut next = Ice::new(self.identity.provider().clone());
                    next.local = self.ice.local.clone();
                    next
                });
                next.start(now, remote, &answer.candidates);
            }
        }
        self.answer = Some(answer);
        self.handle_timeout(now);
        Ok(())
    }

    /// Begins an ICE restart and returns the new offer. Sound keeps flowing over the old pair until a new one answers.
    pub fn restart(&mut self, _now: Instant) -> String {
        self.version += 1;
        self.next_ice = Some(Ice::new(self.identity.provider().clone()));
        self.offer()
    }

    /// Takes a datagram that came from `from`. Its bytes may be overwritten.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, data: &mut [u8]) {
        if self.closed || self.silent {
            return;
        }
        match data.first() {
            Some(0..=3) => self.stun(now, from, data),
            Some(20..=63) => self.dtls(now, from, data),
            Some(128..=191) if data.get(1).is_some_and(|kind| (192..=223).contains(kind)) => self.rtcp(now, data),
            Some(128..=191) => self.rtp(now, data),
            _ => self.stats.rejected += 1,
        }
    }

    fn stun(&mut self, now: Instant, from: SocketAddr, data: &[u8]) {
        let consent = self.consent();
        if let Some(next) = &mut self.next_ice
            && let Ok(nominated) = next.handle(now, from, data, consent, &mut self.rng, &mut self.transmits)
        {
            if nominated && let Some(next) = self.next_ice.take() {
                self.ice = next;
                self.begin_dtls(now);
            }
            return;
        }
        match self
            .ice
            .handle(now, from, data, consent, &mut self.rng, &mut self.transmits)
        {
            Ok(true) => self.begin_dtls(now),
            Ok(false) => {}
            Err(_) => self.stats.rejected += 1,
        }
    }

    fn begin_dtls(&mut self, now: Instant) {
        if self.crypt.is_some() {
            return;
        }
        match Crypt::connect(now, &self.identity, self.options.profiles, self.options.dtls_retransmit) {
            Ok(crypt) => self.crypt = Some(crypt),
            Err(error) => self.finish(CloseReason::DtlsFailed(error.to_string())),
        }
        self.flush_dtls();
    }

    fn dtls(&mut self, now: Instant, from: SocketAddr, data: &[u8]) {
        let Some(crypt) = self.crypt.as_mut().filter(|_| self.ice.nominated() == Some(from)) else {
            self.stats.rejected += 1;
            return;
        };
        let expected = self.answer.as_ref().map_or("", |answer| answer.fingerprint.as_str());
        let progress = crypt.handle(now, data, &self.identity, expected);
        self.flush_dtls();
        match progress {
            Progress::Nothing => {}
            Progress::Rejected => self.stats.rejected += 1,
            Progress::Connected => {
                self.connected = true;
                self.stats.connect_time = self.answered_at.map(|at| now.saturating_duration_since(at));
                self.next_report = self.rng.around(now, self.options.report_interval / 2);
                self.events.push_back(Event::Connected);
            }
            Progress::Closed(reason) => self.finish(reason),
        }
    }

    fn flush_dtls(&mut self) {
        let to = self.ice.nominated();
        if let (Some(crypt), Some(to)) = (&mut self.crypt, to) {
            while let Some(data) = crypt.poll_transmit() {
                self.transmits.push_back((to, data));
            }
        }
        self.drop_if_silent();
    }

    fn rtp(&mut self, now: Instant, data: &[u8]) {
        let level_id = self.answer.as_ref().and_then(|answer| answer.level_ext_id);
        let plain = self.crypt.as_mut().and_then(|crypt| crypt.unprotect_rtp(data));
        let Some(audio) = plain.and_then(|plain| rtp::read(&plain, level_id)) else {
            self.stats.rejected += 1;
            return;
        };
        self.stats.packets_received += 1;
        self.stats.bytes_received += data.len() as u64;
        let known = self.streams.iter().any(|stream| stream.ssrc() == audio.ssrc);
        if !known && self.streams.len() < MAX_STREAMS {
            self.streams.push(rtp::Stream::new(now, &audio));
        }
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.ssrc() == audio.ssrc) {
            stream.received(now, &audio);
        }
        let newest = self.newest.get(&audio.ssrc).copied();
        let ahead = newest.is_none_or(|newest| audio.seq.wrapping_sub(newest) < 0x8000);
        if ahead && (known || self.newest.len() < MAX_STREAMS) {
            self.newest.insert(audio.ssrc, audio.seq);
        }
        if self.answer.as_ref().is_some_and(|answer| answer.nack) {
            let gap = newest
                .filter(|_| ahead)
                .map_or(0, |newest| audio.seq.wrapping_sub(newest));
            self.ask(now, &audio, gap.saturating_sub(1));
        }
        if self.answer.as_ref().and_then(|answer| answer.red) != Some(audio.payload_type) {
            self.events.push_back(Event::Audio(audio));
            return;
        }
        let Some((audio, copies)) = red::unpack(audio) else {
            self.stats.rejected += 1;
            return;
        };
        self.stats.red_received += 1;
        self.stats.copies_received += copies.len() as u64;
        let missing = newest.map_or(0, |newest| audio.seq.wrapping_sub(newest).wrapping_sub(1));
        for (back, (offset, payload)) in (1..=copies.len() as u16).rev().zip(copies) {
            if back <= missing && missing < 0x8000 {
                self.events.push_back(Event::Audio(Audio {
                    seq: audio.seq.wrapping_sub(back),
                    timestamp: audio.timestamp.wrapping_sub(offset),
                    marker: false,
                    payload,
                    ..audio.clone()
                }));
            }
        }
        self.events.push_back(Event::Audio(audio));
    }

    // Asks for packets that are missing before this one.
    fn ask(&mut self, now: Instant, audio: &Audio, gap: u16) {
        self.missing.came(audio.ssrc, audio.seq, gap);
        let lost = self.missing.due(now);
        if !lost.is_empty()
            && let Some(plain) = rtcp::nack(self.ssrc, audio.ssrc, &lost)
        {
            self.stats.asked += lost.len() as u64;
            self.send_rtcp_raw(&plain);
        }
    }

    fn rtcp(&mut self, now: Instant, data: &[u8]) {
        let plain = self.crypt.as_mut().and_then(|crypt| crypt.unprotect_rtcp(data));
        let heard =
            plain.and_then(|plain| rtcp::read(self.created, now, self.ssrc, &plain, self.streams.as_mut_slice()));
        let Some(heard) = heard else {
            self.stats.rejected += 1;
            return;
        };
        self.stats.rtcp_received += 1;
        self.stats.last_sender_report = heard.sender_report.or(self.stats.last_sender_report);
        self.stats.reported = heard.reported.or(self.stats.reported);
        for seq in heard.asked {
            if let Some(packet) = self.resend.get(seq) {
                self.stats.resent += 1;
                self.send_datagram(packet);
            }
        }
        if heard.bye {
            self.finish(CloseReason::RemoteBye);
        }
    }

    /// Does what is due. Harmless when nothing is.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.closed {
            return;
        }
        let consent = self.consent();
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            let reason = if self.crypt.is_some() {
                CloseReason::DtlsTimeout
            } else {
                CloseReason::IceTimeout
            };
            return self.finish(reason);
        }
        if self.connected && self.ice.expired(now, consent) {
            return self.finish(CloseReason::ConsentExpired);
        }
        for ice in [Some(&mut self.ice), self.next_ice.as_mut()].into_iter().flatten() {
            ice.handle_timeout(now, consent, &mut self.rng, &mut self.transmits);
        }
        if let Some(Err(reason)) = self.crypt.as_mut().map(|crypt| crypt.handle_timeout(now)) {
            self.finish(reason);
        }
        self.flush_dtls();
        if self.next_report.is_some_and(|at| at <= now) {
            self.next_report = self.rng.around(now, self.options.report_interval);
            let plain = rtcp::report(
                self.created,
                now,
                self.ssrc,
                &self.options.cname,
                &mut self.sent,
                &mut self.streams,
            );
            if let Some(plain) = plain {
                self.send_rtcp_raw(&plain);
            }
        }
        self.drop_if_silent();
    }

    /// The sources of the further m-lines ([`ClientOptions::slots`]) that the server took, in their order.
    pub fn slot_ssrcs(&self) -> &[u32] {
        self.answer.as_ref().map_or(&[], |answer| &answer.slots)
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.closed {
            return None;
        }
        let consent = self.consent();
        [
            self.deadline(),
            self.ice.poll_timeout(consent),
            self.next_ice.as_ref().and_then(|ice| ice.poll_timeout(consent)),
            self.crypt.as_ref().and_then(Crypt::poll_timeout),
            self.next_report,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn deadline(&self) -> Option<Instant> {
        self.answered_at
            .filter(|_| !self.connected)
            .and_then(|at| at.checked_add(self.options.connect_timeout))
    }

    fn consent(&self) -> Consent {
        Consent {
            interval: self.options.consent_interval,
            timeout: self.options.consent_timeout,
        }
    }

    /// The next datagram to send, and where to.
    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, Bytes)> {
        self.transmits.pop_front()
    }

    /// The next thing to know.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Leaves out the next sequence numbers, as if these packets were sent and lost.
    pub fn leave_out(&mut self, packets: u16) {
        self.seq = self.seq.wrapping_add(packets);
    }

    /// Sends one Opus packet. The timestamp goes out as it is; the sequence number is ours. False when not connected,
    /// or when the direction has no sound going out.
    pub fn send_opus(
        &mut self,
        now: Instant,
        timestamp: u32,
        marker: bool,
        level: Option<Level>,
        payload: &[u8],
    ) -> bool {
        if !self.options.direction.sends() {
            return false;
        }
        let Some(answer) = self.answer.as_ref().filter(|_| self.connected && !self.closed) else {
            return false;
        };
        let id = answer.level_ext_id.filter(|_| self.options.level_ext);
        let copies = self.options.red_copies;
        let (payload_type, packed) = match answer.red.filter(|_| copies > 0) {
            Some(red) => (
                red,
                Some(self.history.pack(answer.payload_type, timestamp, payload, copies)),
            ),
            None => (answer.payload_type, None),
        };
        let payload = packed.as_deref().unwrap_or(payload);
        let packet = rtp::Outgoing {
            payload_type,
            marker,
            seq: self.seq,
            timestamp,
            ssrc: self.ssrc,
            level: id.zip(level),
            payload,
        };
        let mut plain = std::mem::take(&mut self.scratch);
        rtp::write(&packet, &mut plain);
        let sent = self.send_rtp_raw(&plain);
        self.scratch = plain;
        if sent {
            if self.answer.as_ref().is_some_and(|answer| answer.nack)
                && let Some((_, packet)) = self.transmits.back()
            {
                self.resend.keep(self.seq, packet.clone());
            }
            self.seq = self.seq.wrapping_add(1);
            self.sent.packets += 1;
            self.sent.octets += payload.len() as u64;
            self.sent.newest = Some((timestamp, now));
        }
        sent
    }

    /// Leaves: BYE and close_notify are queued.
    pub fn close(&mut self, now: Instant) {
        if self.closed {
            return;
        }
        if self.connected
            && let Some(plain) = rtcp::goodbye(now, self.ssrc, &mut self.streams)
        {
            self.send_rtcp_raw(&plain);
        }
        if let Some(crypt) = &mut self.crypt {
            crypt.close(now);
        }
        self.flush_dtls();
        self.finish(CloseReason::Local);
    }

    fn finish(&mut self, reason: CloseReason) {
        self.closed = true;
        self.connected = false;
        self.events.push_back(Event::Closed(reason));
    }

    fn drop_if_silent(&mut self) {
        if self.silent {
            self.transmits.clear();
        }
    }
}
