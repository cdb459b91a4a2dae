//! One log directory: opened, written, rotated, pruned (contract §5.2, §5.6,
//! §5.8).

use core::{ffi::CStr, time::Duration};

use heapless::Vec;

use crate::{
    config,
    machine::{line::Piece, pattern, rotate::Fill},
    sys::{self, AsFd, CWD, Errno, Fd, clock, dir, fd, file},
    text::Line,
    wire::{
        clock::{Instant, Wall},
        logconfig::{self, Decision},
        logname::{Kind, LogName},
    },
};

use super::{Output, Voice, after, is_due};

/// Permission bits of `current` while it is written.
const OPEN: u32 = 0o644;
/// The same when it was closed in order: the owner's x bit says so.
const CLOSED: u32 = 0o744;

/// A line copied to descriptor 2: stamp, prefix, text, `...`, newline.
type Copied = Vec<u8, { config::LOG_LINE_BYTES + config::MESSAGE_BYTES + 32 }>;

/// An open log directory.
pub(super) struct Directory {
    name: &'static CStr,
    dir: Fd,
    /// The lock is held as long as this is open.
    _lock: Fd,
    current: Fd,
    /// The text of `config`, for its patterns.
    config: Vec<u8, { config::FILE_BYTES }>,
    prefix: Vec<u8, { config::MESSAGE_BYTES }>,
    fill: Fill,
    keep: u64,
    keep_full: u64,
    age: Duration,
    /// When `current` is old enough.
    due: Option<Instant>,
    /// The newest moment in a name here: none is given an older one, also
    /// when the clock was set back.
    newest: Wall,
    /// The open line goes to the log.
    selected: bool,
}

/// What a look at the old logs finds.
struct Old {
    count: u64,
    oldest: Option<LogName>,
    newest: Wall,
}

