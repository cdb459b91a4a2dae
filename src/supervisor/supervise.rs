//! Manages a supervise directory: its lock, its FIFOs and the files published
//! in it (contract §1, §2.2).
//!
//! # File systems that accept no new file
//! Each file is replaced by rename. If that fails because the file system is
//! full or a quota is used up (ENOSPC, EDQUOT), the existing file is
//! overwritten: its blocks are already allocated. `status` has a fixed size,
//! is written by one `pwrite` and lies within one page, so that a reader sees
//! the old record or the new one. `stat`, `pid` and `why` change their length,
//! and a reader may see a part of one in this state.
//!
//! If `status` cannot be written at all (no such file yet, a copy-on-write
//! file system, one that has become read-only), `ok` and the files move to the
//! run directory, where [`rundir`] makes `sv` look for them. The lock is held
//! in both, and `control` stays: a FIFO takes bytes in any state of the
//! medium. The files do not move back before the slot ends.

mod fifo;
mod names;
mod status_files;

use core::ffi::CStr;

use crate::{
    config,
    sys::{AsFd, At, CWD, Errno, Fd, file, secure},
    text::hash,
    wire::{
        clock::Wall,
        status::{self, Status},
    },
};

use super::{control::ControlFifo, rundir};

pub(super) use fifo::{USE_AS_FIFO, make_pipe, open_ends, open_fifo, open_ok};
use fifo::{fifo, remove_regular};
pub(super) use names::{FileNames, LOG, LOG_LOCK, PIPE, SERVICE};
pub(super) use status_files::replace;
use status_files::{write_record, write_texts};

/// Failed operation in a service directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Verb: `open`, `lock`, `rename` ...
    pub verb: &'static str,
    /// Path that it was applied to, relative to the service directory.
    pub path: &'static CStr,
    /// Cause.
    pub errno: Errno,
}

impl Failure {
    /// Returns whether the file system accepts no new file or no new content,
    /// now or for good.
    pub(super) fn is_unwritable(self) -> bool {
        [Errno::ENOSPC, Errno::EDQUOT, Errno::EROFS].contains(&self.errno)
    }
}

/// Returns a function that makes a [`Failure`] from an errno.
pub(super) fn failure(
    verb: &'static str,
    path: &'static CStr,
) -> impl Fn(Errno) -> Failure {
    move |errno| Failure { verb, path, errno }
}

/// Open files of one supervise directory: four descriptors with the lock,
/// three of them FIFO ends; two more if it is in the run directory.
#[derive(Debug)]
pub(super) struct SuperviseDir {
    /// Holds the lock as long as it is open.
    lock: Fd,
    /// A second lock: the run directory's, or the one in the service directory
    /// when the files are in the run directory; or that of a hidden supervise
    /// directory, which may reappear.
    other_lock: Option<Fd>,
    control: ControlFifo,
    /// Never read: an open reader shows that a supervisor is running. Opened
    /// when the files are written for the first time.
    ok: Option<Fd>,
    /// Set if `ok` had to be created: there are no files yet.
    created: bool,
    /// Directory of `supervise` in the run directory, if it has moved there.
    run_dir: Option<Fd>,
    /// Content of `status`.
    last: Option<Status>,
    /// Set if the last write of `pid` or `stat` failed.
    texts_stale: bool,
}

impl SuperviseDir {
    /// Takes over the open files that another execution of this program has
    /// passed on: lock, control FIFO and `ok`.
    pub(super) fn inherited(lock: Fd, control: Fd, ok: Fd) -> Self {
        Self {
            lock,
            other_lock: None,
            control: ControlFifo::new(control),
            ok: Some(ok),
            created: false,
            run_dir: None,
            last: None,
            texts_stale: false,
        }
    }

    /// Returns the files that can be passed on like that; `None` before the
    /// first publication, and if there are others.
    pub(super) fn files(&self) -> Option<[&Fd; 3]> {
        let ok = self.ok.as_ref()?;
        let others = self.other_lock.is_some() || self.run_dir.is_some();
        (!others).then_some([&self.lock, self.control.file(), ok])
    }

    /// Returns a number for what the files say; 0 if they are incomplete.
    pub(super) fn published(&self) -> u32 {
        let last = self.last.filter(|_| !self.texts_stale);
        last.map_or(0, |status| hash(&status::pack(&status)))
    }

