//! A participant as a room sees them: a transport endpoint, a jitter buffer, and which mix they hear.

use std::time::Instant;

use roomtone_audio::{AudioLevel, Channels, Playout, PlayoutConfig, RtpMeta};
use roomtone_transport::{AudioOut, CloseReason, Endpoint, Event as TransportEvent, RtpIn, SlotOut};

use super::forward::{Hearing, Voice};
use super::outputs::SlotId;
use super::select::Standing;
use super::speaking::{Detector, SILENCE};
use crate::command::{Event, PeerId, PeerStats, RoomId};
use crate::context::Common;
use crate::relay::{Route, ShardIndex};

pub(super) struct Peer {
    pub(super) id: PeerId,
    pub(super) endpoint: Endpoint,
    /// The shard whose socket they talk to.
    pub(super) home: ShardIndex,
    pub(super) speak: bool,
    pub(super) listen: bool,
    /// Made by the first packet: who never speaks needs no decoder.
    pub(super) playout: Option<Playout>,
    pub(super) detector: Detector,
    pub(super) standing: Standing,
    /// The level of their last decoded frame (−dBov), where they don't tell it themselves.
    pub(super) measured: u8,
    pub(super) tells_levels: bool,
    /// In a room that forwards: how they are as a talker, and whom they hear.
    pub(super) voice: Option<Voice>,
    pub(super) hearing: Hearing,
    /// Which of the room's outputs they hear.
    pub(super) output: Option<SlotId>,
    /// Whether their last tick sent a packet, so that the next talk spurt gets its marker bit (RFC 3551 §4.1).
    in_spurt: bool,
    connected: bool,
}

impl Peer {
    pub(super) fn new(id: PeerId, home: ShardIndex, endpoint: Endpoint, speak: bool, listen: bool) -> Peer {
        Peer {
            id,
            endpoint,
            home,
            speak,
            listen,
            playout: None,
            detector: Detector::default(),
            standing: Standing::default(),
            measured: SILENCE,
            tells_levels: false,
            voice: None,
            hearing: Hearing::default(),
            output: None,
            in_spurt: false,
            connected: false,
        }
    }

    /// Their packets, and those for them, are forwarded; theirs are marked as of this source. Who has no further m-lines for it gets one
    /// talker on the only one there is.
    pub(super) fn forward(&mut self, source: u32) {
        self.voice = Some(Voice::new(source));
        self.hearing = Hearing::new(self.endpoint.slots().max(1));
    }

    /// Takes what the endpoint has to tell and to send; `Some` when the endpoint is over.
    pub(super) fn drain(&mut self, room: RoomId, common: &mut Common) -> Option<CloseReason> {
        let mut closed = None;
        let place = (room, self.id);
        while let Some(event) = self.endpoint.poll_event() {
            match event {
                TransportEvent::AddressValidated(address) => common.route(self.home, place, Route::Address(address)),
                TransportEvent::AddressRetired(address) => {
                    common.route(self.home, place, Route::RetireAddress(address));
                }
                TransportEvent::UfragRetired(ufrag) => common.route(self.home, place, Route::RetireUfrag(ufrag)),
                TransportEvent::Connected => {
                    if !std::mem::replace(&mut self.connected, true) {
                        self.hearing.tell_anew();
                        common.events.push_back(Event::Connected { room, peer: self.id });
                    }
                }
                TransportEvent::RemoteStats(_) => {} // the endpoint's own figures keep it
                TransportEvent::Closed(reason) => closed = Some(reason),
            }
        }
        while let Some(transmit) = self.endpoint.poll_transmit() {
            common.outbox_of(self.home).push(transmit.to, &transmit.data);
        }
        closed
    }

    /// Takes a packet of theirs to be mixed. Whether it can be.
    pub(super) fn take_packet(&mut self, now: Instant, packet: &RtpIn<'_>) -> bool {
        if self.playout.is_none() {
            match Playout::new(PlayoutConfig::default()) {
                Ok(playout) => self.playout = Some(playout),
                Err(error) => {
                    log::error!("no decoder for participant {}: {error}", self.id);
                    return false;
                }
            }
        }
        let meta = RtpMeta {
            seq: packet.seq,
            timestamp: packet.timestamp,
            marker: packet.marker,
            level: packet.level.map(|(dbov_minus, voice)| AudioLevel { dbov_minus, voice }),
        };
        if let Some(playout) = self.playout.as_mut() {
            playout.insert(now, meta, packet.payload);
        }
        true
    }

