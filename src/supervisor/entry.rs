//! Decides what happens to one entry of the services directory: it is a slot
//! already, is taken up, is postponed, or is refused.

use core::{ffi::CStr, time::Duration};

use crate::{
    sys::{
        AsFd, At, Fd, clock, error,
        file::{self, Identity, Kind},
    },
    text::{self, Line},
    wire::clock::Instant,
};

use super::{
    Refusal, Supervisor,
    path_watch::WatchError,
    services::{Scan, Services, settling_time},
};

impl Supervisor {
    /// Checks one entry of a directory. Returns true when the iteration's
    /// budget is spent.
    pub(super) fn check_entry(
        &mut self,
        services: &mut Services,
        scan: &Scan,
        (path, dir): &(&CStr, Fd),
        name: &CStr,
    ) -> bool {
        let (bytes, dir) = (name.to_bytes(), dir.as_fd());
        if bytes.starts_with(b".") {
            return false;
        }
        // Comes first, so that a dangling link is taken up once its target
        // exists.
        if let Some(watch) = &mut self.path_watch
            && let Err(error) = watch.watch_link((path.to_bytes(), dir), name)
        {
            if scan.changes.whole || error != WatchError::Watches {
                self.watch_failed(services, error);
            } else {
                // Stale watches take the room; a full scan removes them.
                services.schedule_full(Duration::ZERO);
            }
        }
        let identity = match file::info(dir, name) {
            Ok(info) => {
                let is_dir = info.kind == Kind::Directory;
                Some(info.identity).filter(|_| is_dir)
            }
            // The entry is gone since it was listed; it is not a dangling
            // link.
            Err(_) if file::info_of_link(dir, name).is_err() => return false,
            Err(errno) => {
                let mut line = Line::new();
                line.text("unable to stat ").bytes(bytes).text(": ");
                line.text(error::text(errno));
                self.report_entry(services, scan, bytes, &line, None);
                return false;
            }
        };
        for slot in self.table.iter_mut().flatten() {
            if *slot.name == *bytes && Some(slot.identity) != identity {
                slot.presence.replace();
            }
        }
        let Some(identity) = identity else {
            return false;
        };
        let known = self.table.iter_mut().flatten();
        let mut known = known.filter(|slot| slot.identity == identity);
        if let Some(slot) = known.next() {
            if slot.presence.mark_seen() {
                services.always_full = true;
            } else if let Ok(name) = text::name(bytes) {
                // The directory may have been renamed.
                slot.name = name;
            }
            // A change of the entry means that it was made again.
            let wanted = scan.revive || scan.changes.names(bytes);
            let revived = wanted && slot.service.is_none();
            if !revived {
                return false;
            }
            self.free_ended_slot(identity);
        }
        if !services.first
            && !scan.changes.moved(bytes)
            && let Some(wait) = settling_time(dir, name)
        {
            services.schedule_full(wait);
            return false;
        }
        let (target, now) = (hash(identity), clock::mono());
        let asked = scan.revive || scan.changes.names(bytes);
        if !asked && self.scanned.refused.waits(bytes, target, now) {
            return false;
        }
        let Err(refusal) = self.take_up(dir, name, identity) else {
            return self.budget_spent();
        };
        let line = refused_line(refusal, bytes);
        let again = matches!(refusal, Refusal::Failed(_));
        let refused = again.then_some((target, now));
        self.report_entry(services, scan, bytes, &line, refused);
        // A refusal by a capacity costs nothing, and waits for a slot.
        again && self.budget_spent()
    }

    /// Takes up the service directory `name` of the directory `dir`.
    fn take_up(
        &mut self,
        dir: At<'_>,
        name: &CStr,
        identity: Identity,
    ) -> Result<(), Refusal> {
        // Comes before anything is opened: it costs nothing, however often it
        // is tried.
        self.room_for(name.to_bytes())?;
        let opened = file::open_dir(dir, name)
            .map_err(|errno| Refusal::of("open directory", c".", errno))?;
        self.insert(name.to_bytes(), identity, opened)?;
        let slots = self.table.iter_mut().flatten();
        for slot in slots.filter(|slot| slot.identity == identity) {
            slot.presence.mark_seen();
        }
        Ok(())
    }

    /// Reports as [`Supervisor::report`] does, during a scan. If a message
    /// could not be remembered, schedules a full scan, which counts those
    /// entries.
    fn report_entry(
        &mut self,
        services: &mut Services,
        scan: &Scan,
        name: &[u8],
        cause: &Line,
        refused: Option<(u32, Instant)>,
    ) {
        let remembered = self.report(name, cause, refused);
        if !remembered && !scan.changes.whole {
            services.schedule_full(Duration::ZERO);
        }
    }

    /// Frees the table entry of a slot that has ended.
    fn free_ended_slot(&mut self, identity: Identity) {
        for slot_entry in self.table.iter_mut() {
            let ended = slot_entry.as_ref().is_some_and(|slot| {
                slot.identity == identity && slot.service.is_none()
            });
            if ended {
                *slot_entry = None;
            }
        }
    }
}

/// Returns a number that two directories seldom share.
fn hash(identity: Identity) -> u32 {
    let [device, inode] = [identity.device, identity.inode];
    text::hash(&device.to_ne_bytes()) ^ text::hash(&inode.to_ne_bytes())
}

/// Returns the line `unable to start runsv NAME: ...`, as runsvdir prints it.
fn refused_line(refusal: Refusal, name: &[u8]) -> Line {
    let mut line = Line::new();
    line.text("unable to start runsv ").bytes(name).text(": ");
    match refusal {
        Refusal::Full(bound, value) => {
            let what = match bound {
                "slots" => "too many services (slots = ",
                _ => "name too long (name-bytes = ",
            };
            line.text(what);
            line.number(u64::try_from(value).unwrap_or(u64::MAX))
                .text(")");
        }
        Refusal::Failed(failure) => {
            super::append_failure(&mut line, failure);
        }
    }
    line
}
