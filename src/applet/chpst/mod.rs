//! chpst: changes the process state and runs a program. Also as `envdir`,
//! `envuidgid`, `pgrphack`, `setlock`, `setuidgid`, `softlimit`.
//!
//! # Synopsis
//! `chpst [-vP012] [-u USER] [-U USER] [-b ARGV0] [-e DIR] [-/ ROOT] [-C DIR]
//! [-n NICE] [-l|-L LOCK] [-m|-d|-o|-p|-f|-c|-r|-t NUMBER] PROGRAM [ARG...]`
//!
//! # Description
//! In this order: `-P` a session of its own; `-e` the environment from the
//! files of DIR; `-/` the root; `-C` the directory; `-n` the nice level; `-U`
//! $UID and $GID; `-u` user and groups (`name`, `name:group:...`,
//! `:uid:gid:...`); `-l` (waits) or `-L` (does not) a lock; `-0` `-1` `-2` a
//! stream closed; soft limits: `-m` memory, `-d` data, `-o` open files, `-p`
//! processes, `-f` file size, `-c` core, `-r` resident, `-t` seconds. Then
//! PROGRAM, looked up in $PATH as it was at the start.
//!
//! Users and groups come from /etc/passwd and /etc/group (of the new root)
//! and nowhere else: there is no NSS. A malformed line is passed over.
//!
//! A file NAME of `-e`: empty unsets $NAME, else its first line without the
//! blanks at its end is the value, a NUL in it a newline. Directories are
//! passed over (`envdir`: an error); `-v` names them.
//!
//! # Other names
//! * `envdir DIR PROGRAM`, `pgrphack PROGRAM`: `-e` and `-P`.
//! * `envuidgid ACCOUNT PROGRAM`, `setuidgid ACCOUNT PROGRAM`: `-U` and `-u`
//!   for a plain account.
//! * `setlock [-nNxX] FILE PROGRAM`: `-N`, the default, waits for the lock,
//!   `-n` does not; with `-x` it ends with 0 and silently when it cannot lock
//!   or run.
//! * `softlimit -LETTER BYTES ... PROGRAM`: the limits above, `-a` address
//!   space, `-l` locked memory, `-s` stack; `=` is the hard limit.
//!
//! # Against runit
//! `setlock` waits unless told not to, as daemontools' does; runit's has `-n`
//! and `-N` the other way round (contract §16.25). An empty user number is
//! refused, not root's. A link to nowhere under `-e` unsets: runit sets what
//! the file before it held. $PATH's directories that are too long are passed
//! over.
//!
//! # Capacity
//! `groups`, `environ`, `environ-bytes`, and `file-bytes` for a file of `-e`
//! and a line of /etc/passwd: what is more is refused with the bound's name.
//!
//! # Exit codes
//! 100 usage; 111 something could not be changed or run; else PROGRAM's.

mod env_dir;
mod users;

use core::ffi::CStr;

use crate::{
    args::chpst::{Bound, Face, Lock, Request, Resource, Wrong, request},
    sys::{
        self, AsFd, CWD, Errno, child,
        environ::{Builder, Full},
        error, file, identity,
        limits::{self, Limit},
        start::{Argv, Start},
    },
    text::{Line, Path, basename},
};

/// Exit code of a usage error.
const USAGE: u8 = 100;
/// Where programs are looked for without $PATH.
const PATH: &[u8] = b"/bin:/usr/bin";

/// Why the program does not run.
enum Fatal<'a> {
    /// `unable to WHAT: SUBJECT: CAUSE`.
    Call(&'static str, Option<&'a [u8]>, Errno),
    /// `WHAT: SUBJECT`.
    Text(&'static str, &'a [u8]),
    /// A capacity was reached.
    Full(Full),
    /// It was said where more is known.
    Said,
}

