//! Order in which the processes of a system are ended (contract §7.5).
//!
//! ```text
//!  Stop ----1----> Kill services ----2----> Terminate ----3----> Kill --4--> .
//!    \________________1_________________________^
//! ```
//!
//! Each edge is taken when nothing that the step waits for is left, or when
//! its time is up. 1, 2: the services have exited, and with them their loggers
//! (their input has ended, so they wrote all of it). 3, 4: no process is left.
//! While services stop, those that are left are named at regular intervals.
//!
//! Each service has a time limit of its own, [`STOP_MILLIS`] or the one its
//! directory sets. The limit of the step is that of the whole shutdown less
//! the maximum that the later steps may take.
//!
//! # Differences from runit
//! With runit the scripts of a distribution do this; the order here is theirs.

use core::time::Duration;

use crate::wire::clock::Instant;

/// Milliseconds that each child of a service has to end when its directory
/// sets no limit: as long as `sv force-stop` waits (contract §4.1).
pub const STOP_MILLIS: u32 = 7000;
/// Interval at which services that have not ended are named.
pub const NAME_INTERVAL: Duration = Duration::from_secs(3);
/// Time for the loggers of killed services to write what is left, and for a
/// killed service to be gone.
pub const DRAIN: Duration = Duration::from_secs(2);
/// Time for all other processes to end after TERM.
pub const TERMINATE: Duration = Duration::from_secs(5);
/// Time for the kernel to remove killed processes. A process that remains
/// after it hangs in a driver and delays nothing further.
pub const KILL: Duration = Duration::from_secs(2);

/// Maximum time for everything after services and scripts: the steps from
/// [`DRAIN`] to [`KILL`], the media and [`LAST_WORDS`].
pub const END: Duration = Duration::from_secs(50);
/// Part of [`END`] after which all media must have been unmounted or made
/// read-only, except the last one that is tried.
pub const MEDIA: Duration = Duration::from_secs(48);
/// Time for the console to take its pending output at the end.
pub const LAST_WORDS: Duration = Duration::from_secs(1);
/// Maximum nanoseconds granted to a medium.
const MEDIUM_MAX: u64 = 10_000_000_000;
/// Minimum nanoseconds granted to a medium.
const MEDIUM_MIN: u64 = 1_000_000_000;

/// Returns the time granted to the next medium when all must be finished by
/// `until`: half of the time left, so that the media after it have as much.
/// Returns `None` when no time is left.
pub fn share(until: Instant, now: Instant) -> Option<Duration> {
    let left = until.nanos().saturating_sub(now.nanos());
    let share = (left >> 1).clamp(MEDIUM_MIN, MEDIUM_MAX);
    (left > 0).then(|| Duration::from_nanos(share))
}

/// Request to the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Tell every service to exit.
    StopServices,
    /// Name the services that have not ended.
    NamePending,
    /// Kill every service.
    KillServices,
    /// Send TERM to every process.
    TerminateAll,
    /// Send KILL to every process.
    KillAll,
    /// Nothing is left to wait for.
    Done,
}

/// Processes that still exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remaining {
    /// A slot has not ended, and still may.
    pub services: bool,
    /// Child processes exist. Every process without a parent is a child of PID
    /// 1.
    pub children: bool,
}

/// State of the shutdown: the last request and its deadline.
#[derive(Clone, Copy, Debug)]
pub struct Shutdown {
    order: Step,
    until: Instant,
    /// Time from which services are no longer waited for.
    limit: Instant,
}

impl Shutdown {
    /// Returns a shutdown that begins with `order`, which the owner carries
    /// out, and waits for services until `limit`.
    pub fn from(order: Step, now: Instant, limit: Instant) -> Self {
        let until = match order {
            Step::StopServices | Step::NamePending => {
                now.after(NAME_INTERVAL).min(limit)
            }
            Step::KillServices => now.after(DRAIN),
            Step::TerminateAll => now.after(TERMINATE),
            Step::KillAll => now.after(KILL),
            Step::Done => now,
        };
        Self {
            order,
            until,
            limit,
        }
    }

    /// Returns the latest time at which to call [`Shutdown::step`] again.
    pub fn due(self) -> Instant {
        self.until
    }

