//! Describes what a process runs and is given: its program with arguments
//! and environment, and the state that it starts in.

use core::{
    ffi::{CStr, c_char},
    ptr,
    sync::atomic::{AtomicPtr, Ordering},
};

use super::At;
use crate::text::Line;

/// A list of C strings that ends in a null pointer.
#[derive(Clone, Copy, Debug)]
pub struct List(pub(super) *const *const c_char);

impl Iterator for List {
    type Item = &'static CStr;

    fn next(&mut self) -> Option<&'static CStr> {
        // SAFETY: the pointer is inside the list or at its null.
        let word = unsafe { *self.0 };
        if word.is_null() {
            return None;
        }
        // SAFETY: `word` was not the null, so one more is there.
        self.0 = unsafe { self.0.add(1) };
        // SAFETY: the kernel ends every argument and variable in a NUL and
        // leaves them in memory for as long as the process exists.
        Some(unsafe { CStr::from_ptr(word) })
    }
}

/// The arguments of the program, its own name first.
#[derive(Clone, Copy, Debug)]
pub struct Argv(pub(super) List);

impl Argv {
    /// Returns the arguments from the first on.
    pub fn iter(self) -> List {
        self.0
    }

    /// Returns the arguments after the first `count`; none when there are
    /// fewer.
    #[must_use]
    pub fn skip(self, count: usize) -> Self {
        let mut list = self.0;
        for _ in 0..count {
            if list.next().is_none() {
                break;
            }
        }
        Self(list)
    }

    /// Returns the first argument.
    pub fn first(self) -> Option<&'static CStr> {
        self.0.clone().next()
    }

    /// Replaces the first argument by `word`, if there is one.
    pub fn replace_first(self, word: &'static CStr) {
        if self.first().is_some() {
            // SAFETY: the pointer is one of the list that the kernel made on
            // our stack for us to change; it holds an argument.
            unsafe { *self.0.0.cast_mut() = word.as_ptr() };
        }
    }

    /// Removes the argument after the first `count` from the list, which ends
    /// there from now on, and returns it to be overwritten.
    ///
    /// No reference to this argument may have been handed out before: callers
    /// claim it before they read that far.
    pub fn claim(self, count: usize) -> Option<Word> {
        let entry = self.skip(count).0.0;
        // SAFETY: the pointer is inside the list or at its null.
        let word = unsafe { *entry };
        let length = self.skip(count).first()?.count_bytes();
        // SAFETY: the entry is one of the list that the kernel made on our
        // stack for us to change; it holds an argument.
        unsafe { *entry.cast_mut() = ptr::null() };
        CLAIMED[0].store(entry.cast_mut().cast(), Ordering::Relaxed);
        CLAIMED[1].store(word.cast_mut(), Ordering::Relaxed);
        Some(Word(word.cast_mut().cast(), length))
    }

    /// Returns the list as `execve` takes it.
    pub(super) fn pointer(self) -> *const *const c_char {
        self.0.0
    }
}

/// The entry of the argument that was claimed, and the argument.
static CLAIMED: [AtomicPtr<c_char>; 2] =
    [const { AtomicPtr::new(ptr::null_mut()) }; 2];

/// Gives the list the argument back that was claimed from it, for the next
/// execution of the program.
pub(super) fn unclaim() {
    let [entry, word] = CLAIMED.each_ref().map(|p| p.load(Ordering::Relaxed));
    if !entry.is_null() {
        // SAFETY: `claim` has stored the place in the list that it changed,
        // and what was there.
        unsafe { *entry.cast() = word };
    }
}

/// An argument to be overwritten: `ps` shows its content for this process.
#[derive(Debug)]
pub struct Word(*mut u8, usize);

impl Word {
    /// Returns its bytes, without the NUL.
    pub fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: `claim` found so many bytes there, in the part of our stack
        // that the kernel filled and left to us, and took the only access to
        // them out of the list.
        unsafe { core::slice::from_raw_parts_mut(self.0, self.1) }
    }
}

