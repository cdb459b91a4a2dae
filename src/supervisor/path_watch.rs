//! Watches the directories on the path to the services directory, and on the
//! paths that its links lead to, so that a change there is seen at once.

use crate::{
    config,
    sys::{
        AsFd, At, CWD, Errno, Fd, error, file,
        inotify::{Inotify, WatchId, WatchKind},
        poller::{Interest, Poller},
    },
    text::{self, Line, Name, Path},
};
use core::ffi::CStr;
use heapless::Vec;

use super::source::Source;

/// Maximum number of links followed on one path; the kernel has the same
/// limit.
const MAX_LINKS: usize = 40;

/// Maximum number of changed names remembered between two scans. If there are
/// more, the next scan looks at all entries.
const CHANGED_NAMES: usize = 8;

/// Changes since the last scan.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Changed names in the services directory, each once, and whether the
    /// entry was moved there: such an entry is complete and taken at once.
    pub(super) names: Vec<(Name, bool), CHANGED_NAMES>,
    /// Set if something else changed: all entries are to be checked.
    pub(super) whole: bool,
}

impl Changes {
    /// Returns whether anything has changed.
    pub(super) fn any(&self) -> bool {
        self.whole || !self.names.is_empty()
    }

    /// Records a changed name.
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

    /// Returns whether a scan has to check a name.
    pub(super) fn concerns(&self, name: &[u8]) -> bool {
        self.whole || self.names(name)
    }

    /// Returns whether a name is among those that have changed.
    pub(super) fn names(&self, name: &[u8]) -> bool {
        self.names.iter().any(|(known, _)| known == name)
    }

    /// Returns whether an entry was moved to its name. If there were too many
    /// to record, the others are taken as late as entries created in place.
    pub(super) fn moved(&self, name: &[u8]) -> bool {
        let mut names = self.names.iter();
        names.any(|(known, moved)| *moved && known == name)
    }
}

/// Watches of the path to the services directory.
///
/// Each scan follows the path again, so that nothing that happens during the
/// scan is missed. The inotify descriptor stays open meanwhile: the kernel
/// blocks its close for up to 20 ms, a grace period of its own.
#[derive(Debug)]
pub(super) struct PathWatch {
    watch: Inotify,
    dirs: Vec<WatchedDir, { config::WATCHES }>,
    /// Directory that the last link led into, and its watch. Its path is
    /// watched too, so that a change of either is seen: further links into it
    /// need no watch. Most links of a services directory lead into the same
    /// one.
    last_prefix: Option<(Path, WatchId)>,
    /// Set if a path may end before its last component. If none does, newly
    /// created names are not on any path.
    has_dangling: bool,
    /// The mount table: mounts over a component of the path show here only.
    _mounts: Option<Fd>,
}

/// Watched directory.
#[derive(Debug)]
struct WatchedDir {
    id: WatchId,
    /// Names in it that are on a path, each as one bit. Two names with the
    /// same bit only cause a needless scan.
    names: u64,
    /// Set for the services directory: every name without a leading dot counts
    /// as a change.
    all: bool,
    /// Set if no path has led there since the last `begin_scan`.
    stale: bool,
}

/// Reason why a path could not be watched as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WatchError {
    /// The kernel refused a watch.
    Refused(Errno),
    /// There are more directories than `config::WATCHES`.
    Watches,
    /// A path is longer than `config::PATH_BYTES`.
    Path,
    /// The file system does not report changes.
    Silent,
}