    /// Returns the next request, if it is time for one.
    pub fn step(&mut self, left: Remaining, now: Instant) -> Option<Step> {
        let late = now >= self.until;
        let rest = if left.children {
            Step::TerminateAll
        } else {
            Step::Done
        };
        let next = match (self.order, left) {
            (
                _,
                Remaining {
                    services: false,
                    children: false,
                },
            ) => Step::Done,
            (
                Step::StopServices | Step::NamePending | Step::KillServices,
                Remaining {
                    services: false, ..
                },
            ) => rest,
            (Step::StopServices | Step::NamePending, _) if late => {
                if now < self.limit {
                    Step::NamePending
                } else {
                    Step::KillServices
                }
            }
            (Step::KillServices, _) if late => Step::TerminateAll,
            (
                Step::TerminateAll | Step::KillAll,
                Remaining {
                    children: false, ..
                },
            ) => Step::Done,
            (Step::TerminateAll, _) if late => Step::KillAll,
            (Step::KillAll, _) if late => Step::Done,
            (Step::Done, _) => Step::Done,
            (
                Step::StopServices
                | Step::NamePending
                | Step::KillServices
                | Step::TerminateAll
                | Step::KillAll,
                _,
            ) => return None,
        };
        *self = Self::from(next, now, self.limit);
        Some(next)
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use Step::{
        Done, KillAll, KillServices, NamePending, StopServices, TerminateAll,
    };

    const ORDERS: [Step; 6] = [
        StopServices,
        NamePending,
        KillServices,
        TerminateAll,
        KillAll,
        Done,
    ];
    /// Time from which services are no longer waited for.
    const LIMIT: Instant = Instant::at(10_000_000_000);

    /// Returns every combination of what may be left.
    fn lefts() -> [Remaining; 4] {
        let all = [(false, false), (false, true), (true, false), (true, true)];
        all.map(|(services, children)| Remaining { services, children })
    }

    #[test]
    fn steps_only_advance_and_always_end() {
        let index = |order| ORDERS.iter().position(|o| *o == order).unwrap();
        for order in ORDERS {
            for left in lefts() {
                for late in [false, true] {
                    let mut shutdown =
                        Shutdown::from(order, Instant::at(0), LIMIT);
                    let now =
                        if late { shutdown.due() } else { Instant::at(0) };
                    let before = shutdown;
                    match shutdown.step(left, now) {
                        Some(NamePending) => {
                            assert!(late && left.services);
                            assert!(index(order) <= index(NamePending));
                            assert!(shutdown.due() > before.due());
                        }
                        Some(next) => {
                            assert!(index(next) > index(order) || next == Done)
                        }
                        None => assert!(!late, "{order:?} {left:?} stays"),
                    }
                }
            }
        }
    }

    /// Returns the request that contract §7.5 prescribes after `order`. A step
    /// about services waits for services, the others wait for processes.
    fn next(
        order: Step,
        left: Remaining,
        late: bool,
        last: bool,
    ) -> Option<Step> {
        let Remaining { services, children } = left;
        let of_services =
            matches!(order, StopServices | NamePending | KillServices);
        let ended = if of_services { !services } else { !children };
        let after = match order {
            StopServices | NamePending if !last => NamePending,
            StopServices | NamePending => KillServices,
            KillServices => TerminateAll,
            TerminateAll => KillAll,
            KillAll | Done => Done,
        };
        if order == Done || (ended && !children) {
            Some(Done)
        } else if ended {
            Some(TerminateAll)
        } else {
            late.then_some(after)
        }
    }

    #[test]
    fn a_step_ends_when_nothing_is_left_or_its_time_is_up() {
        let lasts = |order| match order {
            StopServices | NamePending => NAME_INTERVAL,
            KillServices => DRAIN,
            TerminateAll => TERMINATE,
            KillAll => KILL,
            Done => Duration::ZERO,
        };
        // From each time, so that the step begins before the limit, ends
        // exactly at it, is cut short by it or begins after it.
        for from in (0..=12_000_000_000).step_by(500_000_000) {
            let from = Instant::at(from);
            for (order, left) in
                ORDERS.into_iter().flat_map(|o| lefts().map(|l| (o, l)))
            {
                let start = Shutdown::from(order, from, LIMIT);
                let mut due = from.after(lasts(order));
                if matches!(order, StopServices | NamePending) {
                    due = due.min(LIMIT);
                }
                assert_eq!(start.due(), due, "{order:?}");
                let nanos = due.nanos();
                for at in [nanos.saturating_sub(1), nanos, nanos + 1] {
                    let now = Instant::at(at);
                    let mut shutdown = start;
                    let taken = shutdown.step(left, now);
                    let expected = next(order, left, now >= due, now >= LIMIT);
                    assert_eq!(taken, expected, "{order:?} {left:?} at {at}");
                    let begun = taken
                        .map_or(start, |next| Shutdown::from(next, now, LIMIT));
                    assert_eq!(shutdown.due(), begun.due(), "{order:?}");
                }
            }
        }
    }

    #[test]
    fn shutdown_without_processes_ends_at_once() {
        for order in ORDERS {
            let mut shutdown = Shutdown::from(order, Instant::at(0), LIMIT);
            let none = Remaining {
                services: false,
                children: false,
            };
            assert_eq!(shutdown.step(none, Instant::at(0)), Some(Done));
        }
    }

    #[test]
    fn processes_that_ignore_term_are_named_and_killed() {
        let mut shutdown = Shutdown::from(StopServices, Instant::at(0), LIMIT);
        let left = Remaining {
            services: true,
            children: true,
        };
        assert_eq!(shutdown.step(left, Instant::at(0)), None);
        for _ in 0..3 {
            let due = shutdown.due();
            assert_eq!(shutdown.step(left, due), Some(NamePending));
        }
        assert_eq!(shutdown.due(), LIMIT);
        for order in [KillServices, TerminateAll, KillAll, Done] {
            let due = shutdown.due();
            assert_eq!(shutdown.step(left, due), Some(order));
        }
    }

    #[test]
    fn shutdown_ends_in_time_if_everything_hangs() {
        let left = Remaining {
            services: true,
            children: true,
        };
        for order in ORDERS {
            let mut shutdown = Shutdown::from(order, LIMIT, LIMIT);
            while shutdown.order != Done {
                shutdown.step(left, shutdown.due());
            }
            // Each medium takes all of its time, and none is skipped because
            // of those before it, except where there are very many.
            let (until, mut now) = (LIMIT.after(MEDIA), shutdown.due());
            let mut media = 0;
            while let Some(time) = share(until, now) {
                assert!((1..=10).contains(&time.as_secs()));
                (media, now) = (media + 1, now.after(time));
            }
            assert!(media >= 7, "{order:?}: {media}");
            assert!(now.after(LAST_WORDS) <= LIMIT.after(END), "{order:?}");
        }
    }
}
