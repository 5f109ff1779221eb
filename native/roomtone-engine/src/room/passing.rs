//! Pass-through: a listener of a mixing room who hears one talker gets that talker's packets as they come.
//!
//! Where one talker speaks, at their own loudness, the packet that came is already the best possible mix: nothing is decoded or encoded for
//! its listeners, and nothing waits for a tick. It is re-addressed onto the listener's one stream ([`ListenerStream`](super::listener_stream)).
//!
//! - *The one talker*: the levels in a talker's packets tell whether they speak ([`VoiceActivity`](super::voice_activity)). The noise of
//!   others isn't mixed with a voice; in pauses the noise of the last speaker goes on.
//! - *From a mix to packets*: with a packet that comes while the mix is silent, or has the talker's pause and nothing else in it. Packets that wait
//!   in the jitter buffer are skipped, and with them the delay that a mix has. The first packet is [introduced](super::introduction) by one that the listener's
//!   decoder can take whatever it has heard until then. Music has no pause: [`crossing`](super::crossing).
//! - *From packets to a mix*: with the next tick ([`Feed::Leaving`]). The listener has heard what the jitter buffer still holds; so the talker is taken
//!   up a whole number of pitch periods before the end of it, a fresh encoder hears what came before, and leaves out prediction for
//!   one frame ([`Seam`](roomtone_audio::Seam)).

use std::cell::Cell;
use std::time::Instant;

use roomtone_audio::{Channels, Decoder, LOOKAHEAD_SAMPLES};
use roomtone_transport::{MAX_PAYLOAD, RtpIn, SlotOut};

use super::adaptation::Step;
use super::base::RoomBase;
use super::context::ShardContext;
use super::feed::{Feed, Newest, PacketTrend, PassScratch, Recalled};
use super::introduction::Introduction;
use super::mixing::{MixedPeer, Mixing};
use super::peer::Peer;
use super::scratch::Scratch;
use super::speech_detector::SILENCE;
use crate::command::PeerId;
use crate::trace::Way;

/// Gains between these make no difference to be heard: 0.25 dB.
const UNITY: std::ops::RangeInclusive<f32> = 0.971_6..=1.029_2;
/// Samples of the packets that are passed on, 20 to 60 ms: shorter ones cost every listener several packets, longer ones no client has asked for.
const SAMPLES: std::ops::RangeInclusive<u32> = 960..=2880;
/// The most bits a second that a talker may send to be passed on: what they send goes to every listener. Music has 128,000 on average, but
/// Opus begins with twice as much.
const MOST_BITRATE: f32 = 128_000.0;
const MOST_MUSIC_BITRATE: f32 = 256_000.0;
/// A packet of at most so many bytes has no sound of its own (DTX).
const DTX: usize = 2;
/// For how many frames a talker must have paused in a mix before their packets follow on it.
pub(super) const PAUSED_FRAMES: u16 = 2;
/// Frames of a talker that are missing before a mix ends what was passed on of them.
const MISSING_FRAMES: u16 = 2;
/// A listener's stream that has got ahead of media time by this much gives it back in the talker's next pause: 40 ms; before the first packet is sent,
/// whose introduction takes a frame, 20 ms.
const AHEAD: i32 = 1920;
const AHEAD_AT_FIRST: i32 = 960;
/// A listener who lags behind a talker's newest packet by more than this (100 ms) has heard something else.
const MOST_UNHEARD: u32 = 4800;

/// A packet on its way.
struct Arrival<'a> {
    packet: &'a RtpIn<'a>,
    talker: usize,
    id: PeerId,
    level: u8,
    samples: u32,
    media_time: u32,
    trend: PacketTrend,
    /// Whether the talker speaks.
    speaks: bool,
    /// Whether the talker passes the noise gate.
    open: bool,
    /// Whether the packet is a pause.
    pause: bool,
    /// Whether all packets of the talker in the jitter buffer are.
    waiting_pause: bool,
    /// The two other talkers past the noise gate who spoke last, the latest first.
    rivals: [Option<usize>; 2],
    /// Whether the talker that was looked at last gives way to this one.
    gives_way: Cell<Option<(PeerId, bool)>>,
}

