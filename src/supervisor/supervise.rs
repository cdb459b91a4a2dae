//! A supervise directory: its lock, its FIFOs and the files published in it
//! (contract §1, §2.2).
//!
//! # File systems that take no new file
//! Each file is replaced by rename. Where that fails because the file system
//! is full or a quota is used up (ENOSPC, EDQUOT), the file that is there is
//! overwritten: its blocks are its own. `status` has one size, is written by
//! one `pwrite` and lies within one page, so that a reader sees the old record
//! or the new one; `stat`, `pid` and `why` change their length, and a reader
//! may see a part of one in this state.
//!
//! Where `status` cannot be written at all (no such file yet, a copy-on-write
//! file system, one that has become read-only), `ok` and the files move to the
//! run directory, where [`place`] has `sv` look for them. The lock is held in
//! both, and `control` stays: that takes bytes whatever the medium is like.
//! They do not move back before the slot ends.

use core::ffi::CStr;

use crate::{
    config,
    sys::{
        AsFd, At, CWD, Errno, Fd,
        file::{self, Kind},
        rundir,
        secure::{
            self,
            Ends::{Both, Reader},
        },
    },
    wire::status::{self, Status},
};

/// Something that a service directory did not let us do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The verb: `open`, `lock`, `rename` ...
    pub verb: &'static str,
    /// What it was done to, from the service directory.
    pub path: &'static CStr,
    /// Why it failed.
    pub errno: Errno,
}

impl Failure {
    /// Returns whether the file system takes no new file or no new content,
    /// now or for good.
    pub(super) fn is_unwritable(self) -> bool {
        [Errno::ENOSPC, Errno::EDQUOT, Errno::EROFS].contains(&self.errno)
    }
}

/// Makes a `Trouble` of an errno.
pub(super) fn failure(
    verb: &'static str,
    path: &'static CStr,
) -> impl Fn(Errno) -> Failure {
    move |errno| Failure { verb, path, errno }
}

