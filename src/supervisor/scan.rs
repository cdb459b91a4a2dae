//! Which service directories there are: the services directory against the
//! table (contract §3.1, design: directory changes).

use core::{ffi::CStr, time::Duration};

use crate::{
    config,
    sys::{
        AsFd, At, CWD, Errno, Fd, clock, dir, error,
        file::{self, Identity, Kind},
        place, watch,
    },
    text::{self, Line, Path},
    wire::clock::Instant,
};
use heapless::Vec;

use super::{
    Refusal, Supervisor,
    path::{Blind, News, Way},
};

/// How often the directory is scanned where changes cannot be watched, or
/// where something in it could not be taken up: runit's own interval.
const AGAIN: Duration = Duration::from_secs(5);

/// How old a directory that was made in place must be, so that who made it
/// has filled it.
const SETTLE: Duration = Duration::from_secs(1);

/// Complaints remembered from the last scan, so that each is made once for
/// as long as its cause lasts. When there are more, the rest is repeated.
type Told = Vec<u32, { config::SLOTS }>;

/// The services directory.
#[derive(Debug)]
pub(super) struct Services {
    path: &'static CStr,
    news: News,
    due: Option<Instant>,
    /// The first scan takes everything: nobody is filling a directory that
    /// was there before this supervisor.
    first: bool,
    /// Which directory it was when it was last compared.
    known: Option<Identity>,
    /// An operator asked: what was told to exit is taken up again.
    revive: bool,
    /// What becomes of one entry depends on others: two lead to one directory,
    /// or there was no place for all. Each scan looks at all then.
    entangled: bool,
    told: Told,
}

impl Services {
    /// Where they are.
    pub(super) fn path(&self) -> &'static CStr {
        self.path
    }

    /// When the next scan is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Asks for a scan of all `wait` from now, or earlier if one is due
    /// earlier.
    fn ask(&mut self, wait: Duration) {
        self.news.whole = true;
        self.ask_news(wait);
    }

    /// Asks for a scan of what is news then.
    fn ask_news(&mut self, wait: Duration) {
        let due = clock::mono().after(wait);
        self.due = Some(self.due.map_or(due, |old| old.min(due)));
    }
}

impl Supervisor {
    /// Supervises every service directory in `path` from now on.
    pub fn serve(&mut self, path: &'static CStr) {
        self.services = Some(Services {
            path,
            news: News::default(),
            due: None,
            first: true,
            known: None,
            revive: false,
            entangled: false,
            told: Told::new(),
        });
        self.scan_soon();
        self.scan_if_due();
        self.turns.begin(clock::mono());
    }

    /// Takes what has changed, and asks for a scan in this turn if it calls
    /// for one.
    pub(super) fn hear_changes(&mut self) {
        let Some(way) = &self.way else { return };
        let Some(services) = &mut self.services else {
            // What is not taken would wake the loop again and again.
            return way.hear(&mut News::default());
        };
        way.hear(&mut services.news);
        if services.news.any() {
            services.ask_news(Duration::ZERO);
        }
    }

    /// Asks for a look at one name in this turn or, outside of one, the next.
    pub(super) fn look_soon(&mut self, name: &[u8]) {
        if let Some(services) = &mut self.services {
            services.news.note(name, false);
            services.ask_news(Duration::ZERO);
        }
    }

    /// Looks for service directories no more; those there are stay.
    pub fn serve_no_more(&mut self) {
        self.services = None;
        if let Some(way) = &mut self.way {
            way.begin();
            way.end();
        }
        for slot in self.table.iter_mut().flatten() {
            slot.listed = false;
        }
        self.forget();
    }

    /// Scans at once, takes up again what was told to exit, and looks whether
    /// all supervise directories are what they were.
    pub fn rescan(&mut self) {
        for index in 0..self.table.len() {
            self.publish_soon(index);
        }
        if let Some(services) = &mut self.services {
            services.revive = true;
        }
        self.scan_soon();
        self.scan_if_due();
    }

    /// Asks for a scan in this turn or, outside of one, the next.
    pub(super) fn scan_soon(&mut self) {
        if let Some(services) = &mut self.services {
            services.ask(Duration::ZERO);
        }
    }

    /// Scans if that is due.
    pub(super) fn scan_if_due(&mut self) {
        let Some(mut services) = self.services.take() else {
            return;
        };
        let now = clock::mono();
        if services.due.is_some_and(|due| due <= now) {
            services.due = None;
            // `insert` looks whether there is a services directory.
            self.scan(&mut services);
        }
        self.services = Some(services);
    }

