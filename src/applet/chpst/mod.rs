//! chpst, envdir, envuidgid, pgrphack, setlock, setuidgid, softlimit: change
//! the process state and run a program.
//!
//! # Synopsis
//! `chpst [-vP012] [--OPTION ...] [-u USER] [-U USER] [-b ARGV0] [-e DIR] [-/
//! ROOT] [-C DIR] [-n NICE] [-l|-L LOCK] [-m|-d|-o|-p|-f|-c|-r|-t NUMBER]
//! PROGRAM [ARG...]`\
//! `envdir DIR PROGRAM [ARG...]`\
//! `envuidgid ACCOUNT PROGRAM [ARG...]`\
//! `pgrphack PROGRAM [ARG...]`\
//! `setlock [-nNxX] FILE PROGRAM [ARG...]`\
//! `setuidgid ACCOUNT PROGRAM [ARG...]`\
//! `softlimit [-LETTER BYTES]... PROGRAM [ARG...]`
//!
//! # Description
//! Applies the options in the order in which they are listed here, except
//! where they say otherwise, and runs PROGRAM, looked up in $PATH as it was at
//! the start.
//!
//! Users and groups come from /etc/passwd and /etc/group (of the new root)
//! only: there is no NSS. A malformed line is skipped. As in runit, the
//! program has no groups other than those named: `--init-groups` below adds
//! those of the user.
//!
//! # Options
//! - `-P`: runs PROGRAM in a session of its own.
//! - `-e DIR`: sets the environment from the files of DIR. A file NAME: if
//!   empty, it unsets $NAME; else its first line, without trailing blanks, is
//!   the value, and a NUL in it becomes a newline. Directories are skipped
//!   (`envdir`: an error).
//! - `--env-file FILE`: sets the variables that the lines of FILE assign.
//!   Blank lines and lines that begin with `#` or `;` are comments; all others
//!   are `NAME=VALUE`; blanks around NAME and VALUE are removed. VALUE may be
//!   quoted: `'...'` is taken literally; in `"..."` a backslash quotes `"`,
//!   `\`, `$` and `` ` ``. Nothing is expanded. systemd's `EnvironmentFile=`
//!   reads such a line the same way; a value that it would continue in the
//!   next line, a backslash outside of quotes, text after the closing quote
//!   and any other line are errors that name the line. With a `-` before FILE
//!   it need not exist.
//! - `--cgroup PATH`: joins this control group, which is created if missing;
//!   needs cgroup v2 at /sys/fs/cgroup or /sys/fs/cgroup/unified.
//! - `--memory-max MAX`, `--cpu-max MAX`, `--pids-max MAX`: set limits of that
//!   group, as the kernel takes them (`64M`, `50000 100000`, `max`). Those
//!   that the kernel lacks are named in a warning and left out.
//! - `--oom N`: sets the OOM killer's adjustment, -1000 to 1000.
//! - `--ionice CLASS[:N]`: `none`, `realtime`, `best-effort` (0 to 7, 4 by
//!   default), `idle`, as ionice(1).
//! - `--sched CLASS[:PRIO]`: `other`, `batch`, `idle`, `fifo`, `rr` (1 to 99,
//!   1 by default), as chrt(1).
//! - `--nice N`: sets the nice level itself, -20 to 19; `-n` then adds to it.
//! - `--cap-bound LIST`: keeps only these capabilities for this program and
//!   all that it starts. LIST is names (with or without `cap_`) and numbers
//!   separated by commas, `all` or `none`; `~LIST` all but these.
//! - `-/ ROOT`: changes the root.
//! - `-C DIR`: changes the working directory.
//! - `-n NICE`: adds NICE to the nice level.
//! - `-U USER`: sets $UID and $GID to the numbers of USER and its first group.
//! - `-u USER`: sets the user and groups: `name`, `name:group:...` or, in
//!   numbers, `:uid:gid:...`.
//! - `--init-groups`: with `-u`, adds the supplementary groups that list the
//!   user in /etc/group, as after a login; `-u` must name the user.
//! - `--cap-ambient LIST`: keeps these capabilities though the program does
//!   not run as root.
//! - `-l LOCK`: locks this file, which is created if missing, and waits for
//!   the lock. The program inherits it.
//! - `-L LOCK`: the same, but fails if another process holds the lock.
//! - `-0`, `-1`, `-2`: close standard input, output or error.
//! - `-m NUMBER`: limits memory: data, stack, locked memory and address space,
//!   each to NUMBER bytes. Limits are soft limits; more than the hard limit is
//!   the hard limit.
//! - `-d NUMBER`: limits the data segment.
//! - `-o NUMBER`: limits the number of open files.
//! - `-p NUMBER`: limits the number of the user's processes.
//! - `-f NUMBER`: limits the size of files.
//! - `-c NUMBER`: limits the size of a core file.
//! - `-r NUMBER`: limits resident memory; Linux ignores it.
//! - `-t NUMBER`: limits processor time, in seconds.
//! - `--umask OCTAL`: sets the file mode creation mask.
//! - `--no-new-privs`: no program that is run from now on gains privileges.
//! - `-b ARGV0`: the name under which PROGRAM is run, instead of its own.
//! - `-v`: warns of directories and dangling links in the DIR of `-e`.
//! - `-V`: prints the version and the usage.
//! - `--help`: prints a summary.
//!
//! runit has no long options. The value of one is the next argument or follows
//! a `=`.
//!
//! # Other names
//! - `envdir DIR PROGRAM`, `pgrphack PROGRAM`: `-e` and `-P`.
//! - `envuidgid ACCOUNT PROGRAM`, `setuidgid ACCOUNT PROGRAM`: `-U` and `-u`
//!   for a plain account.
//! - `setlock [-nNxX] FILE PROGRAM`: `-N`, the default, waits for the lock,
//!   `-n` does not. With `-x` it exits with 0 and prints nothing when it
//!   cannot lock or run; `-X`, the default, reports that.
//! - `softlimit -LETTER BYTES ... PROGRAM`: the limits `-m`, `-d`, `-o`, `-p`,
//!   `-f`, `-c`, `-r` and `-t` as above, `-a` address space, `-l` locked
//!   memory, `-s` stack. `=` stands for the hard limit.
//!
//! A `d` before any of these names is ignored.
//!
//! # Capacity
//! `groups` of a user; `environ` variables, including inherited ones;
//! `environ-bytes` of names and values that `-e`, `-U` and `--env-file` set;
//! `line-bytes` in a line of an environment file. Beyond a bound the program
//! is not run, and a line names the bound and its value. The lines of
//! /etc/passwd and /etc/group may have any length.
//!
//! # Environment
//! - `PATH`: the directories in which PROGRAM is searched for; /bin and
//!   /usr/bin if it is not set.
//!
//! # Exit status
//! 100 usage; 111 a change failed or PROGRAM could not be run; else PROGRAM's.
//!
//! # Differences from runit
//! By default `setlock` waits, as daemontools' does; in runit its `-n` and
//! `-N` have the opposite meaning. An empty user number is refused, not taken
//! as root's. A dangling link under `-e` unsets the variable: runit sets the
//! content of the file before it. Directories in $PATH that are too long are
//! skipped. The long options are new.

