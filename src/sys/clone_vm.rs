//! Starts children that share this process's memory until they have become
//! their programs.
//!
//! A copy of this process would cost more than the rest of a start: first its
//! page tables, then a fault for each page that either process writes to. Here
//! nothing is copied, and unlike with `vfork` the parent does not wait: each
//! child has a stack of its own, which the kernel reports free when the child
//! has called `execve` or ended (CLONE_CHILD_CLEARTID). The arguments are
//! copied next to that stack, because the parent's variables have changed by
//! the time the child reads them. The child writes to its stack only.
//!
//! Shared memory has a cost. If the kernel kills such a child because memory
//! has run out, it kills the supervisor too (unless that is PID 1). Before
//! Linux 5.16 a signal that dumps core and ends a child before its `execve`
//! also ended the supervisor, even PID 1. On those kernels, and where the
//! kernel or its emulation (qemu-user) refuses such a child, every child is a
//! copy.

use core::{
    cell::UnsafeCell,
    ffi::CStr,
    mem::MaybeUninit,
    ptr,
    sync::atomic::{AtomicU8, AtomicU32, Ordering},
};

use linux_raw_sys::general;

use crate::text::{self, Line};

use super::{
    Errno, exec, fd,
    memory::{self, PAGE},
    program::{ARGUMENTS, Environ, Program, Setup},
    raw,
};

/// Most children that share our memory at the same time; further ones are
/// copies. An idle machine of two processors has one or two of them, a busy
/// one all.
const STACKS: usize = 32;

/// Most bytes of a child's path and arguments, each with its NUL: more than
/// `./finish -32768 128`. A child with more is a copy.
const WORD_BYTES: usize = 32;

/// Least size of a child's stack in bytes: `cargo xtask audit` prints how much
/// the calls on it need.
const LEAST_STACK: usize = 2048;

/// Size of a child's stack in bytes: it ends at a multiple of 16, and fills a
/// [`ChildStack`] up to whole pages.
const STACK_BYTES: usize =
    (LEAST_STACK + FRAME + ABOVE_STACK).next_multiple_of(PAGE) - ABOVE_STACK;

/// Room for a signal frame in bytes: such a child inherits the handlers of
/// `fault`, but not their stack. With AVX-512 a frame has 3.6 kB.
const FRAME: usize = 4096;

/// Bytes of a [`ChildStack`] that are not stack.
const ABOVE_STACK: usize =
    (size_of::<SpawnArgs>() + TAKEN).next_multiple_of(16);

/// Bytes from `taken` to `args` in a [`ChildStack`].
const TAKEN: usize = align_of::<SpawnArgs>();

/// The program and state of a child, copied for it.
pub(super) struct SpawnArgs {
    /// Path and arguments.
    words: heapless::Vec<u8, WORD_BYTES>,
    environ: Environ,
    /// Without its `prefix`, which follows.
    setup: Setup<'static>,
    prefix: Option<Line>,
}

/// The stack of a child until it has become its program. The bytes in use lie
/// at its end.
#[repr(C, align(4096))]
struct ChildStack {
    /// The stack, which grows down.
    stack: UnsafeCell<[MaybeUninit<u8>; STACK_BYTES]>,
    /// 1 while a child uses this stack; then the kernel sets it to 0.
    taken: AtomicU32,
    args: UnsafeCell<MaybeUninit<SpawnArgs>>,
}

const _: () = {
    let (taken, args) = (
        core::mem::offset_of!(ChildStack, taken),
        core::mem::offset_of!(ChildStack, args),
    );
    assert!(
        args == taken.saturating_add(TAKEN),
        "the assembly computes one from the other"
    );
};

// SAFETY: this process writes to a stack only while `taken` is 0, its child
// only while it is not.
unsafe impl Sync for ChildStack {}

/// All child stacks. They have a section of their own, or the file would be
/// padded to a page before the variables.
#[unsafe(link_section = ".bss.child_stacks")]
static CHILD_STACKS: [ChildStack; STACKS] = [const {
    ChildStack {
        stack: UnsafeCell::new([MaybeUninit::uninit(); STACK_BYTES]),
        taken: AtomicU32::new(0),
        args: UnsafeCell::new(MaybeUninit::uninit()),
    }
}; STACKS];

impl ChildStack {
    /// Returns true when no child uses it.
    fn is_free(&self) -> bool {
        self.taken.load(Ordering::Acquire) == 0
    }
}

impl SpawnArgs {
    /// Copies the arguments of a child; `None` when there are more than
    /// [`ARGUMENTS`], or path and arguments are longer than [`WORD_BYTES`].
    fn copy_of(program: &Program<'_>, setup: &Setup<'_>) -> Option<Self> {
        if program.arguments.len() > ARGUMENTS {
            return None;
        }
        let mut words = heapless::Vec::new();
        for word in [program.path].iter().chain(program.arguments) {
            words.extend_from_slice(word.to_bytes_with_nul()).ok()?;
        }
        Some(Self {
            words,
            environ: program.environ,
            setup: Setup {
                dir: setup.dir.map(fd::borrow_static),
                stdin: setup.stdin.map(fd::borrow_static),
                stdout: setup.stdout.map(fd::borrow_static),
                stderr: setup.stderr.map(fd::borrow_static),
                cgroup: setup.cgroup.map(fd::borrow_static),
                error_prefix: None,
                ..*setup
            },
            prefix: setup.error_prefix.cloned(),
        })
    }
}

/// The flags of such a child: what it shares, and where the kernel stores its
/// pid. The table of open files is shared because a copy of it, with the
/// descriptors of all services, takes longer than the rest of a start; the
/// child leaves it at once with the files that it needs.
const FLAGS: u32 = general::CLONE_VM
    | general::CLONE_FILES
    | general::CLONE_PARENT_SETTID
    | general::CLONE_CHILD_CLEARTID;

