//! Tests that `sv log` shows a ring when the kernel has no inotify left.
#![allow(missing_docs, reason = "the names of the tests say it")]

mod util;

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};
use util::{Place, Said, until};

/// `inotify_init1` of x86-64, the host's machine.
const INOTIFY_INIT1: i64 = 294;

/// Runs one of our programs without access to inotify, as when its user has no
/// instances left (EMFILE).
fn without_inotify(place: &Place, words: &[&str]) -> Said {
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
            place.run(words)
        };
        scope.spawn(run).join().unwrap()
    })
}

#[test]
fn a_ring_is_shown_without_inotify() {
    let place = Place::new();
    place.service("a", "echo hello; exec sleep 1000");
    place.write("services/a/runt/log-ring", "4096\n");
    let _all = place.runsvdir();
    until("the line", || {
        (place.run(&["sv", "log", "a"]).out == "hello\n").then_some(())
    });
    let said = without_inotify(&place, &["sv", "log", "a"]);
    assert_eq!((said.out.as_str(), said.code), ("hello\n", 0), "{said:?}");
    // Without inotify, `-f` would not notice later lines.
    let said = without_inotify(&place, &["sv", "log", "-f", "a"]);
    let line = "warning: a: unable to read log ring (see also log/): process \
                cannot open more files\n";
    assert_eq!((said.out.as_str(), said.code), (line, 1));
}
