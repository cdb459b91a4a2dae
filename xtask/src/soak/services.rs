//! Holds the services of a soak: their directories, and what they leave behind.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use fastrand::Rng;
use rustix::process::{Pid, Signal, kill_process};

/// The services, in a directory of their own.
pub struct Services {
    dir: PathBuf,
    count: usize,
    /// Lines of each service that a kill of the supervisor may have lost: those
    /// before the last kill.
    uncertain: Vec<usize>,
}

impl Services {
    /// Creates the services; each writes a line at each start, which it notes
    /// elsewhere once it is written, and ends after a second to five.
    pub fn create(dir: &Path, count: usize) -> Result<Self> {
        let services = Self {
            dir: dir.to_path_buf(),
            count,
            uncertain: Vec::new(),
        };
        for name in ["services", "locks", "written"] {
            fs::create_dir(dir.join(name))?;
        }
        for number in 0..count {
            let name = name_of(number);
            let run = format!(
                "exec 9> {dir}/locks/{name}\n\
                 flock -n 9 || echo {name} >> {dir}/second\n\
                 printf . >> {dir}/starts\n\
                 echo $$\n\
                 echo $$ >> {dir}/written/{name}\n\
                 exec sleep $((1 + $$ % 4)).$(($$ % 10))",
                dir = dir.display()
            );
            services.script(&format!("other/{name}/run"), &run)?;
            let log = format!("other/{name}/log");
            services.script(&format!("{log}/run"), "exec svlogd main")?;
            fs::create_dir(dir.join(&log).join("main"))?;
            // All is kept.
            fs::write(dir.join(&log).join("main/config"), "n0\n")?;
            services.list(number)?;
        }
        Ok(services)
    }

    /// Writes an executable shell script.
    fn script(&self, name: &str, text: &str) -> Result<()> {
        let path = self.dir.join(name);
        fs::create_dir_all(path.parent().context("it has a parent")?)?;
        fs::write(&path, format!("#!/bin/sh\n{text}\n"))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    /// Returns the link of a service.
    fn link(&self, number: usize) -> PathBuf {
        self.dir.join("services").join(name_of(number))
    }

    /// Adds a service to the services directory.
    fn list(&self, number: usize) -> Result<()> {
        let target = format!("../other/{}", name_of(number));
        match symlink(target, self.link(number)) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                Err(error.into())
            }
            _ => Ok(()),
        }
    }

    /// Adds all services.
    pub fn list_all(&self) -> Result<()> {
        (0..self.count).try_for_each(|number| self.list(number))
    }

    /// Adds a service to the services directory or removes it.
    pub fn change(&self, random: &mut Rng) -> Result<()> {
        let number = random.usize(..self.count);
        match fs::remove_file(self.link(number)) {
            Ok(()) => Ok(()),
            Err(_) => self.list(number),
        }
    }

    /// Returns one of our programs.
    fn program(&self, name: &str) -> Result<Command> {
        let bin = self.dir.join("bin");
        let mut command = Command::new(bin.join(name));
        let path = std::env::var("PATH")?;
        command
            .current_dir(&self.dir)
            .env("PATH", format!("{}:{path}", bin.display()))
            .env("SVDIR", self.dir.join("services"))
            .env("RUNT_RUN", self.dir.join("run"))
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        Ok(command)
    }

    /// Starts `runsvdir`.
    pub fn start(&self) -> Result<Child> {
        let errors = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.join("errors"))?;
        let mut command = self.program("runsvdir")?;
        Ok(command.arg("services").stderr(errors).spawn()?)
    }

    /// Gives a service a command, which fails if it has no supervisor.
    pub fn command(&self, command: &str, number: usize) -> Result<()> {
        let mut sv = self.program("sv")?;
        sv.args(["-w", "0", command, &name_of(number)]).status()?;
        Ok(())
    }

    /// Tells a service to be up, and returns whether it is.
    pub fn bring_up(&self, number: usize) -> Result<Option<()>> {
        for command in ["cont", "up"] {
            self.command(command, number)?;
        }
        let stat = self.link(number).join("supervise/stat");
        let stat = fs::read_to_string(stat).unwrap_or_default();
        Ok((stat == "run\n").then_some(()))
    }

    /// Returns how often services were started.
    pub fn starts(&self) -> u64 {
        let starts = fs::metadata(self.dir.join("starts"));
        starts.map_or(0, |starts| starts.len())
    }

    /// Returns what came on descriptor 2.
    pub fn errors(&self) -> String {
        fs::read_to_string(self.dir.join("errors")).unwrap_or_default()
    }

    /// Fails if a service has had a second copy.
    pub fn check_copies(&self) -> Result<()> {
        let second = fs::read_to_string(self.dir.join("second"));
        ensure!(second.is_err(), "second copies: {second:?}");
        Ok(())
    }

    /// Returns the processes that work in the services' directories.
    fn processes(&self) -> Vec<Pid> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let other = self.dir.join("other");
        let pids = entries.filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let cwd = fs::read_link(entry.path().join("cwd")).ok()?;
            cwd.starts_with(&other)
                .then(|| Pid::from_raw(pid))
                .flatten()
        });
        pids.collect()
    }

    /// Fails if a process of a service is left.
    pub fn check_ended(&self) -> Result<()> {
        let left = self.processes();
        ensure!(left.is_empty(), "processes are left: {left:?}");
        Ok(())
    }

    /// Kills what is left.
    pub fn kill_all(&self) {
        for pid in self.processes() {
            // ESRCH: it has ended.
            let _gone = kill_process(pid, Signal::KILL).is_err();
        }
    }

    /// Returns the lines that a service has written.
    fn written(&self, number: usize) -> Result<Vec<String>> {
        let written = self.dir.join("written").join(name_of(number));
        let text = fs::read_to_string(written)?;
        Ok(text.lines().map(String::from).collect())
    }

    /// Makes [`Services::check`] expect all lines that are written from now on:
    /// no supervisor will be killed.
    pub fn expect_all_lines(&mut self) -> Result<()> {
        let counts = (0..self.count).map(|n| Ok(self.written(n)?.len()));
        self.uncertain = counts.collect::<Result<_>>()?;
        Ok(())
    }

    /// Checks that every line that was written is in its log; returns the
    /// number of lines, and of those that were lost with a killed supervisor.
    pub fn check(&self) -> Result<(usize, usize)> {
        self.check_copies()?;
        let (mut count, mut lost) = (0, 0);
        for number in 0..self.count {
            let name = name_of(number);
            let mut logged = BTreeSet::new();
            let main = self.dir.join(format!("other/{name}/log/main"));
            for entry in fs::read_dir(main)? {
                let entry = entry?;
                let file = entry.file_name();
                if file == "current" || file.as_encoded_bytes()[0] == b'@' {
                    let text = fs::read_to_string(entry.path())?;
                    logged.extend(text.lines().map(String::from));
                }
            }
            let uncertain = self.uncertain.get(number).copied().unwrap_or(0);
            for (index, line) in self.written(number)?.iter().enumerate() {
                let is_lost = !logged.contains(line);
                ensure!(
                    !is_lost || index < uncertain,
                    "{name}: line {line} is lost"
                );
                lost += usize::from(is_lost);
                count += 1;
            }
        }
        Ok((count, lost))
    }
}

/// Returns the name of a service.
fn name_of(number: usize) -> String {
    format!("s{number:02}")
}
