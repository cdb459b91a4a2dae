//! Tests that files of a supervise directory hidden by a mount are created
//! anew, so that the service stays controllable and no second supervisor can
//! start.

use std::{
    fs,
    os::unix::fs::symlink,
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::util::{
    Output, Running, STAY, TestDir, output_of, skip, start_wrapped, succeeds,
    until,
};

/// A runsvdir in its own mount namespace.
struct Inside<'a> {
    tmp: &'a TestDir,
    all: Running<'a>,
}

impl<'a> Inside<'a> {
    /// Starts it with three services: `linked`, whose `supervise` is a link
    /// into the directory `elsewhere`; `logged`, the same for its `log/`; and
    /// `sealed`, which is read-only. `before` is a shell command.
    fn start(tmp: &'a TestDir, before: &str) -> Option<Self> {
        if !succeeds(&["unshare", "-m", "true"]) {
            skip("no mount namespace to be had");
            return None;
        }
        for dir in ["elsewhere", "run"] {
            fs::create_dir(tmp.path(dir)).unwrap();
        }
        for name in ["linked", "logged", "sealed"] {
            tmp.script(&format!("other/{name}/run"), STAY);
            tmp.link(name);
        }
        tmp.script("other/logged/log/run", "exec cat > /dev/null");
        for (link, target) in [
            ("linked", "../../elsewhere/linked"),
            ("logged", "../../elsewhere/logged"),
            ("logged/log", "../../../elsewhere/log"),
        ] {
            let link = format!("other/{link}/supervise");
            symlink(target, tmp.path(&link)).unwrap();
        }
        let script = format!(
            "mount --bind other/sealed other/sealed && \
             mount -o remount,bind,ro other/sealed && {before} exec \"$@\""
        );
        let by = ["unshare", "-m", "sh", "-c", &script, "sh"];
        let all = start_wrapped(tmp, &[&by[..], &["runsvdir", "services"]]);
        let inside = Self { tmp, all };
        for name in NAMES {
            inside.until_runs(name);
        }
        Some(inside)
    }

    /// Returns a command that runs in the namespace.
    fn command(&self, words: &[&str]) -> Command {
        let pid = self.all.pid().as_raw_pid().to_string();
        let mut command = Command::new("nsenter");
        command.args(["-t", &pid, "-m"]).args(words);
        command.env("RUNT_RUN", self.tmp.path("run"));
        command.env("SVDIR", self.tmp.path("services"));
        command
    }

    /// Runs one of our programs in the namespace until it ends.
    fn run(&self, words: &[&str]) -> Output {
        let program = self.tmp.path("bin").join(words[0]);
        let program = program.to_str().unwrap();
        output_of(&mut self.command(&[&[program], &words[1..]].concat()))
    }

    /// Mounts a file system over a directory, or unmounts it.
    fn mount(&self, words: &[&str], dir: &str) {
        let mut command = self.command(words);
        command.arg(self.tmp.path(dir)).stdin(Stdio::null());
        assert!(command.status().unwrap().success(), "{words:?} {dir}");
    }

    /// Waits until a service is controlled: `sv status` shows its state and
    /// that of its log.
    fn until_runs(&self, name: &str) -> Pid {
        until(&format!("a status of {name}"), || {
            let output = self.run(&["sv", "status", name]);
            let line = output.stdout.strip_prefix("run: ")?;
            (!line.contains("warning")).then_some(())?;
            let (_, pid) = line.split_once("(pid ")?;
            let (pid, _) = pid.split_once(')')?;
            Pid::from_raw(pid.parse().unwrap())
        })
    }

    /// Fails when a service's process has changed or is not controlled.
    fn assert_controlled(&self, pids: [Pid; 3]) {
        let now = NAMES.map(|name| self.until_runs(name));
        assert_eq!(now, pids);
        for name in NAMES {
            let output = self.run(&["sv", "-w", "20", "restart", name]);
            assert_eq!(output.code, 0, "{output:?}");
            // Its lock is held: no second supervisor starts.
            let dir = self.tmp.path(&format!("other/{name}"));
            let output = self.run(&["runsv", dir.to_str().unwrap()]);
            let line = "supervise/lock: temporary failure\n";
            assert!(output.stderr.ends_with(line), "{output:?}");
        }
    }
}

/// Command that mounts an empty file system.
const OVER: [&str; 4] = ["mount", "-t", "tmpfs", "none"];

/// Names of the services.
const NAMES: [&str; 3] = ["linked", "logged", "sealed"];

#[test]
fn mounts_over_supervise_directories_are_noticed() {
    let tmp = TestDir::new();
    let Some(inside) = Inside::start(&tmp, "") else {
        return;
    };
    for _ in 0..2 {
        for dir in ["elsewhere", "run"] {
            let pids = NAMES.map(|name| inside.until_runs(name));
            inside.mount(&OVER, dir);
            inside.assert_controlled(pids);
        }
        for dir in ["run", "elsewhere"] {
            let pids = NAMES.map(|name| inside.until_runs(name));
            inside.mount(&["umount", "-l"], dir);
            inside.assert_controlled(pids);
        }
    }
    assert_eq!(tmp.read("errors"), "");
}

#[test]
fn alarm_checks_for_mounts_without_notification() {
    let tmp = TestDir::new();
    let hide = "mount -t tmpfs none /proc &&";
    let Some(inside) = Inside::start(&tmp, hide) else {
        return;
    };
    let pids = NAMES.map(|name| inside.until_runs(name));
    for dir in ["elsewhere", "run"] {
        inside.mount(&OVER, dir);
    }
    inside.all.kill(Signal::ALARM);
    inside.assert_controlled(pids);
}

#[test]
fn publication_recreates_missing_files() {
    let tmp = TestDir::new();
    let hide = "mount -t tmpfs none /proc &&";
    let Some(inside) = Inside::start(&tmp, hide) else {
        return;
    };
    let old = inside.until_runs("linked");
    inside.mount(&OVER, "elsewhere");
    kill_process(old, Signal::KILL).unwrap();
    let new = inside.until_runs("linked");
    assert_ne!(new, old);
}
