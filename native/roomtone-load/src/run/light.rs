//! A participant with our own client: one task, one UDP socket.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::sleep_until;

use super::cast::Role;
use super::hearing::Hearing;
use super::{JoinError, Phase, Shared, Took};
use roomtone_testkit::peer::{ClientOptions, ClientPeer, CloseReason, Direction, Event, Stats};

const PACKET_TIME: Duration = Duration::from_millis(20);
const SAMPLES: u32 = 960;
/// A talker that was kept from talking for so long doesn't catch up.
const TOO_LATE: Duration = Duration::from_millis(200);
/// Datagrams read before something else gets a turn.
const BATCH: usize = 64;
/// More than any datagram on an Ethernet.
const BUFFER: usize = 2048;
const FAR: Duration = Duration::from_secs(3600);

struct Peer<'a> {
    shared: &'a Shared,
    role: Role,
    client: ClientPeer,
    socket: UdpSocket,
    hearing: Option<Hearing>,
    offered: Instant,
    somebody_talked: bool,
    next_talk: Option<Instant>,
    timestamp: u32,
    talked: bool,
    first_audio: Option<Instant>,
    baseline: Option<Stats>,
    closed: Option<CloseReason>,
}

pub(super) async fn participate(shared: &Shared, role: Role) -> Result<Took, JoinError> {
    let mut phase = shared.phase.clone();
    let turn = tokio::select! {
        turn = shared.joins.acquire() => turn.map_err(|_| JoinError::Interrupted)?,
        () = reached(&mut phase, Phase::Leaving) => return Err(JoinError::Interrupted),
    };
    let socket = UdpSocket::bind((shared.config.bind, 0)).await?;
    // With a listener's offer of sendrecv too: who publishes by WHIP hears the room.
    let options = ClientOptions {
        direction: Direction::SendRecv,
        profiles: shared.config.profiles,
        stereo: shared.config.stereo,
        cname: role.name.replace(' ', "-"),
        ..ClientOptions::default()
    };
    let offered = Instant::now();
    shared.offering(offered);
    let somebody_talked = shared.talking.load(Relaxed) > 0;
    let mut client = ClientPeer::new(offered, options)?;
    let offer = client.offer();
    let session = tokio::select! {
        session = shared.whip.post(&offer) => session?,
        () = reached(&mut phase, Phase::Leaving) => return Err(JoinError::Interrupted),
    };
    let accepted = client.accept_answer(Instant::now(), &session.answer);
    let hearing = role.ear.then(|| Hearing::new(shared.config.probes, role.probe));
    let mut peer = Peer {
        shared,
        role,
        client,
        socket,
        hearing,
        offered,
        somebody_talked,
        next_talk: None,
        timestamp: rand::random(),
        talked: false,
        first_audio: None,
        baseline: None,
        closed: None,
    };
    let joined = match accepted {
        Ok(()) => peer.join(&mut phase).await,
        Err(error) => Err(error.into()),
    };
    drop(turn);
    let stayed = match joined {
        Ok(connect) => peer.stay(&mut phase).await.map(|()| connect),
        Err(error) => Err(error),
    };
    // Before BYE, which may end the session on the server's side: then there would be nothing left to DELETE.
    let deleted = shared.delete(&session).await;
    let mut took = peer.leave(stayed?).await;
    if let (Err(error), None) = (deleted, &took.ended) {
        took.ended = Some(format!("DELETE at the end: {error}"));
    }
    Ok(took)
}

/// Waits until the run is in this phase or a later one.
pub(super) async fn reached(phase: &mut watch::Receiver<Phase>, wanted: Phase) {
    // The sender lives as long as the run: an error is its end.
    let _ = phase.wait_for(|phase| *phase >= wanted).await;
}

