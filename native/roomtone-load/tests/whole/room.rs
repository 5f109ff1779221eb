//! A voice room to run against: WHIP over HTTP, `roomtone-transport`'s endpoints on one UDP socket, and the plainest
//! mixer there is. It may be told to do things wrong, so that a test sees the load generator notice.
#![allow(clippy::unwrap_used)] // Clippy takes only what is marked #[test] for a test

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use roomtone_testkit::fixtures::{OpusTalker, Source};
use roomtone_testkit::listen::Ear;
use roomtone_testkit::peer::Audio;
use roomtone_transport::{
    AudioOut, Certificate, Endpoint, EndpointOptions, Event, NtpClock, Offer, Outbox, PacketKind, TransportConfig,
    classify, stun_local_ufrag,
};
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::{mpsc, oneshot};

pub const TOKEN: &str = "good";

/// The room's faults.
#[derive(Clone, Copy, Default, PartialEq)]
pub struct Faults {
    /// Nobody hears the participant that joined in this place.
    pub deaf_to: Option<usize>,
    /// Everybody hears themselves.
    pub echo: bool,
    /// Throws the one in this place out after two seconds.
    pub throw_out: Option<usize>,
    /// Sound is held back.
    pub delay: Duration,
    /// Nobody comes in who doesn't ask for stereo.
    pub stereo_only: bool,
}

enum Ask {
    Join(String, oneshot::Sender<Result<(usize, String), String>>),
    Leave(usize, oneshot::Sender<bool>),
}

/// Samples that a mix reads from.
#[derive(Clone, Default)]
struct Mixed(Arc<Mutex<VecDeque<f32>>>);

impl Source for Mixed {
    fn fill(&mut self, pcm: &mut [f32]) {
        let mut queue = self.0.lock().unwrap();
        pcm.iter_mut()
            .for_each(|sample| *sample = queue.pop_front().unwrap_or(0.0));
    }
}

struct Member {
    endpoint: Endpoint,
    joined: Instant,
    ear: Ear,
    heard: VecDeque<(Instant, f32)>,
    mixed: Mixed,
    encoder: OpusTalker,
    timestamp: u32,
}

pub struct Room {
    pub url: String,
    members: Arc<Mutex<usize>>,
}

impl Room {
    pub async fn open(faults: Faults) -> Room {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/whip/room", listener.local_addr().unwrap());
        let (asks, incoming) = mpsc::channel(64);
        let members = Arc::new(Mutex::new(0));
        tokio::spawn(media(socket, incoming, faults, members.clone()));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let asks = asks.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(request, asks.clone()));
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Room { url, members }
    }

    pub fn members(&self) -> usize {
        *self.members.lock().unwrap()
    }
}

async fn answer(
    request: Request<Incoming>,
    asks: mpsc::Sender<Ask>,
) -> Result<Response<Full<Bytes>>, hyper::http::Error> {
    let plain = |status: StatusCode, body: &str| {
        Response::builder()
            .status(status)
            .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
    };
    let path = request.uri().path().to_owned();
    let authorization = request
        .headers()
        .get("authorization")
        .map(|value| value.to_str().unwrap().to_owned());
    if authorization.as_deref() != Some("Bearer good") {
        return plain(StatusCode::UNAUTHORIZED, "the token has expired");
    }
    match *request.method() {
        Method::POST if path == "/whip/room" => {
            assert_eq!(request.headers()["content-type"], "application/sdp");
            let offer = request.into_body().collect().await.unwrap().to_bytes();
            let (reply, joined) = oneshot::channel();
            asks.send(Ask::Join(String::from_utf8(offer.to_vec()).unwrap(), reply))
                .await
                .unwrap();
            match joined.await.unwrap() {
                Ok((id, sdp)) => Response::builder()
                    .status(StatusCode::CREATED)
                    .header("content-type", "application/sdp")
                    .header("location", format!("/whip/room/{id}"))
                    .body(Full::new(Bytes::from(sdp))),
                Err(why) => plain(StatusCode::BAD_REQUEST, &why),
            }
        }
        Method::DELETE => {
            let id = path
                .rsplit('/')
                .next()
                .and_then(|id| id.parse().ok())
                .unwrap_or(usize::MAX);
            let (reply, left) = oneshot::channel();
            asks.send(Ask::Leave(id, reply)).await.unwrap();
            let known = left.await.unwrap();
            plain(if known { StatusCode::OK } else { StatusCode::NOT_FOUND }, "")
        }
        _ => plain(StatusCode::NOT_FOUND, "no such room"),
    }
}