    /// Compares the directory to the table: all of it, or those names of it
    /// that are news.
    fn scan(&mut self, services: &mut Services) {
        // What led to this scan, if it was not that.
        if let Some(way) = &self.way {
            way.hear(&mut services.news);
        }
        let mut news = core::mem::take(&mut services.news);
        news.whole |= services.entangled || self.way.is_none();
        let old = services.told.clone();
        if news.whole {
            services.told.clear();
            services.entangled = false;
            // Watch first, list then: what changes in between is seen twice
            // rather than never.
            match self.way.take().map_or_else(|| Way::new(&self.waiter), Ok) {
                Ok(way) => self.way.insert(way).begin(),
                Err(blind) => self.is_blind(services, &old, b"", blind),
            }
        }
        for slot in self.table.iter_mut().flatten() {
            slot.listed &= !news.concern(&slot.name);
        }
        let listed = self.list(services, &old, &news);
        if listed == Ok(true) {
            self.dismiss();
        } else {
            // What runs goes on; the watches tell when it is back.
            for slot in self.table.iter_mut().flatten() {
                slot.listed = true;
            }
            if let Err((what, path, errno)) = listed {
                let mut line = Line::new();
                line.text(what).bytes(path.to_bytes()).text(": ");
                self.once(services, &old, b"", line.text(error::text(errno)));
                if errno != Errno::ENOENT {
                    // Of a lack of descriptors or memory that is over no watch
                    // tells.
                    services.ask(AGAIN);
                }
            }
        }
        if let (true, Some(way)) = (news.whole, &mut self.way) {
            way.end();
        }
        services.first = false;
        services.revive = false;
    }

    /// Looks at all entries that are news: those of the overlay, and those of the services
    /// directory that have no namesake there. False when somebody is about to
    /// fill that directory: it is another one than the last time, no link, and
    /// young.
    /// `Err` for what could not be done, with which directory, and why.
    fn list(
        &mut self,
        services: &mut Services,
        old: &Told,
        news: &News,
    ) -> Result<bool, (&'static str, &'static CStr, Errno)> {
        let paths = [place::overlay(services.path), Some(services.path)];
        let mut over: Option<Fd> = None;
        for path in paths.into_iter().flatten() {
            let bytes = path.to_bytes();
            if let (true, Some(way)) = (news.whole, &mut self.way)
                && let Err(blind) = way.follow(start_of(bytes), bytes, true)
            {
                self.is_blind(services, old, b"", blind);
            }
            let failed = |what| move |errno| (what, path, errno);
            let info = match file::info(CWD, path) {
                // Nobody has needed the overlay yet.
                Err(Errno::ENOENT) if path != services.path => continue,
                info => info.map_err(failed("unable to stat "))?,
            };
            if path == services.path && services.known != Some(info.identity) {
                if let (false, Some(rest)) =
                    (services.first, unsettled(CWD, path))
                {
                    services.ask(rest);
                    return Ok(false);
                }
                services.known = Some(info.identity);
            }
            let dir = file::open_dir(CWD, path)
                .map_err(failed("unable to change directory to "))?;
            let at = dir.as_fd();
            if !watch::is_told(at) {
                self.is_blind(services, old, b"", Blind::Silent);
            }
            let mut look = |name: &CStr| {
                let hidden = over.as_ref().is_some_and(|over| {
                    file::info_of_link(over.as_fd(), name).is_ok()
                });
                if !hidden {
                    self.look(services, (old, news), (path, at), name);
                }
            };
            if news.whole {
                dir::list(at, look)
                    .map_err(failed("unable to read directory "))?;
            } else {
                for (name, _) in &news.names {
                    // It has no NUL and fits: it came from the kernel.
                    if let Ok(name) = Path::join(&[name]) {
                        look(name.as_c_str());
                    }
                }
            }
            over = Some(dir);
        }
        Ok(true)
    }

    /// Changes are not all seen: looks for them now and then.
    fn is_blind(
        &mut self,
        services: &mut Services,
        old: &Told,
        name: &[u8],
        blind: Blind,
    ) {
        services.ask(AGAIN);
        if let Some(way) = &mut self.way {
            way.is_cut();
        }
        self.once(services, old, name, &blind_line(blind));
    }

