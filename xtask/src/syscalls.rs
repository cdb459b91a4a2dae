//! Determines which system calls the release file makes, by running its
//! programs on this machine under strace.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use regex::Regex;

use crate::{board::Board, install, peers, peers::Peer, run};

/// System calls that only a heap needs. A program may map memory once (the
/// ledger).
const HEAP: [&str; 5] = ["brk", "mprotect", "mremap", "munmap", "sbrk"];

/// Time limit for each step of the session's supervisor.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs the session; returns the system calls of all programs, sorted. Returns
/// an error when one of them belongs to a heap.
pub fn look(board: &Board) -> Result<BTreeSet<String>> {
    let strace = peers::of_host(&["strace", "libunwind8"])
        .context("strace cannot be fetched")?;
    let place = tempfile::tempdir()?;
    let at = place.path();
    let bin = at.join("bin");
    install::programs(board, &bin)?;
    let service = at.join("services/a");
    for dir in [&service.join("log"), &at.join("log")] {
        fs::create_dir_all(dir)?;
    }
    script(&service.join("run"), "echo hello; exec sleep 1000")?;
    script(&service.join("finish"), ":")?;
    script(&service.join("log/run"), "exec cat > ../../../said")?;
    let mut all = Calls::new();
    let supervise = trace(&strace, at, &["runsvdir", "services"]);
    let mut supervisor = Traced::start(supervise)?;
    await_file(&service.join("supervise/pid"))?;
    await_file(&at.join("said"))?;
    let lines: [&[&str]; 5] = [
        &["sv", "status", "a"],
        &["sv", "restart", "a"],
        &["sv", "list"],
        &["chpst", "-n", "1", "-o", "64", "true"],
        &["svlogd", "-tt", "log"],
    ];
    for line in lines {
        run::quiet(&mut trace(&strace, at, line))?;
        take(at, &bin, &mut all)?;
    }
    run::quiet(
        Command::new(bin.join("sv"))
            .current_dir(at)
            .env("SVDIR", at.join("services"))
            .args(["-w", "20", "force-shutdown", "a"]),
    )?;
    supervisor.end()?;
    take(at, &bin, &mut all)?;
    for (name, calls) in &all {
        let mapped = calls.get("mmap").copied().unwrap_or(0);
        ensure!(mapped <= 1, "{name} maps memory {mapped} times");
        for call in HEAP {
            ensure!(!calls.contains_key(call), "{name} calls {call}");
        }
    }
    let calls = all.into_values().flat_map(BTreeMap::into_keys);
    Ok(calls.collect())
}

/// Number of times that each process that ran our code made each call.
type Calls = BTreeMap<String, BTreeMap<String, u32>>;

/// Writes an executable shell script.
fn script(path: &Path, text: &str) -> Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, format!("#!/bin/sh\n{text}\n"))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}

/// Returns a command that runs one of our programs under strace, which writes
/// to files `trace.PID`.
fn trace(strace: &Peer, at: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(strace.programs.join("strace"));
    let path = std::env::var("PATH").unwrap_or_default();
    command
        .env("LD_LIBRARY_PATH", &strace.libraries)
        .env("PATH", format!("{}:{path}", at.join("bin").display()))
        .env("SVDIR", at.join("services"))
        .env("RUNT_RUN", at.join("run"))
        .current_dir(at)
        .args(["-ff", "-qq", "-o", "trace", "-E", "LD_LIBRARY_PATH"])
        .arg(at.join("bin").join(words[0]))
        .args(&words[1..])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

/// Waits for a file that is not empty.
fn await_file(path: &Path) -> Result<()> {
    let began = Instant::now();
    while !path.metadata().is_ok_and(|file| file.len() > 0) {
        ensure!(
            began.elapsed() < PATIENCE,
            "{} did not appear",
            path.display()
        );
        sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// A supervisor under strace; it is ended together with what it started.
struct Traced(Child);

impl Traced {
    /// Starts the supervisor.
    fn start(mut command: Command) -> Result<Self> {
        Ok(Self(command.spawn().context("cannot run strace")?))
    }

    /// Requests the supervisor to exit, and waits for strace, which exits with
    /// the last process that it follows.
    fn end(&mut self) -> Result<()> {
        let pid = self.0.id();
        let children = format!("/proc/{pid}/task/{pid}/children");
        let children = fs::read_to_string(children)?;
        for child in children.split_whitespace() {
            run::quiet(Command::new("kill").args(["-HUP", child]))?;
        }
        let began = Instant::now();
        while self.0.try_wait()?.is_none() {
            ensure!(began.elapsed() < PATIENCE, "the supervisor does not exit");
            sleep(Duration::from_millis(10));
        }
        Ok(())
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Counts the calls in the trace files and removes the files.
fn take(at: &Path, bin: &Path, all: &mut Calls) -> Result<()> {
    let call = Regex::new(r"^(\w+)\(")?;
    let program = Regex::new(r#"^execve\("([^"]*)".* = 0$"#)?;
    for entry in fs::read_dir(at)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let Some(pid) = name.strip_prefix("trace.") else {
            continue;
        };
        // A child runs our code until it executes another program.
        let mut ours = true;
        let mut key = format!("a child ({pid})");
        for line in fs::read_to_string(&path)?.lines() {
            if let Some(found) = program.captures(line) {
                ours = Path::new(&found[1]).starts_with(bin);
                key = format!("{} ({pid})", &found[1]);
            } else if let Some(found) = call.captures(line).filter(|_| ours) {
                let calls = all.entry(key.clone()).or_default();
                *calls.entry(found[1].to_string()).or_default() += 1;
            }
        }
        fs::remove_file(&path)?;
    }
    Ok(())
}
