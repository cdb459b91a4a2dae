//! Tests the release file on this machine: one module for each subject.
//!
//! `RUNT_BIN` names the file; `cargo xtask test --only host` sets it.

#![allow(unreachable_pub, reason = "nothing leaves a test crate")]

mod added_log;
mod blocked_stderr;
mod cgroup;
mod children;
mod chpst;
mod chpst_long;
mod chpst_users;
mod exhaustion;
mod failed_calls;
mod faults;
mod foreign_loggers;
mod full_disk;
mod groups;
mod help;
mod inherited_files;
mod killed_anywhere;
mod killed_supervisor;
mod legacy_programs;
mod log_ring;
mod mounted_over;
mod overlay;
mod pid1;
mod pid1_machine;
mod refused_services;
mod removed_links;
mod rundir;
mod runsvdir;
mod scan;
mod slot_options;
mod small_programs;
mod soft_reboot;
mod supervise;
mod supervise_faults;
mod supervisor_faults;
mod sv;
mod sv_enable;
mod sv_interop;
mod sv_list;
mod sv_log;
mod sv_wait;
mod svlogd;
mod svlogd_faults;
mod svlogd_files;
mod svlogd_loss;
mod svlogd_media;
mod svlogd_stall;
mod svlogger;
mod svlogger_kills;
mod terminal_escapes;
mod untrusted_paths;
mod upgrade;
mod util;
mod vlogger;
