//! Waits until files are ready: many with epoll, or a few with poll.

use core::time::Duration;

use linux_raw_sys::general;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::wire::clock::Instant;

use super::{At, Errno, Fd, clock, error, raw};

/// The condition of a file that wakes the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// None: the file is ignored for now.
    Never,
    /// The file is readable.
    Readable,
    /// The file is writable.
    Writable,
    /// The file has an exceptional condition: /proc/self/mountinfo reports
    /// changes so.
    Exception,
}

/// A set of files that wake the loop, each with a token that its owner
/// chooses.
#[derive(Debug)]
pub struct Poller(Fd);

/// Most tokens that one wait returns; the next wait returns the others.
pub const BATCH: usize = 16;

impl Poller {
    /// Returns an empty set.
    pub fn new() -> Result<Self, Errno> {
        raw::epoll_create().map(Self)
    }

    /// Adds a file. It leaves the set when its last descriptor is closed.
    pub fn add(
        &self,
        fd: At<'_>,
        interest: Interest,
        token: u64,
    ) -> Result<(), Errno> {
        self.set(general::EPOLL_CTL_ADD, fd, interest, token)
    }

    /// Changes the condition and the token of a file in the set.
    pub fn change(
        &self,
        fd: At<'_>,
        interest: Interest,
        token: u64,
    ) -> Result<(), Errno> {
        self.set(general::EPOLL_CTL_MOD, fd, interest, token)
    }

    /// Calls `epoll_ctl` for one file.
    fn set(
        &self,
        operation: u32,
        fd: At<'_>,
        interest: Interest,
        token: u64,
    ) -> Result<(), Errno> {
        let events = match interest {
            Interest::Never => 0,
            Interest::Readable => 1,  // EPOLLIN
            Interest::Writable => 4,  // EPOLLOUT
            Interest::Exception => 2, // EPOLLPRI
        };
        let data = token;
        let event = raw::EpollEvent { events, data };
        raw::epoll_ctl(&self.0, operation, fd, event)
    }

    /// Removes a file from the set.
    pub fn remove(&self, fd: At<'_>) -> Result<(), Errno> {
        raw::epoll_ctl(
            &self.0,
            general::EPOLL_CTL_DEL,
            fd,
            raw::EpollEvent::default(),
        )
    }

    /// Sleeps until a file is ready or, if given, until time `until`. Returns
    /// the tokens of the ready files.
    ///
    /// After an interruption (this process was stopped and continued) returns
    /// as if no file were ready.
    pub fn wait(
        &self,
        until: Option<Instant>,
    ) -> Result<heapless::Vec<u64, BATCH>, Errno> {
        let mut events = [raw::EpollEvent::default(); BATCH];
        let millis = until.map_or(-1, millis_until);
        let count = match raw::epoll_wait(&self.0, &mut events, millis) {
            Err(Errno::EINTR) => 0,
            other => other?,
        };
        Ok(events.iter().take(count).map(|event| event.data).collect())
    }
}

/// Returns the milliseconds to a point in time, rounded up so that the wait
/// never ends early.
fn millis_until(until: Instant) -> i32 {
    let nanos = until.nanos().saturating_sub(clock::mono().nanos());
    i32::try_from(nanos.div_ceil(1_000_000)).unwrap_or(i32::MAX)
}

/// Sleeps until one of `fds` is readable or at its end, at most for `limit`;
/// returns for each whether it is ready.
pub fn readable<const N: usize>(
    fds: [At<'_>; N],
    limit: Option<Duration>,
) -> Result<[bool; N], Errno> {
    let mut polled = fds.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
    let limit = limit.map(timespec);
    match poll(&mut polled, limit.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(errno) => return Err(error::from(errno)),
    }
    Ok(polled.map(|fd| !fd.revents().is_empty()))
}

/// Returns true when `fd` is writable now or becomes so within `limit`.
pub fn writable(fd: At<'_>, limit: Duration) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(fd, PollFlags::OUT)];
    let limit = timespec(limit);
    let is_done = poll(&mut polled, Some(&limit)).is_ok();
    let [fd] = polled;
    is_done && fd.revents().contains(PollFlags::OUT)
}

/// Sleeps until `out` is writable or `input` is readable.
pub fn writable_or_readable(out: At<'_>, input: At<'_>) {
    let mut polled = [
        PollFd::from_borrowed_fd(out, PollFlags::OUT),
        PollFd::from_borrowed_fd(input, PollFlags::IN),
    ];
    // The caller tries again, whatever the reason.
    let _early = poll(&mut polled, None).is_err();
}

/// Sleeps for `time`, or until a signal interrupts.
pub fn sleep(time: Duration) {
    let limit = timespec(time);
    // An early end is as good as a late one to all callers.
    let _early = poll(&mut [], Some(&limit)).is_err();
}

/// Converts a duration to the kernel's form.
fn timespec(time: Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: time.subsec_nanos().into(),
    }
}
