//! Whether chpst and its aliases do to a process, and say, what runit's do
//! (contract §6).
#![allow(missing_docs, reason = "the names of the tests say it")]

mod util;

use std::{fs, io::Write as _, process::Command};

use util::{Place, said};

/// chpst's usage, in full.
const USAGE: &str = "usage: chpst [-vVP012] [-u user[:group]] \
    [-U user[:group]] [-b argv0] [-e dir] [-/ root] [-C pwd] [-n nice] \
    [-l|-L lock] [-m n] [-d n] [-o n] [-p n] [-f n] [-c n] [-t n] prog\n\n";

/// A shell script's output on both descriptors, then `= CODE`; ours are first
/// in its PATH.
fn shell(place: &Place, script: &str) -> String {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec 2>&1\n{script}")]);
    command.current_dir(place.dir.path());
    let ours = place.command(&["runt"]);
    for (name, value) in ours.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let said = said(&mut command);
    format!("{}{}= {}\n", said.out, said.err, said.code)
}

/// Plays rows of a script and what it shows.
fn rows(place: &Place, rows: &[(&str, &str)]) {
    for (script, shown) in rows {
        assert_eq!(shell(place, script), *shown, "{script}");
    }
}

/// Whether this is root; says what is not tested when it is not.
fn is_root(what: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        // Not through the test's own output, which a pass swallows.
        let why = format!("skipped, needs root: {what}\n");
        let _said = std::io::stderr().write_all(why.as_bytes());
    }
    root
}

