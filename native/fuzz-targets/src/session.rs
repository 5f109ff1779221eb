//! An endpoint and an honest client of it, on a virtual clock.

use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use roomtone_testkit::peer::{ClientOptions, ClientPeer};
use roomtone_transport::{Certificate, Endpoint, EndpointOptions, NtpClock, Offer, TransportConfig};

/// Where the clock begins; only differences matter.
pub(crate) static START: LazyLock<Instant> = LazyLock::new(Instant::now);
pub(crate) static CERTIFICATE: LazyLock<Arc<Certificate>> =
    LazyLock::new(|| Arc::new(Certificate::generate().expect("a certificate can be made")));

pub(crate) fn server_address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 50_000))
}

pub(crate) fn client_address() -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 7], 40_000))
}

pub(crate) fn config() -> TransportConfig {
    TransportConfig::new(
        vec![server_address()],
        NtpClock::from_unix(*START, Duration::from_secs(1_700_000_000)),
    )
}

pub(crate) fn options() -> EndpointOptions {
    EndpointOptions {
        send: true,
        recv: true,
        ..EndpointOptions::default()
    }
}

pub(crate) struct Session {
    pub(crate) now: Instant,
    pub(crate) client: ClientPeer,
    pub(crate) server: Endpoint,
    pub(crate) answer: String,
}

impl Session {
    /// Both have each other's SDP, and nothing was sent yet.
    pub(crate) fn new() -> Session {
        Session::with(ClientOptions::default())
    }

    /// As `new`, with another client.
    pub(crate) fn with(client: ClientOptions) -> Session {
        let now = *START;
        let mut client = ClientPeer::new(now, client).expect("a client can be made");
        let offer = Offer::parse(&client.offer()).expect("our own offer is taken");
        let accepted = Endpoint::accept(now, &offer, Arc::new(config()), CERTIFICATE.clone(), options());
        let (server, answer) = accepted.expect("our own offer is answered");
        client.accept_answer(now, &answer).expect("our own answer is taken");
        Session {
            now,
            client,
            server,
            answer,
        }
    }

    /// Connects both.
    pub(crate) fn connected(mut self) -> Session {
        for _ in 0..200 {
            self.step(&mut |_, _| {});
            if self.client.is_connected() && self.server.is_connected() {
                return self;
            }
        }
        panic!("an honest client connects");
    }

    /// Ten milliseconds. `spoil` sees each datagram to the server, with its number.
    pub(crate) fn step(&mut self, spoil: &mut dyn FnMut(usize, &mut Vec<u8>)) {
        self.now += Duration::from_millis(10);
        self.client.handle_timeout(self.now);
        self.server.handle_timeout(self.now);
        let mut number = 0;
        while let Some((_, data)) = self.client.poll_transmit() {
            let mut data = data.to_vec();
            spoil(number, &mut data);
            number += 1;
            self.send_to_server(&mut data);
        }
        while let Some(transmit) = self.server.poll_transmit() {
            let mut data = transmit.data.to_vec();
            self.client.handle_datagram(self.now, server_address(), &mut data);
        }
        while self.server.poll_event().is_some() {}
        while self.client.poll_event().is_some() {}
    }

    pub(crate) fn send_to_server(&mut self, data: &mut [u8]) {
        self.server.handle_datagram(self.now, client_address(), data);
    }
}
