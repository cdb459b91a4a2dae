//! Explains the state of a service (`sv why`): its last ends, what it waits
//! for, and what keeps it from running.

use super::{
    Sv,
    describe::describe,
    json, names,
    page::Page,
    service::{Unavailable, open_fifo, probe},
};
use crate::{
    supervisor::rundir,
    sys::{
        AsFd, At, Errno, error,
        file::{self, Kind},
        signal,
    },
    text::Line,
    wire::{
        status::State,
        why::{self, DeathCause, Fact},
    },
};

impl Sv {
    /// Prints the answer of `why` for one service.
    pub(super) fn why(&mut self, page: &mut Page, name: &[u8], dir: At<'_>) {
        let fault = run_fault(dir);
        let result;
        if self.json {
            result = json::service(page, dir, name);
            json::string(json::key(page, "run"), fault.as_bytes());
            let failed = u8::from(result.is_err());
            self.failed = self.failed.saturating_add(failed);
        } else {
            let mut line = Line::new();
            result = probe(dir);
            match result {
                Ok(status) => {
                    describe(&mut line, dir, name, name, &status);
                }
                Err(reason) => {
                    self.count_failure(&mut line, name, reason);
                    line.text("\n  ").text(unsupervised(name, dir, reason));
                }
            }
            line.text("\n  run: ").text(fault);
            page.raw(line.finish());
        }
        let runs = result.is_ok_and(|status| status.state == State::Run);
        let mut buffer = [0; why::BYTES];
        // The directory in which the supervisor keeps its state.
        let rundir = open_fifo(dir, c"supervise/ok");
        let rundir = rundir.ok().and_then(|(_, rundir)| rundir);
        let home = rundir.as_ref().map_or(dir, AsFd::as_fd);
        let record = file::read_whole(home, c"supervise/why", &mut buffer);
        // The closing bracket, once the list of deaths has begun.
        let mut deaths = "";
        for line in record.unwrap_or(b"").split(|byte| *byte == b'\n') {
            match why::fact(line) {
                None => {}
                Some(Fact::Waits(what, _)) if is_over(what, runs) => {}
                Some(fact) if self.json => object(page, &mut deaths, fact),
                Some(fact) => show(page, fact),
            }
        }
        let faults = match rundir::faults(rundir::find(dir, b"")) {
            0 => {
                rundir::faults(rundir::find_for(names::services(self.environ)))
            }
            faults => faults,
        };
        if self.json {
            page.text(deaths);
            if faults > 0 {
                json::key(page, "supervisor-faults").number(faults);
            }
            page.text("}\n");
        } else if faults > 0 {
            page.text("  supervisor-faults ").number(faults).text("\n");
        }
    }
}

/// Returns true when a recorded wait is over. The record is written when
/// `./run` ends, so a pause in it is over once `./run` runs again.
fn is_over(what: &[u8], runs: bool) -> bool {
    what == b"nothing" || (runs && !what.starts_with(b"control/"))
}

/// Appends a fact as the record states it, with signals by name.
fn show(page: &mut Page, fact: Fact<'_>) {
    match fact {
        Fact::Restarts(number) => page.text("  restarts ").number(number),
        Fact::Waits(what, until) => {
            page.text("  waits ").bytes(what);
            page.text(if until.is_empty() { "" } else { " until " });
            page.bytes(until)
        }
        Fact::Died(when, how, lived) => {
            page.text("  died ").bytes(when);
            match how {
                DeathCause::Exited(code) => {
                    page.text(" exit ").number(code.into())
                }
                DeathCause::Killed(number, core) => page
                    .text(" signal ")
                    .bytes(signal::name(number))
                    .text(if core { " core" } else { "" }),
                DeathCause::Unknown => page.text(" ").text(why::UNKNOWN),
            };
            page.text(" after ").number(lived).text(" ms")
        }
    }
    .text("\n");
}

/// Appends a fact to a JSON object; `deaths` is the text that ends the list of
/// deaths.
fn object(page: &mut Page, deaths: &mut &str, fact: Fact<'_>) {
    match fact {
        Fact::Restarts(number) => {
            json::key(page, "restarts").number(number);
        }
        Fact::Waits(what, until) => {
            json::string(json::key(page, "waits"), what);
            if !until.is_empty() {
                json::string(json::key(page, "until"), until);
            }
        }
        Fact::Died(when, how, lived) => {
            let first = deaths.is_empty();
            page.text(if first { ",\"deaths\":[" } else { "," });
            *deaths = "]";
            json::string(page.text("{\"when\":"), when);
            match how {
                DeathCause::Exited(code) => {
                    json::key(page, "exit").number(code.into());
                }
                DeathCause::Killed(number, core) => {
                    let name = signal::name(number);
                    json::string(json::key(page, "signal"), name);
                    let core = if core { "true" } else { "false" };
                    json::key(page, "core").text(core);
                }
                DeathCause::Unknown => {
                    json::key(page, "exit").text("null");
                }
            }
            json::key(page, "lived-ms").number(lived).text("}");
        }
    }
}

/// Returns what keeps `./run` from being run, as far as its file shows; `ok`
/// for nothing.
fn run_fault(dir: At<'_>) -> &'static str {
    match file::info(dir, c"run") {
        Ok(info) if info.kind != Kind::Regular => "not a file",
        Ok(info) if info.mode & 0o111 == 0 => "not executable",
        Ok(info) if info.size == 0 => "empty",
        Ok(_) => "ok",
        Err(errno) => error::text(errno),
    }
}

/// Returns why a service has no supervisor, as far as its files show.
fn unsupervised(name: &[u8], dir: At<'_>, reason: Unavailable) -> &'static str {
    if reason == Unavailable::Unsupervised {
        "its supervisor has ended or was told to exit"
    } else if names::is_hidden(name) {
        "a name that begins with a dot is not supervised"
    } else if file::info(dir, c"supervise") == Err(Errno::ENOENT) {
        "no supervisor has taken it up yet"
    } else {
        "its supervise directory cannot be used"
    }
}
