//! Runs cargo such that only the sources, the toolchain and the arguments decide
//! what it makes: without the caller's variables, and with those tables of the
//! caller's configuration alone that say where crates come from.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::board;

/// The variables that reach a build; a name that ends with `_` stands for all
/// that begin with it. They say where programs, toolchains and crates are, and
/// how crates are fetched.
const VARIABLES: [&str; 19] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "LD_LIBRARY_PATH",
    "RUSTUP_HOME",
    "RUSTUP_TOOLCHAIN",
    "CARGO_HTTP_",
    "CARGO_NET_",
    "CARGO_REGISTRIES_",
    "CARGO_TERM_",
    "http_proxy",
    "https_proxy",
    "HTTPS_PROXY",
    "all_proxy",
    "ALL_PROXY",
    "no_proxy",
    "NO_PROXY",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
];

/// The tables of a configuration that reach a build.
const TABLES: [&str; 5] = ["source", "registry", "registries", "http", "net"];

/// Entries that the homes of cargo share: the crates and the locks on them.
const SHARED: [&str; 3] =
    ["registry", ".package-cache", ".package-cache-mutate"];

/// Returns a command of cargo for the workspace.
pub fn command(verb: &str) -> Result<Command> {
    command_in(&board::root(), verb)
}

/// Returns a command of cargo for the sources in a directory. It does not run
/// there or in the caller's directory: cargo would read a configuration from
/// there upwards.
pub fn command_in(sources: &Path, verb: &str) -> Result<Command> {
    let mut cargo = Command::new("cargo");
    let given = |name: &str| {
        VARIABLES.iter().any(|given| {
            *given == name || given.ends_with('_') && name.starts_with(given)
        })
    };
    cargo
        .env_clear()
        .envs(std::env::vars().filter(|(name, _)| given(name)))
        .env("CARGO_HOME", home()?)
        .current_dir("/")
        .arg(verb)
        .arg("--manifest-path")
        .arg(sources.join("Cargo.toml"));
    Ok(cargo)
}

/// Returns the directory in which the caller's cargo keeps crates.
pub fn callers_home() -> Result<PathBuf> {
    match std::env::var_os("CARGO_HOME") {
        Some(home) => Ok(PathBuf::from(home)),
        None => Ok(std::env::home_dir().context("no HOME")?.join(".cargo")),
    }
}

/// Makes `home` a home of cargo that shares the crates of the caller's.
pub fn share_crates(home: &Path) -> Result<()> {
    let caller = callers_home()?;
    fs::create_dir_all(home)?;
    fs::create_dir_all(caller.join("registry"))?;
    for name in SHARED {
        let (link, target) = (home.join(name), caller.join(name));
        if fs::read_link(&link).ok().as_ref() != Some(&target) {
            // Another process may do the same.
            let new = home.join(format!("{name}.{}", std::process::id()));
            symlink(&target, &new)?;
            fs::rename(&new, &link)
                .with_context(|| format!("cannot make {}", link.display()))?;
        }
    }
    Ok(())
}

/// Makes the home of cargo for builds, and returns its path.
fn home() -> Result<PathBuf> {
    let home = board::work_dir().join("cargo");
    share_crates(&home)?;
    let root = board::root();
    let above = root.ancestors().map(|dir| dir.join(".cargo"));
    let mut settings = toml::Table::new();
    for dir in above.chain([callers_home()?]) {
        let file = dir.join("config.toml");
        let Ok(text) = fs::read_to_string(&file) else {
            continue;
        };
        let mut table: toml::Table = toml::from_str(&text)
            .with_context(|| format!("{} is wrong", file.display()))?;
        table.retain(|name, _| TABLES.contains(&name));
        let base = dir.parent().unwrap_or(&dir);
        make_absolute(&mut table, base);
        // The nearest file counts.
        board::lay_over(&mut table, &settings);
        settings = table;
    }
    let file = home.join("config.toml");
    let text = toml::to_string(&settings)?;
    if fs::read_to_string(&file).ok().as_ref() != Some(&text) {
        fs::write(&file, text)?;
    }
    Ok(home)
}

/// Makes the directories of sources absolute, which are relative to `base`.
fn make_absolute(settings: &mut toml::Table, base: &Path) {
    let Some(toml::Value::Table(sources)) = settings.get_mut("source") else {
        return;
    };
    for source in sources.iter_mut().filter_map(|(_, s)| s.as_table_mut()) {
        for key in ["directory", "local-registry"] {
            if let Some(toml::Value::String(path)) = source.get_mut(key) {
                *path = base.join(&*path).display().to_string();
            }
        }
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_source_keeps_its_directory() {
        let text = "[source.a]\ndirectory = \"v\"\n[source.b]\ndirectory = \"/v\"\nx = 1\n";
        let mut settings = toml::from_str(text).unwrap();
        make_absolute(&mut settings, Path::new("/base"));
        assert_eq!(
            toml::to_string(&settings).unwrap(),
            "[source.a]\ndirectory = \"/base/v\"\n\n[source.b]\ndirectory = \"/v\"\nx = 1\n"
        );
    }

    #[test]
    fn only_what_says_where_things_are_reaches_a_build() {
        let cargo = command("build").unwrap();
        let names: Vec<_> = cargo
            .get_envs()
            .map(|(name, _)| name.to_string_lossy().into_owned())
            .collect();
        assert!(names.iter().any(|name| name == "CARGO_HOME"), "{names:?}");
        assert!(names.iter().any(|name| name == "PATH"), "{names:?}");
        // Cargo sets these for its tests.
        assert!(std::env::var("CARGO_MANIFEST_DIR").is_ok());
        assert!(!names.iter().any(|name| name == "CARGO_MANIFEST_DIR"));
    }
}
