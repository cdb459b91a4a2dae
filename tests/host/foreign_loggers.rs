//! Tests that Debian's multilog and s6-log log for our services under their
//! own users, and that no line is lost when service or logger is restarted.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown},
    path::PathBuf,
};

use rustix::process::Pid;

use crate::util::{TestDir, peers, until};

/// Number of lines that a service writes.
const LINES: usize = 1000;

/// Returns the effective user of a process.
fn user(pid: Pid) -> String {
    let path = format!("/proc/{}/status", pid.as_raw_pid());
    let status = fs::read_to_string(path).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("Uid:"));
    line.unwrap_or("").split_whitespace().collect::<Vec<_>>()[1..].join(" ")
}

/// Returns the contents of a logger's directory, oldest first.
fn logged(tmp: &TestDir) -> String {
    let mut files: Vec<PathBuf> = fs::read_dir(tmp.path("log"))
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy();
            name.starts_with('@') || name == "current"
        })
        .collect();
    files.sort();
    files
        .iter()
        .map(|file| fs::read_to_string(file).unwrap_or_default())
        .collect()
}

/// Restarts a service and its logger while lines flow.
fn every_line_arrives(package: &str, logger: &str) {
    let tmp = (peers::programs(package), peers::libraries(package));
    let (Some(programs), Some(libraries)) = tmp else {
        return;
    };
    let (programs, libraries) = (programs.display(), libraries.display());
    let tmp = TestDir::new();
    let root = rustix::process::geteuid().is_root();
    // Processes of other users must be able to enter it.
    let open = fs::Permissions::from_mode(0o755);
    fs::set_permissions(tmp.dir.path(), open).unwrap();
    for dir in ["log", "state"] {
        fs::create_dir(tmp.path(dir)).unwrap();
    }
    // Numbers need no entry in /etc/passwd.
    let (service_user, logger_user) = if root {
        ("-u :7:8", "-u :9:10")
    } else {
        ("", "")
    };
    if root {
        chown(tmp.path("state"), Some(7), Some(8)).unwrap();
        chown(tmp.path("log"), Some(9), Some(10)).unwrap();
    }
    // Each run of the script continues where the last one ended. A TERM
    // between the test of `end` and a `wait` would be lost, so the script only
    // sleeps for moments.
    tmp.script(
        "writer",
        &format!(
            "trap end=1 TERM\ni=$(cat {0} 2>/dev/null || echo 1)\n\
             while test $i -le {LINES} -a -z \"$end\"; do\n\
             echo line $i >&2; i=$((i+1))\ndone\necho $i > {0}\n\
             exec > /dev/null 2>&1\n\
             while test -z \"$end\"; do sleep 0.05; done",
            tmp.path("state/next").display()
        ),
    );
    let writer = tmp.path("writer");
    tmp.service(
        "a",
        &format!(
            "exec 2>&1\nexec chpst {service_user} -o 64 {}",
            writer.display()
        ),
    );
    tmp.script(
        "services/a/log/run",
        &format!(
            "export LD_LIBRARY_PATH={libraries}\n\
             exec chpst {logger_user} {programs}/{logger} {}",
            tmp.path("log").display()
        ),
    );
    let _all = tmp.runsvdir();
    let lines = || logged(&tmp).lines().count();
    for round in 1..=4 {
        until("more lines", || {
            (lines() >= (round * 20).min(LINES)).then_some(())
        });
        for name in ["a", "a/log"] {
            let old = tmp.until_pid(name, None);
            tmp.control(name, "t");
            tmp.until_pid(name, Some(old));
        }
    }
    if root {
        for (name, shown) in [("a", "7 7 7 7"), ("a/log", "9 9 9 9")] {
            until("the user of a process", || {
                (user(tmp.pid(name)?) == shown).then_some(())
            });
        }
    }
    until("all lines", || (lines() >= LINES).then_some(()));
    let expected: String = (1..=LINES).map(|i| format!("line {i}\n")).collect();
    assert!(logged(&tmp) == expected, "lines differ");
    let mut files = fs::read_dir(tmp.path("log")).unwrap();
    let old =
        |name: std::ffi::OsString| name.as_encoded_bytes().starts_with(b"@");
    assert!(
        files.any(|file| old(file.unwrap().file_name())),
        "it has never rotated"
    );
}

#[test]
fn every_line_arrives_in_multilog() {
    every_line_arrives("daemontools", "multilog s4096 n50");
}

#[test]
fn every_line_arrives_in_s6_log() {
    every_line_arrives("s6", "s6-log s4096 n50");
}
