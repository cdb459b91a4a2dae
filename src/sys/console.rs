//! Writes lines to the console, or in a program that is not PID 1 to
//! descriptor 2, without ever blocking.
//!
//! Keeps what is not taken at once in a backlog, which the loop writes when
//! there is room again. Lines that do not fit the backlog are counted, and a
//! line of the caller's with that count is written where they are missing.
//! Without a console the lines of PID 1 go to the kernel's log. Without a
//! reader of descriptor 2 lines are dropped, and counted in case a reader
//! appears.

mod backlog;

use core::{cell::RefCell, ffi::CStr, time::Duration};

use heapless::Vec;
use rustix::fd::AsFd;

pub use backlog::DropReport;

use backlog::Backlog;

use super::{
    At, CWD, Errno, Fd, child, clock, fd, file,
    poller::{self, Interest, Poller},
    raw,
    static_cell::StaticCell,
    stderr, write_once,
};
use crate::text::{Line, Path};

/// The console's device file.
const CONSOLE: &CStr = c"/dev/console";
/// The list of the terminals that are consoles; /dev/console is the last.
const ACTIVE: &CStr = c"/sys/class/tty/console/active";
/// The kernel's log.
const LOG: &CStr = c"/dev/kmsg";
/// The prefix of a line in the kernel's log: facility daemon, level info.
const LEVEL: &str = "<30>";
/// The interval at which a flush checks how much text is still unsent.
const FLUSH_INTERVAL: Duration = Duration::from_millis(10);

/// The console with its backlog, for the one part of the program that writes
/// to it.
pub struct Console(RefCell<State>);

/// The only [`Console`].
static CONSOLE_STATE: StaticCell<Console> =
    StaticCell::new(Console(RefCell::new(State {
        to_stderr: false,
        path: None,
        file: None,
        is_polled: false,
        contained: false,
        backlog: Backlog {
            report: None,
            lost: 0,
            reported: 0,
            bytes: Vec::new(),
        },
    })));

/// The state of a [`Console`]. The lines come last: what is behind them would
/// need a page of its own.
#[repr(C)]
struct State {
    /// True if the lines go to descriptor 2, false if to the console.
    to_stderr: bool,
    /// The device tried first, if that is not [`CONSOLE`]. (The state is all
    /// zeros at first, so that it takes no space in the program's file.)
    path: Option<&'static CStr>,
    /// The open console, while lines wait for it.
    file: Option<Fd>,
    /// True while a loop polls `file`.
    is_polled: bool,
    /// True for PID 1 of a container, where the kernel and its terminals
    /// belong to the host.
    contained: bool,
    /// The lines that are not written yet.
    backlog: Backlog,
}

impl State {
    /// Writes as much as is taken now. False when there is no console.
    fn write(&mut self) -> bool {
        if !self.to_stderr {
            return self.write_to_console();
        }
        self.write_to_stderr();
        true
    }

    /// Writes as much as descriptor 2 takes now.
    fn write_to_stderr(&mut self) {
        while !self.backlog.bytes.is_empty() {
            match stderr::write(&self.backlog.bytes) {
                Ok(count @ 1..) => self.backlog.written(true, count),
                Ok(0) | Err(Errno::EAGAIN) => break,
                Err(_) => {
                    self.backlog.drop_all();
                    break;
                }
            }
        }
    }

    /// Writes as much as the console takes now. Opens it for this, so that it
    /// works after the terminal was hung up. False when there is no console.
    fn write_to_console(&mut self) -> bool {
        let mut fresh = false;
        while !self.backlog.bytes.is_empty() {
            let file = match self.file.take() {
                Some(file) => file,
                None if fresh => return self.write_to_log(),
                None => match self.open() {
                    Ok(file) => {
                        fresh = true;
                        self.is_polled = false;
                        file
                    }
                    Err(_) => return self.write_to_log(),
                },
            };
            match write_once(file.as_fd(), &self.backlog.bytes) {
                Ok(count @ 1..) => self.backlog.written(false, count),
                Ok(0) | Err(Errno::EAGAIN) => {
                    self.file = Some(file);
                    return true;
                }
                // Hung up, or no device behind the name: opened once more.
                Err(_) => continue,
            }
            self.file = Some(file);
        }
        if !self.is_polled {
            self.file = None;
        }
        true
    }

    /// Opens the console.
    fn open(&self) -> Result<Fd, Errno> {
        open(self.path.unwrap_or(CONSOLE), self.contained)
    }