/// The names in a supervise directory, from the service directory.
#[derive(Debug)]
pub(super) struct FileNames {
    pub(super) dir: &'static CStr,
    lock: &'static CStr,
    pub(super) control: &'static CStr,
    pub(super) ok: &'static CStr,
    status: [&'static CStr; 2],
    stat: [&'static CStr; 2],
    pid: [&'static CStr; 2],
}

/// The names for the service.
pub(super) const SERVICE: FileNames = FileNames {
    dir: c"supervise",
    lock: c"supervise/lock",
    control: c"supervise/control",
    ok: c"supervise/ok",
    status: [c"supervise/status", c"supervise/status.new"],
    stat: [c"supervise/stat", c"supervise/stat.new"],
    pid: [c"supervise/pid", c"supervise/pid.new"],
};

/// The lock of the log service.
pub(super) const LOG_LOCK: &CStr = c"log/supervise/lock";

/// The names for the log service.
pub(super) const LOG: FileNames = FileNames {
    dir: c"log/supervise",
    lock: LOG_LOCK,
    control: c"log/supervise/control",
    ok: c"log/supervise/ok",
    status: [c"log/supervise/status", c"log/supervise/status.new"],
    stat: [c"log/supervise/stat", c"log/supervise/stat.new"],
    pid: [c"log/supervise/pid", c"log/supervise/pid.new"],
};

/// The FIFO between service and log service. It has a name, so that a
/// supervisor that takes over can open the same one.
pub(super) const PIPE: &CStr = c"supervise/log";

/// What one supervise directory holds: four descriptors with the lock, three
/// of them FIFO ends; two more in the run directory.
#[derive(Debug)]
pub(super) struct SuperviseDir {
    /// The lock is held as long as this is open.
    pub(super) lock: Fd,
    /// The same for the run directory's lock, or for the one where it belongs,
    /// when some of it is there and some here; or for the one that is hidden,
    /// and may come back.
    other_lock: Option<Fd>,
    /// Both a reader and a writer, so that it never shows its end.
    pub(super) control: Fd,
    /// Never read: that it is open says that a supervisor lives. Opened when
    /// its files are written for the first time.
    ok: Option<Fd>,
    /// Its `ok` had to be made: no files are there yet.
    created: bool,
    /// Where the supervise directory is, when it is not where it belongs.
    place: Option<Fd>,
    /// The content of `status`.
    last: Option<Status>,
    /// `pid` or `stat` could not be written last time.
    texts_stale: bool,
}

impl SuperviseDir {
    /// `Err` for what was opened there and has no name any more: it was
    /// removed, or something else put in its place. It costs no look at a
    /// path, so that every publication asks.
    pub(super) fn check_present(
        &self,
        names: &'static FileNames,
    ) -> Result<(), Failure> {
        let fifo = (&self.control, names.control);
        let ok = self.ok.as_ref().map(|ok| (ok, names.ok));
        for (file, path) in [Some((&self.lock, names.lock)), Some(fifo), ok]
            .into_iter()
            .flatten()
        {
            if file::is_removed(file.as_fd()) {
                return Err(failure(KEEP, path)(Errno::ENOENT));
            }
        }
        Ok(())
    }

    /// Takes anew what is not kept; `at` is the service directory, `base` the
    /// directory that `supervise` belongs to. A file in the place of a FIFO
    /// is removed: the lock makes that place ours.
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
            let Lock { lock, place, .. } = Lock::take(at, base, names)?;
            self.lock = lock;
            self.other_lock = None;
            self.place = place;
        }
        let (at, names) = location(self.place.as_ref(), at, names);
        if file::is_removed(self.control.as_fd()) {
            remove_regular(at, names.control)?;
            self.control = open_fifo(at, names.control)?;
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
        // Whatever else went with it.
        self.last = None;
        Ok(())
    }

    /// Returns whether its path leads elsewhere, or nowhere, though it is still
    /// there: a mount hides it, or it was moved.
    pub(super) fn is_hidden(
        &self,
        at: At<'_>,
        base: At<'_>,
        names: &'static FileNames,
    ) -> bool {
        let leads = match &self.place {
            Some(place) => rundir::path(base, b"")
                .is_ok_and(|path| leads_to(CWD, path.as_c_str(), place)),
            None => leads_to(at, names.lock, &self.lock),
        };
        !leads && !file::is_removed(self.lock.as_fd())
    }

    /// Makes and opens anew, where its path leads now, what is hidden.
    fn reopen(
        &mut self,
        at: At<'_>,
        base: At<'_>,
        names: &'static FileNames,
    ) -> Result<(), Failure> {
        if self.place.is_some() && leads_to(at, names.lock, &self.lock) {
            // Only what had moved to the run directory.
            self.place = None;
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

    /// Returns whether no file has ever been published here.
    pub(super) fn is_fresh(&self) -> bool {
        self.created
    }

    /// Returns the directory that `supervise` is in, if that is not where it
    /// belongs.
    pub(super) fn place(&self) -> Option<At<'_>> {
        self.place.as_ref().map(AsFd::as_fd)
    }

    /// Releases the locks for every copy of their descriptors.
    pub(super) fn unlock(&self) {
        for lock in self.other_lock.iter().chain([&self.lock]) {
            file::unlock(lock.as_fd());
        }
    }

    /// Writes what has changed of `pid`, `stat` and `status`; `dir` is the
    /// service directory. Each is tried, whatever comes of the others; the
    /// first failure is returned.
    pub(super) fn publish(
        &mut self,
        dir: At<'_>,
        names: &'static FileNames,
        status: &Status,
    ) -> Result<(), Failure> {
        if self.is_published(status) && !self.texts_stale {
            return Ok(());
        }
        let (at, names) = location(self.place.as_ref(), dir, names);
        let last = self.last.filter(|_| !self.texts_stale);
        let texts = write_texts(at, names, last.as_ref(), status);
        let record = write_record(at, names, status);
        self.last = record.is_ok().then_some(*status);
        self.texts_stale = texts.is_err();
        if self.ok.is_none() {
            // After the files: a reader that finds a supervisor trusts them.
            // Without them it still takes commands.
            self.ok = Some(open_ok(at, names)?);
        }
        texts.and(record)
    }

    /// Returns whether `status` has this content.
    pub(super) fn is_published(&self, status: &Status) -> bool {
        self.last.as_ref() == Some(status)
    }

    /// Moves `ok` and the files to the run directory. `base` is the directory
    /// that `supervise` belongs to. On a failure nothing has changed.
    pub(super) fn relocate(
        &mut self,
        base: At<'_>,
        status: &Status,
    ) -> Result<(), Failure> {
        let (lock, place) = lock_in_run_dir(base)?;
        let at = place.as_fd();
        fifo(at, SERVICE.ok)?;
        write_record(at, &SERVICE, status)?;
        // The old one is closed after this: at no time there is none.
        self.ok = Some(open_ok(at, &SERVICE)?);
        self.other_lock = Some(lock);
        self.place = Some(place);
        self.last = None;
        Ok(())
    }
}

/// Returns whether `path` leads to an open file.
fn leads_to(at: At<'_>, path: &CStr, file: &Fd) -> bool {
    let open = file::info_of(file.as_fd()).map(|info| info.identity);
    open.is_ok() && file::info(at, path).map(|info| info.identity) == open
}

/// Makes room for a FIFO: a file that is none goes.
fn remove_regular(at: At<'_>, path: &'static CStr) -> Result<(), Failure> {
    let file = file::info_of_link(at, path)
        .is_ok_and(|info| matches!(info.kind, Kind::Regular | Kind::Link));
    if file {
        file::remove(at, path).map_err(failure("remove", path))?;
    }
    Ok(())
}

/// Where a supervise directory is, and its names from there: in the service
/// directory, or in a place of its own.
fn location<'p>(
    place: Option<&'p Fd>,
    dir: At<'p>,
    names: &'static FileNames,
) -> (At<'p>, &'static FileNames) {
    place.map_or((dir, names), |place| (place.as_fd(), &SERVICE))
}

/// Writes what differs between two states in `pid` and `stat`: by rename, but
/// for a `pid` that is or becomes empty, which no reader can see half of and
/// which costs no new file that way.
///
/// A board may leave both out: `status-files = "binary"`.
fn write_texts(
    at: At<'_>,
    names: &FileNames,
    last: Option<&Status>,
    status: &Status,
) -> Result<(), Failure> {
    if !config::STATUS_TEXTS {
        return Ok(());
    }
    let mut written = Ok(());
    let old = last.map(|last| last.pid);
    if old != Some(status.pid) {
        let text = status::pid(status.pid);
        let [path, _] = names.pid;
        let near = status.pid == 0 || old == Some(0);
        if !near || file::fill(at, path, &text).is_err() {
            written = replace(at, names.pid, &text);
        }
    }
    let stat = status::stat(status);
    if last.map(status::stat).as_ref() != Some(&stat) {
        written = written.and(replace(at, names.stat, &stat));
    }
    written
}

/// Writes the record, and has those that watch the directory for it notice.
fn write_record(
    at: At<'_>,
    names: &FileNames,
    status: &Status,
) -> Result<(), Failure> {
    let [path, new] = names.status;
    let record = status::pack(status);
    let Err(failed) = file::replace(at, path, new, &record) else {
        return Ok(());
    };
    overwrite(at, names.status, &record, failed)?;
    // `sv` waits for a renamed file or for a reader of `ok` that closes it.
    let _told = open_ok(at, names).is_ok();
    Ok(())
}

/// Replaces a file by its `.new` one, or overwrites it on a full file system.
pub(super) fn replace(
    at: At<'_>,
    paths: [&'static CStr; 2],
    content: &[u8],
) -> Result<(), Failure> {
    let [path, new] = paths;
    let replaced = file::replace(at, path, new, content);
    replaced.or_else(|failed| overwrite(at, paths, content, failed))
}

/// Overwrites a file that could not be replaced, if that can help; else
/// returns why it could not be.
fn overwrite(
    at: At<'_>,
    [path, new]: [&'static CStr; 2],
    content: &[u8],
    failed: file::Replace,
) -> Result<(), Failure> {
    let failed = failure(failed.verb, new)(failed.errno);
    if failed.is_unwritable() && file::overwrite(at, path, content).is_ok() {
        return Ok(());
    }
    Err(failed)
}

/// A lock that was taken, and where the rest of its supervise directory is.
pub(super) struct Lock {
    lock: Fd,
    names: &'static FileNames,
    place: Option<Fd>,
}

impl Lock {
    /// Takes the lock as [`lock`] does; where nothing can be written or made,
    /// that of the run directory's place for `base`, the directory that
    /// `supervise` belongs to.
    ///
    /// EAGAIN when another supervisor has either of the two: it may have begun
    /// while nothing could be written here.
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
                place: None,
            }),
        }
    }

