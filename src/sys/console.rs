//! Writes lines to the console, or in a program that is not PID 1 to
//! descriptor 2, without ever waiting for it.
//!
//! What is not taken at once waits in a backlog, which the loop writes on when
//! there is room again. Lines that the backlog has no room for are counted, and
//! the count is written where they are missing. Without a console the lines
//! of PID 1 go to the kernel's log; without a reader behind descriptor 2 they
//! are dropped, and counted in case one comes.

use core::{cell::RefCell, ffi::CStr, time::Duration};

use heapless::Vec;
use rustix::fd::AsFd;

use super::{
    At, CWD, Errno, Fd, child, clock, fd, file,
    poller::{self, Interest, Poller},
    raw,
    static_cell::StaticCell,
    stderr, write_once,
};
use crate::{
    config,
    text::{self, Line, Path},
};

/// The console's device file.
const CONSOLE: &CStr = c"/dev/console";
/// Which terminals are consoles; the last is the one that /dev/console means.
const ACTIVE: &CStr = c"/sys/class/tty/console/active";
/// The kernel's log.
const LOG: &CStr = c"/dev/kmsg";
/// What stands before a line there: a daemon's, and of information.
const LEVEL: &str = "<30>";
/// How often a flush looks how much of its text is on the wire.
const LOOK: Duration = Duration::from_millis(10);

/// What stands before PID 1's lines.
const OWN: &str = "- runit";

/// The console, for the one who speaks to it.
pub struct Console(RefCell<State>);

/// The only one.
static CONSOLE_STATE: StaticCell<Console> =
    StaticCell::new(Console(RefCell::new(State {
        program: None,
        path: None,
        file: None,
        awaited: false,
        contained: false,
        backlog: Backlog {
            bytes: Vec::new(),
            lost: 0,
            told: 0,
        },
    })));

/// What a console is while something waits for it.
struct State {
    /// The program that writes to descriptor 2; without one it is PID 1, which
    /// writes to the console.
    program: Option<&'static str>,
    /// The device tried first, where it is not [`CONSOLE`]. (All zeros in
    /// the beginning, the state takes no place in the program's file.)
    path: Option<&'static CStr>,
    /// Open for as long as something waits.
    file: Option<Fd>,
    /// A loop sleeps on `file`.
    awaited: bool,
    /// PID 1 of a container: the kernel and its terminals are the host's.
    contained: bool,
    backlog: Backlog,
}

/// Lines that nobody has taken yet, in their order.
///
/// When it is full the newest lines are left out. They are counted, and the
/// count stands where they are missing.
#[derive(Debug, Default)]
struct Backlog {
    bytes: Vec<u8, { config::CONSOLE_BYTES }>,
    /// Lines left out behind `bytes`.
    lost: u64,
    /// How many the first line of `bytes` tells of, as long as that is whole.
    told: u64,
}

impl Backlog {
    /// Adds a line of `program`.
    fn push(&mut self, program: Option<&str>, line: &[u8]) {
        self.report(program);
        if self.lost > 0 || self.bytes.extend_from_slice(line).is_err() {
            self.lost = self.lost.saturating_add(1);
        }
    }

    /// Drops everything.
    fn clear(&mut self) {
        self.bytes.clear();
        self.lost = 0;
        self.told = 0;
    }

    /// Removes what has been written.
    fn written(&mut self, program: Option<&str>, count: usize) {
        self.told = 0;
        let rest = self.bytes.len().saturating_sub(count);
        text::to_front(&mut self.bytes, count, rest);
        self.bytes.truncate(rest);
        self.report(program);
    }

    /// Counts what nothing will take as lost.
    fn drop_all(&mut self) {
        let lines = self.bytes.split(|byte| *byte == b'\n').skip(1).count();
        let lines = u64::try_from(lines).unwrap_or(u64::MAX);
        // The line that tells of others stands for those.
        let own = u64::from(self.told > 0);
        let lines = lines.saturating_sub(own).saturating_add(self.told);
        self.lost = self.lost.saturating_add(lines);
        self.told = 0;
        self.bytes.clear();
    }

    /// Adds how many lines were lost once all before them are written.
    fn report(&mut self, program: Option<&str>) {
        if self.lost == 0 || !self.bytes.is_empty() {
            return;
        }
        let mut line = Line::new();
        line.text(program.unwrap_or(OWN));
        line.text(if program.is_some() {
            ": warning: standard error was blocked: "
        } else {
            ": warning: the console was slow: "
        });
        self.told = core::mem::take(&mut self.lost);
        line.number(self.told);
        line.text(" lines left out (console-bytes = ");
        line.number(u64::try_from(config::CONSOLE_BYTES).unwrap_or(0));
        // The least capacity holds it.
        let line = line.text(")").finish();
        let _fits = self.bytes.extend_from_slice(line).is_ok();
    }

