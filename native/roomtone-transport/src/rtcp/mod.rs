//! RTCP (RFC 3550): reports in both directions, names, and farewells. The packet formats are
//! `rtc::rtcp`'s.

mod reception;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rtc::rtcp::goodbye::Goodbye;
use rtc::rtcp::packet::Packet;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::reception_report::ReceptionReport;
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtcp::source_description::{SdesType, SourceDescription, SourceDescriptionChunk, SourceDescriptionItem};
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{NackPair, TransportLayerNack};
use rtc::shared::marshal::Unmarshal;

use crate::config::NtpClock;
pub(crate) use reception::Reception;

const CLOCK_RATE: u128 = 48_000;
/// A round trip longer than this is a mistake in somebody's clock.
const MAX_ROUND_TRIP: u32 = 60 << 16;

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const GOODBYE: u8 = 203;
const TRANSPORT_FEEDBACK: u8 = 205;
/// The format of a generic NACK (RFC 4585 section 6.2.1).
const NACK: u8 = 1;
/// Of one packet so many pairs are looked at, each of which names up to 17 lost packets.
const MAX_PAIRS: usize = 8;

/// The peer's report about the stream we send it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RemoteStats {
    /// Share of our packets lost since its previous report, 0 to 1.
    pub fraction_lost: f32,
    /// Packets lost since the beginning; negative where it got duplicates.
    pub cumulative_lost: i32,
    /// Jitter of arrival.
    pub jitter: Duration,
    /// Time from our report to its answer, without the time it held it back.
    pub round_trip: Option<Duration>,
}

impl RemoteStats {
    /// Of several streams in one report the worse figures count.
    pub(crate) fn worse_of(self, other: Option<RemoteStats>) -> RemoteStats {
        let Some(other) = other else { return self };
        RemoteStats {
            fraction_lost: self.fraction_lost.max(other.fraction_lost),
            cumulative_lost: self.cumulative_lost.saturating_add(other.cumulative_lost),
            jitter: self.jitter.max(other.jitter),
            round_trip: self.round_trip.max(other.round_trip),
        }
    }
}

/// The sender's part of a report: what we sent.
#[derive(Debug)]
pub(crate) struct Sender {
    pub(crate) ssrc: u32,
    pub(crate) packets: u64,
    pub(crate) octets: u64,
    /// The last packet: when, and its media time stamp.
    last: Option<(Instant, u32)>,
    /// Packets at the time of the last report.
    reported: u64,
}

impl Sender {
    pub(crate) fn new(ssrc: u32) -> Self {
        Self {
            ssrc,
            packets: 0,
            octets: 0,
            last: None,
            reported: 0,
        }
    }

    pub(crate) fn sent(&mut self, now: Instant, timestamp: u32, octets: usize) {
        self.packets += 1;
        self.octets += octets as u64;
        self.last = Some((now, timestamp));
    }
}

/// Builds the regular compound packet for our streams: SR of each that sent since the last one, RR
/// if the first didn't, and our name.
pub(crate) fn report<'a>(
    now: Instant,
    clock: &NtpClock,
    mut senders: impl Iterator<Item = &'a mut Sender>,
    receptions: &mut [Reception],
    cname: &str,
) -> Option<BytesMut> {
    let reports = receptions.iter_mut().map(|r| r.report(now)).collect();
    let first = senders.next()?;
    let head = [report_of(now, clock, first, reports), name(first.ssrc, cname)];
    let mut others = senders.filter(|other| other.packets != other.reported).peekable();
    if others.peek().is_none() {
        return rtc::rtcp::packet::marshal(&head).ok();
    }
    let mut compound = Vec::from(head);
    for other in others {
        compound.push(report_of(now, clock, other, vec![]));
        compound.push(name(other.ssrc, cname));
    }
    rtc::rtcp::packet::marshal(&compound).ok()
}

fn report_of(now: Instant, clock: &NtpClock, sender: &mut Sender, reports: Vec<ReceptionReport>) -> Box<dyn Packet> {
    let report: Box<dyn Packet> = match sender.last {
        Some((at, timestamp)) if sender.packets != sender.reported => {
            let since = now.saturating_duration_since(at).as_nanos();
            let advanced = (since * CLOCK_RATE / 1_000_000_000) as u32;
            Box::new(SenderReport {
                ssrc: sender.ssrc,
                ntp_time: clock.ntp(now),
                rtp_time: timestamp.wrapping_add(advanced),
                packet_count: sender.packets as u32,
                octet_count: sender.octets as u32,
                reports,
                profile_extensions: Bytes::new(),
            })
        }
        _ => receiver_report(sender.ssrc, reports),
    };
    sender.reported = sender.packets;
    report
}

/// Builds the farewell of our streams.
pub(crate) fn goodbye(ssrcs: Vec<u32>, cname: &str) -> Option<BytesMut> {
    let first = *ssrcs.first()?;
    let bye = Goodbye {
        sources: ssrcs,
        // The library writes a length of the reason always; with three letters no padding has to
        // follow.
        reason: Bytes::from_static(b"end"),
    };
    rtc::rtcp::packet::marshal(&[receiver_report(first, vec![]), name(first, cname), Box::new(bye)]).ok()
}

