//! The way into a room, whoever's it is.

use std::net::IpAddr;
use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;

use super::case::Way;
use super::crowd::Line;
use super::janus::{AudioBridge, Role, VideoRoom};
use crate::whip::{Session, Whip};
use roomtone_testkit::peer::ClientOptions;

/// Tokens are good for so long.
const TOKEN_SECONDS: u64 = 3600;

/// How participants of a room get their tokens.
#[derive(Clone, Debug)]
pub enum Tokens {
    /// One for everybody, or none.
    Same(Option<String>),
    /// Each their own, signed with the server's secret.
    Signed(String),
}

/// Where participants go in.
#[derive(Clone, Debug)]
pub enum Door {
    /// WHIP: the address up to the room's name.
    Whip {
        /// Like `http://127.0.0.1:4000/whip`.
        base: String,
        /// For its rooms.
        tokens: Tokens,
        /// In place of the rooms' own names.
        only_room: Option<String>,
        /// The certificate of its TURN server, PEM.
        certificate: Option<String>,
    },
    /// Janus's AudioBridge.
    Janus(AudioBridge),
    /// Janus's VideoRoom.
    VideoRoom(VideoRoom),
}

/// One connection of a participant. Most servers need only one for each.
#[derive(Clone, Debug)]
pub struct Entry {
    /// By which the connection is called.
    pub number: usize,
    /// The participant, by number.
    pub person: usize,
    /// The room, by number.
    pub room: usize,
    /// Its purpose, where that isn't everything.
    pub role: Option<Role>,
}

/// Name of a room, by its number.
pub fn room_name(room: usize) -> String {
    format!("bench-{}", room + 1)
}

/// Name of a participant, by its number.
pub fn person_name(number: usize) -> String {
    format!("p{}", number + 1)
}

impl Door {
    /// Options of a client that goes in here, with so many m-lines for forwarded talkers.
    pub fn client(&self, number: usize, slots: usize) -> ClientOptions {
        let candidates = match self {
            Door::Whip { .. } => vec![],
            Door::Janus(bridge) => vec![bridge.api.candidate()],
            Door::VideoRoom(room) => vec![room.api.candidate()],
        };
        ClientOptions {
            candidates,
            slots,
            cname: person_name(number),
            ..ClientOptions::default()
        }
    }

    /// Are the server's media on loopback, so that participants can share sockets? Janus's aren't: libnice binds its packets to the
    /// network card, and none of them would come to 127.0.0.0/8.
    pub fn is_local(&self) -> bool {
        match self {
            Door::Janus(_) | Door::VideoRoom(_) => false,
            Door::Whip { base, .. } => {
                let host = base.split("://").nth(1).unwrap_or("");
                let host = host.split(['/', ':']).next().unwrap_or("");
                host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
            }
        }
    }

    /// Opens the connection by which a participant's packets travel, now that there is an answer; `None` for plain UDP.
    pub async fn line(
        &self,
        way: Way,
        answer: &str,
        session: Option<&(Whip, Session)>,
    ) -> Result<Option<Line>, String> {
        if way == Way::Udp {
            return Ok(None);
        }
        let Door::Whip { certificate, .. } = self else {
            return Err(format!("no way in by {way}"));
        };
        let servers = session.map_or_else(Vec::new, |(_, session)| session.ice_servers.clone());
        let (answer, certificate) = (answer.to_owned(), certificate.clone());
        // It waits for the server's answers.
        let opening = tokio::task::spawn_blocking(move || Line::open(way, &answer, &servers, certificate.as_deref()));
        let opened = opening.await.map_err(|error| error.to_string())?;
        opened.map(Some).map_err(|why| format!("{way}: {why}"))
    }

    /// Hands in an offer; the answer, and what to end later.
    pub async fn enter(&self, entry: &Entry, offer: &str) -> Result<(String, Option<(Whip, Session)>), String> {
        let (room, name) = (entry.room, person_name(entry.person));
        match self {
            Door::Janus(bridge) => Ok((bridge.enter(room, &name, offer).await?, None)),
            Door::VideoRoom(video) => {
                let role = entry
                    .role
                    .as_ref()
                    .ok_or("a connection to the VideoRoom without a role")?;
                Ok((video.enter(room, role, &name, offer).await?, None))
            }
            Door::Whip {
                base,
                tokens,
                only_room,
                certificate: _,
            } => {
                let room = only_room.clone().unwrap_or_else(|| room_name(room));
                let token = match tokens {
                    Tokens::Same(token) => token.clone(),
                    Tokens::Signed(secret) => Some(token(secret, &room, &name)?),
                };
                let whip = Whip::new(&format!("{base}/{room}"), token.as_deref()).map_err(|error| error.to_string())?;
                let session = whip.post(offer).await.map_err(|error| error.to_string())?;
                Ok((session.answer.clone(), Some((whip, session))))
            }
        }
    }
}

fn token(secret: &str, room: &str, person: &str) -> Result<String, String> {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs());
    let claims = json!({
        "room": room, "sub": person, "name": person, "grants": ["speak", "listen"], "iat": now, "exp": now + TOKEN_SECONDS,
    });
    jsonwebtoken::encode(
        &Header::new(Algorithm::HS256),
        &claims,
        &EncodingKey::from_secret(secret.as_bytes()),
    )
    .map_err(|error| error.to_string())
}
