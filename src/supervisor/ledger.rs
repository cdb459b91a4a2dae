//! Keeps the state of the slots in a file that outlives this process: the
//! ledger. Row i belongs to entry i of the table.
//!
//! A row is written before the actions that it names are carried out, and the
//! kernel stores the pid of a child in the row's cell before the child runs.
//! So there is no moment at which a process runs that its row does not lead
//! to. While a row is written its last content is in the header: a kill cannot
//! leave half a row.
//!
//! Behind each row is what the next execution of the same process needs to go
//! on with the open files of the slot ([`Held`]).
//!
//! The file is in the run directory, on a file system that does not have to
//! allocate a page again that was written once ([`can_map`]); it grows with
//! the table. Without it the next supervisor has the published status only.

mod copy;
#[cfg(test)]
mod test;

use core::{
    cell::Cell,
    ffi::CStr,
    ops::Range,
    sync::atomic::{AtomicU32, Ordering, compiler_fence},
};

use crate::{
    config::family::RECOVERY,
    machine::slot::Role,
    sys::{
        AsFd as _, At, CWD, Errno, Fd,
        file::{self, Identity},
        ledger::{can_map, first_byte, map},
        secure,
    },
    text,
    wire::ledger::{self, BYTES, FORMAT, Fields},
};

use super::reporter::Reporter;

pub(super) use copy::check_copy;

/// Name of the file.
const FILE: &CStr = c"ledger";

/// First words of the header.
const MAGIC: u32 = u32::from_le_bytes(*b"runt");
/// Words of the header: [`MAGIC`], [`FORMAT`], the number of rows that it is
/// made for, the boot with the PID namespace; then those below.
const HEADER: usize = 256;
/// Word of the header with the number of rows that it is made for.
const ROWS: usize = 2;
/// Word of the header with the number of supervisors that have used the file.
const GENERATION: usize = 4;
/// Word of the header with the number of rows up to the last one in use.
const USED: usize = 5;
/// Word of the header that is not 0 if a row could not be written.
const PARTIAL: usize = 7;
/// Word of the header with the number of the row that is being written, from
/// 1, or 0; its last content is at [`OLD`].
const WRITTEN: usize = 6;
/// First word of that content.
const OLD: usize = 64;
/// Word of the header whose first byte is the control byte that was read last;
/// 0 once what it changes is in a row.
const COMMAND: usize = 8;
/// Word of the header with the index of the row that this byte is for, and
/// [`TO_LOG`].
const COMMAND_OF: usize = 9;
/// Word of the header with the number of words of a row.
const ROW_WORDS: usize = 10;
/// Bit for a byte to the log service.
const TO_LOG: u32 = 1 << 16;

/// Words of a row: its check sum (0 in a free one), the cell for a pid, the
/// generation that has written it, and its fields. In a file of this version
/// [`Held`] follows.
const ROW: usize = 3 + BYTES / 4;
/// Words of a row that its check sum does not cover.
const UNCHECKED: usize = 2;

/// Words from a row to the next one.
const STRIDE: usize = ROW + size_of::<Held>() / 4;

/// Words that describe the open files of a slot; all 0 if it is not known how
/// to take them over. They count in the next execution of the same process.
pub(super) type Held = [u32; 17];

/// Bytes by which the file grows.
const STEP: [u8; 512] = [0; 512];

/// The ledger of this process.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// Directory of the file, while it is not to be used yet.
    later: Option<Fd>,
    file: Option<Fd>,
    /// All words, of which the file has the first `length`; none without a
    /// file.
    words: &'static [AtomicU32],
    length: usize,
    /// Words from a row to the next one: [`ROW`] in a file of a version that
    /// had no [`Held`].
    stride: usize,
    generation: u32,
    /// Control byte that the earlier supervisor had just read, and what it is
    /// for, as in [`COMMAND_OF`].
    command: Option<(u32, u8)>,
    /// Set once [`Ledger::take_left`] was called.
    left_taken: bool,
    /// Index of the row that [`Ledger::find`] found last.
    found: Cell<u16>,
}

impl Ledger {
    /// Uses the file in a directory from [`Ledger::begin`] on.
    pub(super) fn use_later(&mut self, dir: Fd) {
        self.later = Some(dir);
    }

