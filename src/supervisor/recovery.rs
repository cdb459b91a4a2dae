//! Goes on after a fault of a supervisor, or an upgrade: prepares for it,
//! reports it, and takes over what was there before.

use core::{ffi::CStr, time::Duration};

use crate::{
    config::{self, family},
    machine::faults,
    sys::{
        AsFd as _, Fd, clock,
        fault::{self, Executed, Image, Report, Resumed},
        file, signal,
    },
    text::{Line, basename},
    wire::{clock::Now, record},
};

use super::{
    Reporter, Supervisor, front, held, ledger::Ledger, relay::Relay, rundir,
    slot::Slot, supervise,
};

/// Time after a fault for which directories that are refused may be taken
/// over; then the old pipes are closed.
const TAKE_OVER: Duration = Duration::from_secs(5);

impl Supervisor {
    /// Keeps the state of the slots as [`Supervisor::keep_state`] does, for PID
    /// 1: in the state directory of `services`, whose locks it takes, as
    /// runsvdir does. With `anew` what was kept there is removed. If a lock is
    /// held, or there is no such directory, nothing is kept.
    pub fn keep_own_state(&mut self, services: &CStr, anew: bool) {
        let Ok(dir) = rundir::open_for(services) else {
            return;
        };
        let at = dir.as_fd();
        let (Ok(front), Ok(lock)) = (
            front::lock(at),
            supervise::lock(at, at, &supervise::SERVICE),
        ) else {
            return;
        };
        front.leave_open();
        lock.leave_open();
        if anew {
            Ledger::discard(at);
        }
        self.keep_state(dir, false);
    }

    /// Goes on after a fault of this process: its services are still its
    /// children, and those whose output it relayed write to `output`. The
    /// services that the ledger has are taken over by their open directories,
    /// wherever those are listed now. To be called before any directory is
    /// supervised.
    pub fn resume(&mut self, output: Option<u32>) {
        let pipe = output.and_then(fault::take_inherited);
        self.relay = pipe.map(Relay::resume);
        self.context.resumed = true;
        let now = clock::now();
        self.resumed_until = Some(now.mono.after(TAKE_OVER));
        // Children may have ended meanwhile.
        self.budget.leave_backlog();
        for index in self.context.ledger.rows() {
            if self.context.ledger.is_left(index) {
                let held = self.context.ledger.held(index);
                let dir = fault::take_inherited(held::directory(&held));
                if let Some(dir) = dir {
                    self.take_back(dir, &held::name(&held), now);
                }
            }
        }
        // The others are opened, and locked, by their paths.
        fault::unlock_inherited();
        for dir in fault::inherited_directories() {
            self.take_back(dir, b"", now);
        }
    }

    /// Takes over a service directory that has a row in the ledger, at the time
    /// `now`. `name` is its name, if known, after which there may be zeros.
    fn take_back(&mut self, dir: Fd, name: &[u8], now: Now) {
        let info = file::info_of(dir.as_fd());
        let Some(identity) = info.ok().map(|info| info.identity) else {
            return;
        };
        let known = |slot: &Slot| slot.identity() == identity;
        if self.context.ledger.find(identity).is_none()
            || self.table.slots().any(known)
        {
            return;
        }
        let mut buffer = [0; config::PATH_BYTES];
        let mut name = name.split(|byte| *byte == 0).next().unwrap_or(b"");
        if name.is_empty() {
            let path = file::path_of_open(&dir, &mut buffer);
            // A scan gives it the name that it is listed under.
            name = path.map_or(&b"?"[..], basename);
        }
        let context = &mut self.context;
        // If it is refused, a scan tries again and reports that.
        let _refused = self
            .table
            .insert(name, identity, dir, false, now, context)
            .is_err();
    }

    /// Returns true if this process goes on after a fault, and has a slot for
    /// each service that it had then.
    pub(super) fn has_taken_back_all(&self) -> bool {
        let ledger = &self.context.ledger;
        let mut rows = ledger.rows();
        self.context.resumed
            && !rows.is_empty()
            && !rows.any(|index| ledger.is_left(index))
    }

    /// Ends the resumption once the services directory was compared.
    pub(super) fn end_resumption_if_scanned(&mut self) {
        if self.resumed_until.is_some()
            && self.scanner.path().is_some()
            && self.scanner.due(&self.table).is_none()
        {
            self.end_resumption();
        }
    }

    /// Closes what was inherited from before a fault and was not taken over.
    pub fn end_resumption(&mut self) {
        if self.resumed_until.take().is_some() {
            self.context.resumed = false;
            fault::close_inherited();
            self.keep_low_numbers();
        }
    }
}

/// Handles faults of this process from now on, with `in_memory` by a copy of
/// its file in memory; returns what is executed then.
pub fn handle_faults(in_memory: bool, reporter: &Reporter) -> Image {
    if let Err(errno) = fault::install() {
        reporter.warn("unable to handle faults", b"", errno);
    }
    fault::prepare_image(in_memory)
}

/// Reports a fault or an upgrade of `process`, a process other than PID 1, and
/// counts a fault in its state directory; `start` is the start of the line.
/// Returns false if it must not go on, which is reported too: after too many
/// faults, or with a damaged state.
pub fn may_continue(
    resumed: &Resumed,
    process: &str,
    start: &Line,
    dir: Option<&Fd>,
    reporter: &Reporter,
) -> bool {
    if let Some(dir) = dir
        && resumed.report.signal != 0
    {
        rundir::count_fault(dir.as_fd());
    }
    let line = start.clone();
    reporter.print(&mut describe(&resumed.report, process, line));
    let ends =
        resumed.state.is_none() || faults::is_loop(&resumed.report.recent);
    if ends {
        let mut line = start.clone();
        line.text("too many faults: ").text(process).text(" exits");
        reporter.print(&mut line);
    }
    !ends
}

/// Appends the report of a fault or an upgrade of `process` to a line.
pub fn describe(report: &Report, process: &str, mut line: Line) -> Line {
    if family::UPGRADE && report.signal == 0 {
        line.text("upgrade of ").text(process).text(": ");
        if report.executed == Executed::New {
            line.text("runs runt ").text(config::VERSION);
            line.text(", on trial for ").number(fault::TRIAL_SECONDS);
            line.text(" seconds");
        } else {
            line.text("the file cannot be executed");
        }
        return line;
    }
    line.text("fault ").number(report.count);
    line.text(" of ").text(process).text(": signal ");
    line.bytes(signal::name(report.signal));
    if report.sent {
        line.text(", sent by a process");
    } else {
        let mut digits = [0; 17];
        record::put_number(&mut digits, 0, report.address);
        let digits = digits.split(|byte| *byte == b',').next();
        line.text(" at address 0x").bytes(digits.unwrap_or(b"0"));
    }
    if family::UPGRADE && report.executed == Executed::Former {
        line.text(", on trial: the former file runs again");
    }
    line
}
