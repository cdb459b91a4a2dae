//! Runs the program of a test rig, once, when stage 2 has begun, and reports
//! its result as PID 1's last act.
//!
//! No program can report a result in its place, unless it is root's or learns
//! the nonce, which is in PID 1's memory only: [`read`] removes the file with
//! it before any other process exists.

use core::{ffi::CStr, time::Duration};

use heapless::Vec;

use crate::{
    config,
    machine::shutdown::LAST_WORDS,
    supervisor::{Ended, Reporter, Supervisor},
    sys::{
        AsFd as _, CWD, Errno,
        child::{ExitStatus, MAX_ARGUMENTS},
        exit_device::ExitDevice,
        file, poller,
        static_cell::StaticCell,
        write_all,
    },
    text::Line,
    wire::{
        record::{Reader, Writer},
        rig::{EXIT, RigCommand},
    },
};

use super::{console::ConsoleStreams, report::PREFIX};

/// The file that says what to run, from the root directory, which is the
/// working directory of PID 1.
const FILE: &CStr = c"run/runt-rig";
/// Exit code of the emulator after a program that exited with 0.
const SUCCESS: u8 = 33;
/// Exit code of the emulator after any other result.
const FAILURE: u8 = 34;
/// Time for an exit device to act.
const EXIT_DELAY: Duration = Duration::from_secs(2);

/// The content of [`FILE`], or what the kernel's command line says.
static TEXT: StaticCell<[u8; config::LINE_BYTES]> =
    StaticCell::new([0; config::LINE_BYTES]);

/// The words of the kernel's command line about a rig.
#[derive(Default)]
pub(super) struct RigParams<'a> {
    /// `runt.rig`: the program.
    pub(super) program: Option<&'a [u8]>,
    /// `runt.rig-nonce`.
    pub(super) nonce: &'a [u8],
    /// `runt.rig-exit`: true when the machine has an exit device.
    pub(super) exit_device: bool,
}

/// Reads what to run from the file, or else from the command line, and removes
/// the file.
pub(super) fn read(
    params: &RigParams<'_>,
    reporter: &Reporter,
) -> Option<RigCommand<'static>> {
    if file::info(CWD, FILE).is_ok() {
        let text = file::read_whole(CWD, FILE, TEXT.take()?);
        if let Err(errno) = text {
            reporter.warn("unable to read ", FILE.to_bytes(), errno);
        }
        if let Err(errno) = file::remove(CWD, FILE) {
            // It is no secret.
            reporter.warn("unable to remove ", FILE.to_bytes(), errno);
            return None;
        }
        let text = text.ok()?;
        if text.len() == config::LINE_BYTES {
            let what = "the command of the rig is too long";
            reporter.capacity_reached(what, "line-bytes", text.len());
        }
        return RigCommand::parse(text);
    }
    let exit = if params.exit_device { EXIT } else { b"" };
    let words = [params.nonce, exit, params.program?];
    let bytes = words.iter().flat_map(|word| word.iter().chain(&[0]));
    let text = TEXT.take()?;
    // It is shorter than the command line, which has as much room.
    for (to, byte) in text.iter_mut().zip(bytes) {
        *to = *byte;
    }
    let length = words.iter().map(|word| word.len().saturating_add(1)).sum();
    RigCommand::parse(text.get(..length)?)
}

/// Writes the file again, for the PID 1 of a root that has become the root
/// directory.
pub(super) fn pass_on(text: &[u8]) -> Result<(), Errno> {
    if text.is_empty() {
        return Ok(());
    }
    let file = file::open_truncate(CWD, FILE, 0o600)?;
    write_all(file.as_fd(), text)
}

/// The result of a rig's program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It could not be executed.
    NotStarted,
    /// It has ended.
    Ended(ExitStatus),
}

/// The program of a test rig.
#[derive(Debug)]
pub(super) struct Rig {
    /// The command; `None` when there is no rig.
    command: Option<RigCommand<'static>>,
    /// True once the program has been started.
    started: bool,
    /// Process id of the program, while it runs.
    pid: Option<u32>,
    /// `None` until there is one.
    verdict: Option<Verdict>,
}

