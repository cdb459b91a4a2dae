//! Tests that runsvchdir and utmpset work as runit's do (contract §9, §10) and
//! that `current` is never missing, tests pause, and tests which program a
//! name selects.

use std::{
    fs,
    io::Write as _,
    os::unix::{
        fs::{MetadataExt as _, symlink},
        process::CommandExt as _,
    },
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::util::{self, Output, TestDir, output_of, until};

/// Runs `runsvchdir` with the test directory's `links` as its base.
fn runsvchdir(tmp: &TestDir, dir: &str) -> Output {
    let mut command = tmp.command(&["runsvchdir", dir]);
    output_of(command.env("RUNSVDIR", tmp.path("links")))
}

/// Lists the links in `links` with their targets, by name.
fn links(tmp: &TestDir) -> Vec<String> {
    let mut links: Vec<String> = fs::read_dir(tmp.path("links"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter_map(|path| {
            let to = fs::read_link(&path).ok()?;
            let name = path.file_name()?.to_string_lossy().into_owned();
            Some(format!("{name} -> {}", to.display()))
        })
        .collect();
    links.sort();
    links
}

/// Creates `links` with some directories, the first of which is current.
fn services_dirs(dirs: &[&str]) -> TestDir {
    let tmp = TestDir::new();
    for dir in dirs {
        fs::create_dir_all(tmp.path("links").join(dir)).unwrap();
    }
    symlink(dirs[0], tmp.path("links/current")).unwrap();
    tmp
}

#[test]
fn another_services_directory() {
    let tmp = services_dirs(&["one", "two"]);
    let answers = |dir: &str, text: &str| {
        let output = runsvchdir(&tmp, dir);
        let out = format!("runsvchdir: {dir}: {text}\n");
        assert_eq!(
            (output.stdout, output.stderr, output.code),
            (out, String::new(), 0)
        );
    };
    answers("one", "current.");
    answers("two", "now current.");
    assert_eq!(links(&tmp), ["current -> two", "previous -> one"]);
    let one = tmp.path("links/one").display().to_string();
    answers(&one, "now current.");
    assert_eq!(
        links(&tmp),
        [format!("current -> {one}"), "previous -> two".into()]
    );
    answers("one", "current.");
    answers("previous", "now current.");
    // Links left behind by an earlier run are replaced.
    let tmp = self::services_dirs(&["one", "two"]);
    for name in ["current.new", "previous.new"] {
        symlink("nowhere", tmp.path("links").join(name)).unwrap();
    }
    assert_eq!(runsvchdir(&tmp, "two").code, 0);
    assert_eq!(links(&tmp), ["current -> two", "previous -> one"]);
    // `current` need not be a link.
    fs::remove_file(tmp.path("links/current")).unwrap();
    fs::create_dir_all(tmp.path("links/current/a")).unwrap();
    assert_eq!(runsvchdir(&tmp, "one").code, 0);
    assert_eq!(links(&tmp), ["current -> one"]);
    assert!(tmp.path("links/previous/a").is_dir());
}

#[test]
fn a_dangling_current_is_replaced() {
    for current in [None, Some("deleted"), Some("current"), Some("file/x")] {
        for previous in [None, Some("deleted"), Some("two")] {
            let tmp = services_dirs(&["one", "two"]);
            tmp.write("links/file", "");
            let link = |to: Option<&str>, name: &str| {
                let path = tmp.path("links").join(name);
                let _none = fs::remove_file(&path).is_ok();
                to.map(|to| symlink(to, path).unwrap());
            };
            link(current, "current");
            link(previous, "previous");
            link(Some("crashed"), "current.new");
            let output = runsvchdir(&tmp, "one");
            let out = "runsvchdir: one: now current.\n".into();
            assert_eq!(
                (output.stdout, output.stderr, output.code),
                (out, "".into(), 0)
            );
            let previous = previous.map(|to| format!("previous -> {to}"));
            let one = Some("current -> one".to_string());
            let expected: Vec<_> = one.into_iter().chain(previous).collect();
            assert_eq!(links(&tmp), expected);
            // The next run replaces a dangling `previous` too.
            assert_eq!(runsvchdir(&tmp, "two").code, 0);
            assert_eq!(links(&tmp), ["current -> two", "previous -> one"]);
        }
    }
}

#[test]
fn invalid_targets_are_refused() {
    let tmp = services_dirs(&["one", "two"]);
    tmp.write("links/file", "");
    symlink("loop", tmp.path("links/loop")).unwrap();
    let own = tmp.path("bin/runsvchdir").display().to_string();
    let refuses = |dir: &str, text: &str| {
        let output = runsvchdir(&tmp, dir);
        let err = format!("{own}: fatal: {text}\n");
        assert_eq!((output.stderr, output.code), (err, 111));
        assert_eq!(output.stdout, "");
    };
    let before = links(&tmp);
    refuses(".one", ".one: must not start with a dot.");
    refuses("../links/two", "../links/two: must not start with a dot.");
    refuses("nosuch", "nosuch: file does not exist");
    refuses("", ": file does not exist");
    refuses("file", "filenot a directory.");
    refuses("loop", "unable to stat: loop: symbolic link loop");
    refuses("-V", "-V: file does not exist");
    assert_eq!(links(&tmp), before);
    fs::create_dir(tmp.path("links/current.new")).unwrap();
    refuses("two", "unable to unlink: current.new: is a directory");
    fs::remove_dir(tmp.path("links/current.new")).unwrap();
    fs::create_dir(tmp.path("links/previous")).unwrap();
    refuses("two", "unable to unlink: previous: is a directory");
    assert_eq!(
        fs::read_link(tmp.path("links/current")).unwrap(),
        Path::new("one")
    );
    let output = tmp.run(&["runsvchdir"]);
    assert_eq!(
        (output.stderr, output.code),
        (format!("usage: {own} dir\n\n"), 1)
    );
    let mut nowhere = tmp.command(&["runsvchdir", "one"]);
    let output = util::output_of(nowhere.env("RUNSVDIR", "/nosuch"));
    let err = format!(
        "{own}: fatal: unable to chdir: /nosuch: file does not exist\n"
    );
    assert_eq!((output.stderr, output.code), (err, 111));
}

#[test]
fn current_is_never_missing() {
    let tmp = services_dirs(&["one", "two"]);
    let ends = AtomicBool::new(false);
    let [current, previous] =
        ["current", "previous"].map(|name| tmp.path("links").join(name));
    assert_eq!(runsvchdir(&tmp, "two").code, 0);
    let mut looks = 0_u64;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..200 {
                let dir = if round % 2 == 0 { "one" } else { "two" };
                assert_eq!(runsvchdir(&tmp, dir).code, 0);
            }
            ends.store(true, Ordering::Relaxed);
        });
        while !ends.load(Ordering::Relaxed) {
            assert!(fs::metadata(&current).unwrap().is_dir());
            assert!(fs::symlink_metadata(&previous).is_ok());
            looks += 1;
        }
    });
    assert!(looks > 200, "looked {looks} times only");
}

