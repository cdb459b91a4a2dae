//! Runs other programs and reports failures with the command and the cause.

use std::{
    fs::{self, File},
    io::{ErrorKind, Read as _},
    os::fd::{AsFd as _, OwnedFd},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{OFlags, fcntl_setfl, fstat},
    io::Errno,
    process::{Pid, PidfdFlags, pidfd_open},
};

/// Time that the descendants of a command have to end after it.
const LINGER: Duration = Duration::from_secs(1);

/// Returns the command as one would type it.
pub fn shown(command: &Command) -> String {
    let words =
        std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    words.join(" ")
}

/// Runs a command; its output is shown only when it fails.
pub fn quiet(command: &mut Command) -> Result<String> {
    let output = output(command)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        let shown = shown(command);
        bail!("`{shown}` failed ({}):\n{text}{errors}", output.status);
    }
    Ok(text)
}

/// Runs a command and returns its output. It ends when the command does: a
/// descendant that has the output open for longer than [`LINGER`] is reported
/// with a line, and not waited for.
pub fn output(command: &mut Command) -> Result<Output> {
    let (output, left) = finish(command)?;
    for process in left {
        println!("`{}` has left behind: {process}", shown(command));
    }
    Ok(output)
}

/// Runs a command; returns its output, and the descendants that still have it
/// open.
fn finish(command: &mut Command) -> Result<(Output, Vec<String>)> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run `{}`", shown(command)))?;
    let (Some(output), Some(errors)) =
        (child.stdout.take(), child.stderr.take())
    else {
        bail!("a child has no pipes");
    };
    let mut pipes = [Pipe::new(output.into())?, Pipe::new(errors.into())?];
    let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty())?;
    // Set when the command itself has ended.
    let mut limit: Option<Instant> = None;
    while pipes.iter().any(|pipe| pipe.open) || limit.is_none() {
        let rest = limit.map(|at| at.saturating_duration_since(Instant::now()));
        if rest.is_some_and(|rest| rest.is_zero()) {
            break;
        }
        let timeout = rest.map(Timespec::try_from).transpose()?;
        let open = pipes.iter().filter(|pipe| pipe.open);
        let mut awaited: Vec<_> = open.map(|pipe| pipe.file.as_fd()).collect();
        if limit.is_none() {
            awaited.push(process.as_fd());
        }
        let mut awaited: Vec<_> = awaited
            .into_iter()
            .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN))
            .collect();
        match poll(&mut awaited, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        if limit.is_none() && child.try_wait()?.is_some() {
            limit = Some(Instant::now() + LINGER);
        }
        for pipe in &mut pipes {
            pipe.read()?;
        }
    }
    let status = child.wait()?;
    let mut left = Vec::new();
    for pipe in pipes.iter().filter(|pipe| pipe.open) {
        left.extend(pipe.writers()?);
    }
    left.sort();
    left.dedup();
    let [stdout, stderr] = pipes.map(|pipe| pipe.bytes);
    let output = Output {
        status,
        stdout,
        stderr,
    };
    Ok((output, left))
}

/// The end of a pipe that a command writes to.
struct Pipe {
    file: File,
    bytes: Vec<u8>,
    /// Cleared at its end: no process has the other end open.
    open: bool,
}

impl Pipe {
    /// Takes the end that is read from.
    fn new(end: OwnedFd) -> Result<Self> {
        fcntl_setfl(&end, OFlags::NONBLOCK)?;
        Ok(Self {
            file: end.into(),
            bytes: Vec::new(),
            open: true,
        })
    }

    /// Reads what is in the pipe.
    fn read(&mut self) -> Result<()> {
        match self.file.read_to_end(&mut self.bytes) {
            Ok(_) => self.open = false,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Returns the other processes that have the pipe open, each as its ID and
    /// command line.
    fn writers(&self) -> Result<Vec<String>> {
        let pipe = format!("pipe:[{}]", fstat(&self.file)?.st_ino);
        let mut writers = Vec::new();
        for entry in fs::read_dir("/proc")?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            // One that has ended has no descriptors, another user's cannot be
            // read.
            let fds = fs::read_dir(entry.path().join("fd"));
            let mut links = fds
                .into_iter()
                .flatten()
                .flatten()
                .filter_map(|fd| fs::read_link(fd.path()).ok());
            let own = name == std::process::id().to_string();
            let is_pid = name.bytes().all(|byte| byte.is_ascii_digit());
            if is_pid && !own && links.any(|link| link.as_os_str() == &*pipe) {
                let line = fs::read(entry.path().join("cmdline"));
                let line = line.unwrap_or_default();
                let line = String::from_utf8_lossy(&line);
                let line = line.replace('\0', " ");
                writers.push(format!("process {name}, {}", line.trim_end()));
            }
        }
        Ok(writers)
    }
}

/// Runs a command that uses the terminal directly.
pub fn loud(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let status = command
        .status()
        .with_context(|| format!("cannot run `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

/// Returns the path of a program: on PATH, or in a directory that a user's
/// PATH lacks.
pub fn on_path(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH")?;
    let more = ["/usr/sbin", "/sbin"].map(std::path::PathBuf::from);
    std::env::split_paths(&path)
        .chain(more)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

#[cfg(test)]
mod test {
    use super::*;

    fn shell(text: &str) -> (Output, Vec<String>) {
        finish(Command::new("sh").args(["-c", text])).unwrap()
    }

    #[test]
    fn output_of_any_length_is_read_to_its_end() {
        let (output, left) =
            shell("yes | head -c 1000000; echo no >&2; exit 3");
        assert_eq!(output.stdout.len(), 1_000_000);
        assert_eq!(output.stderr, b"no\n");
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(left, [""; 0]);
        // What a descendant writes a moment later is output too.
        let (output, left) = shell("(sleep 0.1; echo late) &");
        assert_eq!(output.stdout, b"late\n");
        assert_eq!(left, [""; 0]);
    }

    #[test]
    fn a_process_that_is_left_behind_is_named_and_not_waited_for() {
        let (output, left) = shell("sleep 1000 2> /dev/null & echo $!");
        let pid = String::from_utf8(output.stdout).unwrap();
        let pid = pid.trim();
        assert_eq!(left, [format!("process {pid}, sleep 1000")]);
        quiet(Command::new("kill").arg(pid)).unwrap();
    }
}
