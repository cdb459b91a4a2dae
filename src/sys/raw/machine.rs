//! Calls about the machine: clocks, network, swap, devices.

use core::ffi::CStr;

use linux_raw_sys::{ioctl, net};
use syscalls::Sysno;

use crate::wire::dm::Record;

use crate::sys::{
    error::{Errno, syscall},
    fd::Fd,
};

/// Calls `clock_gettime`; returns seconds and nanoseconds.
///
/// 32-bit kernels before 5.1 lack the call with 64-bit seconds: there the old
/// call is used, which works until 2038.
pub(in crate::sys) fn clock(id: u32) -> (i64, i64) {
    let mut long = [0_i64; 2];
    let pointer = long.as_mut_ptr();
    #[cfg(target_pointer_width = "64")]
    // SAFETY: the kernel writes two 64-bit numbers, which `long` holds.
    let done = unsafe { syscall!(Sysno::clock_gettime, id, pointer) };
    #[cfg(target_pointer_width = "32")]
    // SAFETY: as above: the new call writes 64-bit numbers on every machine.
    let done = unsafe { syscall!(Sysno::clock_gettime64, id, pointer) };
    #[cfg(target_pointer_width = "32")]
    if done == Err(Errno::ENOSYS) {
        let mut short = [0_i32; 2];
        let pointer = short.as_mut_ptr();
        // SAFETY: the old call writes two 32-bit numbers.
        let _old =
            unsafe { syscall!(Sysno::clock_gettime, id, pointer) }.is_ok();
        let [secs, nanos] = short;
        return (i64::from(secs), i64::from(nanos));
    }
    // Both clocks always exist; a kernel that refuses yields 1970.
    let _done = done.is_ok();
    let [secs, nanos] = long;
    (secs, nanos)
}

/// Calls `socket` for datagrams of an address family, non-blocking.
pub(in crate::sys) fn datagram_socket(family: u32) -> Result<Fd, Errno> {
    // SOCK_CLOEXEC and SOCK_NONBLOCK are the O_ ones.
    let flags = rustix::fs::OFlags::CLOEXEC | rustix::fs::OFlags::NONBLOCK;
    let kind = net::SOCK_DGRAM | flags.bits();
    // SAFETY: the call takes no pointer.
    let fd = unsafe { syscall!(Sysno::socket, family, kind, 0) }?;
    Ok(Fd::from_number(fd))
}

/// Calls `connect` to an address as the kernel lays it out.
pub(in crate::sys) fn connect(
    socket: &Fd,
    address: &[u8],
) -> Result<(), Errno> {
    let (fd, pointer, length) =
        (socket.number(), address.as_ptr(), address.len());
    // SAFETY: the kernel reads `length` bytes.
    unsafe { syscall!(Sysno::connect, fd, pointer, length) }?;
    Ok(())
}

/// Calls `sendto` an address, non-blocking.
pub(in crate::sys) fn send_udp(
    socket: &Fd,
    bytes: &[u8],
    address: &[u8],
) -> Result<(), Errno> {
    const DONTWAIT: u32 = net::MSG_DONTWAIT;
    let (fd, start, count) = (socket.number(), bytes.as_ptr(), bytes.len());
    let (pointer, room) = (address.as_ptr(), address.len());
    // SAFETY: the kernel reads `count` bytes, and `room` of the address.
    unsafe {
        syscall!(Sysno::sendto, fd, start, count, DONTWAIT, pointer, room)
    }?;
    Ok(())
}

/// Calls `ioctl` on `struct ifreq`: 16 bytes of name, then flags.
pub(in crate::sys) fn ifreq(
    socket: &Fd,
    request: u32,
    ifreq: &mut [u8; 40],
) -> Result<(), Errno> {
    let (fd, pointer) = (socket.number(), ifreq.as_mut_ptr());
    // SAFETY: the kernel reads and writes a `struct ifreq`, which is 32 bytes
    // on 32-bit machines and 40 on the others.
    unsafe { syscall!(Sysno::ioctl, fd, request, pointer) }?;
    Ok(())
}

