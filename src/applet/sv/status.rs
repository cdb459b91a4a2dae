//! Prints the status of a service as one line for people, or reports why it
//! is not available (contract §4.5).

use super::{
    Sv,
    describe::{describe, may_run},
    json,
    page::Page,
    service::{self, Unavailable, probe},
};
use crate::{
    sys::{self, AsFd, At, Errno, file},
    text::Line,
};

impl Sv {
    /// Prints the status of one service. Returns the exit code of `status`
    /// for an init script.
    pub(super) fn status(
        &mut self,
        page: &mut Page,
        name: &[u8],
        dir: At<'_>,
    ) -> u8 {
        if self.json {
            let result = json::service(page, dir, name);
            page.text("}\n");
            let failed = u8::from(result.is_err());
            self.failed = self.failed.saturating_add(failed);
            return 0;
        }
        let mut line = Line::new();
        let status = match probe(dir) {
            Ok(status) => status,
            Err(reason) => {
                self.report(name, reason);
                return super::LSB_UNKNOWN;
            }
        };
        describe(&mut line, dir, name, name, &status);
        self.log(&mut line, dir, name);
        sys::print(line.finish());
        if status.pid == 0 || may_run(&status) {
            super::LSB_DOWN
        } else {
            0
        }
    }

    /// Appends the status of the log service, if there is one.
    fn log(&mut self, line: &mut Line, dir: At<'_>, name: &[u8]) {
        let mut label = Line::new();
        label.bytes(name).text("/log");
        let reason = match file::open_dir(dir, c"log") {
            Err(Errno::ENOENT) => return,
            Err(errno) => Unavailable::Failed("change directory", Some(errno)),
            Ok(log) => match probe(log.as_fd()) {
                Err(reason) => reason,
                Ok(status) => {
                    line.text("; ");
                    let name = label.as_bytes();
                    describe(line, log.as_fd(), b"log", name, &status);
                    return;
                }
            },
        };
        line.text("; ");
        if !reason.is_new() {
            return self.count_failure(line, label.as_bytes(), reason);
        }
        // The service itself is supervised. Its log service would be too, had
        // log/ existed when the supervisor started.
        line.text("warning: ").bytes(label.as_bytes());
        line.text(": no logger yet: log/ was added later, restart ");
        line.bytes(name);
        self.failed = self.failed.saturating_add(1);
    }

    /// Appends `LEVEL: NAME: REASON` and counts the service as failed.
    pub(super) fn count_failure(
        &mut self,
        line: &mut Line,
        name: &[u8],
        reason: Unavailable,
    ) {
        let fails = reason == Unavailable::Unsupervised
            || matches!(reason, Unavailable::Failed(service::ENTER, _));
        line.text(if fails { "fail: " } else { "warning: " });
        reason.text(line.bytes(name).text(": "));
        self.failed = self.failed.saturating_add(1);
    }

    /// Prints why a service does not answer. After a command to exit, a
    /// missing supervisor is success.
    pub(super) fn report(&mut self, name: &[u8], reason: Unavailable) {
        let mut line = Line::new();
        if reason == Unavailable::Unsupervised && self.command.tests == b"x" {
            reason.text(line.text("ok: ").bytes(name).text(": "));
        } else {
            self.count_failure(&mut line, name, reason);
        }
        sys::print(line.finish());
    }
}
