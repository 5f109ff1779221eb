//! Thousands of participants on one thread: the part of a bench that makes and hears the sound.
//!
//! The caller gives each participant a number. Signalling isn't done here: whoever has an answer to a client's offer
//! hands both over with [`Crowd::join`].

mod ear;
mod floor;
mod line;
mod member;
mod port;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

pub use ear::Watch;
pub use line::Line;
pub use member::{Mode, Script};

use floor::Floor;
use roomtone_testkit::fixtures::TalkPacket;
use roomtone_testkit::peer::ClientPeer;

/// Counts since [`Crowd::mark`].
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// RTP packets received by all.
    pub packets_in: u64,
    /// RTP packets sent by all.
    pub packets_out: u64,
    /// RTP packets of the server that didn't arrive.
    pub lost: i64,
    /// Datagrams that were no authentic packets.
    pub rejected: u64,
    /// Of the packets that ears got: how many there were, …
    pub heard: u64,
    /// … were more than a frame later than the stream's earliest, …
    pub late: u64,
    /// … and couldn't be decoded.
    pub undecodable: u64,
    /// From sending the packet in which a beep begins to the arrival of the packet in which it is heard.
    pub latencies: Vec<Duration>,
    /// Of these: in a conversation, from talkers beside whom nobody speaks, …
    pub alone: Vec<Duration>,
    /// … and beside whom somebody does.
    pub together: Vec<Duration>,
    /// Participants who were thrown out, and why.
    pub ended: Vec<String>,
}

/// One who joins.
pub struct Newcomer {
    /// By which this participant is called.
    pub number: usize,
    /// The client that made the offer.
    pub client: ClientPeer,
    /// The server's answer.
    pub answer: String,
    /// The connection by which its packets travel, in place of a UDP socket.
    pub line: Option<Line>,
    /// When the offer was made.
    pub offered: Instant,
    /// With this one talks.
    pub script: Option<Script>,
    /// With this one decodes what comes, and waits for the beeps of these.
    pub watches: Option<Vec<Watch>>,
}

/// Tells whoever waits for a newcomer.
type Joined = oneshot::Sender<Result<Duration, String>>;

enum Command {
    Join(Box<Newcomer>, Joined),
    Mode(Mode),
    Begin(Instant),
    Say {
        number: usize,
        packets: Arc<[TalkPacket]>,
        done: oneshot::Sender<()>,
    },
    Forget,
    Heard {
        number: usize,
        seconds: f32,
        reply: oneshot::Sender<Vec<f32>>,
    },
    Mark,
    Take(oneshot::Sender<Window>),
    Leave(oneshot::Sender<()>),
}

/// The participants.
pub struct Crowd {
    commands: Option<Sender<Command>>,
    thread: Option<JoinHandle<()>>,
}

impl Crowd {
    /// Starts the thread. `shared`: the server is on this machine, and participants may share sockets; `bind`: where their
    /// sockets are otherwise.
    pub fn start(shared: bool, bind: IpAddr) -> std::io::Result<Crowd> {
        let (commands, orders) = channel();
        let thread = std::thread::Builder::new()
            .name("crowd".into())
            .spawn(move || Floor::new(shared, bind).run(&orders))?;
        Ok(Crowd {
            commands: Some(commands),
            thread: Some(thread),
        })
    }

    /// Connects a client; how long that took from the offer on, or why it didn't.
    pub async fn join(&self, newcomer: Newcomer) -> Result<Duration, String> {
        let (joined, reply) = oneshot::channel();
        self.tell(Command::Join(Box::new(newcomer), joined));
        reply.await.unwrap_or_else(|_| Err("the crowd is gone".into()))
    }

    /// The activity of talkers from now on.
    pub fn mode(&self, mode: Mode) {
        self.tell(Command::Mode(mode));
    }

    /// A conversation begins then, for those who take part in one. Until this is called they keep quiet.
    pub fn begin(&self, at: Instant) {
        self.tell(Command::Begin(at));
    }

    /// In [`Mode::Quiet`]: these say their texts, at the same time; returns when all is said.
    pub async fn say(&self, texts: Vec<(usize, Arc<[TalkPacket]>)>) {
        let mut said = Vec::new();
        for (number, packets) in texts {
            let (done, reply) = oneshot::channel();
            self.tell(Command::Say { number, packets, done });
            said.push(reply);
        }
        for reply in said {
            let _ = reply.await;
        }
    }

    /// All ears forget what they heard.
    pub fn forget(&self) {
        self.tell(Command::Forget);
    }

    /// The last seconds that an ear heard since it forgot.
    pub async fn heard(&self, number: usize, seconds: f32) -> Vec<f32> {
        self.ask(|reply| Command::Heard { number, seconds, reply }).await
    }

    /// Begins to count.
    pub fn mark(&self) {
        self.tell(Command::Mark);
    }

    /// The counts.
    pub async fn window(&self) -> Window {
        self.ask(Command::Take).await
    }

    /// All say goodbye.
    pub async fn leave(&self) {
        self.ask(Command::Leave).await;
    }

    async fn ask<T: Default>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> T {
        let (reply, answer) = oneshot::channel();
        self.tell(command(reply));
        answer.await.unwrap_or_default()
    }

    fn tell(&self, command: Command) {
        if let Some(commands) = &self.commands {
            // The thread ends only when we let go of it, or with a panic, which `drop` hands on.
            let _ = commands.send(command);
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.commands = None;
        if let Some(Err(panic)) = self.thread.take().map(JoinHandle::join)
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}
