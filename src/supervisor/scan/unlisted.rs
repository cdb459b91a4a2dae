//! Takes up the services that an earlier supervisor has left running and that
//! are listed no longer: their entries were removed while there was no
//! supervisor, or shortly before. As any other slot that a scan misses, they
//! are told to exit unless they are listed again.

use crate::{
    sys::{
        AsFd as _, Errno, Fd, clock,
        file::{self, Identity},
        proc,
    },
    text::{self, Name},
};

use super::{
    super::{
        adopt::{Evidence, Verdict, judge},
        reporter::Refusal,
        slot::Recorded,
    },
    Slots,
};

impl Slots<'_> {
    /// Takes up what no entry of the services directory leads to, once. A
    /// service whose processes all work elsewhere cannot be found.
    pub(super) fn take_up_unlisted(&mut self) {
        for index in self.context.ledger.take_left() {
            let ledger = &self.context.ledger;
            let Some(recorded) = Recorded::load(index, ledger) else {
                continue;
            };
            let identity = recorded.identity;
            if self.table.slots().any(|slot| slot.identity() == identity) {
                continue;
            }
            if recorded.has_ended {
                // Its entry is freed at once, as in any scan.
                ledger.clear(index);
                continue;
            }
            let mut processes = recorded.processes.iter();
            let found = processes.find_map(|(pid, begun)| {
                let known = Evidence::Started(*begun);
                let runs = judge(*pid, None, known);
                matches!(runs, Verdict::Runs(_)).then_some(())?;
                directory_of(*pid, identity)
            });
            let Some((name, dir)) = found else { continue };
            let (now, context) = (clock::now(), &mut *self.context);
            let taken =
                self.table.insert(&name, identity, dir, false, now, context);
            match taken {
                Ok(()) => {}
                // Another supervisor has it.
                Err(Refusal::Failed(failed))
                    if failed.errno == Errno::EAGAIN => {}
                Err(refusal) => {
                    let mut line = refusal.line(&name, "warning");
                    self.context.reporter.print(&mut line);
                }
            }
        }
    }
}

/// Returns the service directory of a process that works there, or in its
/// directory `log`, and the name of that directory.
fn directory_of(pid: u32, identity: Identity) -> Option<(Name, Fd)> {
    let is_it = |dir: &Fd| {
        file::info_of(dir.as_fd()).is_ok_and(|dir| dir.identity == identity)
    };
    let mut dir = proc::open_cwd(pid).ok()?;
    let mut path = [0; crate::config::PATH_BYTES];
    let mut path = proc::cwd_path(pid, &mut path).ok()?;
    if !is_it(&dir) {
        dir = file::open_dir(dir.as_fd(), c"..").ok()?;
        is_it(&dir).then_some(())?;
        path = path.strip_suffix(b"/log").unwrap_or(path);
    }
    Some((text::name(text::basename(path)).ok()?, dir))
}
