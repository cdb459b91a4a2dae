//! Survives faults of this program: a process executes its file again and
//! passes its state on.
//!
//! A fault is a signal of [`FAULTS`], also on an overflow of the stack: the
//! handler has a stack of its own. It keeps the pipes and FIFOs open, so that
//! neither a writer nor their content is lost, the directories, and the files
//! that are to be passed on ([`Fd::pass_on`]), and executes, in this order, a
//! sealed copy of the program in memory (PID 1 only, and not if the file is in
//! memory itself) or the file that the program was started from, its path, and
//! /proc/self/exe. If all are refused, or the handler itself faults, PID 1
//! restarts the machine, and another process ends by the signal. Blocked
//! signals stay blocked, pending ones pending, and children stay children.
//!
//! The state travels in a variable of the environment ([`passed_on`]), which
//! [`resumed`] removes. It is what was last given to [`record`], and the path
//! by which the program was executed at first.
//!
//! The handler never returns. In another process than the one that called
//! [`install`] (a copy that has not executed a program) the signal has its
//! default effect.
//!
//! [`upgrade`] executes another file in the same way. That is on trial for
//! [`TRIAL_SECONDS`]: a fault executes the former one again.

mod passed_on;

use core::{
    cell::UnsafeCell,
    ffi::{CStr, c_void},
    mem::MaybeUninit,
    ptr,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use rustix::{fd::AsFd as _, process::Signal};

use super::{
    Errno, Fd, child, clock, error, exec, fd, image, inherited, limits,
    power::{self, PowerAction},
    print_error,
    program::{self, Argv, Environ, List},
    raw, signal,
    start::{self, Start},
};
pub use super::{
    image::Image,
    inherited::{
        close_inherited, inherited_directories, inherited_info, number_of,
        take_inherited, unlock_inherited, unlock_one,
    },
};
use crate::{
    config::{
        self,
        family::{self, RECOVERY},
    },
    text::Line,
    wire::clock::Instant,
};
use passed_on::Shared;
pub use passed_on::{
    Executed, Report, Resumed, first_start, record, unreadable,
};

/// The signals of a fault.
pub const FAULTS: [Signal; 6] = [
    Signal::SEGV,
    Signal::BUS,
    Signal::ILL,
    Signal::FPE,
    Signal::ABORT,
    Signal::SYS,
];

/// Bytes of the handler's stack. Only pages in use take memory.
const STACK: usize = 64 * 1024;

/// Bytes of stack that the handler's calls may use, which `cargo xtask audit`
/// checks.
const HANDLER: usize = 4096;

/// Bytes of a signal frame where the kernel does not report them.
const FRAME: usize = 5120;

/// Faults that must find room on the stack: one, and one in its handler.
const NESTED: usize = 2;

/// Seconds for which a new program is on trial.
pub const TRIAL_SECONDS: u64 = 10;

/// Pid of the process that handles its faults; 0 before [`install`].
static OWNER: AtomicU32 = AtomicU32::new(0);
/// Number of the descriptor to be executed, from 1; 0 for none.
static IMAGE: AtomicU32 = AtomicU32::new(0);
/// The same of the former program, while a new one is on trial.
static FORMER: AtomicU32 = AtomicU32::new(0);
/// End of that trial, in seconds of the monotonic clock.
static TRIAL: AtomicU32 = AtomicU32::new(0);
/// Number of faults that are being handled.
static DEPTH: AtomicU32 = AtomicU32::new(0);
/// The last fault.
static LAST: Shared<Report> = Shared(UnsafeCell::new(Report {
    signal: 0,
    sent: false,
    address: 0,
    count: 0,
    recent: [0; config::FAULTS],
    executed: Executed::Same,
    image: 0,
    former: 0,
    trial: 0,
    highest: 0,
}));
/// The handler's stack.
#[unsafe(link_section = ".bss.child_stacks")]
static HANDLER_STACK: Shared<[MaybeUninit<u8>; STACK]> =
    Shared(UnsafeCell::new([MaybeUninit::uninit(); STACK]));

/// Returns what the execution before this one has passed on, remembers its
/// descriptors, and handles faults. `None` if this is the first one. To be
/// called once, before anything is opened.
pub fn resumed() -> Option<Resumed> {
    let resumed = passed_on::read()?;
    restore_name();
    let report = resumed.report;
    // SAFETY: no handler is installed yet.
    unsafe { *LAST.0.get() = report };
    inherited::remember(u32::try_from(report.highest).unwrap_or(0));
    if let Some(state) = &resumed.state {
        // The next fault may come before there is another one.
        record(state);
    }
    for (place, number) in [(&IMAGE, report.image), (&FORMER, report.former)] {
        if let Some(file) = number.checked_sub(1).and_then(take_inherited) {
            place.store(number, Ordering::Relaxed);
            file.leave_open();
        }
    }
    TRIAL.store(report.trial, Ordering::Relaxed);
    // Its owner reports a failure.
    let _later = install().is_err();
    Some(resumed)
}

/// Handles faults from now on. In a copy of a process that does so too they
/// are counted anew. ENOMEM if the handler's stack is too small for this
/// processor.
pub fn install() -> Result<(), Errno> {
    if !RECOVERY {
        return Ok(());
    }
    let frame = start::given().map_or(0, |given| given.signal_frame);
    let frame = if frame == 0 { FRAME } else { frame };
    let needed = frame.saturating_add(HANDLER).saturating_mul(NESTED);
    if needed > STACK {
        return Err(Errno::ENOMEM);
    }
    let own = child::own_pid();
    if ![0, own].contains(&OWNER.load(Ordering::Relaxed)) {
        // SAFETY: the handler reads it only in the process of `OWNER`, which
        // is this one, and does not return.
        unsafe { *LAST.0.get() = Report::default() };
    }
    OWNER.store(own, Ordering::Relaxed);
    // SAFETY: nothing else uses this stack.
    unsafe { raw::alternate_stack(HANDLER_STACK.0.get().cast(), STACK) }?;
    for signal in FAULTS {
        // SAFETY: the handler is one, and never returns.
        unsafe { raw::handle(signal.as_raw().cast_unsigned(), handler) }?;
    }
    Ok(())
}

/// Restarts the machine at the next fault. ENOMEM as for [`install`].
pub fn install_last() -> Result<(), Errno> {
    DEPTH.store(1, Ordering::Relaxed);
    install()
}

/// Prepares what the handler executes, with `in_memory` a copy in memory;
/// returns what that is.
pub fn prepare_image(in_memory: bool) -> Image {
    if !RECOVERY {
        return Image::Path;
    }
    if let Some(number) = IMAGE.load(Ordering::Relaxed).checked_sub(1) {
        // Inherited, or that of the process that this one is a copy of.
        return inherited::with_file(number, image::kind);
    }
    let path = start::given().map_or(c"", |given| given.file);
    let Some(file) = image::open_own(path, in_memory) else {
        return Image::Path;
    };
    let kind = image::kind(file.as_fd());
    keep_image(&IMAGE, file);
    kind
}

/// Stores what the handler executes.
fn keep_image(place: &AtomicU32, file: Fd) {
    let number = number_of(&file).saturating_add(1);
    place.store(number, Ordering::Relaxed);
    file.leave_open();
}

/// Executes `new` in the place of this program; it goes on as after a fault.
/// While it is on trial a fault executes this program again. Returns if no
/// program can be executed.
pub fn upgrade(new: &Fd) {
    let Some(given) = start::given() else { return };
    let image = IMAGE.load(Ordering::Relaxed);
    let former = Report {
        signal: 0,
        sent: false,
        address: 0,
        executed: Executed::Former,
        image,
        former: 0,
        trial: 0,
        highest: u64::try_from(fd::highest()).unwrap_or(0),
        ..last()
    };
    let trial = now().saturating_add(TRIAL_SECONDS);
    let report = Report {
        executed: Executed::New,
        image: number_of(new).saturating_add(1),
        former: image,
        trial: u32::try_from(trial).unwrap_or(u32::MAX),
        ..former
    };
    inherited::keep();
    limits::restore_files();
    program::unclaim();
    for report in [report, former] {
        keep_images(&report);
        execute(&report, given);
    }
    inherited::keep_no_longer();
}

/// Returns the end of the trial of this program, if it is on trial.
pub fn trial_end() -> Option<Instant> {
    if !family::UPGRADE {
        return None;
    }
    let trial = u64::from(TRIAL.load(Ordering::Relaxed));
    let end = Instant::AT_ONCE.after(Duration::from_secs(trial));
    (FORMER.load(Ordering::Relaxed) != 0).then_some(end)
}

/// Ends the trial of this program: forgets the former one.
pub fn end_trial() {
    let former = FORMER.load(Ordering::Relaxed);
    FORMER.store(0, Ordering::Relaxed);
    if let Some(number) = former.checked_sub(1) {
        drop(Fd::unnoted(number.cast_signed()));
    }
}

/// Returns what led to this execution; all zeros if it is the first one.
pub fn last() -> Report {
    // SAFETY: the handler changes it only when it does not return.
    unsafe { *LAST.0.get() }
}

/// Returns true if an open file is executed after a fault, and not a path.
pub fn has_image() -> bool {
    IMAGE.load(Ordering::Relaxed) != 0
}

/// Starts a child that executes `image` with `words`, and with the same state
/// as [`upgrade`] passes on; returns its pid. `input` is its descriptor 0,
/// `output` the others.
pub fn check(
    image: &Fd,
    words: &[&CStr; 3],
    input: &Fd,
    output: &Fd,
) -> Result<u32, Errno> {
    let (is_copy, pid) = child::fork()?;
    if !is_copy {
        return Ok(pid);
    }
    let failed = exec_check(image, words, [input, output, output]);
    let mut line = Line::new();
    line.text("unable to execute it: ")
        .text(error::text(failed));
    print_error(line.finish());
    raw::exit(CANNOT_RUN)
}

/// Exit code of a child that could not execute its program.
const CANNOT_RUN: u8 = 111;

/// Executes an image in a copy of this process, as [`check`] says. Returns why
/// that failed.
fn exec_check(
    image: &Fd,
    [first, second, third]: &[&CStr; 3],
    streams: [&Fd; 3],
) -> Errno {
    let Some(given) = start::given() else {
        return Errno::ENOENT;
    };
    for (number, stream) in (0..).zip(streams) {
        if let Err(errno) = child::set_standard(stream, number) {
            return errno;
        }
    }
    if let Err(errno) = exec::keep_only(&[image.as_fd()]) {
        return errno;
    }
    let name = given.argv.first().unwrap_or(c"");
    let words = [*first, second, third, given.file, name];
    let mut list = [ptr::null(); 6];
    for (place, word) in list.iter_mut().zip(words) {
        *place = word.as_ptr();
    }
    let report = Report {
        executed: Executed::New,
        highest: u64::try_from(fd::highest()).unwrap_or(0),
        ..Report::default()
    };
    let environ = passed_on::environ(&report, c"", given.environ);
    limits::restore_files();
    signal::unblock_all();
    image::exec(number_of(image), Argv(List(list.as_ptr())), environ)
}

/// Handles a fault.
///
/// # Safety
/// The kernel calls it, with a `siginfo_t`.
unsafe extern "C" fn handler(
    signal: u32,
    info: *const [u32; 6],
    _context: *const c_void,
) -> ! {
    if OWNER.load(Ordering::Relaxed) != child::own_pid() {
        end(signal);
    }
    let depth = DEPTH.load(Ordering::Relaxed);
    DEPTH.store(depth.saturating_add(1), Ordering::Relaxed);
    // A fault in the handler would come again.
    if depth == 0 {
        // SAFETY: the kernel's, on this stack.
        let info = unsafe { &*info };
        execute_again(signal, info);
    }
    if OWNER.load(Ordering::Relaxed) == 1 {
        power::shut_down(PowerAction::Reboot);
    }
    end(signal)
}

/// Ends this process by a signal.
fn end(signal: u32) -> ! {
    let _default = raw::default_action(signal).is_err();
    if let Some(number) = Signal::from_named_raw(signal.cast_signed()) {
        let _sent = super::signal::kill(child::own_pid(), number).is_err();
    }
    raw::exit(128_u8.saturating_add(u8::try_from(signal).unwrap_or(0)))
}

/// Executes the program again after a fault, while it is on trial the former
/// one. Returns if that is refused.
fn execute_again(signal: u32, info: &[u32; 6]) {
    let Some(given) = start::given() else { return };
    let fault = report(signal, info);
    inherited::keep();
    limits::restore_files();
    program::unclaim();
    if family::UPGRADE && fault.former != 0 && now() < u64::from(fault.trial) {
        let former = Report {
            executed: Executed::Former,
            image: fault.former,
            former: 0,
            ..fault
        };
        keep_images(&former);
        execute(&former, given);
    }
    keep_images(&fault);
    let environ = execute(&fault, given);
    for path in [given.file, program::SELF_EXE] {
        let _refused = exec::exec_argv(path, given.argv, environ);
    }
}

/// Keeps the images that a report names open when a program is executed.
fn keep_images(report: &Report) {
    for number in [report.image, report.former] {
        if let Some(number) = number.checked_sub(1) {
            inherited::keep_one(number);
        }
    }
}

/// Executes the image that a report names, if any, and passes on the report.
/// Returns the environment for it if that is refused.
fn execute(report: &Report, given: Start) -> Environ {
    let environ = passed_on::environ(report, given.file, given.environ);
    if let Some(number) = report.image.checked_sub(1) {
        let _refused = image::exec(number, given.argv, environ);
    }
    environ
}

/// Returns the seconds of the monotonic clock.
fn now() -> u64 {
    clock::mono().nanos() / 1_000_000_000
}

/// Returns the report of a fault.
fn report(signal: u32, info: &[u32; 6]) -> Report {
    /// Index of the code in a `siginfo_t`, in words.
    const CODE: usize = if cfg!(target_arch = "mips") { 1 } else { 2 };
    let last = last();
    let sent = info.get(CODE).is_none_or(|code| code.cast_signed() <= 0);
    let mut report = Report {
        signal: u8::try_from(signal).unwrap_or(0),
        sent,
        address: if sent { 0 } else { address(info) },
        count: last.count.saturating_add(1),
        recent: last.recent,
        executed: Executed::Same,
        image: IMAGE.load(Ordering::Relaxed),
        former: FORMER.load(Ordering::Relaxed),
        trial: TRIAL.load(Ordering::Relaxed),
        highest: u64::try_from(fd::highest()).unwrap_or(0),
    };
    if !sent {
        report.recent.rotate_left(1);
        if let Some(newest) = report.recent.last_mut() {
            *newest = now();
        }
    }
    report
}

/// Returns the address in a `siginfo_t`.
fn address(info: &[u32; 6]) -> u64 {
    let [.., third, fourth, fifth] = *info;
    if cfg!(target_pointer_width = "64") {
        u64::from(fifth) << 32 | u64::from(fourth)
    } else {
        third.into()
    }
}

/// Restores the name of the process: the kernel names it by what was executed.
fn restore_name() {
    let name = start::given().and_then(|given| given.argv.first());
    let Some(name) = name else { return };
    let bytes = name.to_bytes_with_nul();
    let slash = bytes.iter().rposition(|byte| *byte == b'/');
    let base = bytes.get(slash.map_or(0, |at| at.saturating_add(1))..);
    let base = base.and_then(|base| CStr::from_bytes_with_nul(base).ok());
    let name = base.unwrap_or(name);
    let _set = raw::set_name(name).is_err();
}
