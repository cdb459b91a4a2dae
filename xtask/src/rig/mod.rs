//! Implements `cargo xtask rig`, which runs a program in a guest and exits
//! with its exit code.
//!
//! PID 1 of the guest finds what to run in a file of the initramfs, together
//! with a nonce that only PID 1 learns, and prints both as its last act: see
//! `src/applet/runit/rig.rs`. No other program can print such a line, unless
//! it is root's and reads PID 1's memory.

mod outcome;
mod scenario;

use std::{
    fs,
    io::Write as _,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use quick_junit::{
    NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite,
};

use crate::{
    board::{self, Board},
    disk,
    image::{self, Image},
    qemu::Session,
    rootfs::{Entries, Entry, Root},
    setup,
};
use outcome::{Outcome, judge};
pub use scenario::{RigRun, play};

/// Exit code for a wrong command line.
pub const USAGE: Code = Code(64);
/// Exit code when there is no guest to run: a build or a download failed.
/// `git bisect run` takes it as "cannot be tested".
const UNPREPARED: Code = Code(125);

/// An exit code.
#[derive(Clone, Copy, Debug)]
pub struct Code(u8);

impl From<Code> for std::process::ExitCode {
    fn from(code: Code) -> Self {
        code.0.into()
    }
}

/// The file with the nonce and the command, as PID 1 expects it.
const FILE: &str = "run/runt-rig";
/// Directory of an initramfs whose files appear in the root that it mounts.
const ON_ROOT: &str = "etc/runit/overlay";
/// Length of a nonce, in hexadecimal digits.
const NONCE: usize = 32;
/// Maximum number of words of the program's command line.
const MAX_WORDS: usize = 127;
/// The exit device that a machine with an ISA bus gets.
const EXIT_DEVICE: &str = "isa-debug-exit,iobase=0x501,iosize=0x1";
/// Bytes of the end of the console output that JUnit gets.
const SHOWN: usize = 64 << 10;

/// The command line.
#[derive(Args)]
pub struct Options {
    /// The board.
    #[arg(long, default_value = board::DEFAULT)]
    board: String,
    /// The contents of the guest: a directory in qemu/tree.
    #[arg(long, default_value = image::DEFAULT, conflicts_with_all = ["initrd", "image"])]
    tree: String,
    /// Boot this kernel instead of Debian's.
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// Boot this initramfs, whose init is runt.
    #[arg(long, value_name = "FILE")]
    initrd: Option<PathBuf>,
    /// Boot the root in this image of a disk or file system, whose init is
    /// runt. The file is not changed.
    #[arg(long, value_name = "FILE", conflicts_with = "initrd")]
    image: Option<PathBuf>,
    /// Words for the kernel's command line; NAME=VALUE become the program's
    /// environment.
    #[arg(long, value_name = "WORDS", allow_hyphen_values = true)]
    append: Option<String>,
    /// Additional arguments of QEMU, quoted as for a shell.
    #[arg(long, value_name = "ARGS", allow_hyphen_values = true)]
    qemu: Option<String>,
    /// Put a file or directory into the guest; may be repeated.
    #[arg(long, value_name = "HOST:GUEST")]
    put: Vec<String>,
    /// Time limit for the guest to end, in seconds.
    #[arg(long, value_name = "S", default_value_t = 300)]
    timeout: u32,
    /// Write the outcome to this file as JUnit XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// The program, as an absolute path in the guest, and its arguments.
    #[arg(last = true, required = true, value_name = "PROGRAM ARGS")]
    command: Vec<std::ffi::OsString>,
}

/// Returns true if the command line names this subcommand.
pub fn is_named() -> bool {
    std::env::args_os().nth(1).is_some_and(|word| word == "rig")
}

/// Runs the program in the guest. Prints the outcome as the last line on
/// stderr, and returns its exit code.
pub fn run(options: &Options) -> Code {
    let plan = match Plan::new(options) {
        Ok(plan) => plan,
        Err(error) => {
            eprintln!("error: {error:#}");
            return USAGE;
        }
    };
    let began = Instant::now();
    let mut console = String::new();
    let ran = plan.run(&mut console);
    let (text, code) = match &ran {
        Ok(outcome) => (outcome.to_string(), Code(outcome.code())),
        Err(error) => {
            (format!("the guest cannot be run: {error:#}"), UNPREPARED)
        }
    };
    if let Some(file) = &options.junit {
        let report = plan.junit(ran.ok(), &text, &console, began.elapsed());
        let written = report.to_string().map_err(anyhow::Error::from);
        let written = written.and_then(|xml| Ok(fs::write(file, xml)?));
        if let Err(error) = written {
            eprintln!("error: cannot write {}: {error:#}", file.display());
        }
    }
    eprintln!("rig: {text}");
    code
}

/// A run that the command line asks for, checked.
struct Plan<'a> {
    options: &'a Options,
    board: Board,
    /// Files for the guest.
    files: Entries,
    limit: Duration,
}