async fn media(socket: UdpSocket, mut asks: mpsc::Receiver<Ask>, faults: Faults, count: Arc<Mutex<usize>>) {
    let clock = NtpClock::new(Instant::now(), 1 << 40);
    let config = Arc::new(TransportConfig::new(vec![socket.local_addr().unwrap()], clock));
    let certificate = Arc::new(Certificate::generate().unwrap());
    let mut members: HashMap<usize, Member> = HashMap::new();
    let mut routes: HashMap<SocketAddr, usize> = HashMap::new();
    let mut next = 0;
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let mut outbox = Outbox::new();
    let mut buffer = [0u8; 2048];
    loop {
        tokio::select! {
            ask = asks.recv() => match ask {
                None => return,
                Some(Ask::Leave(id, reply)) => {
                    let left = members.remove(&id).is_some();
                    let _ = reply.send(left);
                }
                Some(Ask::Join(offer, reply)) => {
                    let joined = Instant::now();
                    let options = EndpointOptions::default();
                    let refused = faults.stereo_only && !offer.contains("stereo=1");
                    let parsed = if refused { Err("mono".to_owned()) } else { Offer::parse(&offer).map_err(|e| e.to_string()) };
                    let accepted = parsed.and_then(|offer| {
                        Endpoint::accept(joined, &offer, config.clone(), certificate.clone(), options)
                            .map_err(|e| e.to_string())
                    });
                    let _ = reply.send(accepted.map(|(endpoint, sdp)| {
                        let (mixed, ear) = (Mixed::default(), Ear::remembering(Duration::from_secs(1)));
                        let encoder = OpusTalker::new(mixed.clone(), 32_000).unwrap();
                        let heard = VecDeque::new();
                        members.insert(next, Member { endpoint, joined, ear, heard, mixed, encoder, timestamp: 0 });
                        next += 1;
                        (next - 1, sdp)
                    }));
                }
            },
            received = socket.recv_from(&mut buffer) => {
                let (length, from) = received.unwrap();
                let data = &mut buffer[..length];
                let id = match classify(data) {
                    PacketKind::Stun => {
                        let ufrag = stun_local_ufrag(data);
                        let named = members.iter().find(|(_, m)| m.endpoint.local_ufrags().any(|u| Some(u) == ufrag));
                        named.map(|(id, _)| *id)
                    }
                    _ => routes.get(&from).copied(),
                };
                if let Some(member) = id.and_then(|id| members.get_mut(&id)) {
                    let now = Instant::now();
                    if let Some(rtp) = member.endpoint.handle_datagram(now, from, data) {
                        let audio = Audio {
                            seq: rtp.seq,
                            timestamp: rtp.timestamp,
                            marker: rtp.marker,
                            ssrc: rtp.ssrc,
                            csrc: None,
                            payload_type: 111,
                            level: None,
                            payload: Bytes::copy_from_slice(rtp.payload),
                        };
                        let pcm = member.ear.hear(&audio).unwrap();
                        member.heard.extend(pcm.iter().map(|sample| (now, *sample)));
                    }
                }
            },
            _ = tick.tick() => mix(&mut members, faults, &mut outbox),
        }
        let now = Instant::now();
        let mut gone = vec![];
        for (id, member) in &mut members {
            member.endpoint.handle_timeout(now);
            while let Some(event) = member.endpoint.poll_event() {
                match event {
                    Event::AddressValidated(address) => {
                        routes.insert(address, *id);
                    }
                    Event::Closed(_) => gone.push(*id),
                    _ => {}
                }
            }
            if faults.throw_out == Some(*id) && now - member.joined > Duration::from_secs(2) {
                member.endpoint.close(now);
            }
            while let Some(transmit) = member.endpoint.poll_transmit() {
                let _ = socket.send_to(&transmit.data, transmit.to).await;
            }
        }
        for (to, data) in outbox.iter() {
            let _ = socket.send_to(data, to).await;
        }
        outbox.clear();
        // A session that said goodbye is still to be DELETEd: the id is known until then.
        *count.lock().unwrap() = members.len();
    }
}

fn mix(members: &mut HashMap<usize, Member>, faults: Faults, outbox: &mut Outbox) {
    let now = Instant::now();
    let frames: HashMap<usize, Vec<f32>> = members
        .iter_mut()
        .map(|(id, member)| {
            let ready = member.heard.iter().take(960).all(|(at, _)| now - *at >= faults.delay);
            let length = if ready { member.heard.len().min(960) } else { 0 };
            let mut frame: Vec<f32> = member.heard.drain(..length).map(|(_, sample)| sample).collect();
            frame.resize(960, 0.0);
            if faults.deaf_to == Some(*id) {
                frame.fill(0.0);
            }
            (*id, frame)
        })
        .collect();
    for (id, member) in members {
        let mut sum = vec![0.0f32; 960];
        for (_, frame) in frames.iter().filter(|(other, _)| *other != id || faults.echo) {
            sum.iter_mut().zip(frame).for_each(|(sum, sample)| *sum += sample);
        }
        member.mixed.0.lock().unwrap().extend(sum);
        let payload = member.encoder.next().unwrap().payload;
        let out = AudioOut {
            timestamp: member.timestamp,
            marker: false,
            level: None,
            payload: &payload,
        };
        member.endpoint.send_audio(now, out, outbox);
        member.timestamp = member.timestamp.wrapping_add(960);
    }
}
