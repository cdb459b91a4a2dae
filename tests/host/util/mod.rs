//! Gives every host test the programs as links, a directory of its own, and
//! functions that wait for an expected state.

#[path = "../../util/test_dir.rs"]
mod test_dir;

pub mod fake_supervisor;
pub mod init;
pub mod life;
pub mod logger;
pub mod peers;
pub mod shell;
pub mod tracer;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{
        fs::{FileExt as _, symlink},
        process::ExitStatusExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    fs::{Mode, OFlags},
    process::{Pid, Signal, kill_process},
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompFilter, SeccompRule, TargetArch,
};

pub use test_dir::{TestDir, install};

/// The signals of a fault.
pub const FAULTS: [Signal; 6] = [
    Signal::SEGV,
    Signal::BUS,
    Signal::ILL,
    Signal::FPE,
    Signal::ABORT,
    Signal::SYS,
];

/// Number of the system call `write` of x86-64.
const WRITE: &str = "1";

/// A `run` line that keeps the service up.
pub const STAY: &str = "exec sleep 1000";

/// Maximum time for any wait before a test fails, even on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// Output and exit code of a finished program.
#[derive(Debug, PartialEq, Eq)]
pub struct Output {
    pub stdout: String,
    pub stderr: String,
    pub code: i32,
}

impl TestDir {
    /// Returns a command that runs one of our programs in the directory, with
    /// our programs first in PATH.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(self.path("bin").join(words[0]));
        command.args(&words[1..]).current_dir(self.dir.path());
        let path = std::env::var("PATH").unwrap();
        let bin = self.path("bin");
        command.env("PATH", format!("{}:{path}", bin.display()));
        command.env("SVDIR", self.path("services"));
        command.env("RUNT_RUN", self.path("run"));
        command.env_remove("SVWAIT");
        command
    }

    /// Runs one of our programs until it ends.
    pub fn run(&self, words: &[&str]) -> Output {
        output_of(&mut self.command(words))
    }

    /// Writes a file and creates its parent directories.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Writes an executable shell script.
    pub fn script(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        install(&path, format!("#!/bin/sh\n{text}\n").as_bytes());
    }

    /// Creates a service directory in `services`.
    pub fn service(&self, name: &str, run: &str) {
        self.script(&format!("services/{name}/run"), run);
    }

    /// Creates a service that ignores a signal, as soon as
    /// [`Self::until_ignoring`] has returned.
    pub fn service_ignoring(&self, name: &str, signal: &str) {
        let marker = self.path("ignoring");
        let text = format!(
            "trap '' {signal}; : > {}; while :; do sleep 0.1; done",
            marker.display()
        );
        self.service(name, &text);
    }

    /// Waits until the service started last ignores its signal.
    pub fn until_ignoring(&self) {
        until("the trap", || fs::remove_file(self.path("ignoring")).ok());
    }

    /// Returns the content of a file, or an empty string without one.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// Links the service directory `other/NAME` into `services`.
    pub fn link(&self, name: &str) {
        fs::create_dir_all(self.path("services")).unwrap();
        let target = format!("../other/{name}");
        symlink(target, self.path(&format!("services/{name}"))).unwrap();
    }

    /// Waits until `supervise/stat` of a service directory is `stat`.
    pub fn until_stat_of(&self, dir: &str, stat: &str) {
        until(&format!("{dir} is `{stat}`"), || {
            let now = self.read(&format!("{dir}/supervise/stat"));
            (now.trim_end() == stat).then_some(())
        });
    }

    /// Returns `supervise/stat` of a service, without its newline.
    pub fn stat(&self, service: &str) -> String {
        let name = format!("services/{service}/supervise/stat");
        self.read(&name).trim_end().to_string()
    }

    /// Returns the process of a service, if it has one.
    pub fn pid(&self, service: &str) -> Option<Pid> {
        let name = format!("services/{service}/supervise/pid");
        Pid::from_raw(self.read(&name).trim().parse().ok()?)
    }

    /// Writes control bytes to a service.
    pub fn control(&self, service: &str, bytes: &str) {
        let name = format!("services/{service}/supervise/control");
        fs::write(self.path(&name), bytes).unwrap();
    }

    /// Waits until `supervise/stat` of a service is `stat`.
    pub fn until_stat(&self, service: &str, stat: &str) {
        until(&format!("{service} is `{stat}`"), || {
            (self.stat(service) == stat).then_some(())
        });
    }

    /// Waits until a service has a process other than `old`. `status`, which
    /// is written after `pid` and `stat`, must name it too.
    pub fn until_pid(&self, service: &str, old: Option<Pid>) -> Pid {
        let status = self.path(&format!("services/{service}/supervise/status"));
        until(&format!("a process of {service}"), || {
            let pid = self.pid(service).filter(|pid| Some(*pid) != old)?;
            let record = fs::read(&status).ok()?;
            let named = record.get(12..16)? == pid.as_raw_pid().to_le_bytes();
            named.then_some(pid)
        })
    }

    /// Waits until the supervisor of a service has written all its files;
    /// `status` is the last one.
    pub fn until_supervised(&self, service: &str) {
        let status = self.path(&format!("services/{service}/supervise/status"));
        until(&format!("the record of {service}"), || {
            status.exists().then_some(())
        });
    }

    /// Starts `runsvdir services`.
    pub fn runsvdir(&self) -> Running<'_> {
        fs::create_dir_all(self.path("services")).unwrap();
        self.start(&["runsvdir", "services"])
    }

    /// Starts a program whose descriptor 2 is the file `errors`.
    pub fn start(&self, words: &[&str]) -> Running<'_> {
        self.start_as(&mut self.command(words))
    }

    /// Starts a command whose descriptor 2 is the file `errors`.
    pub fn start_as(&self, command: &mut Command) -> Running<'_> {
        let errors = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("errors"))
            .unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(errors)
            .spawn()
            .unwrap();
        Running { tmp: self, child }
    }
}

