//! ARGV -> REQUEST: what a command line asks for. No I/O.

pub mod getopt;
pub mod sv;
pub mod svlogd;
