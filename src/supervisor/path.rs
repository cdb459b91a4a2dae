//! Which directories lie on the way to the services directory, watched so
//! that a link on the way that is retargeted is seen at once.

use core::ffi::CStr;

use crate::{
    config,
    sys::{
        AsFd, At, CWD, Errno, Fd, file,
        wait::{Waiter, Wake},
        watch::{Changes, Watch, WatchId},
    },
    text::{self, Path},
};
use heapless::Vec;

/// Links followed on one way, as the kernel's own bound.
const LINKS: usize = 40;

/// The way to the services directory, watched.
///
/// It is made anew before each scan: then nothing that happens during the
/// scan is missed, and there is no state to bring up to date.
#[derive(Debug)]
pub(super) struct Way {
    watch: Watch,
    /// The watches, each with the hash of the name that matters there; every
    /// name does in the services directory itself. Two names with one hash
    /// cost a scan too many.
    parts: Vec<(WatchId, Option<u32>), { config::WATCHES }>,
    /// Mounts over a part of the way show here only.
    mounts: Option<Fd>,
}

/// Why a way could not be watched as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Blind {
    /// The kernel refused a watch.
    Refused(Errno),
    /// A capacity was reached: its name and value.
    Full(&'static str, usize),
}

impl Way {
    /// Watches every directory that holds a component of `path`, links
    /// followed, and the directory at its end; wakes the loop with `token`.
    pub(super) fn new(
        path: &CStr,
        waiter: &Waiter,
        token: u64,
    ) -> Result<Self, Blind> {
        let watch = Watch::new().map_err(Blind::Refused)?;
        waiter
            .add(watch.as_fd(), Wake::Readable, token)
            .map_err(Blind::Refused)?;
        let mut way = Self {
            watch,
            parts: Vec::new(),
            mounts: None,
        };
        way.follow(path)?;
        // Without /proc a mount over the way is not seen; nothing else is
        // lost.
        if let Ok(mounts) = file::open_read(CWD, c"/proc/self/mountinfo")
            && waiter.add(mounts.as_fd(), Wake::Exception, token).is_ok()
        {
            way.mounts = Some(mounts);
        }
        Ok(way)
    }

    /// Whether something happened that calls for a scan.
    pub(super) fn changed(&self) -> bool {
        let mut changed = self.mounts_changed();
        let seen = self.watch.drain(|id, name| {
            // The overflow of the kernel's queue, or the end of a watched
            // directory, which has no name.
            changed |= id == WatchId::MAX || name.is_empty();
            changed |= self.parts.iter().any(|(watch, part)| {
                *watch == id
                    && part.map_or(!name.starts_with(b"."), |hash| {
                        hash == text::hash(name)
                    })
            });
        });
        changed || seen.is_err()
    }

    /// Whether a file system was mounted or unmounted since this was made.
    fn mounts_changed(&self) -> bool {
        self.mounts
            .as_ref()
            .is_some_and(|mounts| crate::sys::wait::excepted(mounts.as_fd()))
    }

    /// Goes along `path`, adding a watch at each step.
    fn follow(&mut self, path: &CStr) -> Result<(), Blind> {
        let full = Blind::Full("path-bytes", config::PATH_BYTES);
        let mut todo: Vec<u8, { config::PATH_BYTES }> =
            Vec::from_slice(path.to_bytes()).map_err(|_| full)?;
        let mut done: Vec<u8, { config::PATH_BYTES }> = Vec::new();
        let start: &[u8] = if path.to_bytes().starts_with(b"/") {
            b"/"
        } else {
            b"."
        };
        done.extend_from_slice(start).map_err(|_| full)?;
        let mut links = 0;
        while let Some((component, rest)) = split(&todo) {
            let here = join(&[&done]).ok_or(full)?;
            if !self.add(&here, Some(text::hash(component)))? {
                return Ok(());
            }
            let there = join(&[&done, b"/", component]).ok_or(full)?;
            let mut buffer = [0; config::PATH_BYTES];
            let target = file::link_target(CWD, there.as_c_str(), &mut buffer);
            if let (Ok(target), true) = (target, links < LINKS) {
                links = links.saturating_add(1);
                if target.starts_with(b"/") {
                    done.clear();
                    done.push(b'/').map_err(|_| full)?;
                }
                let next = join(&[target, b"/", rest]).ok_or(full)?;
                todo = Vec::from_slice(next.as_bytes()).map_err(|_| full)?;
            } else {
                done = Vec::from_slice(there.as_bytes()).map_err(|_| full)?;
                todo = Vec::from_slice(rest).map_err(|_| full)?;
            }
        }
        let here = join(&[&done]).ok_or(full)?;
        self.add(&here, None).map(|_| ())
    }

    /// Watches one directory; false when it is not there (its parent is
    /// watched already).
    fn add(&mut self, dir: &Path, part: Option<u32>) -> Result<bool, Blind> {
        match self.watch.add(dir.as_c_str(), Changes::Entries) {
            Ok(id) => self
                .parts
                .push((id, part))
                .map(|()| true)
                .map_err(|_| Blind::Full("watches", config::WATCHES)),
            Err(Errno::ENOENT | Errno::ENOTDIR | Errno::ELOOP) => Ok(false),
            Err(errno) => Err(Blind::Refused(errno)),
        }
    }
}

/// The first component of a path and what follows it.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let start = path.iter().position(|byte| *byte != b'/')?;
    let path = path.get(start..)?;
    let end = path.iter().position(|byte| *byte == b'/');
    Some(path.split_at(end.unwrap_or(path.len())))
}

/// A path of these parts, if it fits.
fn join(parts: &[&[u8]]) -> Option<Path> {
    Path::join(parts).ok()
}

/// Opens the services directory anew, to list it.
pub(super) fn open(path: &CStr) -> Result<Fd, Errno> {
    file::open_dir(CWD, path)
}

/// What `name` in the services directory leads to.
pub(super) fn info(dir: At<'_>, name: &CStr) -> Result<file::Info, Errno> {
    file::info(dir, name)
}
