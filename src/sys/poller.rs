//! What a loop sleeps on: readiness of many files, or of a few.

use core::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::wire::clock::Instant;

use super::{At, Errno, Fd, clock, error, raw};

/// What a file must show to wake the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Nothing: it is left alone for now.
    Never,
    /// It can be read.
    Readable,
    /// It can be written.
    Writable,
    /// It reports a change by an exception: /proc/self/mountinfo does.
    Exception,
}

/// Files that wake the loop, each with a token of its owner's choice.
#[derive(Debug)]
pub struct Poller(Fd);

/// Most tokens one wait answers; the rest come with the next.
pub const BATCH: usize = 16;

impl Poller {
    /// An empty set.
    pub fn new() -> Result<Self, Errno> {
        raw::epoll_create().map(Self)
    }

    /// Adds a file. It leaves the set when its last descriptor is closed.
    pub fn add(
        &self,
        fd: At<'_>,
        wake: Interest,
        token: u64,
    ) -> Result<(), Errno> {
        /// EPOLL_CTL_ADD.
        const ADD: u32 = 1;
        self.set(ADD, fd, wake, token)
    }

    /// Changes what wakes the loop of a file that is in the set.
    pub fn change(
        &self,
        fd: At<'_>,
        wake: Interest,
        token: u64,
    ) -> Result<(), Errno> {
        /// EPOLL_CTL_MOD.
        const MOD: u32 = 3;
        self.set(MOD, fd, wake, token)
    }

    /// `epoll_ctl` for one file.
    fn set(
        &self,
        operation: u32,
        fd: At<'_>,
        wake: Interest,
        token: u64,
    ) -> Result<(), Errno> {
        let events = match wake {
            Interest::Never => 0,
            Interest::Readable => 1,  // EPOLLIN
            Interest::Writable => 4,  // EPOLLOUT
            Interest::Exception => 2, // EPOLLPRI
        };
        let data = token;
        let event = raw::EpollEvent { events, data };
        raw::epoll_ctl(&self.0, operation, fd, event)
    }

    /// Takes a file out of the set.
    pub fn remove(&self, fd: At<'_>) -> Result<(), Errno> {
        /// EPOLL_CTL_DEL.
        const DEL: u32 = 2;
        raw::epoll_ctl(&self.0, DEL, fd, raw::EpollEvent::default())
    }

    /// Sleeps until a file is ready or `until` has come; never without end
    /// when `until` is given.
    ///
    /// An interruption (a stop and go of this process) counts as nothing
    /// ready.
    pub fn wait(
        &self,
        until: Option<Instant>,
    ) -> Result<heapless::Vec<u64, BATCH>, Errno> {
        let mut rows = [raw::EpollEvent::default(); BATCH];
        let millis = until.map_or(-1, millis_until);
        let count = match raw::epoll_wait(&self.0, &mut rows, millis) {
            Err(Errno::EINTR) => 0,
            other => other?,
        };
        Ok(rows.iter().take(count).map(|row| row.data).collect())
    }
}

/// Milliseconds to a moment, rounded up so that the wait never ends early.
fn millis_until(until: Instant) -> i32 {
    let nanos = until.since(clock::mono()).as_nanos();
    i32::try_from(nanos.div_ceil(1_000_000)).unwrap_or(i32::MAX)
}

/// Sleeps until one of `fds` can be read or has ended, or for `limit`;
/// answers which of them are ready.
pub fn readable<const N: usize>(
    fds: [At<'_>; N],
    limit: Option<Duration>,
) -> Result<[bool; N], Errno> {
    let mut rows = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    let limit = limit.map(timespec);
    match poll(&mut rows, limit.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(errno) => return Err(error::from(errno)),
    }
    Ok(rows.map(|row| !row.revents().is_empty()))
}

/// Whether `fd` takes a write now, or within `patience`.
pub fn writable(fd: At<'_>, patience: Duration) -> bool {
    let mut rows = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    let limit = timespec(patience);
    let polled = poll(&mut rows, Some(&limit)).is_ok();
    let [row] = rows;
    polled && row.revents().contains(PollFlags::OUT)
}

/// Sleeps until `out` takes a write or `input` can be read.
pub fn writable_or_readable(out: At<'_>, input: At<'_>) {
    let mut rows = [
        PollFd::from_borrowed_fd(out, PollFlags::OUT),
        PollFd::from_borrowed_fd(input, PollFlags::IN),
    ];
    // The caller tries again whatever the reason.
    let _early = poll(&mut rows, None).is_err();
}

/// Sleeps for `time`, or until a signal interrupts.
pub fn sleep(time: Duration) {
    let limit = timespec(time);
    // An early end is as good as a late one to everybody who pauses.
    let _early = poll(&mut [], Some(&limit)).is_err();
}

/// The kernel's form of a span of time.
fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    }
}
