//! Measures how long a supervisor of 64 services takes from a fault, and from a
//! request to move to another file, to the next wait of its loop; and an
//! `execve` of the same file up to its first wait. All as /proc/PID/syscall
//! shows them.
//!
//! The supervisor has a processor of its own, so that neither the services nor
//! the measurement take time from it.
//!
//! Half of the services have a TCP connection, through which they send back
//! what they get all the while: none may be lost, and no pid may change.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle, sleep},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::{
    process::{Pid, Signal, kill_process},
    thread::{CpuSet, sched_setaffinity},
};

use crate::{board, install};

/// Number of services.
const SERVICES: u32 = 64;
/// Number of those that have a connection.
const CONNECTED: u32 = SERVICES / 2;
/// Number of upgrades, to the other file and back in turns. Each is on trial
/// for 10 seconds.
const UPGRADES: usize = 6;
/// Microseconds that recovery may take for each service, besides the `execve`.
const PER_SLOT: f64 = 12.0;
/// Pause before each measurement, in which the loop becomes idle.
const PAUSE: Duration = Duration::from_millis(60);
/// Processor of what measures, and of the services.
const OURS: usize = 0;
/// Processor of what is measured.
const MEASURED: usize = 1;
/// Time between two looks at a process: each look takes a lock that an
/// `execve` waits for.
const REST: Duration = Duration::from_micros(20);
/// Longest wait for any state.
const LIMIT: Duration = Duration::from_secs(60);

/// Measures and prints the times, in microseconds.
pub fn run(rounds: usize) -> Result<()> {
    pin(None, OURS)?;
    let scratch = super::scratch()?;
    let dir = scratch.path();
    let bin = dir.join("bin");
    install::programs(&board::load(board::HOST)?, &bin)?;
    fs::copy(bin.join("runt"), dir.join("other"))?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    for number in 0..SERVICES {
        let run = dir.join(format!("services/s{number}/run"));
        fs::create_dir_all(run.parent().context("it has a parent")?)?;
        let text = if number < CONNECTED {
            format!(
                "#!/bin/bash\nexec 3<>/dev/tcp/127.0.0.1/{port}\n\
                 exec cat <&3 >&3\n"
            )
        } else {
            format!("#!/bin/sh\nexec {}/pause\n", bin.display())
        };
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
    let times = measure(rounds, dir, &bin, &front, &listener);
    kill_process(Pid::from_child(&front), Signal::HUP)?;
    front.wait()?;
    let mut times = times?;
    let [exec, fault, upgrade] = [
        ("execve", &mut times.execs),
        ("fault", &mut times.faults),
        ("upgrade", &mut times.upgrades),
    ]
    .map(show);
    let bound = exec + PER_SLOT * f64::from(SERVICES);
    println!("bound: {bound:.0}, medians: {fault:.0}, {upgrade:.0}");
    println!("{} bytes sent and got back, no pid changed", times.bytes);
    Ok(())
}

/// Times in microseconds, and the bytes that the services have sent back.
#[derive(Default)]
struct Times {
    execs: Vec<f64>,
    faults: Vec<f64>,
    upgrades: Vec<f64>,
    bytes: u64,
}

/// Connections to services that send back what they get.
struct Echoes {
    stops: Arc<AtomicBool>,
    thread: JoinHandle<Result<u64>>,
}

impl Echoes {
    /// Accepts the connections, and uses them from now on.
    fn start(listener: &TcpListener) -> Result<Self> {
        let mut connections = Vec::new();
        for _ in 0..CONNECTED {
            let (connection, _) = listener.accept()?;
            connection.set_read_timeout(Some(LIMIT))?;
            connections.push(connection);
        }
        let stops = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stops);
        let thread = thread::spawn(move || echo(&mut connections, &stop));
        Ok(Self { stops, thread })
    }

    /// Returns how many bytes came back. An error if any was lost or changed.
    fn end(self) -> Result<u64> {
        self.stops.store(true, Ordering::Relaxed);
        self.thread
            .join()
            .map_err(|_| anyhow::anyhow!("the thread of connections failed"))?
    }
}

