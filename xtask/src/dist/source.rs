//! Packs the sources with all crates that they need: from this archive the
//! release is built without network.

use std::{
    fs::{self, File},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::archive::{Archive, gzip};
use crate::{
    board, cargo,
    rootfs::Entry,
    run, setup,
    version::{self, version},
};

/// The directory of the crates.
const VENDOR: &str = "vendor";

/// Cargo's configuration, which tells where the crates are.
const CONFIG: &str = ".cargo/config.toml";

/// Returns the directory in the archive that all its files are in.
pub(super) fn title() -> String {
    format!("runt-{}", env!("CARGO_PKG_VERSION"))
}

/// Writes the archive.
pub(super) fn write(to: &Path) -> Result<()> {
    let root = board::root();
    let file = File::create(to)
        .with_context(|| format!("cannot write {}", to.display()))?;
    let mut tar = Archive::new(gzip(file))?;
    let mut add = |name: &Path, entry: Entry| -> Result<()> {
        tar.add(&format!("{}/{}", title(), name.display()), &entry)
    };
    for name in files(&root)? {
        let entry = if name == Path::new(CONFIG) {
            let text = configuration(&fs::read_to_string(root.join(&name))?)?;
            Entry::File(0o644, text.into_bytes())
        } else {
            read(&root.join(&name))?
        };
        add(&name, entry)?;
    }
    // These sources come from such an archive if they have it.
    if !root.join(VENDOR).exists() {
        let crates = tempfile::tempdir_in(board::work_dir())?;
        vendor(crates.path())?;
        for name in walk(crates.path())? {
            let entry = read(&crates.path().join(&name))?;
            add(&Path::new(VENDOR).join(&name), entry)?;
        }
    }
    tar.end()?.finish()?;
    Ok(())
}

/// Writes the crates of the workspace, and those of the compiler's library, which
/// cargo looks for when it builds `core`.
fn vendor(dir: &Path) -> Result<()> {
    let mut vendor = cargo::command("vendor")?;
    vendor
        .args(["--quiet", "--locked", "--versioned-dirs", "--sync"])
        .arg(setup::core_source()?.join("Cargo.toml"))
        .env("RUSTC_BOOTSTRAP", "1");
    run::quiet(vendor.arg(dir))?;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("windows") {
            empty(&entry.path())?;
        }
    }
    Ok(())
}

/// Removes all of a crate but what cargo reads of one that it does not compile.
/// The crates of Windows are half of the archive.
fn empty(dir: &Path) -> Result<()> {
    let list = dir.join(".cargo-checksum.json");
    let text = fs::read_to_string(&list)
        .with_context(|| format!("cannot read {}", list.display()))?;
    let mut sums: Value = serde_json::from_str(&text)?;
    sums["files"] = json!({});
    let manifest = fs::read(dir.join("Cargo.toml"))?;
    fs::remove_dir_all(dir)?;
    fs::create_dir_all(dir.join("src"))?;
    fs::write(list, sums.to_string())?;
    fs::write(dir.join("Cargo.toml"), manifest)?;
    fs::write(dir.join("src/lib.rs"), "")?;
    Ok(())
}

/// Returns the paths of the sources, sorted: the files that git has, or all if
/// there is no repository.
pub(super) fn files(root: &Path) -> Result<Vec<PathBuf>> {
    if !root.join(".git").exists() {
        return walk(root);
    }
    let mut git = Command::new("git");
    git.args(["-c", "safe.directory=*", "ls-files", "-z"]);
    let list = run::quiet(git.current_dir(root))?;
    let names = list.split_terminator('\0').map(PathBuf::from);
    let mut names: Vec<_> = names.collect();
    names.sort();
    Ok(names)
}

/// Returns the paths of all files in a directory, sorted, but those that a
/// build leaves.
fn walk(root: &Path) -> Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    let walk = walkdir::WalkDir::new(root).into_iter();
    for entry in walk.filter_entry(|entry| entry.path() != root.join("target"))
    {
        let entry = entry?;
        if !entry.file_type().is_dir() {
            names.push(entry.path().strip_prefix(root)?.to_path_buf());
        }
    }
    names.sort();
    Ok(names)
}

/// Reads a file or a link. Of the permissions only that to execute counts, as
/// in git.
fn read(path: &Path) -> Result<Entry> {
    let cannot = || format!("cannot read {}", path.display());
    let data = path.symlink_metadata().with_context(cannot)?;
    if data.is_symlink() {
        let target = fs::read_link(path)?;
        return Ok(Entry::Link(target.display().to_string()));
    }
    let executable = data.permissions().mode() & 0o100 != 0;
    let mode = if executable { 0o755 } else { 0o644 };
    Ok(Entry::File(mode, fs::read(path).with_context(cannot)?))
}

/// Returns cargo's configuration with the directory of the crates and the
/// version, which the archive has no repository to read from.
fn configuration(text: &str) -> Result<String> {
    let mut table: toml::Table = toml::from_str(text)?;
    let built = version()?;
    let more = format!(
        "[env]\n{} = '{}'\n{} = '{}'\n\
         [source.crates-io]\nreplace-with = 'vendored-sources'\n\
         [source.vendored-sources]\ndirectory = '{VENDOR}'\n",
        version::TIME,
        built.time,
        version::COMMIT,
        built.commit
    );
    board::lay_over(&mut table, &toml::from_str(&more)?);
    Ok(toml::to_string(&table)?)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_configuration_with_the_version_stays_as_it_is() {
        let root = board::root();
        let text = fs::read_to_string(root.join(CONFIG)).unwrap();
        let once = configuration(&text).unwrap();
        assert!(once.contains("[source.vendored-sources]"), "{once}");
        assert_eq!(configuration(&once).unwrap(), once);
    }

    #[test]
    fn only_sources_are_packed() {
        let names = files(&board::root()).unwrap();
        assert!(names.contains(&"src/main.rs".into()));
        assert!(!names.iter().any(|name| name.starts_with("target")));
        assert!(names.is_sorted());
    }
}
