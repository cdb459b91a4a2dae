//! Handles faults of a supervisor: prepares for them, and reports them.

use crate::{
    machine::faults,
    sys::{
        AsFd as _, Fd,
        fault::{self, Image, Report, Resumed},
        signal,
    },
    text::Line,
    wire::record,
};

use super::{Reporter, rundir};

/// Handles faults of this process from now on, with `in_memory` by a copy of
/// its file in memory; returns what is executed then.
pub fn handle_faults(in_memory: bool, reporter: &Reporter) -> Image {
    if let Err(errno) = fault::install() {
        reporter.warn("unable to handle faults", b"", errno);
    }
    fault::prepare_image(in_memory)
}

/// Reports a fault of `process`, a process other than PID 1, and counts it in
/// its state directory; `start` is the start of the line. Returns false if it
/// must not go on, which is reported too: after too many faults, or with a
/// damaged state.
pub fn may_continue(
    resumed: &Resumed,
    process: &str,
    start: &Line,
    dir: Option<&Fd>,
    reporter: &Reporter,
) -> bool {
    if let Some(dir) = dir {
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

/// Appends the report of a fault of `process` to a line.
pub fn describe(report: &Report, process: &str, mut line: Line) -> Line {
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
    line
}
