//! Reads the option files of a slot's service directory.

use core::{ffi::CStr, time::Duration};

use crate::{
    machine::{
        restart_delay::RestartDelay,
        slot::{Facts, Role},
    },
    sys::{Errno, clock, file},
    wire::options::{self, GroupKill},
};

use super::{
    super::{
        context::Context, reporter::Reporter, service::Service,
        supervise::Failure,
    },
    Slot,
};

/// Maximum number of bytes read from an option file: the longest valid content
/// is the four numbers of `runt/backoff`.
const OPTION_BYTES: usize = 64;

/// Time limit of `./finish`.
pub(super) const FINISH_AFTER: &CStr = c"timeout-finish";
/// Time limit of a `control` script.
pub(super) const SCRIPT_AFTER: &CStr = c"runt/timeout-control";
/// Signals for the service's process group.
const GROUP_KILL: &CStr = c"runt/group-kill";

impl Slot {
    /// Returns the meaning of an option file. An invalid one is reported and
    /// counts as missing.
    pub(super) fn option<T>(
        &mut self,
        path: &'static CStr,
        meaning: fn(&[u8]) -> Option<T>,
        reporter: &Reporter,
    ) -> Option<T> {
        let mut buffer = [0; OPTION_BYTES];
        let dir = self.open.as_ref()?.dir();
        let errno = match file::read_whole(dir, path, &mut buffer) {
            Ok(text) => match meaning(text) {
                Some(meant) => return Some(meant),
                None => Errno::EINVAL,
            },
            Err(Errno::ENOENT | Errno::ENOTDIR) => return None,
            Err(errno) => errno,
        };
        if self.warned.note_file(path) {
            let verb = "use";
            let failure = Failure { verb, path, errno };
            reporter.warn_failure(&self.key.name, failure);
        }
        None
    }

    /// Returns the contents of the service directory that matter now that a
    /// process has ended.
    pub(super) fn facts(&mut self, role: Role, reporter: &Reporter) -> Facts {
        let mut facts = Facts::default();
        if role == Role::Service {
            facts.finish = self.open.as_ref().is_some_and(Service::has_finish);
            if self.data.machine.wants_down() {
                // Nothing is restarted.
                return facts;
            }
            let backoff = c"runt/backoff";
            let max_deaths = c"max-death-tally";
            facts.restart_delay = RestartDelay {
                backoff: self.option(backoff, options::backoff, reporter),
                max_deaths: self
                    .option(max_deaths, options::number, reporter)
                    .unwrap_or(0),
            };
        }
        facts
    }

    /// Returns which signals reach the process group of a service that is
    /// about to start; `None` if it gets no group. An invalid file is reported
    /// and counts as an empty one.
    pub(super) fn group_kill(
        &mut self,
        reporter: &Reporter,
    ) -> Option<GroupKill> {
        file::info(self.open.as_ref()?.dir(), GROUP_KILL).ok()?;
        let option = self.option(GROUP_KILL, options::group_kill, reporter);
        Some(option.unwrap_or(GroupKill::All))
    }

    /// Limits a child to the time in an option file, in milliseconds; 0 means
    /// no limit. During shutdown, all that have no such file have the same
    /// limit.
    pub(super) fn set_deadline(
        &mut self,
        role: Role,
        path: &'static CStr,
        default: u32,
        context: &Context,
    ) {
        let millis = self.option(path, options::number, &context.reporter);
        let default = context.stop_limit.unwrap_or(default);
        let millis = u64::from(millis.unwrap_or(default));
        if millis > 0 {
            let time = Duration::from_millis(millis);
            let machine = &mut self.data.machine;
            machine.set_deadline(role, clock::mono().after(time));
        }
    }
}