impl Directory {
    /// Opens a directory; `None` when it does not work, which is said.
    #[allow(
        clippy::large_stack_frames,
        reason = "the size before optimisation: audit prints the real one"
    )]
    pub(super) fn open(voice: &mut Voice, name: &'static CStr) -> Option<Self> {
        let subject = name.to_bytes();
        let warn = |what: &str, errno| {
            voice.warn("warning", what, subject, errno);
        };
        let dir = file::open_dir(CWD, name)
            .map_err(|errno| warn("unable to open log directory", errno))
            .ok()?;
        let lock = file::open_append(dir.as_fd(), c"lock")
            .and_then(|lock| file::lock_now(lock.as_fd()).map(|()| lock))
            .map_err(|errno| warn("unable to lock directory", errno))
            .ok()?;
        let mut text = [0; config::FILE_BYTES];
        let text = match file::read_whole(dir.as_fd(), c"config", &mut text) {
            Ok(text) => {
                voice.info(&[b"read: ", subject, b"/config"]);
                text
            }
            Err(Errno::ENOENT) => &[],
            Err(errno) => {
                voice.warn("warning", "unable to read config", subject, errno);
                &[]
            }
        };
        if text.len() == config::FILE_BYTES {
            let mut line = voice.line("warning");
            line.bytes(subject).text("/config: too long (file-bytes: ");
            line.text("the bound is ");
            line.number(u64::try_from(config::FILE_BYTES).unwrap_or(0));
            sys::complain(line.text(")").finish());
        }
        let settings = logconfig::settings(text, |odd| {
            let mut line = voice.line("warning");
            line.bytes(subject).text("/config: not supported: ");
            sys::complain(line.bytes(odd.0).finish());
        });
        let line = voice.request.length;
        let mut directory = Self {
            name,
            current: file::open_append(dir.as_fd(), c"lock").ok()?,
            dir,
            _lock: lock,
            // Both fit: the text is no longer, and neither is the prefix
            // that is put before a line.
            config: Vec::from_slice(text).unwrap_or_default(),
            prefix: settings
                .prefix
                .iter()
                .copied()
                .take(config::MESSAGE_BYTES)
                .collect(),
            fill: Fill {
                size: 0,
                bound: settings.size,
                line: u64::try_from(line).unwrap_or(u64::MAX),
            },
            keep: settings.keep,
            keep_full: settings.keep_full,
            age: settings.age,
            due: None,
            newest: Wall { secs: 0, nanos: 0 },
            selected: true,
        };
        directory.newest = directory.look().ok()?.newest;
        directory
            .begin(voice)
            .map_err(|errno| {
                let what = "unable to open current";
                voice.warn("warning", what, subject, errno);
            })
            .ok()?;
        Some(directory)
    }

    /// Opens `current`: goes on with one that was closed in order; one that
    /// was not is put aside.
    fn begin(&mut self, voice: &mut Voice) -> Result<(), Errno> {
        let at = self.dir.as_fd();
        let name = self.name.to_bytes();
        let found = match file::info(at, c"current") {
            Ok(info) => Some(info),
            Err(Errno::ENOENT) => None,
            Err(errno) => return Err(errno),
        };
        let mut size = 0;
        let what: &[u8] = match found {
            Some(info) if info.size > 0 && info.mode & 0o100 == 0 => {
                self.put_aside(voice, Kind::Unsafe, info.size)?;
                self.prune(voice);
                b"new: "
            }
            Some(info) => {
                size = info.size;
                b"append: "
            }
            None => b"new: ",
        };
        self.create()?;
        voice.info(&[what, name, b"/current"]);
        self.fill.size = size;
        Ok(())
    }

    /// Opens `current` for appending.
    fn create(&mut self) -> Result<(), Errno> {
        self.current = file::open_append(self.dir.as_fd(), c"current")?;
        file::set_mode_of(self.current.as_fd(), OPEN)?;
        self.fill.size = 0;
        self.due =
            (self.age > Duration::ZERO).then(|| clock::mono().after(self.age));
        Ok(())
    }

    /// Gives `current` the name of an old log.
    fn put_aside(
        &mut self,
        voice: &Voice,
        kind: Kind,
        size: u64,
    ) -> Result<(), Errno> {
        let at = self.dir.as_fd();
        loop {
            self.newest = clock::wall().max(after(self.newest));
            let new = LogName::new(self.newest, kind);
            let to = new.as_c_str();
            let renamed = match file::rename_new(at, c"current", to) {
                // Not on this file system, or not with this kernel. Nobody
                // else makes such names here: the directory is locked.
                Err(Errno::EINVAL | Errno::ENOSYS) => {
                    match file::info(at, to) {
                        Err(Errno::ENOENT) => file::rename(at, c"current", to),
                        Ok(_) => Err(Errno::EEXIST),
                        Err(errno) => Err(errno),
                    }
                }
                other => other,
            };
            match renamed {
                Ok(()) => {
                    let mut text = Line::new();
                    text.bytes(new.as_bytes()).text(" ").number(size);
                    let name = self.name.to_bytes();
                    let parts: [&[u8]; 4] =
                        [b"rename: ", name, b"/current ", text.as_bytes()];
                    voice.info(&parts);
                    return Ok(());
                }
                Err(Errno::EEXIST) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    /// When `current` is old enough to be rotated.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Rotates what is old enough, or on demand.
    pub(super) fn look_at_clock(
        &mut self,
        voice: &mut Voice,
        now: Instant,
        rotate: bool,
    ) {
        let due = is_due(self.due, now);
        if self.fill.size > 0 && (due || rotate) {
            self.rotate(voice);
        } else if due {
            // Nothing in it yet: it is old from now on.
            self.due = Some(now.after(self.age));
        }
    }

    /// Takes a piece of a line.
    pub(super) fn log(
        &mut self,
        voice: &mut Voice,
        output: &mut Output,
        piece: &Piece<'_>,
        stamp: &[u8],
    ) {
        if piece.first {
            let most = voice.request.length.min(piece.bytes.len());
            let text = piece.bytes.get(..most).unwrap_or(&[]);
            let copied = self.decide(text);
            if copied {
                self.copy(stamp, text, most == voice.request.length);
            }
            if self.selected {
                self.put(voice, output, stamp);
                if !self.prefix.is_empty() {
                    let prefix = self.prefix.clone();
                    self.put(voice, output, &prefix);
                }
            }
        }
        if !self.selected {
            return;
        }
        self.put(voice, output, piece.bytes);
        if piece.last {
            self.put(voice, output, b"\n");
            if self.fill.is_full() {
                self.flush(voice, output);
                self.rotate(voice);
            }
        }
    }

    /// Asks the patterns what becomes of a line; answers whether it goes to
    /// descriptor 2. The last pattern that matches decides.
    fn decide(&mut self, text: &[u8]) -> bool {
        let mut copied = false;
        self.selected = true;
        for (decision, wanted) in logconfig::patterns(&self.config) {
            match decision {
                Decision::Log(yes) if yes != self.selected => {
                    self.selected ^= pattern::matches(wanted, text);
                }
                Decision::Error(yes) if yes != copied => {
                    copied ^= pattern::matches(wanted, text);
                }
                Decision::Log(_) | Decision::Error(_) => {}
            }
        }
        copied
    }

    /// Copies a line to descriptor 2.
    fn copy(&self, stamp: &[u8], text: &[u8], cut: bool) {
        let end: &[u8] = if cut { b"...\n" } else { b"\n" };
        let mut line = Copied::new();
        for part in [stamp, &self.prefix, text, end] {
            // All four fit: each has its own bound.
            let _fits = line.extend_from_slice(part).is_ok();
        }
        let _told = sys::write_all(fd::STDERR, &line).is_ok();
    }

    /// Appends to the output, rotating before a file would be too big.
    fn put(&mut self, voice: &mut Voice, output: &mut Output, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = self.fill.room(rest.len());
            if room == 0 {
                self.flush(voice, output);
                self.rotate(voice);
                continue;
            }
            let free = output.capacity().saturating_sub(output.len());
            if free == 0 {
                self.flush(voice, output);
                continue;
            }
            let (part, tail) = rest.split_at(room.min(free).min(rest.len()));
            // There is room: `free` says so.
            let _fits = output.extend_from_slice(part).is_ok();
            self.fill.add(part.len());
            rest = tail;
        }
    }

    /// Writes the output, for as long as it takes: nothing is dropped
    /// (contract §5.8).
    pub(super) fn flush(&mut self, voice: &mut Voice, output: &mut Output) {
        let mut rest: &[u8] = output;
        while !rest.is_empty() {
            match sys::write_once(self.current.as_fd(), rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or(&[]),
                Err(Errno::ENOSPC) if self.make_room(voice) => {}
                Err(errno) => {
                    let name = self.name.to_bytes();
                    voice.pause("unable to write to current", name, errno);
                }
            }
        }
        output.clear();
    }

    /// On a full disk, deletes the oldest log if more than `N` are there.
    fn make_room(&mut self, voice: &Voice) -> bool {
        if self.keep_full >= self.keep {
            return false;
        }
        let Ok(Old {
            count,
            oldest: Some(oldest),
            ..
        }) = self.look()
        else {
            return false;
        };
        if count <= self.keep_full {
            return false;
        }
        let mut line = voice.line("warning");
        line.text("out of disk space, delete: ")
            .bytes(self.name.to_bytes());
        sys::complain(line.text("/").bytes(oldest.as_bytes()).finish());
        file::remove(self.dir.as_fd(), oldest.as_c_str()).is_ok()
    }

    /// Ends `current` and begins a new one. What fails is tried for ever.
    fn rotate(&mut self, voice: &mut Voice) {
        let name = self.name.to_bytes();
        let size = self.fill.size;
        if size == 0 {
            return;
        }
        self.settle(voice);
        let mut failed = self.put_aside(voice, Kind::Safe, size);
        while let Err(errno) = failed {
            voice.pause("unable to rename current", name, errno);
            failed = self.put_aside(voice, Kind::Safe, size);
        }
        let mut failed = self.create();
        while let Err(errno) = failed {
            voice.pause("unable to create new current", name, errno);
            failed = self.create();
        }
        voice.info(&[b"new: ", name, b"/current"]);
        self.prune(voice);
    }

    /// Brings `current` onto the medium and marks it as closed in order.
    fn settle(&mut self, voice: &mut Voice) {
        let name = self.name.to_bytes();
        let current = self.current.as_fd();
        voice.insist("unable to fsync current logfile", name, || {
            file::sync(current)
        });
        voice.insist("unable to set mode of current", name, || {
            file::set_mode_of(current, CLOSED)
        });
    }

    /// Closes the directory in order.
    pub(super) fn close(&mut self, voice: &mut Voice) {
        voice.info(&[b"close: ", self.name.to_bytes()]);
        self.settle(voice);
    }

    /// Deletes the oldest logs until no more than `n` are left.
    fn prune(&mut self, voice: &Voice) {
        let name = self.name.to_bytes();
        loop {
            let old = match self.look() {
                Ok(old) => old,
                Err(errno) => {
                    let what = "unable to list log directory";
                    return voice.warn("warning", what, name, errno);
                }
            };
            let Some(oldest) = old.oldest else { return };
            if self.keep == 0 || old.count <= self.keep {
                return;
            }
            let parts: [&[u8]; 4] =
                [b"delete: ", name, b"/", oldest.as_bytes()];
            voice.info(&parts);
            let removed = file::remove(self.dir.as_fd(), oldest.as_c_str());
            if let Err(errno) = removed {
                let what = "unable to unlink processed leftover";
                return voice.warn("warning", what, name, errno);
            }
        }
    }

    /// Looks at the old logs. What a processor left unfinished is deleted.
    fn look(&self) -> Result<Old, Errno> {
        let mut old = Old {
            count: 0,
            oldest: None,
            newest: self.newest,
        };
        // Another opening: the offset of a listing belongs to one of them.
        let listed = file::open_dir(self.dir.as_fd(), c".")?;
        let at = listed.as_fd();
        dir::list(at, |name| {
            let Some(name) = LogName::parse(name.to_bytes()) else {
                return;
            };
            if name.is_temporary() {
                // What stays is looked at again next time.
                let _stays = file::remove(at, name.as_c_str()).is_err();
                return;
            }
            old.count = old.count.saturating_add(1);
            old.oldest = Some(old.oldest.map_or(name, |it| it.min(name)));
            if let Some(moment) = name.moment() {
                old.newest = old.newest.max(moment);
            }
        })?;
        Ok(old)
    }
}
