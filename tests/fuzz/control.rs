//! Target for the control stream: a slot with an owner that does what it is
//! told.

use std::time::Duration;

use runt::{
    machine::{
        restart_delay::RestartDelay,
        slot::{Action, Exit, Facts, Role, SlotState},
    },
    wire::{
        clock::{Instant, Now, Wall},
        control,
        options::Backoff,
    },
};

use crate::input::Input;

/// Checks a slot with control bytes in any order between starts and ends of
/// children: there is one child of each role at most, a start is the last
/// action of its step, and a slot that is told to end does so when its
/// children end.
///
/// A byte with the top bit set is an event; all others are control bytes.
pub(crate) fn stream(data: &[u8]) {
    let mut input = Input(data);
    let setup = input.byte();
    let has_log = (setup & 1 != 0).then_some(setup & 2 != 0);
    let facts = Facts {
        finish: setup & 4 != 0,
        restart_delay: match setup & 0x40 {
            0 => RestartDelay::default(),
            _ => RestartDelay {
                backoff: Some(Backoff::DEFAULT),
                max_deaths: 3,
            },
        },
    };
    let mut slot = Simulated::new(setup & 8 != 0, has_log, facts);
    slot.limited = setup & 0x20 != 0;
    while !input.is_empty() && !slot.ended {
        let byte = input.byte();
        let role = match byte & 3 {
            0 | 1 => Role::Service,
            2 => Role::Log,
            _ => Role::Script,
        };
        slot.now.mono = slot
            .now
            .mono
            .after(Duration::from_millis(u64::from(byte & 0x7c) * 10));
        match byte {
            0..=0x7f => {
                let decoded = control::decode(byte);
                let known = b"udoxtkpcahiq12".contains(&byte);
                assert_eq!(decoded.is_some(), known);
                assert!(decoded.is_none_or(|it| control::encode(it) == byte));
                let role = match setup & 0x10 {
                    0 => Role::Service,
                    _ => Role::Log,
                };
                slot.control(role, byte);
            }
            0x80..=0xbf => slot.end(role, byte),
            0xc0..=0xdf => slot.tick(),
            0xe0..=0xef => slot.refuses = byte & 0x0f,
            _ => {
                let now = slot.now;
                let actions = slot.state.leave(now);
                slot.perform(&actions);
            }
        }
    }
    slot.finish();
}

/// A slot with an owner that does what it is told.
struct Simulated {
    state: SlotState,
    now: Now,
    facts: Facts,
    pids: u32,
    /// Number of starts still to be refused.
    refuses: u8,
    /// Children have deadlines.
    limited: bool,
    ended: bool,
}

impl Simulated {
    fn new(down: bool, log_down: Option<bool>, facts: Facts) -> Self {
        let now = Now {
            mono: Instant::at(1_000_000_000),
            wall: Wall::from_nanos(1_000_000_000),
        };
        Self {
            state: SlotState::new(down, log_down, now),
            now,
            facts,
            pids: 1,
            refuses: 0,
            limited: false,
            ended: false,
        }
    }

    /// Performs the actions of a step, and those of the steps that follow.
    fn perform(&mut self, actions: &[Action]) {
        for (at, action) in actions.iter().enumerate() {
            assert!(!self.ended, "{action:?} after Ended");
            let role = match action {
                Action::Run(role) => *role,
                Action::Finish(_) => Role::Service,
                Action::Script(_) => Role::Script,
                Action::Signal(role, _) | Action::TimedOut(role) => {
                    assert!(self.state.pid(*role).is_some(), "{action:?}");
                    continue;
                }
                Action::Ended => {
                    self.ended = true;
                    continue;
                }
                Action::SetDeadline => {
                    self.set_deadline(Role::Service);
                    continue;
                }
                Action::ClosePipe => {
                    self.set_deadline(Role::Log);
                    continue;
                }
                Action::Parked | Action::GiveUp => continue,
            };
            assert!(action.is_start());
            assert_eq!(at + 1, actions.len(), "{actions:?}");
            assert_eq!(self.state.pid(role), None, "{action:?}");
            let next = if self.refuses > 0 {
                self.refuses -= 1;
                self.state.refused(role, self.now)
            } else {
                self.pids += 1;
                let next = self.state.started(role, self.pids, self.now);
                assert_eq!(self.state.role_of(self.pids), Some(role));
                if role == Role::Script {
                    self.set_deadline(role);
                }
                next
            };
            return self.perform(&next);
        }
    }

    /// Sets the deadline of a child, if children have one here.
    fn set_deadline(&mut self, role: Role) {
        if self.limited {
            let limit = self.now.mono.after(Duration::from_millis(500));
            self.state.set_deadline(role, limit);
        }
    }

    /// Handles the time; no deadline stays in the past.
    fn tick(&mut self) {
        let actions = self.state.tick(self.now);
        self.perform(&actions);
        let due = self.state.due();
        assert!(self.ended || due.is_none_or(|due| due > self.now.mono));
    }

    /// Sends a control byte.
    fn control(&mut self, role: Role, byte: u8) {
        let actions = self.state.control(role, byte, self.now);
        self.perform(&actions);
    }

    /// Ends a child if there is one; its exit code depends on `byte`.
    fn end(&mut self, role: Role, byte: u8) {
        if self.state.pid(role).is_none() {
            return;
        }
        let code = match byte >> 2 & 3 {
            0 => 0,
            1 => 125,
            2 => 1,
            _ => -1,
        };
        let signal = if code < 0 { 9 } else { 0 };
        let exit = Exit { code, signal };
        let actions = self.state.ended(role, exit, self.facts, self.now);
        self.perform(&actions);
    }

    /// Ends the slot: a bounded number of ends must do.
    fn finish(&mut self) {
        self.refuses = 0;
        for _ in 0..100 {
            if self.ended {
                return;
            }
            let actions = self.state.leave(self.now);
            self.perform(&actions);
            for role in [Role::Script, Role::Service, Role::Log] {
                self.end(role, 0);
            }
            self.now.mono = self.now.mono.after(Duration::from_secs(600));
            if !self.ended {
                self.tick();
            }
        }
        assert!(self.ended, "it does not end: {:?}", self.state);
    }
}
