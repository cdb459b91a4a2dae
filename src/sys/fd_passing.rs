//! Passes open files to another process, with a message over a pair of sockets
//! (unix(7)). The receiver needs no path to the files, neither by name nor by
//! /proc.
#![allow(
    clippy::as_conversions,
    clippy::ref_as_ptr,
    reason = "registers are numbers: the macro turns every argument into one"
)]

use linux_raw_sys::net;
use rustix::fd::AsRawFd as _;
use syscalls::Sysno;

use super::{At, Errno, Fd, error::syscall};

/// Makes a pair of connected sockets. A message arrives whole, as it was sent;
/// both ends are non-blocking.
pub fn socket_pair() -> Result<[Fd; 2], Errno> {
    let flags = rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::NONBLOCK;
    // SOCK_CLOEXEC and SOCK_NONBLOCK are the O_ ones.
    let kind = net::SOCK_SEQPACKET | flags.bits();
    let mut ends = [0_u32; 2];
    let pointer = ends.as_mut_ptr();
    // SAFETY: the kernel writes two 32-bit numbers, which `ends` holds.
    unsafe { syscall!(Sysno::socketpair, net::AF_UNIX, kind, 0, pointer) }?;
    Ok(ends
        .map(|end| Fd::from_number(usize::try_from(end).unwrap_or(usize::MAX))))
}

/// Sends a message, and files of which the receiver gets descriptors.
///
/// EAGAIN: the receiver's queue is full.
pub fn send(
    to: At<'_>,
    bytes: &[u8],
    files: Option<[At<'_>; 2]>,
) -> Result<(), Errno> {
    let piece = IoVec {
        start: bytes.as_ptr(),
        bytes: bytes.len(),
    };
    let rights = ScmRights::of(
        files.map_or([0; 2], |files| files.map(|file| file.as_raw_fd())),
    );
    let mut message = rights.message(&piece);
    if files.is_none() {
        message.control_bytes = 0;
    }
    let (fd, message) = (to.as_raw_fd(), &raw const message);
    // SAFETY: all that the message leads to outlives the call, which only
    // reads it; the lengths are those of what is there.
    unsafe { syscall!(Sysno::sendmsg, fd, message, net::MSG_NOSIGNAL) }?;
    Ok(())
}

/// Receives a message. Returns the number of bytes stored, 0 when the other
/// end is closed, and the files: [`Fd::none`] for those that it did not bring,
/// or that this process has no descriptors left for.
pub fn receive(
    from: At<'_>,
    buffer: &mut [u8],
) -> Result<(usize, [Fd; 2]), Errno> {
    loop {
        match receive_once(from, buffer) {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
}

/// Calls `recvmsg`: the number of bytes, and the files, closed on exec.
fn receive_once(
    from: At<'_>,
    buffer: &mut [u8],
) -> Result<(usize, [Fd; 2]), Errno> {
    const CLOEXEC: u32 = net::MSG_CMSG_CLOEXEC;
    let piece = IoVec {
        start: buffer.as_mut_ptr(),
        bytes: buffer.len(),
    };
    // Entries that the kernel does not write stay the number of no file.
    let mut rights = ScmRights::of([i32::MAX; 2]);
    let mut message = rights.message(&piece);
    message.control = &raw mut rights;
    let (fd, pointer) = (from.as_raw_fd(), &raw mut message);
    // SAFETY: the kernel writes into the buffer, the rights and the message
    // no more than their lengths say.
    let count = unsafe { syscall!(Sysno::recvmsg, fd, pointer, CLOEXEC) }?;
    let files = rights.files.map(|file| usize::try_from(file).unwrap_or(0));
    Ok((count, files.map(Fd::from_number)))
}

/// `struct msghdr`, of one piece of bytes and at most two files.
#[repr(C)]
struct MessageHeader {
    name: usize,
    name_bytes: u32,
    pieces: *const IoVec,
    piece_count: usize,
    control: *const ScmRights,
    control_bytes: usize,
    flags: u32,
}

/// `struct iovec`.
#[repr(C)]
struct IoVec {
    start: *const u8,
    bytes: usize,
}

/// `struct cmsghdr` of SCM_RIGHTS, and two descriptors.
#[repr(C)]
struct ScmRights {
    bytes: usize,
    level: u32,
    kind: u32,
    files: [i32; 2],
}

impl ScmRights {
    /// Returns the control message for these files.
    fn of(files: [i32; 2]) -> Self {
        Self {
            bytes: size_of::<Self>(),
            level: net::SOL_SOCKET,
            kind: net::SCM_RIGHTS,
            files,
        }
    }

    /// Returns the header of a message with these files.
    fn message(&self, piece: &IoVec) -> MessageHeader {
        MessageHeader {
            name: 0,
            name_bytes: 0,
            pieces: piece,
            piece_count: 1,
            control: self,
            control_bytes: size_of::<Self>(),
            flags: 0,
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::sys::{AsFd as _, file, pipe, read, write_all};

    #[test]
    fn message_carries_descriptors() {
        let [here, there] = socket_pair().unwrap();
        let [end, start] = pipe(true).unwrap();
        let mut buffer = [0; 8];
        let nothing = receive(there.as_fd(), &mut buffer);
        assert_eq!(nothing.unwrap_err(), Errno::EAGAIN);
        send(here.as_fd(), b"one", Some([start.as_fd(), end.as_fd()])).unwrap();
        send(here.as_fd(), b"two", None).unwrap();
        drop(start);
        let (count, [new, copy]) = receive(there.as_fd(), &mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"one");
        write_all(new.as_fd(), b"through").unwrap();
        assert_eq!(read(copy.as_fd(), &mut buffer), Ok(7));
        let (count, [none, _]) = receive(there.as_fd(), &mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"two");
        assert_eq!(file::info_of(none.as_fd()), Err(Errno::EBADF));
        drop(here);
        assert_eq!(receive(there.as_fd(), &mut buffer).unwrap().0, 0);
    }
}
