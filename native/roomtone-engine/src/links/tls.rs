//! TLS on a connection, once its handshake is done: records in and out, neither of which ever waits.

#![allow(clippy::disallowed_methods)] // this is the I/O half

use std::io::{self, IoSlice, Read, Write};

use tokio_rustls::rustls::ServerConnection;

use super::link::PENDING;
use super::stream::Stream;

/// The TLS half of a connection.
pub(super) struct Tls {
    connection: ServerConnection,
    /// Bytes of datagrams in records of which some couldn't be written yet.
    waiting: usize,
}

impl Tls {
    pub(super) fn new(mut connection: ServerConnection) -> Tls {
        // The limit is ours, and is kept by whole datagrams.
        connection.set_buffer_limit(None);
        Tls { connection, waiting: 0 }
    }

    /// Reads once; the number of bytes that came out, which may be none though some came in. `None` at the end.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing to read. Any other: the connection is over.
    pub(super) fn read(&mut self, stream: &mut Stream, space: &mut [u8]) -> io::Result<Option<usize>> {
        if let Some(read) = self.decrypted(space)? {
            return Ok(read);
        }
        if self.connection.read_tls(stream)? == 0 {
            return Ok(None);
        }
        if let Err(error) = self.connection.process_new_packets() {
            // The alert, if there is room for it.
            let _ = self.connection.write_tls(stream);
            return Err(io::Error::other(error));
        }
        // An answer to a key update.
        self.flush(stream)?;
        Ok(self.decrypted(space)?.unwrap_or(Some(0)))
    }

    // `None`: nothing is there yet. `Some(None)`: nothing will come.
    fn decrypted(&mut self, space: &mut [u8]) -> io::Result<Option<Option<usize>>> {
        match self.connection.reader().read(space) {
            Ok(0) => Ok(Some(None)),
            Ok(count) => Ok(Some(Some(count))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends a frame as a record. False if there is no room for it.
    pub(super) fn send(&mut self, stream: &mut Stream, parts: &[IoSlice<'_>]) -> io::Result<bool> {
        let frame: usize = parts.iter().map(|part| part.len()).sum();
        if self.waiting > 0 && self.waiting + frame > PENDING {
            return Ok(false);
        }
        // Without a limit it takes all.
        if self.connection.writer().write_vectored(parts)? != frame {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.waiting += frame;
        self.flush(stream)?;
        Ok(true)
    }

    /// Writes what waits, as far as there is room.
    pub(super) fn flush(&mut self, stream: &mut Stream) -> io::Result<()> {
        while self.connection.wants_write() {
            match self.connection.write_tls(stream) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.waiting = 0;
        Ok(())
    }
}