    /// Writes all lines to the kernel's log, without a console. False when
    /// that is missing too; then the lines are kept until there is a console.
    /// In a container the kernel belongs to the host: there the lines go to
    /// descriptor 2 from then on.
    fn write_to_log(&mut self) -> bool {
        if self.contained {
            self.to_stderr = true;
            self.write_to_stderr();
            return true;
        }
        let Ok(log) = file::open_write(CWD, LOG) else {
            return false;
        };
        while !self.backlog.bytes.is_empty() {
            let first = self.backlog.first();
            let mut line = Line::new();
            line.text(LEVEL).bytes(first.trim_ascii_end());
            let count = first.len();
            // The kernel refuses a line that is too long for it: that one is
            // lost, and keeps no other from being logged.
            let _refused = write_once(log.as_fd(), line.finish()).is_err();
            self.backlog.written(false, count);
        }
        true
    }

    /// Returns the descriptor that becomes writable when more lines are taken.
    fn poll_fd(&self) -> Option<At<'_>> {
        if self.to_stderr {
            return Some(fd::STDERR);
        }
        self.file.as_ref().map(AsFd::as_fd)
    }
}

impl Console {
    /// Returns the console, that of a container if `contained`. `None` the
    /// second time.
    pub fn get(contained: bool, report: DropReport) -> Option<&'static Self> {
        Self::take(|state| state.contained = contained, report)
    }

    /// Returns descriptor 2 as the console, for a program that is not PID 1.
    /// `None` the second time.
    pub fn stderr(report: DropReport) -> Option<&'static Self> {
        Self::take(|state| state.to_stderr = true, report)
    }

    /// Returns the only console, after `prepare` has changed its state.
    fn take(
        prepare: impl FnOnce(&mut State),
        report: DropReport,
    ) -> Option<&'static Self> {
        let console = CONSOLE_STATE.take()?;
        let state = console.0.get_mut();
        state.backlog.report = Some(report);
        prepare(state);
        Some(console)
    }

    /// Writes a line, at once or as soon as the console takes it. False when
    /// there is neither a console nor a kernel's log.
    pub fn write_line(&self, line: &[u8]) -> bool {
        // It is never called from within itself.
        self.0.try_borrow_mut().is_ok_and(|mut state| {
            let to_stderr = state.to_stderr;
            state.backlog.push(to_stderr, line);
            state.write()
        })
    }

    /// Prepares `poller` for the next sleep of a loop: it reports `token` when
    /// the console takes more, for as long as lines wait.
    pub fn update_poller(&self, poller: &Poller, token: u64) {
        let Ok(mut state) = self.0.try_borrow_mut() else {
            return;
        };
        let has_lines = !state.backlog.bytes.is_empty();
        if has_lines == state.is_polled {
            return;
        }
        let Some(file) = state.poll_fd() else {
            return;
        };
        if has_lines {
            let added = poller.add(file, Interest::Writable, token);
            // If not, the next line writes the others too.
            state.is_polled = added.is_ok();
        } else {
            // Before it is closed: a child may have a copy of it.
            let _left = poller.remove(file).is_err();
            state.is_polled = false;
            state.file = None;
        }
    }

    /// Returns true while lines wait for a console that is there and takes no
    /// more. Without one, lines beyond the capacity are dropped and counted.
    pub fn is_busy(&self) -> bool {
        let state = self.0.try_borrow();
        state.is_ok_and(|state| {
            !state.backlog.bytes.is_empty() && state.poll_fd().is_some()
        })
    }

    /// Writes more of the backlog, when the console takes more.
    pub fn write_backlog(&self) {
        if let Ok(mut state) = self.0.try_borrow_mut() {
            state.write();
        }
    }

    /// Waits until all text has been transmitted, at most for `limit`: what a
    /// serial port still holds when the power is switched off is lost.
    pub fn flush(&self, limit: Duration) {
        let until = clock::mono().after(limit);
        let Ok(mut state) = self.0.try_borrow_mut() else {
            return;
        };
        while clock::mono() < until {
            if !state.write() {
                return;
            }
            // Anything but a terminal has sent what it took.
            let unsent = state.open().and_then(|file| raw::output_queue(&file));
            if state.backlog.bytes.is_empty() && unsent.unwrap_or(0) == 0 {
                return;
            }
            poller::sleep(FLUSH_INTERVAL);
        }
    }

    /// Drops the backlog, in a copy of the process: the original writes it.
    pub fn discard_backlog(&self) {
        if let Ok(mut state) = self.0.try_borrow_mut() {
            state.file = None;
            state.is_polled = false;
            state.backlog.clear();
        }
    }
}

