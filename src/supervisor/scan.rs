//! Which service directories there are: the services directory against the
//! table (contract §3.1, design: directory changes).

use core::{ffi::CStr, time::Duration};

use super::{
    Supervisor,
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
        AsFd, CWD, Errno, Fd, clock, dir::Reader, error, file, inotify, rundir,
        static_cell::StaticCell,
    },
    text::{Line, Path},
    wire::clock::Instant,
};

/// How often the directory is scanned where changes cannot be watched, or
/// where it cannot be read: runit's own interval.
const AGAIN: Duration = Duration::from_secs(5);

/// Entries that one turn looks at; the scan goes on with the next turn.
const LOOKS: usize = 64;

/// Memory of scans, too large to be moved about.
#[derive(Debug)]
pub(super) struct Scanned {
    /// What cannot be used.
    pub(super) refused: Refused,
    /// Where the scan at hand stopped.
    reader: Reader,
}

/// The memory of the scans of this process.
pub(super) static SCANNED: StaticCell<Scanned> = StaticCell::new(Scanned {
    refused: Refused::new(),
    reader: Reader::NEW,
});

/// What could not be done, with which directory, and why.
type Failed = (&'static str, &'static CStr, Errno);

impl Supervisor {
    /// Supervises every service directory in `path` from now on.
    pub fn supervise_dir(&mut self, path: &'static CStr) {
        // Of what was served before.
        self.scanned.refused.clear();
        self.services = Some(Services {
            path,
            changes: Changes::default(),
            due: None,
            first: true,
            known: None,
            revive: false,
            always_full: false,
            scan: None,
        });
        self.scan_soon();
        self.scan_if_due();
        self.latency.begin(clock::mono());
    }

    /// Takes what has changed, and asks for a scan in this turn if it calls
    /// for one.
    pub(super) fn read_changes(&mut self) {
        let Some(way) = &self.path_watch else { return };
        let Some(services) = &mut self.services else {
            // What is not taken would wake the loop again and again.
            return way.read_events(&mut Changes::default());
        };
        way.read_events(&mut services.changes);
        if services.changes.any() {
            services.schedule(Duration::ZERO);
        }
    }

    /// Looks for service directories no more; those there are stay.
    pub fn stop_scanning(&mut self) {
        self.services = None;
        if let Some(way) = &mut self.path_watch {
            way.begin_scan();
            way.end_scan();
        }
        for slot in self.table.iter_mut().flatten() {
            slot.presence.unlist();
        }
        self.free_ended();
    }

    /// Scans at once, takes up again what was told to exit, and looks whether
    /// all supervise directories are what they were.
    pub fn rescan(&mut self) {
        self.doubt_all();
        if let Some(services) = &mut self.services {
            services.revive = true;
        }
        self.scan_soon();
        self.scan_if_due();
    }

    /// Asks for a scan in this turn or, outside of one, the next.
    pub(super) fn scan_soon(&mut self) {
        if let Some(services) = &mut self.services {
            services.schedule_full(Duration::ZERO);
        }
    }

    /// Asks for a scan that tries again what was refused: a slot is free, and
    /// what it had open is closed.
    pub(super) fn slot_freed(&mut self) {
        if let Some(services) = &mut self.services {
            self.scanned.refused.hurry();
            services.schedule_full(Duration::ZERO);
        }
    }

