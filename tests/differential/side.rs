//! Whose programs a row is played with.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use crate::util::Place;

/// Whose programs are first in PATH.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    Debian,
    Ours,
    /// Ours is `sv` only.
    OurSv,
    /// Debian's is `sv` only.
    DebiansSv,
}

impl Side {
    /// What a diff calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Debian => "Debian's",
            Self::Ours => "ours",
            Self::OurSv => "our sv, Debian's supervisor",
            Self::DebiansSv => "Debian's sv, our supervisor",
        }
    }
}

/// Where the programs are.
pub struct Sides {
    place: Place,
    debian: PathBuf,
}

impl Sides {
    /// Finds both: ours from RUNT_BIN, Debian's in RUNIT_BIN.
    pub fn new() -> Self {
        let debian = std::env::var_os("RUNIT_BIN")
            .expect("RUNIT_BIN names a directory: use `cargo xtask test`");
        let debian = fs::canonicalize(debian).unwrap();
        let place = Place::new();
        let ours = place.path("bin");
        for (dir, sv) in [("our-sv", &ours), ("debians-sv", &debian)] {
            fs::create_dir(place.path(dir)).unwrap();
            symlink(sv.join("sv"), place.path(dir).join("sv")).unwrap();
        }
        Self { place, debian }
    }

    /// The programs of a side, as the front of PATH.
    pub fn path(&self, side: Side) -> String {
        let show = |path: &Path| path.display().to_string();
        let [ours, debian] =
            [&self.place.path("bin"), &self.debian].map(|p| show(p));
        match side {
            Side::Debian => debian,
            Side::Ours => ours,
            Side::OurSv => {
                format!("{}:{debian}", show(&self.place.path("our-sv")))
            }
            Side::DebiansSv => {
                format!("{}:{ours}", show(&self.place.path("debians-sv")))
            }
        }
    }

    /// The directory of the programs that supervise, and that of the others'.
    pub fn supervisors(&self, side: Side) -> [PathBuf; 2] {
        let (ours, debian) = (self.place.path("bin"), self.debian.clone());
        match side {
            Side::Debian | Side::OurSv => [debian, ours],
            Side::Ours | Side::DebiansSv => [ours, debian],
        }
    }
}
