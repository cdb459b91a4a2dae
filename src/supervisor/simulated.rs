//! Simulates children for the tests of the event loop: they start, end and are
//! refused as a test says, while files, descriptors and time are real.

use std::{
    cell::RefCell,
    fs,
    os::fd::AsRawFd as _,
    string::{String, ToString as _},
    sync::atomic::{AtomicU32, Ordering},
    vec::Vec,
};

use crate::sys::{
    At, Errno,
    child::{ExitStatus, Program, Setup, Zombie},
    signal::{self, Number},
};

mod test;

/// The first simulated pid. The kernel gives no process one above 4194304
/// (PID_MAX_LIMIT).
const FIRST_PID: u32 = 5_000_000;

/// A simulated child.
#[derive(Debug)]
pub(super) struct Child {
    pub(super) pid: u32,
    /// The last part of its service directory's path, then `/log` for a log
    /// service, and the program.
    pub(super) name: String,
    /// Set once it has ended; it stays a zombie until it is reaped.
    end: Option<ExitStatus>,
    /// TERM does not end it.
    ignores_term: bool,
}

/// The simulated system of a thread.
#[derive(Default)]
pub(super) struct System {
    children: Vec<Child>,
    started: usize,
    /// Set while a signal for the end of a child is pending.
    notified: bool,
    /// Number of starts that are refused next.
    pub(super) refusals: usize,
    /// Number of starts that were refused.
    pub(super) refused: usize,
    /// TERM does not end children started from now on.
    pub(super) ignores_term: bool,
    /// Children that end while the loop reaps, after it has read the signal
    /// for those before them.
    pub(super) end_while_reaping: Vec<String>,
}

std::thread_local! {
    static SYSTEM: RefCell<System> = RefCell::default();
}

/// Gives access to the system of this thread.
pub(super) fn with<T>(work: impl FnOnce(&mut System) -> T) -> T {
    SYSTEM.with_borrow_mut(work)
}

impl System {
    /// Returns the number of children started so far.
    pub(super) fn started(&self) -> usize {
        self.started
    }

    /// Returns all children that have not been reaped.
    pub(super) fn children(&self) -> &[Child] {
        &self.children
    }

    /// Returns whether a child has ended and no signal for it is pending.
    pub(super) fn has_unnoticed_zombie(&self) -> bool {
        !self.notified && self.children.iter().any(|c| c.end.is_some())
    }

    /// Returns the pid of the child of this name that is running.
    pub(super) fn running(&self, name: &str) -> Option<u32> {
        let mut children = self.children.iter();
        let found = children.find(|c| c.name == name && c.end.is_none());
        found.map(|child| child.pid)
    }

    /// Ends the running child of this name, and tells its parent.
    pub(super) fn end(&mut self, name: &str, end: ExitStatus) {
        let mut children = self.children.iter_mut();
        let child = children.find(|c| c.name == name && c.end.is_none());
        child.expect("it is running").end = Some(end);
        self.notify();
    }

    /// Ends all children, and tells their parent.
    pub(super) fn end_all(&mut self) {
        for child in &mut self.children {
            child.end = child.end.or(Some(ExitStatus::Exited(0)));
        }
        if !self.children.is_empty() {
            self.notify();
        }
    }

    /// Starts a child.
    fn start(
        &mut self,
        program: &Program<'_>,
        setup: &Setup<'_>,
    ) -> Result<u32, Errno> {
        if self.refusals > 0 {
            self.refusals -= 1;
            self.refused += 1;
            return Err(Errno::EAGAIN);
        }
        let dir = setup.dir.map(dir_name).unwrap_or_default();
        let sub = setup.sub.map_or("", |_| "/log");
        let file = program.path.to_str().unwrap();
        let name = std::format!("{dir}{sub}/{file}").replace("/./", "/");
        let place = name.rsplit_once('/').unwrap().0;
        for other in &self.children {
            let (before, file) = other.name.rsplit_once('/').unwrap();
            let beside = before != place || file.len() == 1;
            assert!(beside, "{name} beside {}: a second copy", other.name);
        }
        let pid = FIRST_PID + u32::try_from(self.started).unwrap();
        self.started += 1;
        self.children.push(Child {
            pid,
            name,
            end: None,
            ignores_term: self.ignores_term,
        });
        Ok(pid)
    }

    /// Delivers a signal.
    fn signal(&mut self, pid: u32, signal: Number) -> Result<(), Errno> {
        let mut children = self.children.iter_mut();
        let child = children.find(|child| child.pid == pid);
        // A pid of none would be one that was reaped: another may have it.
        let child = child.expect("a signal to a process that was reaped");
        let ends = signal == Number::KILL
            || signal == Number::TERM && !child.ignores_term;
        if ends && child.end.is_none() {
            let number = u8::try_from(signal.as_raw()).unwrap();
            child.end = Some(ExitStatus::Killed(number, false));
            self.notify();
        }
        Ok(())
    }

    /// Sends the signal for the end of a child to this thread alone: others
    /// run other tests.
    fn notify(&mut self) {
        self.notified = true;
        signal::kill_thread(Number::CHILD);
    }
}

/// Returns the last part of an open directory's path.
fn dir_name(dir: At<'_>) -> String {
    let link = std::format!("/proc/self/fd/{}", dir.as_raw_fd());
    let path = fs::read_link(link).unwrap();
    path.file_name().unwrap().to_str().unwrap().to_string()
}

/// Simulates [`crate::sys::child::spawn`].
pub(super) fn spawn(
    program: &Program<'_>,
    setup: &Setup<'_>,
    cell: &AtomicU32,
) -> Result<u32, Errno> {
    let pid = with(|system| system.start(program, setup))?;
    cell.store(pid, Ordering::Relaxed);
    Ok(pid)
}

/// Simulates [`crate::sys::child::spawn_with`].
pub(super) fn spawn_with(
    program: &Program<'_>,
    setup: &Setup<'_>,
    _extra: Option<[At<'_>; 2]>,
) -> Result<u32, Errno> {
    with(|system| system.start(program, setup))
}

/// Simulates [`crate::sys::child::next_zombie`].
pub(super) fn next_zombie() -> Option<Zombie> {
    with(|system| {
        system.notified = false;
        let zombie = system.children.iter().find_map(|child| {
            let status = match child.end? {
                ExitStatus::Exited(code) => code,
                ExitStatus::Killed(signal, _) => signal,
            };
            Some(Zombie::new(child.pid, status.into()))
        });
        // From here on the signal of the next one is not read any more.
        if zombie.is_none()
            && let Some(name) = system.end_while_reaping.pop()
        {
            system.end(&name, ExitStatus::Exited(0));
        }
        zombie
    })
}

/// Simulates [`crate::sys::child::try_wait`].
pub(super) fn try_wait(pid: u32) -> Option<ExitStatus> {
    with(|system| {
        let mut children = system.children.iter();
        let at = children.position(|child| child.pid == pid)?;
        let end = system.children.get(at)?.end?;
        system.children.remove(at);
        Some(end)
    })
}

/// Simulates [`crate::sys::signal::kill`].
pub(super) fn kill(pid: u32, signal: Number) -> Result<(), Errno> {
    with(|system| system.signal(pid, signal))
}

/// Simulates [`crate::sys::signal::kill_led`].
pub(super) fn kill_led(leader: u32, signal: Number) -> Result<(), Errno> {
    kill(leader, signal)
}
