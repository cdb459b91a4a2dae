//! Loads the kernel modules of /etc/modules.
//!
//! A name is looked up in the kernel's modules.dep, which also lists the
//! modules that it needs. Without that file it is `NAME.ko` in the kernel's
//! directory, and modules must be listed after those that they need. A name
//! with a slash is a file.

use core::ffi::CStr;

use crate::{
    config,
    supervisor::Reporter,
    sys::{
        CWD, Errno,
        file::{self, path_of},
        power,
    },
    wire::modules::{Module, files},
};

use super::step::{StepResult, each_line};

/// The list of modules to load.
pub(super) const LIST: &CStr = c"/etc/modules";
/// Directory of the kernels' modules.
const MODULES: &[u8] = b"/lib/modules/";

/// Loads all modules.
pub(super) fn load(reporter: &Reporter) -> StepResult {
    let (mut some, mut failed) = (false, false);
    each_line(LIST, Some(reporter), &mut |line| {
        let Some(module) = Module::parse(line) else {
            return;
        };
        some = true;
        if let Err(errno) = load_one(module) {
            failed = true;
            reporter.warn("unable to load module ", module.name, errno);
        }
    });
    StepResult::of(some, failed)
}

/// Loads a module and those that it needs.
fn load_one(module: Module<'_>) -> Result<(), Errno> {
    let mut text = [0; 65];
    let release =
        file::read_whole(CWD, c"/proc/sys/kernel/osrelease", &mut text)?;
    let dir = path_of(&[MODULES, release.trim_ascii(), b"/"])?;
    let parameters = path_of(&[module.parameters])?;
    let load = |file: &[u8], parameters| {
        let path = match file {
            [b'/', ..] => path_of(&[file]),
            file => path_of(&[dir.as_bytes(), file]),
        };
        match power::load_module(path?.as_c_str(), parameters) {
            // It is loaded already.
            Err(Errno::EEXIST) => Ok(()),
            other => other,
        }
    };
    if module.name.contains(&b'/') {
        return load(module.name, parameters.as_c_str());
    }
    let mut found = None;
    let index = path_of(&[dir.as_bytes(), b"modules.dep"])?;
    let mut buffer = [0; config::LINE_BYTES];
    let read = file::lines(CWD, index.as_c_str(), &mut buffer, |line| {
        let all = line.and_then(|line| files(line, module.name));
        let Some(all) = all else { return true };
        let own = line.and_then(|line| line.split(|byte| *byte == b':').next());
        found = Some(all.rev().try_for_each(|file| {
            let arguments = if Some(file) == own {
                parameters.as_c_str()
            } else {
                c""
            };
            load(file, arguments)
        }));
        false
    });
    match (read, found) {
        (_, Some(loaded)) => loaded,
        (Ok(()) | Err(Errno::ENOENT), None) => {
            let file = path_of(&[module.name, b".ko"])?;
            load(file.as_bytes(), parameters.as_c_str())
        }
        (Err(errno), None) => Err(errno),
    }
}
