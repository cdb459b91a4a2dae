//! Log directories, as written by `svlogd` (one stream, several directories)
//! and `svlogger` (many streams with one directory each).
//!
//! States and tools; none of these files imports one of the second table:
//!
//! | file | contents |
//! |---|---|
//! | `line_reader` | splitting input into lines |
//! | `context` | messages, signals and options of the process |
//! | `buffers` | memory of the buffers |
//! | `output` | bytes gathered for one write |
//! | `config` | the config in force |
//! | `config_text` | its texts |
//! | `access` | mode and group of the files |
//! | `archive` | the directory, its lock, old logs |
//! | `current` | the open file |
//! | `name_check` | checks whether the names still lead to it |
//! | `udp` | the socket that lines are sent through |
//! | `job` | state of the processor |
//! | `processor` | running the config's command on an old log |
//! | `store` | `current`, old logs, config and processor together |
//! | `progress` | state of a rotation and of the block of lines |
//! | `stall` | state of a directory that cannot continue |
//! | `worker` | the copy of the process that has the directory |
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
//! | `rotation` | turning `current` into an old log |
//! | `delegation` | slow work in a copy of the process |

mod access;
mod archive;
mod block;
mod buffers;
mod config;
mod config_text;
pub(super) mod context;
mod copy;
mod current;
mod delegation;
mod directory;
mod job;
mod line_reader;
mod name_check;
mod output;
mod processor;
mod progress;
mod recovery;
mod renew;
mod rotation;
mod stall;
mod store;
mod udp;
mod worker;

pub(super) use {
    buffers::{BYTES, INPUT},
    config_text::{ConfigText, TEXT_EXTRA},
    context::{LogContext, Mode, PendingSignals},
    directory::Directory,
    line_reader::LineReader,
    output::Output,
};
