//! Which service directories there are: the services directory against the
//! table (contract §3.1, design: directory changes).

use core::{ffi::CStr, time::Duration};

use crate::{
    config,
    sys::{
        AsFd, At, clock, dir, error,
        file::{self, Kind},
    },
    text::{self, Line},
    wire::clock::Instant,
};
use heapless::Vec;

use super::{
    Refusal, Supervisor, TOKEN_SERVICES,
    path::{self, Blind, Way},
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
    way: Option<Way>,
    due: Option<Instant>,
    /// The first scan takes everything: nobody is filling a directory that
    /// was there before this supervisor.
    first: bool,
    /// An operator asked: what was told to exit is taken up again.
    revive: bool,
    told: Told,
}

impl Services {
    /// Whether what is watched calls for a scan.
    pub(super) fn changed(&self) -> bool {
        self.way.as_ref().is_none_or(Way::changed)
    }

    /// When the next scan is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Asks for a scan `wait` from now, or earlier if one is due earlier.
    fn ask(&mut self, wait: Duration) {
        let due = clock::mono().after(wait);
        self.due = Some(self.due.map_or(due, |old| old.min(due)));
    }
}

impl Supervisor {
    /// Supervises every service directory in `path` from now on.
    pub fn serve(&mut self, path: &'static CStr) {
        self.services = Some(Services {
            path,
            way: None,
            due: None,
            first: true,
            revive: false,
            told: Told::new(),
        });
        self.scan_soon();
        self.scan_if_due();
    }

    /// Looks for service directories no more; those there are stay.
    pub fn serve_no_more(&mut self) {
        self.services = None;
        for slot in self.table.iter_mut().flatten() {
            slot.listed = false;
        }
        for place in self.table.iter_mut() {
            if place.as_ref().is_some_and(|slot| slot.service.is_none()) {
                *place = None;
            }
        }
    }

    /// Scans at once, and takes up again what was told to exit.
    pub fn rescan(&mut self) {
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
            let old = core::mem::take(&mut services.told);
            self.scan(&mut services, &old);
        }
        self.services = Some(services);
    }

    /// Compares the directory to the table.
    fn scan(&mut self, services: &mut Services, old: &Told) {
        // Watch first, list then: what changes in between is seen twice
        // rather than never.
        services.way = None;
        match Way::new(services.path, &self.waiter, TOKEN_SERVICES) {
            Ok(way) => services.way = Some(way),
            Err(blind) => {
                services.ask(AGAIN);
                self.once(services, old, b"", &blind_line(blind));
            }
        }
        for slot in self.table.iter_mut().flatten() {
            slot.listed = false;
        }
        let listed = path::open(services.path).and_then(|dir| {
            let at = dir.as_fd();
            dir::list(at, |name| self.look(services, old, at, name))
        });
        match listed {
            Ok(()) => self.dismiss(),
            Err(errno) => {
                // What runs goes on; the watches tell when it is back.
                for slot in self.table.iter_mut().flatten() {
                    slot.listed = true;
                }
                let mut line = Line::new();
                line.text("unable to open directory ");
                line.bytes(services.path.to_bytes()).text(": ");
                line.text(error::text(errno));
                self.once(services, old, b"", &line);
            }
        }
        services.first = false;
        services.revive = false;
    }

    /// Looks at one entry of the directory.
    fn look(
        &mut self,
        services: &mut Services,
        old: &Told,
        dir: At<'_>,
        name: &CStr,
    ) {
        let bytes = name.to_bytes();
        if bytes.starts_with(b".") {
            return;
        }
        let info = match path::info(dir, name) {
            Ok(info) if info.kind == Kind::Directory => info,
            Ok(_) => return,
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
            slot.listed = true;
            let revived = services.revive && slot.service.is_none();
            if !revived {
                return;
            }
            self.forget_ended(info.identity);
        }
        if !services.first && fresh(dir, name) {
            services.ask(SETTLE);
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
                if matches!(refusal, Refusal::Trouble(_)) {
                    services.ask(AGAIN);
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
                self.control(index, crate::machine::slot::Role::Service, b"x");
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
        let _remembered = services.told.push(key).is_ok();
        if !old.contains(&key) {
            let mut line = self.voice.head.clone();
            self.voice.say(line.bytes(what.as_bytes()));
        }
    }
}

/// Whether an entry is a directory, no link to one, and so young that it may
/// not be complete.
fn fresh(dir: At<'_>, name: &CStr) -> bool {
    let now = clock::wall().secs;
    file::info_of_link(dir, name)
        .is_ok_and(|info| info.kind == Kind::Directory && info.modified == now)
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
        Blind::Full(bound, value) => line
            .text("more than ")
            .text(bound)
            .text(" = ")
            .number(u64::try_from(value).unwrap_or(u64::MAX)),
    };
    line.text("; scanning every 5 seconds");
    line
}