impl Mixing {
    /// Passes a talker's packet on to the listeners who can take it. `waiting`: the number of the talker's packets that waited for a tick;
    /// `jumped`: their stream has begun anew with this one.
    pub(super) fn pass_on(
        &mut self,
        base: &mut RoomBase,
        now: Instant,
        context: &mut ShardContext,
        talker: usize,
        packet: &RtpIn<'_>,
        (level, waiting, jumped): (u8, usize, bool),
    ) {
        let Ok(info) = roomtone_audio::packet::parse(packet.payload) else {
            return;
        };
        let state = &mut self.peers[talker];
        let waiting_pause = usize::from(state.trend.pauses) >= waiting;
        state.trend.music = state.treatment.is_music();
        let pause =
            (state.trend.music && packet.payload.len() <= DTX) || state.is_pause(level, context.mix.speaking_threshold);
        state.trend.update(&info, packet.payload.len(), pause);
        if jumped {
            state.trend.newest = None;
        }
        state.trend.note(Newest::of(packet, info.samples));
        let (most, may_be_stereo) = if state.trend.music {
            (MOST_MUSIC_BITRATE, true)
        } else {
            (MOST_BITRATE, false)
        };
        state.trend.passable = (may_be_stereo || !info.stereo)
            && SAMPLES.contains(&info.samples)
            && packet.payload.len() <= MAX_PAYLOAD
            && state.trend.bitrate <= most
            && state.is_unchanged()
            && state.bucket.take(now, packet.payload.len());
        let arrival = Arrival {
            packet,
            talker,
            id: base.peers[talker].id,
            level,
            samples: info.samples,
            media_time: base.grid.media_time(now),
            trend: state.trend,
            speaks: state.activity.speaks(now),
            open: state.activity.is_open(now),
            pause,
            waiting_pause,
            rivals: self.rivals(now, talker),
            gives_way: Cell::new(None),
        };
        let mut scratch = std::mem::take(&mut context.scratch.pass);
        let mut introduction = std::mem::take(&mut context.scratch.introduction);
        introduction.renew();
        self.who_speaks(now, &mut scratch.speaking);
        for index in (0..self.peers.len()).filter(|index| *index != talker) {
            if !self.gets(base, now, &arrival, index, &scratch.speaking) {
                if base.grid.waits() && self.awaits_mix(base, &arrival, index) {
                    base.grid.hurry();
                }
                continue;
            }
            if self.draws_back(&arrival, index) {
                continue;
            }
            let listener = &mut base.peers[index];
            if !self.peers[index].introduced {
                context.stats.mode_changes += 1;
                self.introduce(listener, now, context, &arrival, index, &mut introduction);
                self.peers[index].introduced = true;
            }
            let listener_id = listener.id;
            if self.send_passed(listener, now, context, &arrival, index) && !base.traces.is_empty() {
                let at = context.moment(now);
                base.traces
                    .sealed(base.id, context, listener_id, Way::Passed, at, |id| id == arrival.id);
            }
        }
        context.scratch.pass = scratch;
        context.scratch.introduction = introduction;
    }

    fn who_speaks(&self, now: Instant, speaking: &mut Vec<usize>) {
        speaking.clear();
        let peers = self.peers.iter().enumerate();
        speaking.extend(peers.filter(|(_, peer)| peer.activity.speaks(now)).map(|(at, _)| at));
    }

    // Of all talkers past the noise gate but one, the two who spoke last.
    fn rivals(&self, now: Instant, but: usize) -> [Option<usize>; 2] {
        let mut last = [None; 2];
        let open = |(at, peer): &(usize, &MixedPeer)| *at != but && peer.activity.is_open(now);
        for (at, peer) in self.peers.iter().enumerate().filter(open) {
            let spoke = |at: Option<usize>| at.and_then(|at| self.peers[at].activity.spoke_at());
            if last[0].is_none() || peer.activity.spoke_at() > spoke(last[0]) {
                last = [Some(at), last[0]];
            } else if last[1].is_none() || peer.activity.spoke_at() > spoke(last[1]) {
                last[1] = Some(at);
            }
        }
        last
    }

    /// The talker whose noise is mixed while nobody speaks: the last who did.
    pub(super) fn floor_holder(&self, at: Instant) -> Option<usize> {
        self.rivals(at, usize::MAX)[0]
    }