impl PathWatch {
    /// Returns a watch that wakes the loop; it watches only mounts at first.
    pub(super) fn new(poller: &Poller) -> Result<Self, WatchError> {
        let watch = Inotify::lasting().map_err(WatchError::Refused)?;
        poller
            .add(watch.as_fd(), Interest::Readable, Source::Services.token())
            .map_err(WatchError::Refused)?;
        // Without /proc, a mount over the path is not seen; nothing else is
        // lost.
        let mounts = file::open_read(CWD, c"/proc/self/mountinfo").ok();
        let mounts = mounts.filter(|mounts| {
            let token = Source::Mounts.token();
            let added = poller.add(mounts.as_fd(), Interest::Exception, token);
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

    /// Adds what has happened to `changes`.
    pub(super) fn read_events(&self, changes: &mut Changes) {
        let seen = self.watch.drain(|change| {
            let name = change.name;
            // The kernel's queue has overflowed.
            changes.whole |= change.id == WatchId::MAX;
            let dirs = self.dirs.iter().filter(|dir| dir.id == change.id);
            for dir in dirs {
                let on_path = self.has_dangling || !change.created;
                let on_path = on_path && dir.names & bit(name) != 0;
                // An event for the removal of the watched directory has no
                // name.
                changes.whole |= name.is_empty() || on_path;
                if dir.all && !name.starts_with(b".") {
                    // Its new name may be in this directory too, and not yet
                    // reported.
                    changes.whole |= change.moved_from;
                    changes.note(name, change.moved_to);
                }
            }
        });
        changes.whole |= seen.is_err();
    }

    /// Prepares for a scan, which follows every path again.
    pub(super) fn begin_scan(&mut self) {
        for dir in &mut self.dirs {
            (dir.names, dir.all, dir.stale) = (0, false, true);
        }
        self.last_prefix = None;
        self.has_dangling = false;
    }

    /// Records that a path could not be followed to its end.
    pub(super) fn mark_incomplete(&mut self) {
        self.has_dangling = true;
    }

    /// Removes the watches of directories that no path has led to since
    /// `begin_scan`.
    pub(super) fn end_scan(&mut self) {
        for dir in self.dirs.iter().filter(|dir| dir.stale) {
            self.watch.remove(dir.id);
        }
        self.dirs.retain(|dir| !dir.stale);
    }

    /// Watches the path that the entry `name` of the directory `from`, open as
    /// `at`, leads to if it is a link.
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
        let known = self.last_prefix.as_ref();
        let known =
            known.filter(|(dir, _)| dir.as_bytes() == holder.as_bytes());
        if let Some((_, id)) = known {
            if let Some(dir) = self.dirs.iter_mut().find(|dir| dir.id == *id) {
                dir.names |= bit(last);
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
        let id = self.add(&holder, bit(last), false)?;
        self.last_prefix = id.map(|id| (holder, id));
        Ok(())
    }

    /// Follows `path` from the directory `from`, links included: watches every
    /// directory that holds a component of it, and with `all` also the
    /// directory at its end, for every change in it.
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
            if self.add(&done, bit(name), false)?.is_none() {
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
                // Not a link.
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

    /// Watches one directory. Returns `None` when it does not exist; its parent
    /// is watched already.
    fn add(
        &mut self,
        dir: &Path,
        names: u64,
        all: bool,
    ) -> Result<Option<WatchId>, WatchError> {
        let id = match self.watch.add(dir.as_c_str(), WatchKind::Entries) {
            Ok(id) => id,
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => {
                self.has_dangling = true;
                return Ok(None);
            }
            Err(errno) => return Err(WatchError::Refused(errno)),
        };
        if let Some(dir) = self.dirs.iter_mut().find(|dir| dir.id == id) {
            dir.names |= names;
            dir.all |= all;
            dir.stale = false;
            return Ok(Some(id));
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
            .map(|()| Some(id))
            .map_err(|_| WatchError::Watches)
    }
}

impl WatchError {
    /// Returns the line that says why the directory is scanned every five seconds
    /// only.
    pub(super) fn line(self) -> Line {
        let mut line = Line::new();
        line.text("unable to watch the services directory: ");
        match self {
            Self::Refused(errno) => line.text(error::text(errno)),
            Self::Watches => {
                append_capacity(&mut line, "watches", config::WATCHES)
            }
            Self::Path => {
                append_capacity(&mut line, "path-bytes", config::PATH_BYTES)
            }
            Self::Silent => line.text("its file system does not tell changes"),
        };
        line.text("; scanning every 5 seconds");
        line
    }
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

/// Returns the bit that stands for a name.
fn bit(name: &[u8]) -> u64 {
    1_u64.wrapping_shl(text::hash(name))
}

/// Returns where the first component of `path` from `at` on begins and ends.
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
    fn paths_are_split() {
        let path = b"//a/bc//";
        assert_eq!(component(path, 0), Some((2, 3)));
        assert_eq!(component(path, 3), Some((4, 6)));
        assert_eq!(component(path, 6), None);
        assert_eq!(component(b"", 0), None);
        assert_eq!(component(b"a", 0), Some((0, 1)));
    }
}
