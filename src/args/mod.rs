//! ARGV -> REQUEST: what a command line asks for. No I/O.

pub mod getopt;
