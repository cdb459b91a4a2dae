//! Parses the long options of chpst. runit has none.

use core::ffi::CStr;

use crate::{
    text::whole_number,
    wire::capability::{self, Set},
};

use super::{super::getopt::skip, nice};

/// Values of the long options.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hardening<'a> {
    /// `--no-new-privs`.
    pub no_new_privs: bool,
    /// `--cap-bound`: the capabilities that remain in the bounding set.
    pub bound: Option<Set>,
    /// `--cap-ambient`.
    pub ambient: Set,
    /// `--oom`, as written.
    pub oom: Option<&'a [u8]>,
    /// `--nice`.
    pub nice: Option<i32>,
    /// `--ionice`: the kernel's class and level.
    pub io: Option<(u32, u32)>,
    /// `--sched`: the kernel's policy and priority.
    pub scheduler: Option<(u32, u32)>,
    /// `--env-file`.
    pub env_file: Option<EnvFile<'a>>,
    /// `--init-groups`.
    pub init_groups: bool,
    /// `--umask`.
    pub umask: Option<u32>,
    /// `--cgroup`.
    pub group: Option<&'a [u8]>,
    /// Text for each file of [`LIMITS`].
    pub group_limits: [Option<&'a [u8]>; LIMITS.len()],
}

/// Files of a control group that hold limits, and the controller of each, as
/// written to `cgroup.subtree_control`.
pub const LIMITS: [(&CStr, &str); 3] = [
    (c"memory.max", "+memory"),
    (c"cpu.max", "+cpu"),
    (c"pids.max", "+pids"),
];

/// File of variables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EnvFile<'a> {
    /// Path of the file.
    pub path: &'a CStr,
    /// The file need not exist.
    pub optional: bool,
}

/// Setting that an option changes.
#[derive(Clone, Copy, Debug)]
enum Target {
    NoNewPrivs,
    Bound,
    Ambient,
    Oom,
    Nice,
    Io,
    Scheduler,
    EnvFile,
    InitGroups,
    Umask,
    Group,
    Limit(u8),
}

/// All options: name, placeholder of the value (empty: none), setting.
const OPTIONS: [(&str, &str, Target); 14] = [
    ("env-file", "FILE", Target::EnvFile),
    ("init-groups", "", Target::InitGroups),
    ("no-new-privs", "", Target::NoNewPrivs),
    ("cap-bound", "LIST", Target::Bound),
    ("cap-ambient", "LIST", Target::Ambient),
    ("oom", "N", Target::Oom),
    ("nice", "N", Target::Nice),
    ("ionice", "CLASS[:N]", Target::Io),
    ("sched", "CLASS[:PRIO]", Target::Scheduler),
    ("umask", "OCTAL", Target::Umask),
    ("cgroup", "PATH", Target::Group),
    ("memory-max", "MAX", Target::Limit(0)),
    ("cpu-max", "MAX", Target::Limit(1)),
    ("pids-max", "MAX", Target::Limit(2)),
];

/// Returns the name of every option and the placeholder of its value.
pub fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    OPTIONS.iter().map(|(name, value, _)| (*name, *value))
}

/// Scheduling class: name, the kernel's number, lowest level, highest level,
/// default level.
type Class = (&'static str, u8, u8, u8, u8);

/// Classes of ionice(1).
const IO: [Class; 4] = [
    ("none", 0, 0, 0, 0),
    ("realtime", 1, 0, 7, 4),
    ("best-effort", 2, 0, 7, 4),
    ("idle", 3, 0, 0, 0),
];

/// Policies of chrt(1).
const SCHEDULER: [Class; 5] = [
    ("other", 0, 0, 0, 0),
    ("fifo", 1, 1, 99, 1),
    ("rr", 2, 1, 99, 1),
    ("batch", 3, 0, 0, 0),
    ("idle", 5, 0, 0, 0),
];

/// Error in a long option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No option has that name.
    Unknown,
    /// The value is missing.
    Missing,
    /// The value is wrong, or the option takes none.
    Value,
    /// A limit of a control group was given without a group.
    NoGroup,
    /// `--init-groups` was given without the name of a user.
    NoUser,
}

