//! The way of one packet through the server, with the time at each of its stages.

use std::time::{Duration, Instant};

use crate::command::PeerId;

/// A moment on a packet's way, in the order in which it passes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// The system's kernel took the datagram in.
    Kernel,
    /// The shard read it from its socket.
    Shard,
    /// Its sender was found, by address (ICE), and it is in their room.
    Room,
    /// SRTP was checked and decrypted.
    Opened,
    /// It is in the talker's jitter buffer.
    Buffered,
    /// The tick that plays it began.
    Tick,
    /// It is sound: Opus decoded it.
    Decoded,
    /// The listener's mix is made.
    Mixed,
    /// The mix is a packet: Opus encoded it.
    Encoded,
    /// SRTP encrypted the packet for the listener, or it waits for those that go out with it as one (`a=ptime`).
    Sealed,
    /// The kernel has the datagrams to the listeners. A packet that waits for those that go out with it as one has this stage with the
    /// datagrams of the call that took it, and goes out up to 45 ms later.
    Sent,
}

impl Stage {
    /// All stages, in their order.
    pub const ALL: [Stage; 11] = [
        Stage::Kernel,
        Stage::Shard,
        Stage::Room,
        Stage::Opened,
        Stage::Buffered,
        Stage::Tick,
        Stage::Decoded,
        Stage::Mixed,
        Stage::Encoded,
        Stage::Sealed,
        Stage::Sent,
    ];

    /// A stable name for programs, such as `"opened"`.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Kernel => "kernel",
            Stage::Shard => "shard",
            Stage::Room => "room",
            Stage::Opened => "opened",
            Stage::Buffered => "buffered",
            Stage::Tick => "tick",
            Stage::Decoded => "decoded",
            Stage::Mixed => "mixed",
            Stage::Encoded => "encoded",
            Stage::Sealed => "sealed",
            Stage::Sent => "sent",
        }
    }
}

/// How a packet's sound reached its listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// In a mix, which so many listeners share: 1 is a mix, and an encode, of the listener's own.
    Mixed {
        /// The listeners who share it.
        listeners: u32,
    },
    /// As the talker's own packet, in a room that mixes: the listener hears nobody else.
    Passed,
    /// As the talker's own packet, in a room that forwards.
    Forwarded,
    /// Not at all: it came too late, or nobody hears it.
    Nowhere,
}

impl Way {
    /// A stable name for programs, such as `"mixed"`.
    pub fn as_str(self) -> &'static str {
        match self {
            Way::Mixed { .. } => "mixed",
            Way::Passed => "passed",
            Way::Forwarded => "forwarded",
            Way::Nowhere => "nowhere",
        }
    }
}

/// The way of one packet. Asked for with [`Action::Trace`](crate::Action::Trace).
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// From the command.
    pub reference: u64,
    /// The participant who sent it.
    pub talker: PeerId,
    /// The participant whose packet was followed to the end; `None` if it went nowhere.
    pub listener: Option<PeerId>,
    /// How it went.
    pub way: Way,
    /// How far into the frame of the mix its sound begins, 0 to 20 ms: it is heard so much later than the frame's beginning.
    pub into_frame: Duration,
    stamps: [Option<Instant>; Stage::ALL.len()],
}

impl Trace {
    pub(crate) fn new(reference: u64, talker: PeerId) -> Trace {
        Trace {
            reference,
            talker,
            listener: None,
            way: Way::Nowhere,
            into_frame: Duration::ZERO,
            stamps: [None; Stage::ALL.len()],
        }
    }

    pub(crate) fn has(&self, stage: Stage) -> bool {
        self.stamps[stage as usize].is_some()
    }

    pub(crate) fn stamp(&mut self, stage: Stage, at: Instant) {
        // Clocks of two threads may differ by less than what is measured: no stage ends before it began.
        let before = self.stamps[..stage as usize].iter().flatten().max();
        self.stamps[stage as usize] = Some(before.map_or(at, |before| at.max(*before)));
    }

    /// The stages that the packet passed, in their order, with the time from the first of them. A packet that isn't mixed passes
    /// fewer; where the system doesn't tell when it took a datagram in, the first one is [`Stage::Shard`].
    pub fn stages(&self) -> impl Iterator<Item = (Stage, Duration)> {
        let begun = self.stamps.iter().flatten().next().copied();
        let passed = move |(stage, at): (Stage, &Option<Instant>)| Some((stage, at.as_ref()?.duration_since(begun?)));
        Stage::ALL.into_iter().zip(&self.stamps).filter_map(passed)
    }
}
