//! boot-meter: the first program of a machine of `cargo xtask bench boot`.
//!
//! It sleeps until the kernel has nothing left to do, and executes the process
//! 1 that is measured: the words of the file /next, each ended by a NUL. A
//! child, with a /proc of its own, measures meanwhile: at rest it takes no
//! time. It writes lines to the kernel's log:
//!
//! `bench boot COUNT NANOSECONDS RUN`: the number of services and loggers that
//! run, the time from the start of process 1 to the last of them, and the
//! processor time of all processes until everything was at rest;
//! `bench process NAME KB`: a process with its memory (PSS);
//! `bench restart COUNT NANOSECONDS RUN`: a service was killed, and so many
//! came; `bench idle RUN`: a minute in which nothing happens;
//! `bench down NANOSECONDS RUN`: from the start of the program in the file
//! /down to the end of the last service.
#![no_std]
#![no_main]

use core::{
    ffi::{CStr, c_char},
    ptr::null,
};

use floor::{
    call::{
        CWD, MONOTONIC, O_NONBLOCK, O_RDONLY, O_WRONLY, SIGKILL, Sysno, call,
        clock, close, kill, mask, mkfifo, mount, open, read, sleep, write,
    },
    child::{Fork, Program},
    entry::{Words, word},
};

floor::program!(main);

/// Milliseconds after which the kernel's own start is over.
const START: u64 = 10_000;
/// Milliseconds until everything is at rest.
const REST: u64 = 30_000;
/// Milliseconds between a measurement and the next: what the output of the one
/// causes does not count for the other.
const BETWEEN: u64 = 5_000;
/// Milliseconds of an idle minute.
const MINUTE: u64 = 60_000;

/// Bytes and words of a command, its null included.
const TEXT: usize = 1024;
const WORDS: usize = 40;

/// Bit of a record that a logger wrote.
const LOGGER: u64 = 1 << 32;

/// Runs the program.
fn main(words: Words, environ: *const *const c_char) -> usize {
    if word(words, 1) == b"watch" {
        return watch(environ);
    }
    mkfifo(CWD, c"/stamp");
    let file = words.first().copied().unwrap_or(null());
    let watch = [file, c"watch".as_ptr(), null()];
    program(&watch, environ).start(Fork::Vfork);
    // Opens when the other has opened its end.
    let stamp = open(CWD, c"/stamp", O_WRONLY, 0);
    let mut next = Command::new();
    let words = next.read(c"/next");
    sleep(START);
    let now = [0, clock(MONOTONIC)].map(u64::to_le_bytes);
    write(stamp, now.as_flattened());
    close(stamp);
    program(words, environ).execute();
    111
}

/// Returns a program to start with these arguments.
fn program(words: &[*const c_char], environ: *const *const c_char) -> Program {
    Program {
        dir: c"/".as_ptr(),
        below: None,
        file: words.first().copied().unwrap_or(null()),
        words: words.as_ptr(),
        environ,
        streams: [None; 2],
        session: false,
    }
}

/// A command: its text, and its words with a null at the end.
struct Command {
    text: [u8; TEXT],
    words: [*const c_char; WORDS],
}

impl Command {
    /// Returns an empty one.
    fn new() -> Self {
        Self {
            text: [0; TEXT],
            words: [null(); WORDS],
        }
    }

    /// Reads it from a file.
    fn read(&mut self, path: &CStr) -> &[*const c_char] {
        let file = open(CWD, path, O_RDONLY, 0);
        let text = read(file, &mut self.text);
        close(file);
        let mut places = self.words.iter_mut();
        for word in text.split_inclusive(|byte| *byte == 0) {
            if let Some(place) = places.next() {
                *place = word.as_ptr().cast();
            }
        }
        &self.words
    }
}

/// A point in time.
#[derive(Clone, Copy)]
struct Moment {
    /// The monotonic clock, in nanoseconds.
    at: u64,
    /// Processor time of all processes, in nanoseconds.
    run: u64,
}

