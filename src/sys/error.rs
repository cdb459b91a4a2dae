//! Which error a system call gave, and what runit calls it.

pub use syscalls::Errno;

/// The same error in the type of this layer.
pub(super) fn from(errno: rustix::io::Errno) -> Errno {
    Errno::new(errno.raw_os_error())
}

/// runit's text for an error, which is not the C library's (contract §0.2).
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

/// Only what can reach a message of ours; the rest of runit's table are
/// errors of streams and of protocols that no program here speaks.
const TABLE: &[(Errno, &str)] = &[
    (Errno::EINTR, "interrupted system call"),
    (Errno::ENOMEM, "out of memory"),
    (Errno::ENOENT, "file does not exist"),
    (Errno::ETXTBSY, "text busy"),
    (Errno::EIO, "input/output error"),
    (Errno::EEXIST, "file already exists"),
    (Errno::ETIMEDOUT, "timed out"),
    (Errno::EINPROGRESS, "operation in progress"),
    (Errno::EAGAIN, "temporary failure"),
    (Errno::EPIPE, "broken pipe"),
    (Errno::EPERM, "permission denied"),
    (Errno::EACCES, "access denied"),
    (Errno::ENXIO, "device not configured"),
    (Errno::EPROTO, "protocol error"),
    (Errno::EISDIR, "is a directory"),
    (Errno::ECONNREFUSED, "connection refused"),
    (Errno::ENOTDIR, "not a directory"),
    (Errno::ESRCH, "no such process"),
    (Errno::E2BIG, "argument list too long"),
    (Errno::ENOEXEC, "exec format error"),
    (Errno::EBADF, "file descriptor not open"),
    (Errno::ECHILD, "no child processes"),
    (Errno::EDEADLK, "operation would cause deadlock"),
    (Errno::EFAULT, "bad address"),
    (Errno::ENOTBLK, "not a block device"),
    (Errno::EBUSY, "device busy"),
    (Errno::EXDEV, "cross-device link"),
    (Errno::ENODEV, "device does not support operation"),
    (Errno::EINVAL, "invalid argument"),
    (Errno::ENFILE, "system cannot open more files"),
    (Errno::EMFILE, "process cannot open more files"),
    (Errno::ENOTTY, "not a tty"),
    (Errno::EFBIG, "file too big"),
    (Errno::ENOSPC, "out of disk space"),
    (Errno::ESPIPE, "unseekable descriptor"),
    (Errno::EROFS, "read-only file system"),
    (Errno::EMLINK, "too many links"),
    (Errno::EDOM, "input out of range"),
    (Errno::ERANGE, "output out of range"),
    (Errno::EALREADY, "operation already in progress"),
    (Errno::EOPNOTSUPP, "operation not supported"),
    (Errno::EAFNOSUPPORT, "address family not supported"),
    (Errno::ENETDOWN, "network down"),
    (Errno::ENETUNREACH, "network unreachable"),
    (Errno::ENOBUFS, "out of buffer space"),
    (Errno::ELOOP, "symbolic link loop"),
    (Errno::ENAMETOOLONG, "file name too long"),
    (Errno::ENOTEMPTY, "directory not empty"),
    (Errno::EUSERS, "too many users"),
    (Errno::EDQUOT, "disk quota exceeded"),
    (Errno::ESTALE, "stale NFS file handle"),
    (Errno::ENOLCK, "no locks available"),
    (Errno::ENOSYS, "system call not available"),
    (Errno::EREMOTEIO, "input/output error"),
];

/// The table as it is kept: without a pointer and a length for each text,
/// which would be most of it on a 64-bit machine.
static INDEX: [(Errno, u16); TABLE.len()] = index();

/// All texts, one behind the other.
const TEXTS: &str = match core::str::from_utf8(&JOINED) {
    Ok(texts) => texts,
    Err(_) => "",
};

/// The bytes of [`TEXTS`].
const JOINED: [u8; length()] = join();

/// How long all texts are together.
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "runs at compile time"
)]
const fn length() -> usize {
    let (mut row, mut length) = (0, 0);
    while row < TABLE.len() {
        length += TABLE[row].1.len();
        row += 1;
    }
    length
}

/// Each error and where its text ends.
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
    let (mut row, mut end) = (0, 0);
    while row < TABLE.len() {
        end += TABLE[row].1.len();
        index[row] = (TABLE[row].0, end as u16);
        row += 1;
    }
    index
}

/// Joins the texts.
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "runs at compile time"
)]
const fn join() -> [u8; length()] {
    let mut joined = [0; length()];
    let (mut row, mut end) = (0, 0);
    while row < TABLE.len() {
        let text = TABLE[row].1.as_bytes();
        let mut at = 0;
        while at < text.len() {
            joined[end] = text[at];
            (at, end) = (at + 1, end + 1);
        }
        row += 1;
    }
    joined
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn every_error_has_its_text() {
        for (errno, expected) in TABLE {
            assert_eq!(text(*errno), *expected);
        }
        assert_eq!(text(Errno::new(4000)), "unknown error");
    }
}
