//! Tests that chpst and its aliases act and report as runit's do (contract
//! §6): limits, environment, directories, descriptors, locks.

use std::fs;

use crate::util::{
    self, TestDir,
    shell::{USAGE, capacity, check_rows, shell},
};

#[test]
fn usage_of_each_alias() {
    let tmp = TestDir::new();
    let soft = "usage: softlimit [-a allbytes] [-c corebytes] \
        [-d databytes] [-f filebytes] [-l lockbytes] [-m membytes] \
        [-o openfiles] [-p processes] [-r residentbytes] [-s stackbytes] \
        [-t cpusecs] child\n\n";
    let usages = [
        ("chpst", USAGE),
        ("envdir", "usage: envdir dir child\n\n"),
        ("envuidgid", "usage: envuidgid account child\n\n"),
        ("pgrphack", "usage: pgrphack child\n\n"),
        (
            "setlock",
            "usage: setlock [ -nNxX ] file program [ arg ... ]\n\n",
        ),
        ("setuidgid", "usage: setuidgid account child\n\n"),
        ("softlimit", soft),
    ];
    for (name, usage) in usages {
        let ended = format!("{usage}= 100\n");
        assert_eq!(shell(&tmp, name), ended);
        // Only some have options; the others take it as an operand.
        if matches!(name, "chpst" | "setlock" | "softlimit") {
            let output = format!("{name}: illegal option -- q\n{ended}");
            assert_eq!(shell(&tmp, &format!("{name} -q x y")), output);
        }
        let link = format!("ln -s runt bin/d{name}; d{name}");
        assert_eq!(shell(&tmp, &link), ended);
    }
    let number = USAGE.replace("chpst", "softlimit");
    let ended = format!("{USAGE}= 100\n");
    check_rows(
        &tmp,
        &[
            ("softlimit -o 5x true", &format!("{number}= 100\n")),
            ("chpst -V 2>&1 | sed 1d; exit 100", &ended),
            ("chpst -n 5x true", &ended),
            ("chpst -n --5 true", &ended),
            ("chpst -m -1 true", &ended),
            ("chpst -o = true", &ended),
            ("chpst -l k -L k true", &ended),
            ("chpst -L k -L k true", &ended),
            (
                "chpst -vn",
                &format!("chpst: option requires an argument -- n\n{ended}"),
            ),
            (
                "pgrphack -x",
                "chpst: fatal: unable to run: -x: file does not exist\n\
                 = 111\n",
            ),
        ],
    );
}

#[test]
fn limits_are_soft_and_capped() {
    let tmp = TestDir::new();
    check_rows(
        &tmp,
        &[
            ("chpst -o 77 sh -c 'ulimit -n'", "77\n= 0\n"),
            (
                "test $(chpst -o 99999999999 sh -c 'ulimit -n') = \
                 $(ulimit -Hn)",
                "= 0\n",
            ),
            (
                "ulimit -Sn 70; test $(softlimit -o = sh -c 'ulimit -n') = \
                 $(ulimit -Hn)",
                "= 0\n",
            ),
            ("chpst -c 0 sh -c 'ulimit -c'", "0\n= 0\n"),
            // A number without digits is 0.
            ("chpst -c '' sh -c 'ulimit -c'", "0\n= 0\n"),
            ("softlimit -c 10 -c 0 sh -c 'ulimit -c'", "0\n= 0\n"),
        ],
    );
    // The names in /proc of the limit that each letter sets.
    let limits = |options: &str| {
        let shown = shell(&tmp, &format!("{options} cat /proc/self/limits"));
        let hit = shown.lines().filter(|line| line.contains("77777777 "));
        let name = |line: &str| line[4..26].trim_end().to_string();
        hit.map(name).collect::<Vec<_>>().join(", ")
    };
    for (letter, name) in [
        ("d", "data size"),
        ("r", "resident set"),
        ("f", "file size"),
        ("t", "cpu time"),
    ] {
        assert_eq!(limits(&format!("chpst -{letter} 77777777")), name);
        assert_eq!(limits(&format!("softlimit -{letter}77777777")), name);
    }
    assert_eq!(limits("softlimit -a 77777777"), "address space");
    assert_eq!(limits("softlimit -s 77777777"), "stack size");
    let all = limits("chpst -m 77777777");
    assert!(all.starts_with("data size, stack size"), "{all}");
    assert!(all.ends_with("address space"), "{all}");
}

