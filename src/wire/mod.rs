//! BYTES <-> MEANING: the formats that others read and write. No I/O.

pub mod capability;
pub mod clock;
pub mod cmdline;
pub mod control;
pub mod envfile;
pub mod fstab;
pub mod logconfig;
pub mod logname;
pub mod modules;
pub mod mounts;
pub mod options;
pub mod order;
pub mod passwd;
pub mod process;
pub mod ring;
pub mod root;
pub mod rundir;
pub mod signals;
pub mod stamp;
pub mod status;
pub mod sysctl;
pub mod syslog;
pub mod tai;
pub mod utmp;
pub mod volume;
pub mod why;
