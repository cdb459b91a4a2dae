//! vlogger: sends lines or a message to the system log, or to a program that
//! the administrator provides.
//!
//! # Synopsis
//! `vlogger [-isS] [-f FILE] [-p PRIORITY] [-t TAG] [MESSAGE...]`
//!
//! # Description
//! Sends MESSAGE, its words separated by blanks, to the daemon that listens at
//! /dev/log. Without MESSAGE it sends every line of descriptor 0, or of FILE.
//!
//! As a log service (a link `log/run` to `vlogger`) the tag is the name of the
//! directory that contains `log`, and the priority `daemon.notice`. Otherwise
//! the tag is $LOGNAME, or else `vlogger`.
//!
//! If /etc/vlogger is executable, it replaces vlogger, with the arguments TAG
//! LEVEL FACILITY, for example to have every service log into a directory of
//! its own: `exec svlogd /var/log/$1`. This does not happen with a MESSAGE,
//! with `-S`, or when vlogger is called `logger`.
//!
//! # Options
//! - `-f FILE`: sends the lines of FILE; not with a MESSAGE.
//! - `-p PRIORITY`: the priority, `FACILITY` or `FACILITY.LEVEL`
//!   (`user.notice`).
//! - `-t TAG`: the tag that precedes each line.
//! - `-i`: adds the process id to the tag.
//! - `-s`: copies each line to descriptor 2, cut at `message-bytes`.
//! - `-S`: does not run /etc/vlogger.
//! - `--help`: as the only argument, prints a summary.
//!
//! # Facilities and levels
//! `auth` (`security`), `authpriv`, `cron`, `daemon` (`kern`, which is
//! reserved for the kernel), `ftp`, `lpr`, `mail`, `news`, `syslog`, `user`,
//! `uucp`, `local0` to `local7`; `emerg` (`panic`), `alert`, `crit`, `err`
//! (`error`), `warning` (`warn`), `notice`, `info`, `debug`.
//!
//! # Messages
//! One datagram for each line: `<PRIORITY>TAG: LINE`. The daemon adds the
//! time, since vlogger does not know the time zone. A message has at most 1024
//! bytes, which every daemon takes (RFC 3164); a longer line becomes several
//! messages. A NUL is sent as `?`. A tag has at most 255 bytes; with a longer
//! one nothing is sent.
//!
//! # Without a daemon
//! A line that is not taken, because no daemon listens or it is too busy, is
//! tried again for 10 seconds. The writers wait meanwhile as soon as the pipe
//! is full, so restarting the daemon loses nothing. After that lines are
//! dropped and counted, so that a missing daemon, or one that itself waits for
//! this log, never stops a service for longer. A line on descriptor 2 reports
//! when dropping begins; the first message that the daemon takes again states
//! the number of dropped messages. MESSAGE is tried for one second.
//!
//! # Signals
//! TERM, HUP, ALRM: send all input that was read, then end. Messages that the
//! daemon does not take at once are then dropped.
//!
//! # Files
//! - `/dev/log`: the daemon's socket.
//! - `/etc/vlogger`: a program that replaces vlogger.
//!
//! # Exit status
//! 0 at the end of the input or on a signal; 1 on a usage error; 111 if the
//! last messages were dropped or FILE could not be read.

use core::{ffi::CStr, time::Duration};

use heapless::Vec;
use ufmt::uwrite;

use crate::{
    args::vlogger::{Error, Request, request},
    machine::outage::{Action, Outage},
    sys::{
        self, AsFd, CWD, Errno, Fd, child, clock, error, fd, file, poller,
        signal::{Number, Signals},
        start::Start,
        syslog,
    },
    text::{Line, basename},
    wire::syslog::Priority,
};

/// Maximum size of a message in bytes, which every daemon takes.
const MESSAGE: usize = 1024;
/// Maximum size of a tag in bytes: that of a file name.
const TAG: usize = 255;
/// Size of a read in bytes.
const READ: usize = 4096;
/// Time that lines wait for a daemon.
const LINES_PATIENCE: Duration = Duration::from_secs(10);
/// Time that a message of the command line waits for a daemon.
const MESSAGE_PATIENCE: Duration = Duration::from_secs(1);
/// Time between two attempts to find a daemon.
const RETRY: Duration = Duration::from_millis(200);
/// Program that replaces vlogger.
const REPLACEMENT: &CStr = c"/etc/vlogger";

