//! boot-service: the services and loggers of `cargo xtask bench boot`.
//!
//! Writes a record of 16 bytes (its pid, with bit 32 set for a logger;
//! nanoseconds of the monotonic clock) to the FIFO /stamp, which stays open, and
//! waits until it is ended. In a directory without `log` it is a logger, which
//! reads its input and exits when that ends.
#![no_std]
#![no_main]

use core::ffi::c_char;

use floor::{
    call::{
        CWD, MONOTONIC, O_NONBLOCK, O_WRONLY, Sysno, call, clock, is_there,
        open, read, wait_signal, write,
    },
    entry::Words,
};

floor::program!(main);

/// Runs the program.
fn main(_: Words, _: *const *const c_char) -> usize {
    let now = clock(MONOTONIC);
    let pid = call(Sysno::getpid, [0; 5]) as u64;
    let logs = !is_there(CWD, c"log");
    let stamp = open(CWD, c"/stamp", O_WRONLY | O_NONBLOCK, 0);
    let mut record = [0; 16];
    let words = [pid | u64::from(logs) << 32, now].map(u64::to_le_bytes);
    for (place, byte) in record.iter_mut().zip(words.as_flattened()) {
        *place = *byte;
    }
    write(stamp, &record);
    if logs {
        let mut buffer = [0; 1024];
        while !read(0, &mut buffer).is_empty() {}
        return 0;
    }
    loop {
        wait_signal(0);
    }
}
