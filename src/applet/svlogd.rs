//! svlogd: writes its input, line by line, to log directories of bounded size.
//!
//! # Synopsis
//! `svlogd [-tttv] [-r C] [-R CHARACTERS] [-l LENGTH] [-b BUFFER] DIR...`
//!
//! # Description
//! Appends every line to `DIR/current` of each DIR until that file is full or
//! old enough. The file is then renamed to `DIR/@LABEL.s` and a new one
//! begins; the oldest files are deleted when there are too many.
//!
//! A line that is open when the input ends is written with a newline. Input
//! that was read is written, whatever signal arrives. All whole lines of one
//! read are in the file of each directory before anything else is read; they
//! are written in one write, or a few when they are very many. While more than
//! a thousand lines a second arrive they are read every few milliseconds.
//!
//! # Options
//! - `-t`: stamps each line with a TAI64N label; `-tt` with the time in UTC,
//!   as `2026-11-28_12:34:56.00000`; `-ttt` with a `T` instead of the `_`.
//! - `-r C`: replaces unprintable characters with C.
//! - `-R CHARACTERS`: replaces these characters too, with `_` unless `-r` says
//!   otherwise.
//! - `-l LENGTH`: the bytes of a line that are examined: replaced, matched
//!   against patterns, sent by UDP (1000).
//! - `-b BUFFER`: must be greater than LENGTH (1024); has no other effect.
//! - `-v`: reports actions.
//! - `-V`: prints the version and the usage.
//! - `--help`: prints a summary.
//!
//! # Files
//! No file that is written in DIR may be a link or have a second name.
//! `DIR/lock` is held. Neither `DIR` nor its `config` is made. A `current`
//! without the owner's x bit was not closed properly: it is kept as
//! `@LABEL.u`. `DIR/config` has these lines; of a setting given twice the last
//! counts:
//!
//! - `sN`, `sNk`, `sNm`: maximum size of a file in bytes (1000000; 0: no
//!   bound).
//! - `nN`: number of old logs kept (10; 0: all).
//! - `NN`: on a full disk the oldest log is deleted if there are more than N;
//!   in force when less than `n`.
//! - `tN`, `tNm`, `tNh`: age in seconds at which a file that is not empty is
//!   rotated (0: never).
//! - `fN`, `fNm`, `fNh`: data is on the medium N seconds after it was written,
//!   even if the power fails then (0: at the next rotation).
//! - `dN`, `dNm`, `dNh`: lines that cannot be written for N seconds are
//!   dropped instead of kept waiting (0: never).
//! - `!COMMAND`: the processor, see below.
//! - `mMODE`: octal permission bits of the logs and of the processor's output
//!   (644). The owner's x bit is not one of them: it marks a file that was
//!   closed properly.
//! - `gGROUP`: group of the logs, a name in /etc/group or a number.
//! - `uA.B.C.D[:PORT]`, `u[IPV6]:PORT`, `uIPV6`: lines are also sent by UDP
//!   (port 514), cut at LENGTH; with `U` they are not written to the file.
//!   Lines that cannot be sent are logged.
//! - `pTEXT`: prefix of each line.
//! - `+PATTERN`, `-PATTERN`: log matching lines, or do not; `ePATTERN`,
//!   `EPATTERN`: copy them to descriptor 2, or do not. On a terminal the
//!   control characters of a copied line are replaced, as in the output of
//!   sv(8). svlogd waits until descriptor 2 takes a copied line, but no longer
//!   than until TERM. The last pattern that matches decides. `*c` matches
//!   anything up to the first `c`, `*` at the end matches anything, `+c` one or
//!   more `c`.
//! - `#`: a comment.
//!
//! # Processor
//! A rotated log is called `@LABEL.u` and given to `/bin/sh -c COMMAND` as
//! descriptor 0; the output on descriptor 1 becomes `@LABEL.s`. The command
//! reads on descriptor 4 what its previous run wrote on 5 (`state`,
//! `newstate`). It is started again after 3 seconds until it exits 0. The next
//! rotation waits for it. So does the end of svlogd, after all other data is
//! safe and within TERM's limit: a log still called `.u` then is processed
//! after the next start.
//!
//! # Failures
//! A step that fails (a full disk, an error of the medium, a processor that is
//! still at work when the next log is full) is reported once for each cause
//! and tried again every 3 s until it succeeds. All other directories get the
//! lines that were read. Nothing more is read before the directory that stalls
//! has them too, so the writer waits and no line is lost. With a `d` line that
//! directory drops its lines instead, N seconds after the first failure, and
//! the writer and the other directories continue at full speed. When the
//! directory works again svlogd reports how many lines were dropped.
//!
//! During a stall HUP reads the configs for settings that may help: sizes,
//! counts, times and `d`; old logs above `n` are deleted. All other settings
//! take effect after the current lines are written.
//!
//! When `current` or DIR was removed or moved, this is reported once and a new
//! one begins: before the next lines if the file has no name any more, else
//! within a second while lines arrive. DIR is made if it does not exist, and
//! keeps its config. If it cannot be made, lines continue to go to the old
//! directory if that was only moved; otherwise they are dropped and counted,
//! and svlogd tries again every 3 s. Anything then called `current` that is
//! not a regular file is renamed to `current.@LABEL.u`.
//!
//! # Signals
//! TERM: write all input that was read and the rest of an open line, wait for
//! processors, end. Anything that cannot be done is given up 4 s after TERM,
//! or at once on a second TERM: an open line ends there, lines that cannot be
//! written are dropped and counted, a processor is killed and its log
//! processed after the next start. (Only KILL ends a system call that the
//! kernel does not return from.) HUP: open all directories anew. ALRM: rotate.
//!
//! # Capacity
//! More directories than `log-dirs`, a LENGTH above `log-line-bytes` or a
//! config above `file-bytes` would lose lines: svlogd does not start, and
//! reports the bound. On HUP a config that became too long is not read: the
//! previous one stays in force.
//!
//! # Exit status
//! 0 at the end of the input or on TERM; 111 on a usage error, an exceeded
//! bound, or if no directory works.
//!
//! # Differences from runit
//! New: `d`, `f`, `g` and `m` lines, IPv6, TERM's limit, a new `current` when
//! it was removed, directories that do not delay each other, causes reported
//! once, a warning for config lines without meaning, old logs deleted down to
//! `n` at once, `.u` files processed at start, a pause before a processor is
//! tried again. A name is never older than the newest one kept, whatever the
//! clock says: the stamps of its lines are the clock's.

