//! Questions to a client, and misbehaviour on request: the side that tests use.

use std::net::SocketAddr;

use bytes::Bytes;

use super::crypt::Crypt;
use super::{ClientPeer, Stats, rtp};

impl ClientPeer {
    /// Are ICE and DTLS done, and not over?
    pub fn is_connected(&self) -> bool {
        self.connected
    }

    /// Is the connection over?
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Our synchronization source.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Sequence number of the next packet of ours.
    pub fn next_seq(&self) -> u16 {
        self.seq
    }

    /// Name of the SRTP profile in use.
    pub fn profile(&self) -> Option<&'static str> {
        self.crypt.as_ref().and_then(Crypt::profile)
    }

    /// ICE user fragment of the server, as its newest answer has it.
    pub fn remote_ufrag(&self) -> Option<&str> {
        self.answer.as_ref().map(|answer| answer.ufrag.as_str())
    }

    /// The nominated address of the server.
    pub fn remote_address(&self) -> Option<SocketAddr> {
        self.ice.nominated()
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        let mut stats = self.stats.clone();
        stats.streams = self.streams.iter().map(rtp::Stream::stats).collect();
        stats.ice_round_trip = self.ice.round_trip;
        stats
    }

    /// Sends any bytes to the server's address: the nominated one, else the best candidate.
    pub fn send_datagram(&mut self, bytes: impl Into<Bytes>) {
        if let Some(to) = self.ice.best_guess().filter(|_| !self.silent) {
            self.transmits.push_back((to, bytes.into()));
        }
    }

    /// Protects and sends a whole RTP packet, whatever it says. False when not connected or not an RTP header.
    pub fn send_rtp_raw(&mut self, plain: &[u8]) -> bool {
        let Some(protected) = self.crypt.as_mut().and_then(|crypt| crypt.protect_rtp(plain)) else {
            return false;
        };
        self.stats.packets_sent += 1;
        self.stats.bytes_sent += protected.len() as u64;
        self.send_datagram(protected);
        true
    }

    /// Protects and sends a whole RTCP packet, whatever it says. False when not connected or not an RTCP header.
    pub fn send_rtcp_raw(&mut self, plain: &[u8]) -> bool {
        let Some(protected) = self.crypt.as_mut().and_then(|crypt| crypt.protect_rtcp(plain)) else {
            return false;
        };
        self.send_datagram(protected);
        true
    }

    /// Pulls the cable (`true`): nothing is sent and nothing is read, until `false`.
    pub fn go_silent(&mut self, silent: bool) {
        self.silent = silent;
        self.drop_if_silent();
    }
}
