//! Tests `sv enable` and `sv disable`, with an overlay and without.

use std::{fs, os::unix::fs::symlink};

use crate::util::{TestDir, output_of, until};

#[test]
fn enable_and_disable_in_an_overlay() {
    let tmp = TestDir::new();
    for dir in ["services", "overlay"] {
        fs::create_dir(tmp.path(dir)).unwrap();
    }
    tmp.script("available/b/run", "exec sleep 1000");
    tmp.service("a", "exec sleep 1000");
    let row = |words: &[&str], out: &str, code: i32| {
        let mut command = tmp.command(&[&["sv"], words].concat());
        let output = output_of(
            command.env("RUNT_SERVICES_OVERLAY", tmp.path("overlay")),
        );
        assert_eq!(
            (output.stdout.as_str(), output.code),
            (out, code),
            "{words:?}"
        );
    };
    let leads = |entry: &str| {
        let path = tmp.path("overlay").join(entry);
        fs::read_link(path).ok().map(|to| to.display().to_string())
    };
    let b = tmp.path("available/b").display().to_string();
    row(&["enable", "a"], "ok: a: enabled already\n", 0);
    row(&["disable", "a"], "ok: a: disabled\n", 0);
    assert_eq!(leads("a").as_deref(), Some("/dev/null"));
    row(&["disable", "a"], "ok: a: disabled already\n", 0);
    // A masked service can still be queried.
    let hidden = "warning: a: unable to open supervise/ok: \
                  file does not exist\n";
    row(&["status", "a"], hidden, 1);
    row(&["enable", "a"], "ok: a: enabled\n", 0);
    assert_eq!(leads("a"), None);

    let word = "available/b";
    row(&["enable", word], "ok: available/b: enabled\n", 0);
    assert_eq!(leads("b"), Some(b));
    row(
        &["enable", &format!("{word}/")],
        "ok: available/b/: enabled already\n",
        0,
    );
    let new = "warning: b: unable to open supervise/ok: \
               file does not exist\n";
    row(&["status", "b"], new, 1);
    row(&["disable", "b"], "ok: b: disabled\n", 0);
    assert_eq!(leads("b"), None);
    row(&["disable", "b"], "ok: b: disabled already\n", 0);
    // A run that was interrupted has left its link.
    symlink("nowhere", tmp.path("overlay/.b.new")).unwrap();
    row(&["enable", word], "ok: available/b: enabled\n", 0);
    assert!(leads(".b.new").is_none());

    let none = "warning: none: unable to find it: file does not exist\n";
    row(&["enable", "none"], none, 1);
    let dot = "warning: .x: unable to use this name for a service\n";
    row(
        &["enable", ".x", "/"],
        &format!("{dot}{}", dot.replace(".x", "/")),
        2,
    );
    tmp.write("overlay/c/run", "");
    let real = "warning: c: unable to replace what is no link\n";
    row(&["disable", "c"], real, 1);
    row(&["enable", "c"], "ok: c: enabled already\n", 0);
    fs::remove_dir_all(tmp.path("overlay")).unwrap();
    let line = "warning: a: unable to open the directory to change: \
                file does not exist\n";
    row(&["disable", "a"], line, 1);
}

#[test]
fn enable_and_disable_without_an_overlay() {
    let tmp = TestDir::new();
    tmp.script("available/b/run", "exec sleep 1000");
    let _all = tmp.runsvdir();
    let output = tmp.run(&["sv", "enable", "available/b"]);
    assert_eq!(
        (output.stdout.as_str(), output.code),
        ("ok: available/b: enabled\n", 0)
    );
    tmp.until_stat("b", "run");
    let output = tmp.run(&["sv", "disable", "b"]);
    assert_eq!(
        (output.stdout.as_str(), output.code),
        ("ok: b: disabled\n", 0)
    );
    until("the end of b", || {
        let stat = tmp.read("available/b/supervise/stat");
        (stat == "down\n").then_some(())
    });
    tmp.service("a", "exec sleep 1000");
    let output = tmp.run(&["sv", "disable", "a"]);
    let real = "warning: a: unable to replace what is no link\n";
    assert_eq!((output.stdout.as_str(), output.code), (real, 1));
}
