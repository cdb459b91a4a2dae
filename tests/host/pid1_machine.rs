//! PID 1 of a machine: its console, memory and media.

use std::{fs, io::Write as _, os::unix::fs::PermissionsExt as _};

use rustix::process::{Pid, Signal, kill_process};
use seccompiler::{
    SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompRule,
};

use crate::util::{
    self, STAY, TestDir,
    init::{POWER_OFF, Terminal, boot, can_run_pid_1, machine, root, signal},
    until, with_failing_calls,
};

#[test]
fn services_write_to_the_console_without_holding_it() {
    if !can_run_pid_1() {
        return;
    }
    let mut terminal = Terminal::new();
    let tmp = root();
    let all = fs::Permissions::from_mode(0o755);
    fs::set_permissions(tmp.dir.path(), all).unwrap();
    let fd = tmp.path("true/self/fd");
    let fd = fd.display();
    let other = format!("echo as nobody >{fd}/2");
    tmp.service(
        "other",
        &format!("chpst -u :65534:65534 sh -c '{other}'; {STAY}"),
    );
    tmp.service(
        "plain",
        &format!(
            "echo first; echo second >&2
            for n in 0 1 2; do readlink {fd}/$n; done >../output
            echo last; {STAY}"
        ),
    );
    tmp.script(
        "etc/runit/ctrlaltdel",
        "read -r line; echo \"keys: $line\"; poweroff",
    );
    let then = "exec unshare -fp --kill-child runit";
    let mut one = machine(&tmp, "", &terminal.mount, "", then);
    for text in ["first\r\n", "second\r\n", "last\r\n", "as nobody\r\n"] {
        terminal.until_printed(text);
    }
    let output = tmp.read("services/output");
    let lines: Vec<_> = output.lines().collect();
    assert_eq!(lines[0], "/dev/null");
    assert!(lines[2].starts_with("pipe:"), "{output}");
    signal(&one, Signal::INT);
    terminal.master.write_all(b"typed\n").unwrap();
    terminal.until_printed("keys: typed\r\n");
    assert_eq!(one.wait(), POWER_OFF);
}

#[test]
fn a_full_console_blocks_only_the_writer_and_loses_nothing() {
    if !can_run_pid_1() {
        return;
    }
    let mut terminal = Terminal::new();
    let tmp = root();
    tmp.service(
        "flood",
        "n=0; while [ $n -lt 3000 ]; do
            echo \"line $n of what is more than a terminal takes.\"
            n=$((n + 1)); echo $n >../n
        done
        : >../written; exec sleep 1000",
    );
    let then = "exec unshare -fp --kill-child runit";
    let mut one = machine(&tmp, "", &terminal.mount, "", then);
    until("a full console", || {
        // Before PID 1 this is what makes its mounts.
        let init = one.supervisor().as_raw_pid();
        let children = format!("/proc/{init}/task/{init}/children");
        let list = fs::read_to_string(children).ok()?;
        let pids = list.split_whitespace().map(|pid| pid.parse().unwrap());
        let mut pids = pids.filter_map(Pid::from_raw);
        pids.any(|pid| util::is_blocked_writing(pid, 1))
            .then_some(())
    });
    assert!(!tmp.path("services/written").exists());
    // PID 1 still serves others.
    tmp.script("other/run", STAY);
    fs::rename(tmp.path("other"), tmp.path("services/other")).unwrap();
    let pid = tmp.until_pid("other", None);
    until("all of it", || {
        terminal.read();
        tmp.path("services/written").exists().then_some(())
    });
    terminal.until_printed("line 2999 ");
    for n in 0..3000 {
        let line = format!("line {n} of what is more than a terminal takes.");
        assert!(terminal.output.contains(&line), "{line}");
    }
    let spent = util::cpu_time(one.supervisor());
    assert!(spent < 300, "{spent} hundredths of a second");
    let _gone = kill_process(pid, Signal::KILL);
    signal(&one, Signal::POWER);
    until("the end", || {
        terminal.read();
        one.child.try_wait().unwrap()
    });
    let _code = one.wait();
}

