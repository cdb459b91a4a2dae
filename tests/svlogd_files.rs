//! Tests svlogd's files: rotation, names, processors, durability.
#![allow(missing_docs, reason = "the names of the tests say it")]

#[path = "util/logger.rs"]
mod logger;
mod util;

use std::fs;

use logger::{Logger, all, bytes, current, feed, mode, olds, place};
use rustix::process::Signal;
use util::until;

/// Replaces each label, whose digits differ from moment to moment, by one
/// word.
fn masked(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('@') {
        let label = after.get(..24).unwrap_or("");
        let whole = label.bytes().all(|b| b.is_ascii_hexdigit());
        out.push_str(before);
        out.push_str(if whole && label.len() == 24 {
            "@L"
        } else {
            "@"
        });
        rest = if whole {
            after.get(24..).unwrap_or("")
        } else {
            after
        };
    }
    out + rest
}

#[test]
fn files_are_rotated_by_size_and_the_oldest_go() {
    let place = place("s100\nn3\n");
    let lines: String = (0..200).map(|i| format!("line {i:03}\n")).collect();
    let (errors, code) =
        feed(&place, &["-l20", "-b30", "log"], lines.as_bytes());
    assert_eq!((errors, code), (String::new(), 0));
    let olds = olds(&place, "log");
    assert_eq!(olds.len(), 3);
    for old in &olds {
        let name = format!("log/{old}");
        // Ends with the first line that leaves no room for another of 20
        // bytes.
        assert_eq!(bytes(&place, &name).len(), 81, "{old}");
        assert_eq!(mode(&place, &name), 0o744);
    }
    let kept = String::from_utf8(all(&place, "log")).unwrap();
    assert!(lines.ends_with(&kept));
    // Reduced to n at once, whichever program made them.
    for i in 0..20 {
        place.write(&format!("log/@400000000000000000000{i:03}.s"), "x");
    }
    let (_, code) = feed(&place, &["-l20", "-b30", "log"], lines.as_bytes());
    assert_eq!((code, self::olds(&place, "log").len()), (0, 3));
}

#[test]
fn a_directory_says_what_happens_to_it() {
    let place = place("s40\nn1\n");
    let lines = b"0123456789\n0123456789\n0123456789\n0123456789\n0123456789\n";
    let (errors, _) = feed(&place, &["-v", "-l10", "-b20", "log"], lines);
    let svlogd = place.path("bin/svlogd").display().to_string();
    let expected = "\
        X: info: read: log/config\n\
        X: info: new: log/current\n\
        X: info: rename: log/current @L.s 33\n\
        X: info: close: log\n";
    assert_eq!(masked(&errors).replace(&svlogd, "X"), expected);
    assert_eq!(mode(&place, "log/current"), 0o744);
    let (errors, _) = feed(&place, &["-v", "-l10", "-b20", "log"], lines);
    let expected = "\
        X: info: read: log/config\n\
        X: info: append: log/current\n\
        X: info: rename: log/current @L.s 33\n\
        X: info: delete: log/@L.s\n\
        X: info: rename: log/current @L.s 33\n\
        X: info: delete: log/@L.s\n\
        X: info: close: log\n";
    assert_eq!(masked(&errors).replace(&svlogd, "X"), expected);
}

#[test]
fn files_are_rotated_by_age_and_on_demand() {
    let place = place("t1\n");
    let mut logger = Logger::start(&place, &["log"]);
    logger.write(b"a\n");
    until("rotation by age", || {
        (olds(&place, "log").len() == 1).then_some(())
    });
    place.write("empty/config", "");
    place.write("other/config", "");
    let mut logger = Logger::start(&place, &["empty", "other"]);
    place.write("empty/config", "-*\n");
    logger.until_says("");
    until("both open", || {
        place.path("other/lock").exists().then_some(())
    });
    logger.kill(Signal::HUP);
    logger.write(b"a\n");
    until("the line", || {
        (place.read("other/current") == "a\n").then_some(())
    });
    logger.kill(Signal::ALARM);
    until("rotation", || {
        (olds(&place, "other").len() == 1).then_some(())
    });
    assert_eq!(place.read("other/current"), "");
    assert_eq!(logger.end(), 0);
}

#[test]
fn a_current_that_was_not_closed_is_put_aside() {
    let place = place("");
    let mut logger = Logger::start(&place, &["log"]);
    logger.write(b"a\n");
    until("a line", || (current(&place) == "a\n").then_some(()));
    assert_eq!(mode(&place, "log/current"), 0o644);
    logger.kill(Signal::KILL);
    logger.wait();
    let (errors, code) = feed(&place, &["log"], b"b\n");
    assert!(
        errors.contains("log/current was not closed in order"),
        "{errors}"
    );
    assert_eq!((code, current(&place)), (0, "b\n".into()));
    let [old] = &olds(&place, "log")[..] else {
        panic!("one old log")
    };
    assert!(old.ends_with(".u"));
    assert_eq!(bytes(&place, &format!("log/{old}")), b"a\n");
}

#[test]
fn no_name_is_older_than_the_newest() {
    let place = place("s10\nn2\n");
    let future = "@4fffffffffffffff3b9ac9ff.s";
    place.write(&format!("log/{future}"), "future");
    assert_eq!(
        feed(&place, &["-l4", "-b5", "log"], b"1234567\n1234567\n").1,
        0
    );
    let names = olds(&place, "log");
    assert_eq!(names.len(), 2);
    assert!(names[1] > names[0] && names[0].as_str() > future);
}

