//! Copies the ledger for the check of another program before an upgrade, and
//! checks such a copy.

use crate::{
    config,
    sys::{AsFd as _, At, Errno, Fd, file, image},
    text::Line,
    wire::ledger::{self, BYTES, FORMAT, Fields},
};

use super::{Ledger, MAGIC, ROW, ROW_WORDS, STRIDE, UNCHECKED, USED, start_of};

/// Words of the copy's header with the needs of the slots: the bytes of the
/// longest name, and of a path.
const NEEDS: [usize; 2] = [11, 12];

impl Ledger {
    /// Returns a copy of the ledger in memory; an empty file without one.
    /// `longest` is the length of the longest name of a slot.
    pub(in super::super) fn snapshot(
        &self,
        longest: usize,
    ) -> Result<Fd, Errno> {
        let copy = image::memory_file()?;
        let needs = NEEDS.iter().zip([longest, config::PATH_BYTES]);
        let mut chunk = [0; 4 * ROW];
        let mut index = 0;
        while self.is_kept() && index < self.length {
            let bytes = chunk.as_chunks_mut().0;
            for (word, place) in (index..self.length).zip(bytes) {
                let need = needs.clone().find(|(at, _)| **at == word);
                let value =
                    need.map_or_else(|| self.get(word), |(_, it)| number(it));
                *place = value.to_le_bytes();
            }
            let count = self.length.saturating_sub(index).min(ROW);
            let bytes = chunk.get(..count.saturating_mul(4)).unwrap_or(&[]);
            let at = u64::try_from(index.saturating_mul(4)).unwrap_or(u64::MAX);
            file::write_at(copy.as_fd(), bytes, at)?;
            index = index.saturating_add(ROW);
        }
        Ok(copy)
    }
}

/// Checks that this program can go on from a copy of a ledger. If it cannot,
/// appends the reason to a line and returns false. `is_valid` says whether
/// fields are the state of a slot.
pub(in super::super) fn check_copy(
    copy: At<'_>,
    is_valid: &dyn Fn(Fields) -> bool,
    line: &mut Line,
) -> bool {
    let size = file::info_of(copy).map_or(0, |info| info.size);
    if size == 0 {
        return true;
    }
    // All that is of interest of the header is within the length of a row.
    let header = words(copy, 0).unwrap_or([0; ROW]);
    let word = |index: usize| header.get(index).copied().unwrap_or(0);
    let known = [(0, MAGIC), (1, FORMAT)];
    let stride = usize::try_from(word(ROW_WORDS)).unwrap_or(0);
    if known.iter().any(|(index, value)| word(*index) != *value)
        || ![ROW, STRIDE].contains(&stride)
    {
        line.text("the ledger has another format");
        return false;
    }
    let mut used = 0_u32;
    for index in 0..word(USED) {
        let row = words(copy, start_of(index, stride)).unwrap_or([1; ROW]);
        if row.first().is_some_and(|check| *check == 0) {
            continue;
        }
        used = used.saturating_add(1);
        if !fields(&row).is_some_and(is_valid) {
            line.text("a row of the ledger cannot be read");
            return false;
        }
    }
    let [name, path] = NEEDS.map(word);
    let rows = [
        ("slots", config::SLOTS, used),
        ("name-bytes", config::NAME_BYTES, name),
        ("path-bytes", config::PATH_BYTES, path),
    ];
    for (name, bound, need) in rows {
        if number(bound) < need {
            line.text(name).text(" = ");
            line.number(number(bound).into());
            line.text(" is less than the ").number(need.into());
            line.text(" in use");
            return false;
        }
    }
    true
}

/// Returns the fields of a row if it is intact.
fn fields(row: &[u32; ROW]) -> Option<Fields> {
    let all = row.get(UNCHECKED..)?.iter().copied();
    if row.first().copied() != Some(ledger::check(all.clone())) {
        return None;
    }
    let mut fields = [0; BYTES];
    let chunks = fields.as_chunks_mut().0.iter_mut();
    for (chunk, word) in chunks.zip(all.skip(1)) {
        *chunk = word.to_le_bytes();
    }
    Some(fields)
}

/// Reads as many words of a copy as a row has; `None` if it ends before.
fn words(copy: At<'_>, from: usize) -> Option<[u32; ROW]> {
    let mut bytes = [0; 4 * ROW];
    let at = u64::try_from(from.saturating_mul(4)).ok()?;
    let count = file::read_at(copy, &mut bytes, at).ok()?;
    let mut words = [0; ROW];
    for (word, bytes) in words.iter_mut().zip(bytes.as_chunks().0) {
        *word = u32::from_le_bytes(*bytes);
    }
    (count == bytes.len()).then_some(words)
}

/// Returns a number of words or bytes as a word.
fn number(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