impl Fatal<'_> {
    /// Says it.
    fn complain(&self) {
        let mut line = Line::new();
        line.text("chpst: fatal: ");
        match *self {
            Self::Call(what, subject, errno) => {
                line.text("unable to ").text(what);
                if let Some(subject) = subject {
                    line.text(": ").bytes(subject);
                }
                line.text(": ").text(error::text(errno));
            }
            Self::Text(what, subject) => {
                line.text(what).text(": ").bytes(subject);
            }
            Self::Full(Full(what, bound)) => {
                line.text("too many ").text(what).text(" (the bound is ");
                line.number(number(bound));
                line.text(")");
            }
            Self::Said => return,
        }
        sys::complain(line.finish());
    }
}

/// Whether a name that is not in the list of programs is one of these
/// (`denvdir`).
pub(super) fn is_name(name: &[u8]) -> bool {
    Face::named(name).is_some()
}

/// Runs the program.
pub(super) fn main(start: Start) -> u8 {
    let own = start.argv.first().unwrap_or(c"chpst").to_bytes();
    let named = Face::named(basename(own));
    let (face, name) = named.unwrap_or((Face::Chpst, b"chpst"));
    let words = start.argv.skip(1);
    match request(face, words.iter()) {
        Ok((request, used)) => {
            let program = words.skip(used);
            let silent = request.lock.is_some_and(|lock| lock.silent);
            let fatal = run(&request, program, start);
            if silent {
                return 0;
            }
            fatal.complain();
            super::FATAL
        }
        Err(wrong) => {
            match wrong {
                Wrong::Option(option) => super::complain_of(name, option),
                Wrong::Version => {
                    sys::complain(super::version().finish());
                }
                Wrong::Usage | Wrong::Value => {}
            }
            let value = wrong == Wrong::Value;
            let face = if value { Face::Chpst } else { face };
            super::usage(name, face.usage(), USAGE)
        }
    }
}

/// A bound as a message has it.
fn number(bound: usize) -> u64 {
    u64::try_from(bound).unwrap_or(u64::MAX)
}

/// A call that failed.
fn failed<'a>(what: &'static str) -> impl Fn(Errno) -> Fatal<'a> {
    move |errno| Fatal::Call(what, None, errno)
}

/// A call that failed, and on what.
fn failed_at<'a>(
    what: &'static str,
    subject: &'a CStr,
) -> impl Fn(Errno) -> Fatal<'a> {
    move |errno| Fatal::Call(what, Some(subject.to_bytes()), errno)
}

/// Changes what is to be changed and becomes the program; comes back with
/// why not.
fn run<'a>(request: &Request<'a>, program: Argv, start: Start) -> Fatal<'a> {
    match change(request, start) {
        Ok(environ) => {
            let word = program.first().unwrap_or(c"");
            if let Some(name) = argv0(request, start) {
                program.replace_first(name);
            }
            let path = start.environ.get(b"PATH");
            let path = path.map_or(PATH, CStr::to_bytes);
            let errno = become_one_of(path, word, program, environ);
            failed_at("run", word)(errno)
        }
        Err(fatal) => fatal,
    }
}

