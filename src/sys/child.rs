//! Makes children, each in the same clean state, and collects their exit
//! statuses.

use core::{
    ptr,
    sync::atomic::{AtomicU32, Ordering},
};

use linux_raw_sys::general;
use rustix::{
    fd::AsFd as _,
    process::{Pid, WaitOptions, getppid, waitpid},
};

use crate::{
    text::{Line, Path},
    wire::process::ProcStat,
};

use super::{At, Errno, clone_vm, error, exec, file, raw, signal};

pub use super::{
    exec::{exec_again, exec_argv, exec_program, exec_unblocked},
    exit,
    program::{
        ARGUMENTS, Environ, Extra, MAX_ARGUMENTS, Program, SELF_EXE, Setup,
    },
};

/// Starts a child; returns its pid, which the kernel stores in `cell` before
/// the child runs. The files of `setup` must stay open until it has ended: it
/// takes them from this process's table.
///
/// When its program cannot be run the child reports that on descriptor 2 and
/// exits with `setup.code`: to the caller it is a child that ended.
pub fn spawn(
    program: &Program<'_>,
    setup: &Setup<'_>,
    cell: &AtomicU32,
) -> Result<u32, Errno> {
    match clone_vm::spawn(program, setup, cell) {
        Some(answer) => answer,
        None => spawn_copy(program, setup, None, cell),
    }
}

/// Starts a child as [`spawn`] does, by a copy of this process: the files may
/// be closed at once.
pub fn spawn_with(
    program: &Program<'_>,
    setup: &Setup<'_>,
    extra: Option<Extra<'_>>,
) -> Result<u32, Errno> {
    spawn_copy(program, setup, extra, &AtomicU32::new(0))
}

/// Starts a child as [`spawn_with`] does, and stores its pid as [`spawn`] does.
fn spawn_copy(
    program: &Program<'_>,
    setup: &Setup<'_>,
    extra: Option<Extra<'_>>,
    cell: &AtomicU32,
) -> Result<u32, Errno> {
    if raw::fork(cell, false, true)? != 0 {
        return Ok(cell.load(Ordering::Relaxed));
    }
    let room = &mut [ptr::null(); MAX_ARGUMENTS + 2];
    exec::run_child(program, setup, extra, room)
}

/// Starts a copy of this process. Returns true in the copy, and the copy's
/// pid in both.
pub fn fork() -> Result<(bool, u32), Errno> {
    let cell = AtomicU32::new(0);
    let child = raw::fork(&cell, false, true)? == 0;
    Ok((child, cell.load(Ordering::Relaxed)))
}

/// Starts a copy of this process that shares its open files, so that the copy
/// keeps nothing open, and that no wait for children but [`wait_detached`]
/// reports. Returns true in the copy, which must not open or close anything,
/// and the copy's pid in both.
pub fn fork_detached() -> Result<(bool, u32), Errno> {
    let cell = AtomicU32::new(0);
    let copy = raw::fork(&cell, true, false)? == 0;
    Ok((copy, cell.load(Ordering::Relaxed)))
}

/// Waits until a copy made by [`fork_detached`] has ended.
pub fn wait_detached(pid: u32) {
    let clones = WaitOptions::from_bits_retain(general::__WCLONE);
    let _ended = wait_for(pid, clones);
}

/// Starts a copy as [`fork`] does. The copy keeps only `files` and the
/// standard streams open, and gets the signal `death` when this process ends.
pub fn fork_with(
    files: &[At<'_>],
    death: Option<signal::Number>,
) -> Result<(bool, u32), Errno> {
    let parent = rustix::process::getpid();
    let (copy, pid) = fork()?;
    if copy {
        // A table that is not shared needs no memory.
        let _kept = exec::keep_only(files).is_err();
        if let Some(death) = death {
            end_with(parent, death);
        }
    }
    Ok((copy, pid))
}

/// Makes the kernel send `death` to this copy when `parent` ends; sends it at
/// once if `parent` has ended already.
fn end_with(parent: Pid, death: signal::Number) {
    /// PR_SET_PDEATHSIG.
    const DEATH: u32 = 1;
    // A valid signal is never refused.
    let _set = raw::prctl(DEATH, death.as_raw().cast_unsigned(), 0);
    // The parent's pid is not reused while its children are its own.
    if getppid() != Some(parent) {
        let _sent = signal::kill(own_pid(), death).is_err();
    }
}

/// The way in which a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// It exited with this code.
    Exited(u8),
    /// It was killed by this signal; the flag is true when it dumped core.
    Killed(u8, bool),
}

