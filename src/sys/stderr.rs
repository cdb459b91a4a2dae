//! Writes to descriptor 2 without blocking.
//!
//! The open file description behind descriptor 2 is inherited, and shared
//! with programs that do not expect it to be non-blocking, so its flags are
//! never changed. A poll before a blocking write is not enough: it promises
//! room for some bytes, not for a line, and another writer may take it.
//!
//! - A terminal or another character device: through a non-blocking open file
//!   description of our own, of `/proc/self/fd/2` or, if it is the controlling
//!   terminal, of `/dev/tty`.
//! - A pipe or FIFO: likewise; where that is refused, through a pipe of our
//!   own, which splice(2) empties into it without blocking.
//! - A socket: with send(2) and `MSG_DONTWAIT`.
//! - Anything else: with write(2). A regular file does not block.
//!
//! The remaining case is a terminal that cannot be opened again: without
//! /proc, or another user's, and not the controlling one. There each write is
//! at most [`PIECE`] bytes without a newline, or a newline alone, after a poll
//! of its own: n_tty checks for room once per such piece, and every driver
//! that poll reports writable has room for more than that. Only another writer
//! that uses the room between the two calls can block this one.
#![allow(
    clippy::as_conversions,
    clippy::ref_as_ptr,
    reason = "registers are numbers: the macro turns every argument into one"
)]

use core::time::Duration;

use linux_raw_sys::{general, net};
use rustix::fs::FileType;
use syscalls::Sysno;

use super::{CWD, Errno, Fd, error::syscall, fd, file, poller, write_once};

/// Path by which descriptor 2 is opened again.
const REOPEN: &core::ffi::CStr = c"/proc/self/fd/2";

/// Maximum bytes written after one poll to a terminal that cannot be opened
/// again: a quarter of what a pseudo-terminal's buffer grows by.
const PIECE: usize = 64;

/// Bits of a mode that are the kind of a file.
const FORMAT: u32 = general::S_IFMT;

/// Writes as many of `bytes` as descriptor 2 takes now; returns their number.
///
/// EAGAIN when that is 0. Any other error is final for these bytes: ENXIO,
/// EPIPE, EIO and EBADF mean that there is no reader.
pub fn write(bytes: &[u8]) -> Result<usize, Errno> {
    let stat = rustix::fs::fstat(fd::STDERR).map_err(super::error::from)?;
    #[allow(
        clippy::useless_conversion,
        clippy::unnecessary_fallible_conversions,
        reason = "the field's width differs between machines"
    )]
    let mode = u32::try_from(stat.st_mode).unwrap_or(0);
    // Compared, not matched: a table would need one more stack frame in the
    // child that reports why it cannot run its program.
    let is = |kind: FileType| mode & FORMAT == kind.as_raw_mode();
    let is_pipe = is(FileType::Fifo);
    if is(FileType::Socket) {
        return send(bytes);
    }
    if !is_pipe && !is(FileType::CharacterDevice) {
        return write_once(fd::STDERR, bytes);
    }
    let opened = match file::open_write(CWD, REOPEN) {
        Err(errno) if !is_pipe && !is_final(errno) => terminal(errno),
        opened => opened,
    };
    match opened {
        Ok(file) => write_once(rustix::fd::AsFd::as_fd(&file), bytes),
        Err(errno) if is_final(errno) => Err(errno),
        Err(_) if is_pipe => splice(bytes),
        Err(_) => write_polled(bytes),
    }
}

/// Returns true when descriptor 2 is a terminal.
pub fn is_terminal() -> bool {
    rustix::termios::isatty(fd::STDERR)
}

/// Returns true when an error says that descriptor 2 has no device or reader
/// that could be opened.
fn is_final(errno: Errno) -> bool {
    matches!(errno, Errno::ENXIO | Errno::EIO | Errno::ENODEV)
}

/// Opens the controlling terminal, if that is descriptor 2; fails with `errno`
/// if not.
fn terminal(errno: Errno) -> Result<Fd, Errno> {
    // The call succeeds for no other terminal.
    rustix::termios::tcgetsid(fd::STDERR).map_err(|_| errno)?;
    file::open_write(CWD, c"/dev/tty")
}

/// Sends `bytes` in pieces, each after a poll.
fn write_polled(bytes: &[u8]) -> Result<usize, Errno> {
    let mut sent = 0_usize;
    while let Some(rest @ [_, ..]) = bytes.get(sent..)
        && poller::writable(fd::STDERR, Duration::ZERO)
    {
        let text = rest.iter().take(PIECE).take_while(|byte| **byte != b'\n');
        let piece = rest.get(..text.count().max(1)).unwrap_or(&[]);
        sent = sent.saturating_add(write_once(fd::STDERR, piece)?);
    }
    if sent == 0 {
        Err(Errno::EAGAIN)
    } else {
        Ok(sent)
    }
}

/// Sends `bytes` to a socket.
fn send(bytes: &[u8]) -> Result<usize, Errno> {
    const FLAGS: u32 = net::MSG_DONTWAIT | net::MSG_NOSIGNAL;
    let (start, count) = (bytes.as_ptr(), bytes.len());
    // SAFETY: the kernel reads `count` bytes, and no address.
    unsafe { syscall!(Sysno::sendto, 2, start, count, FLAGS, 0, 0) }
}

/// Moves `bytes` into a pipe, whatever its open flags.
///
/// Each call uses a whole page of the pipe's capacity, so this is not the
/// first choice.
fn splice(bytes: &[u8]) -> Result<usize, Errno> {
    const NONBLOCK: u32 = general::SPLICE_F_NONBLOCK;
    let [from, to] = super::pipe(true)?;
    let count = write_once(rustix::fd::AsFd::as_fd(&to), bytes)?;
    let from = from.number();
    // SAFETY: neither offset is given; the call takes no other pointer.
    unsafe { syscall!(Sysno::splice, from, 0, 2, 0, count, NONBLOCK) }
}
