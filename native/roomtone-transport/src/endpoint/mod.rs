//! One peer's connection: ICE, DTLS, SRTP, RTP and RTCP tied together.

mod history;
mod incoming;
mod media;
mod missing;
mod out_stream;
mod types;

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;

pub use media::MAX_PAYLOAD;
pub use out_stream::{MAX_COPIES_OUT, SlotOut};
pub use types::{
    AcceptError, AudioOut, CloseReason, Copies, EndpointStats, Event, OfferKind, RtpIn, StreamOrigin, Transmit,
};

use crate::complaints::Cause;
use crate::config::{EndpointOptions, TransportConfig};
use crate::demux::{Packet, StunPacket};
use crate::dtls::{Certificate, Dtls, DtlsEvent, Role};
use crate::ice::{IceAgent, IceEvent, random_text};
use crate::outbox::Outbox;
use crate::sdp::{AnswerParams, Direction, Offer, SdpError, SdpErrorKind, Setup};
use media::Media;

/// After a BYE a peer that is still there shows it within this time: browsers send checks every 2.5
/// s at the latest.
const BYE_GRACE: Duration = Duration::from_secs(6);
/// RFC 8842 section 4 asks for 20 to 255 characters.
const TLS_ID_LEN: usize = 24;
/// The caller drains both queues after each call; these bounds only hold if it doesn't.
const MAX_TRANSMITS: usize = 512;
const MAX_EVENTS: usize = 512;

/// The server's end of one WebRTC connection.
///
/// Feed it datagrams and time, drain [`poll_transmit`](Self::poll_transmit) and
/// [`poll_event`](Self::poll_event) after each call, and call
/// [`handle_timeout`](Self::handle_timeout) at [`poll_timeout`](Self::poll_timeout).
///
/// # Examples
///
/// Answer a browser's offer, then move datagrams and time. The caller owns the socket and the clock.
///
/// ```
/// use std::sync::Arc;
/// use std::time::{Duration, Instant, SystemTime};
///
/// use roomtone_transport::{
///     Certificate, Endpoint, EndpointOptions, Event, NtpClock, Offer, TransportConfig,
/// };
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let sdp = include_str!("../../tests/fixtures/chrome.sdp");
/// # let outgoing = |_to: std::net::SocketAddr, _datagram: &[u8]| {};
/// let now = Instant::now();
/// let clock = NtpClock::from_unix(now, SystemTime::UNIX_EPOCH.elapsed()?);
/// let config = Arc::new(TransportConfig::new(vec!["192.0.2.1:50000".parse()?], clock));
/// let certificate = Arc::new(Certificate::generate()?);
///
/// let offer = Offer::parse(sdp)?;
/// let options = EndpointOptions::default();
/// let (mut endpoint, answer) = Endpoint::accept(now, &offer, config, certificate, options)?;
/// assert!(answer.contains("a=setup:passive") && answer.contains("a=ice-lite"));
///
/// // A datagram that has come, decrypted in place. This one isn't from a validated address.
/// let mut datagram = [0x80, 111, 0, 1];
/// let sound = endpoint.handle_datagram(now, "198.51.100.7:40000".parse()?, &mut datagram);
/// assert!(sound.is_none());
///
/// // After each call: datagrams to send, news, and the time of the next call.
/// while let Some(transmit) = endpoint.poll_transmit() {
///     outgoing(transmit.to, &transmit.data);
/// }
/// while let Some(event) = endpoint.poll_event() {
///     if let Event::Closed(reason) = event {
///         println!("over: {}", reason.as_str());
///     }
/// }
/// assert_eq!(endpoint.poll_timeout(), Some(now + Duration::from_secs(30)));
///
/// // Nobody has connected in that time.
/// endpoint.handle_timeout(now + Duration::from_secs(30));
/// assert!(endpoint.is_closed());
/// # Ok(())
/// # }
/// ```
pub struct Endpoint {
    config: Arc<TransportConfig>,
    certificate: Arc<Certificate>,
    options: EndpointOptions,
    session_id: u64,
    version: u64,
    tls_id: String,
    offer: Offer,
    ice: IceAgent,
    dtls: Dtls,
    media: Media,
    created: Instant,
    connected: bool,
    closed: bool,
    bye_deadline: Option<Instant>,
    /// The peer said that it begins a new connection: until then it has to be there, or the old one
    /// be in use again.
    renewal: Option<Instant>,
    /// When the last RTP packet came.
    last_rtp: Option<Instant>,
    dropped_strangers: u64,
    transmits: VecDeque<Transmit>,
    events: VecDeque<Event>,
}

