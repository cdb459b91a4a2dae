//! How a child is made, in the same clean state each time, and how its end
//! is learned.

use core::{
    ffi::{CStr, c_char},
    ptr,
};

use rustix::{
    fd::{AsFd, AsRawFd as _},
    process::{Pid, WaitOptions, getppid, waitpid},
};

use crate::text::Line;

use super::{
    At, Errno, clone_vm, error, fd, file, limits, print_error, raw, signal,
    write_all,
};

/// The environment of a process: a list the kernel or a caller made.
#[derive(Clone, Copy, Debug)]
pub struct Environ(pub(super) *const *const c_char);

impl Environ {
    /// No variables.
    pub fn empty() -> Self {
        static NULL: usize = 0;
        Self((&raw const NULL).cast())
    }

    /// The variables, each `NAME=value`.
    pub fn iter(self) -> super::start::List {
        super::start::List(self.0)
    }

    /// The value of a variable.
    pub fn get(self, name: &[u8]) -> Option<&'static CStr> {
        self.iter().find_map(|entry| {
            let rest = entry.to_bytes_with_nul().strip_prefix(name)?;
            CStr::from_bytes_with_nul(rest.strip_prefix(b"=")?).ok()
        })
    }
}

/// A program to run and what it starts with.
#[derive(Debug)]
pub struct Program<'a> {
    /// Its file, looked up from its working directory.
    pub path: &'a CStr,
    /// Its arguments behind `path`, at most [`ARGUMENTS`].
    pub arguments: &'a [&'a CStr],
    /// Its environment.
    pub environ: Environ,
}

/// This program's own file: its first argument is then the name that it goes
/// by, so that it is another applet of it.
pub const SELF_EXE: &CStr = c"/proc/self/exe";

/// Arguments that a child of the supervisor can have: `finish` has two.
pub const ARGUMENTS: usize = 3;

/// The state a child starts in.
#[derive(Debug)]
pub struct Setup<'a> {
    /// Its working directory.
    pub dir: Option<At<'a>>,
    /// A directory in `dir` to go on to.
    pub sub: Option<&'static CStr>,
    /// What becomes descriptor 0; as it is when not given.
    pub stdin: Option<At<'a>>,
    /// What becomes descriptor 1; as it is when not given.
    pub stdout: Option<At<'a>>,
    /// What becomes descriptor 2; as it is when not given.
    pub stderr: Option<At<'a>>,
    /// Whether it leads a session of its own.
    pub session: bool,
    /// Whether it leads a process group of its own.
    pub group: bool,
    /// The open `cgroup.procs` of a control group that it joins.
    pub cgroup: Option<At<'a>>,
    /// Whether descriptor 0 becomes its controlling terminal.
    pub terminal: bool,
    /// Whether O_NONBLOCK is cleared on descriptors 0, 1 and 2. The flag
    /// belongs to the open file description, which outlives the child that
    /// set it and is shared with others.
    pub blocking: bool,
    /// What stands before the reason when it cannot be run; without it the
    /// child is silent about that.
    pub complaint: Option<&'a Line>,
    /// Its exit code then.
    pub code: u8,
}

/// Starts a child; answers its pid. The files of `setup` have to stay open
/// until it has ended: it takes them from this process's table.
///
/// When its program cannot be run the child says so on descriptor 2 and ends
/// with `setup.code`: to the caller that is a child that ended.
pub fn spawn(program: &Program<'_>, setup: &Setup<'_>) -> Result<u32, Errno> {
    match clone_vm::spawn(program, setup) {
        Some(answer) => answer,
        None => spawn_with(program, setup, None),
    }
}

