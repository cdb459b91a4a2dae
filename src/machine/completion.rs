//! Whether a service is what an `sv` command asked for (contract §4.6).
//!
//! # Against runit
//! There "restarted" means that the label's seconds are not before those of
//! the start of `sv`, so that a service younger than a second counts as
//! restarted with its old process (§16.15). Here process and label are
//! compared to those before the command, and both must be other ones: while
//! `./finish` runs the label is the old one still, and when the wall clock is
//! set the old process gets a new label. A service that waits to be started
//! again is not down before its supervisor has taken that in: `sv start` would
//! find it told already and be silent. `check` is 2.3.0's (§16.12).

use crate::wire::status::{State, Status, Want};

/// What a test says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Completion {
    /// It holds.
    Holds,
    /// It holds if the service's `check` succeeds.
    IfChecked,
    /// Not yet.
    NotYet,
}

/// What all tests together say about a service whose status is `now` and was
/// `before` when the command was given.
///
/// Of the tests, `x` is not decided here: that a supervisor is gone no
/// status tells.
pub fn completion(tests: &[u8], before: &Status, now: &Status) -> Completion {
    let each = tests.iter().map(|test| one(*test, before, now));
    each.max().unwrap_or(Completion::Holds)
}

/// What one test says.
fn one(test: u8, before: &Status, now: &Status) -> Completion {
    let lives = now.pid != 0;
    let (other, later) = (now.pid != before.pid, now.since != before.since);
    match test {
        b'u' => up(now),
        b'd' => down(now),
        b'C' if now.want == Want::Up => up(now),
        b'C' => down(now),
        b't' | b'k' if !lives => plain(now.want != Want::Up),
        b't' | b'k' if other && later && !now.term => Completion::IfChecked,
        b'o' => plain(if lives {
            now.want != Want::Up
        } else {
            other || later
        }),
        b'p' => plain(!lives || now.paused),
        b'c' => plain(!lives || !now.paused),
        b't' | b'k' | b'x' => Completion::NotYet,
        _ => Completion::Holds,
    }
}

/// The service runs.
fn up(now: &Status) -> Completion {
    if now.pid != 0 && now.state == State::Run {
        Completion::IfChecked
    } else {
        Completion::NotYet
    }
}

/// The service is down, its `finish` over, and is not about to be started.
fn down(now: &Status) -> Completion {
    let down = now.pid == 0 && now.state == State::Down;
    plain(down && now.want != Want::Up)
}

/// A test without `check`.
fn plain(holds: bool) -> Completion {
    if holds {
        Completion::Holds
    } else {
        Completion::NotYet
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::wire::clock::Wall;

    /// Every status there can be, of two processes and two labels.
    fn all() -> Vec<Status> {
        let mut all = Vec::new();
        for pid in [0, 1, 2] {
            for secs in [10, 11] {
                for bits in 0..8_u8 {
                    for state in [State::Down, State::Run, State::Finish] {
                        let want = [Want::Up, Want::Down];
                        all.push(Status {
                            since: Wall { secs, nanos: 0 },
                            pid,
                            paused: bits & 1 != 0,
                            term: bits & 2 != 0,
                            want: want[usize::from(bits >> 2)],
                            state,
                        });
                    }
                }
            }
        }
        all
    }

    #[test]
    fn every_pair_of_statuses() {
        use Completion::{Holds, IfChecked, NotYet};
        for before in all() {
            for now in all() {
                let says = |test: &[u8]| completion(test, &before, &now);
                let lives = now.pid != 0;
                let other = now.pid != before.pid;
                let later = now.since != before.since;
                let runs = lives && now.state == State::Run;
                let wanted = now.want == Want::Up;
                let down = !lives && now.state == State::Down;
                let ended = down && !wanted;
                assert_eq!(says(b"u") == IfChecked, runs);
                assert_eq!(says(b"d") == Holds, ended);
                assert_eq!(says(b"C"), says(if wanted { b"u" } else { b"d" }));
                let t = match (lives, other && later && !now.term) {
                    (false, _) if !wanted => Holds,
                    (true, true) => IfChecked,
                    _ => NotYet,
                };
                assert_eq!((says(b"t"), says(b"k")), (t, t));
                assert_eq!(says(b"p") == Holds, !lives || now.paused);
                assert_eq!(says(b"c") == Holds, !lives || !now.paused);
                let once = if lives { !wanted } else { other || later };
                assert_eq!(says(b"o") == Holds, once);
                for sent in [b"h", b"a", b"i", b"q", b"1", b"2"] {
                    assert_eq!(says(sent), Holds);
                }
                assert_eq!(says(b"x"), NotYet);
                let all = says(b"t").max(says(b"c")).max(says(b"u"));
                assert_eq!(says(b"tcu"), all);
            }
        }
    }
}
