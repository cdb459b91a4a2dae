//! Passes a state on to the program that a process executes in its place, as
//! a variable of the environment.

use core::{
    cell::UnsafeCell,
    ffi::{CStr, c_char},
    ptr,
    sync::atomic::{AtomicUsize, Ordering},
};

use crate::{
    config::{self, family::RECOVERY},
    sys::{
        inherited,
        program::Environ,
        start::{self, Start},
    },
    wire::record::{self, Numbers},
};

/// The variable that passes the state on, with its `=`.
const VARIABLE: &[u8] = b"RUNT_RESUME=";

/// Number of the layout of what is passed on: of [`Report`], and of the states
/// that its owners record. A change adds numbers at the end of a state, or
/// changes this number.
const FORMAT: u64 = 1;

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
    pub(super) image: u32,
    /// The same of the former program, while a new one is on trial.
    pub(super) former: u32,
    /// End of that trial, in seconds of the monotonic clock.
    pub(super) trial: u32,
    /// Highest number of a descriptor.
    pub(super) highest: u64,
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
pub(super) struct Shared<T>(pub(super) UnsafeCell<T>);

// SAFETY: there is one thread, which the handler interrupts for good. What it
// reads is complete: each user says why.
unsafe impl<T> Sync for Shared<T> {}

/// The last two states, each behind its checksum.
static STATES: [Shared<Numbers>; 2] =
    [const { Shared(UnsafeCell::new(Numbers::new())) }; 2];
/// Index of the state that is complete.
static STATE: AtomicUsize = AtomicUsize::new(0);
/// The environment that is passed on, and the variable in it.
static MEMORY: Shared<Memory> = Shared(UnsafeCell::new(Memory {
    environ: [ptr::null(); config::ENVIRON + 2],
    text: [0; TEXT],
}));
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

/// Returns the given environment with the variable, which has a report, the
/// state and `path`. It is valid until the next call.
pub(super) fn environ(report: &Report, path: &CStr, given: Environ) -> Environ {
    // SAFETY: there is one thread, and a handler that interrupts this call
    // never returns.
    let memory = unsafe { &mut *MEMORY.0.get() };
    memory.environ(report, path, given)
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

/// Returns what was passed on, and removes it from the environment.
pub(super) fn read() -> Option<Resumed> {
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
    let Some(Resumed { report, state }) = read() else {
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
