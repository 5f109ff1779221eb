//! The bounded queue of a WebSocket to its client, and the window from it. Knows nothing of the BEAM.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::sync::{Semaphore, mpsc};
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Messages that may be on their way to the process.
pub const WINDOW: usize = 16;
/// A message that a process may send.
pub enum Out {
    /// A text message.
    Text(Utf8Bytes),
    /// A binary message.
    Binary(Bytes),
    /// The end.
    Close(u16, Utf8Bytes),
}

/// The queue to the client, and the window from it.
pub struct Outgoing {
    queue: mpsc::Sender<Out>,
    waiting: AtomicUsize,
    most: usize,
    /// Messages that the client may still send.
    pub window: Semaphore,
    overflown: AtomicBool,
}

/// Why a message wasn't queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendError {
    /// Too much waits already; the connection is closed for that.
    Overflow,
    /// The connection is gone.
    Closed,
}

impl Out {
    /// Its size.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
            Self::Close(_, reason) => reason.len(),
        }
    }
}

impl Outgoing {
    /// A queue, and where it ends.
    pub fn new(most_bytes: usize, most_messages: usize) -> (Self, mpsc::Receiver<Out>) {
        let (queue, receiver) = mpsc::channel(most_messages.clamp(1, 1 << 16));
        let outgoing = Self {
            queue,
            waiting: AtomicUsize::new(0),
            most: most_bytes,
            window: Semaphore::new(WINDOW),
            overflown: AtomicBool::new(false),
        };
        (outgoing, receiver)
    }

    /// The client has been sent a message of so many bytes.
    pub fn written(&self, bytes: usize) {
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Was there ever more than may wait?
    pub fn overflown(&self) -> bool {
        self.overflown.load(Ordering::Acquire)
    }

    /// Queues a message; never waits.
    pub fn send(&self, out: Out) -> Result<(), SendError> {
        let bytes = out.bytes();
        let before = self.waiting.fetch_add(bytes, Ordering::Relaxed);
        // One message may be larger than the limit when nothing else waits.
        let result = if before > 0 && before.saturating_add(bytes) > self.most {
            Err(SendError::Overflow)
        } else {
            self.queue.try_send(out).map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => SendError::Overflow,
                mpsc::error::TrySendError::Closed(_) => SendError::Closed,
            })
        };
        if let Err(error) = result {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
            if error == SendError::Overflow {
                self.overflown.store(true, Ordering::Release);
            }
        }
        result
    }

    /// The process has taken a message.
    pub fn taken(&self) {
        if self.window.available_permits() < WINDOW {
            self.window.add_permits(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(length: usize) -> Out {
        Out::Text(Utf8Bytes::from("x".repeat(length)))
    }

    #[test]
    fn a_queue_takes_so_many_bytes_and_messages() {
        let (outgoing, mut queue) = Outgoing::new(10, 3);
        assert_eq!(outgoing.send(text(6)), Ok(()));
        assert_eq!(outgoing.send(text(5)), Err(SendError::Overflow));
        assert!(outgoing.overflown.load(Ordering::Acquire));
        assert_eq!(outgoing.waiting.load(Ordering::Relaxed), 6);
        assert_eq!(outgoing.send(text(1)), Ok(()));
        assert_eq!(outgoing.send(text(1)), Ok(()));
        assert_eq!(outgoing.send(text(1)), Err(SendError::Overflow));
        queue.close();
        assert_eq!(outgoing.send(text(1)), Err(SendError::Closed));
    }

    #[test]
    fn a_large_message_is_taken_when_nothing_waits() {
        let (outgoing, _queue) = Outgoing::new(10, 3);
        assert_eq!(outgoing.send(text(1000)), Ok(()));
    }

    #[test]
    fn the_window_never_grows() {
        let (outgoing, _queue) = Outgoing::new(10, 3);
        (0..100).for_each(|_| outgoing.taken());
        assert_eq!(outgoing.window.available_permits(), WINDOW);
    }
}
