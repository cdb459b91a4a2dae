//! In which order the processes of a system are ended (contract §7.5).
//!
//! ```text
//!  Stop ----1----> Kill services ----2----> Terminate ----3----> Kill --4--> .
//!    \________________1_________________________^
//! ```
//!
//! Each edge is taken when nothing that the step is about is left, or when
//! its time is up. 1, 2: services told to exit are gone, loggers with them
//! (their input ended, so they wrote all of it). 3, 4: no process is left.
//! While services stop, those that are left are named from time to time.
//!
//! Each service has a limit of its own, [`STOP`] or what its directory says;
//! that of the step is the whole way's, less what the rest may take.
//!
//! # Against runit
//! There the scripts of a distribution do this; this is the order of theirs.

use core::time::Duration;

use crate::wire::clock::Instant;

/// Milliseconds that each child of a service has to end when its directory
/// does not say: as long as `sv force-stop` waits (contract §4.1).
pub const STOP_MILLIS: u32 = 7000;
/// How often services that have not ended are named.
pub const NAME_INTERVAL: Duration = Duration::from_secs(3);
/// How long the loggers of killed services have to write what is left, and a
/// service that was killed to be gone.
pub const DRAIN: Duration = Duration::from_secs(2);
/// How long all other processes have after TERM.
pub const TERMINATE: Duration = Duration::from_secs(5);
/// How long the kernel has to take killed processes away. What stays then
/// hangs in a driver and holds nothing up.
pub const KILL: Duration = Duration::from_secs(2);

/// What comes behind services and scripts takes at most so long: the steps
/// from [`DRAIN`] to [`KILL`], the media, [`LAST_WORDS`].
pub const END: Duration = Duration::from_secs(50);
/// When, of that, the media must have come to rest, but for the last that is touched.
pub const MEDIA: Duration = Duration::from_secs(48);
/// How long the console has at the end for what it was told.
pub const LAST_WORDS: Duration = Duration::from_secs(1);
/// How many nanoseconds a medium may take to come to rest.
const REST: u64 = 10_000_000_000;
/// How many it may take at least.
const LEAST: u64 = 1_000_000_000;

/// How long the next medium may take, when all must have come to rest by
/// `until`: half of what is left, so that who comes after it has the same.
/// `None`: no time is left.
pub fn share(until: Instant, now: Instant) -> Option<Duration> {
    let left = until.nanos().saturating_sub(now.nanos());
    let share = (left >> 1).clamp(LEAST, REST);
    (left > 0).then(|| Duration::from_nanos(share))
}

/// What the owner does now.
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

/// What is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remaining {
    /// A slot has not ended, and may.
    pub services: bool,
    /// There are processes. Every process without a parent is PID 1's child.
    pub children: bool,
}

/// Where the descent is: at the last order, until when.
#[derive(Clone, Copy, Debug)]
pub struct Shutdown {
    order: Step,
    until: Instant,
    /// When services are waited for no more.
    limit: Instant,
}

impl Shutdown {
    /// A descent that begins with `order`, which the owner carries out, and
    /// waits for services until `limit`.
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

    /// When to ask again at the latest.
    pub fn due(self) -> Instant {
        self.until
    }

    /// The next order, when it is time for one.
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
            (Step::TerminateAll, _) if late => Step::KillAll,
            (
                Step::TerminateAll,
                Remaining {
                    children: false, ..
                },
            ) => Step::Done,
            (Step::KillAll, _) if late || !left.children => Step::Done,
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
    /// When services are waited for no more.
    const LIMIT: Instant = Instant::at(10_000_000_000);

    /// Every combination of what may be left.
    fn lefts() -> Vec<Remaining> {
        let all = [(false, false), (false, true), (true, false), (true, true)];
        all.map(|(services, children)| Remaining { services, children })
            .to_vec()
    }

    #[test]
    fn it_never_goes_back_and_always_ends() {
        let place = |order| ORDERS.iter().position(|o| *o == order).unwrap();
        for order in ORDERS {
            for left in lefts() {
                for late in [false, true] {
                    let mut descent =
                        Shutdown::from(order, Instant::at(0), LIMIT);
                    let now = if late { descent.due() } else { Instant::at(0) };
                    let before = descent;
                    match descent.step(left, now) {
                        Some(NamePending) => {
                            assert!(late && left.services);
                            assert!(place(order) <= place(NamePending));
                            assert!(descent.due() > before.due());
                        }
                        Some(next) => {
                            assert!(place(next) > place(order) || next == Done)
                        }
                        None => assert!(!late, "{order:?} {left:?} stays"),
                    }
                }
            }
        }
    }

    #[test]
    fn nothing_left_ends_it_at_once() {
        for order in ORDERS {
            let mut descent = Shutdown::from(order, Instant::at(0), LIMIT);
            let none = Remaining {
                services: false,
                children: false,
            };
            assert_eq!(descent.step(none, Instant::at(0)), Some(Done));
        }
    }

    #[test]
    fn who_ignores_term_is_named_and_killed() {
        let mut descent = Shutdown::from(StopServices, Instant::at(0), LIMIT);
        let left = Remaining {
            services: true,
            children: true,
        };
        assert_eq!(descent.step(left, Instant::at(0)), None);
        for _ in 0..3 {
            let due = descent.due();
            assert_eq!(descent.step(left, due), Some(NamePending));
        }
        assert_eq!(descent.due(), LIMIT);
        for order in [KillServices, TerminateAll, KillAll, Done] {
            let due = descent.due();
            assert_eq!(descent.step(left, due), Some(order));
        }
    }

    #[test]
    fn whatever_hangs_it_ends_in_time() {
        let left = Remaining {
            services: true,
            children: true,
        };
        for order in ORDERS {
            let mut descent = Shutdown::from(order, LIMIT, LIMIT);
            while descent.order != Done {
                descent.step(left, descent.due());
            }
            // Each medium takes all of its time, and none is left out for
            // those before it but where there are very many.
            let (until, mut now) = (LIMIT.after(MEDIA), descent.due());
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