    /// The first line, or what is left of it.
    fn first(&self) -> &[u8] {
        let mut lines = self.bytes.split_inclusive(|byte| *byte == b'\n');
        lines.next().unwrap_or(&[])
    }
}

impl State {
    /// Writes what is taken now. False when there is no console.
    fn write(&mut self) -> bool {
        if self.program.is_none() {
            return self.write_to_console();
        }
        self.write_to_stderr();
        true
    }

    /// Writes what descriptor 2 takes now.
    fn write_to_stderr(&mut self) {
        while !self.backlog.bytes.is_empty() {
            match stderr::write(&self.backlog.bytes) {
                Ok(count @ 1..) => self.backlog.written(self.program, count),
                Ok(0) | Err(Errno::EAGAIN) => break,
                Err(_) => {
                    self.backlog.drop_all();
                    break;
                }
            }
        }
    }

    /// Writes what the console takes now. Opened for this, so that it works
    /// after the terminal was hung up. False when there is no console.
    fn write_to_console(&mut self) -> bool {
        let mut fresh = false;
        while !self.backlog.bytes.is_empty() {
            let file = match self.file.take() {
                Some(file) => file,
                None if fresh => return self.log(),
                None => match self.open() {
                    Ok(file) => {
                        fresh = true;
                        self.awaited = false;
                        file
                    }
                    Err(_) => return self.log(),
                },
            };
            match write_once(file.as_fd(), &self.backlog.bytes) {
                Ok(count @ 1..) => self.backlog.written(None, count),
                Ok(0) | Err(Errno::EAGAIN) => {
                    self.file = Some(file);
                    return true;
                }
                // Hung up, or nothing behind the name: tried once anew.
                Err(_) => continue,
            }
            self.file = Some(file);
        }
        if !self.awaited {
            self.file = None;
        }
        true
    }

    /// Opens the console.
    fn open(&self) -> Result<Fd, Errno> {
        open(self.path.unwrap_or(CONSOLE), self.contained)
    }

    /// Without a console: writes all lines to the kernel's log. False when
    /// there is none either; then they wait for a console to come. The kernel
    /// of a container is not its own: descriptor 2 takes the lines there, from
    /// then on.
    fn log(&mut self) -> bool {
        if self.contained {
            self.program = Some(OWN);
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
            if write_once(log.as_fd(), line.finish()).is_err() {
                return false;
            }
            self.backlog.written(None, count);
        }
        true
    }

    /// What a loop waits for while lines are left: that it takes more.
    fn waits_for(&self) -> Option<At<'_>> {
        match self.program {
            Some(_) => Some(fd::STDERR),
            None => self.file.as_ref().map(AsFd::as_fd),
        }
    }
}

impl Console {
    /// The console, that of a container if `contained`. `None` the second
    /// time.
    pub fn get(contained: bool) -> Option<&'static Self> {
        let console = CONSOLE_STATE.take().map(|console| &*console)?;
        if let Ok(mut state) = console.0.try_borrow_mut() {
            state.contained = contained;
        }
        Some(console)
    }

    /// Descriptor 2 in the place of the console, for a program that is not
    /// PID 1; `program` begins the line that tells of lost ones. `None` the
    /// second time.
    pub fn stderr(program: &'static str) -> Option<&'static Self> {
        let console = Self::get(false)?;
        if let Ok(mut state) = console.0.try_borrow_mut() {
            state.program = Some(program);
        }
        Some(console)
    }

    /// Says a line, at once or as soon as the console takes it. False when
    /// nobody will: there is neither a console nor a kernel's log.
    pub fn say(&self, line: &[u8]) -> bool {
        // Nobody calls it from within itself.
        self.0.try_borrow_mut().is_ok_and(|mut state| {
            let program = state.program;
            state.backlog.push(program, line);
            state.write()
        })
    }

    /// Has a loop that is about to sleep on `waiter` woken when the console
    /// takes more, for as long as something waits for it.
    pub fn attend(&self, waiter: &Poller, token: u64) {
        let Ok(mut state) = self.0.try_borrow_mut() else {
            return;
        };
        let waits = !state.backlog.bytes.is_empty();
        if waits == state.awaited {
            return;
        }
        let Some(file) = state.waits_for() else {
            return;
        };
        if waits {
            let added = waiter.add(file, Interest::Writable, token);
            // Else the next line brings the others along.
            state.awaited = added.is_ok();
        } else {
            // Before it is closed: a child may have a copy of it.
            let _left = waiter.remove(file).is_err();
            state.awaited = false;
            state.file = None;
        }
    }

    /// Returns true when the console has taken everything so far.
    pub fn is_idle(&self) -> bool {
        let state = self.0.try_borrow();
        state.is_ok_and(|state| state.backlog.bytes.is_empty())
    }

    /// Writes on: the console takes more.
    pub fn write_on(&self) {
        if let Ok(mut state) = self.0.try_borrow_mut() {
            state.write();
        }
    }

    /// Waits until everything said is on the wire, but not beyond `limit`:
    /// what a serial port still has when the power goes is lost.
    pub fn flush(&self, limit: Duration) {
        let until = clock::mono().after(limit);
        let Ok(mut state) = self.0.try_borrow_mut() else {
            return;
        };
        while clock::mono() < until {
            if !state.write() {
                return;
            }
            // What is no terminal has sent what it took.
            let unsent = state.open().and_then(|file| raw::unsent(&file));
            if state.backlog.bytes.is_empty() && unsent.unwrap_or(0) == 0 {
                return;
            }
            poller::sleep(LOOK);
        }
    }

    /// In a copy of the process: what waits is the original's to say.
    pub fn forget(&self) {
        if let Ok(mut state) = self.0.try_borrow_mut() {
            state.file = None;
            state.awaited = false;
            state.backlog.clear();
        }
    }
}

