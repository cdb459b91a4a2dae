//! Who a user of `-u` and `-U` is: numbers, or names looked up in
//! /etc/passwd and /etc/group.
//!
//! These two files are all that is asked: no NSS, no directory service.

use crate::{
    config,
    sys::{self, CWD, Errno, environ::Full, file},
    text::Line,
    wire::passwd::{self, Groups, Named, User},
};

use super::{Stop, number, too_many, unable, wrong};

/// Finds out the numbers of a user.
pub(super) fn look_up(
    text: &[u8],
    account: bool,
) -> Result<(u32, Groups), Stop> {
    let full = Full("groups", config::GROUPS);
    let named = if account {
        Ok(Named::Name(text, None))
    } else {
        passwd::named(text)
    };
    let (name, names) = match named {
        Ok(Named::Numbers(uid, groups)) => return Ok((uid, groups)),
        Ok(Named::Name(name, names)) => (name, names),
        Err(passwd::Wrong::Numbers) => {
            let text = text.strip_prefix(b":").unwrap_or(text);
            return Err(wrong("invalid uid/gids", text));
        }
        Err(passwd::Wrong::TooMany) => return Err(too_many(full)),
    };
    let entry = |name, is_user| match search(name, is_user) {
        Ok(Some(entry)) => Ok(entry),
        Ok(None) => Err(wrong(
            if account {
                "unknown account"
            } else {
                "unknown user/group"
            },
            text,
        )),
        Err(errno) => Err(unable(
            if is_user {
                "get password file entry"
            } else {
                "get group file entry"
            },
            None,
            errno,
        )),
    };
    let user = entry(name, true)?;
    let mut groups = Groups::new();
    let mut add = |gid| groups.push(gid).map_err(|_| too_many(full));
    match names {
        None => add(user.gid)?,
        Some(names) => {
            for name in names.split(|byte| *byte == b':') {
                add(entry(name, false)?.gid)?;
            }
        }
    }
    Ok((user.uid, groups))
}

/// Looks for a user or a group by name. A line that is too long is said and
/// passed over.
fn search(name: &[u8], is_user: bool) -> Result<Option<User>, Errno> {
    let path = if is_user {
        c"/etc/passwd"
    } else {
        c"/etc/group"
    };
    let mut buffer = [0; config::FILE_BYTES];
    let mut found = None;
    file::lines(CWD, path, &mut buffer, |line| {
        if let Some(line) = line {
            found = passwd::entry(line, name, is_user);
        } else {
            let mut line = Line::new();
            line.text("chpst: warning: ").bytes(path.to_bytes());
            line.text(": a line is too long (file-bytes: the bound is ");
            line.number(number(config::FILE_BYTES));
            sys::complain(line.text(")").finish());
        }
        found.is_none()
    })?;
    Ok(found)
}