use heapless::{Vec, VecView};

use crate::{
    args::svlogd::{Error, request},
    config,
    machine::{
        batch::{self, Batch},
        line::Lines,
    },
    sys::{
        self, CWD, Errno,
        buffer::Buffer,
        clock, fd, poller,
        signal::{Number, Signals},
        start::Start,
        static_cell::StaticCell,
    },
    text::{Line, Name, basename},
    wire::{
        clock::{Instant, earliest},
        logconfig::SIZE_AND_KEEP,
    },
};

use super::logdir::{
    BYTES, ConfigText, Directory, LineReader, LogContext, Mode, Output,
    PendingSignals, TEXT_EXTRA,
};

/// All log directories.
static DIRECTORIES: StaticCell<Vec<Directory, { config::LOG_DIRS }>> =
    StaticCell::new(Vec::new());
/// Memory for the texts of a config.
type Text = Vec<u8, { config::FILE_BYTES + TEXT_EXTRA }>;
/// Texts of their configs.
static TEXTS: StaticCell<[Text; config::LOG_DIRS]> =
    StaticCell::new([const { Text::new() }; config::LOG_DIRS]);

/// Runs the program.
pub(super) fn main(start: Start) -> u8 {
    let name = start.argv.first().unwrap_or(c"svlogd").to_bytes();
    let (request, used) = match request(start.argv.skip(1).iter()) {
        Ok(request) => request,
        Err(wrong) => return usage(name, wrong),
    };
    let wanted = [
        Number::TERM,
        Number::HUP,
        Number::ALARM,
        Number::CHILD,
        Number::PIPE,
    ];
    let signals = match Signals::take(&wanted) {
        Ok(signals) => signals,
        Err(errno) => {
            let head = Line::new().bytes(name).text(": fatal: ").clone();
            let what = "unable to collect signals";
            return super::fatal(head.as_bytes(), what, b"", errno);
        }
    };
    let (Some(directories), Some(texts), Some(bytes)) =
        (DIRECTORIES.take(), TEXTS.take(), BYTES.take())
    else {
        return super::FATAL;
    };
    let output = Output::new(&mut bytes.output);
    let mut input = Buffer::new(&mut bytes.input);
    let context = LogContext {
        name,
        service: Name::new(),
        bounds: SIZE_AND_KEEP,
        request,
        environ: start.environ,
        signals,
        pending: PendingSignals::default(),
        deadline: None,
        mode: Mode::Alone,
        console: None,
        pause_reported: None,
    };
    if context.request.length > config::LOG_LINE_BYTES {
        let what: [&[u8]; 1] = [b"-l is too long"];
        let bound = config::LOG_LINE_BYTES;
        context.report_bound("fatal", &what, "log-line-bytes", bound);
        return super::FATAL;
    }
    let mut texts = texts.iter_mut();
    for name in start.argv.skip(used.saturating_add(1)).iter() {
        let directory = texts
            .next()
            .map(|text| Directory::new(name, ConfigText::new(text)));
        if directory.is_none_or(|it| directories.push(it).is_err()) {
            let what: [&[u8]; 2] =
                [b"too many log directories: ", name.to_bytes()];
            context.report_bound("fatal", &what, "log-dirs", config::LOG_DIRS);
            return super::FATAL;
        }
    }
    let mut stream = LineReader::new(context.request.length);
    let mut logger = Svlogd {
        context,
        directories,
        output,
    };
    logger.run(&mut stream, &mut input)
}