mod cgroup;
mod env_dir;
mod env_file;
mod users;

use core::ffi::CStr;

use crate::{
    args::chpst::{
        Alias, Error, Lock, Request,
        long::{self, Hardening},
        request,
    },
    sys::{
        self, AsFd, CWD, Errno, child,
        environ::{Builder, CapacityExceeded},
        error, file, identity,
        limits::{self, Limit},
        priority, privilege,
        start::{Argv, Start},
    },
    text::{Line, Path, basename},
};

/// Exit code of a usage error.
const USAGE: u8 = 100;
/// Directories in which programs are looked up without $PATH.
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

/// Error: the program is not run. The function that failed has reported why.
struct Stop;

/// Reports `unable to WHAT: SUBJECT: CAUSE`.
fn unable(what: &str, subject: Option<&[u8]>, errno: Errno) -> Stop {
    let mut line = Line::new();
    line.text("chpst: fatal: unable to ").text(what);
    if let Some(subject) = subject {
        line.text(": ").bytes(subject);
    }
    sys::print_error(line.text(": ").text(error::text(errno)).finish());
    Stop
}

/// Reports `WHAT: SUBJECT`.
fn wrong(what: &str, subject: &[u8]) -> Stop {
    let mut line = Line::new();
    line.text("chpst: fatal: ")
        .text(what)
        .text(": ")
        .bytes(subject);
    sys::print_error(line.finish());
    Stop
}

/// Reports the capacity that was reached.
fn too_many(CapacityExceeded(what, bound): CapacityExceeded) -> Stop {
    let mut line = Line::new();
    line.text("chpst: fatal: too many ").text(what);
    line.text(" (the bound is ").number(number(bound)).text(")");
    sys::print_error(line.finish());
    Stop
}

/// Returns a function that reports the failure of a step without a subject.
fn failed(what: &str) -> impl Fn(Errno) -> Stop {
    move |errno| unable(what, None, errno)
}

/// Returns a function that reports the failure of a step with a subject.
fn failed_at(what: &str, subject: &CStr) -> impl Fn(Errno) -> Stop {
    move |errno| unable(what, Some(subject.to_bytes()), errno)
}

