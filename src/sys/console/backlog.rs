//! Lines for the console that are not written yet.

use heapless::Vec;

use crate::{
    config,
    text::{self, Line},
};

/// Makes the line that is written in the place of the given number of lines,
/// which were dropped. True: descriptor 2 did not take them; false: the
/// console did not. The line fits the smallest `config::CONSOLE_BYTES`.
pub type DropReport = fn(u64, bool) -> Line;

/// Lines that are not written yet, in order.
///
/// When it is full the newest lines are left out. They are counted, and the
/// count is written where they are missing.
#[derive(Debug, Default)]
#[repr(C)]
pub(super) struct Backlog {
    /// Makes the line that reports dropped ones.
    pub(super) report: Option<DropReport>,
    /// Number of lines left out after `bytes`.
    pub(super) lost: u64,
    /// The count in the first line of `bytes`, if that is a report of lost
    /// lines of which nothing is written yet; else 0.
    pub(super) reported: u64,
    /// The lines.
    pub(super) bytes: Vec<u8, { config::CONSOLE_BYTES }>,
}

impl Backlog {
    /// Adds a line.
    pub(super) fn push(&mut self, to_stderr: bool, line: &[u8]) {
        self.report(to_stderr);
        if self.lost > 0 || self.bytes.extend_from_slice(line).is_err() {
            self.lost = self.lost.saturating_add(1);
        }
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.lost = 0;
        self.reported = 0;
    }

    /// Removes the first `count` bytes, which have been written.
    pub(super) fn written(&mut self, to_stderr: bool, count: usize) {
        self.reported = 0;
        let rest = self.bytes.len().saturating_sub(count);
        text::to_front(&mut self.bytes, count, rest);
        self.bytes.truncate(rest);
        self.report(to_stderr);
    }

    /// Drops everything and counts it as lost.
    pub(super) fn drop_all(&mut self) {
        let lines = self.bytes.split(|byte| *byte == b'\n').skip(1).count();
        let lines = u64::try_from(lines).unwrap_or(u64::MAX);
        // A report counts for the lines that it reports, not for itself.
        let own = u64::from(self.reported > 0);
        let lines = lines.saturating_sub(own).saturating_add(self.reported);
        self.lost = self.lost.saturating_add(lines);
        self.reported = 0;
        self.bytes.clear();
    }

    /// Adds a report of the lost lines once all lines before them are written.
    fn report(&mut self, to_stderr: bool) {
        let Some(report) = self.report else {
            return;
        };
        if self.lost == 0 || !self.bytes.is_empty() {
            return;
        }
        self.reported = core::mem::take(&mut self.lost);
        let mut line = report(self.reported, to_stderr);
        let _fits = self.bytes.extend_from_slice(line.finish()).is_ok();
    }

    /// Returns the first line, or the rest of it.
    pub(super) fn first(&self) -> &[u8] {
        let mut lines = self.bytes.split_inclusive(|byte| *byte == b'\n');
        lines.next().unwrap_or(&[])
    }
}

#[cfg(test)]
mod test {
    use super::*;

    /// Reports dropped lines in few words.
    fn report(count: u64, to_stderr: bool) -> Line {
        let mut line = Line::new();
        line.text(if to_stderr { "stderr " } else { "console " });
        line.number(count);
        line
    }

    /// Returns an empty backlog that can report dropped lines.
    fn backlog() -> Backlog {
        Backlog {
            report: Some(report),
            ..Backlog::default()
        }
    }

    #[test]
    fn dropped_count_is_printed_at_the_gap() {
        let mut backlog = backlog();
        let line = [&[b'.'; 63][..], b"\n"].concat();
        let fit = config::CONSOLE_BYTES / line.len();
        for _ in 0..fit + 5 {
            backlog.push(false, &line);
        }
        // A short line would fit, but before those that are missing.
        backlog.written(false, 10);
        backlog.push(false, b"x\n");
        assert_eq!(backlog.bytes.len(), fit * line.len() - 10);
        backlog.written(false, backlog.bytes.len());
        assert_eq!(backlog.bytes, b"console 6\n");
        backlog.push(false, b"x\n");
        assert_eq!(backlog.bytes, b"console 6\nx\n");
        assert_eq!(backlog.first(), b"console 6\n");
    }

    #[test]
    fn dropped_bytes_are_counted_once() {
        let mut backlog = backlog();
        for line in [&b"a\n"[..], b"b\n", b"c\n"] {
            backlog.push(true, line);
            backlog.drop_all();
        }
        backlog.push(true, b"d\n");
        assert_eq!(backlog.bytes, b"stderr 3\nd\n");
        // A part of the report was written: the rest counts as a line.
        backlog.written(true, 1);
        backlog.drop_all();
        assert_eq!(backlog.lost, 2);
    }
}
