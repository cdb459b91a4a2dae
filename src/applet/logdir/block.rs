//! Writing a block of lines to the file, in as many attempts as necessary.
//!
//! The output of a block (stamps, prefixes, the selected lines) depends on the
//! block alone. An attempt that stalls therefore keeps no output: the next one
//! produces the same bytes and skips those that are in the file already. The
//! block is the input buffer, which all directories share.

use heapless::Vec;

use crate::{
    machine::{
        line::{Lines, Piece},
        pattern, rotate,
    },
    sys::{Errno, clock},
    wire::{
        clock::Instant,
        logconfig::{self, Decision},
        stamp::Stamps,
    },
};

use super::{
    context::LogContext,
    directory::Directory,
    output::Output,
    progress::{BlockProgress, Phase},
    stall::{Interrupt, Step},
};

impl Directory {
    /// Begins a new block, which is then passed to [`Directory::log`].
    pub(in crate::applet) fn begin_block(&mut self) {
        self.block = BlockProgress::begin(self.selected);
    }

    /// Returns whether a part of the current block is not written yet.
    pub(in crate::applet) fn has_backlog(&self) -> bool {
        !self.block.done
    }

    /// Writes or drops the rest of a block of complete lines. Returns `false`
    /// if it must be called again with the same block.
    pub(in crate::applet) fn log(
        &mut self,
        context: &mut LogContext,
        output: &mut Output,
        lines: Lines,
        block: &[u8],
        stamps: Stamps,
        now: Instant,
    ) -> bool {
        if self.block.done {
            return true;
        }
        let mut tried = Err(Interrupt::Stalled);
        if self.is_open && !self.stall.waits(now) {
            loop {
                let stamps = stamps.clone();
                tried = self.try_log(context, output, lines, block, stamps);
                output.clear();
                if !self.must_repeat(context, tried) {
                    break;
                }
            }
        }
        match tried {
            Ok(()) => self.stall.recover(context, self.subject()),
            Err(Interrupt::NeedsWorker) => {
                // The worker also sends the lines.
                self.block.sent = usize::MAX;
                self.discard(context, output, lines, block, stamps);
                // It reports those that were dropped.
                let _count = self.stall.take_dropped();
            }
            Err(Interrupt::Stalled) => {
                if !self.drops(context, clock::mono()) {
                    return false;
                }
                self.stall.report_dropping(context, self.subject());
                self.discard(context, output, lines, block, stamps);
                // The next logged line must begin a new line of the file.
                self.needs_newline = true;
                self.selected &= block.ends_with(b"\n");
            }
        }
        self.block.done = true;
        true
    }

    /// Handles the rest of a block without writing it: counts its selected
    /// lines as dropped, and finds out whether the last one is selected.
    fn discard(
        &mut self,
        context: &mut LogContext,
        output: &mut Output,
        lines: Lines,
        block: &[u8],
        stamps: Stamps,
    ) {
        self.block.drops = true;
        // This attempt cannot stall, since nothing is written.
        let _all = self.try_log(context, output, lines, block, stamps).is_ok();
    }

    /// Writes or drops a whole block of complete lines, and waits as long as
    /// necessary. Serves no other directory meanwhile.
    pub(in crate::applet) fn log_whole(
        &mut self,
        context: &mut LogContext,
        output: &mut Output,
        lines: Lines,
        block: &[u8],
        stamps: &Stamps,
    ) {
        self.begin_block();
        loop {
            let (now, stamps) = (clock::mono(), stamps.clone());
            if self.log(context, output, lines, block, stamps, now) {
                return;
            }
            self.wait(context, output);
        }
    }

    /// Makes one attempt to log the rest of a block.
    fn try_log(
        &mut self,
        context: &mut LogContext,
        output: &mut Output,
        lines: Lines,
        block: &[u8],
        mut stamps: Stamps,
    ) -> Step {
        let drops = self.block.drops;
        if !drops {
            if self.phase != Phase::Idle {
                self.rotate(context)?;
            }
            self.mend(context)?;
        }
        self.selected = self.block.selected;
        self.block.skip = self.block.written;
        let plain = self.store.config.is_plain();
        if plain && !drops && (self.selected || !lines.is_inside()) {
            self.selected = true;
            return self.put(context, output, block);
        }
        for (index, piece) in lines.pieces(block).enumerate() {
            if index < self.block.base {
                if piece.first {
                    stamps.advance();
                }
                continue;
            }
            if piece.first {
                let stamp = stamps.stamp();
                self.begin_line(context, output, index, &piece, stamp)?;
                stamps.advance();
            }
            if self.selected {
                self.put(context, output, piece.bytes)?;
            }
            if core::mem::take(&mut self.block.lost) {
                self.stall.count();
            }
        }
        self.flush(context, output)
    }

