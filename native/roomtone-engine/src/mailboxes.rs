//! The mailboxes of an engine's shards, and the sockets by which they send for each other.

use std::net::{SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use crate::batch;
use crate::command::ShardIndex;
use crate::control::Control;
use crate::links::{Links, link_of};
use crate::shard::Shard;
use crate::shard_message::{Message, ShardMessage};

/// The most messages that wait for one shard: a third of a second of sound at 1,000 participants who live elsewhere.
const CAPACITY: usize = 16_384;

/// The messages for one shard, and its socket.
pub(crate) struct Mailbox {
    sender: Sender<(ShardIndex, ShardMessage)>,
    receiver: Receiver<(ShardIndex, ShardMessage)>,
    control: Arc<Control>,
    // `None` once the engine was stopped.
    socket: Mutex<Option<Arc<UdpSocket>>>,
}

impl Mailbox {
    /// For the shard that is woken by this control and sends by this socket.
    pub(crate) fn new(control: Arc<Control>, socket: Arc<UdpSocket>) -> Mailbox {
        let (sender, receiver) = bounded(CAPACITY);
        Mailbox {
            sender,
            receiver,
            control,
            socket: Mutex::new(Some(socket)),
        }
    }

    /// Drops the socket.
    pub(crate) fn shut(&self) {
        *self.socket.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// One shard's access to all mailboxes.
pub(crate) struct Mailboxes {
    index: ShardIndex,
    all: Arc<Vec<Mailbox>>,
    sockets: Vec<Option<Arc<UdpSocket>>>,
}

/// Numbers of datagrams, and the bytes of those sent.
#[derive(Default)]
pub(crate) struct SendCounts {
    pub(crate) sent: u64,
    pub(crate) bytes: u64,
    pub(crate) failed: u64,
}

impl Mailboxes {
    pub(crate) fn new(index: ShardIndex, all: Arc<Vec<Mailbox>>) -> Mailboxes {
        let socket = |mailbox: &Mailbox| {
            let socket = mailbox.socket.lock().unwrap_or_else(PoisonError::into_inner);
            socket.clone()
        };
        Mailboxes {
            index,
            sockets: all.iter().map(socket).collect(),
            all,
        }
    }

    /// The next message for this shard, and its sender.
    pub(crate) fn receive(&self) -> Option<(ShardIndex, ShardMessage)> {
        self.all[self.index].receiver.try_recv().ok()
    }

    /// Delivers the shard's messages. True if something has to wait for room in a mailbox.
    pub(crate) fn deliver(&mut self, shard: &mut Shard) -> bool {
        for (to, mailbox) in self.all.iter().enumerate() {
            shard.resend(to, CAPACITY.saturating_sub(mailbox.sender.len()));
        }
        while let Some((to, message)) = shard.poll_message() {
            let Some(mailbox) = self.all.get(to) else { continue };
            match mailbox.sender.try_send((self.index, message)) {
                Ok(()) => mailbox.control.wake(),
                Err(TrySendError::Full((_, message))) => shard.defer(to, &message),
                Err(TrySendError::Disconnected(_)) => {}
            }
        }
        shard.has_pending()
    }

    /// Sends the datagrams for participants whose home is another shard, by that shard's socket, without waiting.
    pub(crate) fn send_for_others(&self, shard: &mut Shard, links: &mut Links) -> SendCounts {
        let mut counts = SendCounts::default();
        for (home, outbox) in shard.outboxes() {
            let socket = self.sockets.get(home).and_then(Option::as_ref);
            let mut at = 0;
            while at < outbox.len() {
                if let Some(sent) = self.send_by_link(links, outbox.get(at)) {
                    counts.sent += u64::from(sent);
                    counts.failed += u64::from(!sent);
                    at += 1;
                    continue;
                }
                match socket.map(|socket| batch::send(socket, outbox, at)) {
                    Some(Ok(sent)) => {
                        counts.sent += sent as u64;
                        counts.bytes += batch::bytes(outbox, at, sent);
                        at += sent;
                    }
                    // A full buffer, too: sound that waits is sound that is late.
                    Some(Err(_)) | None => {
                        counts.failed += 1;
                        at += 1;
                    }
                }
            }
            outbox.clear();
        }
        counts
    }

    /// Hands datagrams that came by TURN to the shards that they are for.
    pub(crate) fn deliver_foreign(&self, links: &mut Links) {
        for (to, from, data) in links.take_foreign() {
            if let Some(mailbox) = self.all.get(to) {
                // A full mailbox loses them, as a full socket would.
                let message = ShardMessage(Message::Arrived { from, data });
                let _ = mailbox.sender.try_send((self.index, message));
                mailbox.control.wake();
            }
        }
    }

    /// Sends a datagram that goes by a connection, this shard's or another's; whether that worked. `None` for one that goes by UDP.
    pub(crate) fn send_by_link(&self, links: &mut Links, datagram: Option<(SocketAddr, &[u8])>) -> Option<bool> {
        let (to, data) = datagram?;
        let (owner, id) = link_of(to)?;
        if owner == self.index {
            return Some(links.send(id, to, data));
        }
        let message = Message::Transmit {
            to,
            data: data.to_vec(),
        };
        let mailbox = self.all.get(owner)?;
        let sent = mailbox.sender.try_send((self.index, ShardMessage(message))).is_ok();
        mailbox.control.wake();
        Some(sent)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::disallowed_methods)]
mod tests {
    use std::time::Instant;

    use roomtone_transport::{Certificate, NtpClock, TransportConfig};

    use super::*;
    use crate::command_queues::CommandQueues;
    use crate::config::MixConfig;

    #[test]
    fn a_message_that_found_its_mailbox_full_is_sent_again_once() {
        let queues = Arc::new(CommandQueues::new(2));
        let mailbox = |shard| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            Mailbox::new(queues.control(shard).clone(), Arc::new(socket))
        };
        let boxes = Arc::new(vec![mailbox(0), mailbox(1)]);
        let (mut mailboxes, other) = (Mailboxes::new(0, boxes.clone()), Mailboxes::new(1, boxes.clone()));
        let now = Instant::now();
        let transport = TransportConfig::new(Vec::new(), NtpClock::from_unix(now, Default::default()));
        let certificate = Arc::new(Certificate::generate().unwrap());
        let mut shard = Shard::new(now, transport, certificate, MixConfig::default(), 1).in_engine(0, queues);

        for _ in 0..CAPACITY {
            shard.announce_restart();
        }
        assert!(!mailboxes.deliver(&mut shard), "all of it fits");
        for _ in 0..100 {
            shard.announce_restart();
            assert!(mailboxes.deliver(&mut shard), "it is full");
        }
        assert_eq!(std::iter::from_fn(|| other.receive()).count(), CAPACITY);
        assert!(!mailboxes.deliver(&mut shard));
        assert_eq!(std::iter::from_fn(|| other.receive()).count(), 1, "once is enough");
    }
}
