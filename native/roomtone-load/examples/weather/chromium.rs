//! Chromium as the receiver: `test/browser/receive.mjs` opens it, with a connection for each stream, and records what it plays.
//! This end sends the packets that have arrived by real time, with the server's own transport.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use roomtone_transport::{Certificate, Endpoint, EndpointOptions, NtpClock, Offer, Outbox, SlotOut, TransportConfig};
use serde::Deserialize;
use serde_json::{Value, json};

use super::receivers::Stream;
use super::{Heard, MS};

/// The longest that a browser may take to start, to connect, or to hand over what it has recorded.
const PATIENCE: Duration = Duration::from_secs(60);

/// The counters of one stream in the browser.
#[derive(Deserialize)]
struct Recorded {
    /// The file with its sound.
    file: String,
    /// When its first sample was played, ms since 1970.
    began: f64,
    /// Counters of `inbound-rtp`, ten times a second.
    counted: Vec<Counted>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Counted {
    /// ms since 1970.
    at: f64,
    jitter_buffer_delay: f64,
    jitter_buffer_emitted_count: f64,
    concealed_samples: f64,
    silent_concealed_samples: f64,
    total_samples_received: f64,
    packets_discarded: f64,
}

/// A connection of the server to the browser.
pub struct Connection {
    socket: UdpSocket,
    endpoint: Endpoint,
    next: usize,
}

/// A script with a browser; ends with this.
pub struct Browser {
    script: &'static str,
    child: Child,
    input: ChildStdin,
    told: Receiver<String>,
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Browser {
    pub fn start(script: &'static str) -> Result<Browser, String> {
        let mut child = Command::new("node")
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("node: {error}"))?;
        let input = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (tell, told) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).all(|line| tell.send(line).is_ok()));
        Ok(Browser {
            script,
            child,
            input,
            told,
        })
    }

    pub fn say(&mut self, message: &Value) -> Result<(), String> {
        writeln!(self.input, "{message}").map_err(|error| format!("{}: {error}", self.script))
    }

    /// Its next message, while the connections live on.
    pub fn hear(&mut self, connections: &mut [Connection]) -> Result<Value, String> {
        let begin = Instant::now();
        loop {
            match self.told.try_recv() {
                Ok(line) => return serde_json::from_str(&line).map_err(|_| format!("{}: {line}", self.script)),
                Err(TryRecvError::Disconnected) => {
                    return Err(format!("{} has ended; is Chromium installed?", self.script));
                }
                Err(TryRecvError::Empty) if begin.elapsed() > PATIENCE => {
                    return Err(format!("{}: no answer", self.script));
                }
                Err(TryRecvError::Empty) => {}
            }
            connections.iter_mut().for_each(Connection::pump);
            std::thread::sleep(MS);
        }
    }
}

impl Connection {
    pub fn new(address: std::net::IpAddr, offer: &str, clock: NtpClock) -> Result<(Connection, String), String> {
        let socket = UdpSocket::bind((address, 0)).map_err(|error| error.to_string())?;
        socket.set_nonblocking(true).map_err(|error| error.to_string())?;
        let own = socket.local_addr().map_err(|error| error.to_string())?;
        let offer = Offer::parse(offer).map_err(|error| error.to_string())?;
        let certificate = Arc::new(Certificate::generate().map_err(|error| error.to_string())?);
        let config = Arc::new(TransportConfig::new(vec![own], clock));
        let (endpoint, answer) =
            Endpoint::accept(Instant::now(), &offer, config, certificate, EndpointOptions::default())
                .map_err(|error| error.to_string())?;
        Ok((
            Connection {
                socket,
                endpoint,
                next: 0,
            },
            answer,
        ))
    }

    /// Packets that came, and the copies in them.
    pub fn counts(&self) -> (u64, u64) {
        let stats = self.endpoint.stats();
        (stats.packets_in, stats.copies_in)
    }

    pub fn pump(&mut self) {
        let mut datagram = [0; 2048];
        while let Ok((length, from)) = self.socket.recv_from(&mut datagram) {
            self.endpoint
                .handle_datagram(Instant::now(), from, &mut datagram[..length]);
            self.flush();
        }
        let now = Instant::now();
        if self.endpoint.poll_timeout().is_some_and(|at| at <= now) {
            self.endpoint.handle_timeout(now);
            self.flush();
        }
    }

    fn flush(&mut self) {
        while let Some(transmit) = self.endpoint.poll_transmit() {
            self.send(transmit.to, &transmit.data);
        }
        while self.endpoint.poll_event().is_some() {}
    }

    fn send(&self, to: SocketAddr, data: &[u8]) {
        // A datagram that can't be sent is lost, and shows in the browser's counters.
        let _ = self.socket.send_to(data, to);
    }

