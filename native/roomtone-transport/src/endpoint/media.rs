//! The media side of an endpoint: which packets come in, how ours go out, and the counters.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc::crypto::RTCCryptoProvider;

use super::slot::{SlotOut, SlotStream};
use super::types::{AudioOut, EndpointStats, RtpIn};
use crate::config::{NtpClock, TransportConfig};
use crate::outbox::Outbox;
use crate::rtcp::{self, Incoming, Reception, RemoteStats, Sender};
use crate::rtp::{self, Header};
use crate::sdp::{Direction, Offer};
use crate::srtp::{Refusal, Srtp};

/// Opus packets of 60 ms at the highest rate are longer than this; a mix never is.
const MAX_PAYLOAD: usize = 1200;
/// Streams let in at once where the offer announces no SSRC.
const MAX_LEARNED: usize = 4;
/// One of them that is silent for this long makes room for another: the client may have begun a new stream.
const LEARNED_IDLE: Duration = Duration::from_secs(10);

/// What an RTCP packet brought.
#[derive(Debug, Default)]
pub(super) struct RtcpNews {
    pub(super) goodbye: bool,
    pub(super) about_us: Option<RemoteStats>,
}

pub(super) struct Media {
    srtp: Option<Box<Srtp>>,
    direction: Direction,
    payload_type: u8,
    level_id: Option<u8>,
    announced: Vec<u32>,
    receptions: Vec<Reception>,
    sender: Sender,
    /// Our streams on further m-lines.
    slots: Vec<SlotStream>,
    sequence: u16,
    timestamp_offset: u32,
    next_report: Option<Instant>,
    remote: Option<RemoteStats>,
    counters: EndpointStats,
}

impl Media {
    /// `None` if the random generator fails.
    pub(super) fn new(provider: &dyn RTCCryptoProvider) -> Option<Self> {
        let mut random = [0; 10];
        provider.random().fill(&mut random).ok()?;
        let word = |at: usize| u32::from_be_bytes([random[at], random[at + 1], random[at + 2], random[at + 3]]);
        // Zero is legal and confuses more than one implementation.
        let ssrc = word(0).max(1);
        Some(Self {
            srtp: None,
            direction: Direction::Inactive,
            payload_type: 0,
            level_id: None,
            announced: Vec::new(),
            receptions: Vec::new(),
            sender: Sender::new(ssrc),
            slots: Vec::new(),
            // In the lower half, so that the receiver of the first packets can't be a rollover behind (RFC 3711
            // section 3.3.1).
            sequence: u16::from_be_bytes([random[8], random[9]]) & 0x7FFF,
            timestamp_offset: word(4),
            next_report: None,
            remote: None,
            counters: EndpointStats::default(),
        })
    }

    pub(super) fn negotiate(&mut self, offer: &Offer, direction: Direction) {
        self.direction = direction;
        self.payload_type = offer.payload_type();
        self.level_id = offer.level_extension();
        self.announced = offer.ssrcs().to_vec();
        if !self.announced.is_empty() {
            let announced = &self.announced;
            self.receptions.retain(|r| announced.contains(&r.ssrc));
            if let Some(srtp) = &mut self.srtp {
                srtp.retain(|ssrc| announced.contains(&ssrc));
            }
        }
    }

    /// Makes streams for this many of the offer's further m-lines, or tells those that are there of their new numbers.
    pub(super) fn negotiate_slots(&mut self, offer: &Offer, most: usize, provider: &dyn RTCCryptoProvider) {
        for (index, slot) in offer.slots.iter().take(most).enumerate() {
            match self.slots.get_mut(index) {
                Some(there) => there.negotiate(slot),
                None => self.slots.extend(SlotStream::new(slot, provider)),
            }
        }
    }

    /// The SSRCs of our streams on further m-lines.
    pub(super) fn slot_ssrcs(&self) -> Vec<u32> {
        self.slots.iter().map(|slot| slot.sender.ssrc).collect()
    }

