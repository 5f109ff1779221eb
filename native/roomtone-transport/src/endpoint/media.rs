//! The media side of an endpoint: which packets come in, how ours go out, and the counters.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc::crypto::RTCCryptoProvider;

use super::incoming::Incoming;
use super::missing::Missing;
use super::out_stream::{OutStream, SlotOut};
use super::types::{AudioOut, Copies, EndpointStats, RtpIn, StreamOrigin};
use crate::config::{NtpClock, TransportConfig};
use crate::outbox::Outbox;
use crate::rtcp::{self, Reception, RemoteStats};
use crate::rtp::red::{self, Red};
use crate::rtp::{self, Header};
use crate::sdp::{Direction, Offer};
use crate::srtp::{Refusal, Srtp};

/// So many packets that a peer asks for again are looked at in one datagram.
const MAX_ASKED: usize = 8 * 17;

/// The most bytes of Opus in a packet that is sent: with its headers a longer one wouldn't pass
/// every path. A mix is never longer; a talker's packet of 60 ms at a high rate can be.
pub const MAX_PAYLOAD: usize = 1200;

/// The contents of an RTCP packet that matter here.
#[derive(Debug, Default)]
pub(super) struct RtcpNews {
    pub(super) goodbye: bool,
    pub(super) about_us: Option<RemoteStats>,
    /// Packets of ours that the peer asks for once more.
    pub(super) again: Vec<BytesMut>,
}

/// The payload of a packet that came.
enum Payload<'d> {
    Opus(&'d [u8]),
    Red(Red<'d>),
}

impl<'d> Payload<'d> {
    fn primary(&self) -> &'d [u8] {
        match self {
            Self::Opus(payload) => payload,
            Self::Red(red) => red.primary,
        }
    }
}

pub(super) struct Media {
    srtp: Option<Box<Srtp>>,
    direction: Direction,
    payload_type: u8,
    red_type: Option<u8>,
    level_id: Option<u8>,
    incoming: Incoming,
    /// The peer's missing packets, where they may be asked for.
    missing: Option<Box<Missing>>,
    /// RTCP packets may come alone (RFC 5506).
    reduced: bool,
    /// Our streams: the primary one, then those on further m-lines.
    streams: Vec<OutStream>,
    /// With how many copies of earlier packets each is sent, where the peer takes them.
    copies: usize,
    next_report: Option<Instant>,
    remote: Option<RemoteStats>,
    counters: EndpointStats,
    /// Since when packets could pass.
    connected_at: Option<Instant>,
}

impl Media {
    /// `None` if the random generator fails.
    pub(super) fn new(provider: &dyn RTCCryptoProvider) -> Option<Self> {
        Some(Self {
            srtp: None,
            direction: Direction::Inactive,
            payload_type: 0,
            red_type: None,
            level_id: None,
            incoming: Incoming::default(),
            missing: None,
            reduced: false,
            streams: vec![OutStream::new(provider)?],
            copies: 0,
            next_report: None,
            remote: None,
            counters: EndpointStats::default(),
            connected_at: None,
        })
    }

    pub(super) fn negotiate(&mut self, offer: &Offer, direction: Direction) {
        self.direction = direction;
        self.payload_type = offer.payload_type();
        self.red_type = offer.red_payload_type();
        self.level_id = offer.level_extension();
        self.streams[0].negotiate(offer.downlink_numbers());
        self.incoming.announce(offer.ssrcs());
        self.reduced = offer.rtcp_rsize();
        if !offer.nack() || !direction.receives() {
            self.missing = None;
        } else if self.missing.is_none() {
            self.missing = Some(Box::default());
        }
    }

    /// Makes streams for this many of the offer's further m-lines, or tells those that are there of
    /// their new numbers.
    pub(super) fn negotiate_extra(&mut self, offer: &Offer, most: usize, provider: &dyn RTCCryptoProvider) {
        for (index, extra) in offer.extra.iter().take(most).enumerate() {
            if index == self.extra() {
                self.streams.extend(OutStream::new(provider));
                self.set_copies(self.copies);
            }
            if let Some(stream) = self.streams.get_mut(1 + index) {
                stream.negotiate(extra.numbers());
            }
        }
    }

