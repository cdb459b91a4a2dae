//! Parses the command line of `chpst` and its aliases (contract §6).

pub mod long;

use core::ffi::CStr;

use crate::text::leading_number;

use super::getopt::{Getopt, Opt};
use long::{Fault, Hardening};

/// Option letters of the limits, in the order of [`Limits`]: address space,
/// core, time, data, file size, locked memory, open files, processes,
/// resident set, stack.
const LETTERS: &[u8; 10] = b"actdfloprs";

/// New soft limits, in this order: As, Core, Cpu, Data, Fsize, Memlock,
/// Nofile, Nproc, Rss, Stack; `None` leaves a limit as it is. A hard limit that is
/// lower wins, so that `u64::MAX` means the hard limit.
pub type Limits = [Option<u64>; LETTERS.len()];

/// Lock to acquire before the program starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock<'a> {
    /// File to lock.
    pub path: &'a CStr,
    /// Waits for the lock.
    pub waits: bool,
    /// Exits with 0 and prints nothing when the lock cannot be acquired
    /// (`setlock -x`).
    pub silent: bool,
}

/// Changes to make before the program starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request<'a> {
    /// `-P`.
    pub session: bool,
    /// `-e`.
    pub env_dir: Option<&'a CStr>,
    /// `-/`.
    pub root: Option<&'a CStr>,
    /// `-C`.
    pub dir: Option<&'a CStr>,
    /// `-n`.
    pub nice: Option<i32>,
    /// `-U`.
    pub env_user: Option<&'a [u8]>,
    /// `-u`.
    pub user: Option<&'a [u8]>,
    /// The users are plain accounts, without groups (aliases).
    pub account: bool,
    /// `-l`, `-L`.
    pub lock: Option<Lock<'a>>,
    /// `-0`, `-1`, `-2`.
    pub close: [bool; 3],
    /// `-m` and the other soft limits.
    pub limits: Limits,
    /// `-b`.
    pub argv0: Option<&'a CStr>,
    /// `-v`.
    pub verbose: bool,
    /// A directory in `-e` is an error (`envdir`).
    pub strict: bool,
    /// The long options.
    pub hardening: Hardening<'a>,
}

/// Reason why there is no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error<'a> {
    /// An option is wrong. The message names it, and the usage follows.
    Option(Opt<'a>),
    /// A long option is wrong. The message names it, and the usage follows.
    Long(Fault, &'a [u8]),
    /// `-V`.
    Version,
    /// A value is wrong. The usage of chpst follows, under every name.
    Value,
    /// Another usage error.
    Usage,
}

/// Program name under which chpst was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the programs' names")]
pub enum Alias {
    Chpst,
    Envdir,
    Envuidgid,
    Pgrphack,
    Setlock,
    Setuidgid,
    Softlimit,
}

/// For each program: its name, its option letters (none: even `--` is an
/// operand), and its usage message after the name.
const ALIASES: [(Alias, &str, &[u8], &str); 7] = [
    (
        Alias::Chpst,
        "chpst",
        b"u:U:b:e:m:d:o:p:f:c:r:t:/:C:n:l:L:vP012V",
        " [-vVP012] [-u user[:group]] [-U user[:group]] [-b argv0] [-e dir] \
         [-/ root] [-C pwd] [-n nice] [-l|-L lock] [-m n] [-d n] [-o n] \
         [-p n] [-f n] [-c n] [-t n] prog",
    ),
    (Alias::Envdir, "envdir", b"", " dir child"),
    (Alias::Envuidgid, "envuidgid", b"", " account child"),
    (Alias::Pgrphack, "pgrphack", b"", " child"),
    (
        Alias::Setlock,
        "setlock",
        b"nNxX",
        " [ -nNxX ] file program [ arg ... ]",
    ),
    (Alias::Setuidgid, "setuidgid", b"", " account child"),
    (
        Alias::Softlimit,
        "softlimit",
        b"a:c:d:f:l:m:o:p:r:s:t:",
        " [-a allbytes] [-c corebytes] [-d databytes] [-f filebytes] \
         [-l lockbytes] [-m membytes] [-o openfiles] [-p processes] \
         [-r residentbytes] [-s stackbytes] [-t cpusecs] child",
    ),
];

impl Alias {
    /// Returns the program of a name, with or without a `d` in front
    /// (contract §6.2).
    pub fn named(name: &[u8]) -> Option<Self> {
        let name = name.strip_prefix(b"d").unwrap_or(name);
        let mut aliases = ALIASES.iter();
        let found = aliases.find(|(_, known, ..)| known.as_bytes() == name)?;
        Some(found.0)
    }

    /// Returns its entry in [`ALIASES`].
    fn entry(self) -> (&'static str, &'static [u8], &'static str) {
        let entry = ALIASES.iter().find(|entry| entry.0 == self);
        entry.map_or(("", b"", ""), |entry| (entry.1, entry.2, entry.3))
    }

    /// Returns its name.
    pub fn name(self) -> &'static str {
        self.entry().0
    }

    /// Returns the letters of its options.
    pub fn options(self) -> &'static [u8] {
        self.entry().1
    }

    /// Returns its usage message after the name.
    pub fn usage(self) -> &'static str {
        self.entry().2
    }
}