    /// Scans if that is due.
    pub(super) fn scan_if_due(&mut self) {
        let Some(mut services) = self.services.take() else {
            return;
        };
        // `insert` looks whether there is a services directory.
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

    /// Begins a scan of what is news.
    fn begin_scan(&mut self, services: &mut Services) {
        // What led to this scan, if it was not that.
        if let Some(way) = &self.path_watch {
            way.read_events(&mut services.changes);
        }
        let mut news = core::mem::take(&mut services.changes);
        news.whole |= services.always_full || self.path_watch.is_none();
        if news.whole {
            self.scanned.refused.begin_all();
            services.always_full = false;
            // Watch first, list then: what changes in between is seen twice
            // rather than never.
            match self
                .path_watch
                .take()
                .map_or_else(|| PathWatch::new(&self.poller), Ok)
            {
                Ok(way) => self.path_watch.insert(way).begin_scan(),
                Err(blind) => self.watch_failed(services, blind),
            }
        } else {
            let names = news.names.iter();
            names.for_each(|(name, _)| self.scanned.refused.begin(name));
        }
        for slot in self.table.iter_mut().flatten() {
            slot.presence.begin(news.concerns(&slot.name));
        }
        let all = news.whole;
        match self.open_services(services, news) {
            Ok(scan) => services.scan = Some(scan),
            Err(failed) => self.fail_scan(services, all, failed),
        }
        services.revive = false;
    }

    /// Opens the services directory and its overlay, and watches the way there.
    fn open_services(
        &mut self,
        services: &mut Services,
        news: Changes,
    ) -> Result<Scan, Failed> {
        let path = services.path;
        let mut over = None;
        if let Some(overlay) = rundir::overlay(path) {
            over = match self.open_scanned(services, &news, overlay) {
                // Nobody has needed the overlay yet.
                Err((_, _, Errno::ENOENT)) => None,
                opened => Some((overlay, opened?)),
            };
        }
        let dir = self.open_scanned(services, &news, path)?;
        let identity = file::info_of(dir.as_fd())
            .map_err(|errno| ("unable to stat ", path, errno))?
            .identity;
        let mut filling = false;
        if services.known != Some(identity) {
            let young = settling_time(CWD, path).filter(|_| !services.first);
            filling = young.map(|rest| services.schedule_full(rest)).is_some();
            services.known = (!filling).then_some(identity);
        }
        Ok(Scan {
            revive: services.revive,
            filling,
            in_over: over.is_some(),
            over,
            dir: (path, dir),
            looked: 0,
            news,
        })
    }

    /// Opens one of the two, and watches the way there.
    fn open_scanned(
        &mut self,
        services: &mut Services,
        news: &Changes,
        path: &'static CStr,
    ) -> Result<Fd, Failed> {
        let bytes = path.to_bytes();
        if let (true, Some(way)) = (news.whole, &mut self.path_watch)
            && let Err(blind) = way.watch_path(start_of(bytes), bytes, true)
        {
            self.watch_failed(services, blind);
        }
        let failed = |what| move |errno| (what, path, errno);
        // First, for runit's words when it is not there.
        file::info(CWD, path).map_err(failed("unable to stat "))?;
        let dir = file::open_dir(CWD, path)
            .map_err(failed("unable to change directory to "))?;
        if !inotify::reports_changes(dir.as_fd()) {
            self.watch_failed(services, WatchError::Silent);
        }
        Ok(dir)
    }

    /// Goes on with a scan until it or the turn is over; answers as
    /// [`Supervisor::end_scan`].
    fn continue_scan(
        &mut self,
        services: &mut Services,
        mut scan: Scan,
    ) -> Option<bool> {
        let all = scan.news.whole;
        let done = if all {
            self.look_at_all(services, &mut scan)
        } else {
            Ok(self.look_at_news(services, &mut scan))
        };
        match done {
            Ok(true) => return self.end_scan(services, &scan),
            Ok(false) => services.scan = Some(scan),
            Err(failed) => self.fail_scan(services, all, failed),
        }
        None
    }

    /// Looks at the names that are news, in the overlay and in the directory;
    /// true when that is done.
    fn look_at_news(
        &mut self,
        services: &mut Services,
        scan: &mut Scan,
    ) -> bool {
        let mut spent = false;
        while !spent && let Some((name, _)) = scan.news.names.get(scan.looked) {
            scan.looked = scan.looked.saturating_add(1);
            // It has no NUL and fits: it came from the kernel.
            if let Ok(name) = Path::join(&[name]) {
                let name = name.as_c_str();
                if let Some(over) = &scan.over {
                    spent |= self.check_entry(services, scan, over, name);
                }
                if !scan.hides(name) {
                    spent |= self.check_entry(services, scan, &scan.dir, name);
                }
            }
        }
        scan.looked >= scan.news.names.len()
    }

    /// Looks at every entry from where the scan stopped; true when that is
    /// done.
    fn look_at_all(
        &mut self,
        services: &mut Services,
        scan: &mut Scan,
    ) -> Result<bool, Failed> {
        let fresh = Reader::NEW;
        let mut reader = core::mem::replace(&mut self.scanned.reader, fresh);
        let mut looks = 0_usize;
        loop {
            let dir = match &scan.over {
                Some(over) if scan.in_over => over,
                _ => &scan.dir,
            };
            let failed = |errno| ("unable to read directory ", dir.0, errno);
            let Some(name) = reader.next(dir.1.as_fd()).map_err(failed)? else {
                if !core::mem::take(&mut scan.in_over) {
                    return Ok(true);
                }
                reader = Reader::NEW;
                continue;
            };
            let hidden = !scan.in_over && scan.hides(name);
            let spent = !hidden && self.check_entry(services, scan, dir, name);
            looks = looks.saturating_add(1);
            if !services.first && (spent || looks >= LOOKS) {
                self.scanned.reader = reader;
                return Ok(false);
            }
        }
    }

    /// Ends a scan that has looked at everything; answers whether what it
    /// missed leaves at once, `None` when nothing was missed.
    fn end_scan(
        &mut self,
        services: &mut Services,
        scan: &Scan,
    ) -> Option<bool> {
        if let Some(more) = self.scanned.refused.end(scan.news.whole) {
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
        self.close_scan(services, scan.news.whole);
        if scan.filling {
            self.keep_all();
            return None;
        }
        Some(scan.revive)
    }

    /// Ends a scan that could not look at everything: what runs goes on, and
    /// the watches tell when it is back.
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
        if errno != Errno::ENOENT {
            // Of a lack of descriptors or memory that is over no watch tells.
            services.schedule_full(AGAIN);
        }
        self.keep_all();
        self.close_scan(services, all);
    }

    /// What every end of a scan has in common.
    fn close_scan(&mut self, services: &mut Services, all: bool) {
        if let (true, Some(way)) = (all, &mut self.path_watch) {
            way.end_scan();
        }
        services.first = false;
    }

    /// Nothing that runs is missing.
    fn keep_all(&mut self) {
        let slots = self.table.iter_mut().flatten();
        slots.for_each(|slot| slot.presence.keep());
    }

    /// Changes are not all seen: looks for them now and then.
    pub(super) fn watch_failed(
        &mut self,
        services: &mut Services,
        blind: WatchError,
    ) {
        services.schedule_full(AGAIN);
        if let Some(way) = &mut self.path_watch {
            way.mark_incomplete();
        }
        self.report(b"", &watch_error_line(blind), None);
    }

    /// Says why the entry `name` cannot be used unless that was said; false
    /// when there is no place to remember it.
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

    /// Tells every slot that the last scan missed to exit, once that has held
    /// long enough: `at_once` when an operator asked for the scan.
    fn stop_unlisted(&mut self, at_once: bool) {
        let now = clock::mono();
        for index in 0..self.table.len() {
            let Some(slot) = self.slot(index) else {
                continue;
            };
            let service = slot.service.as_ref();
            // No directory that was removed comes back.
            let removed = || service.is_some_and(|s| file::is_removed(s.dir()));
            match slot.presence.end(|| at_once || removed(), now) {
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

/// Why changes are looked for every five seconds only.
fn watch_error_line(blind: WatchError) -> Line {
    let mut line = Line::new();
    line.text("unable to watch the services directory: ");
    match blind {
        WatchError::Refused(errno) => line.text(error::text(errno)),
        WatchError::Watches => full(&mut line, "watches", config::WATCHES),
        WatchError::Path => full(&mut line, "path-bytes", config::PATH_BYTES),
        WatchError::Silent => {
            line.text("its file system does not tell changes")
        }
    };
    line.text("; scanning every 5 seconds");
    line
}

/// Appends `more than BOUND = VALUE`.
fn full<'l>(line: &'l mut Line, bound: &str, value: usize) -> &'l mut Line {
    line.text("more than ").text(bound).text(" = ");
    line.number(u64::try_from(value).unwrap_or(u64::MAX))
}

/// The directory that a path starts from.
fn start_of(path: &[u8]) -> &'static [u8] {
    if path.starts_with(b"/") { b"/" } else { b"." }
}
