//! Selects the program to run: by the name of the file, or by `runt NAME ...`.

mod accounts;
mod chpst;
mod flag_files;
#[cfg(test)]
mod help_test;
mod limits;
mod logdir;
mod pause;
mod retired;
mod runit;
mod runit_init;
mod runsv;
mod runsv_cg;
mod runsvchdir;
mod runsvdir;
mod sv;
mod svlogd;
mod svlogger;
mod upgrade;
mod utmpset;
mod vlogger;

use core::ffi::CStr;

use crate::{
    args::getopt::Opt,
    config::{self, family},
    sys::{
        self, CWD, Errno, child, error, fault, file,
        start::{Argv, Start},
    },
    text::{Line, Path, basename},
};

/// Exit code of a usage error of the supervisors.
const USAGE: u8 = 1;
/// Exit code of a fatal error (contract §2.8, §5.10, §6).
const FATAL: u8 = 111;

/// A program's main function. Its arguments begin with its own name.
type Program = fn(Start) -> u8;

include!(concat!(env!("OUT_DIR"), "/applets.rs"));

/// Runs `runit-init` or `init`: as PID 1, `runit`; else the program that asks
/// PID 1 to shut down.
fn init(start: Start) -> u8 {
    if child::own_pid() == 1 {
        runit::main(start)
    } else {
        runit_init::main(start)
    }
}

/// Runs the program that the file or the arguments name and returns its exit
/// code.
///
/// The name of the executed file takes precedence over the first argument,
/// which the caller may choose freely (`chpst -b NAME pause`). If both are
/// unknown, runs the program that the file is a link to (`log/run` ->
/// `vlogger`), or else `sv` for the service of that name (`/etc/init.d/NAME`
/// -> `sv`, contract §4).
pub fn main(start: Start) -> u8 {
    child::fill_standard_streams();
    let start = fault::first_start(start);
    let file = start.file.to_bytes();
    let name = start.argv.first().map_or(&b""[..], |name| name.to_bytes());
    let name = basename(name);
    if let Some(program) = find(basename(file)).or_else(|| find(name)) {
        return run(program, start);
    }
    match name {
        b"" | b"runt" => by_argument(start),
        name if family::CHPST && chpst::is_name(name) => chpst::main(start),
        _ => match linked(file) {
            Some(program) => program(start),
            None if family::SV => sv::main(start),
            None => refuse(),
        },
    }
}

/// Returns the program that `file` is a link to: the first link target whose
/// name is a program's.
fn linked(file: &[u8]) -> Option<Program> {
    /// Maximum number of links followed, as in the kernel.
    const LINKS: usize = 40;
    let mut path = Path::join(&[file]).ok()?;
    for _ in 0..LINKS {
        let mut buffer = [0; config::PATH_BYTES];
        let target = file::link_target(CWD, path.as_c_str(), &mut buffer);
        let target = target.ok()?;
        if let Some(program) = find(basename(target)) {
            return PROGRAMS.get(program).copied();
        }
        let length = path.as_bytes().len();
        let dir = length.saturating_sub(basename(path.as_bytes()).len());
        path.cut(if target.starts_with(b"/") { 0 } else { dir });
        path.push(target).ok()?;
    }
    None
}

/// Runs `runt NAME ...`, `runt --list`, `runt limits`, `runt upgrade` or
/// `runt --help`.
fn by_argument(start: Start) -> u8 {
    let argv = start.argv.skip(1);
    let name = argv.first().map_or(&b""[..], |name| name.to_bytes());
    if name == b"--list" {
        let listed = sys::print(NAMES.as_bytes());
        return if listed { 0 } else { FATAL };
    }
    let has_help = [&b"limits"[..], b"upgrade"].contains(&name);
    if name == b"--help" || has_help && is_only(argv, c"--help") {
        let printed = sys::print(runt_usage().finish());
        return if printed { 0 } else { FATAL };
    }
    if name == b"limits" {
        return limits::main(Start { argv, ..start });
    }
    if family::UPGRADE && name == b"upgrade" {
        return upgrade::main(Start { argv, ..start });
    }
    if let Some(program) = find(basename(name)) {
        return run(program, Start { argv, ..start });
    }
    refuse()
}

