//! Tests `sv enable` and `sv disable`, with an overlay and without.
#![allow(missing_docs, reason = "the names of the tests say it")]

mod util;

use std::{fs, os::unix::fs::symlink};

use util::{Place, said, until};

#[test]
fn enable_and_disable_in_an_overlay() {
    let place = Place::new();
    for dir in ["services", "overlay"] {
        fs::create_dir(place.path(dir)).unwrap();
    }
    place.script("available/b/run", "exec sleep 1000");
    place.service("a", "exec sleep 1000");
    let row = |words: &[&str], out: &str, code: i32| {
        let mut command = place.command(&[&["sv"], words].concat());
        let said =
            said(command.env("RUNT_SERVICES_OVERLAY", place.path("overlay")));
        assert_eq!((said.out.as_str(), said.code), (out, code), "{words:?}");
    };
    let leads = |entry: &str| {
        let path = place.path("overlay").join(entry);
        fs::read_link(path).ok().map(|to| to.display().to_string())
    };
    let b = place.path("available/b").display().to_string();
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
    symlink("nowhere", place.path("overlay/.b.new")).unwrap();
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
    place.write("overlay/c/run", "");
    let real = "warning: c: unable to replace what is no link\n";
    row(&["disable", "c"], real, 1);
    row(&["enable", "c"], "ok: c: enabled already\n", 0);
    fs::remove_dir_all(place.path("overlay")).unwrap();
    let line = "warning: a: unable to open the directory to change: \
                file does not exist\n";
    row(&["disable", "a"], line, 1);
}

#[test]
fn enable_and_disable_without_an_overlay() {
    let place = Place::new();
    place.script("available/b/run", "exec sleep 1000");
    let _all = place.runsvdir();
    let said = place.run(&["sv", "enable", "available/b"]);
    assert_eq!(
        (said.out.as_str(), said.code),
        ("ok: available/b: enabled\n", 0)
    );
    place.until_stat("b", "run");
    let said = place.run(&["sv", "disable", "b"]);
    assert_eq!((said.out.as_str(), said.code), ("ok: b: disabled\n", 0));
    until("the end of b", || {
        let stat = place.read("available/b/supervise/stat");
        (stat == "down\n").then_some(())
    });
    place.service("a", "exec sleep 1000");
    let said = place.run(&["sv", "disable", "a"]);
    let real = "warning: a: unable to replace what is no link\n";
    assert_eq!((said.out.as_str(), said.code), (real, 1));
}
