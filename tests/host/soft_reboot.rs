//! Tests soft reboots: the stages run again under the same kernel.

use crate::util::{
    STAY,
    init::{POWER_OFF, Terminal, boot, can_run_pid_1, machine, root},
    until,
};

#[test]
fn a_soft_reboot_runs_all_stages_again() {
    if !can_run_pid_1() {
        return;
    }
    let tmp = root();
    let note = "echo $0 >>/etc/service/stages";
    tmp.script("etc/runit/1", note);
    // The first child ignores TERM: it outlives the service, not the stages.
    tmp.service(
        "a",
        "cat /proc/[0-9]*/stat >>../processes
        if ! test -e ../starts; then
            sh -c 'trap \"\" TERM; : >../ready; while :; do sleep 0.1; done' &
            while ! rm ../ready; do sleep 0.1; done 2>/dev/null
        fi
        echo start >>../starts
        trap 'echo bye >>../ends; exit' TERM
        case $(wc -l <../starts) in 3) poweroff;; *) reboot --soft; esac
        while :; do sleep 0.1; done",
    );
    tmp.script("services/a/finish", "echo $1 >>../finishes");
    let mut one = boot(&tmp, "", &["runit"]);
    let pid = one.supervisor();
    assert_eq!(one.wait(), POWER_OFF, "{}", tmp.read("errors"));
    until("its end", || {
        crate::util::state(pid).is_none().then_some(())
    });
    let ends = tmp.read("services/ends");
    assert_eq!(ends, "bye\n".repeat(3), "{}", tmp.read("errors"));
    assert_eq!(tmp.read("services/finishes"), "0\n".repeat(3));
    assert_eq!(tmp.read("services/stages"), "/etc/runit/1\n".repeat(3));
    // Each time there is one runit, and nothing is left of the time before:
    // the failsafe would be a second one, or a zombie.
    let processes = tmp.read("services/processes");
    assert_eq!(processes.matches("(runit) ").count(), 3, "{processes}");
    assert_eq!(processes.matches("\n1 (runit) ").count(), 2, "{processes}");
    assert!(!processes.contains(") Z "), "{processes}");
    let output = tmp.read("errors");
    for (line, count) in [
        ("booting.", 3),
        ("stopping services...", 3),
        ("sending KILL signal to all processes", 1),
        ("- runit: soft reboot.", 2),
        ("warning", 3),
    ] {
        assert_eq!(output.matches(line).count(), count, "{line}: {output}");
    }
}

#[test]
fn media_stay_mounted_in_a_soft_reboot() {
    if !can_run_pid_1() {
        return;
    }
    let mut terminal = Terminal::new();
    let tmp = root();
    let medium = tmp.path("medium");
    let medium = medium.display();
    tmp.service(
        "a",
        &format!(
            "ls {medium} >>../files; : >{medium}/file
            case $(wc -l <../files) in 1) kill -PWR 1;; *) reboot --soft; esac
            {STAY}"
        ),
    );
    tmp.write(
        "etc/fstab",
        &format!("/dev/null {medium} ext4 defaults 0 2\n"),
    );
    tmp.script("sbin/fsck.ext4", "echo checked >>/etc/service/checks");
    let prepare = format!(
        "mount --bind sbin /sbin; mkdir {medium}; mount -t tmpfs x {medium}"
    );
    let table = format!("/dev/x {medium} ext4 rw 0 0\n");
    let then = format!(
        "unshare -fp --kill-child runit || :
        mountpoint -q {medium} || echo unmounted >>services/files"
    );
    let mut one = machine(&tmp, &prepare, &terminal.mount, &table, &then);
    until("the end", || {
        terminal.read();
        one.child.try_wait().unwrap()
    });
    let output = terminal.read();
    assert_eq!(tmp.read("services/files"), "file\nunmounted\n", "{output}");
    assert_eq!(tmp.read("services/checks"), "", "{output}");
    assert_eq!(output.matches("soft reboot.").count(), 1, "{output}");
    assert_eq!(output.matches("warning").count(), 2, "{output}");
    let _code = one.wait();
}
