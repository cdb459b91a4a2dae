//! Tests that a running supervisor moves to another file, and stays with its
//! own if the other one is refused or faults.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::Stdio,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    supervisor_faults::{
        has_all_lines, kept, services, until_kept_run, until_logged,
    },
    util::{
        ILLEGAL, Output, STAY, TestDir,
        init::{POWER_OFF, boot, can_run_pid_1, root, signal, until_printed},
        install, skip, start_wrapped, until,
    },
};

/// Bytes of an ELF header up to its machine, entry and program headers.
const MACHINE: usize = 18;
const ENTRY: usize = 24;

/// Returns the release file.
fn release() -> Vec<u8> {
    fs::read(std::env::var_os("RUNT_BIN").unwrap()).unwrap()
}

/// Returns a number of an ELF file.
fn number(file: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(file[at..at + 8].try_into().unwrap())
}

/// Returns the offset in the file of an address in memory.
fn offset_of(file: &[u8], address: u64) -> usize {
    let headers = usize::try_from(number(file, 32)).unwrap();
    let offset = (0..16).find_map(|index| {
        let at = headers + index * 56;
        let [offset, start] = [8, 16].map(|field| number(file, at + field));
        let bytes = number(file, at + 32);
        let is_load = file[at..at + 4] == [1, 0, 0, 0];
        let within = (start..start + bytes).contains(&address);
        (is_load && within).then(|| offset + address - start)
    });
    usize::try_from(offset.unwrap()).unwrap()
}

/// Returns the release file with an illegal instruction at an address.
fn illegal_at(address: u64) -> Vec<u8> {
    let mut file = release();
    let offset = offset_of(&file, address);
    file[offset..offset + ILLEGAL.len()].copy_from_slice(&ILLEGAL);
    file
}

/// Returns the release file so changed that it faults when an event comes.
/// `pid` runs it unchanged.
fn faulting(pid: Pid) -> Vec<u8> {
    let path = format!("/proc/{}/syscall", pid.as_raw_pid());
    let place = until("a wait for events", || {
        let call = fs::read_to_string(&path).ok()?;
        // epoll_pwait
        let waits = call.starts_with("281 ");
        let place = call.split_whitespace().last()?.strip_prefix("0x")?;
        waits.then(|| u64::from_str_radix(place, 16).unwrap())
    });
    illegal_at(place)
}

/// Returns the file that a process runs.
fn runs(pid: Pid) -> String {
    let exe = format!("/proc/{}/exe", pid.as_raw_pid());
    fs::read_link(exe).unwrap().display().to_string()
}

/// The file that a process runs which has moved.
const MOVED: &str = "/memfd:runt (deleted)";

/// Runs `runt upgrade` for a directory.
fn upgrade(tmp: &TestDir, dir: &str, file: &str) -> Output {
    tmp.run(&["runt", "upgrade", "-d", dir, file])
}

/// Checks that an upgrade is refused, and why.
fn is_refused(tmp: &TestDir, dir: &str, file: &str, why: &str) {
    let output = upgrade(tmp, dir, file);
    let expected = format!("runt upgrade: {dir}: failed: {why}\n");
    assert_eq!((output.code, output.stderr), (1, expected));
    let line = format!(": warning: no upgrade: {why}\n");
    assert!(tmp.read("errors").contains(&line), "{}", tmp.read("errors"));
}

/// Waits until the service `plain` was ended by USR1.
fn until_finished(tmp: &TestDir) {
    until("its finish", || {
        (tmp.read("services/finishes") == "-1 10\n").then_some(())
    });
}

/// Outcome of an upgrade.
const DONE: &str = concat!("runs runt ", env!("CARGO_PKG_VERSION"), ", board ");

#[test]
fn runsvdir_moves_to_another_file() {
    let tmp = TestDir::new();
    services(&tmp);
    let mut all = tmp.runsvdir();
    let pids = until_kept_run(&tmp);
    tmp.until_stat("off", "down");
    let supervisor = all.supervisor();
    install(&tmp.path("new"), &release());
    let output = upgrade(&tmp, "services", "new");
    let done = format!("runt upgrade: services: {DONE}");
    assert!(output.stdout.starts_with(&done), "{output:?}");
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(
        (all.supervisor(), runs(supervisor).as_str()),
        (supervisor, MOVED)
    );
    until("the front process", || {
        (runs(all.pid()) == MOVED).then_some(())
    });
    assert_eq!(kept(&tmp), pids);
    assert_eq!(tmp.stat("off"), "down");
    // It is still the parent, and obeys.
    kill_process(pids[3], Signal::USR1).unwrap();
    until_finished(&tmp);
    // The next supervisor runs the same file.
    kill_process(supervisor, Signal::KILL).unwrap();
    let next = until("the next supervisor", || {
        Some(all.supervisor()).filter(|pid| *pid != supervisor)
    });
    assert_eq!(runs(next), MOVED);
    let shown = format!("run: own: (pid {}) ", pids[0].as_raw_pid());
    until("the same process", || {
        let status = tmp.run(&["sv", "status", "own"]).stdout;
        status.starts_with(&shown).then_some(())
    });
    until_logged(&tmp);
    all.kill(Signal::HUP);
    assert_eq!(all.wait(), 111);
    tmp.until_stat("own", "down");
    has_all_lines(&tmp.read("main/current"));
    let errors = tmp.read("errors");
    assert_eq!(
        errors.matches(", on trial for 10 seconds\n").count(),
        2,
        "{errors}"
    );
    let limits = tmp.run(&["runt", "limits", "services"]).stdout;
    assert!(!limits.contains("faults 1"), "{limits}");
}

