//! svlogd: writes its input, line by line, into log directories that never
//! outgrow their bounds.
//!
//! # Synopsis
//! `svlogd [-tttv] [-r C] [-R CHARACTERS] [-l LENGTH] [-b BUFFER] DIR...`
//!
//! # Description
//! Appends every line to `DIR/current` of each DIR, until that is full or old
//! enough: then it becomes `DIR/@LABEL.s` and a new one begins; the oldest go
//! when there are too many. `-t` stamps lines with a TAI64N label, `-tt` and
//! `-ttt` with the time in UTC. `-r` replaces what is not printable by C, `-R`
//! CHARACTERS also. `-l` is how much of a line is looked at.
//!
//! A line that is open when the input ends is written with a newline; what
//! was read is written, whatever signal comes. All that one read brings goes
//! out in one write to each directory.
//!
//! # Files
//! `DIR/config`: `sN` bytes, `nN` old logs kept, `NN` kept on a full disk,
//! `tN` seconds, `pTEXT` before each line, `+PATTERN` and `-PATTERN` for what
//! is logged, `ePATTERN` and `EPATTERN` for what is copied to descriptor 2.
//! `DIR/lock` is held. Neither `DIR` nor its `config` is made.
//!
//! # Signals
//! TERM: write what was read and the rest of an open line, end; a second one
//! does not wait for that rest. HUP: open all directories anew. ALRM: rotate.
//!
//! # Exit codes
//! 0 at the end of the input or on TERM; 111 usage, or no directory works.
//!
//! # Against runit
//! Not yet: processors (`!`), UDP (`u`, `U`); such a line is warned about.

mod directory;

use core::time::Duration;

use heapless::{Vec, VecView};

use crate::{
    args::svlogd::{Request, Wrong, request},
    config,
    machine::line::Lines,
    sys::{
        self, Errno, clock, error, fd,
        once::Once,
        signal::{Number, Signals},
        start::{Argv, Start},
        wait,
    },
    text::{self, Line, basename},
    wire::{
        clock::{Instant, Wall},
        stamp::stamp,
    },
};

use directory::Directory;

/// How long svlogd waits before it tries again what a directory refused.
const PAUSE: Duration = Duration::from_secs(3);

/// Bytes of input that are kept: a line that is not decided, and one read.
const INPUT: usize = config::LOG_READ_BYTES + config::LOG_LINE_BYTES;

/// Bytes on their way to one directory.
type Output = Vec<u8, { config::LOG_READ_BYTES }>;

/// All open log directories.
static DIRECTORIES: Once<Vec<Directory, { config::LOG_DIRS }>> =
    Once::new(Vec::new());
/// The input.
static INPUT_BYTES: Once<[u8; INPUT]> = Once::new([0; INPUT]);
/// The output.
static OUTPUT: Once<Output> = Once::new(Output::new());

/// Runs the program.
pub(super) fn main(start: Start) -> u8 {
    let name = start.argv.first().unwrap_or(c"svlogd").to_bytes();
    let (request, used) = match request(start.argv.skip(1).iter()) {
        Ok(request) => request,
        Err(wrong) => {
            match wrong {
                Wrong::Option(option) => {
                    super::complain_of(basename(name), option);
                }
                Wrong::Version => {
                    sys::complain(super::version().finish());
                }
                Wrong::Usage => {}
            }
            let arguments = " [-ttv] [-r c] [-R abc] [-l len] [-b buflen] \
                 dir ...";
            return super::usage(name, arguments, super::FATAL);
        }
    };
    let wanted = [Number::TERM, Number::HUP, Number::ALARM, Number::PIPE];
    let signals = match Signals::take(&wanted) {
        Ok(signals) => signals,
        Err(errno) => {
            let head = Line::new().bytes(name).text(": fatal: ").clone();
            let what = "unable to collect signals";
            return super::fatal(head.as_bytes(), what, b"", errno);
        }
    };
    let (Some(all), Some(input), Some(output)) =
        (DIRECTORIES.take(), INPUT_BYTES.take(), OUTPUT.take())
    else {
        return super::FATAL;
    };
    let names = start.argv.skip(used.saturating_add(1));
    let mut voice = Voice {
        name,
        request,
        signals,
        asked: Asked::default(),
    };
    if voice.request.length > config::LOG_LINE_BYTES {
        let mut line = voice.line("warning");
        line.text("-l is too long (log-line-bytes: the bound is ");
        line.number(u64::try_from(config::LOG_LINE_BYTES).unwrap_or(0));
        sys::complain(line.text(")").finish());
        voice.request.length = config::LOG_LINE_BYTES;
    }
    let lines = Lines::new(voice.request.length);
    let mut logger = Logger {
        voice,
        all,
        output,
        names,
        lines,
        column: 0,
    };
    logger.run(input)
}

