//! Runs one supervisor with its services: creates the directories, starts it,
//! receives stamps, stops it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read as _,
    os::{fd::OwnedFd, unix::fs::symlink},
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, SystemTime},
};

use anyhow::{Context as _, Result, bail};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{FileType, Mode, OFlags},
    process::{Pid, PidfdFlags, Signal, pidfd_open},
};

use super::{
    contender::{Contender, Kind},
    process::{self, now},
};

/// Time limit for anything that is waited for, in nanoseconds.
const PATIENCE: u64 = 30_000_000_000;

/// The last record of a service: its process and a time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stamp {
    /// The process ID.
    pub pid: process::Pid,
    /// The time of its first instruction, or of its answer to USR1.
    pub at: u64,
}

/// A supervisor with its services.
pub struct Tree<'a> {
    /// The supervisor.
    pub contender: &'a Contender,
    base: PathBuf,
    /// The service directories.
    pub dirs: Vec<PathBuf>,
    /// The number of the last of them.
    newest: u32,
    /// The file that the services execute.
    service: PathBuf,
    fifo: File,
    /// Keeps a writer on the FIFO, so that it never reports end of file.
    _writer: OwnedFd,
    /// The last stamp of each service.
    pub last: BTreeMap<u32, Stamp>,
    root: Child,
    /// Every process of the tree that was ever seen.
    seen: Vec<process::Pid>,
    /// The time at which it was started.
    pub began: u64,
}