/// As [`spawn`], by a copy of this process: the files may be closed at once.
/// Two more become the child's descriptors 4 and 5.
pub fn spawn_with(
    program: &Program<'_>,
    setup: &Setup<'_>,
    more: Option<[At<'_>; 2]>,
) -> Result<u32, Errno> {
    let mut pid = 0;
    if raw::fork(&mut pid, false, true)? != 0 {
        return Ok(pid);
    }
    run_child(program, setup, more)
}

/// In the child: becomes the program, or says why not and ends.
pub(super) fn run_child(
    program: &Program<'_>,
    setup: &Setup<'_>,
    more: Option<[At<'_>; 2]>,
) -> ! {
    let errno = match prepare(setup, more) {
        Ok(()) => exec(program),
        Err(errno) => errno,
    };
    if let Some(complaint) = setup.complaint {
        let mut line = complaint.clone();
        print_error(line.text(": ").text(error::text(errno)).finish());
    }
    raw::exit(setup.code)
}

/// Starts a copy of this process; true in the copy. The pid is the copy's.
pub fn fork() -> Result<(bool, u32), Errno> {
    let mut pid = 0;
    let child = raw::fork(&mut pid, false, true)? == 0;
    Ok((child, pid))
}

/// Starts a copy of this process that shares its open files, so that nothing
/// stays open for the copy's sake, and that no wait for children knows of;
/// true in the copy, which opens and closes nothing.
pub fn fork_detached() -> Result<bool, Errno> {
    raw::fork(&mut 0, true, false).map(|pid| pid == 0)
}

/// As [`fork`]; the copy has no files open but `files` and the standard
/// streams, and gets the signal `death` when this process ends.
pub fn fork_with(
    files: &[At<'_>],
    death: Option<signal::Number>,
) -> Result<(bool, u32), Errno> {
    let parent = rustix::process::getpid();
    let (copy, pid) = fork()?;
    if copy {
        // A table that nobody shares can be had without memory.
        let _kept = keep_only(files).is_err();
        if let Some(death) = death {
            end_with(parent, death);
        }
    }
    Ok((copy, pid))
}

/// In a copy: has `death` sent to it when `parent` ends, or sends it at once
/// when that has ended already.
fn end_with(parent: Pid, death: signal::Number) {
    /// PR_SET_PDEATHSIG.
    const DEATH: u32 = 1;
    // Nothing refuses a signal that there is.
    let _set = raw::prctl(DEATH, death.as_raw().cast_unsigned(), 0);
    // The parent's number is not given anew while its children are its own.
    if getppid() != Some(parent) {
        let _sent = signal::kill(own_pid(), death).is_err();
    }
}

/// In the child: gives it a table of open files of its own, with nothing in
/// it but the standard streams and `files`.
///
/// Every child does this before it looks at a path: on a medium that does not
/// answer that may take for ever, and meanwhile each further descriptor would
/// keep something open that its owner has closed.
fn keep_only(files: &[At<'_>]) -> Result<(), Errno> {
    let numbers = || files.iter().map(|file| file.as_raw_fd().cast_unsigned());
    let last = numbers().fold(2, u32::max);
    // First those behind, which are not even copied when the table is shared.
    let mut first = last.saturating_add(1);
    match raw::close_range(first, u32::MAX, true) {
        Ok(()) => {}
        // Before Linux 5.9 no child shares the table.
        Err(Errno::ENOSYS | Errno::EPERM) => {
            for number in first..limits::files() {
                let _closed = raw::close_number(number).is_err();
            }
        }
        Err(errno) => return Err(errno),
    }
    while first > 3 {
        let behind = first.saturating_sub(1);
        first = numbers().filter(|n| *n < behind).fold(2, u32::max);
        first = first.saturating_add(1);
        close_between(first, behind);
    }
    Ok(())
}

/// Closes descriptors from `first` on, up to `end` which stays open.
fn close_between(first: u32, end: u32) {
    let last = end.saturating_sub(1);
    if first > last || raw::close_range(first, last, false).is_ok() {
        return;
    }
    for number in first..end {
        let _closed = raw::close_number(number).is_err();
    }
}

/// In the child: everything but the program itself.
fn prepare(setup: &Setup<'_>, more: Option<[At<'_>; 2]>) -> Result<(), Errno> {
    if setup.session {
        // Refused only to who leads a group already: then it is its own.
        let _leads = rustix::process::setsid().is_err();
    } else if setup.group {
        // Nothing refuses this to a child that has not become its program.
        let _leads = rustix::process::setpgid(None, None).is_err();
    }
    if let Some(procs) = setup.cgroup
        // 0 stands for the writer.
        && write_all(procs, b"0").is_err()
    {
        // Without its cause: a line of its own would not fit a shared stack.
        print_error(b"warning: unable to join the cgroup\n");
    }
    // What is not given counts as descriptor 0, which stays anyway.
    let [four, five] = more.unwrap_or([fd::STDIN; 2]);
    let files = [setup.dir, setup.stdin, setup.stdout, setup.stderr];
    let [dir, stdin, stdout, stderr] =
        files.map(|file| file.unwrap_or(fd::STDIN));
    keep_only(&[dir, stdin, stdout, stderr, four, five])?;
    if setup.stdin.is_some() {
        raw::dup_onto(stdin, 0)?;
    }
    if setup.stdout.is_some() {
        raw::dup_onto(stdout, 1)?;
    }
    if setup.stderr.is_some() {
        raw::dup_onto(stderr, 2)?;
    }
    if setup.blocking {
        for stream in [fd::STDIN, fd::STDOUT, fd::STDERR] {
            // One that is closed has no flags.
            let _set = file::set_blocking(stream, true).is_err();
        }
    }
    if setup.dir.is_some() {
        file::change_dir_to(dir)?;
    }
    if let Some(sub) = setup.sub {
        file::change_dir(sub)?;
    }
    if let Some(files) = more {
        // Last: the directory's own descriptor may be 4 or 5.
        number_more(files)?;
    }
    if setup.terminal {
        // Without a terminal a stage does without job control.
        let _none = rustix::process::ioctl_tiocsctty(fd::STDIN).is_err();
    }
    limits::restore_files();
    signal::unblock_all();
    Ok(())
}

/// In the child: makes files descriptors 4 and 5.
fn number_more([four, five]: [At<'_>; 2]) -> Result<(), Errno> {
    // First out of each other's way: either may be 4 or 5 now.
    let (four, five) = (raw::dup_above(four, 6)?, raw::dup_above(five, 6)?);
    raw::dup_onto(four.as_fd(), 4)?;
    raw::dup_onto(five.as_fd(), 5)
}

/// Becomes the program; comes back with the reason why not.
fn exec(program: &Program<'_>) -> Errno {
    let mut argv = [ptr::null(); ARGUMENTS + 2];
    let own = usize::from(program.path == SELF_EXE);
    let words = [program.path].into_iter().skip(own);
    let words = words.chain(program.arguments.iter().copied());
    let last = argv.len().saturating_sub(1);
    for (place, word) in argv.iter_mut().take(last).zip(words) {
        *place = word.as_ptr();
    }
    // SAFETY: `argv` ends in a null, because its last place was left out, and
    // its strings are C strings; the environment is a list that the kernel
    // made or that `Environ`'s maker vouched for.
    unsafe { raw::execve(program.path, argv.as_ptr(), program.environ.0) }
}

/// Becomes `path` with arguments that the kernel laid out.
pub fn exec_argv(
    path: &CStr,
    arguments: super::start::Argv,
    environ: Environ,
) -> Errno {
    // SAFETY: both lists were made by the kernel, or by who vouched for them.
    unsafe { raw::execve(path, arguments.pointer(), environ.0) }
}

/// Becomes `path` with the arguments given: at most [`ARGUMENTS`] behind it.
pub fn exec_program(program: &Program<'_>) -> Errno {
    exec(program)
}

/// As [`become_other`], with no signal blocked and the limit of open files
/// that this process was given: for a program that collects signals, or a
/// copy of it.
pub fn exec_unblocked(program: &Program<'_>) -> Errno {
    limits::restore_files();
    signal::unblock_all();
    exec(program)
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// With this exit code.
    Exited(u8),
    /// By this signal; the flag says that it left a core.
    Killed(u8, bool),
}

/// The next child that has ended: a zombie until [`ended`] takes it. `None`
/// when none has.
pub fn zombie() -> Option<u32> {
    raw::waitid().ok().filter(|pid| *pid != 0)
}

/// The next child that has ended, and how; `None` when none has.
pub fn reap() -> Option<(u32, ExitStatus)> {
    let pid = zombie()?;
    try_wait(pid).map(|end| (pid, end))
}

/// How the child `pid` has ended; `None` when it has not.
pub fn try_wait(pid: u32) -> Option<ExitStatus> {
    wait_for(pid, WaitOptions::NOHANG)
}

/// Waits until the child `pid` has ended.
pub fn wait(pid: u32) -> Option<ExitStatus> {
    wait_for(pid, WaitOptions::empty())
}

/// Whether this process has children at all.
pub fn has_children() -> bool {
    raw::waitid().is_ok()
}

/// `wait4`, over interruptions.
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
    // Before Linux 5.9: one by one, as many as a process has by default.
    let mut number = 3;
    while number < 1024 {
        let _open = raw::set_cloexec(number).is_ok();
        number = number.saturating_add(1);
    }
}

/// Opens /dev/null, or where that is missing the root directory, on those of
/// 0, 1 and 2 that are closed, so that no file of ours gets a standard
/// stream's number: PID 1 has none of them when the image has no console.
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

/// Becomes the leader of a session of its own.
pub fn new_session() -> Result<(), Errno> {
    rustix::process::setsid().map(|_| ()).map_err(error::from)
}

/// Returns the number of the process that started this one; 0 when that is in
/// another name space.
pub fn parent_pid() -> u32 {
    getppid().map_or(0, |pid| pid.as_raw_pid().cast_unsigned())
}

/// This process's number.
pub fn own_pid() -> u32 {
    rustix::process::getpid().as_raw_pid().cast_unsigned()
}

/// Closes descriptor 0, 1 or 2; others are not touched.
pub fn close_standard(number: u32) -> Result<(), Errno> {
    if number > 2 {
        return Err(Errno::EBADF);
    }
    raw::close_number(number)
}

/// Makes `file` the standard stream `number` (0, 1 or 2).
pub fn set_standard(file: &super::Fd, number: u32) -> Result<(), Errno> {
    if number > 2 {
        return Err(Errno::EBADF);
    }
    raw::dup_onto(file.as_fd(), number)
}

/// Ends the process.
pub fn exit(code: u8) -> ! {
    raw::exit(code)
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::sys::CWD;

    /// Runs `check` in a copy; returns how that ended, and with 1 when the
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
        let lives = in_copy(&[], Some(death), || true);
        assert_eq!(lives, Some(ExitStatus::Exited(0)));
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