/// Child that has ended and was not collected.
#[derive(Clone, Copy, Debug)]
pub struct Zombie {
    /// Its pid.
    pub pid: u32,
    /// Its exit code, or the signal that ended it.
    status: u32,
}

impl Zombie {
    /// Returns a zombie of a simulated system.
    #[cfg(test)]
    pub fn new(pid: u32, status: u32) -> Self {
        Self { pid, status }
    }

    /// Returns true when it has exited with `code` without having become the
    /// program that it was started for. Without /proc, the code decides.
    pub fn exited_before_exec(self, code: u8) -> bool {
        if self.status != code.into() {
            return false;
        }
        let mut buffer = [0; STAT_BYTES];
        // /proc may show the processes of another namespace.
        let stat = stat(self.pid, &mut buffer).filter(|s| s.is_zombie());
        stat.is_none_or(|stat| !stat.execed)
    }
}

/// Number of bytes that hold what [`stat`] reads.
pub const STAT_BYTES: usize = 128;

/// Reads the state of a process from /proc.
pub fn stat(pid: u32, buffer: &mut [u8; STAT_BYTES]) -> Option<ProcStat<'_>> {
    let mut line = Line::new();
    line.text("/proc/").number(pid.into()).text("/stat");
    let path = Path::join(&[line.as_bytes()]).ok()?;
    let text = file::read_whole(super::CWD, path.as_c_str(), buffer).ok()?;
    ProcStat::parse(text)
}

/// Returns a child that has ended, and leaves it a zombie until [`try_wait`]
/// collects it. `None` when there is none.
pub fn next_zombie() -> Option<Zombie> {
    let (pid, status) = raw::waitid(None).ok()?;
    (pid != 0).then_some(Zombie { pid, status })
}

/// Collects a child that has ended: its pid and exit status. `None` when
/// there is none.
pub fn reap() -> Option<(u32, ExitStatus)> {
    let pid = next_zombie()?.pid;
    try_wait(pid).map(|end| (pid, end))
}

/// Collects the exit status of child `pid`; `None` while it is running.
pub fn try_wait(pid: u32) -> Option<ExitStatus> {
    wait_for(pid, WaitOptions::NOHANG)
}

/// Waits until child `pid` has ended; returns its exit status.
pub fn wait(pid: u32) -> Option<ExitStatus> {
    wait_for(pid, WaitOptions::empty())
}

/// Returns true when `pid` is a child of this process that was not collected.
pub fn is_child(pid: u32) -> bool {
    raw::waitid(Some(pid)).is_ok()
}

/// Returns true when `pid` is the leader of a session.
pub fn leads_session(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| rustix::process::getsid(Some(pid)) == Ok(pid))
}

/// Returns true when this process has any children.
pub fn has_children() -> bool {
    raw::waitid(None).is_ok()
}

/// Calls `wait4`, again after interruptions.
fn wait_for(pid: u32, options: WaitOptions) -> Option<ExitStatus> {
    // Without a number `waitpid` would mean our own process group.
    let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
    loop {
        match waitpid(Some(pid), options) {
            Ok(Some((_, status))) => {
                let raw = status.as_raw().cast_unsigned();
                let [low, code, ..] = raw.to_le_bytes();
                return Some(match low & 0x7f {
                    0 => ExitStatus::Exited(code),
                    signal => ExitStatus::Killed(signal, low & 0x80 != 0),
                });
            }
            Err(rustix::io::Errno::INTR) => {}
            Ok(None) | Err(_) => return None,
        }
    }
}

