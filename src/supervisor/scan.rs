//! Scans the services directory and compares it with the table (contract §3.1,
//! design: directory changes).

mod entry;
mod removal;
mod services;
mod unlisted;

use core::{ffi::CStr, time::Duration};

use super::{
    budget::Budget,
    context::Context,
    overlay,
    path_watch::{Changes, PathWatch, WatchError},
    table::Table,
};
use crate::{
    config,
    machine::refused::{Noted, Refused},
    sys::{
        AsFd, CWD, Errno, Fd, clock, dir::Reader, error, file, inotify,
        static_cell::StaticCell,
    },
    text::{Line, Path},
    wire::clock::Instant,
};

use removal::{keep_all, stop_unlisted};
use services::{Scan, Services, settling_time};

/// Scan interval where changes cannot be watched or the directory cannot be
/// read, as in runit.
const RESCAN_INTERVAL: Duration = Duration::from_secs(5);

/// Maximum number of entries checked per iteration; the scan continues in the
/// next one.
const ENTRIES_PER_ITERATION: usize = 64;

/// State kept across scans, too large to be moved.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Kept {
    /// Position at which the current scan stopped.
    reader: Reader,
    /// Entries that cannot be used; the largest part comes last.
    refused: Refused,
}

/// Memory of the scanner of this process.
pub(super) static KEPT: StaticCell<Kept> = StaticCell::new(Kept {
    reader: Reader::NEW,
    refused: Refused::new(),
});

/// Scans the services directory.
pub(super) struct Scanner {
    /// `None` while no directory is scanned.
    services: Option<Services>,
    /// Watches of the path to the services directory. Kept after scanning
    /// stops, since closing it would delay the shutdown.
    watch: Option<PathWatch>,
    /// Entries that cannot be used.
    refused: &'static mut Refused,
    /// Position at which the current scan stopped.
    reader: &'static mut Reader,
}

/// The table, and what adding a slot to it takes.
pub(super) struct Slots<'s> {
    pub(super) table: &'s mut Table,
    pub(super) context: &'s mut Context,
    pub(super) budget: &'s mut Budget,
}

/// Failed operation, its directory, and the cause.
type Failed = (&'static str, &'static CStr, Errno);

impl Scanner {
    /// Returns a scanner that scans nothing yet, with the memory of [`KEPT`].
    pub(super) fn new(kept: &'static mut Kept) -> Self {
        let Kept { reader, refused } = kept;
        Self {
            services: None,
            watch: None,
            refused,
            reader,
        }
    }

    /// Scans the services directory `path`, for the first time after `wait`.
    pub(super) fn start(&mut self, path: &'static CStr, wait: Duration) {
        // Forgets what was refused in the previous directory.
        self.refused.clear();
        let mut services = Services::new(path);
        services.schedule_full(wait);
        self.services = Some(services);
    }

    /// Stops scanning.
    pub(super) fn stop(&mut self) {
        self.services = None;
        if let Some(watch) = &mut self.watch {
            watch.begin_scan();
            watch.end_scan();
        }
    }