/// Parses `words`, the arguments after the program's name. Also returns the
/// number of arguments before the program to run.
pub fn request<'a, I>(
    alias: Alias,
    mut words: I,
) -> Result<(Request<'a>, usize), Error<'a>>
where
    I: Iterator<Item = &'a CStr> + Clone,
{
    let mut request = Request::default();
    let known = alias.options();
    let mut options = Getopt::new(words.clone(), known);
    let mut lock = Lock {
        path: c"",
        waits: true,
        silent: false,
    };
    while !known.is_empty()
        && let Some(option) = options.next()
    {
        match (option, alias) {
            (Opt::Illegal(b'-'), Alias::Chpst) => {
                let long = options.rest();
                let taken = request.hardening.take(long, || options.word());
                taken.map_err(|fault| Error::Long(fault, long.to_bytes()))?;
            }
            (Opt::Illegal(_) | Opt::Missing(_), _) => {
                return Err(Error::Option(option));
            }
            (Opt::Flag(letter), Alias::Setlock) => match letter {
                // As in daemontools. In runit the two have the opposite
                // meaning, and it does not wait by default (§16.25).
                b'n' => lock.waits = false,
                b'N' => lock.waits = true,
                b'x' => lock.silent = true,
                _ => lock.silent = false,
            },
            (Opt::Flag(b'V'), _) => return Err(Error::Version),
            (Opt::Flag(b'v'), _) => request.verbose = true,
            (Opt::Flag(b'P'), _) => request.session = true,
            (Opt::Flag(digit), _) => {
                let stream = usize::from(digit.wrapping_sub(b'0'));
                if let Some(close) = request.close.get_mut(stream) {
                    *close = true;
                }
            }
            (Opt::Value(letter, text), Alias::Softlimit) => {
                let bound = match text.to_bytes() {
                    b"=" => Some(u64::MAX),
                    bytes => digits(bytes),
                };
                request.limit(letter, bound).ok_or(Error::Value)?;
            }
            (Opt::Value(letter, text), _) => {
                value(&mut request, letter, text).ok_or(Error::Value)?;
            }
        }
    }
    if request.hardening.lacks_group() {
        return Err(Error::Long(Fault::NoGroup, b"cgroup"));
    }
    let named = request.user.is_some_and(|user| !user.starts_with(b":"));
    if request.hardening.init_groups && !named {
        return Err(Error::Long(Fault::NoUser, b"init-groups"));
    }
    let mut used = options.used();
    let mut operand = || {
        let word = words.clone().nth(used).ok_or(Error::Usage)?;
        used = used.saturating_add(1);
        Ok(word)
    };
    match alias {
        Alias::Chpst | Alias::Softlimit => {}
        Alias::Pgrphack => request.session = true,
        Alias::Envdir => {
            request.strict = true;
            request.env_dir = Some(operand()?);
        }
        Alias::Envuidgid => {
            request.account = true;
            request.env_user = Some(operand()?.to_bytes());
        }
        Alias::Setuidgid => {
            request.account = true;
            request.user = Some(operand()?.to_bytes());
        }
        Alias::Setlock => {
            lock.path = operand()?;
            request.lock = Some(lock);
        }
    }
    // The program to run.
    if words.nth(used).is_none() {
        return Err(Error::Usage);
    }
    Ok((request, used))
}

/// Takes an option of chpst that has a value; `None` when the value is wrong.
fn value<'a>(
    request: &mut Request<'a>,
    letter: u8,
    text: &'a CStr,
) -> Option<()> {
    let bytes = text.to_bytes();
    match letter {
        b'u' => request.user = Some(bytes),
        b'U' => request.env_user = Some(bytes),
        b'b' => request.argv0 = Some(text),
        b'e' => request.env_dir = Some(text),
        b'/' => request.root = Some(text),
        b'C' => request.dir = Some(text),
        b'n' => request.nice = Some(nice(bytes)?),
        b'l' | b'L' => {
            if request.lock.is_some() {
                return None;
            }
            let waits = letter == b'l';
            request.lock = Some(Lock {
                path: text,
                waits,
                silent: false,
            });
        }
        letter => request.limit(letter, digits(bytes))?,
    }
    Some(())
}

impl Request<'_> {
    /// Returns true when nothing is printed if the lock cannot be acquired or
    /// the program cannot be run.
    pub fn is_silent(&self) -> bool {
        self.lock.is_some_and(|lock| lock.silent)
    }

    /// Sets a limit by its letter, `m` for all four of memory; `None` when
    /// `bound` is.
    fn limit(&mut self, letter: u8, bound: Option<u64>) -> Option<()> {
        bound?;
        for (known, limit) in LETTERS.iter().zip(&mut self.limits) {
            let memory = matches!(known, b'a' | b'd' | b'l' | b's');
            if *known == letter || (letter == b'm' && memory) {
                *limit = bound;
            }
        }
        Some(())
    }
}

/// Parses a number that consists of digits only; the empty text is 0, as in
/// runit.
fn digits(text: &[u8]) -> Option<u64> {
    match leading_number(text) {
        (number, []) => Some(number),
        _ => None,
    }
}

/// Parses a nice level: digits, with or without a sign.
fn nice(text: &[u8]) -> Option<i32> {
    let (minus, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    let number = i32::try_from(self::digits(digits)?).ok()?;
    Some(if minus { number.wrapping_neg() } else { number })
}

#[cfg(test)]
mod test;
