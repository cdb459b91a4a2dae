//! Which directories lie on the way to the services directory and to what its
//! links lead to, watched so that a change there is seen at once.

use crate::{
    config,
    sys::{
        AsFd, At, CWD, Errno, Fd, file,
        inotify::{Inotify, WatchId, WatchKind},
        poller::{Interest, Poller},
    },
    text::{self, Name, Path},
};
use core::ffi::CStr;
use heapless::Vec;

use super::{TOKEN_MOUNTS, TOKEN_SERVICES};

/// Links followed on one way, as the kernel's own bound.
const MAX_LINKS: usize = 40;

/// Names remembered that have changed in the services directory since the last
/// scan. Of more than this, a scan looks at all.
const CHANGED_NAMES: usize = 8;

/// What has changed since the last scan.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Names in the services directory, each once. One that was moved there
    /// is complete and taken at once.
    pub(super) names: Vec<(Name, bool), CHANGED_NAMES>,
    /// Something else: all is to be looked at.
    pub(super) whole: bool,
}

impl Changes {
    /// Whether there is anything.
    pub(super) fn any(&self) -> bool {
        self.whole || !self.names.is_empty()
    }

    /// A name has changed.
    pub(super) fn note(&mut self, name: &[u8], moved: bool) {
        let known = self.names.iter_mut().find(|(known, _)| known == name);
        if let Some((_, moved_before)) = known {
            *moved_before |= moved;
            return;
        }
        let noted = text::name(name).ok().map(|name| (name, moved));
        let noted = noted.is_some_and(|it| self.names.push(it).is_ok());
        self.whole |= !noted;
    }

    /// Whether a scan has to look at a name.
    pub(super) fn concerns(&self, name: &[u8]) -> bool {
        self.whole || self.names(name)
    }

    /// Returns true when a name is among those that have changed.
    pub(super) fn names(&self, name: &[u8]) -> bool {
        self.names.iter().any(|(known, _)| known == name)
    }

    /// Whether a name was moved to where it is. When too many were, those that
    /// were not noted are taken as late as what was made in place.
    pub(super) fn moved(&self, name: &[u8]) -> bool {
        let mut names = self.names.iter();
        names.any(|(known, moved)| *moved && known == name)
    }
}

/// The way to the services directory, watched.
///
/// It is followed anew in each scan: then nothing that happens during the
/// scan is missed. What tells changes stays open meanwhile: the kernel lets
/// who closes it wait up to 20 ms for a grace period of its own.
#[derive(Debug)]
pub(super) struct PathWatch {
    watch: Inotify,
    dirs: Vec<WatchedDir, { config::WATCHES }>,
    /// The directory that the last link led into, whose way is watched: most
    /// links of a services directory lead into the same one.
    last_prefix: Option<Path>,
    /// A way may end before its last name. Where none does, nothing that is
    /// made new is on one.
    has_dangling: bool,
    /// Mounts over a part of the way show here only.
    _mounts: Option<Fd>,
}

/// One watched directory.
#[derive(Debug)]
struct WatchedDir {
    id: WatchId,
    /// The names there that are on a way, each as one bit. Two names with one bit
    /// cost a scan too many.
    names: u64,
    /// It is the services directory: every name without a dot is news.
    all: bool,
    /// No way has led there since the last `begin`.
    stale: bool,
}

/// Why a way could not be watched as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WatchError {
    /// The kernel refused a watch.
    Refused(Errno),
    /// There are more directories than `config::WATCHES`.
    Watches,
    /// A path is longer than `config::PATH_BYTES`.
    Path,
    /// The file system does not tell changes.
    Silent,
}

impl PathWatch {
    /// Watches nothing but mounts yet; wakes the loop.
    pub(super) fn new(waiter: &Poller) -> Result<Self, WatchError> {
        let watch = Inotify::new().map_err(WatchError::Refused)?;
        waiter
            .add(watch.as_fd(), Interest::Readable, TOKEN_SERVICES)
            .map_err(WatchError::Refused)?;
        // Without /proc a mount over the way is not seen; nothing else is
        // lost.
        let mounts = file::open_read(CWD, c"/proc/self/mountinfo").ok();
        let mounts = mounts.filter(|mounts| {
            let added =
                waiter.add(mounts.as_fd(), Interest::Exception, TOKEN_MOUNTS);
            added.is_ok()
        });
        Ok(Self {
            watch,
            dirs: Vec::new(),
            last_prefix: None,
            has_dangling: false,
            _mounts: mounts,
        })
    }

    /// Adds to the news what has happened.
    pub(super) fn read_events(&self, news: &mut Changes) {
        let seen = self.watch.drain(|change| {
            let name = change.name;
            // The overflow of the kernel's queue.
            news.whole |= change.id == WatchId::MAX;
            let parts = self.dirs.iter().filter(|part| part.id == change.id);
            for part in parts {
                let on_way = self.has_dangling || !change.created;
                let on_way = on_way && part.names & bit(name) != 0;
                // The end of a watched directory has no name.
                news.whole |= name.is_empty() || on_way;
                if part.all && !name.starts_with(b".") {
                    // Its new name may be here too and still to be told.
                    news.whole |= change.moved_from;
                    news.note(name, change.moved_to);
                }
            }
        });
        news.whole |= seen.is_err();
    }

    /// Every way is about to be followed anew.
    pub(super) fn begin_scan(&mut self) {
        for part in &mut self.dirs {
            (part.names, part.all, part.stale) = (0, false, true);
        }
        self.last_prefix = None;
        self.has_dangling = false;
    }

    /// A way could not be followed to its end.
    pub(super) fn mark_incomplete(&mut self) {
        self.has_dangling = true;
    }

