//! Ends an emulated machine with an exit code of the emulator, through a
//! device that only root can reach: QEMU's `isa-debug-exit` on x86-64 and
//! `sifive_test` on RISC-V, at their usual addresses. Other machines have
//! none.

use super::Errno;

/// The exit device of the machine.
#[derive(Clone, Copy, Debug)]
pub struct ExitDevice(Access);

impl ExitDevice {
    /// Opens the device. ENODEV: this kind of machine has none.
    pub fn open() -> Result<Self, Errno> {
        open().map(Self)
    }

    /// Ends the machine with this exit code of the emulator; `isa-debug-exit`
    /// sets its lowest bit. Returns before the device has acted, and when
    /// nothing is at its address.
    pub fn exit(self, code: u8) {
        exit(self.0, code);
    }
}

/// The port that this process may use.
#[cfg(target_arch = "x86_64")]
type Access = u16;

#[cfg(target_arch = "x86_64")]
#[allow(
    clippy::as_conversions,
    reason = "registers are numbers: the macro turns every argument into one"
)]
fn open() -> Result<Access, Errno> {
    /// Port of the device.
    const PORT: u16 = 0x501;
    // SAFETY: the call takes no pointer.
    let allowed =
        unsafe { super::error::syscall!(syscalls::Sysno::ioperm, PORT, 1, 1) };
    allowed.map(|_| PORT)
}

#[cfg(target_arch = "x86_64")]
fn exit(port: Access, code: u8) {
    // The device turns n into the exit code 2n + 1.
    let value = code >> 1;
    // SAFETY: the kernel has allowed this process to use the port, which has
    // no effect on its memory.
    unsafe {
        core::arch::asm!(
            "out dx, al",
            in("dx") port,
            in("al") value,
            options(nomem, nostack, preserves_flags)
        );
    };
}

/// The register, mapped into memory.
#[cfg(target_arch = "riscv64")]
type Access = *mut u32;

#[cfg(target_arch = "riscv64")]
#[allow(
    clippy::as_conversions,
    reason = "registers are numbers: the macro turns every argument into one"
)]
fn open() -> Result<Access, Errno> {
    use linux_raw_sys::general::{MAP_SHARED, PROT_READ, PROT_WRITE};

    /// Address of the register.
    const ADDRESS: usize = 0x10_0000;
    let memory = super::file::open_both(super::CWD, c"/dev/mem")?;
    let (bytes, access) = (size_of::<u32>(), PROT_READ | PROT_WRITE);
    let memory = memory.number();
    // SAFETY: the kernel chooses an address at which nothing is mapped.
    let start = unsafe {
        super::error::syscall!(
            syscalls::Sysno::mmap,
            0,
            bytes,
            access,
            MAP_SHARED,
            memory,
            ADDRESS
        )
    }?;
    Ok(core::ptr::with_exposed_provenance_mut(start))
}

#[cfg(target_arch = "riscv64")]
fn exit(register: Access, code: u8) {
    /// Ends the machine with the exit code in the upper half.
    const FAIL: u32 = 0x3333;
    let value = u32::from(code) << 16 | FAIL;
    // SAFETY: the register is mapped and aligned, and only this writes to it.
    unsafe { register.write_volatile(value) };
}

/// Never made.
#[cfg(not(any(target_arch = "x86_64", target_arch = "riscv64")))]
type Access = core::convert::Infallible;

#[cfg(not(any(target_arch = "x86_64", target_arch = "riscv64")))]
fn open() -> Result<Access, Errno> {
    Err(Errno::ENODEV)
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "riscv64")))]
fn exit(device: Access, _code: u8) {
    match device {}
}
