//! runt limits: prints every bound of this build.
//!
//! # Synopsis
//! `runt limits`
//!
//! # Description
//! A line for each capacity of the board file, by its name there; then what
//! follows from them for a supervisor with all slots in use:
//!
//! - `descriptors`: files that it has open at most.
//! - `processes`: its children at most: of each slot the service, its log
//!   service and a script, and the shared loggers.
//! - `code`, `variables`: bytes of the program, shared by all who run it, and
//!   of its tables, of which each process has the pages that it uses. There
//!   is no other memory but the stack: no heap.
//!
//! # Exit codes
//! 0; 111 when descriptor 1 takes nothing.

use crate::{
    config,
    sys::{self, limits, memory},
    text::Line,
};

/// Runs the program.
pub(super) fn main() -> u8 {
    let processes = config::SLOTS
        .saturating_mul(3)
        .saturating_add(config::LOGGERS);
    let files = usize::try_from(limits::files()).unwrap_or(usize::MAX);
    let [code, variables] = memory::bytes();
    let more = [
        ("descriptors", files),
        ("processes", processes),
        ("code", code),
        ("variables", variables),
    ];
    let told = config::LIMITS.iter().chain(&more).all(|(name, value)| {
        let mut line = Line::new();
        line.text(name).text(" ");
        line.number(u64::try_from(*value).unwrap_or(u64::MAX));
        sys::answer(line.finish())
    });
    if told { 0 } else { super::FATAL }
}