#[test]
fn runsvdir_keeps_services_in_both_directories() {
    let tmp = services_dirs(&["one", "two"]);
    for name in ["both", "old", "new"] {
        tmp.service(name, "exec sleep 1000");
    }
    for (dir, name) in [
        ("one", "both"),
        ("one", "old"),
        ("two", "both"),
        ("two", "new"),
    ] {
        let link = tmp.path("links").join(dir).join(name);
        symlink(tmp.path("services").join(name), link).unwrap();
    }
    let _all = tmp.start(&["runsvdir", "links/current"]);
    let both = tmp.until_pid("both", None);
    tmp.until_stat("old", "run");
    assert_eq!(runsvchdir(&tmp, "two").code, 0);
    tmp.until_stat("new", "run");
    until("the end of the old one", || {
        let output = tmp.run(&["sv", "status", "old"]);
        output.stdout.contains("runsv not running").then_some(())
    });
    assert_eq!(tmp.pid("both"), Some(both));
    assert_eq!(tmp.stat("both"), "run");
}

/// Returns a record of utmp on a machine whose records have 384 bytes.
fn record(kind: u8, line: &str, user: &str) -> Vec<u8> {
    let mut record = vec![0; 384];
    record[0] = kind;
    record[4] = 99;
    record[8..][..line.len()].copy_from_slice(line.as_bytes());
    record[40] = b'1';
    record[44..][..user.len()].copy_from_slice(user.as_bytes());
    record[76..][..4].copy_from_slice(b"host");
    record[332..364].fill(7);
    record
}

