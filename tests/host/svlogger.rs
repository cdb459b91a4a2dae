//! Tests that the logger that services share keeps every line of each service,
//! separate from the others, whatever happens to the logger, the services and
//! their disks.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, symlink},
    path::Path,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::util::{
    self, TestDir,
    logger::{self, all_logs, rotated},
    stop, until,
};

/// Creates a service with a directory `log` that has this config but no `run`.
pub(crate) fn service(tmp: &TestDir, name: &str, run: &str, config: &str) {
    tmp.write(&format!("services/{name}/log/config"), config);
    tmp.service(name, run);
}

/// Returns all lines in a service's log.
pub(crate) fn lines(tmp: &TestDir, name: &str) -> Vec<String> {
    let text = all_logs(tmp, &format!("services/{name}/log"));
    let text = String::from_utf8(text).unwrap();
    text.lines().map(String::from).collect()
}

pub(crate) fn until_lines(tmp: &TestDir, name: &str, count: usize) {
    until(&format!("{count} lines of {name}"), || {
        (lines(tmp, name).len() >= count).then_some(())
    });
}

/// Returns the logger's process, which `sv` shows as the log service.
pub(crate) fn logger_of(tmp: &TestDir, name: &str) -> Pid {
    tmp.until_pid(&format!("{name}/log"), None)
}

#[test]
fn each_service_has_its_own_log() {
    let tmp = TestDir::new();
    let run = |name| {
        format!("seq 500 | sed s/^/{name}-/; echo open; exec sleep 1000")
    };
    service(&tmp, "a", &run("a"), "n20\ns2000\n");
    service(&tmp, "b", &run("b"), "pB \n");
    service(&tmp, "c", &run("c"), "");
    // `log/main` takes precedence over `log`.
    tmp.write("services/c/log/main/config", "-*\n+*9\n");
    // `log/run` takes precedence over both.
    tmp.service("d", &run("d"));
    let own = "exec cat > ../lines";
    tmp.script("services/d/log/run", own);
    let running = tmp.runsvdir();
    for name in ["a", "b"] {
        until_lines(&tmp, name, 501);
    }
    let expect = |name: &str, head: &str| {
        let mut all: Vec<String> =
            (1..=500).map(|i| format!("{head}{name}-{i}")).collect();
        all.push(format!("{head}open"));
        all
    };
    assert_eq!(lines(&tmp, "a"), expect("a", ""));
    assert!(rotated(&tmp, "services/a/log").len() > 1);
    assert_eq!(lines(&tmp, "b"), expect("b", "B "));
    until("the patterns", || {
        let text = tmp.read("services/c/log/main/current");
        (text.lines().count() == 45).then_some(())
    });
    until("the other logger's lines", || {
        (tmp.read("services/d/lines").lines().count() == 501).then_some(())
    });
    let one = logger_of(&tmp, "a");
    assert_eq!(logger_of(&tmp, "b"), one);
    assert_eq!(logger_of(&tmp, "c"), one);
    assert_ne!(logger_of(&tmp, "d"), one);
    let status = tmp.run(&["sv", "status", "a"]).stdout;
    let shown = format!("; run: log: (pid {})", one.as_raw_pid());
    assert!(status.contains(&shown), "{status}");
    assert_eq!(tmp.read("errors"), "");
    drop(running);
    until("the logger's end", || {
        (!Path::new(&format!("/proc/{}", one.as_raw_pid())).exists())
            .then_some(())
    });
    // Closed in order: the next start does not rename it.
    assert_eq!(logger::mode(&tmp, "services/a/log/current"), 0o744);
}