    /// Lets them be heard or not. What was buffered is thrown away: after an unmute nobody hears what was said before the mute.
    pub(super) fn set_speak(&mut self, speak: bool) {
        self.speak = speak;
        if !speak {
            self.playout = None;
            self.standing = Standing::default();
            if let Some(voice) = self.voice.as_mut() {
                voice.forget();
            }
        }
    }

    /// Lets them hear or not.
    pub(super) fn set_listen(&mut self, listen: bool) {
        self.listen = listen;
        if !listen {
            self.hearing.pause(None);
        }
    }

    /// Nothing is sent to them for now: what comes next begins a talk spurt.
    pub(super) fn rest(&mut self) {
        self.output = None;
        self.in_spurt = false;
    }

    /// Sends one tick's packet, or nothing.
    pub(super) fn send(&mut self, now: Instant, common: &mut Common, timestamp: u32, packet: Option<(&[u8], u8)>) {
        let Some((payload, level)) = packet else {
            self.in_spurt = false;
            return;
        };
        let marker = !self.in_spurt;
        let audio = AudioOut {
            timestamp,
            marker,
            level: Some(level),
            payload,
        };
        if self.endpoint.send_audio(now, audio, common.outbox_of(self.home)) {
            self.in_spurt = true;
            common.stats.packets_sent += 1;
        }
    }

    /// Sends another's packet on to them.
    #[allow(clippy::too_many_arguments)] // all of them are facts of one packet
    pub(super) fn send_on(
        &mut self,
        now: Instant,
        common: &mut Common,
        slot: usize,
        packet: &RtpIn<'_>,
        source: u32,
        level: u8,
        samples: u32,
        media_time: u32,
    ) {
        let held = &mut self.hearing.slots[slot];
        let placed = held.place(packet.ssrc, packet.seq, packet.timestamp, packet.marker, media_time);
        let Some(placed) = placed else { return };
        let audio = SlotOut {
            sequence: placed.place.sequence,
            timestamp: placed.place.timestamp,
            marker: placed.place.marker,
            csrc: Some(source),
            level: Some(level),
            payload: packet.payload,
        };
        if self.endpoint.send_slot(now, slot, &audio, common.outbox_of(self.home)) {
            held.sent(&placed, samples);
            common.stats.packets_sent += 1;
        }
    }

    /// What they hear: stereo if they asked for it and the room has it.
    pub(super) fn channels(&self) -> Channels {
        if self.endpoint.sends_stereo() {
            Channels::Stereo
        } else {
            Channels::Mono
        }
    }

    /// Whether the mix of the others should be made for them.
    pub(super) fn hears(&self) -> bool {
        self.listen && self.connected && self.endpoint.can_send()
    }

    /// Whether the room must tick for them: sound is buffered, or they count as speaking.
    pub(super) fn is_active(&self) -> bool {
        self.detector.speaking()
            || self.hearing.changed
            || self.playout.as_ref().is_some_and(|playout| !playout.is_idle())
    }

    /// Their figures; `alone`: nobody else hears the mix that they hear.
    pub(super) fn stats(&self, alone: bool) -> PeerStats {
        let transport = self.endpoint.stats();
        let playout = self.playout.as_ref().map(Playout::stats).unwrap_or_default();
        let ms = |duration: std::time::Duration| duration.as_secs_f64() * 1000.0;
        PeerStats {
            connected: self.connected,
            packets_in: transport.packets_in,
            bytes_in: transport.bytes_in,
            packets_out: transport.packets_out,
            bytes_out: transport.bytes_out,
            rejected: transport.auth_failures + transport.replayed + transport.unknown_ssrc + transport.malformed,
            lost_in: u64::try_from(transport.lost).unwrap_or(0),
            concealed: playout.concealed,
            late: playout.late,
            jitter_ms: ms(transport.jitter),
            buffer_target_ms: ms(playout.target_delay),
            buffer_ms: ms(playout.current_delay),
            round_trip_ms: transport.round_trip.map(ms),
            fraction_lost_out: transport.remote_fraction_lost.map(f64::from),
            remote_jitter_ms: transport.remote_jitter.map(ms),
            private_mix: alone,
        }
    }
}
