//! Tests that a killed supervisor is harmless: the next one takes the running
//! services and loggers over, and never starts a second copy.

use std::{
    fs,
    os::unix::fs::OpenOptionsExt as _,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::util::{
    Running, TestDir, processes_in, state, until, until_only_error,
};

/// Kills the supervisor and waits for the next one.
fn kill_supervisor(all: &Running<'_>) -> Pid {
    let old = all.supervisor();
    kill_process(old, Signal::KILL).unwrap();
    until("the next supervisor", || {
        Some(all.supervisor()).filter(|pid| *pid != old)
    })
}

/// Waits until a service is supervised again, with the same process.
fn until_adopted(tmp: &TestDir, service: &str, pid: Pid) {
    let shown = format!("run: {service}: (pid {}) ", pid.as_raw_pid());
    until("the same process again", || {
        let status = tmp.run(&["sv", "status", service]).stdout;
        assert!(
            status.starts_with(&shown) || status.contains("runsv not running"),
            "{status}"
        );
        status.starts_with(&shown).then_some(())
    });
    let dir = tmp.path(&format!("services/{service}"));
    assert_eq!(processes_in(&dir), [pid]);
}

/// Creates a service `a` with a logger of its own and a `finish` that keeps
/// its arguments.
fn logged_service(tmp: &TestDir) {
    tmp.service("a", "exec sleep 1000");
    let finish = format!("echo \"$@\" >> {}", tmp.path("ended").display());
    tmp.script("services/a/finish", &finish);
    let log = format!("exec cat > {}", tmp.path("said").display());
    tmp.script("services/a/log/run", &log);
}

#[test]
fn services_and_loggers_of_a_killed_supervisor_go_on() {
    let tmp = TestDir::new();
    logged_service(&tmp);
    let all = tmp.runsvdir();
    let pid = tmp.until_pid("a", None);
    let log = tmp.until_pid("a/log", None);
    for _ in 0..3 {
        kill_supervisor(&all);
        until_adopted(&tmp, "a", pid);
        assert_eq!(processes_in(&tmp.path("services/a/log")), [log]);
    }
    let line =
        "runsvdir services: warning: the supervisor has ended, restarting\n";
    assert_eq!(tmp.read("errors"), line.repeat(3));
    // The logger still reads what services write.
    let pipe = tmp.path("services/a/supervise/log");
    fs::write(pipe, "a line\n").unwrap();
    until("the line", || {
        (tmp.read("said") == "a line\n").then_some(())
    });
    // Their ends are noticed; how they ended is not known.
    kill_process(pid, Signal::KILL).unwrap();
    until("its finish", || {
        (tmp.read("ended") == "-1 0\n").then_some(())
    });
    until("the record", || {
        let why = tmp.run(&["sv", "why", "a"]).stdout;
        why.contains(" unknown after ").then_some(())
    });
    kill_process(log, Signal::KILL).unwrap();
    tmp.until_pid("a/log", Some(log));
    // From the next start on it is known again.
    tmp.until_stat("a", "run");
    kill_process(tmp.until_pid("a", Some(pid)), Signal::KILL).unwrap();
    until("the second finish", || {
        (tmp.read("ended") == "-1 0\n-1 9\n").then_some(())
    });
}

#[test]
fn a_process_that_was_taken_over_obeys() {
    let tmp = TestDir::new();
    logged_service(&tmp);
    let all = tmp.runsvdir();
    let pid = tmp.until_pid("a", None);
    tmp.until_pid("a/log", None);
    kill_supervisor(&all);
    until_adopted(&tmp, "a", pid);
    tmp.control("a", "p");
    tmp.until_stat("a", "run, paused");
    tmp.control("a", "c");
    tmp.until_stat("a", "run");
    let output = tmp.run(&["sv", "-w", "20", "restart", "a"]);
    assert_eq!(output.code, 0, "{output:?}");
    let next = tmp.until_pid("a", Some(pid));
    kill_supervisor(&all);
    until_adopted(&tmp, "a", next);
    let output = tmp.run(&["sv", "-w", "20", "shutdown", "a"]);
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(processes_in(&tmp.path("services/a")), []);
    assert_eq!(processes_in(&tmp.path("services/a/log")), []);
}

#[test]
fn the_next_runsvdir_takes_over_from_front_and_supervisor() {
    let tmp = TestDir::new();
    tmp.service("a", "exec sleep 1000");
    let mut all = tmp.runsvdir();
    let pid = tmp.until_pid("a", None);
    let supervisor = all.supervisor();
    all.kill(Signal::KILL);
    kill_process(supervisor, Signal::KILL).unwrap();
    all.wait();
    let mut next = tmp.runsvdir();
    until_adopted(&tmp, "a", pid);
    next.kill(Signal::HUP);
    next.wait();
    until_ended(&tmp);
}

/// Waits until a killed process has ended, reaped or not.
fn until_dead(pid: Pid) {
    until("the end of the supervisor", || {
        let gone = state(pid).is_none_or(|state| state == 'Z');
        gone.then_some(())
    });
}

/// Waits until the service `a` has no process.
fn until_ended(tmp: &TestDir) {
    until("the end of the service", || {
        let left = processes_in(&tmp.path("services/a"));
        left.is_empty().then_some(())
    });
}

/// Waits for the end of the service `a`, whose front process a signal has
/// ended. After TERM it is still supervised, as `pid`, and gets the command.
fn end_after(tmp: &TestDir, signal: Signal, pid: Pid) {
    if signal == Signal::TERM {
        until_adopted(tmp, "a", pid);
        tmp.control("a", "x");
    }
    until_ended(tmp);
}

#[test]
fn a_signal_that_comes_while_there_is_no_supervisor() {
    for (signal, code) in [(Signal::HUP, 111), (Signal::TERM, 0)] {
        let tmp = TestDir::new();
        tmp.service("a", "exec sleep 1000");
        let mut all = tmp.runsvdir();
        let pid = tmp.until_pid("a", None);
        let supervisor = all.supervisor();
        kill_process(supervisor, Signal::KILL).unwrap();
        // It dies a moment later; until then the signal is passed on to it.
        until_dead(supervisor);
        all.kill(signal);
        assert_eq!(all.wait(), code);
        end_after(&tmp, signal, pid);
    }
}

#[test]
fn a_signal_that_comes_before_the_end_of_the_supervisor_is_noticed() {
    for (signal, code) in [(Signal::HUP, 111), (Signal::TERM, 0)] {
        let tmp = TestDir::new();
        tmp.service("a", "exec sleep 1000");
        let mut all = tmp.runsvdir();
        let pid = tmp.until_pid("a", None);
        // As a child does that has not executed its program yet.
        let dirs = fs::read_dir(tmp.path("run")).unwrap().flatten();
        let dir = dirs
            .map(|dir| dir.path())
            .find(|d| d.join("front").exists());
        let ok = fs::File::options()
            .read(true)
            .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
            .open(dir.unwrap().join("supervise/ok"))
            .unwrap();
        let supervisor = all.supervisor();
        kill_process(supervisor, Signal::KILL).unwrap();
        until_dead(supervisor);
        all.kill(signal);
        let status = format!("/proc/{}/status", all.pid().as_raw_pid());
        until("the signal to be read", || {
            let status = fs::read_to_string(&status).unwrap();
            let none = status.contains("\nShdPnd:\t0000000000000000\n");
            none.then_some(())
        });
        drop(ok);
        assert_eq!(all.wait(), code);
        end_after(&tmp, signal, pid);
    }
}

#[test]
fn a_service_that_is_not_listed_any_more() {
    let tmp = TestDir::new();
    for name in ["a", "b"] {
        tmp.script(&format!("other/{name}/run"), "exec sleep 1000");
        tmp.link(name);
    }
    let all = tmp.runsvdir();
    let count = |name: &str| {
        let dir = tmp.path(&format!("other/{name}"));
        processes_in(&dir).len()
    };
    // A process is published before it works there.
    until("both services", || {
        (count("a") == 1 && count("b") == 1).then_some(())
    });
    let old = all.supervisor();
    kill_process(old, Signal::KILL).unwrap();
    fs::remove_file(tmp.path("services/a")).unwrap();
    until("the end of the service", || (count("a") == 0).then_some(()));
    assert_ne!(all.supervisor(), old);
    assert_eq!(count("b"), 1);
}

#[test]
fn the_next_runsv_takes_over() {
    let tmp = TestDir::new();
    logged_service(&tmp);
    // A daemon that works elsewhere.
    tmp.service("b", "cd /; exec sleep 1000");
    for name in ["a", "b"] {
        let dir = format!("services/{name}");
        let mut one = tmp.start(&["runsv", &dir]);
        let pid = tmp.until_pid(name, None);
        // Until then it has the lock open too.
        until("its program", || {
            let comm = format!("/proc/{}/comm", pid.as_raw_pid());
            let comm = fs::read_to_string(comm).unwrap();
            (comm == "sleep\n").then_some(())
        });
        one.kill(Signal::KILL);
        one.wait();
        let one = tmp.start(&["runsv", &dir]);
        let shown = format!("run: {name}: (pid {}) ", pid.as_raw_pid());
        until("the same process", || {
            let status = tmp.run(&["sv", "status", name]).stdout;
            status.starts_with(&shown).then_some(())
        });
        let output = tmp.run(&["sv", "-w", "20", "exit", name]);
        assert_eq!(output.code, 0, "{output:?}");
        drop(one);
    }
}

/// A process that no supervisor has started.
struct Stranger(Child);

impl Stranger {
    fn end(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.end();
    }
}

/// Starts a process in a directory of its own, with the number that `a`'s
/// status, written after that, shows.
fn stranger(tmp: &TestDir) -> Stranger {
    tmp.service("a", "exec sleep 1000");
    let mut one = tmp.start(&["runsv", "services/a"]);
    let pid = tmp.until_pid("a", None);
    one.kill(Signal::KILL);
    one.wait();
    kill_process(pid, Signal::KILL).unwrap();
    // The ledger would tell.
    fs::remove_dir_all(tmp.path("run")).unwrap();
    let mut command = Command::new("sleep");
    command.arg("1000").stdin(Stdio::null());
    let sleep = Stranger(command.spawn().unwrap());
    let status = tmp.path("services/a/supervise/status");
    let mut record = fs::read(&status).unwrap();
    record[12..16].copy_from_slice(&sleep.0.id().to_le_bytes());
    // The time of the start is an hour older.
    let secs = u64::from_be_bytes(*record.first_chunk().unwrap()) - 3600;
    record[..8].copy_from_slice(&secs.to_be_bytes());
    fs::write(&status, record).unwrap();
    sleep
}

#[test]
fn nothing_starts_beside_a_process_that_may_be_the_service() {
    let tmp = TestDir::new();
    let mut sleep = stranger(&tmp);
    fs::remove_file(tmp.path("errors")).unwrap();
    let _one = tmp.start(&["runsv", "services/a"]);
    let line = format!(
        "runsv services/a: warning: ./run waits for the end of process {}, \
         which another supervisor may have started for it\n",
        sleep.0.id()
    );
    until_only_error(&tmp, &line);
    let start = format!("down: a: (pid {}) ", sleep.0.id());
    until("its status", || {
        let status = tmp.run(&["sv", "status", "a"]).stdout;
        let whole =
            status.ends_with("s, normally up, want up, may still run\n");
        (status.starts_with(&start) && whole).then_some(())
    });
    // It is written after the status.
    until("the reason", || {
        let why = tmp.run(&["sv", "why", "a"]).stdout;
        why.contains("  waits process\n").then_some(())
    });
    tmp.control("a", "u");
    tmp.control("a", "k");
    assert_eq!(processes_in(&tmp.path("services/a")), []);
    sleep.end();
    tmp.until_pid("a", None);
    tmp.until_stat("a", "run");
}

#[test]
fn a_number_that_was_used_again_holds_nothing_up() {
    let tmp = TestDir::new();
    let mut sleep = stranger(&tmp);
    // Written before that process was started.
    let status = fs::File::options()
        .write(true)
        .open(tmp.path("services/a/supervise/status"))
        .unwrap();
    let hour = std::time::Duration::from_secs(3600);
    let time = std::time::SystemTime::now() - hour;
    status.set_modified(time).unwrap();
    let _one = tmp.start(&["runsv", "services/a"]);
    tmp.until_stat("a", "run");
    until("the service", || {
        (processes_in(&tmp.path("services/a")).len() == 1).then_some(())
    });
    assert!(sleep.0.try_wait().unwrap().is_none());
}

#[test]
fn output_outlives_the_supervisor() {
    let tmp = TestDir::new();
    let lines = tmp.path("lines");
    let run = format!(
        "while echo a line >&2; do echo >> {}; sleep 0.02; done",
        lines.display()
    );
    tmp.service("a", &run);
    let title = "log: ................................";
    let all = tmp.start(&["runsvdir", "services", title]);
    let pid = tmp.until_pid("a", None);
    kill_supervisor(&all);
    let count = || tmp.read("lines").len();
    let before = count();
    until("more lines", || (count() > before + 20).then_some(()));
    until("a title with the new lines", || {
        let path = format!("/proc/{}/cmdline", all.pid().as_raw_pid());
        let shown = fs::read_to_string(path).unwrap();
        shown.contains("a line").then_some(())
    });
    assert_eq!(tmp.until_pid("a", None), pid);
}

/// Kills while services start, end and are restarted all the time.
fn kill_repeatedly(kills: usize) {
    const SERVICES: usize = 6;
    let tmp = TestDir::new();
    let name = |number: usize| format!("s{number}");
    for number in 0..SERVICES {
        // Some end again and again, by themselves or by a signal.
        let run = match number % 3 {
            0 => "exec sleep 1000",
            1 => "exec sleep 0.05",
            _ => "sleep 0.02; kill -9 $$",
        };
        // A second copy finds the first one's lock.
        let lock = tmp.path(&format!("second{number}"));
        let second = format!(
            "exec 9> ../lock{number}; flock -n 9 || echo second > {}\n{run}",
            lock.display()
        );
        tmp.service(&name(number), &second);
        let log = "exec cat > /dev/null";
        tmp.script(&format!("services/{}/log/run", name(number)), log);
    }
    let mut all = tmp.runsvdir();
    for number in 0..SERVICES {
        tmp.until_supervised(&name(number));
    }
    for kill in 0..kills {
        if kill % 4 == 3 {
            let supervisor = all.supervisor();
            all.kill(Signal::KILL);
            kill_process(supervisor, Signal::KILL).unwrap();
            all.wait();
            // It may still have the lock of its front process.
            until("its end", || {
                state(supervisor).is_none_or(|s| s == 'Z').then_some(())
            });
            all = tmp.runsvdir();
            all.supervisor();
        } else {
            kill_supervisor(&all);
        }
        if kill % 2 == 0 {
            tmp.until_supervised("s0");
            let _sent = tmp.run(&["sv", "-w", "20", "term", "s0"]);
        }
        for number in 0..SERVICES {
            let second = tmp.path(&format!("second{number}"));
            assert!(!second.exists(), "a second copy after {kill} kills");
        }
    }
    // Everything works still.
    for number in 0..SERVICES {
        if number % 3 == 0 {
            let output = tmp.run(&["sv", "-w", "60", "restart", &name(number)]);
            assert_eq!(output.code, 0, "{output:?}");
        } else {
            let old = tmp.until_pid(&name(number), None);
            tmp.until_pid(&name(number), Some(old));
        }
        let log = tmp.path(&format!("services/{}/log", name(number)));
        assert_eq!(processes_in(&log).len(), 1, "loggers of {number}");
        let second = tmp.path(&format!("second{number}"));
        assert!(!second.exists(), "a second copy");
    }
}

#[test]
fn thirty_kills_lead_to_no_second_copy() {
    kill_repeatedly(30);
}

#[test]
#[ignore = "takes ten minutes"]
fn a_thousand_kills_lead_to_no_second_copy() {
    kill_repeatedly(1000);
}
