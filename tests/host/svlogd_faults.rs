//! Tests that svlogd keeps its input when lines, configs, directories or file
//! modes are unusual or invalid.

use std::{fs, os::unix::fs::PermissionsExt as _};

use rustix::process::Signal;

use crate::util::{
    logger::{Logger, Random, all_logs, feed, log_dir, read_bytes, rotated},
    shell::capacity,
    until,
};

#[test]
fn arbitrary_bytes_in_arbitrary_chunks() {
    let mut random = Random(7);
    let mut input: Vec<u8> = (0..=255).collect();
    input.extend((0..60_000).map(|_| match random.below(40) {
        0 => b'\n',
        _ => u8::try_from(random.below(256)).unwrap(),
    }));
    input.push(b'\n');
    let tmp = log_dir("s5000\nn0\n");
    assert_eq!(feed(&tmp, &["log"], &input).1, 0);
    assert_eq!(all_logs(&tmp, "log"), input);
    // With every setting that inspects lines: the result does not depend on
    // how the input is split.
    let config = "s5000\nn0\npX\n-*\n+*a*\n+*b*\n-+ab\n";
    let mut expected = Vec::new();
    for round in 0..8 {
        let name = format!("log{round}");
        tmp.write(&format!("{name}/config"), config);
        let words = ["-r", "_", "-l", "30", "-b", "31", &name];
        let mut logger = Logger::start(&tmp, &words);
        let mut rest = &input[..];
        while !rest.is_empty() {
            let most = if round == 0 { 1 << 20 } else { 300 };
            let count = 1 + random.below(most);
            let count = usize::try_from(count).unwrap().min(rest.len());
            logger.write(&rest[..count]);
            rest = &rest[count..];
        }
        assert_eq!(logger.end(), 0);
        let found = all_logs(&tmp, &name);
        if round == 0 {
            assert!(!found.is_empty() && found.len() < input.len());
            expected = found;
        } else {
            assert!(found == expected, "round {round}");
        }
    }
}

#[test]
fn a_line_of_100_megabytes() {
    let tmp = log_dir("s9m\nn20\n-*\n+x*\n");
    let mut logger = Logger::start(&tmp, &["-t", "log"]);
    let block = [b'x'; 100_000];
    for _ in 0..1000 {
        logger.write(&block);
    }
    logger.write(b"\nxend\n");
    assert_eq!(logger.end(), 0);
    let mut count = 0;
    for name in rotated(&tmp, "log").into_iter().chain(["current".into()]) {
        let bytes = read_bytes(&tmp, &format!("log/{name}"));
        assert!(bytes.len() <= 9 << 20);
        count += bytes.iter().filter(|byte| **byte == b'x').count();
    }
    assert_eq!(count, 100_000_001);
}

#[test]
fn one_byte_writes() {
    let tmp = log_dir("");
    let input: Vec<u8> = (0..64_000_u32)
        .map(|i| if i % 7 == 6 { b'\n' } else { b'a' })
        .collect();
    let mut logger = Logger::start(&tmp, &["log"]);
    for byte in &input {
        logger.write(&[*byte]);
    }
    assert_eq!(logger.end(), 0);
    let mut found = all_logs(&tmp, "log");
    assert_eq!(found.pop(), Some(b'\n'));
    assert!(found == input);
}

#[test]
fn a_config_with_invalid_lines() {
    let tmp = log_dir(
        "Z odd\n s5\nsx\nn99999999999999999999\nt1y\nu1.2.3\nu1.2.3.4:0\npok \np",
    );
    let (errors, code) = feed(&tmp, &["log"], b"a\n");
    let svlogd = tmp.path("bin/svlogd").display().to_string();
    let expected = "\
        X: warning: log/config: unknown line: Z odd\n\
        X: warning: log/config: unknown line:  s5\n\
        X: warning: log/config: odd number: sx\n\
        X: warning: log/config: odd number: t1y\n\
        X: warning: unable to scan ip address: 1.2.3\n\
        X: warning: unable to scan port number: 0\n";
    assert_eq!((errors.replace(&svlogd, "X").as_str(), code), (expected, 0));
    assert_eq!(tmp.read("log/current"), "ok a\n");
}

