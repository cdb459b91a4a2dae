//! Scans the services directory and compares it with the table (contract §3.1,
//! design: directory changes).

use core::{ffi::CStr, time::Duration};

use super::{
    Supervisor, overlay,
    path_watch::{Changes, PathWatch, WatchError},
    services::{Scan, Services, settling_time},
};
use crate::{
    config,
    machine::{
        presence::Outcome,
        refused::{Noted, Refused},
    },
    sys::{
        AsFd, CWD, Errno, Fd, clock, dir::Reader, error, file, inotify,
        static_cell::StaticCell,
    },
    text::{Line, Path},
    wire::clock::Instant,
};

/// Scan interval where changes cannot be watched, or where the directory
/// cannot be read: runit's own interval.
const AGAIN: Duration = Duration::from_secs(5);

/// Maximum number of entries checked per iteration; the scan continues in the
/// next one.
const LOOKS: usize = 64;

/// State kept across scans, too large to be moved.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Scanned {
    /// Position at which the current scan stopped.
    reader: Reader,
    /// Entries that cannot be used; the largest part comes last.
    pub(super) refused: Refused,
}

/// Scan state of this process.
pub(super) static SCANNED: StaticCell<Scanned> = StaticCell::new(Scanned {
    refused: Refused::new(),
    reader: Reader::NEW,
});

/// Failed operation, its directory, and the cause.
type Failed = (&'static str, &'static CStr, Errno);

impl Supervisor {
    /// Supervises every service directory in `path` from now on.
    pub fn supervise_dir(&mut self, path: &'static CStr) {
        // Forgets what was refused in the previous directory.
        self.scanned.refused.clear();
        self.services = Some(Services {
            path,
            changes: Changes::default(),
            due: None,
            first: true,
            known: None,
            revive: false,
            always_full: false,
            silent: false,
            scan: None,
        });
        self.scan_soon();
        self.scan_if_due();
        self.latency.begin(clock::mono());
    }