impl<'a> Plan<'a> {
    /// Checks the command line and reads the files for the guest.
    fn new(options: &'a Options) -> Result<Self> {
        let mut board = board::load(&options.board)?;
        let given = [&options.kernel, &options.initrd, &options.image];
        for file in given.into_iter().flatten() {
            ensure!(file.is_file(), "no file {}", file.display());
        }
        ensure!(
            options.image.is_none() || board.qemu()?.disk.is_some(),
            "{} has no disk for --image",
            board.name
        );
        image::trees(&options.tree)?;
        if let Some(words) = &options.append {
            board.console.cmdline += &format!(" {words}");
        }
        let words = options.qemu.as_deref().unwrap_or("");
        let words = shlex::split(words).context("--qemu has an open quote")?;
        board.add_arguments(words);
        let open = |word: &String| word.contains("semihosting");
        ensure!(
            !board.qemu()?.extra.iter().any(open),
            "semihosting lets every program of the guest run commands on the \
             host"
        );
        let program = options.command.first();
        let program = program.map_or(&b""[..], |word| word.as_bytes());
        ensure!(program.starts_with(b"/"), "the program is no absolute path");
        let mut files = Entries::new();
        for words in &options.put {
            put(&mut files, words)?;
        }
        let plan = Self {
            options,
            board,
            files,
            limit: Duration::from_secs(options.timeout.into()),
        };
        let (bytes, room) = (plan.words("").len() + NONCE, plan.room()?);
        ensure!(
            bytes < room && options.command.len() <= MAX_WORDS,
            "the program and its arguments are too long: {bytes} bytes of \
             {room} (line-bytes), {} of {MAX_WORDS} words",
            options.command.len()
        );
        Ok(plan)
    }

    /// Returns the capacity `line-bytes` of the board.
    fn room(&self) -> Result<usize> {
        let name = "line-bytes";
        if let Some(own) = self.board.capacity.get(name) {
            return Ok(*own);
        }
        let all = board::capacities();
        let row = all.iter().find(|row| row[0] == name);
        let row = row.with_context(|| format!("no capacity {name}"))?;
        Ok(row[1].parse()?)
    }

    /// Returns the content of [`FILE`].
    fn words(&self, nonce: &str) -> Vec<u8> {
        let exit: &[u8] = if has_exit_device(&self.board) {
            b"exit"
        } else {
            b""
        };
        let words = [nonce.as_bytes(), exit];
        let command = self.options.command.iter().map(|word| word.as_bytes());
        let words = words.into_iter().chain(command);
        words
            .flat_map(|word| word.iter().chain(&[0]))
            .copied()
            .collect()
    }

    /// Builds the guest and runs it; appends its console output to `console`.
    fn run(&self, console: &mut String) -> Result<Outcome> {
        let mut board = self.board.clone();
        if board.qemu()?.system == "x86_64" {
            let device = ["-device", EXIT_DEVICE].map(String::from);
            board.add_arguments(device.into());
        }
        let mut kit = setup::ensure(&board)?;
        if let Some(kernel) = &self.options.kernel {
            kit.kernel.clone_from(kernel);
        }
        let dir = image::own_dir()?;
        let mut image = match (&self.options.initrd, &self.options.image) {
            (Some(initrd), _) => Image {
                initramfs: initrd.clone(),
                disk: None,
            },
            (None, Some(disk)) => Image {
                initramfs: image::make_to_disk(&board, dir.path())?,
                disk: Some(disk::given(disk)?),
            },
            (None, None) => {
                let tree = &self.options.tree;
                image::make(&board, tree, Root::Initramfs, dir.path())?
            }
        };
        let nonce = nonce()?;
        let whole = dir.path().join("rig.cpio");
        self.extend(&image, &whole, &nonce)?;
        image.initramfs = whole;
        let mut session = match Session::start(&board, &kit, &image) {
            Ok(session) => session,
            Err(error) => return Ok(Outcome::NoVerdict(format!("{error:#}"))),
        };
        session.echo = true;
        let end = session.finish(self.limit);
        *console += session.text();
        judge(&nonce, console, &end?, self.limit)
    }