#[test]
fn an_open_line_stays_out_of_the_log_behind_a_rotation() {
    let tmp = TestDir::new();
    // One write: lines that fill the file, and a line that is left out and
    // stays open. Its rest comes when a worker has rotated the file.
    let run = "printf '%s\\nno%s' \"$(seq -f 'yes %03g' 60)\" \
        \"$(printf %1500s | tr ' ' n)\"; \
        until [ -e go ]; do sleep 0.1; done; \
        echo rest; echo yes end; exec sleep 1000";
    service(&tmp, "a", run, "s300\nn20\n-no*\n");
    let _all = tmp.runsvdir();
    until_lines(&tmp, "a", 60);
    assert!(!rotated(&tmp, "services/a/log").is_empty());
    tmp.write("services/a/go", "");
    until("the last line", || {
        lines(&tmp, "a").contains(&"yes end".into()).then_some(())
    });
    let mut expected: Vec<String> =
        (1..=60).map(|i| format!("yes {i:03}")).collect();
    expected.push("yes end".into());
    assert_eq!(lines(&tmp, "a"), expected);
}

#[test]
fn a_stalled_medium_delays_no_other() {
    let tmp = TestDir::new();
    let Ok(other) = tempfile::tempdir_in("/dev/shm") else {
        return util::skip("there is no /dev/shm");
    };
    let device = |path: &Path| fs::metadata(path).unwrap().dev();
    if device(other.path()) == device(tmp.dir.path()) {
        return util::skip("/dev/shm is on the medium of all");
    }
    let run = "i=0; while :; do echo $i; i=$((i + 1)); sleep 0.01; done";
    for name in ["a", "b"] {
        service(&tmp, name, run, "");
    }
    tmp.service("c", run);
    symlink(other.path(), tmp.path("services/c/log")).unwrap();
    let _all = tmp.runsvdir();
    for name in ["a", "b", "c"] {
        until_lines(&tmp, name, 3);
    }
    let (one, two) = (logger_of(&tmp, "a"), logger_of(&tmp, "c"));
    assert_ne!(one, two);
    assert_eq!(logger_of(&tmp, "b"), one);
    stop(one);
    let (a, c) = (lines(&tmp, "a").len(), lines(&tmp, "c").len());
    until_lines(&tmp, "c", c + 20);
    assert!(lines(&tmp, "a").len() <= a + 1);
    for command in ["down", "up", "restart"] {
        assert_eq!(tmp.run(&["sv", "-v", command, "c/log"]).code, 0);
    }
    kill_process(one, Signal::CONT).unwrap();
    until_lines(&tmp, "a", a + 20);
    // One that ends affects no other.
    kill_process(two, Signal::TERM).unwrap();
    let next = tmp.until_pid("c/log", Some(two));
    assert_ne!(next, one);
    let c = lines(&tmp, "c").len();
    until_lines(&tmp, "c", c + 20);
    assert_eq!(logger_of(&tmp, "a"), one);
    for name in ["a", "b", "c"] {
        let found = lines(&tmp, name);
        let all = found.iter().enumerate().all(|(i, l)| *l == i.to_string());
        assert!(all, "{name}: {found:?}");
    }
}

#[test]
fn hup_and_alarm_are_for_one_stream() {
    let tmp = TestDir::new();
    let run = "echo one; while read -r line; do echo $line; done < ../$0.in";
    for name in ["a", "b"] {
        service(&tmp, name, &run.replace("$0", name), "");
        let fifo = tmp.path(&format!("services/{name}.in"));
        let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
        let kind = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, kind, mode, 0).unwrap();
    }
    let _all = tmp.runsvdir();
    for name in ["a", "b"] {
        until_lines(&tmp, name, 1);
    }
    assert_eq!(tmp.run(&["sv", "alarm", "a/log"]).code, 0);
    until("a rotation", || {
        (rotated(&tmp, "services/a/log").len() == 1).then_some(())
    });
    tmp.write("services/a/log/config", "pnew \n");
    tmp.write("services/b/log/config", "pnew \n");
    assert_eq!(tmp.run(&["sv", "hup", "a/log"]).code, 0);
    let mut a = fs::File::create(tmp.path("services/a.in")).unwrap();
    let mut b = fs::File::create(tmp.path("services/b.in")).unwrap();
    // The command may not have arrived yet.
    until("the new prefix", || {
        use std::io::Write as _;
        writeln!(a, "two").unwrap();
        let text = tmp.read("services/a/log/current");
        text.contains("new two\n").then_some(())
    });
    std::io::Write::write_all(&mut b, b"two\n").unwrap();
    until_lines(&tmp, "b", 2);
    assert_eq!(lines(&tmp, "b"), ["one", "two"]);
    assert!(rotated(&tmp, "services/b/log").is_empty());
}

