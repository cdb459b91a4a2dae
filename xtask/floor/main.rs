//! floor: measures the cost of the kernel alone, the limit that supervisors
//! are compared with.
//!
//! # Synopsis
//! `floor vfork|fork|files|files-fork DIR...`: keep every DIR/run alive and do
//! nothing else. On HUP it ends them with TERM and then exits. `files` and
//! `files-fork` also make the file calls that runit's protocol requires of a
//! supervisor: the lock and the FIFOs before the first start; pid, stat and
//! status by rename before it, after each start and at the end.
//!
//! `floor status DIR...`: make the calls of `sv status`, and nothing else.
//!
//! `floor boot DIR...`, `floor boot-files DIR...`: process 1, which mounts the
//! kernel's file systems and keeps every DIR/run alive, with DIR/log/run at the
//! other end of a pipe; on HUP it ends them and switches off. The second also
//! makes the file calls. `floor down` asks it to switch off.
//!
//! `floor hog`: keep one processor busy.
//!
//! `floor churn FILE`: read FILE again and again, so that it fills the
//! available memory.
//!
//! Under the name `run` it is the service. It first reads the clock, writes a
//! record of 16 bytes (its number from the link ./id, its pid, nanoseconds) to
//! the FIFO that ./stamp leads to, and sleeps. If a link ./ready exists, it
//! first reports readiness on descriptor 3. If a file ./crash exists, it exits
//! instead of sleeping. On USR1 it writes a record again.
#![no_std]
#![no_main]

mod boot;
mod supervise;

use core::ffi::{CStr, c_char};

use floor::{
    call::{
        CWD, MONOTONIC, O_NONBLOCK, O_RDONLY, O_WRONLY, REALTIME, SIGUSR1,
        Sysno, call, clock, close, is_there, mask, open, read, set,
        wait_signal, write,
    },
    child::Fork,
    entry::{Words, word},
};

floor::program!(main);

/// Maximum number of directories: the services of runit's own runsvdir.
const DIRS: usize = 1000;

/// Makes the calls of `sv status`: opens each directory and then reads.
fn status(dirs: &[*const c_char]) -> usize {
    // SAFETY: it is an argument of the program.
    let path = |dir: *const c_char| unsafe { CStr::from_ptr(dir) };
    let mut open_dirs = [0; DIRS];
    for (place, dir) in open_dirs.iter_mut().zip(dirs) {
        *place = open(CWD, path(*dir), O_RDONLY, 0) as usize;
    }
    for (at, dir) in open_dirs.into_iter().zip(dirs) {
        close(open(at, c"supervise/ok", O_WRONLY | O_NONBLOCK, 0));
        let file = open(at, c"supervise/status", O_RDONLY | O_NONBLOCK, 0);
        read(file, &mut [0; 21]);
        close(file);
        is_there(at, c"down");
        clock(REALTIME);
        open(at, c"log", O_RDONLY, 0);
        write(1, path(*dir).to_bytes());
    }
    0
}

/// Reads a file forever.
fn churn(path: &[*const c_char]) -> usize {
    let Some(path) = path.first() else { return 100 };
    // SAFETY: it is an argument of the program.
    let path = unsafe { CStr::from_ptr(*path) };
    let mut buffer = [0_u8; 16384];
    loop {
        let file = open(CWD, path, O_RDONLY, 0);
        if file < 0 {
            return 111;
        }
        while !read(file, &mut buffer).is_empty() {}
        close(file);
    }
}

/// Writes the service's record.
fn stamp(record: &mut [u64; 2]) {
    let fd = open(CWD, c"stamp", O_WRONLY | O_NONBLOCK, 0);
    let place = record.as_ptr() as usize;
    call(Sysno::write, [fd as usize, place, 16, 0, 0]);
    close(fd);
}

/// Runs the service.
fn service() -> usize {
    let now = clock(MONOTONIC);
    let pid = call(Sysno::getpid, [0; 5]) as u64;
    let mut text = [0_u8; 8];
    let place = text.as_mut_ptr() as usize;
    let name = c"id".as_ptr() as usize;
    let length = call(Sysno::readlinkat, [CWD, name, place, 8, 0]);
    let digits = text.iter().take(length.max(0) as usize);
    let id = digits.fold(0, |id: u64, digit| {
        id.wrapping_mul(10).wrapping_add(u64::from(digit & 15))
    });
    let mut record = [id | pid << 32, now];
    let again = const { set(&[SIGUSR1]) };
    mask(again);
    stamp(&mut record);
    let name = c"ready".as_ptr() as usize;
    if call(Sysno::readlinkat, [CWD, name, place, 8, 0]) > 0 {
        write(3, b"\n");
        close(3);
    }
    if is_there(CWD, c"crash") {
        return 1;
    }
    loop {
        if wait_signal(again) == SIGUSR1 as isize {
            record[1] = clock(MONOTONIC);
            stamp(&mut record);
        }
    }
}

/// Runs the program.
fn main(words: Words, environ: *const *const c_char) -> usize {
    let rest = words.get(2..).unwrap_or(&[]);
    let run = |fork, files| supervise::run(fork, files, rest, environ);
    match (word(words, 0), word(words, 1)) {
        (name, _) if name.ends_with(b"run") => service(),
        (_, b"vfork") => run(Fork::Vfork, false),
        (_, b"files") => run(Fork::Vfork, true),
        (_, b"files-fork") => run(Fork::Copy, true),
        (_, b"fork") => run(Fork::Copy, false),
        (_, b"boot") => boot::boot(false, rest, environ),
        (_, b"boot-files") => boot::boot(true, rest, environ),
        (_, b"down") => boot::down(),
        (_, b"status") => status(rest),
        (_, b"churn") => churn(rest),
        (_, b"hog") => loop {
            core::hint::spin_loop();
        },
        _ => 100,
    }
}