#[test]
fn envdir_files() {
    let tmp = TestDir::new();
    for (name, text) in [
        ("PLAIN", "v"),
        ("BLANKS", "v  \t \nz"),
        ("GONE", ""),
        ("EMPTY", "\n"),
        ("LINES", "a\0b\n"),
        ("NUL", "\0"),
        ("INNER", "a\tb \0 \n"),
        ("odd=SET", ""),
        ("name=with", "x"),
        (".hidden", "h"),
        ("CR", "x\r\n"),
    ] {
        tmp.write(&format!("e/{name}"), text);
    }
    let env = "env -i PATH=\"$PATH\" GONE=1 odd=1 name=2 KEPT=1 PLAIN=w";
    let show = "env | grep -v PATH | LC_ALL=C sort";
    let expected = "BLANKS=v\nCR=x\r\nEMPTY=\nINNER=a\tb \n\nKEPT=1\n\
                    LINES=a\nNUL=\n\nPLAIN=v\nb\nname=with=x\nodd=SET\n";
    let expected: String = {
        let mut lines: Vec<_> = expected.split_inclusive('\n').collect();
        lines.sort_unstable();
        lines.concat()
    };
    for program in ["chpst -e", "envdir"] {
        let shown = shell(&tmp, &format!("{env} {program} e {show}"));
        assert_eq!(shown, format!("{expected}= 0\n"), "{program}");
    }
    // -U is applied after -e.
    tmp.write("u/UID", "9");
    check_rows(
        &tmp,
        &[
            ("chpst -e u -U :7:8:9 sh -c 'echo $UID $GID'", "7 8\n= 0\n"),
            (
                "chpst -e nosuch true",
                "chpst: fatal: unable to switch to directory: nosuch: \
                 file does not exist\n= 111\n",
            ),
            (
                "chpst -e e/PLAIN true",
                "chpst: fatal: unable to switch to directory: e/PLAIN: \
                 not a directory\n= 111\n",
            ),
            ("mkdir e/sub; chpst -e e true", "= 0\n"),
            (
                "chpst -ve e true",
                "chpst: warning: unable to read e/sub: is a directory\n= 0\n",
            ),
            (
                "envdir e true",
                "chpst: fatal: unable to read e/sub: is a directory\n= 111\n",
            ),
            (
                "rmdir e/sub; ln -s nowhere e/KEPT; \
                 KEPT=1 envdir e sh -c 'echo ${KEPT-unset}'",
                "unset\n= 0\n",
            ),
            (
                "rm e/KEPT; ln -s KEPT e/KEPT; envdir e true",
                "chpst: fatal: unable to read e/KEPT: symbolic link loop\n\
                 = 111\n",
            ),
            (
                "rm e/KEPT; mkfifo e/KEPT; \
                 KEPT=1 envdir e sh -c 'echo ${KEPT-unset}'",
                "unset\n= 0\n",
            ),
        ],
    );
}

