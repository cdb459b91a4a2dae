//! Tests that a slot follows its service directory beyond `run` and `finish`,
//! and that no failure in it affects the others.

use std::{fs, io::Write as _, os::unix::fs::OpenOptionsExt as _};

use rustix::{
    fs::{Mode, OFlags},
    process::{Pid, Signal, kill_process},
};

use crate::util::{self, TestDir, until};

/// Creates a service that appends a line for each signal to the file `output`.
fn listener(tmp: &TestDir, name: &str) {
    let output = tmp.path("output");
    tmp.service(
        name,
        &format!(
            "exec >> {}\n\
             for s in TERM HUP USR1; do trap \"echo $s\" $s; done\n\
             echo up\nwhile :; do sleep 0.05; done",
            output.display()
        ),
    );
}

/// Waits until the file `output` has these lines.
fn until_output(tmp: &TestDir, lines: &str) {
    until(lines, || (tmp.read("output") == lines).then_some(()));
}

#[test]
fn control_scripts_replace_signals() {
    let tmp = TestDir::new();
    listener(&tmp, "a");
    let control = |byte: char, code: u8| {
        let output = tmp.path("output");
        tmp.script(
            &format!("services/a/control/{byte}"),
            &format!(
                "echo control/{byte} >> {}; exit {code}",
                output.display()
            ),
        );
    };
    control('u', 1);
    control('h', 1);
    control('1', 0);
    control('t', 0);
    control('d', 1);
    let _all = tmp.runsvdir();
    until_output(&tmp, "control/u\nup\n");
    tmp.control("a", "h");
    until_output(&tmp, "control/u\nup\ncontrol/h\nHUP\n");
    tmp.control("a", "1t");
    let lines = "control/u\nup\ncontrol/h\nHUP\ncontrol/1\ncontrol/t\n";
    until_output(&tmp, lines);
    assert_eq!(tmp.stat("a"), "run");
    tmp.control("a", "d");
    let lines = format!("{lines}control/t\ncontrol/d\n");
    until_output(&tmp, &lines);
    until("the wish", || {
        (tmp.stat("a") == "run, want down").then_some(())
    });
    // A script that its owner may not execute does not count.
    fs::write(tmp.path("services/a/control/t"), "").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o655);
    fs::set_permissions(tmp.path("services/a/control/t"), mode).unwrap();
    fs::remove_file(tmp.path("services/a/control/d")).unwrap();
    tmp.control("a", "t");
    until_output(&tmp, &format!("{lines}TERM\n"));
    tmp.control("a", "k");
    tmp.until_stat("a", "down");
}

#[test]
fn control_scripts_start_in_a_clean_state() {
    let tmp = TestDir::new();
    tmp.service("a", "exec sleep 1000");
    let seen = tmp.path("seen");
    tmp.script(
        "services/a/control/h",
        &format!(
            "grep -E '^Sig(Blk|Ign)' /proc/self/status > {0}.new\n\
             ls /proc/self/fd | wc -l >> {0}.new\npwd >> {0}.new\n\
             mv {0}.new {0}",
            seen.display()
        ),
    );
    let _all = tmp.runsvdir();
    tmp.until_stat("a", "run");
    tmp.control("a", "h");
    let text = until("what the script sees", || {
        Some(tmp.read("seen")).filter(|text| !text.is_empty())
    });
    let none = "0000000000000000";
    let dir = tmp.path("services/a");
    // ls has the directory open besides the three.
    let all =
        format!("SigBlk:\t{none}\nSigIgn:\t{none}\n4\n{}\n", dir.display());
    assert_eq!(text, all);
}

#[test]
fn control_scripts_delay_no_other_service() {
    let tmp = TestDir::new();
    tmp.service("slow", "exec sleep 1000");
    let others: Vec<String> = (1..64).map(|n| format!("s{n}")).collect();
    let all = |words: &[&str]| {
        let names = others.iter().map(String::as_str);
        let words: Vec<&str> = words.iter().copied().chain(names).collect();
        let output = tmp.run(&words);
        assert_eq!(
            (output.code, output.stderr.as_str()),
            (0, ""),
            "{output:?}"
        );
        output.stdout
    };
    for other in &others {
        tmp.service(other, "exec sleep 1000");
    }
    let (began, go) = (tmp.path("began"), tmp.path("go"));
    let hold = format!(
        "echo > {}; until test -e {}; do sleep 0.1; done; exit 1",
        began.display(),
        go.display()
    );
    tmp.script("services/slow/control/t", &hold);
    let _all = tmp.runsvdir();
    let slow = tmp.until_pid("slow", None);
    let pids = |old: &[Option<Pid>]| -> Vec<Option<Pid>> {
        let each = others.iter().zip(old);
        each.map(|(other, old)| Some(tmp.until_pid(other, *old)))
            .collect()
    };
    let mut old = pids(&[None; 63]);
    // The bytes after the first wait until its script has ended.
    tmp.control("slow", "tpc");
    until("the script", || began.exists().then_some(()));
    // Until that may end, all others restart, answer and are controlled.
    let output = all(&["sv", "-w", "60", "restart"]);
    assert_eq!(output.matches("ok: run: ").count(), 63, "{output}");
    old = pids(&old);
    for pid in old.iter().flatten() {
        kill_process(*pid, Signal::KILL).unwrap();
    }
    pids(&old);
    all(&["sv", "-w", "60", "pause"]);
    let output = all(&["sv", "status"]);
    assert_eq!(output.matches("s, paused\n").count(), 63, "{output}");
    all(&["sv", "-w", "60", "cont"]);
    all(&["sv", "-w", "60", "stop"]);
    assert_eq!(tmp.pid("slow"), Some(slow));
    let why = tmp.read("services/slow/supervise/why");
    assert!(why.contains("waits control/t until "), "{why}");
    fs::write(go, "").unwrap();
    tmp.until_pid("slow", Some(slow));
    tmp.until_stat("slow", "run");
}

