//! How a child begins that shares this process's memory until it has become
//! its program.
//!
//! A copy of this process would cost more than the rest of a start: its page
//! tables first, then a fault for each page that either writes to. Here
//! nothing is copied, and unlike with `vfork` nobody waits: each child has a
//! stack of its own, a *berth*, that the kernel reports free when the child
//! has called `execve` or ended (CLONE_CHILD_CLEARTID). What the child needs
//! to know it takes along in a letter, for the parent's variables have gone
//! on by then. It writes to nothing but its berth.
//!
//! Who shares memory shares some fates: if a child is chosen when memory has
//! run out the supervisor goes with it (not as PID 1), and so it did before
//! Linux 5.16, as PID 1 too, when a signal that dumps a core ended a child
//! that was not its program yet. There, and where the kernel or what plays
//! one refuses such a child (qemu-user), every child is a copy.

use core::{
    cell::UnsafeCell,
    ffi::CStr,
    mem::MaybeUninit,
    sync::atomic::{AtomicU8, AtomicU32, Ordering},
};

use linux_raw_sys::general;

use crate::text::{self, Line};

use super::{
    Errno,
    child::{self, ARGUMENTS, Environ, Program, Setup},
    fd,
    memory::{self, PAGE},
    raw,
};

/// Children that share our memory at the same time; one more is a copy. An
/// idle machine of two processors has one or two of them, a busy one all.
const STACKS: usize = 32;

/// Bytes of a child's path and arguments, each with its NUL: more than
/// `./finish -32768 128`. One with more is a copy.
const WORD_BYTES: usize = 32;

/// Bytes of stack that a child has at least: `cargo xtask audit` prints what
/// can be called on it.
const LEAST_STACK: usize = 2048;

/// Bytes of stack that a child has: it ends at a multiple of 16, and a berth
/// is a page, or as many as it takes.
const STACK_BYTES: usize =
    (LEAST_STACK + ABOVE_STACK).next_multiple_of(PAGE) - ABOVE_STACK;

/// Bytes of a berth that are no stack.
const ABOVE_STACK: usize = (size_of::<SpawnArgs>() + 4).next_multiple_of(16);

/// What a child is to do.
pub(super) struct SpawnArgs {
    /// Path and arguments.
    words: heapless::Vec<u8, WORD_BYTES>,
    environ: Environ,
    /// All but the complaint, which follows.
    setup: Setup<'static>,
    complaint: Option<Line>,
}

/// A child's place until it has become its program. What is touched of it lies
/// at its end.
#[repr(C, align(4096))]
struct ChildStack {
    /// It grows down.
    stack: UnsafeCell<[MaybeUninit<u8>; STACK_BYTES]>,
    letter: UnsafeCell<MaybeUninit<SpawnArgs>>,
    /// The child's number as long as it is here: the kernel sets it to 0.
    taken: AtomicU32,
}

// SAFETY: this process writes to a berth only while `taken` is 0, its child
// only while it is not.
unsafe impl Sync for ChildStack {}

/// All places: in a section of their own, or the file would be filled up to a
/// page before the variables.
#[unsafe(link_section = ".bss.berths")]
static CHILD_STACKS: [ChildStack; STACKS] = [const {
    ChildStack {
        stack: UnsafeCell::new([MaybeUninit::uninit(); STACK_BYTES]),
        letter: UnsafeCell::new(MaybeUninit::uninit()),
        taken: AtomicU32::new(0),
    }
}; STACKS];

impl ChildStack {
    /// Whether its child has left, if it ever had one.
    fn is_free(&self) -> bool {
        self.taken.load(Ordering::Acquire) == 0
    }
}

impl SpawnArgs {
    /// Copies what a child is told; `None` when its words are too long.
    fn copy_of(program: &Program<'_>, setup: &Setup<'_>) -> Option<Self> {
        let mut words = heapless::Vec::new();
        for word in [program.path].iter().chain(program.arguments) {
            words.extend_from_slice(word.to_bytes_with_nul()).ok()?;
        }
        Some(Self {
            words,
            environ: program.environ,
            setup: Setup {
                dir: setup.dir.map(fd::kept),
                stdin: setup.stdin.map(fd::kept),
                stdout: setup.stdout.map(fd::kept),
                stderr: setup.stderr.map(fd::kept),
                cgroup: setup.cgroup.map(fd::kept),
                complaint: None,
                ..*setup
            },
            complaint: setup.complaint.cloned(),
        })
    }
}

/// What such a child shares, and where the kernel keeps its number. The table
/// of open files is shared because a copy of it, with the descriptors of all
/// services, takes longer than the rest of a start; the child leaves it at
/// once and takes along what it needs.
const FLAGS: u32 = general::CLONE_VM
    | general::CLONE_FILES
    | general::CLONE_PARENT_SETTID
    | general::CLONE_CHILD_CLEARTID;

