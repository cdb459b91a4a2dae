//! Who a user of `-u` and `-U` is: numbers, or names looked up in
//! /etc/passwd and /etc/group.
//!
//! These two files are all that is asked: no NSS, no directory service.

use core::ffi::CStr;

use crate::{
    config,
    sys::{self, CWD, Errno, environ::Full, file},
    text::Line,
    wire::passwd::{self, Groups, Named},
};

use super::{Fatal, failed, number};

/// Finds out the numbers of a user.
pub(super) fn look_up(
    text: &[u8],
    account: bool,
) -> Result<(u32, Groups), Fatal<'_>> {
    let too_many = Fatal::Full(Full("groups", config::GROUPS));
    let named = if account {
        Named::Name(text, None)
    } else {
        match passwd::named(text) {
            Ok(named) => named,
            Err(passwd::Wrong::Numbers) => {
                let text = text.strip_prefix(b":").unwrap_or(text);
                return Err(Fatal::Text("invalid uid/gids", text));
            }
            Err(passwd::Wrong::TooMany) => return Err(too_many),
        }
    };
    let (name, names) = match named {
        Named::Numbers(uid, groups) => return Ok((uid, groups)),
        Named::Name(name, names) => (name, names),
    };
    let unknown = if account {
        "unknown account"
    } else {
        "unknown user/group"
    };
    let user = search(c"/etc/passwd", |line| passwd::user(line, name))
        .map_err(failed("get password file entry"))?
        .ok_or(Fatal::Text(unknown, text))?;
    let mut groups = Groups::new();
    let Some(names) = names else {
        // The list is empty: one more fits.
        let _fits = groups.push(user.gid).is_ok();
        return Ok((user.uid, groups));
    };
    for name in names.split(|byte| *byte == b':') {
        let group = search(c"/etc/group", |line| passwd::group(line, name))
            .map_err(failed("get group file entry"))?
            .ok_or(Fatal::Text(unknown, text))?;
        if groups.push(group).is_err() {
            return Err(too_many);
        }
    }
    Ok((user.uid, groups))
}

/// Looks for a line of a file. A line that is too long is said and passed
/// over.
fn search<T>(
    path: &CStr,
    mut found: impl FnMut(&[u8]) -> Option<T>,
) -> Result<Option<T>, Errno> {
    let mut buffer = [0; config::FILE_BYTES];
    let mut result = None;
    file::lines(CWD, path, &mut buffer, |line| {
        if let Some(line) = line {
            result = found(line);
        } else {
            let mut line = Line::new();
            line.text("chpst: warning: ").bytes(path.to_bytes());
            line.text(": a line is too long (file-bytes: the bound is ");
            line.number(number(config::FILE_BYTES));
            sys::complain(line.text(")").finish());
        }
        result.is_none()
    })?;
    Ok(result)
}
