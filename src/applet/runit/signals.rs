//! Defines the requests that signals make of PID 1 (contract §7.4, §16.22).

use crate::{
    sys::{
        power::PowerAction,
        signal::{self, Number},
    },
    wire::signals::{self, SignalRequest, SignalRequests},
};

/// Signals that PID 1 handles, beginning with those whose meaning can be
/// configured, in the order of `wire::signals`.
pub(super) const SIGNALS: [Number; signals::COUNT + 3] = [
    Number::CONT,
    Number::INT,
    Number::POWER,
    Number::ALARM,
    Number::USR1,
    Number::USR2,
    Number::TERM,
    signal::HALT,
    signal::OFF,
    signal::RESTART,
    signal::SOFT_REBOOT,
    Number::CHILD,
    Number::PIPE,
];

/// Request of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Shut down, and end the machine in this way.
    GoDown(PowerAction),
    /// Shut down if a flag file is set.
    CheckFlags,
    /// Ctrl-alt-del was pressed.
    CtrlAltDel,
    /// Power fails.
    PowerFailure,
    /// Scan the services directory.
    Scan,
}

/// Returns the request that a signal makes, if any. `scripted`: a script
/// decides about the signals that runit does not define.
pub(super) fn request(
    number: Number,
    configured: &SignalRequests,
    scripted: bool,
    contained: bool,
) -> Option<Request> {
    let mut found = SIGNALS.iter().zip(configured.0);
    let found = found.find(|(known, _)| **known == number);
    if let Some((_, Some(request))) = found {
        return match request {
            SignalRequest::Nothing => None,
            SignalRequest::Off => Some(Request::GoDown(PowerAction::Off)),
            SignalRequest::Halt => Some(Request::GoDown(PowerAction::Halt)),
            SignalRequest::Reboot => Some(Request::GoDown(PowerAction::Reboot)),
        };
    }
    Some(match number {
        Number::CONT => Request::CheckFlags,
        Number::POWER => Request::PowerFailure,
        Number::INT => Request::CtrlAltDel,
        Number::ALARM => Request::Scan,
        signal::HALT | signal::OFF => Request::GoDown(PowerAction::Off),
        signal::RESTART => Request::GoDown(PowerAction::Reboot),
        signal::SOFT_REBOOT => Request::GoDown(PowerAction::SoftReboot),
        // busybox's halt, poweroff and reboot send these. runit ignores them,
        // and a stage 2 script may rely on that.
        _ if scripted => return None,
        Number::USR1 | Number::USR2 => Request::GoDown(PowerAction::Off),
        // A container's owner sends it to stop the container.
        Number::TERM if contained => Request::GoDown(PowerAction::Off),
        Number::TERM => Request::GoDown(PowerAction::Reboot),
        _ => return None,
    })
}

#[cfg(test)]
mod test {
    use super::*;
    use PowerAction::{Halt, Off, Reboot, SoftReboot};
    use Request::{CheckFlags, CtrlAltDel, GoDown, PowerFailure, Scan};

    #[test]
    fn signals_make_the_requests_of_the_manual() {
        // The request with and without a script, and in a container.
        let rows = [
            (Number::CONT, Some(CheckFlags), [Some(CheckFlags); 2]),
            (Number::INT, Some(CtrlAltDel), [Some(CtrlAltDel); 2]),
            (Number::POWER, Some(PowerFailure), [Some(PowerFailure); 2]),
            (Number::ALARM, Some(Scan), [Some(Scan); 2]),
            (Number::USR1, None, [Some(GoDown(Off)); 2]),
            (Number::USR2, None, [Some(GoDown(Off)); 2]),
            (
                Number::TERM,
                None,
                [Some(GoDown(Reboot)), Some(GoDown(Off))],
            ),
            (signal::HALT, Some(GoDown(Off)), [Some(GoDown(Off)); 2]),
            (signal::OFF, Some(GoDown(Off)), [Some(GoDown(Off)); 2]),
            (
                signal::RESTART,
                Some(GoDown(Reboot)),
                [Some(GoDown(Reboot)); 2],
            ),
            (
                signal::SOFT_REBOOT,
                Some(GoDown(SoftReboot)),
                [Some(GoDown(SoftReboot)); 2],
            ),
            (Number::CHILD, None, [None; 2]),
            (Number::PIPE, None, [None; 2]),
        ];
        let known = rows.map(|(number, ..)| number);
        assert_eq!(known, SIGNALS);
        let none = SignalRequests::default();
        for (number, scripted, built_in) in rows {
            for contained in [false, true] {
                let found = request(number, &none, true, contained);
                assert_eq!(found, scripted, "{number:?}");
                let found = request(number, &none, false, contained);
                assert_eq!(found, built_in[usize::from(contained)]);
            }
        }
    }

    #[test]
    fn a_configured_request_takes_precedence() {
        let mut configured = SignalRequests::default();
        configured.read(b"TERM:halt,INT:none,USR1:reboot", &mut |word| {
            panic!("{word:?}")
        });
        for scripted in [false, true] {
            let of = |number| request(number, &configured, scripted, false);
            assert_eq!(of(Number::TERM), Some(GoDown(Halt)));
            assert_eq!(of(Number::INT), None);
            assert_eq!(of(Number::USR1), Some(GoDown(Reboot)));
            assert_eq!(of(Number::CONT), Some(CheckFlags));
        }
    }
}
