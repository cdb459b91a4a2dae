//! Boots PID 1 in its own namespaces, with a terminal as its console.

use std::{fs, io::Read as _};

use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    process::{Signal, kill_process},
    pty::{OpenptFlags, openpt, ptsname, unlockpt},
};

use crate::util::{Running, TestDir, skip, start_wrapped, succeeds, until};

/// Result of `wait` when a PID namespace restarts: its process 1 ends by
/// SIGHUP.
pub const RESTART: i32 = -1;

/// Result of `wait` when a PID namespace powers off: its process 1 ends by
/// SIGINT.
pub const POWER_OFF: i32 = -2;

/// Checks that PID and mount namespaces can be created.
pub fn can_run_pid_1() -> bool {
    let can = succeeds(&["unshare", "-fpm", "--mount-proc", "true"]);
    if !can {
        skip("no PID namespace to be had");
    }
    can
}

/// Returns a test directory with the files of a container's root.
pub fn root() -> TestDir {
    let tmp = TestDir::new();
    for dir in ["etc/runit", "etc/service", "services", "varrun", "sbin"] {
        fs::create_dir_all(tmp.path(dir)).unwrap();
    }
    tmp.write("etc/passwd", "root:!:0:0:root:/:/bin/sh\n");
    tmp.write("etc/group", "root:x:0:\n");
    tmp
}

/// Starts a program as process 1. Its /etc, /run and services are those of the
/// test directory, and its /dev has no console. What it would print there goes
/// to `errors`. `prepare` runs before it, as the last of the mounts.
pub fn boot<'a>(
    tmp: &'a TestDir,
    prepare: &str,
    program: &[&str],
) -> Running<'a> {
    let script = format!(
        "set -e
        mount --bind etc /etc
        mount --bind services /etc/service
        mkdir pts; mount --bind /dev/pts pts
        mount -t tmpfs run /run
        cp -a varrun/. /run/
        mount -t tmpfs -o mode=755 dev /dev
        mknod -m 666 /dev/null c 1 3
        : >/dev/kmsg
        mount --bind /dev/kmsg /dev/kmsg
        PATH={}:$PATH; export PATH
        {prepare}
        exec \"$@\"",
        tmp.path("bin").display(),
    );
    let by = [
        "unshare",
        "-fpm",
        "--mount-proc",
        "--kill-child",
        "sh",
        "-c",
        &script,
        "sh",
    ];
    start_wrapped(tmp, &[&by[..], program])
}

/// Waits until PID 1 has printed a text.
pub fn until_printed(tmp: &TestDir, text: &str) {
    until(text, || tmp.read("errors").contains(text).then_some(()));
}

/// Sends a signal to process 1 of a namespace.
pub fn signal(running: &Running<'_>, signal: Signal) {
    kill_process(running.supervisor(), signal).unwrap();
}

/// A terminal that serves as a console.
pub struct Terminal {
    pub master: fs::File,
    /// Shell command that mounts it as the console.
    pub mount: String,
    pub output: String,
}

impl Terminal {
    pub fn new() -> Self {
        let flags =
            OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let name = name.to_str().unwrap().strip_prefix("/dev/").unwrap();
        let mut flags = fcntl_getfl(&master).unwrap();
        flags.insert(OFlags::NONBLOCK);
        fcntl_setfl(&master, flags).unwrap();
        Self {
            master: master.into(),
            mount: format!(": >/dev/console; mount --bind {name} /dev/console"),
            output: String::new(),
        }
    }

    /// Returns what the console has shown so far.
    pub fn read(&mut self) -> &str {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = self.master.read(&mut bytes) {
            self.output += &String::from_utf8_lossy(&bytes[..count]);
        }
        &self.output
    }

    pub fn until_printed(&mut self, text: &str) {
        until(text, || self.read().contains(text).then_some(()));
    }
}

/// Starts a PID 1 that does not take itself for a container's. `table` is its
/// mount table, and `then` follows the start. The real /proc is on `true`.
pub fn machine<'a>(
    tmp: &'a TestDir,
    prepare: &str,
    console: &str,
    table: &str,
    then: &str,
) -> Running<'a> {
    tmp.write("table", table);
    fs::create_dir(tmp.path("lib")).unwrap();
    fs::create_dir(tmp.path("true")).unwrap();
    let script = format!(
        "set -e
        {prepare}
        mount --bind etc /etc
        mount --bind services /etc/service
        mount --bind varrun /run
        mount --bind lib /var/lib
        mkdir pts; mount --bind /dev/pts pts
        mount -t tmpfs dev /dev
        mknod -m 666 /dev/null c 1 3
        mount --rbind /proc true
        mount -t tmpfs proc /proc
        mkdir -p /proc/self/ns
        ln -s 'pid:[4026531836]' /proc/self/ns/pid
        cp table /proc/self/mounts
        echo quiet >/proc/cmdline
        : >/proc/swaps
        PATH={}:$PATH; export PATH
        {console}
        {then}",
        tmp.path("bin").display(),
    );
    start_wrapped(tmp, &[&["unshare", "-m", "sh", "-c", &script]])
}
