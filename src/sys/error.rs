//! Defines the error numbers of system calls, and runit's text for each.
//!
//! Numbers differ between architectures: on MIPS most above 34 do. The
//! constants of `syscalls` have x86's numbers everywhere, those of rustix the
//! architecture's own.

/// An error number of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(i32);

impl Errno {
    /// Converts the return value of a system call: a result, or the negative
    /// number of an error.
    pub(super) fn from_ret(value: usize) -> Result<usize, Self> {
        syscalls::Errno::from_ret(value).map_err(Self::from)
    }

    /// Returns whether a path that could not be looked up may be found later
    /// although nothing of it has changed: memory was short, or the disk
    /// failed.
    pub fn may_pass(self) -> bool {
        !matches!(
            self,
            Self::ENOENT
                | Self::ENOTDIR
                | Self::ELOOP
                | Self::EACCES
                | Self::ENAMETOOLONG
        )
    }
}

impl From<rustix::io::Errno> for Errno {
    fn from(errno: rustix::io::Errno) -> Self {
        from(errno)
    }
}

impl From<syscalls::Errno> for Errno {
    fn from(errno: syscalls::Errno) -> Self {
        Self(errno.into_raw())
    }
}

/// Converts an error of rustix.
pub(super) fn from(errno: rustix::io::Errno) -> Errno {
    Errno(errno.raw_os_error())
}

/// Calls `syscalls::syscall!`, with errors of type [`Errno`].
macro_rules! syscall {
    ($($argument:tt)*) => {
        syscalls::syscall!($($argument)*)
            .map_err($crate::sys::error::Errno::from)
    };
}
pub(super) use syscall;

/// Returns runit's text for an error, which differs from the C library's
/// (contract §0.2).
pub fn text(errno: Errno) -> &'static str {
    let mut start = 0;
    for (known, end) in INDEX {
        let end = usize::from(end);
        if known == errno {
            return TEXTS.get(start..end).unwrap_or_default();
        }
        start = end;
    }
    "unknown error"
}

/// Names each error as the kernel does, with its name in rustix and its text.
macro_rules! errors {
    ($($name:ident = $rustix:ident: $text:literal,)*) => {
        #[allow(missing_docs, reason = "errno(3) explains the names")]
        impl Errno {
            $(pub const $name: Self =
                Self(rustix::io::Errno::$rustix.raw_os_error());)*
        }

        /// Each error and its text.
        const TABLE: &[(Errno, &str)] = &[$((Errno::$name, $text),)*];
    };
}

// Only errors that can reach a message of ours; the rest of runit's table are
// errors of streams and of protocols that no program here uses.
errors! {
    EINTR = INTR: "interrupted system call",
    ENOMEM = NOMEM: "out of memory",
    ENOENT = NOENT: "file does not exist",
    ETXTBSY = TXTBSY: "text busy",
    EIO = IO: "input/output error",
    EEXIST = EXIST: "file already exists",
    ETIMEDOUT = TIMEDOUT: "timed out",
    EINPROGRESS = INPROGRESS: "operation in progress",
    EAGAIN = AGAIN: "temporary failure",
    EPIPE = PIPE: "broken pipe",
    EPERM = PERM: "permission denied",
    EACCES = ACCESS: "access denied",
    ENXIO = NXIO: "device not configured",
    EPROTO = PROTO: "protocol error",
    EISDIR = ISDIR: "is a directory",
    ECONNREFUSED = CONNREFUSED: "connection refused",
    ENOTDIR = NOTDIR: "not a directory",
    ESRCH = SRCH: "no such process",
    E2BIG = TOOBIG: "argument list too long",
    ENOEXEC = NOEXEC: "exec format error",
    EBADF = BADF: "file descriptor not open",
    ECHILD = CHILD: "no child processes",
    EDEADLK = DEADLK: "operation would cause deadlock",
    EFAULT = FAULT: "bad address",
    ENOTBLK = NOTBLK: "not a block device",
    EBUSY = BUSY: "device busy",
    EXDEV = XDEV: "cross-device link",
    ENODEV = NODEV: "device does not support operation",
    EINVAL = INVAL: "invalid argument",
    ENFILE = NFILE: "system cannot open more files",
    EMFILE = MFILE: "process cannot open more files",
    ENOTTY = NOTTY: "not a tty",
    EFBIG = FBIG: "file too big",
    ENOSPC = NOSPC: "out of disk space",
    ESPIPE = SPIPE: "unseekable descriptor",
    EROFS = ROFS: "read-only file system",
    EMLINK = MLINK: "too many links",
    EDOM = DOM: "input out of range",
    ERANGE = RANGE: "output out of range",
    EALREADY = ALREADY: "operation already in progress",
    EOPNOTSUPP = OPNOTSUPP: "operation not supported",
    EAFNOSUPPORT = AFNOSUPPORT: "address family not supported",
    ENETDOWN = NETDOWN: "network down",
    ENETUNREACH = NETUNREACH: "network unreachable",
    ENOBUFS = NOBUFS: "out of buffer space",
    ELOOP = LOOP: "symbolic link loop",
    ENAMETOOLONG = NAMETOOLONG: "file name too long",
    ENOTEMPTY = NOTEMPTY: "directory not empty",
    EUSERS = USERS: "too many users",
    EDQUOT = DQUOT: "disk quota exceeded",
    ESTALE = STALE: "stale NFS file handle",
    ENOLCK = NOLCK: "no locks available",
    ENOSYS = NOSYS: "system call not available",
    EREMOTEIO = REMOTEIO: "input/output error",
}

