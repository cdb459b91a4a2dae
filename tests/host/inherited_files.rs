//! Tests the open files of slots across faults of their supervisor: they stay
//! open, and what the ledger says of them is checked.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::PathBuf,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    supervisor_faults::{
        SUPERVISOR, fault, kept, services, until_fault, until_kept_run,
    },
    util::{Running, TestDir, stop, until},
};

/// Bytes of the ledger's header (`supervisor/ledger.rs`).
const HEADER: usize = 4 * 256;
/// Bytes of a row.
const ROW: usize = 4 * 73;
/// Bytes of a row before the description of the open files.
const FIELDS: usize = 4 * 56;
/// Bytes of the numbers of the descriptors.
const NUMBERS: usize = 40;

/// Starts the services; returns their supervisor, and the pids of those that
/// run.
fn start(tmp: &TestDir) -> (Running<'_>, [Pid; 4]) {
    services(tmp);
    let all = tmp.runsvdir();
    let pids = until_kept_run(tmp);
    tmp.until_stat("off", "down");
    (all, pids)
}

/// Returns the open files of the services, by their numbers.
fn open_files(supervisor: Pid) -> BTreeMap<u32, PathBuf> {
    let dir = format!("/proc/{}/fd", supervisor.as_raw_pid());
    let open = fs::read_dir(dir).unwrap().filter_map(|entry| {
        let entry = entry.unwrap();
        let number = entry.file_name().to_str()?.parse().unwrap();
        // It may be closed meanwhile.
        let path = fs::read_link(entry.path()).ok()?;
        path.to_str()?
            .contains("/services/")
            .then_some((number, path))
    });
    open.collect()
}

/// Waits until the open files are these.
fn until_open(supervisor: Pid, files: &BTreeMap<u32, PathBuf>) {
    until("the open files", || {
        (open_files(supervisor) == *files).then_some(())
    });
}

/// Changes the words of all rows that describe open files, while the
/// supervisor is stopped.
fn damage(
    tmp: &TestDir,
    supervisor: Pid,
    change: impl Fn(&mut Vec<&mut [u8]>),
) {
    let dirs = fs::read_dir(tmp.path("run")).unwrap();
    let mut paths = dirs.map(|dir| dir.unwrap().path().join("ledger"));
    let path = paths.find(|path| path.exists()).unwrap();
    stop(supervisor);
    let mut ledger = fs::read(&path).unwrap();
    let rows = ledger[HEADER..].chunks_exact_mut(ROW);
    change(&mut rows.map(|row| &mut row[FIELDS..]).collect());
    let file = File::options().write(true).open(&path).unwrap();
    file.write_all_at(&ledger, 0).unwrap();
}

#[test]
fn the_files_of_slots_stay_open() {
    let tmp = TestDir::new();
    let (all, pids) = start(&tmp);
    let supervisor = all.supervisor();
    // Two services and their logs have directory, locks, FIFOs, `ok` and both
    // ends of a pipe; two have no log.
    let files = until("the open files", || {
        Some(open_files(supervisor))
            .filter(|files| files.len() == 2 * 9 + 2 * 4)
    });
    for count in 1..=3 {
        fault(&tmp, supervisor, Signal::SEGV, SUPERVISOR, count);
        until_open(supervisor, &files);
        assert_eq!(kept(&tmp), pids);
        // The locks are held still.
        for name in ["own", "own/log", "shared", "plain", "off"] {
            let lock = format!("services/{name}/supervise/lock");
            let lock = File::open(tmp.path(&lock)).unwrap();
            assert!(lock.try_lock().is_err(), "{name} is not locked");
        }
    }
    // They are in use: commands arrive, and new pids are published.
    for name in ["own", "own/log", "plain"] {
        let old = tmp.pid(name);
        tmp.control(name, "t");
        tmp.until_pid(name, old);
    }
    tmp.control("off", "u");
    tmp.until_stat("off", "run");
    fault(&tmp, supervisor, Signal::SEGV, SUPERVISOR, 4);
    assert_eq!(tmp.stat("off"), "run");
}

#[test]
fn files_that_were_replaced_are_opened_again() {
    let tmp = TestDir::new();
    let (all, pids) = start(&tmp);
    let supervisor = all.supervisor();
    // Nothing notices that before the fault.
    stop(supervisor);
    fs::remove_file(tmp.path("services/plain/supervise/ok")).unwrap();
    fs::remove_file(tmp.path("services/off/supervise/control")).unwrap();
    kill_process(supervisor, Signal::SEGV).unwrap();
    kill_process(supervisor, Signal::CONT).unwrap();
    for name in ["plain/supervise/ok", "off/supervise/control"] {
        let path = tmp.path(&format!("services/{name}"));
        until(name, || path.exists().then_some(()));
    }
    assert_eq!(kept(&tmp), pids);
    tmp.until_supervised("plain");
    tmp.control("off", "u");
    tmp.until_stat("off", "run");
}

#[test]
fn a_wrong_description_is_not_trusted() {
    let changes: [(&str, fn(&mut Vec<&mut [u8]>)); 5] = [
        ("nothing", |rows| {
            for row in rows {
                row.fill(0);
            }
        }),
        ("other numbers", |rows| {
            for row in rows {
                row[..NUMBERS].fill(0xff);
            }
        }),
        ("another sum", |rows| {
            for row in rows {
                row[NUMBERS] ^= 1;
            }
        }),
        ("the files of another slot", |rows| {
            let first = rows[0].to_vec();
            let second = rows[1].to_vec();
            rows[0].copy_from_slice(&second);
            rows[1].copy_from_slice(&first);
        }),
        ("other states", |rows| {
            for row in rows {
                row[NUMBERS + 4..][..8].fill(7);
            }
        }),
    ];
    let tmp = TestDir::new();
    let (all, pids) = start(&tmp);
    let supervisor = all.supervisor();
    for (count, (what, change)) in (1..).zip(changes) {
        damage(&tmp, supervisor, change);
        kill_process(supervisor, Signal::SEGV).unwrap();
        kill_process(supervisor, Signal::CONT).unwrap();
        until_fault(&tmp, SUPERVISOR, count);
        for name in ["own", "shared", "plain", "off"] {
            until("an answer", || {
                let answer = tmp.run(&["sv", "status", name]);
                (answer.code == 0).then_some(())
            });
        }
        let old = tmp.pid("off");
        tmp.control("off", "u");
        tmp.until_pid("off", old);
        tmp.control("off", "d");
        tmp.until_stat("off", "down");
        assert_eq!(kept(&tmp), pids, "{what}");
        assert_eq!(tmp.read("services/starts"), "start\n", "{what}");
    }
    let errors = tmp.read("errors");
    let mut lines = errors.lines();
    assert!(lines.all(|line| line.contains(": fault ")), "{errors}");
}
