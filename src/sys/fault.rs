//! Survives faults of this program: a process executes its file again and
//! passes its state on.
//!
//! A fault is a signal of [`FAULTS`], also on an overflow of the stack: the
//! handler has a stack of its own. It keeps the pipes and FIFOs open, so that
//! neither a writer nor their content is lost, and the directories, and
//! executes, in this order, a sealed copy of the program in memory (PID 1
//! only, and not if the file is in memory itself) or the file that the program
//! was started from, its path, and /proc/self/exe. If all are refused, or the
//! handler itself faults, PID 1 restarts the machine, and another process ends
//! by the signal. Blocked signals stay blocked, pending ones pending, and
//! children stay children.
//!
//! The state travels in the variable [`VARIABLE`] of the environment, which
//! [`resumed`] removes. It is what was last given to [`record`], and the path
//! by which the program was executed at first.
//!
//! The handler never returns. In another process than the one that called
//! [`install`] (a copy that has not executed a program) the signal has its
//! default effect.
//!
//! [`upgrade`] executes another file in the same way. That is on trial for
//! [`TRIAL_SECONDS`]: a fault executes the former one again.

use core::{
    cell::UnsafeCell,
    ffi::{CStr, c_char, c_void},
    mem::MaybeUninit,
    ptr,
    sync::atomic::{AtomicU32, AtomicUsize, Ordering},
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
        close_inherited, inherited_directories, number_of, take_inherited,
    },
};
use crate::{
    config::{
        self,
        family::{self, RECOVERY},
    },
    text::Line,
    wire::{
        clock::Instant,
        record::{self, Numbers},
    },
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

/// The variable that passes the state on, with its `=`.
const VARIABLE: &[u8] = b"RUNT_RESUME=";

/// Bytes of the handler's stack. Only pages in use take memory.
const STACK: usize = 64 * 1024;

/// Bytes of stack that the handler's calls may use, which `cargo xtask audit`
/// checks.
const HANDLER: usize = 4096;

/// Bytes of a signal frame where the kernel does not report them.
const FRAME: usize = 5120;

/// Faults that must find room on the stack: one, and one in its handler.
const NESTED: usize = 2;

/// Number of the layout of what is passed on: of [`Report`], and of the states
/// that its owners record. A change adds numbers at the end of a state, or
/// changes this number.
const FORMAT: u64 = 1;

/// Seconds for which a new program is on trial.
pub const TRIAL_SECONDS: u64 = 10;

/// The program that is executed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Executed {
    /// The one that was running.
    #[default]
    Same,
    /// A new one, which is on trial.
    New,
    /// The one that a new one had replaced: that has faulted, or could not be
    /// executed.
    Former,
}

/// A fault or an upgrade, and the faults before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The signal; 0 if there was no fault.
    pub signal: u8,
    /// True if a process has sent it: no defect is the cause.
    pub sent: bool,
    /// The address that was accessed, if any.
    pub address: u64,
    /// Number of faults since the process was started, with this one.
    pub count: u64,
    /// Time of each of the last faults that no process has sent, in seconds
    /// of the monotonic clock, oldest first; 0 for none.
    pub recent: [u64; config::FAULTS],
    /// The program that is executed.
    pub executed: Executed,
    /// Number of its descriptor, from 1; 0 for none.
    image: u32,
    /// The same of the former program, while a new one is on trial.
    former: u32,
    /// End of that trial, in seconds of the monotonic clock.
    trial: u32,
    /// Highest number of a descriptor.
    highest: u64,
}

/// Report and state that the previous execution has passed on.
#[derive(Debug)]
pub struct Resumed {
    /// The fault.
    pub report: Report,
    /// The state; `None` if it is damaged.
    pub state: Option<Numbers>,
}

/// A word of memory that the handler reads or writes.
#[repr(transparent)]
struct Shared<T>(UnsafeCell<T>);

// SAFETY: there is one thread, which the handler interrupts for good. What it
// reads is complete: each user says why.
unsafe impl<T> Sync for Shared<T> {}

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
/// The last two states, each behind its checksum.
static STATES: [Shared<Numbers>; 2] =
    [const { Shared(UnsafeCell::new(Numbers::new())) }; 2];
/// Index of the state that is complete.
static STATE: AtomicUsize = AtomicUsize::new(0);
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
/// The environment that is passed on, and the variable in it.
static MEMORY: Shared<Memory> = Shared(UnsafeCell::new(Memory {
    environ: [ptr::null(); config::ENVIRON + 2],
    text: [0; TEXT],
}));
/// The handler's stack.
#[unsafe(link_section = ".bss.child_stacks")]
static HANDLER_STACK: Shared<[MaybeUninit<u8>; STACK]> =
    Shared(UnsafeCell::new([MaybeUninit::uninit(); STACK]));

/// Bytes of the variable: its name, the numbers, [`PATH`], the path and a NUL.
const TEXT: usize = VARIABLE.len() + record::TEXT + config::PATH_BYTES + 2;

/// The byte between the numbers and the path.
const PATH: u8 = b':';

/// Memory for what is passed on.
struct Memory {
    environ: [*const c_char; config::ENVIRON + 2],
    text: [u8; TEXT],
}