/// Returns true when chpst runs under this name, which may be missing in the
/// list of programs (`denvdir`).
pub(super) fn is_name(name: &[u8]) -> bool {
    Alias::named(name).is_some()
}

/// Runs the program.
pub(super) fn main(start: Start) -> u8 {
    let own = start.argv.first().unwrap_or(c"chpst").to_bytes();
    let alias = Alias::named(basename(own)).unwrap_or(Alias::Chpst);
    let name = alias.name().as_bytes();
    let words = start.argv.skip(1);
    match request(alias, words.iter()) {
        Ok((request, used)) => {
            let program = words.skip(used);
            let Stop = run(&request, program, start);
            if request.is_silent() { 0 } else { super::FATAL }
        }
        Err(wrong) => {
            match wrong {
                Error::Option(option) => super::report_option(name, option),
                Error::Version => {
                    sys::print_error(super::version().finish());
                }
                Error::Long(fault, option) => report_long_option(fault, option),
                Error::Usage | Error::Value => {}
            }
            let value = wrong == Error::Value;
            let alias = if value { Alias::Chpst } else { alias };
            super::usage(name, alias.usage(), USAGE)
        }
    }
}

/// Reports what is wrong with a long option, and lists all of them.
fn report_long_option(fault: long::Fault, option: &[u8]) {
    let what = match fault {
        long::Fault::Unknown => "illegal option",
        long::Fault::Missing => "option requires an argument",
        long::Fault::Value => "illegal value",
        long::Fault::NoGroup => "option also requires",
        long::Fault::NoUser => "option requires the name of a user, -u",
    };
    let mut line = Line::new();
    line.text("chpst: ").text(what).text(" -- ").bytes(option);
    sys::print_error(line.finish());
    let mut line = Line::new();
    line.text("long options:");
    for (name, value) in long::all() {
        line.text(" --").text(name);
        if !value.is_empty() {
            line.text(" ").text(value);
        }
    }
    sys::print_error(line.finish());
}

/// Converts a bound for a message.
fn number(bound: usize) -> u64 {
    u64::try_from(bound).unwrap_or(u64::MAX)
}

/// Makes the requested changes and executes the program. Returns only when
/// that fails.
fn run(request: &Request<'static>, program: Argv, start: Start) -> Stop {
    let environ = match change(request, start) {
        Ok(environ) => environ,
        Err(stop) => return stop,
    };
    let word = program.first().unwrap_or(c"");
    if let Some(name) = request.argv0 {
        program.replace_first(name);
    }
    let path = start
        .environ
        .get(b"PATH")
        .map_or(DEFAULT_PATH, CStr::to_bytes);
    let errno = exec_in_path(path, word, program, environ);
    if request.is_silent() {
        return Stop;
    }
    // As in runit: the message has the name that it would have had.
    unable("run", Some(request.argv0.unwrap_or(word).to_bytes()), errno)
}

/// Makes all changes, in the order of contract §6.
fn change(request: &Request<'_>, start: Start) -> Result<child::Environ, Stop> {
    if request.session {
        // A group leader is refused, but then has its own group already.
        let _session = child::new_session().is_err();
    }
    let mut builder = None;
    let env_file = request.hardening.env_file;
    let files = request.env_dir.is_some() || env_file.is_some();
    if files || request.env_user.is_some() {
        let taken = Builder::take(start.environ);
        builder = taken.transpose().map_err(too_many)?;
    }
    if let (Some(dir), Some(builder)) = (request.env_dir, &mut builder) {
        env_dir::read(dir, request.strict, request.verbose, builder)?;
    }
    if let (Some(file), Some(builder)) = (env_file, &mut builder) {
        env_file::read(file, builder)?;
    }
    let wanted = &request.hardening;
    cgroup::join(wanted)?;
    schedule(wanted)?;
    if let Some(root) = request.root {
        file::change_dir(root).map_err(failed_at("change directory", root))?;
        file::change_root(c".").map_err(failed("change root directory"))?;
    }
    if let Some(dir) = request.dir {
        file::change_dir(dir).map_err(failed_at("change directory", dir))?;
    }
    if let Some(nice) = request.nice {
        priority::add_nice(nice).map_err(failed("set nice level"))?;
    }
    let mode = if request.account {
        users::Mode::Account
    } else {
        users::Mode::Named
    };
    if let (Some(user), Some(builder)) = (request.env_user, &mut builder) {
        let (uid, groups) = users::look_up(user, mode)?;
        let gid = groups.first().copied().unwrap_or(0);
        for (name, number) in [(&b"UID"[..], uid), (b"GID", gid)] {
            let mut value = Line::new();
            value.number(number.into());
            builder.set(name, value.as_bytes()).map_err(too_many)?;
        }
    }
    if wanted.ambient != 0 {
        privilege::keep().map_err(failed("keep capabilities"))?;
    }
    if let Some(user) = request.user {
        let mode = if wanted.init_groups {
            users::Mode::Init
        } else {
            mode
        };
        let (uid, groups) = users::look_up(user, mode)?;
        let gid = groups.first().copied().unwrap_or(0);
        identity::set_groups(&groups).map_err(failed("setgroups"))?;
        identity::set_group(gid).map_err(failed("setgid"))?;
        identity::set_user(uid).map_err(failed("setuid"))?;
    }
    if wanted.ambient != 0 {
        let ambient = privilege::ambient(wanted.ambient);
        ambient.map_err(failed("raise ambient capabilities"))?;
    }
    if let Some(lock) = request.lock {
        take_lock(lock)?;
    }
    for (number, close) in (0..).zip(request.close) {
        if close {
            // A failure means that it was closed already.
            let _closed = child::close_standard(number).is_err();
        }
    }
    for (limit, bound) in LIMITS.into_iter().zip(request.limits) {
        if let Some(bound) = bound {
            let set = limits::set_soft(limit, bound);
            set.map_err(failed("setrlimit()"))?;
        }
    }
    if let Some(umask) = wanted.umask {
        file::set_umask(umask);
    }
    if wanted.no_new_privs {
        privilege::no_new().map_err(failed("set no_new_privs"))?;
    }
    Ok(builder.map_or(start.environ, Builder::finish))
}

