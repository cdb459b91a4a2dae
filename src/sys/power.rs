//! Makes the calls that only PID 1 needs: mounts, swap, modules, the host's
//! name, the loopback interface, and the end of the machine.

use core::ffi::CStr;

use linux_raw_sys::ioctl::{SIOCGIFFLAGS, SIOCSIFFLAGS};
use rustix::{
    mount::{MountFlags, UnmountFlags},
    system::RebootCommand,
};

use super::{CWD, Errno, error, file, raw};

/// The kinds of machine shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerAction {
    /// Power off.
    Off,
    /// Restart.
    Reboot,
    /// Stop with the power on.
    Halt,
    /// Keep the kernel, and execute this program's file again. The kernel
    /// knows no such end: to [`shut_down`] it means [`Self::Reboot`].
    SoftReboot,
}

/// Mounts a file system; `flags` are those of mount(2). EBUSY: it is mounted
/// already.
pub fn mount(
    device: &CStr,
    target: &CStr,
    kind: &CStr,
    flags: u32,
    data: &CStr,
) -> Result<(), Errno> {
    let flags = MountFlags::from_bits_retain(flags);
    rustix::mount::mount(device, target, kind, flags, Some(data))
        .map_err(error::from)
}

/// Starts swapping to `path`.
pub fn swap_on(path: &CStr) -> Result<(), Errno> {
    raw::swap_on(path)
}

/// Stops swapping to `path`.
pub fn swap_off(path: &CStr) -> Result<(), Errno> {
    raw::swap_off(path)
}

/// Loads a module's file into the kernel. EEXIST: it is loaded already.
pub fn load_module(path: &CStr, parameters: &CStr) -> Result<(), Errno> {
    /// MODULE_INIT_COMPRESSED_FILE.
    const COMPRESSED: i32 = 4;
    let file = file::open_read(CWD, path)?;
    let plain = path.to_bytes().ends_with(b".ko");
    let flags = if plain { 0 } else { COMPRESSED };
    rustix::system::finit_module(&file, parameters, flags).map_err(error::from)
}

/// Returns true when this process is in a PID namespace of its own: in a
/// container, whose mounts belong to the container's manager.
pub fn is_contained() -> bool {
    /// PROC_PID_INIT_INO: the first PID namespace always has this number.
    const FIRST: &[u8] = b"pid:[4026531836]";
    let mut text = [0; 64];
    file::link_target(CWD, c"/proc/self/ns/pid", &mut text)
        .is_ok_and(|namespace| namespace != FIRST)
}

/// Unmounts the file system at `target`.
pub fn unmount(target: &CStr) -> Result<(), Errno> {
    rustix::mount::unmount(target, UnmountFlags::empty()).map_err(error::from)
}

/// Moves the file system that is mounted at `from`, with all mounts in it.
pub fn move_mount(from: &CStr, to: &CStr) -> Result<(), Errno> {
    rustix::mount::mount_move(from, to).map_err(error::from)
}

/// Remounts the file system at `target` read-only.
pub fn make_read_only(target: &CStr) -> Result<(), Errno> {
    rustix::mount::mount_remount(target, MountFlags::RDONLY, c"")
        .map_err(error::from)
}

/// Sets the host's name.
pub fn set_host_name(name: &[u8]) -> Result<(), Errno> {
    rustix::system::sethostname(name).map_err(error::from)
}

/// Brings up the loopback interface.
pub fn loopback_up() -> Result<(), Errno> {
    /// IFF_UP.
    const UP: u8 = 1;
    let socket = super::udp::socket()?;
    let mut ifreq = [0; 40];
    if let Some(name) = ifreq.first_chunk_mut() {
        *name = *b"lo";
    }
    raw::ifreq(&socket, SIOCGIFFLAGS, &mut ifreq)?;
    // The flags are a 16-bit number after 16 bytes of name; IFF_UP is the
    // lowest bit, and all supported machines are little-endian.
    if let Some(flags) = ifreq.get_mut(16) {
        *flags |= UP;
    }
    raw::ifreq(&socket, SIOCSIFFLAGS, &mut ifreq)
}

/// Flushes all file systems to their media.
pub fn sync() {
    rustix::fs::sync();
}

/// Makes ctrl-alt-del send INT to PID 1 instead of resetting the machine.
pub fn take_ctrl_alt_del() -> Result<(), Errno> {
    rustix::system::reboot(RebootCommand::CadOff).map_err(error::from)
}

/// Restarts the machine with an argument for its firmware.
///
/// Returns only with the reason why it could not.
pub fn restart_with(argument: &CStr) -> Errno {
    raw::reboot_with(argument)
}

/// Shuts down the machine; in a PID namespace the kernel ends the namespace.
///
/// Returns only with the reason why it could not.
pub fn shut_down(ending: PowerAction) -> Errno {
    let command = match ending {
        PowerAction::Off => RebootCommand::PowerOff,
        PowerAction::Reboot | PowerAction::SoftReboot => RebootCommand::Restart,
        PowerAction::Halt => RebootCommand::Halt,
    };
    match rustix::system::reboot(command) {
        Ok(()) => Errno::EIO,
        Err(errno) => error::from(errno),
    }
}
