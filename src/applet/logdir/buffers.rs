//! Memory of the buffers between the input and the log directories.

use heapless::Vec;

use crate::{config, sys::static_cell::StaticCell};

use super::output::OUTPUT;

/// Size of the input buffer in bytes: one incomplete line and one read.
pub(in crate::applet) const INPUT: usize =
    config::LOG_READ_BYTES + config::LOG_LINE_BYTES;

/// Memory of the buffers between the input and the log directories.
pub(in crate::applet) struct Bytes {
    pub(in crate::applet) input: Vec<u8, INPUT>,
    pub(in crate::applet) output: Vec<u8, OUTPUT>,
}

/// The memory of this process.
pub(in crate::applet) static BYTES: StaticCell<Bytes> =
    StaticCell::new(Bytes {
        input: Vec::new(),
        output: Vec::new(),
    });
