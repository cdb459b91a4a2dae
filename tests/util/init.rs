//! Boots PID 1 in its own namespaces, with a terminal as its console.
#![allow(dead_code, reason = "each test file uses a part of it")]
#![allow(missing_docs, unreachable_pub, reason = "test helpers")]

use std::{fs, io::Read as _};

use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    process::{Signal, kill_process},
    pty::{OpenptFlags, openpt, ptsname, unlockpt},
};

use super::util::{Place, Running, skipped, start_by, until, works};

/// A `run` line that keeps the service up.
pub const STAY: &str = "exec sleep 1000";

/// The result of `wait` when the kernel ends a PID namespace: SIGHUP for a
/// restart, SIGINT for power off.
pub const RESTART: i32 = -1;

pub const OFF: i32 = -2;

/// Checks that PID and mount namespaces can be created.
pub fn can_be_init() -> bool {
    let can = works(&["unshare", "-fpm", "--mount-proc", "true"]);
    if !can {
        skipped("no PID namespace to be had");
    }
    can
}

/// Returns a test directory with the files of a container's root.
pub fn root() -> Place {
    let place = Place::new();
    for dir in ["etc/runit", "etc/service", "services", "varrun", "sbin"] {
        fs::create_dir_all(place.path(dir)).unwrap();
    }
    place.write("etc/passwd", "root:!:0:0:root:/:/bin/sh\n");
    place.write("etc/group", "root:x:0:\n");
    place
}

/// Starts a program as process 1. Its /etc, /run and services are those of the
/// test directory, and its /dev has no console. What it would print there goes
/// to `errors`. `prepare` runs before it, as the last of the mounts.
pub fn boot<'a>(
    place: &'a Place,
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
        place.path("bin").display(),
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
    start_by(place, &[&by[..], program])
}

/// Waits until PID 1 has printed a text.
pub fn until_said(place: &Place, text: &str) {
    until(text, || place.read("errors").contains(text).then_some(()));
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
    pub said: String,
}

impl Terminal {
    pub fn new() -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
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
            said: String::new(),
        }
    }

    /// Returns what the console has shown so far.
    pub fn read(&mut self) -> &str {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = self.master.read(&mut bytes) {
            self.said += &String::from_utf8_lossy(&bytes[..count]);
        }
        &self.said
    }

    pub fn until_said(&mut self, text: &str) {
        until(text, || self.read().contains(text).then_some(()));
    }
}

/// Starts a PID 1 that does not take itself for a container's. `table` is its
/// mount table, and `then` follows the start. The real /proc is on `true`.
pub fn machine<'a>(
    place: &'a Place,
    prepare: &str,
    console: &str,
    table: &str,
    then: &str,
) -> Running<'a> {
    place.write("table", table);
    fs::create_dir(place.path("lib")).unwrap();
    fs::create_dir(place.path("true")).unwrap();
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
        place.path("bin").display(),
    );
    start_by(place, &[&["unshare", "-m", "sh", "-c", &script]])
}
