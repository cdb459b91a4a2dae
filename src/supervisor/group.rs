//! Kills the remains of a service that is stopped as a group
//! (`runt/group-kill`): its process group, and its control group if it has one
//! of its own.

use core::ffi::CStr;

use super::Supervisor;
use crate::{
    machine::slot::Role,
    sys::{
        cgroup, child, file,
        signal::{self, Number},
    },
    wire::options::{self, GroupKill},
};

/// Option file.
const FILE: &CStr = c"runt/group-kill";

impl Supervisor {
    /// Returns which signals reach the process group of a service that is
    /// about to start; `None` if it gets no group. An invalid file is reported
    /// and counts as an empty one.
    pub(super) fn group_kill(&mut self, index: usize) -> Option<GroupKill> {
        let service = self.slot(index)?.service.as_ref()?;
        file::info(service.dir(), FILE).ok()?;
        let option = self.option(index, FILE, options::group_kill);
        Some(option.unwrap_or(GroupKill::All))
    }

    /// Kills the processes that a service leaves behind. `pid` has ended and
    /// is a zombie, so that its groups can still be looked up.
    ///
    /// A control group counts as the service's own if neither this process nor
    /// a child of another role or slot is in it, for example one entered by
    /// `chpst --cgroup`. A process that has left the process group is still in
    /// the control group.
    pub(super) fn end_group(&self, pid: u32) {
        // ESRCH: no process of the group is left.
        let _none = signal::kill_group(pid, Number::KILL).is_err();
        let mut list = [0; cgroup::LIST];
        let Some(group) = cgroup::of(pid, &mut list) else {
            return;
        };
        if cgroup::contains(group, child::own_pid()) {
            return;
        }
        for slot in self.table.iter().flatten() {
            for role in [Role::Service, Role::Log, Role::Script] {
                let other = slot.machine.pid(role).filter(|p| *p != pid);
                if other.is_some_and(|other| cgroup::contains(group, other)) {
                    return;
                }
            }
        }
        // ENOENT: the kernel does not support it.
        let _none = cgroup::kill(group).is_err();
    }
}
