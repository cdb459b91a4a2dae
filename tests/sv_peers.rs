//! Tests that our sv controls Debian's runsv, and Debian's sv ours.
#![allow(missing_docs, reason = "the names of the tests say it")]

#[path = "util/peers.rs"]
mod peers;
#[path = "util/played.rs"]
mod played;
mod util;

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use played::masked;
use util::{Place, said, until};

/// A runsv of either side. Dropping it ends it and its service.
struct Supervising(Child);

impl Supervising {
    fn start(command: &mut Command) -> Self {
        let quiet = command.stdin(Stdio::null()).stdout(Stdio::null());
        Self(quiet.stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Supervising {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        if self.0.try_wait().is_ok_and(|ended| ended.is_none()) {
            let term = rustix::process::Signal::TERM;
            let _gone = rustix::process::kill_process(pid, term).is_err();
            let _reaped = self.0.wait();
        }
    }
}

/// Checks that an old and a new `sv` work with either supervisor.
fn drive(place: &Place, sv: &PathBuf, dir: &str) {
    let row = |words: &[&str], out: &str, code: i32| {
        let mut command = Command::new(sv);
        command.args(words).arg(dir).current_dir(place.dir.path());
        let said = said(&mut command);
        let mut line = masked(&said.out).replace(dir, "a");
        // Of the old process or the new one: Debian's sv compares seconds.
        if let Some((front, rest)) = line.split_once("(pid ") {
            let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            line = format!("{front}(pid P{rest}");
        }
        // It also takes a service that waits for its next start for down, at
        // once.
        let line = line.replace("normally up, want up", "normally up");
        assert_eq!((line.as_str(), said.code), (out, code), "{words:?}");
    };
    row(&["status"], "run: a: (pid P) Ns\n", 0);
    row(&["-v", "up"], "ok: run: a: (pid P) Ns\n", 0);
    row(&["-v", "pause"], "ok: run: a: (pid P) Ns, paused\n", 0);
    row(&["-v", "cont"], "ok: run: a: (pid P) Ns\n", 0);
    row(&["-v", "hup"], "ok: run: a: (pid P) Ns\n", 0);
    row(&["-w", "20", "stop"], "ok: down: a: Ns, normally up\n", 0);
    row(&["-w", "20", "start"], "ok: run: a: (pid P) Ns\n", 0);
    row(&["-w", "20", "restart"], "ok: run: a: (pid P) Ns\n", 0);
    row(&["-w", "20", "stop"], "ok: down: a: Ns, normally up\n", 0);
    row(&["-w", "20", "start"], "ok: run: a: (pid P) Ns\n", 0);
    row(&["-v", "once"], "ok: run: a: (pid P) Ns, want down\n", 0);
    row(&["-w20", "force-stop"], "ok: down: a: Ns, normally up\n", 0);
    row(&["-w", "20", "start"], "ok: run: a: (pid P) Ns\n", 0);
    row(&["-w20", "force-restart"], "ok: run: a: (pid P) Ns\n", 0);
    row(&["-w", "20", "shutdown"], "ok: a: runsv not running\n", 0);
    row(&["status"], "fail: a: runsv not running\n", 1);
}

#[test]
fn ours_and_debians_work_with_each_other() {
    let Some(debian) = peers::programs("runit") else {
        return;
    };
    let place = Place::new();
    let bin = place.path("bin");
    for (supervisor, control) in
        [(&bin, &debian), (&debian, &bin), (&bin, &bin)]
    {
        let dir = "./services/a";
        place.deaf_service("a", "HUP");
        let mut runsv = Command::new(supervisor.join("runsv"));
        runsv.arg(dir).current_dir(place.dir.path());
        let mut runsv = Supervising::start(&mut runsv);
        place.until_deaf();
        until("a service that runs", || {
            let said = place.run(&["sv", "status", dir]);
            said.out.starts_with("run: ").then_some(())
        });
        drive(&place, &control.join("sv"), dir);
        assert!(runsv.0.wait().unwrap().success());
        fs::remove_dir_all(place.path(dir)).unwrap();
    }
}
