//! Passes the open files of a service directory on to the next execution of
//! this process, and takes them over there.

use crate::{
    machine::slot::{Role, SlotState},
    sys::{
        AsFd as _, Errno, Fd,
        file::{self, Identity},
    },
};

use super::{
    super::{
        critical::Critical,
        held,
        ledger::{Held, Ledger},
        supervise::SuperviseDir,
    },
    DirOptions, Pipe, Service,
};

/// Flag in the ledger's description: there was a file `down`.
const DOWN: u32 = 1;
/// The same for `log/down`.
const LOG_DOWN: u32 = 2;
/// The same for a limit on downtime.
const CRITICAL: u32 = 4;

impl DirOptions {
    /// Returns the flags of the ledger's description.
    pub(super) fn flags(&self) -> u32 {
        let all = [
            (DOWN, self.down),
            (LOG_DOWN, self.log_down == Some(true)),
            (CRITICAL, self.critical.is_some()),
        ];
        let set = all.into_iter().filter(|(_, set)| *set);
        set.fold(0, |flags, (flag, _)| flags | flag)
    }
}

impl Service {
    /// Takes over the open files of the service directory `dir` that another
    /// execution of this program has passed on, and has described in the row of
    /// this slot (`held`); returns `dir` if it has not.
    pub(in super::super) fn inherit(
        dir: Fd,
        identity: Identity,
        held: &Held,
    ) -> Result<(Self, DirOptions), Fd> {
        let Some(files) = held::take(held, identity) else {
            return Err(dir);
        };
        let mut files = files.into_iter();
        let [service, log] = [(); 2].map(|()| inherited(&mut files));
        let (Ok(Some(service)), Ok(log)) = (service, log) else {
            return Err(dir);
        };
        let pipe = files.next().flatten().map(|read| {
            let write = files.next().flatten().unwrap_or(Fd::none());
            Pipe { read, write }
        });
        let at = dir.as_fd();
        let flags = held::flags(held);
        let is_critical = flags & CRITICAL != 0;
        let options = DirOptions {
            down: flags & DOWN != 0,
            log_down: pipe.as_ref().map(|_| flags & LOG_DOWN != 0),
            critical: is_critical.then(|| Critical::of(at)).flatten(),
        };
        Ok((
            Self {
                dir,
                service,
                log,
                pipe,
                log_checked: true,
                cgroup: None,
                unwritable: None,
                suspect: false,
                described: true,
                flags,
            },
            options,
        ))
    }

    /// Describes its files, and what they say, in the row of the ledger at
    /// `index`; `name` is that of the slot.
    pub(in super::super) fn describe(
        &mut self,
        name: &[u8],
        ledger: &Ledger,
        index: u16,
    ) {
        let mut held = ledger.held(index);
        if !self.described {
            held = self.files().map_or(Held::default(), |files| {
                held::describe(name, self.flags, &self.dir, &files)
            });
        }
        let dirs = [Some(&self.service), self.log.as_ref()];
        for (of_log, dir) in [false, true].into_iter().zip(dirs) {
            if let Some(word) = held::published(&mut held, of_log) {
                *word = dir.map_or(0, SuperviseDir::published);
            }
        }
        self.described = ledger.hold(index, &held);
    }

    /// Describes the files anew when something is published next.
    pub(in super::super) fn describe_again(&mut self) {
        self.described = false;
    }

    /// Returns its files, if they can be passed on.
    fn files(&self) -> Option<held::Files<&Fd>> {
        let mut files = [None; held::FILES];
        let mut places = files.iter_mut();
        for dir in [Some(&self.service), self.log.as_ref()] {
            let of_dir = match dir {
                Some(dir) => dir.files()?.map(Some),
                None => [None; 3],
            };
            for file in of_dir {
                *places.next()? = file;
            }
        }
        if let Some(Pipe { read, write }) = &self.pipe {
            *places.next()? = Some(read);
            *places.next()? = write.is_some().then_some(write);
        }
        Some(files)
    }

    /// Finds out what its inherited files say, if they are inherited and
    /// `held` describes them; returns false if they are not.
    pub(in super::super) fn recall(
        &mut self,
        slot: &SlotState,
        held: &mut Held,
    ) -> bool {
        if !self.service.is_open() {
            return false;
        }
        for role in [Role::Service, Role::Log] {
            if let (Some(status), Some((dir, supervise, names))) =
                (slot.status(role), self.supervise_dir(role))
            {
                let published = held::published(held, role == Role::Log);
                supervise.expect(&status, published.map_or(0, |word| *word));
                if !supervise.is_published(&status) {
                    let _read = supervise.recorded(dir, names, true);
                }
            }
        }
        true
    }

    /// Returns whether its files say what the state of the slot is.
    pub(in super::super) fn is_published(&mut self, slot: &SlotState) -> bool {
        [Role::Service, Role::Log].into_iter().all(|role| {
            let dir = self.supervise_dir(role);
            dir.zip(slot.status(role))
                .is_none_or(|((_, dir, _), status)| {
                    dir.is_open() && dir.is_published(&status)
                })
        })
    }
}

/// Takes the files of a supervise directory from a list, which has three for
/// each; `None` if there are none. EAGAIN if another process holds the lock.
fn inherited(
    files: &mut dyn Iterator<Item = Option<Fd>>,
) -> Result<Option<SuperviseDir>, Errno> {
    let mut next = || files.next().flatten().ok_or(Errno::EBADF);
    let (lock, control, ok) = (next(), next(), next());
    let Ok(lock) = lock else { return Ok(None) };
    file::lock_now(lock.as_fd())?;
    Ok(Some(SuperviseDir::inherited(lock, control?, ok?)))
}
