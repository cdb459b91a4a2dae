//! Reads and sets the user and the groups of this process.

use heapless::Vec;
use rustix::{
    process::{Gid, Uid},
    thread,
};

use super::{Errno, error, privilege};
use crate::config;

/// Returns true when the effective user is root.
pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Changes to a user of one group, without capabilities; its programs get no
/// privileges from their files.
pub fn switch_to([user, group]: [u32; 2]) -> Result<(), Errno> {
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

/// Sets real, effective and saved user; this cannot be undone.
pub fn set_user(user: u32) -> Result<(), Errno> {
    thread::set_thread_uid(Uid::from_raw(user)).map_err(error::from)
}