    /// Sends what has arrived by now.
    fn play(&mut self, stream: &Stream, elapsed: Duration, out: &mut Outbox) {
        while let Some(arrival) = stream.arrivals.get(self.next).filter(|arrival| arrival.at <= elapsed) {
            let slot = SlotOut {
                sequence: arrival.number,
                timestamp: arrival.number * 960,
                marker: arrival.number == 0,
                csrc: None,
                level: None,
                payload: &stream.packet(arrival.number).0,
            };
            self.endpoint.send_slot(Instant::now(), 0, &slot, out);
            self.next += 1;
        }
        out.iter().for_each(|(to, data)| self.send(to, data));
        out.clear();
    }
}

/// Plays streams to a Chromium, all at once. A clean one beside them tells how late the recording is, which isn't the receiver's doing.
pub fn play(streams: &[&Stream], folder: &Path) -> Result<Vec<Heard>, String> {
    let clean = Stream::clean_beside(streams);
    let streams = &[&[&clean][..], streams].concat();
    let folder = std::path::absolute(folder.join("chromium")).map_err(|error| error.to_string())?;
    std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
    let mut browser = Browser::start("test/browser/receive.mjs")?;
    browser.say(&json!({"streams": streams.len(), "folder": folder}))?;
    let offers: Vec<String> = read(browser.hear(&mut [])?, "offers")?;
    let clock = NtpClock::from_unix(Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH).unwrap());
    let (mut connections, mut answers) = (Vec::new(), Vec::new());
    for offer in &offers {
        let (connection, answer) = Connection::new([127, 0, 0, 1].into(), offer, clock)?;
        connections.push(connection);
        answers.push(answer);
    }
    browser.say(&json!({"answers": answers}))?;
    let _: bool = read(browser.hear(&mut connections)?, "recording")?;
    let (start, since_1970) = (Instant::now(), SystemTime::now().duration_since(UNIX_EPOCH).unwrap());
    let length = streams.iter().map(|stream| stream.length()).max().unwrap_or_default();
    let mut out = Outbox::new();
    while start.elapsed() < length {
        for (connection, stream) in connections.iter_mut().zip(streams) {
            connection.play(stream, start.elapsed(), &mut out);
            connection.pump();
        }
        std::thread::sleep(MS);
    }
    browser.say(&json!({"stop": true}))?;
    let recorded: Vec<Recorded> = read(browser.hear(&mut connections)?, "recorded")?;
    let began = since_1970.as_secs_f64() * 1000.0;
    let late = clean.late(&heard(&clean, &recorded[0], began, 0.0)?)?;
    eprintln!("Chromium's recording is {late:.0} ms late");
    let heard = |(stream, recorded): (&&Stream, &Recorded)| heard(stream, recorded, began, late);
    streams.iter().zip(&recorded).skip(1).map(heard).collect()
}

/// One field of a message.
pub fn read<T: serde::de::DeserializeOwned>(mut message: Value, key: &str) -> Result<T, String> {
    serde_json::from_value(message[key].take()).map_err(|error| format!("the browser's {key}: {error}"))
}

/// `began`: when the streams began, ms since 1970. `late`: how late the recording is, ms.
fn heard(stream: &Stream, recorded: &Recorded, began: f64, late: f64) -> Result<Heard, String> {
    let bytes = std::fs::read(&recorded.file).map_err(|error| format!("{}: {error}", recorded.file))?;
    let (samples, _) = bytes.as_chunks::<2>();
    let sound = samples
        .iter()
        .map(|sample| f32::from(i16::from_le_bytes(*sample)) / 32_768.0);
    // The place of its first sample, in ours.
    let offset = ((recorded.began - began - late) * 48.0).round() as i64;
    let pcm: Vec<f32> = std::iter::repeat_n(0.0, offset.max(0) as usize)
        .chain(sound.skip((-offset).max(0) as usize))
        .collect();
    let (mut delays, mut first) = (Vec::new(), None);
    for pair in recorded.counted.windows(2) {
        let at = (pair[1].at - began) / 1000.0;
        let emitted = pair[1].jitter_buffer_emitted_count - pair[0].jitter_buffer_emitted_count;
        if at > stream.learned() && at < stream.length().as_secs_f64() && emitted > 0.0 {
            let waited = pair[1].jitter_buffer_delay - pair[0].jitter_buffer_delay;
            delays.push((at, waited / emitted * 1000.0));
        }
        first = first.or((at > 0.2).then_some(pair[0]));
    }
    let end = (stream.length().as_secs_f64() - 0.4) * 1000.0 + began;
    let last = recorded.counted.iter().rfind(|counted| counted.at < end);
    let (Some(first), Some(last)) = (first, last) else {
        return Err("Chromium counted nothing".into());
    };
    let total = last.total_samples_received - first.total_samples_received;
    let silent = last.silent_concealed_samples - first.silent_concealed_samples;
    let concealed = last.concealed_samples - first.concealed_samples - silent;
    Ok(stream.heard(
        &pcm,
        delays,
        last.packets_discarded / stream.arrivals.len() as f64,
        concealed / total.max(1.0),
    ))
}