/// Opens the console: `path`, or the terminal that the kernel names as its
/// console if `path` is missing or has no device, unless `contained`.
fn open(path: &CStr, contained: bool) -> Result<Fd, Errno> {
    file::open_both(CWD, path).or_else(|errno| {
        if contained {
            return Err(errno);
        }
        let mut names = [0; 64];
        let names =
            file::read_whole(CWD, ACTIVE, &mut names).map_err(|_| errno)?;
        let name = names.trim_ascii().rsplit(|byte| *byte == b' ').next();
        let name = name.filter(|name| !name.is_empty()).ok_or(errno)?;
        let path = Path::join(&[b"/dev/", name]).map_err(|_| errno)?;
        file::open_both(CWD, path.as_c_str()).map_err(|_| errno)
    })
}

/// Opens the console for the children of this process.
pub fn open_blocking(contained: bool) -> Result<Fd, Errno> {
    let console = open(CONSOLE, contained)?;
    file::set_blocking(console.as_fd(), true)?;
    Ok(console)
}

/// Makes descriptor 0 /dev/null. With `replace`, also makes descriptors 1 and
/// 2 the console, for a container whose console cannot be read.
pub fn detach_standard(replace: bool) -> Result<(), Errno> {
    let null = file::open_read(CWD, c"/dev/null")?;
    child::set_standard(&null, 0)?;
    if replace {
        let console = file::open_write(CWD, CONSOLE)?;
        file::set_blocking(console.as_fd(), true)?;
        child::set_standard(&console, 1)?;
        child::set_standard(&console, 2)?;
    }
    Ok(())
}

/// Makes the console descriptors 0, 1 and 2, for this process and its
/// children. When it cannot be opened the streams stay as they are.
///
/// The descriptors are blocking, since children share them; a [`Console`]
/// opens its own, which are not.
pub fn attach_standard(contained: bool) -> Result<(), Errno> {
    let console = open_blocking(contained)?;
    for number in 0..3 {
        child::set_standard(&console, number)?;
    }
    Ok(())
}

#[cfg(test)]
mod test {
    use std::{ffi::CString, os::unix::ffi::OsStrExt as _};

    use super::*;

    /// Makes a FIFO as console; returns its path too. Like a missing device it
    /// cannot be opened for writing while it has no reader.
    fn console(dir: &tempfile::TempDir) -> (Console, &'static CStr) {
        let path = dir.path().join("console");
        let path = CString::new(path.as_os_str().as_bytes()).unwrap();
        let path: &CStr = Box::leak(path.into_boxed_c_str());
        file::make_fifo(CWD, path, 0o600).unwrap();
        let state = State {
            to_stderr: false,
            path: Some(path),
            file: None,
            is_polled: false,
            contained: false,
            backlog: Backlog::default(),
        };
        (Console(RefCell::new(state)), path)
    }

    fn read_all(from: &Fd) -> Vec<u8, 70_000> {
        let mut all = Vec::new();
        let mut bytes = [0; 1000];
        while let Ok(count @ 1..) = super::super::read(from.as_fd(), &mut bytes)
        {
            all.extend_from_slice(&bytes[..count]).unwrap();
        }
        all
    }

    #[test]
    fn backlog_is_written_when_the_console_accepts_it() {
        let dir = tempfile::tempdir().unwrap();
        let (console, path) = console(&dir);
        let reader = file::open_read(CWD, path).unwrap();
        let poller = Poller::new().unwrap();
        let now = || Some(clock::mono());
        assert!(console.write_line(b"first\n"));
        assert_eq!(read_all(&reader).as_slice(), b"first\n");
        // Another process fills it.
        let other = file::open_write(CWD, path).unwrap();
        while write_once(other.as_fd(), &[b'x'; 4096]).is_ok() {}
        assert!(console.write_line(b"second\n"));
        console.update_poller(&poller, 7);
        assert!(poller.wait(now()).unwrap().is_empty());
        assert!(console.write_line(b"third\n"));
        // Its reader continues.
        assert!(read_all(&reader).iter().all(|byte| *byte == b'x'));
        console.update_poller(&poller, 7);
        assert_eq!(poller.wait(now()).unwrap(), [7]);
        console.write_backlog();
        assert_eq!(read_all(&reader).as_slice(), b"second\nthird\n");
        // Nothing is left to write: no wake-up.
        console.update_poller(&poller, 7);
        assert!(poller.wait(now()).unwrap().is_empty());
        assert!(console.0.borrow().file.is_none());
    }
}
