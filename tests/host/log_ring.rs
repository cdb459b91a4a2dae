//! Tests log rings: what they keep, how `sv log` shows them, and what a service
//! that has one also prints on the console.

use std::fs;

use crate::util::{TestDir, until};

#[test]
fn a_ring_keeps_the_newest_lines() {
    let tmp = TestDir::new();
    tmp.write("services/a/runt/log-ring", "4000\n");
    tmp.service("a", "seq 100000; printf open; exec sleep 1000");
    tmp.service("none", "exec sleep 1000");
    tmp.write("services/odd/runt/log-ring", "much\n");
    tmp.service("odd", "exec sleep 1000");
    let all = tmp.runsvdir();
    let last = |out: &str| out.lines().last().map(String::from);
    let output = until("the last line", || {
        let output = tmp.run(&["sv", "log", "a"]);
        (last(&output.stdout).as_deref() == Some("100000")).then_some(output)
    });
    let expected: String =
        (99_000..=100_000).map(|i| format!("{i}\n")).collect();
    assert!(expected.ends_with(&output.stdout), "{}", output.stdout);
    assert!(
        (3993..=4000).contains(&output.stdout.len()),
        "{}",
        output.stdout.len()
    );
    assert_eq!((output.stderr.as_str(), output.code), ("", 0));
    let output = tmp.run(&["sv", "log", "none"]);
    let line = "warning: none: unable to read log ring (see also log/): \
                file does not exist\n";
    assert_eq!((output.stdout.as_str(), output.code), (line, 1));
    let errors = tmp.read("errors");
    let line = "runsv odd: warning: ./runt/log-ring: not a number of bytes.\n";
    assert_eq!(errors, line);
    // The ring outlives the supervisor, and the next one continues it.
    drop(all);
    let output = tmp.run(&["sv", "log", "a"]);
    assert_eq!(last(&output.stdout).as_deref(), Some("open"));
    tmp.service("a", "echo next; exec sleep 1000");
    let _all = tmp.runsvdir();
    until("the next life's line", || {
        let out = tmp.run(&["sv", "log", "a"]).stdout;
        out.ends_with("100000\nopen\nnext\n").then_some(())
    });
}

#[test]
fn log_console_is_rate_limited_and_never_blocks() {
    let tmp = TestDir::new();
    let console = tmp.path("console");
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    let kind = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, &console, kind, mode, 0).unwrap();
    let reader = fs::OpenOptions::new().read(true).write(true).open(&console);
    let mut reader = reader.unwrap();
    for (name, text) in [("a", "\n"), ("none", "/nowhere\n")] {
        tmp.write(&format!("services/{name}/runt/log-ring"), "100000\n");
        tmp.write(&format!("services/{name}/runt/log-console"), text);
    }
    tmp.write("services/a/runt/log-console", "../../console\n");
    // A flood that ends when the console has been full for long.
    let flood = "printf 'one\\033\\n'; \
                 while [ ! -e ../../stop ]; do seq 20000; done; \
                 echo end; while [ ! -e ../../more ]; do sleep 0.02; done; \
                 echo more; exec sleep 1000";
    tmp.service("a", flood);
    tmp.service("none", "echo one; exec sleep 1000");
    let _all = tmp.runsvdir();
    let ring = |line: &str| {
        until(line, || {
            let out = tmp.run(&["sv", "log", "a"]).stdout;
            (out.lines().last() == Some(line)).then_some(())
        });
    };
    // The console is full and not read: everything continues.
    rustix::io::ioctl_fionbio(&reader, true).unwrap();
    use std::io::{Read as _, Write as _};
    let mut text = Vec::new();
    until("two counts", || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = reader.read(&mut bytes) {
            text.extend_from_slice(&bytes[..count]);
        }
        let output = String::from_utf8_lossy(&text);
        (output.matches("left out").count() >= 2).then_some(())
    });
    while reader.write(&[b'x'; 4096]).is_ok() {}
    while reader.write(b"x").is_ok() {}
    let before = tmp.run(&["sv", "log", "a"]).stdout;
    until("more in the ring", || {
        (tmp.run(&["sv", "log", "a"]).stdout != before).then_some(())
    });
    tmp.write("stop", "");
    ring("end");
    // The number of all omitted lines is shown once the console is read again.
    let mut bytes = [0; 65_536];
    let mut rest = Vec::new();
    until("the last count", || {
        while let Ok(count @ 1..) = reader.read(&mut bytes) {
            let output = bytes[..count].iter().filter(|byte| **byte != b'x');
            rest.extend(output.copied());
        }
        rest.ends_with(b" lines left out, see `sv log a`\n")
            .then_some(())
    });
    tmp.write("more", "");
    until("a line more", || {
        while let Ok(count @ 1..) = reader.read(&mut bytes) {
            rest.extend_from_slice(&bytes[..count]);
        }
        rest.ends_with(b"a: more\n").then_some(())
    });
    let text = String::from_utf8([text, rest].concat()).unwrap();
    assert!(text.starts_with("a: one?\na: 1\na: 2\n"), "{text}");
    assert!(text.lines().all(|line| line.starts_with("a: ")), "{text}");
    // At most 1024 bytes between two counts.
    for part in text.split("left out") {
        assert!(part.len() <= 1200, "{}: {part}", part.len());
    }
    let errors = tmp.read("errors");
    let line = "svlogger none: warning: unable to show lines: \
                runt/log-console: file does not exist\n";
    assert_eq!(errors, line);
}

#[test]
fn log_f_follows_a_ring() {
    use std::io::{BufRead as _, BufReader};
    let tmp = TestDir::new();
    tmp.write("services/a/runt/log-ring", "100000\n");
    let run = "echo begin; while [ ! -e ../go ]; do sleep 0.02; done; \
               seq 3000; exec sleep 1000";
    tmp.service("a", run);
    let all = tmp.runsvdir();
    until("the ring", || {
        (tmp.run(&["sv", "log", "a"]).stdout == "begin\n").then_some(())
    });
    let mut command = tmp.command(&["sv", "log", "-f", "a"]);
    command.stdout(std::process::Stdio::piped());
    let mut sv = command.spawn().unwrap();
    let mut lines = BufReader::new(sv.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "begin");
    tmp.write("services/go", "");
    for i in 1..=3000 {
        assert_eq!(lines.next().unwrap().unwrap(), i.to_string());
    }
    // The next supervisor creates it anew, with another size.
    drop(all);
    tmp.write("services/a/runt/log-ring", "50000\n");
    tmp.service("a", "seq 10; exec sleep 1000");
    let _all = tmp.runsvdir();
    for i in 1..=10 {
        assert_eq!(lines.next().unwrap().unwrap(), i.to_string());
    }
    sv.kill().unwrap();
    sv.wait().unwrap();
}

#[test]
fn a_flood_into_a_ring_blocks_no_service() {
    let tmp = TestDir::new();
    tmp.write("services/a/runt/log-ring", "10000\n");
    tmp.service("a", "exec yes a line of some length");
    let _all = tmp.runsvdir();
    until("the ring", || {
        (tmp.run(&["sv", "log", "a"]).code == 0).then_some(())
    });
    for _ in 0..20 {
        let out = tmp.run(&["sv", "log", "a"]).stdout;
        assert!(out.len() <= 10_001);
        // A line that is overwritten while it is shown is cut.
        let line = "a line of some length";
        assert!(out.lines().all(|l| line.starts_with(l)), "{out}");
    }
    assert_eq!(tmp.run(&["sv", "-v", "restart", "a"]).code, 0);
}
