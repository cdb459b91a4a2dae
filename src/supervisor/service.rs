//! What the supervisor holds open for one service directory, and the files
//! it publishes there (contract §1, §2.2).

use core::ffi::CStr;

use crate::{
    machine::slot::{Role, Slot},
    sys::{
        AsFd, At, Errno, Fd, error,
        file::{self, Kind},
        place,
    },
    wire::{
        clock::Wall,
        status::{self, Status},
        why::{self, Death, Waits, Why},
    },
};

/// Something that a service directory did not let us do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The verb: `open`, `lock`, `rename` ...
    pub verb: &'static str,
    /// What it was done to, from the service directory.
    pub path: &'static CStr,
    /// Why it failed.
    pub errno: Errno,
}

/// Makes a `Trouble` of an errno.
pub(super) fn trouble(
    verb: &'static str,
    path: &'static CStr,
) -> impl Fn(Errno) -> Trouble {
    move |errno| Trouble { verb, path, errno }
}

/// The names in a supervise directory, from the service directory.
pub(super) struct Names {
    dir: &'static CStr,
    lock: &'static CStr,
    pub(super) control: &'static CStr,
    pub(super) ok: &'static CStr,
    status: [&'static CStr; 2],
    stat: [&'static CStr; 2],
    pid: [&'static CStr; 2],
}

/// The names for the service.
pub(super) const SERVICE: Names = Names {
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
const LOG: Names = Names {
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

/// How the service ended lately.
const WHY: [&CStr; 2] = [c"supervise/why", c"supervise/why.new"];

/// What one supervise directory holds: four descriptors with the lock, three
/// of them FIFO ends.
#[derive(Debug)]
pub(super) struct Ends {
    /// The lock is held as long as this is open.
    pub(super) lock: Fd,
    /// Both a reader and a writer, so that it never shows its end.
    pub(super) control: Fd,
    /// Never read: that it is open says that a supervisor lives. Opened when
    /// its files are written for the first time.
    ok: Option<Fd>,
    /// Its `ok` had to be made: no files are there yet.
    fresh: bool,
    /// Where the supervise directory is, when it is not where it belongs.
    place: Option<Fd>,
    /// What the files say now.
    last: Option<Status>,
}

impl Ends {
    /// `Err` for what was opened there and has no name any more: it was
    /// removed, or something else put in its place. It costs no look at a
    /// path, so that every publication asks.
    fn kept(&self, names: &'static Names) -> Result<(), Trouble> {
        let fifo = (&self.control, names.control);
        let ok = self.ok.as_ref().map(|ok| (ok, names.ok));
        for (file, path) in [Some((&self.lock, names.lock)), Some(fifo), ok]
            .into_iter()
            .flatten()
        {
            if file::is_removed(file.as_fd()) {
                return Err(trouble(KEEP, path)(Errno::ENOENT));
            }
        }
        Ok(())
    }

    /// Takes anew what is not kept; `at` is the service directory, `base` the
    /// directory that `supervise` belongs to. A file in the place of a FIFO
    /// is removed: the lock makes that place ours.
    fn renew(
        &mut self,
        at: At<'_>,
        base: At<'_>,
        names: &'static Names,
    ) -> Result<(), Trouble> {
        if file::is_removed(self.lock.as_fd()) {
            let Lock { lock, place, .. } = Lock::take(at, base, names)?;
            self.lock = lock;
            self.place = place;
        }
        let (at, names) = way(self.place.as_ref(), at, names);
        if file::is_removed(self.control.as_fd()) {
            clear(at, names.control)?;
            self.control = both(at, names.control)?;
        }
        if self
            .ok
            .as_ref()
            .is_some_and(|ok| file::is_removed(ok.as_fd()))
        {
            clear(at, names.ok)?;
            fifo(at, names.ok)?;
            self.ok = Some(open_ok(at, names)?);
        }
        // Whatever else went with it.
        self.last = None;
        Ok(())
    }
}

/// Makes room for a FIFO: a file that is none goes.
fn clear(at: At<'_>, path: &'static CStr) -> Result<(), Trouble> {
    let file = file::info(at, path).is_ok_and(|i| i.kind == Kind::Regular);
    if file {
        file::remove(at, path).map_err(trouble("remove", path))?;
    }
    Ok(())
}

/// Where a supervise directory is, and its names from there: in the service
/// directory, or in a place of its own.
fn way<'p>(
    place: Option<&'p Fd>,
    dir: At<'p>,
    names: &'static Names,
) -> (At<'p>, &'static Names) {
    place.map_or((dir, names), |place| (place.as_fd(), &SERVICE))
}

/// Both ends of the log pipe.
#[derive(Debug)]
struct Pipe {
    read: Fd,
    write: Fd,
}

/// Everything that is open for a service directory.
#[derive(Debug)]
pub(super) struct Service {
    dir: Fd,
    service: Ends,
    log: Option<Ends>,
    pipe: Option<Pipe>,
}

/// What a service directory says at the start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wishes {
    /// There is a file `down`.
    pub(super) down: bool,
    /// There is a directory `log`, or a log ring; whether that directory has
    /// a file `down`.
    pub(super) log_down: Option<bool>,
}

impl Service {
    /// Takes a service directory over: locks it, makes its FIFOs.
    ///
    /// `warn` is told what is odd but no reason to give up, and its cause.
    pub(super) fn take(
        dir: Fd,
        warn: &dyn Fn(&str, &str),
    ) -> Result<(Self, Wishes), Trouble> {
        let at = dir.as_fd();
        let has_log = match file::info(at, c"log") {
            Ok(info) if info.kind == Kind::Directory => true,
            Ok(_) => {
                warn("./log: not a directory.", "");
                false
            }
            Err(Errno::ENOENT) => false,
            Err(errno) => {
                warn("unable to stat ./log: ", error::text(errno));
                false
            }
        };
        let ring = !has_log
            && place::ring_bytes(at).unwrap_or_else(|| {
                warn("./runt/log-ring: not a number of bytes.", "");
                0
            }) > 0;
        let lock = Lock::take(at, at, &SERVICE)?;
        let log = has_log.then(|| log_ends(at)).transpose()?;
        let service = lock.ends(at)?;
        let base = service.place.as_ref().map_or(at, AsFd::as_fd);
        let logs = has_log || ring;
        let pipe = logs.then(|| pipe(base)).transpose()?;
        let wishes = Wishes {
            down: file::info(at, c"down").is_ok(),
            log_down: logs.then(|| file::info(at, c"log/down").is_ok()),
        };
        Ok((
            Self {
                dir,
                service,
                log,
                pipe,
            },
            wishes,
        ))
    }

    /// Whether files of it have never been written.
    pub(super) fn is_fresh(&self) -> bool {
        self.service.fresh || self.log.as_ref().is_some_and(|log| log.fresh)
    }

    /// Whether its log is a directory, and not a ring.
    pub(super) fn has_log_dir(&self) -> bool {
        self.log.is_some()
    }

    /// Takes anew what somebody has removed or replaced of the supervise
    /// directories. The log pipe stays what it is, with or without a name: its
    /// children have it open.
    pub(super) fn renew(&mut self) -> Result<(), Trouble> {
        let at = self.dir.as_fd();
        self.service.renew(at, at, &SERVICE)?;
        if let Some(log) = &mut self.log {
            log.renew(at, log_dir(at)?.as_fd(), &LOG)?;
        }
        Ok(())
    }

    /// Lets go of the locks, so that who comes next has them at once: a child
    /// that was started just now may still have them open.
    pub(super) fn unlock(&self) {
        for ends in self.log.iter().chain([&self.service]) {
            file::unlock(ends.lock.as_fd());
        }
    }

    /// The service directory.
    pub(super) fn dir(&self) -> At<'_> {
        self.dir.as_fd()
    }

    /// The directory that `supervise` is in.
    fn base(&self) -> At<'_> {
        self.service.place.as_ref().map_or(self.dir(), AsFd::as_fd)
    }

    /// The control FIFO of a role.
    pub(super) fn control(&self, role: Role) -> Option<At<'_>> {
        let ends = match role {
            Role::Service => Some(&self.service),
            Role::Log => self.log.as_ref(),
            Role::Script => None,
        };
        Some(ends?.control.as_fd())
    }