/// Runs the program.
pub(super) fn main(start: Start) -> u8 {
    let own = start.argv.first().unwrap_or(c"vlogger").to_bytes();
    let name = basename(own);
    let words = start.argv.skip(1);
    let (request, used) = match request(words.iter()) {
        Ok(request) => request,
        Err(wrong) => return usage(own, wrong),
    };
    let is_service = name == b"run";
    let mut buffer = [0; 4096];
    let service = if is_service {
        service(&mut buffer)
    } else {
        start.environ.get(b"LOGNAME")
    };
    let tag = request.tag.or(service).unwrap_or(c"vlogger");
    if tag.count_bytes() > TAG {
        let mut line = Line::new();
        line.text("vlogger: fatal: the tag is too long (the bound is 255)");
        sys::print_error(line.finish());
        return super::FATAL;
    }
    let priority = request.priority.unwrap_or(if is_service {
        Priority::DAEMON
    } else {
        Priority::USER
    });
    let message = words.skip(used);
    let lines = message.first().is_none();
    let result = open(&request).and_then(|()| {
        if lines && !request.syslog && name != b"logger" {
            exec_replacement(tag, priority, start)?;
        }
        let mut sender = Sender::new(&request, tag, priority)?;
        if lines {
            sender.send_lines()?;
        } else {
            sender.patience = MESSAGE_PATIENCE;
            for (count, word) in (0_usize..).zip(message.iter()) {
                let gap = if count == 0 { &b""[..] } else { b" " };
                sender.take(gap);
                sender.take(word.to_bytes());
            }
        }
        Ok(sender.finish())
    });
    match result {
        Ok(code) => code,
        Err((what, subject, errno)) => {
            super::fatal(b"vlogger: fatal: ", what, subject.to_bytes(), errno)
        }
    }
}

/// A failed call: the action, its subject and the cause.
type Failed<'a> = (&'static str, &'a CStr, Errno);

/// Reports the error of the command line and the usage. Returns the exit code.
fn usage(own: &[u8], wrong: Error<'_>) -> u8 {
    match wrong {
        Error::Option(option) => super::report_option(basename(own), option),
        Error::Priority(text) => {
            let mut line = Line::new();
            line.text("vlogger: unknown priority: ");
            sys::print_error(line.bytes(text.to_bytes()).finish());
        }
        Error::Usage => {}
    }
    let arguments = " [-isS] [-f file] [-p pri] [-t tag] [message ...]";
    super::usage(own, arguments, super::USAGE)
}

/// Returns the name of the service that this process logs: that of the parent
/// of the working directory, `log`.
fn service(buffer: &mut [u8]) -> Option<&CStr> {
    let length = {
        let path = file::link_target(CWD, c"/proc/self/cwd", buffer).ok()?;
        path.strip_suffix(b"/log").unwrap_or(path).len()
    };
    // The buffer is longer than the path.
    *buffer.get_mut(length)? = 0;
    let path = buffer.get(..=length)?;
    let start = path.iter().rposition(|byte| *byte == b'/')?;
    let name = path.get(start.saturating_add(1)..)?;
    let name = CStr::from_bytes_with_nul(name).ok()?;
    (!name.is_empty()).then_some(name)
}

/// Opens the file of `-f` as descriptor 0.
fn open<'a>(request: &Request<'a>) -> Result<(), Failed<'a>> {
    let Some(path) = request.file else {
        return Ok(());
    };
    let failed = |errno| ("unable to open ", path, errno);
    let file = file::open_read(CWD, path).map_err(failed)?;
    child::set_standard(&file, 0).map_err(failed)
}

/// Executes /etc/vlogger. Returns `Ok` if it is missing or not executable.
fn exec_replacement(
    tag: &CStr,
    priority: Priority,
    start: Start,
) -> Result<(), Failed<'static>> {
    let [level, facility] = priority.names();
    let errno = child::exec_program(&child::Program {
        path: REPLACEMENT,
        arguments: &[tag, level, facility],
        environ: start.environ,
    });
    match errno {
        Errno::ENOENT | Errno::EACCES => Ok(()),
        errno => Err(("unable to run ", REPLACEMENT, errno)),
    }
}

/// Splits the input into lines and sends them.
struct Sender {
    /// The current message: the head and the line so far.
    message: Vec<u8, MESSAGE>,
    /// Size of the head in bytes.
    head: usize,
    socket: Option<Fd>,
    outage: Outage,
    patience: Duration,
    /// Each line is copied to descriptor 2.
    copy: bool,
    signals: Signals,
    /// A signal to end has arrived.
    ends: bool,
}