    /// Watches no more where no way has led since `begin`.
    pub(super) fn end_scan(&mut self) {
        for part in self.dirs.iter().filter(|part| part.stale) {
            self.watch.remove(part.id);
        }
        self.dirs.retain(|part| !part.stale);
    }

    /// Goes where the entry `name` of the directory `from`, open as `at`,
    /// leads to if it is a link.
    pub(super) fn watch_link(
        &mut self,
        (from, at): (&[u8], At<'_>),
        name: &CStr,
    ) -> Result<(), WatchError> {
        let mut buffer = [0; config::PATH_BYTES];
        let target = match file::link_target(at, name, &mut buffer) {
            Ok(target) => target,
            Err(Errno::ENAMETOOLONG) => return Err(WatchError::Path),
            Err(_) => return Ok(()),
        };
        let from = if target.starts_with(b"/") { b"/" } else { from };
        let last = target.rsplit(|byte| *byte == b'/').next();
        let last = last.unwrap_or(target);
        let holder = target.strip_suffix(last).unwrap_or(b"");
        let too_long = |_| WatchError::Path;
        let holder = Path::join(&[from, b"/", holder]).map_err(too_long)?;
        let trodden = self.last_prefix.as_ref().map(Path::as_bytes);
        if trodden == Some(holder.as_bytes()) {
            if !self.add(&holder, bit(last), false)? {
                return Ok(());
            }
            let mut end = holder.clone();
            end.push(last).map_err(too_long)?;
            let mut buffer = [0; config::PATH_BYTES];
            match file::link_target(CWD, end.as_c_str(), &mut buffer) {
                Ok(_) | Err(Errno::ENAMETOOLONG) => {}
                Err(errno) => {
                    self.has_dangling |= errno != Errno::EINVAL;
                    return Ok(());
                }
            }
        }
        self.watch_path(from, target, false)?;
        self.last_prefix = Some(holder);
        Ok(())
    }

    /// Goes along `path` from the directory `from`, links followed: watches
    /// every directory that holds a component of it, and the directory at its
    /// end too if `all` that happens there matters.
    pub(super) fn watch_path(
        &mut self,
        from: &[u8],
        path: &[u8],
        all: bool,
    ) -> Result<(), WatchError> {
        let too_long = |_| WatchError::Path;
        let mut done = Path::join(&[from]).map_err(too_long)?;
        let mut todo = Path::join(&[path]).map_err(too_long)?;
        let mut at = 0;
        let mut links = 0_usize;
        while let Some((start, end)) = component(todo.as_bytes(), at) {
            let (name, rest) = match todo.as_bytes().get(start..) {
                Some(text) => text.split_at_checked(end.saturating_sub(start)),
                None => None,
            }
            .unwrap_or_default();
            if !self.add(&done, bit(name), false)? {
                return Ok(());
            }
            let holder = done.as_bytes().len();
            done.push(b"/").map_err(too_long)?;
            done.push(name).map_err(too_long)?;
            let mut buffer = [0; config::PATH_BYTES];
            match file::link_target(CWD, done.as_c_str(), &mut buffer) {
                Ok(target) if links < MAX_LINKS => {
                    links = links.saturating_add(1);
                    done.cut(holder);
                    if target.starts_with(b"/") {
                        done = Path::join(&[b"/"]).map_err(too_long)?;
                    }
                    todo =
                        Path::join(&[target, b"/", rest]).map_err(too_long)?;
                    at = 0;
                }
                Err(Errno::ENAMETOOLONG) => return Err(WatchError::Path),
                // No link.
                Err(Errno::EINVAL) => at = end,
                Ok(_) | Err(_) => {
                    self.has_dangling = true;
                    at = end;
                }
            }
        }
        if all {
            self.add(&done, 0, true)?;
        }
        Ok(())
    }

    /// Watches one directory; false when it is not there (its parent is
    /// watched already).
    fn add(
        &mut self,
        dir: &Path,
        names: u64,
        all: bool,
    ) -> Result<bool, WatchError> {
        let id = match self.watch.add(dir.as_c_str(), WatchKind::Entries) {
            Ok(id) => id,
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => {
                self.has_dangling = true;
                return Ok(false);
            }
            Err(errno) => return Err(WatchError::Refused(errno)),
        };
        if let Some(part) = self.dirs.iter_mut().find(|part| part.id == id) {
            part.names |= names;
            part.all |= all;
            part.stale = false;
            return Ok(true);
        }
        if self.dirs.is_full() {
            self.end_scan();
        }
        self.dirs
            .push(WatchedDir {
                id,
                names,
                all,
                stale: false,
            })
            .map(|()| true)
            .map_err(|_| WatchError::Watches)
    }
}

/// The bit that stands for a name.
fn bit(name: &[u8]) -> u64 {
    1_u64.wrapping_shl(text::hash(name))
}

/// Where the first component of `path` from `at` on begins and ends.
fn component(path: &[u8], at: usize) -> Option<(usize, usize)> {
    let is_slash = |byte: &u8| *byte == b'/';
    let skipped = path.get(at..)?.iter().position(|byte| !is_slash(byte))?;
    let start = at.saturating_add(skipped);
    let length = path.get(start..)?.iter().position(is_slash);
    let end = length.map_or(path.len(), |length| start.saturating_add(length));
    Some((start, end))
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn paths_come_apart() {
        let path = b"//a/bc//";
        assert_eq!(component(path, 0), Some((2, 3)));
        assert_eq!(component(path, 3), Some((4, 6)));
        assert_eq!(component(path, 6), None);
        assert_eq!(component(b"", 0), None);
        assert_eq!(component(b"a", 0), Some((0, 1)));
    }
}