    /// How many of these there are.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn connected(&mut self, now: Instant, srtp: Box<Srtp>, config: &TransportConfig) {
        self.counters.srtp_profile = Some(srtp.profile_name());
        self.srtp = Some(srtp);
        self.next_report = Some(now + rtcp::interval(config.rtcp_interval, true, rand::random()));
    }

    pub(super) fn ssrc(&self) -> u32 {
        self.sender.ssrc
    }

    /// As we see it: do we send, do we receive?
    pub(super) fn direction(&self) -> Direction {
        self.direction
    }

    pub(super) fn count_malformed(&mut self) {
        self.counters.malformed += 1;
    }

    /// The allow-list: announced SSRCs; where the client announces none, the first few that prove authentic.
    fn welcomes(&self, now: Instant, ssrc: u32) -> bool {
        if !self.announced.is_empty() {
            return self.announced.contains(&ssrc);
        }
        self.receptions.len() < MAX_LEARNED
            || self
                .receptions
                .iter()
                .any(|r| r.ssrc == ssrc || r.idle(now) >= LEARNED_IDLE)
    }

    /// Takes an SRTP packet. The outer `None`: it isn't authentic. The inner: authentic, but nothing to play.
    pub(super) fn receive<'d>(&mut self, now: Instant, data: &'d mut [u8]) -> Option<Option<RtpIn<'d>>> {
        let Some(header) = Header::parse(data) else {
            self.counters.malformed += 1;
            return None;
        };
        if !self.welcomes(now, header.ssrc) {
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
        let payload = header.payload(plain);
        let Some(payload) = payload.filter(|_| header.payload_type == self.payload_type) else {
            self.counters.malformed += 1;
            return None;
        };
        match self.receptions.iter_mut().find(|r| r.ssrc == header.ssrc) {
            Some(reception) => reception.packet(now, header.sequence, header.timestamp),
            None => {
                if self.announced.is_empty() && self.receptions.len() >= MAX_LEARNED {
                    self.receptions.retain(|r| r.idle(now) < LEARNED_IDLE);
                }
                let mut reception = Reception::new(now, header.ssrc, header.sequence);
                reception.packet(now, header.sequence, header.timestamp);
                self.receptions.push(reception);
            }
        }
        self.counters.packets_in += 1;
        self.counters.bytes_in += payload.len() as u64;
        // Padding only: a probe of the sender's bandwidth estimator.
        if payload.is_empty() || !self.direction.receives() {
            return None;
        }
        let level = self.level_id.and_then(|id| header.audio_level(plain, id));
        Some(RtpIn {
            seq: header.sequence,
            timestamp: header.timestamp,
            marker: header.marker,
            ssrc: header.ssrc,
            level,
            payload: &plain[payload],
        })
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
        let receptions = &mut self.receptions;
        let (first, slots) = (self.sender.ssrc, &self.slots);
        let ours = |ssrc| ssrc == first || slots.iter().any(|slot| slot.sender.ssrc == ssrc);
        rtcp::read(now, clock, ours, plain, |found| match found {
            Incoming::SenderReport(ssrc, ntp) => {
                if let Some(reception) = receptions.iter_mut().find(|r| r.ssrc == ssrc) {
                    reception.sender_report(now, ntp);
                }
            }
            Incoming::AboutUs(stats) => news.about_us = Some(stats.worse_of(news.about_us)),
            Incoming::Goodbye(sources) => {
                news.goodbye = true;
                receptions.retain(|r| !sources.contains(&r.ssrc));
            }
        });
        if let Some(mut stats) = news.about_us {
            // A report without our last SR in it says nothing about the round trip; the last known one stands.
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
            Refusal::TooManyStreams => self.counters.unknown_ssrc += 1,
        }
    }

    /// Builds and protects a packet of ours, in `out`.
    pub(super) fn send(&mut self, now: Instant, to: SocketAddr, audio: AudioOut<'_>, out: &mut Outbox) -> bool {
        if audio.payload.is_empty() || audio.payload.len() > MAX_PAYLOAD {
            return false;
        }
        let Some(srtp) = self.srtp.as_mut() else {
            return false;
        };
        let timestamp = audio.timestamp.wrapping_add(self.timestamp_offset);
        let level = self.level_id.zip(audio.level);
        let header = rtp::Outgoing {
            marker: audio.marker,
            payload_type: self.payload_type,
            sequence: self.sequence,
            timestamp,
            ssrc: self.sender.ssrc,
            csrc: None,
            level: level.map(|(id, level)| (id, level, level < 127)),
        };
        let sent = out.write(to, |bytes, start| {
            let len = rtp::write(bytes, &header, audio.payload);
            srtp.protect_rtp(bytes, start, len, header.ssrc, header.sequence)
        });
        if sent {
            self.sequence = self.sequence.wrapping_add(1);
            self.sender.sent(now, timestamp, audio.payload.len());
        }
        sent
    }

    /// Builds and protects a packet for a further m-line, in `out`.
    pub(super) fn send_slot(
        &mut self,
        now: Instant,
        to: SocketAddr,
        slot: usize,
        audio: &SlotOut<'_>,
        out: &mut Outbox,
    ) -> bool {
        if audio.payload.is_empty() || audio.payload.len() > MAX_PAYLOAD {
            return false;
        }
        let header = match self.slots.get(slot) {
            Some(slot) => slot.header(audio),
            None if slot == 0 && self.direction.sends() => self.numbered(audio),
            None => return false,
        };
        let Some(srtp) = self.srtp.as_mut() else {
            return false;
        };
        let sent = out.write(to, |bytes, start| {
            let len = rtp::write(bytes, &header, audio.payload);
            srtp.protect_rtp(bytes, start, len, header.ssrc, header.sequence)
        });
        if sent {
            let slot = self.slots.get_mut(slot).map(|slot| &mut slot.sender);
            slot.unwrap_or(&mut self.sender)
                .sent(now, header.timestamp, audio.payload.len());
        }
        sent
    }

    // A header for the first m-line, with the caller's numbers.
    fn numbered(&self, audio: &SlotOut<'_>) -> rtp::Outgoing {
        let level = self.level_id.zip(audio.level);
        rtp::Outgoing {
            marker: audio.marker,
            payload_type: self.payload_type,
            sequence: self.sequence.wrapping_add(audio.sequence as u16),
            timestamp: audio.timestamp.wrapping_add(self.timestamp_offset),
            ssrc: self.sender.ssrc,
            csrc: audio.csrc,
            level: level.map(|(id, level)| (id, level, level < 127)),
        }
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
        let report = {
            let slots = self.slots.iter_mut().map(|slot| &mut slot.sender);
            rtcp::report(now, &config.clock, &mut self.sender, slots, &mut self.receptions, cname)?
        };
        self.srtp.as_mut()?.protect_rtcp(&report)
    }

    pub(super) fn goodbye(&mut self, cname: &str) -> Option<BytesMut> {
        let slots = self.slots.iter().map(|slot| slot.sender.ssrc);
        let bye = rtcp::goodbye(self.sender.ssrc, slots, cname)?;
        self.srtp.as_mut()?.protect_rtcp(&bye)
    }

    /// The counters that this side keeps.
    pub(super) fn stats(&self) -> EndpointStats {
        EndpointStats {
            packets_out: self.sender.packets + self.slots.iter().map(|slot| slot.sender.packets).sum::<u64>(),
            bytes_out: self.sender.octets + self.slots.iter().map(|slot| slot.sender.octets).sum::<u64>(),
            lost: self.receptions.iter().map(Reception::lost).sum(),
            fraction_lost: self.receptions.iter().map(Reception::fraction_lost).fold(0.0, f32::max),
            jitter: self.receptions.iter().map(Reception::jitter).max().unwrap_or_default(),
            remote_fraction_lost: self.remote.map(|r| r.fraction_lost),
            remote_jitter: self.remote.map(|r| r.jitter),
            round_trip: self.remote.and_then(|r| r.round_trip),
            ssrc: self.sender.ssrc,
            streams: self.srtp.as_ref().map_or(0, |srtp| srtp.stream_count()),
            ..self.counters
        }
    }
}
