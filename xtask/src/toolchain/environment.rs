//! Sets the variables that Buildroot and Yocto set for a crate. Both give the release
//! profile other values, which must not reach the profile `board`.
//!
//! Crates come from the caller's registry here, in place of the vendored ones.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use super::{Build, HOST, Variables};
use crate::{board, cargo};

/// Returns the build that a user types.
pub(super) fn none() -> Build<'static> {
    Build {
        name: "toolchain",
        target: HOST,
        variables: Variables::new(),
        dir: board::root(),
        sources: board::root(),
    }
}

/// Returns a build as package/pkg-cargo.mk of Buildroot (2025.08 to 2026.08)
/// runs it, with the profile that it sets without BR2_ENABLE_LTO.
pub(super) fn buildroot(target: &str) -> Result<Build<'_>> {
    let dir = own_dir("buildroot")?;
    let home = cargo_home(&dir, "")?;
    let of_target = format!("CARGO_TARGET_{}", upper(target));
    let variables = [
        ("CARGO_HOME", home.as_str()),
        ("__CARGO_TEST_CHANNEL_OVERRIDE_DO_NOT_USE_THIS", "nightly"),
        ("CARGO_UNSTABLE_HOST_CONFIG", "true"),
        ("CARGO_UNSTABLE_TARGET_APPLIES_TO_HOST", "true"),
        ("CARGO_TARGET_APPLIES_TO_HOST", "false"),
        ("CARGO_BUILD_TARGET", target),
        ("CARGO_HOST_RUSTFLAGS", "-C link-args=-L/usr/lib"),
        ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "2"),
        ("CARGO_PROFILE_RELEASE_LTO", "false"),
        ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
        ("CARGO_PROFILE_RELEASE_DEBUG", "2"),
        ("CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS", "true"),
        ("CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS", "true"),
        (&format!("{of_target}_LINKER"), "gcc"),
        // Set for ARM: the start files of a libc then define `_start` first.
        (
            &format!("{of_target}_RUSTFLAGS"),
            "-Clink-arg=-Wl,--allow-multiple-definition",
        ),
        // TARGET_CONFIGURE_OPTS.
        ("CC", "gcc"),
        ("LD", "ld"),
        ("CFLAGS", "-D_LARGEFILE_SOURCE -Os -g0"),
        ("LDFLAGS", "-Wl,--as-needed"),
    ];
    Ok(Build {
        name: "buildroot",
        target,
        variables: owned(&variables),
        // It changes to the package's directory.
        dir: board::root(),
        sources: board::root(),
    })
}

/// Returns a build as cargo.bbclass and rust-common.bbclass of openembedded-core
/// (5.0 to 6.0) run it: outside of the source, with a wrapper as the linker.
pub(super) fn yocto(target: &str) -> Result<Build<'_>> {
    let dir = own_dir("yocto")?;
    let wrapper = dir.join("target-rust-ccld");
    let flags =
        "-Wl,-O1 -Wl,--hash-style=gnu -Wl,--as-needed -Wl,-z,relro,-z,now";
    fs::write(&wrapper, format!("#!/bin/sh\nexec gcc {flags} \"$@\"\n"))?;
    fs::set_permissions(&wrapper, fs::Permissions::from_mode(0o755))?;
    let config = format!(
        "[target.{target}]\nlinker = \"{}\"\n\
         [http]\nmultiplexing = false\n\
         [build]\ntarget-dir = \"{}/target\"\n\
         [term]\nprogress.when = 'always'\nprogress.width = 80\n",
        wrapper.display(),
        dir.display()
    );
    let home = cargo_home(&dir, &config)?;
    let rustflags = format!(
        "-L {dir}/lib/rustlib/{target}/lib \
         --remap-path-prefix={dir}=/usr/src/debug/runt/0.1.0 \
         --remap-path-prefix={dir}/work-shared=/usr/src/debug/runt/0.1.0",
        dir = dir.display()
    );
    let rustlib = format!("/usr/lib/rustlib/{target}/lib");
    let targets = format!("{}/rust-targets", dir.display());
    let cc = wrapper.display().to_string();
    let variables = [
        ("CARGO_HOME", home.as_str()),
        ("PKG_CONFIG_ALLOW_CROSS", "1"),
        ("RUST_BACKTRACE", "1"),
        ("rustlibdir", &rustlib),
        ("RUSTFLAGS", &rustflags),
        ("RUST_TARGET_PATH", &targets),
        ("CC", &cc),
        ("TARGET_CC", &cc),
        ("HOST_CC", "gcc"),
        ("CFLAGS", "-O2 -pipe -g -feliminate-unused-debug-types"),
        ("TARGET_CFLAGS", "-O2 -pipe -g"),
        ("LDFLAGS", flags),
    ];
    Ok(Build {
        name: "yocto",
        target,
        variables: owned(&variables),
        dir,
        sources: board::root(),
    })
}

/// Returns a target's name as it is in variables of cargo.
pub(super) fn upper(target: &str) -> String {
    target.replace('-', "_").to_uppercase()
}

/// Returns the variables in the form of a build.
fn owned(variables: &[(&str, &str)]) -> Variables {
    let pairs = variables.iter();
    pairs.map(|(k, v)| ((*k).into(), (*v).into())).collect()
}

/// Makes a directory outside of the repository's, so that cargo does not find
/// the repository's configuration above it.
fn own_dir(name: &str) -> Result<PathBuf> {
    let user = rustix::process::getuid().as_raw();
    let dir = std::env::temp_dir().join(format!("runt-{name}-{user}"));
    fs::create_dir_all(&dir)
        .with_context(|| format!("cannot make {}", dir.display()))?;
    Ok(dir)
}

/// Makes a CARGO_HOME with this configuration; returns its path.
fn cargo_home(dir: &Path, config: &str) -> Result<String> {
    let home = dir.join("cargo_home");
    cargo::share_crates(&home)?;
    fs::write(home.join("config.toml"), config)?;
    Ok(home.display().to_string())
}
