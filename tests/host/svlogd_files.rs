//! Tests svlogd's files: rotation, names, processors, durability.

use std::fs;

use rustix::process::Signal;

use crate::util::{
    logger::{
        Logger, all_logs, current, feed, log_dir, mode, read_bytes, rotated,
    },
    until,
};

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
fn logs_are_rotated_by_size_and_the_oldest_removed() {
    let tmp = log_dir("s100\nn3\n");
    let lines: String = (0..200).map(|i| format!("line {i:03}\n")).collect();
    let (errors, code) = feed(&tmp, &["-l20", "-b30", "log"], lines.as_bytes());
    assert_eq!((errors, code), (String::new(), 0));
    let logs = rotated(&tmp, "log");
    assert_eq!(logs.len(), 3);
    for old in &logs {
        let name = format!("log/{old}");
        // Ends with the first line that leaves no room for another of 20
        // bytes.
        assert_eq!(read_bytes(&tmp, &name).len(), 81, "{old}");
        assert_eq!(mode(&tmp, &name), 0o744);
    }
    let kept = String::from_utf8(all_logs(&tmp, "log")).unwrap();
    assert!(lines.ends_with(&kept));
    // Reduced to n at once, whichever program made them.
    for i in 0..20 {
        tmp.write(&format!("log/@400000000000000000000{i:03}.s"), "x");
    }
    let (_, code) = feed(&tmp, &["-l20", "-b30", "log"], lines.as_bytes());
    assert_eq!((code, self::rotated(&tmp, "log").len()), (0, 3));
}

