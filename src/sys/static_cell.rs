//! Hands out large static tables, each once, to one owner.

use core::{
    cell::UnsafeCell,
    sync::atomic::{AtomicBool, Ordering},
};

/// A static value that is handed out once.
///
/// Tables are in `.bss` and not on the stack, so that the file's headers show
/// the real memory use and only the pages in use are touched.
///
/// The flag comes first: after a large table it would need a page of its own.
#[repr(C)]
pub struct StaticCell<T> {
    taken: AtomicBool,
    value: UnsafeCell<T>,
}

// SAFETY: `take` gives only one caller access to the value.
unsafe impl<T: Send> Sync for StaticCell<T> {}

impl<T> StaticCell<T> {
    /// Returns a cell whose value has not been taken.
    pub const fn new(value: T) -> Self {
        Self {
            taken: AtomicBool::new(false),
            value: UnsafeCell::new(value),
        }
    }

    /// Returns the value to the first caller, `None` to all others.
    #[allow(clippy::mut_from_ref, reason = "`taken` makes it the only one")]
    pub fn take(&'static self) -> Option<&'static mut T> {
        // A load and a store, not a swap: there is one thread, and the first
        // ARM cores have no such instruction.
        if self.taken.load(Ordering::Relaxed) {
            return None;
        }
        self.taken.store(true, Ordering::Relaxed);
        // SAFETY: `taken` was false until now and is never reset, so this is
        // the only reference there will ever be.
        Some(unsafe { &mut *self.value.get() })
    }
}
