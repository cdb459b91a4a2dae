//! Progress of a log directory's work: of a rotation and of a block of lines.

/// How far a rotation is: the step that comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// There is none.
    Idle,
    /// The processor ends, `current` is brought onto the medium.
    Seal,
    /// It gets its new name.
    Rename,
    /// A new one is opened.
    Create,
}

/// How far the block at hand is.
#[derive(Clone, Copy, Debug)]
pub(in crate::applet) struct BlockProgress {
    /// Nothing is left of it.
    pub(super) done: bool,
    /// Pieces before this one are in the file.
    pub(super) base: usize,
    /// Output from there on that is in the file.
    pub(super) written: usize,
    /// As much of that as this try has not passed over yet.
    pub(super) skip: usize,
    /// Pieces before this one were copied and sent.
    pub(super) sent: usize,
    /// The line that was open before it goes into the file.
    pub(super) selected: bool,
    /// What is left is dropped.
    pub(super) drops: bool,
    /// Some of the piece at hand was.
    pub(super) lost: bool,
}

impl BlockProgress {
    /// No block is at hand.
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
}
