//! Makes the files of a machine: the meter, the services, and a process 1 with
//! what it needs and nothing else.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

use crate::{
    board::Board,
    build, image, peers,
    rootfs::{Entries, Entry},
};

/// Number of services; each has a logger.
pub const SERVICES: usize = 16;

/// The program that the kernel executes.
pub const METER: &str = "/bin/boot-meter";

/// The program of services and loggers.
const SERVICE: &str = "/bin/boot-service";

/// A process 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// Does nothing until it is told to switch off.
    Nothing,
    /// The limit: mounts, forks and executes.
    Bare,
    /// The same with the files of `supervise/`.
    Files,
    /// runt with its built-in stages.
    Runt,
    /// busybox init with scripts below /etc/init.d, which restarts nothing.
    Busybox,
    /// Debian's runit with three short stage scripts.
    Runit,
}

impl Init {
    /// Returns true if it is neither runt nor one of the limits.
    pub fn is_peer(self) -> bool {
        matches!(self, Self::Busybox | Self::Runit)
    }
}

/// The form of the files `run`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scripts {
    /// Links to the program.
    Programs,
    /// Scripts that execute it.
    Shell,
}

/// The mounts that the built-in stage 1 of runt makes, as a script.
const MOUNTS: &str = "#!/bin/sh
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs -o mode=755 devtmpfs /dev
mkdir /dev/pts /dev/shm
mount -t devpts -o mode=620,ptmxmode=666,gid=5 devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs -o mode=755 tmpfs /run
mount -t cgroup2 -o nsdelegate cgroup2 /sys/fs/cgroup
";

/// Makes the files of machines.
pub struct Roots<'a> {
    /// The board.
    pub board: &'a Board,
    /// The directory of the programs of xtask/floor.
    pub floor: PathBuf,
    /// The release file.
    pub runt: PathBuf,
    /// busybox, which is the shell of all scripts.
    pub busybox: PathBuf,
}

impl Roots<'_> {
    /// Returns the files of a machine.
    pub fn entries(&self, init: Init, scripts: Scripts) -> Result<Entries> {
        let mut root = Root(image::base(&self.runt)?);
        for dir in ["bin", "tmp", "etc/service", "etc/sv"] {
            root.directory(dir);
        }
        root.0
            .insert("dev/kmsg".into(), Entry::Device(0o600, 1, 11));
        for name in ["boot-meter", "boot-service", "floor"] {
            let program = fs::read(self.floor.join(name))?;
            root.program(&format!("bin/{name}"), program);
        }
        root.program("bin/busybox", fs::read(&self.busybox)?);
        for name in ["sh", "mount", "mkdir"] {
            root.link(&format!("bin/{name}"), "busybox");
        }
        let dirs = root.services(scripts);
        let limit = |mode: &'static str| {
            let dirs = dirs.iter().map(String::as_str);
            ["/bin/floor", mode].into_iter().chain(dirs).collect()
        };
        let (next, down): (Vec<&str>, &[&str]) = match init {
            Init::Nothing => {
                (vec!["/bin/floor", "boot"], &["/bin/floor", "down"])
            }
            Init::Bare => (limit("boot"), &["/bin/floor", "down"]),
            Init::Files => (limit("boot-files"), &["/bin/floor", "down"]),
            Init::Runt => {
                for applet in build::applets_of(self.board) {
                    root.link(&format!("sbin/{applet}"), "runt");
                }
                (vec!["/sbin/init"], &["/sbin/poweroff"])
            }
            Init::Busybox => {
                root.busybox(&dirs);
                (vec!["/sbin/init"], &["/sbin/poweroff"])
            }
            Init::Runit => {
                self.runit(&mut root)?;
                (vec!["/sbin/runit"], &["/sbin/runit-init", "0"])
            }
        };
        root.words("next", &next);
        root.words("down", down);
        Ok(root.0)
    }

    /// Adds Debian's runit.
    fn runit(&self, root: &mut Root) -> Result<()> {
        self.debian(root, &["runit", "libc6"])?;
        root.script("etc/runit/1", MOUNTS);
        root.script(
            "etc/runit/2",
            "#!/bin/sh\nexec runsvdir -P /etc/service\n",
        );
        root.script(
            "etc/runit/3",
            "#!/bin/sh\nsv force-stop /etc/service/*\n\
             sv exit /etc/service/*\n",
        );
        Ok(())
    }

    /// Adds the programs and libraries of Debian's packages for the board.
    fn debian(&self, root: &mut Root, packages: &[&str]) -> Result<()> {
        let debian = self.board.debian()?;
        let suite = debian.suites.first().context("no suite")?;
        let dir = peers::of_board(suite, &debian.arch, packages)?;
        for entry in walkdir::WalkDir::new(&dir) {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy();
            let is_program =
                entry.path().parent() == Some(&dir.join(peers::PROGRAMS));
            let place = match () {
                () if is_program => "sbin",
                () if name.contains(".so") => "lib",
                () => continue,
            };
            // Links between files of one directory become copies.
            if let Ok(content) = fs::read(entry.path()) {
                root.program(&format!("{place}/{name}"), content);
            }
        }
        Ok(())
    }
}

