//! Describes the programs that are measured and how each is started,
//! controlled and queried.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result};

use crate::peers::Peer;

/// The work of a floor besides keeping its services alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Floor {
    /// Nothing, by vfork.
    Bare,
    /// Nothing, by fork, which unlike vfork does not wait for the child: the
    /// baseline for a busy machine.
    Fork,
    /// The file calls that runit's protocol needs, by vfork.
    Files,
    /// The same, by fork.
    FilesFork,
}

/// The family of command lines that a contender uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// runsvdir and sv.
    Runit,
    /// s6-svscan and its clients.
    S6,
    /// svscan and its clients.
    Daemontools,
    /// The floor: no clients.
    Floor(Floor),
}

/// A program that is measured.
#[derive(Clone, Debug)]
pub struct Contender {
    /// Its name in the tables.
    pub name: &'static str,
    /// The family of its command line.
    pub kind: Kind,
    /// Number of services that it is given.
    pub services: usize,
    /// The directory of its programs.
    programs: PathBuf,
    /// The directory of its own shared libraries; `None` for ours and the
    /// floor.
    libraries: Option<PathBuf>,
    /// The floor's file, which is also the program of the services.
    floor: PathBuf,
}

impl Contender {
    /// Returns one of our contenders, or the floor.
    pub fn ours(
        name: &'static str,
        kind: Kind,
        services: usize,
        programs: &Path,
        floor: &Path,
    ) -> Self {
        Self {
            name,
            kind,
            services,
            programs: programs.into(),
            libraries: None,
            floor: floor.into(),
        }
    }

    /// Returns a peer.
    pub fn peer(
        name: &'static str,
        kind: Kind,
        services: usize,
        peer: Peer,
        floor: &Path,
    ) -> Self {
        Self {
            libraries: Some(peer.libraries),
            ..Self::ours(name, kind, services, &peer.programs, floor)
        }
    }

    /// Returns a command for a program of this contender, which inherits only
    /// PATH and has its streams at /dev/null.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.programs.join(program));
        let mut path = OsString::from(&self.programs);
        path.push(":/usr/bin:/bin");
        command
            .env_clear()
            .env("PATH", path)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Some(libraries) = &self.libraries {
            command.env("LD_LIBRARY_PATH", libraries);
        }
        command
    }

    /// Returns a command for the floor in one of its roles.
    pub fn floor(&self, role: &str, dirs: &[PathBuf]) -> Command {
        let mut command = Command::new(&self.floor);
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .arg(role)
            .args(dirs);
        command
    }

    /// Returns the command for the supervisor of the service directories
    /// `dirs`, which the links in `scan` point to.
    pub fn supervisor(&self, scan: &Path, dirs: &[PathBuf]) -> Command {
        let mut command = match self.kind {
            Kind::Runit => self.command("runsvdir"),
            Kind::S6 => self.command("s6-svscan"),
            Kind::Daemontools => self.command("svscan"),
            Kind::Floor(Floor::Bare) => return self.floor("vfork", dirs),
            Kind::Floor(Floor::Fork) => return self.floor("fork", dirs),
            Kind::Floor(Floor::Files) => return self.floor("files", dirs),
            Kind::Floor(Floor::FilesFork) => {
                return self.floor("files-fork", dirs);
            }
        };
        command.arg(scan);
        command
    }

    /// Returns the client that restarts a service, if the contender has
    /// clients.
    pub fn restart(&self, dir: &Path) -> Option<Command> {
        let (program, words): (_, &[&str]) = match self.kind {
            Kind::Runit => ("sv", &["restart"]),
            Kind::S6 => ("s6-svc", &["-wr", "-r"]),
            Kind::Daemontools => ("svc", &["-t"]),
            Kind::Floor(_) => return None,
        };
        let mut command = self.command(program);
        command.args(words).arg(dir);
        Some(command)
    }

    /// Returns the clients that show the status of all services, or the bare
    /// reader.
    pub fn status(&self, dirs: &[PathBuf]) -> Vec<Command> {
        let (program, words): (_, &[&str]) = match self.kind {
            Kind::Runit => ("sv", &["status"]),
            Kind::Daemontools => ("svstat", &[]),
            Kind::Floor(_) => return vec![self.floor("status", dirs)],
            // This client accepts one directory only.
            Kind::S6 => {
                let one = |dir| {
                    let mut command = self.command("s6-svstat");
                    command.arg(dir);
                    command
                };
                return dirs.iter().map(one).collect();
            }
        };
        let mut command = self.command(program);
        command.args(words).args(dirs);
        vec![command]
    }

    /// Returns the command that must follow the creation of a link, for
    /// contenders that do not scan by themselves.
    pub fn added(&self, scan: &Path) -> Option<Command> {
        (self.kind == Kind::S6).then(|| {
            let mut command = self.command("s6-svscanctl");
            command.arg("-a").arg(scan);
            command
        })
    }

    /// Returns the command that must follow the removal of a link, if any.
    pub fn removed(&self, scan: &Path, dir: &Path) -> Option<Command> {
        match self.kind {
            Kind::Runit | Kind::Floor(_) => None,
            Kind::S6 => {
                let mut command = self.command("s6-svscanctl");
                command.arg("-an").arg(scan);
                Some(command)
            }
            Kind::Daemontools => {
                let mut command = self.command("svc");
                command.arg("-dx").arg(dir);
                Some(command)
            }
        }
    }

    /// Returns true if the contender detects new directories.
    pub fn looks(&self) -> bool {
        !matches!(self.kind, Kind::Floor(_))
    }

    /// Returns true if it detects a new directory at once: ours is notified by
    /// the kernel, s6 by its client.
    pub fn watches(&self) -> bool {
        self.libraries.is_none() || self.kind == Kind::S6
    }

    /// Requests the whole tree to stop.
    pub fn stop(&self, root: rustix::process::Pid, dirs: &[PathBuf]) {
        use rustix::process::{Signal, kill_process};
        let signal = match self.kind {
            Kind::Runit | Kind::Floor(_) => Signal::HUP,
            Kind::S6 | Kind::Daemontools => Signal::TERM,
        };
        // It may already have exited; remaining processes are noticed later.
        let _ended = kill_process(root, signal);
        if self.kind == Kind::Daemontools {
            let mut command = self.command("svc");
            let _left = command.arg("-dx").args(dirs).status();
        }
    }

    /// Runs a client and waits for its exit.
    pub fn ask(&self, mut command: Command) -> Result<()> {
        let name = self.name;
        command
            .status()
            .map(|_| ())
            .with_context(|| format!("cannot run a client of {name}"))
    }
}