#[test]
fn files_that_cannot_go_on_are_refused() {
    let tmp = TestDir::new();
    tmp.service("a", STAY);
    let all = tmp.runsvdir();
    let pid = tmp.until_pid("a", None);
    tmp.write("services/a/down", "");
    let is_refused = |file, why| is_refused(&tmp, "services", file, why);
    let good = release();
    let make = |name: &str, content: &[u8]| install(&tmp.path(name), content);
    make("text", b"echo no program\n");
    let format = "unable to execute it: exec format error";
    is_refused("text", format);
    let mut foreign = good.clone();
    // SPARC.
    foreign[MACHINE] = 2;
    make("foreign", &foreign);
    is_refused("foreign", format);
    make("crash", &illegal_at(number(&good, ENTRY)));
    is_refused("crash", "its check was ended by the signal ILL");
    make("true", &fs::read("/bin/true").unwrap());
    is_refused("true", "it is no program of runt");
    make("echo", &fs::read("/bin/echo").unwrap());
    let said = "it is no program of runt: upgrade --check ";
    let output = upgrade(&tmp, "services", "echo");
    assert!(output.stderr.contains(said), "{output:?}");
    make("large", &vec![0; (1 << 22) + 1]);
    is_refused("large", "the file is too large for a program: file too big");
    let other = "another user owns the file or its directory, or may write to \
                 them: permission denied";
    make("open", &good);
    let set_mode = |name: &str, mode| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(tmp.path(name), mode).unwrap();
    };
    set_mode("open", 0o775);
    is_refused("open", other);
    tmp.write("dir/readme", "");
    make("dir/new", &good);
    set_mode("dir", 0o1777);
    is_refused("dir/new", other);
    for (dir, file) in [("services", "missing"), ("dir", "text")] {
        let output = upgrade(&tmp, dir, file);
        assert_eq!(output.code, 100, "{output:?}");
    }
    let output = tmp.run(&["runt", "upgrade", "a", "b"]);
    let usage = "usage: runt upgrade [-d DIR] [FILE]\n\n";
    assert_eq!((output.code, output.stderr.as_str()), (100, usage));
    assert_eq!(tmp.pid("a"), Some(pid));
    assert!(Path::new(&runs(all.supervisor())).ends_with("bin/runt"));
}

#[test]
fn a_file_that_faults_is_left_again() {
    if cfg!(not(target_arch = "x86_64")) {
        return;
    }
    let tmp = TestDir::new();
    services(&tmp);
    let mut all = tmp.runsvdir();
    let pids = until_kept_run(&tmp);
    let supervisor = all.supervisor();
    install(&tmp.path("new"), &faulting(supervisor));
    let output = upgrade(&tmp, "services", "new");
    let failed = "runt upgrade: services: failed: it got the signal ILL; the \
                  former file runs again\n";
    assert_eq!((output.code, output.stderr.as_str()), (1, failed));
    assert_eq!(all.supervisor(), supervisor);
    assert!(Path::new(&runs(supervisor)).ends_with("bin/runt"));
    assert_eq!(kept(&tmp), pids);
    kill_process(pids[3], Signal::USR1).unwrap();
    until_finished(&tmp);
    let errors = tmp.read("errors");
    let fault = ", on trial: the former file runs again\n";
    assert_eq!(errors.matches(fault).count(), 1, "{errors}");
    until_logged(&tmp);
    all.kill(Signal::HUP);
    assert_eq!(all.wait(), 111);
    tmp.until_stat("own", "down");
    has_all_lines(&tmp.read("main/current"));
}