impl Rig {
    /// Returns the rig before its program is run.
    pub(super) fn new(command: Option<RigCommand<'static>>) -> Self {
        Self {
            command,
            started: false,
            pid: None,
            verdict: None,
        }
    }

    /// Writes its state. The verdict is lost, so that a fault is no success,
    /// and so is a nonce that only this execution knows.
    pub(super) fn save(&self, writer: &mut Writer) {
        writer.put_option(self.pid.map(u64::from));
        writer.put_flags(&[self.started]);
    }

    /// Restores the state that [`Rig::save`] wrote.
    pub(super) fn restore(
        &mut self,
        reader: &mut Reader<'_>,
        supervisor: &mut Supervisor,
    ) {
        self.pid = reader.take_pid();
        self.pid
            .into_iter()
            .for_each(|pid| supervisor.await_exit(pid));
        [self.started] = reader.take_flags();
    }

    /// Runs the program, the first time that it is called. Returns true when
    /// that failed and so the machine is to be switched off.
    pub(super) fn start(
        &mut self,
        console: &mut ConsoleStreams,
        supervisor: &mut Supervisor,
    ) -> bool {
        let Some(command) = self.command else {
            return false;
        };
        if core::mem::replace(&mut self.started, true) {
            return false;
        }
        let mut words = command.words();
        let path = words.next();
        let arguments = words.by_ref().take(MAX_ARGUMENTS);
        let arguments: Vec<&CStr, MAX_ARGUMENTS> = arguments.collect();
        if words.next().is_some() {
            let what = "the rig's program has too many arguments";
            let reporter = supervisor.reporter();
            reporter.capacity_reached(what, "arguments", MAX_ARGUMENTS);
        } else if let Some(path) = path {
            self.pid =
                console.spawn_with(path, &arguments, false, None, supervisor);
        }
        if self.pid.is_none() {
            self.verdict = Some(Verdict::NotStarted);
        }
        self.pid.is_none()
    }

    /// Handles the exit of a child. Returns true when it was the program,
    /// after which the machine is switched off. With `too_late` something else
    /// began to shut the system down before, and there is no result.
    pub(super) fn child_ended(&mut self, child: Ended, too_late: bool) -> bool {
        let ended = self.pid.take_if(|own| *own == child.pid).is_some();
        if ended && !too_late {
            self.verdict = Some(if child.failed_exec {
                Verdict::NotStarted
            } else {
                Verdict::Ended(child.status)
            });
        }
        ended
    }

    /// Reports the result, once nothing else can print any more. With
    /// `powers_off`, ends a machine that has an exit device by that.
    pub(super) fn report(&self, powers_off: bool, reporter: &Reporter) {
        let Some(command) = self.command else {
            return;
        };
        let device = (command.exit_device && powers_off).then(ExitDevice::open);
        if let Some(Err(errno)) = device {
            reporter.warn("unable to open the exit device", b"", errno);
        }
        let device = device.and_then(Result::ok);
        let mut line = Line::new();
        line.text(PREFIX).text("rig: ");
        if !command.nonce.is_empty() {
            line.bytes(command.nonce).text(": ");
        }
        match self.verdict {
            None => line.text("no result"),
            Some(Verdict::NotStarted) => line.text("not started"),
            Some(Verdict::Ended(ExitStatus::Exited(code))) => {
                line.text("exit ").number(code.into())
            }
            Some(Verdict::Ended(ExitStatus::Killed(signal, _))) => {
                line.text("signal ").number(signal.into())
            }
        };
        if device.is_some() {
            line.text(", confirmed");
        }
        reporter.print(&mut line);
        if let Some(console) = reporter.console {
            console.flush(LAST_WORDS);
        }
        if let Some(device) = device {
            let passed = Verdict::Ended(ExitStatus::Exited(0));
            let passed = self.verdict == Some(passed);
            let code = if passed { SUCCESS } else { FAILURE };
            device.exit(code);
            poller::sleep(EXIT_DELAY);
        }
    }
}
