//! A participant who joins by WHIP, talks, and notes when sound comes.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use roomtone_load::whip::{Session, Whip};
use roomtone_testkit::fixtures::{TalkLoop, Tone};
use roomtone_testkit::peer::{ClientOptions, ClientPeer, Event};
use tokio::net::UdpSocket;
use tokio::time::sleep_until;

use crate::nodes::Failure;

const PACKET_TIME: Duration = Duration::from_millis(20);
const SAMPLES: u32 = 960;

/// A token for a room.
pub fn token(secret: &str, room: &str) -> Result<String, Failure> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    let claims = serde_json::json!({
        "room": room, "sub": "bench", "name": "bench", "grants": ["speak", "listen"], "iat": now, "exp": now + 3_600,
    });
    let key = EncodingKey::from_secret(secret.as_bytes());
    Ok(jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key)?)
}

/// Somebody who is in a room.
pub struct Caller {
    client: ClientPeer,
    socket: UdpSocket,
    whip: Whip,
    pub session: Session,
    talk: TalkLoop,
    next_talk: Instant,
    timestamp: u32,
    /// When the last packet of sound came.
    pub heard: Option<Instant>,
    closed: bool,
}

impl Caller {
    /// Joins, and returns when ICE and DTLS are done.
    pub async fn join(url: &str, token: &str) -> Result<Caller, Failure> {
        let whip = Whip::new(url, Some(token))?;
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let mut client = ClientPeer::new(Instant::now(), ClientOptions::default())?;
        let offer = client.offer();
        let session = whip.post(&offer).await?;
        client.accept_answer(Instant::now(), &session.answer)?;
        let talk = TalkLoop::encode(Tone::new(300.0, 0.05), 32_000, 50)?;
        let mut caller = Caller {
            client,
            socket,
            whip,
            session,
            talk,
            next_talk: Instant::now(),
            timestamp: 0,
            heard: None,
            closed: false,
        };
        let deadline = Instant::now() + Duration::from_secs(3);
        while !caller.client.is_connected() {
            caller.turn(deadline).await?;
            if Instant::now() >= deadline || caller.closed {
                caller.leave().await;
                return Err("not connected".into());
            }
        }
        Ok(caller)
    }

    /// Goes on until sound has come after this moment; `false` if none has at the deadline.
    pub async fn hear_after(&mut self, moment: Instant, deadline: Instant) -> Result<bool, Failure> {
        while self.heard.is_none_or(|heard| heard <= moment) {
            if Instant::now() >= deadline || self.closed {
                return Ok(false);
            }
            self.turn(deadline).await?;
        }
        Ok(true)
    }

    /// Leaves in good order, if the server is still there.
    pub async fn leave(mut self) {
        // Its web node may be gone, or have forgotten the session.
        let _ = tokio::time::timeout(Duration::from_secs(1), self.whip.delete(&self.session)).await;
        self.client.close(Instant::now());
        self.flush().await;
    }

    async fn turn(&mut self, deadline: Instant) -> Result<(), Failure> {
        self.flush().await;
        let talk = self.client.is_connected().then_some(self.next_talk);
        let due = [self.client.poll_timeout(), talk, Some(deadline)]
            .into_iter()
            .flatten()
            .min();
        tokio::select! {
            biased;
            readable = self.socket.readable() => {
                readable?;
                self.read();
            }
            () = sleep_until(due.unwrap_or(deadline).into()) => {}
        }
        let now = Instant::now();
        if self.client.poll_timeout().is_some_and(|at| at <= now) {
            self.client.handle_timeout(now);
        }
        if self.client.is_connected() && self.next_talk <= now {
            let packet = self.talk.next();
            self.client
                .send_opus(now, self.timestamp, false, Some(packet.level), &packet.payload);
            self.timestamp = self.timestamp.wrapping_add(SAMPLES);
            self.next_talk = (self.next_talk + PACKET_TIME).max(now);
        }
        self.listen(now);
        Ok(())
    }

    fn read(&mut self) {
        let mut buffer = [0; 2048];
        while let Ok((length, from)) = self.socket.try_recv_from(&mut buffer) {
            let now = Instant::now();
            self.client.handle_datagram(now, from, &mut buffer[..length]);
            self.listen(now);
        }
    }

    fn listen(&mut self, now: Instant) {
        while let Some(event) = self.client.poll_event() {
            match event {
                Event::Audio(_) => self.heard = Some(now),
                Event::Closed(_) => self.closed = true,
                Event::Connected => {}
            }
        }
    }

    async fn flush(&mut self) {
        while let Some((to, data)) = self.client.poll_transmit() {
            // UDP may lose packets anyway.
            let _ = self.socket.send_to(&data, to).await;
        }
    }
}