    // Whether a listener gets this packet. Changes their feed if it is the first one, or if they can't take such packets any longer.
    fn gets(
        &mut self,
        base: &RoomBase,
        now: Instant,
        arrival: &Arrival<'_>,
        listener: usize,
        speaking: &[usize],
    ) -> bool {
        match self.peers[listener].feed {
            Feed::Leaving(_) => return false,
            Feed::Passed(talker) if talker == arrival.id => {
                if !base.peers[listener].hears() {
                    self.peers[listener].deafen();
                } else if !takes(base, listener, arrival.id, &arrival.trend) {
                    self.peers[listener].feed = Feed::Leaving(talker);
                } else if !arrival.open {
                    self.peers[listener].stream.pause();
                } else {
                    return true;
                }
                return false;
            }
            Feed::Passed(talker) => {
                // Most listeners have the same.
                let known = arrival.gives_way.get().filter(|(holder, _)| *holder == talker);
                let gives_way = known.map_or_else(|| self.gives_way(base, now, arrival, talker), |known| known.1);
                arrival.gives_way.set(Some((talker, gives_way)));
                if !gives_way {
                    return false;
                }
            }
            Feed::Mix if !arrival.speaks && self.is_outdone(base, arrival, listener) => return false,
            Feed::Mix if !self.may_leave_mix(listener, arrival) => return false,
            Feed::Mix => {}
        }
        if !arrival.open
            || !base.peers[listener].hears()
            || !takes(base, listener, arrival.id, &arrival.trend)
            || hears_other(base, listener, arrival.talker, speaking)
        {
            return false;
        }
        let peer = &mut self.peers[listener];
        peer.feed = Feed::Passed(arrival.id);
        peer.mix = None;
        peer.stream.give(arrival.id);
        peer.introduced = false;
        peer.awaits_packet = false;
        true
    }

    // Whether a talker whose packets are passed on gives way to this one's.
    fn gives_way(&self, base: &RoomBase, now: Instant, arrival: &Arrival<'_>, talker: PeerId) -> bool {
        let holder = base.position(talker).map(|at| &self.peers[at].activity);
        holder.is_none_or(|holder| (arrival.speaks && !holder.speaks(now)) || (arrival.open && !holder.is_open(now)))
    }

    // Whether the next tick has something for a listener who doesn't get this packet.
    fn awaits_mix(&self, base: &RoomBase, arrival: &Arrival<'_>, listener: usize) -> bool {
        match self.peers[listener].feed {
            Feed::Leaving(_) => true,
            Feed::Passed(talker) if talker == arrival.id => false,
            Feed::Passed(_) | Feed::Mix => {
                arrival.speaks && base.peers[listener].hears() && hears(base, listener, arrival.talker)
            }
        }
    }

    /// Whether everybody who hears a talker is passed their packets.
    pub(super) fn is_passed_to_all(&self, base: &RoomBase, talker: usize) -> bool {
        let id = base.peers[talker].id;
        let mut others = (0..self.peers.len()).filter(|index| *index != talker);
        others.all(|listener| {
            self.peers[listener].feed == Feed::Passed(id)
                || !base.peers[listener].hears()
                || !hears(base, listener, talker)
        })
    }

    // Whether a listener's stream gives back what it is ahead of media time: with a pause of the talker that isn't sent.
    fn draws_back(&mut self, arrival: &Arrival<'_>, listener: usize) -> bool {
        let peer = &mut self.peers[listener];
        let ahead = peer.stream.ahead(arrival.media_time);
        let draws_back = if peer.introduced {
            arrival.pause && !arrival.speaks && ahead >= AHEAD
        } else {
            arrival.pause && ahead >= AHEAD_AT_FIRST
        };
        if draws_back {
            // The next packet is placed anew.
            peer.stream.give(arrival.id);
        }
        draws_back
    }

    // Sends what leads up to a talker's first packet.
    fn introduce(
        &mut self,
        listener: &mut Peer,
        now: Instant,
        context: &mut ShardContext,
        arrival: &Arrival<'_>,
        index: usize,
        introduction: &mut Introduction,
    ) {
        let playout = self.peers[arrival.talker].playout.as_ref();
        let Some((level, payload)) = introduction.get(playout, arrival.packet.payload, arrival.samples) else {
            return;
        };
        let stream = &mut self.peers[index].stream;
        let header = stream.introduced(arrival.media_time);
        let audio = SlotOut {
            sequence: header.sequence,
            timestamp: header.timestamp,
            marker: header.marker,
            csrc: None,
            level: Some(level),
            payload,
        };
        if listener.send_slot(now, 0, &audio, context) {
            stream.introduction_sent(&header);
            context.stats.packets_sent += 1;
        }
    }

