//! The post between the shards of an engine: a letter box each, and the sockets that they lend each other.

use std::net::UdpSocket;
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::batch;
use crate::command::ShardIndex;
use crate::control::Control;
use crate::relay::Relay;
use crate::shard::Shard;

/// News that may wait for one shard: at 1,000 participants that live elsewhere, a third of a second.
const LETTERS: usize = 16_384;

/// Where a shard gets news from the others.
pub(crate) struct LetterBox {
    sender: Sender<(ShardIndex, Relay)>,
    receiver: Receiver<(ShardIndex, Relay)>,
    control: Arc<Control>,
    // `None` once the engine was stopped.
    socket: Mutex<Option<Arc<UdpSocket>>>,
}

impl LetterBox {
    /// For the shard that listens to this control and sends by this socket.
    pub(crate) fn new(control: Arc<Control>, socket: Arc<UdpSocket>) -> LetterBox {
        let (sender, receiver) = bounded(LETTERS);
        LetterBox {
            sender,
            receiver,
            control,
            socket: Mutex::new(Some(socket)),
        }
    }

    /// Lends the socket no more.
    pub(crate) fn shut(&self) {
        *self.socket.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// One shard's access to the post.
pub(crate) struct Post {
    index: ShardIndex,
    boxes: Arc<Vec<LetterBox>>,
    sockets: Vec<Option<Arc<UdpSocket>>>,
}

/// What became of datagrams.
#[derive(Default)]
pub(crate) struct Sent {
    pub(crate) sent: u64,
    pub(crate) failed: u64,
}

impl Post {
    pub(crate) fn new(index: ShardIndex, boxes: Arc<Vec<LetterBox>>) -> Post {
        let lent = |letter_box: &LetterBox| {
            let socket = letter_box.socket.lock().unwrap_or_else(PoisonError::into_inner);
            socket.clone()
        };
        Post {
            index,
            sockets: boxes.iter().map(lent).collect(),
            boxes,
        }
    }

    /// The next piece of news for this shard, and from whom.
    pub(crate) fn receive(&self) -> Option<(ShardIndex, Relay)> {
        self.boxes[self.index].receiver.try_recv().ok()
    }

    /// Delivers what the shard has to tell the others. True if something has to wait.
    pub(crate) fn deliver(&mut self, shard: &mut Shard) -> bool {
        for (to, letter_box) in self.boxes.iter().enumerate() {
            shard.make_good(to, LETTERS.saturating_sub(letter_box.sender.len()));
        }
        while let Some((to, relay)) = shard.poll_relay() {
            let Some(letter_box) = self.boxes.get(to) else { continue };
            match letter_box.sender.try_send((self.index, relay)) {
                Ok(()) => letter_box.control.wake(),
                Err(TrySendError::Full((_, relay))) => shard.put_off(to, &relay),
                Err(TrySendError::Disconnected(_)) => {}
            }
        }
        shard.owes()
    }

    /// Sends what is for participants whose home is another shard, by that shard's socket, without waiting.
    pub(crate) fn send_for_others(&self, shard: &mut Shard) -> Sent {
        let mut counted = Sent::default();
        for (home, outbox) in shard.outboxes() {
            let socket = self.sockets.get(home).and_then(Option::as_ref);
            let mut at = 0;
            while at < outbox.len() {
                match socket.map(|socket| batch::send(socket, outbox, at)) {
                    Some(Ok(sent)) => {
                        counted.sent += sent as u64;
                        at += sent;
                    }
                    // A full buffer, too: sound that waits is sound that is late.
                    Some(Err(_)) | None => {
                        counted.failed += 1;
                        at += 1;
                    }
                }
            }
            outbox.clear();
        }
        counted
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods)]
mod tests {
    use std::time::Instant;

    use roomtone_transport::{Certificate, NtpClock, TransportConfig};

    use super::*;
    use crate::config::MixConfig;
    use crate::orders::Orders;

    #[test]
    fn what_finds_no_room_is_told_once_there_is_some() {
        let orders = Arc::new(Orders::new(2));
        let letter_box = |shard| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            LetterBox::new(orders.control(shard).clone(), Arc::new(socket))
        };
        let boxes = Arc::new(vec![letter_box(0), letter_box(1)]);
        let (mut post, other) = (Post::new(0, boxes.clone()), Post::new(1, boxes.clone()));
        let now = Instant::now();
        let transport = TransportConfig::new(Vec::new(), NtpClock::from_unix(now, Default::default()));
        let certificate = Arc::new(Certificate::generate().unwrap());
        let mut shard = Shard::new(now, transport, certificate, MixConfig::default(), 1).among(0, orders);

        for _ in 0..LETTERS {
            shard.reborn();
        }
        assert!(!post.deliver(&mut shard), "all of it fits");
        for _ in 0..100 {
            shard.reborn();
            assert!(post.deliver(&mut shard), "it is full");
        }
        assert_eq!(std::iter::from_fn(|| other.receive()).count(), LETTERS);
        assert!(!post.deliver(&mut shard));
        assert_eq!(std::iter::from_fn(|| other.receive()).count(), 1, "once is enough");
    }
}