#[test]
fn a_processor_makes_the_old_logs() {
    let place = place("s20\n!read a; cat <&4; echo $a; echo more >&5\n");
    let input = b"first 8901234567\nsecond 901234567\nthird\n";
    let (errors, code) = feed(&place, &["-l4", "-b5", "log"], input);
    assert_eq!((errors.as_str(), code), ("", 0));
    let names = olds(&place, "log");
    let texts: Vec<_> = names
        .iter()
        .map(|name| place.read(&format!("log/{name}")))
        .collect();
    assert_eq!(texts, ["first 8901234567\n", "more\nsecond 901234567\n"]);
    assert!(names.iter().all(|name| name.ends_with(".s")));
    assert_eq!(mode(&place, &format!("log/{}", names[0])), 0o744);
    assert_eq!(
        (place.read("log/state"), current(&place)),
        ("more\n".into(), "third\n".into())
    );
    assert!(!place.path("log/newstate").exists());
}

#[test]
fn a_processor_is_waited_for_by_the_next_rotation_only() {
    let place = place("");
    let fifo = place.path("go");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU)
        .unwrap();
    let config = format!("s20\n!cat {} > /dev/null; cat\n", fifo.display());
    place.write("log/config", &config);
    let mut logger = Logger::start(&place, &["-v", "-l4", "-b5", "log"]);
    logger.write(b"1234567890123456\n");
    logger.until_says("processing:");
    // Input is still read, even after a HUP.
    logger.write(b"a\n");
    until("a", || (current(&place) == "a\n").then_some(()));
    logger.kill(Signal::HUP);
    logger.until_says("append:");
    logger.write(b"b\n");
    until("b", || (current(&place) == "a\nb\n").then_some(()));
    // Another rotation waits.
    logger.write(b"1234567890123456\nlast\n");
    until("the end of the file", || {
        (current(&place).len() == 20).then_some(())
    });
    assert_eq!(
        olds(&place, "log")
            .iter()
            .filter(|name| name.ends_with(".u"))
            .count(),
        1
    );
    fs::write(&fifo, "x").unwrap();
    until("the second one", || {
        (logger.errors().matches("processing:").count() == 2).then_some(())
    });
    fs::write(&fifo, "x").unwrap();
    assert_eq!(logger.end(), 0);
    let expected = b"1234567890123456\na\nb\n1234567890123456\nlast\n";
    assert_eq!(all(&place, "log"), expected);
    assert!(olds(&place, "log").iter().all(|name| name.ends_with(".s")));
    assert!(!logger.errors().contains("failed"), "{}", logger.errors());
}

#[test]
fn a_processor_that_fails_or_is_killed_is_tried_again() {
    let place = place(
        "s20\n!echo >> tries; test $(wc -l < tries) = 1 && exit 7; \
         test $(wc -l < tries) = 2 && kill -9 $$; cat\n",
    );
    let (errors, code) =
        feed(&place, &["-l4", "-b5", "log"], b"1234567890123456\n");
    assert_eq!(code, 0);
    assert_eq!(
        errors
            .matches("warning: processor failed, restart: log\n")
            .count(),
        2
    );
    assert_eq!(all(&place, "log"), b"1234567890123456\n");
    assert_eq!(olds(&place, "log").len(), 1);
}

#[test]
fn what_waits_for_a_processor_is_kept_and_taken_up() {
    let place = place("s20\nn1\n!test -e ready || exit 1; cat\n");
    let mut logger = Logger::start(&place, &["-l4", "-b5", "log"]);
    logger.write(b"1234567890123456\n");
    logger.until_says("processor failed, restart: log");
    logger.kill(Signal::TERM);
    logger.kill(Signal::TERM);
    until("the end", || {
        logger.kill(Signal::TERM);
        logger.child.try_wait().unwrap()
    });
    // Two more leftovers, more than n: a log that waits is never deleted.
    place.write("log/@400000000000000000000001.u", "one\n");
    place.write("log/@400000000000000000000002.u", "two\n");
    place.write("log/@400000000000000000000003.t", "unfinished");
    place.write("log/ready", "");
    place.write("log/config", "s20\nn5\n!test -e ready || exit 1; cat\n");
    assert_eq!(feed(&place, &["-l4", "-b5", "log"], b"last\n").1, 0);
    assert_eq!(all(&place, "log"), b"one\ntwo\n1234567890123456\nlast\n");
    assert!(olds(&place, "log").iter().all(|name| name.ends_with(".s")));
}

#[test]
fn f_brings_lines_onto_the_medium_in_time() {
    if std::process::Command::new("strace")
        .arg("-V")
        .output()
        .is_err()
    {
        eprintln!("skipped: there is no strace here");
        return;
    }
    let place = place("f1\n");
    let mut command = std::process::Command::new("strace");
    command.args(["-qq", "-e", "trace=fdatasync,write", "-o"]);
    command
        .arg(place.path("trace"))
        .arg(place.path("bin/svlogd"));
    command.arg("log").current_dir(&place.dir);
    let mut logger = Logger::spawn(&place, command);
    logger.write(b"a\n");
    until("fdatasync", || {
        place.read("trace").contains("fdatasync").then_some(())
    });
    drop(logger.child.stdin.take());
    logger.wait();
    let trace = place.read("trace");
    // Once for the written data, and not again without new data.
    assert_eq!(trace.matches("fdatasync").count(), 1, "{trace}");
}
