//! Runs the parts of the tests, several at a time, and prints a line for each
//! when it has ended.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;

/// Load of a part that mostly waits, in quarters of a processor.
pub const WAITING: u32 = 1;
/// Load of a part that keeps one processor busy.
pub const ONE: u32 = 4;
/// Load of a part that keeps half of a processor busy or more, and whose tests
/// need a processor without delay: one of [`ONE`] may run beside it on two
/// processors.
pub const PROMPT: u32 = 6;
/// Load of a part that runs alone: its tests wait for many processes, and a
/// busy machine would reorder what those do.
pub const ALONE: u32 = 1000;

/// Numbers of checks by result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub passed: u32,
    pub failed: u32,
    pub skipped: u32,
}

/// The result of a part.
#[derive(Debug)]
pub struct Outcome {
    pub count: Count,
    /// The text to show: figures, or what failed.
    pub text: String,
}

impl Outcome {
    /// Returns the outcome, or a failed one with the error if the part could
    /// not be run.
    pub fn or(result: Result<Self>) -> Self {
        result.unwrap_or_else(|error| Self::of(Err(error)))
    }

    /// Returns the outcome of a single check.
    pub fn of(result: Result<String>) -> Self {
        match result {
            Ok(text) => Self {
                count: Count {
                    passed: 1,
                    ..Count::default()
                },
                text,
            },
            Err(error) => Self::failed(format!("{error:#}")),
        }
    }

    /// Returns the outcome of a single check that failed.
    fn failed(text: String) -> Self {
        Self {
            count: Count {
                failed: 1,
                ..Count::default()
            },
            text,
        }
    }
}

/// A part of the tests.
pub struct Part<'a> {
    pub name: String,
    /// One line: what it proves.
    pub about: String,
    /// Load on the machine, in quarters of a processor.
    pub load: u32,
    /// Names of the parts that must have ended before it starts, if they run.
    pub after: Vec<String>,
    pub run: Box<dyn FnOnce() -> Outcome + Send + 'a>,
}

impl<'a> Part<'a> {
    /// Returns a part that may start at once.
    pub fn new(
        name: &str,
        about: &str,
        load: u32,
        run: impl FnOnce() -> Outcome + Send + 'a,
    ) -> Self {
        Self {
            name: name.into(),
            about: about.into(),
            load,
            after: Vec::new(),
            run: Box::new(run),
        }
    }

    /// Returns the part, to be started after another one.
    #[must_use]
    pub fn after(mut self, name: &str) -> Self {
        self.after.push(name.into());
        self
    }
}

/// A part that has ended.
pub struct Ended {
    pub name: String,
    pub about: String,
    pub outcome: Outcome,
    pub took: Duration,
}

/// Runs all parts on a number of processors. Starts each as early as its place
/// in the list, the parts before it and the load permit: beside processors that
/// are busy there is room for two parts that mostly wait; there are at most two
/// parts for each processor; or there is one part of any load. Calls `ended` for
/// each part when it has ended.
pub fn run(
    parts: Vec<Part<'_>>,
    processors: u32,
    mut ended: impl FnMut(Ended),
) {
    let (sender, receiver) = channel();
    let mut waiting = parts;
    let mut running: Vec<(String, u32)> = Vec::new();
    thread::scope(|scope| {
        loop {
            while let Some(next) = startable(&waiting, &running, processors) {
                let part = waiting.remove(next);
                running.push((part.name.clone(), part.load));
                let sender = sender.clone();
                scope.spawn(move || {
                    let began = Instant::now();
                    let outcome = catch_unwind(AssertUnwindSafe(part.run));
                    // The receiver lives until all parts have ended.
                    let _sent = sender.send(Ended {
                        name: part.name,
                        about: part.about,
                        outcome: outcome.unwrap_or_else(|_| {
                            Outcome::failed("xtask panicked".into())
                        }),
                        took: began.elapsed(),
                    });
                });
            }
            if running.is_empty() {
                break;
            }
            let Ok(one) = receiver.recv() else { break };
            running.retain(|(name, _)| *name != one.name);
            ended(one);
        }
    });
    for Part { name, about, .. } in waiting {
        let text = "it waits for itself, or for a part that waits for it";
        ended(Ended {
            name,
            about,
            outcome: Outcome::failed(text.into()),
            took: Duration::ZERO,
        });
    }
}

/// Returns the position of the first part that may start.
fn startable(
    waiting: &[Part<'_>],
    running: &[(String, u32)],
    processors: u32,
) -> Option<usize> {
    let room = processors * ONE + 2 * WAITING;
    let full = running.len() >= processors as usize * 2;
    let load: u32 = running.iter().map(|(_, load)| load).sum();
    let unfinished = |name: &String| {
        waiting.iter().any(|part| part.name == *name)
            || running.iter().any(|(running, _)| running == name)
    };
    waiting.iter().position(|part| {
        let fits = !full && load + part.load <= room || running.is_empty();
        fits && !part.after.iter().any(unfinished)
    })
}

#[cfg(test)]
mod test {
    use super::*;
    use std::sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    };

    #[test]
    fn parts_start_in_order_as_load_and_dependencies_permit() {
        let log = Mutex::new(Vec::new());
        let note = |text: String| log.lock().unwrap().push(text);
        let part = |name: &'static str, load| {
            Part::new(name, "", load, move || {
                note(format!("+{name}"));
                thread::sleep(Duration::from_millis(50));
                Outcome::of(Ok(String::new()))
            })
        };
        let parts = vec![
            part("large", 20),
            part("a", ONE).after("large"),
            part("b", ONE).after("a").after("none"),
            part("c", ONE),
            part("d", WAITING),
        ];
        run(parts, 1, |ended| note(format!("-{}", ended.name)));
        let log = log.into_inner().unwrap();
        let at = |text: &str| log.iter().position(|it| it == text).unwrap();
        assert_eq!(log[..2], ["+large", "-large"], "{log:?}");
        assert!(at("-a") < at("+b"), "{log:?}");
        // There is room for one of them, and for one that waits.
        assert!(at("-a") < at("+c"), "{log:?}");
        assert!(at("+d") < at("-a"), "{log:?}");
        assert_eq!(log.len(), 10);
    }

    #[test]
    fn at_most_two_parts_for_each_processor_run_at_once() {
        let (now, most) = (AtomicU32::new(0), AtomicU32::new(0));
        let part = |name: &str| {
            let (now, most) = (&now, &most);
            Part::new(name, "", WAITING, move || {
                let before = now.fetch_add(1, Ordering::SeqCst);
                most.fetch_max(before + 1, Ordering::SeqCst);
                thread::sleep(Duration::from_millis(20));
                now.fetch_sub(1, Ordering::SeqCst);
                Outcome::of(Ok(String::new()))
            })
        };
        let parts = ["a", "b", "c", "d", "e"].map(part);
        run(parts.into(), 1, |_| {});
        assert_eq!(most.into_inner(), 2);
    }

    #[test]
    fn parts_that_wait_for_each_other_have_failed() {
        let part =
            |name| Part::new(name, "", ONE, || Outcome::of(Ok(String::new())));
        let parts = vec![part("a").after("b"), part("b").after("a")];
        let mut failed = 0;
        run(parts, 1, |ended| failed += ended.outcome.count.failed);
        assert_eq!(failed, 2);
    }

    #[test]
    fn a_part_that_panics_has_failed() {
        let mut failed = 0;
        let part = Part::new("a", "", ONE, || panic!("on purpose"));
        run(vec![part], 1, |ended| failed += ended.outcome.count.failed);
        assert_eq!(failed, 1);
    }
}
