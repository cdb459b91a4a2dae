//! Tests chpst's long options, which runit's does not have: capabilities,
//! scheduling, control groups.

use std::fs;

use crate::util::{
    self, TestDir,
    shell::{USAGE, capacity, check_rows, is_root, shell, status},
};

/// Usage text printed after a wrong long option.
const LONG: &str = "long options: --env-file FILE --init-groups \
    --no-new-privs --cap-bound LIST \
    --cap-ambient LIST --oom N --nice N --ionice CLASS[:N] \
    --sched CLASS[:PRIO] --umask OCTAL --cgroup PATH --memory-max MAX \
    --cpu-max MAX --pids-max MAX\n";

#[test]
fn invalid_long_options() {
    let tmp = TestDir::new();
    for (words, what) in [
        ("--nosuch", "illegal option -- nosuch"),
        ("-v --nosuch=1", "illegal option -- nosuch=1"),
        ("-v-nosuch", "illegal option -- nosuch"),
        ("--oom", "option requires an argument -- oom"),
        ("--oom=x true", "illegal value -- oom=x"),
        ("--umask 8 true", "illegal value -- umask"),
        ("--no-new-privs=1 true", "illegal value -- no-new-privs=1"),
        (
            "--cap-bound=kill,nosuch true",
            "illegal value -- cap-bound=kill,nosuch",
        ),
        ("--memory-max 1M true", "option also requires -- cgroup"),
    ] {
        let shown = shell(&tmp, &format!("chpst {words}"));
        let expected = format!("chpst: {what}\n{LONG}{USAGE}= 100\n");
        assert_eq!(shown, expected, "{words}");
    }
    // Only chpst has them.
    let softlimit = shell(&tmp, "softlimit --oom=1 true");
    assert!(softlimit.starts_with("softlimit: illegal option -- -\n"));
    check_rows(
        &tmp,
        &[(
            "chpst -- --oom",
            "chpst: fatal: unable to run: --oom: file does not exist\n= 111\n",
        )],
    );
}

#[test]
fn no_new_privs() {
    let tmp = TestDir::new();
    let nnp = |options: &str| status(&tmp, options, &["NoNewPrivs"]);
    assert_eq!(nnp(""), "0");
    assert_eq!(nnp("--no-new-privs"), "1");
}

#[test]
fn capabilities_and_scheduling() {
    let tmp = TestDir::new();
    check_rows(
        &tmp,
        &[
            ("chpst --umask 027 sh -c umask", "0027\n= 0\n"),
            ("chpst --oom 500 cat /proc/self/oom_score_adj", "500\n= 0\n"),
            ("chpst --nice 3 -n 2 nice", "5\n= 0\n"),
            ("nice -n 3 chpst --nice=7 nice", "7\n= 0\n"),
        ],
    );
    // Policies in /proc: field 41, and the priority in field 40.
    let policy = "sh -c 'set -- $(cat /proc/$$/stat); shift 39; echo $1 $2'";
    for (class, shown) in [("other", "0 0"), ("batch", "0 3"), ("idle", "0 5")]
    {
        let shown = format!("{shown}\n= 0\n");
        check_rows(
            &tmp,
            &[(&format!("chpst --sched {class} {policy}"), &shown)],
        );
    }
    let io = "sh -c 'ionice -p $$'";
    for (class, shown) in [
        ("idle", "idle"),
        ("best-effort:7", "best-effort: prio 7"),
        ("best-effort", "best-effort: prio 4"),
    ] {
        let shown = format!("{shown}\n= 0\n");
        check_rows(&tmp, &[(&format!("chpst --ionice {class} {io}"), &shown)]);
    }
    if !is_root("capabilities, fifo, rr, realtime, oom below 0") {
        return;
    }
    check_rows(
        &tmp,
        &[
            (
                "chpst --oom=300 -u :7:8 cat /proc/self/oom_score_adj",
                "300\n= 0\n",
            ),
            (&format!("chpst --sched fifo:42 {policy}"), "42 1\n= 0\n"),
            (&format!("chpst --sched rr {policy}"), "1 2\n= 0\n"),
            (
                &format!("chpst --ionice realtime:0 {io}"),
                "realtime: prio 0\n= 0\n",
            ),
            (
                "chmod 755 .; chpst -u :7:8 chpst --oom=-500 true",
                "chpst: fatal: unable to write: /proc/self/oom_score_adj: \
                 access denied\n= 111\n",
            ),
            (
                "chpst -u :7:8 chpst --cap-ambient kill true",
                "chpst: fatal: unable to raise ambient capabilities: \
                 permission denied\n= 111\n",
            ),
            (
                "chpst -u :7:8 chpst --cap-bound none true",
                "chpst: fatal: unable to bound capabilities: \
                 permission denied\n= 111\n",
            ),
            (
                "chpst -u :7:8 chpst --sched fifo true",
                "chpst: fatal: unable to set scheduler: \
                 permission denied\n= 111\n",
            ),
        ],
    );
    let caps =
        |options: &str| status(&tmp, options, &["CapBnd", "CapEff", "CapAmb"]);
    let none = "0000000000000000";
    let kill_and_raw = "0000000000002020";
    let all = status(&tmp, "", &["CapBnd"]);
    assert_eq!(
        caps("--cap-bound net_raw,CAP_KILL"),
        format!("{kill_and_raw} | {kill_and_raw} | {none}")
    );
    assert_eq!(
        caps("--cap-bound=none"),
        format!("{none} | {none} | {none}")
    );
    assert_eq!(caps("--cap-bound=all"), caps(""));
    let but = u64::from_str_radix(&all, 16).unwrap() & !1;
    let but = format!("{but:016x}");
    assert_eq!(
        caps("--cap-bound ~chown"),
        format!("{but} | {but} | {none}")
    );
    assert_eq!(
        caps("--cap-ambient 5,13 -u :7:8"),
        format!("{all} | {kill_and_raw} | {kill_and_raw}")
    );
    assert_eq!(caps("-u :7:8"), format!("{all} | {none} | {none}"));
    assert_eq!(
        caps("--cap-bound 5,13 --cap-ambient 5 --no-new-privs -u :7:8"),
        format!("{kill_and_raw} | 0000000000000020 | 0000000000000020")
    );
}