#[test]
fn runsv_moves_to_another_file() {
    let tmp = TestDir::new();
    services(&tmp);
    let mut one = tmp.start(&["runsv", "services/own"]);
    let names = ["own", "own/log"];
    let pids = names.map(|name| tmp.until_pid(name, None));
    let is_same = || names.map(|name| tmp.pid(name).unwrap()) == pids;
    if cfg!(target_arch = "x86_64") {
        install(&tmp.path("bad"), &faulting(one.pid()));
        let output = upgrade(&tmp, "services/own", "bad");
        assert_eq!(output.code, 1, "{output:?}");
        assert!(is_same() && runs(one.pid()).ends_with("bin/runt"));
    }
    let words = ["runt", "upgrade", "-d", "services/own"];
    let mut asks = tmp.command(&words).stderr(Stdio::null()).spawn().unwrap();
    let moved = "upgrade of runsv: runs runt ";
    let times = 1 + usize::from(cfg!(target_arch = "x86_64"));
    until(moved, || {
        (tmp.read("errors").matches(moved).count() == times).then_some(())
    });
    // There is one upgrade at a time, whether or not somebody waits for it.
    let output = tmp.run(&words);
    let busy = "runt upgrade: services/own: failed: another upgrade is under \
                way: temporary failure\n";
    assert_eq!((output.code, output.stderr.as_str()), (100, busy));
    asks.kill().unwrap();
    asks.wait().unwrap();
    let busy = "another upgrade is under way";
    is_refused(&tmp, "services/own", "bin/runt", busy);
    assert!(is_same() && runs(one.pid()) == MOVED);
    until_logged(&tmp);
    one.kill(Signal::TERM);
    assert_eq!(one.wait(), 0);
    assert_eq!(tmp.stat("own"), "down");
    has_all_lines(&tmp.read("main/current"));
}

#[test]
fn pid_1_moves_to_another_file() {
    if !can_run_pid_1() {
        return;
    }
    let tmp = root();
    services(&tmp);
    let mut one = boot(&tmp, "", &["runit"]);
    let pids = until_kept_run(&tmp);
    let is_same = || kept(&tmp) == pids;
    let init = one.supervisor();
    let upgrade = |file: &str| tmp.run(&["runt", "upgrade", file]);
    if cfg!(target_arch = "x86_64") {
        install(&tmp.path("bad"), &faulting(init));
        let output = upgrade("bad");
        let failed = "runt upgrade: PID 1: failed: it got the signal ILL; the \
                      former file runs again\n";
        assert_eq!((output.code, output.stderr.as_str()), (1, failed));
        assert!(is_same(), "{}", tmp.read("errors"));
    }
    install(&tmp.path("new"), &release());
    let output = upgrade("new");
    let done = format!("runt upgrade: PID 1: {DONE}");
    assert!(output.stdout.starts_with(&done), "{output:?}");
    assert_eq!(output.code, 0, "{output:?}");
    assert!(is_same() && one.supervisor() == init);
    tmp.control("plain", "1");
    until_finished(&tmp);
    // A fault executes the new file.
    signal(&one, Signal::SEGV);
    let faults = 1 + u32::from(cfg!(target_arch = "x86_64"));
    let line = format!("- runit: fault {faults} of PID 1: signal SEGV");
    until_printed(&tmp, &line);
    assert_eq!(runs(init), MOVED);
    signal(&one, Signal::TERM);
    assert_eq!(one.wait(), POWER_OFF, "{}", tmp.read("errors"));
    has_all_lines(&tmp.read("main/current"));
    let errors = tmp.read("errors");
    let moved = "- runit: upgrade of PID 1: runs runt ";
    let times = 1 + usize::from(cfg!(target_arch = "x86_64"));
    assert_eq!(errors.matches(moved).count(), times, "{errors}");
    assert_eq!(errors.matches("booting.").count(), 1, "{errors}");
}

#[test]
fn capacities_may_grow_and_shrink() {
    let Some(file) = std::env::var_os("RUNT_SMALL") else {
        skip("RUNT_SMALL names no file with four slots");
        return;
    };
    let tmp = TestDir::new();
    fs::create_dir(tmp.path("small")).unwrap();
    install(&tmp.path("small/runt"), &fs::read(file).unwrap());
    symlink("runt", tmp.path("small/runsvdir")).unwrap();
    let mut names = vec!["a", "b", "c", "d"];
    for name in &names {
        tmp.service(name, STAY);
    }
    let _all = start_wrapped(&tmp, &[&["small/runsvdir", "services"]]);
    let pids = |names: &[&str]| -> Vec<Pid> {
        names.iter().map(|name| tmp.until_pid(name, None)).collect()
    };
    let before = pids(&names);
    let output = upgrade(&tmp, "services", "bin/runt");
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(pids(&names), before);
    tmp.service("e", STAY);
    names.push("e");
    let before = pids(&names);
    let why = "slots = 4 is less than the 5 in use";
    is_refused(&tmp, "services", "small/runt", why);
    // The last one has to take another row then.
    fs::rename(tmp.path("services/b"), tmp.path("b")).unwrap();
    let removed = tmp.path("b").display().to_string();
    until("the end of a removed service", || {
        let status = tmp.run(&["sv", "status", &removed]).stdout;
        status.contains("runsv not running").then_some(())
    });
    names.remove(1);
    let before = [&before[..1], &before[2..]].concat();
    let output = upgrade(&tmp, "services", "small/runt");
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(pids(&names), before);
    // All of them are supervised, and a fifth has no place.
    for (name, pid) in names.iter().zip(before) {
        tmp.control(name, "k");
        tmp.until_pid(name, Some(pid));
    }
    tmp.service("f", STAY);
    let full = "too many services (slots = 4)";
    until(full, || tmp.read("errors").contains(full).then_some(()));
}