    // Whether a listener hears the noise of another talker while nobody speaks.
    fn is_outdone(&self, base: &RoomBase, arrival: &Arrival<'_>, listener: usize) -> bool {
        let mut rivals = arrival.rivals.into_iter().flatten().filter(|rival| *rival != listener);
        rivals.next().is_some_and(|rival| {
            let spoke = |at: usize| self.peers[at].activity.spoke_at();
            spoke(rival) > spoke(arrival.talker) && hears(base, listener, rival)
        })
    }

    // Whether the mix of a listener can end here unheard.
    fn may_leave_mix(&self, listener: usize, arrival: &Arrival<'_>) -> bool {
        let Some(mix) = self.peers[listener].mix.and_then(|mix| self.mixes.get(mix)) else {
            return true;
        };
        if mix.encoder.resting() {
            return true;
        }
        let paused = if mix.has(arrival.id) {
            self.peers[arrival.talker].paused_frames >= PAUSED_FRAMES
        } else {
            mix.quiet
        };
        arrival.waiting_pause && paused && mix.has_nobody_but(arrival.id)
    }

    // Sends a talker's packet with the listener's numbers. Whether it was sent.
    fn send_passed(
        &mut self,
        listener: &mut Peer,
        now: Instant,
        context: &mut ShardContext,
        arrival: &Arrival<'_>,
        index: usize,
    ) -> bool {
        let stream = &mut self.peers[index].stream;
        let RtpIn {
            ssrc,
            seq,
            timestamp,
            marker,
            payload,
            ..
        } = *arrival.packet;
        let Some(rewrite) = stream.passed(ssrc, seq, timestamp, marker, arrival.media_time) else {
            return false;
        };
        let audio = SlotOut {
            sequence: rewrite.header.sequence,
            timestamp: rewrite.header.timestamp,
            marker: rewrite.header.marker,
            csrc: None,
            level: Some(arrival.level),
            payload,
        };
        let sent = listener.send_slot(now, 0, &audio, context);
        if sent {
            stream.pass_sent(&rewrite, arrival.samples);
            context.stats.packets_sent += 1;
            context.stats.packets_passed += 1;
        }
        sent
    }

    /// Before the talkers of a tick are chosen: which listeners can't be passed packets any longer.
    pub(super) fn leave_passed(&mut self, base: &RoomBase, at: Instant, scratch: &mut Scratch) {
        let speaking = &mut scratch.pass.speaking;
        self.who_speaks(at, speaking);
        let speaking = &*speaking;
        for index in 0..self.peers.len() {
            let listener = &base.peers[index];
            let Feed::Passed(id) = self.peers[index].feed else {
                self.peers[index].awaits_packet = self.awaits_packet(base, index, speaking);
                continue;
            };
            if !listener.hears() {
                self.peers[index].deafen();
                continue;
            }
            let stays = base.position(id).is_some_and(|talker| {
                let state = &self.peers[talker];
                let broke_off = state.missing_frames >= MISSING_FRAMES && state.trend.pauses == 0;
                is_unity(base.gains.gain(listener.id, id))
                    && state.is_unchanged()
                    && !broke_off
                    && !hears_other(base, index, talker, speaking)
            });
            if !stays {
                self.peers[index].feed = Feed::Leaving(id);
            }
        }
    }

    // Whether the next packet of one talker can be the first sound of a listener.
    fn awaits_packet(&self, base: &RoomBase, listener: usize, speaking: &[usize]) -> bool {
        if self.peers[listener].mix.is_some() || self.peers[listener].feed != Feed::Mix {
            return false;
        }
        let heard = |talker: &&usize| **talker != listener && hears(base, listener, **talker);
        let Some(talker) = speaking.iter().find(heard).copied() else {
            return false;
        };
        let state = &self.peers[talker];
        state.missing_frames == 0
            && takes(base, listener, base.peers[talker].id, &state.trend)
            && !hears_other(base, listener, talker, speaking)
    }