impl<'a> Tree<'a> {
    /// Creates all files in `base` and starts the supervisor.
    pub fn start(
        contender: &'a Contender,
        base: PathBuf,
        floor: &Path,
    ) -> Result<Self> {
        let scan = base.join("scan");
        fs::create_dir_all(&scan)?;
        // A separate file distinguishes the services from a floor.
        let service = base.join("service");
        fs::copy(floor, &service)?;
        let pipe = base.join("fifo");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            FileType::Fifo,
            Mode::from_raw_mode(0o600),
            0,
        )?;
        let open = |flags| {
            let flags = flags | OFlags::NONBLOCK | OFlags::CLOEXEC;
            rustix::fs::open(&pipe, flags, Mode::empty())
        };
        let fifo = File::from(open(OFlags::RDONLY)?);
        let writer = open(OFlags::WRONLY)?;
        let mut dirs = Vec::new();
        for id in 0..contender.services {
            let dir = lay_out(&base, id, contender)?;
            let name = dir.file_name().context("no name")?;
            symlink(&dir, scan.join(name))?;
            dirs.push(dir);
        }
        age(&scan)?;
        let mut command = contender.supervisor(&scan, &dirs);
        let began = now();
        let root = command
            .spawn()
            .with_context(|| format!("cannot start {}", contender.name))?;
        Ok(Self {
            contender,
            base,
            newest: (dirs.len() as u32).saturating_sub(1),
            dirs,
            service,
            fifo,
            _writer: writer,
            last: BTreeMap::new(),
            seen: vec![root.id()],
            root,
            began,
        })
    }

    /// Returns the services directory.
    pub fn scan(&self) -> PathBuf {
        self.base.join("scan")
    }

    /// Reads the stamps that have arrived.
    fn read(&mut self) {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = self.fifo.read(&mut buffer) {
            for record in buffer[..count].chunks_exact(16) {
                let (who, when) = record.split_at(8);
                let word = |bytes: &[u8]| {
                    bytes
                        .iter()
                        .rev()
                        .fold(0, |n: u64, byte| n << 8 | u64::from(*byte))
                };
                let id = (word(who) & 0xffff_ffff) as u32;
                let pid = (word(who) >> 32) as u32;
                let at = word(when);
                self.last.insert(id, Stamp { pid, at });
            }
        }
    }

    /// Waits until `done`; sleeps until a stamp arrives.
    fn until(
        &mut self,
        what: &str,
        done: impl Fn(&BTreeMap<u32, Stamp>) -> bool,
    ) -> Result<()> {
        let end = now() + PATIENCE;
        loop {
            self.read();
            if done(&self.last) {
                return Ok(());
            }
            let left = end.saturating_sub(now());
            if left == 0 {
                bail!("{}: {what}", self.contender.name);
            }
            let mut rows = [PollFd::new(&self.fifo, PollFlags::IN)];
            poll(&mut rows, Some(&span(left)))?;
        }
    }

    /// Waits until every service runs; returns the nanoseconds from the start
    /// to the first instruction of the last service.
    pub fn wait_up(&mut self) -> Result<u64> {
        let count = self.dirs.len();
        self.until("not all services came up", |last| last.len() >= count)?;
        let last = self.last.values().map(|stamp| stamp.at).max();
        Ok(last.unwrap_or(0).saturating_sub(self.began))
    }

    /// Waits for a stamp of a service that differs from `old`; returns its
    /// time.
    pub fn wait_new(&mut self, id: u32, old: Stamp) -> Result<u64> {
        let is_new = move |last: &BTreeMap<u32, Stamp>| {
            last.get(&id).is_some_and(|stamp| stamp.at > old.at)
        };
        self.until(&format!("service {id} did not come"), is_new)?;
        Ok(self.stamp(id).at)
    }

    /// Returns the last stamp of a service.
    pub fn stamp(&self, id: u32) -> Stamp {
        self.last.get(&id).copied().unwrap_or_default()
    }

    /// Sleeps until every service has run for `millis`.
    pub fn wait_old(&mut self, millis: u64) {
        self.read();
        let youngest = self.last.values().map(|stamp| stamp.at).max();
        let due = youngest.unwrap_or(0) + millis * 1_000_000;
        std::thread::sleep(Duration::from_nanos(due.saturating_sub(now())));
    }

    /// Returns the processes of the supervisor, and those of the services.
    pub fn processes(&mut self) -> (Vec<process::Pid>, Vec<process::Pid>) {
        let all = process::family(&self.seen);
        for pid in &all {
            if !self.seen.contains(pid) {
                self.seen.push(*pid);
            }
        }
        let is_service = |pid: &process::Pid| {
            process::program(*pid).as_ref() == Some(&self.service)
        };
        let (services, supervisors) = all.into_iter().partition(is_service);
        (supervisors, services)
    }

    /// Creates one more service directory, with the next number, and links it.
    /// Returns the time just before that.
    pub fn link(&mut self) -> Result<u64> {
        self.newest += 1;
        let id = self.newest as usize;
        let dir = lay_out(&self.base, id, self.contender)?;
        let link = self.scan().join(dir.file_name().context("no name")?);
        self.dirs.push(dir.clone());
        let began = now();
        symlink(&dir, link)?;
        if let Some(command) = self.contender.added(&self.scan()) {
            self.contender.ask(command)?;
        }
        Ok(began)
    }

    /// Waits until the service that was linked last, at `began`, runs; returns
    /// the nanoseconds that this took.
    pub fn wait_linked(&mut self, began: u64) -> Result<u64> {
        let runs = self.wait_new(self.newest, Stamp::default())?;
        Ok(runs.saturating_sub(began))
    }

    /// Removes the link that was created last; returns the nanoseconds until
    /// the process of its service had ended.
    pub fn unlink(&mut self) -> Result<u64> {
        let id = self.newest;
        let dir = self.dirs.pop().context("no directory")?;
        let pidfd = open_pidfd(self.stamp(id).pid)?;
        self.last.remove(&id);
        let link = self.scan().join(dir.file_name().context("no name")?);
        let began = now();
        fs::remove_file(link)?;
        if let Some(command) = self.contender.removed(&self.scan(), &dir) {
            self.contender.ask(command)?;
        }
        let gone = wait_gone(vec![pidfd])?;
        Ok(gone.saturating_sub(began))
    }

    /// Stops everything in order; returns the nanoseconds until the last
    /// process had ended.
    pub fn stop(mut self) -> Result<u64> {
        let (supervisors, services) = self.processes();
        let all = supervisors.iter().chain(&services);
        let pidfds = all.filter_map(|pid| open_pidfd(*pid).ok()).collect();
        let root = pid(self.root.id())?;
        let began = now();
        self.contender.stop(root, &self.dirs);
        let gone = wait_gone(pidfds)
            .with_context(|| format!("{} did not stop", self.contender.name))?;
        Ok(gone.saturating_sub(began))
    }
}