impl<'a> Hardening<'a> {
    /// Takes an option, `NAME` or `NAME=VALUE`. `next` returns the argument
    /// after it.
    pub(super) fn take(
        &mut self,
        option: &'a CStr,
        next: impl FnOnce() -> Option<&'a CStr>,
    ) -> Result<(), Fault> {
        let bytes = option.to_bytes();
        let end = bytes.iter().position(|byte| *byte == b'=');
        let name = bytes.get(..end.unwrap_or(bytes.len()));
        let known = OPTIONS
            .iter()
            .find(|(known, ..)| Some(known.as_bytes()) == name);
        let (_, value, sets) = known.ok_or(Fault::Unknown)?;
        let text = match end {
            Some(_) if value.is_empty() => return Err(Fault::Value),
            Some(end) => skip(option, end.saturating_add(1)),
            None if value.is_empty() => c"",
            None => next().ok_or(Fault::Missing)?,
        };
        if let Target::EnvFile = sets {
            let optional = text.to_bytes().starts_with(b"-");
            let path = skip(text, usize::from(optional));
            let file = EnvFile { path, optional };
            // A second file would replace the first.
            let first = self.env_file.replace(file).is_none();
            return first.then_some(()).ok_or(Fault::Value);
        }
        self.set(*sets, text.to_bytes()).ok_or(Fault::Value)
    }

    /// Returns true when limits of a control group were given without a group.
    pub(super) fn lacks_group(&self) -> bool {
        self.group.is_none() && self.group_limits.iter().any(Option::is_some)
    }

    /// Sets a value; `None` when it is wrong.
    fn set(&mut self, sets: Target, text: &'a [u8]) -> Option<()> {
        match sets {
            Target::NoNewPrivs => self.no_new_privs = true,
            Target::Bound => self.bound = Some(capability::set(text)?),
            Target::Ambient => self.ambient = capability::set(text)?,
            Target::Oom => {
                within(text, 1000)?;
                self.oom = Some(text);
            }
            Target::Nice => self.nice = Some(within(text, 20)?.min(19)),
            Target::Io => self.io = Some(class(text, &IO)?),
            Target::Scheduler => {
                self.scheduler = Some(class(text, &SCHEDULER)?);
            }
            // Its value is a path, which the caller has taken.
            Target::EnvFile => {}
            Target::InitGroups => self.init_groups = true,
            Target::Umask => self.umask = Some(octal(text)?),
            Target::Group => self.group = Some(text),
            Target::Limit(at) => {
                let at = usize::from(at);
                *self.group_limits.get_mut(at)? = Some(text);
            }
        }
        Some(())
    }
}

/// Parses a number, with or without a sign, whose magnitude is at most
/// `most`.
fn within(text: &[u8], most: u32) -> Option<i32> {
    // `nice` reads a text without digits as 0.
    text.last().filter(|last| last.is_ascii_digit())?;
    nice(text).filter(|number| number.unsigned_abs() <= most)
}

/// Parses an octal mode of at most 0777.
fn octal(text: &[u8]) -> Option<u32> {
    let mut mode = 0_u32;
    for byte in text {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 8)?;
        mode = mode.checked_mul(8)?.checked_add(u32::from(digit))?;
    }
    (!text.is_empty() && mode <= 0o777).then_some(mode)
}

/// Parses the name of a class, with an optional level after a colon. Returns
/// the kernel's numbers.
fn class(text: &[u8], classes: &[Class]) -> Option<(u32, u32)> {
    let mut parts = text.splitn(2, |byte| *byte == b':');
    let name = parts.next()?;
    let known = |(known, ..): &&Class| known.as_bytes() == name;
    let (_, class, least, most, usual) = classes.iter().find(known)?;
    let level = match parts.next() {
        None => *usual,
        Some(level) => u8::try_from(whole_number(level)?).ok()?,
    };
    let fits = (*least..=*most).contains(&level);
    fits.then(|| (u32::from(*class), u32::from(level)))
}

#[cfg(test)]
mod test {
    use std::ffi::CString;

    use super::*;