/// The argument of `-b`, which lives as long as the process.
fn argv0(request: &Request<'_>, start: Start) -> Option<&'static CStr> {
    let wanted = request.argv0?;
    // The words of the command line are the kernel's; a request only borrows
    // them. An attached value is the end of a word.
    start.argv.iter().find_map(|word| {
        let bytes = word.to_bytes_with_nul();
        let from = bytes.len().checked_sub(wanted.to_bytes_with_nul().len())?;
        let tail = CStr::from_bytes_with_nul(bytes.get(from..)?).ok()?;
        (tail == wanted).then_some(tail)
    })
}

/// Makes all changes, in the order of contract §6.
fn change<'a>(
    request: &Request<'a>,
    start: Start,
) -> Result<child::Environ, Fatal<'a>> {
    if request.session {
        // Refused to who leads a group: then it is in one of its own.
        let _leads = child::new_session().is_err();
    }
    let mut builder = None;
    if request.env_dir.is_some() || request.env_user.is_some() {
        let taken = Builder::take(start.environ);
        builder = taken.transpose().map_err(Fatal::Full)?;
    }
    if let (Some(dir), Some(builder)) = (request.env_dir, &mut builder) {
        env_dir::read(dir, request.strict, request.verbose, builder)?;
    }
    if let Some(root) = request.root {
        file::change_dir(root).map_err(failed_at("change directory", root))?;
        file::change_root(c".").map_err(failed("change root directory"))?;
    }
    if let Some(dir) = request.dir {
        file::change_dir(dir).map_err(failed_at("change directory", dir))?;
    }
    if let Some(nice) = request.nice {
        identity::nice(nice).map_err(failed("set nice level"))?;
    }
    if let (Some(user), Some(builder)) = (request.env_user, &mut builder) {
        let (uid, groups) = users::look_up(user, request.account)?;
        let gid = groups.first().copied().unwrap_or(0);
        for (name, number) in [(&b"UID"[..], uid), (b"GID", gid)] {
            let mut value = Line::new();
            value.number(number.into());
            builder
                .set(name, Some(value.as_bytes()))
                .map_err(Fatal::Full)?;
        }
    }
    if let Some(user) = request.user {
        let (uid, groups) = users::look_up(user, request.account)?;
        let gid = groups.first().copied().unwrap_or(0);
        identity::set_groups(&groups).map_err(failed("setgroups"))?;
        identity::set_group(gid).map_err(failed("setgid"))?;
        identity::set_user(uid).map_err(failed("setuid"))?;
    }
    if let Some(lock) = request.lock {
        take_lock(lock)?;
    }
    for (number, close) in (0..).zip(request.close) {
        if close {
            // Closed already is as good.
            let _closed = child::close_standard(number).is_err();
        }
    }
    for (resource, bound) in request.limits.iter() {
        let limit = limit(resource);
        match bound {
            Bound::Number(number) => limits::set_soft(limit, number),
            Bound::Hard => limits::set_soft_to_hard(limit),
        }
        .map_err(failed("setrlimit()"))?;
    }
    Ok(builder.map_or(start.environ, Builder::finish))
}

/// The kernel's name of a limit.
fn limit(resource: Resource) -> Limit {
    match resource {
        Resource::As => Limit::As,
        Resource::Core => Limit::Core,
        Resource::Cpu => Limit::Cpu,
        Resource::Data => Limit::Data,
        Resource::Fsize => Limit::Fsize,
        Resource::Memlock => Limit::Memlock,
        Resource::Nofile => Limit::Nofile,
        Resource::Nproc => Limit::Nproc,
        Resource::Rss => Limit::Rss,
        Resource::Stack => Limit::Stack,
    }
}

/// Takes a lock that the program inherits.
fn take_lock(lock: Lock<'_>) -> Result<(), Fatal<'_>> {
    let opened = file::open_append(CWD, lock.path)
        .map_err(failed_at("open lock", lock.path))?;
    let taken = if lock.waits {
        file::lock_wait(opened.as_fd())
    } else {
        file::lock_now(opened.as_fd())
    };
    taken
        .and_then(|()| file::pass_on(opened))
        .map_err(failed_at("lock", lock.path))
}

/// Becomes the first program of that name in a list of directories; comes
/// back with why not.
///
/// A directory without it, or with one that may not be run, is passed over;
/// of those failures the last that is not "no such file" is the reason.
fn become_one_of(
    directories: &[u8],
    word: &CStr,
    program: Argv,
    environ: child::Environ,
) -> Errno {
    if word.to_bytes().contains(&b'/') {
        return child::become_program(word, program, environ);
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
        match child::become_program(path.as_c_str(), program, environ) {
            Errno::ENOENT => {}
            errno @ (Errno::EACCES | Errno::EPERM | Errno::EISDIR) => {
                reason = errno;
            }
            errno => return errno,
        }
    }
    reason
}
