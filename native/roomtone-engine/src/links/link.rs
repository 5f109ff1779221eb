//! One connection: datagrams in and out, neither of which ever waits.

#![allow(clippy::disallowed_methods)] // this is the I/O half

use std::io::{self, IoSlice, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use roomtone_transport::{Deframer, Framing};

use super::stream::Stream;
use super::tls::Tls;

/// Bytes that wait for room in the system's buffer: a second of one talker's sound. The rest is lost, as a datagram would be.
pub(super) const PENDING: usize = 8 << 10;

/// Why a connection can't go on.
pub(super) struct Over;

/// A connection, and what it is doing.
pub(super) struct Link {
    stream: Stream,
    tls: Option<Box<Tls>>,
    framing: Framing,
    deframer: Deframer,
    /// Begins with the rest of a frame, if any of it was written. Empty with TLS, which keeps its own.
    pending: Vec<u8>,
    /// The name that the shard knows it by.
    pub(super) address: SocketAddr,
    pub(super) accepted: Instant,
    pub(super) heard: Instant,
    /// Whether anything was read that may be answered.
    pub(super) greeted: bool,
    /// Whether there may be something to read.
    pub(super) unread: bool,
}

impl Link {
    pub(super) fn new(now: Instant, stream: Stream, framing: Framing, address: SocketAddr) -> Link {
        Link {
            stream,
            tls: None,
            framing,
            deframer: Deframer::new(framing),
            pending: Vec::new(),
            address,
            accepted: now,
            heard: now,
            greeted: false,
            unread: false,
        }
    }

    /// With TLS, whose handshake is done.
    pub(super) fn with_tls(mut self, tls: Option<Tls>) -> Link {
        self.tls = tls.map(Box::new);
        self
    }

    pub(super) fn framing(&self) -> Framing {
        self.framing
    }

    pub(super) fn stream(&mut self) -> &mut Stream {
        &mut self.stream
    }

    /// Reads what is there, once. False if there is nothing.
    pub(super) fn read(&mut self, now: Instant) -> Result<bool, Over> {
        loop {
            let space = self.deframer.space();
            let read = match &mut self.tls {
                Some(tls) => tls.read(&mut self.stream, space),
                None => self.stream.read(space).map(|count| (count > 0).then_some(count)),
            };
            match read {
                Ok(None) => return Err(Over),
                Ok(Some(count)) => {
                    self.deframer.filled(count);
                    self.heard = now;
                    return Ok(true);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(Over),
            }
        }
    }

    /// The next datagram of what was read.
    pub(super) fn next_datagram(&mut self) -> Result<Option<&mut [u8]>, Over> {
        self.deframer.next_datagram().map_err(|_| Over)
    }

    /// Sends a datagram. False if there is no room for it.
    pub(super) fn send(&mut self, datagram: &[u8]) -> Result<bool, Over> {
        let Some((before, after)) = self.framing.around(datagram.len()) else {
            return Ok(false);
        };
        let before = before.as_ref().map_or(&[][..], |length| &length[..]);
        let after = &[0; 3][..after];
        let parts = [IoSlice::new(before), IoSlice::new(datagram), IoSlice::new(after)];
        if let Some(tls) = &mut self.tls {
            return tls.send(&mut self.stream, &parts).map_err(|_| Over);
        }
        let frame = before.len() + datagram.len() + after.len();
        let mut written = 0;
        if self.pending.is_empty() {
            written = match self.stream.write_vectored(&parts) {
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
                Err(_) => return Err(Over),
            };
            if written == frame {
                return Ok(true);
            }
        }
        // A frame of which the system has taken a part has to follow whole; another one need not.
        if written == 0 && self.pending.len() + frame > PENDING {
            return Ok(false);
        }
        for part in [before, datagram, after] {
            let skipped = written.min(part.len());
            self.pending.extend_from_slice(&part[skipped..]);
            written -= skipped;
        }
        Ok(true)
    }

    /// Writes what waits, as far as there is room.
    pub(super) fn flush(&mut self) -> Result<(), Over> {
        if let Some(tls) = &mut self.tls {
            return tls.flush(&mut self.stream).map_err(|_| Over);
        }
        while !self.pending.is_empty() {
            match self.stream.write(&self.pending) {
                Ok(0) => return Err(Over),
                Ok(written) => drop(self.pending.drain(..written)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(Over),
            }
        }
        Ok(())
    }
}