    /// Whether the peer takes redundant Opus (RED) on all of our streams.
    pub(super) fn takes_red(&self) -> bool {
        self.streams
            .iter()
            .skip(usize::from(self.extra() > 0))
            .all(|stream| stream.red_types().is_some())
    }

    /// Sends this many copies of earlier packets with each.
    pub(super) fn set_copies(&mut self, copies: usize) {
        self.copies = copies;
        for stream in &mut self.streams {
            stream.set_copies(copies);
        }
    }

    /// The SSRCs of our streams on further m-lines.
    pub(super) fn extra_ssrcs(&self) -> Vec<u32> {
        self.streams[1..].iter().map(|stream| stream.sender.ssrc).collect()
    }

    /// Where the numbers of all of our streams begin.
    pub(super) fn origins(&self) -> impl Iterator<Item = StreamOrigin> {
        self.streams.iter().map(OutStream::origin)
    }

    /// How many of these there are.
    pub(super) fn extra(&self) -> usize {
        self.streams.len() - 1
    }

    pub(super) fn connected(&mut self, now: Instant, srtp: Box<Srtp>, config: &TransportConfig) {
        self.counters.srtp_profile = Some(srtp.profile_name());
        self.srtp = Some(srtp);
        self.connected_at.get_or_insert(now);
        self.incoming.restart();
        self.next_report = Some(now + rtcp::interval(config.rtcp_interval, true, rand::random()));
    }

    pub(super) fn ssrc(&self) -> u32 {
        self.streams[0].sender.ssrc
    }

    /// As we see it: do we send, do we receive?
    pub(super) fn direction(&self) -> Direction {
        self.direction
    }

    pub(super) fn count_malformed(&mut self) {
        self.counters.malformed += 1;
    }

