//! Detects a failed critical service: one that has been down, or stopped by a
//! signal, for longer than its file `runt/critical` allows.

use core::{ffi::CStr, num::NonZero, time::Duration};

use crate::{
    sys::{At, child, file},
    text::leading_number,
    wire::{clock::Instant, process::ProcStat},
};

/// File with the number of seconds that the service may be down.
const CRITICAL: &CStr = c"runt/critical";
/// Limit of an empty file, or one without a number, in seconds.
const DEFAULT: NonZero<u32> = NonZero::new(30).unwrap();

/// Downtime limit of a critical service.
#[derive(Clone, Copy, Debug)]
pub(super) struct Critical {
    /// In seconds.
    limit: NonZero<u32>,
    /// Time since which it has been failing.
    since: Option<Instant>,
}

impl Critical {
    /// Reads the file of a service directory; returns `None` if there is none.
    pub(super) fn of(dir: At<'_>) -> Option<Self> {
        let mut text = [0; 16];
        let text = file::read_whole(dir, CRITICAL, &mut text).ok()?;
        let (seconds, _) = leading_number(text.trim_ascii());
        let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
        let limit = NonZero::new(seconds).unwrap_or(DEFAULT);
        Some(Self { limit, since: None })
    }

    /// Returns whether a service whose process is `pid` has been failing for
    /// too long. To be called repeatedly: the time is counted from the first
    /// call that finds the service failing.
    pub(super) fn has_failed(
        &mut self,
        pid: Option<u32>,
        now: Instant,
    ) -> bool {
        self.is_over(pid.is_some_and(runs), now)
    }

    /// Returns whether it has been failing for too long.
    fn is_over(&mut self, well: bool, now: Instant) -> bool {
        if well {
            self.since = None;
            return false;
        }
        let since = *self.since.get_or_insert(now);
        now.since(since) >= Duration::from_secs(self.limit.get().into())
    }
}

/// Returns how long a service has been up whose process `pid` was started at
/// `started`: zero if it is down or stopped.
pub(super) fn uptime(
    pid: Option<u32>,
    started: Instant,
    now: Instant,
) -> Duration {
    let up = pid.filter(|pid| runs(*pid));
    up.map_or(Duration::ZERO, |_| now.since(started))
}

/// Returns whether a process is not stopped, according to its state in /proc.
/// Without /proc, returns true.
fn runs(pid: u32) -> bool {
    let mut buffer = [0; child::STAT_BYTES];
    !child::stat(pid, &mut buffer).is_some_and(ProcStat::is_stopped)
}

#[cfg(test)]
mod test {
    use super::*;
    use std::os::fd::AsFd as _;

    #[test]
    fn downtime_counts_while_failing_and_restarts_after_recovery() {
        let mut critical = Critical {
            limit: NonZero::new(5).unwrap(),
            since: None,
        };
        let rows = [
            (1, false, false),
            (5, false, false),
            (6, false, true),
            (7, true, false),
            (8, false, false),
            (12, false, false),
            (13, false, true),
        ];
        for (now, well, over) in rows {
            assert_eq!(
                critical.is_over(well, Instant::at(now * 1_000_000_000)),
                over,
                "{now}"
            );
        }
    }

    #[test]
    fn limit_is_read_from_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let open = std::fs::File::open(dir.path()).unwrap();
        let limit = || Critical::of(open.as_fd()).map(|c| c.limit.get());
        assert_eq!(limit(), None);
        std::fs::create_dir(dir.path().join("runt")).unwrap();
        for (text, seconds) in [("", 30), ("x\n", 30), ("7\n", 7)] {
            std::fs::write(dir.path().join("runt/critical"), text).unwrap();
            assert_eq!(limit(), Some(seconds));
        }
    }

    #[test]
    fn a_stopped_process_does_not_run() {
        let mut child = std::process::Command::new("sleep")
            .arg("100")
            .spawn()
            .unwrap();
        assert!(runs(child.id()));
        crate::sys::signal::kill(child.id(), crate::sys::signal::Number::STOP)
            .unwrap();
        while runs(child.id()) {
            std::thread::sleep(Duration::from_millis(1));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