/// Runs utmpset in a mount namespace with the test directory's `utmp` and
/// `wtmp` as those of the machine. Returns `None` where that is impossible.
fn utmpset(tmp: &TestDir, words: &str) -> Option<Output> {
    let script = format!(
        "mount -t tmpfs none /run && mount -t tmpfs none /var/log && \
         test -d /var/run || exit 99\n\
         cp utmp /var/run/ 2> /dev/null; cp -r wtmp /var/log/ 2> /dev/null\n\
         utmpset {words}; code=$?\n\
         cp /var/run/utmp . 2> /dev/null; cp /var/log/wtmp . 2> /dev/null\n\
         exit $code"
    );
    let mut command = std::process::Command::new("unshare");
    let ours = tmp.command(&["runt"]);
    for (name, value) in ours.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    command.args(["-m", "sh", "-c", &script]);
    command.current_dir(tmp.dir.path());
    let root = rustix::process::geteuid().is_root();
    let output = root.then(|| output_of(&mut command));
    let output = output.filter(|output| {
        output.code != 99 && !output.stderr.starts_with("unshare:")
    });
    if output.is_none() {
        let why = "skipped, needs root and a mount name space: utmpset\n";
        let _said = std::io::stderr().write_all(why.as_bytes());
    }
    output
}

#[test]
fn logout_is_recorded() {
    let tmp = TestDir::new();
    let before = [
        record(7, "pts/1", ""),
        record(7, "pts/10", "joe"),
        record(7, "pts/1", "joe"),
        record(7, "pts/1", "jim"),
        b"tail".to_vec(),
    ]
    .concat();
    fs::write(tmp.path("utmp"), &before).unwrap();
    let Some(output) = utmpset(&tmp, "-w pts/1") else {
        return;
    };
    assert_eq!((output.stderr.as_str(), output.code), ("", 0));
    // The third is unchanged but for type, user, host and time.
    let after = fs::read(tmp.path("utmp")).unwrap();
    let seconds = |record: &[u8]| {
        u32::from_ne_bytes(record[340..344].try_into().unwrap())
    };
    let time = seconds(&after[768..]);
    let mut expected = before.clone();
    let third = &mut expected[768..1152];
    third[0] = 8;
    third[44..332].fill(0);
    third[340..344].copy_from_slice(&time.to_ne_bytes());
    assert!(after == expected);
    let wtmp = fs::read(tmp.path("wtmp")).unwrap();
    let mode = fs::metadata(tmp.path("wtmp")).unwrap().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut expected = vec![0; 384];
    expected[0] = 8;
    expected[8..13].copy_from_slice(b"pts/1");
    expected[340..344].copy_from_slice(&seconds(&wtmp).to_ne_bytes());
    assert!(wtmp == expected);
    let now = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .unwrap()
        .as_secs();
    for time in [time, seconds(&wtmp)] {
        assert!(u64::from(time).abs_diff(now) < 600);
    }
    // The next match is the fourth record; then there is none.
    assert_eq!(utmpset(&tmp, "pts/1").unwrap().code, 0);
    let none = utmpset(&tmp, "-w pts/1").unwrap();
    let err = "utmpset: warning: unable to logout line pts/1 in utmp: \
               no such entry\n";
    assert_eq!((none.stderr.as_str(), none.code), (err, 111));
    assert_eq!(fs::read(tmp.path("wtmp")).unwrap().len(), 384);
}

#[test]
fn unknown_lines_are_reported() {
    let tmp = TestDir::new();
    let Some(output) = utmpset(&tmp, "tty1") else {
        return;
    };
    let err = "utmpset: fatal: unable to open /var/run/utmp: \
               file does not exist\n";
    assert_eq!((output.stderr.as_str(), output.code), (err, 111));
    let long = "x".repeat(33);
    let err = format!(
        "utmpset: fatal: unable to logout line {long} in utmp: \
         name too long\n"
    );
    let output = utmpset(&tmp, &long).unwrap();
    assert_eq!((output.stderr, output.code), (err, 111));
    let full = "x".repeat(32);
    fs::write(tmp.path("utmp"), record(7, &full, "joe")).unwrap();
    assert_eq!(utmpset(&tmp, &full).unwrap().code, 0);
    // utmp is updated before wtmp is opened.
    fs::create_dir(tmp.path("wtmp")).unwrap();
    fs::write(tmp.path("utmp"), record(7, "a", "joe")).unwrap();
    let output = utmpset(&tmp, "-w a").unwrap();
    let err = "utmpset: fatal: unable to open /var/log/wtmp: \
               is a directory\n";
    assert_eq!((output.stderr.as_str(), output.code), (err, 111));
    assert_eq!(fs::read(tmp.path("utmp")).unwrap()[0], 8);
}