/// Asks for lost packets of a stream once more; `alone`: without a report before it (RFC 5506).
pub(crate) fn nack(
    ssrc: u32,
    media: u32,
    lost: impl Iterator<Item = u16>,
    alone: bool,
    cname: &str,
) -> Option<BytesMut> {
    let mut nacks: Vec<NackPair> = Vec::new();
    for sequence in lost {
        match nacks.last_mut() {
            Some(pair) if (1..=16).contains(&sequence.wrapping_sub(pair.packet_id)) => {
                pair.lost_packets |= 1 << (sequence.wrapping_sub(pair.packet_id) - 1);
            }
            _ => nacks.push(NackPair::new(sequence)),
        }
    }
    let nack: Box<dyn Packet> = Box::new(TransportLayerNack {
        sender_ssrc: ssrc,
        media_ssrc: media,
        nacks,
    });
    if alone {
        return rtc::rtcp::packet::marshal(&[nack]).ok();
    }
    rtc::rtcp::packet::marshal(&[receiver_report(ssrc, vec![]), name(ssrc, cname), nack]).ok()
}

fn receiver_report(ssrc: u32, reports: Vec<ReceptionReport>) -> Box<dyn Packet> {
    Box::new(ReceiverReport {
        ssrc,
        reports,
        profile_extensions: Bytes::new(),
    })
}

fn name(ssrc: u32, cname: &str) -> Box<dyn Packet> {
    Box::new(SourceDescription {
        chunks: vec![SourceDescriptionChunk {
            source: ssrc,
            items: vec![SourceDescriptionItem {
                sdes_type: SdesType::SdesCname,
                text: Bytes::copy_from_slice(cname.as_bytes()),
            }],
        }],
    })
}

/// One fact from an incoming compound (or reduced-size) packet.
#[derive(Debug, PartialEq)]
pub(crate) enum Incoming {
    /// SSRC of the sender and its NTP time.
    SenderReport(u32, u64),
    /// A block about a stream of ours.
    AboutUs(RemoteStats),
    /// A packet of this stream of ours is asked for once more.
    Nack(u32, u16),
    /// These sources leave.
    Goodbye(Vec<u32>),
}

/// Walks through a decrypted compound packet. Packets of other kinds are skipped; at the first
/// broken one it ends.
pub(crate) fn read(
    now: Instant,
    clock: &NtpClock,
    ours: impl Fn(u32) -> bool,
    compound: &[u8],
    mut found: impl FnMut(Incoming),
) {
    let mut rest = compound;
    while let [head, kind, high, low, ..] = rest {
        let len = 4 + 4 * usize::from(u16::from_be_bytes([*high, *low]));
        if head >> 6 != 2 || rest.len() < len {
            return;
        }
        let (mut packet, next) = rest.split_at(len);
        rest = next;
        let reports = match *kind {
            SENDER_REPORT => match SenderReport::unmarshal(&mut packet) {
                Ok(report) => {
                    found(Incoming::SenderReport(report.ssrc, report.ntp_time));
                    report.reports
                }
                Err(_) => return,
            },
            RECEIVER_REPORT => match ReceiverReport::unmarshal(&mut packet) {
                Ok(report) => report.reports,
                Err(_) => return,
            },
            TRANSPORT_FEEDBACK if head & 0x1F == NACK => match TransportLayerNack::unmarshal(&mut packet) {
                Ok(nack) => {
                    let lost = nack.nacks.into_iter().take(MAX_PAIRS).flatten();
                    lost.for_each(|sequence| found(Incoming::Nack(nack.media_ssrc, sequence)));
                    continue;
                }
                Err(_) => return,
            },
            GOODBYE => match Goodbye::unmarshal(&mut packet) {
                Ok(bye) => {
                    found(Incoming::Goodbye(bye.sources));
                    continue;
                }
                Err(_) => return,
            },
            _ => continue,
        };
        for block in reports.iter().filter(|block| ours(block.ssrc)) {
            found(Incoming::AboutUs(remote_stats(now, clock, block)));
        }
    }
}

fn remote_stats(now: Instant, clock: &NtpClock, block: &ReceptionReport) -> RemoteStats {
    // RFC 3550 section 6.4.1: A − LSR − DLSR.
    let round_trip = (block.last_sender_report != 0)
        .then(|| {
            clock
                .ntp_middle(now)
                .wrapping_sub(block.last_sender_report)
                .wrapping_sub(block.delay)
        })
        .filter(|units| *units < MAX_ROUND_TRIP)
        .map(|units| Duration::from_nanos(u64::from(units) * 1_000_000_000 / 65_536));
    RemoteStats {
        fraction_lost: f32::from(block.fraction_lost) / 256.0,
        // Sign-extends the 24 bits.
        cumulative_lost: ((block.total_lost << 8) as i32) >> 8,
        jitter: Duration::from_nanos(u64::from(block.jitter) * 1_000_000_000 / CLOCK_RATE as u64),
        round_trip,
    }
}

/// RFC 3550 section 6.3.1: half to one and a half of the mean, made up for the timer's bias; the
/// first one sooner.
pub(crate) fn interval(mean: Duration, first: bool, random: f64) -> Duration {
    const COMPENSATION: f64 = 1.218_28;
    let mean = if first { mean / 2 } else { mean };
    mean.mul_f64((0.5 + random.clamp(0.0, 1.0)) / COMPENSATION)
}