#[test]
fn envdir_limits() {
    let tmp = TestDir::new();
    let [bytes, variables] =
        ["environ-bytes", "environ"].map(|name| capacity(&tmp, name));
    // A variable takes its name, a `=` and a NUL. The kernel accepts none
    // above 128 kB.
    let fits = (bytes - 3).min(131_000);
    tmp.write("fits/A", &"x".repeat(fits));
    tmp.write("cut/A", &"x".repeat(bytes - 2));
    tmp.write("line/A", &format!("x\n{}", "y".repeat(bytes)));
    tmp.write("blanks/A", &format!("x{}\n", " ".repeat(5000)));
    for name in ["A", "B", "C"] {
        tmp.write(&format!("many/{name}"), &"x".repeat(bytes / 3));
    }
    let length = "sh -c 'echo ${#A}'";
    let full =
        format!("too many environ-bytes (the bound is {bytes})\n= 111\n");
    let exports =
        format!("for i in $(seq {}); do export V$i=1; done;", variables + 2);
    let many = format!(
        "chpst: fatal: too many environ (the bound is {variables})\n= 111\n"
    );
    check_rows(
        &tmp,
        &[
            (
                &format!("chpst -e fits {length}"),
                &format!("{fits}\n= 0\n"),
            ),
            (&format!("chpst -e line {length}"), "1\n= 0\n"),
            (&format!("chpst -e blanks {length}"), "1\n= 0\n"),
            (
                "chpst -e cut true",
                &format!("chpst: fatal: unable to read cut/A: {full}"),
            ),
            (&format!("{exports} chpst -U :1:1 true"), &many),
            (&format!("{exports} chpst --env-file /dev/null true"), &many),
            // Variables that are only passed on are not counted.
            (
                &format!("{exports} chpst -P sh -c 'echo $V{variables}'"),
                "1\n= 0\n",
            ),
        ],
    );
    // The directory's order determines which of the three comes last.
    let output = shell(&tmp, "chpst -e many true");
    assert!(
        output.starts_with("chpst: fatal: unable to read many/"),
        "{output}"
    );
    assert!(output.ends_with(&full), "{output}");
}

#[test]
fn program_lookup_in_path() {
    let tmp = TestDir::new();
    tmp.script("two/prog", "echo two");
    tmp.write("data/prog", "no program");
    fs::create_dir_all(tmp.path("sub/prog")).unwrap();
    tmp.write("broken/prog", "#!/no/such/interpreter\n");
    let chpst = "$(command -v chpst)";
    let run = |path: &str| format!("c={chpst}; {path} $c prog");
    let fatal = |cause: &str| {
        format!("chpst: fatal: unable to run: prog: {cause}\n= 111\n")
    };
    for (path, shown) in [
        ("PATH=data:sub:nosuch:two", "two\n= 0\n"),
        ("PATH=data", &fatal("access denied")),
        ("PATH=sub:nosuch", &fatal("access denied")),
        ("PATH=nosuch", &fatal("file does not exist")),
        ("PATH=/dev/null:two", &fatal("not a directory")),
        ("PATH=", &fatal("file does not exist")),
        ("cd two; PATH= ", "two\n= 0\n"),
        ("cd two; PATH=/x:", "two\n= 0\n"),
        ("cd two; PATH=/x::/y", "two\n= 0\n"),
        ("chmod +x broken/prog; PATH=broken:two", "two\n= 0\n"),
        ("PATH=broken", &fatal("file does not exist")),
        (
            "chmod +x data/prog; PATH=data:two",
            &fatal("exec format error"),
        ),
    ] {
        assert_eq!(shell(&tmp, &run(path)), shown, "{path}");
    }
    let long = "y".repeat(300);
    let missing = |word: &str| {
        format!("chpst: fatal: unable to run: {word}: file does not exist\n")
    };
    check_rows(
        &tmp,
        &[
            (
                "chpst ''",
                "chpst: fatal: unable to run: : access denied\n= 111\n",
            ),
            ("chpst ./nosuch", &format!("{}= 111\n", missing("./nosuch"))),
            (&run("unset PATH;"), &fatal("file does not exist")),
            (
                &format!("chpst {long}"),
                &format!(
                    "chpst: fatal: unable to run: {long}: file name too \
                     long\n= 111\n"
                ),
            ),
            // The search uses the old PATH, not the one of -e.
            (
                "mkdir p; echo /nosuch > p/PATH; PATH=two:$PATH; \
                 chpst -e p prog",
                "two\n= 0\n",
            ),
            (
                "chpst -b foo sh -c 'xargs -0 echo < /proc/$$/cmdline'",
                "foo -c xargs -0 echo < /proc/$$/cmdline\n= 0\n",
            ),
            ("chpst -bfoo sh -c 'echo $0' bar", "bar\n= 0\n"),
        ],
    );
}