    /// Takes the lock in the run directory.
    fn in_run_dir(base: At<'_>) -> Result<Self, Failure> {
        let (lock, place) = lock_in_run_dir(base)?;
        Ok(Self {
            lock,
            names: &SERVICE,
            place: Some(place),
        })
    }

    /// Opens the rest, in the run directory if it cannot be made here; `at` is
    /// the service directory. With `piped` the log pipe is made too.
    pub(super) fn open_supervise_dir(
        self,
        at: At<'_>,
        base: At<'_>,
        piped: bool,
    ) -> Result<SuperviseDir, Failure> {
        let place = self.place.as_ref().map_or(at, AsFd::as_fd);
        let ends = open_ends(place, self.names, piped);
        if !config::STATUS_TEXTS {
            // Left by a build that writes them: nothing would update them.
            for [path, _] in [self.names.stat, self.names.pid] {
                let _none = file::remove(place, path).is_err();
            }
        }
        let (control, fresh) = match ends {
            Err(failed) if self.place.is_none() && failed.is_unwritable() => {
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
            control,
            ok: None,
            created: fresh,
            place: self.place,
            last: None,
            texts_stale: false,
        })
    }
}

/// Makes the run directory's place for `base` and takes the lock there.
fn lock_in_run_dir(base: At<'_>) -> Result<(Fd, Fd), Failure> {
    let place = rundir::create(base, b"")
        .map_err(failure(CREATE, rundir::run_dir()))?;
    let at = place.as_fd();
    Ok((lock(at, at, &SERVICE)?, place))
}

