//! Tests that svlogd treats lines, files and signals as its manual says.

use std::{fs, net::UdpSocket, time::Duration};

use rustix::process::Signal;

use crate::util::{
    self,
    logger::{self, Logger, current, feed, log_dir, mode, read_bytes},
    uninterrupted, until,
};

#[test]
fn stamps() {
    let tmp = log_dir("");
    for (option, shape) in [
        ("-t", "@xxxxxxxxxxxxxxxxxxxxxxxx a"),
        ("-tt", "0000-00-00_00:00:00.00000 a"),
        ("-ttt", "0000-00-00T00:00:00.00000 a"),
        ("-tttt", "0000-00-00T00:00:00.00000 a"),
    ] {
        let _old = fs::remove_file(tmp.path("log/current"));
        assert_eq!(feed(&tmp, &[option, "log"], b"a\na\n").1, 0);
        let text = current(&tmp);
        let found: Vec<String> = text
            .lines()
            .map(|line| {
                let (stamp, rest) = line.split_at(25);
                let shaped = |c: char| match option {
                    "-t" if c.is_ascii_hexdigit() => 'x',
                    "-t" => c,
                    _ if c.is_ascii_digit() => '0',
                    _ => c,
                };
                let stamp: String = stamp.chars().map(shaped).collect();
                stamp + rest
            })
            .collect();
        assert_eq!(found, [shape, shape], "{option}");
        let lines: Vec<&str> = text.lines().collect();
        if option == "-t" {
            assert!(lines[0] < lines[1], "labels of one read differ");
        }
    }
}

#[test]
fn unprintable_bytes_are_replaced() {
    let tmp = log_dir("");
    let rows: [(&[&str], &[u8]); 4] = [
        (&["-r", "X", "log"], b"aXb~X\n"),
        (&["-R", "b~", "log"], b"a____\n"),
        (&["-rX", "-Rb", "log"], b"aXX~X\n"),
        (&["-rX", "-l3", "-b9", "log"], b"aXb~\x80\n"),
    ];
    for (words, expected) in rows {
        let _old = fs::remove_file(tmp.path("log/current"));
        assert_eq!(feed(&tmp, words, b"a\x07b~\x80\n"), (String::new(), 0));
        assert_eq!(read_bytes(&tmp, "log/current"), expected, "{words:?}");
    }
}

#[test]
fn wrong_command_lines() {
    let tmp = log_dir("");
    let svlogd = tmp.path("bin/svlogd").display().to_string();
    let usage = format!(
        "usage: {svlogd} [-ttv] [-r c] [-R abc] [-l len] [-b buflen] dir ...\n\n"
    );
    for (words, before) in [
        (&[][..], ""),
        (&["-r", "xy", "log"], ""),
        (&["-b", "1000", "log"], ""),
        (&["-x", "log"], "svlogd: illegal option -- x\n"),
        (&["-l"], "svlogd: option requires an argument -- l\n"),
    ] {
        let (errors, code) = feed(&tmp, words, b"");
        assert_eq!((errors, code), (format!("{before}{usage}"), 111));
    }
    let (errors, code) = feed(&tmp, &["none", "neither"], b"a\n");
    let expected = format!(
        "{svlogd}: warning: unable to open log directory: none: file does not exist\n\
         {svlogd}: warning: unable to open log directory: neither: file does not exist\n\
         {svlogd}: fatal: no functional log directories.\n"
    );
    assert_eq!((errors, code), (expected, 111));
}

#[test]
fn patterns_select_lines() {
    let tmp = log_dir("pX: \n-*\n+*: a*\nE*\ne*b\n");
    let input = b"1: a\n2: b\n3: ab\nc\n";
    let (errors, code) = feed(&tmp, &["log"], input);
    assert_eq!((errors.as_str(), code), ("X: 2: b\nX: 3: ab\n", 0));
    assert_eq!(current(&tmp), "X: 1: a\nX: 3: ab\n");
    // Only the first bytes are matched. A longer line is cut there on
    // descriptor 2, not in the log.
    let long = b"abcdefghij\n";
    tmp.write("log/config", "-*\n+abcd\neabcd\n");
    fs::remove_file(tmp.path("log/current")).unwrap();
    let (errors, _) = feed(&tmp, &["-l4", "-b5", "log"], long);
    assert_eq!(
        (errors.as_str(), current(&tmp)),
        ("abcd...\n", "abcdefghij\n".into())
    );
}

