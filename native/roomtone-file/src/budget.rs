//! A reader that gives up: what a hostile file claims to be one packet may be all of a disk.

use std::io::{self, Read, Seek, SeekFrom};

/// Reads at most so many bytes between two calls of [`Budget::renew`].
pub(crate) struct Budget<R> {
    inner: R,
    most: u64,
    left: u64,
}

impl<R> Budget<R> {
    pub(crate) fn new(inner: R, most: u64) -> Budget<R> {
        Budget {
            inner,
            most,
            left: most,
        }
    }

    /// Something came of what was read.
    pub(crate) fn renew(&mut self) {
        self.left = self.most;
    }
}

impl<R: Read> Read for Budget<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other("too much between two packets"));
        }
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.inner.read(&mut buffer[..most])?;
        self.left -= read as u64;
        Ok(read)
    }
}

impl<R: Seek> Seek for Budget<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}
