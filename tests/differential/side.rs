//! Selects the programs that a row runs with.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use crate::test_dir::TestDir;

/// A release of runit that ours is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Release {
    /// 2.1.2, from Debian 12.
    Old,
    /// 2.3.1, from Debian forky.
    New,
}

impl Release {
    /// All releases.
    pub const ALL: [Self; 2] = [Self::Old, Self::New];

    /// Returns the variable that names the directory of its programs.
    fn variable(self) -> &'static str {
        match self {
            Self::Old => "RUNIT_BIN",
            Self::New => "RUNIT_231_BIN",
        }
    }
}

/// The set of programs that comes first in PATH.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    Debian(Release),
    Ours,
    /// Our `sv`, and the other programs of the release.
    OurSv(Release),
    /// Debian's `sv`, and our other programs.
    DebiansSv(Release),
}

impl Side {
    /// Returns the side's name in a diff.
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

/// The directories of all programs.
pub struct Sides {
    tmp: TestDir,
    old: PathBuf,
    new: PathBuf,
}

impl Sides {
    /// Finds ours from RUNT_BIN, Debian's from RUNIT_BIN and RUNIT_231_BIN.
    pub fn new() -> Self {
        let [old, new] = Release::ALL.map(|release| {
            let variable = release.variable();
            let dir = std::env::var_os(variable).unwrap_or_else(|| {
                panic!("{variable} names no directory: use `cargo xtask test`")
            });
            fs::canonicalize(dir).unwrap()
        });
        let tmp = TestDir::new();
        let ours = tmp.path("bin");
        for (dir, sv) in
            [("our-sv", &ours), ("sv-2.1.2", &old), ("sv-2.3.1", &new)]
        {
            fs::create_dir(tmp.path(dir)).unwrap();
            symlink(sv.join("sv"), tmp.path(dir).join("sv")).unwrap();
        }
        Self { tmp, old, new }
    }

    /// Returns the directory of a release's programs.
    fn debian(&self, release: Release) -> &Path {
        match release {
            Release::Old => &self.old,
            Release::New => &self.new,
        }
    }

    /// Returns the directories of a side's programs, for the front of PATH.
    pub fn path(&self, side: Side) -> String {
        let show = |path: &Path| path.display().to_string();
        let ours = show(&self.tmp.path("bin"));
        let with_sv = |sv: &str, rest: String| {
            format!("{}:{rest}", show(&self.tmp.path(sv)))
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

    /// Returns the directory of the programs that supervise, then that of the
    /// opposite side.
    pub fn supervisors(&self, side: Side) -> [PathBuf; 2] {
        let ours = self.tmp.path("bin");
        match side {
            Side::Debian(release) | Side::OurSv(release) => {
                [self.debian(release).into(), ours]
            }
            Side::Ours => [ours, self.old.clone()],
            Side::DebiansSv(release) => [ours, self.debian(release).into()],
        }
    }
}
