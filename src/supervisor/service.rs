//! Holds the open files of one service directory, and publishes its files
//! (contract §1, §2.2).

mod inherit;

use core::{ffi::CStr, time::Duration};

use crate::{
    config::family::SHARED_LOGS,
    machine::slot::{Role, SlotState},
    sys::{
        AsFd, At, Errno, Fd, clock, error,
        file::{self, Kind},
        limits,
        poller::Poller,
        secure::{
            self,
            FifoEnds::{Reader, Writer},
        },
    },
    wire::{
        clock::{Instant, Wall},
        status::Status,
        why::{self, Death, Waits, Why},
    },
};

use super::{
    cgroup,
    control::ControlFifo,
    critical::Critical,
    log_ring,
    source::Source,
    supervise::{
        Failure, FileNames, LOG, Lock, PIPE, SERVICE, SuperviseDir, failure,
        make_pipe, replace,
    },
};

/// Record of how the service ended lately, and its temporary name.
const WHY: [&CStr; 2] = [c"supervise/why", c"supervise/why.new"];

/// Both ends of the log pipe.
#[derive(Debug)]
struct Pipe {
    read: Fd,
    write: Fd,
}

/// Open files of a service directory.
#[derive(Debug)]
pub(super) struct Service {
    dir: Fd,
    service: SuperviseDir,
    log: Option<SuperviseDir>,
    pipe: Option<Pipe>,
    /// Set while the directory is taken over: it was just checked for a log.
    log_checked: bool,
    /// `cgroup.procs` of the control group that `./run` joins.
    cgroup: Option<Fd>,
    /// Time at which its file system was last found to be full or read-only.
    unwritable: Option<Instant>,
    /// Set if the published files may be hidden.
    suspect: bool,
    /// Set while the ledger describes these files.
    described: bool,
    /// Flags of what the service directory set at the start.
    flags: u32,
}

/// Time without a failure after which a full or read-only file system is
/// reported again: which of its files find room may change with each
/// publication.
const REPORT_AGAIN: Duration = Duration::from_secs(60);

/// Options that a service directory sets at the start.
#[derive(Clone, Copy, Debug)]
pub(super) struct DirOptions {
    /// Set if there is a file `down`.
    pub(super) down: bool,
    /// `Some` if there is a directory `log` or a log ring; true if there is a
    /// file `log/down`.
    pub(super) log_down: Option<bool>,
    /// Limit on downtime; `None` if the service is not critical.
    pub(super) critical: Option<Critical>,
}

impl Service {
    /// Takes over a service directory: locks it and creates its FIFOs. A log
    /// pipe is opened by [`Service::open_pipe`].
    ///
    /// `warn` gets a message and its cause for everything that is wrong but
    /// does not prevent supervision.
    pub(super) fn open(
        dir: Fd,
        warn: &dyn Fn(&str, &str),
    ) -> Result<(Self, DirOptions), Failure> {
        let at = dir.as_fd();
        let has_log = match file::info(at, c"log") {
            Ok(info) if info.kind == Kind::Directory => true,
            Ok(_) => {
                warn("./log: not a directory.", "");
                false
            }
            Err(Errno::ENOENT) => false,
            Err(errno) if errno.may_pass() => {
                return Err(failure("stat", c"log")(errno));
            }
            Err(errno) => {
                warn("unable to stat ./log: ", error::text(errno));
                false
            }
        };
        let ring = !has_log
            && log_ring::bytes(at).unwrap_or_else(|| {
                warn("./runt/log-ring: not a number of bytes.", "");
                0
            }) > 0;
        if !SHARED_LOGS && file::info(at, c"runt/log-ring").is_ok() {
            warn("./runt/log-ring: not in this build (shared-logs).", "");
        }
        let logs = has_log || ring;
        let lock = Lock::take(at, at, &SERVICE)?;
        let log = has_log.then(|| open_log_supervise(at)).transpose()?;
        let service = lock.open_supervise_dir(at, at, logs)?;
        let options = DirOptions {
            down: exists(at, c"down")?,
            log_down: logs.then(|| exists(at, c"log/down")).transpose()?,
            critical: Critical::of(at),
        };
        let flags = options.flags();
        Ok((
            Self {
                dir,
                service,
                log,
                pipe: None,
                log_checked: true,
                cgroup: None,
                unwritable: None,
                suspect: false,
                described: false,
                flags,
            },
            options,
        ))
    }