/// The environment of a process: a list made by the kernel or a caller.
#[derive(Clone, Copy, Debug)]
pub struct Environ(pub(super) *const *const c_char);

impl Environ {
    /// Returns an environment without variables.
    pub fn empty() -> Self {
        static NULL: usize = 0;
        Self((&raw const NULL).cast())
    }

    /// Returns the variables, each as `NAME=value`.
    pub fn iter(self) -> List {
        List(self.0)
    }

    /// Returns the value of a variable.
    pub fn get(self, name: &[u8]) -> Option<&'static CStr> {
        self.iter().find_map(|entry| {
            let rest = entry.to_bytes_with_nul().strip_prefix(name)?;
            CStr::from_bytes_with_nul(rest.strip_prefix(b"=")?).ok()
        })
    }
}

impl Environ {
    /// Removes a variable, given with its `=`, and returns its value.
    pub(super) fn take(self, name: &[u8]) -> Option<&'static CStr> {
        let mut list = self.iter();
        loop {
            let entry = list.0;
            let word = list.next()?;
            let value = word.to_bytes_with_nul().strip_prefix(name);
            let Some(value) = value else { continue };
            // The others move up, and the null behind them.
            let mut place = entry.cast_mut();
            loop {
                // SAFETY: the list goes on until its null, which was not
                // reached yet.
                let next = unsafe { place.add(1) };
                // SAFETY: it is at most the null.
                let word = unsafe { *next };
                // SAFETY: the kernel made the list on our stack for us to
                // change.
                unsafe { *place = word };
                place = next;
                if word.is_null() {
                    return CStr::from_bytes_with_nul(value).ok();
                }
            }
        }
    }
}

/// A program to run, with its arguments and environment.
#[derive(Debug)]
pub struct Program<'a> {
    /// Its file, looked up from its working directory.
    pub path: &'a CStr,
    /// Its arguments after `path`, at most [`MAX_ARGUMENTS`].
    pub arguments: &'a [&'a CStr],
    /// Its environment.
    pub environ: Environ,
}

/// This program's own file. When it is run, the first argument is the name
/// of the program, which selects the applet.
pub const SELF_EXE: &CStr = c"/proc/self/exe";

/// Most arguments of a child that shares the supervisor's memory: `finish` has
/// two. A child with more is a copy.
pub const ARGUMENTS: usize = 3;

/// Most arguments of any child.
pub const MAX_ARGUMENTS: usize = 126;

/// Most files of [`Extra`].
pub const EXTRA: usize = 2;

/// Further files of a child.
#[derive(Clone, Copy, Debug)]
pub struct Extra<'a> {
    /// The descriptor that the first of them becomes; the next ones follow.
    pub first: u32,
    /// The files, at most [`EXTRA`].
    pub files: &'a [At<'a>],
}

/// The state that a child starts in.
#[derive(Debug)]
pub struct Setup<'a> {
    /// Its working directory.
    pub dir: Option<At<'a>>,
    /// A directory in `dir` to change to after that.
    pub sub: Option<&'static CStr>,
    /// The file for descriptor 0; unchanged when not given.
    pub stdin: Option<At<'a>>,
    /// The file for descriptor 1; unchanged when not given.
    pub stdout: Option<At<'a>>,
    /// The file for descriptor 2; unchanged when not given.
    pub stderr: Option<At<'a>>,
    /// Makes it the leader of a new session.
    pub session: bool,
    /// Makes it the leader of a new process group.
    pub group: bool,
    /// The open `cgroup.procs` of a control group that it joins.
    pub cgroup: Option<At<'a>>,
    /// Makes descriptor 0 its controlling terminal.
    pub terminal: bool,
    /// Clears O_NONBLOCK on descriptors 0, 1 and 2. The flag belongs to the
    /// open file description, which outlives the child that set it and is
    /// shared with others.
    pub blocking: bool,
    /// The text before the reason when the program cannot be run; without it
    /// the child does not report that.
    pub error_prefix: Option<&'a Line>,
    /// Its exit code when the program cannot be run.
    pub error_code: u8,
}