#[test]
fn a_hanging_control_script_is_killed_and_its_signal_sent() {
    let tmp = TestDir::new();
    listener(&tmp, "a");
    tmp.script("services/a/control/h", "exec sleep 1000");
    tmp.write("services/a/runt/timeout-control", "300\n");
    let _all = tmp.runsvdir();
    until_output(&tmp, "up\n");
    tmp.control("a", "h1");
    until_output(&tmp, "up\nHUP\nUSR1\n");
    let line = "runsv a: warning: control/h has not ended in time, \
                sending KILL\n";
    assert_eq!(tmp.read("errors"), line);
}

#[test]
fn timeout_kill_and_timeout_finish() {
    let tmp = TestDir::new();
    listener(&tmp, "a");
    tmp.write("services/a/timeout-kill", "400\n");
    tmp.write("services/a/timeout-finish", "400\n");
    tmp.script("services/a/finish", "trap '' TERM; exec sleep 1000");
    let _all = tmp.runsvdir();
    until_output(&tmp, "up\n");
    tmp.until_stat("a", "run");
    tmp.control("a", "d");
    tmp.until_stat("a", "down");
    let late = |what| {
        format!(
            "runsv a: warning: {what} has not ended in time, sending KILL\n"
        )
    };
    let lines = late("./run") + &late("./finish");
    assert_eq!(tmp.read("errors"), lines);
}

#[test]
fn an_invalid_option_is_reported_once() {
    let tmp = TestDir::new();
    tmp.service("a", "exec sleep 1000");
    tmp.write("services/a/timeout-kill", "soon\n");
    let _all = tmp.runsvdir();
    for _ in 0..3 {
        let old = tmp.until_pid("a", None);
        tmp.control("a", "t");
        tmp.until_pid("a", Some(old));
    }
    let line = "runsv a: warning: unable to use timeout-kill: \
                invalid argument\n";
    assert_eq!(tmp.read("errors"), line);
}

#[test]
fn backoff_and_max_death_tally() {
    let tmp = TestDir::new();
    let starts = tmp.path("starts");
    let run = format!("echo >> {}; exit 7", starts.display());
    tmp.service("a", &run);
    tmp.write("services/a/runt/backoff", "100 300 5000 0\n");
    tmp.write("services/a/max-death-tally", "4\n");
    let _all = tmp.runsvdir();
    let count = || tmp.read("starts").lines().count();
    until("parked", || {
        tmp.read("errors").contains("parked").then_some(())
    });
    let why = until("the record", || {
        let why = tmp.read("services/a/supervise/why");
        why.contains("waits parked until").then_some(why)
    });
    // The start that it waits for is counted.
    assert!(why.starts_with("restarts 4\n"), "{why}");
    // A start may fail with `text busy`: a child that another test is just
    // starting still has the script open.
    let died = |how| why.matches(how).count();
    assert_eq!(
        (died("died"), died(" exit 7 after ")),
        (4, count()),
        "{why}"
    );
    // It can be started at once, as the line says, and the count begins anew.
    assert_eq!(tmp.run(&["sv", "up", "a"]).code, 0);
    until("parked again", || {
        let errors = tmp.read("errors");
        (errors.matches("parked").count() == 2).then_some(())
    });
}

#[test]
fn finish_exit_code_125_stops_restarts() {
    let tmp = TestDir::new();
    let starts = tmp.path("starts");
    tmp.service("a", &format!("echo >> {}; exit 7", starts.display()));
    tmp.script("services/a/finish", "exit 125");
    let _all = tmp.runsvdir();
    let line = "runsv a: warning: ./finish exited with 125: not started \
                again until `sv up`\n";
    util::until_only_error(&tmp, line);
    let why = until("the record", || {
        let why = tmp.read("services/a/supervise/why");
        why.contains("waits permanent-failure\n").then_some(why)
    });
    assert!(why.contains(" exit 7 after "), "{why}");
    tmp.until_stat("a", "down");
    let output = tmp.run(&["sv", "why", "a"]);
    assert!(
        output.stdout.contains("  waits permanent-failure\n"),
        "{output:?}"
    );
    let output = tmp.run(&["sv", "status", "a"]);
    assert!(output.stdout.ends_with(", normally up\n"), "{output:?}");
    let count = || tmp.read("starts").lines().count();
    assert_eq!(count(), 1);
    // A command starts it, and then it fails as before.
    tmp.control("a", "u");
    until("the second line", || {
        (tmp.read("errors") == line.repeat(2)).then_some(())
    });
    assert_eq!(count(), 2);
}