impl Memory {
    /// Returns the given environment with the variable, which has `report`, the
    /// state and `path`. The memory is used until the next call.
    fn environ(
        &mut self,
        report: &Report,
        path: &CStr,
        given: Environ,
    ) -> Environ {
        for (place, byte) in self.text.iter_mut().zip(VARIABLE) {
            *place = *byte;
        }
        let numbers = numbers(report);
        let sum = record::checksum(&numbers);
        let used = [sum]
            .iter()
            .chain(&numbers)
            .fold(VARIABLE.len(), |used, number| {
                record::put_number(&mut self.text, used, *number)
            });
        let path = path.to_bytes_with_nul();
        let room = self.text.get_mut(used..).unwrap_or(&mut []);
        if let Some(end) = room.first_mut() {
            *end = 0;
        }
        if room.len() > path.len() {
            for (place, byte) in room.iter_mut().zip([PATH].iter().chain(path))
            {
                *place = *byte;
            }
        }
        let variables = given.iter().take(config::ENVIRON);
        let places = self.environ.iter_mut().skip(1);
        for (place, variable) in places.zip(variables) {
            *place = variable.as_ptr();
        }
        if let Some(first) = self.environ.first_mut() {
            *first = self.text.as_ptr().cast();
        }
        Environ(self.environ.as_ptr())
    }
}

/// Splits the variable into the text of the numbers and the path.
fn split(text: &'static CStr) -> (&'static [u8], Option<&'static CStr>) {
    let bytes = text.to_bytes_with_nul();
    let mut parts = bytes.splitn(2, |byte| *byte == PATH);
    let numbers = parts.next().unwrap_or(&[]);
    let path = parts.next().map(CStr::from_bytes_with_nul);
    (numbers, path.and_then(Result::ok))
}

/// Returns `start` with the path by which the program was executed at first,
/// if a fault has executed it since.
#[must_use]
pub fn first_start(start: Start) -> Start {
    if !RECOVERY {
        return start;
    }
    let name = VARIABLE.strip_suffix(b"=").unwrap_or(VARIABLE);
    let path = start.environ.get(name).and_then(|text| split(text).1);
    let Some(file) = path else { return start };
    start::set_file(file);
    Start { file, ..start }
}

/// Returns what the execution before this one has passed on, remembers its
/// descriptors, and handles faults. `None` if this is the first one. To be
/// called once, before anything is opened.
pub fn resumed() -> Option<Resumed> {
    let resumed = passed_on()?;
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

/// Returns what was passed on, and removes it from the environment.
fn passed_on() -> Option<Resumed> {
    let given = start::given().filter(|_| RECOVERY)?.environ;
    let (text, _) = split(given.take(VARIABLE)?);
    let numbers = record::read(text).unwrap_or_default();
    let mut reader = record::Reader(&numbers);
    let known = reader.take() == FORMAT;
    let mut report = Report {
        signal: u8::try_from(reader.take()).unwrap_or(0),
        sent: reader.take() != 0,
        address: reader.take(),
        count: reader.take(),
        executed: match reader.take() {
            1 => Executed::New,
            2 => Executed::Former,
            _ => Executed::Same,
        },
        image: reader.take_word(),
        former: reader.take_word(),
        trial: reader.take_word(),
        highest: reader.take(),
        ..Report::default()
    };
    // Another program may count more faults, or fewer.
    for _ in 0..reader.take() {
        let time = reader.take();
        report.recent.rotate_left(1);
        if let Some(newest) = report.recent.last_mut() {
            *newest = time;
        }
    }
    let sum = reader.take();
    let mut state = Numbers::new();
    let whole = known && state.extend_from_slice(reader.0).is_ok();
    let state = (whole && record::checksum(&state) == sum).then_some(state);
    Some(Resumed { report, state })
}

/// Returns why this program cannot go on with what is passed on to it; `None`
/// if it can. For a check before an upgrade.
pub fn unreadable() -> Option<&'static str> {
    let variables = start::environ().iter().count();
    let Some(Resumed { report, state }) = passed_on() else {
        return Some("no state was passed on");
    };
    if state.is_none() {
        Some("the state of the process has another format")
    } else if variables > config::ENVIRON {
        Some("more variables than environ")
    } else if report.highest >= inherited::bound() {
        Some("more open files than its slots need")
    } else {
        None
    }
}

/// Sets the state that is passed on.
pub fn record(state: &Numbers) {
    let next = 1 ^ STATE.load(Ordering::Relaxed);
    if RECOVERY && let Some(place) = STATES.get(next) {
        // SAFETY: the handler reads the other one.
        let place = unsafe { &mut *place.0.get() };
        place.clear();
        // There is room for a state and what precedes it.
        let _room = place.push(record::checksum(state)).is_ok();
        let _room = place.extend_from_slice(state).is_ok();
        STATE.store(next, Ordering::Release);
    }
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
    // SAFETY: this copy has one thread.
    let memory = unsafe { &mut *MEMORY.0.get() };
    let environ = memory.environ(&report, c"", given.environ);
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
    // SAFETY: what the handler interrupts does not go on, and else nothing
    // uses it but this call.
    let memory = unsafe { &mut *MEMORY.0.get() };
    let environ = memory.environ(report, given.file, given.environ);
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

/// Returns what is passed on: a fault, and the state.
fn numbers(fault: &Report) -> Numbers {
    let mut numbers = Numbers::new();
    let executed = match fault.executed {
        Executed::Same => 0,
        Executed::New => 1,
        Executed::Former => 2,
    };
    let head = [
        FORMAT,
        fault.signal.into(),
        fault.sent.into(),
        fault.address,
        fault.count,
        executed,
        fault.image.into(),
        fault.former.into(),
        fault.trial.into(),
        fault.highest,
        u64::try_from(config::FAULTS).unwrap_or(0),
    ];
    let _room = numbers.extend_from_slice(&head).is_ok();
    let _room = numbers.extend_from_slice(&fault.recent).is_ok();
    if let Some(state) = STATES.get(STATE.load(Ordering::Acquire)) {
        // SAFETY: `record` writes to the other one.
        let state = unsafe { &*state.0.get() };
        let _room = numbers.extend_from_slice(state).is_ok();
    }
    numbers
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
