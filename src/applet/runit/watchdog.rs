//! Drives the board's hardware watchdog: opened when its device appears,
//! pinged by the event loop, and left to expire when a critical service fails.

use core::time::Duration;

use crate::{
    config,
    machine::{
        stages::Stage,
        watchdog::{self, Action},
    },
    sys::{Errno, clock, watchdog::Watchdog},
    text::Line,
    wire::clock::Instant,
};

use super::{Init, PREFIX};

/// An open watchdog and its ping schedule.
pub(super) struct OpenWatchdog {
    device: Watchdog,
    timer: watchdog::PingTimer,
}

impl Init {
    /// Opens the board's watchdog unless it is open. Reports a missing device
    /// if this is the `last` attempt.
    pub(super) fn open_watchdog(&mut self, last: bool) {
        let path = config::WATCHDOG;
        if path.is_empty() || self.params.contained || self.watchdog.is_some() {
            return;
        }
        let device = match Watchdog::open(path) {
            Ok(device) => device,
            Err(errno) if last => {
                let mut line = Line::new();
                line.text(PREFIX)
                    .text("no watchdog: ")
                    .bytes(path.to_bytes());
                line.text(": ").text(crate::sys::error::text(errno));
                self.supervisor.reporter().print(&mut line);
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
                self.warn(
                    "unable to set the period of ",
                    path.to_bytes(),
                    errno,
                );
                asked
            }
        };
        let mut line = Line::new();
        line.text(PREFIX).text("watchdog: ").bytes(path.to_bytes());
        line.text(", ").number(period.as_secs()).text(" s");
        if device.caused_reset() {
            line.text("; it caused the last reset");
        }
        self.supervisor.reporter().print(&mut line);
        let timer = watchdog::PingTimer::new(period, clock::mono());
        self.watchdog = Some(OpenWatchdog { device, timer });
        self.ping_watchdog();
    }

    /// Returns the time of the next ping.
    pub(super) fn watchdog_due(&self) -> Option<Instant> {
        self.watchdog.as_ref()?.timer.due()
    }

    /// Pings it when that is due, unless a critical service fails in stage 2.
    /// During shutdown services are expected to be down.
    pub(super) fn ping_watchdog(&mut self) {
        let now = clock::mono();
        if self.watchdog_due().is_none_or(|due| now < due) {
            return;
        }
        let failing = match self.stages.stage() {
            Stage::Two => self.supervisor.failed_critical(now),
            Stage::One | Stage::Rescue | Stage::Three | Stage::Over => None,
        };
        let Some(open) = &mut self.watchdog else {
            return;
        };
        match (open.timer.step(failing.is_none(), now), failing) {
            (Some(Action::Stop), Some(name)) => {
                let what = "critical service is down, the watchdog may reset the machine: ";
                self.warning(what, &name);
            }
            (Some(_), _) => {
                if let Err(errno) = open.device.ping() {
                    self.warn("unable to ping the watchdog", b"", errno);
                }
            }
            (None, _) => {}
        }
    }
}