#[test]
fn finish_sees_its_own_state() {
    let tmp = TestDir::new();
    let seen = tmp.path("seen");
    let finish = format!("cat supervise/stat >> {}", seen.display());
    // Many that end at once: the first ones begin long before all files are
    // written.
    let names: Vec<String> = (0..24).map(|n| format!("s{n}")).collect();
    for name in &names {
        tmp.service(name, "exec sleep 1000");
        tmp.script(&format!("services/{name}/finish"), &finish);
    }
    let _all = tmp.runsvdir();
    for name in &names {
        tmp.until_pid(name, None);
    }
    for name in &names {
        tmp.control(name, "t");
    }
    let seen = until("all of them", || {
        let seen = tmp.read("seen");
        (seen.lines().count() >= names.len()).then_some(seen)
    });
    assert!(seen.lines().all(|stat| stat == "finish"), "{seen}");
}

#[test]
fn files_are_complete_before_a_supervisor_appears() {
    let tmp = TestDir::new();
    for attempt in 0..20 {
        let name = format!("a{attempt}");
        tmp.service(&name, "exec sleep 1000");
        tmp.write(&format!("services/{name}/down"), "");
        let supervise = tmp.path(&format!("services/{name}/supervise"));
        let mut one = tmp.start(&["runsv", &format!("services/{name}")]);
        let began = std::time::Instant::now();
        let flags = OFlags::WRONLY | OFlags::NONBLOCK;
        loop {
            // Each of the files is missing or complete.
            if let Ok(stat) = fs::read_to_string(supervise.join("stat")) {
                assert_eq!(stat, "down\n");
            }
            let ok = supervise.join("ok");
            if rustix::fs::open(&ok, flags, Mode::empty()).is_ok() {
                break;
            }
            assert!(began.elapsed().as_secs() < 30, "no supervisor");
        }
        assert_eq!(fs::read(supervise.join("status")).unwrap().len(), 20);
        tmp.control(&name, "x");
        assert_eq!(one.wait(), 0);
    }
}

#[test]
fn status_files_are_written_when_they_change() {
    let tmp = TestDir::new();
    listener(&tmp, "a");
    let _all = tmp.runsvdir();
    until_output(&tmp, "up\n");
    // `status` is written after `stat`, so it says `run` too.
    tmp.until_pid("a", None);
    let name = tmp.path("services/a/supervise/status");
    let inode =
        || std::os::unix::fs::MetadataExt::ino(&fs::metadata(&name).unwrap());
    let old = inode();
    tmp.control("a", "uh1");
    until_output(&tmp, "up\nHUP\nUSR1\n");
    assert_eq!(inode(), old, "nothing in it had changed");
    tmp.control("a", "p");
    until("the new record", || (inode() != old).then_some(()));
    tmp.control("a", "ck");
}

#[test]
fn random_control_bytes() {
    let tmp = TestDir::new();
    // One program and no shell: it is started several thousand times.
    tmp.service("a", "");
    fs::write(tmp.path("services/a/run"), "#!/usr/bin/tail -f\n").unwrap();
    let _all = tmp.runsvdir();
    tmp.until_stat("a", "run");
    let mut fifo = fs::OpenOptions::new()
        .write(true)
        .open(tmp.path("services/a/supervise/control"))
        .unwrap();
    // Xorshift: the same bytes each time. All but `x`, which would end it.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let bytes: Vec<u8> = (0..1_000_000)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            match state.to_le_bytes()[3] {
                b'x' => b'u',
                byte => byte,
            }
        })
        .collect();
    fifo.write_all(&bytes).unwrap();
    // The states in between depend on chance.
    until("the end of the bytes", || {
        (rustix::io::ioctl_fionread(&fifo).unwrap() == 0).then_some(())
    });
    for (byte, stat) in [
        ("cd", "down"),
        ("u", "run"),
        ("p", "run, paused"),
        ("c", "run"),
    ] {
        tmp.control("a", byte);
        tmp.until_stat("a", stat);
    }
    assert_eq!(tmp.read("errors"), "");
}

#[test]
fn a_full_control_fifo_does_not_block_exit() {
    let tmp = TestDir::new();
    tmp.service("a", "exec sleep 1000");
    tmp.script("services/a/control/h", "exec sleep 1000");
    tmp.write("services/a/runt/timeout-control", "500");
    let mut one = tmp.start(&["runsv", "services/a"]);
    tmp.until_stat("a", "run");
    let mut fifo = fs::OpenOptions::new()
        .write(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(tmp.path("services/a/supervise/control"))
        .unwrap();
    fifo.write_all(b"h").unwrap();
    while fifo.write(&[b'u'; 4096]).is_ok() {}
    one.kill(Signal::TERM);
    assert_eq!(one.wait(), 0);
    assert_eq!(tmp.stat("a"), "down");
}