#[test]
fn verbose_messages() {
    let tmp = log_dir("s40\nn1\n");
    let lines = b"0123456789\n0123456789\n0123456789\n0123456789\n0123456789\n";
    let (errors, _) = feed(&tmp, &["-v", "-l10", "-b20", "log"], lines);
    let svlogd = tmp.path("bin/svlogd").display().to_string();
    let expected = "\
        X: info: read: log/config\n\
        X: info: new: log/current\n\
        X: info: rename: log/current @L.s 33\n\
        X: info: close: log\n";
    assert_eq!(masked(&errors).replace(&svlogd, "X"), expected);
    assert_eq!(mode(&tmp, "log/current"), 0o744);
    let (errors, _) = feed(&tmp, &["-v", "-l10", "-b20", "log"], lines);
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
fn logs_are_rotated_by_age_and_on_alarm() {
    let tmp = log_dir("t1\n");
    let mut logger = Logger::start(&tmp, &["log"]);
    logger.write(b"a\n");
    until("rotation by age", || {
        (rotated(&tmp, "log").len() == 1).then_some(())
    });
    tmp.write("empty/config", "");
    tmp.write("other/config", "");
    let mut logger = Logger::start(&tmp, &["empty", "other"]);
    tmp.write("empty/config", "-*\n");
    logger.until_printed("");
    until("both open", || {
        tmp.path("other/lock").exists().then_some(())
    });
    logger.kill(Signal::HUP);
    logger.write(b"a\n");
    until("the line", || {
        (tmp.read("other/current") == "a\n").then_some(())
    });
    logger.kill(Signal::ALARM);
    until("rotation", || {
        (rotated(&tmp, "other").len() == 1).then_some(())
    });
    assert_eq!(tmp.read("other/current"), "");
    assert_eq!(logger.end(), 0);
}

#[test]
fn an_unclosed_current_is_kept() {
    let tmp = log_dir("");
    let mut logger = Logger::start(&tmp, &["log"]);
    logger.write(b"a\n");
    until("a line", || (current(&tmp) == "a\n").then_some(()));
    assert_eq!(mode(&tmp, "log/current"), 0o644);
    logger.kill(Signal::KILL);
    logger.wait();
    let (errors, code) = feed(&tmp, &["log"], b"b\n");
    assert!(
        errors.contains("log/current was not closed in order"),
        "{errors}"
    );
    assert_eq!((code, current(&tmp)), (0, "b\n".into()));
    let [old] = &rotated(&tmp, "log")[..] else {
        panic!("one old log")
    };
    assert!(old.ends_with(".u"));
    assert_eq!(read_bytes(&tmp, &format!("log/{old}")), b"a\n");
}

#[test]
fn names_never_sort_before_existing_logs() {
    let tmp = log_dir("s10\nn2\n");
    let future = "@4fffffffffffffff3b9ac9ff.s";
    tmp.write(&format!("log/{future}"), "future");
    assert_eq!(
        feed(&tmp, &["-l4", "-b5", "log"], b"1234567\n1234567\n").1,
        0
    );
    let names = rotated(&tmp, "log");
    assert_eq!(names.len(), 2);
    assert!(names[1] > names[0] && names[0].as_str() > future);
}

#[test]
fn a_processor_transforms_rotated_logs() {
    let tmp = log_dir("s20\n!read a; cat <&4; echo $a; echo more >&5\n");
    let input = b"first 8901234567\nsecond 901234567\nthird\n";
    let (errors, code) = feed(&tmp, &["-l4", "-b5", "log"], input);
    assert_eq!((errors.as_str(), code), ("", 0));
    let names = rotated(&tmp, "log");
    let texts: Vec<_> = names
        .iter()
        .map(|name| tmp.read(&format!("log/{name}")))
        .collect();
    assert_eq!(texts, ["first 8901234567\n", "more\nsecond 901234567\n"]);
    assert!(names.iter().all(|name| name.ends_with(".s")));
    assert_eq!(mode(&tmp, &format!("log/{}", names[0])), 0o744);
    assert_eq!(
        (tmp.read("log/state"), current(&tmp)),
        ("more\n".into(), "third\n".into())
    );
    assert!(!tmp.path("log/newstate").exists());
}

#[test]
fn only_the_next_rotation_waits_for_a_processor() {
    let tmp = log_dir("");
    let fifo = tmp.path("go");
    rustix::fs::mkfifoat(rustix::fs::CWD, &fifo, rustix::fs::Mode::RWXU)
        .unwrap();
    let config = format!("s20\n!cat {} > /dev/null; cat\n", fifo.display());
    tmp.write("log/config", &config);
    let mut logger = Logger::start(&tmp, &["-v", "-l4", "-b5", "log"]);
    logger.write(b"1234567890123456\n");
    logger.until_printed("processing:");
    // Input is still read, even after a HUP.
    logger.write(b"a\n");
    until("a", || (current(&tmp) == "a\n").then_some(()));
    logger.kill(Signal::HUP);
    logger.until_printed("append:");
    logger.write(b"b\n");
    until("b", || (current(&tmp) == "a\nb\n").then_some(()));
    // Another rotation waits.
    logger.write(b"1234567890123456\nlast\n");
    until("the end of the file", || {
        (current(&tmp).len() == 20).then_some(())
    });
    assert_eq!(
        rotated(&tmp, "log")
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
    assert_eq!(all_logs(&tmp, "log"), expected);
    assert!(rotated(&tmp, "log").iter().all(|name| name.ends_with(".s")));
    assert!(!logger.errors().contains("failed"), "{}", logger.errors());
}

#[test]
fn a_failed_or_killed_processor_is_retried() {
    let tmp = log_dir(
        "s20\n!echo >> tries; test $(wc -l < tries) = 1 && exit 7; \
         test $(wc -l < tries) = 2 && kill -9 $$; cat\n",
    );
    let (errors, code) =
        feed(&tmp, &["-l4", "-b5", "log"], b"1234567890123456\n");
    assert_eq!(code, 0);
    assert_eq!(
        errors
            .matches("warning: processor failed, restart: log\n")
            .count(),
        2
    );
    assert_eq!(all_logs(&tmp, "log"), b"1234567890123456\n");
    assert_eq!(rotated(&tmp, "log").len(), 1);
}

#[test]
fn unprocessed_logs_are_kept_and_resumed() {
    let tmp = log_dir("s20\nn1\n!test -e ready || exit 1; cat\n");
    let mut logger = Logger::start(&tmp, &["-l4", "-b5", "log"]);
    logger.write(b"1234567890123456\n");
    logger.until_printed("processor failed, restart: log");
    logger.kill(Signal::TERM);
    logger.kill(Signal::TERM);
    until("the end", || {
        logger.kill(Signal::TERM);
        logger.child.try_wait().unwrap()
    });
    // Two more leftovers, more than n: a log that waits is never deleted.
    tmp.write("log/@400000000000000000000001.u", "one\n");
    tmp.write("log/@400000000000000000000002.u", "two\n");
    tmp.write("log/@400000000000000000000003.t", "unfinished");
    tmp.write("log/ready", "");
    tmp.write("log/config", "s20\nn5\n!test -e ready || exit 1; cat\n");
    assert_eq!(feed(&tmp, &["-l4", "-b5", "log"], b"last\n").1, 0);
    assert_eq!(all_logs(&tmp, "log"), b"one\ntwo\n1234567890123456\nlast\n");
    assert!(rotated(&tmp, "log").iter().all(|name| name.ends_with(".s")));
}

#[test]
fn f_flushes_lines_in_time() {
    if std::process::Command::new("strace")
        .arg("-V")
        .output()
        .is_err()
    {
        eprintln!("skipped: there is no strace here");
        return;
    }
    let tmp = log_dir("f1\n");
    let mut command = std::process::Command::new("strace");
    command.args(["-qq", "-e", "trace=fdatasync,write", "-o"]);
    command.arg(tmp.path("trace")).arg(tmp.path("bin/svlogd"));
    command.arg("log").current_dir(&tmp.dir);
    let mut logger = Logger::spawn(&tmp, command);
    logger.write(b"a\n");
    until("fdatasync", || {
        tmp.read("trace").contains("fdatasync").then_some(())
    });
    drop(logger.child.stdin.take());
    logger.wait();
    let trace = tmp.read("trace");
    // Once for the written data, and not again without new data.
    assert_eq!(trace.matches("fdatasync").count(), 1, "{trace}");
}
