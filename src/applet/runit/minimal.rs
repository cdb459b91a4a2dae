//! Keeps what runs when PID 1 faults again and again: reaps, forwards output
//! to the console, and ends the machine on request.
//!
//! Nothing is supervised: a service that ends stays down. All pipes stay open.
//! The watchdog is not pinged, so that it resets the machine if there is one.

use core::time::Duration;

use crate::{
    machine::shutdown::{KILL, TERMINATE},
    supervisor::Reporter,
    sys::{
        self, AsFd as _, Fd, child,
        fault::{self, Resumed},
        poller,
        power::{self, PowerAction},
        signal::{self, Number, Signals},
    },
    wire::{record::Reader, signals::SignalRequests},
};

use super::{
    super::flag_files::{FLAGS, is_set},
    power_off::{PowerOff, reap_forever},
    report::{self, warning},
    rig::Rig,
    signals::{Request, SIGNALS, request},
};

/// Bytes of output forwarded at once.
const BYTES: usize = 256;

/// Runs until a request ends the machine.
pub(super) fn run(
    contained: bool,
    resumed: &Resumed,
    reporter: &Reporter,
) -> ! {
    let what = "too many faults: services run on, but are not supervised \
                until the machine is rebooted";
    let signals = match Signals::take(&SIGNALS) {
        Ok(signals) => signals,
        Err(errno) => reap_forever("wait for events", errno),
    };
    let _unhandled = fault::install_last().is_err();
    // Another supervisor may take the services over.
    fault::unlock_inherited();
    report::fault(reporter, &resumed.report);
    warning(reporter, what, b"");
    let state = resumed.state.as_ref();
    let output = state.and_then(|state| Reader(state).take_pid());
    let output = output.and_then(fault::take_inherited).unwrap_or(Fd::none());
    loop {
        while child::reap().is_some() {}
        while let Some(number) = signals.next() {
            if let Some(action) = action(number, contained) {
                end(action, contained, reporter);
            }
        }
        forward(&output, reporter);
        let ready = poller::readable([signals.as_fd(), output.as_fd()], None);
        if ready.is_err() {
            poller::sleep(Duration::from_secs(1));
        }
    }
}

/// Forwards output of services, as much as there is.
fn forward(output: &Fd, reporter: &Reporter) {
    let mut bytes = [0; BYTES];
    while let (Ok(count @ 1..), Some(console)) =
        (sys::read(output.as_fd(), &mut bytes), reporter.console)
    {
        let _none = !console.write_line(bytes.get(..count).unwrap_or(&[]));
    }
}

/// Returns the end of the machine that a signal asks for.
fn action(number: Number, contained: bool) -> Option<PowerAction> {
    match request(number, &SignalRequests::default(), false, contained)? {
        Request::GoDown(action) => Some(action),
        Request::CtrlAltDel => Some(PowerAction::Reboot),
        Request::PowerFailure => Some(PowerAction::Off),
        Request::CheckFlags => {
            let asked = FLAGS.into_iter().find(|flags| is_set(flags.stop))?;
            Some(if is_set(asked.reboot) {
                PowerAction::Reboot
            } else {
                PowerAction::Off
            })
        }
        Request::Scan => None,
    }
}

/// Ends all processes and the machine. Media are written, not unmounted.
fn end(action: PowerAction, contained: bool, reporter: &Reporter) -> ! {
    for (number, wait) in [(Number::TERM, TERMINATE), (Number::KILL, KILL)] {
        // ESRCH: there is no other process.
        let _none = signal::kill_all(number).is_err();
        poller::sleep(wait);
        while child::reap().is_some() {}
    }
    if !contained {
        power::sync();
    }
    PowerOff::new((action, None)).run(contained, &Rig::new(None), reporter)
}
