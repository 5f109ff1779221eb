use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use roomtone_transport::{
    AudioOut, Certificate, Endpoint, EndpointOptions, Event, NtpClock, Offer, Outbox, TransportConfig,
};

use super::{Client, ClientOptions, origin};

pub const MS: Duration = Duration::from_millis(1);

struct InFlight {
    at: Instant,
    to_server: bool,
    address: SocketAddr,
    data: Vec<u8>,
}

/// An endpoint, a client, and what is on its way between them.
pub struct Link {
    pub now: Instant,
    pub start: Instant,
    pub server: Endpoint,
    pub client: Client,
    pub client_address: SocketAddr,
    /// Addresses at which the client hears what is sent to it.
    pub client_hears: Vec<SocketAddr>,
    pub events: Vec<(Instant, Event)>,
    pub latency: Duration,
    pub loss: f64,
    pub deaf_server: bool,
    pub deaf_client: bool,
    /// Everything that went to the server, for replays.
    pub tape: Vec<Vec<u8>>,
    heard: Vec<Heard>,
    outbox: Outbox,
    flying: Vec<InFlight>,
    rng: StdRng,
}

/// A packet of Opus that the server let in.
#[derive(Clone, Debug)]
pub struct Heard {
    pub seq: u16,
    pub timestamp: u32,
    pub ssrc: u32,
    pub level: Option<(u8, bool)>,
    pub payload: Vec<u8>,
    pub restored_after: Option<u32>,
}

impl Link {
    pub fn new(options: ClientOptions) -> Self {
        Self::with(options, EndpointOptions::default(), |_| {})
    }

    pub fn of(client: Client) -> Self {
        let now = client.next_check;
        let clock = NtpClock::from_unix(now, Duration::from_secs(1_800_000_000));
        let config = TransportConfig::new(vec!["192.0.2.1:50000".parse().unwrap()], clock);
        Self::with_client(now, client, EndpointOptions::default(), config)
    }

    pub fn with(options: ClientOptions, endpoint: EndpointOptions, tune: impl FnOnce(&mut TransportConfig)) -> Self {
        let now = origin();
        let mut config = TransportConfig::new(
            vec![
                "192.0.2.1:50000".parse().unwrap(),
                "[2001:db8::1]:50000".parse().unwrap(),
            ],
            NtpClock::from_unix(now, Duration::from_secs(1_800_000_000)),
        );
        tune(&mut config);
        let client = Client::new(now, options);
        Self::with_client(now, client, endpoint, config)
    }

    pub fn with_client(now: Instant, mut client: Client, endpoint: EndpointOptions, config: TransportConfig) -> Self {
        let offer = Offer::parse(&client.offer()).expect("the client's offer is good");
        let certificate = Arc::new(Certificate::generate().expect("certificate"));
        let (server, answer) =
            Endpoint::accept(now, &offer, Arc::new(config), certificate, endpoint).expect("accepted");
        client.take_answer(&answer);
        let client_address = "198.51.100.7:40000".parse().unwrap();
        Self {
            now,
            start: now,
            server,
            client,
            client_address,
            client_hears: vec![client_address],
            events: vec![],
            latency: 10 * MS,
            loss: 0.0,
            deaf_server: false,
            deaf_client: false,
            tape: vec![],
            heard: vec![],
            outbox: Outbox::new(),
            flying: vec![],
            rng: StdRng::seed_from_u64(1),
        }
    }

    pub fn seed(&mut self, seed: u64) {
        self.rng = StdRng::seed_from_u64(seed);
    }

    /// Connects or panics.
    pub fn connected(options: ClientOptions) -> Self {
        let mut link = Self::new(options);
        link.connect();
        link
    }

    pub fn connect(&mut self) {
        self.run_until(5_000 * MS, |link| link.client.connected && link.server.is_connected());
        assert!(self.server.is_connected(), "server not connected: {:?}", self.events);
        assert!(
            self.client.connected,
            "client not connected: {:?}",
            self.client.dtls_error
        );
    }

