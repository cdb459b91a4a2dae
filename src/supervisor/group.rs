//! Kills the remains of a service that is stopped as a group
//! (`runt/group-kill`): its process group, and its control group if it has one
//! of its own.

use crate::sys::{
    cgroup, child,
    signal::{self, Number},
};

/// Kills the processes that a service leaves behind. `pid` has ended and is a
/// zombie, so that its groups can still be looked up.
///
/// A control group counts as the service's own if neither this process nor one
/// of the `others`, the children of other roles and slots, is in it, for
/// example one entered by `chpst --cgroup`. A process that has left the
/// process group is still in the control group.
pub(super) fn kill_remains(pid: u32, mut others: impl Iterator<Item = u32>) {
    // ESRCH: no process of the group is left.
    let _none = signal::kill_group(pid, Number::KILL).is_err();
    let Ok(group) = cgroup::of(pid) else {
        return;
    };
    if !cgroup::may_contain(&group, child::own_pid())
        && !others.any(|other| cgroup::may_contain(&group, other))
    {
        // ENOENT: the kernel does not support it.
        let _none = cgroup::kill(&group).is_err();
    }
}
