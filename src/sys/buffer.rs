//! A buffer of bytes in static memory: a `heapless` vector that is appended to
//! in bulk.
//!
//! `heapless` itself appends byte by byte when it is optimised for size, which
//! a logger cannot afford, and its view of the free space has a panic path; so
//! has rustix's read into such space.

#![allow(
    clippy::as_conversions,
    clippy::ref_as_ptr,
    reason = "registers are numbers: the macro turns every argument into one"
)]

use core::ffi::CStr;

use heapless::VecView;
use rustix::fd::{AsFd, AsRawFd};
use syscalls::Sysno;

use super::{At, Errno, error::syscall, file};
use crate::text;

/// Bytes in static memory, up to a capacity. Space that was never filled is
/// never touched.
pub struct Buffer {
    bytes: &'static mut VecView<u8>,
}

impl Buffer {
    /// Takes the memory, and what it contains.
    pub fn new(bytes: &'static mut VecView<u8>) -> Self {
        Self { bytes }
    }

    /// Returns the bytes.
    pub fn as_slice(&self) -> &[u8] {
        self.bytes
    }

    /// Returns the bytes from `start` on, for changes in place.
    pub fn tail_mut(&mut self, start: usize) -> &mut [u8] {
        self.bytes.get_mut(start..).unwrap_or(&mut [])
    }

    /// Returns the number of bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Returns the maximum number of bytes.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    /// Keeps the first `length` bytes. Does not touch the memory if there are
    /// no others.
    pub fn truncate(&mut self, length: usize) {
        if length < self.bytes.len() {
            self.bytes.truncate(length);
        }
    }

    /// Removes all bytes.
    pub fn clear(&mut self) {
        self.truncate(0);
    }

    /// Removes the first `count` bytes.
    pub fn remove_front(&mut self, count: usize) {
        let rest = self.bytes.len().saturating_sub(count);
        text::to_front(self.bytes, count, rest);
        self.truncate(rest);
    }

    /// Appends bytes. Returns false and appends nothing if they do not fit.
    pub fn append(&mut self, bytes: &[u8]) -> bool {
        if bytes.is_empty() {
            // The memory is not even touched.
            return true;
        }
        let (room, free) = self.room();
        if bytes.len() > free {
            return false;
        }
        // SAFETY: there is room for all of `bytes`. They do not overlap with
        // it, since the vector is borrowed mutably.
        unsafe { room.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        // SAFETY: these bytes were just written.
        unsafe { self.grow(bytes.len()) };
        true
    }

    /// Appends all parts and returns them as one slice. Returns `None` and
    /// appends nothing if they do not fit.
    pub fn join(&mut self, parts: &[&[u8]]) -> Option<&mut [u8]> {
        let start = self.len();
        if !parts.iter().all(|part| self.append(part)) {
            self.truncate(start);
            return None;
        }
        self.bytes.get_mut(start..)
    }

    /// Reads once, at most `most` bytes or what fits, and appends them.
    /// Returns their number; 0 at the end of the file or without space.
    pub fn read(&mut self, fd: At<'_>, most: usize) -> Result<usize, Errno> {
        let fd = fd.as_raw_fd();
        let (room, free) = self.room();
        let most = most.min(free);
        let count = loop {
            // SAFETY: the kernel writes at most `most` bytes into the room.
            match unsafe { syscall!(Sysno::read, fd, room, most) } {
                Err(Errno::EINTR) => {}
                other => break other?,
            }
        };
        // SAFETY: the kernel has written these bytes.
        unsafe { self.grow(count) };
        Ok(count)
    }

    /// Appends a file from its start, at most `most` bytes or what fits.
    pub fn read_whole(
        &mut self,
        at: At<'_>,
        path: &CStr,
        most: usize,
    ) -> Result<(), Errno> {
        let file = file::open_read(at, path)?;
        let end = self.len().saturating_add(most);
        while self.read(file.as_fd(), end.saturating_sub(self.len()))? > 0 {}
        Ok(())
    }

    /// Returns start and size of the free space.
    fn room(&mut self) -> (*mut u8, usize) {
        let length = self.bytes.len();
        let free = self.bytes.capacity().saturating_sub(length);
        // SAFETY: the length is at most the capacity.
        (unsafe { self.bytes.as_mut_ptr().add(length) }, free)
    }

    /// Adds `count` bytes of the free space to the content.
    ///
    /// # Safety
    /// There is that much space, and these bytes were written.
    unsafe fn grow(&mut self, count: usize) {
        let length = self.bytes.len().saturating_add(count);
        // SAFETY: the caller vouches for it.
        unsafe { self.bytes.set_len(length) };
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use heapless::Vec;
    use std::boxed::Box;

    fn buffer() -> Buffer {
        Buffer::new(Box::leak(Box::new(Vec::<u8, 8>::new())))
    }

    #[test]
    fn takes_all_or_nothing() {
        let mut buffer = buffer();
        assert!(buffer.append(b"12345"));
        assert!(!buffer.append(b"6789"));
        assert_eq!(buffer.join(&[b"67", b"89"]), None);
        assert_eq!(buffer.as_slice(), b"12345");
        assert_eq!(
            buffer.join(&[b"6", b"", b"78"]),
            Some(&mut b"678".to_owned()[..])
        );
        assert!(buffer.append(b""));
        assert_eq!(buffer.as_slice(), b"12345678");
        buffer.remove_front(3);
        assert_eq!(buffer.as_slice(), b"45678");
        buffer.remove_front(9);
        assert!(buffer.is_empty());
    }

    #[test]
    fn reads_up_to_a_limit() {
        let mut buffer = buffer();
        let [from, to] = crate::sys::pipe(false).unwrap();
        crate::sys::write_all(to.as_fd(), b"123456789abc").unwrap();
        assert_eq!(buffer.read(from.as_fd(), 2), Ok(2));
        assert_eq!(buffer.read(from.as_fd(), usize::MAX), Ok(6));
        assert_eq!(buffer.as_slice(), b"12345678");
        assert_eq!(buffer.read(from.as_fd(), usize::MAX), Ok(0));
        buffer.clear();
        drop(to);
        assert_eq!(buffer.read(from.as_fd(), 8), Ok(4));
        assert_eq!(buffer.read(from.as_fd(), 8), Ok(0));
        assert_eq!(buffer.as_slice(), b"9abc");
    }
}