impl Endpoint {
    /// Makes an endpoint for an offer, and the answer to send back.
    pub fn accept(
        now: Instant,
        offer: &Offer,
        config: Arc<TransportConfig>,
        certificate: Arc<Certificate>,
        mut options: EndpointOptions,
    ) -> Result<(Self, String), AcceptError> {
        if config.candidates.is_empty() {
            return Err(AcceptError::NoCandidates);
        }
        let provider = certificate.provider.clone();
        options
            .cname
            .retain(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'));
        options.cname.truncate(64);
        if options.cname.is_empty() {
            options.cname = random_text(16, provider.as_ref())
                .ok_or(AcceptError::Crypto)?
                .replace(['+', '/'], "-");
        }
        let mut random = [0; 8];
        provider.random().fill(&mut random).map_err(|_| AcceptError::Crypto)?;
        let ice = IceAgent::new(now, offer, config.max_addresses, provider.as_ref()).ok_or(AcceptError::Crypto)?;
        let mut endpoint = Self {
            ice,
            dtls: Dtls::new(
                role_for(offer.setup, Role::Server),
                certificate.clone(),
                offer.fingerprints.clone(),
                &config,
            ),
            media: Media::new(provider.as_ref()).ok_or(AcceptError::Crypto)?,
            // RFC 9429 section 5.2.1: positive as a signed 64-bit number.
            session_id: u64::from_be_bytes(random) >> 1,
            version: 0,
            tls_id: random_text(TLS_ID_LEN, provider.as_ref()).ok_or(AcceptError::Crypto)?,
            offer: offer.clone(),
            config,
            certificate,
            options,
            created: now,
            connected: false,
            closed: false,
            bye_deadline: None,
            renewal: None,
            last_rtp: None,
            dropped_strangers: 0,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        };
        let answer = endpoint.answer();
        Ok((endpoint, answer))
    }

    /// Tells whether another offer of the same participant restarts this connection or makes a new
    /// one.
    ///
    /// A new connection, where the offer names another certificate, another `a=tls-id` or another
    /// session in `o=`, or turns the roles of the DTLS handshake around (RFC 8842 sections 3.1 and
    /// 5.5). [`reoffer`](Self::reoffer) answers both kinds if the certificate is the same. For
    /// another certificate the caller makes a new endpoint with [`accept`](Self::accept), and
    /// closes this one.
    pub fn judge(&self, offer: &Offer) -> OfferKind {
        let same = self.dtls.expects(&offer.fingerprints)
            && role_for(offer.setup, self.dtls.role()) == self.dtls.role()
            && self.offer.same_connection(offer);
        if same {
            OfferKind::Restart
        } else {
            OfferKind::NewConnection
        }
    }

    /// Answers another offer of the same peer: an ICE restart, another direction, other SSRCs, or a
    /// new connection of a client that has kept its certificate. A new connection has the
    /// handshake's time to come about; until then the old one goes on.
    ///
    /// # Errors
    /// The offer names another certificate (`fingerprint_changed`), or has moved the m-lines in use
    /// (`media_changed`). After an error nothing has changed.
    pub fn reoffer(&mut self, now: Instant, offer: &Offer) -> Result<String, AcceptError> {
        let refuse = |kind, message| Err(SdpError::new(kind, message).into());
        if !self.dtls.expects(&offer.fingerprints) {
            return refuse(
                SdpErrorKind::FingerprintChanged,
                "the offer names another certificate; that needs a new session",
            );
        }
        if !self.offer.same_media(offer, self.media.extra()) {
            return refuse(
                SdpErrorKind::MediaChanged,
                "the audio m-lines of the offer aren't those of this session",
            );
        }
        let provider = self.certificate.provider.clone();
        let kind = self.judge(offer);
        if self.ice.reoffer(now, offer, provider.as_ref()).is_none() {
            return Err(AcceptError::Crypto);
        }
        self.take_ice_events();
        if kind == OfferKind::NewConnection {
            if let Some(tls_id) = random_text(TLS_ID_LEN, provider.as_ref()) {
                self.tls_id = tls_id;
            }
            self.dtls.renew(role_for(offer.setup, Role::Server));
            self.created = now;
            self.renewal = self.connected.then_some(now + self.config.handshake_timeout);
        }
        self.offer = offer.clone();
        self.bye_deadline = None;
        self.version += 1;
        let answer = self.answer();
        self.begin_dtls(now);
        Ok(answer)
    }

    /// Brings the media side in line with the offer and writes the answer.
    fn answer(&mut self) -> String {
        let theirs = self.offer.direction();
        let provider = self.certificate.provider.clone();
        self.media
            .negotiate_extra(&self.offer, self.options.slots, provider.as_ref());
        // A peer with further m-lines for our sound gets it there, and none on the first.
        let direction = Direction::of(
            theirs.receives() && self.options.send && self.media.extra() == 0,
            theirs.sends() && self.options.recv,
        );
        self.media.negotiate(&self.offer, direction);
        let (ufrag, pwd) = self.ice.credentials().local();
        self.offer.answer(&AnswerParams {
            session_id: self.session_id,
            version: self.version,
            ufrag,
            pwd,
            fingerprint: self.certificate.fingerprint(),
            candidates: &self.config.candidates,
            tcp_candidates: &self.config.tcp_candidates,
            active: self.dtls.role() == Role::Client,
            tls_id: &self.tls_id,
            direction,
            ssrc: self.media.ssrc(),
            stereo: self.sends_stereo(),
            uplink_bitrate: self.options.uplink_bitrate,
            uplink_stereo: self.options.uplink_stereo,
            extra_ssrcs: &self.media.extra_ssrcs(),
            cname: &self.options.cname,
        })
    }

    /// The ufrags to route to this endpoint: one, or two while an ICE restart isn't used yet.
    pub fn local_ufrags(&self) -> impl Iterator<Item = &str> {
        self.ice.local_ufrags()
    }

    /// The addresses whose datagrams are to be routed to this endpoint: those that ICE has
    /// validated.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.ice.addresses()
    }