/// Result of [`may_share_memory`]: 0 unknown, 1 yes, 2 no.
static SHARES_MEMORY: AtomicU8 = AtomicU8::new(0);

/// Returns true when a child may share our memory on this kernel.
fn may_share_memory() -> bool {
    if SHARES_MEMORY.load(Ordering::Relaxed) == 0 {
        // 5.16 is the first kernel that ends only one process when a core is
        // dumped. A filter of system calls may still refuse `close_range`,
        // with which a child leaves our table of open files: try it on
        // nothing.
        let may = version(&raw::release()) >= (5, 16)
            && raw::close_range(u32::MAX, u32::MAX, false).is_ok();
        SHARES_MEMORY.store(if may { 1 } else { 2 }, Ordering::Relaxed);
    }
    SHARES_MEMORY.load(Ordering::Relaxed) == 1
}

/// Returns the first two numbers of a kernel's release.
fn version(release: &[u8]) -> (u64, u64) {
    let (major, rest) = text::leading_number(release);
    let minor = rest.strip_prefix(b".").unwrap_or(b"");
    (major, text::leading_number(minor).0)
}

/// Calls `clone(flags, stack, cell, taken)` and returns the kernel's result,
/// where `taken` is the word [`TAKEN`] bytes before `args`. The new process
/// continues in [`child_main`] with `args` and an empty stack.
///
/// # Safety
/// `stack` must be the aligned end of memory that nothing else uses until the
/// kernel has cleared `taken`, and `args` must be those of a [`ChildStack`] and
/// outlive that. `cell` must be valid.
#[unsafe(naked)]
unsafe extern "C" fn clone(
    flags: usize,
    stack: *mut u8,
    cell: *mut u32,
    args: *const SpawnArgs,
) -> isize {
    clone_code!()
}

/// Starts a child on a stack of its own; returns its pid, which the kernel
/// stores in `cell` before the child runs. `None` when all stacks are in use,
/// the arguments are too long or the kernel does not allow it: then the child
/// has to be a copy.
pub(super) fn spawn(
    program: &Program<'_>,
    setup: &Setup<'_>,
    cell: &AtomicU32,
) -> Option<Result<u32, Errno>> {
    if !may_share_memory() {
        return None;
    }
    let child = CHILD_STACKS.iter().find(|stack| stack.is_free())?;
    let args = SpawnArgs::copy_of(program, setup)?;
    // SAFETY: the stack is free: nothing else uses it, and its old arguments
    // need no drop.
    unsafe { (*child.args.get()).write(args) };
    let signal = rustix::process::Signal::CHILD.as_raw().cast_unsigned();
    let flags = usize::try_from(FLAGS | signal).unwrap_or(0);
    // SAFETY: the end of the stack is aligned, since a `ChildStack` is and has
    // no gap after it.
    let end = unsafe { child.stack.get().add(1) }.cast();
    let args = child.args.get().cast_const().cast();
    child.taken.store(1, Ordering::Release);
    // SAFETY: the stack was free, so nothing uses it; the kernel clears `taken`
    // when the child is gone, before which nothing writes to `args`. The child
    // shares our memory but writes to its stack only, and it opens and closes
    // no file before it has left our table. `cell` outlives the call.
    let result = unsafe { clone(flags, end, cell.as_ptr(), args) };
    let result = Errno::from_ret(result.cast_unsigned());
    if result.is_err() {
        child.taken.store(0, Ordering::Release);
    }
    if result == Err(Errno::EINVAL) {
        SHARES_MEMORY.store(2, Ordering::Relaxed);
        return None;
    }
    // A pid has 31 bits at most.
    Some(result.map(|pid| u32::try_from(pid).unwrap_or(0)))
}

/// Runs the child, from its first instruction on.
///
/// # Safety
/// `args` must have been written, and must not change.
unsafe extern "C" fn child_main(args: *const SpawnArgs) -> ! {
    // SAFETY: the caller vouches for it.
    let args = unsafe { &*args };
    let mut rest = &*args.words;
    let mut word = || {
        let word = CStr::from_bytes_until_nul(rest).ok()?;
        rest = rest.get(word.count_bytes().saturating_add(1)..)?;
        Some(word)
    };
    let path = word().unwrap_or_default();
    let mut arguments = heapless::Vec::<&CStr, ARGUMENTS>::new();
    while let Some(word) = word() {
        // A `Program` has no more than that.
        let _fits = arguments.push(word).is_ok();
    }
    let program = Program {
        path,
        arguments: &arguments,
        environ: args.environ,
    };
    let setup = Setup {
        error_prefix: args.prefix.as_ref(),
        ..args.setup
    };
    let room = &mut [ptr::null(); ARGUMENTS + 2];
    exec::run_child(&program, &setup, None, room)
}

/// Returns the memory of all child stacks to the kernel, if none is in use.
pub(super) fn trim_stacks() {
    if CHILD_STACKS.iter().all(ChildStack::is_free) {
        // SAFETY: they are free, and one of zeros is valid. They end at a
        // multiple of 4096 bytes; where pages are larger, either the start is
        // not that of a page, or the end is one too.
        unsafe {
            memory::discard_used(
                CHILD_STACKS.as_ptr().addr(),
                size_of_val(&CHILD_STACKS),
            );
        };
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn releases() {
        assert_eq!(version(b"6.18.44-fc-v669\0"), (6, 18));
        assert_eq!(version(b"4.4.302\0"), (4, 4));
        assert_eq!(version(b"5.16-rc1\0"), (5, 16));
        assert_eq!(version(b"\0"), (0, 0));
        assert_eq!(version(b"7\0"), (7, 0));
    }
}
