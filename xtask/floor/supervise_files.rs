//! Makes the file calls that runit's protocol requires of a supervisor.

use core::ffi::CStr;

use crate::call::{
    CWD, O_APPEND, O_CREAT, O_NONBLOCK, O_RDONLY, O_RDWR, O_TRUNC, O_WRONLY,
    REALTIME, Sysno, call, clock, close, is_there, mkdir, mkfifo, open, write,
};

/// Replaces one of the status files.
fn replace(dir: usize, path: &CStr, new: &CStr, content: &[u8]) {
    let fd = open(dir, new, O_WRONLY | O_NONBLOCK | O_TRUNC | O_CREAT, 0o644);
    if !content.is_empty() {
        write(fd, content);
    }
    close(fd);
    let (new, path) = (new.as_ptr() as usize, path.as_ptr() as usize);
    call(Sysno::renameat2, [dir, new, dir, path, 0]);
}

/// Publishes pid, stat and status.
pub fn publish(dir: usize, up: bool) {
    let pid: &[u8] = if up { b"12345\n" } else { b"" };
    let stat: &[u8] = if up { b"run\n" } else { b"down\n" };
    replace(dir, c"supervise/pid", c"supervise/pid.new", pid);
    replace(dir, c"supervise/stat", c"supervise/stat.new", stat);
    let now = clock(REALTIME).to_be_bytes();
    let mut status = [0; 20];
    for (place, byte) in status.iter_mut().zip(now) {
        *place = byte;
    }
    replace(dir, c"supervise/status", c"supervise/status.new", &status);
}

/// Takes control of a service directory, or of the log service in it, with the
/// calls that runsv must make; returns its descriptor.
pub fn take(dir: &CStr, below: Option<&CStr>) -> usize {
    let mut dir = open(CWD, dir, O_RDONLY, 0) as usize;
    match below {
        Some(below) => dir = open(dir, below, O_RDONLY, 0) as usize,
        None => _ = is_there(dir, c"log"),
    }
    mkdir(dir, c"supervise", 0o700);
    let flags = O_WRONLY | O_NONBLOCK | O_APPEND | O_CREAT;
    let lock = open(dir, c"supervise/lock", flags, 0o600);
    const EXCLUSIVE_NOW: usize = 2 | 4;
    call(Sysno::flock, [lock as usize, EXCLUSIVE_NOW, 0, 0, 0]);
    for (path, flags) in
        [(c"supervise/control", O_RDWR), (c"supervise/ok", O_RDONLY)]
    {
        mkfifo(dir, path);
        open(dir, path, flags | O_NONBLOCK, 0);
    }
    is_there(dir, c"down");
    publish(dir, false);
    dir
}
