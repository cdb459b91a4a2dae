//! Tests that chpst and its aliases switch to the requested users and groups
//! (contract §6).

use std::fs;

use crate::util::{
    TestDir,
    shell::{capacity, check_rows, is_root, shell, status},
};

#[test]
fn users_and_groups() {
    let tmp = TestDir::new();
    let unknown = |text: &str| {
        format!("chpst: fatal: unknown user/group: {text}\n= 111\n")
    };
    let invalid =
        |text: &str| format!("chpst: fatal: invalid uid/gids: {text}\n= 111\n");
    check_rows(
        &tmp,
        &[
            ("chpst -U root sh -c 'echo $UID $GID'", "0 0\n= 0\n"),
            ("chpst -U :7:8:9 sh -c 'echo $UID $GID'", "7 8\n= 0\n"),
            ("chpst -U :7: sh -c 'echo $UID $GID'", "7 0\n= 0\n"),
            ("envuidgid root sh -c 'echo $UID $GID'", "0 0\n= 0\n"),
            ("chpst -U nosuch true", &unknown("nosuch")),
            ("chpst -u nosuch true", &unknown("nosuch")),
            ("chpst -u root: true", &unknown("root:")),
            ("chpst -u root:nosuch true", &unknown("root:nosuch")),
            // Names are never read as numbers.
            ("chpst -u 0 true", &unknown("0")),
            ("chpst -u root:0 true", &unknown("root:0")),
            ("chpst -u '' true", &unknown("")),
            ("chpst -u :0 true", &invalid("0")),
            ("chpst -u :x:1 true", &invalid("x:1")),
            ("chpst -u :1:2x true", &invalid("1:2x")),
            ("chpst -u :-1:0 true", &invalid("-1:0")),
            // runit takes an empty user for root, which is never intended.
            ("chpst -u ::0 true", &invalid(":0")),
            (
                "setuidgid root:root true",
                "chpst: fatal: unknown account: root:root\n= 111\n",
            ),
            (
                "envuidgid :0:0 true",
                "chpst: fatal: unknown account: :0:0\n= 111\n",
            ),
        ],
    );
    let groups = capacity(&tmp, "groups");
    let more = groups + 1;
    let many = format!(
        "chpst: fatal: too many groups (the bound is {groups})\n= 111\n"
    );
    for names in [
        format!("g=$(seq -s: {more}); chpst -u :1:$g true"),
        format!(
            "g=$(yes root | head -{more} | paste -sd:); chpst -u root:$g true"
        ),
    ] {
        assert_eq!(shell(&tmp, &names), many, "{names}");
    }
    if !is_root("set_user and set_groups") {
        return;
    }
    let keys = ["Uid", "Gid", "Groups"];
    let who = |options: &str| status(&tmp, options, &keys);
    let four = |id: u32| format!("{id} {id} {id} {id}");
    let shown = |uid, gid, groups: &str| {
        format!("{} | {} | {groups}", four(uid), four(gid))
    };
    assert_eq!(who("-u :7:8:10:9"), shown(7, 8, "8 9 10"));
    assert_eq!(who("-u :7:8"), shown(7, 8, "8"));
    assert_eq!(who("-u :7:8:"), shown(7, 8, "0 8"));
    assert_eq!(who("-u nobody:adm:tty"), shown(65534, 4, "4 5"));
    let sixty: Vec<String> = (1..=groups).map(|g| g.to_string()).collect();
    let most = shown(9, 1, &sixty.join(" "));
    assert_eq!(who(&format!("-u :9:{}", sixty.join(":"))), most);
    check_rows(
        &tmp,
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
            // The lock belongs to the new user.
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
    let tmp = TestDir::new();
    let file = |name: &str, text: &[u8]| {
        tmp.write(name, "");
        fs::write(tmp.path(name), text).unwrap();
    };
    // Lines of any length are read.
    let long = format!("long:x:18:19:{}:\n", "y".repeat(900_000));
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
        format!(
            "a:x\na:x:\na:x:z:\na:x:21\na:x:22:\nb:x:23:{}web\nc:x:24:",
            "member,".repeat(100_000)
        )
        .as_bytes(),
    );
    fs::create_dir(tmp.path("root/bin")).unwrap();
    fs::copy(tmp.path("bin/runt"), tmp.path("root/bin/chpst")).unwrap();
    fs::hard_link(tmp.path("root/bin/chpst"), tmp.path("root/bin/setuidgid"))
        .unwrap();
    // No other program is there: the error about `nosuch` shows that the user
    // and groups were found.
    let ran = "chpst: fatal: unable to run: nosuch: file does not exist\n";
    check_rows(
        &tmp,
        &[
            ("chpst -/ root -u web nosuch", &format!("{ran}= 111\n")),
            ("chpst -/ root -u last nosuch", &format!("{ran}= 111\n")),
            ("chpst -/ root -u long nosuch", &format!("{ran}= 111\n")),
            ("chpst -/ root -u last:b:c nosuch", &format!("{ran}= 111\n")),
            (
                "chpst -/ root -u root nosuch",
                "chpst: fatal: unknown user/group: root\n= 111\n",
            ),
            (
                "rm root/etc/group; chpst -/ root -u web:a nosuch",
                "chpst: fatal: unable to get password/group file entry: \
                 file does not exist\n= 111\n",
            ),
            (
                "rm root/etc/passwd; chpst -/ root -u web nosuch",
                "chpst: fatal: unable to get password/group file entry: \
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

/// Runs `script` with the test directory's files as /etc/passwd and
/// /etc/group.
fn with_users(tmp: &TestDir, script: &str) -> String {
    let files = "mount --bind passwd /etc/passwd && \
                 mount --bind group /etc/group || exit 99";
    tmp.script("with_users", &format!("{files}\n{script}"));
    shell(tmp, "unshare -m ./with_users")
}

#[test]
fn init_groups() {
    if !is_root("initialize groups") {
        return;
    }
    let tmp = TestDir::new();
    let groups = capacity(&tmp, "groups");
    let others = "other,".repeat(20_000);
    tmp.write("passwd", "web:x:12:13::/:/bin/sh\nfull:x:14:15::/:\n");
    let mut text = format!(
        "web:x:13:\none:x:31:{others}web\ntwo:x:32:web,other\n\
         three:x:33:webs,we\nbad:x:z:web\nagain:x:31:web\n"
    );
    for gid in 0..groups {
        text.push_str(&format!("g{gid}:x:{}:full\n", 1000 + gid));
    }
    tmp.write("group", &text);
    let shown = |options: &str| {
        let status = "grep -E '^(Uid|Gid|Groups):' /proc/self/status";
        let text = with_users(&tmp, &format!("chpst {options} {status}"));
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    if shown("true").contains("= 99") {
        eprintln!("skipped, needs a mount name space: groups");
        return;
    }
    let ids = "Uid: 12 12 12 12 Gid: 13 13 13 13";
    assert_eq!(shown("-u web"), format!("{ids} Groups: 13 = 0"));
    assert_eq!(
        shown("--init-groups -u web"),
        format!("{ids} Groups: 13 31 32 = 0")
    );
    // Named groups are included, and the first of them is the group.
    assert_eq!(
        shown("-u web:three:two --init-groups"),
        "Uid: 12 12 12 12 Gid: 33 33 33 33 Groups: 31 32 33 = 0"
    );
    // $GID is the number of the group, as without the option.
    let id = "sh -c 'echo $UID $GID'";
    assert_eq!(
        with_users(&tmp, &format!("chpst --init-groups -u web -U web {id}")),
        "12 13\n= 0\n"
    );
    assert_eq!(
        with_users(&tmp, "chpst --init-groups -u full true"),
        format!(
            "chpst: fatal: too many groups (the bound is {groups})\n= 111\n"
        )
    );
    for wrong in ["", "-u :12:13", "-U web"] {
        let output = shell(&tmp, &format!("chpst --init-groups {wrong} true"));
        let what = "chpst: option requires the name of a user, -u -- \
                    init-groups\n";
        assert!(
            output.starts_with(what) && output.ends_with("= 100\n"),
            "{output}"
        );
    }
}