/// Signals that were asked for and not yet obeyed.
#[derive(Debug, Default)]
struct Asked {
    /// TERM, how often.
    end: u8,
    /// HUP.
    reopen: bool,
    /// ALRM.
    rotate: bool,
}

/// Who speaks, and what it has been told.
struct Voice {
    name: &'static [u8],
    request: Request<'static>,
    signals: Signals,
    asked: Asked,
}

impl Voice {
    /// `svlogd: LEVEL: `.
    fn line(&self, level: &str) -> Line {
        let mut line = Line::new();
        line.bytes(self.name).text(": ").text(level).text(": ");
        line
    }

    /// Says `svlogd: LEVEL: WHAT: SUBJECT: CAUSE`.
    fn warn(&self, level: &str, what: &str, subject: &[u8], errno: Errno) {
        let mut line = self.line(level);
        line.text(what).text(": ").bytes(subject);
        line.text(": ").text(error::text(errno));
        sys::complain(line.finish());
    }

    /// Says what it does, if it was asked to.
    fn info(&self, parts: &[&[u8]]) {
        if self.request.verbose {
            let mut line = self.line("info");
            for part in parts {
                line.bytes(part);
            }
            sys::complain(line.finish());
        }
    }

    /// Takes the signals that came.
    fn listen(&mut self) {
        while let Some(signal) = self.signals.next() {
            match signal {
                Number::TERM => {
                    self.info(&[b"sigterm received."]);
                    self.asked.end = self.asked.end.saturating_add(1);
                }
                Number::HUP => {
                    self.info(&[b"sighangup received."]);
                    self.asked.reopen = true;
                }
                Number::ALARM => {
                    self.info(&[b"sigalarm received."]);
                    self.asked.rotate = true;
                }
                _ => {}
            }
        }
    }

    /// Says why it waits, and waits before the next try. Signals are noted
    /// meanwhile: what was read must be written before any is obeyed.
    fn pause(&mut self, what: &str, subject: &[u8], errno: Errno) {
        self.warn("pausing", what, subject, errno);
        let until = clock::mono().after(PAUSE);
        loop {
            let rest = until.since(clock::mono());
            if rest == Duration::ZERO {
                return;
            }
            match wait::readable([self.signals.as_fd()], Some(rest)) {
                Ok(_) => self.listen(),
                Err(_) => wait::sleep(rest),
            }
        }
    }

    /// Does `work` until it succeeds (contract §5.6).
    fn insist<T>(
        &mut self,
        what: &str,
        subject: &[u8],
        mut work: impl FnMut() -> Result<T, Errno>,
    ) -> T {
        loop {
            match work() {
                Ok(done) => return done,
                Err(errno) => self.pause(what, subject, errno),
            }
        }
    }
}

/// Everything that a running svlogd is.
struct Logger {
    voice: Voice,
    all: &'static mut VecView<Directory>,
    output: &'static mut Output,
    names: Argv,
    lines: Lines,
    /// Bytes of the open line that were read.
    column: usize,
}

impl Logger {
    /// Logs until the input has ended or TERM was obeyed.
    fn run(&mut self, input: &mut [u8; INPUT]) -> u8 {
        let mut kept = 0_usize;
        self.open();
        loop {
            if self.all.is_empty() {
                let text = "no functional log directories.";
                sys::complain(self.voice.line("fatal").text(text).finish());
                return super::FATAL;
            }
            let open = kept > 0 || self.lines.is_inside();
            if self.voice.asked.end > 1 || self.voice.asked.end == 1 && !open {
                break;
            }
            let ready = self.sleep();
            self.voice.listen();
            self.obey();
            if !ready {
                continue;
            }
            // An open line is finished byte by byte: what is behind it stays
            // in the pipe for the next logger.
            let most = match self.voice.asked.end {
                0 => config::LOG_READ_BYTES,
                _ => 1,
            };
            let until = kept.saturating_add(most);
            let Some(room) = input.get_mut(kept..until) else {
                break;
            };
            match sys::read(fd::STDIN, room) {
                Ok(0) => break,
                Ok(count) => {
                    let new = room.get_mut(..count).unwrap_or(&mut []);
                    self.replace(new);
                    let all = kept.saturating_add(count);
                    let used = self.log(input.get(..all).unwrap_or(&[]), false);
                    kept = all.saturating_sub(used);
                    text::to_front(input, used, kept);
                }
                // Somebody who shares the pipe made it non-blocking and took
                // what was there.
                Err(Errno::EAGAIN) => {}
                Err(errno) => {
                    let what = "unable to read standard input";
                    self.voice.pause(what, b"0", errno);
                }
            }
        }
        self.log(input.get(..kept).unwrap_or(&[]), true);
        self.close();
        0
    }

