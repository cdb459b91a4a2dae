//! What a log directory is to the programs that write them: `svlogd`, which
//! has one stream for several directories, and `logger`, which has many
//! streams with a directory each.
//!
//! | file | answers |
//! |---|---|
//! | `stream` | which lines a read brings |
//! | `directory` | how a directory is opened and configured |
//! | `access` | who may read its files |
//! | `block` | how lines reach the file |
//! | `stall` | what happens when they do not |
//! | `renew` | what happens when the file, or the directory, is removed |
//! | `rotation` | how `current` becomes an old log, and how old logs go |
//! | `words` | which texts a config holds |
//! | `processor` | what happens to an old log before it is finished |
//! | `copy` | how a line reaches descriptor 2 and the network |
//! | `hand` | who does what takes its time |
//! | `output`, `context` | what is written and what is said |

mod access;
mod block;
pub(super) mod context;
mod copy;
mod directory;
mod job;
mod line_reader;
mod output;
mod processor;
mod progress;
mod recovery;
mod renew;
mod rotation;
mod stall;
mod words;
mod worker;

pub(super) use {
    context::{LogContext, Mode, PendingSignals},
    directory::Directory,
    job::Job,
    line_reader::LineReader,
    output::Output,
    words::{TEXT_EXTRA, Words},
};

use crate::{config, sys::static_cell::StaticCell};

/// Bytes of input that are kept: a line that is not decided, and one read.
pub(super) const INPUT: usize = config::LOG_READ_BYTES + config::LOG_LINE_BYTES;

/// What is on its way.
pub(super) struct Bytes {
    pub(super) input: [u8; INPUT],
    pub(super) output: Output,
}

/// The one place for it.
pub(super) static BYTES: StaticCell<Bytes> = StaticCell::new(Bytes {
    input: [0; INPUT],
    output: Output::NONE,
});