    /// DTLS is done.
    pub fn is_connected(&self) -> bool {
        self.connected && !self.closed
    }

    /// It's over.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Would [`send_audio`](Self::send_audio) send?
    pub fn can_send(&self) -> bool {
        self.is_connected() && self.media.direction().sends() && self.ice.selected().is_some()
    }

    /// Has ICE an address of the peer to send to? [`send_slot`](Self::send_slot) on further m-lines
    /// needs that and the connection.
    pub fn has_address(&self) -> bool {
        self.ice.selected().is_some()
    }

    /// Where the numbers of our streams begin: of the first m-line, then of the further ones.
    pub fn origins(&self) -> impl Iterator<Item = StreamOrigin> {
        self.media.origins()
    }

    /// Does the peer expect stereo of us? Asked for by its offer, allowed by our options.
    pub fn sends_stereo(&self) -> bool {
        self.options.stereo && self.offer.stereo()
    }

    /// The most bits a second, on average, that the peer wants from us, where its offer has
    /// `maxaveragebitrate` (RFC 7587).
    pub fn max_average_bitrate(&self) -> Option<u32> {
        self.offer.max_average_bitrate()
    }

    /// Whether the peer takes redundant Opus (RED, RFC 2198) of us.
    pub fn takes_red(&self) -> bool {
        self.media.takes_red()
    }

