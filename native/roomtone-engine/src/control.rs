//! How other threads reach into a shard's running loop.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use tokio::sync::Notify;

/// Flags that reach into a running loop from other threads.
#[derive(Debug, Default)]
pub(crate) struct Control {
    stop: AtomicBool,
    waiting: AtomicU32,
    wake: Notify,
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

    /// Resolves when a command came or a flag changed.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// A command is waiting.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
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
