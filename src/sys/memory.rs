//! Which memory a process of this program has: what stays, and what is given
//! back when nothing happens.
#![allow(
    clippy::as_conversions,
    clippy::ref_as_ptr,
    reason = "registers are numbers: the macro turns every argument into one"
)]

use core::sync::atomic::{AtomicBool, Ordering};

use linux_raw_sys::general;
use syscalls::Sysno;

use super::{Errno, clone_vm, error::syscall};

/// Bytes of stack below the caller that are given back: more than any start
/// needs, less than the gap that the kernel keeps free below a stack.
const STACK: usize = 128 * 1024;

/// What lies below the caller's frame and is in use: the frames of what it
/// calls, which take less than a tenth of this.
const IN_USE: usize = 2048;

/// What pages are multiples of.
pub(super) const PAGE: usize = 4096;

/// Gives back what a busy moment has used: the stack below the caller, the
/// berths of children that have left, and the pages of the program's file
/// that the kernel mapped around those that ran. What the kernel refuses, for
/// its pages are larger or the program is locked into memory, stays.
pub fn trim() {
    let here = 0_u8;
    let end = (&raw const here).addr().saturating_sub(IN_USE) & !(PAGE - 1);
    // SAFETY: all frames are above; who is called next finds zeros where it
    // expects nothing. Signals have no handlers.
    unsafe { forget_used(end.saturating_sub(STACK), STACK) };
    each_segment(false, &mut |start, bytes| {
        let bytes = bytes.saturating_add(start % PAGE);
        let start = start & !(PAGE - 1);
        // SAFETY: what is mapped there is read from the file again.
        unsafe { discard(start, bytes) };
    });
    clone_vm::trim_stacks();
}

/// The memory of this process is locked.
static LOCKED: AtomicBool = AtomicBool::new(false);

/// Keeps this process in memory, whatever becomes of the media that it was
/// read from and may be swapped to: all of its code and constants, and what
/// it uses of variables and stack. Children do not inherit that.
///
/// EPERM or ENOMEM when RLIMIT_MEMLOCK does not allow it.
pub fn lock() -> Result<(), Errno> {
    /// What is not used takes no memory.
    const USED: u32 = general::MCL_CURRENT | general::MCL_ONFAULT;
    // SAFETY: the call changes nothing but where the pages are kept.
    let mut done = unsafe { syscall!(Sysno::mlockall, USED) }.map(|_| ());
    LOCKED.store(done.is_ok(), Ordering::Relaxed);
    each_segment(false, &mut |start, bytes| {
        // SAFETY: the call changes nothing but where the pages are kept.
        let locked = unsafe { syscall!(Sysno::mlock, start, bytes) };
        if let Err(errno) = locked {
            done = Err(errno);
        }
    });
    done
}

/// Bytes of code with constants, and of variables, of which the pages are
/// touched that are used: all that there is beside the stack.
pub fn bytes() -> [usize; 2] {
    [false, true].map(|variables| {
        let mut all = 0_usize;
        each_segment(variables, &mut |_, bytes| {
            all = all.saturating_add(bytes);
        });
        all
    })
}

/// Head of the program's file, as far as it matters, for numbers of this
/// machine's width.
#[repr(C)]
struct ElfHeader {
    _ident: [u32; 6],
    _places: [usize; 3],
    _flags: u32,
    _sizes: [u16; 2],
    /// How many parts there are, of which the records follow the head.
    parts: u16,
    _sections: [u16; 3],
}

/// What the kernel has mapped of the program's file in one piece.
#[repr(C)]
#[cfg(target_pointer_width = "64")]
struct Part {
    kind: u32,
    flags: u32,
    _offset: usize,
    start: usize,
    _other: usize,
    _in_file: usize,
    bytes: usize,
    _align: usize,
}

/// What the kernel has mapped of the program's file in one piece.
#[repr(C)]
#[cfg(target_pointer_width = "32")]
struct Part {
    kind: u32,
    _offset: usize,
    start: usize,
    _other: usize,
    _in_file: usize,
    bytes: usize,
    flags: u32,
    _align: usize,
}

/// Calls `each` with start and length of each part of the program: of its
/// code and constants, or of its variables. There may be holes between them.
fn each_segment(variables: bool, each: &mut dyn FnMut(usize, usize)) {
    unsafe extern "C" {
        /// The linker's name for where the file begins.
        static __executable_start: ElfHeader;
    }
    /// PT_LOAD.
    const LOAD: u32 = 1;
    /// PF_W.
    const WRITABLE: u32 = 2;
    let head = &raw const __executable_start;
    // SAFETY: the linker puts the head there, into what is mapped.
    let count = unsafe { (*head).parts };
    // SAFETY: it puts the records right behind the head.
    let first = unsafe { head.add(1) }.cast::<Part>();
    // SAFETY: there are so many, and nobody writes to them.
    let parts = unsafe { core::slice::from_raw_parts(first, count.into()) };
    for part in parts {
        let writable = part.flags & WRITABLE != 0;
        if part.kind == LOAD && writable == variables {
            each(part.start, part.bytes);
        }
    }
}

/// `madvise(MADV_DONTNEED)`: what is there has then the content of its file,
/// or zeros, from page `start` on to the end of the page that the last byte
/// is in. The kernel refuses a start that is not a page's.
///
/// # Safety
/// Nobody uses that part now, and that content is valid.
unsafe fn discard(start: usize, bytes: usize) {
    // SAFETY: the caller vouches for it.
    let _stays = unsafe { advise(start, bytes, DONTNEED) }.is_err();
}

/// As [`forget`], for memory that [`stay`] has locked where it is used: that
/// is given back too, and will be locked again.
///
/// # Safety
/// As that of [`forget`].
pub(super) unsafe fn forget_used(start: usize, bytes: usize) {
    /// Since Linux 5.18.
    const DONTNEED_LOCKED: u32 = general::MADV_DONTNEED_LOCKED;
    if !LOCKED.load(Ordering::Relaxed) {
        // SAFETY: the caller vouches for it.
        return unsafe { discard(start, bytes) };
    }
    // SAFETY: the caller vouches for it.
    match unsafe { advise(start, bytes, DONTNEED_LOCKED) } {
        // A part of it was not mapped at all.
        Ok(()) | Err(Errno::ENOMEM) => return,
        Err(_) => {}
    }
    // SAFETY: the call changes nothing but where the pages are kept.
    let _free = unsafe { syscall!(Sysno::munlockall) }.is_ok();
    // SAFETY: the caller vouches for it.
    unsafe { discard(start, bytes) };
    // It was locked before: nothing refuses it.
    let _locked = lock().is_ok();
}

/// What is given back is read from the file again, or zeros.
const DONTNEED: u32 = general::MADV_DONTNEED;

/// `madvise`.
///
/// # Safety
/// What `advice` does to the content of these pages is valid.
unsafe fn advise(start: usize, bytes: usize, advice: u32) -> Result<(), Errno> {
    // SAFETY: the caller vouches for it.
    unsafe { syscall!(Sysno::madvise, start, bytes, advice) }.map(|_| ())
}