    /// Opens both ends of the log pipe, unless they are inherited. Comes after
    /// everything that may refuse the directory: it uses up two low numbers for
    /// good.
    pub(super) fn open_pipe(&mut self) -> Result<(), Failure> {
        if self.pipe.is_none() {
            self.pipe = Some(pipe(self.base())?);
        }
        Ok(())
    }

    /// Takes up a log service that was added since the directory was taken
    /// over: a directory `log`, or a log ring. Returns whether it has a file
    /// `down`, or `None` if nothing was added.
    ///
    /// A `log` that is removed changes nothing: its logger continues.
    pub(super) fn add_log(&mut self) -> Result<Option<bool>, Failure> {
        let at = self.dir.as_fd();
        if self.pipe.is_some() || self.log_checked {
            return Ok(None);
        }
        let log = file::info(at, c"log");
        let has_log = log.is_ok_and(|info| info.kind == Kind::Directory);
        if !has_log && log_ring::bytes(at).unwrap_or(0) == 0 {
            return Ok(None);
        }
        let log = has_log.then(|| open_log_supervise(at)).transpose()?;
        make_pipe(self.base())?;
        self.pipe = Some(pipe(self.base())?);
        self.log = log;
        self.described = false;
        Ok(Some(file::info(at, c"log/down").is_ok()))
    }

    /// Makes [`Service::add_log`] check the directory: some time has passed
    /// since it was taken over.
    pub(super) fn expect_changes(&mut self) {
        self.log_checked = false;
    }

    /// Returns whether its files have never been written.
    pub(super) fn is_new(&self) -> bool {
        self.service.is_fresh()
            || self.log.as_ref().is_some_and(SuperviseDir::is_fresh)
    }

    /// Returns whether its log is a directory, and not a ring.
    pub(super) fn has_log_dir(&self) -> bool {
        self.log.is_some()
    }

    /// Opens again what was removed or replaced in the supervise directories.
    /// The log pipe is kept, with or without a name: its children have it
    /// open.
    pub(super) fn renew(&mut self) -> Result<(), Failure> {
        self.described = false;
        let at = self.dir.as_fd();
        self.service.renew(at, at, &SERVICE)?;
        if let Some(log) = &mut self.log {
            log.renew(at, log_dir(at)?.as_fd(), &LOG)?;
        }
        Ok(())
    }

    /// Makes [`Service::is_hidden`] check the paths. To be called when
    /// something was mounted or an operator asks for it.
    pub(super) fn recheck(&mut self) {
        self.suspect = true;
    }

    /// Returns whether a supervise directory is not where its path leads, if
    /// that is in doubt. It stays in doubt until it is there.
    pub(super) fn is_hidden(&mut self) -> bool {
        let at = self.dir.as_fd();
        self.suspect = self.suspect
            && (self.service.is_hidden(at, at, &SERVICE)
                || self.log.as_ref().is_some_and(|log| {
                    log_dir(at)
                        .is_ok_and(|base| log.is_hidden(at, base.as_fd(), &LOG))
                }));
        self.suspect
    }

    /// Releases the locks, so that the next supervisor can take them at once:
    /// a child that was started just now may still have them open.
    pub(super) fn unlock(&self) {
        for supervise in self.log.iter().chain([&self.service]) {
            supervise.unlock();
        }
    }

    /// Returns the status that an earlier supervisor has published for a role,
    /// and when that was written; `resumed` is set if this process goes on
    /// after a fault.
    pub(super) fn recorded(
        &mut self,
        role: Role,
        resumed: bool,
    ) -> Option<(Status, Wall)> {
        let (dir, supervise, names) = self.supervise_dir(role)?;
        supervise.recorded(dir, names, resumed)
    }

