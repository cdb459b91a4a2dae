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

use core::{
    cell::UnsafeCell,
    ffi::{CStr, c_char, c_void},
    mem::MaybeUninit,
    ptr,
    sync::atomic::{AtomicU32, AtomicUsize, Ordering},
};

use rustix::{fd::AsFd as _, process::Signal};

use super::{
    At, CWD, Errno, Fd, child, clock, exec, fd,
    file::{self, Kind},
    image, limits,
    power::{self, PowerAction},
    program::{self, Environ},
    raw,
    start::{self, Start},
    static_cell::StaticCell,
};
use crate::{
    config::{self, family::RECOVERY},
    wire::record::{self, Numbers},
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

/// A fault, and those before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// The signal.
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
    /// Number of the descriptor that was executed, inverted; 0 for none.
    image: u64,
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

/// The image of the program that the handler executes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    /// A copy in memory.
    Memory,
    /// The open file of the program.
    File,
    /// The path of the program.
    Path,
}

impl Image {
    /// Returns its name.
    pub fn name(self) -> &'static [u8] {
        match self {
            Self::Memory => b"a copy of itself in memory",
            Self::File => b"the file that is running",
            Self::Path => b"its path",
        }
    }
}

/// A word of memory that the handler reads or writes.
#[repr(transparent)]
struct Shared<T>(UnsafeCell<T>);

// SAFETY: there is one thread, which the handler interrupts for good. What it
// reads is complete: each user says why.
unsafe impl<T> Sync for Shared<T> {}

/// Pid of the process that handles its faults; 0 before [`install`].
static OWNER: AtomicU32 = AtomicU32::new(0);
/// Number of the descriptor to be executed, inverted; 0 for none.
static IMAGE: AtomicU32 = AtomicU32::new(0);
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
    image: 0,
    highest: 0,
}));
/// Memory of the handler: the environment, and the variable in it.
static MEMORY: StaticCell<Memory> = StaticCell::new(Memory {
    environ: [ptr::null(); config::ENVIRON + 2],
    text: [0; TEXT],
});
/// The handler's stack.
#[unsafe(link_section = ".bss.child_stacks")]
static HANDLER_STACK: Shared<[MaybeUninit<u8>; STACK]> =
    Shared(UnsafeCell::new([MaybeUninit::uninit(); STACK]));

/// Bytes of the variable: its name, the numbers, [`PATH`], the path and a NUL.
const TEXT: usize = VARIABLE.len() + record::TEXT + config::PATH_BYTES + 2;

/// The byte between the numbers and the path.
const PATH: u8 = b':';

/// Memory of the handler.
struct Memory {
    environ: [*const c_char; config::ENVIRON + 2],
    text: [u8; TEXT],
}

// SAFETY: the pointers lead to memory that is valid as long as the process.
unsafe impl Send for Memory {}

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

/// Returns what the execution before this one has passed on, and remembers its
/// descriptors. `None` if this is the first one. To be called once, before
/// anything is opened.
pub fn resumed() -> Option<Resumed> {
    let given = start::given().filter(|_| RECOVERY)?.environ;
    let (text, _) = split(given.take(VARIABLE)?);
    restore_name();
    let numbers = record::read(text).unwrap_or_default();
    let mut reader = record::Reader(&numbers);
    let mut report = Report {
        signal: u8::try_from(reader.take()).unwrap_or(0),
        sent: reader.take() != 0,
        address: reader.take(),
        count: reader.take(),
        image: reader.take(),
        highest: reader.take(),
        ..Report::default()
    };
    for time in &mut report.recent {
        *time = reader.take();
    }
    // SAFETY: no handler is installed yet.
    unsafe { *LAST.0.get() = report };
    remember_inherited();
    let sum = reader.take();
    let mut state = Numbers::new();
    let whole = state.extend_from_slice(reader.0).is_ok();
    let state = (whole && record::checksum(&state) == sum).then_some(state);
    if let Some(state) = &state {
        // The next fault may come before there is another one.
        record(state);
    }
    Some(Resumed { report, state })
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
    if IMAGE.load(Ordering::Relaxed) != 0 {
        // By the process that this one is a copy of.
        return Image::File;
    }
    // SAFETY: the handler changes it only when it does not return.
    let inherited = unsafe { (*LAST.0.get()).image };
    let number = u32::try_from(inherited).ok().and_then(|n| n.checked_sub(1));
    if let Some(kept) = number.and_then(take_inherited) {
        let image = if image::is_sealed(&kept) {
            Image::Memory
        } else {
            Image::File
        };
        return keep_image(kept, image);
    }
    let path = start::given().map_or(c"", |given| given.file);
    let opened = file::open_read(CWD, path);
    let opened = opened.or_else(|_| file::open_read(CWD, program::SELF_EXE));
    let Ok(program) = opened else {
        return Image::Path;
    };
    // No program that is running can be written to.
    let copies = in_memory && !image::is_in_memory(&program);
    let copy = copies.then(|| image::sealed_copy(&program));
    match copy {
        Some(Ok(copy)) => keep_image(copy, Image::Memory),
        _ => keep_image(program, Image::File),
    }
}

