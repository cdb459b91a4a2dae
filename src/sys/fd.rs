//! Defines descriptors: lent ones, and owned ones that close themselves.

use core::{
    num::NonZero,
    sync::atomic::{AtomicI32, AtomicU32, Ordering},
};

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, RawFd};

use crate::config;

/// A borrowed descriptor; for paths, the directory that they are resolved
/// from.
pub type At<'a> = BorrowedFd<'a>;

/// The working directory.
pub const CWD: At<'static> = rustix::fs::CWD;

/// Descriptor 0.
// SAFETY: the number is not -1. It may be closed, as in every program; a call
// on a closed one returns EBADF.
pub const STDIN: At<'static> = unsafe { BorrowedFd::borrow_raw(0) };
/// Descriptor 1.
// SAFETY: as for STDIN.
pub const STDOUT: At<'static> = unsafe { BorrowedFd::borrow_raw(1) };
/// Descriptor 2.
// SAFETY: as for STDIN.
pub const STDERR: At<'static> = unsafe { BorrowedFd::borrow_raw(2) };

/// Words that have a bit for each descriptor: a slot has at most 14, and after
/// a fault the old ones are open for a while besides all new ones.
pub(super) const WORDS: usize = config::SLOTS + config::LOGGERS + 4;

/// The descriptors of [`Fd::pass_on`], as bits.
static PASSED_ON: [AtomicU32; WORDS] = [const { AtomicU32::new(0) }; WORDS];

/// Returns the word and the bit of a descriptor in [`PASSED_ON`].
fn passed_on(number: RawFd) -> Option<(&'static AtomicU32, u32)> {
    let index = usize::try_from(number >> 5).ok()?;
    Some((PASSED_ON.get(index)?, 1 << (number & 31)))
}

/// Returns true if the descriptor is one of [`Fd::pass_on`].
pub(super) fn is_passed_on(number: RawFd) -> bool {
    let place = passed_on(number);
    place.is_some_and(|(word, bit)| word.load(Ordering::Relaxed) & bit != 0)
}

/// Highest number so far.
static HIGHEST: AtomicI32 = AtomicI32::new(2);

/// Notes the number of an open file for [`highest`].
pub(super) fn note(number: RawFd) {
    if number > HIGHEST.load(Ordering::Relaxed) {
        HIGHEST.store(number, Ordering::Relaxed);
    }
}

/// Returns a number that no open file of this program exceeds.
pub(super) fn highest() -> RawFd {
    HIGHEST.load(Ordering::Relaxed)
}

/// An open file, closed when it is dropped.
///
/// Not `OwnedFd`: without std that one asserts, and an assertion is a panic
/// path that the linker cannot rule out.
///
/// Its number is stored with every bit inverted: never 0, so that an
/// `Option<Fd>` takes no more memory than an `Fd`.
#[derive(Debug)]
pub struct Fd(NonZero<RawFd>);

impl Fd {
    /// Takes over the result of an opening call, which is never negative.
    #[inline(never)]
    pub(super) fn from_number(number: usize) -> Self {
        let number = RawFd::try_from(number).unwrap_or(RawFd::MAX);
        note(number);
        Self::unnoted(number)
    }

    /// Takes over a number that [`highest`] need not know: it is open for a
    /// moment only, or known.
    pub(super) fn unnoted(number: RawFd) -> Self {
        // No number that is not negative has all bits set.
        Self(NonZero::new(!number).unwrap_or(NonZero::<RawFd>::MIN))
    }

    /// Returns a descriptor of no file: every call on it returns EBADF.
    pub fn none() -> Self {
        Self(NonZero::<RawFd>::MIN)
    }

    /// Returns the descriptor's number, for the kernel only.
    pub(super) fn number(&self) -> RawFd {
        !self.0.get()
    }

    /// Returns false for a descriptor of no file.
    pub fn is_some(&self) -> bool {
        self.number() != RawFd::MAX
    }

    /// Passes the file on to the next execution of this program, with its
    /// lock, if it is still open then.
    pub fn pass_on(&self) {
        if let Some((word, bit)) = passed_on(self.number()) {
            word.fetch_or(bit, Ordering::Relaxed);
        }
    }

    /// Leaves the file open until the process ends.
    pub fn leave_open(self) {
        let _number = self.into_raw_fd();
    }
}

impl IntoRawFd for Fd {
    fn into_raw_fd(self) -> RawFd {
        let number = self.number();
        core::mem::forget(self);
        number
    }
}

impl AsRawFd for Fd {
    fn as_raw_fd(&self) -> RawFd {
        self.number()
    }
}

impl AsFd for Fd {
    fn as_fd(&self) -> At<'_> {
        // SAFETY: `own` is the only way to a value and takes no negative
        // number.
        unsafe { core::hint::assert_unchecked(self.number() >= 0) };
        // SAFETY: the number is not negative, and `&self` keeps the file
        // open for as long as it is lent.
        unsafe { BorrowedFd::borrow_raw(self.number()) }
    }
}

impl Drop for Fd {
    #[inline(never)]
    fn drop(&mut self) {
        if self.is_some() {
            let number = self.number();
            if let Some((word, bit)) = passed_on(number) {
                word.fetch_and(!bit, Ordering::Relaxed);
            }
            // SAFETY: the value is the only owner of the number, and this is
            // its last use.
            unsafe { rustix::io::close(number) };
        }
    }
}

/// Extends the lifetime of a file that its owner keeps open for longer than
/// the compiler can see.
///
/// For children that are about to become programs: one with a table of its own
/// has a copy from the start; one that shares ours is given only files that a
/// slot or a stage keeps open until it has ended. A number that was closed
/// nonetheless would cause an EBADF or the wrong directory in the child, but
/// no memory error.
pub(super) fn borrow_static(file: At<'_>) -> At<'static> {
    // SAFETY: the types differ in the lifetime only; the reason why the
    // file stays open is given above.
    unsafe { core::mem::transmute::<At<'_>, At<'static>>(file) }
}