/// Opens the console: `path`, or the terminal that the kernel calls its
/// console where that name is missing or leads nowhere, unless `contained`.
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

/// Makes descriptor 0 /dev/null; with `replace`, 1 and 2 a console of a
/// container that cannot be read.
pub fn leave(replace: bool) -> Result<(), Errno> {
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
/// The descriptors wait for the console, since children share them; a
/// `Console` opens its own and does not.
pub fn take(contained: bool) -> Result<(), Errno> {
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

    /// A FIFO as console, and what reads it. Nothing is behind its name when
    /// nobody reads.
    fn console(dir: &tempfile::TempDir) -> (Console, &'static CStr) {
        let path = dir.path().join("console");
        let path = CString::new(path.as_os_str().as_bytes()).unwrap();
        let path: &CStr = Box::leak(path.into_boxed_c_str());
        file::make_fifo(CWD, path, 0o600).unwrap();
        let state = State {
            program: None,
            path: Some(path),
            file: None,
            awaited: false,
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
    fn what_a_full_console_does_not_take_comes_later() {
        let dir = tempfile::tempdir().unwrap();
        let (console, path) = console(&dir);
        let reader = file::open_read(CWD, path).unwrap();
        let waiter = Poller::new().unwrap();
        let now = || Some(clock::mono());
        assert!(console.say(b"first\n"));
        assert_eq!(read_all(&reader).as_slice(), b"first\n");
        // Somebody else fills it.
        let other = file::open_write(CWD, path).unwrap();
        while write_once(other.as_fd(), &[b'x'; 4096]).is_ok() {}
        assert!(console.say(b"second\n"));
        console.attend(&waiter, 7);
        assert!(waiter.wait(now()).unwrap().is_empty());
        assert!(console.say(b"third\n"));
        // And reads again.
        assert!(read_all(&reader).iter().all(|byte| *byte == b'x'));
        console.attend(&waiter, 7);
        assert_eq!(waiter.wait(now()).unwrap(), [7]);
        console.write_on();
        assert_eq!(read_all(&reader).as_slice(), b"second\nthird\n");
        // Nothing waits: nothing wakes.
        console.attend(&waiter, 7);
        assert!(waiter.wait(now()).unwrap().is_empty());
        assert!(console.0.borrow().file.is_none());
    }

    #[test]
    fn what_is_left_out_is_counted_where_it_is_missing() {
        let mut backlog = Backlog::default();
        let line = [&[b'.'; 63][..], b"\n"].concat();
        let fit = config::CONSOLE_BYTES / line.len();
        for _ in 0..fit + 5 {
            backlog.push(None, &line);
        }
        // Room for a short one would put it before those that are missing.
        backlog.written(None, 10);
        backlog.push(None, b"x\n");
        assert_eq!(backlog.bytes.len(), fit * line.len() - 10);
        backlog.written(None, backlog.bytes.len());
        let said = String::from_utf8(backlog.bytes.to_vec()).unwrap();
        assert!(
            said.contains(": 6 lines left out (console-bytes = "),
            "{said}"
        );
        assert!(said.ends_with(")\n"));
        backlog.push(None, b"x\n");
        assert!(backlog.bytes.ends_with(b")\nx\n"));
        assert_eq!(backlog.first(), said.as_bytes());
    }
    #[test]
    fn what_is_dropped_is_counted_once() {
        let mut backlog = Backlog::default();
        for line in [&b"a\n"[..], b"b\n", b"c\n"] {
            backlog.push(Some("p"), line);
            backlog.drop_all();
        }
        backlog.push(Some("p"), b"d\n");
        let said = String::from_utf8(backlog.bytes.to_vec()).unwrap();
        let told = "p: warning: standard error was blocked: 3 lines left out \
                    (console-bytes = ";
        assert!(said.starts_with(told), "{said}");
        assert!(said.ends_with(")\nd\n"), "{said}");
        // A part of it was read: what is dropped then is a line.
        backlog.written(Some("p"), 1);
        backlog.drop_all();
        assert_eq!(backlog.lost, 2);
    }
}