impl Peer<'_> {
    async fn join(&mut self, phase: &mut watch::Receiver<Phase>) -> Result<Duration, JoinError> {
        while !self.client.is_connected() {
            if let Some(reason) = &self.closed {
                return Err(JoinError::Media(reason.to_string()));
            }
            if *phase.borrow() == Phase::Leaving {
                return Err(JoinError::Interrupted);
            }
            self.turn(phase).await?;
        }
        let now = Instant::now();
        self.shared.joined(now);
        if self.role.talk.is_some() {
            self.shared.talking.fetch_add(1, Relaxed);
            self.next_talk = Some(now);
        }
        Ok(now - self.offered)
    }

    async fn stay(&mut self, phase: &mut watch::Receiver<Phase>) -> Result<(), JoinError> {
        loop {
            let current = *phase.borrow_and_update();
            match current {
                Phase::Joining => {}
                Phase::Steady if self.baseline.is_some() => {}
                Phase::Steady => self.baseline = Some(self.client.stats()),
                Phase::Leaving => return Ok(()),
            }
            if self.closed.is_some() {
                reached(phase, Phase::Leaving).await;
                return Ok(());
            }
            self.turn(phase).await?;
        }
    }

    /// Waits for the next thing to do, and does it.
    async fn turn(&mut self, phase: &mut watch::Receiver<Phase>) -> Result<(), JoinError> {
        self.flush().await;
        let due = [self.client.poll_timeout(), self.next_talk].into_iter().flatten().min();
        let due = due.unwrap_or_else(|| Instant::now() + FAR);
        tokio::select! {
            biased;
            readable = self.socket.readable() => {
                readable?;
                self.read();
            }
            () = sleep_until(due.into()) => {}
            _ = phase.changed() => {}
        }
        let now = Instant::now();
        if self.client.poll_timeout().is_some_and(|at| at <= now) {
            self.client.handle_timeout(now);
        }
        self.talk(now);
        self.listen(now);
        Ok(())
    }

    fn read(&mut self) {
        let mut buffer = [0u8; BUFFER];
        for _ in 0..BATCH {
            match self.socket.try_recv_from(&mut buffer) {
                Ok((length, from)) => {
                    let now = Instant::now();
                    self.client.handle_datagram(now, from, &mut buffer[..length]);
                    self.listen(now);
                }
                // Would block; or an ICMP error, which says nothing of the next datagram.
                Err(_) => return,
            }
        }
    }

    fn listen(&mut self, now: Instant) {
        while let Some(event) = self.client.poll_event() {
            match event {
                Event::Connected => {}
                Event::Audio(audio) => {
                    self.first_audio.get_or_insert(now);
                    self.shared.packets_in.fetch_add(1, Relaxed);
                    if let Some(hearing) = &mut self.hearing {
                        hearing.packet(now, &audio, &self.shared.board);
                    }
                }
                Event::Closed(reason) => {
                    self.next_talk = None;
                    self.closed = Some(reason);
                }
            }
        }
    }

    fn talk(&mut self, now: Instant) {
        let Some(mut due) = self.next_talk else { return };
        if now.saturating_duration_since(due) > TOO_LATE {
            due = now;
        }
        while due <= now {
            if let Some(packet) = self.role.next_packet(&self.shared.board, now) {
                let marker = !std::mem::replace(&mut self.talked, true);
                if self
                    .client
                    .send_opus(now, self.timestamp, marker, Some(packet.level), &packet.payload)
                {
                    self.shared.packets_out.fetch_add(1, Relaxed);
                }
            }
            self.timestamp = self.timestamp.wrapping_add(SAMPLES);
            due += PACKET_TIME;
        }
        self.next_talk = Some(due);
    }

    async fn flush(&mut self) {
        while let Some((to, data)) = self.client.poll_transmit() {
            // A candidate of another address family, or a full buffer: UDP may lose packets anyway.
            if let Err(error) = self.socket.send_to(&data, to).await {
                log::debug!("{}: cannot send to {to}: {error}", self.role.name);
            }
        }
    }

    async fn leave(mut self, connect: Duration) -> Took {
        let ended = self.closed.as_ref().map(ToString::to_string);
        self.client.close(Instant::now());
        self.flush().await;
        let stats = self.client.stats();
        let lost = |stats: &Stats| stats.streams.iter().map(|stream| stream.lost).sum::<i64>();
        let before = self.baseline.unwrap_or_default();
        Took {
            connect,
            first_audio: self
                .first_audio
                .filter(|_| self.somebody_talked)
                .map(|at| at - self.offered),
            packets_in: stats.packets_received - before.packets_received,
            packets_out: stats.packets_sent - before.packets_sent,
            lost: lost(&stats) - lost(&before),
            rejected: stats.rejected - before.rejected,
            hearing: self.hearing,
            ended,
        }
    }
}
