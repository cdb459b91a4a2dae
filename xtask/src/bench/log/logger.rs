//! The loggers that are measured: ours, its peers, and a rotating copy.

use std::{
    fs,
    io::{PipeWriter, Read as _, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use crate::peers::Peer;

use super::super::process::Pid;

/// Size of a log file in bytes, and the number of old ones that are kept.
pub(super) const SIZE: usize = 1_000_000;
pub(super) const KEPT: usize = 10;

/// Number of bytes that the copy moves at once.
pub(super) const BLOCK: usize = 65_536;

/// Patterns that all must be evaluated and let every line pass.
pub(super) const PATTERNS: &str = "-*nowhere*\n+*: x*\n-*q9*\n+*zz*\n";

/// The processing of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Nothing.
    Plain,
    /// A TAI64N label.
    Label,
    /// A date.
    Date,
    /// Four patterns.
    Patterns,
    /// Nothing, but lines are on the medium after so many seconds.
    Durable(u8),
}

/// The kind of a logger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// svlogd.
    Svlogd,
    S6,
    Multilog,
    /// The rotating copy.
    Copy,
}

/// A logger that is measured.
pub(super) struct Logger {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) peer: Peer,
}

impl Logger {
    /// Returns its command line for a directory; `None` when it lacks the
    /// feature.
    pub(super) fn command(&self, work: Work, dir: &Path) -> Option<Command> {
        let bounds = [format!("n{KEPT}"), format!("s{SIZE}")];
        let (program, words): (_, &[&str]) = match (self.kind, work) {
            (Kind::Svlogd, Work::Plain | Work::Patterns | Work::Durable(_)) => {
                ("svlogd", &[])
            }
            (Kind::Svlogd, Work::Label) => ("svlogd", &["-t"]),
            (Kind::Svlogd, Work::Date) => ("svlogd", &["-tt"]),
            (Kind::S6, Work::Plain) => ("s6-log", &[]),
            (Kind::S6, Work::Label) => ("s6-log", &["t"]),
            (Kind::S6, Work::Date) => ("s6-log", &["T"]),
            (Kind::Multilog, Work::Plain) => ("multilog", &[]),
            (Kind::Multilog, Work::Label) => ("multilog", &["t"]),
            (Kind::Copy, Work::Plain) => {
                let mut command = Command::new(std::env::current_exe().ok()?);
                command.args(["bench", "copy"]).arg(dir);
                return Some(command);
            }
            (Kind::S6 | Kind::Multilog | Kind::Copy, _) => return None,
        };
        let mut command = Command::new(self.peer.programs.join(program));
        command
            .env_clear()
            .env("LD_LIBRARY_PATH", &self.peer.libraries);
        match self.kind {
            Kind::Svlogd => command.args(words),
            // `t` and `T` come before the directory, in this order.
            _ => command.args(bounds).args(words),
        };
        command.arg(dir);
        Some(command)
    }

    /// Starts it, with a pipe as its input.
    pub(super) fn start(
        &self,
        work: Work,
        dir: &Path,
    ) -> Result<Option<Running>> {
        fs::create_dir_all(dir)?;
        let (reader, pipe) = std::io::pipe()?;
        let config = match work {
            Work::Patterns => format!("s{SIZE}\nn{KEPT}\n{PATTERNS}"),
            Work::Durable(secs) => format!("s{SIZE}\nn{KEPT}\nf{secs}\n"),
            _ => format!("s{SIZE}\nn{KEPT}\n"),
        };
        if self.kind == Kind::Svlogd {
            fs::write(dir.join("config"), config)?;
        }
        let Some(mut command) = self.command(work, dir) else {
            return Ok(None);
        };
        let child = command
            .stdin(reader)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("cannot run {}", self.name))?;
        Ok(Some(Running { child, pipe }))
    }
}

/// A running logger.
pub(super) struct Running {
    pub(super) child: Child,
    pub(super) pipe: PipeWriter,
}

impl Running {
    /// Returns its process ID.
    pub(super) fn pid(&self) -> Pid {
        self.child.id()
    }

    /// Closes its input and waits for its exit.
    pub(super) fn end(mut self) -> Result<()> {
        drop(self.pipe);
        let status = self.child.wait()?;
        ensure!(status.success(), "the logger ended with {status}");
        Ok(())
    }
}

/// Runs the rotating copy, in a process of its own: reads, writes, rotates,
/// and does not examine the data.
pub fn copy(dir: &Path) -> Result<()> {
    // Not through `stdin`, which has a buffer of its own.
    let mut pipe = fs::File::open("/dev/stdin")?;
    let mut block = vec![0; BLOCK];
    let current = dir.join("current");
    let (mut size, mut number) = (0, 0);
    let mut file = fs::File::create(&current)?;
    loop {
        let count = pipe.read(&mut block)?;
        if count == 0 {
            return Ok(());
        }
        file.write_all(block.get(..count).unwrap_or(&[]))?;
        size += count;
        if size + BLOCK > SIZE {
            let old = |number: usize| dir.join(format!("@{number:012}"));
            fs::rename(&current, old(number))?;
            if number >= KEPT {
                fs::remove_file(old(number - KEPT))?;
            }
            number += 1;
            size = 0;
            file = fs::File::create(&current)?;
        }
    }
}
