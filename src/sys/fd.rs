//! What an open file is here: a descriptor that closes itself.

use core::num::NonZero;

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, RawFd};

/// A descriptor lent to a call; as a directory, where a path starts.
pub type At<'a> = BorrowedFd<'a>;

/// Paths start at the working directory.
pub const CWD: At<'static> = rustix::fs::CWD;

/// Descriptor 0.
// SAFETY: the number is not -1. Whether it is open is the caller's affair,
// as for every program; a call on a closed one answers EBADF.
pub const STDIN: At<'static> = unsafe { BorrowedFd::borrow_raw(0) };
/// Descriptor 1.
// SAFETY: as for STDIN.
pub const STDOUT: At<'static> = unsafe { BorrowedFd::borrow_raw(1) };
/// Descriptor 2.
// SAFETY: as for STDIN.
pub const STDERR: At<'static> = unsafe { BorrowedFd::borrow_raw(2) };

/// An open file, closed when it is dropped.
///
/// Not `OwnedFd`: without std that one asserts, and an assertion is a panic
/// path that the linker cannot rule out.
///
/// Its number is kept with every bit turned over: never 0, so that "no file"
/// takes no more memory than a file.
#[derive(Debug)]
pub struct Fd(NonZero<RawFd>);

impl Fd {
    /// Takes over what an opening call returned, which is never negative.
    pub(super) fn own(number: usize) -> Self {
        let number = RawFd::try_from(number).unwrap_or(RawFd::MAX);
        // Of no number that is not negative are all bits set.
        Self(NonZero::new(!number).unwrap_or(NonZero::<RawFd>::MIN))
    }

    /// No file: every call on it answers EBADF.
    pub fn none() -> Self {
        Self(NonZero::<RawFd>::MIN)
    }

    /// The descriptor's number, for the kernel only.
    pub(super) fn number(&self) -> RawFd {
        !self.0.get()
    }

    /// Leaves the file open for the rest of the process's life.
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
        let number = self.number();
        if number != RawFd::MAX {
            // SAFETY: the value is the only owner of the number, and this is
            // its last use.
            unsafe { rustix::io::close(number) };
        }
    }
}

/// A file that its owner keeps open for longer than the compiler can see.
///
/// For children that are about to become programs: one that has a table of
/// its own has a copy from its first moment on; one that shares ours is given
/// what a slot or a stage keeps open until it has ended. A number that was
/// closed nonetheless would cost it an EBADF or the wrong directory, and no
/// memory.
pub(super) fn kept(file: At<'_>) -> At<'static> {
    // SAFETY: the types differ in the lifetime only; what keeps the file open
    // is said above.
    unsafe { core::mem::transmute::<At<'_>, At<'static>>(file) }
}