    /// Uses the file in the directory that was set, if any, for `slots` rows.
    /// To be called when this process holds a lock that excludes any other
    /// supervisor with this file. Without it everything works, but for the
    /// successor.
    pub(super) fn begin(&mut self, slots: usize, reporter: &Reporter) {
        let Some(dir) = self.later.take().filter(|_| RECOVERY) else {
            return;
        };
        let dir = dir.as_fd();
        if !can_map(dir) {
            return;
        }
        if let Err(errno) = self.open(dir, slots) {
            *self = Self::default();
            // What it says becomes untrue from here on.
            let _none = file::remove(dir, FILE).is_err();
            let what = "a killed supervisor may leave services unknown: \
                        unable to use ";
            reporter.warn(what, FILE.to_bytes(), errno);
        }
    }

    /// Removes the file in a directory.
    pub(super) fn discard(dir: At<'_>) {
        let _none = file::remove(dir, FILE).is_err();
    }

    /// Opens the file, which is created if missing.
    fn open(&mut self, dir: At<'_>, slots: usize) -> Result<(), Errno> {
        let file = secure::update(dir, FILE)?;
        let size = file::info_of(file.as_fd())?.size;
        self.length = usize::try_from(size / 4).unwrap_or(0);
        // The rows of an earlier supervisor, if it had more.
        let rows = slots.saturating_mul(STRIDE).saturating_add(HEADER);
        self.words = map(file.as_fd(), rows.max(self.length))?;
        let slots = u32::try_from(slots).unwrap_or(0);
        let header = [(0, MAGIC), (1, FORMAT), (3, epoch())];
        let same = header.iter().all(|(index, word)| self.get(*index) == *word);
        let stride = usize::try_from(self.get(ROW_WORDS)).unwrap_or(0);
        let known = [ROW, STRIDE].contains(&stride);
        self.stride = if known { stride } else { STRIDE };
        if self.length < HEADER || !same || !known || !self.fit(slots) {
            file::truncate(file.as_fd(), 0)?;
            self.length = 0;
            self.stride = STRIDE;
            self.file = Some(file);
            self.grow(HEADER)?;
        } else {
            self.file = Some(file);
        }
        let stride = u32::try_from(self.stride).unwrap_or(0);
        let rows = [(ROW_WORDS, stride), (ROWS, slots)];
        for (index, word) in header.into_iter().chain(rows) {
            self.set(index, word);
        }
        self.generation = self.get(GENERATION).wrapping_add(1);
        self.set(GENERATION, self.generation);
        let byte = first_byte(self.get(COMMAND));
        self.command = (byte != 0).then_some((self.get(COMMAND_OF), byte));
        self.set(COMMAND, 0);
        Ok(())
    }

    /// Restores the row that was being written, and moves the rows of an
    /// earlier supervisor that had more slots into the first `slots`. Returns
    /// false if there are too many.
    fn fit(&self, slots: u32) -> bool {
        if let Some(index) = self.get(WRITTEN).checked_sub(1) {
            self.copy(OLD, self.start_of(index));
            self.set(WRITTEN, 0);
        }
        let is_free = |index: &u32| self.get(self.start_of(*index)) == 0;
        for index in slots..self.used().into() {
            if is_free(&index) {
                continue;
            }
            let Some(free) = (0..slots).find(is_free) else {
                return false;
            };
            self.copy(self.start_of(index), self.start_of(free));
            compiler_fence(Ordering::SeqCst);
            self.set(self.start_of(index), 0);
            let of = self.get(COMMAND_OF);
            if of & !TO_LOG == index {
                self.set(COMMAND_OF, of & TO_LOG | free);
            }
        }
        self.set(USED, self.get(USED).min(slots));
        true
    }

    /// Lets the file contain the first `end` words.
    fn grow(&mut self, end: usize) -> Result<(), Errno> {
        let Some(file) = &self.file else {
            return Err(Errno::ENOENT);
        };
        while self.length < end {
            let at = u64::try_from(self.length.saturating_mul(4));
            file::write_at(file.as_fd(), &STEP, at.unwrap_or(u64::MAX))?;
            self.length = self.length.saturating_add(STEP.len() / 4);
        }
        Ok(())
    }

