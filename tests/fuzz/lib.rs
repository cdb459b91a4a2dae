//! Fuzz targets: one function for each reader of bytes, with what must hold for
//! any input. `cargo xtask fuzz` runs them under libFuzzer; the test below
//! replays the inputs in `corpus/`, so that a finding becomes a regression test
//! when its file is added there.

mod arguments;
mod control;
mod input;
mod lines;
mod logs;
mod records;
mod states;
mod tables;
mod texts;

/// Target: its name, which is that of its directory in `corpus/`, and the
/// function that takes an input and panics if something does not hold.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("status", records::status),
    ("why", records::why),
    ("control", control::stream),
    ("order", records::order),
    ("ring", records::ring),
    ("volume", records::volume),
    ("verity", records::verity),
    ("utmp", records::utmp),
    ("process", records::process),
    ("ledger", states::ledger),
    ("record", states::record),
    ("log-config", logs::config),
    ("log-name", logs::name),
    ("stamp", logs::stamp),
    ("lines", logs::lines),
    ("pattern", logs::pattern),
    ("ipv6", logs::ipv6),
    ("env-dir", lines::env_dir),
    ("env-file", lines::env_file),
    ("cmdline", lines::cmdline),
    ("rig", lines::rig),
    ("signals", lines::signals),
    ("sysctl", lines::sysctl),
    ("modules", lines::modules),
    ("options", lines::options),
    ("fstab", tables::fstab),
    ("mounts", tables::mounts),
    ("passwd", tables::passwd),
    ("shadow", tables::shadow),
    ("user", tables::user),
    ("getopt", arguments::getopt),
    ("sv", arguments::sv),
    ("chpst", arguments::chpst),
    ("svlogd", arguments::svlogd),
    ("vlogger", arguments::vlogger),
    ("text", texts::text),
    ("mask", texts::mask),
    ("title", texts::title),
];

#[cfg(test)]
mod test {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    #[test]
    fn the_corpus_holds() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
        for (name, target) in TARGETS {
            let mut count = 0;
            for entry in fs::read_dir(corpus.join(name)).unwrap() {
                let file = entry.unwrap().path();
                // Shown if the target panics.
                println!("{}", file.display());
                target(&fs::read(&file).unwrap());
                count += 1;
            }
            assert!(count > 0, "no input for {name}");
            // Not every seed directory has this one.
            target(b"");
        }
    }

    #[test]
    fn every_corpus_has_its_target() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
        let names: BTreeSet<_> = fs::read_dir(corpus)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        let targets: BTreeSet<_> =
            TARGETS.iter().map(|(name, _)| (*name).into()).collect();
        assert_eq!(names, targets);
        assert_eq!(targets.len(), TARGETS.len());
    }
}