    /// Accepts that the files say `status` if that has this number.
    pub(super) fn expect(&mut self, status: &Status, published: u32) {
        if hash(&status::pack(status)) == published {
            self.last = Some(*status);
        }
    }

    /// Returns `Err` if an open file has no name any more: it was removed or
    /// replaced. This looks up no path, so that every publication can afford
    /// it.
    pub(super) fn check_present(
        &self,
        names: &'static FileNames,
    ) -> Result<(), Failure> {
        let is_removed = |file: &Fd| file::is_removed(file.as_fd());
        let path = if is_removed(&self.lock) {
            names.lock
        } else if self.control.is_removed() {
            names.control
        } else if self.ok.as_ref().is_some_and(is_removed) {
            names.ok
        } else {
            return Ok(());
        };
        Err(failure(KEEP, path)(Errno::ENOENT))
    }

    /// Opens again what was removed; `at` is the service directory, `base` the
    /// directory that `supervise` belongs to. A regular file in place of a
    /// FIFO is removed: the lock entitles us to that name.
    pub(super) fn renew(
        &mut self,
        at: At<'_>,
        base: At<'_>,
        names: &'static FileNames,
    ) -> Result<(), Failure> {
        if self.is_hidden(at, base, names) {
            return self.reopen(at, base, names);
        }
        if file::is_removed(self.lock.as_fd()) {
            // It may be that of the run directory, which is taken again.
            if let Some(lock) = self.other_lock.take() {
                file::unlock(lock.as_fd());
            }
            let moved = self.run_dir.is_some();
            let Lock { lock, run_dir, .. } = Lock::take(at, base, names)?;
            self.lock = lock;
            self.run_dir = run_dir;
            if moved {
                // It belongs where the files are now.
                self.ok = None;
            }
        }
        let (at, names) = location(self.run_dir.as_ref(), at, names);
        if self.ok.is_none() {
            // The next publication opens it.
            fifo(at, names.ok)?;
        }
        if self.control.is_removed() {
            remove_regular(at, names.control)?;
            self.control = ControlFifo::new(open_fifo(at, names.control)?);
        }
        if self
            .ok
            .as_ref()
            .is_some_and(|ok| file::is_removed(ok.as_fd()))
        {
            remove_regular(at, names.ok)?;
            fifo(at, names.ok)?;
            self.ok = Some(open_ok(at, names)?);
        }
        // Any other file may have been removed too.
        self.last = None;
        Ok(())
    }

    /// Returns whether its path leads elsewhere, or nowhere, though it still
    /// exists: a mount hides it, or it was moved.
    pub(super) fn is_hidden(
        &self,
        at: At<'_>,
        base: At<'_>,
        names: &'static FileNames,
    ) -> bool {
        let leads = match &self.run_dir {
            Some(run_dir) => rundir::path(base, b"")
                .is_ok_and(|path| leads_to(CWD, path.as_c_str(), run_dir)),
            None => leads_to(at, names.lock, &self.lock),
        };
        !leads && !file::is_removed(self.lock.as_fd())
    }

    /// Creates and opens a hidden supervise directory again, where its path
    /// leads now.
    fn reopen(
        &mut self,
        at: At<'_>,
        base: At<'_>,
        names: &'static FileNames,
    ) -> Result<(), Failure> {
        if self.run_dir.is_some() && leads_to(at, names.lock, &self.lock) {
            // Only the part in the run directory is hidden.
            self.run_dir = None;
            self.other_lock = None;
            self.ok = None;
            self.last = None;
            return Ok(());
        }
        // The path may lead there again.
        if let Some(lock) = self.other_lock.take() {
            file::unlock(lock.as_fd());
        }
        let ends =
            Lock::take(at, base, names)?.open_supervise_dir(at, base, false)?;
        let hidden = core::mem::replace(self, ends);
        if self.other_lock.is_none() {
            self.other_lock = Some(hidden.lock);
        }
        Ok(())
    }

    /// Returns the control FIFO.
    pub(super) fn control(&mut self) -> &mut ControlFifo {
        &mut self.control
    }

    /// Returns whether no file has ever been published here.
    pub(super) fn is_fresh(&self) -> bool {
        self.created
    }

    /// Returns whether its files were written since it was opened.
    pub(super) fn is_open(&self) -> bool {
        self.ok.is_some()
    }

