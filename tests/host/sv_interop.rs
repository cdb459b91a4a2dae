//! Tests that our sv controls Debian's runsv, and Debian's sv ours.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use crate::util::{TestDir, fake_supervisor::masked, output_of, peers, until};

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
fn check_commands(tmp: &TestDir, sv: &PathBuf, dir: &str) {
    let row = |words: &[&str], out: &str, code: i32| {
        let mut command = Command::new(sv);
        command.args(words).arg(dir).current_dir(tmp.dir.path());
        let output = output_of(&mut command);
        let mut line = masked(&output.stdout).replace(dir, "a");
        // Of the old process or the new one: Debian's sv compares seconds.
        if let Some((front, rest)) = line.split_once("(pid ") {
            let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
            line = format!("{front}(pid P{rest}");
        }
        // It also takes a service that waits for its next start for down, at
        // once.
        let line = line.replace("normally up, want up", "normally up");
        assert_eq!((line.as_str(), output.code), (out, code), "{words:?}");
    };
    // Debian's sv is satisfied when the service waits for its next start, and
    // sends no `u` while the record says that the service is to be up.
    let stop = |word: &str| {
        row(&["-w", "20", word], "ok: down: a: Ns, normally up\n", 0);
        let record = tmp.path(dir).join("supervise/status");
        until("a record of the stop", || {
            (fs::read(&record).ok()?.get(17) == Some(&b'd')).then_some(())
        });
    };
    row(&["status"], "run: a: (pid P) Ns\n", 0);
    row(&["-v", "up"], "ok: run: a: (pid P) Ns\n", 0);
    row(&["-v", "pause"], "ok: run: a: (pid P) Ns, paused\n", 0);
    row(&["-v", "cont"], "ok: run: a: (pid P) Ns\n", 0);
    row(&["-v", "hup"], "ok: run: a: (pid P) Ns\n", 0);
    stop("stop");
    row(&["-w", "20", "start"], "ok: run: a: (pid P) Ns\n", 0);
    row(&["-w", "20", "restart"], "ok: run: a: (pid P) Ns\n", 0);
    stop("stop");
    row(&["-w", "20", "start"], "ok: run: a: (pid P) Ns\n", 0);
    row(&["-v", "once"], "ok: run: a: (pid P) Ns, want down\n", 0);
    stop("force-stop");
    row(&["-w", "20", "start"], "ok: run: a: (pid P) Ns\n", 0);
    row(&["-w20", "force-restart"], "ok: run: a: (pid P) Ns\n", 0);
    row(&["-w", "20", "shutdown"], "ok: a: runsv not running\n", 0);
    row(&["status"], "fail: a: runsv not running\n", 1);
}

#[test]
fn interoperates_with_debians_runit() {
    let Some(debian) = peers::programs("runit") else {
        return;
    };
    let tmp = TestDir::new();
    let bin = tmp.path("bin");
    for (supervisor, control) in
        [(&bin, &debian), (&debian, &bin), (&bin, &bin)]
    {
        let dir = "./services/a";
        tmp.service_ignoring("a", "HUP");
        let mut runsv = Command::new(supervisor.join("runsv"));
        runsv.arg(dir).current_dir(tmp.dir.path());
        let mut runsv = Supervising::start(&mut runsv);
        tmp.until_ignoring();
        until("a service that runs", || {
            let output = tmp.run(&["sv", "status", dir]);
            output.stdout.starts_with("run: ").then_some(())
        });
        check_commands(&tmp, &control.join("sv"), dir);
        assert!(runsv.0.wait().unwrap().success());
        fs::remove_dir_all(tmp.path(dir)).unwrap();
    }
}
