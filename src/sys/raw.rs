//! Makes the system calls that rustix lacks, or has only with a panic path.
#![allow(
    clippy::as_conversions,
    clippy::ref_as_ptr,
    reason = "registers are numbers: the macro turns every argument into one"
)]

mod descriptors;
mod events;
mod machine;
mod process;
mod signals;

#[cfg(target_arch = "mips")]
pub(super) use descriptors::file_system;
pub(super) use descriptors::{
    LARGEFILE, cloexec_from, close_number, close_range, dup_above, dup_onto,
    getdents, openat, pipe, readlink, set_cloexec,
};
pub(super) use events::{
    EpollEvent, cancel_on_set, epoll_create, epoll_ctl, epoll_wait,
    inotify_add, inotify_init, inotify_remove, timerfd,
};
pub(super) use machine::{
    clock, connect, datagram_socket, device_mapper, ifreq, output_queue,
    reboot_with, release, send_udp, set_clock, swap_off, swap_on, watchdog,
};
pub(super) use process::{
    capabilities, execve, exit, fork, ioprio_set, prctl, sched_getscheduler,
    sched_setscheduler, set_capabilities, set_name, waitid,
};
#[cfg(test)]
pub(super) use signals::tgkill;
pub(super) use signals::{
    LAST_SIGNAL, Mask, alternate_stack, default_action, handle, kill_all,
    pidfd_open, pidfd_send_signal, set_mask, signalfd,
};