#[test]
fn control_groups() {
    if !is_root("control groups") {
        return;
    }
    let tmp = TestDir::new();
    // The files of a kernel's control groups, without cpu.max.
    let tree = "mount -t tmpfs none /sys/fs/cgroup; cd /sys/fs/cgroup; \
                mkdir -p a/b; : > cgroup.controllers; \
                for d in . a a/b; do : > $d/cgroup.procs; \
                : > $d/cgroup.subtree_control; : > $d/memory.max; \
                : > $d/pids.max; done;";
    let play = |tree: &str, rest: &str| {
        shell(&tmp, &format!("exec unshare -m sh -c '{tree} {rest}'"))
    };
    if !play("", ":").ends_with("= 0\n") {
        return util::skip("control groups: no mount name space");
    }
    let warning = |file: &str| {
        format!(
            "chpst: warning: cgroup a/b: continuing without {file}: \
             file does not exist\n"
        )
    };
    // A file of tmpfs keeps the part that a second, shorter text does not
    // cover.
    assert_eq!(
        play(
            tree,
            "chpst --cgroup a/b --memory-max 64M --pids-max=5 echo ran; \
             cd a; cat cgroup.subtree_control; echo; cd b; \
             cat memory.max cgroup.procs pids.max; echo; \
             wc -c < cgroup.subtree_control"
        ),
        "ran\n+pidsry\n64M05\n0\n= 0\n"
    );
    assert_eq!(
        play(
            tree,
            "chpst --cgroup /a//b --cpu-max 1 echo ran; cat a/b/*procs"
        )
        .replace("/a//b", "a/b"),
        format!("{}ran\n0= 0\n", warning("cpu.max"))
    );
    assert_eq!(
        play(
            "mount -t tmpfs none /sys/fs/cgroup;",
            "chpst --cgroup a/b --memory-max 1 echo ran"
        ),
        format!("{}ran\n= 0\n", warning("/sys/fs/cgroup/cgroup.controllers"))
    );
    assert_eq!(
        play(
            tree,
            "rm a/b/*procs; mkdir a/b/cgroup.procs; \
             chpst --cgroup a/b true"
        ),
        "chpst: fatal: unable to join cgroup: a/b: is a directory\n= 111\n"
    );
    // A real tree, if there is one.
    let [alone, beside] = ["", "/unified"]
        .map(|at| std::path::PathBuf::from(format!("/sys/fs/cgroup{at}")));
    let trees = [alone, beside];
    let here =
        |tree: &&std::path::PathBuf| tree.join("cgroup.controllers").exists();
    let Some(tree) = trees.iter().find(here) else {
        return;
    };
    let name = format!("runt-test-chpst-{}", std::process::id());
    let shown = shell(
        &tmp,
        &format!("chpst --cgroup {name}/x -u :7:8 grep ^0: /proc/self/cgroup"),
    );
    for part in [format!("{name}/x"), name.clone()] {
        util::until("an empty cgroup", || {
            let path = tree.join(&part);
            (fs::remove_dir(&path).is_ok() || !path.exists()).then_some(())
        });
    }
    assert!(shown.ends_with(&format!("/{name}/x\n= 0\n")), "{shown}");
}

