//! Tests that a service with `cgroup/` runs in its control group with the
//! settings of the files there, and tests `runsv-cg`.

use std::{
    fs,
    path::PathBuf,
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
};

use rustix::process::Signal;

use crate::util::{
    Output, TestDir, output_of, skip, start_wrapped, succeeds, until,
};

/// Mounts the cgroup2 tree in a mount namespace of its own.
const MOUNT: &str = "umount -R /sys/fs/cgroup 2> /dev/null; \
                     mount -t cgroup2 none /sys/fs/cgroup && exec \"$@\"";

/// Returns the words that run a command where the tree is mounted. Returns
/// `None` and prints a line where that is refused.
fn mounted() -> Option<[&'static str; 6]> {
    let by = ["unshare", "-m", "sh", "-c", MOUNT, "sh"];
    let can = "dir=$(mktemp -d /sys/fs/cgroup/runt-test-XXXXXX) && rmdir $dir";
    if succeeds(&[&by[..], &["sh", "-c", can]].concat()) {
        return Some(by);
    }
    skip("no control groups to be had");
    None
}

/// Runs a shell command there.
fn shell(tmp: &TestDir, dir: &str, script: &str) -> Output {
    let by = mounted().unwrap();
    let mut command = Command::new(by[0]);
    command.args(&by[1..]).args(["sh", "-c", script]);
    for (name, value) in tmp.command(&["sv"]).get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    output_of(command.current_dir(tmp.path(dir)))
}

/// Group of all services, which each test removes when it is empty.
static SERVICES: Mutex<()> = Mutex::new(());

/// Lets one test at a time use the group of all services.
fn alone() -> MutexGuard<'static, ()> {
    SERVICES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns a name that no other test uses.
fn unique(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

/// Removes a group, and the group of all services when it is empty.
fn remove(tmp: &TestDir, name: &str) {
    let group = format!("/sys/fs/cgroup/runit/{name}");
    until("an empty group", || {
        let script = format!("[ ! -d {group} ] || rmdir {group}");
        (shell(tmp, "", &script).code == 0).then_some(())
    });
    shell(tmp, "", "rmdir /sys/fs/cgroup/runit");
}

#[test]
fn a_service_runs_in_its_group() {
    let tmp = TestDir::new();
    let Some(by) = mounted() else { return };
    let _alone = alone();
    let name = unique("a");
    let dir = format!("services/{name}");
    let seen = tmp.path("seen");
    // A process that it starts at once is in there too.
    let run = format!(
        "sh -c 'cat /proc/self/cgroup' > {0}.new; mv {0}.new {0}\n\
         setsid sleep 1000 & exec sleep 1000",
        seen.display()
    );
    tmp.service(&name, &run);
    tmp.write(&format!("{dir}/cgroup/cgroup.max.depth"), "7\n");
    tmp.write(&format!("{dir}/cgroup/no.such"), "1\n");
    tmp.write(&format!("{dir}/cgroup/cgroup.max.descendants"), "many\n");
    tmp.write(&format!("{dir}/cgroup/.hidden"), "1\n");
    tmp.write(&format!("{dir}/runt/group-kill"), "");
    let mut one = start_wrapped(&tmp, &[&by, &["runsv", &dir]]);
    let old = tmp.until_pid(&name, None);
    let group = until("its group", || {
        Some(tmp.read("seen")).filter(|text| !text.is_empty())
    });
    let own = format!("0::/runit/{name}");
    assert!(group.lines().any(|line| line == own), "{group}");
    let depth = format!("cat /sys/fs/cgroup/runit/{name}/cgroup.max.depth");
    assert_eq!(shell(&tmp, "", &depth).stdout, "7\n");
    // Each failure is reported in one line, once.
    tmp.control(&name, "t");
    let pid = tmp.until_pid(&name, Some(old));
    let mut errors: Vec<String> =
        tmp.read("errors").lines().map(String::from).collect();
    errors.sort();
    let line = |what| format!("runsv {dir}: warning: unable to {what}");
    assert_eq!(
        errors,
        [
            line("apply cgroup/cgroup.max.descendants: invalid argument"),
            line("apply cgroup/no.such: file does not exist"),
        ]
    );
    // No process of it is left, although it has left the process group.
    one.kill(Signal::TERM);
    assert_eq!(one.wait(), 0);
    assert!(!PathBuf::from(format!("/proc/{}", pid.as_raw_pid())).exists());
    remove(&tmp, &name);
}

#[test]
fn without_control_groups_it_has_no_effect() {
    let tmp = TestDir::new();
    tmp.service("a", "exec sleep 1000");
    tmp.write("services/a/cgroup/pids.max", "7\n");
    let none = "mount -t tmpfs none /sys/fs/cgroup && exec \"$@\"";
    if !succeeds(&["unshare", "-m", "true"]) {
        return skip("no mount name space");
    }
    let by = ["unshare", "-m", "sh", "-c", none, "sh"];
    let mut one = start_wrapped(&tmp, &[&by, &["runsv", "services/a"]]);
    tmp.until_pid("a", None);
    assert_eq!(tmp.read("errors"), "");
    one.kill(Signal::TERM);
    assert_eq!(one.wait(), 0);
}

#[test]
fn runsv_cg() {
    let tmp = TestDir::new();
    if mounted().is_none() {
        return;
    }
    let _alone = alone();
    let name = unique("b");
    let dir = format!("services/{name}");
    tmp.service(&name, "exec sleep 1000");
    let run = |script: &str| shell(&tmp, &dir, script);
    let usage = "usage: runsv-cg create|control|remove|destroy|setup\n";
    for words in ["", " none"] {
        let output = run(&format!("runsv-cg{words}"));
        assert_eq!((output.stderr.as_str(), output.code), (usage, 100));
    }
    assert_eq!(run("runsv-cg setup && runsv-cg setup").code, 0);
    let outside = run("cd /; runsv-cg create");
    let what = "must run in service directory\n";
    assert_eq!((outside.stderr.as_str(), outside.code), (what, 111));
    let output = run("runsv-cg create");
    let none = "./cgroup: not a directory\n";
    assert_eq!((output.stderr.as_str(), output.code), (none, 111));
    fs::create_dir(tmp.path(&format!("{dir}/cgroup"))).unwrap();
    tmp.write(&format!("{dir}/cgroup/cgroup.max.depth"), "7\n");
    let group = format!("/sys/fs/cgroup/runit/{name}");
    let output = run(&format!(
        "runsv-cg create && cat {group}/cgroup.max.depth && \
         grep -x 0::/runit/{name} /proc/self/cgroup"
    ));
    assert_eq!(
        output.stdout,
        format!("7\n0::/runit/{name}\n"),
        "{output:?}"
    );
    tmp.write(&format!("{dir}/cgroup/cgroup.max.depth"), "8\n");
    let output = run(&format!("runsv-cg control && cat {group}/*.max.depth"));
    assert_eq!(
        (output.stdout.as_str(), output.code),
        ("8\n", 0),
        "{output:?}"
    );
    // The shell is in it, so the group cannot be removed until the shell ends.
    let output = run("runsv-cg create; runsv-cg remove");
    assert_eq!(output.code, 1, "{output:?}");
    until("an empty group", || {
        (run("runsv-cg remove").code == 0).then_some(())
    });
    let output = run(&format!(
        "runsv-cg create; sleep 1000 & echo 0 > /sys/fs/cgroup/cgroup.procs \
         || exit; echo $$ > /sys/fs/cgroup/cgroup.procs; runsv-cg destroy"
    ));
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(run(&format!("[ ! -d {group} ]")).code, 0);
    remove(&tmp, &name);
}