/// Reports the error of the command line and the usage. Returns the exit code.
fn usage(name: &[u8], wrong: Error<'_>) -> u8 {
    match wrong {
        Error::Option(option) => {
            super::report_option(basename(name), option);
        }
        Error::Version => sys::print_error(super::version().finish()),
        Error::Usage => {}
    }
    let arguments = " [-ttv] [-r c] [-R abc] [-l len] [-b buflen] dir ...";
    super::usage(name, arguments, super::FATAL)
}

/// A running svlogd.
struct Svlogd {
    context: LogContext,
    directories: &'static mut VecView<Directory>,
    output: Output,
}

impl Svlogd {
    /// Logs until the input ends or TERM arrives. Returns the exit code.
    fn run(&mut self, stream: &mut LineReader, input: &mut Buffer) -> u8 {
        let mut failed = !self.reopen();
        let mut batch = Batch::new(clock::mono(), config::LOG_READ_BYTES);
        loop {
            if !self.directories.iter().any(Directory::is_used) {
                let text: &[u8] = b"no functional log directories.";
                self.context.report("fatal", &[text]);
                failed = true;
            }
            if failed {
                self.end();
                return super::FATAL;
            }
            let ends = self.context.pending.end > 0;
            if ends
                && (!stream.is_open() || self.context.is_late(clock::mono()))
            {
                break;
            }
            let ready = self.sleep();
            self.handle_signals();
            if !ready {
                continue;
            }
            // An open line is finished byte by byte: the bytes behind it stay
            // in the pipe for the next logger.
            let most = match self.context.pending.end {
                0 => config::LOG_READ_BYTES,
                _ => 1,
            };
            match input.read(fd::STDIN, most) {
                Ok(0) => break,
                Ok(count) => {
                    self.context.pause_reported = None;
                    let request = self.context.request;
                    stream.take(&request, input, &mut |lines, block| {
                        self.log(lines, block);
                    });
                    let ends = self.context.pending.end > 0;
                    if !ends && batch.should_pause(count, clock::mono()) {
                        poller::sleep(batch::PAUSE);
                    }
                }
                // Another process shares the pipe, made it non-blocking and
                // took the input.
                Err(Errno::EAGAIN) => {}
                Err(errno) => {
                    let what = "unable to read standard input";
                    self.context.pause(what, b"0", errno);
                }
            }
        }
        stream.end(input, &mut |lines, block| self.log(lines, block));
        self.end();
        0
    }

    /// Returns the next moment at which a directory has work to do.
    fn next_due(&self) -> Option<Instant> {
        self.directories
            .iter()
            .filter_map(Directory::next_due)
            .min()
    }