impl Moment {
    /// Returns the present; `schedstat` is /proc/schedstat.
    fn now(schedstat: isize) -> Self {
        let mut buffer = [0; 4096];
        call(Sysno::lseek, [schedstat as usize, 0, 0, 0, 0]);
        let text = read(schedstat, &mut buffer);
        let mut run = 0;
        for line in text.split(|byte| *byte == b'\n') {
            if line.starts_with(b"cpu") {
                let mut words = line.split(|byte| *byte == b' ');
                run += words.nth(7).map_or(0, number);
            }
        }
        let at = clock(MONOTONIC);
        Self { at, run }
    }

    /// Returns the present after a pause.
    fn later(schedstat: isize) -> Self {
        sleep(BETWEEN);
        Self::now(schedstat)
    }
}

/// The records that services have written.
#[derive(Default)]
struct Records {
    count: u64,
    /// Time of process 1's start.
    start: u64,
    /// The latest time.
    last: u64,
    /// The pid of a service.
    service: u64,
}

impl Records {
    /// Reads the new ones.
    fn new(stamp: isize) -> Self {
        let mut records = Self::default();
        let mut buffer = [0; 4096];
        let words = read(stamp, &mut buffer).as_chunks::<8>().0;
        for record in words.chunks_exact(2) {
            let [from, at] = [record[0], record[1]].map(u64::from_le_bytes);
            if from == 0 {
                records.start = at;
                continue;
            }
            records.count += 1;
            records.last = records.last.max(at);
            if from & LOGGER == 0 {
                records.service = from;
            }
        }
        records
    }
}

/// Measures.
fn watch(environ: *const *const c_char) -> usize {
    const NEW_MOUNTS: usize = 0x0002_0000;
    mask(u64::MAX);
    call(Sysno::setsid, [0; 5]);
    call(Sysno::unshare, [NEW_MOUNTS, 0, 0, 0, 0]);
    mount(c"proc", c"/proc", c"");
    let schedstat = open(CWD, c"/proc/schedstat", O_RDONLY, 0);
    let log = open(CWD, c"/dev/kmsg", O_WRONLY, 0);
    // The first end waits for the other; the second does not wait for records.
    let first = open(CWD, c"/stamp", O_RDONLY, 0);
    let stamp = open(CWD, c"/stamp", O_RDONLY | O_NONBLOCK, 0);
    close(first);
    let mut down = Command::new();
    let down = program(down.read(c"/down"), environ);

    sleep(START - 500);
    let before = Moment::now(schedstat);
    sleep(REST);
    let after = Moment::now(schedstat);
    let records = Records::new(stamp);
    let took = records.last.wrapping_sub(records.start);
    let run = after.run - before.run;
    print(log, b"boot", &[records.count, took, run]);
    processes(log);

    let before = Moment::later(schedstat);
    if records.service != 0 {
        kill(records.service as isize, SIGKILL);
    }
    sleep(REST);
    let after = Moment::now(schedstat);
    let killed = before.at;
    let records = Records::new(stamp);
    let took = records.last.saturating_sub(killed);
    let run = after.run - before.run;
    print(log, b"restart", &[records.count, took, run]);

    let before = Moment::later(schedstat);
    sleep(MINUTE);
    let after = Moment::now(schedstat);
    print(log, b"idle", &[after.run - before.run]);

    // The program may leave a file for process 1.
    let mounts = open(CWD, c"/proc/1/ns/mnt", O_RDONLY, 0);
    call(Sysno::setns, [mounts as usize, NEW_MOUNTS, 0, 0, 0]);
    let before = Moment::later(schedstat);
    down.start(Fork::Vfork);
    wait_closed(stamp);
    let after = Moment::now(schedstat);
    print(
        log,
        b"down",
        &[after.at - before.at, after.run - before.run],
    );
    0
}