impl Drop for Tree<'_> {
    /// Ends the remaining processes and removes the directory.
    fn drop(&mut self) {
        for _ in 0..100 {
            let (supervisors, services) = self.processes();
            if supervisors.is_empty() && services.is_empty() {
                break;
            }
            for left in supervisors.into_iter().chain(services) {
                if let Ok(left) = pid(left) {
                    let _ended =
                        rustix::process::kill_process(left, Signal::KILL);
                }
            }
            std::thread::sleep(Duration::from_millis(5));
            let _reaped = self.root.try_wait();
            reap();
        }
        let _left = fs::remove_dir_all(&self.base);
    }
}

/// Reaps the orphans that were reparented to this process.
fn reap() {
    use rustix::process::{WaitOptions, wait};
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
}

/// Creates a complete service directory.
fn lay_out(base: &Path, id: usize, contender: &Contender) -> Result<PathBuf> {
    let dir = base.join("sv").join(format!("s{id:03}"));
    fs::create_dir_all(&dir)?;
    symlink(base.join("service"), dir.join("run"))?;
    symlink(base.join("fifo"), dir.join("stamp"))?;
    symlink(id.to_string(), dir.join("id"))?;
    if contender.kind == Kind::S6 {
        // Without it s6 waits a second before each restart.
        fs::write(dir.join("notification-fd"), "3\n")?;
        symlink("3", dir.join("ready"))?;
    }
    Ok(dir)
}

/// Sets a directory's modification time an hour back: runsvdir scans a recent
/// one later.
fn age(dir: &Path) -> Result<()> {
    let hour = Duration::from_secs(3600);
    File::open(dir)?.set_modified(SystemTime::now() - hour)?;
    Ok(())
}

/// Converts nanoseconds to the kernel's form.
fn span(nanos: u64) -> Timespec {
    Timespec {
        tv_sec: (nanos / 1_000_000_000) as i64,
        tv_nsec: (nanos % 1_000_000_000) as i64,
    }
}

/// Converts a process ID to the kernel's form.
pub fn pid(pid: process::Pid) -> Result<Pid> {
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw);
    number.with_context(|| format!("{pid} is not a process"))
}

/// Returns a descriptor that becomes readable when the process ends.
fn open_pidfd(number: process::Pid) -> Result<OwnedFd> {
    Ok(pidfd_open(pid(number)?, PidfdFlags::empty())?)
}

/// Waits until all processes have ended; returns the time at which the last
/// one had.
fn wait_gone(mut pidfds: Vec<OwnedFd>) -> Result<u64> {
    let end = now() + PATIENCE;
    while !pidfds.is_empty() {
        let left = end.saturating_sub(now());
        if left == 0 {
            bail!("{} processes remain", pidfds.len());
        }
        let rows = pidfds.iter().map(|fd| PollFd::new(fd, PollFlags::IN));
        let mut rows: Vec<PollFd<'_>> = rows.collect();
        poll(&mut rows, Some(&span(left)))?;
        let ended: Vec<bool> =
            rows.iter().map(|row| !row.revents().is_empty()).collect();
        let mut ended = ended.into_iter();
        pidfds.retain(|_| !ended.next().unwrap_or(false));
    }
    Ok(now())
}

/// Runs commands one after the other; returns the nanoseconds from the start
/// of the first to the end of the last.
pub fn time(commands: Vec<Command>) -> Result<u64> {
    let began = now();
    for mut command in commands {
        let status = command.status()?;
        if !status.success() {
            bail!("{} failed ({status})", crate::run::shown(&command));
        }
    }
    Ok(now().saturating_sub(began))
}