/// A supervisor started by a test. Dropping it ends it and its services.
pub struct Running<'a> {
    tmp: &'a TestDir,
    pub child: Child,
}

impl Running<'_> {
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub fn kill(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Returns the supervisor: the only child of runsvdir's front process.
    pub fn supervisor(&self) -> Pid {
        let children =
            format!("/proc/{0}/task/{0}/children", self.pid().as_raw_pid());
        until("the supervisor", || {
            let list = fs::read_to_string(&children).ok()?;
            Pid::from_raw(list.trim().parse().ok()?)
        })
    }

    /// Waits for the process. Returns the exit code, or the negated signal.
    pub fn wait(&mut self) -> i32 {
        until("the end of a supervisor", || {
            let status = self.child.try_wait().unwrap()?;
            let signal = status.signal().map(|signal| -signal);
            status.code().or(signal)
        })
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            // HUP stops all services of runsvdir, TERM the one of runsv.
            let _gone = kill_process(self.pid(), Signal::HUP).is_err();
            let _reaped = self.child.wait();
        }
        // A supervisor that is still alive has its control FIFO open.
        for supervise in supervise_dirs(self.tmp.dir.path()) {
            let began = Instant::now();
            let control = supervise.join("control");
            while is_open(&control) && began.elapsed() < LIMIT {
                if let Ok(pid) = fs::read_to_string(supervise.join("pid"))
                    && let Ok(pid) = pid.trim().parse()
                    && let Some(pid) = Pid::from_raw(pid)
                {
                    let _gone = kill_process(pid, Signal::KILL).is_err();
                }
                let _gone = fs::OpenOptions::new()
                    .read(true)
                    .write(true)
                    .open(&control)
                    .and_then(|mut fifo| {
                        std::io::Write::write_all(&mut fifo, b"dx")
                    });
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// Checks that a supervisor has a FIFO open.
fn is_open(fifo: &Path) -> bool {
    let ok = fifo.with_file_name("ok");
    // A supervisor that another test starts now must not inherit it.
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    rustix::fs::open(&ok, flags, Mode::empty()).is_ok()
}

/// Lists all supervise directories of services.
fn supervise_dirs(tmp: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for services in ["services", "other"] {
        let Ok(list) = fs::read_dir(tmp.join(services)) else {
            continue;
        };
        for entry in list.flatten() {
            found.push(entry.path().join("supervise"));
        }
    }
    // Entries of the run directory; they reach a supervisor whose front
    // process has ended.
    for entry in fs::read_dir(tmp.join("run")).into_iter().flatten() {
        found.extend(entry.map(|entry| entry.path().join("supervise")));
    }
    found
}

/// Runs a command until it ends and returns its output.
pub fn output_of(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap();
    Output {
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        code: output
            .status
            .code()
            .unwrap_or_else(|| -output.status.signal().unwrap_or(0)),
    }
}

/// Repeats a call until no signal interrupts it. The kernel does not restart a
/// receive with a time limit (signal(7)).
pub fn uninterrupted<T>(
    mut call: impl FnMut() -> std::io::Result<T>,
) -> std::io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Waits until `look` returns a value. Fails after [`LIMIT`].
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(began.elapsed() < LIMIT, "never came: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Returns the processes that work in a directory, by number.
pub fn processes_in(dir: &Path) -> Vec<Pid> {
    let dir = fs::canonicalize(dir).unwrap();
    let all = fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let cwd = fs::read_link(entry.path().join("cwd")).ok()?;
        (cwd == dir).then(|| Pid::from_raw(pid)).flatten()
    });
    let mut pids: Vec<Pid> = pids.collect();
    pids.sort_by_key(|pid| pid.as_raw_pid());
    pids
}

/// Returns true for a process that waits in `write` until the file of this
/// number takes more.
pub fn is_blocked_writing(pid: Pid, number: u32) -> bool {
    // `running`, or the number of the call and its arguments.
    let call = format!("/proc/{}/syscall", pid.as_raw_pid());
    let call = fs::read_to_string(call).unwrap_or_default();
    let mut words = call.split(' ');
    let is_write = words.next() == Some(WRITE);
    is_write && words.next() == Some(format!("{number:#x}").as_str())
}

/// Returns the words of /proc/PID/stat from the state on, or none for a
/// process that does not exist.
fn stat_words(pid: Pid) -> Vec<String> {
    let stat = format!("/proc/{}/stat", pid.as_raw_pid());
    let stat = fs::read_to_string(stat).unwrap_or_default();
    let words = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    words.split_whitespace().map(String::from).collect()
}

/// Returns the state of a process as the kernel shows it: `S`, `T`, `Z`.
pub fn state(pid: Pid) -> Option<char> {
    stat_words(pid).first()?.chars().next()
}

/// Stops a process and waits until it has stopped. Until then it may still
/// read, as a signal is delivered only when the process is scheduled.
pub fn stop(pid: Pid) {
    kill_process(pid, Signal::STOP).unwrap();
    until("the stop", || (state(pid) == Some('T')).then_some(()));
}

/// Starts something on a simulated kernel without some system calls of x86-64.
pub fn without_calls<T: Send>(
    calls: &[i64],
    start: impl FnOnce() -> T + Send,
) -> T {
    /// ENOSYS.
    const NO_CALL: u32 = 38;
    let rules = calls.iter().map(|call| (*call, Vec::new()));
    with_failing_calls(rules.collect(), NO_CALL, start)
}

/// Starts something for which the system calls of x86-64 that match `rules`
/// fail with `errno`.
pub fn with_failing_calls<T: Send>(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    errno: u32,
    start: impl FnOnce() -> T + Send,
) -> T {
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(errno),
        TargetArch::x86_64,
    );
    let filter = BpfProgram::try_from(filter.unwrap()).unwrap();
    // The filter applies to a thread and its children only.
    std::thread::scope(|scope| {
        let start = || {
            seccompiler::apply_filter(&filter).unwrap();
            start()
        };
        scope.spawn(start).join().unwrap()
    })
}

/// `memfd_create` of x86-64.
pub const MEMFD_CREATE: i64 = 319;
/// `execveat` of x86-64.
pub const EXECVEAT: i64 = 322;

/// x86-64: a call of itself, which ends when the stack overflows.
pub const CALL_ITSELF: [u8; 5] = [0xe8, 0xfb, 0xff, 0xff, 0xff];
/// x86-64: an illegal instruction (`ud2`).
pub const ILLEGAL: [u8; 2] = [0x0f, 0x0b];

/// Replaces the machine code at which a process waits for events, which it
/// executes with the next one.
pub fn patch_wait(pid: Pid, code: &[u8]) {
    let pid = pid.as_raw_pid();
    let place = until("a wait for events", || {
        let call = fs::read_to_string(format!("/proc/{pid}/syscall")).ok()?;
        // epoll_pwait
        let waits = call.starts_with("281 ");
        let place = call.split_whitespace().last()?.strip_prefix("0x")?;
        waits.then(|| u64::from_str_radix(place, 16).unwrap())
    });
    let memory = fs::OpenOptions::new()
        .write(true)
        .open(format!("/proc/{pid}/mem"))
        .unwrap();
    memory.write_all_at(code, place).unwrap();
}

/// Returns the processor time of a process in hundredths of a second.
pub fn cpu_time(pid: Pid) -> u64 {
    let words = stat_words(pid);
    words[11].parse::<u64>().unwrap() + words[12].parse::<u64>().unwrap()
}

/// Waits for a line from the supervisor, which must be its only one.
pub fn until_only_error(tmp: &TestDir, line: &str) {
    until(line, || (!tmp.read("errors").is_empty()).then_some(()));
    assert_eq!(tmp.read("errors"), line);
}

/// Checks that a command of the system runs and succeeds.
pub fn succeeds(words: &[&str]) -> bool {
    Command::new(words[0])
        .args(&words[1..])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Prints why a test was skipped.
pub fn skip(reason: &str) {
    eprintln!("skipped: {reason}");
}

/// Starts one of our programs by a command that takes its words.
pub fn start_by<'a>(
    tmp: &'a TestDir,
    mut by: Command,
    words: &[&str],
) -> Running<'a> {
    let command = tmp.command(&["runsvdir"]);
    by.args(words).current_dir(tmp.dir.path());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => by.env(name, value),
            None => by.env_remove(name),
        };
    }
    tmp.start_as(&mut by)
}

/// Starts one of our programs through others that replace themselves by it.
pub fn start_wrapped<'a>(tmp: &'a TestDir, words: &[&[&str]]) -> Running<'a> {
    let words = words.concat();
    start_by(tmp, Command::new(words[0]), &words[1..])
}
