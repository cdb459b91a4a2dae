//! Decides if a service has reached what an `sv` command asked for (contract
//! §4.6).
//!
//! # Differences from runit
//! In runit "restarted" means that the label's seconds are not before those of
//! the start of `sv`, so that a service younger than a second counts as
//! restarted with its old process (§16.15). Here process and label are
//! compared with those before the command, and both must differ: while
//! `./finish` runs the label is still the old one, and when the wall clock is
//! set the old process gets a new label. A service that waits for its restart
//! does not count as down until its supervisor has processed the command;
//! otherwise `sv start` would see the command as already sent and print
//! nothing. `check` is that of 2.3.0 (§16.12).

use crate::wire::status::{State, Status, Want};

/// Result of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Completion {
    /// The test holds.
    Holds,
    /// The test holds if the service's `check` succeeds.
    IfChecked,
    /// The test does not hold yet.
    NotYet,
}

/// Returns the combined result of all tests for a service whose status is
/// `now` and was `before` when the command was given.
///
/// The test `x` is not decided here: a status cannot tell if the supervisor is
/// gone.
pub fn completion(tests: &[u8], before: &Status, now: &Status) -> Completion {
    let each = tests.iter().map(|test| one(*test, before, now));
    each.max().unwrap_or(Completion::Holds)
}

/// Returns the result of one test.
fn one(test: u8, before: &Status, now: &Status) -> Completion {
    let alive = now.pid != 0;
    let (other, later) = (now.pid != before.pid, now.since != before.since);
    match test {
        b'u' => up(now),
        b'd' => down(now),
        b'C' if now.want == Want::Up => up(now),
        b'C' => down(now),
        b't' | b'k' if !alive => plain(now.want != Want::Up),
        b't' | b'k' if other && later && !now.term => Completion::IfChecked,
        b'o' => plain(if alive {
            now.want != Want::Up
        } else {
            other || later
        }),
        b'p' => plain(!alive || now.paused),
        b'c' => plain(!alive || !now.paused),
        b't' | b'k' | b'x' => Completion::NotYet,
        _ => Completion::Holds,
    }
}

/// Tests if the service runs.
fn up(now: &Status) -> Completion {
    if now.pid != 0 && now.state == State::Run {
        Completion::IfChecked
    } else {
        Completion::NotYet
    }
}

/// Tests if the service is down, its `finish` has ended and no start is
/// pending.
fn down(now: &Status) -> Completion {
    let down = now.pid == 0 && now.state == State::Down;
    plain(down && now.want != Want::Up)
}

/// Returns the result of a test without `check`.
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

    /// Returns every possible status of two processes and two labels.
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
                let alive = now.pid != 0;
                let other = now.pid != before.pid;
                let later = now.since != before.since;
                let runs = alive && now.state == State::Run;
                let wanted = now.want == Want::Up;
                let down = !alive && now.state == State::Down;
                let ended = down && !wanted;
                assert_eq!(says(b"u") == IfChecked, runs);
                assert_eq!(says(b"d") == Holds, ended);
                assert_eq!(says(b"C"), says(if wanted { b"u" } else { b"d" }));
                let t = match (alive, other && later && !now.term) {
                    (false, _) if !wanted => Holds,
                    (true, true) => IfChecked,
                    _ => NotYet,
                };
                assert_eq!((says(b"t"), says(b"k")), (t, t));
                assert_eq!(says(b"p") == Holds, !alive || now.paused);
                assert_eq!(says(b"c") == Holds, !alive || !now.paused);
                let once = if alive { !wanted } else { other || later };
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
