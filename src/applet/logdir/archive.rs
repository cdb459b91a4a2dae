//! An open log directory: its lock, and the old logs in it (contract §5.6).

use crate::{
    machine::rotate::OldLogs,
    sys::{AsFd, At, Errno, Fd, clock, dir, file, secure},
    text::Path,
    wire::logname::{Kind, LogName},
};

/// A log directory, open or not.
pub(super) struct Archive {
    /// Stays open when the directory cannot be reopened: a processor may be at
    /// work in it.
    dir: Fd,
    /// The file `lock`; open while the lock is held.
    lock: Fd,
    /// Newest name of an old log here. New names are never older, even when
    /// the clock was set back.
    newest: Option<LogName>,
}

impl Archive {
    /// Returns a directory that is not open.
    pub(super) fn closed() -> Self {
        Self {
            dir: Fd::none(),
            lock: Fd::none(),
            newest: None,
        }
    }

    /// Returns the directory, for the names in it.
    pub(super) fn dir(&self) -> At<'_> {
        self.dir.as_fd()
    }

    /// Returns the file `lock`.
    pub(super) fn lock_file(&self) -> At<'_> {
        self.lock.as_fd()
    }

    /// Opens and locks the file `lock` of a directory that is then passed to
    /// [`Archive::set_dir`]. An earlier lock is released.
    pub(super) fn lock(&mut self, dir: At<'_>) -> Result<(), Errno> {
        self.lock = secure::append(dir, c"lock")?;
        file::lock_now(self.lock.as_fd())
    }

    /// Unlocks the directory.
    ///
    /// Unlocks explicitly: a processor that was just started may still be a
    /// copy of this process, which has the lock file open.
    pub(super) fn unlock(&mut self) {
        file::unlock(self.lock.as_fd());
        self.lock = Fd::none();
    }

    /// Replaces the directory; returns the old one.
    pub(super) fn set_dir(&mut self, dir: Fd) -> Fd {
        core::mem::replace(&mut self.dir, dir)
    }

    /// Lists the old logs; `processed` as in [`OldLogs::new`]. Deletes the
    /// unfinished output of earlier processors, but not that for the log
    /// `busy`.
    pub(super) fn list(
        &self,
        processed: bool,
        busy: Option<LogName>,
    ) -> Result<OldLogs, Errno> {
        let mut olds = OldLogs::new(self.newest, processed);
        let busy = busy.map(|name| name.with(Kind::Temporary));
        // A new descriptor: the offset of a listing belongs to the open file.
        let listed = file::open_dir(self.dir.as_fd(), c".")?;
        let at = listed.as_fd();
        dir::list(at, |name| {
            let Some(name) = LogName::parse(name.to_bytes()) else {
                return;
            };
            if name.kind() != Some(Kind::Temporary) {
                olds.add(name);
            } else if busy.is_none_or(|busy| busy != name) {
                // The next listing deletes what stays.
                let _stays = file::remove(at, name.as_c_str()).is_err();
            }
        })?;
        Ok(olds)
    }

    /// Takes the newest name that a list has shown.
    pub(super) fn set_newest(&mut self, olds: &OldLogs) {
        self.newest = olds.newest;
    }

    /// Renames `current` to an old log of the given kind; returns its name,
    /// which is newer than every other.
    pub(super) fn add_current(&mut self, kind: Kind) -> Result<LogName, Errno> {
        let at = self.dir.as_fd();
        loop {
            let new = LogName::after(self.newest, clock::wall(), kind);
            self.newest = Some(new);
            let to = new.as_c_str();
            let renamed = match file::rename_new(at, c"current", to) {
                // Not supported by the file system or kernel. No other
                // process makes such names: the directory is locked.
                Err(Errno::EINVAL | Errno::ENOSYS) => {
                    match file::info(at, to) {
                        Err(Errno::ENOENT) => file::rename(at, c"current", to),
                        Ok(_) => Err(Errno::EEXIST),
                        Err(errno) => Err(errno),
                    }
                }
                other => other,
            };
            match renamed {
                Ok(()) => return Ok(new),
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Deletes an old log.
    pub(super) fn delete(&self, old: LogName) -> Result<(), Errno> {
        file::remove(self.dir.as_fd(), old.as_c_str())
    }

    /// Returns whether the name `current` leads to this open file, is a link,
    /// or cannot be examined.
    pub(super) fn has_current(&self, open: At<'_>) -> bool {
        let named = file::info_of_link(self.dir.as_fd(), c"current");
        match (named, file::info_of(open)) {
            (Ok(named), Ok(open)) => {
                named.identity == open.identity
                    || named.kind == file::Kind::Link
            }
            (named, _) => named != Err(Errno::ENOENT),
        }
    }

    /// Renames anything called `current` that is not a regular file, where the
    /// file was removed. Returns its new name.
    pub(super) fn move_other(&self) -> Result<Option<Path>, Errno> {
        let at = self.dir.as_fd();
        match file::info_of_link(at, c"current") {
            Ok(info) if info.kind != file::Kind::Regular => {}
            Ok(_) | Err(Errno::ENOENT) => return Ok(None),
            Err(errno) => return Err(errno),
        }
        let label = LogName::new(clock::wall(), Kind::Unsafe);
        // Not named like an old log: it could not be deleted like one.
        let name = file::path_of(&[b"current.", label.as_bytes()])?;
        file::rename(at, c"current", name.as_c_str())?;
        Ok(Some(name))
    }

    /// Syncs the names in the directory, as far as the file system can.
    pub(super) fn sync(&self) {
        let _synced = file::sync(self.dir.as_fd()).is_ok();
    }
}
