//! One log directory: opened, configured, given lines (contract §5.2, §5.3).

use core::{ffi::CStr, time::Duration};

use heapless::Vec;

use crate::{
    machine::{
        line::{Lines, Piece},
        pattern,
        rotate::{Fill, Step},
    },
    sys::{self, AsFd, At, Errno, Fd, clock, file},
    wire::{
        clock::Instant,
        logconfig::{self, Decision, Odd, Udp},
        logname::LogName,
        stamp::{Stamps, Style},
    },
};

use super::{
    is_due,
    output::Output,
    processor::Job,
    voice::{Mode, Voice},
    words::Words,
};

/// A log directory of the command line, open or not.
pub(in crate::applet) struct Directory {
    /// As the command line has it.
    pub(in crate::applet) name: &'static CStr,
    /// Whether it takes lines.
    pub(in crate::applet) is_open: bool,
    /// The directory. Kept when it does not open any more: a processor may
    /// be at work in it.
    pub(in crate::applet) dir: Fd,
    /// The lock is held as long as this is open.
    pub(in crate::applet) lock: Fd,
    /// `current`.
    pub(in crate::applet) current: Fd,
    /// The words of the config.
    pub(in crate::applet) text: Words,
    /// Whether a config was read.
    configured: bool,
    /// Whether lines are logged as they come: no stamp, prefix, pattern or
    /// address.
    plain: bool,
    pub(in crate::applet) fill: Fill,
    pub(in crate::applet) keep: u64,
    pub(in crate::applet) keep_full: u64,
    pub(in crate::applet) age: Duration,
    /// How long what was written may wait for the medium; zero for the next
    /// rotation.
    pub(in crate::applet) durable: Duration,
    /// Where lines are sent.
    pub(in crate::applet) udp: Option<Udp>,
    /// The socket for that, once it was needed.
    pub(in crate::applet) socket: Option<Fd>,
    /// When `current` is old enough.
    pub(in crate::applet) due: Option<Instant>,
    /// When what was written must be on the medium.
    pub(in crate::applet) sync_due: Option<Instant>,
    /// The newest name here: none is given an older one, also when the clock
    /// was set back.
    pub(in crate::applet) newest: Option<LogName>,
    /// The processor.
    pub(in crate::applet) job: Job,
    /// The copy of this process that goes on with this directory.
    pub(in crate::applet) hand: Option<u32>,
    /// It was said that modes cannot be set here.
    pub(in crate::applet) unmarked: bool,
    /// The open line goes into the file.
    pub(in crate::applet) selected: bool,
}

impl Directory {
    /// A directory that is not open.
    pub(in crate::applet) fn new(name: &'static CStr, text: Words) -> Self {
        Self {
            name,
            is_open: false,
            dir: Fd::none(),
            lock: Fd::none(),
            current: Fd::none(),
            text,
            configured: false,
            plain: false,
            fill: Fill {
                size: 0,
                bound: 0,
                line: 0,
            },
            keep: 0,
            keep_full: 0,
            age: Duration::ZERO,
            durable: Duration::ZERO,
            udp: None,
            socket: None,
            due: None,
            sync_due: None,
            newest: None,
            job: Job::Idle,
            hand: None,
            unmarked: false,
            selected: true,
        }
    }