impl Sender {
    /// Prepares to send messages with this tag and priority.
    fn new(
        request: &Request<'_>,
        tag: &CStr,
        priority: Priority,
    ) -> Result<Self, Failed<'static>> {
        let wanted = [Number::TERM, Number::HUP, Number::ALARM];
        let signals = Signals::collect(&wanted)
            .map_err(|errno| ("unable to collect signals", c"", errno))?;
        let mut message = Vec::new();
        let pid = request.pid.then(child::own_pid);
        // It fits: the tag is bounded.
        let _fits = uwrite!(message, "<{}>", priority.number()).is_ok()
            && message.extend_from_slice(tag.to_bytes()).is_ok()
            && pid.is_none_or(|pid| uwrite!(message, "[{}]", pid).is_ok())
            && message.extend_from_slice(b": ").is_ok();
        let head = message.len();
        Ok(Self {
            message,
            head,
            socket: None,
            outage: Outage::default(),
            patience: LINES_PATIENCE,
            copy: request.copy,
            signals,
            ends: false,
        })
    }

    /// Sends the lines of descriptor 0 until it ends or a signal arrives.
    fn send_lines(&mut self) -> Result<(), Failed<'static>> {
        let mut buffer = [0; READ];
        while !self.ends {
            let files = [fd::STDIN, self.signals.as_fd()];
            let ready = poller::readable(files, None);
            let failed = |errno| ("unable to read", c"", errno);
            let [readable, signalled] = ready.map_err(failed)?;
            if signalled {
                self.look_for_signal();
            } else if readable {
                let count = match sys::read(fd::STDIN, &mut buffer) {
                    Ok(0) => return Ok(()),
                    // Another process took the input.
                    Err(Errno::EAGAIN) => 0,
                    other => other.map_err(failed)?,
                };
                self.take(buffer.get(..count).unwrap_or(&[]));
            }
        }
        Ok(())
    }

    /// Adds bytes of the input to the message, and sends each complete line.
    fn take(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' => self.send(),
                byte => {
                    if self.message.is_full() {
                        self.send();
                    }
                    let byte = if *byte == 0 { b'?' } else { *byte };
                    // There is room: a full message was sent, and the head is
                    // shorter.
                    let _fits = self.message.push(byte).is_ok();
                }
            }
        }
    }

    /// Sends an incomplete last line. Returns the exit code.
    fn finish(mut self) -> u8 {
        if self.message.len() > self.head {
            self.send();
        }
        match self.outage.dropped() {
            0 => 0,
            dropped => {
                let mut line = Line::new();
                line.text("vlogger: warning: ").number(dropped);
                sys::print_error(line.text(DROPPED).finish());
                super::FATAL
            }
        }
    }

    /// Sends or drops the current line, and starts an empty one.
    fn send(&mut self) {
        if self.copy {
            // The text behind the priority.
            let mut parts = self.message.splitn(2, |byte| *byte == b'>');
            let text = parts.nth(1).unwrap_or(&[]);
            sys::print_error(Line::new().bytes(text).finish());
        }
        loop {
            let dropped = self.outage.dropped();
            let result = match dropped {
                0 => send_message(&mut self.socket, &self.message),
                dropped => self.report(dropped),
            };
            let Err(errno) = result else {
                self.outage.sent();
                if dropped == 0 {
                    break;
                }
                continue;
            };
            let patience = if self.ends {
                Duration::ZERO
            } else {
                self.patience
            };
            match self.outage.failed(clock::mono(), patience) {
                Action::Retry => self.pause(),
                Action::DropFirst => {
                    let mut line = Line::new();
                    line.text("vlogger: warning: unable to send to ");
                    line.text(syslog::PATH).text(": ");
                    line.text(error::text(errno)).text(": dropping messages");
                    sys::print_error(line.finish());
                    break;
                }
                Action::Drop => break,
            }
        }
        self.message.truncate(self.head);
    }

    /// Sends the number of dropped messages.
    fn report(&mut self, dropped: u64) -> Result<(), Errno> {
        let mut message = Vec::<u8, { 2 * TAG }>::new();
        let head = self.message.get(..self.head).unwrap_or(&[]);
        // It fits: the tag is bounded.
        let _fits = message.extend_from_slice(head).is_ok()
            && uwrite!(message, "{}{}", dropped, DROPPED).is_ok();
        send_message(&mut self.socket, &message)
    }

    /// Waits up to [`RETRY`]: for a busy daemon, or while there is none for a
    /// signal to end.
    fn pause(&mut self) {
        if let Some(busy) = &self.socket {
            let _ready = poller::writable(busy.as_fd(), RETRY);
        } else {
            let signals = [self.signals.as_fd()];
            let _early = poller::readable(signals, Some(RETRY)).is_err();
        }
        self.look_for_signal();
    }

    /// Records a signal to end.
    fn look_for_signal(&mut self) {
        self.ends |= self.signals.next().is_some();
    }
}

/// Text behind the number of dropped messages.
const DROPPED: &str = " messages dropped";

/// Sends a message to the daemon. Connects first if there is no connection, or
/// if the daemon of the present one is gone.
fn send_message(socket: &mut Option<Fd>, message: &[u8]) -> Result<(), Errno> {
    loop {
        let had = socket.take();
        let is_new = had.is_none();
        let connected = match had {
            Some(connected) => connected,
            None => syslog::connect()?,
        };
        let sent = sys::write_once(connected.as_fd(), message);
        if matches!(sent, Ok(_) | Err(Errno::EAGAIN)) {
            *socket = Some(connected);
        } else if !is_new {
            // Another daemon may be listening already.
            continue;
        }
        return sent.map(drop);
    }
}