    /// Returns the status that an earlier supervisor has published, and when
    /// that was written; `dir` is the service directory. If this process goes
    /// on after a fault (`resumed`), `pid` and `stat` show that status or the
    /// current one, which is published next.
    pub(super) fn recorded(
        &mut self,
        dir: At<'_>,
        names: &'static FileNames,
        resumed: bool,
    ) -> Option<(Status, Wall)> {
        if self.created {
            return None;
        }
        let (at, names) = location(self.run_dir.as_ref(), dir, names);
        let [path, _] = names.status;
        // One byte more, to detect a file that is too long.
        let mut record = [0; status::BYTES + 1];
        let file = secure::read(at, path).ok()?;
        let count = file::read_at(file.as_fd(), &mut record, 0).ok()?;
        let status = status::unpack(record.get(..count)?)?;
        let written = file::info_of(file.as_fd()).ok()?.modified;
        self.last = Some(status);
        // It may have been killed between two of the files.
        self.texts_stale = !resumed;
        Some((status, written))
    }

    /// Returns the directory that holds `supervise`, if that is in the run
    /// directory.
    pub(super) fn run_dir(&self) -> Option<At<'_>> {
        self.run_dir.as_ref().map(AsFd::as_fd)
    }

    /// Releases the locks for every copy of their descriptors.
    pub(super) fn unlock(&self) {
        for lock in self.other_lock.iter().chain([&self.lock]) {
            file::unlock(lock.as_fd());
        }
    }

    /// Writes `pid`, `stat` and `status` where they changed; `dir` is the
    /// service directory. Each is tried even if another fails; the first
    /// failure is returned.
    pub(super) fn publish(
        &mut self,
        dir: At<'_>,
        names: &'static FileNames,
        status: &Status,
    ) -> Result<(), Failure> {
        let published = self.is_published(status);
        if published && !self.texts_stale && self.ok.is_some() {
            return Ok(());
        }
        let (at, names) = location(self.run_dir.as_ref(), dir, names);
        let last = self.last.filter(|_| !self.texts_stale);
        let texts = write_texts(at, names, last.as_ref(), status);
        self.texts_stale = texts.is_err();
        let mut record = Ok(());
        if !published {
            record = write_record(at, names, status);
            self.last = record.is_ok().then_some(*status);
        }
        if self.ok.is_none() {
            // Comes after the files: a reader that finds a supervisor trusts
            // them. Without the files it still accepts commands.
            self.ok = Some(open_ok(at, names)?);
        }
        texts.and(record)
    }

    /// Returns whether `status` has this content.
    pub(super) fn is_published(&self, status: &Status) -> bool {
        self.last.as_ref() == Some(status)
    }

    /// Moves `ok` and the files to the run directory. `base` is the directory
    /// that `supervise` belongs to. A failure changes nothing.
    pub(super) fn relocate(
        &mut self,
        base: At<'_>,
        status: &Status,
    ) -> Result<(), Failure> {
        let (lock, run_dir) = lock_in_run_dir(base)?;
        let at = run_dir.as_fd();
        fifo(at, SERVICE.ok)?;
        write_record(at, &SERVICE, status)?;
        // The old one is closed after this: there is a reader at all times.
        self.ok = Some(open_ok(at, &SERVICE)?);
        self.other_lock = Some(lock);
        self.run_dir = Some(run_dir);
        self.last = None;
        Ok(())
    }
}

/// Returns whether `path` leads to an open file.
fn leads_to(at: At<'_>, path: &CStr, file: &Fd) -> bool {
    let open = file::info_of(file.as_fd()).map(|info| info.identity);
    open.is_ok() && file::info(at, path).map(|info| info.identity) == open
}

/// Returns the directory that holds `supervise`, and the names relative to it:
/// the service directory, or its directory in the run directory.
fn location<'p>(
    run_dir: Option<&'p Fd>,
    dir: At<'p>,
    names: &'static FileNames,
) -> (At<'p>, &'static FileNames) {
    run_dir.map_or((dir, names), |run_dir| (run_dir.as_fd(), &SERVICE))
}

/// Lock that is held, and where the rest of its supervise directory is.
pub(super) struct Lock {
    lock: Fd,
    names: &'static FileNames,
    run_dir: Option<Fd>,
}