/// Returns a line of /proc/self/mounts for a mount in the test directory.
fn mounted(tmp: &TestDir, name: &str) -> String {
    format!("/dev/x {} ext4 rw 0 0\n", tmp.path(name).display())
}

/// Shuts a PID 1 down with the mount table `table`. Returns those of `dirs`,
/// each of which is a mount, that are still mounted.
fn left_mounted(tmp: &TestDir, dirs: &[&str], table: &str) -> Vec<String> {
    tmp.service("a", &format!("kill -PWR 1; {STAY}"));
    let mut mounts = String::new();
    for dir in dirs {
        mounts += &format!("mkdir -p {dir}; mount -t tmpfs t {dir}\n");
    }
    let then = "unshare -fp --kill-child runit || :
        cp true/self/mounts after";
    let code = machine(tmp, &mounts, "", table, then).wait();
    assert_eq!(code, 0, "{}", tmp.read("errors"));
    let after = tmp.read("after");
    let left = dirs.iter().map(ToString::to_string);
    left.filter(|dir| {
        let path = format!(" {} ", tmp.path(dir).display());
        after.contains(&path)
    })
    .collect()
}

/// Returns a number of kB that the kernel reports for a process.
fn kilobytes(pid: Pid, file: &str, key: &str) -> u64 {
    let path = format!("/proc/{}/{file}", pid.as_raw_pid());
    let text = fs::read_to_string(path).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(key))
        .unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn pid_1_is_locked_in_memory_and_trims_its_stack() {
    if !can_run_pid_1() {
        return;
    }
    // Returns the memory in use when idle, which must be at most `most` kB.
    let rest = |locked: bool, old: bool, most: u64| {
        let tmp = root();
        for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            tmp.service(name, STAY);
        }
        let mut terminal = Terminal::new();
        let then = "exec unshare -fp --kill-child runit";
        let start = || machine(&tmp, "", &terminal.mount, "", then);
        let mut one = if old {
            before_5_18(start)
        } else if locked {
            start()
        } else {
            boot(&tmp, &terminal.mount, &["runit"])
        };
        terminal.until_printed(" services up, ");
        let pid = one.supervisor();
        let size = kilobytes(pid, "status", "VmSize:");
        let kept = kilobytes(pid, "status", "VmLck:");
        // Mappings that the kernel itself has added are not PID 1's own.
        assert_eq!(kept * 10 > size * 9, locked, "{kept} of {size} kB");
        let used = || kilobytes(pid, "smaps_rollup", "Anonymous:");
        let busy = used();
        let rest = until("less memory", || {
            Some(used()).filter(|now| *now < busy && *now <= most)
        });
        signal(&one, Signal::POWER);
        assert_eq!(one.wait(), POWER_OFF);
        rest
    };
    let free = rest(false, false, u64::MAX);
    rest(true, false, free + 8);
    rest(true, true, free + 8);
}

/// Starts something on a simulated kernel before 5.18, which releases no
/// locked memory.
fn before_5_18<T: Send>(start: impl FnOnce() -> T + Send) -> T {
    /// `madvise` of x86-64, the host's machine, and MADV_DONTNEED_LOCKED.
    const MADVISE: i64 = 28;
    const DONTNEED_LOCKED: u64 = 24;
    /// EINVAL.
    const INVALID: u32 = 22;
    let (word, equal) = (SeccompCmpArgLen::Dword, SeccompCmpOp::Eq);
    let locked = SeccompCondition::new(2, word, equal, DONTNEED_LOCKED);
    let rule = SeccompRule::new(vec![locked.unwrap()]).unwrap();
    with_failing_calls([(MADVISE, vec![rule])].into(), INVALID, start)
}

