//! Tests that files of a supervise directory hidden by a mount are created
//! anew, so that the service stays controllable and no second supervisor can
//! start.
#![allow(missing_docs, reason = "the names of the tests say it")]

mod util;

use std::{
    fs,
    os::unix::fs::symlink,
    process::{Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};
use util::{Place, Running, Said, said, skipped, start_by, until, works};

/// A `run` line that keeps the service up.
const STAY: &str = "exec sleep 1000";

/// A runsvdir in its own mount namespace.
struct Inside<'a> {
    place: &'a Place,
    all: Running<'a>,
}

impl<'a> Inside<'a> {
    /// Starts it with three services: `linked`, whose `supervise` is a link
    /// into the directory `elsewhere`; `logged`, the same for its `log/`; and
    /// `sealed`, which is read-only. `before` is a shell command.
    fn start(place: &'a Place, before: &str) -> Option<Self> {
        if !works(&["unshare", "-m", "true"]) {
            skipped("no mount namespace to be had");
            return None;
        }
        for dir in ["elsewhere", "run"] {
            fs::create_dir(place.path(dir)).unwrap();
        }
        for name in ["linked", "logged", "sealed"] {
            place.script(&format!("other/{name}/run"), STAY);
            place.link(name);
        }
        place.script("other/logged/log/run", "exec cat > /dev/null");
        for (link, target) in [
            ("linked", "../../elsewhere/linked"),
            ("logged", "../../elsewhere/logged"),
            ("logged/log", "../../../elsewhere/log"),
        ] {
            let link = format!("other/{link}/supervise");
            symlink(target, place.path(&link)).unwrap();
        }
        let script = format!(
            "mount --bind other/sealed other/sealed && \
             mount -o remount,bind,ro other/sealed && {before} exec \"$@\""
        );
        let by = ["unshare", "-m", "sh", "-c", &script, "sh"];
        let all = start_by(place, &[&by[..], &["runsvdir", "services"]]);
        let inside = Self { place, all };
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
        command.env("RUNT_RUN", self.place.path("run"));
        command.env("SVDIR", self.place.path("services"));
        command
    }

    /// Runs one of our programs in the namespace until it ends.
    fn run(&self, words: &[&str]) -> Said {
        let program = self.place.path("bin").join(words[0]);
        let program = program.to_str().unwrap();
        said(&mut self.command(&[&[program], &words[1..]].concat()))
    }

    /// Mounts a file system over a directory, or unmounts it.
    fn mount(&self, words: &[&str], dir: &str) {
        let mut command = self.command(words);
        command.arg(self.place.path(dir)).stdin(Stdio::null());
        assert!(command.status().unwrap().success(), "{words:?} {dir}");
    }

    /// Waits until a service is controlled: `sv status` shows its state and
    /// that of its log.
    fn until_runs(&self, name: &str) -> Pid {
        until(&format!("a status of {name}"), || {
            let said = self.run(&["sv", "status", name]);
            let line = said.out.strip_prefix("run: ")?;
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
            let said = self.run(&["sv", "-w", "20", "restart", name]);
            assert_eq!(said.code, 0, "{said:?}");
            // Its lock is held: no second supervisor starts.
            let dir = self.place.path(&format!("other/{name}"));
            let said = self.run(&["runsv", dir.to_str().unwrap()]);
            let line = "supervise/lock: temporary failure\n";
            assert!(said.err.ends_with(line), "{said:?}");
        }
    }
}

/// Command that mounts an empty file system.
const OVER: [&str; 4] = ["mount", "-t", "tmpfs", "none"];

/// Names of the services.
const NAMES: [&str; 3] = ["linked", "logged", "sealed"];

#[test]
fn a_mount_over_supervise_directories_is_noticed() {
    let place = Place::new();
    let Some(inside) = Inside::start(&place, "") else {
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
    assert_eq!(place.read("errors"), "");
}

#[test]
fn on_alarm_where_mounts_are_not_told() {
    let place = Place::new();
    let hide = "mount -t tmpfs none /proc &&";
    let Some(inside) = Inside::start(&place, hide) else {
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
fn when_a_status_is_published_to_what_is_no_longer_there() {
    let place = Place::new();
    let hide = "mount -t tmpfs none /proc &&";
    let Some(inside) = Inside::start(&place, hide) else {
        return;
    };
    let old = inside.until_runs("linked");
    inside.mount(&OVER, "elsewhere");
    kill_process(old, Signal::KILL).unwrap();
    let new = inside.until_runs("linked");
    assert_ne!(new, old);
}
