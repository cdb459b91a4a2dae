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
    super::{
        path_watch::WatchError,
        reporter::{Refusal, append_failure},
    },
    Scanner, Slots,
    services::{Scan, Services, settling_time},
};

impl Scanner {
    /// Checks one entry of a directory. Returns true when the iteration's
    /// budget is spent.
    pub(super) fn check_entry(
        &mut self,
        services: &mut Services,
        scan: &Scan,
        holder: &(&CStr, Fd),
        name: &CStr,
        slots: &mut Slots<'_>,
    ) -> bool {
        let (bytes, dir) = (name.to_bytes(), holder.1.as_fd());
        if bytes.starts_with(b".") {
            return false;
        }
        // Comes first, so that a dangling link is taken up once its target
        // exists.
        self.watch_entry(services, scan, holder, name, slots);
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
                // Nothing reports that it has passed.
                let again = errno.may_pass().then(|| (0, clock::mono()));
                self.report_entry(services, scan, bytes, &line, again, slots);
                return false;
            }
        };
        for slot in slots.table.slots_mut() {
            if **slot.name() == *bytes && Some(slot.identity()) != identity {
                slot.presence().replace();
            }
        }
        let Some(identity) = identity else {
            return false;
        };
        if is_supervised(services, scan, identity, bytes, slots) {
            return false;
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
        if !asked && self.refused.waits(bytes, target, now) {
            return false;
        }
        let Err(refusal) = take_up(dir, name, identity, slots) else {
            return slots.budget.spend();
        };
        let line = refused_line(refusal, bytes);
        let again = matches!(refusal, Refusal::Failed(_));
        let refused = again.then_some((target, now));
        self.report_entry(services, scan, bytes, &line, refused, slots);
        // A refusal by a capacity costs nothing, and waits for a slot.
        again && slots.budget.spend()
    }

    /// Watches the path to which an entry leads if it is a link.
    fn watch_entry(
        &mut self,
        services: &mut Services,
        scan: &Scan,
        (path, dir): &(&CStr, Fd),
        name: &CStr,
        slots: &Slots<'_>,
    ) {
        let holder = (path.to_bytes(), dir.as_fd());
        if let Some(watch) = &mut self.watch
            && let Err(error) = watch.watch_link(holder, name)
        {
            if scan.changes.whole || error != WatchError::Watches {
                self.watch_failed(services, error, slots);
            } else {
                // Stale watches take the room; a full scan removes them.
                services.schedule_full(Duration::ZERO);
            }
        }
    }

    /// Reports as [`Scanner::report`] does, during a scan. If a message could
    /// not be remembered, schedules a full scan, which counts those entries.
    fn report_entry(
        &mut self,
        services: &mut Services,
        scan: &Scan,
        name: &[u8],
        cause: &Line,
        refused: Option<(u32, Instant)>,
        slots: &Slots<'_>,
    ) {
        let remembered = self.report(name, cause, refused, slots);
        if !remembered && !scan.changes.whole {
            services.schedule_full(Duration::ZERO);
        }
    }
}

/// Returns whether a slot has the directory to which the entry `name` leads,
/// and records that the scan has seen it. If the slot has ended and is to be
/// taken up again, frees its table entry and returns false.
fn is_supervised(
    services: &mut Services,
    scan: &Scan,
    identity: Identity,
    name: &[u8],
    slots: &mut Slots<'_>,
) -> bool {
    let mut known = slots.table.slots_mut();
    let Some(slot) = known.find(|slot| slot.identity() == identity) else {
        return false;
    };
    if slot.presence().mark_seen() {
        services.always_full = true;
    } else if let Ok(name) = text::name(name) {
        // The directory may have been renamed.
        slot.rename(name);
    }
    // A change of the entry means that it was made again.
    let wanted = scan.revive || scan.changes.names(name);
    if slot.is_live() || !wanted {
        return true;
    }
    drop(known);
    slots
        .table
        .free_ended(Some(identity), &slots.context.ledger);
    false
}

/// Takes up the service directory `name` of the directory `dir`.
fn take_up(
    dir: At<'_>,
    name: &CStr,
    identity: Identity,
    slots: &mut Slots<'_>,
) -> Result<(), Refusal> {
    let bytes = name.to_bytes();
    // Comes before anything is opened: it costs nothing, however often it is
    // tried.
    slots
        .table
        .room_for(bytes, identity, &slots.context.ledger)?;
    let opened = file::open_dir(dir, name)
        .map_err(|errno| Refusal::of("open directory", c".", errno))?;
    slots.table.insert(
        bytes,
        identity,
        opened,
        true,
        clock::now(),
        slots.context,
    )
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
            append_failure(&mut line, failure);
        }
    }
    line
}
