//! Moves this process to another file: takes the request, checks the file, and
//! executes it.
//!
//! A request comes through the FIFO [`REQUESTS`] in a state directory, to which
//! only the user of this process, and root, can write: the path of the file and
//! a newline. A sender that waits for the answer has [`ANSWERS`] open: a digit,
//! which is 0 if this process now runs the file, and a text with a newline.
//!
//! The file is copied into memory, and a child runs the copy with the state
//! that it would go on with. If that succeeds, this process executes the copy
//! as after a fault, and the former program answers for it until it has run
//! for a while: see [`fault::upgrade`].

#[cfg(test)]
mod test;

use core::{ffi::CStr, time::Duration};

use crate::{
    config::{self, family},
    sys::{
        self, AsFd as _, At, Errno, Fd,
        child::ExitStatus,
        clock, error,
        fault::{self, Executed},
        image, limits,
        poller::Interest,
        secure::{self, FifoEnds},
        signal::{self, Number},
    },
    text::{Line, Path, mask},
    wire::clock::Instant,
};

use super::{
    Supervisor, ledger,
    reporter::Reporter,
    slot,
    source::Source,
    supervise::{self, Failure},
};

/// FIFO for requests.
pub const REQUESTS: &CStr = c"upgrade";
/// FIFO for answers.
pub const ANSWERS: &CStr = c"upgrade.answer";
/// FIFO for the front process of runsvdir: a supervisor that has moved to
/// another file writes its pid there.
const FRONT: &CStr = c"upgrade.front";

/// Time that the check of a file may take.
pub const CHECK: Duration = Duration::from_secs(10);

/// First word of the line that a check prints if it succeeds.
pub const CHECKED: &str = "runt ";

/// First two arguments of a check.
const WORDS: [&CStr; 3] = [c"runt", c"upgrade", c"--check"];

/// Upgrade of this process.
#[derive(Debug, Default)]
pub(super) struct Upgrade {
    /// The state directory, and the FIFO for requests in it.
    channel: Option<(Fd, Fd)>,
    /// The file: it is checked, or executed next.
    image: Option<Fd>,
    /// Pid of the child that checks it, and when that must have ended.
    check: Option<(u32, Instant)>,
    /// Pipe for what that child prints.
    output: Option<Fd>,
}

impl Upgrade {
    /// Returns the time at which something becomes due.
    pub(super) fn due(&self) -> Option<Instant> {
        if !family::UPGRADE {
            return None;
        }
        match (self.check, &self.image) {
            (Some((_, until)), _) => Some(until),
            (None, Some(_)) => Some(Instant::AT_ONCE),
            (None, None) => fault::trial_end(),
        }
    }

    /// Answers the last request, if its sender waits.
    fn answer(&self, code: u8, text: &[u8]) {
        self.send(ANSWERS, Line::new().number(code.into()).bytes(text));
    }

    /// Writes a line to a FIFO, if it is read.
    fn send(&self, fifo: &CStr, line: &mut Line) {
        let Some((dir, _)) = &self.channel else {
            return;
        };
        let writer = secure::fifo(dir.as_fd(), fifo, FifoEnds::Writer);
        // ENXIO: nothing reads it.
        let _sent = writer
            .and_then(|writer| sys::write_once(writer.as_fd(), line.finish()));
    }

    /// Forgets the upgrade that is under way.
    fn forget(&mut self) {
        self.image = None;
        self.check = None;
        self.output = None;
    }

    /// Reports that there is no upgrade, and answers.
    fn refuse(&self, reason: &Line, reporter: &Reporter) {
        let mut line = reporter.prefix.clone();
        line.text("no upgrade: ").bytes(reason.as_bytes());
        reporter.print(&mut line);
        self.answer(1, reason.as_bytes());
    }

    /// Begins the check of the file that a request names.
    fn begin(&mut self, path: &[u8], ledger: &Fd) -> Result<(), Reason> {
        if self.due().is_some() {
            return Err(("another upgrade is under way", None));
        }
        if !fault::has_image() {
            return Err(("the file that runs cannot be kept", None));
        }
        let path =
            Path::join(&[path]).map_err(|_| ("the path is too long", None))?;
        let image = image::copy_program(path.as_c_str()).map_err(|errno| {
            let what = match errno {
                Errno::EPERM => {
                    "another user owns the file or its directory, or may \
                     write to them"
                }
                Errno::EFBIG => "the file is too large for a program",
                _ => "unable to copy the file into memory",
            };
            (what, Some(errno))
        })?;
        let [output, written] = sys::pipe(true)
            .map_err(|errno| ("unable to make a pipe", Some(errno)))?;
        let pid = fault::check(&image, &WORDS, ledger, &written)
            .map_err(|errno| ("unable to fork", Some(errno)))?;
        self.image = Some(image);
        self.check = Some((pid, clock::mono().after(CHECK)));
        self.output = Some(output);
        Ok(())
    }

    /// Handles the exit of the child that checks the file. Returns false if it
    /// is another child.
    pub(super) fn child_ended(
        &mut self,
        pid: u32,
        end: ExitStatus,
        reporter: &Reporter,
    ) -> bool {
        if !family::UPGRADE
            || self.check.take_if(|(check, _)| *check == pid).is_none()
        {
            return false;
        }
        let Some(output) = self.output.take() else {
            return true;
        };
        let mut bytes = [0; config::MESSAGE_BYTES / 2];
        let count = sys::read(output.as_fd(), &mut bytes).unwrap_or(0);
        let said = bytes.get_mut(..count).unwrap_or(&mut []);
        let mut lines = said.split_mut(|byte| *byte == b'\n');
        let said = mask::in_place(lines.next().unwrap_or(&mut []));
        let mut line = Line::new();
        match end {
            ExitStatus::Exited(0) if said.starts_with(CHECKED.as_bytes()) => {
                return true;
            }
            ExitStatus::Exited(_) if said.is_empty() => {
                line.text("it is no program of runt");
            }
            ExitStatus::Exited(0) => {
                line.text("it is no program of runt: ").bytes(said);
            }
            ExitStatus::Exited(_) => {
                line.bytes(said);
            }
            ExitStatus::Killed(signal, _) => {
                line.text("its check was ended by the signal ");
                line.bytes(signal::name(signal));
            }
        }
        self.forget();
        self.refuse(&line, reporter);
        true
    }
}

