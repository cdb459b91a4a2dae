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
//! PROGRAM, looked up in $PATH.
//!
//! # Exit codes
//! 100 usage; 111 something could not be changed or run; else PROGRAM's.

use core::ffi::CStr;

use crate::{
    args::chpst::{Bound, Face, Lock, Request, Resource, Wrong, request},
    config,
    sys::{
        self, AsFd, CWD, Errno, child, dir,
        environ::{Builder, Full},
        error, file, identity,
        limits::{self, Limit},
        start::{Argv, Start},
    },
    text::{Line, Path, basename},
    wire::passwd::{self, Groups, Named},
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
                line.number(u64::try_from(bound).unwrap_or(u64::MAX));
                line.text(")");
            }
            Self::Said => return,
        }
        sys::complain(line.finish());
    }
}

/// Runs the program.
pub(super) fn main(start: Start) -> u8 {
    let own = start.argv.first().unwrap_or(c"chpst").to_bytes();
    let name = basename(own);
    let face = Face::named(name);
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
                Wrong::Usage => {}
            }
            super::usage(name, face.usage(), USAGE)
        }
    }
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
        read_env_dir(request, dir, builder)?;
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
        let (uid, groups) = look_up(user, request.account)?;
        let gid = groups.first().copied().unwrap_or(0);
        for (name, number) in [(&b"UID"[..], uid), (b"GID", gid)] {
            let mut value = Line::new();
            value.number(number.into());
            builder.set(name, value.as_bytes()).map_err(Fatal::Full)?;
        }
    }
    if let Some(user) = request.user {
        let (uid, groups) = look_up(user, request.account)?;
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

/// Sets the variables of the files in `dir` (contract §6.1).
fn read_env_dir<'a>(
    request: &Request<'_>,
    dir: &'a CStr,
    builder: &mut Builder,
) -> Result<(), Fatal<'a>> {
    let opened = file::open_dir(CWD, dir)
        .map_err(failed_at("switch to directory", dir))?;
    let mut wrong = None;
    let at = opened.as_fd();
    let listed = dir::list(at, |name| {
        let bytes = name.to_bytes();
        if wrong.is_some() || bytes.starts_with(b".") {
            return;
        }
        let complain = |level: &str, cause: &str| {
            let mut line = Line::new();
            line.text("chpst: ").text(level).text(": unable to read ");
            line.bytes(dir.to_bytes()).text("/").bytes(bytes);
            sys::complain(line.text(": ").text(cause).finish());
            Some(Fatal::Said)
        };
        let mut text = [0; config::FILE_BYTES];
        match file::read_whole(at, name, &mut text) {
            Ok([]) => builder.unset(bytes),
            Ok(text) => {
                let end = text.iter().position(|byte| *byte == b'\n');
                if end.is_none() && text.len() == config::FILE_BYTES {
                    let cause = "longer than file-bytes";
                    wrong = complain("fatal", cause);
                    return;
                }
                let value = text.get(..end.unwrap_or(text.len()));
                let value = value.unwrap_or(&[]);
                let last = value
                    .iter()
                    .rposition(|byte| !matches!(byte, b' ' | b'\t'));
                let kept = last.map_or(0, |last| last.saturating_add(1));
                let value = value.get(..kept).unwrap_or(&[]);
                wrong = builder.set(bytes, value).err().map(Fatal::Full);
            }
            Err(Errno::EISDIR) if !request.strict => {
                if request.verbose {
                    complain("warning", error::text(Errno::EISDIR));
                }
            }
            Err(errno) => wrong = complain("fatal", error::text(errno)),
        }
    });
    listed.map_err(failed_at("read directory", dir))?;
    wrong.map_or(Ok(()), Err)
}

/// Finds out the numbers of a user.
fn look_up(text: &[u8], account: bool) -> Result<(u32, Groups), Fatal<'_>> {
    let too_many = Fatal::Full(Full("groups", config::GROUPS));
    let named = if account {
        Named::Name(text, None)
    } else {
        match passwd::named(text) {
            Ok(named) => named,
            Err(passwd::Wrong::Numbers) => {
                let text = text.strip_prefix(b":").unwrap_or(text);
                return Err(Fatal::Text("invalid uid/gids", text));
            }
            Err(passwd::Wrong::TooMany) => return Err(too_many),
        }
    };
    let (name, names) = match named {
        Named::Numbers(uid, groups) => return Ok((uid, groups)),
        Named::Name(name, names) => (name, names),
    };
    let unknown = if account {
        "unknown account"
    } else {
        "unknown user/group"
    };
    let user = search(c"/etc/passwd", |line| passwd::user(line, name))
        .map_err(failed("get password file entry"))?
        .ok_or(Fatal::Text(unknown, text))?;
    let mut groups = Groups::new();
    let Some(names) = names else {
        // The list is empty: one more fits.
        let _fits = groups.push(user.gid).is_ok();
        return Ok((user.uid, groups));
    };
    for name in names.split(|byte| *byte == b':') {
        let group = search(c"/etc/group", |line| passwd::group(line, name))
            .map_err(failed("get group file entry"))?
            .ok_or(Fatal::Text(unknown, text))?;
        if groups.push(group).is_err() {
            return Err(too_many);
        }
    }
    Ok((user.uid, groups))
}

/// Looks for a line of a file. A line that is too long is said and passed
/// over.
fn search<T>(
    path: &CStr,
    mut found: impl FnMut(&[u8]) -> Option<T>,
) -> Result<Option<T>, Errno> {
    let mut buffer = [0; config::FILE_BYTES];
    let mut result = None;
    file::lines(CWD, path, &mut buffer, |line| {
        if let Some(line) = line {
            result = found(line);
        } else {
            let mut line = Line::new();
            line.text("chpst: warning: ").bytes(path.to_bytes());
            line.text(": a line is too long (file-bytes: the bound is ");
            let bound = config::FILE_BYTES;
            line.number(u64::try_from(bound).unwrap_or(u64::MAX));
            sys::complain(line.text(")").finish());
        }
        result.is_none()
    })?;
    Ok(result)
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
    if word.to_bytes().contains(&b'/') || word.is_empty() {
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
