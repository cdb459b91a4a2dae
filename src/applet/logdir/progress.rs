//! Progress of a rotation and of the current block of lines.

/// Next step of a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// No rotation is under way.
    Idle,
    /// Wait for the processor, sync `current` and mark it as closed.
    Seal,
    /// Rename `current` to an old log.
    Rename,
    /// Open a new `current`.
    Create,
}

/// Progress of the current block of lines.
#[derive(Clone, Copy, Debug)]
pub(in crate::applet) struct BlockProgress {
    /// The whole block was written or dropped.
    pub(super) done: bool,
    /// Index of the first piece that is not entirely in the file.
    pub(super) base: usize,
    /// Bytes of output, counted from piece `base`, that are in the file.
    pub(super) written: usize,
    /// Bytes of `written` that this attempt has still to skip.
    pub(super) skip: usize,
    /// Index of the first piece not yet copied and sent.
    pub(super) sent: usize,
    /// The line that was open before the block is selected for the file.
    pub(super) selected: bool,
    /// The rest of the block is dropped.
    pub(super) drops: bool,
    /// A part of the current piece was dropped.
    pub(super) lost: bool,
}

impl BlockProgress {
    /// The value between two blocks.
    pub(super) const NONE: Self = Self {
        done: true,
        base: 0,
        written: 0,
        skip: 0,
        sent: 0,
        selected: true,
        drops: false,
        lost: false,
    };

    /// Returns the progress of a new block; `selected` as in that field.
    pub(super) fn begin(selected: bool) -> Self {
        Self {
            done: false,
            selected,
            ..Self::NONE
        }
    }

    /// Begins a notice before piece `index`: earlier pieces count as done,
    /// none of this one. Later attempts do not repeat the output of the
    /// notice.
    pub(super) fn begin_notice(&mut self, index: usize) {
        self.base = index;
        self.sent = index.saturating_add(1);
    }
}