    /// The name, for messages.
    pub(in crate::applet) fn subject(&self) -> &'static [u8] {
        self.name.to_bytes()
    }

    /// Opens it, or says why it does not work and returns that. `scratch` is
    /// empty. `at` is where its name starts from.
    pub(in crate::applet) fn open(
        &mut self,
        voice: &mut Voice,
        scratch: &mut Output,
        at: At<'_>,
    ) -> Result<(), Errno> {
        let name = self.subject();
        let mut what = "";
        let opened = self.enter(voice, scratch, at, &mut what);
        if let Err(errno) = opened {
            voice.warn("warning", what, name, errno);
            self.leave();
        }
        opened
    }

    /// Closes it as it is.
    ///
    /// The lock is let go of by name: a processor that was started just now
    /// may be a copy of this process still, which has it open.
    pub(in crate::applet) fn leave(&mut self) {
        file::unlock(self.lock.as_fd());
        self.is_open = false;
        self.current = Fd::none();
        self.lock = Fd::none();
    }

    /// Opens and locks the directory, reads its config and opens `current`.
    /// `what` is then what could not be done.
    pub(in crate::applet) fn enter(
        &mut self,
        voice: &mut Voice,
        scratch: &mut Output,
        at: At<'_>,
        what: &mut &'static str,
    ) -> Result<(), Errno> {
        *what = "unable to open log directory";
        let dir = file::open_dir(at, self.name);
        if dir.as_ref().err() == Some(&Errno::ENOTDIR) {
            *what = "unable to change directory";
        }
        let dir = dir?;
        *what = "unable to lock directory";
        self.lock = file::open_append(dir.as_fd(), c"lock")?;
        file::lock_now(self.lock.as_fd())?;
        *what = "unable to read config";
        self.configure(voice, dir.as_fd(), scratch)?;
        *what = "unable to open current";
        self.dir = dir;
        self.begin(voice)
    }

    /// Whether `current` has no name any more: it was removed, by itself or
    /// with the directory, and what is written to it is for nobody.
    pub(in crate::applet) fn is_lost(&self) -> bool {
        self.is_open && file::is_removed(self.current.as_fd())
    }

    /// Reads the config. One that cannot be read leaves what was read before
    /// in force (contract §5.5).
    ///
    /// A config that is longer than the bound does so too. Where there was none
    /// before it is an error in svlogd; the shared logger, which cannot refuse
    /// to start, obeys what fits, without any pattern: no line is left out.
    fn configure(
        &mut self,
        voice: &Voice,
        dir: At<'_>,
        scratch: &mut Output,
    ) -> Result<(), Errno> {
        let name = self.subject();
        let bound = self.text.bound();
        // One byte more than the bound, to see a config that is longer.
        let room = scratch.room().get_mut(..=bound).unwrap_or(&mut []);
        let mut text = match file::read_whole(dir, c"config", room) {
            Ok(text) => {
                voice.info(&[b"read: ", name, b"/config"]);
                text
            }
            Err(Errno::ENOENT) => &[],
            Err(errno) => {
                voice.warn("warning", "unable to read config", name, errno);
                if self.configured {
                    return Ok(());
                }
                &[]
            }
        };
        let is_cut = text.len() > bound;
        if is_cut {
            let what: [&[u8]; 2] = [name, b"/config: too long"];
            let alone = voice.mode == Mode::Alone;
            let capacity = if alone {
                "file-bytes"
            } else {
                "log-config-bytes"
            };
            voice.bound("warning", &what, capacity, bound);
            if self.configured {
                return Ok(());
            } else if alone {
                return Err(Errno::EFBIG);
            }
            // The last line is cut; a part of it may say another thing.
            let end = text.iter().rposition(|byte| *byte == b'\n');
            text = text.get(..end.unwrap_or(0)).unwrap_or(&[]);
        }
        let words = &mut self.text;
        words.clear();
        let settings = logconfig::settings(
            text,
            voice.bounds,
            |line| {
                if !is_cut {
                    words.add_pattern(line);
                }
            },
            |odd, part| match odd {
                Odd::Ip => {
                    voice.say(
                        "warning",
                        &[b"unable to scan ip address: ", part],
                    );
                }
                Odd::Port => {
                    voice.say(
                        "warning",
                        &[b"unable to scan port number: ", part],
                    );
                }
                Odd::Unknown => {
                    voice.say(
                        "warning",
                        &[name, b"/config: unknown line: ", part],
                    );
                }
                Odd::Number => {
                    voice.say(
                        "warning",
                        &[name, b"/config: odd number: ", part],
                    );
                }
            },
        );
        words.finish(settings.prefix, settings.command);
        self.fill.bound = settings.size;
        self.keep = settings.keep;
        self.keep_full = settings.keep_full;
        self.age = settings.age;
        self.durable = settings.durable;
        self.udp = settings.udp;
        self.configured = true;
        self.plain = voice.request.style == Style::Plain
            && self.udp.is_none()
            && words.prefix().is_empty()
            && words.patterns().is_empty();
        self.fill.line =
            u64::try_from(voice.request.length).unwrap_or(u64::MAX);
        Ok(())
    }

    /// Closes it in order.
    pub(in crate::applet) fn close(&mut self, voice: &mut Voice) {
        if self.is_open {
            voice.info(&[b"close: ", self.subject()]);
            self.settle(voice);
        }
        self.leave();
    }

    /// The next moment at which there is something to do.
    pub(in crate::applet) fn next_due(&self) -> Option<Instant> {
        let ours = self.is_open && self.hand.is_none();
        let due = [self.due, self.sync_due].into_iter().flatten();
        due.filter(|_| ours).chain(self.job.due()).min()
    }

    /// Does what is due: looks after the processor, brings data onto the
    /// medium, rotates what is old enough, or on demand.
    pub(in crate::applet) fn attend(
        &mut self,
        voice: &mut Voice,
        now: Instant,
        rotate: bool,
    ) {
        self.look_after_job(voice, now);
        if !self.is_open || self.hand.is_some() {
            return;
        }
        if is_due(self.sync_due, now) && self.is_here(voice) {
            self.sync_due = None;
            if let Err(errno) = file::sync_data(self.current.as_fd()) {
                let what = "unable to fdatasync current";
                voice.warn("warning", what, self.subject(), errno);
            }
        }
        let due = is_due(self.due, now);
        if self.fill.size > 0 && (due || rotate) {
            self.rotate(voice);
        } else if due {
            // Nothing in it yet: it is old from now on.
            self.due = Some(now.after(self.age));
        }
    }

    /// Takes a block of lines that is ripe.
    pub(in crate::applet) fn log(
        &mut self,
        voice: &mut Voice,
        output: &mut Output,
        lines: Lines,
        block: &[u8],
        mut stamps: Stamps,
    ) {
        if self.plain && (self.selected || !lines.is_inside()) {
            self.selected = true;
            return self.put(voice, output, block);
        }
        for piece in lines.pieces(block) {
            if self.hand.is_some() {
                return output.clear();
            }
            if piece.first {
                self.begin_line(voice, output, &piece, stamps.stamp());
                stamps.advance();
            }
            if self.selected {
                self.put(voice, output, piece.bytes);
            }
        }
        self.flush(voice, output);
    }

    /// Decides where a line goes, and puts what stands before it.
    fn begin_line(
        &mut self,
        voice: &mut Voice,
        output: &mut Output,
        piece: &Piece<'_>,
        stamp: &[u8],
    ) {
        let text = piece.text();
        let most = voice.request.length;
        let text = text.get(..most).unwrap_or(text);
        let copied = self.decide(text);
        if copied || self.udp.is_some() && self.selected {
            let end: &[u8] = if text.len() == most { b"...\n" } else { b"\n" };
            self.send(voice, output, &[stamp, text, end], copied);
        }
        self.selected &= self.udp.is_none_or(|udp| !udp.only);
        if self.selected {
            self.put(voice, output, stamp);
            self.put_prefix(voice, output);
        }
    }

    /// Asks the patterns what becomes of a line; answers whether it goes to
    /// descriptor 2. The last pattern that matches decides.
    fn decide(&mut self, text: &[u8]) -> bool {
        let mut copied = false;
        self.selected = true;
        for (decision, wanted) in logconfig::patterns(self.text.patterns()) {
            let (flag, yes) = match decision {
                Decision::Log(yes) => (&mut self.selected, yes),
                Decision::Error(yes) => (&mut copied, yes),
            };
            if *flag != yes && pattern::matches(wanted, text) {
                *flag = yes;
            }
        }
        copied
    }

    /// Puts the prefix, a part at a time: rotation between them needs all of
    /// the directory.
    pub(in crate::applet) fn put_prefix(
        &mut self,
        voice: &mut Voice,
        output: &mut Output,
    ) {
        let mut done = 0_usize;
        while let Some(rest) = self.text.prefix().get(done..)
            && !rest.is_empty()
        {
            let part: Vec<u8, 64> = rest.iter().copied().take(64).collect();
            self.put(voice, output, &part);
            done = done.saturating_add(part.len());
        }
    }

    /// Appends to the output, or right to the file what needs no gathering;
    /// rotates before a file would be too big.
    pub(in crate::applet) fn put(
        &mut self,
        voice: &mut Voice,
        output: &mut Output,
        bytes: &[u8],
    ) {
        let mut rest = bytes;
        while !rest.is_empty() && self.hand.is_none() {
            let Step { take, rotate } = self.fill.step(rest);
            let Some((part, tail)) = rest.split_at_checked(take) else {
                return;
            };
            self.fill.add(take);
            if self.plain || !output.add(part) {
                self.flush(voice, output);
                self.write(voice, part);
            }
            if rotate {
                self.flush(voice, output);
                self.rotate(voice);
            }
            rest = tail;
        }
    }

    /// Writes the output.
    pub(in crate::applet) fn flush(
        &mut self,
        voice: &mut Voice,
        output: &mut Output,
    ) {
        self.write(voice, output.waiting());
        output.clear();
    }

    /// Writes to `current`, for as long as it takes: nothing is dropped
    /// (contract §5.8).
    fn write(&mut self, voice: &mut Voice, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() && self.hand.is_none() {
            match sys::write_once(self.current.as_fd(), rest) {
                Ok(count) => rest = rest.get(count..).unwrap_or(&[]),
                Err(Errno::ENOSPC) if self.make_room(voice) => {}
                Err(_) if !self.is_here(voice) => {}
                Err(errno) => {
                    let what = "unable to write to current";
                    voice.pause(what, self.subject(), errno);
                }
            }
        }
        if self.durable > Duration::ZERO && self.sync_due.is_none() {
            self.sync_due = Some(clock::mono().after(self.durable));
        }
    }
}
