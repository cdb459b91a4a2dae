//! Replaces this process by a program, after it has taken on the state that
//! the program starts in.

use core::{
    ffi::{CStr, c_char},
    ptr,
};

use rustix::fd::{AsFd, AsRawFd as _};

use crate::config;

use super::{
    At, Errno, error, fd, file, limits, print_error,
    program::{
        ARGUMENTS, Argv, EXTRA, Environ, Extra, Program, SELF_EXE, Setup,
    },
    raw, signal,
    start::{self, Start},
    write_all,
};

/// Runs in the child: becomes the program, or reports why it cannot and exits
/// with `setup.code`. `room` is for two words more than the program has
/// arguments; arguments without room are left out.
pub(super) fn run_child(
    program: &Program<'_>,
    setup: &Setup<'_>,
    extra: Option<Extra<'_>>,
    room: &mut [*const c_char],
) -> ! {
    let errno = match prepare(setup, extra) {
        Ok(()) => exec(program, room),
        Err(errno) => errno,
    };
    if let Some(prefix) = setup.error_prefix {
        let mut line = prefix.clone();
        print_error(line.text(": ").text(error::text(errno)).finish());
    }
    raw::exit(setup.error_code)
}

/// Gives the child a table of open files of its own that holds only the
/// standard streams and `files`.
///
/// Every child does this before it looks up a path: on a medium that does not
/// answer the lookup may block for ever, and until it returned each other
/// descriptor would keep something open that its owner has closed.
///
/// The cost grows with the greatest number in `files`: up to there a shared
/// table is copied.
pub(super) fn keep_only(files: &[At<'_>]) -> Result<(), Errno> {
    let numbers = || files.iter().map(|file| file.as_raw_fd().cast_unsigned());
    let last = numbers().fold(2, u32::max);
    // The greatest ones first: of a shared table they are not even copied.
    let mut first = last.saturating_add(1);
    match raw::close_range(first, u32::MAX, true) {
        Ok(()) => {}
        // Before Linux 5.9 no child shares the table.
        Err(Errno::ENOSYS | Errno::EPERM) => {
            for number in first..config::descriptors(config::SLOTS) {
                let _closed = raw::close_number(number).is_err();
            }
        }
        Err(errno) => return Err(errno),
    }
    while first > 3 {
        let end = first.saturating_sub(1);
        first = numbers().filter(|n| *n < end).fold(2, u32::max);
        first = first.saturating_add(1);
        close_between(first, end);
    }
    Ok(())
}

/// Closes descriptors from `first` up to `end`, which stays open.
fn close_between(first: u32, end: u32) {
    let last = end.saturating_sub(1);
    if first > last || raw::close_range(first, last, false).is_ok() {
        return;
    }
    for number in first..end {
        let _closed = raw::close_number(number).is_err();
    }
}

/// Puts the child into the state that the program starts in.
fn prepare(setup: &Setup<'_>, extra: Option<Extra<'_>>) -> Result<(), Errno> {
    if setup.session {
        // Refused only to the leader of a group: then it has its own already.
        let _leads = rustix::process::setsid().is_err();
    } else if setup.group {
        // Never refused to a child that has not become its program.
        let _leads = rustix::process::setpgid(None, None).is_err();
    }
    // 0 stands for the writer.
    let join = |procs| write_all(procs, b"0").is_ok();
    let joined = setup.cgroup.is_none_or(join);
    // A file that is not given counts as descriptor 0, which stays anyway.
    let files = [setup.stdin, setup.stdout, setup.stderr];
    let [stdin, stdout, stderr] = files.map(|file| file.unwrap_or(fd::STDIN));
    let mut kept = [fd::STDIN; EXTRA + 3];
    let given = extra.map_or(&[][..], |extra| extra.files);
    let given = [stdin, stdout, stderr]
        .into_iter()
        .chain(given.iter().copied());
    for (kept, file) in kept.iter_mut().zip(given) {
        *kept = file;
    }
    if let Some(dir) = setup.dir {
        // Looks up no path; so the directory need not be kept.
        file::change_dir_to(dir)?;
    }
    keep_only(&kept)?;
    if !joined {
        // Without its cause: a line of its own would not fit a shared stack.
        print_error(b"warning: unable to join the cgroup\n");
    }
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
            // A closed descriptor has no flags.
            let _set = file::set_blocking(stream, true).is_err();
        }
    }
    if let Some(sub) = setup.sub {
        file::change_dir(sub)?;
    }
    if let Some(extra) = extra {
        number_extra(extra)?;
    }
    if setup.terminal {
        // Without a terminal a stage does without job control.
        let _none = rustix::process::ioctl_tiocsctty(fd::STDIN).is_err();
    }
    limits::restore_files();
    signal::unblock_all();
    Ok(())
}

/// Gives extra files their numbers.
fn number_extra(extra: Extra<'_>) -> Result<(), Errno> {
    // Copied above all of them first: any may have the number of another now.
    let most = u32::try_from(EXTRA).unwrap_or(0);
    let above = extra.first.saturating_add(most);
    let mut copies = [const { None }; EXTRA];
    for (copy, file) in copies.iter_mut().zip(extra.files) {
        *copy = Some(raw::dup_above(*file, above)?);
    }
    for (number, copy) in (extra.first..).zip(copies.iter().flatten()) {
        raw::dup_onto(copy.as_fd(), number)?;
    }
    Ok(())
}

/// Becomes the program; returns only with the reason why it could not.
fn exec(program: &Program<'_>, room: &mut [*const c_char]) -> Errno {
    room.fill(ptr::null());
    let own = usize::from(program.path == SELF_EXE);
    let words = [program.path].into_iter().skip(own);
    let words = words.chain(program.arguments.iter().copied());
    let last = room.len().saturating_sub(1);
    for (entry, word) in room.iter_mut().take(last).zip(words) {
        *entry = word.as_ptr();
    }
    // SAFETY: `room` ends in a null, because its last entry was left out, and
    // its strings are C strings; the environment is a list that the kernel
    // made or that `Environ`'s maker vouched for.
    unsafe { raw::execve(program.path, room.as_ptr(), program.environ.0) }
}

/// Becomes `path` with arguments that the kernel laid out.
pub fn exec_argv(path: &CStr, arguments: Argv, environ: Environ) -> Errno {
    // SAFETY: both lists were made by the kernel or vouched for by their
    // maker.
    unsafe { raw::execve(path, arguments.pointer(), environ.0) }
}

/// Becomes `path` with the given arguments, at most [`ARGUMENTS`] after it.
pub fn exec_program(program: &Program<'_>) -> Errno {
    exec(program, &mut [ptr::null(); ARGUMENTS + 2])
}

/// Becomes a program as [`exec_program`] does, with no signal blocked and the
/// limit of open files that this process was given: for a process that
/// collects signals, or a copy of it.
pub fn exec_unblocked(program: &Program<'_>) -> Errno {
    limits::restore_files();
    signal::unblock_all();
    exec_program(program)
}

/// Executes this program's file again, with the arguments and the environment
/// that the kernel gave this process: the file that its path leads to now, or
/// else the file that is running. Returns only with the reason why it failed.
///
/// Blocked signals stay blocked, so that those that are pending are not lost.
pub fn exec_again() -> Errno {
    let Some(Start {
        file,
        argv,
        environ,
        ..
    }) = start::given()
    else {
        return Errno::ENOENT;
    };
    limits::restore_files();
    let _gone = exec_argv(file, argv, environ);
    exec_argv(SELF_EXE, argv, environ)
}