#[test]
fn usage_of_utmpset() {
    let tmp = TestDir::new();
    let own = tmp.path("bin/utmpset").display().to_string();
    let usage = format!("usage: {own} [-w] line\n\n");
    for words in [&[][..], &["-w"]] {
        let output = tmp.run(&[&["utmpset"], words].concat());
        assert_eq!((output.stderr, output.code), (usage.clone(), 1));
    }
    let output = tmp.run(&["utmpset", "-x", "tty1"]);
    let err = format!("utmpset: illegal option -- x\n{usage}");
    assert_eq!((output.stderr, output.code), (err, 1));
    let output = tmp.run(&["utmpset", "-V"]);
    assert!(output.stderr.starts_with("runt "), "{output:?}");
    assert!(output.stderr.ends_with(&usage) && output.code == 1);
}

#[test]
fn limits_lists_every_bound() {
    let tmp = TestDir::new();
    let output = tmp.run(&["runt", "limits"]);
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
    let table = include_str!("../../src/capacities.txt");
    let rows = table.lines().filter(|line| !line.starts_with('#'));
    let names = rows.filter_map(|line| line.split_whitespace().next());
    let more = ["descriptors", "processes", "code", "variables"];
    let told = output.stdout.lines().map(|line| {
        let (name, value) = line.split_once(' ').unwrap();
        assert!(value.parse::<u64>().is_ok(), "{line}");
        name
    });
    assert!(told.eq(names.chain(more)), "{}", output.stdout);
}

#[test]
fn pause_waits_for_a_signal() {
    let tmp = TestDir::new();
    // As in a service: under another name, which may be that of a program.
    for (name, signal) in [
        ("web", Signal::TERM),
        ("sv", Signal::INT),
        ("chpst", Signal::HUP),
    ] {
        let words = ["chpst", "-b", name, "pause", "argument"];
        let mut child = tmp.command(&words).spawn().unwrap();
        let path = format!("/proc/{}", child.id());
        until("a pause that takes signals", || {
            let status = fs::read_to_string(format!("{path}/status")).ok()?;
            let blocked = status.contains("SigBlk:\t0000000000004003");
            blocked.then_some(())
        });
        let line = fs::read(format!("{path}/cmdline")).unwrap();
        assert_eq!(line, format!("{name}\0argument\0").as_bytes());
        let pid = Pid::from_child(&child);
        // STOP and CONT do not end it.
        kill_process(pid, Signal::STOP).unwrap();
        kill_process(pid, Signal::CONT).unwrap();
        assert!(child.try_wait().unwrap().is_none());
        kill_process(pid, signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(0));
    }
}

#[test]
fn programs_are_selected_by_name() {
    let tmp = TestDir::new();
    let bin = tmp.path("bin");
    fs::create_dir(tmp.path("links")).unwrap();
    let link = |target: &str, name: &str| {
        symlink(target, tmp.path("links").join(name)).unwrap();
    };
    link("../bin/chpst", "run");
    link("run", "second");
    link(bin.join("runt").to_str().unwrap(), "third");
    link("third", "service");
    let usage = |file: &str, name: &str| {
        let mut command = std::process::Command::new(tmp.path(file));
        let output =
            output_of(command.arg0(name).env("SVDIR", tmp.path("none")));
        output.stderr.lines().next().unwrap_or_default().to_string()
    };
    // The file's name, then the first argument, then the target of the link.
    assert!(usage("bin/chpst", "sv").starts_with("usage: chpst "));
    assert!(usage("bin/runt", "chpst").starts_with("usage: chpst "));
    assert!(usage("bin/runt", "setlock").starts_with("usage: setlock "));
    assert!(usage("bin/runt", "-chpst").starts_with("usage: "));
    assert!(usage("links/run", "./run").starts_with("usage: chpst "));
    assert!(usage("links/second", "second").starts_with("usage: chpst "));
    // As with runit's chpst, the first argument selects the program.
    assert!(usage("bin/chpst", "softlimit").starts_with("usage: softlimit "));
    assert!(usage("bin/chpst", "denvdir").starts_with("usage: envdir "));
    // Any other name is a service's name for sv.
    for file in ["links/third", "links/service"] {
        let usage = usage(file, "web");
        assert!(usage.starts_with("usage: web "), "{usage}");
    }
}
