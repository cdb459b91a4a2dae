//! Starts svlogd for a test and reads the contents of its directory.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(missing_docs, unreachable_pub, reason = "test helpers")]

use std::{
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    os::unix::process::ExitStatusExt as _,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::util::{Place, skipped, until, works};

/// Returns a test directory whose `log` has this config.
pub fn place(config: &str) -> Place {
    let place = Place::new();
    place.write("log/config", config);
    place
}

/// Returns the content of `log/current`.
pub fn current(place: &Place) -> String {
    place.read("log/current")
}

/// Runs svlogd until its input ends. Returns what it wrote to descriptor 2 and
/// its exit code.
pub fn feed(place: &Place, words: &[&str], input: &[u8]) -> (String, i32) {
    let mut logger = Logger::start(place, words);
    logger.write(input);
    let code = logger.end();
    (logger.errors(), code)
}

/// A svlogd with a pipe as its input and a file as its descriptor 2.
pub struct Logger<'a> {
    place: &'a Place,
    pub child: Child,
    errors: String,
}

impl<'a> Logger<'a> {
    pub fn start(place: &'a Place, words: &[&str]) -> Self {
        let command = place.command(&[&["svlogd"], words].concat());
        Self::spawn(place, command)
    }

    /// Runs a script that mounts over `log` and becomes svlogd, in a mount
    /// namespace of its own. Returns `None` where that is impossible.
    pub fn spawn_mounting(place: &'a Place, script: &str) -> Option<Self> {
        if !works(&["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"]) {
            skipped("no mount namespace of our own");
            return None;
        }
        let mut command = Command::new("unshare");
        command
            .args(["-m", "sh", "-c", script])
            .current_dir(&place.dir);
        Some(Self::spawn(place, command))
    }

    /// Starts any command that becomes svlogd.
    pub fn spawn(place: &'a Place, mut command: Command) -> Self {
        let errors =
            format!("errors-{}", fs::read_dir(&place.dir).unwrap().count());
        let file = fs::File::create(place.path(&errors)).unwrap();
        let child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .unwrap();
        Self {
            place,
            child,
            errors,
        }
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
        self.place.read(&self.errors)
    }

    pub fn until_says(&self, text: &str) {
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
pub fn olds(place: &Place, dir: &str) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(place.path(dir))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with('@'))
        .collect();
    names.sort();
    names
}

/// Returns the content of a file.
pub fn bytes(place: &Place, name: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Ok(mut file) = fs::File::open(place.path(name)) {
        file.read_to_end(&mut bytes).unwrap();
    }
    bytes
}

/// Returns the contents of all logs of a directory, oldest first.
pub fn all(place: &Place, dir: &str) -> Vec<u8> {
    let mut all = Vec::new();
    for name in olds(place, dir) {
        all.extend(bytes(place, &format!("{dir}/{name}")));
    }
    all.extend(bytes(place, &format!("{dir}/current")));
    all
}

/// Returns the permission bits of a file.
pub fn mode(place: &Place, name: &str) -> u32 {
    fs::metadata(place.path(name)).unwrap().permissions().mode() & 0o7777
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
