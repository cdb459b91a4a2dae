//! Tests that `sv log` shows a ring when the kernel has no inotify left.

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

use crate::util::{Output, TestDir, until};

/// `inotify_init1` of x86-64, the host's machine.
const INOTIFY_INIT1: i64 = 294;

/// Runs one of our programs without access to inotify, as when its user has no
/// instances left (EMFILE).
fn without_inotify(tmp: &TestDir, words: &[&str]) -> Output {
    let filter = SeccompFilter::new(
        [(INOTIFY_INIT1, Vec::new())].into(),
        SeccompAction::Allow,
        SeccompAction::Errno(24),
        TargetArch::x86_64,
    );
    let filter = BpfProgram::try_from(filter.unwrap()).unwrap();
    // The filter applies to a thread and its children only.
    std::thread::scope(|scope| {
        let run = || {
            seccompiler::apply_filter(&filter).unwrap();
            tmp.run(words)
        };
        scope.spawn(run).join().unwrap()
    })
}

#[test]
fn log_works_without_inotify() {
    let tmp = TestDir::new();
    tmp.service("a", "echo hello; exec sleep 1000");
    tmp.write("services/a/runt/log-ring", "4096\n");
    let _all = tmp.runsvdir();
    until("the line", || {
        (tmp.run(&["sv", "log", "a"]).stdout == "hello\n").then_some(())
    });
    let output = without_inotify(&tmp, &["sv", "log", "a"]);
    assert_eq!(
        (output.stdout.as_str(), output.code),
        ("hello\n", 0),
        "{output:?}"
    );
    // Without inotify, `-f` would not notice later lines.
    let output = without_inotify(&tmp, &["sv", "log", "-f", "a"]);
    let line = "warning: a: unable to read log ring (see also log/): process \
                cannot open more files\n";
    assert_eq!((output.stdout.as_str(), output.code), (line, 1));
}
