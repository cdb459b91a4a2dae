//! Whose programs a row is played with.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use crate::util::Place;

/// A release of runit that ours is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Release {
    /// 2.1.2, as Debian 12 has it.
    Old,
    /// 2.3.1, as Debian forky has it.
    New,
}

impl Release {
    /// Each release.
    pub const ALL: [Self; 2] = [Self::Old, Self::New];

    /// The variable that names the directory of its programs.
    fn variable(self) -> &'static str {
        match self {
            Self::Old => "RUNIT_BIN",
            Self::New => "RUNIT_231_BIN",
        }
    }
}

/// Whose programs are first in PATH.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    Debian(Release),
    Ours,
    /// Ours is `sv` only.
    OurSv(Release),
    /// Debian's is `sv` only.
    DebiansSv(Release),
}

impl Side {
    /// What a diff calls it.
    pub fn name(self) -> &'static str {
        use Release::{New, Old};
        match self {
            Self::Debian(Old) => "runit 2.1.2",
            Self::Debian(New) => "runit 2.3.1",
            Self::Ours => "ours",
            Self::OurSv(Old) => "our sv, supervisor of runit 2.1.2",
            Self::OurSv(New) => "our sv, supervisor of runit 2.3.1",
            Self::DebiansSv(Old) => "sv of runit 2.1.2, our supervisor",
            Self::DebiansSv(New) => "sv of runit 2.3.1, our supervisor",
        }
    }
}

/// Where the programs are.
pub struct Sides {
    place: Place,
    old: PathBuf,
    new: PathBuf,
}

impl Sides {
    /// Finds ours from RUNT_BIN, Debian's in RUNIT_BIN and RUNIT_231_BIN.
    pub fn new() -> Self {
        let [old, new] = Release::ALL.map(|release| {
            let variable = release.variable();
            let dir = std::env::var_os(variable).unwrap_or_else(|| {
                panic!("{variable} names no directory: use `cargo xtask test`")
            });
            fs::canonicalize(dir).unwrap()
        });
        let place = Place::new();
        let ours = place.path("bin");
        for (dir, sv) in
            [("our-sv", &ours), ("sv-2.1.2", &old), ("sv-2.3.1", &new)]
        {
            fs::create_dir(place.path(dir)).unwrap();
            symlink(sv.join("sv"), place.path(dir).join("sv")).unwrap();
        }
        Self { place, old, new }
    }

    /// The directory of a release's programs.
    fn debian(&self, release: Release) -> &Path {
        match release {
            Release::Old => &self.old,
            Release::New => &self.new,
        }
    }

    /// The programs of a side, as the front of PATH.
    pub fn path(&self, side: Side) -> String {
        let show = |path: &Path| path.display().to_string();
        let ours = show(&self.place.path("bin"));
        let with_sv = |sv: &str, rest: String| {
            format!("{}:{rest}", show(&self.place.path(sv)))
        };
        match side {
            Side::Debian(release) => show(self.debian(release)),
            Side::Ours => ours,
            Side::OurSv(release) => {
                with_sv("our-sv", show(self.debian(release)))
            }
            Side::DebiansSv(Release::Old) => with_sv("sv-2.1.2", ours),
            Side::DebiansSv(Release::New) => with_sv("sv-2.3.1", ours),
        }
    }

    /// The directory of the programs that supervise, and that of the others'.
    pub fn supervisors(&self, side: Side) -> [PathBuf; 2] {
        let ours = self.place.path("bin");
        match side {
            Side::Debian(release) | Side::OurSv(release) => {
                [self.debian(release).into(), ours]
            }
            Side::Ours => [ours, self.old.clone()],
            Side::DebiansSv(release) => [ours, self.debian(release).into()],
        }
    }
}