    /// The end of the log pipe that a role's process gets.
    pub(super) fn pipe(&self, role: Role) -> Option<At<'_>> {
        let pipe = self.pipe.as_ref()?;
        Some(match role {
            Role::Service | Role::Script => pipe.write.as_fd(),
            Role::Log => pipe.read.as_fd(),
        })
    }

    /// Closes the end of the pipe that is written to: the log service then
    /// sees the end of its input. What is in it stays for the next one, should
    /// it be killed.
    pub(super) fn close_pipe(&mut self) {
        if let Some(pipe) = &mut self.pipe {
            pipe.write = Fd::none();
        }
    }

    /// Whether there is a `finish` now: it can be read (contract §2.1).
    pub(super) fn has_finish(&self) -> bool {
        file::is_readable(self.dir(), c"finish")
    }

    /// Whether there is a script at `path`: its owner may run it.
    pub(super) fn has_script(&self, path: &CStr) -> Result<bool, Errno> {
        match file::info(self.dir(), path) {
            Ok(info) => Ok(info.mode & 0o100 != 0),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Writes what has changed of `pid`, `stat` and `status` of the service and
    /// of its log service: by rename, but for a `pid` that is or becomes empty.
    /// `Err` too when something beside them is not there any more.
    ///
    /// When `pid` cannot be written the others are left alone this time
    /// (contract §1).
    pub(super) fn publish(&mut self, slot: &Slot) -> Result<(), Trouble> {
        let mut written = Ok(());
        for role in [Role::Service, Role::Log] {
            if let Some(status) = slot.status(role) {
                written = written.and(self.publish_one(role, &status));
            }
        }
        let log = self.log.as_ref();
        written = written.and_then(|()| self.service.kept(&SERVICE));
        written.and_then(|()| log.map_or(Ok(()), |log| log.kept(&LOG)))
    }

    /// Writes what has changed of one of the two.
    fn publish_one(
        &mut self,
        role: Role,
        status: &Status,
    ) -> Result<(), Trouble> {
        let (ends, names) = match (role, &mut self.log) {
            (Role::Service, _) => (&mut self.service, &SERVICE),
            (Role::Log, Some(log)) => (log, &LOG),
            (Role::Log | Role::Script, _) => return Ok(()),
        };
        let last = ends.last.as_ref();
        if last == Some(status) {
            return Ok(());
        }
        let (at, names) = way(ends.place.as_ref(), self.dir.as_fd(), names);
        let written = write_status(at, names, last, status);
        if ends.ok.is_none() {
            // Behind the files: who sees a supervisor believes them. Without
            // them, on a full medium, it still takes commands.
            ends.ok = Some(open_ok(at, names)?);
        }
        written?;
        ends.last = Some(*status);
        Ok(())
    }

    /// Adds to the record of how the service ended lately, which the file
    /// itself remembers: how it ended now and whether that counts as a restart,
    /// and what it waits for.
    pub(super) fn tell_why(
        &self,
        death: Option<(Death, bool)>,
        waits: Waits,
        until: Option<Wall>,
    ) -> Result<(), Trouble> {
        // One that is missing or damaged is begun anew.
        let mut why = self.why().unwrap_or_default();
        if let Some((death, again)) = death {
            why.restarts = why.restarts.saturating_add(again.into());
            why.died(death);
        }
        why.waits = waits;
        why.until = until;
        replace(self.base(), WHY, &why::pack(&why))
    }

    /// Has the moments in that record keep their age when the wall clock was
    /// set, and so have another name.
    pub(super) fn restamp_why(
        &self,
        renamed: &dyn Fn(Wall) -> Wall,
    ) -> Result<(), Trouble> {
        let Some(mut why) = self.why() else {
            return Ok(());
        };
        if why.restamp(renamed) {
            replace(self.base(), WHY, &why::pack(&why))?;
        }
        Ok(())
    }

    /// What that record says, if it is there and whole.
    fn why(&self) -> Option<Why> {
        let [path, _] = WHY;
        let mut buffer = [0; why::BYTES];
        let record = file::read_whole(self.base(), path, &mut buffer).ok()?;
        why::unpack(record)
    }
}

/// Writes what differs between two states: by rename, but for what nobody can
/// see half of, which takes no new file then, most of the cost. That is a `pid`
/// that is or becomes empty.
fn write_status(
    at: At<'_>,
    names: &Names,
    last: Option<&Status>,
    status: &Status,
) -> Result<(), Trouble> {
    let old = last.map(|last| last.pid);
    if old != Some(status.pid) {
        let text = status::pid(status.pid);
        let [path, _] = names.pid;
        let near = status.pid == 0 || old == Some(0);
        if !near || file::fill(at, path, &text).is_err() {
            replace(at, names.pid, &text)?;
        }
    }
    let stat = status::stat(status);
    if last.map(status::stat).as_ref() != Some(&stat) {
        replace(at, names.stat, &stat)?;
    }
    replace(at, names.status, &status::pack(status))
}

/// Replaces a file by its `.new` one.
fn replace(
    at: At<'_>,
    [path, new]: [&'static CStr; 2],
    content: &[u8],
) -> Result<(), Trouble> {
    file::replace(at, path, new, content)
        .map_err(|failed| trouble(failed.verb, new)(failed.errno))
}

/// A lock that was taken, and where the rest of its supervise directory is.
struct Lock {
    lock: Fd,
    names: &'static Names,
    place: Option<Fd>,
}

impl Lock {
    /// As `lock`; where nothing can be written, or made, the supervise
    /// directory is kept in the place of `base`, the directory that it
    /// belongs to.
    fn take(
        at: At<'_>,
        base: At<'_>,
        names: &'static Names,
    ) -> Result<Self, Trouble> {
        let (lock, names, place) = match lock(at, base, names) {
            Err(Trouble { verb, errno, .. })
                if errno == Errno::EROFS
                    || errno == Errno::EACCES && verb == CREATE =>
            {
                let place = place::make(base, b"")
                    .map_err(trouble(CREATE, place::run_dir()))?;
                let lock = lock(place.as_fd(), place.as_fd(), &SERVICE)?;
                (lock, &SERVICE, Some(place))
            }
            lock => (lock?, names, None),
        };
        Ok(Self { lock, names, place })
    }

    /// Opens the rest; `at` is the service directory.
    fn ends(self, at: At<'_>) -> Result<Ends, Trouble> {
        ends(at, self.lock, self.names, self.place)
    }
}

/// Takes and opens what the log service has.
fn log_ends(at: At<'_>) -> Result<Ends, Trouble> {
    Lock::take(at, log_dir(at)?.as_fd(), &LOG)?.ends(at)
}

/// Opens the directory of the log service.
fn log_dir(at: At<'_>) -> Result<Fd, Trouble> {
    file::open_dir(at, c"log").map_err(trouble("open", c"log"))
}

/// What cannot be done where a supervise directory is missing and nothing can
/// be made.
const CREATE: &str = "create";

/// Makes the supervise directory, which may be a link to one that is still
/// missing, and takes its lock; `base` is where such a link starts from.
pub(super) fn lock(
    at: At<'_>,
    base: At<'_>,
    names: &Names,
) -> Result<Fd, Trouble> {
    let open = || file::open_append(at, names.lock);
    let opened = match open() {
        Err(Errno::ENOENT) => {
            match file::make_dir(at, names.dir, 0o700) {
                Ok(()) => {}
                Err(Errno::EEXIST) => {
                    // What fails here shows when the lock is opened.
                    let _shows =
                        file::make_target(at, base, names.dir, 0o700).is_err();
                }
                Err(errno) => return Err(trouble(CREATE, names.dir)(errno)),
            }
            open()
        }
        opened => opened,
    };
    let lock = opened.map_err(trouble("open", names.lock))?;
    file::lock_now(lock.as_fd()).map_err(trouble("lock", names.lock))?;
    Ok(lock)
}

/// Opens the control FIFO of a supervise directory and makes `ok`. The
/// directory is in `place` if there is one, else where `names` has it from
/// `at` on.
pub(super) fn ends(
    at: At<'_>,
    lock: Fd,
    names: &Names,
    place: Option<Fd>,
) -> Result<Ends, Trouble> {
    let at = place.as_ref().map_or(at, AsFd::as_fd);
    let control = both(at, names.control)?;
    let fresh = fifo(at, names.ok)?;
    Ok(Ends {
        lock,
        control,
        ok: None,
        fresh,
        place,
        last: None,
    })
}

/// Shows that a supervisor lives.
pub(super) fn open_ok(at: At<'_>, names: &Names) -> Result<Fd, Trouble> {
    file::open_read(at, names.ok).map_err(trouble("open", names.ok))
}

/// Opens both ends of the log pipe, each as its process wants it.
fn pipe(at: At<'_>) -> Result<Pipe, Trouble> {
    let open = trouble("open", PIPE);
    fifo(at, PIPE)?;
    let read = file::open_read(at, PIPE).map_err(&open)?;
    let write = file::open_write(at, PIPE).map_err(&open)?;
    // By its name nobody else reaches it there.
    let dir = file::info(at, SERVICE.dir);
    if dir.is_ok_and(|dir| dir.mode & 0o011 == 0) {
        super::spawn::let_services_open(write.as_fd());
    }
    for end in [&read, &write] {
        file::set_blocking(end.as_fd(), true)
            .map_err(trouble("set up", PIPE))?;
    }
    Ok(Pipe { read, write })
}

/// Opens a FIFO, made when missing, so that it never shows its end and takes
/// what it is written without a reader.
pub(super) fn both(at: At<'_>, path: &'static CStr) -> Result<Fd, Trouble> {
    fifo(at, path)?;
    file::open_both(at, path).map_err(trouble("open", path))
}

/// The verb for a name that must be a FIFO's and is not.
pub(super) const USE_AS_FIFO: &str = "use as a fifo";

/// The verb for a name that what it stood for does not have any more.
pub(super) const KEEP: &str = "keep";

/// Makes sure that `path` is a FIFO; true when it had to be made.
fn fifo(at: At<'_>, path: &'static CStr) -> Result<bool, Trouble> {
    match file::make_fifo(at, path, 0o600) {
        Ok(()) => Ok(true),
        Err(errno) => match file::info(at, path) {
            Ok(info) if info.kind == Kind::Fifo => Ok(false),
            Ok(_) => Err(trouble(USE_AS_FIFO, path)(Errno::EEXIST)),
            Err(_) => Err(trouble("create", path)(errno)),
        },
    }
}
