//! Tests that the scan of a services directory finds every service and every
//! change.
#![allow(missing_docs, reason = "the names of the tests say it")]

#[path = "util/shell.rs"]
mod shell;
mod util;

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
use shell::bound;
use util::{Place, skipped, start_by, until, works};

/// A `run` line that keeps the service up.
const STAY: &str = "exec sleep 1000";

/// Replaces a link atomically.
fn retarget(place: &Place, link: &str, target: &str) {
    symlink(target, place.path("new-link")).unwrap();
    fs::rename(place.path("new-link"), place.path(link)).unwrap();
}

/// Waits until `stat` of a service that is not in `services` is down.
fn until_down(place: &Place, service: &str) {
    let stat = format!("{service}/supervise/stat");
    until(&format!("the end of {service}"), || {
        (place.read(&stat) == "down\n").then_some(())
    });
}

/// Waits until the supervisor has printed a line.
fn until_said(place: &Place, line: &str) {
    until(&format!("the line `{line}`"), || {
        place.read("errors").contains(line).then_some(())
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
fn age_when_taken(place: &Place, name: &str, since: i128) -> i128 {
    let lock = place.path(&format!("services/{name}/supervise/lock"));
    until("the lock", || modified(&lock)) - since
}

#[test]
fn what_is_made_in_place_is_left_alone_for_a_second() {
    let place = Place::new();
    let _all = place.runsvdir();
    // A busy machine may write it too slowly: then the next attempt counts.
    for attempt in 0.. {
        let name = format!("b{attempt}");
        let began = Instant::now();
        for part in ["data", "env/A", "run"] {
            std::thread::sleep(Duration::from_millis(100));
            place.write(&format!("services/{name}/{part}"), "");
        }
        place.service(&name, STAY);
        if began.elapsed() > Duration::from_millis(900) && attempt < 10 {
            continue;
        }
        let dir = place.path(&format!("services/{name}"));
        let since = modified(&dir).unwrap();
        place.until_stat(&name, "run");
        let age = age_when_taken(&place, &name, since);
        // File systems use the time of the last tick: at most 10 ms earlier.
        assert!(age >= 990_000_000, "taken after {age} ns");
        assert!(!place.read("errors").contains(&name));
        break;
    }
}

#[test]
fn what_was_made_elsewhere_is_taken_at_once() {
    let place = Place::new();
    let _all = place.runsvdir();
    // A busy machine may be late: one of these must be in time.
    let in_time = (0..10).any(|attempt| {
        let name = format!("b{attempt}");
        place.script(&format!("made/{name}/run"), STAY);
        let made = place.path(&format!("made/{name}"));
        let since = modified(&made).unwrap();
        let path = place.path(&format!("services/{name}"));
        fs::rename(made, path).unwrap();
        place.until_stat(&name, "run");
        age_when_taken(&place, &name, since) < 1_000_000_000
    });
    assert!(in_time);
}

#[test]
fn a_service_is_its_directory_and_not_its_name() {
    let place = Place::new();
    place.script("other/a/run", STAY);
    fs::create_dir(place.path("services")).unwrap();
    symlink("../other/a", place.path("services/one")).unwrap();
    symlink("../other/a", place.path("services/two")).unwrap();
    place.service("plain", STAY);
    let _all = place.runsvdir();
    let pid = place.until_pid("one", None);
    let plain = place.until_pid("plain", None);
    assert_eq!(place.pid("two"), Some(pid));
    // A marker that is added last shows that the scan is over.
    let marker = |name: &str| {
        place.script(&format!("other/{name}/run"), STAY);
        let target = format!("../other/{name}");
        symlink(target, place.path(&format!("services/{name}"))).unwrap();
        place.until_stat(name, "run");
    };
    fs::remove_file(place.path("services/one")).unwrap();
    let from = place.path("services/plain");
    fs::rename(from, place.path("services/renamed")).unwrap();
    marker("first");
    assert_eq!(place.pid("two"), Some(pid));
    assert_eq!(place.pid("renamed"), Some(plain));
    fs::remove_file(place.path("services/two")).unwrap();
    until_down(&place, "other/a");
    assert_eq!(place.read("errors"), "");
}

#[test]
fn replaced_by_another_directory_of_the_same_name() {
    let place = Place::new();
    place.script("other/a/run", STAY);
    place.script("made/run", STAY);
    fs::create_dir(place.path("services")).unwrap();
    symlink("../other/a", place.path("services/a")).unwrap();
    let _all = place.runsvdir();
    let old = place.until_pid("a", None);
    // Behind the link, where the services directory does not change.
    fs::rename(place.path("other/a"), place.path("other/old")).unwrap();
    fs::rename(place.path("made"), place.path("other/a")).unwrap();
    place.until_pid("a", Some(old));
    until_down(&place, "other/old");
    // Removed as a whole and created anew.
    let old = place.until_pid("a", None);
    fs::remove_dir_all(place.path("other/a")).unwrap();
    place.script("other/a/run", STAY);
    place.until_pid("a", Some(old));
    until("the end of the old one", || {
        rustix::process::test_kill_process(old).err()
    });
}

#[test]
fn links_behind_links_are_watched() {
    let place = Place::new();
    place.script("other/a/run", STAY);
    place.script("other/b/run", STAY);
    fs::create_dir_all(place.path("services")).unwrap();
    fs::create_dir_all(place.path("links")).unwrap();
    symlink("../other/a", place.path("links/l")).unwrap();
    symlink("../links/l", place.path("services/s")).unwrap();
    let _all = place.runsvdir();
    let old = place.until_pid("s", None);
    retarget(&place, "links/l", "../other/b");
    place.until_pid("s", Some(old));
    until_down(&place, "other/a");
}

#[test]
fn a_link_to_nothing_is_taken_when_there_is_something() {
    let place = Place::new();
    fs::create_dir_all(place.path("services")).unwrap();
    fs::create_dir_all(place.path("other")).unwrap();
    symlink("../other/a", place.path("services/a")).unwrap();
    let _all = place.runsvdir();
    until_said(&place, "unable to stat a: file does not exist");
    place.script("made/run", STAY);
    fs::rename(place.path("made"), place.path("other/a")).unwrap();
    place.until_stat("a", "run");
}

#[test]
fn removed_and_added_before_the_old_one_has_ended() {
    let place = Place::new();
    let count = place.path("starts");
    let go = place.path("go");
    place.script(
        "other/a/run",
        &format!(
            "trap 'while ! test -e {}; do sleep 0.02; done; exit' TERM\n\
             echo >> {}\n\
             while :; do sleep 0.02; done",
            go.display(),
            count.display()
        ),
    );
    fs::create_dir(place.path("services")).unwrap();
    let link = place.path("services/a");
    symlink("../other/a", &link).unwrap();
    let _all = place.runsvdir();
    let old = place.until_pid("a", None);
    until("the first start", || {
        (place.read("starts") == "\n").then_some(())
    });
    fs::remove_file(&link).unwrap();
    place.until_stat_of("other/a", "run, got TERM, want exit");
    symlink("../other/a", &link).unwrap();
    // The link is noticed: a later service is running, and `a` still ends.
    place.script("other/b/run", STAY);
    symlink("../other/b", place.path("services/b")).unwrap();
    place.until_stat("b", "run");
    assert_eq!(place.pid("a"), Some(old));
    fs::write(&go, "").unwrap();
    place.until_pid("a", Some(old));
    assert_eq!(place.read("errors"), "");
}

#[test]
fn the_services_directory_goes_and_comes() {
    let place = Place::new();
    place.service("a", STAY);
    let _all = place.runsvdir();
    let pid = place.until_pid("a", None);
    fs::rename(place.path("services"), place.path("away")).unwrap();
    until_said(
        &place,
        "runsvdir services: warning: unable to stat services: \
         file does not exist",
    );
    let stat = place.read("away/a/supervise/stat");
    assert_eq!(stat, "run\n", "what runs goes on");
    fs::rename(place.path("away"), place.path("services")).unwrap();
    place.script("other/b/run", STAY);
    symlink("../other/b", place.path("services/b")).unwrap();
    place.until_stat("b", "run");
    assert_eq!(place.pid("a"), Some(pid));
}

#[test]
fn a_mount_over_the_services_directory() {
    let place = Place::new();
    let unshare = ["unshare", "-m"];
    if !works(&[&unshare[..], &["true"]].concat()) {
        return skipped("no mount namespace to be had");
    }
    place.service("a", STAY);
    place.script("other/b/run", STAY);
    let all = start_by(&place, &[&unshare[..], &["runsvdir", "services"]]);
    place.until_stat("a", "run");
    let pid = all.pid().as_raw_pid().to_string();
    let mount = ["nsenter", "-t", &pid, "-m", "mount", "--bind"];
    let paths = [place.path("other"), place.path("services")];
    let [from, to] = paths.each_ref().map(|path| path.to_str().unwrap());
    assert!(works(&[&mount[..], &[from, to]].concat()));
    let stat = "other/b/supervise/stat";
    until("b", || (place.read(stat) == "run\n").then_some(()));
    place.until_stat("a", "down");
    let umount = ["nsenter", "-t", &pid, "-m", "umount", "-l", to];
    assert!(works(&umount));
    place.until_stat("a", "run");
    until_down(&place, "other/b");
}

#[test]
fn names_with_every_byte() {
    let place = Place::new();
    place.script("stay", STAY);
    let bytes: Vec<u8> = (1..=255).filter(|byte| *byte != b'/').collect();
    let names: Vec<Vec<u8>> =
        bytes.chunks(50).map(|part| [b"n", part].concat()).collect();
    for name in &names {
        let dir = place.path("services").join(OsStr::from_bytes(name));
        fs::create_dir_all(&dir).unwrap();
        symlink(place.path("stay"), dir.join("run")).unwrap();
        // A link to nothing, to be reported.
        let broken = [b"x", name.as_slice()].concat();
        let broken = place.path("services").join(OsStr::from_bytes(&broken));
        symlink("nowhere", broken).unwrap();
    }
    let _all = place.runsvdir();
    for name in &names {
        let dir = place.path("services").join(OsStr::from_bytes(name));
        until("a start", || {
            fs::read(dir.join("supervise/status"))
                .ok()
                .filter(|status| status[19] == 1)
        });
    }
    let said = until("all complaints", || {
        let said = fs::read(place.path("errors")).ok()?;
        let lines = said.split(|byte| *byte == b'\n').count();
        (lines > names.len()).then_some(said)
    });
    for line in said.split(|byte| *byte == b'\n').filter(|l| !l.is_empty()) {
        let text = String::from_utf8_lossy(line);
        assert!(!line.iter().any(u8::is_ascii_control), "{text}");
        assert!(text.contains("unable to stat xn"), "{text}");
    }
}

#[test]
fn a_place_that_gets_free_is_taken() {
    let place = Place::new();
    let slots = bound(&place, "slots");
    for number in 0..=slots {
        place.script(&format!("other/s{number:02}/run"), STAY);
        place.link(&format!("s{number:02}"));
    }
    let _all = place.runsvdir();
    until_said(&place, &format!("too many services (slots = {slots})"));
    let up = || {
        let all = (0..=slots).map(|number| format!("s{number:02}"));
        all.filter(|name| {
            place.read(&format!("other/{name}/supervise/stat")) == "run\n"
        })
        .collect::<Vec<_>>()
    };
    let first = until("all services", || {
        Some(up()).filter(|names| names.len() == slots)
    });
    let gone = &first[0];
    fs::remove_file(place.path(&format!("services/{gone}"))).unwrap();
    until("the last one", || {
        let now = up();
        (now.len() == slots && !now.contains(gone)).then_some(())
    });
}

#[test]
fn what_is_no_service_directory_costs_a_line_or_nothing() {
    let place = Place::new();
    place.service("good", STAY);
    place.write("services/file", "");
    place.write("services/.hidden/run", "");
    symlink("self", place.path("services/self")).unwrap();
    symlink("b", place.path("services/a")).unwrap();
    symlink("a", place.path("services/b")).unwrap();
    symlink("file", place.path("services/link")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        place.path("services/fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    let _all = place.runsvdir();
    place.until_stat("good", "run");
    for name in ["self", "a", "b"] {
        let line = format!("unable to stat {name}: symbolic link loop\n");
        until_said(&place, &line);
    }
    assert_eq!(place.read("errors").lines().count(), 3);
}

#[test]
fn unreadable_directories_and_their_mending() {
    let place = Place::new();
    place.service("good", STAY);
    place.service("bad", STAY);
    let modes = |name: &str, mode: u32| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(place.path(name), mode).unwrap();
    };
    for name in ["", "services", "services/good"] {
        modes(name, 0o777);
    }
    modes("services/bad", 0o700);
    let mut command = place.command(&["runsvdir", "services"]);
    if rustix::process::getuid().is_root() {
        command.uid(65534).gid(65534);
    } else {
        modes("services/bad", 0);
    }
    let _all = place.start_as(&mut command);
    place.until_stat("good", "run");
    until_said(
        &place,
        "unable to start runsv bad: unable to open directory .: \
         access denied\n",
    );
    modes("services/bad", 0o777);
    place.until_stat("bad", "run");
    assert_eq!(place.read("errors").lines().count(), 1);
}

#[test]
fn entries_that_vanish_while_they_are_looked_at() {
    let place = Place::new();
    place.script("other/a/run", STAY);
    place.service("good", STAY);
    let _all = place.runsvdir();
    let pid = place.until_pid("good", None);
    for round in 0..300 {
        let link = place.path(&format!("services/l{}", round % 7));
        symlink("../other/a", &link).unwrap();
        if round % 3 == 0 {
            place.write("services/dir/run", "");
            fs::remove_dir_all(place.path("services/dir"))
                .or_else(|_| fs::remove_dir_all(place.path("services/dir")))
                .unwrap();
        }
        fs::remove_file(&link).unwrap();
    }
    until("the end of a", || {
        let stat = place.read("other/a/supervise/stat");
        (stat.is_empty() || stat == "down\n").then_some(())
    });
    place.link("a");
    place.until_stat("a", "run");
    assert_eq!(place.pid("good"), Some(pid));
    let odd = place.read("errors");
    let odd = odd.lines().find(|line| {
        !line.contains("file does not exist") && !line.contains("restart")
    });
    assert_eq!(odd, None);
}

#[test]
fn told_to_exit_it_stays_away_until_a_rescan() {
    let place = Place::new();
    place.service("a", STAY);
    place.script("other/b/run", STAY);
    let all = place.runsvdir();
    place.until_pid("a", None);
    assert_eq!(place.run(&["sv", "-v", "exit", "a"]).code, 0);
    // A scan without a request does not start it again.
    place.link("b");
    place.until_stat("b", "run");
    assert_eq!(place.stat("a"), "down");
    all.kill(Signal::ALARM);
    place.until_stat("a", "run");
}

#[test]
fn where_nothing_can_be_watched_it_scans_every_five_seconds() {
    let place = Place::new();
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
        if !works(&[&limited[..], &["true"]].concat()) {
            return skipped("no user namespace to be had");
        }
        place.script(&format!("other/{value}/run"), STAY);
        place.service("a", STAY);
        let all = start_by(&place, &[&limited[..], &["runsvdir", "services"]]);
        place.until_stat("a", "run");
        until_said(
            &place,
            &format!(
                "runsvdir services: warning: unable to watch the services \
                 directory: {reason}; scanning every 5 seconds\n"
            ),
        );
        place.link(value);
        place.until_stat(value, "run");
        drop(all);
    }
}

#[test]
fn more_directories_on_the_way_than_watches() {
    let place = Place::new();
    let deep = "d/".repeat(30);
    place.script("other/a/run", STAY);
    fs::create_dir_all(place.path(&deep)).unwrap();
    fs::create_dir_all(place.path("services")).unwrap();
    let link = place.path(&format!("{deep}services"));
    symlink(place.path("services"), link).unwrap();
    let _all = place.start(&["runsvdir", &format!("{deep}services")]);
    until_said(
        &place,
        "unable to watch the services directory: more than watches = 24; \
         scanning every 5 seconds\n",
    );
    place.link("a");
    place.until_stat("a", "run");
}
