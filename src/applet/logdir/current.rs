//! The open file `current`: its fill level, the moments at which it is synced
//! and rotated, and its mode.

use crate::{
    machine::rotate::{self, Fill},
    sys::{self, AsFd, At, Errno, Fd, clock, file, secure},
    wire::clock::Instant,
};

use super::{
    config::Limits,
    context::{LogContext, is_due},
};

/// The file `current` of a log directory, open or not.
pub(super) struct Current {
    file: Fd,
    fill: Fill,
    /// Moment at which it is rotated because of its age.
    rotation_due: Option<Instant>,
    /// Moment at which written data must be synced.
    sync_due: Option<Instant>,
    /// `true` if it is empty or ends with a newline.
    is_at_start: bool,
    /// A failure to set the mode or group was reported.
    mode_warned: bool,
}

impl Current {
    /// Returns a file that is not open.
    pub(super) fn closed() -> Self {
        Self {
            file: Fd::none(),
            fill: Fill {
                size: 0,
                bound: 0,
                line: 0,
            },
            rotation_due: None,
            sync_due: None,
            is_at_start: true,
            mode_warned: false,
        }
    }

    /// Opens or creates the file in `dir` for appending, with the mode and
    /// group of the config. Its size counts as 0.
    pub(super) fn open(
        &mut self,
        context: &LogContext,
        dir: At<'_>,
        name: &[u8],
        limits: &Limits,
    ) -> Result<(), Errno> {
        self.file = secure::append(dir, c"current")?;
        // A new file has mode 0600 until it is marked.
        let given = limits.access.set_group(self.file.as_fd());
        self.warn_of_mode(
            context,
            name,
            "unable to set group of current",
            given,
        );
        self.mark(context, name, limits.access.open());
        self.resume(0);
        self.is_at_start = true;
        self.rotation_due = limits.age.map(|age| clock::mono().after(age));
        self.sync_due = None;
        Ok(())
    }

    /// Sets the size of a file that is continued.
    pub(super) fn resume(&mut self, size: u64) {
        self.fill.size = size;
    }

    /// Sets the maximum size of the file and the expected size of a line.
    pub(super) fn set_bounds(&mut self, size: u64, line: usize) {
        self.fill.bound = size;
        self.fill.line = u64::try_from(line).unwrap_or(u64::MAX);
    }

    /// Closes the file as it is.
    pub(super) fn close(&mut self) {
        self.file = Fd::none();
    }

    /// Returns the open file.
    pub(super) fn as_fd(&self) -> At<'_> {
        self.file.as_fd()
    }

    /// Returns the number of bytes in the file or queued for it.
    pub(super) fn size(&self) -> u64 {
        self.fill.size
    }

    /// Returns whether it is empty or ends with a newline.
    pub(super) fn is_at_start(&self) -> bool {
        self.is_at_start
    }

    /// Returns how many of these bytes go into this file, and whether it is
    /// rotated behind them.
    pub(super) fn step(&self, bytes: &[u8]) -> rotate::Step {
        self.fill.step(bytes)
    }

    /// Counts bytes that are written now or later.
    pub(super) fn queue(&mut self, count: usize) {
        self.fill.add(count);
    }

    /// Takes back bytes that could not be written.
    pub(super) fn unqueue(&mut self, count: usize) {
        self.fill.uncount(count);
    }

    /// Writes as many of `bytes` as one call takes, and returns their number.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<usize, Errno> {
        let count = sys::write_once(self.file.as_fd(), bytes)?;
        let written = bytes.get(..count).unwrap_or(bytes);
        self.is_at_start = written.ends_with(b"\n");
        Ok(count)
    }

    /// Schedules the sync of data that was just written.
    pub(super) fn schedule_sync(&mut self, limits: &Limits) {
        if let Some(delay) = limits.durable
            && self.sync_due.is_none()
        {
            self.sync_due = Some(clock::mono().after(delay));
        }
    }

    /// Returns whether written data must be synced now.
    pub(super) fn must_sync(&self, now: Instant) -> bool {
        is_due(self.sync_due, now)
    }

    /// Syncs the data that was written so far.
    pub(super) fn sync_data(&mut self) -> Result<(), Errno> {
        self.sync_due = None;
        file::sync_data(self.file.as_fd())
    }

    /// Syncs data and size, where the file system has a medium.
    pub(super) fn sync(&self) -> Result<(), Errno> {
        match file::sync(self.file.as_fd()) {
            Err(Errno::EINVAL | Errno::EROFS) => Ok(()),
            other => other,
        }
    }

    /// Returns whether the file is old enough to be rotated. The age of an
    /// empty one counts from now.
    pub(super) fn is_old(&mut self, limits: &Limits, now: Instant) -> bool {
        let old = is_due(self.rotation_due, now);
        if old && self.size() == 0 {
            self.rotation_due = limits.age.map(|age| now.after(age));
        }
        old
    }

    /// Returns the next moment at which it must be synced or rotated.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let all = [self.rotation_due, self.sync_due];
        all.into_iter().flatten().min()
    }

    /// Sets the mode. A failure is reported once and costs no lines: some file
    /// systems have no modes.
    pub(super) fn mark(
        &mut self,
        context: &LogContext,
        name: &[u8],
        mode: u32,
    ) {
        let marked = file::set_mode_of(self.file.as_fd(), mode);
        self.warn_of_mode(
            context,
            name,
            "unable to set mode of current",
            marked,
        );
    }

    /// Reports the first failure to set the mode or group.
    fn warn_of_mode(
        &mut self,
        context: &LogContext,
        name: &[u8],
        what: &str,
        result: Result<(), Errno>,
    ) {
        if let Err(errno) = result
            && !core::mem::replace(&mut self.mode_warned, true)
        {
            context.warn("warning", what, name, errno);
        }
    }
}
