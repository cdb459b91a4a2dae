//! Looks up the user of `-u` and `-U`: numbers, or names in /etc/passwd and
//! /etc/group, whose lines may have any length.
//!
//! No other source is used: no NSS, no directory service.

use crate::{
    applet::accounts,
    config,
    sys::environ::CapacityExceeded,
    wire::passwd::{self, Groups, Named, User, Wanted},
};

use super::{Stop, too_many, unable, wrong};

/// Source of a user's groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// The text is the name of an account: it cannot name groups.
    Account,
    /// The groups named in the text, or else the primary group.
    Named,
    /// As `Named`, and all groups that list the user as a member.
    Init,
}

/// Returns the user ID and the groups of a user. Reports failures.
pub(super) fn look_up(text: &[u8], mode: Mode) -> Result<(u32, Groups), Stop> {
    let full = CapacityExceeded("groups", config::GROUPS);
    let account = mode == Mode::Account;
    let named = if account {
        Ok(Named::Name(text, None))
    } else {
        passwd::named(text)
    };
    let (name, names) = match named {
        Ok(Named::Numbers(uid, groups)) => return Ok((uid, groups)),
        Ok(Named::Name(name, names)) => (name, names),
        Err(passwd::Error::Numbers) => {
            let text = text.strip_prefix(b":").unwrap_or(text);
            return Err(wrong("invalid uid/gids", text));
        }
        Err(passwd::Error::TooMany) => return Err(too_many(full)),
    };
    let entry = |name, wanted| {
        let mut found = None;
        search(mode, name, wanted, &mut |user| {
            found = Some(user);
            false
        })?;
        let unknown = if account {
            "unknown account"
        } else {
            "unknown user/group"
        };
        found.ok_or_else(|| wrong(unknown, text))
    };
    let user = entry(name, Wanted::User)?;
    let mut groups = Groups::new();
    match names {
        None => add(&mut groups, user.gid)?,
        Some(names) => {
            for name in names.split(|byte| *byte == b':') {
                add(&mut groups, entry(name, Wanted::Group)?.gid)?;
            }
        }
    }
    if mode == Mode::Init {
        let mut added = Ok(());
        search(mode, name, Wanted::Membership, &mut |group: User| {
            if !groups.contains(&group.gid) {
                added = add(&mut groups, group.gid);
            }
            added.is_ok()
        })?;
        added?;
    }
    Ok((user.uid, groups))
}

/// Appends a group. Reports a full list.
fn add(groups: &mut Groups, gid: u32) -> Result<(), Stop> {
    let full = CapacityExceeded("groups", config::GROUPS);
    groups.push(gid).map_err(|_| too_many(full))
}

/// Calls `each` with every entry that matches `wanted`, until it returns
/// false. Reports a file that cannot be read.
fn search(
    mode: Mode,
    name: &[u8],
    wanted: Wanted,
    each: &mut dyn FnMut(User) -> bool,
) -> Result<(), Stop> {
    let what = if mode == Mode::Account {
        "get password file entry"
    } else {
        "get password/group file entry"
    };
    accounts::search(name, wanted, each)
        .map_err(|errno| unable(what, None, errno))
}