/// The files of a machine.
struct Root(Entries);

impl Root {
    /// Adds a directory and those above it.
    fn directory(&mut self, path: &str) {
        if let Some((above, _)) = path.rsplit_once('/') {
            self.directory(above);
        }
        self.0.entry(path.into()).or_insert(Entry::Directory);
    }

    /// Adds an entry and the directories above it.
    fn add(&mut self, path: &str, entry: Entry) {
        if let Some((above, _)) = path.rsplit_once('/') {
            self.directory(above);
        }
        self.0.insert(path.into(), entry);
    }

    /// Adds a program.
    fn program(&mut self, path: &str, content: Vec<u8>) {
        self.add(path, Entry::File(0o755, content));
    }

    /// Adds a script.
    fn script(&mut self, path: &str, text: &str) {
        self.program(path, text.into());
    }

    /// Adds a link.
    fn link(&mut self, path: &str, target: &str) {
        self.add(path, Entry::Link(target.into()));
    }

    /// Adds a command that the meter executes.
    fn words(&mut self, path: &str, words: &[&str]) {
        let text = words.iter().map(|word| format!("{word}\0"));
        let text = text.collect::<String>().into_bytes();
        self.add(path, Entry::File(0o644, text));
    }

    /// Adds the service directories; returns them.
    fn services(&mut self, scripts: Scripts) -> Vec<String> {
        let mut dirs = Vec::new();
        for number in 0..SERVICES {
            let dir = format!("etc/sv/s{number:02}");
            for run in ["run", "log/run"] {
                let path = format!("{dir}/{run}");
                match scripts {
                    Scripts::Programs => self.link(&path, SERVICE),
                    Scripts::Shell => {
                        let text = format!("#!/bin/sh\nexec {SERVICE}\n");
                        self.script(&path, &text);
                    }
                }
            }
            let dir = format!("/{dir}");
            self.link(&format!("etc/service/s{number:02}"), &dir);
            dirs.push(dir);
        }
        dirs
    }

    /// Adds busybox init and its scripts: one for each service, as packages
    /// bring them.
    fn busybox(&mut self, dirs: &[String]) {
        for name in ["init", "poweroff"] {
            self.link(&format!("sbin/{name}"), "/bin/busybox");
        }
        self.add(
            "etc/inittab",
            Entry::File(0o644, b"::sysinit:/etc/init.d/rcS\n".into()),
        );
        let start = "for i in /etc/init.d/S*; do $i start; done\n";
        self.script("etc/init.d/rcS", &format!("{MOUNTS}{start}"));
        for (number, dir) in dirs.iter().enumerate() {
            let text = format!(
                "#!/bin/sh\ncd {dir}\n./run | (cd log; exec ./run) &\n"
            );
            self.script(&format!("etc/init.d/S{number:02}"), &text);
        }
    }
}