    /// Returns the path of the services directory that is scanned.
    pub(super) fn path(&self) -> Option<&'static CStr> {
        self.services.as_ref().map(Services::path)
    }

    /// Returns the time at which the next scan is due or continues.
    pub(super) fn due(&self, table: &Table) -> Option<Instant> {
        let services = self.services.as_ref()?;
        if table.has_freed() {
            return Some(Instant::AT_ONCE);
        }
        services.due()
    }

    /// Reads the changes, and schedules a scan in this iteration if they
    /// require one.
    pub(super) fn read_changes(&mut self) {
        let Some(watch) = &self.watch else {
            return;
        };
        let Some(services) = &mut self.services else {
            // Unread events would wake the loop again and again.
            return watch.read_events(&mut Changes::default());
        };
        watch.read_events(&mut services.changes);
        if services.changes.any() {
            services.schedule(Duration::ZERO);
        }
    }

    /// Makes the next scan take up again services that were told to exit.
    pub(super) fn revive(&mut self) {
        if let Some(services) = &mut self.services {
            services.revive = true;
        }
        self.schedule();
    }

    /// Schedules a full scan in this iteration or, outside of one, in the
    /// next.
    pub(super) fn schedule(&mut self) {
        if let Some(services) = &mut self.services {
            services.schedule_full(Duration::ZERO);
        }
    }

    /// Begins or continues a scan if one is due.
    pub(super) fn run(&mut self, slots: &mut Slots<'_>) {
        // It is taken out of `self` meanwhile, so that the methods below can
        // borrow both.
        let Some(mut services) = self.services.take() else {
            return;
        };
        if slots.table.take_freed() {
            // A slot is free, and its descriptors are closed.
            self.refused.retry_all_now();
            services.schedule_full(Duration::ZERO);
        }
        let now = clock::mono();
        let due = services.due.is_some_and(|due| due <= now);
        if services.scan.is_none() && due {
            services.due = None;
            self.begin_scan(&mut services, slots);
        }
        if let Some(scan) = services.scan.take() {
            let ended = self.continue_scan(&mut services, scan, slots);
            if let Some(at_once) = ended {
                stop_unlisted(&mut services, at_once, slots);
            }
        }
        self.services = Some(services);
    }

    /// Begins a scan of the recorded changes.
    fn begin_scan(&mut self, services: &mut Services, slots: &mut Slots<'_>) {
        // Reads changes in case they did not cause this scan.
        if let Some(watch) = &self.watch {
            watch.read_events(&mut services.changes);
        }
        let mut changes = core::mem::take(&mut services.changes);
        changes.whole |= services.always_full || self.watch.is_none();
        if changes.whole {
            self.refused.begin_all();
            services.always_full = false;
            // Watches come before listing: a change in between is seen twice
            // rather than never.
            match self
                .watch
                .take()
                .map_or_else(|| PathWatch::new(&slots.context.poller), Ok)
            {
                Ok(watch) => self.watch.insert(watch).begin_scan(),
                Err(error) => self.watch_failed(services, error, slots),
            }
        } else {
            let names = changes.names.iter();
            names.for_each(|(name, _)| self.refused.begin(name));
        }
        for slot in slots.table.slots_mut() {
            let looks = changes.concerns(slot.name());
            slot.presence().begin(looks);
        }
        let all = changes.whole;
        match self.open_services(services, changes, slots) {
            Ok(scan) => services.scan = Some(scan),
            Err(failed) => self.fail_scan(services, all, failed, slots),
        }
        services.revive = false;
    }

    /// Opens the services directory and its overlay, and watches the paths to
    /// them.
    fn open_services(
        &mut self,
        services: &mut Services,
        changes: Changes,
        slots: &Slots<'_>,
    ) -> Result<Scan, Failed> {
        let path = services.path;
        let mut overlay = None;
        if let Some(overlay_path) = overlay::of(path) {
            overlay = match self.open_scanned(
                services,
                &changes,
                overlay_path,
                slots,
            ) {
                // The overlay has not been needed yet.
                Err((_, _, Errno::ENOENT)) => None,
                opened => Some((overlay_path, opened?)),
            };
        }
        let dir = self.open_scanned(services, &changes, path, slots)?;
        let identity = file::info_of(dir.as_fd())
            .map_err(|errno| ("unable to stat ", path, errno))?
            .identity;
        let mut filling = false;
        if services.known != Some(identity) {
            let young = settling_time(CWD, path).filter(|_| !services.first);
            filling = young.map(|wait| services.schedule_full(wait)).is_some();
            services.known = (!filling).then_some(identity);
        }
        Ok(Scan {
            revive: services.revive,
            filling,
            in_overlay: overlay.is_some(),
            overlay,
            dir: (path, dir),
            looked: 0,
            changes,
        })
    }

    /// Opens the services directory or the overlay, and watches the path to
    /// it.
    fn open_scanned(
        &mut self,
        services: &mut Services,
        changes: &Changes,
        path: &'static CStr,
        slots: &Slots<'_>,
    ) -> Result<Fd, Failed> {
        let bytes = path.to_bytes();
        if let (true, Some(watch)) = (changes.whole, &mut self.watch)
            && let Err(error) = watch.watch_path(start_of(bytes), bytes, true)
        {
            self.watch_failed(services, error, slots);
        }
        let failed = |what| move |errno| (what, path, errno);
        // Comes first, so that the message is runit's when the directory is
        // missing.
        file::info(CWD, path).map_err(failed("unable to stat "))?;
        let dir = file::open_dir(CWD, path)
            .map_err(failed("unable to change directory to "))?;
        services.silent = !inotify::reports_changes(dir.as_fd());
        if services.silent {
            self.watch_failed(services, WatchError::Silent, slots);
        }
        Ok(dir)
    }

    /// Continues a scan until it ends or the iteration's budget is spent.
    /// Returns the same as [`Scanner::end_scan`].
    fn continue_scan(
        &mut self,
        services: &mut Services,
        mut scan: Scan,
        slots: &mut Slots<'_>,
    ) -> Option<bool> {
        let all = scan.changes.whole;
        let done = if all {
            self.check_all(services, &mut scan, slots)
        } else {
            Ok(self.check_changed(services, &mut scan, slots))
        };
        match done {
            Ok(true) => return self.end_scan(services, &scan, slots),
            Ok(false) => services.scan = Some(scan),
            Err(failed) => self.fail_scan(services, all, failed, slots),
        }
        None
    }

    /// Checks the changed names, in the overlay and in the directory. Returns
    /// true when all are done.
    fn check_changed(
        &mut self,
        services: &mut Services,
        scan: &mut Scan,
        slots: &mut Slots<'_>,
    ) -> bool {
        let mut spent = false;
        while !spent
            && let Some((name, _)) = scan.changes.names.get(scan.looked)
        {
            scan.looked = scan.looked.saturating_add(1);
            // It has no NUL and fits: it came from the kernel.
            if let Ok(name) = Path::join(&[name]) {
                let name = name.as_c_str();
                if let Some(overlay) = &scan.overlay {
                    spent |=
                        self.check_entry(services, scan, overlay, name, slots);
                }
                if !scan.hides(name) {
                    spent |= self
                        .check_entry(services, scan, &scan.dir, name, slots);
                }
            }
        }
        scan.looked >= scan.changes.names.len()
    }

    /// Checks every entry from where the scan stopped. Returns true when all
    /// are done.
    fn check_all(
        &mut self,
        services: &mut Services,
        scan: &mut Scan,
        slots: &mut Slots<'_>,
    ) -> Result<bool, Failed> {
        let fresh = Reader::NEW;
        let mut reader = core::mem::replace(self.reader, fresh);
        let mut checked = 0_usize;
        loop {
            let dir = match &scan.overlay {
                Some(overlay) if scan.in_overlay => overlay,
                _ => &scan.dir,
            };
            let failed = |errno| ("unable to read directory ", dir.0, errno);
            let Some(name) = reader.next(dir.1.as_fd()).map_err(failed)? else {
                if !core::mem::take(&mut scan.in_overlay) {
                    return Ok(true);
                }
                reader = Reader::NEW;
                continue;
            };
            let hidden = !scan.in_overlay && scan.hides(name);
            let spent =
                !hidden && self.check_entry(services, scan, dir, name, slots);
            checked = checked.saturating_add(1);
            if !services.first && (spent || checked >= ENTRIES_PER_ITERATION) {
                *self.reader = reader;
                return Ok(false);
            }
        }
    }

    /// Ends a complete scan. Returns whether slots that it did not list exit
    /// at once, or `None` when none is to exit because of this scan.
    fn end_scan(
        &mut self,
        services: &mut Services,
        scan: &Scan,
        slots: &mut Slots<'_>,
    ) -> Option<bool> {
        if let Some(more) = self.refused.end(scan.changes.whole) {
            let mut line = slots.context.reporter.prefix.clone();
            line.text("unable to use ");
            line.number(u64::try_from(more).unwrap_or(u64::MAX));
            line.text(" more entries (slots = ");
            line.number(u64::try_from(config::SLOTS).unwrap_or(u64::MAX));
            slots.context.reporter.print(line.text(")"));
        }
        if let Some(due) = self.refused.due() {
            services.schedule_full(due.since(clock::mono()));
        }
        self.close_scan(services, scan.changes.whole);
        if scan.filling {
            keep_all(slots);
            return None;
        }
        if scan.changes.whole {
            slots.take_up_unlisted();
        }
        Some(scan.revive)
    }

    /// Ends an incomplete scan: running services continue, and the watches
    /// report when the directory is readable again.
    fn fail_scan(
        &mut self,
        services: &mut Services,
        all: bool,
        (what, path, errno): Failed,
        slots: &mut Slots<'_>,
    ) {
        let mut line = Line::new();
        line.text(what).bytes(path.to_bytes()).text(": ");
        let line = line.text(error::text(errno));
        self.refused.keep();
        self.report(b"", line, None, slots);
        if errno != Errno::ENOENT || services.silent {
            // No watch reports that a lack of descriptors or memory is over,
            // nor anything on a file system that reports no changes.
            services.schedule_full(RESCAN_INTERVAL);
        }
        keep_all(slots);
        self.close_scan(services, all);
    }

    /// Does what every end of a scan has in common.
    fn close_scan(&mut self, services: &mut Services, all: bool) {
        if let (true, Some(watch)) = (all, &mut self.watch) {
            watch.end_scan();
        }
        services.first = false;
    }

    /// Reports that changes cannot all be watched, and schedules a full scan
    /// after [`RESCAN_INTERVAL`].
    fn watch_failed(
        &mut self,
        services: &mut Services,
        error: WatchError,
        slots: &Slots<'_>,
    ) {
        services.schedule_full(RESCAN_INTERVAL);
        if let Some(watch) = &mut self.watch {
            watch.mark_incomplete();
        }
        self.report(b"", &error.line(), None, slots);
    }

    /// Reports why the entry `name` cannot be used, unless that was reported
    /// already. Returns false when it cannot be remembered for lack of room.
    fn report(
        &mut self,
        name: &[u8],
        cause: &Line,
        refused: Option<(u32, Instant)>,
        slots: &Slots<'_>,
    ) -> bool {
        let cause = cause.as_bytes();
        let noted = self.refused.note(name, cause, refused);
        if noted == Noted::New {
            let mut line = slots.context.reporter.prefix.clone();
            slots.context.reporter.print(line.bytes(cause));
        }
        noted != Noted::Full
    }
}

/// Returns the directory that a path starts from.
fn start_of(path: &[u8]) -> &'static [u8] {
    if path.starts_with(b"/") { b"/" } else { b"." }
}