/// Each error and the end of its text in [`TEXTS`]. A pointer and a length for
/// each text would be most of the table on a 64-bit machine.
static INDEX: [(Errno, u16); TABLE.len()] = index();

/// All texts, one after the other.
const TEXTS: &str = match core::str::from_utf8(&JOINED) {
    Ok(texts) => texts,
    Err(_) => "",
};

/// The bytes of [`TEXTS`].
const JOINED: [u8; length()] = join();

/// Returns the length of all texts together.
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "runs at compile time"
)]
const fn length() -> usize {
    let (mut entry, mut length) = (0, 0);
    while entry < TABLE.len() {
        length += TABLE[entry].1.len();
        entry += 1;
    }
    length
}

/// Computes [`INDEX`].
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "runs at compile time"
)]
const fn index() -> [(Errno, u16); TABLE.len()] {
    let mut index = [(Errno::EIO, 0); TABLE.len()];
    let (mut entry, mut end) = (0, 0);
    while entry < TABLE.len() {
        end += TABLE[entry].1.len();
        index[entry] = (TABLE[entry].0, end as u16);
        entry += 1;
    }
    index
}

/// Joins the texts: computes [`JOINED`].
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "runs at compile time"
)]
const fn join() -> [u8; length()] {
    let mut joined = [0; length()];
    let (mut entry, mut end) = (0, 0);
    while entry < TABLE.len() {
        let text = TABLE[entry].1.as_bytes();
        let mut at = 0;
        while at < text.len() {
            joined[end] = text[at];
            (at, end) = (at + 1, end + 1);
        }
        entry += 1;
    }
    joined
}

/// Checks the numbers of MIPS when compiling: no test runs there.
#[cfg(target_arch = "mips")]
const _: () = {
    let known = [
        (Errno::EDEADLK, 45),
        (Errno::ENOLCK, 46),
        (Errno::EPROTO, 71),
        (Errno::ENAMETOOLONG, 78),
        (Errno::ENOSYS, 89),
        (Errno::ELOOP, 90),
        (Errno::ENOTEMPTY, 93),
        (Errno::EUSERS, 94),
        (Errno::EOPNOTSUPP, 122),
        (Errno::EAFNOSUPPORT, 124),
        (Errno::ENETDOWN, 127),
        (Errno::ENETUNREACH, 128),
        (Errno::ENOBUFS, 132),
        (Errno::EREMOTEIO, 140),
        (Errno::ETIMEDOUT, 145),
        (Errno::ECONNREFUSED, 146),
        (Errno::EALREADY, 149),
        (Errno::EINPROGRESS, 150),
        (Errno::ESTALE, 151),
        (Errno::EDQUOT, 1133),
    ];
    let mut rest: &[(Errno, i32)] = &known;
    while let [(errno, number), more @ ..] = rest {
        assert!(errno.0 == *number, "a number differs");
        rest = more;
    }
};

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn every_error_has_its_text() {
        for (errno, expected) in TABLE {
            assert_eq!(text(*errno), *expected);
        }
        let unknown = Errno::from_ret(4000_usize.wrapping_neg()).unwrap_err();
        assert_eq!(text(unknown), "unknown error");
    }

    #[test]
    fn errno_conversions_agree() {
        for (errno, _) in TABLE {
            let value = usize::try_from(errno.0).unwrap().wrapping_neg();
            assert_eq!(Errno::from_ret(value), Err(*errno));
            let other = rustix::io::Errno::from_raw_os_error(errno.0);
            assert_eq!(from(other), *errno);
            let same = TABLE.iter().filter(|(other, _)| other == errno);
            assert_eq!(same.count(), 1, "{errno:?}");
        }
        assert_eq!(Errno::from_ret(7), Ok(7));
        let most = 4096_usize.wrapping_neg();
        assert_eq!(Errno::from_ret(most), Ok(most));
    }
}
