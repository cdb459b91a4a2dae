//! Owns PID 1's standard streams and starts its own programs on the console.

use core::{ffi::CStr, sync::atomic::AtomicU32};

use crate::{
    supervisor::{CANNOT_RUN, Supervisor},
    sys::{
        AsFd, At, Errno, Fd,
        child::{self, Environ, Extra, Program, Setup},
        console,
    },
    text::Line,
    wire::record::{Reader, Writer},
};

use super::report::PREFIX;

/// The standard streams, and the console of PID 1's own programs.
pub(super) struct ConsoleStreams {
    /// True in a container, whose console need not be a terminal.
    contained: bool,
    /// True until the standard streams are the console.
    missing: bool,
    /// The console, once the standard streams are those of services.
    own: Option<Fd>,
    environ: Environ,
}

impl ConsoleStreams {
    /// Makes the console the standard streams, if there is one already.
    /// Programs are started with `environ`.
    pub(super) fn attach(contained: bool, environ: Environ) -> Self {
        Self {
            contained,
            missing: console::attach_standard(contained).is_err(),
            own: None,
            environ,
        }
    }

    /// Writes its state.
    pub(super) fn save(&self, writer: &mut Writer) {
        writer.put_flags(&[self.missing, self.own.is_some()]);
    }

    /// Returns the streams in a state that [`ConsoleStreams::save`] wrote: the
    /// standard streams are as they were.
    pub(super) fn restore(
        contained: bool,
        environ: Environ,
        reader: &mut Reader<'_>,
    ) -> Self {
        let [missing, detached] = reader.take_flags();
        let own = detached.then(|| console::open_blocking(contained).ok());
        Self {
            contained,
            missing,
            own: own.flatten(),
            environ,
        }
    }

    /// Makes the console the standard streams if it was missing so far: it may
    /// have appeared with the mount of /dev.
    ///
    /// From then on PID 1 holds it open, so that no other process is the last
    /// to close a serial console. The kernel delays that close for up to 30
    /// seconds while the line takes no output.
    pub(super) fn retry(&mut self) -> Result<(), Errno> {
        if self.missing {
            console::attach_standard(self.contained)?;
            self.missing = false;
        }
        Ok(())
    }

    /// Replaces the standard streams, which services inherit, so that no
    /// service can read what is typed on the console, or holds it open when
    /// SysRq-k kills all its users. PID 1's own programs still get the
    /// console.
    pub(super) fn detach(
        &mut self,
        supervisor: &mut Supervisor,
    ) -> Result<(), Errno> {
        if !self.missing {
            // Stays open, because the last close of a terminal may wait until
            // its output has drained.
            self.own = Some(console::open_blocking(self.contained)?);
        }
        if self.contained {
            // The container's owner distinguishes the two streams.
            console::detach_standard(!self.missing)
        } else {
            supervisor.relay_output()
        }
    }

    /// Starts a program on the console and has the supervisor report its end.
    /// It leads a session, which has the console as its terminal if `terminal`
    /// is set. Reports a failure and returns `None` then.
    pub(super) fn spawn(
        &mut self,
        path: &CStr,
        terminal: bool,
        supervisor: &mut Supervisor,
    ) -> Option<u32> {
        self.spawn_with(path, &[], terminal, None, supervisor)
    }

    /// Starts a program as [`ConsoleStreams::spawn`] does, with arguments and
    /// with `answer` as its descriptor 3.
    pub(super) fn spawn_with(
        &mut self,
        path: &CStr,
        arguments: &[&CStr],
        terminal: bool,
        answer: Option<At<'_>>,
        supervisor: &mut Supervisor,
    ) -> Option<u32> {
        let _later = self.retry().is_err();
        let console = self.own.as_ref().map(AsFd::as_fd);
        let program = Program {
            path,
            arguments,
            environ: self.environ,
        };
        let mut prefix = Line::new();
        prefix.text(PREFIX).text("fatal: unable to start child: ");
        prefix.bytes(path.to_bytes());
        let setup = Setup {
            dir: None,
            sub: None,
            stdin: console,
            stdout: console,
            stderr: console,
            session: true,
            group: false,
            cgroup: None,
            terminal,
            blocking: true,
            error_prefix: Some(&prefix),
            error_code: CANNOT_RUN,
        };
        let spawned = match answer {
            None => child::spawn(&program, &setup, &AtomicU32::new(0)),
            Some(answer) => {
                let files = &[answer];
                let extra = Some(Extra { first: 3, files });
                child::spawn_with(&program, &setup, extra)
            }
        };
        match spawned {
            Ok(pid) => {
                // There is room for a script and every program of PID 1.
                supervisor.await_exit(pid);
                Some(pid)
            }
            Err(errno) => {
                let what = "unable to fork for ";
                supervisor.reporter().warn(what, path.to_bytes(), errno);
                None
            }
        }
    }
}