    /// Writes the newline of a line whose end was dropped.
    fn mend(&mut self, context: &mut LogContext) -> Step {
        if self.needs_newline && !self.store.current.is_at_start() {
            let before = self.block.written;
            self.store.current.queue(1);
            let mended = self.write(context, b"\n");
            self.block.written = before;
            mended?;
        }
        self.needs_newline = false;
        Ok(())
    }

    /// Selects the destinations of a line, copies and sends it, and outputs
    /// its stamp and prefix.
    fn begin_line(
        &mut self,
        context: &mut LogContext,
        output: &mut Output,
        index: usize,
        piece: &Piece<'_>,
        stamp: &[u8],
    ) -> Step {
        let text = piece.text();
        let most = context.request.length;
        let text = text.get(..most).unwrap_or(text);
        let copied = self.decide(text);
        let goes = copied || self.store.config.udp().is_some() && self.selected;
        if goes && index >= self.block.sent {
            let end: &[u8] = if text.len() == most { b"...\n" } else { b"\n" };
            self.send(context, output, index, &[stamp, text, end], copied)?;
        }
        self.selected &= self.store.config.udp().is_none_or(|udp| !udp.only);
        if self.selected {
            self.put(context, output, stamp)?;
            self.put_prefix(context, output)?;
        }
        Ok(())
    }

    /// Matches a line against the patterns: sets whether it is selected for
    /// the file, and returns whether it is copied to descriptor 2. The last
    /// match decides.
    fn decide(&mut self, text: &[u8]) -> bool {
        let mut copied = false;
        self.selected = true;
        let patterns = self.store.config.texts().patterns();
        for (decision, wanted) in logconfig::patterns(patterns) {
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

    /// Outputs the prefix in parts of at most 64 bytes. They are copied, since
    /// a rotation between two parts borrows the whole directory.
    pub(super) fn put_prefix(
        &mut self,
        context: &mut LogContext,
        output: &mut Output,
    ) -> Step {
        let mut done = 0_usize;
        while let Some(rest) = self.store.config.texts().prefix().get(done..)
            && !rest.is_empty()
        {
            let part: Vec<u8, 64> = rest.iter().copied().take(64).collect();
            self.put(context, output, &part)?;
            done = done.saturating_add(part.len());
        }
        Ok(())
    }

    /// Ends a notice begun with [`BlockProgress::begin_notice`]. A part that could
    /// not be written is left out.
    pub(super) fn end_notice(&mut self, put: Step) -> Step {
        self.block.written = 0;
        self.needs_newline |= put.is_err();
        put
    }

    /// Appends bytes to the output, or directly to the file if there is
    /// nothing to gather. Rotates before the file exceeds its bound.
    pub(super) fn put(
        &mut self,
        context: &mut LogContext,
        output: &mut Output,
        bytes: &[u8],
    ) -> Step {
        let skip = self.block.skip.min(bytes.len());
        self.block.skip = self.block.skip.saturating_sub(skip);
        let mut rest = bytes.get(skip..).unwrap_or(&[]);
        if self.block.drops {
            self.block.lost |= !rest.is_empty();
            return Ok(());
        }
        let plain = self.store.config.is_plain();
        while !rest.is_empty() {
            let rotate::Step { take, rotate } = self.store.current.step(rest);
            let Some((part, tail)) = rest.split_at_checked(take) else {
                return Ok(());
            };
            if !plain && output.add(part) {
                self.store.current.queue(take);
            } else {
                self.flush(context, output)?;
                self.store.current.queue(take);
                self.write(context, part)?;
            }
            if rotate {
                self.flush(context, output)?;
                self.rotate(context)?;
            }
            rest = tail;
        }
        Ok(())
    }

    /// Writes the gathered output to `current`.
    pub(super) fn flush(
        &mut self,
        context: &mut LogContext,
        output: &mut Output,
    ) -> Step {
        let done = self.write(context, output.waiting());
        output.clear();
        done
    }

    /// Writes to `current`. Bytes that could not be written are not counted in
    /// its size (contract §5.8).
    fn write(&mut self, context: &mut LogContext, bytes: &[u8]) -> Step {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.store.current.write(rest) {
                Ok(count) => {
                    self.block.written =
                        self.block.written.saturating_add(count);
                    rest = rest.get(count..).unwrap_or(&[]);
                }
                Err(Errno::ENOSPC) if self.store.free_space(context) => {}
                Err(errno) => {
                    self.store.current.unqueue(rest.len());
                    if !self.drops(context, clock::mono()) {
                        context.check_may_block()?;
                    }
                    let what = "unable to write to current";
                    return Err(self.stalled(context, what, errno));
                }
            }
        }
        self.store.current.schedule_sync(self.store.config.limits());
        Ok(())
    }
}