    /// From now on each packet carries copies of this many before it, [`MAX_COPIES_OUT`] at most, if
    /// the peer [takes](Self::takes_red) them and the packet stays within [`MAX_PAYLOAD`] bytes. At
    /// first none.
    ///
    /// To begin with copies allocates; sending them doesn't.
    pub fn set_copies(&mut self, copies: usize) {
        self.media.set_copies(copies);
    }

    /// Can packets of the peer come in?
    pub fn can_receive(&self) -> bool {
        self.is_connected() && self.media.direction().receives()
    }

    /// For how long nothing authentic has been heard from the peer, and whether the last thing was
    /// media: a peer that was sending falls silent within a packet's time, one that only listens
    /// shows itself every few seconds.
    pub fn silence(&self, now: Instant) -> (Duration, bool) {
        let heard = self.ice.last_heard();
        let media = self.last_rtp.is_some_and(|at| at >= heard);
        (now.saturating_duration_since(heard), media)
    }

    /// Takes a datagram that was routed here. It is decrypted where it is; if it is sound, that is
    /// returned at once.
    pub fn handle_datagram<'d>(&mut self, now: Instant, from: SocketAddr, data: &'d mut [u8]) -> Option<RtpIn<'d>> {
        self.handle_packet(now, from, Packet::read(data))
    }

    /// As [`handle_datagram`](Self::handle_datagram), for a datagram that was classified already,
    /// as a router has to.
    pub fn handle_packet<'d>(&mut self, now: Instant, from: SocketAddr, packet: Packet<'d>) -> Option<RtpIn<'d>> {
        if self.closed {
            return None;
        }
        match packet {
            Packet::Stun(stun) => self.handle_stun(now, from, stun),
            _ if !self.ice.is_validated(from) => self.dropped_strangers += 1,
            Packet::Dtls(data) => self.handle_dtls(now, data),
            Packet::Rtp(data) => return self.handle_rtp(now, from, data),
            Packet::Rtcp(data) => self.handle_rtcp(now, from, data),
            Packet::Other => self.media.count_malformed(),
        }
        None
    }

    fn handle_stun(&mut self, now: Instant, from: SocketAddr, packet: StunPacket<'_>) {
        let provider = self.certificate.provider.clone();
        if let Some(answer) = self.ice.handle(now, from, packet, provider.as_ref()) {
            self.push(from, answer);
            self.bye_deadline = None;
        }
        self.take_ice_events();
        self.begin_dtls(now);
    }

    // Begins the handshake where that is ours to do and there is an address of the peer to send to.
    fn begin_dtls(&mut self, now: Instant) {
        if self.dtls.wants_to_connect() && self.ice.selected().is_some() && !self.ice.is_restarting() {
            let event = self.dtls.connect(now);
            self.send_dtls();
            self.take_dtls_event(now, event);
        }
    }

    fn take_ice_events(&mut self) {
        for event in std::mem::take(&mut self.ice.events) {
            self.emit(match event {
                IceEvent::Validated(address) => Event::AddressValidated(address),
                IceEvent::Retired(address) => Event::AddressRetired(address),
                IceEvent::UfragRetired(ufrag) => Event::UfragRetired(ufrag),
            });
        }
    }

    fn handle_dtls(&mut self, now: Instant, data: &[u8]) {
        let event = self.dtls.handle(now, data);
        self.send_dtls();
        self.take_dtls_event(now, event);
    }

    fn take_dtls_event(&mut self, now: Instant, event: Option<DtlsEvent>) {
        match event {
            None => {}
            Some(DtlsEvent::Connected(srtp)) => {
                self.media.connected(now, srtp, &self.config);
                self.renewal = None;
                if !std::mem::replace(&mut self.connected, true) {
                    self.emit(Event::Connected);
                }
            }
            Some(DtlsEvent::Closed) => self.finish(CloseReason::RemoteCloseNotify),
            Some(DtlsEvent::Failed) => self.finish(CloseReason::HandshakeFailed),
            Some(DtlsEvent::FingerprintMismatch) => self.finish(CloseReason::FingerprintMismatch),
        }
    }

    fn send_dtls(&mut self) {
        while let Some(datagram) = self.dtls.poll_transmit() {
            if let Some(to) = self.ice.selected() {
                self.push(to, datagram);
            }
        }
    }

    fn handle_rtp<'d>(&mut self, now: Instant, from: SocketAddr, data: &'d mut [u8]) -> Option<RtpIn<'d>> {
        let packet = self.media.receive(now, data)?;
        self.ice.heard(now, from);
        self.last_rtp = Some(now);
        self.bye_deadline = None;
        self.renewal = None;
        if let Some(request) = self.media.ask(now, &self.options.cname)
            && let Some(to) = self.ice.selected()
        {
            self.push(to, request);
        }
        packet
    }

    fn handle_rtcp(&mut self, now: Instant, from: SocketAddr, data: &mut [u8]) {
        let Some(news) = self.media.receive_rtcp(now, data, &self.config.clock) else {
            return;
        };
        self.ice.heard(now, from);
        self.renewal = None;
        if news.goodbye {
            self.bye_deadline = Some(now + BYE_GRACE);
        }
        if let Some(to) = self.ice.selected() {
            news.again.into_iter().for_each(|packet| self.push(to, packet));
        }
        if let Some(stats) = news.about_us {
            self.emit(Event::RemoteStats(stats));
        }
    }

    /// Puts a packet of Opus into `out`. `false` where that isn't possible now; no sequence number
    /// is used then.
    pub fn send_audio(&mut self, now: Instant, audio: AudioOut<'_>, out: &mut Outbox) -> bool {
        match self.ice.selected() {
            Some(to) if self.can_send() => self.media.send(now, to, audio, out),
            _ => false,
        }
    }

    /// On how many further m-lines the peer takes sound: as many as it offered and our options
    /// allow. If there are any, nothing is sent on the first one.
    pub fn slots(&self) -> usize {
        self.media.extra()
    }

    /// How long packets to the peer are to be by its offer (`a=ptime`, RFC 8866 section 6.4), for the stream that
    /// [`send_slot`](Self::send_slot) calls by this number: 20, 40 or 60 ms.
    pub fn packet_ms(&self, slot: usize) -> u32 {
        self.offer.packet_ms((self.slots() > 0).then_some(slot))
    }

    /// The number that follows the highest that [`send_slot`](Self::send_slot) has sent on this stream. A number below it
    /// may have been used, and another packet must not have it (RFC 3711 section 9.1).
    pub fn next_number(&self, slot: usize) -> Option<u32> {
        self.media.next_number(slot)
    }

    /// Would [`send_slot`](Self::send_slot) send?
    pub fn can_send_slot(&self, slot: usize) -> bool {
        match self.slots() {
            0 => slot == 0 && self.can_send(),
            slots => slot < slots && self.is_connected() && self.has_address(),
        }
    }

    /// Puts a packet of Opus into `out` for one of the further m-lines (0…[`slots`](Self::slots) −
    /// 1), or, where there are none, as slot 0 on the first one (which then isn't for
    /// [`send_audio`](Self::send_audio)). `false` where that isn't possible now.
    pub fn send_slot(&mut self, now: Instant, slot: usize, audio: &SlotOut<'_>, out: &mut Outbox) -> bool {
        match self.ice.selected() {
            Some(to) if self.is_connected() => {
                if audio.payload.len() > MAX_PAYLOAD {
                    let len = audio.payload.len();
                    let text = format_args!("a packet of {len} bytes isn't forwarded: {MAX_PAYLOAD} are the limit");
                    self.config.complaints.warn(now, Cause::Oversized, text);
                }
                self.media.send_slot(now, to, slot, audio, out)
            }
            _ => false,
        }
    }

    /// Does what is due: retransmission, reports, expiry. May be called at any time.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.closed {
            return;
        }
        let config = self.config.clone();
        if let Some((deadline, reason)) = self.end(&config)
            && deadline <= now
        {
            if self.connected {
                self.say_goodbye(now);
            }
            self.finish(reason);
            return;
        }
        self.dtls.handle_timeout(now);
        self.send_dtls();
        self.ice.expire(now, config.consent_timeout);
        self.take_ice_events();
        if let Some(report) = self.media.report(now, &config, &self.options.cname)
            && let Some(to) = self.ice.selected()
        {
            self.push(to, report);
        }
    }

    /// When this connection ends if nothing more is heard, and what that is called.
    fn end(&self, config: &TransportConfig) -> Option<(Instant, CloseReason)> {
        if !self.connected {
            let deadline = self.created + config.handshake_timeout;
            return Some((deadline, CloseReason::HandshakeTimeout));
        }
        let silent = self.ice.last_heard() + config.consent_timeout;
        let end = match self.bye_deadline {
            Some(bye) if bye < silent => (bye, CloseReason::RemoteBye),
            _ => (silent, CloseReason::ConsentExpired),
        };
        Some(match self.renewal {
            Some(renewal) if renewal < end.0 => (renewal, CloseReason::HandshakeTimeout),
            _ => end,
        })
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.closed {
            return None;
        }
        [
            self.end(&self.config).map(|(deadline, _)| deadline),
            self.dtls.poll_timeout(),
            self.ice.next_expiry(self.config.consent_timeout),
            self.media.next_report(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Ends the connection, politely: BYE and close_notify are queued.
    pub fn close(&mut self, now: Instant) {
        if !self.closed {
            self.say_goodbye(now);
            self.finish(CloseReason::Local);
        }
    }

    fn say_goodbye(&mut self, now: Instant) {
        if let Some(to) = self.ice.selected() {
            if let Some(bye) = self.media.goodbye(&self.options.cname) {
                self.push(to, bye);
            }
            self.dtls.close(now);
            self.send_dtls();
        }
    }

    fn finish(&mut self, reason: CloseReason) {
        if self.closed {
            return;
        }
        self.ice.retire_all();
        self.take_ice_events();
        self.closed = true;
        // Never lost to a full queue: it is the one event that the caller can't do without.
        self.events.push_back(Event::Closed(reason));
    }

    fn push(&mut self, to: SocketAddr, data: BytesMut) {
        if self.transmits.len() < MAX_TRANSMITS {
            self.transmits.push_back(Transmit { to, data });
        }
    }

    fn emit(&mut self, event: Event) {
        let full = self.events.len() >= MAX_EVENTS;
        if !(full && matches!(event, Event::RemoteStats(_))) {
            self.events.push_back(event);
        }
    }

    /// The next datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.transmits.pop_front()
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Counters.
    pub fn stats(&self) -> EndpointStats {
        EndpointStats {
            dropped_strangers: self.dropped_strangers,
            stun_requests: self.ice.requests,
            stun_rejected: self.ice.rejected,
            dtls_dropped: self.dtls.dropped(),
            selected: self.ice.selected(),
            addresses: self.ice.pair_count(),
            ..self.media.stats()
        }
    }
}

/// Our part in the handshake; an offer that leaves it open gets `open`.
fn role_for(setup: Setup, open: Role) -> Role {
    match setup {
        Setup::ActPass => open,
        Setup::Active => Role::Server,
        Setup::Passive => Role::Client,
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("ice", &self.ice)
            .field("connected", &self.connected)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}
