//! Mode and group of the files of a log directory.

use crate::{
    applet::accounts,
    sys::{At, Errno, file},
    text::leading_number,
    wire::{logconfig::Settings, passwd::Wanted},
};

use super::context::LogContext;

/// Mode and group of the logs in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Access {
    /// Permission bits of an open log, without the owner's x bit.
    mode: u32,
    /// Group id; `None` leaves the kernel's choice.
    group: Option<u32>,
}

impl Access {
    /// Access of runit's logs: mode 644, the kernel's choice of group.
    pub(super) const PLAIN: Self = Self {
        mode: 0o644,
        group: None,
    };

    /// Takes the settings of the config of directory `name`. A group that is
    /// not found is reported, and the kernel's choice stays.
    pub(super) fn look_up(
        context: &LogContext,
        name: &[u8],
        settings: &Settings<'_>,
    ) -> Self {
        let group = settings.group;
        let (number, rest) = leading_number(group);
        let found = match u32::try_from(number) {
            _ if group.is_empty() => Ok(None),
            Ok(number) if rest.is_empty() => Ok(Some(number)),
            _ => by_name(group),
        };
        match found {
            Ok(None) if !group.is_empty() => {
                let what = b"/config: unknown group: ";
                context.report("warning", &[name, what, group]);
            }
            Ok(_) => {}
            Err(errno) => {
                let what = "unable to look up group";
                context.warn("warning", what, group, errno);
            }
        }
        Self {
            mode: settings.mode,
            group: found.unwrap_or(None),
        }
    }

    /// Returns the permission bits of a file that is being written.
    pub(super) fn open(self) -> u32 {
        self.mode
    }

    /// Returns the permission bits of a file that was closed properly, which
    /// the owner's x bit marks.
    pub(super) fn closed(self) -> u32 {
        self.mode | 0o100
    }

    /// Sets the group of an open file, if the config names one.
    pub(super) fn set_group(self, file: At<'_>) -> Result<(), Errno> {
        self.group.map_or(Ok(()), |group| file::chgrp(file, group))
    }
}

/// Looks up the id of a group in /etc/group.
fn by_name(name: &[u8]) -> Result<Option<u32>, Errno> {
    let mut found = None;
    accounts::search(name, Wanted::Group, &mut |group| {
        found = Some(group.gid);
        false
    })?;
    Ok(found)
}