    /// Returns the service directory.
    pub(super) fn dir(&self) -> At<'_> {
        self.dir.as_fd()
    }

    /// Returns the directory that holds `supervise`.
    fn base(&self) -> At<'_> {
        self.service.run_dir().unwrap_or(self.dir())
    }

    /// Returns the control FIFO of a role.
    pub(super) fn control(&mut self, role: Role) -> Option<&mut ControlFifo> {
        let (_, supervise, _) = self.supervise_dir(role)?;
        Some(supervise.control())
    }

    /// Makes the control FIFOs of the slot `index` wake the loop.
    pub(super) fn listen(
        &mut self,
        poller: &Poller,
        index: u16,
    ) -> Result<(), Failure> {
        for role in [Role::Service, Role::Log] {
            if let Some(fifo) = self.control(role) {
                fifo.listen(poller, Source::Control(index, role))
                    .map_err(failure("wait for", c"supervise"))?;
            }
        }
        Ok(())
    }

    /// Sets up the control group that the next `./run` joins, as
    /// [`cgroup::set_up`] does.
    pub(super) fn join_cgroup(
        &mut self,
        name: &[u8],
        report: cgroup::Report<'_>,
    ) {
        self.cgroup = cgroup::set_up(self.dir.as_fd(), name, report);
    }

    /// Returns `cgroup.procs` of the control group that `./run` joins.
    pub(super) fn cgroup(&self) -> Option<At<'_>> {
        self.cgroup.as_ref().map(AsFd::as_fd)
    }

    /// Returns the end of the log pipe that a role's process gets.
    pub(super) fn pipe(&self, role: Role) -> Option<At<'_>> {
        let pipe = self.pipe.as_ref()?;
        Some(match role {
            Role::Service | Role::Script => pipe.write.as_fd(),
            Role::Log => pipe.read.as_fd(),
        })
    }

    /// Closes the write end of the pipe: the log service then reads end of
    /// file. Data in the pipe stays for the next one, should it be killed.
    pub(super) fn close_pipe(&mut self) {
        if let Some(pipe) = &mut self.pipe {
            pipe.write = Fd::none();
            self.described = false;
        }
    }

    /// Returns whether there is a `finish` now: it can be read (contract
    /// §2.1).
    pub(super) fn has_finish(&self) -> bool {
        file::is_readable(self.dir(), c"finish")
    }

    /// Returns whether there is a script at `path`: its owner may execute it.
    pub(super) fn has_script(&self, path: &CStr) -> Result<bool, Errno> {
        match file::info(self.dir(), path) {
            Ok(info) => Ok(info.mode & 0o100 != 0),
            Err(Errno::ENOENT) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Writes those of `pid`, `stat` and `status` that have changed, of the
    /// service and of its log service. Returns the first failure; a lock or
    /// FIFO that no longer exists is one too.
    pub(super) fn publish(&mut self, slot: &SlotState) -> Result<(), Failure> {
        let is_open = self.service.is_open();
        let mut written = Ok(());
        for role in [Role::Service, Role::Log] {
            if let (Some(status), Some((dir, supervise, names))) =
                (slot.status(role), self.supervise_dir(role))
            {
                written = written.and(supervise.publish(dir, names, &status));
            }
        }
        if !is_open {
            // All was opened just now.
            return written;
        }
        let log = self.log.as_ref();
        written = written.and_then(|()| self.service.check_present(&SERVICE));
        written.and_then(|()| log.map_or(Ok(()), |log| log.check_present(&LOG)))
    }

    /// Moves to the run directory each supervise directory whose record could
    /// not be published; returns whether any has moved.
    pub(super) fn relocate(&mut self, slot: &SlotState) -> bool {
        let mut moved = false;
        self.described = false;
        for role in [Role::Service, Role::Log] {
            if let (Some(status), Some((dir, supervise, _))) =
                (slot.status(role), self.supervise_dir(role))
                && supervise.run_dir().is_none()
                && !supervise.is_published(&status)
            {
                let relocated = match role {
                    Role::Log => log_dir(dir).and_then(|log| {
                        supervise.relocate(log.as_fd(), &status)
                    }),
                    Role::Service | Role::Script => {
                        supervise.relocate(dir, &status)
                    }
                };
                moved |= relocated.is_ok();
            }
        }
        moved
    }

    /// Returns the supervise directory of a role, with the service directory
    /// and the names relative to that.
    fn supervise_dir(
        &mut self,
        role: Role,
    ) -> Option<(At<'_>, &mut SuperviseDir, &'static FileNames)> {
        let dir = self.dir.as_fd();
        match role {
            Role::Service => Some((dir, &mut self.service, &SERVICE)),
            Role::Log => Some((dir, self.log.as_mut()?, &LOG)),
            Role::Script => None,
        }
    }

    /// Returns whether a failure to publish is to be reported: for a full or
    /// read-only file system, once as long as that lasts.
    pub(super) fn needs_report(&mut self, failed: Failure) -> bool {
        if !failed.is_unwritable() {
            return true;
        }
        let now = clock::mono();
        let last = self.unwritable.replace(now);
        last.is_none_or(|last| now.since(last) >= REPORT_AGAIN)
    }

    /// Updates the record of how the service ended lately, which the file
    /// itself keeps: adds how it ended now and whether that counts as a
    /// restart, and sets what it waits for.
    pub(super) fn write_why(
        &self,
        death: Option<(Death, bool)>,
        waits: Waits,
        until: Option<Wall>,
    ) -> Result<(), Failure> {
        // A missing or damaged record is replaced by a new one.
        let mut why = self.why().unwrap_or_default();
        if let Some((death, again)) = death {
            why.restarts = why.restarts.saturating_add(again.into());
            why.died(death);
        }
        why.waits = waits;
        why.until = until;
        replace(self.base(), WHY, &why::pack(&why))
    }

    /// Renames the moments in that record after the wall clock was set, so
    /// that they keep their age.
    pub(super) fn restamp_why(
        &self,
        renamed: &dyn Fn(Wall) -> Wall,
    ) -> Result<(), Failure> {
        let Some(mut why) = self.why() else {
            return Ok(());
        };
        if why.restamp(renamed) {
            replace(self.base(), WHY, &why::pack(&why))?;
        }
        Ok(())
    }

    /// Returns that record, if it exists and is intact.
    fn why(&self) -> Option<Why> {
        let [path, _] = WHY;
        let mut buffer = [0; why::BYTES];
        let record = file::read_whole(self.base(), path, &mut buffer).ok()?;
        why::unpack(record)
    }
}

/// Returns whether there is a file. A failure that may pass does not tell.
fn exists(at: At<'_>, path: &'static CStr) -> Result<bool, Failure> {
    match file::info(at, path) {
        Ok(_) => Ok(true),
        Err(errno) if errno.may_pass() => Err(failure("stat", path)(errno)),
        Err(_) => Ok(false),
    }
}

/// Locks and opens the supervise directory of the log service.
fn open_log_supervise(at: At<'_>) -> Result<SuperviseDir, Failure> {
    let log = log_dir(at)?;
    let log = log.as_fd();
    Lock::take(at, log, &LOG)?.open_supervise_dir(at, log, false)
}

/// Opens the directory of the log service.
fn log_dir(at: At<'_>) -> Result<Fd, Failure> {
    file::open_dir(at, c"log").map_err(failure("open", c"log"))
}

/// Opens both ends of the log pipe, which [`Lock::open_supervise_dir`] has
/// created, as the processes need them.
fn pipe(at: At<'_>) -> Result<Pipe, Failure> {
    let open = |end| {
        limits::release_number();
        secure::fifo(at, PIPE, end)
    };
    let read = open(Reader).map_err(failure("open", PIPE))?;
    let write = open(Writer).map_err(failure("open", PIPE))?;
    // No other user can reach it there by its name.
    let dir = file::info(at, SERVICE.dir);
    if dir.is_ok_and(|dir| dir.mode & 0o011 == 0) {
        allow_services_to_open(write.as_fd());
    }
    for end in [&read, &write] {
        file::set_blocking(end.as_fd(), true)
            .map_err(failure("set up", PIPE))?;
    }
    Ok(Pipe { read, write })
}

/// Sets the mode of a pipe that services write to, so that a service of any
/// user can open /dev/stdout and /dev/stderr, which lead to that pipe. If the
/// mode cannot be set, only that does not work.
pub(super) fn allow_services_to_open(pipe: At<'_>) {
    let _refused = file::set_mode_of(pipe, 0o622).is_err();
}
