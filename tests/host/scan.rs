//! Tests that the scan of a services directory finds every service and every
//! change.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{MetadataExt as _, PermissionsExt as _, symlink},
        process::CommandExt as _,
    },
    path::Path,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::util::{
    STAY, TestDir, shell::capacity, skip, start_wrapped, succeeds, until,
};

/// Replaces a link atomically.
fn retarget(tmp: &TestDir, link: &str, target: &str) {
    symlink(target, tmp.path("new-link")).unwrap();
    fs::rename(tmp.path("new-link"), tmp.path(link)).unwrap();
}

/// Waits until `stat` of a service that is not in `services` is down.
fn until_down(tmp: &TestDir, service: &str) {
    let stat = format!("{service}/supervise/stat");
    until(&format!("the end of {service}"), || {
        (tmp.read(&stat) == "down\n").then_some(())
    });
}

/// Waits until the supervisor has printed a line.
fn until_printed(tmp: &TestDir, line: &str) {
    until(&format!("the line `{line}`"), || {
        tmp.read("errors").contains(line).then_some(())
    });
}

/// Returns the modification time of a file, in nanoseconds since 1970.
fn modified(path: &Path) -> Option<i128> {
    let info = fs::metadata(path).ok()?;
    let secs = i128::from(info.mtime());
    Some(secs * 1_000_000_000 + i128::from(info.mtime_nsec()))
}

/// Returns the age of the directory `services/NAME` when its supervision
/// began, from the time of its lock. `since` is when it was complete.
fn age_when_taken(tmp: &TestDir, name: &str, since: i128) -> i128 {
    let lock = tmp.path(&format!("services/{name}/supervise/lock"));
    until("the lock", || modified(&lock)) - since
}

#[test]
fn a_fresh_directory_is_left_alone_for_a_second() {
    let tmp = TestDir::new();
    let _all = tmp.runsvdir();
    // A busy machine may write it too slowly: then the next attempt counts.
    for attempt in 0.. {
        let name = format!("b{attempt}");
        let began = Instant::now();
        for part in ["data", "env/A", "run"] {
            std::thread::sleep(Duration::from_millis(100));
            tmp.write(&format!("services/{name}/{part}"), "");
        }
        tmp.service(&name, STAY);
        if began.elapsed() > Duration::from_millis(900) && attempt < 10 {
            continue;
        }
        let dir = tmp.path(&format!("services/{name}"));
        let since = modified(&dir).unwrap();
        tmp.until_stat(&name, "run");
        let age = age_when_taken(&tmp, &name, since);
        // File systems use the time of the last tick: at most 10 ms earlier.
        assert!(age >= 990_000_000, "taken after {age} ns");
        assert!(!tmp.read("errors").contains(&name));
        break;
    }
}

#[test]
fn a_directory_moved_in_starts_at_once() {
    let tmp = TestDir::new();
    let _all = tmp.runsvdir();
    // A busy machine may be late: one of these must be in time.
    let in_time = (0..10).any(|attempt| {
        let name = format!("b{attempt}");
        tmp.script(&format!("made/{name}/run"), STAY);
        let made = tmp.path(&format!("made/{name}"));
        let since = modified(&made).unwrap();
        let path = tmp.path(&format!("services/{name}"));
        fs::rename(made, path).unwrap();
        tmp.until_stat(&name, "run");
        age_when_taken(&tmp, &name, since) < 1_000_000_000
    });
    assert!(in_time);
}

#[test]
fn a_renamed_link_keeps_the_service() {
    let tmp = TestDir::new();
    tmp.script("other/a/run", STAY);
    fs::create_dir(tmp.path("services")).unwrap();
    symlink("../other/a", tmp.path("services/one")).unwrap();
    symlink("../other/a", tmp.path("services/two")).unwrap();
    tmp.service("plain", STAY);
    let _all = tmp.runsvdir();
    let pid = tmp.until_pid("one", None);
    let plain = tmp.until_pid("plain", None);
    assert_eq!(tmp.pid("two"), Some(pid));
    // A marker that is added last shows that the scan is over.
    let marker = |name: &str| {
        tmp.script(&format!("other/{name}/run"), STAY);
        let target = format!("../other/{name}");
        symlink(target, tmp.path(&format!("services/{name}"))).unwrap();
        tmp.until_stat(name, "run");
    };
    fs::remove_file(tmp.path("services/one")).unwrap();
    let from = tmp.path("services/plain");
    fs::rename(from, tmp.path("services/renamed")).unwrap();
    marker("first");
    assert_eq!(tmp.pid("two"), Some(pid));
    assert_eq!(tmp.pid("renamed"), Some(plain));
    fs::remove_file(tmp.path("services/two")).unwrap();
    until_down(&tmp, "other/a");
    assert_eq!(tmp.read("errors"), "");
}