#[test]
fn usage_of_each_name() {
    let place = Place::new();
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
        assert_eq!(shell(&place, name), ended);
        // Only some have options; to the others that is an operand.
        if matches!(name, "chpst" | "setlock" | "softlimit") {
            let said = format!("{name}: illegal option -- q\n{ended}");
            assert_eq!(shell(&place, &format!("{name} -q x y")), said);
        }
        let link = format!("ln -s runt bin/d{name}; d{name}");
        assert_eq!(shell(&place, &link), ended);
    }
    let number = USAGE.replace("chpst", "softlimit");
    let ended = format!("{USAGE}= 100\n");
    rows(
        &place,
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
    let place = Place::new();
    rows(
        &place,
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
            // Without digits a number is 0.
            ("chpst -c '' sh -c 'ulimit -c'", "0\n= 0\n"),
            ("softlimit -c 10 -c 0 sh -c 'ulimit -c'", "0\n= 0\n"),
        ],
    );
    // What the names in /proc say of each letter.
    let limits = |options: &str| {
        let shown = shell(&place, &format!("{options} cat /proc/self/limits"));
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
fn files_of_the_environment() {
    let place = Place::new();
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
        place.write(&format!("e/{name}"), text);
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
        let shown = shell(&place, &format!("{env} {program} e {show}"));
        assert_eq!(shown, format!("{expected}= 0\n"), "{program}");
    }
    // -U comes behind -e.
    place.write("u/UID", "9");
    rows(
        &place,
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
fn bounds_of_the_environment() {
    let place = Place::new();
    place.write("fits/A", &"x".repeat(4095));
    place.write("cut/A", &"x".repeat(4096));
    place.write("line/A", &format!("x\n{}", "y".repeat(100_000)));
    for name in ["A", "B", "C"] {
        place.write(&format!("many/{name}"), &"x".repeat(3000));
    }
    let length = "sh -c 'echo ${#A}'";
    rows(
        &place,
        &[
            (&format!("chpst -e fits {length}"), "4095\n= 0\n"),
            (&format!("chpst -e line {length}"), "1\n= 0\n"),
            (
                "chpst -e cut true",
                "chpst: fatal: unable to read cut/A: longer than file-bytes \
                 (the bound is 4096)\n= 111\n",
            ),
            (
                "chpst -e many true",
                "chpst: fatal: too many environ-bytes (the bound is 8192)\n\
                 = 111\n",
            ),
            (
                "for i in $(seq 130); do export V$i=1; done; \
                 chpst -U :1:1 true",
                "chpst: fatal: too many environ (the bound is 128)\n= 111\n",
            ),
            // What is only passed on is not counted.
            (
                "for i in $(seq 130); do export V$i=1; done; \
                 chpst -P sh -c 'echo $V130'",
                "1\n= 0\n",
            ),
        ],
    );
}

#[test]
fn where_a_program_is_looked_for() {
    let place = Place::new();
    place.script("two/prog", "echo two");
    place.write("data/prog", "no program");
    fs::create_dir_all(place.path("sub/prog")).unwrap();
    place.write("broken/prog", "#!/no/such/interpreter\n");
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
        assert_eq!(shell(&place, &run(path)), shown, "{path}");
    }
    let long = "y".repeat(300);
    let missing = |word: &str| {
        format!("chpst: fatal: unable to run: {word}: file does not exist\n")
    };
    rows(
        &place,
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
            // The search is in the old PATH, not in the one of -e.
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
    let place = Place::new();
    let open = "sh -c 'for i in 0 1 2; do \
                test -e /proc/$$/fd/$i || echo $i >> closed; done'";
    rows(
        &place,
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
    let place = Place::new();
    let busy = "chpst: fatal: unable to lock: k: temporary failure\n= 111\n";
    let open = "chpst: fatal: unable to open lock: nosuch/k: \
                file does not exist\n= 111\n";
    let held = fs::File::create(place.path("k")).unwrap();
    held.lock().unwrap();
    rows(
        &place,
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
            // The lock lives as long as the program.
            (
                "chpst -L new setlock -n new true",
                &busy.replace(" k:", " new:"),
            ),
        ],
    );
    // Without -n it waits, as daemontools' does.
    for words in [
        &["setlock", "k", "true"][..],
        &["setlock", "-nN", "k", "true"],
        &["chpst", "-l", "k", "true"],
    ] {
        let mut child = place.command(words).spawn().unwrap();
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

/// The line of a key in the status of a process that chpst has become.
fn status(place: &Place, options: &str, keys: &[&str]) -> String {
    let shown = shell(place, &format!("chpst {options} cat /proc/self/status"));
    let mut found: Vec<String> = Vec::new();
    for key in keys {
        let line = shown.lines().find_map(|line| line.strip_prefix(key));
        let line = line.map(|l| l.trim_start_matches(':').trim());
        let words = line.unwrap_or(&shown).split_whitespace();
        found.push(words.collect::<Vec<_>>().join(" "));
    }
    found.join(" | ")
}

#[test]
fn users_and_groups() {
    let place = Place::new();
    let unknown = |text: &str| {
        format!("chpst: fatal: unknown user/group: {text}\n= 111\n")
    };
    let invalid =
        |text: &str| format!("chpst: fatal: invalid uid/gids: {text}\n= 111\n");
    rows(
        &place,
        &[
            ("chpst -U root sh -c 'echo $UID $GID'", "0 0\n= 0\n"),
            ("chpst -U :7:8:9 sh -c 'echo $UID $GID'", "7 8\n= 0\n"),
            ("chpst -U :7: sh -c 'echo $UID $GID'", "7 0\n= 0\n"),
            ("envuidgid root sh -c 'echo $UID $GID'", "0 0\n= 0\n"),
            ("chpst -U nosuch true", &unknown("nosuch")),
            ("chpst -u nosuch true", &unknown("nosuch")),
            ("chpst -u root: true", &unknown("root:")),
            ("chpst -u root:nosuch true", &unknown("root:nosuch")),
            // Names are never numbers.
            ("chpst -u 0 true", &unknown("0")),
            ("chpst -u root:0 true", &unknown("root:0")),
            ("chpst -u '' true", &unknown("")),
            ("chpst -u :0 true", &invalid("0")),
            ("chpst -u :x:1 true", &invalid("x:1")),
            ("chpst -u :1:2x true", &invalid("1:2x")),
            ("chpst -u :-1:0 true", &invalid("-1:0")),
            // runit takes an empty user for root; nobody means that.
            ("chpst -u ::0 true", &invalid(":0")),
            (
                "setuidgid root:root true",
                "chpst: fatal: unknown account: root:root\n= 111\n",
            ),
            (
                "envuidgid :0:0 true",
                "chpst: fatal: unknown account: :0:0\n= 111\n",
            ),
            (
                "g=$(seq -s: 61); chpst -u :1:$g true",
                "chpst: fatal: too many groups (the bound is 60)\n= 111\n",
            ),
            (
                "g=$(yes root | head -61 | paste -sd:); chpst -u root:$g true",
                "chpst: fatal: too many groups (the bound is 60)\n= 111\n",
            ),
        ],
    );
    if !is_root("set_user and set_groups") {
        return;
    }
    let keys = ["Uid", "Gid", "Groups"];
    let who = |options: &str| status(&place, options, &keys);
    let four = |id: u32| format!("{id} {id} {id} {id}");
    let shown = |uid, gid, groups: &str| {
        format!("{} | {} | {groups}", four(uid), four(gid))
    };
    assert_eq!(who("-u :7:8:10:9"), shown(7, 8, "8 9 10"));
    assert_eq!(who("-u :7:8"), shown(7, 8, "8"));
    assert_eq!(who("-u :7:8:"), shown(7, 8, "0 8"));
    assert_eq!(who("-u nobody:adm:tty"), shown(65534, 4, "4 5"));
    let sixty: Vec<String> = (1..=60).map(|g| g.to_string()).collect();
    let most = shown(9, 1, &sixty.join(" "));
    assert_eq!(who(&format!("-u :9:{}", sixty.join(":"))), most);
    rows(
        &place,
        &[
            ("setuidgid nobody id -u", "65534\n= 0\n"),
            (
                "chmod 755 . bin; chpst -u :1:1 chpst -u :2:2 true",
                "chpst: fatal: unable to setgroups: permission denied\n\
                 = 111\n",
            ),
            (
                "chpst -u :1:1 chpst -n -5 true",
                "chpst: fatal: unable to set nice level: permission denied\n\
                 = 111\n",
            ),
            (
                "chpst -u :1:1 chpst -/ / true",
                "chpst: fatal: unable to change root directory: \
                 permission denied\n= 111\n",
            ),
            // The lock is the new user's.
            (
                "chmod 777 .; chpst -u :7:8 -l lock stat -c %u:%g lock",
                "7:8\n= 0\n",
            ),
            (
                "mkdir e; echo x > e/A; chmod 600 e/A; \
                 chpst -u :7:8 chpst -e e true",
                "chpst: fatal: unable to read e/A: access denied\n= 111\n",
            ),
        ],
    );
}

#[test]
fn users_of_another_root() {
    if !is_root("change_root") {
        return;
    }
    let place = Place::new();
    let file = |name: &str, text: &[u8]| {
        place.write(name, "");
        fs::write(place.path(name), text).unwrap();
    };
    let long = format!("long:x:1:{}\n", "y".repeat(9000));
    file(
        "root/etc/passwd",
        [
            &b"\n#comment\nweb\nweb:\nweb:x\nweb:x:1\nweb:x:a:b\n"[..],
            b"web:x:4294967296:1\nweb:x:-1:1\n:::\n\xff\0\x01:x:3:3\n",
            b"webber:x:8:8:::\nweb:x:12:13::/:/bin/sh\nweb:x:14:15::/:\n",
            long.as_bytes(),
            b"last:x:16:17",
        ]
        .concat()
        .as_slice(),
    );
    file(
        "root/etc/group",
        b"a:x\na:x:\na:x:z:\na:x:21\na:x:22:\nb:x:23:web",
    );
    fs::create_dir(place.path("root/bin")).unwrap();
    fs::copy(place.path("bin/runt"), place.path("root/bin/chpst")).unwrap();
    fs::hard_link(
        place.path("root/bin/chpst"),
        place.path("root/bin/setuidgid"),
    )
    .unwrap();
    // No other program is there: what it wants to run tells who it was.
    let too_long = "chpst: warning: /etc/passwd: a line is too long \
                    (file-bytes: the bound is 4096)\n";
    let ran = "chpst: fatal: unable to run: nosuch: file does not exist\n";
    rows(
        &place,
        &[
            ("chpst -/ root -u web nosuch", &format!("{ran}= 111\n")),
            (
                "chpst -/ root -u last nosuch",
                &format!("{too_long}{ran}= 111\n"),
            ),
            (
                "chpst -/ root -u root nosuch",
                &format!(
                    "{too_long}chpst: fatal: unknown user/group: root\n\
                     = 111\n"
                ),
            ),
            (
                "rm root/etc/group; chpst -/ root -u web:a nosuch",
                "chpst: fatal: unable to get group file entry: \
                 file does not exist\n= 111\n",
            ),
            (
                "rm root/etc/passwd; chpst -/ root -u web nosuch",
                "chpst: fatal: unable to get password file entry: \
                 file does not exist\n= 111\n",
            ),
            (
                "chpst -/ nosuch true",
                "chpst: fatal: unable to change directory: nosuch: \
                 file does not exist\n= 111\n",
            ),
            ("chpst -/ / -C proc pwd", "/proc\n= 0\n"),
        ],
    );
}

/// What is shown behind a long option that is wrong.
const LONG: &str = "long options: --no-new-privs --cap-bound LIST \
    --cap-ambient LIST --oom N --nice N --ionice CLASS[:N] \
    --sched CLASS[:PRIO] --umask OCTAL --cgroup PATH --memory-max MAX \
    --cpu-max MAX --pids-max MAX\n";

#[test]
fn long_options_that_are_wrong() {
    let place = Place::new();
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
        ("--memory-max 1M true", "limits are those of -- cgroup"),
    ] {
        let shown = shell(&place, &format!("chpst {words}"));
        let expected = format!("chpst: {what}\n{LONG}{USAGE}= 100\n");
        assert_eq!(shown, expected, "{words}");
    }
    // Only chpst has them.
    let softlimit = shell(&place, "softlimit --oom=1 true");
    assert!(softlimit.starts_with("softlimit: illegal option -- -\n"));
    rows(
        &place,
        &[(
            "chpst -- --oom",
            "chpst: fatal: unable to run: --oom: file does not exist\n= 111\n",
        )],
    );
}

#[test]
fn no_new_privs() {
    let place = Place::new();
    let nnp = |options: &str| status(&place, options, &["NoNewPrivs"]);
    assert_eq!(nnp(""), "0");
    assert_eq!(nnp("--no-new-privs"), "1");
}

#[test]
fn hardening() {
    let place = Place::new();
    rows(
        &place,
        &[
            ("chpst --umask 027 sh -c umask", "0027\n= 0\n"),
            ("chpst --oom 500 cat /proc/self/oom_score_adj", "500\n= 0\n"),
            ("chpst --nice 3 -n 2 nice", "5\n= 0\n"),
            ("nice -n 3 chpst --nice=7 nice", "7\n= 0\n"),
        ],
    );
    // Policies as /proc has them: field 41, and the priority in field 40.
    let policy = "sh -c 'set -- $(cat /proc/$$/stat); shift 39; echo $1 $2'";
    for (class, shown) in [("other", "0 0"), ("batch", "0 3"), ("idle", "0 5")]
    {
        let shown = format!("{shown}\n= 0\n");
        rows(
            &place,
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
        rows(&place, &[(&format!("chpst --ionice {class} {io}"), &shown)]);
    }
    if !is_root("capabilities, fifo, rr, realtime, oom below 0") {
        return;
    }
    rows(
        &place,
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
    let caps = |options: &str| {
        status(&place, options, &["CapBnd", "CapEff", "CapAmb"])
    };
    let none = "0000000000000000";
    let kill_and_raw = "0000000000002020";
    let all = status(&place, "", &["CapBnd"]);
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
    let place = Place::new();
    // A kernel's files, of which this one lacks cpu.max.
    let tree = "mount -t tmpfs none /sys/fs/cgroup; cd /sys/fs/cgroup; \
                mkdir -p a/b; : > cgroup.controllers; \
                for d in . a a/b; do : > $d/cgroup.procs; \
                : > $d/cgroup.subtree_control; : > $d/memory.max; \
                : > $d/pids.max; done;";
    let play = |tree: &str, rest: &str| {
        shell(&place, &format!("exec unshare -m sh -c '{tree} {rest}'"))
    };
    if !play("", ":").ends_with("= 0\n") {
        let why = "skipped: control groups: no mount name space\n";
        let _said = std::io::stderr().write_all(why.as_bytes());
        return;
    }
    let warning = |file: &str| {
        format!(
            "chpst: warning: cgroup a/b: goes on without {file}: \
             file does not exist\n"
        )
    };
    // A file of tmpfs keeps what a second, shorter text does not cover.
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
    // A real one.
    let [alone, beside] = ["", "/unified"]
        .map(|at| std::path::PathBuf::from(format!("/sys/fs/cgroup{at}")));
    let trees = [alone, beside];
    let here =
        |tree: &&std::path::PathBuf| tree.join("cgroup.controllers").exists();
    let Some(tree) = trees.iter().find(here) else {
        return;
    };
    let name = format!("runt-test-{}", std::process::id());
    let shown = shell(
        &place,
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
