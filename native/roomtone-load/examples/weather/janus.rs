//! Janus's AudioBridge as the receiver: each stream in a room of its own, with a listener whose connection is clean.

use std::net::{IpAddr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use roomtone_audio::Decoder;
use roomtone_load::bench::{AudioBridge, Case, Janus, JanusSetting, System};
use roomtone_testkit::peer::{ClientOptions, ClientPeer, Event};

use super::receivers::Stream;
use super::{Heard, MS};

const PATIENCE: Duration = Duration::from_secs(20);

struct Client {
    socket: UdpSocket,
    peer: ClientPeer,
    connected: bool,
    /// Packets of the mix: arrival, time stamp, Opus.
    mix: Vec<(Instant, u32, bytes::Bytes)>,
}

impl Client {
    fn new(address: IpAddr, options: ClientOptions) -> Result<Client, String> {
        let socket = UdpSocket::bind((address, 0)).map_err(|error| error.to_string())?;
        socket.set_nonblocking(true).map_err(|error| error.to_string())?;
        Ok(Client {
            socket,
            peer: ClientPeer::new(Instant::now(), options).map_err(|error| error.to_string())?,
            connected: false,
            mix: Vec::new(),
        })
    }

    fn pump(&mut self) {
        let mut datagram = [0; 2048];
        while let Ok((length, from)) = self.socket.recv_from(&mut datagram) {
            self.peer.handle_datagram(Instant::now(), from, &mut datagram[..length]);
            self.flush();
        }
        let now = Instant::now();
        if self.peer.poll_timeout().is_some_and(|at| at <= now) {
            self.peer.handle_timeout(now);
        }
        self.flush();
    }

    fn flush(&mut self) {
        while let Some((to, data)) = self.peer.poll_transmit() {
            // A datagram that can't be sent is lost.
            let _ = self.socket.send_to(&data, to);
        }
        while let Some(event) = self.peer.poll_event() {
            match event {
                Event::Connected => self.connected = true,
                Event::Audio(audio) => self.mix.push((Instant::now(), audio.timestamp, audio.payload)),
                Event::Closed(_) => self.connected = false,
            }
        }
    }
}

/// Starts Janus with rooms of so many people each. It ends when it is dropped.
pub fn start(
    rooms: usize,
    people: usize,
    folder: &Path,
) -> Result<(tokio::runtime::Runtime, Janus, AudioBridge), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    let setting = JanusSetting::Default;
    let case = Case {
        rooms,
        ..Case::room(System::Janus(setting), people, 1)
    };
    let janus = runtime
        .block_on(Janus::start(folder, &case))
        .map_err(|error| error.to_string())?;
    let bridge = AudioBridge {
        api: janus.api.clone(),
        setting,
    };
    Ok((runtime, janus, bridge))
}

/// Lets Janus mix streams, all at once.
pub fn play(streams: &[&Stream], folder: &Path) -> Result<Vec<Heard>, String> {
    let (runtime, _janus, bridge) = start(streams.len(), 2, folder)?;
    let mut clients = Vec::new();
    for room in 0..streams.len() {
        for name in ["talker", "listener"] {
            let options = ClientOptions {
                candidates: vec![bridge.api.candidate()],
                cname: format!("{name}-{room}"),
                ..ClientOptions::default()
            };
            let mut client = Client::new(bridge.api.media, options)?;
            let answer = runtime.block_on(bridge.enter(room, name, &client.peer.offer()))?;
            client
                .peer
                .accept_answer(Instant::now(), &answer)
                .map_err(|error| error.to_string())?;
            clients.push(client);
            clients.iter_mut().for_each(Client::pump);
        }
    }
    let begin = Instant::now();
    while clients.iter().any(|client| !client.connected) {
        if begin.elapsed() > PATIENCE {
            return Err("Janus doesn't connect to all".into());
        }
        clients.iter_mut().for_each(Client::pump);
        std::thread::sleep(MS);
    }
    let length = streams.iter().map(|stream| stream.length()).max().unwrap_or_default();
    let mut next = vec![0; streams.len()];
    clients.iter_mut().for_each(|client| client.mix.clear());
    let start = Instant::now();
    while start.elapsed() < length {
        for (pair, (stream, next)) in clients.chunks_exact_mut(2).zip(streams.iter().zip(&mut next)) {
            while let Some(arrival) = stream
                .arrivals
                .get(*next)
                .filter(|arrival| arrival.at <= start.elapsed())
            {
                let before = if *next == 0 {
                    None
                } else {
                    stream.arrivals.get(*next - 1)
                };
                let missing = arrival.number - before.map_or(0, |before| before.number + 1);
                pair[0].peer.leave_out(missing as u16);
                let (payload, level) = stream.packet(arrival.number);
                let (timestamp, marker) = (arrival.number * 960, arrival.number == 0);
                pair[0]
                    .peer
                    .send_opus(Instant::now(), timestamp, marker, Some(*level), payload);
                *next += 1;
            }
            pair.iter_mut().for_each(Client::pump);
        }
        std::thread::sleep(MS);
    }
    let mut all = Vec::new();
    for (pair, stream) in clients.chunks_exact(2).zip(streams) {
        // Janus tells neither its delay nor what it made up.
        all.push(stream.heard(&sound(&pair[1].mix, start)?, Vec::new(), 0.0, 0.0));
    }
    Ok(all)
}

/// The mix, each packet where it came.
fn sound(mix: &[(Instant, u32, bytes::Bytes)], start: Instant) -> Result<Vec<f32>, String> {
    let mut decoder = Decoder::new().map_err(|error| error.to_string())?;
    let (mut pcm, mut frame) = (Vec::new(), Vec::new());
    let (first, zero, _) = mix.first().ok_or("Janus sent nothing")?;
    let origin = (first.saturating_duration_since(start).as_secs_f64() * 48_000.0) as usize;
    for (_, timestamp, payload) in mix {
        frame.clear();
        decoder.decode(payload, &mut frame).map_err(|error| error.to_string())?;
        let place = origin + timestamp.wrapping_sub(*zero) as usize;
        if place > pcm.len() + 48_000 * 10 {
            return Err("the time stamps of Janus's mix jump".into());
        }
        pcm.resize(place.max(pcm.len()), 0.0);
        pcm.extend_from_slice(&frame);
    }
    Ok(pcm)
}
