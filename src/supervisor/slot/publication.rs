//! Publishes a slot's status files, at once or when nothing else is to be
//! done.

use core::time::Duration;

use crate::{
    machine::restart_delay::RETRY,
    sys::{Errno, clock},
    wire::{clock::Instant, why::Waits},
};

use super::{
    super::{
        context::Context, service::Service, supervise::Failure, warned::Warning,
    },
    Slot,
};

/// Time at which a slot's files are to be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) enum PublishAt {
    /// In this iteration.
    Now,
    /// Some time after this one, since which they have been stale; or at this
    /// time, if the last attempt failed.
    At(Instant),
    /// They are up to date.
    #[default]
    Never,
}

impl PublishAt {
    /// Returns the latest time at which the loop has to wake up for it.
    pub(in super::super) fn due(self) -> Option<Instant> {
        match self {
            Self::Now => Some(Instant::AT_ONCE),
            Self::At(time) => Some(time),
            Self::Never => None,
        }
    }

    /// Returns whether the files are to be written now, if stale ones may stay
    /// so for `patience`.
    pub(in super::super) fn is_due(
        self,
        now: Instant,
        patience: Duration,
    ) -> bool {
        match self {
            Self::Now => true,
            Self::At(time) => now >= time.after(patience),
            Self::Never => false,
        }
    }
}

/// State of a slot's publication.
#[derive(Debug)]
pub(super) struct Publication {
    pub(super) at: PublishAt,
    /// Wait recorded in `supervise/why`, and whether it has an end.
    waits: (Waits, bool),
}

impl Default for Publication {
    fn default() -> Self {
        Self {
            at: PublishAt::Never,
            waits: (Waits::Nothing, false),
        }
    }
}

impl Publication {
    /// Schedules the files to be written when nothing else is to be done.
    pub(super) fn schedule(&mut self) {
        self.at = self.at.min(PublishAt::At(clock::mono()));
    }

    /// Returns whether the record of waits has to change. The end of a wait
    /// that has a time limit needs no record: the record contains that time.
    fn must_record(&self, waits: Waits) -> bool {
        let (recorded, ends) = self.waits;
        waits != recorded && (waits != Waits::Nothing || !ends)
    }
}

impl Slot {
    /// Returns the time at which its files are to be written.
    pub(in super::super) fn publish_at(&self) -> PublishAt {
        self.publication.at
    }

    /// Makes the slot check whether its supervise directories are where their
    /// paths lead.
    pub(in super::super) fn recheck(&mut self) {
        if let Some(service) = &mut self.open {
            service.recheck();
            self.publication.schedule();
        }
    }

    /// Returns true if its files are known to say what its state is.
    pub(super) fn is_published(&mut self) -> bool {
        let machine = &self.data.machine;
        let (waits, _) = machine.waits();
        let service = self.open.as_mut();
        self.data.death.is_none()
            && !self.publication.must_record(waits)
            && service.is_none_or(|service| service.is_published(machine))
    }

    /// Writes the status files before a child starts, since it may read them
    /// (contract §2.3, §2.5). A failure is reported by the next full
    /// publication.
    pub(super) fn publish_now(&mut self, context: &Context) {
        let _reported_later = self.write_status(context).is_err();
    }

    /// Writes the status files that have changed, and tells the next execution
    /// of this program what they say.
    fn write_status(&mut self, context: &Context) -> Result<(), Failure> {
        let Some(service) = &mut self.open else {
            return Ok(());
        };
        let written = service.publish(&self.data.machine);
        let ledger = &context.ledger;
        if ledger.is_kept() {
            service.describe(&self.key.name, ledger, self.key.index);
        }
        written
    }

    /// Writes the status files, and the record of deaths if that has changed.
    /// A failure is retried after [`RETRY`]. What is still missing then,
    /// because it was removed or replaced, is created again; not at once,
    /// since that would disturb the removal of the whole service directory.
    /// Creates what a mount hides again at once.
    pub(in super::super) fn publish(&mut self, context: &Context) {
        let hidden = self.open.as_mut().is_some_and(Service::is_hidden);
        let renewed = if hidden { self.renew(context) } else { Ok(()) };
        let mut written = self.write(context);
        if written.is_ok() {
            written = renewed;
        }
        if written.is_err_and(Failure::is_unwritable)
            && let Some(service) = &mut self.open
            && service.relocate(&self.data.machine)
        {
            written = self.write(context);
        }
        if let Err(failure) = written {
            if !self.warned.has(Warning::PUBLISH) {
                let service = self.open.as_mut();
                if service.is_some_and(|service| service.needs_report(failure))
                {
                    context.reporter.warn_failure(&self.key.name, failure);
                }
            } else if failure.errno == Errno::ENOENT
                && self.renew(context).is_ok()
            {
                written = self.write(context);
            }
        }
        self.warned.note(Warning::PUBLISH, written.is_err());
        self.publication.at = match written {
            Ok(()) => PublishAt::Never,
            Err(_) => PublishAt::At(clock::mono().after(RETRY)),
        };
    }

    /// Writes those files that have changed.
    fn write(&mut self, context: &Context) -> Result<(), Failure> {
        let written = self.write_status(context);
        let Some(service) = &self.open else {
            return Ok(());
        };
        let (waits, until) = self.data.machine.waits();
        if self.data.death.is_some() || self.publication.must_record(waits) {
            let now = clock::now();
            let until = until.map(|until| now.to_wall(until));
            let recorded = service.write_why(self.data.death, waits, until);
            if recorded.is_ok() {
                self.data.death = None;
                self.publication.waits = (waits, until.is_some());
            }
            // Not `and`, which would copy by `memmove`.
            if written.is_ok() {
                return recorded;
            }
        }
        written
    }

    /// Creates missing supervise directories again.
    fn renew(&mut self, context: &Context) -> Result<(), Failure> {
        if let Some(service) = &mut self.open {
            service.renew()?;
            service.listen(&context.poller, self.key.index)?;
        }
        Ok(())
    }
}
