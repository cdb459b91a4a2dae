//! Changes which services are supervised, from now on and after each boot
//! (`sv enable`, `sv disable`).
//!
//! The change is made in the overlay, a writable directory whose entries add
//! to and hide those of a services directory that may be read-only; without
//! one, in the services directory itself. An entry is made under a temporary
//! name and renamed, so that a supervisor sees the old one or the new one:
//!
//! | | in the services directory | elsewhere |
//! |---|---|---|
//! | enable | a mask is removed | link to the service directory |
//! | disable | mask: link to /dev/null | the link is removed |

use core::ffi::CStr;

use super::{Sv, names, service::Unavailable};
use crate::{
    args::sv::Verb,
    supervisor::overlay,
    sys::{
        self, AsFd, At, CWD, Errno, Fd,
        file::{self, Kind},
    },
    text::{Line, Path},
};

/// Directory in which a service given by a plain name is looked up.
const AVAILABLE: &CStr = c"/etc/sv";

/// Target of a mask.
const MASK_TARGET: &CStr = c"/dev/null";

/// Reason why a change was refused.
type Refused = Unavailable;

impl Sv {
    /// Enables or disables one service, and reports the result.
    pub(super) fn set_enabled(&mut self, name: &CStr) {
        let enable = self.verb == Verb::Enable;
        match self.update_entry(name.to_bytes(), enable) {
            Ok(changed) => {
                let mut line = Line::new();
                line.text("ok: ").bytes(name.to_bytes()).text(": ");
                line.text(if enable { "enabled" } else { "disabled" });
                line.text(if changed { "" } else { " already" });
                sys::print(line.finish());
            }
            Err(refused) => {
                self.report(name.to_bytes(), refused);
            }
        }
    }

    /// Makes the entry of a service as it should be. Returns false when it
    /// was so already.
    fn update_entry(
        &self,
        given: &[u8],
        enable: bool,
    ) -> Result<bool, Refused> {
        let refused =
            |what| move |errno| Unavailable::Failed(what, Some(errno));
        let given = match given {
            [front @ .., b'/'] => front,
            given => given,
        };
        let slash = given.iter().rposition(|byte| *byte == b'/');
        let from = slash.map_or(0, |slash| slash.saturating_add(1));
        let name = given.get(from..).unwrap_or(b"");
        if name.is_empty() || name.starts_with(b".") {
            return Err(Unavailable::Failed(
                "use this name for a service",
                None,
            ));
        }
        let too_long = |_| refused("build a path")(Errno::ENAMETOOLONG);
        let entry = Path::join(&[name]).map_err(too_long)?;
        let entry = entry.as_c_str();
        let new = Path::join(&[b".", name, b".new"]).map_err(too_long)?;

        let services = names::services(self.environ);
        let overlay = overlay::of(services);
        let dir = file::open_dir(CWD, overlay.unwrap_or(services));
        let dir = dir.map_err(refused("open the directory to change"))?;
        let at = dir.as_fd();
        // True when there is an overlay and the services directory has the
        // entry too.
        let below = overlay.is_some() && is_below(services, entry);
        let kind = match file::info_of_link(at, entry) {
            Ok(info) => Some(info.kind),
            Err(Errno::ENOENT) => None,
            Err(errno) => return Err(refused("read its entry")(errno)),
        };
        let found = file::info(at, entry).map(|info| info.kind);
        let masked = kind == Some(Kind::Link) && found == Ok(Kind::Other);

        let target = match (enable, below) {
            (true, true) if masked => None,
            (true, true) => return Ok(false),
            (true, false) if found == Ok(Kind::Directory) => return Ok(false),
            (true, false) => {
                let target = source(given).map_err(refused("find it"))?;
                Some(target)
            }
            (false, true) if masked => return Ok(false),
            (false, true) => {
                Some(Path::join(&[MASK_TARGET.to_bytes()]).map_err(too_long)?)
            }
            (false, false) if kind.is_none() => return Ok(false),
            (false, false) => None,
        };
        if kind.is_some() && kind != Some(Kind::Link) {
            return Err(Unavailable::Failed("replace what is no link", None));
        }
        match target {
            Some(target) => {
                // An interrupted run may have left it.
                let _removed = file::remove(at, new.as_c_str()).is_err();
                file::make_link(target.as_c_str(), at, new.as_c_str())
                    .map_err(refused("make a link"))?;
                file::rename(at, new.as_c_str(), entry)
                    .map_err(refused("rename its link"))?;
            }
            None => {
                file::remove(at, entry).map_err(refused("remove its link"))?;
            }
        }
        // Not every file system supports this: it then writes the entry in
        // its own time.
        let _synced = file::sync(at).is_err();
        Ok(true)
    }
}

/// Returns true when the services directory has the entry.
fn is_below(services: &CStr, entry: &CStr) -> bool {
    file::open_dir(CWD, services).is_ok_and(|services: Fd| {
        let services: At<'_> = services.as_fd();
        file::info_of_link(services, entry).is_ok()
    })
}

/// Returns the absolute path of a service directory: `given` itself if it
/// has a `/` in it, else that name in [`AVAILABLE`].
fn source(given: &[u8]) -> Result<Path, Errno> {
    let mut buffer = [0; 512];
    let (from, slash): (&[u8], &[u8]) = if given.starts_with(b"/") {
        (b"", b"")
    } else if given.contains(&b'/') {
        let here = file::link_target(CWD, c"/proc/self/cwd", &mut buffer)?;
        (here, b"/")
    } else {
        (AVAILABLE.to_bytes(), b"/")
    };
    let path = file::path_of(&[from, slash, given])?;
    // A supervisor has to be able to enter it.
    file::open_dir(CWD, path.as_c_str()).map(|_| path)
}
