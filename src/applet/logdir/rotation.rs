//! How `current` becomes an old log, and how old logs go (contract §5.6,
//! §5.8).

use core::time::Duration;

use crate::{
    machine::rotate::OldLogs,
    sys::{AsFd, Errno, child, clock, dir, file, secure},
    text::Line,
    wire::logname::{Kind, LogName},
};

use super::{
    context::LogContext, directory::Directory, processor::Job, stall::Step,
};

/// How far a rotation is: the step that comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// There is none.
    Idle,
    /// The processor ends, `current` is brought onto the medium.
    Settle,
    /// It gets its new name.
    Rename,
    /// A new one is opened.
    Create,
}

impl Directory {
    /// Whether there is a processor for what was rotated.
    fn is_processed(&self) -> bool {
        !self.text.command().is_empty()
    }

    /// Opens `current`: goes on with one that was closed in order; one that
    /// was not is put aside, which is said.
    pub(in crate::applet) fn begin(
        &mut self,
        voice: &mut LogContext,
    ) -> Result<(), Errno> {
        let olds = self.look_at_olds()?;
        self.newest = olds.newest;
        if self.lost {
            self.move_other(voice)?;
        }
        let name = self.subject();
        let found = match file::info(self.dir.as_fd(), c"current") {
            Ok(info) => Some(info),
            Err(Errno::ENOENT) => None,
            Err(errno) => return Err(errno),
        };
        let unclean =
            found.is_some_and(|it| it.size > 0 && it.mode & 0o100 == 0);
        let mut size = 0;
        let what: &[u8] = match found {
            Some(info) if unclean => {
                voice.say(
                    "warning",
                    &[name, b"/current was not closed in order: kept as .u"],
                );
                self.put_aside(voice, Kind::Unsafe, info.size)?;
                b"new: "
            }
            Some(info) => {
                size = info.size;
                b"append: "
            }
            None => b"new: ",
        };
        self.create(voice)?;
        voice.info(&[what, name, b"/current"]);
        self.fill.size = size;
        self.is_open = true;
        self.lost = false;
        self.phase = Phase::Idle;
        self.stall.hasten();
        if unclean {
            self.tidy(voice);
        } else {
            self.begin_job(voice, olds.pending);
        }
        Ok(())
    }

    /// Opens `current` for appending.
    fn create(&mut self, voice: &LogContext) -> Result<(), Errno> {
        self.current = secure::append(self.dir.as_fd(), c"current")?;
        self.given(voice);
        self.mark(voice, self.access.open());
        self.fill.size = 0;
        self.is_at_start = true;
        self.due =
            (self.age > Duration::ZERO).then(|| clock::mono().after(self.age));
        self.sync_due = None;
        Ok(())
    }

    /// Gives `current` to the config's group. It has no other reader yet.
    fn given(&mut self, voice: &LogContext) {
        let given = self.access.give(self.current.as_fd());
        if let Err(errno) = given
            && !core::mem::replace(&mut self.unmarked, true)
        {
            let what = "unable to set group of current";
            voice.warn("warning", what, self.subject(), errno);
        }
    }

    /// Sets the mode of `current`. A file system without modes is no reason
    /// to lose lines: it is said once.
    pub(in crate::applet) fn mark(&mut self, voice: &LogContext, mode: u32) {
        let marked = file::set_mode_of(self.current.as_fd(), mode);
        if let Err(errno) = marked
            && !core::mem::replace(&mut self.unmarked, true)
        {
            let what = "unable to set mode of current";
            voice.warn("warning", what, self.subject(), errno);
        }
    }