/// Stores what the handler executes.
fn keep_image(file: Fd, image: Image) -> Image {
    IMAGE.store(
        file.number().cast_unsigned().saturating_add(1),
        Ordering::Relaxed,
    );
    file.leave_open();
    image
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
        keep_files();
        // SAFETY: the kernel's, on this stack.
        let info = unsafe { &*info };
        execute(signal, info);
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

/// Executes the program again. Returns if that is refused.
fn execute(signal: u32, info: &[u32; 6]) {
    let Some(given) = start::given() else { return };
    let fault = report(signal, info);
    let Some(memory) = MEMORY.take() else { return };
    for (place, byte) in memory.text.iter_mut().zip(VARIABLE) {
        *place = *byte;
    }
    let numbers = numbers(&fault);
    let sum = record::checksum(&numbers);
    let used = [sum]
        .iter()
        .chain(&numbers)
        .fold(VARIABLE.len(), |used, number| {
            record::put_number(&mut memory.text, used, *number)
        });
    // A NUL follows: the memory was zeros.
    let path = given.file.to_bytes_with_nul();
    let room = memory.text.get_mut(used..).unwrap_or(&mut []);
    if room.len() > path.len() {
        for (place, byte) in room.iter_mut().zip([PATH].iter().chain(path)) {
            *place = *byte;
        }
    }
    let variables = given.environ.iter().take(config::ENVIRON);
    let places = memory.environ.iter_mut().skip(1);
    for (place, variable) in places.zip(variables) {
        *place = variable.as_ptr();
    }
    if let Some(first) = memory.environ.first_mut() {
        *first = memory.text.as_ptr().cast();
    }
    limits::restore_files();
    program::unclaim();
    let environ = Environ(memory.environ.as_ptr());
    let image = IMAGE.load(Ordering::Relaxed);
    if let Some(number) = image.checked_sub(1) {
        let _refused = image::exec(number, given.argv, environ);
    }
    for path in [given.file, program::SELF_EXE] {
        let _refused = exec::exec_argv(path, given.argv, environ);
    }
}

/// Returns the report of a fault.
fn report(signal: u32, info: &[u32; 6]) -> Report {
    /// Index of the code in a `siginfo_t`, in words.
    const CODE: usize = if cfg!(target_arch = "mips") { 1 } else { 2 };
    // SAFETY: this is the only fault that is being handled, or the last one.
    let last = unsafe { *LAST.0.get() };
    let sent = info.get(CODE).is_none_or(|code| code.cast_signed() <= 0);
    let mut report = Report {
        signal: u8::try_from(signal).unwrap_or(0),
        sent,
        address: if sent { 0 } else { address(info) },
        count: last.count.saturating_add(1),
        recent: last.recent,
        image: IMAGE.load(Ordering::Relaxed).into(),
        highest: u64::try_from(fd::highest()).unwrap_or(0),
    };
    if !sent {
        report.recent.rotate_left(1);
        if let Some(newest) = report.recent.last_mut() {
            *newest = clock::mono().nanos() / 1_000_000_000;
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
    let head = [
        fault.signal.into(),
        fault.sent.into(),
        fault.address,
        fault.count,
        fault.image,
        fault.highest,
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

/// Keeps the pipes, the FIFOs, the directories and the image open when a
/// program is executed.
fn keep_files() {
    let highest = u32::try_from(fd::highest()).unwrap_or(0);
    for number in 3..=highest {
        match kind_of(number) {
            Some(Kind::Fifo | Kind::Directory) => {
                let _kept = raw::set_cloexec(number, false).is_err();
            }
            // A child that is being started may keep it open for a while.
            Some(Kind::Regular) => with_file(number, file::unlock),
            Some(_) | None => {}
        }
    }
    if let Some(number) = IMAGE.load(Ordering::Relaxed).checked_sub(1) {
        let _kept = raw::set_cloexec(number, false).is_err();
    }
}

/// Calls `work` with an open file of this number.
fn with_file<T>(number: u32, work: impl FnOnce(At<'_>) -> T) -> T {
    let file = Fd::unnoted(number.cast_signed());
    let result = work(file.as_fd());
    file.leave_open();
    result
}

/// Returns the kind of an open file; `None` if none has this number.
fn kind_of(number: u32) -> Option<Kind> {
    with_file(number, |file| file::info_of(file).ok()).map(|info| info.kind)
}

/// Returns the numbers of the descriptors that were open before the fault.
fn old_numbers() -> core::ops::RangeInclusive<u32> {
    // SAFETY: the handler changes it only when it does not return.
    let highest = unsafe { (*LAST.0.get()).highest };
    3..=u32::try_from(highest).unwrap_or(0)
}

/// Words that have a bit for each: a slot has at most 14 descriptors, and after
/// a fault the old ones are open for a while besides all new ones.
const WORDS: usize = config::SLOTS + config::LOGGERS + 4;

/// Returns the number of a descriptor, for [`take_inherited`].
pub fn number_of(file: &Fd) -> u32 {
    file.number().cast_unsigned()
}

/// Descriptors that were open when this execution began, as bits.
static INHERITED: Shared<[u32; WORDS]> = Shared(UnsafeCell::new([0; WORDS]));

/// Returns the word and the bit of a descriptor in [`INHERITED`].
fn inherited(number: u32) -> Option<(&'static mut u32, u32)> {
    let index = usize::try_from(number >> 5).ok()?;
    // SAFETY: one thread, and no caller keeps the word.
    let words = unsafe { &mut *INHERITED.0.get() };
    Some((words.get_mut(index)?, 1 << (number & 31)))
}

/// Remembers all descriptors that are open, and closes them on exec.
fn remember_inherited() {
    for number in old_numbers() {
        if raw::set_cloexec(number, true).is_ok()
            && let Some((word, bit)) = inherited(number)
        {
            *word |= bit;
            // The next fault may come before it is taken.
            fd::note(number.cast_signed());
        }
    }
}

/// Returns an inherited descriptor, once.
pub fn take_inherited(number: u32) -> Option<Fd> {
    let (word, bit) = inherited(number).filter(|_| RECOVERY)?;
    let there = *word & bit != 0;
    *word &= !bit;
    there.then(|| Fd::from_number(usize::try_from(number).unwrap_or(0)))
}

/// Returns the inherited directories, each once.
pub fn inherited_directories() -> impl Iterator<Item = Fd> {
    old_numbers().filter_map(|number| {
        let there =
            inherited(number).is_some_and(|(word, bit)| *word & bit != 0);
        let is_directory = there && kind_of(number) == Some(Kind::Directory);
        is_directory.then(|| take_inherited(number))?
    })
}

/// Closes the inherited descriptors that nothing has taken.
pub fn close_inherited() {
    for number in old_numbers() {
        drop(take_inherited(number));
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
