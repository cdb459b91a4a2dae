//! Tests that a service on a file system that is full or read-only, from the
//! start or later, can be controlled and that its state is shown correctly.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, test_kill_process};

use crate::util::{
    Output, Running, TestDir, cpu_time, output_of, skip, start_wrapped, until,
};

/// A small file system at `disk`, with the service directory `disk/a`, in a
/// mount namespace that `holder` keeps.
struct Disk<'a> {
    tmp: &'a TestDir,
    holder: Child,
}

impl<'a> Disk<'a> {
    /// Mounts it. Returns `None` and prints a line where that is refused.
    fn mount(tmp: &'a TestDir, options: &str) -> Option<Self> {
        fs::create_dir_all(tmp.path("disk")).unwrap();
        let script = format!(
            "mount -t tmpfs -o {options} small disk || exit; mkdir disk/a; \
             printf '#!/bin/sh\\nexec sleep 1000\\n' > disk/a/run; \
             chmod 755 disk/a/run; : > ready; exec sleep 1000"
        );
        let mut holder = Command::new("unshare")
            .args(["-m", "sh", "-c", &script])
            .current_dir(tmp.dir.path())
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let ready = until("the disk, or the end", || {
            let ended = holder.try_wait().unwrap().map(|_| false);
            ended.or(tmp.path("ready").exists().then_some(true))
        });
        if ready {
            return Some(Self { tmp, holder });
        }
        skip("no mount name space");
        None
    }

    /// Returns the words that run a command in its namespace.
    fn inside(&self) -> Vec<String> {
        let pid = self.holder.id().to_string();
        let go = format!("cd {} && exec \"$@\"", self.tmp.dir.path().display());
        ["nsenter", "-m", "-t", &pid, "sh", "-c", &go, "sh"]
            .map(String::from)
            .into()
    }

    /// Starts `runsv disk/a`.
    fn runsv(&self) -> Running<'a> {
        let inside = self.inside();
        let inside: Vec<&str> = inside.iter().map(String::as_str).collect();
        start_wrapped(self.tmp, &[&inside, &["runsv", "disk/a"]])
    }

    /// Runs a shell command.
    fn run(&self, script: &str) -> Output {
        let inside = self.inside();
        let ours = self.tmp.command(&["sv"]);
        let mut command = Command::new(&inside[0]);
        command.args(&inside[1..]).args(["sh", "-c", script]);
        for (name, value) in ours.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        output_of(&mut command)
    }

    /// Fills the free space, so that not one more block is available.
    fn fill(&self) {
        // Bounded: if this were not the small disk, it would fill the host's.
        let full = self.run("head -c 1048576 /dev/zero >> disk/fill");
        assert!(full.stderr.contains("No space left"), "{full:?}");
    }

    /// Returns the path of a file of the disk from outside the namespace.
    fn path(&self, name: &str) -> PathBuf {
        let disk = self.tmp.path("disk").join(name);
        let root = format!("/proc/{}/root", self.holder.id());
        Path::new(&root).join(disk.strip_prefix("/").unwrap())
    }

    /// Sends a command that waits. Fails unless it succeeds.
    fn sv(&self, command: &str) -> String {
        let done = self.run(&format!("sv -w 20 {command} ./disk/a"));
        assert_eq!(done.code, 0, "{command}: {done:?}");
        done.stdout
    }

    /// Returns the process that `sv status` shows. Fails unless it is alive.
    fn pid(&self) -> Pid {
        let line = self.sv("status");
        let (_, rest) = line.split_once("run: ./disk/a: (pid ").unwrap();
        let (pid, _) = rest.split_once(')').unwrap();
        let pid = Pid::from_raw(pid.parse().unwrap()).unwrap();
        test_kill_process(pid).unwrap();
        pid
    }

    /// Goes through all states and checks that `sv` shows each correctly.
    fn is_controlled(&self) {
        let old = self.pid();
        self.sv("restart");
        assert_ne!(self.pid(), old);
        assert!(self.sv("pause").contains("s, paused\n"));
        self.sv("cont");
        assert!(self.sv("stop").starts_with("ok: down: "));
        assert!(self.sv("status").starts_with("down: "));
        self.sv("start");
        self.pid();
    }

    fn until_runs(&self) {
        until("the service", || {
            let status = self.run("sv status ./disk/a").stdout;
            status.starts_with("run: ").then_some(())
        });
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _gone = self.holder.kill().is_err();
        let _reaped = self.holder.wait();
    }
}

/// Ends a supervisor. Fails if it has been busy.
fn end(mut one: Running<'_>) {
    assert!(cpu_time(one.pid()) < 50, "it spins");
    one.kill(Signal::TERM);
    assert_eq!(one.wait(), 0);
}