#[test]
fn a_stream_is_stopped_and_started_alone() {
    let tmp = TestDir::new();
    let run = "i=0; while :; do echo $i; i=$((i + 1)); sleep 0.01; done";
    service(&tmp, "a", run, "");
    service(&tmp, "b", run, "");
    let _all = tmp.runsvdir();
    until_lines(&tmp, "a", 3);
    let one = logger_of(&tmp, "a");
    assert_eq!(tmp.run(&["sv", "-v", "down", "a/log"]).code, 0);
    let (a, b) = (lines(&tmp, "a").len(), lines(&tmp, "b").len());
    until_lines(&tmp, "b", b + 20);
    assert_eq!(lines(&tmp, "a").len(), a);
    assert_eq!(tmp.run(&["sv", "-v", "up", "a/log"]).code, 0);
    until_lines(&tmp, "a", a + 20);
    let found: Vec<usize> = lines(&tmp, "a")
        .iter()
        .map(|l| l.parse().unwrap())
        .collect();
    assert!(found.iter().enumerate().all(|(i, n)| i == *n), "{found:?}");
    assert_eq!(logger_of(&tmp, "a"), one);
    // A log that has a `run` by now gets a process of its own.
    tmp.script("services/a/log/run", "exec cat > ../rest");
    assert_eq!(tmp.run(&["sv", "restart", "a/log"]).code, 0);
    until("the rest", || {
        (!tmp.read("services/a/rest").is_empty()).then_some(())
    });
    assert_ne!(logger_of(&tmp, "a"), one);
    assert_eq!(logger_of(&tmp, "b"), one);
}

#[test]
fn the_last_lines_of_a_service_are_kept() {
    let tmp = TestDir::new();
    let run = "trap 'seq 3000; printf last; exit' TERM\n\
               echo up; sleep 1000 > /dev/null & wait";
    service(&tmp, "a", run, "s5000\nn0\n");
    let mut one = tmp.start(&["runsv", "services/a"]);
    until_lines(&tmp, "a", 1);
    let pid = logger_of(&tmp, "a");
    one.kill(Signal::TERM);
    assert_eq!(one.wait(), 0);
    let mut all: Vec<String> = (1..=3000).map(|i| i.to_string()).collect();
    all.insert(0, "up".into());
    all.push("last".into());
    assert_eq!(lines(&tmp, "a"), all);
    until("the logger's end", || {
        (!Path::new(&format!("/proc/{}", pid.as_raw_pid())).exists())
            .then_some(())
    });
    assert_eq!(tmp.read("errors"), "");
}

#[test]
fn orders_to_a_stopped_logger_are_kept() {
    let tmp = TestDir::new();
    service(&tmp, "a", "echo one; exec sleep 1000", "");
    let all = tmp.runsvdir();
    until_lines(&tmp, "a", 1);
    let pid = logger_of(&tmp, "a");
    stop(pid);
    // More than a socket's buffer holds.
    tmp.control("a/log", &"ha".repeat(300));
    tmp.control("a/log", "pcd");
    until("the order", || {
        tmp.stat("a/log").contains("want down").then_some(())
    });
    assert!(util::cpu_time(all.pid()) < 100, "it is busy");
    kill_process(pid, Signal::CONT).unwrap();
    tmp.until_stat("a/log", "down");
    assert_eq!(tmp.read("errors"), "");
}