    /// Writes an initramfs with the files of `image`, those for the guest, and
    /// the file for PID 1.
    fn extend(&self, image: &Image, whole: &Path, nonce: &str) -> Result<()> {
        /// The alignment of an archive behind another one.
        const ALIGNMENT: usize = 4;
        let mut second = Entries::new();
        let words = Entry::File(0o600, self.words(nonce));
        insert(&mut second, FILE, words);
        for (path, entry) in &self.files {
            let path = match image.disk {
                Some(_) => format!("{ON_ROOT}/{path}"),
                None => path.clone(),
            };
            insert(&mut second, &path, entry.clone());
        }
        let first = &image.initramfs;
        let mut all = fs::read(first)
            .with_context(|| format!("cannot read {}", first.display()))?;
        all.resize(all.len().next_multiple_of(ALIGNMENT), 0);
        all.extend_from_slice(&image::archive(&second)?);
        fs::File::create(whole)?.write_all(&all)?;
        Ok(())
    }

    /// Returns the outcome as JUnit has it: one suite with one case. `None`
    /// stands for a guest that could not be run.
    fn junit(
        &self,
        outcome: Option<Outcome>,
        text: &str,
        console: &str,
        took: Duration,
    ) -> Report {
        let kind = match outcome {
            Some(Outcome::Exited(0)) => None,
            Some(Outcome::Exited(_) | Outcome::Killed(_)) => {
                Some(NonSuccessKind::Failure)
            }
            _ => Some(NonSuccessKind::Error),
        };
        let status = match kind {
            None => TestCaseStatus::success(),
            Some(kind) => {
                let mut status = TestCaseStatus::non_success(kind);
                status.set_message(text);
                status
            }
        };
        let words = self.options.command.iter();
        let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
        let mut case = TestCase::new(words.join(" "), status);
        case.set_classname(&self.board.name).set_time(took);
        let mut start = console.len().saturating_sub(SHOWN);
        while !console.is_char_boundary(start) {
            start += 1;
        }
        case.set_system_out(&console[start..]);
        let mut suite = TestSuite::new("rig");
        suite.set_time(took).add_test_case(case);
        let mut report = Report::new("runt");
        report.set_time(took).add_test_suite(suite);
        report
    }
}

/// Returns true if the machine has an exit device, which only root of the
/// guest can use.
fn has_exit_device(board: &Board) -> bool {
    board.qemu().is_ok_and(|qemu| {
        match (qemu.system.as_str(), qemu.machine.as_str()) {
            // It gets one.
            ("x86_64", _) => true,
            // It has `sifive_test`.
            ("riscv64", "virt") => true,
            _ => false,
        }
    })
}

/// Returns a new nonce.
fn nonce() -> Result<String> {
    let mut bytes = [0; NONCE / 2];
    let flags = rustix::rand::GetRandomFlags::empty();
    let count = rustix::rand::getrandom(&mut bytes, flags)?;
    ensure!(count == bytes.len(), "the kernel has no random bytes");
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Adds the file or directory of a `--put HOST:GUEST`.
fn put(files: &mut Entries, words: &str) -> Result<()> {
    let Some((host, guest)) = words.rsplit_once(":/") else {
        bail!("--put {words}: not HOST:GUEST, with an absolute path GUEST");
    };
    let guest = guest.trim_matches('/');
    let names = guest.split('/');
    ensure!(
        !names.clone().any(|name| ["", ".", ".."].contains(&name)),
        "--put {words}: not a plain path in the guest"
    );
    // A link on the command line stands for its target.
    let top = fs::canonicalize(host)
        .with_context(|| format!("--put {words}: no file {host}"))?;
    for file in walkdir::WalkDir::new(&top).sort_by_file_name() {
        let file = file?;
        let below = file.path().strip_prefix(&top)?.to_str();
        let below = below.context("a name is not UTF-8")?;
        let path = format!("{guest}/{below}");
        let kind = file.file_type();
        let entry = if kind.is_dir() {
            Entry::Directory
        } else if kind.is_symlink() {
            let target = fs::read_link(file.path())?;
            Entry::Link(target.to_string_lossy().into_owned())
        } else if kind.is_file() {
            let content = fs::read(file.path()).with_context(|| {
                format!("cannot read {}", file.path().display())
            })?;
            let mode = file.metadata()?.permissions().mode();
            Entry::File(mode & 0o7777, content)
        } else {
            bail!("{} is no file, directory or link", file.path().display());
        };
        insert(files, path.trim_end_matches('/'), entry);
    }
    Ok(())
}

/// Inserts an entry, and its parent directories.
fn insert(entries: &mut Entries, path: &str, entry: Entry) {
    for (at, _) in path.match_indices('/') {
        entries.entry(path[..at].into()).or_insert(Entry::Directory);
    }
    entries.insert(path.into(), entry);
}