/// Marks every descriptor but 0, 1 and 2 as closed on exec, so that no child
/// inherits what this process inherited.
pub fn set_cloexec_inherited() {
    if raw::cloexec_from(3).is_ok() {
        return;
    }
    // Before Linux 5.9: one by one, up to the default limit of a process.
    let mut number = 3;
    while number < 1024 {
        let _open = raw::set_cloexec(number, true).is_ok();
        number = number.saturating_add(1);
    }
}

/// Opens /dev/null, or the root directory where that is missing, on those of
/// descriptors 0, 1 and 2 that are closed, so that no file of ours gets the
/// number of a standard stream. PID 1 starts without all three when the image
/// has no console.
pub fn fill_standard_streams() {
    while let Ok(null) = file::open_both(super::CWD, c"/dev/null")
        .or_else(|_| file::open_dir(super::CWD, c"/"))
    {
        if null.number() > 2 {
            return;
        }
        null.leave_open();
    }
}

/// Makes this process the leader of a new session.
pub fn new_session() -> Result<(), Errno> {
    rustix::process::setsid().map(|_| ()).map_err(error::from)
}

/// Returns the pid of this process's parent; 0 when that is in another PID
/// namespace.
pub fn parent_pid() -> u32 {
    getppid().map_or(0, |pid| pid.as_raw_pid().cast_unsigned())
}

/// Returns this process's pid.
pub fn own_pid() -> u32 {
    rustix::process::getpid().as_raw_pid().cast_unsigned()
}

/// Closes descriptor 0, 1 or 2; EBADF for any other number.
pub fn close_standard(number: u32) -> Result<(), Errno> {
    if number > 2 {
        return Err(Errno::EBADF);
    }
    raw::close_number(number)
}

/// Makes `file` the standard stream `number` (0, 1 or 2); EBADF for any other
/// number.
pub fn set_standard(file: &super::Fd, number: u32) -> Result<(), Errno> {
    if number > 2 {
        return Err(Errno::EBADF);
    }
    raw::dup_onto(file.as_fd(), number)
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::sys::{CWD, fd};

    /// Runs `check` in a copy and returns the exit status of that: 1 when the
    /// check failed.
    fn in_copy(
        files: &[At<'_>],
        death: Option<signal::Number>,
        check: impl Fn() -> bool,
    ) -> Option<ExitStatus> {
        match fork_with(files, death).unwrap() {
            (true, _) => exit(u8::from(!check())),
            (false, pid) => wait(pid),
        }
    }

    #[test]
    fn a_copy_keeps_what_it_names() {
        let open = || file::open_read(CWD, c"/dev/null").unwrap();
        let files: [_; 6] = core::array::from_fn(|_| open());
        // Numbers that lie far apart, in any order.
        let far = raw::dup_above(files[0].as_fd(), 200).unwrap();
        let further = raw::dup_above(files[0].as_fd(), 300).unwrap();
        let others = [&files[0], &files[2], &files[4], &further];
        let is_open = |file: At<'_>| file::info_of(file).is_ok();
        for kept in [&[][..], &[&far, &files[3]], &[&files[1], &far]] {
            let kept: heapless::Vec<_, 4> =
                kept.iter().map(|file| file.as_fd()).collect();
            let end = in_copy(&kept, None, || {
                kept.iter().all(|file| is_open(*file))
                    && !others.iter().any(|file| is_open(file.as_fd()))
                    && is_open(fd::STDIN)
            });
            assert_eq!(end, Some(ExitStatus::Exited(0)));
        }
    }

    #[test]
    fn a_copy_whose_parent_is_gone_gets_the_signal_at_once() {
        let death = signal::Number::KILL;
        let status = in_copy(&[], Some(death), || true);
        assert_eq!(status, Some(ExitStatus::Exited(0)));
        // As if another had been its parent.
        let other = rustix::process::getpid();
        let (copy, pid) = fork().unwrap();
        if copy {
            let (grandchild, pid) = fork().unwrap_or((false, 0));
            if grandchild {
                end_with(other, death);
                exit(0);
            }
            let killed = matches!(wait(pid), Some(ExitStatus::Killed(9, _)));
            exit(u8::from(!killed));
        }
        assert_eq!(wait(pid), Some(ExitStatus::Exited(0)));
    }
}