    /// Reads the changes, and schedules a scan in this iteration if they
    /// require one.
    pub(super) fn read_changes(&mut self) {
        let Some(watch) = &self.path_watch else {
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

    /// Stops looking for service directories; existing slots stay.
    pub fn stop_scanning(&mut self) {
        self.services = None;
        if let Some(watch) = &mut self.path_watch {
            watch.begin_scan();
            watch.end_scan();
        }
        for slot in self.table.iter_mut().flatten() {
            slot.presence.mark_unlisted();
        }
        self.free_ended();
    }

    /// Scans at once, takes up again services that were told to exit, and
    /// checks whether the supervise directories are still where their paths
    /// lead.
    pub fn rescan(&mut self) {
        self.recheck_all();
        if let Some(services) = &mut self.services {
            services.revive = true;
        }
        self.scan_soon();
        self.scan_if_due();
    }

    /// Schedules a full scan in this iteration or, outside of one, in the
    /// next.
    pub(super) fn scan_soon(&mut self) {
        if let Some(services) = &mut self.services {
            services.schedule_full(Duration::ZERO);
        }
    }

    /// Schedules a scan that retries refused entries: a slot is free, and its
    /// descriptors are closed.
    pub(super) fn slot_freed(&mut self) {
        if let Some(services) = &mut self.services {
            self.scanned.refused.retry_all_now();
            services.schedule_full(Duration::ZERO);
        }
    }

    /// Begins or continues a scan if one is due.
    pub(super) fn scan_if_due(&mut self) {
        let Some(mut services) = self.services.take() else {
            return;
        };
        // It is taken out of `self` meanwhile, so that the methods below can
        // borrow both.
        let now = clock::mono();
        let mut ended = None;
        if services.scan.is_none() && services.due.is_some_and(|due| due <= now)
        {
            services.due = None;
            self.begin_scan(&mut services);
        }
        if let Some(scan) = services.scan.take() {
            ended = self.continue_scan(&mut services, scan);
        }
        self.services = Some(services);
        if let Some(at_once) = ended {
            self.stop_unlisted(at_once);
        }
    }

    /// Begins a scan of the recorded changes.
    fn begin_scan(&mut self, services: &mut Services) {
        // Reads changes in case they did not cause this scan.
        if let Some(watch) = &self.path_watch {
            watch.read_events(&mut services.changes);
        }
        let mut changes = core::mem::take(&mut services.changes);
        changes.whole |= services.always_full || self.path_watch.is_none();
        if changes.whole {
            self.scanned.refused.begin_all();
            services.always_full = false;
            // Watches come before listing: a change in between is seen twice
            // rather than never.
            match self
                .path_watch
                .take()
                .map_or_else(|| PathWatch::new(&self.poller), Ok)
            {
                Ok(watch) => self.path_watch.insert(watch).begin_scan(),
                Err(error) => self.watch_failed(services, error),
            }
        } else {
            let names = changes.names.iter();
            names.for_each(|(name, _)| self.scanned.refused.begin(name));
        }
        for slot in self.table.iter_mut().flatten() {
            slot.presence.begin(changes.concerns(&slot.name));
        }
        let all = changes.whole;
        match self.open_services(services, changes) {
            Ok(scan) => services.scan = Some(scan),
            Err(failed) => self.fail_scan(services, all, failed),
        }
        services.revive = false;
    }

    /// Opens the services directory and its overlay, and watches the paths to
    /// them.
    fn open_services(
        &mut self,
        services: &mut Services,
        changes: Changes,
    ) -> Result<Scan, Failed> {
        let path = services.path;
        let mut overlay = None;
        if let Some(overlay_path) = overlay::of(path) {
            overlay = match self.open_scanned(services, &changes, overlay_path)
            {
                // The overlay has not been needed yet.
                Err((_, _, Errno::ENOENT)) => None,
                opened => Some((overlay_path, opened?)),
            };
        }
        let dir = self.open_scanned(services, &changes, path)?;
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
    ) -> Result<Fd, Failed> {
        let bytes = path.to_bytes();
        if let (true, Some(watch)) = (changes.whole, &mut self.path_watch)
            && let Err(error) = watch.watch_path(start_of(bytes), bytes, true)
        {
            self.watch_failed(services, error);
        }
        let failed = |what| move |errno| (what, path, errno);
        // Comes first, so that the message is runit's when the directory is
        // missing.
        file::info(CWD, path).map_err(failed("unable to stat "))?;
        let dir = file::open_dir(CWD, path)
            .map_err(failed("unable to change directory to "))?;
        services.silent = !inotify::reports_changes(dir.as_fd());
        if services.silent {
            self.watch_failed(services, WatchError::Silent);
        }
        Ok(dir)
    }

    /// Continues a scan until it ends or the iteration's budget is spent.
    /// Returns the same as [`Supervisor::end_scan`].
    fn continue_scan(
        &mut self,
        services: &mut Services,
        mut scan: Scan,
    ) -> Option<bool> {
        let all = scan.changes.whole;
        let done = if all {
            self.check_all(services, &mut scan)
        } else {
            Ok(self.check_changed(services, &mut scan))
        };
        match done {
            Ok(true) => return self.end_scan(services, &scan),
            Ok(false) => services.scan = Some(scan),
            Err(failed) => self.fail_scan(services, all, failed),
        }
        None
    }

    /// Checks the changed names, in the overlay and in the directory. Returns
    /// true when all are done.
    fn check_changed(
        &mut self,
        services: &mut Services,
        scan: &mut Scan,
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
                    spent |= self.check_entry(services, scan, overlay, name);
                }
                if !scan.hides(name) {
                    spent |= self.check_entry(services, scan, &scan.dir, name);
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
    ) -> Result<bool, Failed> {
        let fresh = Reader::NEW;
        let mut reader = core::mem::replace(&mut self.scanned.reader, fresh);
        let mut looks = 0_usize;
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
            let spent = !hidden && self.check_entry(services, scan, dir, name);
            looks = looks.saturating_add(1);
            if !services.first && (spent || looks >= LOOKS) {
                self.scanned.reader = reader;
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
    ) -> Option<bool> {
        if let Some(more) = self.scanned.refused.end(scan.changes.whole) {
            let mut line = self.reporter.prefix.clone();
            line.text("unable to use ");
            line.number(u64::try_from(more).unwrap_or(u64::MAX));
            line.text(" more entries (slots = ");
            line.number(u64::try_from(config::SLOTS).unwrap_or(u64::MAX));
            self.reporter.print(line.text(")"));
        }
        if let Some(due) = self.scanned.refused.due() {
            services.schedule_full(due.since(clock::mono()));
        }
        self.close_scan(services, scan.changes.whole);
        if scan.filling {
            self.keep_all();
            return None;
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
    ) {
        let mut line = Line::new();
        line.text(what).bytes(path.to_bytes()).text(": ");
        let line = line.text(error::text(errno));
        self.scanned.refused.keep();
        self.report(b"", line, None);
        if errno != Errno::ENOENT || services.silent {
            // No watch reports that a lack of descriptors or memory is over,
            // nor anything on a file system that reports no changes.
            services.schedule_full(AGAIN);
        }
        self.keep_all();
        self.close_scan(services, all);
    }

    /// Does what every end of a scan has in common.
    fn close_scan(&mut self, services: &mut Services, all: bool) {
        if let (true, Some(watch)) = (all, &mut self.path_watch) {
            watch.end_scan();
        }
        services.first = false;
    }

    /// Marks every slot as still present.
    fn keep_all(&mut self) {
        let slots = self.table.iter_mut().flatten();
        slots.for_each(|slot| slot.presence.keep());
    }

    /// Reports that changes cannot all be watched, and schedules a full scan
    /// after [`AGAIN`].
    pub(super) fn watch_failed(
        &mut self,
        services: &mut Services,
        error: WatchError,
    ) {
        services.schedule_full(AGAIN);
        if let Some(watch) = &mut self.path_watch {
            watch.mark_incomplete();
        }
        self.report(b"", &watch_error_line(error), None);
    }

    /// Reports why the entry `name` cannot be used, unless that was reported
    /// already. Returns false when it cannot be remembered for lack of room.
    pub(super) fn report(
        &mut self,
        name: &[u8],
        cause: &Line,
        refused: Option<(u32, Instant)>,
    ) -> bool {
        let cause = cause.as_bytes();
        let noted = self.scanned.refused.note(name, cause, refused);
        if noted == Noted::New {
            let mut line = self.reporter.prefix.clone();
            self.reporter.print(line.bytes(cause));
        }
        noted != Noted::Full
    }

    /// Tells every slot that the last scan did not list to exit, once that has
    /// been so for long enough; at once if `at_once`, that is, when an
    /// operator asked for the scan.
    fn stop_unlisted(&mut self, at_once: bool) {
        let now = clock::mono();
        for index in 0..self.table.len() {
            let Some(slot) = self.slot(index) else {
                continue;
            };
            let service = slot.service.as_ref();
            // A removed directory does not come back.
            let removed = || service.is_some_and(|s| file::is_removed(s.dir()));
            let ended = service.is_none();
            match slot.presence.end(|| at_once || ended || removed(), now) {
                Outcome::Stays => {}
                Outcome::Settles(until) => {
                    if let Some(services) = &mut self.services {
                        services.schedule_full(until.since(now));
                    }
                }
                Outcome::Leaves if service.is_none() => self.release(index),
                Outcome::Leaves => self.exit(index),
            }
        }
    }
}

/// Returns the line that says why the directory is scanned every five seconds
/// only.
fn watch_error_line(error: WatchError) -> Line {
    let mut line = Line::new();
    line.text("unable to watch the services directory: ");
    match error {
        WatchError::Refused(errno) => line.text(error::text(errno)),
        WatchError::Watches => {
            append_capacity(&mut line, "watches", config::WATCHES)
        }
        WatchError::Path => {
            append_capacity(&mut line, "path-bytes", config::PATH_BYTES)
        }
        WatchError::Silent => {
            line.text("its file system does not tell changes")
        }
    };
    line.text("; scanning every 5 seconds");
    line
}

/// Appends `more than BOUND = VALUE`.
fn append_capacity<'l>(
    line: &'l mut Line,
    bound: &str,
    value: usize,
) -> &'l mut Line {
    line.text("more than ").text(bound).text(" = ");
    line.number(u64::try_from(value).unwrap_or(u64::MAX))
}

/// Returns the directory that a path starts from.
fn start_of(path: &[u8]) -> &'static [u8] {
    if path.starts_with(b"/") { b"/" } else { b"." }
}
