//! ARGV -> REQUEST: parses command lines. No I/O.

pub mod chpst;
pub mod getopt;
pub mod sv;
pub mod svlogd;
pub mod vlogger;
