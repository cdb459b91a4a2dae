//! Simulates a supervisor, and runs `sv` while it waits for it.

use std::{
    fs,
    io::{ErrorKind, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::PathBuf,
    process::{Child, Stdio},
};

use runt::wire::{
    clock::Wall,
    status::{self, State, Status, Want},
};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};

use crate::util::{Output, TestDir, until};

/// A supervisor simulated by the test. Its FIFOs are open, it publishes what
/// the test sets, and it keeps the bytes that it receives.
pub struct FakeSupervisor {
    dir: PathBuf,
    /// `ok` and `control`, as long as it is present.
    fifos: Option<(fs::File, fs::File)>,
}

impl FakeSupervisor {
    /// Creates a service directory in `services` with a simulated supervisor.
    pub fn new(tmp: &TestDir, name: &str) -> Self {
        let dir = tmp.path(&format!("services/{name}"));
        fs::create_dir_all(dir.join("supervise")).unwrap();
        let mut supervisor = Self { dir, fifos: None };
        supervisor.publish(&down());
        supervisor.open_fifos();
        supervisor
    }

    pub fn open_fifos(&mut self) {
        let open = |name: &str| {
            let path = self.dir.join("supervise").join(name);
            let mode = Mode::from_raw_mode(0o600);
            let _there = mknodat(CWD, &path, FileType::Fifo, mode, 0).is_err();
            fs::OpenOptions::new()
                .read(true)
                .custom_flags(OFlags::NONBLOCK.bits().cast_signed())
                .open(path)
                .unwrap()
        };
        // In a supervisor's order: a client that finds `ok` finds `control`
        // too.
        let control = open("control");
        self.fifos = Some((open("ok"), control));
    }

    /// Closes its FIFOs, as at the end of a supervisor. Returns when no
    /// process has them open: a child that another test is just starting has
    /// copies until it executes its program.
    pub fn close_fifos(&mut self) {
        self.fifos = None;
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        until("closed FIFOs", || {
            let is_closed = |name| {
                let path = self.dir.join("supervise").join(name);
                rustix::fs::open(path, flags, Mode::empty()).is_err()
            };
            ["ok", "control"].into_iter().all(is_closed).then_some(())
        });
    }

    pub fn publish(&self, status: &Status) {
        self.write_status(&status::pack(status));
    }

    pub fn write_status(&self, bytes: &[u8]) {
        let new = self.dir.join("supervise/status.new");
        fs::write(&new, bytes).unwrap();
        fs::rename(new, self.dir.join("supervise/status")).unwrap();
    }

    /// Returns the bytes received since the last call.
    pub fn received(&self) -> String {
        let mut bytes = [0; 64];
        let (_, control) = self.fifos.as_ref().unwrap();
        let mut control = control;
        match control.read(&mut bytes) {
            Ok(count) => String::from_utf8_lossy(&bytes[..count]).into_owned(),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                String::new()
            }
            Err(error) => panic!("{error}"),
        }
    }

    /// Waits until the given bytes were received.
    pub fn until_received(&self, bytes: &str) {
        until(&format!("the bytes {bytes}"), || {
            (self.received() == bytes).then_some(())
        });
    }
}

/// Returns the status of a service taken down at the end of the 1980s.
pub fn down() -> Status {
    Status {
        since: Wall {
            secs: 600_000_000,
            nanos: 1,
        },
        pid: 0,
        paused: false,
        term: false,
        want: Want::Down,
        state: State::Down,
    }
}

/// Returns the same status, but running.
pub fn up() -> Status {
    Status {
        pid: 77,
        want: Want::Up,
        state: State::Run,
        ..down()
    }
}

/// Replaces the seconds of status lines by `N`.
pub fn masked(text: &str) -> String {
    let mut out = String::new();
    for word in text.split_inclusive([' ', '\n']) {
        let (body, end) = word.split_at(word.len() - 1);
        let digits = body.trim_start_matches(|c: char| c.is_ascii_digit());
        let is_time =
            digits.len() < body.len() && ["s", "s,", "s;"].contains(&digits);
        if is_time {
            out.push('N');
            out.push_str(digits);
        } else {
            out.push_str(body);
        }
        out.push_str(end);
    }
    out
}

/// Starts one of our programs; [`end`] waits for it.
pub fn begin(tmp: &TestDir, words: &[&str]) -> Child {
    let mut command = tmp.command(words);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    command.stderr(Stdio::piped()).spawn().unwrap()
}

/// Waits for a command from [`begin`] and returns its output.
pub fn end(child: Child) -> Output {
    let output = child.wait_with_output().unwrap();
    Output {
        stdout: masked(&String::from_utf8(output.stdout).unwrap()),
        stderr: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code().unwrap(),
    }
}
