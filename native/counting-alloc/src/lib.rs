//! A global allocator for tests: it counts the allocations and the live bytes of each thread, and leaves the rest to the system.
//!
//! ```
//! #[global_allocator]
//! static ALLOCATOR: counting_alloc::CountingAlloc = counting_alloc::CountingAlloc;
//!
//! let before = counting_alloc::allocations();
//! let text = String::from("on the heap");
//! assert_eq!(counting_alloc::allocations() - before, 1);
//! # drop(text);
//! ```

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static LIVE_BYTES: Cell<isize> = const { Cell::new(0) };
}

/// The allocator. Make it the test binary's `#[global_allocator]`.
#[derive(Clone, Copy, Debug, Default)]
pub struct CountingAlloc;

/// The number of allocations and reallocations of this thread so far.
pub fn allocations() -> u64 {
    ALLOCATIONS.get()
}

/// The bytes that this thread has allocated, less those that it has freed. Negative if it freed more, which others allocated.
pub fn live_bytes() -> isize {
    LIVE_BYTES.get()
}

fn count(allocations: u64, bytes: isize) {
    // A thread that is ending has no counters any more.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + allocations));
    let _ = LIVE_BYTES.try_with(|live| live.set(live.get() + bytes));
}

// SAFETY: every call goes to the system's allocator unchanged; counting touches no memory that it manages.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for CountingAlloc {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as isize);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(0, -(layout.size() as isize));
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, size as isize - layout.size() as isize);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static ALLOCATOR: CountingAlloc = CountingAlloc;

    #[test]
    fn counts_what_this_thread_allocates_and_frees() {
        let (allocations_before, live_before) = (allocations(), live_bytes());
        let mut bytes: Vec<u8> = Vec::with_capacity(100);
        assert_eq!(
            (allocations() - allocations_before, live_bytes() - live_before),
            (1, 100)
        );
        bytes.reserve_exact(1000);
        assert_eq!(
            (allocations() - allocations_before, live_bytes() - live_before),
            (2, 1000)
        );
        drop(bytes);
        assert_eq!((allocations() - allocations_before, live_bytes() - live_before), (2, 0));
    }
}
