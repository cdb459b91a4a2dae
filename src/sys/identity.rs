//! Who the process is to the kernel: user and groups.

use heapless::Vec;
use rustix::{
    process::{Gid, Uid},
    thread,
};

use super::{Errno, error, privilege};
use crate::config;

/// Whether it is root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// As whom the shared loggers run, where the board has a user for them and
/// this process may become another.
pub fn of_loggers() -> Option<[u32; 2]> {
    let user = config::LOGGER_USER;
    (user != [0, 0] && is_root()).then_some(user)
}

/// Becomes a user of one group, who has no capabilities, and whose programs
/// get no privileges from their files.
pub fn become_only([user, group]: [u32; 2]) -> Result<(), Errno> {
    set_groups(&[])?;
    set_group(group)?;
    set_user(user)?;
    privilege::no_new()
}

/// Sets the supplementary groups, at most `config::GROUPS` of them.
pub fn set_groups(groups: &[u32]) -> Result<(), Errno> {
    let groups: Vec<Gid, { config::GROUPS }> = groups
        .iter()
        .take(config::GROUPS)
        .map(|group| Gid::from_raw(*group))
        .collect();
    thread::set_thread_groups(&groups).map_err(error::from)
}

/// Sets real, effective and saved group.
pub fn set_group(group: u32) -> Result<(), Errno> {
    thread::set_thread_gid(Gid::from_raw(group)).map_err(error::from)
}

/// Sets real, effective and saved user; there is no way back from it.
pub fn set_user(user: u32) -> Result<(), Errno> {
    thread::set_thread_uid(Uid::from_raw(user)).map_err(error::from)
}