#[test]
fn full_from_the_start() {
    // Without a free block; without a free inode, at each step.
    let rows = [
        ("size=16k", "true"),
        ("size=16k", "mkdir disk/a/supervise"),
        (
            "size=16k",
            "mkdir disk/a/supervise; : > disk/a/supervise/status",
        ),
        ("nr_inodes=16", "true"),
        ("nr_inodes=16", "mkdir disk/a/supervise"),
        (
            "nr_inodes=16",
            "cd disk/a; mkdir supervise; : > supervise/lock",
        ),
        (
            "nr_inodes=16",
            "cd disk/a; mkdir supervise; : > supervise/lock; \
             mkfifo supervise/control supervise/ok",
        ),
    ];
    for (options, prepare) in rows {
        let tmp = TestDir::new();
        let Some(disk) = Disk::mount(&tmp, options) else {
            return;
        };
        assert_eq!(disk.run(prepare).code, 0);
        if options.starts_with("size") {
            disk.fill();
        } else {
            let full = "i=0; while : > disk/$i; do i=$((i+1)); done";
            assert_ne!(disk.run(full).code, 0);
        }
        let one = disk.runsv();
        disk.until_runs();
        disk.is_controlled();
        assert_eq!(tmp.read("errors"), "", "{options} {prepare}");
        // Its lock holds when there is room again.
        disk.run("rm -f disk/[0-9]* disk/fill");
        let mut two = disk.runsv();
        assert_eq!(two.wait(), 111, "{options} {prepare}");
        assert!(
            tmp.read("errors").ends_with(
                "unable to lock supervise/lock: temporary failure\n"
            )
        );
        end(one);
        let gone = disk.run("sv status ./disk/a");
        assert_eq!(gone.stdout, "fail: ./disk/a: runsv not running\n");
    }
}

#[test]
fn full_later() {
    let tmp = TestDir::new();
    let Some(disk) = Disk::mount(&tmp, "size=64k") else {
        return;
    };
    let one = disk.runsv();
    disk.until_runs();
    for _ in 0..3 {
        disk.fill();
        disk.is_controlled();
    }
    // In its usual file, where a foreign `sv` finds it.
    let record = fs::read(disk.path("a/supervise/status")).unwrap();
    assert_eq!(&record[12..16], disk.pid().as_raw_pid().to_le_bytes());
    let stat = fs::read_to_string(disk.path("a/supervise/stat")).unwrap();
    assert_eq!(stat, "run\n");
    // `pid` may have lost its block while there was no process.
    let pid = fs::read_to_string(disk.path("a/supervise/pid")).unwrap();
    let now = disk.pid().as_raw_pid().to_string();
    assert!(pid.is_empty() || pid.trim() == now, "{pid} for {now}");
    let errors = tmp.read("errors");
    assert!(errors.lines().count() <= 1, "{errors}");
    // Writes that failed are made up for once there is room.
    fs::remove_file(disk.path("fill")).unwrap();
    until("its number", || {
        let pid = fs::read_to_string(disk.path("a/supervise/pid")).unwrap();
        (pid.trim() == now).then_some(())
    });
    end(one);
}

#[test]
fn read_only_later() {
    for (kind, run) in [("its own", "run"), ("missing", "none/run")] {
        let tmp = TestDir::new();
        let Some(disk) = Disk::mount(&tmp, "size=64k") else {
            return;
        };
        // A mount in which files are open for writing cannot be made
        // read-only. A read-only mount can cover the directory that a link
        // leads to.
        assert_eq!(
            disk.run("mkdir ro; ln -s ../../ro disk/a/supervise").code,
            0
        );
        let by = disk.inside();
        let run = format!("RUNT_RUN={}", tmp.path(run).display());
        let by: Vec<&str> = by.iter().map(String::as_str).collect();
        let by = [&by[..], &["env", &run, "runsv", "disk/a"]];
        let one = start_wrapped(&tmp, &by);
        disk.until_runs();
        let old = disk.pid();
        let mount = "mount --bind ro ro; mount -o remount,bind,ro ro";
        assert_eq!(disk.run(mount).code, 0);
        if kind == "missing" {
            // One line, and the service is still controlled.
            disk.run("sv down ./disk/a");
            until("the end of its process", || {
                test_kill_process(old).is_err().then_some(())
            });
            until("the line", || {
                (!tmp.read("errors").is_empty()).then_some(())
            });
            disk.run("sv up ./disk/a; sv down ./disk/a");
            let errors = tmp.read("errors");
            assert_eq!(errors.lines().count(), 1, "{errors}");
            assert!(errors.ends_with(".new: read-only file system\n"));
        } else {
            // A client that writes to `control` without `sv` is obeyed too.
            disk.run("printf t > disk/a/supervise/control");
            until("another process", || {
                test_kill_process(old).is_err().then_some(())
            });
            disk.until_runs();
            disk.is_controlled();
            assert_eq!(tmp.read("errors"), "");
        }
        end(one);
    }
}