    /// Sleeps until there is input, a signal, or a log that is old; whether
    /// there is input.
    fn sleep(&mut self) -> bool {
        let due = self.all.iter().filter_map(Directory::due).min();
        let rest = due.map(|due| due.since(clock::mono()));
        let fds = [fd::STDIN, self.voice.signals.as_fd()];
        match wait::readable(fds, rest) {
            Ok([input, _]) => input,
            Err(errno) => {
                self.voice.pause("unable to wait for input", b"0", errno);
                false
            }
        }
    }

    /// Obeys signals and the clock.
    fn obey(&mut self) {
        if core::mem::take(&mut self.voice.asked.reopen) {
            self.close();
            self.open();
        }
        let rotate = core::mem::take(&mut self.voice.asked.rotate);
        let now = clock::mono();
        for directory in self.all.iter_mut() {
            directory.look_at_clock(&mut self.voice, now, rotate);
        }
    }

    /// Opens every directory that works.
    #[allow(
        clippy::large_stack_frames,
        reason = "the size before optimisation: audit prints the real one"
    )]
    fn open(&mut self) {
        for name in self.names.iter() {
            let Some(directory) = Directory::open(&mut self.voice, name) else {
                continue;
            };
            if self.all.push(directory).is_err() {
                let mut line = self.voice.line("warning");
                line.text("too many log directories (log-dirs: the bound is ");
                line.number(u64::try_from(config::LOG_DIRS).unwrap_or(0));
                line.text("): ").bytes(name.to_bytes());
                sys::complain(line.finish());
            }
        }
    }

    /// Closes every directory in order.
    fn close(&mut self) {
        for directory in self.all.iter_mut() {
            directory.close(&mut self.voice);
        }
        self.all.clear();
    }

    /// Replaces odd bytes in the first part of each line.
    fn replace(&mut self, bytes: &mut [u8]) {
        if self.voice.request.replacement.is_none() {
            return;
        }
        for byte in bytes {
            if *byte == b'\n' {
                self.column = 0;
                continue;
            }
            if self.column < self.voice.request.length {
                *byte = self.voice.request.replace(*byte);
            }
            self.column = self.column.saturating_add(1);
        }
    }

    /// Logs the lines in `input`; answers how much of it was used up. At the
    /// `end` all of it is.
    fn log(&mut self, input: &[u8], end: bool) -> usize {
        let style = self.voice.request.style;
        let wall = clock::wall();
        let (mut used, mut lines) = (0, self.lines);
        for directory in self.all.iter_mut() {
            let mut moment = wall;
            (used, lines) = (0, self.lines);
            while let Some(rest) = input.get(used..)
                && let Some((piece, bytes)) = lines.next(rest, end)
            {
                let stamp = if piece.first {
                    stamp(style, moment)
                } else {
                    heapless::Vec::new()
                };
                directory.log(&mut self.voice, self.output, &piece, &stamp);
                moment = after(moment);
                used = used.saturating_add(bytes);
            }
            directory.flush(&mut self.voice, self.output);
        }
        self.lines = lines;
        used
    }
}

/// The next nanosecond: lines of one read have different labels, so that
/// sorting by them keeps their order.
fn after(wall: Wall) -> Wall {
    match wall.nanos {
        999_999_999 => Wall {
            secs: wall.secs.saturating_add(1),
            nanos: 0,
        },
        nanos => Wall {
            nanos: nanos.saturating_add(1),
            ..wall
        },
    }
}

/// Whether a moment has come.
fn is_due(due: Option<Instant>, now: Instant) -> bool {
    due.is_some_and(|due| due <= now)
}
