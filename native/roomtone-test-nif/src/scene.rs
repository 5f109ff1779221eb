//! A room on a virtual clock.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use roomtone_engine::{Action, Command, Event, MixConfig, PeerId, Shard};
use roomtone_testkit::peer::ClientPeer;
use roomtone_transport::{Certificate, NtpClock, TransportConfig};

use crate::participant::Participant;

/// The smallest step of time.
const STEP: Duration = Duration::from_millis(1);
/// The wall clock at the beginning of every scene, since 1970.
const WALL_CLOCK: Duration = Duration::from_secs(1_700_000_000);
const MAX_PEERS: usize = 10_000;

/// The core of a shard with one room in it, everybody in that room, and their clock.
pub(crate) struct Scene {
    pub(crate) now: Instant,
    server: SocketAddr,
    shard: Shard,
    participants: BTreeMap<PeerId, Participant>,
    /// Offered, and not answered yet: the peer whom the offer is about, the one whom it may make, and the client.
    offered: Vec<(PeerId, PeerId, Participant)>,
    made: usize,
}

impl Scene {
    pub(crate) fn new(mix: MixConfig) -> Result<Scene, String> {
        let now = Instant::now();
        let server = SocketAddr::from(([192, 0, 2, 1], 50_000));
        let certificate = Arc::new(Certificate::generate().map_err(|error| error.to_string())?);
        let transport = TransportConfig::new(vec![server], NtpClock::from_unix(now, WALL_CLOCK));
        Ok(Scene {
            now,
            server,
            shard: Shard::new(now, transport, certificate, mix, MAX_PEERS),
            participants: BTreeMap::new(),
            offered: Vec::new(),
            made: 0,
        })
    }

    /// Carries out a command. `client` is the one that made the offer in it; an offer of nobody's is answered, too, and never
    /// connects. Returns the events.
    pub(crate) fn command(&mut self, command: Command, client: Option<ClientPeer>) -> Result<Vec<Event>, String> {
        if let Some(client) = client {
            let (peer, made) = match command.action {
                Action::Join { peer, .. } => (peer, peer),
                Action::Reoffer { peer, replacement, .. } => (peer, replacement),
                _ => return Err("only an offer comes with a client".to_owned()),
            };
            let participant = Participant::new(self.now, self.made, client)?;
            self.made += 1;
            self.offered.push((peer, made, participant));
        }
        self.shard.handle_command(self.now, command);
        let mut events = Vec::new();
        self.collect(&mut events)?;
        Ok(events)
    }

    /// Lets time pass. Returns the events.
    pub(crate) fn advance(&mut self, duration: Duration) -> Result<Vec<Event>, String> {
        let until = self.now + duration;
        let mut events = Vec::new();
        while self.now < until {
            self.now += STEP;
            for participant in self.participants.values_mut() {
                participant.handle_time(self.now)?;
            }
            self.send_to_server();
            if self.shard.poll_timeout().is_some_and(|due| due <= self.now) {
                self.shard.handle_timeout(self.now);
            }
            self.collect(&mut events)?;
        }
        Ok(events)
    }

    pub(crate) fn participant(&mut self, peer: PeerId) -> Option<&mut Participant> {
        self.participants.get_mut(&peer)
    }

    /// A listener and a speaker.
    pub(crate) fn pair(&self, listener: PeerId, speaker: PeerId) -> Option<(&Participant, &Participant)> {
        Some((self.participants.get(&listener)?, self.participants.get(&speaker)?))
    }

    fn send_to_server(&mut self) {
        for participant in self.participants.values_mut() {
            while let Some((to, data)) = participant.peer.poll_transmit() {
                if to == self.server {
                    self.shard
                        .handle_datagram(self.now, participant.address, &mut data.to_vec());
                }
            }
        }
    }

    // Moves events and datagrams of the shard to where they belong.
    fn collect(&mut self, events: &mut Vec<Event>) -> Result<(), String> {
        while let Some(event) = self.shard.poll_event() {
            self.take(&event)?;
            events.push(event);
        }
        let outgoing: Vec<(SocketAddr, Vec<u8>)> = self
            .shard
            .outbox()
            .iter()
            .map(|(to, data)| (to, data.to_vec()))
            .collect();
        self.shard.outbox().clear();
        for (to, mut data) in outgoing {
            if let Some(participant) = self.participants.values_mut().find(|p| p.address == to) {
                participant.handle_datagram(self.now, self.server, &mut data)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, event: &Event) -> Result<(), String> {
        match event {
            Event::Answer { peer, sdp, .. } => {
                if let Some(mut participant) = self.take_offered(*peer) {
                    participant
                        .peer
                        .accept_answer(self.now, sdp)
                        .map_err(|error| error.to_string())?;
                    self.participants.insert(*peer, participant);
                }
            }
            Event::Refused { peer, .. } => {
                self.take_offered(*peer);
            }
            Event::Slots {
                peer,
                slots,
                others,
                rest,
                ..
            } => {
                if let Some(participant) = self.participants.get_mut(peer) {
                    let slots = slots.iter().map(|slot| (slot.source, slot.gain));
                    let others = others.iter().map(|other| (other.source, other.gain));
                    participant.ear.set_gains(others.chain(slots), *rest);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn take_offered(&mut self, id: PeerId) -> Option<Participant> {
        let place = self
            .offered
            .iter()
            .position(|(peer, made, _)| *peer == id || *made == id)?;
        Some(self.offered.remove(place).2)
    }
}