/// Whether children may share our memory: unknown, yes, no.
static SHARES_MEMORY: AtomicU8 = AtomicU8::new(0);

/// Whether a child may share our memory on this kernel.
fn may_share_memory() -> bool {
    if SHARES_MEMORY.load(Ordering::Relaxed) == 0 {
        // The first that ends one process only when a core is dumped. What
        // filters system calls may still know no `close_range`, with which a
        // child leaves our table of open files: this one closes nothing.
        let may = version(&raw::release()) >= (5, 16)
            && raw::close_range(u32::MAX, u32::MAX, false).is_ok();
        SHARES_MEMORY.store(if may { 1 } else { 2 }, Ordering::Relaxed);
    }
    SHARES_MEMORY.load(Ordering::Relaxed) == 1
}

/// The first two numbers of a kernel's release.
fn version(release: &[u8]) -> (u64, u64) {
    let (major, rest) = text::leading_number(release);
    let minor = rest.strip_prefix(b".").unwrap_or(b"");
    (major, text::leading_number(minor).0)
}

/// `clone(flags, stack, tid, tid)`: what the kernel answers; the new process
/// goes on in [`begin`] with the letter and nothing on its stack.
///
/// # Safety
/// `stack` is the aligned end of memory that nobody else uses until the
/// kernel has cleared `tid`, and `letter` outlives that.
#[unsafe(naked)]
unsafe extern "C" fn clone(
    flags: usize,
    stack: *mut u8,
    tid: *mut u32,
    letter: *const SpawnArgs,
) -> isize {
    clone_code!()
}

/// Starts a child in a berth: its number. `None` when there is no room for
/// it, or none may be there; it has to be a copy then.
pub(super) fn spawn(
    program: &Program<'_>,
    setup: &Setup<'_>,
) -> Option<Result<u32, Errno>> {
    if !may_share_memory() {
        return None;
    }
    let berth = CHILD_STACKS.iter().find(|berth| berth.is_free())?;
    let letter = SpawnArgs::copy_of(program, setup)?;
    // SAFETY: the berth is free: nobody else has it, and what was there needs
    // no drop.
    unsafe { (*berth.letter.get()).write(letter) };
    let signal = rustix::process::Signal::CHILD.as_raw().cast_unsigned();
    let flags = usize::try_from(FLAGS | signal).unwrap_or(0);
    // SAFETY: what is one past the end of the stack is aligned, since a berth
    // is and all of it is filled.
    let end = unsafe { berth.stack.get().add(1) }.cast();
    let letter = berth.letter.get().cast_const().cast();
    // SAFETY: the berth was free, so nobody uses its stack; the kernel sets
    // `taken` before the child runs and clears it when that is gone, before
    // which nobody writes to the letter. The child shares our memory but
    // writes to its stack only, and it opens and closes no file before it has
    // left our table.
    let answer = unsafe { clone(flags, end, berth.taken.as_ptr(), letter) };
    let answer = Errno::from_ret(answer.cast_unsigned());
    if answer == Err(Errno::EINVAL) {
        SHARES_MEMORY.store(2, Ordering::Relaxed);
        return None;
    }
    // A pid has 31 bits at most.
    Some(answer.map(|pid| u32::try_from(pid).unwrap_or(0)))
}

/// Where the child begins.
///
/// # Safety
/// The letter was written and stays as it is.
unsafe extern "C" fn child_main(letter: *const SpawnArgs) -> ! {
    // SAFETY: as the caller vouches.
    let letter = unsafe { &*letter };
    let mut rest = &*letter.words;
    let mut word = || {
        let word = CStr::from_bytes_until_nul(rest).ok()?;
        rest = rest.get(word.count_bytes().saturating_add(1)..)?;
        Some(word)
    };
    let path = word().unwrap_or_default();
    let mut arguments = heapless::Vec::<&CStr, ARGUMENTS>::new();
    while let Some(word) = word() {
        // There were no more than that in the program.
        let _fits = arguments.push(word).is_ok();
    }
    let program = Program {
        path,
        arguments: &arguments,
        environ: letter.environ,
    };
    let setup = Setup {
        complaint: letter.complaint.as_ref(),
        ..letter.setup
    };
    child::run_child(&program, &setup, None)
}

/// Gives the memory of all berths back, if no child is in one.
pub(super) fn trim_stacks() {
    if CHILD_STACKS.iter().all(ChildStack::is_free) {
        // SAFETY: they are free, and a berth of zeros is one. They end where
        // a page of 4096 bytes does; where pages are larger the start is not
        // one's, or the end is one's too.
        unsafe {
            memory::forget_used(
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
