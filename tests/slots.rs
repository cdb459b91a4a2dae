//! Tests that a slot follows its service directory beyond `run` and `finish`,
//! and that no failure in it affects the others.
#![allow(missing_docs, reason = "the names of the tests say it")]

mod util;

use std::{fs, io::Write as _, os::unix::fs::OpenOptionsExt as _};

use rustix::{
    fs::{Mode, OFlags},
    process::{Pid, Signal, kill_process},
};
use util::{Place, until};

/// Creates a service that appends a line for each signal to the file `said`.
fn listener(place: &Place, name: &str) {
    let said = place.path("said");
    place.service(
        name,
        &format!(
            "exec >> {}\n\
             for s in TERM HUP USR1; do trap \"echo $s\" $s; done\n\
             echo up\nwhile :; do sleep 0.05; done",
            said.display()
        ),
    );
}

/// Waits until the file `said` has these lines.
fn until_said(place: &Place, lines: &str) {
    until(lines, || (place.read("said") == lines).then_some(()));
}

#[test]
fn scripts_take_the_place_of_signals() {
    let place = Place::new();
    listener(&place, "a");
    let control = |byte: char, code: u8| {
        let said = place.path("said");
        place.script(
            &format!("services/a/control/{byte}"),
            &format!("echo control/{byte} >> {}; exit {code}", said.display()),
        );
    };
    control('u', 1);
    control('h', 1);
    control('1', 0);
    control('t', 0);
    control('d', 1);
    let _all = place.runsvdir();
    until_said(&place, "control/u\nup\n");
    place.control("a", "h");
    until_said(&place, "control/u\nup\ncontrol/h\nHUP\n");
    place.control("a", "1t");
    let lines = "control/u\nup\ncontrol/h\nHUP\ncontrol/1\ncontrol/t\n";
    until_said(&place, lines);
    assert_eq!(place.stat("a"), "run");
    place.control("a", "d");
    let lines = format!("{lines}control/t\ncontrol/d\n");
    until_said(&place, &lines);
    until("the wish", || {
        (place.stat("a") == "run, want down").then_some(())
    });
    // A script that its owner may not execute does not count.
    fs::write(place.path("services/a/control/t"), "").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o655);
    fs::set_permissions(place.path("services/a/control/t"), mode).unwrap();
    fs::remove_file(place.path("services/a/control/d")).unwrap();
    place.control("a", "t");
    until_said(&place, &format!("{lines}TERM\n"));
    place.control("a", "k");
    place.until_stat("a", "down");
}

#[test]
fn a_script_starts_as_clean_as_every_child() {
    let place = Place::new();
    place.service("a", "exec sleep 1000");
    let seen = place.path("seen");
    place.script(
        "services/a/control/h",
        &format!(
            "grep -E '^Sig(Blk|Ign)' /proc/self/status > {0}.new\n\
             ls /proc/self/fd | wc -l >> {0}.new\npwd >> {0}.new\n\
             mv {0}.new {0}",
            seen.display()
        ),
    );
    let _all = place.runsvdir();
    place.until_stat("a", "run");
    place.control("a", "h");
    let text = until("what the script sees", || {
        Some(place.read("seen")).filter(|text| !text.is_empty())
    });
    let none = "0000000000000000";
    let dir = place.path("services/a");
    // ls has the directory open besides the three.
    let all =
        format!("SigBlk:\t{none}\nSigIgn:\t{none}\n4\n{}\n", dir.display());
    assert_eq!(text, all);
}

