//! RTCP of a client: reports out (RFC 3550), reports and BYE in.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use rtc::rtcp::Packet;
use rtc::rtcp::goodbye::Goodbye;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::reception_report::ReceptionReport;
use rtc::rtcp::sender_report::SenderReport as WireSenderReport;
use rtc::rtcp::source_description::{SdesType, SourceDescription, SourceDescriptionChunk, SourceDescriptionItem};
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{NackPair, TransportLayerNack};

use super::rtp::Stream;
use super::{Reported, SenderReport};

const CLOCK_RATE: f64 = 48_000.0;
const MAX_BLOCKS: usize = 31;
/// NTP time that stands for the moment when a client is made: any will do, receivers only take differences.
const NTP_ORIGIN: u64 = 0xEC00_0000_0000_0000;

/// Our own stream, for sender reports.
#[derive(Default)]
pub(super) struct Sent {
    pub packets: u64,
    pub octets: u64,
    /// RTP timestamp of the newest packet, and when it went out.
    pub newest: Option<(u32, Instant)>,
    packets_at_report: u64,
}

/// The content of an incoming RTCP packet.
#[derive(Default)]
pub(super) struct Heard {
    pub sender_report: Option<SenderReport>,
    pub reported: Option<Reported>,
    pub bye: bool,
    /// Packets of ours that are asked for once more.
    pub asked: Vec<u16>,
}

pub(super) fn ntp(created: Instant, now: Instant) -> u64 {
    let since = now.saturating_duration_since(created);
    NTP_ORIGIN + (since.as_secs() << 32) + ((u64::from(since.subsec_nanos()) << 32) / 1_000_000_000)
}

fn middle(ntp: u64) -> u32 {
    (ntp >> 16) as u32
}

/// The compound that is due: SR if we sent since the last one, else RR; and our name.
pub(super) fn report(
    created: Instant,
    now: Instant,
    ssrc: u32,
    cname: &str,
    sent: &mut Sent,
    streams: &mut [Stream],
) -> Option<BytesMut> {
    let reports = blocks(now, streams);
    let mut packets: Vec<Box<dyn Packet>> = Vec::with_capacity(2);
    match sent.newest.filter(|_| sent.packets > sent.packets_at_report) {
        Some((timestamp, at)) => {
            let since = now.saturating_duration_since(at).as_secs_f64() * CLOCK_RATE;
            packets.push(Box::new(WireSenderReport {
                ssrc,
                ntp_time: ntp(created, now),
                rtp_time: timestamp.wrapping_add(since as u32),
                packet_count: sent.packets as u32,
                octet_count: sent.octets as u32,
                reports,
                profile_extensions: Bytes::new(),
            }));
            sent.packets_at_report = sent.packets;
        }
        None => packets.push(Box::new(ReceiverReport {
            ssrc,
            reports,
            profile_extensions: Bytes::new(),
        })),
    }
    packets.push(Box::new(SourceDescription {
        chunks: vec![SourceDescriptionChunk {
            source: ssrc,
            items: vec![SourceDescriptionItem {
                sdes_type: SdesType::SdesCname,
                text: Bytes::copy_from_slice(cname.as_bytes()),
            }],
        }],
    }));
    marshal(&packets)
}

/// A request for packets of a stream, alone (RFC 5506).
pub(super) fn nack(ssrc: u32, media: u32, lost: &[u16]) -> Option<BytesMut> {
    marshal(&[Box::new(TransportLayerNack {
        sender_ssrc: ssrc,
        media_ssrc: media,
        nacks: lost.iter().map(|seq| NackPair::new(*seq)).collect(),
    })])
}

/// RR and BYE, as RFC 3550 has it for who leaves.
pub(super) fn goodbye(now: Instant, ssrc: u32, streams: &mut [Stream]) -> Option<BytesMut> {
    let reports = blocks(now, streams);
    marshal(&[
        Box::new(ReceiverReport {
            ssrc,
            reports,
            profile_extensions: Bytes::new(),
        }),
        Box::new(Goodbye {
            sources: vec![ssrc],
            reason: Bytes::new(),
        }),
    ])
}

fn marshal(packets: &[Box<dyn Packet>]) -> Option<BytesMut> {
    rtc::rtcp::packet::marshal(packets)
        .inspect_err(|e| log::error!("cannot build RTCP: {e}"))
        .ok()
}

fn blocks(now: Instant, streams: &mut [Stream]) -> Vec<ReceptionReport> {
    streams
        .iter_mut()
        .take(MAX_BLOCKS)
        .map(|stream| {
            let block = stream.report();
            let (last, delay) = match stream.sender_report {
                Some((ntp, at)) => (ntp, (now.saturating_duration_since(at).as_secs_f64() * 65_536.0) as u32),
                None => (0, 0),
            };
            ReceptionReport {
                ssrc: block.ssrc,
                fraction_lost: block.fraction_lost,
                total_lost: block.cumulative_lost,
                last_sequence_number: block.highest_seq,
                jitter: block.jitter,
                last_sender_report: last,
                delay,
            }
        })
        .collect()
}

/// Reads a decrypted compound. `None` if it isn't RTCP.
pub(super) fn read(
    created: Instant,
    now: Instant,
    ssrc: u32,
    mut plain: &[u8],
    streams: &mut [Stream],
) -> Option<Heard> {
    let packets = rtc::rtcp::packet::unmarshal(&mut plain).ok()?;
    let mut heard = Heard::default();
    for packet in &packets {
        let any = packet.as_any();
        let reports = if let Some(sr) = any.downcast_ref::<WireSenderReport>() {
            heard.sender_report = Some(SenderReport {
                ssrc: sr.ssrc,
                ntp: sr.ntp_time,
                rtp_timestamp: sr.rtp_time,
                packets: sr.packet_count,
                octets: sr.octet_count,
                at: now,
            });
            if let Some(stream) = streams.iter_mut().find(|stream| stream.ssrc() == sr.ssrc) {
                stream.sender_report = Some((middle(sr.ntp_time), now));
            }
            &sr.reports
        } else if let Some(rr) = any.downcast_ref::<ReceiverReport>() {
            &rr.reports
        } else if let Some(nack) = any.downcast_ref::<TransportLayerNack>() {
            if nack.media_ssrc == ssrc {
                heard.asked.extend(nack.nacks.iter().copied().flatten());
            }
            continue;
        } else {
            heard.bye |= any.is::<Goodbye>();
            continue;
        };
        if let Some(block) = reports.iter().find(|block| block.ssrc == ssrc) {
            heard.reported = Some(reported(created, now, block));
        }
    }
    Some(heard)
}

fn reported(created: Instant, now: Instant, block: &ReceptionReport) -> Reported {
    let round_trip = (block.last_sender_report != 0).then(|| {
        let units = middle(ntp(created, now))
            .wrapping_sub(block.last_sender_report)
            .wrapping_sub(block.delay);
        // A clock that runs a little fast at the other end makes it negative.
        Duration::from_secs_f64(f64::from((units as i32).max(0)) / 65_536.0)
    });
    Reported {
        fraction_lost: f32::from(block.fraction_lost) / 256.0,
        // 24 bits, signed.
        cumulative_lost: ((block.total_lost << 8) as i32) >> 8,
        jitter: Duration::from_secs_f64(f64::from(block.jitter) / CLOCK_RATE),
        round_trip,
        highest_seq: block.last_sequence_number,
    }
}