/// Sends numbers through the connections and compares what comes back, until
/// `stop` is set; returns the number of bytes.
fn echo(connections: &mut [TcpStream], stop: &AtomicBool) -> Result<u64> {
    let mut bytes = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        for connection in &mut *connections {
            let sent = bytes.to_le_bytes();
            connection.write_all(&sent)?;
            let mut got = [0; 8];
            connection.read_exact(&mut got)?;
            ensure!(got == sent, "a service sent other bytes than it got");
            bytes += 8;
        }
        sleep(Duration::from_millis(10));
    }
    Ok(bytes)
}

/// Prints a row, and returns its median.
fn show((name, figures): (&str, &mut Vec<f64>)) -> f64 {
    figures.sort_by(f64::total_cmp);
    let at = |part: usize| figures[(figures.len() - 1) * part / 2];
    let [min, median, max] = [0, 1, 2].map(at);
    println!("{name:8} median {median:7.0}, {min:7.0} to {max:7.0} us");
    median
}

/// Returns the times of faults and of executions, alternately measured, and of
/// upgrades.
fn measure(
    rounds: usize,
    dir: &Path,
    bin: &Path,
    front: &Child,
    listener: &TcpListener,
) -> Result<Times> {
    let echoes = Echoes::start(listener)?;
    for number in 0..SERVICES {
        let stat = dir.join(format!("services/s{number}/supervise/stat"));
        until("a service", || {
            let stat = fs::read_to_string(&stat).unwrap_or_default();
            (stat == "run\n").then_some(())
        })?;
    }
    let before = pids(dir)?;
    let id = front.id();
    let children = format!("/proc/{id}/task/{id}/children");
    let supervisor = until("the supervisor", || {
        let list = fs::read_to_string(&children).ok()?;
        list.trim().parse().ok().and_then(Pid::from_raw)
    })?;
    pin(Some(supervisor), MEASURED)?;
    let pid = supervisor.as_raw_pid();
    let mut times = Times::default();
    for _ in 0..rounds {
        times.faults.push(time(pid, true, || {
            Ok(kill_process(supervisor, Signal::SEGV)?)
        })?);
        times.execs.push(exec(bin)?);
    }
    for file in ["other", "bin/runt"].iter().cycle().take(UPGRADES) {
        let mut asks = Command::new(bin.join("runt"));
        asks.args(["upgrade", "-d", "services", file])
            .current_dir(dir)
            .env("RUNT_RUN", dir.join("run"))
            .stdout(Stdio::null());
        let mut child = None;
        times.upgrades.push(time(pid, true, || {
            child = Some(asks.spawn()?);
            Ok(())
        })?);
        let status = child.context("it was started")?.wait()?;
        ensure!(status.success(), "an upgrade failed: {status}");
    }
    ensure!(pids(dir)? == before, "a pid has changed");
    times.bytes = echoes.end()?;
    Ok(times)
}

/// Returns the pids of all services.
fn pids(dir: &Path) -> Result<Vec<String>> {
    let pid = |number| {
        let path = format!("services/s{number}/supervise/pid");
        Ok(fs::read_to_string(dir.join(path))?)
    };
    (0..SERVICES).map(pid).collect()
}

/// Lets a process, or this thread and those that it starts, run on a processor
/// only.
fn pin(pid: Option<Pid>, processor: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(processor);
    sched_setaffinity(pid, &set)
        .with_context(|| format!("processor {processor} is needed"))
}

/// Returns the time of an `execve` of the same file.
fn exec(bin: &Path) -> Result<f64> {
    let script = format!("read line; exec {}/pause", bin.display());
    let mut shell = Command::new("sh")
        .args(["-c", &script])
        .stdin(Stdio::piped())
        .spawn()?;
    let mut input = shell.stdin.take().context("it has an input")?;
    pin(Some(Pid::from_child(&shell)), MEASURED)?;
    let pid = i32::try_from(shell.id())?;
    let took = time(pid, false, || Ok(input.write_all(b"\n")?));
    shell.kill()?;
    shell.wait()?;
    took
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
        let again = Instant::now() + REST;
        while Instant::now() < again {
            std::hint::spin_loop();
        }
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