    /// Takes an SRTP packet. The outer `None`: it isn't authentic. The inner: authentic, but
    /// nothing to play.
    pub(super) fn receive<'d>(&mut self, now: Instant, data: &'d mut [u8]) -> Option<Option<RtpIn<'d>>> {
        let Some(header) = Header::parse(data) else {
            self.counters.malformed += 1;
            return None;
        };
        let sound = self.is_sound(&header);
        if !self.incoming.welcomes(now, header.ssrc, sound) {
            self.counters.unknown_ssrc += 1;
            return None;
        }
        let plain = match self.srtp.as_mut()?.unprotect_rtp(data, &header) {
            Ok(len) => data.get(..len)?,
            Err(refusal) => {
                self.count(refusal);
                return None;
            }
        };
        Some(self.accept(now, &header, plain))
    }

    fn accept<'d>(&mut self, now: Instant, header: &Header, plain: &'d [u8]) -> Option<RtpIn<'d>> {
        let payload = header.payload(plain).filter(|_| self.is_sound(header));
        let Some(payload) = payload.map(|payload| &plain[payload]) else {
            self.counters.malformed += 1;
            return None;
        };
        let bytes = payload.len() as u64;
        let Some(payload) = self.unpack(header, payload) else {
            self.counters.malformed += 1;
            return None;
        };
        self.incoming.count(now, header);
        self.counters.packets_in += 1;
        self.counters.bytes_in += bytes;
        if let Payload::Red(red) = &payload {
            self.counters.copies_in += red.copies().len() as u64;
        }
        if self.counters.first_in.is_none() {
            self.counters.first_in = self.since_connected(now);
        }
        // Padding only: a probe of the sender's bandwidth estimator.
        if payload.primary().is_empty() || !self.direction.receives() {
            if let Some(missing) = &mut self.missing {
                missing.came(now, header.ssrc, header.sequence, |_| false);
            }
            return None;
        }
        let level = self.level_id.and_then(|id| header.audio_level(plain, id));
        let before = self.incoming.newest(header.ssrc);
        let numbers = self.incoming.place(now, header)?;
        let copies = match (&payload, before) {
            (Payload::Red(red), Some(before)) => self.incoming.restore(before, red),
            _ => Copies::default(),
        };
        self.counters.restored += copies.count as u64;
        if let Some(missing) = &mut self.missing {
            let restored = |back: u16| copies.has(numbers.seq.wrapping_sub(back));
            missing.came(now, header.ssrc, header.sequence, restored);
        }
        Some(RtpIn {
            seq: numbers.seq,
            timestamp: numbers.timestamp,
            marker: numbers.marker,
            ssrc: header.ssrc,
            level,
            payload: payload.primary(),
            restored_after: None,
            copies,
        })
    }

    /// A request for missing packets of the peer, where the round trip leaves time for an answer.
    pub(super) fn ask(&mut self, now: Instant, cname: &str) -> Option<BytesMut> {
        let missing = self.missing.as_mut()?;
        let reported = self.remote.and_then(|remote| remote.round_trip);
        let (media, lost) = missing.ask(now, reported)?;
        let mut count = 0;
        let lost = lost.inspect(|_| count += 1);
        let nack = rtcp::nack(self.streams[0].sender.ssrc, media, lost, self.reduced, cname)?;
        self.counters.asked += count;
        self.srtp.as_mut()?.protect_rtcp(&nack)
    }

    fn is_sound(&self, header: &Header) -> bool {
        header.payload_type == self.payload_type || Some(header.payload_type) == self.red_type
    }

    fn unpack<'d>(&self, header: &Header, payload: &'d [u8]) -> Option<Payload<'d>> {
        if header.payload_type == self.payload_type || payload.is_empty() {
            return Some(Payload::Opus(payload));
        }
        red::parse(payload, self.payload_type).map(Payload::Red)
    }

    /// Takes an SRTCP packet; `None` where it isn't authentic.
    pub(super) fn receive_rtcp(&mut self, now: Instant, data: &mut [u8], clock: &NtpClock) -> Option<RtcpNews> {
        let plain = match self.srtp.as_mut()?.unprotect_rtcp(data) {
            Ok(len) => data.get(..len)?,
            Err(refusal) => {
                self.count(refusal);
                return None;
            }
        };
        let mut news = RtcpNews::default();
        let incoming = &mut self.incoming;
        let mut asked = Vec::new();
        let streams = &self.streams;
        let ours = |ssrc| streams.iter().any(|stream| stream.sender.ssrc == ssrc);
        rtcp::read(now, clock, ours, plain, |found| match found {
            rtcp::Incoming::SenderReport(ssrc, ntp) => {
                if let Some(reception) = incoming.receptions.iter_mut().find(|r| r.ssrc == ssrc) {
                    reception.sender_report(now, ntp);
                }
            }
            rtcp::Incoming::AboutUs(stats) => news.about_us = Some(stats.worse_of(news.about_us)),
            rtcp::Incoming::Nack(ssrc, sequence) if asked.len() < MAX_ASKED && ours(ssrc) => {
                asked.push((ssrc, sequence))
            }
            rtcp::Incoming::Nack(..) => {}
            rtcp::Incoming::Goodbye(sources) => {
                news.goodbye = true;
                incoming.goodbye(&sources);
            }
        });
        for (ssrc, sequence) in asked {
            let stream = self.streams.iter_mut().find(|stream| stream.sender.ssrc == ssrc);
            if let Some(packet) = stream.and_then(|stream| stream.again(now, sequence)) {
                self.counters.resent += 1;
                news.again.push(BytesMut::from(packet));
            }
        }
        if let Some(mut stats) = news.about_us {
            // A report without our last SR in it says nothing about the round trip; the last known
            // one stands.
            stats.round_trip = stats.round_trip.or(self.remote.and_then(|before| before.round_trip));
            self.remote = Some(stats);
        }
        Some(news)
    }

    fn count(&mut self, refusal: Refusal) {
        match refusal {
            Refusal::Malformed => self.counters.malformed += 1,
            Refusal::Forged => self.counters.auth_failures += 1,
            Refusal::Replayed => self.counters.replayed += 1,
        }
    }

    /// Builds and protects a packet of the primary stream, in `out`.
    pub(super) fn send(&mut self, now: Instant, to: SocketAddr, audio: AudioOut<'_>, out: &mut Outbox) -> bool {
        let numbered = self.streams[0].number(audio);
        let sent = self.write(now, to, 0, &numbered, out);
        if sent {
            self.streams[0].numbered();
        }
        sent
    }

    /// Builds and protects a packet with the caller's numbers, in `out`: for a further m-line or,
    /// where there are none, for the first.
    pub(super) fn send_slot(
        &mut self,
        now: Instant,
        to: SocketAddr,
        slot: usize,
        audio: &SlotOut<'_>,
        out: &mut Outbox,
    ) -> bool {
        let stream = match self.extra() {
            0 if slot == 0 && self.direction.sends() => 0,
            0 => return false,
            _ => 1 + slot,
        };
        self.write(now, to, stream, audio, out)
    }

    /// The number that follows the highest on the stream that [`send_slot`](Self::send_slot) calls by this number.
    pub(super) fn next_number(&self, slot: usize) -> Option<u32> {
        self.streams.get(slot + usize::from(self.extra() > 0))?.next()
    }

    fn write(&mut self, now: Instant, to: SocketAddr, stream: usize, audio: &SlotOut<'_>, out: &mut Outbox) -> bool {
        if audio.payload.is_empty() || audio.payload.len() > MAX_PAYLOAD {
            self.counters.oversized += u64::from(!audio.payload.is_empty());
            return false;
        }
        let (Some(srtp), Some(stream)) = (self.srtp.as_mut(), self.streams.get_mut(stream)) else {
            return false;
        };
        let mut header = stream.header(audio);
        let copies = stream.copies_for(audio);
        let count = copies.as_slice().len();
        let mut octets = audio.payload.len();
        let sent = match stream.red_types().filter(|_| count > 0) {
            None => out.write(to, |bytes, start| {
                let len = rtp::write(bytes, &header, audio.payload);
                srtp.protect_rtp(bytes, start, len, header.ssrc, header.sequence)
            }),
            Some((red_type, opus)) => {
                header.payload_type = red_type;
                octets = red::len(copies.as_slice(), audio.payload);
                out.write(to, |bytes, start| {
                    let len = rtp::write(bytes, &header, &[]);
                    red::write(bytes, opus, copies.as_slice(), audio.payload);
                    srtp.protect_rtp(bytes, start, len, header.ssrc, header.sequence)
                })
            }
        };
        if sent {
            stream.keep(audio);
            if let Some(packet) = out.last() {
                stream.remember(now, header.sequence, packet);
            }
            self.counters.copies_out += count as u64;
            stream.sender.sent(now, header.timestamp, octets);
            if self.counters.first_out.is_none() {
                self.counters.first_out = self.since_connected(now);
            }
        }
        sent
    }

    fn since_connected(&self, now: Instant) -> Option<Duration> {
        self.connected_at.map(|at| now.saturating_duration_since(at))
    }

    pub(super) fn next_report(&self) -> Option<Instant> {
        self.next_report
    }

    /// The regular report, if it is due.
    pub(super) fn report(&mut self, now: Instant, config: &TransportConfig, cname: &str) -> Option<BytesMut> {
        if self.next_report.is_none_or(|at| at > now) {
            return None;
        }
        self.next_report = Some(now + rtcp::interval(config.rtcp_interval, false, rand::random()));
        let senders = self.streams.iter_mut().map(|stream| &mut stream.sender);
        let report = rtcp::report(now, &config.clock, senders, &mut self.incoming.receptions, cname)?;
        self.srtp.as_mut()?.protect_rtcp(&report)
    }

    pub(super) fn goodbye(&mut self, cname: &str) -> Option<BytesMut> {
        let ssrcs = self.streams.iter().map(|stream| stream.sender.ssrc).collect();
        let bye = rtcp::goodbye(ssrcs, cname)?;
        self.srtp.as_mut()?.protect_rtcp(&bye)
    }

    /// The counters that this side keeps.
    pub(super) fn stats(&self) -> EndpointStats {
        let receptions = || self.incoming.receptions.iter();
        EndpointStats {
            packets_out: self.streams.iter().map(|stream| stream.sender.packets).sum(),
            bytes_out: self.streams.iter().map(|stream| stream.sender.octets).sum(),
            lost: receptions().map(Reception::lost).sum(),
            fraction_lost: receptions().map(Reception::fraction_lost).fold(0.0, f32::max),
            jitter: receptions().map(Reception::jitter).max().unwrap_or_default(),
            remote_fraction_lost: self.remote.map(|r| r.fraction_lost),
            remote_jitter: self.remote.map(|r| r.jitter),
            round_trip: self.remote.and_then(|r| r.round_trip),
            ssrc: self.ssrc(),
            streams: self.srtp.as_ref().map_or(0, |srtp| srtp.stream_count()),
            ..self.counters
        }
    }
}