    /// Ends pass-through of a talker who was muted or has left. Whether there was any.
    pub(super) fn end_passed(&mut self, talker: PeerId) -> bool {
        let mut any = false;
        for peer in &mut self.peers {
            if peer.feed == Feed::Passed(talker) {
                peer.feed = Feed::Leaving(talker);
            }
            any |= peer.feed == Feed::Leaving(talker);
        }
        any
    }

    /// Recalls what leaving listeners have heard, takes those talkers up from there, and finds where each listener's mix follows on it.
    pub(super) fn take_up(&mut self, base: &RoomBase, media_time: u32, scratch: &mut Scratch) {
        let PassScratch {
            decoder,
            recalled,
            count,
            ..
        } = &mut scratch.pass;
        *count = 0;
        for index in 0..self.peers.len() {
            let Feed::Leaving(id) = self.peers[index].feed else {
                continue;
            };
            let heard = self.peers[index].stream.source_end();
            let paused = self.peers[index].stream.has_paused(media_time);
            self.peers[index].stream.go_on_mixed(media_time);
            self.peers[index].seam = None;
            let at = base.position(id);
            let fading = self.fading.iter_mut().find(|fading| fading.id == id);
            let playout = match fading {
                Some(fading) => Some(&mut fading.playout),
                None => at.and_then(|at| self.peers[at].playout.as_mut()),
            };
            let (Some(playout), Some(heard), false) = (playout, heard, paused) else {
                continue;
            };
            if decoder.is_none() {
                *decoder = Decoder::new().ok();
            }
            let Some(decoder) = decoder.as_mut() else { continue };
            let known = recalled[..*count].iter().position(|one| one.talker == id);
            let place = known.unwrap_or(*count);
            if known.is_none() {
                if recalled.len() == *count {
                    recalled.push(Recalled::default());
                }
                if !playout.recall(decoder, &mut recalled[place].past) {
                    continue;
                }
                recalled[place].talker = id;
                *count += 1;
            }
            let past = &recalled[place].past;
            let unheard = past.end().wrapping_sub(heard);
            let unheard = if unheard > MOST_UNHEARD { 0 } else { unheard };
            let seam = past.seam(unheard as usize, LOOKAHEAD_SAMPLES);
            if known.is_none() {
                if playout.is_skipped() {
                    playout.resume(decoder, past, seam.back(past));
                }
                // They are heard until now, so they go on or fade out.
                if let Some(at) = at {
                    self.peers[at].go_on_mixed();
                }
            }
            self.peers[index].seam = Some(seam);
        }
    }
}

impl MixedPeer {
    /// Whether a packet or frame of this level (−dBov) is a pause of theirs: in music only silence is.
    pub(super) fn is_pause(&self, level: u8, threshold: u8) -> bool {
        if self.treatment.is_music() {
            level >= SILENCE
        } else {
            self.activity.is_pause(level, threshold)
        }
    }

    /// A listener who isn't sent anything.
    pub(super) fn deafen(&mut self) {
        self.feed = Feed::Mix;
        self.mix = None;
        self.stream.rest();
    }
}

pub(super) fn is_unity(gain: f32) -> bool {
    UNITY.contains(&gain)
}

// Whether a listener takes such packets of a talker as their mix: mono hears no pan, and stereo hears the middle 3 dB softer than a mono packet would be,
// unless it is music.
// A connection that needs FEC or fewer bits gets them from a mix.
pub(super) fn takes(base: &RoomBase, listener: usize, talker: PeerId, trend: &PacketTrend) -> bool {
    let peer = &base.peers[listener];
    let most = peer.endpoint.max_average_bitrate();
    trend.passable
        && (peer.channels() == Channels::Mono || (trend.music && base.gains.of(peer.id, talker).pan == 0.0))
        && peer.adaptation.step() == Step::Full
        && is_unity(base.gains.gain(peer.id, talker))
        && most.is_none_or(|most| trend.bitrate <= most as f32)
}

fn hears(base: &RoomBase, listener: usize, talker: usize) -> bool {
    base.gains.gain(base.peers[listener].id, base.peers[talker].id) > 0.0
}

// Whether a listener hears anybody who speaks beside one talker.
pub(super) fn hears_other(base: &RoomBase, listener: usize, talker: usize, speaking: &[usize]) -> bool {
    let mut others = speaking.iter().filter(|other| **other != listener && **other != talker);
    others.any(|other| hears(base, listener, *other))
}