#[test]
fn lines_are_sent_by_udp() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let receive = || {
        let mut buffer = [0; 2000];
        let length = uninterrupted(|| socket.recv(&mut buffer)).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let to = socket.local_addr().unwrap();
    let tmp = log_dir(&format!("u{to}\npX: \n-b\n"));
    assert_eq!(feed(&tmp, &["-l3", "-b9", "log"], b"a\nb\nabcd\n").1, 0);
    assert_eq!(
        (receive(), receive()),
        ("X: a\n".into(), "X: abc...\n".into())
    );
    assert_eq!(current(&tmp), "X: a\nX: abcd\n");
    tmp.write("log/config", &format!("U{to}\n"));
    fs::remove_file(tmp.path("log/current")).unwrap();
    assert_eq!(feed(&tmp, &["log"], b"a\n").1, 0);
    assert_eq!((receive(), current(&tmp)), ("a\n".into(), String::new()));
    // Sending there is not permitted: the line is logged.
    tmp.write("log/config", "pX: \nU255.255.255.255:9\n");
    fs::remove_file(tmp.path("log/current")).unwrap();
    assert_eq!(feed(&tmp, &["log"], b"a\n").1, 0);
    assert_eq!(
        current(&tmp),
        "warning: failure sending through udp: X: a\n"
    );
}

#[test]
fn lines_are_sent_over_ipv6() {
    let Ok(socket) = UdpSocket::bind("[::1]:0") else {
        return util::skip("there is no IPv6 here");
    };
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let to = socket.local_addr().unwrap();
    let tmp = log_dir(&format!("u{to}\n"));
    tmp.write("other/config", "u::1\nu[::1\n");
    let (errors, code) = feed(&tmp, &["log", "other"], b"a\n");
    assert!(
        errors.ends_with("unable to scan ip address: [::1\n"),
        "{errors}"
    );
    let mut buffer = [0; 10];
    let length = uninterrupted(|| socket.recv(&mut buffer)).unwrap();
    assert_eq!((&buffer[..length], code), (&b"a\n"[..], 0));
    assert_eq!(current(&tmp), "a\n");
}

#[test]
fn mode_and_group_of_logs() {
    let tmp = log_dir("s20\nm640\n!cat >&5; cat state\n");
    let mut logger = Logger::start(&tmp, &["-l4", "-b5", "log"]);
    logger.write(b"a\n");
    until("a line", || (current(&tmp) == "a\n").then_some(()));
    assert_eq!(mode(&tmp, "log/current"), 0o640);
    logger.write(b"1234567890123456\n");
    let old = until("a processed log", || {
        let mut logs = logger::rotated(&tmp, "log").into_iter();
        logs.find(|name| name.ends_with(".s"))
    });
    logger.write(b"b\n");
    assert_eq!(logger.end(), 0);
    assert_eq!(mode(&tmp, &format!("log/{old}")), 0o740);
    assert_eq!(mode(&tmp, "log/current"), 0o740);
    assert_eq!(mode(&tmp, "log/state"), 0o640);
    // It was closed in order: the next svlogd continues it.
    assert_eq!(feed(&tmp, &["log"], b"c\n"), (String::new(), 0));
    assert!(current(&tmp).ends_with("c\n"));
    // The group, by number and by name.
    tmp.write("log/config", "gno:such\n");
    let (errors, _) = feed(&tmp, &["log"], b"d\n");
    assert!(
        errors.ends_with("log/config: unknown group: no:such\n"),
        "{errors}"
    );
    if !rustix::process::geteuid().is_root() {
        return util::skip("only root gives files to any group");
    }
    use std::os::unix::fs::MetadataExt as _;
    let group = || fs::metadata(tmp.path("log/current")).unwrap().gid();
    for (line, expected) in [("g4321\n", 4321), ("groot\n", 0)] {
        tmp.write("log/config", line);
        assert_eq!(feed(&tmp, &["log"], b"e\n"), (String::new(), 0));
        assert_eq!((group(), mode(&tmp, "log/current")), (expected, 0o744));
    }
}