/// Applies the settings of the kernel for the process: OOM adjustment,
/// priorities, capability bounding set.
fn schedule(wanted: &Hardening<'_>) -> Result<(), Stop> {
    if let Some(oom) = wanted.oom {
        let path = c"/proc/self/oom_score_adj";
        file::open_write(CWD, path)
            .and_then(|file| sys::write_all(file.as_fd(), oom))
            .map_err(failed_at("write", path))?;
    }
    if let Some((class, level)) = wanted.io {
        priority::set_io(class, level).map_err(failed("set ionice"))?;
    }
    if let Some((policy, level)) = wanted.scheduler {
        priority::set_scheduler(policy, level)
            .map_err(failed("set scheduler"))?;
    }
    if let Some(nice) = wanted.nice {
        priority::set_nice(nice).map_err(failed("set nice level"))?;
    }
    if let Some(keep) = wanted.bound {
        privilege::bound(keep).map_err(failed("bound capabilities"))?;
    }
    Ok(())
}

/// Resources in the order of [`crate::args::chpst::Limits`].
const LIMITS: [Limit; 10] = [
    Limit::As,
    Limit::Core,
    Limit::Cpu,
    Limit::Data,
    Limit::Fsize,
    Limit::Memlock,
    Limit::Nofile,
    Limit::Nproc,
    Limit::Rss,
    Limit::Stack,
];

/// Acquires a lock that the program inherits.
fn take_lock(lock: Lock<'_>) -> Result<(), Stop> {
    let failed = |what| {
        move |errno| {
            if lock.silent {
                Stop
            } else {
                unable(what, Some(lock.path.to_bytes()), errno)
            }
        }
    };
    let opened =
        file::open_append(CWD, lock.path).map_err(failed("open lock"))?;
    let taken = if lock.waits {
        file::lock_wait(opened.as_fd())
    } else {
        file::lock_now(opened.as_fd())
    };
    taken
        .and_then(|()| file::leak(opened))
        .map_err(failed("lock"))
}

/// Executes the first program of that name in a list of directories. Returns
/// the error when that fails.
///
/// A directory without the program, or with one that may not be executed, is
/// skipped. The error is the last of these that is not "no such file".
fn exec_in_path(
    directories: &[u8],
    word: &CStr,
    program: Argv,
    environ: child::Environ,
) -> Errno {
    if word.to_bytes().contains(&b'/') {
        return child::exec_argv(word, program, environ);
    }
    let mut reason = Errno::ENOENT;
    for directory in directories.split(|byte| *byte == b':') {
        let directory = if directory.is_empty() {
            b"."
        } else {
            directory
        };
        let path = Path::join(&[directory, b"/", word.to_bytes()]);
        let Ok(path) = path else {
            reason = Errno::ENAMETOOLONG;
            continue;
        };
        match child::exec_argv(path.as_c_str(), program, environ) {
            Errno::ENOENT => {}
            errno @ (Errno::EACCES | Errno::EPERM | Errno::EISDIR) => {
                reason = errno;
            }
            errno => return errno,
        }
    }
    reason
}