#[test]
fn nobody_waits_for_a_script() {
    let place = Place::new();
    place.service("slow", "exec sleep 1000");
    let others: Vec<String> = (1..64).map(|n| format!("s{n}")).collect();
    let all = |words: &[&str]| {
        let names = others.iter().map(String::as_str);
        let words: Vec<&str> = words.iter().copied().chain(names).collect();
        let said = place.run(&words);
        assert_eq!((said.code, said.err.as_str()), (0, ""), "{said:?}");
        said.out
    };
    for other in &others {
        place.service(other, "exec sleep 1000");
    }
    let (began, go) = (place.path("began"), place.path("go"));
    let hold = format!(
        "echo > {}; until test -e {}; do sleep 0.1; done; exit 1",
        began.display(),
        go.display()
    );
    place.script("services/slow/control/t", &hold);
    let _all = place.runsvdir();
    let slow = place.until_pid("slow", None);
    let pids = |old: &[Option<Pid>]| -> Vec<Option<Pid>> {
        let each = others.iter().zip(old);
        each.map(|(other, old)| Some(place.until_pid(other, *old)))
            .collect()
    };
    let mut old = pids(&[None; 63]);
    // The bytes after the first wait until its script has ended.
    place.control("slow", "tpc");
    until("the script", || began.exists().then_some(()));
    // Until that may end, all others restart, answer and are controlled.
    let said = all(&["sv", "-w", "60", "restart"]);
    assert_eq!(said.matches("ok: run: ").count(), 63, "{said}");
    old = pids(&old);
    for pid in old.iter().flatten() {
        kill_process(*pid, Signal::KILL).unwrap();
    }
    pids(&old);
    all(&["sv", "-w", "60", "pause"]);
    let said = all(&["sv", "status"]);
    assert_eq!(said.matches("s, paused\n").count(), 63, "{said}");
    all(&["sv", "-w", "60", "cont"]);
    all(&["sv", "-w", "60", "stop"]);
    assert_eq!(place.pid("slow"), Some(slow));
    let why = place.read("services/slow/supervise/why");
    assert!(why.contains("waits control/t until "), "{why}");
    fs::write(go, "").unwrap();
    place.until_pid("slow", Some(slow));
    place.until_stat("slow", "run");
}

#[test]
fn a_script_that_hangs_is_killed_and_its_signal_sent() {
    let place = Place::new();
    listener(&place, "a");
    place.script("services/a/control/h", "exec sleep 1000");
    place.write("services/a/runt/timeout-control", "300\n");
    let _all = place.runsvdir();
    until_said(&place, "up\n");
    place.control("a", "h1");
    until_said(&place, "up\nHUP\nUSR1\n");
    let line = "runsv a: warning: control/h has not ended in time, \
                sending KILL\n";
    assert_eq!(place.read("errors"), line);
}

#[test]
fn what_does_not_stop_in_its_time_is_killed() {
    let place = Place::new();
    listener(&place, "a");
    place.write("services/a/timeout-kill", "400\n");
    place.write("services/a/timeout-finish", "400\n");
    place.script("services/a/finish", "trap '' TERM; exec sleep 1000");
    let _all = place.runsvdir();
    until_said(&place, "up\n");
    place.until_stat("a", "run");
    place.control("a", "d");
    place.until_stat("a", "down");
    let late = |what| {
        format!(
            "runsv a: warning: {what} has not ended in time, sending KILL\n"
        )
    };
    let lines = late("./run") + &late("./finish");
    assert_eq!(place.read("errors"), lines);
}

#[test]
fn an_option_that_is_none_costs_one_line() {
    let place = Place::new();
    place.service("a", "exec sleep 1000");
    place.write("services/a/timeout-kill", "soon\n");
    let _all = place.runsvdir();
    for _ in 0..3 {
        let old = place.until_pid("a", None);
        place.control("a", "t");
        place.until_pid("a", Some(old));
    }
    let line = "runsv a: warning: unable to use timeout-kill: \
                invalid argument\n";
    assert_eq!(place.read("errors"), line);
}

