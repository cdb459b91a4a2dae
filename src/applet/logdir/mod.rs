//! Log directories, as written by `svlogd` (one stream, several directories)
//! and `svlogger` (many streams with one directory each).
//!
//! States and tools; none of these files imports one of the second table:
//!
//! | file | contents |
//! |---|---|
//! | `line_reader` | splitting input into lines |
//! | `context` | messages, signals and options of the process |
//! | `output` | bytes gathered for one write |
//! | `config_text` | texts of a config |
//! | `access` | mode and group of the files |
//! | `job` | state of the processor |
//! | `progress` | state of a rotation and of the block of lines |
//! | `stall` | state of a directory that cannot continue |
//!
//! `directory` holds all of that for one log directory. The other files
//! implement its operations:
//!
//! | file | contents |
//! |---|---|
//! | `directory` | opening, configuring, closing; the work that is due |
//! | `block` | writing lines to the file |
//! | `copy` | sending lines to descriptor 2 and over the network |
//! | `recovery` | retrying or dropping lines after a failure |
//! | `renew` | a file or directory that was removed or moved |
//! | `rotation` | turning `current` into an old log, deleting old logs |
//! | `processor` | running the config's command on an old log |
//! | `worker` | slow work in a copy of the process |

mod access;
mod block;
mod config_text;
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
mod worker;

pub(super) use {
    config_text::{ConfigText, TEXT_EXTRA},
    context::{LogContext, Mode, PendingSignals},
    directory::Directory,
    job::Job,
    line_reader::LineReader,
    output::{OUTPUT, Output},
};

use heapless::Vec;

use crate::{config, sys::static_cell::StaticCell};

/// Size of the input buffer in bytes: one incomplete line and one read.
pub(super) const INPUT: usize = config::LOG_READ_BYTES + config::LOG_LINE_BYTES;

/// Memory of the buffers between the input and the log directories.
pub(super) struct Bytes {
    pub(super) input: Vec<u8, INPUT>,
    pub(super) output: Vec<u8, OUTPUT>,
}

/// The memory of this process.
pub(super) static BYTES: StaticCell<Bytes> = StaticCell::new(Bytes {
    input: Vec::new(),
    output: Vec::new(),
});