#[test]
fn env_file() {
    let tmp = TestDir::new();
    let bytes = capacity(&tmp, "line-bytes");
    tmp.write(
        "file",
        "# comment\n\n; A=0\nA=1\n  B = two words \r\nC=\"a\\\"b\\nc \"\n\
         D='$A \\'\nE=\nA=2\nlast=end",
    );
    let show = "sh -c 'printf \"[%s]\" \"$A\" \"$B\" \"$C\" \"$D\" \
                \"${E-unset}\" \"$last\"; echo'";
    let all = "[2][two words][a\"b\\nc ][$A \\][][end]\n= 0\n";
    tmp.write("dir/A", "dir");
    tmp.write("dir/UID", "dir");
    tmp.write("more", "UID=file\n");
    tmp.write("long", &format!("# {}\n", "x".repeat(bytes)));
    tmp.write("fits", &format!("A={}\n", "x".repeat(bytes - 3)));
    let refused = |line: &str, what: &str| {
        format!("chpst: fatal: unable to read: {line}: {what}\n= 111\n")
            .replace("read: ", "read ")
    };
    check_rows(
        &tmp,
        &[
            (&format!("E=1 chpst --env-file file {show}"), all),
            (&format!("E=1 chpst --env-file=file {show}"), all),
            // It is applied after -e and before -U.
            (&format!("chpst --env-file file -e dir {show}"), all),
            (
                "chpst -e dir --env-file more sh -c 'echo $UID'",
                "file\n= 0\n",
            ),
            (
                "chpst -U :7:8 --env-file more sh -c 'echo $UID'",
                "7\n= 0\n",
            ),
            (
                "chpst --env-file nosuch true",
                "chpst: fatal: unable to read: nosuch: file does not exist\n\
                 = 111\n",
            ),
            ("chpst --env-file -nosuch true", "= 0\n"),
            ("chpst --env-file -more sh -c 'echo $UID'", "file\n= 0\n"),
            (
                "chpst --env-file -dir true",
                "chpst: fatal: unable to read: dir: is a directory\n= 111\n",
            ),
            (
                "chpst --env-file dir true",
                "chpst: fatal: unable to read: dir: is a directory\n= 111\n",
            ),
            (
                "printf 'A=1\\n#\\nexport B=1\\n' > f; \
                 chpst --env-file f true",
                &refused(
                    "f: line 3",
                    "not the name of a variable before the =",
                ),
            ),
            (
                "printf 'A=\"1' > f; chpst --env-file f true",
                &refused("f: line 1", "a quote is not closed"),
            ),
            (
                "printf 'A=1\\\\\\n2' > f; chpst --env-file f true",
                &refused("f: line 1", "a backslash outside of quotes"),
            ),
            (
                "printf 'A=1\\nB=\\0\\n' > f; chpst --env-file f true",
                &refused("f: line 2", "a NUL byte"),
            ),
            (
                "chpst --env-file long true",
                &refused(
                    "long: line 1",
                    &format!("too many line-bytes (the bound is {bytes})"),
                ),
            ),
            (
                "chpst --env-file fits sh -c 'echo ${#A}'",
                &format!("{}\n= 0\n", bytes - 3),
            ),
        ],
    );
    let output = shell(&tmp, "chpst --env-file file --env-file more true");
    let what = "chpst: illegal value -- env-file\n";
    assert!(
        output.starts_with(what) && output.ends_with("= 100\n"),
        "{output}"
    );
}