#[test]
fn a_backoff_slows_and_a_tally_parks() {
    let place = Place::new();
    let starts = place.path("starts");
    let run = format!("echo >> {}; exit 7", starts.display());
    place.service("a", &run);
    place.write("services/a/runt/backoff", "100 300 5000 0\n");
    place.write("services/a/max-death-tally", "4\n");
    let _all = place.runsvdir();
    let count = || place.read("starts").lines().count();
    until("parked", || {
        place.read("errors").contains("parked").then_some(())
    });
    let why = until("the record", || {
        let why = place.read("services/a/supervise/why");
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
    assert_eq!(place.run(&["sv", "up", "a"]).code, 0);
    until("parked again", || {
        let errors = place.read("errors");
        (errors.matches("parked").count() == 2).then_some(())
    });
}

#[test]
fn a_permanent_failure_is_not_started_again() {
    let place = Place::new();
    let starts = place.path("starts");
    place.service("a", &format!("echo >> {}; exit 7", starts.display()));
    place.script("services/a/finish", "exit 125");
    let _all = place.runsvdir();
    let line = "runsv a: warning: ./finish exited with 125: not started \
                again until `sv up`\n";
    util::until_only(&place, line);
    let why = until("the record", || {
        let why = place.read("services/a/supervise/why");
        why.contains("waits permanent-failure\n").then_some(why)
    });
    assert!(why.contains(" exit 7 after "), "{why}");
    place.until_stat("a", "down");
    let said = place.run(&["sv", "why", "a"]);
    assert!(said.out.contains("  waits permanent-failure\n"), "{said:?}");
    let said = place.run(&["sv", "status", "a"]);
    assert!(said.out.ends_with(", normally up\n"), "{said:?}");
    let count = || place.read("starts").lines().count();
    assert_eq!(count(), 1);
    // A command starts it, and then it fails as before.
    place.control("a", "u");
    until("the second line", || {
        (place.read("errors") == line.repeat(2)).then_some(())
    });
    assert_eq!(count(), 2);
}

#[test]
fn a_finish_finds_that_it_runs() {
    let place = Place::new();
    let seen = place.path("seen");
    let finish = format!("cat supervise/stat >> {}", seen.display());
    // Many that end at once: the first ones begin long before all files are
    // written.
    let names: Vec<String> = (0..24).map(|n| format!("s{n}")).collect();
    for name in &names {
        place.service(name, "exec sleep 1000");
        place.script(&format!("services/{name}/finish"), &finish);
    }
    let _all = place.runsvdir();
    for name in &names {
        place.until_pid(name, None);
    }
    for name in &names {
        place.control(name, "t");
    }
    let seen = until("all of them", || {
        let seen = place.read("seen");
        (seen.lines().count() >= names.len()).then_some(seen)
    });
    assert!(seen.lines().all(|stat| stat == "finish"), "{seen}");
}

#[test]
fn files_are_whole_before_a_supervisor_shows() {
    let place = Place::new();
    for attempt in 0..20 {
        let name = format!("a{attempt}");
        place.service(&name, "exec sleep 1000");
        place.write(&format!("services/{name}/down"), "");
        let supervise = place.path(&format!("services/{name}/supervise"));
        let mut one = place.start(&["runsv", &format!("services/{name}")]);
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
        place.control(&name, "x");
        assert_eq!(one.wait(), 0);
    }
}

#[test]
fn status_files_are_written_when_they_change() {
    let place = Place::new();
    listener(&place, "a");
    let _all = place.runsvdir();
    until_said(&place, "up\n");
    // `status` is written after `stat`, so it says `run` too.
    place.until_pid("a", None);
    let name = place.path("services/a/supervise/status");
    let inode =
        || std::os::unix::fs::MetadataExt::ino(&fs::metadata(&name).unwrap());
    let old = inode();
    place.control("a", "uh1");
    until_said(&place, "up\nHUP\nUSR1\n");
    assert_eq!(inode(), old, "nothing in it had changed");
    place.control("a", "p");
    until("the new record", || (inode() != old).then_some(()));
    place.control("a", "ck");
}

#[test]
fn a_million_random_bytes() {
    let place = Place::new();
    // One program and no shell: it is started several thousand times.
    place.service("a", "");
    fs::write(place.path("services/a/run"), "#!/usr/bin/tail -f\n").unwrap();
    let _all = place.runsvdir();
    place.until_stat("a", "run");
    let mut fifo = fs::OpenOptions::new()
        .write(true)
        .open(place.path("services/a/supervise/control"))
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
        place.control("a", byte);
        place.until_stat("a", stat);
    }
    assert_eq!(place.read("errors"), "");
}

#[test]
fn a_full_fifo_does_not_keep_a_slot_from_leaving() {
    let place = Place::new();
    place.service("a", "exec sleep 1000");
    place.script("services/a/control/h", "exec sleep 1000");
    place.write("services/a/runt/timeout-control", "500");
    let mut one = place.start(&["runsv", "services/a"]);
    place.until_stat("a", "run");
    let mut fifo = fs::OpenOptions::new()
        .write(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(place.path("services/a/supervise/control"))
        .unwrap();
    fifo.write_all(b"h").unwrap();
    while fifo.write(&[b'u'; 4096]).is_ok() {}
    one.kill(Signal::TERM);
    assert_eq!(one.wait(), 0);
    assert_eq!(place.stat("a"), "down");
}