    /// Looks at one entry of the directory.
    fn look(
        &mut self,
        services: &mut Services,
        (old, news): (&Told, &News),
        (path, dir): (&CStr, At<'_>),
        name: &CStr,
    ) {
        let bytes = name.to_bytes();
        if bytes.starts_with(b".") {
            return;
        }
        // First, so that a link to nothing is taken when there is something.
        if let Some(way) = &mut self.way
            && let Err(blind) = way.enter((path.to_bytes(), dir), name)
        {
            if news.whole || blind != Blind::Watches {
                self.is_blind(services, old, bytes, blind);
            } else {
                // Watches that are of no use any more are in the way.
                services.ask(Duration::ZERO);
            }
        }
        let info = match file::info(dir, name) {
            Ok(info) if info.kind == Kind::Directory => info,
            Ok(_) => return,
            // Gone since it was listed, and not a link to nothing.
            Err(_) if file::info_of_link(dir, name).is_err() => return,
            Err(errno) => {
                let mut line = Line::new();
                line.text("unable to stat ").bytes(bytes).text(": ");
                line.text(error::text(errno));
                self.once(services, old, bytes, &line);
                return;
            }
        };
        let known = self.table.iter_mut().flatten();
        let mut known = known.filter(|slot| slot.identity == info.identity);
        if let Some(slot) = known.next() {
            if slot.listed {
                services.entangled = true;
            } else if let Ok(name) = text::name(bytes) {
                // The directory may have been renamed.
                slot.name = name;
            }
            slot.listed = true;
            let revived = services.revive && slot.service.is_none();
            if !revived {
                return;
            }
            self.forget_ended(info.identity);
        }
        let arrived = news.moved(bytes);
        if !services.first
            && !arrived
            && let Some(rest) = unsettled(dir, name)
        {
            services.ask(rest);
            return;
        }
        if !services.first && self.is_spent() {
            services.news.note(bytes, arrived);
            services.ask_news(Duration::ZERO);
            return;
        }
        let inserted = file::open_dir(dir, name)
            .map_err(|errno| Refusal::of("open directory", c".", errno))
            .and_then(|dir| self.insert(bytes, info.identity, dir));
        match inserted {
            Ok(()) => {
                // `insert` could not know: the services are not in place
                // during a scan.
                let slots = self.table.iter_mut().flatten();
                for slot in slots.filter(|s| s.identity == info.identity) {
                    slot.listed = true;
                }
            }
            Err(refusal) => {
                match refusal {
                    Refusal::Trouble(_) => services.ask(AGAIN),
                    Refusal::Full(..) => services.entangled = true,
                }
                self.once(services, old, bytes, &refused_line(refusal, bytes));
            }
        }
    }

    /// Tells every slot that is no longer listed to exit.
    fn dismiss(&mut self) {
        for index in 0..self.table.len() {
            let Some(slot) = self.slot(index) else {
                continue;
            };
            if slot.listed || slot.leaving {
                continue;
            }
            slot.leaving = true;
            if slot.service.is_none() {
                self.release(index);
            } else {
                self.exit(index);
            }
        }
    }

    /// Frees the place of a slot that has ended.
    fn forget_ended(&mut self, identity: file::Identity) {
        for place in self.table.iter_mut() {
            let ended = place.as_ref().is_some_and(|slot| {
                slot.identity == identity && slot.service.is_none()
            });
            if ended {
                *place = None;
            }
        }
    }

    /// Says a line unless the last scan had the same to say of this entry.
    fn once(
        &self,
        services: &mut Services,
        old: &Told,
        name: &[u8],
        what: &Line,
    ) {
        let key = text::hash(name) ^ text::hash(what.as_bytes());
        if !services.told.contains(&key) {
            let _remembered = services.told.push(key).is_ok();
        }
        if !old.contains(&key) {
            let mut line = self.voice.head.clone();
            self.voice.say(line.bytes(what.as_bytes()));
        }
    }
}

/// How long an entry has to be left alone yet: it is a directory, no link to
/// one, and so young that it may not be complete.
///
/// One from the future is not young: the clock was wrong, then or now.
fn unsettled(dir: At<'_>, name: &CStr) -> Option<Duration> {
    let info = file::info_of_link(dir, name).ok()?;
    let now = clock::wall().in_nanos();
    let age = now.checked_sub(info.modified.in_nanos())?;
    let rest = SETTLE.checked_sub(Duration::from_nanos(age))?;
    (info.kind == Kind::Directory).then_some(rest)
}

/// `unable to start runsv NAME: ...`, as runsvdir says it.
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
        Refusal::Trouble(trouble) => {
            super::tell(&mut line, trouble);
        }
    }
    line
}

/// Why changes are looked for every five seconds only.
fn blind_line(blind: Blind) -> Line {
    let mut line = Line::new();
    line.text("unable to watch the services directory: ");
    match blind {
        Blind::Refused(errno) => line.text(error::text(errno)),
        Blind::Watches => full(&mut line, "watches", config::WATCHES),
        Blind::Path => full(&mut line, "path-bytes", config::PATH_BYTES),
        Blind::Silent => line.text("its file system does not tell changes"),
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