#[test]
fn a_directory_without_write_permission() {
    if !rustix::process::geteuid().is_root() {
        return util::skip("only root becomes another user");
    }
    use std::os::unix::fs::PermissionsExt as _;
    let tmp = log_dir("");
    let open = |name: &str, mode| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(tmp.path(name), mode).unwrap();
    };
    open("", 0o755);
    open("log", 0o444);
    let mut command = tmp.command(&["chpst", "-u", ":65534:65534"]);
    command.arg(tmp.path("bin/svlogd")).args(["-v", "log"]);
    let mut logger = Logger::spawn(&tmp, command);
    assert_eq!(logger.end(), 111);
    let svlogd = tmp.path("bin/svlogd").display().to_string();
    let expected = "\
        X: warning: unable to lock directory: log: access denied\n\
        X: fatal: no functional log directories.\n";
    assert_eq!(logger.errors().replace(&svlogd, "X"), expected);
}

#[test]
fn a_newline_is_appended_to_the_last_line() {
    let tmp = log_dir("");
    assert_eq!(feed(&tmp, &["log"], b"a\nb").1, 0);
    assert_eq!(feed(&tmp, &["log"], b"\0").1, 0);
    assert_eq!(feed(&tmp, &["log"], &[b'x'; 70_000]).1, 0);
    let text = read_bytes(&tmp, "log/current");
    assert!(text.starts_with(b"a\nb\n\0\nxxx") && text.ends_with(b"xx\n"));
    assert_eq!(text.len(), 70_007);
}

#[test]
fn term_loses_nothing_and_leaves_unread_input() {
    let tmp = log_dir("");
    for round in 0..20 {
        // The open line is completed; later input is not read.
        let mut logger = Logger::start(&tmp, &["log"]);
        let head = format!("{round} whole\n{round} op");
        logger.write(head.as_bytes());
        until("a line", || {
            current(&tmp)
                .contains(&format!("{round} whole"))
                .then_some(())
        });
        logger.kill(Signal::TERM);
        logger.write(b"en\n");
        assert_eq!(logger.wait(), 0);
        let text = current(&tmp);
        assert!(text.ends_with(&format!("{round} whole\n{round} open\n")));
        assert_eq!(mode(&tmp, "log/current"), 0o744);
    }
    // A second TERM does not wait for the rest of the line.
    let mut logger = Logger::start(&tmp, &["-v", "log"]);
    logger.write(b"whole\nop");
    until("a line", || {
        current(&tmp).ends_with("whole\n").then_some(())
    });
    logger.kill(Signal::TERM);
    logger.until_printed("sigterm received.");
    logger.kill(Signal::TERM);
    assert_eq!(logger.wait(), 0);
    assert!(current(&tmp).ends_with("whole\nop\n"));
}

#[test]
fn hup_rereads_the_config() {
    let tmp = log_dir("pone \n");
    let mut logger = Logger::start(&tmp, &["-v", "log", "later"]);
    logger.write(b"a\n");
    until("one", || (current(&tmp) == "one a\n").then_some(()));
    tmp.write("log/config", "ptwo \n");
    tmp.write("later/config", "");
    logger.kill(Signal::HUP);
    logger.until_printed("new: later/current");
    logger.write(b"b\n");
    until("two", || (current(&tmp) == "one a\ntwo b\n").then_some(()));
    assert_eq!(tmp.read("later/current"), "b\n");
    // A config that cannot be read leaves the previous one in force.
    fs::remove_file(tmp.path("log/config")).unwrap();
    fs::create_dir(tmp.path("log/config")).unwrap();
    logger.kill(Signal::HUP);
    logger.until_printed("unable to read config: log: is a directory");
    logger.write(b"c\n");
    assert_eq!(logger.end(), 0);
    assert!(current(&tmp).ends_with("two c\n"));
    // No directory is left to log to.
    let mut logger = Logger::start(&tmp, &["-v", "later"]);
    logger.until_printed("append: later/current");
    fs::rename(tmp.path("later"), tmp.path("gone")).unwrap();
    logger.kill(Signal::HUP);
    assert_eq!(logger.wait(), 111);
    assert!(
        logger
            .errors()
            .contains("fatal: no functional log directories.")
    );
}

#[test]
fn a_directory_is_locked() {
    let tmp = log_dir("");
    let mut first = Logger::start(&tmp, &["log"]);
    first.write(b"a\n");
    until("a line", || (current(&tmp) == "a\n").then_some(()));
    tmp.write("other/config", "");
    let (errors, code) = feed(&tmp, &["log", "other"], b"b\n");
    assert!(
        errors.contains(": unable to lock directory: log: temporary failure\n")
    );
    assert_eq!((code, tmp.read("other/current")), (0, "b\n".into()));
    assert_eq!((first.end(), current(&tmp)), (0, "a\n".into()));
}