impl Lock {
    /// Takes the lock as [`lock`] does. Where nothing can be written or
    /// created, takes the lock in the run directory for `base`, the directory
    /// that `supervise` belongs to.
    ///
    /// Returns EAGAIN if another supervisor holds either of the two: it may
    /// have started while nothing could be written here.
    pub(super) fn take(
        at: At<'_>,
        base: At<'_>,
        names: &'static FileNames,
    ) -> Result<Self, Failure> {
        match lock(at, base, names) {
            Err(failed)
                if failed.is_unwritable()
                    || failed.errno == Errno::EACCES
                        && failed.verb == CREATE =>
            {
                Self::in_run_dir(base)
            }
            Ok(_) if is_locked_in_run_dir(base) => {
                Err(failure("lock", names.lock)(Errno::EAGAIN))
            }
            lock => Ok(Self {
                lock: lock?,
                names,
                run_dir: None,
            }),
        }
    }

    /// Takes the lock in the run directory.
    fn in_run_dir(base: At<'_>) -> Result<Self, Failure> {
        let (lock, run_dir) = lock_in_run_dir(base)?;
        Ok(Self {
            lock,
            names: &SERVICE,
            run_dir: Some(run_dir),
        })
    }

    /// Opens the other files, in the run directory if they cannot be created
    /// here; `at` is the service directory. With `piped` the log pipe is
    /// created too.
    pub(super) fn open_supervise_dir(
        self,
        at: At<'_>,
        base: At<'_>,
        piped: bool,
    ) -> Result<SuperviseDir, Failure> {
        let dir = self.run_dir.as_ref().map_or(at, AsFd::as_fd);
        let ends = open_ends(dir, self.names, piped);
        if !config::STATUS_TEXTS {
            // Left by a build that writes them: nothing would update them.
            for [path, _] in [self.names.stat, self.names.pid] {
                let _none = file::remove(dir, path).is_err();
            }
        }
        let (control, fresh) = match ends {
            Err(failed) if self.run_dir.is_none() && failed.is_unwritable() => {
                let moved = Self::in_run_dir(base)?;
                let mut ends = moved.open_supervise_dir(at, base, piped)?;
                ends.other_lock = Some(self.lock);
                return Ok(ends);
            }
            ends => ends?,
        };
        Ok(SuperviseDir {
            lock: self.lock,
            other_lock: None,
            control: ControlFifo::new(control),
            ok: None,
            created: fresh,
            run_dir: self.run_dir,
            last: None,
            texts_stale: false,
        })
    }
}

/// Creates the directory for `base` in the run directory and takes the lock
/// there.
fn lock_in_run_dir(base: At<'_>) -> Result<(Fd, Fd), Failure> {
    let run_dir = rundir::create(base, b"")
        .map_err(failure(CREATE, rundir::run_dir()))?;
    let at = run_dir.as_fd();
    Ok((lock(at, at, &SERVICE)?, run_dir))
}

/// Returns whether a supervisor holds the lock for `base` in the run
/// directory.
fn is_locked_in_run_dir(base: At<'_>) -> bool {
    let lock = rundir::find(base, b"")
        .and_then(|run_dir| secure::read(run_dir.as_fd(), SERVICE.lock));
    lock.is_ok_and(|lock| file::lock_now(lock.as_fd()) == Err(Errno::EAGAIN))
}

/// Verb of the failure where a supervise directory is missing and none can be
/// created.
const CREATE: &str = "create";

/// Creates the supervise directory, which may be a link to a missing one, and
/// takes its lock; `base` is the directory that such a link is relative to.
pub(super) fn lock(
    at: At<'_>,
    base: At<'_>,
    names: &FileNames,
) -> Result<Fd, Failure> {
    let open = || secure::append(at, names.lock);
    let opened = match open() {
        Err(Errno::ENOENT) => {
            match file::make_dir(at, names.dir, 0o700) {
                Ok(()) => {}
                Err(Errno::EEXIST) => {
                    // A failure here shows when the lock is opened.
                    let _shows =
                        file::make_target(at, base, names.dir, 0o700).is_err();
                }
                Err(errno) => return Err(failure(CREATE, names.dir)(errno)),
            }
            open()
        }
        opened => opened,
    };
    let lock = opened.map_err(failure("open", names.lock))?;
    file::lock_now(lock.as_fd()).map_err(failure("lock", names.lock))?;
    Ok(lock)
}

/// Verb of the failure where an open file has lost its name.
pub(super) const KEEP: &str = "keep";