    pub fn run(&mut self, time: Duration) {
        self.run_until(time, |_| false);
    }

    /// Lets virtual time pass until `done` or the limit.
    pub fn run_until(&mut self, limit: Duration, done: impl Fn(&Self) -> bool) {
        let end = self.now + limit;
        let mut stuck = 0;
        loop {
            self.pump();
            if done(self) {
                return;
            }
            let next = [
                self.server.poll_timeout(),
                self.client.poll_timeout(),
                self.flying.iter().map(|f| f.at).min(),
            ]
            .into_iter()
            .flatten()
            .min()
            .map_or(end + MS, |at| at.max(self.now));
            if next > end {
                self.now = end;
                return;
            }
            // A timeout that is due again at once would stop the clock.
            stuck = if next == self.now { stuck + 1 } else { 0 };
            assert!(stuck < 100_000, "time stands still");
            self.now = next;
            self.deliver();
            self.server.handle_timeout(self.now);
            self.client.handle_timeout(self.now);
        }
    }

    /// Takes what both sides have to send.
    pub fn pump(&mut self) {
        while let Some(t) = self.server.poll_transmit() {
            let lost = self.loss > 0.0 && self.rng.random_bool(self.loss);
            if !lost && !self.deaf_client {
                self.flying.push(InFlight {
                    at: self.now + self.latency,
                    to_server: false,
                    address: t.to,
                    data: t.data.to_vec(),
                });
            }
        }
        for (to, data) in self.outbox.iter() {
            let lost = self.loss > 0.0 && self.rng.random_bool(self.loss);
            if !lost && !self.deaf_client {
                self.flying.push(InFlight {
                    at: self.now + self.latency,
                    to_server: false,
                    address: to,
                    data: data.to_vec(),
                });
            }
        }
        self.outbox.clear();
        while let Some(event) = self.server.poll_event() {
            self.events.push((self.now, event));
        }
        while let Some(data) = self.client.poll_transmit() {
            self.tape.push(data.clone());
            let lost = self.loss > 0.0 && self.rng.random_bool(self.loss);
            if !lost && !self.deaf_server {
                self.flying.push(InFlight {
                    at: self.now + self.latency,
                    to_server: true,
                    address: self.client_address,
                    data,
                });
            }
        }
    }

    fn deliver(&mut self) {
        let (due, later): (Vec<_>, Vec<_>) = std::mem::take(&mut self.flying)
            .into_iter()
            .partition(|f| f.at <= self.now);
        self.flying = later;
        for f in due {
            if f.to_server {
                self.inject(f.address, &f.data);
            } else if self.client_hears.contains(&f.address) {
                self.client.handle(self.now, &f.data);
            }
        }
    }

    /// Puts a datagram straight into the endpoint.
    pub fn inject(&mut self, from: SocketAddr, data: &[u8]) {
        let mut data = data.to_vec();
        let packet = self.server.handle_datagram(self.now, from, &mut data);
        for packet in packet.iter().flat_map(|packet| packet.restored().chain([*packet])) {
            self.heard.push(Heard {
                seq: packet.seq,
                timestamp: packet.timestamp,
                ssrc: packet.ssrc,
                level: packet.level,
                payload: packet.payload.to_vec(),
                restored_after: packet.restored_after,
            });
        }
    }

    /// Lets the server send sound.
    pub fn send_audio(&mut self, audio: AudioOut<'_>) -> bool {
        self.server.send_audio(self.now, audio, &mut self.outbox)
    }

    /// Packets that the server has let in.
    pub fn rtp(&self) -> &[Heard] {
        &self.heard
    }

    pub fn closed(&self) -> Option<(Instant, roomtone_transport::CloseReason)> {
        self.events.iter().find_map(|(at, e)| match e {
            Event::Closed(reason) => Some((*at, *reason)),
            _ => None,
        })
    }
}