#[test]
fn a_replaced_directory_starts_the_new_service() {
    let tmp = TestDir::new();
    tmp.script("other/a/run", STAY);
    tmp.script("made/run", STAY);
    fs::create_dir(tmp.path("services")).unwrap();
    symlink("../other/a", tmp.path("services/a")).unwrap();
    let _all = tmp.runsvdir();
    let old = tmp.until_pid("a", None);
    // Behind the link, where the services directory does not change.
    fs::rename(tmp.path("other/a"), tmp.path("other/old")).unwrap();
    fs::rename(tmp.path("made"), tmp.path("other/a")).unwrap();
    tmp.until_pid("a", Some(old));
    until_down(&tmp, "other/old");
    // Removed as a whole and created anew.
    let old = tmp.until_pid("a", None);
    fs::remove_dir_all(tmp.path("other/a")).unwrap();
    tmp.script("other/a/run", STAY);
    tmp.until_pid("a", Some(old));
    until("the end of the old one", || {
        rustix::process::test_kill_process(old).err()
    });
}

#[test]
fn chains_of_links_are_watched() {
    let tmp = TestDir::new();
    tmp.script("other/a/run", STAY);
    tmp.script("other/b/run", STAY);
    fs::create_dir_all(tmp.path("services")).unwrap();
    fs::create_dir_all(tmp.path("links")).unwrap();
    symlink("../other/a", tmp.path("links/l")).unwrap();
    symlink("../links/l", tmp.path("services/s")).unwrap();
    let _all = tmp.runsvdir();
    let old = tmp.until_pid("s", None);
    retarget(&tmp, "links/l", "../other/b");
    tmp.until_pid("s", Some(old));
    until_down(&tmp, "other/a");
}

#[test]
fn a_dangling_link_starts_when_its_target_appears() {
    let tmp = TestDir::new();
    fs::create_dir_all(tmp.path("services")).unwrap();
    fs::create_dir_all(tmp.path("other")).unwrap();
    symlink("../other/a", tmp.path("services/a")).unwrap();
    let _all = tmp.runsvdir();
    until_printed(&tmp, "unable to stat a: file does not exist");
    tmp.script("made/run", STAY);
    fs::rename(tmp.path("made"), tmp.path("other/a")).unwrap();
    tmp.until_stat("a", "run");
}

#[test]
fn removed_and_added_while_stopping() {
    let tmp = TestDir::new();
    let count = tmp.path("starts");
    let go = tmp.path("go");
    tmp.script(
        "other/a/run",
        &format!(
            "trap 'while ! test -e {}; do sleep 0.02; done; exit' TERM\n\
             echo >> {}\n\
             while :; do sleep 0.02; done",
            go.display(),
            count.display()
        ),
    );
    fs::create_dir(tmp.path("services")).unwrap();
    let link = tmp.path("services/a");
    symlink("../other/a", &link).unwrap();
    let _all = tmp.runsvdir();
    let old = tmp.until_pid("a", None);
    until("the first start", || {
        (tmp.read("starts") == "\n").then_some(())
    });
    fs::remove_file(&link).unwrap();
    tmp.until_stat_of("other/a", "run, got TERM, want exit");
    symlink("../other/a", &link).unwrap();
    // The link is noticed: a later service is running, and `a` still ends.
    tmp.script("other/b/run", STAY);
    symlink("../other/b", tmp.path("services/b")).unwrap();
    tmp.until_stat("b", "run");
    assert_eq!(tmp.pid("a"), Some(old));
    fs::write(&go, "").unwrap();
    tmp.until_pid("a", Some(old));
    assert_eq!(tmp.read("errors"), "");
}

#[test]
fn services_directory_removed_and_recreated() {
    let tmp = TestDir::new();
    tmp.service("a", STAY);
    let _all = tmp.runsvdir();
    let pid = tmp.until_pid("a", None);
    fs::rename(tmp.path("services"), tmp.path("away")).unwrap();
    until_printed(
        &tmp,
        "runsvdir services: warning: unable to stat services: \
         file does not exist",
    );
    let stat = tmp.read("away/a/supervise/stat");
    assert_eq!(stat, "run\n", "what runs goes on");
    fs::rename(tmp.path("away"), tmp.path("services")).unwrap();
    tmp.script("other/b/run", STAY);
    symlink("../other/b", tmp.path("services/b")).unwrap();
    tmp.until_stat("b", "run");
    assert_eq!(tmp.pid("a"), Some(pid));
}