    /// Returns a word; 0 beyond the end of the file.
    fn get(&self, index: usize) -> u32 {
        let word = self.word(index);
        word.map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// Sets a word within the file.
    fn set(&self, index: usize, value: u32) {
        if let Some(word) = self.word(index) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// Returns a word within the file.
    fn word(&self, index: usize) -> Option<&'static AtomicU32> {
        let word = self.words.get(index);
        word.filter(|_| RECOVERY && index < self.length)
    }

    /// Returns the first word of a row.
    fn start_of(&self, index: u32) -> usize {
        start_of(index, self.stride)
    }

    /// Returns the words of a row, or of its last content, if they are within
    /// the file.
    fn row(&self, start: usize) -> &'static [AtomicU32] {
        let end = start.saturating_add(ROW);
        let row = self.words.get(start..end);
        row.filter(|_| RECOVERY && end <= self.length)
            .unwrap_or_default()
    }

    /// Copies a row.
    fn copy(&self, from: usize, to: usize) {
        for (from, to) in self.row(from).iter().zip(self.row(to)) {
            to.store(from.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    /// Returns whether there is a file.
    pub(super) fn is_kept(&self) -> bool {
        RECOVERY && !self.words.is_empty()
    }

    /// Returns the cell of a row for the pid of the child that is started
    /// next. Its content counts once the row names a start.
    pub(super) fn cell(&self, index: u16) -> Option<&'static AtomicU32> {
        self.word(self.start_of(index.into()).saturating_add(1))
    }

    /// Returns the cell for a control byte that is about to be read for the
    /// slot at an index. It counts until the slot is recorded next.
    pub(super) fn command_cell(
        &self,
        index: u16,
        role: Role,
    ) -> Option<&'static AtomicU32> {
        let cell = self.word(COMMAND)?;
        cell.store(0, Ordering::Relaxed);
        self.set(COMMAND_OF, receiver(index, role));
        Some(cell)
    }

    /// Returns once the control byte that an earlier supervisor had read for
    /// the slot with a row, but has not recorded.
    pub(super) fn take_command(&mut self, index: u16) -> Option<(Role, u8)> {
        let (to, byte) = self.command?;
        let roles = [Role::Service, Role::Log];
        let role = roles.into_iter().find(|r| receiver(index, *r) == to)?;
        self.command = None;
        Some((role, byte))
    }

    /// Records the fields of a row. A failure, which leaves the row as it was,
    /// is reported once for the file.
    pub(super) fn record(
        &mut self,
        index: u16,
        fields: &Fields,
        reporter: &Reporter,
    ) {
        let start = self.start_of(index.into());
        if let Err(errno) = self.grow(start.saturating_add(self.stride)) {
            // The rows that there are stay up to date.
            self.set(PARTIAL, 1);
            if self.file.take().is_some() {
                reporter.warn("unable to extend ", FILE.to_bytes(), errno);
            }
            return;
        }
        let number = u32::from(index).saturating_add(1);
        self.copy(start, OLD);
        compiler_fence(Ordering::SeqCst);
        self.set(WRITTEN, number);
        compiler_fence(Ordering::SeqCst);
        let fields = fields.as_chunks().0.iter();
        let fields = fields.map(|bytes| u32::from_le_bytes(*bytes));
        let all = [self.generation].into_iter().chain(fields);
        let checked = self.row(start).iter().skip(UNCHECKED);
        let words = all.zip(checked).inspect(|(value, word)| {
            word.store(*value, Ordering::Relaxed);
        });
        self.set(start, ledger::check(words.map(|(value, _)| value)));
        compiler_fence(Ordering::SeqCst);
        self.set(WRITTEN, 0);
        self.set(COMMAND, 0);
        if self.get(USED) < number {
            self.set(USED, number);
        }
    }

    /// Frees a row.
    pub(super) fn clear(&self, index: u16) {
        self.set(self.start_of(index.into()), 0);
    }

    /// Returns whether an earlier supervisor has left a row at an index.
    pub(super) fn is_left(&self, index: u16) -> bool {
        let start = self.start_of(index.into());
        self.get(start) != 0
            && self.get(start.saturating_add(UNCHECKED)) != self.generation
    }

    /// Returns the index of the row that an earlier supervisor has left of a
    /// directory. A damaged row is passed over: it can be that of any.
    ///
    /// A directory is looked for several times, and most come in the order of
    /// their rows: begins at the row that was found last.
    pub(super) fn find(&self, key: Identity) -> Option<u16> {
        let used = self.used();
        let first = self.found.get().min(used);
        let index = (first..used).chain(0..first).find(|index| {
            self.key(*index) == key
                && self.is_left(*index)
                && self.intact(*index).is_some()
        })?;
        self.found.set(index);
        Some(index)
    }

    /// Returns the key of a row, intact or not: its first fields.
    fn key(&self, index: u16) -> Identity {
        let start = self.start_of(index.into()).saturating_add(UNCHECKED + 1);
        let word = |at| u64::from(self.get(start.saturating_add(at)));
        Identity {
            device: word(0) | word(1) << 32,
            inode: word(2) | word(3) << 32,
        }
    }

    /// Records the open files of a slot; returns false if there is no row yet.
    pub(super) fn hold(&self, index: u16, held: &Held) -> bool {
        let words = self.held_words(index);
        for (word, value) in words.iter().zip(held) {
            word.store(*value, Ordering::Relaxed);
        }
        !words.is_empty()
    }

    /// Returns the open files of the slot with a row, as it was recorded last.
    pub(super) fn held(&self, index: u16) -> Held {
        let mut held = Held::default();
        for (value, word) in held.iter_mut().zip(self.held_words(index)) {
            *value = word.load(Ordering::Relaxed);
        }
        held
    }

    /// Returns the words for that, if there are any.
    fn held_words(&self, index: u16) -> &'static [AtomicU32] {
        let start = self.start_of(index.into());
        let [from, end] = [ROW, self.stride].map(|at| start.saturating_add(at));
        let words = self.words.get(from..end);
        words
            .filter(|_| RECOVERY && end <= self.length)
            .unwrap_or_default()
    }