    /// Sleeps until there is input, a signal arrives, or work is due. Returns
    /// whether there is input.
    fn sleep(&mut self) -> bool {
        let due = earliest(&[self.next_due(), self.context.deadline]);
        let rest = due.map(|due| due.since(clock::mono()));
        let fds = [fd::STDIN, self.context.signals.as_fd()];
        match poller::readable(fds, rest) {
            Ok([input, signal]) => {
                if signal {
                    self.context.take_signals();
                }
                input
            }
            Err(errno) => {
                self.context.pause("unable to wait for input", b"0", errno);
                false
            }
        }
    }

    /// Does what signals request and the work that is due.
    fn handle_signals(&mut self) {
        let pending = &mut self.context.pending;
        let rotate = core::mem::take(&mut pending.rotate);
        let child = core::mem::take(&mut pending.child);
        if core::mem::take(&mut pending.reopen) {
            pending.reread = false;
            // A config that became too long leaves the old one in force.
            let _fits = self.reopen();
        }
        if !rotate && !child && self.next_due().is_none() {
            return;
        }
        let now = clock::mono();
        for directory in self.directories.iter_mut() {
            directory.handle_timers(
                &mut self.context,
                &mut self.output,
                now,
                rotate,
            );
        }
    }

    /// Closes all directories and opens those that work. Returns `false` if a
    /// config exceeds the bound of this build.
    fn reopen(&mut self) -> bool {
        for directory in self.directories.iter_mut() {
            directory.close(&mut self.context);
        }
        let mut fits = true;
        for directory in self.directories.iter_mut() {
            let opened =
                directory.open(&mut self.context, &mut self.output, CWD);
            fits &= opened != Err(Errno::EFBIG);
        }
        fits
    }

    /// Closes everything: syncs the logs first, then waits for processors,
    /// each until TERM's limit.
    fn end(&mut self) {
        let context = &mut self.context;
        loop {
            let mut settled = true;
            for directory in self.directories.iter_mut().filter(|it| it.is_open)
            {
                settled &= directory.seal(context).is_ok();
            }
            if settled || context.is_late(clock::mono()) {
                break;
            }
            let dues =
                self.directories.iter().filter_map(Directory::stalled_until);
            context.wait_stalled(dues.min());
        }
        loop {
            let now = clock::mono();
            for directory in self.directories.iter_mut() {
                directory.check_job(context, now);
            }
            let waits = self.directories.iter().any(|it| !it.is_processed());
            if !waits || context.is_late(now) {
                break;
            }
            let dues = self.directories.iter().filter_map(Directory::job_due);
            context.wait_stalled(dues.min());
        }
        for directory in self.directories.iter_mut() {
            directory.end_job(context);
            directory.close(context);
        }
    }

    /// Logs a block of complete lines in every directory. Waits for
    /// directories that stall after all others have it, so that nothing else
    /// is read meanwhile.
    fn log(&mut self, lines: Lines, block: &[u8]) {
        let stamps = self.context.stamps();
        for directory in self.directories.iter_mut() {
            directory.begin_block();
        }
        loop {
            let now = clock::mono();
            let mut is_done = true;
            for directory in
                self.directories.iter_mut().filter(|it| it.is_used())
            {
                let (context, output) = (&mut self.context, &mut self.output);
                directory.reopen_if_due(context, output, CWD, now);
                let stamps = stamps.clone();
                is_done &=
                    directory.log(context, output, lines, block, stamps, now);
            }
            if is_done {
                return;
            }
            self.wait_for_stalled();
        }
    }

    /// Waits until a directory that stalls may retry, and serves the others.
    fn wait_for_stalled(&mut self) {
        let has_backlog =
            |it: &&mut Directory| it.is_used() && it.has_backlog();
        let stalled = self.directories.iter_mut().filter(has_backlog);
        let due = stalled.filter_map(|it| it.stalled_until()).min();
        let due = earliest(&[due, self.next_due()]);
        let signals = self.context.wait_stalled(due);
        let now = clock::mono();
        for directory in self.directories.iter_mut() {
            let (context, output) = (&mut self.context, &mut self.output);
            if has_backlog(&directory) {
                directory.after_wait(context, output, signals);
            } else {
                directory.handle_timers(context, output, now, false);
            }
        }
    }
}
