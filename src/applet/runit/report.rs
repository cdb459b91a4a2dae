//! Prints PID 1's own messages.

use crate::{
    supervisor::{Reporter, recovery},
    sys::{clock, fault::Report},
    text::Line,
    wire::clock::Instant,
};

use super::step::StepResult;

/// Prefix of every line.
pub(super) const PREFIX: &str = "- runit: ";

/// Prints a message that is not a warning.
pub(super) fn info(reporter: &Reporter, what: &str, subject: &[u8]) {
    let mut line = Line::new();
    line.text(PREFIX).text(what).bytes(subject);
    reporter.print(&mut line);
}

/// Reports a fault.
pub(super) fn fault(reporter: &Reporter, fault: &Report) {
    let mut line = Line::new();
    line.text(PREFIX);
    reporter.print(&mut recovery::describe(fault, "PID 1", line));
}

/// Prints a warning that has no errno.
pub(super) fn warning(reporter: &Reporter, what: &str, subject: &[u8]) {
    reporter.print(reporter.prefix.clone().text(what).bytes(subject));
}

/// Prints the line of a step that began at `began`; none if there was nothing
/// to do.
pub(super) fn step(
    reporter: &Reporter,
    name: &[u8],
    result: StepResult,
    began: Instant,
) {
    let what = match result {
        StepResult::Nothing => return,
        StepResult::Done => ": ok, ",
        StepResult::Failed => ": failed, ",
        StepResult::Late => ": not done in time, ",
    };
    let mut line = Line::new();
    let millis = clock::mono().since(began).as_millis();
    line.text(PREFIX).bytes(name).text(what);
    line.number(u64::try_from(millis).unwrap_or(u64::MAX));
    reporter.print(line.text(" ms"));
}
