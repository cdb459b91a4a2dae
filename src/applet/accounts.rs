//! Searches /etc/passwd and /etc/group, whose lines may have any length.
//!
//! No other source is used: no NSS, no directory service.

use crate::{
    sys::{self, AsFd, CWD, Errno, file},
    wire::passwd::{Search, User, Wanted},
};

/// Calls `each` with every entry that matches `wanted`, until it returns
/// false.
pub(super) fn search(
    name: &[u8],
    wanted: Wanted,
    each: &mut dyn FnMut(User) -> bool,
) -> Result<(), Errno> {
    let path = match wanted {
        Wanted::User => c"/etc/passwd",
        Wanted::Group | Wanted::Membership => c"/etc/group",
    };
    let file = file::open_read(CWD, path)?;
    let mut search = Search::new(wanted, name);
    let mut buffer = [0; 512];
    loop {
        let count = sys::read(file.as_fd(), &mut buffer)?;
        let bytes = match count {
            // The end of the file also ends its last line.
            0 => b"\n",
            count => buffer.get(..count).unwrap_or(&[]),
        };
        for byte in bytes {
            if let Some(user) = search.step(*byte)
                && !each(user)
            {
                return Ok(());
            }
        }
        if count == 0 {
            return Ok(());
        }
    }
}