/// Waits until no process has the FIFO open for writing.
fn wait_closed(stamp: isize) {
    const READABLE: u32 = 1;
    loop {
        let row = [stamp as u32, READABLE];
        let place = row.as_ptr() as usize;
        call(Sysno::ppoll, [place, 1, 0, 0, 8]);
        let mut record = [0; 16];
        if read(stamp, &mut record).is_empty() {
            return;
        }
    }
}

/// Writes a line for each process of user space but this one.
fn processes(log: isize) {
    let own = call(Sysno::getpid, [0; 5]) as u64;
    let dir = open(CWD, c"/proc", O_RDONLY, 0);
    let mut entries = [0_u8; 4096];
    loop {
        let place = entries.as_mut_ptr() as usize;
        let call = call(Sysno::getdents64, [dir as usize, place, 4096, 0, 0]);
        let mut rest = entries.get(..call.max(0) as usize).unwrap_or(&[]);
        if rest.is_empty() {
            return;
        }
        // The length of an entry is at 16, its name at 19.
        while let Some([low, high]) = rest.get(16..18) {
            let length = usize::from(u16::from_le_bytes([*low, *high]));
            let (entry, others) = rest.split_at(length.clamp(19, rest.len()));
            rest = others;
            let name = entry[19..].split(|byte| *byte == 0).next();
            let pid = name.map_or(0, number);
            if pid != 0 && pid != own {
                process(log, pid);
            }
        }
    }
}

/// Writes a line for a process, if it is one of user space.
fn process(log: isize, pid: u64) {
    let mut buffer = [0; 2048];
    let file = |name| {
        let mut path = Line::new();
        path.add(b"/proc/").number(pid).add(name).add(b"\0");
        let path = CStr::from_bytes_until_nul(&path.bytes).unwrap_or(c"");
        open(CWD, path, O_RDONLY, 0)
    };
    let rollup = file(b"/smaps_rollup");
    let text = read(rollup, &mut buffer);
    close(rollup);
    let mut lines = text.split(|byte| *byte == b'\n');
    let Some(pss) = lines.find_map(|line| line.strip_prefix(b"Pss:")) else {
        return;
    };
    let pss = pss.trim_ascii_start();
    let mut name = [0; 32];
    let comm = file(b"/comm");
    let name = read(comm, &mut name).trim_ascii_end();
    close(comm);
    let mut line = Line::new();
    line.add(b"<1>bench process ").add(name).add(b" ");
    line.number(number(pss)).add(b"\n");
    write(log, line.text());
}

/// Returns the number that a text begins with.
fn number(text: &[u8]) -> u64 {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number: u64, digit| {
        number.wrapping_mul(10).wrapping_add(u64::from(digit & 15))
    })
}

/// Writes a line of figures.
fn print(log: isize, what: &[u8], figures: &[u64]) {
    let mut line = Line::new();
    line.add(b"<1>bench ").add(what);
    for figure in figures {
        line.add(b" ").number(*figure);
    }
    line.add(b"\n");
    write(log, line.text());
}

/// A line of text.
struct Line {
    bytes: [u8; 128],
    length: usize,
}

impl Line {
    /// Returns an empty one.
    fn new() -> Self {
        Self {
            bytes: [0; 128],
            length: 0,
        }
    }

    /// Appends text; what does not fit is lost.
    fn add(&mut self, text: &[u8]) -> &mut Self {
        let free = self.bytes.iter_mut().skip(self.length);
        for (place, byte) in free.zip(text) {
            *place = *byte;
            self.length += 1;
        }
        self
    }

    /// Appends a number.
    fn number(&mut self, mut number: u64) -> &mut Self {
        let mut digits = [0; 20];
        let mut first = digits.len();
        loop {
            first -= 1;
            digits[first] = b'0' + (number % 10) as u8;
            number /= 10;
            if number == 0 {
                return self.add(&digits[first..]);
            }
        }
    }

    /// Returns the text.
    fn text(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}