#[test]
fn a_mount_over_the_services_directory() {
    let tmp = TestDir::new();
    let unshare = ["unshare", "-m"];
    if !succeeds(&[&unshare[..], &["true"]].concat()) {
        return skip("no mount namespace to be had");
    }
    tmp.service("a", STAY);
    tmp.script("other/b/run", STAY);
    let all = start_wrapped(&tmp, &[&unshare[..], &["runsvdir", "services"]]);
    tmp.until_stat("a", "run");
    let pid = all.pid().as_raw_pid().to_string();
    let mount = ["nsenter", "-t", &pid, "-m", "mount", "--bind"];
    let paths = [tmp.path("other"), tmp.path("services")];
    let [from, to] = paths.each_ref().map(|path| path.to_str().unwrap());
    assert!(succeeds(&[&mount[..], &[from, to]].concat()));
    let stat = "other/b/supervise/stat";
    until("b", || (tmp.read(stat) == "run\n").then_some(()));
    tmp.until_stat("a", "down");
    let umount = ["nsenter", "-t", &pid, "-m", "umount", "-l", to];
    assert!(succeeds(&umount));
    tmp.until_stat("a", "run");
    until_down(&tmp, "other/b");
}

#[test]
fn names_with_any_byte() {
    let tmp = TestDir::new();
    tmp.script("stay", STAY);
    let bytes: Vec<u8> = (1..=255).filter(|byte| *byte != b'/').collect();
    let names: Vec<Vec<u8>> =
        bytes.chunks(50).map(|part| [b"n", part].concat()).collect();
    for name in &names {
        let dir = tmp.path("services").join(OsStr::from_bytes(name));
        fs::create_dir_all(&dir).unwrap();
        symlink(tmp.path("stay"), dir.join("run")).unwrap();
        // A link to nothing, to be reported.
        let broken = [b"x", name.as_slice()].concat();
        let broken = tmp.path("services").join(OsStr::from_bytes(&broken));
        symlink("nowhere", broken).unwrap();
    }
    let _all = tmp.runsvdir();
    for name in &names {
        let dir = tmp.path("services").join(OsStr::from_bytes(name));
        until("a start", || {
            fs::read(dir.join("supervise/status"))
                .ok()
                .filter(|status| status[19] == 1)
        });
    }
    let output = until("all complaints", || {
        let output = fs::read(tmp.path("errors")).ok()?;
        let lines = output.split(|byte| *byte == b'\n').count();
        (lines > names.len()).then_some(output)
    });
    for line in output
        .split(|byte| *byte == b'\n')
        .filter(|l| !l.is_empty())
    {
        let text = String::from_utf8_lossy(line);
        assert!(!line.iter().any(u8::is_ascii_control), "{text}");
        assert!(text.contains("unable to stat xn"), "{text}");
    }
}

#[test]
fn a_freed_slot_is_reused() {
    let tmp = TestDir::new();
    let slots = capacity(&tmp, "slots");
    for number in 0..=slots {
        tmp.script(&format!("other/s{number:02}/run"), STAY);
        tmp.link(&format!("s{number:02}"));
    }
    let _all = tmp.runsvdir();
    until_printed(&tmp, &format!("too many services (slots = {slots})"));
    let up = || {
        let all = (0..=slots).map(|number| format!("s{number:02}"));
        all.filter(|name| {
            tmp.read(&format!("other/{name}/supervise/stat")) == "run\n"
        })
        .collect::<Vec<_>>()
    };
    let first = until("all services", || {
        Some(up()).filter(|names| names.len() == slots)
    });
    let gone = &first[0];
    fs::remove_file(tmp.path(&format!("services/{gone}"))).unwrap();
    until("the last one", || {
        let now = up();
        (now.len() == slots && !now.contains(gone)).then_some(())
    });
}

