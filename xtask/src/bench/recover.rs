//! Measures how long a supervisor of 64 services takes from a fault to the next
//! wait of its loop, and an `execve` of the same file up to its first wait, both
//! as /proc/PID/syscall shows them.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use crate::{board, install};

/// Number of services.
const SERVICES: u32 = 64;
/// Microseconds that recovery may take for each service, besides the `execve`.
const PER_SLOT: f64 = 12.0;
/// Pause before each measurement, in which the loop becomes idle.
const PAUSE: Duration = Duration::from_millis(60);
/// Longest wait for any state.
const LIMIT: Duration = Duration::from_secs(60);

/// Measures and prints the times, in microseconds.
pub fn run(rounds: usize) -> Result<()> {
    let scratch = super::scratch()?;
    let dir = scratch.path();
    let bin = dir.join("bin");
    install::programs(&board::load(board::HOST)?, &bin)?;
    for number in 0..SERVICES {
        let run = dir.join(format!("services/s{number}/run"));
        fs::create_dir_all(run.parent().context("it has a parent")?)?;
        let text = format!("#!/bin/sh\nexec {}/pause\n", bin.display());
        fs::write(&run, text)?;
        fs::set_permissions(&run, fs::Permissions::from_mode(0o755))?;
    }
    let mut front = Command::new(bin.join("runsvdir"))
        .arg("services")
        .current_dir(dir)
        .env("RUNT_RUN", dir.join("run"))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let measured = measure(rounds, dir, &bin, &front);
    kill_process(Pid::from_child(&front), Signal::HUP)?;
    front.wait()?;
    let (mut faults, mut execs) = measured?;
    let [exec, fault] =
        [("execve", &mut execs), ("fault", &mut faults)].map(show);
    let bound = exec + PER_SLOT * f64::from(SERVICES);
    println!("bound: {bound:.0}, median fault: {fault:.0}");
    Ok(())
}

/// Prints a row, and returns its median.
fn show((name, figures): (&str, &mut Vec<f64>)) -> f64 {
    figures.sort_by(f64::total_cmp);
    let at = |part: usize| figures[(figures.len() - 1) * part / 2];
    let [min, median, max] = [0, 1, 2].map(at);
    println!("{name:8} median {median:7.0}, {min:7.0} to {max:7.0} us");
    median
}

/// Returns the times of faults and of executions, alternately measured.
fn measure(
    rounds: usize,
    dir: &Path,
    bin: &Path,
    front: &Child,
) -> Result<(Vec<f64>, Vec<f64>)> {
    for number in 0..SERVICES {
        let stat = dir.join(format!("services/s{number}/supervise/stat"));
        until("a service", || {
            let stat = fs::read_to_string(&stat).unwrap_or_default();
            (stat == "run\n").then_some(())
        })?;
    }
    let id = front.id();
    let children = format!("/proc/{id}/task/{id}/children");
    let supervisor = until("the supervisor", || {
        let list = fs::read_to_string(&children).ok()?;
        list.trim().parse().ok().and_then(Pid::from_raw)
    })?;
    let (mut faults, mut execs) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        let pid = supervisor.as_raw_pid();
        faults.push(time(pid, true, || {
            Ok(kill_process(supervisor, Signal::SEGV)?)
        })?);
        let script = format!("read line; exec {}/pause", bin.display());
        let mut shell = Command::new("sh")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .spawn()?;
        let mut input = shell.stdin.take().context("it has an input")?;
        let pid = i32::try_from(shell.id())?;
        let took = time(pid, false, || Ok(input.write_all(b"\n")?));
        shell.kill()?;
        shell.wait()?;
        execs.push(took?);
    }
    Ok((faults, execs))
}

/// Returns the microseconds from `begin` until the process waits with another
/// stack: in the `same` system call as before, or in any.
fn time(
    pid: i32,
    same: bool,
    begin: impl FnOnce() -> Result<()>,
) -> Result<f64> {
    sleep(PAUSE);
    let (call, stack) = until("a wait", || wait_of(pid))?;
    let began = Instant::now();
    begin()?;
    loop {
        if let Some((now, other)) = wait_of(pid)
            && other != stack
            && (!same || now == call)
        {
            return Ok(began.elapsed().as_secs_f64() * 1e6);
        }
        ensure!(began.elapsed() < LIMIT, "it does not wait again");
    }
}

/// Returns the system call in which a process waits, and its stack pointer,
/// which differs in the next execution of a program.
fn wait_of(pid: i32) -> Option<(String, String)> {
    let text = fs::read_to_string(format!("/proc/{pid}/syscall")).ok()?;
    let words: Vec<&str> = text.split_whitespace().collect();
    // A number, six arguments, the stack pointer, the program counter.
    let [call, .., stack, _] = words.as_slice() else {
        return None;
    };
    (words.len() == 9).then(|| (call.to_string(), stack.to_string()))
}

/// Waits until `look` returns something.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> Result<T> {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        ensure!(began.elapsed() < LIMIT, "never came: {what}");
        sleep(Duration::from_millis(5));
    }
}