/// Returns whether a supervisor has the lock of the place of `base` in the run
/// directory.
fn is_locked_in_run_dir(base: At<'_>) -> bool {
    let lock = rundir::find(base, b"")
        .and_then(|place| secure::read(place.as_fd(), SERVICE.lock));
    lock.is_ok_and(|lock| file::lock_now(lock.as_fd()) == Err(Errno::EAGAIN))
}

/// What cannot be done where a supervise directory is missing and nothing can
/// be made.
const CREATE: &str = "create";

/// Makes the supervise directory, which may be a link to one that is still
/// missing, and takes its lock; `base` is where such a link starts from.
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
                    // What fails here shows when the lock is opened.
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

/// Opens the control FIFO of the supervise directory at `at`, makes `ok` and,
/// if it is `piped`, the log pipe. The flag says that `ok` had to be made.
pub(super) fn open_ends(
    at: At<'_>,
    names: &FileNames,
    piped: bool,
) -> Result<(Fd, bool), Failure> {
    if piped {
        make_pipe(at)?;
    }
    Ok((open_fifo(at, names.control)?, fifo(at, names.ok)?))
}

/// Makes the log pipe of the supervise directory at `at`.
pub(super) fn make_pipe(at: At<'_>) -> Result<(), Failure> {
    fifo(at, PIPE).map(|_| ())
}

/// Shows that a supervisor lives.
pub(super) fn open_ok(at: At<'_>, names: &FileNames) -> Result<Fd, Failure> {
    secure::fifo(at, names.ok, Reader).map_err(failure("open", names.ok))
}

/// Opens a FIFO, made when missing, so that it never shows its end and takes
/// what it is written without a reader.
pub(super) fn open_fifo(
    at: At<'_>,
    path: &'static CStr,
) -> Result<Fd, Failure> {
    fifo(at, path)?;
    secure::fifo(at, path, Both).map_err(failure("open", path))
}

/// The verb for a name that must be a FIFO's and is not.
pub(super) const USE_AS_FIFO: &str = "use as a fifo";

/// The verb for a name that what it stood for does not have any more.
pub(super) const KEEP: &str = "keep";

/// Makes sure that `path` is a FIFO; true when it had to be made.
fn fifo(at: At<'_>, path: &'static CStr) -> Result<bool, Failure> {
    match file::make_fifo(at, path, 0o600) {
        Ok(()) => Ok(true),
        Err(errno) => match file::info_of_link(at, path) {
            Ok(info) if info.kind == Kind::Fifo => Ok(false),
            Ok(_) => Err(failure(USE_AS_FIFO, path)(Errno::EEXIST)),
            Err(_) => Err(failure("create", path)(errno)),
        },
    }
}