    fn take(words: &[&'static CStr]) -> Result<Hardening<'static>, Fault> {
        let mut hardening = Hardening::default();
        let mut words = words.iter().copied();
        while let Some(word) = words.next() {
            hardening.take(word, || words.next())?;
        }
        Ok(hardening)
    }

    #[test]
    fn every_option() {
        let words = [
            c"no-new-privs",
            c"cap-bound=kill",
            c"cap-ambient",
            c"0,1",
            c"oom=-1000",
            c"nice=+5",
            c"ionice=best-effort:7",
            c"sched=rr",
            c"umask=027",
            c"cgroup",
            c"a/b",
            c"memory-max=64M",
            c"pids-max=max",
            c"env-file=-/etc/default/a",
            c"init-groups",
        ];
        let expected = Hardening {
            no_new_privs: true,
            env_file: Some(EnvFile {
                path: c"/etc/default/a",
                optional: true,
            }),
            init_groups: true,
            bound: Some(1 << 5),
            ambient: 3,
            oom: Some(b"-1000"),
            nice: Some(5),
            io: Some((2, 7)),
            scheduler: Some((2, 1)),
            umask: Some(0o27),
            group: Some(b"a/b"),
            group_limits: [Some(b"64M"), None, Some(b"max")],
        };
        assert_eq!(take(&words), Ok(expected));
    }

    #[test]
    fn a_value_follows_where_the_list_has_a_placeholder() {
        assert_eq!(all().count(), OPTIONS.len());
        for (name, value) in all() {
            let word = CString::new(name).unwrap();
            let taken = Hardening::default().take(&word, || None);
            let missing = Err(Fault::Missing);
            let expected = if value.is_empty() { Ok(()) } else { missing };
            assert_eq!(taken, expected, "{name}");
        }
    }

    #[test]
    fn the_least_and_the_greatest_values() {
        let nice = |word| take(&[word]).ok().map(|taken| taken.nice);
        let levels = [c"nice=-21", c"nice=-20", c"nice=0", c"nice=20"];
        let expected = [None, Some(Some(-20)), Some(Some(0)), Some(Some(19))];
        assert_eq!(levels.map(nice), expected);
        let oom = |word| take(&[word]).is_ok();
        let values = [c"oom=-1001", c"oom=-1000", c"oom=1000", c"oom=1001"];
        assert_eq!(values.map(oom), [false, true, true, false]);
        let mask = |word| take(&[word]).ok()?.umask;
        let masks = [c"umask=0", c"umask=777", c"umask=0777", c"umask=1000"];
        assert_eq!(masks.map(mask), [Some(0), Some(0o777), Some(0o777), None]);
    }

    /// Classes of ionice(1) and chrt(1) with the kernel's numbers.
    #[test]
    fn scheduling_classes_and_their_levels() {
        let io = |text: &str| class(text.as_bytes(), &IO);
        let policy = |text: &str| class(text.as_bytes(), &SCHEDULER);
        assert_eq!(["none", "idle"].map(io), [Some((0, 0)), Some((3, 0))]);
        for (name, number) in [("realtime", 1), ("best-effort", 2)] {
            assert_eq!(io(name), Some((number, 4)));
            let levels = [0, 1, 2, 3, 4, 5, 6, 7];
            let read = levels.map(|level| io(&format!("{name}:{level}")));
            assert_eq!(read, levels.map(|level| Some((number, level))));
            assert_eq!(io(&format!("{name}:8")), None);
        }
        for (name, number) in [("other", 0), ("batch", 3), ("idle", 5)] {
            assert_eq!(policy(name), Some((number, 0)));
            assert_eq!(policy(&format!("{name}:0")), Some((number, 0)));
            assert_eq!(policy(&format!("{name}:1")), None);
        }
        for (name, number) in [("fifo", 1), ("rr", 2)] {
            assert_eq!(policy(name), Some((number, 1)));
            let read = [0, 1, 99, 100, 257]
                .map(|level| policy(&format!("{name}:{level}")));
            let levels = [1, 99].map(|level| Some((number, level)));
            assert_eq!(read, [None, levels[0], levels[1], None, None]);
        }
    }

    #[test]
    fn errors() {
        for (word, fault) in [
            (c"", Fault::Unknown),
            (c"oo", Fault::Unknown),
            (c"=1", Fault::Unknown),
            (c"oom", Fault::Missing),
            (c"no-new-privs=1", Fault::Value),
            (c"init-groups=1", Fault::Value),
            (c"env-file", Fault::Missing),
            (c"oom=1001", Fault::Value),
            (c"oom=-", Fault::Value),
            (c"oom=", Fault::Value),
            (c"nice=21", Fault::Value),
            (c"ionice=idle:1", Fault::Value),
            (c"ionice=realtime:8", Fault::Value),
            (c"sched=fifo:0", Fault::Value),
            (c"sched=fifo:100", Fault::Value),
            (c"sched=fifo:", Fault::Value),
            (c"sched=x", Fault::Value),
            (c"umask=", Fault::Value),
            (c"umask=8", Fault::Value),
            (c"umask=1000", Fault::Value),
            (c"cap-bound=x", Fault::Value),
        ] {
            assert_eq!(take(&[word]).err(), Some(fault), "{word:?}");
        }
        let twice = take(&[c"env-file", c"a", c"env-file=b"]);
        assert_eq!(twice.err(), Some(Fault::Value));
    }
}