    /// Returns whether a directory without a row had no slot in the earlier
    /// supervisor.
    pub(super) fn is_complete(&self) -> bool {
        let is_damaged =
            |index| self.is_left(index) && self.intact(index).is_none();
        self.is_kept()
            && self.get(PARTIAL) == 0
            && !(0..self.used()).any(is_damaged)
    }

    /// Returns the row that an earlier supervisor has left at an index, if it
    /// is intact.
    pub(super) fn left(&self, index: u16) -> Option<Fields> {
        // Most rows are of this supervisor: they need not be read.
        self.is_left(index).then(|| self.load(index))?
    }

    /// Returns the indices of all rows that an earlier supervisor may have
    /// left, once.
    pub(super) fn take_left(&mut self) -> Range<u16> {
        let taken = core::mem::replace(&mut self.left_taken, true);
        if taken { 0..0 } else { self.rows() }
    }

    /// Returns the indices of all rows.
    pub(super) fn rows(&self) -> Range<u16> {
        0..self.used()
    }

    /// Returns the number of rows up to the last one in use.
    fn used(&self) -> u16 {
        u16::try_from(self.get(USED)).unwrap_or(0)
    }

    /// Returns the words of a row's fields if it is intact.
    fn intact(&self, index: u16) -> Option<&'static [AtomicU32]> {
        let row = self.row(self.start_of(index.into()));
        let [sum, _, checked @ ..] = row else {
            return None;
        };
        let words = checked.iter().map(|word| word.load(Ordering::Relaxed));
        let [_, fields @ ..] = checked else {
            return None;
        };
        (ledger::check(words) == sum.load(Ordering::Relaxed)).then_some(fields)
    }

    /// Returns the fields of a row if it is intact.
    fn load(&self, index: u16) -> Option<Fields> {
        let words = self.intact(index)?;
        let mut fields = [0; BYTES];
        let chunks = fields.as_chunks_mut().0.iter_mut();
        for (chunk, word) in chunks.zip(words) {
            *chunk = word.load(Ordering::Relaxed).to_le_bytes();
        }
        Some(fields)
    }
}

/// Returns the value of [`COMMAND_OF`] for a role of the slot at an index.
fn receiver(index: u16, role: Role) -> u32 {
    let to_log = if role == Role::Log { TO_LOG } else { 0 };
    u32::from(index) | to_log
}

/// Returns the first word of a row in a file with this many words from one to
/// the next.
fn start_of(index: u32, stride: usize) -> usize {
    let index = usize::try_from(index).unwrap_or(0);
    HEADER.saturating_add(index.saturating_mul(stride))
}

/// Returns a number that differs in another boot and in another PID namespace:
/// pids have another meaning there.
fn epoch() -> u32 {
    let mut id = [0; 64];
    let boot = c"/proc/sys/kernel/random/boot_id";
    let boot = file::read_whole(CWD, boot, &mut id).unwrap_or(b"");
    let space = file::info(CWD, c"/proc/self/ns/pid");
    let space = space.map_or(0, |info| info.identity.inode);
    text::hash(boot) ^ text::hash(&space.to_le_bytes())
}