#[test]
fn a_config_with_a_million_patterns() {
    let mut config = String::from("-*\n+keep*\n");
    for i in 0..1_000_000 {
        config.push_str(&format!("+no{i}\n"));
    }
    let tmp = log_dir(&config);
    let (errors, code) = feed(&tmp, &["log"], b"keep 1\nno1\nno999999\n");
    // It would lose lines: that is detected before the first one is read.
    assert!(errors.contains("log/config: too long (file-bytes: the bound is "));
    assert_eq!((code, tmp.path("log/current").exists()), (111, false));
    // On HUP the previous config stays in force.
    tmp.write("log/config", "p1 \n");
    let mut logger = Logger::start(&tmp, &["log"]);
    logger.write(b"a\n");
    until("a line", || {
        (tmp.read("log/current") == "1 a\n").then_some(())
    });
    tmp.write("log/config", &config);
    logger.kill(Signal::HUP);
    logger.until_printed("log/config: too long (file-bytes: the bound is ");
    logger.write(b"b\n");
    assert_eq!(logger.end(), 0);
    assert_eq!(tmp.read("log/current"), "1 a\n1 b\n");
}

#[test]
fn exceeded_bounds_are_refused_at_start() {
    let tmp = log_dir("");
    let names = |count| -> Vec<String> {
        let names = (0..count).map(|number| format!("d{number}"));
        names
            .inspect(|name| tmp.write(&format!("{name}/config"), ""))
            .collect()
    };
    let dirs = capacity(&tmp, "log-dirs");
    let all = names(dirs + 1);
    let words: Vec<&str> = all.iter().map(String::as_str).collect();
    let (errors, code) = feed(&tmp, &words, b"a\n");
    let output = format!(
        "fatal: too many log directories: d{dirs} (log-dirs: the bound is {dirs})\n"
    );
    assert!(errors.ends_with(&output) && code == 111, "{errors}");
    assert!(!tmp.path("d0/current").exists());
    // As many as the bound: each has every line.
    assert_eq!(feed(&tmp, &words[..dirs], b"a\n"), (String::new(), 0));
    assert_eq!(tmp.read("d0/current"), "a\n");
    assert_eq!(tmp.read(&format!("d{}/current", dirs - 1)), "a\n");
    let line = capacity(&tmp, "log-line-bytes");
    let (length, more) = ((line + 1).to_string(), (line + 2).to_string());
    let (errors, code) = feed(&tmp, &["-l", &length, "-b", &more, "d0"], b"");
    let output =
        format!("-l is too long (log-line-bytes: the bound is {line})\n");
    assert!(errors.ends_with(&output) && code == 111, "{errors}");
}

#[test]
fn invalid_directories() {
    let tmp = log_dir("");
    tmp.write("file", "");
    tmp.write("closed/current/not", "");
    let words = ["file", "missing", "closed", "log"];
    let (errors, code) = feed(&tmp, &words, b"a\n");
    let svlogd = tmp.path("bin/svlogd").display().to_string();
    let expected = "\
        X: warning: unable to change directory: file: not a directory\n\
        X: warning: unable to open log directory: missing: file does not exist\n\
        X: warning: unable to open current: closed: is a directory\n";
    assert_eq!((errors.replace(&svlogd, "X").as_str(), code), (expected, 0));
    assert_eq!(tmp.read("log/current"), "a\n");
}

#[test]
fn modes_that_cannot_be_set() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root has files that others own");
        return;
    }
    let tmp = log_dir("");
    let open = |name: &str, mode| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(tmp.path(name), mode).unwrap();
    };
    tmp.write("log/current", "");
    open("log/current", 0o666);
    open("log", 0o777);
    open("", 0o755);
    let chpst = tmp.path("bin/chpst");
    let mut command = tmp.command(&["chpst"]);
    let svlogd = tmp.path("bin/svlogd");
    command.arg("-u").arg(":65534:65534").arg(svlogd).arg("log");
    assert!(chpst.exists());
    let mut logger = Logger::spawn(&tmp, command);
    logger.write(b"a\n");
    assert_eq!((logger.end(), tmp.read("log/current").as_str()), (0, "a\n"));
    let errors = logger.errors();
    let output = "unable to set mode of current: log: permission denied\n";
    assert!(
        errors.ends_with(output) && errors.lines().count() == 1,
        "{errors}"
    );
}