    /// Gives `current` the name of an old log.
    fn put_aside(
        &mut self,
        voice: &LogContext,
        kind: Kind,
        size: u64,
    ) -> Result<(), Errno> {
        let at = self.dir.as_fd();
        loop {
            let new = LogName::behind(self.newest, clock::wall(), kind);
            self.newest = Some(new);
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
                    let name = self.subject();
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

    /// Ends `current` and begins a new one. After a step that stalls it goes on
    /// with that one the next time.
    pub(super) fn rotate(&mut self, voice: &mut LogContext) -> Step {
        if self.phase == Phase::Idle {
            if self.fill.size == 0 || !self.in_worker(voice) {
                return Ok(());
            }
            self.phase = Phase::Settle;
        }
        if self.phase == Phase::Settle {
            self.look_after_job(voice, clock::mono());
            // A queue that grows would fill the disk. At the end it may.
            if self.job != Job::Idle && voice.asked.end == 0 {
                return Err(self.waits_for_job());
            }
            self.settle(voice)?;
            self.phase = Phase::Rename;
        }
        if self.phase == Phase::Rename {
            let kind = if self.is_processed() {
                Kind::Unsafe
            } else {
                Kind::Safe
            };
            if !self.is_in_place() {
                self.moved = true;
                let what = b"current was removed or moved: ";
                voice.say("warning", &[what, self.subject()]);
            } else if let Err(errno) =
                self.put_aside(voice, kind, self.fill.size)
            {
                let what = "unable to rename current";
                return Err(self.stalled(voice, what, errno));
            }
            self.phase = Phase::Create;
        }
        while let Err(errno) = self.create_new(voice) {
            self.give_up(voice, errno);
            if errno != Errno::ENOSPC || !self.make_room(voice) {
                self.lost |= errno == Errno::ENOENT;
                let what = "unable to create new current";
                return Err(self.stalled(voice, what, errno));
            }
        }
        self.phase = Phase::Idle;
        if self.durable > Duration::ZERO {
            // Or the new file could be on the medium without a name.
            let _synced = file::sync(self.dir.as_fd()).is_ok();
        }
        self.tidy(voice);
        Ok(())
    }

    /// Returns whether what is called `current` is the open file.
    fn is_in_place(&self) -> bool {
        let named = file::info_of_link(self.dir.as_fd(), c"current");
        let open = file::info_of(self.current.as_fd());
        match (named, open) {
            (Ok(named), Ok(open)) => {
                named.identity == open.identity
                    || named.kind == file::Kind::Link
            }
            (named, _) => named != Err(Errno::ENOENT),
        }
    }

    /// Opens a new `current` where another thing may have taken its name.
    fn create_new(&mut self, voice: &LogContext) -> Result<(), Errno> {
        if self.moved {
            self.move_other(voice)?;
        }
        self.create(voice)
    }

    /// Ends a hand whose directory was removed under it: who made it opens
    /// that anew, by its name.
    fn give_up(&self, voice: &LogContext, errno: Errno) {
        if voice.is_hand() && errno == Errno::ENOENT {
            let what = b" was removed: the lines at hand are lost";
            voice.say("warning", &[self.subject(), what]);
            child::exit(1);
        }
    }

    /// Brings `current` onto the medium and marks it as closed in order.
    pub(in crate::applet) fn settle(&mut self, voice: &LogContext) -> Step {
        match file::sync(self.current.as_fd()) {
            // Nothing there ever reaches a medium.
            Ok(()) | Err(Errno::EINVAL | Errno::EROFS) => {}
            Err(errno) => {
                let what = "unable to fsync current logfile";
                return Err(self.stalled(voice, what, errno));
            }
        }
        self.mark(voice, self.access.closed());
        Ok(())
    }

    /// On a full disk, deletes the oldest log if more than `N` are there.
    pub(in crate::applet) fn make_room(&mut self, voice: &LogContext) -> bool {
        if self.keep_full >= self.keep {
            return false;
        }
        let oldest =
            self.look_at_olds().map(|olds| olds.excess(self.keep_full));
        let Ok(Some(oldest)) = oldest else {
            return false;
        };
        voice.say(
            "warning",
            &[
                b"out of disk space, delete: ",
                self.subject(),
                b"/",
                oldest.as_bytes(),
            ],
        );
        file::remove(self.dir.as_fd(), oldest.as_c_str()).is_ok()
    }

    /// Deletes the oldest logs until no more than `n` are left, and gives
    /// the processor what waits for it.
    pub(in crate::applet) fn tidy(&mut self, voice: &mut LogContext) {
        let name = self.subject();
        let mut found = self.look_at_olds();
        while let Ok(olds) = &mut found
            && self.keep > 0
            && let Some(oldest) = olds.excess(self.keep)
        {
            voice.info(&[b"delete: ", name, b"/", oldest.as_bytes()]);
            let removed = file::remove(self.dir.as_fd(), oldest.as_c_str());
            if let Err(errno) = removed {
                let what = "unable to unlink oldest logfile";
                voice.warn("warning", what, name, errno);
                break;
            }
            if olds.removed_oldest(self.keep) {
                found = self.look_at_olds();
            }
        }
        match found {
            Ok(olds) => self.begin_job(voice, olds.pending),
            Err(errno) => {
                let what = "unable to read directory";
                voice.warn("warning", what, name, errno);
            }
        }
    }

    /// Looks at the old logs. What a processor left unfinished is deleted.
    fn look_at_olds(&self) -> Result<OldLogs, Errno> {
        let mut olds = OldLogs::new(self.newest, self.is_processed());
        let busy = self.job.name().map(|name| name.with(Kind::Temporary));
        // Another opening: the offset of a listing belongs to one of them.
        let listed = file::open_dir(self.dir.as_fd(), c".")?;
        let at = listed.as_fd();
        dir::list(at, |name| {
            let Some(name) = LogName::parse(name.to_bytes()) else {
                return;
            };
            if name.kind() != Some(Kind::Temporary) {
                olds.add(name);
            } else if busy.is_none_or(|busy| busy != name) {
                // What stays is looked at again next time.
                let _stays = file::remove(at, name.as_c_str()).is_err();
            }
        })?;
        Ok(olds)
    }
}
