//! The room's end of a recording of its inputs.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use super::format::{Begin, Entry, Input};
use super::journal::{BLOCK, Journal, JournalWriter};

/// An input is on its way to the file after this time at the latest: so much is lost when the server dies.
const EVERY: Duration = Duration::from_millis(250);
/// How often the file is told what listeners were sent.
const CHECK: Duration = Duration::from_secs(1);

/// Writes the inputs of a room into a journal.
pub(crate) struct Recorder {
    writer: JournalWriter,
    /// The time of the call at hand.
    now: Instant,
    /// The time of the last entry.
    last: Instant,
    /// When what was collected leaves.
    due: Option<Instant>,
    check_due: Instant,
    shed: u8,
}

impl Recorder {
    /// A recorder of a room whose ticks are whole frames after `origin`. Writes the first entry.
    pub(crate) fn new(journal: Journal, now: Instant, origin: Instant, begin: Begin) -> Recorder {
        let mut recorder = Recorder {
            writer: JournalWriter::new(journal),
            now,
            last: origin,
            due: None,
            check_due: now,
            shed: 0,
        };
        recorder.write(Input::Begin(Cow::Owned(begin)));
        recorder
    }

    /// Refuses a journal: the room can't be recorded from its beginning.
    pub(crate) fn refuse(journal: &Journal) {
        JournalWriter::refuse(journal);
    }

    /// Calls into the room happen at this time from now on.
    pub(crate) fn at(&mut self, now: Instant) {
        self.now = now;
    }

    /// Notes at which level the shard sheds load.
    pub(crate) fn shed(&mut self, level: u8) {
        if std::mem::replace(&mut self.shed, level) != level {
            self.write(Input::Shed(level));
        }
    }

    /// Writes an input down.
    pub(crate) fn write(&mut self, input: Input<'_>) {
        let Some(block) = self.writer.block() else { return };
        let after = nanos_between(self.last, self.now);
        // It has a place for everything, so nothing is refused.
        if let Err(error) = postcard::to_extend(&Entry { after, input }, Appending(block)) {
            log::error!("an input of a room isn't recorded: {error}");
        }
        self.last = self.now;
        if block.len() >= BLOCK {
            self.hand_over();
        } else if self.due.is_none() {
            self.due = Some(self.now + EVERY);
        }
    }

    /// When [`Recorder::hand_over_due`] has something to do.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.due
    }

    /// Hands over what has waited long enough.
    pub(crate) fn hand_over_due(&mut self) {
        if self.due.is_some_and(|due| due <= self.now) {
            self.hand_over();
        }
    }

    fn hand_over(&mut self) {
        self.due = None;
        self.writer.hand_over();
    }

    /// Whether it is time to write down what listeners were sent.
    pub(crate) fn checks(&mut self) -> bool {
        let due = self.check_due <= self.now;
        if due {
            self.check_due = self.now + CHECK;
        }
        due
    }
}

fn nanos_between(from: Instant, to: Instant) -> i64 {
    let nanos = |time: Duration| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX);
    match to.checked_duration_since(from) {
        Some(after) => nanos(after),
        None => -nanos(from.duration_since(to)),
    }
}

/// Appends to a block.
struct Appending<'a>(&'a mut Vec<u8>);

impl Extend<u8> for Appending<'_> {
    fn extend<T: IntoIterator<Item = u8>>(&mut self, bytes: T) {
        self.0.extend(bytes);
    }
}