#[test]
fn a_flood_a_processor_and_a_bad_directory_delay_no_other() {
    let tmp = TestDir::new();
    let flood = "exec yes flood";
    service(&tmp, "flood", flood, "s100000\nn2\n");
    // The next rotation waits for its processor, and with it that service
    // alone.
    let slow = "!cat; echo > ../../began; \
                while [ ! -e ../../go ]; do sleep 0.05; done\ns10000\nn2\n";
    service(&tmp, "slow", flood, slow);
    tmp.write("services/bad/log/main", "");
    tmp.service("bad", "i=0; while :; do seq 9999; echo > ../wrote; done");
    let ticks = "i=0; while :; do echo tick $i; i=$((i + 1)); sleep 0.02; done";
    service(&tmp, "ticks", ticks, "");
    let _all = tmp.runsvdir();
    until("the processor", || {
        tmp.path("services/began").exists().then_some(())
    });
    until("the flood", || {
        (rotated(&tmp, "services/flood/log").len() == 2).then_some(())
    });
    until("the bad directory", || {
        let errors = tmp.read("errors");
        let what = "svlogger bad: warning: unable to change directory: \
                    log/main: not a directory\n";
        let drops = "svlogger bad: warning: cannot be written, lines are \
                     dropped: log/main\n";
        let told = errors.matches(what).count();
        assert!(told <= 1, "{errors}");
        (told == 1 && errors.contains(drops)).then_some(())
    });
    until("its service to go on", || {
        tmp.path("services/wrote").exists().then_some(())
    });
    let before = lines(&tmp, "ticks").len();
    until_lines(&tmp, "ticks", before + 20);
    let found = lines(&tmp, "ticks");
    assert!(
        found
            .iter()
            .enumerate()
            .all(|(i, l)| *l == format!("tick {i}"))
    );
    let old = || rotated(&tmp, "services/slow/log");
    assert!(
        old().iter().all(|name| !name.ends_with(".s")),
        "{:?}",
        old()
    );
    tmp.write("services/go", "");
    until("the processor's end", || {
        old().iter().any(|name| name.ends_with(".s")).then_some(())
    });
}

#[test]
fn a_removed_log_directory_is_recreated() {
    let tmp = TestDir::new();
    let run = "i=0; while :; do echo $i; i=$((i + 1)); sleep 0.01; done";
    service(&tmp, "a", run, "");
    tmp.service("b", run);
    fs::create_dir_all(tmp.path("var/b")).unwrap();
    symlink("../../var/b", tmp.path("services/b/log")).unwrap();
    let _all = tmp.runsvdir();
    for name in ["a", "b"] {
        until_lines(&tmp, name, 3);
    }
    let current =
        |name: &str| tmp.read(&format!("services/{name}/log/current"));
    let until_current = |name: &str| {
        until(&format!("lines of {name}"), || {
            (current(name).lines().count() >= 20).then_some(())
        });
    };
    let one = logger_of(&tmp, "a");
    fs::remove_dir_all(tmp.path("services/a/log")).unwrap();
    fs::remove_dir_all(tmp.path("var")).unwrap();
    until_current("a");
    assert!(!tmp.path("var").exists());
    fs::create_dir(tmp.path("var")).unwrap();
    until_current("b");
    // Everything that was in the pipe is there, in its order.
    let in_order = |name| {
        let found: Vec<u32> = lines(&tmp, name)
            .iter()
            .map(|l| l.parse().unwrap())
            .collect();
        assert!(found.windows(2).all(|w| w[0] + 1 == w[1]), "{found:?}");
    };
    in_order("a");
    in_order("b");
    fs::remove_file(tmp.path("services/a/log/current")).unwrap();
    until_current("a");
    in_order("a");

    assert!(util::cpu_time(one) < 50, "it is busy");
    let errors = tmp.read("errors");
    for (name, count) in [("a", 2), ("b", 1)] {
        let line = format!(
            "svlogger {name}: warning: current was removed or moved: log\n"
        );
        assert_eq!(errors.matches(&line).count(), count, "{errors}");
    }
    // A directory that cannot be created at once is reported too.
    let line = "svlogger b: warning: unable to open log directory: log: \
                file does not exist\n";
    assert!(errors.contains(line), "{errors}");
    assert_eq!(errors.lines().count(), 4, "{errors}");
}
