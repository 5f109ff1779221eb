//! How other threads reach into a shard's running loop.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use mio::Waker;

/// Flags that reach into a running loop from other threads.
#[derive(Debug, Default)]
pub(crate) struct Control {
    stop: AtomicBool,
    waiting: AtomicU32,
    /// Whether there is something new that the loop hasn't looked at.
    news: AtomicBool,
    /// Ends the loop's wait. Without one, no loop is there yet: a loop looks at everything before it waits.
    waker: Mutex<Option<Waker>>,
}

impl Control {
    /// Whether the loop should give its thread back now.
    pub(crate) fn should_leave(&self) -> bool {
        self.stopped() || self.waiting.load(Ordering::Acquire) > 0
    }

    /// Whether the engine was stopped.
    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// From now on `waker` ends the wait of the loop.
    pub(crate) fn set_waker(&self, waker: Waker) {
        *self.waker.lock().unwrap_or_else(PoisonError::into_inner) = Some(waker);
    }

    /// The loop looks at everything now. News that come later wake it again.
    pub(crate) fn heed(&self) {
        // A swap, not a store: it has to acquire what was submitted before `wake` found the news untold.
        self.news.swap(false, Ordering::AcqRel);
    }

    /// A command is waiting.
    pub(crate) fn wake(&self) {
        if self.news.swap(true, Ordering::AcqRel) {
            return;
        }
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Err(error)) = waker.as_ref().map(Waker::wake) {
            log::warn!("a shard can't be woken: {error}");
        }
    }

    /// Ends the loop for good.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.wake();
    }

    /// Makes whoever runs the loop leave, for as long as `wait` waits for it.
    pub(crate) fn while_asking_to_leave<R>(&self, wait: impl FnOnce() -> R) -> R {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        self.wake();
        let result = wait();
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        result
    }
}