#[test]
fn other_entries_are_reported_at_most_once() {
    let tmp = TestDir::new();
    tmp.service("good", STAY);
    tmp.write("services/file", "");
    tmp.write("services/.hidden/run", "");
    symlink("self", tmp.path("services/self")).unwrap();
    symlink("b", tmp.path("services/a")).unwrap();
    symlink("a", tmp.path("services/b")).unwrap();
    symlink("file", tmp.path("services/link")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        tmp.path("services/fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let _all = tmp.runsvdir();
    tmp.until_stat("good", "run");
    for name in ["self", "a", "b"] {
        let line = format!("unable to stat {name}: symbolic link loop\n");
        until_printed(&tmp, &line);
    }
    assert_eq!(tmp.read("errors").lines().count(), 3);
}

#[test]
fn unreadable_directories_are_retried() {
    let tmp = TestDir::new();
    tmp.service("good", STAY);
    tmp.service("bad", STAY);
    let modes = |name: &str, mode: u32| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(tmp.path(name), mode).unwrap();
    };
    for name in ["", "services", "services/good"] {
        modes(name, 0o777);
    }
    modes("services/bad", 0o700);
    let mut command = tmp.command(&["runsvdir", "services"]);
    if rustix::process::getuid().is_root() {
        command.uid(65534).gid(65534);
    } else {
        modes("services/bad", 0);
    }
    let _all = tmp.start_as(&mut command);
    tmp.until_stat("good", "run");
    until_printed(
        &tmp,
        "unable to start runsv bad: unable to open directory .: \
         access denied\n",
    );
    modes("services/bad", 0o777);
    tmp.until_stat("bad", "run");
    assert_eq!(tmp.read("errors").lines().count(), 1);
}

#[test]
fn entries_that_vanish_during_a_scan() {
    let tmp = TestDir::new();
    tmp.script("other/a/run", STAY);
    tmp.service("good", STAY);
    let _all = tmp.runsvdir();
    let pid = tmp.until_pid("good", None);
    for round in 0..300 {
        let link = tmp.path(&format!("services/l{}", round % 7));
        symlink("../other/a", &link).unwrap();
        if round % 3 == 0 {
            tmp.write("services/dir/run", "");
            fs::remove_dir_all(tmp.path("services/dir"))
                .or_else(|_| fs::remove_dir_all(tmp.path("services/dir")))
                .unwrap();
        }
        fs::remove_file(&link).unwrap();
    }
    until("the end of a", || {
        let stat = tmp.read("other/a/supervise/stat");
        (stat.is_empty() || stat == "down\n").then_some(())
    });
    tmp.link("a");
    tmp.until_stat("a", "run");
    assert_eq!(tmp.pid("good"), Some(pid));
    let odd = tmp.read("errors");
    let odd = odd.lines().find(|line| {
        !line.contains("file does not exist") && !line.contains("restart")
    });
    assert_eq!(odd, None);
}

#[test]
fn an_exited_service_stays_away_until_a_rescan() {
    let tmp = TestDir::new();
    tmp.service("a", STAY);
    tmp.script("other/b/run", STAY);
    let all = tmp.runsvdir();
    tmp.until_pid("a", None);
    assert_eq!(tmp.run(&["sv", "-v", "exit", "a"]).code, 0);
    // A scan without a request does not start it again.
    tmp.link("b");
    tmp.until_stat("b", "run");
    assert_eq!(tmp.stat("a"), "down");
    all.kill(Signal::ALARM);
    tmp.until_stat("a", "run");
}

#[test]
fn without_inotify_it_scans_every_five_seconds() {
    let tmp = TestDir::new();
    for (file, value, reason) in [
        (
            "max_inotify_instances",
            "0",
            "process cannot open more files",
        ),
        ("max_inotify_watches", "1", "out of disk space"),
    ] {
        let limit =
            format!("echo {value} >/proc/sys/user/{file} && exec \"$@\"");
        let limited = ["unshare", "-r", "sh", "-c", &limit, "sh"];
        if !succeeds(&[&limited[..], &["true"]].concat()) {
            return skip("no user namespace to be had");
        }
        tmp.script(&format!("other/{value}/run"), STAY);
        tmp.service("a", STAY);
        let all =
            start_wrapped(&tmp, &[&limited[..], &["runsvdir", "services"]]);
        tmp.until_stat("a", "run");
        until_printed(
            &tmp,
            &format!(
                "runsvdir services: warning: unable to watch the services \
                 directory: {reason}; scanning every 5 seconds\n"
            ),
        );
        tmp.link(value);
        tmp.until_stat(value, "run");
        drop(all);
    }
}

#[test]
fn more_path_components_than_watches() {
    let tmp = TestDir::new();
    let deep = "d/".repeat(30);
    tmp.script("other/a/run", STAY);
    fs::create_dir_all(tmp.path(&deep)).unwrap();
    fs::create_dir_all(tmp.path("services")).unwrap();
    let link = tmp.path(&format!("{deep}services"));
    symlink(tmp.path("services"), link).unwrap();
    let _all = tmp.start(&["runsvdir", &format!("{deep}services")]);
    until_printed(
        &tmp,
        "unable to watch the services directory: more than watches = 24; \
         scanning every 5 seconds\n",
    );
    tmp.link("a");
    tmp.until_stat("a", "run");
}
