//! Measures the cost of 64 services that all log: processes and memory at one
//! line a service, and wake-ups when nothing is logged; the services' own
//! processes, `cat`, do not count.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Signal, kill_process};

use crate::peers::Peer;

use super::{figures::Figures, process, tree};

/// Number of services.
const SERVICES: usize = 64;

/// Duration without any log line.
const IDLE: Duration = Duration::from_secs(10);

/// Names of the measures.
pub const PROCESSES: &str = "64 services, all logging: processes";
pub const PSS: &str = "64 services, all logging: PSS, kB";
pub const WAKES: &str = "the same idle: wake-ups in 10 s";

/// Starts 64 services under a `runsvdir`, has each log a line, and measures.
/// Ours have no `log/run`; a peer's is its svlogd.
pub fn look(
    name: &'static str,
    peer: &Peer,
    shared: bool,
    place: &Path,
    round: usize,
    figures: &mut Figures,
) -> Result<()> {
    let scan = place.join("scan");
    let mut pipes = Vec::new();
    for id in 0..SERVICES {
        let dir = scan.join(format!("s{id}"));
        fs::create_dir_all(dir.join("log"))?;
        script(&dir.join("run"), "exec cat < in")?;
        if !shared {
            script(&dir.join("log/run"), "exec svlogd .")?;
        }
        let path = dir.join("in");
        let kind = rustix::fs::FileType::Fifo;
        let mode = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0)?;
        let pipe = fs::File::options().read(true).write(true).open(path);
        pipes.push(pipe?);
    }
    let system = std::env::var("PATH").unwrap_or_default();
    let mut child = Command::new(peer.programs.join("runsvdir"))
        .arg(&scan)
        .env("PATH", format!("{}:{system}", peer.programs.display()))
        .env("LD_LIBRARY_PATH", &peer.libraries)
        .env("RUNT_RUN", place.join("run"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot run {name}"))?;
    let began = Instant::now();
    for (id, pipe) in pipes.iter_mut().enumerate() {
        writeln!(pipe, "a line of service {id}")?;
        let log = scan.join(format!("s{id}/log/current"));
        while fs::metadata(&log).map_or(0, |log| log.len()) == 0 {
            let late = began.elapsed() > Duration::from_secs(60);
            ensure!(!late, "{name}: service {id} does not log");
            sleep(Duration::from_millis(5));
        }
    }
    sleep(Duration::from_secs(2));
    let own = fs::canonicalize(&peer.programs)?;
    let mut pids = process::family(&[child.id()]);
    pids.retain(|pid| {
        let program = process::program(*pid).unwrap_or_default();
        program.starts_with(&own)
    });
    let before = process::activity(&pids);
    sleep(IDLE);
    let turns = process::activity(&pids).turns - before.turns;
    let memory = process::memory(&pids);
    figures.put(PROCESSES, name, round, &[pids.len() as f64]);
    figures.put(PSS, name, round, &[memory.pss]);
    figures.put(WAKES, name, round, &[turns as f64]);
    kill_process(tree::pid(child.id())?, Signal::HUP)?;
    child.wait()?;
    // The supervisor and the loggers exit after the `runsvdir` process that
    // was started.
    while !process::family(&pids).is_empty() {
        sleep(Duration::from_millis(20));
    }
    fs::remove_dir_all(&scan)?;
    Ok(())
}

/// Writes an executable shell script.
fn script(path: &Path, text: &str) -> Result<()> {
    fs::write(path, format!("#!/bin/sh\n{text}\n"))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    Ok(())
}