#[test]
fn descriptors_and_sessions() {
    let tmp = TestDir::new();
    let open = "sh -c 'for i in 0 1 2; do \
                test -e /proc/$$/fd/$i || echo $i >> closed; done'";
    check_rows(
        &tmp,
        &[
            (&format!("chpst -02 {open}; cat closed"), "0\n2\n= 0\n"),
            (
                &format!("rm closed; chpst -012 {open}; cat closed"),
                "0\n1\n2\n= 0\n",
            ),
            // A descriptor that was closed is closed for the program.
            (
                &format!("rm closed; chpst {open} <&-; cat closed"),
                "0\n= 0\n",
            ),
            ("chpst -2 nosuch", "= 111\n"),
            (
                "chpst -P sh -c 'set -- $(cat /proc/$$/stat); \
                 test $6 = $$ && echo leads'",
                "leads\n= 0\n",
            ),
            (
                "pgrphack sh -c 'set -- $(cat /proc/$$/stat); \
                 test $6 = $$ && echo leads'",
                "leads\n= 0\n",
            ),
            ("chpst sh -c 'exit 7'", "= 7\n"),
            ("chpst -C bin -C / pwd", "/\n= 0\n"),
            (
                "chpst -C nosuch true",
                "chpst: fatal: unable to change directory: nosuch: \
                 file does not exist\n= 111\n",
            ),
            ("chpst -n +5 nice", "5\n= 0\n"),
            ("chpst -n 100 nice", "19\n= 0\n"),
        ],
    );
}

#[test]
fn locks() {
    let tmp = TestDir::new();
    let busy = "chpst: fatal: unable to lock: k: temporary failure\n= 111\n";
    let open = "chpst: fatal: unable to open lock: nosuch/k: \
                file does not exist\n= 111\n";
    let held = fs::File::create(tmp.path("k")).unwrap();
    held.lock().unwrap();
    check_rows(
        &tmp,
        &[
            ("chpst -L k true", busy),
            ("setlock -n k true", busy),
            ("setlock -Nn k true", busy),
            ("setlock -nx k true", "= 0\n"),
            ("chpst -L nosuch/k true", open),
            ("setlock nosuch/k true", open),
            ("setlock -x nosuch/k true", "= 0\n"),
            ("setlock -x k2 nosuch", "= 0\n"),
            (
                "setlock -xX k2 nosuch",
                "chpst: fatal: unable to run: nosuch: file does not exist\n\
                 = 111\n",
            ),
            ("umask 0; chpst -l new stat -c %a new", "600\n= 0\n"),
            // The lock is held until the program ends.
            (
                "chpst -L new setlock -n new true",
                &busy.replace(" k:", " new:"),
            ),
        ],
    );
    // Without -n it waits, as daemontools' setlock does.
    for words in [
        &["setlock", "k", "true"][..],
        &["setlock", "-nN", "k", "true"],
        &["chpst", "-l", "k", "true"],
    ] {
        let mut child = tmp.command(words).spawn().unwrap();
        util::until("the wait for the lock", || {
            let path = format!("/proc/{}/syscall", child.id());
            let call = fs::read_to_string(path).unwrap_or_default();
            let waits =
                fs::read_to_string(format!("/proc/{}/wchan", child.id()));
            let waits = waits.is_ok_and(|waits| waits.contains("lock"));
            (waits || call.starts_with("73 ")).then_some(())
        });
        assert!(child.try_wait().unwrap().is_none());
        held.unlock().unwrap();
        assert!(child.wait().unwrap().success());
        held.lock().unwrap();
    }
}