#[test]
fn all_file_systems_are_unmounted_with_a_long_mount_table() {
    if !can_run_pid_1() {
        return;
    }
    let tmp = root();
    let mut table = mounted(&tmp, "early");
    for length in [600, 600, 5000, 9000, 600, 4096, 600, 70_000] {
        let options = "l".repeat(length);
        let nothing = tmp.path("nothing");
        let nothing = nothing.display();
        table += &format!("overlay {nothing} overlay rw,{options} 0 0\n");
    }
    table += &mounted(&tmp, "late");
    let left = left_mounted(&tmp, &["early", "late"], &table);
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_file_system_is_unmounted_after_those_moved_into_it() {
    if !can_run_pid_1() {
        return;
    }
    let tmp = root();
    let inner = ["outer", "outer/a", "outer/a/b"];
    let table: String =
        inner.iter().rev().map(|dir| mounted(&tmp, dir)).collect();
    let left = left_mounted(&tmp, &inner, &table);
    assert!(left.is_empty(), "{left:?}");
}

/// A root hook, the line that PID 1 prints about it, and the end of the step.
type HookCase = (&'static str, &'static str, &'static str);

/// Hooks that name the initramfs itself as the root, or none: PID 1 of a test
/// must never get as far as to remove the files of its old root.
const HOOKS: [HookCase; 8] = [
    ("echo root=/dev/ram0 ro >&3", "", "ok, "),
    ("", "", "ok, "),
    // It does not wait for others that have the descriptor.
    ("sleep 1000 & echo rootwait >&3", "", "ok, "),
    ("echo root=/dev/ram0 >&3; exit 99", "", "failed, "),
    (
        "echo root=/dev/ram0 rot=/dev/sda >&3",
        "unknown word in the answer of /etc/runit/root: rot=/dev/sda",
        "failed, ",
    ),
    (
        "printf %20000s ro >&3",
        "the answer of /etc/runit/root is too long (line-bytes = 16384)",
        "failed, ",
    ),
    ("yes rw >&3 || exit 1", "", "failed, "),
    ("exec sleep 1000", "", "not done in time, "),
];

#[test]
fn the_root_hook_answers_with_words_about_the_root() {
    if !can_run_pid_1() {
        return;
    }
    for (hook, line, end) in HOOKS {
        let tmp = root();
        // No rescue.
        tmp.write("etc/passwd", "root::0:0:root:/:/bin/sh\n");
        tmp.service("a", STAY);
        tmp.script("etc/runit/root", &format!("PATH=/bin:/usr/bin; {hook}"));
        let mut terminal = Terminal::new();
        let table = "rootfs / rootfs rw 0 0\n";
        let then = "exec unshare -fp --kill-child runit";
        let mut one = machine(&tmp, "", &terminal.mount, table, then);
        terminal.until_printed(" services up, ");
        let output = terminal.read();
        let result = format!("- runit: /etc/runit/root: {end}");
        assert!(output.contains(&result), "{hook}: {output}");
        let warned = output.matches("warning: ").count();
        // Besides, that ctrl-alt-del cannot be caught, and after a failure that
        // there is no rescue.
        let expected = 1 + usize::from(end != "ok, ") + line.len().min(1);
        assert_eq!(warned, expected, "{hook}: {output}");
        assert!(output.contains(line), "{hook}: {output}");
        assert!(!output.contains("- runit: root: "), "{hook}: {output}");
        signal(&one, Signal::POWER);
        assert_eq!(one.wait(), POWER_OFF);
    }
}

#[test]
fn the_root_hook_reads_the_console() {
    if !can_run_pid_1() {
        return;
    }
    let mut terminal = Terminal::new();
    let tmp = root();
    tmp.service("a", STAY);
    tmp.script(
        "etc/runit/root",
        "echo phrase?; read -r word; [ \"$word\" = open ] && echo ro >&3",
    );
    let table = "rootfs / rootfs rw 0 0\n";
    let then = "exec unshare -fp --kill-child runit";
    let mut one = machine(&tmp, "", &terminal.mount, table, then);
    terminal.until_printed("phrase?\r\n");
    terminal.master.write_all(b"open\n").unwrap();
    terminal.until_printed("- runit: /etc/runit/root: ok, ");
    terminal.until_printed(" services up, ");
    signal(&one, Signal::POWER);
    assert_eq!(one.wait(), POWER_OFF);
}
