//! How much memory a process of this program may have, and what it gives back
//! when nothing happens.

use super::{apart, raw};

/// Bytes of stack below the caller that are given back: more than any start
/// needs, less than the gap that the kernel keeps free below a stack.
const STACK: usize = 128 * 1024;

/// What lies below the caller's frame and is in use: the frames of what it
/// calls, which take less than a tenth of this.
const IN_USE: usize = 2048;

/// What pages are multiples of.
const PAGE: usize = 4096;

/// Gives back what a busy moment has used: the stack below the caller, the
/// berths of children that have left, and the pages of the program's file
/// that the kernel mapped around those that ran. What the kernel refuses, for
/// its pages are larger or the program is locked into memory, stays.
pub fn give_back() {
    let here = 0_u8;
    let end = (&raw const here).addr().saturating_sub(IN_USE) & !(PAGE - 1);
    // SAFETY: all frames are above; who is called next finds zeros where it
    // expects nothing. Signals have no handlers.
    unsafe { raw::forget(end.saturating_sub(STACK), STACK) };
    raw::program(false, &mut |start, bytes| {
        let bytes = bytes.saturating_add(start % PAGE);
        let start = start & !(PAGE - 1);
        // SAFETY: what is mapped there is read from the file again.
        unsafe { raw::forget(start, bytes) };
    });
    apart::leave_berths();
}

/// Bytes of code with constants, and of variables, of which the pages are
/// touched that are used: all that there is beside the stack.
pub fn bytes() -> [usize; 2] {
    [false, true].map(|variables| {
        let mut all = 0_usize;
        raw::program(variables, &mut |_, bytes| {
            all = all.saturating_add(bytes);
        });
        all
    })
}