/// Runs a program of [`PROGRAMS`]. If `--help` is the only argument, prints its
/// help instead, except as PID 1, which must not exit.
fn run(program: usize, start: Start) -> u8 {
    if is_only(start.argv, c"--help")
        && child::own_pid() != 1
        && let Some(code) = help(program)
    {
        return code;
    }
    PROGRAMS.get(program).map_or(USAGE, |run| run(start))
}

/// Returns true if `word` is the only argument after the program's name.
fn is_only(argv: Argv, word: &CStr) -> bool {
    let mut words = argv.skip(1).iter();
    words.next() == Some(word) && words.next().is_none()
}

/// Prints the help of a program of [`PROGRAMS`] and returns the exit code;
/// `None` if the file has none.
fn help(program: usize) -> Option<u8> {
    let text = HELP.get(program).filter(|text| !text.is_empty())?;
    let printed = sys::print(text.as_bytes()) && sys::print(b"\n");
    Some(if printed { 0 } else { FATAL })
}

/// Prints the usage of the file itself on descriptor 2. Returns the exit code of
/// a usage error.
fn refuse() -> u8 {
    sys::print_error(runt_usage().finish());
    USAGE
}

/// Returns the usage of the file itself.
fn runt_usage() -> Line {
    let mut line = Line::new();
    line.text("usage: runt PROGRAM [ARGUMENT ...]   (version ")
        .text(config::VERSION)
        .text(", board ")
        .text(config::BOARD)
        .text("; runt --list prints the programs, runt limits the capacities");
    if family::UPGRADE {
        line.text(", runt upgrade moves a supervisor to another file");
    }
    line.text(")");
    line
}

/// Returns the place of a name in [`PROGRAMS`].
fn find(name: &[u8]) -> Option<usize> {
    let mut names = NAMES.as_bytes().split(|byte| *byte == b'\n');
    let found = names.position(|known| known == name);
    found.filter(|_| !name.is_empty())
}

/// Returns the line that `-V` prints.
fn version() -> Line {
    let mut line = Line::new();
    line.text("runt ").text(config::VERSION);
    line
}

/// Prints `usage: NAME ARGUMENTS` and an empty line; returns `code`.
fn usage(name: &[u8], arguments: &str, code: u8) -> u8 {
    let mut line = Line::new();
    line.text("usage: ").bytes(name).text(arguments).text("\n");
    sys::print_error(line.finish());
    code
}

/// Reports a wrong option (contract §0.3).
fn report_option(name: &[u8], option: Opt<'_>) {
    let (what, letter) = match option {
        Opt::Illegal(letter) => (": illegal option -- ", letter),
        Opt::Missing(letter) => (": option requires an argument -- ", letter),
        Opt::Flag(_) | Opt::Value(..) => return,
    };
    sys::print_error(
        Line::new().bytes(name).text(what).bytes(&[letter]).finish(),
    );
}

/// Reports `HEAD: WHAT: CAUSE` and returns the exit code of a fatal error.
fn fatal(head: &[u8], what: &str, subject: &[u8], errno: Errno) -> u8 {
    let mut line = Line::new();
    line.bytes(head).text(what).bytes(subject);
    line.text(": ").text(error::text(errno));
    sys::print_error(line.finish());
    FATAL
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn every_name_has_its_program() {
        assert_eq!(NAMES.lines().count(), PROGRAMS.len());
        for (place, name) in NAMES.lines().enumerate() {
            assert_eq!(find(name.as_bytes()), Some(place), "{name}");
        }
        assert!(find(b"").is_none() && find(b"run").is_none());
        let rows: [(&[u8], Program); 2] =
            [(b"sv", sv::main), (b"reboot", runit_init::reboot)];
        for (name, program) in rows {
            let found = PROGRAMS[find(name).unwrap()];
            assert!(core::ptr::fn_addr_eq(found, program));
        }
    }
}
