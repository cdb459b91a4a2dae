//! Starts svlogd for a test and reads the contents of its directory.

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    os::unix::process::ExitStatusExt as _,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::util::{TestDir, skip, succeeds, until};

/// Returns a test directory whose `log` has this config.
pub fn log_dir(config: &str) -> TestDir {
    let tmp = TestDir::new();
    tmp.write("log/config", config);
    tmp
}

/// Returns the content of `log/current`.
pub fn current(tmp: &TestDir) -> String {
    tmp.read("log/current")
}

/// Runs svlogd until its input ends. Returns what it wrote to descriptor 2 and
/// its exit code.
pub fn feed(tmp: &TestDir, words: &[&str], input: &[u8]) -> (String, i32) {
    let mut logger = Logger::start(tmp, words);
    logger.write(input);
    let code = logger.end();
    (logger.errors(), code)
}

/// A svlogd with a pipe as its input and a file as its descriptor 2.
pub struct Logger<'a> {
    tmp: &'a TestDir,
    pub child: Child,
    errors: String,
}

impl<'a> Logger<'a> {
    pub fn start(tmp: &'a TestDir, words: &[&str]) -> Self {
        let command = tmp.command(&[&["svlogd"], words].concat());
        Self::spawn(tmp, command)
    }

    /// Runs a script that mounts over `log` and becomes svlogd, in a mount
    /// namespace of its own. Returns `None` where that is impossible.
    pub fn spawn_mounting(tmp: &'a TestDir, script: &str) -> Option<Self> {
        if !succeeds(&["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"])
        {
            skip("no mount namespace of our own");
            return None;
        }
        let mut command = Command::new("unshare");
        command
            .args(["-m", "sh", "-c", script])
            .current_dir(&tmp.dir);
        Some(Self::spawn(tmp, command))
    }

    /// Starts any command that becomes svlogd.
    pub fn spawn(tmp: &'a TestDir, mut command: Command) -> Self {
        let errors =
            format!("errors-{}", fs::read_dir(&tmp.dir).unwrap().count());
        let file = fs::File::create(tmp.path(&errors)).unwrap();
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .unwrap();
        Self { tmp, child, errors }
    }

    pub fn write(&mut self, bytes: &[u8]) {
        // It may have ended already: then its messages tell why.
        let _gone =
            self.child.stdin.as_mut().unwrap().write_all(bytes).is_err();
    }

    pub fn kill(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Closes the input and waits for the process. Returns as [`Self::wait`].
    pub fn end(&mut self) -> i32 {
        drop(self.child.stdin.take());
        self.wait()
    }

    /// Waits for the process. Returns the exit code, or the negated signal.
    pub fn wait(&mut self) -> i32 {
        until("the end of svlogd", || {
            let status = self.child.try_wait().unwrap()?;
            status.code().or(status.signal().map(|signal| -signal))
        })
    }

    /// Returns what it has written to descriptor 2 so far.
    pub fn errors(&self) -> String {
        self.tmp.read(&self.errors)
    }

    pub fn until_printed(&self, text: &str) {
        until(&format!("`{text}`"), || {
            self.errors().contains(text).then_some(())
        });
    }
}

impl Drop for Logger<'_> {
    fn drop(&mut self) {
        let _gone = self.child.kill().is_err();
        let _reaped = self.child.wait();
    }
}

/// Lists the rotated logs of a directory, oldest first.
pub fn rotated(tmp: &TestDir, dir: &str) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(tmp.path(dir))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with('@'))
        .collect();
    names.sort();
    names
}

/// Returns the content of a file.
pub fn read_bytes(tmp: &TestDir, name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(mut file) = fs::File::open(tmp.path(name)) {
        file.read_to_end(&mut bytes).unwrap();
    }
    bytes
}

/// Returns the contents of all logs of a directory, oldest first.
pub fn all_logs(tmp: &TestDir, dir: &str) -> Vec<u8> {
    let mut all = Vec::new();
    for name in rotated(tmp, dir) {
        all.extend(read_bytes(tmp, &format!("{dir}/{name}")));
    }
    all.extend(read_bytes(tmp, &format!("{dir}/current")));
    all
}

/// Returns the permission bits of a file.
pub fn mode(tmp: &TestDir, name: &str) -> u32 {
    fs::metadata(tmp.path(name)).unwrap().permissions().mode() & 0o7777
}

/// A small random number generator with the same sequence in each run.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