/// Calls `ioctl(TIOCOUTQ)`; returns the number of bytes that a terminal has
/// not sent yet.
pub(in crate::sys) fn output_queue(terminal: &Fd) -> Result<i32, Errno> {
    let mut bytes = 0_i32;
    let (fd, pointer) = (terminal.number(), &raw mut bytes);
    // SAFETY: the kernel writes an `int`, which `bytes` is.
    unsafe { syscall!(Sysno::ioctl, fd, ioctl::TIOCOUTQ, pointer) }?;
    Ok(bytes)
}

/// Calls `uname`; returns the kernel's release, as text that ends in a NUL.
pub(in crate::sys) fn release() -> [u8; 65] {
    // Six texts of 65 bytes, of which it is the third.
    let mut texts = [[0_u8; 65]; 6];
    // SAFETY: the kernel writes so many bytes.
    let _known = unsafe { syscall!(Sysno::uname, texts.as_mut_ptr()) }.is_ok();
    let [_, _, release, ..] = texts;
    release
}

/// Calls `swapon`.
pub(in crate::sys) fn swap_on(path: &CStr) -> Result<(), Errno> {
    // SAFETY: the path ends in a NUL and outlives the call.
    unsafe { syscall!(Sysno::swapon, path.as_ptr(), 0) }?;
    Ok(())
}

/// Calls `swapoff`.
pub(in crate::sys) fn swap_off(path: &CStr) -> Result<(), Errno> {
    // SAFETY: as above.
    unsafe { syscall!(Sysno::swapoff, path.as_ptr()) }?;
    Ok(())
}

/// Calls `clock_settime(CLOCK_REALTIME)` to a second. As in [`clock`], the old
/// call is used on kernels that lack the new one.
pub(in crate::sys) fn set_clock(secs: u64) -> Result<(), Errno> {
    let long = [secs, 0];
    let pointer = long.as_ptr();
    #[cfg(target_pointer_width = "64")]
    // SAFETY: the kernel reads two 64-bit numbers, which `long` holds.
    let done = unsafe { syscall!(Sysno::clock_settime, 0, pointer) };
    #[cfg(target_pointer_width = "32")]
    // SAFETY: as above: the new call reads 64-bit numbers on every machine.
    let done = unsafe { syscall!(Sysno::clock_settime64, 0, pointer) };
    #[cfg(target_pointer_width = "32")]
    if done == Err(Errno::ENOSYS) {
        let short = [u32::try_from(secs).unwrap_or(u32::MAX), 0];
        let pointer = short.as_ptr();
        // SAFETY: the old call reads two 32-bit numbers.
        unsafe { syscall!(Sysno::clock_settime, 0, pointer) }?;
        return Ok(());
    }
    done.map(|_| ())
}

/// Calls `reboot(RESTART2)` with an argument for the firmware; returns only
/// with the reason why it failed.
pub(in crate::sys) fn reboot_with(argument: &CStr) -> Errno {
    let (first, second) = (0xfee1_dead_u32, 672_274_793);
    let (command, argument) = (0xa1b2_c3d4_u32, argument.as_ptr());
    // SAFETY: the argument ends in a NUL and outlives the call.
    match unsafe { syscall!(Sysno::reboot, first, second, command, argument) } {
        Ok(_) => Errno::EIO,
        Err(errno) => errno,
    }
}

/// Calls `ioctl` of a watchdog that reads or writes an `int`.
pub(in crate::sys) fn watchdog(
    device: &Fd,
    request: u32,
    value: &mut i32,
) -> Result<(), Errno> {
    let (fd, pointer) = (device.number(), &raw mut *value);
    // SAFETY: the requests of `sys::watchdog` are about one `int`, and
    // `value` is one.
    unsafe { syscall!(Sysno::ioctl, fd, request, pointer) }?;
    Ok(())
}

/// Calls `ioctl` of the device mapper.
pub(in crate::sys) fn device_mapper(
    control: &Fd,
    request: u32,
    record: &mut Record,
) -> Result<(), Errno> {
    let (fd, pointer) = (control.number(), record.as_mut_ptr());
    // SAFETY: the kernel reads and writes as many bytes as the record says,
    // which is its length: `wire::dm` alone makes records, and the kernel does
    // not change that field.
    unsafe { syscall!(Sysno::ioctl, fd, request, pointer) }?;
    Ok(())
}
