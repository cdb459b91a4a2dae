//! Tests that the logger that services share loses no more than a buffer when
//! it, or its supervisor, is killed.

use std::{fs, path::Path};

use rustix::process::{Signal, kill_process};

use crate::{
    svlogger::{lines, logger_of, service},
    util::{
        TestDir,
        logger::{self, all_logs},
        stop, until,
    },
};

#[test]
fn a_logger_killed_while_its_service_ends_loses_nothing() {
    let tmp = TestDir::new();
    let run = "trap 'seq 9000; echo > ../output; exit' TERM\n\
               echo up; sleep 1000 > /dev/null & wait";
    service(&tmp, "a", run, "s5000\nn0\n");
    tmp.service("b", run);
    let own = "while read -r line; do echo $line >> ../lines; done";
    tmp.script("services/b/log/run", own);
    for name in ["a", "b"] {
        let mut one = tmp.start(&["runsv", &format!("services/{name}")]);
        let logged = || match name {
            "a" => lines(&tmp, name),
            _ => tmp
                .read("services/b/lines")
                .lines()
                .map(Into::into)
                .collect(),
        };
        until("the first line", || (logged().len() == 1).then_some(()));
        let pid = logger_of(&tmp, name);
        stop(pid);
        one.kill(Signal::TERM);
        until("the end of the service", || {
            (tmp.path("services/output").exists() && tmp.pid(name).is_none())
                .then_some(())
        });
        fs::remove_file(tmp.path("services/output")).unwrap();
        kill_process(pid, Signal::KILL).unwrap();
        assert_eq!(one.wait(), 0);
        let all = ["up".into()];
        let all = all.into_iter().chain((1..=9000).map(|i| i.to_string()));
        assert!(logged().into_iter().eq(all), "lines of {name} differ");
    }
}

#[test]
fn a_logger_outlives_its_supervisor() {
    let tmp = TestDir::new();
    let run = "i=0; while [ ! -e ../end ]; do echo $i; i=$((i + 1)); sleep 0.01; done; printf end";
    service(&tmp, "a", run, "");
    tmp.write("services/b/runt/log-ring", "100000\n");
    tmp.service("b", run);
    let logged = |name: &str| match name {
        "a" => lines(&tmp, "a"),
        _ => {
            let out = tmp.run(&["sv", "log", name]).stdout;
            out.lines().map(String::from).collect()
        }
    };
    let until_logged = |count: usize| {
        for name in ["a", "b"] {
            let count = logged(name).len() + count;
            until("more lines", || (logged(name).len() > count).then_some(()));
        }
    };
    let mut first = ["a", "b"].map(|name| {
        let one = tmp.start(&["runsv", &format!("services/{name}")]);
        let pid = tmp.until_pid(name, None);
        until("a line", || (!logged(name).is_empty()).then_some(()));
        (one, pid)
    });
    // A supervisor that has been killed publishes nothing more.
    let logger = tmp.until_pid("a/log", None);
    for (one, _) in &mut first {
        one.kill(Signal::KILL);
        assert_eq!(one.wait(), -9);
    }
    until_logged(50);
    let mut next = ["a", "b"]
        .map(|name| tmp.start(&["runsv", &format!("services/{name}")]));
    let heir = tmp.until_pid("a/log", Some(logger));
    until("the logger's end", || {
        (!Path::new(&format!("/proc/{}", logger.as_raw_pid())).exists())
            .then_some(())
    });
    until_logged(50);
    assert_eq!(logger_of(&tmp, "a"), heir);
    for (name, (_, pid)) in ["a", "b"].iter().zip(&first) {
        assert_eq!(tmp.until_pid(name, None), *pid);
    }
    // Without any supervisor, until the services' output ends.
    for one in &mut next {
        one.kill(Signal::KILL);
        assert_eq!(one.wait(), -9);
    }
    until_logged(50);
    tmp.write("services/end", "");
    for name in ["a", "b"] {
        until("the last line", || {
            (logged(name).last()? == "end").then_some(())
        });
        let found = logged(name);
        let (_, ticks) = found.split_last().unwrap();
        let all = ticks.iter().enumerate().all(|(i, l)| *l == i.to_string());
        assert!(all, "{name}: {found:?}");
    }
    until("the last logger's end", || {
        (!Path::new(&format!("/proc/{}", heir.as_raw_pid())).exists())
            .then_some(())
    });
    assert_eq!(logger::mode(&tmp, "services/a/log/current"), 0o744);
    for (_, pid) in first {
        until("the end of a writer", || {
            (!Path::new(&format!("/proc/{}", pid.as_raw_pid())).exists())
                .then_some(())
        });
    }
}

#[test]
fn each_kill_loses_at_most_one_buffer() {
    /// Bytes that a process may have read and not written.
    const CHUNK: usize = 65_536 + 2048;
    const KILLS: usize = 12;
    let tmp = TestDir::new();
    let run = "i=0\nwhile [ ! -e ../../stop ]; do\n\
               seq -f 'line %010.0f end' $i $((i + 199)); i=$((i + 200))\n\
               done\n\
               echo last line; exec sleep 1000";
    service(&tmp, "a", run, "s50000\nn0\n");
    let _all = tmp.runsvdir();
    let service = tmp.until_pid("a", None);
    let mut old = None;
    for kill in 0..KILLS {
        let pid = tmp.until_pid("a/log", old);
        // Some while it works, some when it has hardly begun.
        if kill % 4 != 0 {
            let count = all_logs(&tmp, "services/a/log").len();
            until("more", || {
                (all_logs(&tmp, "services/a/log").len() > count).then_some(())
            });
        }
        // As a fault of its own does.
        let signals = [Signal::KILL, Signal::SEGV, Signal::ABORT];
        kill_process(pid, signals[kill % 3]).unwrap();
        old = Some(pid);
    }
    tmp.until_pid("a/log", old);
    assert_eq!(tmp.pid("a"), Some(service));
    tmp.write("stop", "");
    // Everything in the pipe arrives: nothing is killed any more.
    until("the last line", || {
        let logs = all_logs(&tmp, "services/a/log");
        logs.ends_with(b"last line\n").then_some(())
    });
    let (mut next, mut gaps, mut odd) = (0, 0, 0);
    for line in lines(&tmp, "a") {
        if line == "last line" {
            break;
        }
        let number = line.strip_prefix("line ").and_then(|line| {
            let number = line.strip_suffix(" end")?;
            (number.len() == 10).then(|| number.parse::<usize>().ok())?
        });
        let Some(number) = number else {
            odd += 1;
            continue;
        };
        assert!(number >= next, "{number} after {next}: doubled");
        if number > next {
            gaps += 1;
            // A line has twenty bytes.
            let lost = (number - next) * 20;
            assert!(lost <= 2 * CHUNK, "{lost} bytes in one gap");
        }
        next = number + 1;
    }
    assert!(next > 500);
    assert!(gaps <= KILLS, "{gaps} gaps");
    assert!(odd <= 2 * KILLS, "{odd} parts of lines");
}
