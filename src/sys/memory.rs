//! What memory this process gives back when nothing happens.

use super::{apart, raw};

/// Bytes of stack below the caller that are given back: more than any start
/// needs, less than the gap that the kernel keeps free below a stack.
const STACK: usize = 128 * 1024;

/// What the caller's frame may use below itself without saying so.
const RED_ZONE: usize = 256;

/// Gives back what a busy moment has used: the stack below the caller, the
/// berths of children, and the pages of the program's file that the kernel
/// mapped around those that ran. False when that is to be tried again, since
/// a child has not become its program.
pub fn give_back() -> bool {
    let here = 0_u8;
    let end = (&raw const here).addr().saturating_sub(RED_ZONE) & !4095;
    // SAFETY: all frames are above; who is called next finds zeros where it
    // expects nothing. Signals have no handlers.
    unsafe { raw::forget(end.saturating_sub(STACK), STACK) };
    let (start, bytes) = raw::program();
    // SAFETY: what is mapped there, to the end of the last page, is read from
    // the file again; refused where the program is locked into memory.
    unsafe { raw::forget(start, bytes.saturating_add(4095)) };
    apart::leave_berths()
}
