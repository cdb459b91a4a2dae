//! Drives the board's hardware watchdog: opened when its device appears,
//! pinged by the event loop, and left to expire when a critical service fails.

use core::time::Duration;

use crate::{
    config,
    machine::watchdog::{Action, PingTimer},
    supervisor::{Reporter, Supervisor},
    sys::{Errno, clock, error, watchdog::Watchdog},
    text::Line,
    wire::clock::Instant,
};

use super::report::{self, PREFIX};

/// The board's watchdog.
pub(super) struct BoardWatchdog {
    /// True when the board has one, and it is not a container's owner's.
    wanted: bool,
    /// Its device and its ping schedule, once it is open.
    open: Option<(Watchdog, PingTimer)>,
}

impl BoardWatchdog {
    /// Returns the watchdog before it is opened.
    pub(super) fn new(contained: bool) -> Self {
        Self {
            wanted: !contained && !config::WATCHDOG.is_empty(),
            open: None,
        }
    }

    /// Opens the watchdog unless it is open. Reports a missing device if this
    /// is the `last` attempt. The first ping is due at once.
    pub(super) fn open(&mut self, last: bool, reporter: &Reporter) {
        if !self.wanted || self.open.is_some() {
            return;
        }
        let path = config::WATCHDOG;
        let device = match Watchdog::open(path) {
            Ok(device) => device,
            Err(errno) if last => {
                let mut line = Line::new();
                line.text(PREFIX)
                    .text("no watchdog: ")
                    .bytes(path.to_bytes());
                line.text(": ").text(error::text(errno));
                reporter.print(&mut line);
                return;
            }
            Err(_) => return,
        };
        let asked = Duration::from_secs(config::WATCHDOG_SECONDS.into());
        let period = match device.set_period(config::WATCHDOG_SECONDS) {
            Ok(period) => period,
            // Its period is fixed, and the board's should match it.
            Err(Errno::ENOTTY | Errno::EOPNOTSUPP) => asked,
            Err(errno) => {
                let what = "unable to set the period of ";
                reporter.warn(what, path.to_bytes(), errno);
                asked
            }
        };
        let mut line = Line::new();
        line.text(PREFIX).text("watchdog: ").bytes(path.to_bytes());
        line.text(", ").number(period.as_secs()).text(" s");
        if device.caused_reset() {
            line.text("; it caused the last reset");
        }
        reporter.print(&mut line);
        self.open = Some((device, PingTimer::new(period, clock::mono())));
    }

    /// Returns the time of the next ping.
    pub(super) fn due(&self) -> Option<Instant> {
        self.open.as_ref().and_then(|(_, timer)| timer.due())
    }

    /// Pings it when that is due, unless `guards` is set and a critical
    /// service fails.
    #[inline(never)]
    pub(super) fn ping(
        &mut self,
        guards: bool,
        now: Instant,
        supervisor: &mut Supervisor,
    ) {
        let Some((device, timer)) = &mut self.open else {
            return;
        };
        if timer.due().is_none_or(|due| now < due) {
            return;
        }
        let failing = guards.then(|| supervisor.failed_critical(now)).flatten();
        match (timer.step(failing.is_none(), now), failing) {
            (Some(Action::Stop), Some(name)) => {
                let what = "critical service is down, the watchdog may reset the machine: ";
                report::warning(supervisor.reporter(), what, &name);
            }
            (Some(_), _) => {
                if let Err(errno) = device.ping() {
                    let what = "unable to ping the watchdog";
                    supervisor.reporter().warn(what, b"", errno);
                }
            }
            (None, _) => {}
        }
    }
}
