//! Controls the memory of this process: locks it, and returns to the kernel
//! what an idle process does not need.
#![allow(
    clippy::as_conversions,
    clippy::ref_as_ptr,
    reason = "registers are numbers: the macro turns every argument into one"
)]

use core::sync::atomic::{AtomicBool, Ordering};

use linux_raw_sys::general;
use syscalls::Sysno;

use super::{Errno, error::syscall};

/// Bytes of stack below the caller that are returned: more than any start of a
/// service needs, less than the gap that the kernel keeps free below a stack.
const STACK: usize = 128 * 1024;

/// Bytes below the caller's frame that are kept: the frames of its callees are
/// in use there, and take less than half of this.
const IN_USE: usize = 512;

/// The smallest page size in bytes; all others are multiples of it.
pub(super) const PAGE: usize = 4096;

/// Returns to the kernel what busy moments have used: the stack below the
/// caller, and the pages of the program's file that the kernel mapped around
/// those that ran. What the kernel refuses, because its pages are larger or
/// the program is locked into memory, stays. [`super::trim_memory`] also
/// returns the stacks of children.
pub fn trim() {
    let here = 0_u8;
    let end = (&raw const here).addr().saturating_sub(IN_USE) & !(PAGE - 1);
    // SAFETY: all frames are above; the next callee finds zeros where it
    // expects nothing. The handler of faults has a stack of its own.
    unsafe { discard_used(end.saturating_sub(STACK), STACK) };
    each_segment(false, &mut |start, bytes| {
        let bytes = bytes.saturating_add(start % PAGE);
        let start = start & !(PAGE - 1);
        // SAFETY: the pages mapped there are read from the file again.
        unsafe { discard(start, bytes) };
    });
}

/// True when the memory of this process is locked.
static LOCKED: AtomicBool = AtomicBool::new(false);

/// Locks this process into memory, so that it runs whatever happens to the
/// media that it was read from or could be swapped to: all of its code and
/// constants, and the pages of variables and stack that it uses. Children do
/// not inherit that.
///
/// EPERM or ENOMEM when RLIMIT_MEMLOCK does not allow it.
pub fn lock() -> Result<(), Errno> {
    /// Unused pages take no memory.
    const USED: u32 = general::MCL_CURRENT | general::MCL_ONFAULT;
    // SAFETY: the call only changes where the pages are kept.
    let mut done = unsafe { syscall!(Sysno::mlockall, USED) }.map(|_| ());
    LOCKED.store(done.is_ok(), Ordering::Relaxed);
    each_segment(false, &mut |start, bytes| {
        // SAFETY: the call only changes where the pages are kept.
        let locked = unsafe { syscall!(Sysno::mlock, start, bytes) };
        if let Err(errno) = locked {
            done = Err(errno);
        }
    });
    done
}

/// Returns the bytes of code with constants, and those of variables, of which
/// only the pages in use take memory. That is all memory beside the stack.
pub fn bytes() -> [usize; 2] {
    [false, true].map(|variables| {
        let mut all = 0_usize;
        each_segment(variables, &mut |_, bytes| {
            all = all.saturating_add(bytes);
        });
        all
    })
}

/// The header of the program's file (`Ehdr` of elf(5)), for numbers of this
/// machine's width.
#[repr(C)]
struct ElfHeader {
    _ident: [u32; 6],
    _offsets: [usize; 3],
    _flags: u32,
    _sizes: [u16; 2],
    /// Number of segments; their records follow the header.
    segments: u16,
    _sections: [u16; 3],
}

/// A segment of the program's file (`Phdr` of elf(5)).
#[repr(C)]
#[cfg(target_pointer_width = "64")]
struct Segment {
    kind: u32,
    flags: u32,
    _offset: usize,
    start: usize,
    _other: usize,
    _in_file: usize,
    bytes: usize,
    _align: usize,
}

/// A segment of the program's file (`Phdr` of elf(5)).
#[repr(C)]
#[cfg(target_pointer_width = "32")]
struct Segment {
    kind: u32,
    _offset: usize,
    start: usize,
    _other: usize,
    _in_file: usize,
    bytes: usize,
    flags: u32,
    _align: usize,
}

/// Calls `each` with start and length of each loaded segment of the program:
/// those with code and constants, or those with variables. There may be holes
/// between them.
fn each_segment(variables: bool, each: &mut dyn FnMut(usize, usize)) {
    unsafe extern "C" {
        /// The linker's symbol for the start of the file.
        static __executable_start: ElfHeader;
    }
    /// PT_LOAD.
    const LOAD: u32 = 1;
    /// PF_W.
    const WRITABLE: u32 = 2;
    let header = &raw const __executable_start;
    // SAFETY: the linker puts the header there, into what is mapped.
    let count = unsafe { (*header).segments };
    // SAFETY: it puts the records right after the header.
    let first = unsafe { header.add(1) }.cast::<Segment>();
    // SAFETY: there are so many, and nothing writes to them.
    let segments = unsafe { core::slice::from_raw_parts(first, count.into()) };
    for segment in segments {
        let writable = segment.flags & WRITABLE != 0;
        if segment.kind == LOAD && writable == variables {
            each(segment.start, segment.bytes);
        }
    }
}

/// Calls `madvise(MADV_DONTNEED)`: from page `start` on to the end of the page
/// of the last byte, the content becomes that of the file again, or zeros. The
/// kernel refuses a start that is not that of a page.
///
/// # Safety
/// Nothing uses these pages now, and that content is valid.
unsafe fn discard(start: usize, bytes: usize) {
    // SAFETY: the caller vouches for it.
    let _stays = unsafe { advise(start, bytes, DONTNEED) }.is_err();
}

/// Discards pages as [`discard`] does, also of memory that [`lock`] has locked
/// in use: they are returned too, and locked again when they are used.
///
/// # Safety
/// As for [`discard`].
pub(super) unsafe fn discard_used(start: usize, bytes: usize) {
    /// Since Linux 5.18.
    const DONTNEED_LOCKED: u32 = general::MADV_DONTNEED_LOCKED;
    if !LOCKED.load(Ordering::Relaxed) {
        // SAFETY: the caller vouches for it.
        return unsafe { discard(start, bytes) };
    }
    // SAFETY: the caller vouches for it.
    match unsafe { advise(start, bytes, DONTNEED_LOCKED) } {
        // ENOMEM: some pages were not mapped at all.
        Ok(()) | Err(Errno::ENOMEM) => return,
        Err(_) => {}
    }
    // SAFETY: the call only changes where the pages are kept.
    let _free = unsafe { syscall!(Sysno::munlockall) }.is_ok();
    // SAFETY: the caller vouches for it.
    unsafe { discard(start, bytes) };
    // It was locked before: it is not refused.
    let _locked = lock().is_ok();
}

/// Keeps pages out of copies of this process. If the kernel refuses, copies
/// have them too, and do not use them.
pub(super) fn keep_from_copies(start: usize, bytes: usize) {
    // SAFETY: this process keeps the pages.
    let _has = unsafe { advise(start, bytes, general::MADV_DONTFORK) }.is_err();
}

/// Discarded pages are read from the file again, or zeros.
const DONTNEED: u32 = general::MADV_DONTNEED;

/// Calls `madvise`.
///
/// # Safety
/// The effect of `advice` on the content of these pages is valid.
unsafe fn advise(start: usize, bytes: usize, advice: u32) -> Result<(), Errno> {
    // SAFETY: the caller vouches for it.
    unsafe { syscall!(Sysno::madvise, start, bytes, advice) }.map(|_| ())
}