/// Reason of a refusal, and its cause.
type Reason = (&'static str, Option<Errno>);

/// Opens the FIFO for the front process of runsvdir in a state directory.
pub fn open_front(dir: At<'_>) -> Result<Fd, Failure> {
    supervise::open_fifo(dir, FRONT)
}

/// Checks that this program can go on from a copy of a ledger. If it cannot,
/// appends the reason to a line and returns false.
pub fn check_ledger(copy: At<'_>, line: &mut Line) -> bool {
    ledger::check_copy(copy, &slot::is_valid, line)
}

impl Supervisor {
    /// Takes requests to move to another file from now on, through a state
    /// directory that no other process uses for this. Answers the one that led
    /// to this execution, if that has failed.
    pub fn accept_upgrades(&mut self, dir: Fd) {
        if !family::UPGRADE {
            return;
        }
        let at = dir.as_fd();
        let opened = supervise::open_fifo(at, ANSWERS)
            .and_then(|_| supervise::open_fifo(at, REQUESTS));
        let requests = match opened {
            Ok(requests) => requests,
            Err(failure) => {
                let mut line = self.reporter().prefix.clone();
                super::append_failure(&mut line, failure);
                return self.reporter().print(&mut line);
            }
        };
        let token = Source::Upgrade.token();
        let poller = &self.context.poller;
        if let Err(errno) =
            poller.add(requests.as_fd(), Interest::Readable, token)
        {
            return self.reporter().warn(
                "unable to wait for ",
                b"upgrade",
                errno,
            );
        }
        self.upgrade.channel = Some((dir, requests));
        let last = fault::last();
        if last.executed == Executed::Former {
            let mut line = Line::new();
            if last.signal == 0 {
                line.text("it cannot be executed");
            } else {
                line.text("it got the signal ");
                line.bytes(signal::name(last.signal));
            }
            line.text("; the former file runs again");
            self.upgrade.answer(1, line.as_bytes());
        } else if last.signal != 0 && fault::trial_end().is_none() {
            self.upgrade
                .answer(1, b"a fault has interrupted the upgrade");
        }
    }

    /// Takes no requests any more, and forgets one that is under way.
    pub fn refuse_upgrades(&mut self) {
        if family::UPGRADE && self.upgrade.image.is_some() {
            self.upgrade.forget();
            self.refuse_upgrade(("the stage has ended", None));
        }
        self.upgrade.channel = None;
    }

    /// Takes a request.
    pub(super) fn read_upgrade(&mut self) {
        let channel = self.upgrade.channel.as_ref();
        let Some((_, requests)) = channel.filter(|_| family::UPGRADE) else {
            return;
        };
        let mut bytes = [0; config::PATH_BYTES];
        let count = sys::read(requests.as_fd(), &mut bytes).unwrap_or(0);
        let bytes = bytes.get(..count).unwrap_or(&[]);
        let mut words = bytes.split(|byte| *byte == b'\n');
        let path = words.next().filter(|path| !path.is_empty());
        let Some(path) = path else { return };
        let names = self.table.slots().map(|slot| slot.name().len());
        let longest = names.max().unwrap_or(0);
        let copy = self.context.ledger.snapshot(longest);
        let begun = copy
            .map_err(|errno| ("unable to copy the ledger", Some(errno)))
            .and_then(|copy| self.upgrade.begin(path, &copy));
        if let Err(reason) = begun {
            self.refuse_upgrade(reason);
        }
    }

    /// Reports that there is no upgrade, and answers.
    #[inline(never)]
    fn refuse_upgrade(&self, (what, cause): Reason) {
        let mut line = Line::new();
        line.text(what);
        if let Some(errno) = cause {
            line.text(": ").text(error::text(errno));
        }
        self.upgrade.refuse(&line, &self.context.reporter);
    }

    /// Does what is due of an upgrade. To be called when nothing of the last
    /// iteration is left to do.
    pub(super) fn advance_upgrade(&mut self) {
        let due = self.upgrade.due();
        if due.is_none_or(|due| clock::mono() < due) {
            return;
        }
        if let Some((pid, _)) = self.upgrade.check {
            // It is reaped as an orphan.
            let _ended = signal::kill(pid, Number::KILL).is_err();
            self.upgrade.forget();
            self.refuse_upgrade(("its check takes too long", None));
        } else if let Some(image) = self.upgrade.image.take() {
            if let Some(console) = self.context.reporter.console {
                console.write_backlog();
            }
            fault::upgrade(&image);
            limits::raise_files(config::descriptors(self.table.bound()));
            self.refuse_upgrade(("unable to execute it", None));
        } else {
            fault::end_trial();
            let mut pid = Line::new();
            pid.number(sys::child::own_pid().into());
            self.upgrade.send(FRONT, &mut pid);
            let mut line = Line::new();
            line.text("runs ").text(CHECKED).text(config::VERSION);
            line.text(", board ").text(config::BOARD);
            self.upgrade.answer(0, line.as_bytes());
        }
    }
}
