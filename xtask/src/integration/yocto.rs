//! Checks the files of the Yocto layer.

use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, chown, symlink},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use regex::Regex;

use crate::{board, build, run};

use super::{Report, Verdict, buildroot, files, python};

/// Rules of oelint-adv that do not apply: they are about recipes of a machine,
/// recipes for the build host, and projects with a public tracker.
const SUPPRESSED: [&str; 4] = [
    "oelint.vars.noncoreoverride",
    "oelint.var.bbclassextend",
    "oelint.var.suggestedvar.BUGTRACKER",
    "oelint.var.suggestedvar.CVE_PRODUCT",
];

/// The machine of the checks with a tree.
const MACHINE: &str = "qemuriscv64";

/// The user of bitbake, which refuses to run as root: `nobody`.
const USER: u32 = 65534;

/// Adds the checks that need no tree to the report.
pub(super) fn check(report: &mut Report) {
    report.add("yocto: shell scripts", scripts());
    report.add("yocto: recipes and classes", recipes());
    for release in ["scarthgap", "wrynose"] {
        report.add(&format!("yocto: oelint-adv, {release}"), lint(release));
    }
    report.add("yocto: kas files", kas());
    report.add("yocto: license checksum", license());
}

/// Adds the checks that need a tree of OpenEmbedded to the report.
pub(super) fn check_tree(report: &mut Report, tree: Option<&Path>) {
    let parse = "yocto: bitbake -p";
    let dry_run = "yocto: bitbake -n";
    let Some(tree) = tree else {
        let skipped = || Ok(Verdict::Skipped("it needs --poky DIR".into()));
        report.add(parse, skipped());
        report.add(dry_run, skipped());
        return;
    };
    let build = match Build::new(tree) {
        Ok(build) => build,
        Err(error) => {
            report.add(parse, Err(error));
            return;
        }
    };
    report.add(parse, build.parse());
    report.add("yocto: providers of runt", build.providers());
    report.add(dry_run, build.dry_run());
    let reason = "it downloads sources; README.md has the commands";
    report.add("yocto: image boots", Ok(Verdict::Skipped(reason.into())));
}

/// Returns the layer.
fn layer() -> PathBuf {
    board::root().join("boards/yocto")
}

/// Checks the scripts that go into the image.
fn scripts() -> Result<Verdict> {
    buildroot::scripts("yocto")
}

/// Returns the files that bitbake parses.
fn metadata() -> Vec<PathBuf> {
    let mut metadata = files("yocto");
    metadata.retain(|file| {
        file.extension().is_some_and(|kind| {
            ["bb", "bbappend", "bbclass", "conf", "inc"]
                .iter()
                .any(|known| kind == *known)
        })
    });
    metadata
}

/// Parses the recipes and checks the syntax of their functions.
fn recipes() -> Result<Verdict> {
    let files = metadata();
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let printed = python::script("recipes.py", &files)?;
    Ok(Verdict::Passed(printed.trim().into()))
}

/// Runs the linter of recipes for a release.
fn lint(release: &str) -> Result<Verdict> {
    let mut lint = Command::new(python::program("oelint-adv")?);
    // It would open the address of HOMEPAGE.
    lint.args(["--quiet", "--release", release]);
    for rule in SUPPRESSED {
        lint.args(["--suppress", rule]);
    }
    let files = metadata();
    run::quiet(lint.args(&files))?;
    Ok(Verdict::Passed(format!("{} files", files.len())))
}

/// Checks the files of kas with its schema.
fn kas() -> Result<Verdict> {
    let mut files = files("yocto");
    files.retain(|file| file.extension().is_some_and(|kind| kind == "yml"));
    let files: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let printed = python::script("kas_files.py", &files)?;
    Ok(Verdict::Passed(printed.trim().into()))
}

/// Checks that the recipe has the checksum of the license file.
fn license() -> Result<Verdict> {
    let file = board::root().join("LICENSE");
    let sum = run::quiet(Command::new("md5sum").arg(file))?;
    let sum = sum.split(' ').next().unwrap_or("");
    let recipe = layer().join("recipes-core/runt/runt.inc");
    let text = fs::read_to_string(recipe)?;
    let wanted = format!("file://LICENSE;md5={sum}\"");
    ensure!(text.contains(&wanted), "runt.inc lacks {wanted}");
    Ok(Verdict::Passed(sum.into()))
}

/// A build directory with the layer.
struct Build {
    /// The tree: poky, or openembedded-core with bitbake in or beside it.
    tree: PathBuf,
    /// The build directory and the home directory of its user.
    dir: tempfile::TempDir,
    /// Set if another user must run bitbake.
    is_root: bool,
}

impl Build {
    /// Makes a build directory.
    fn new(tree: &Path) -> Result<Self> {
        let tree = tree
            .canonicalize()
            .with_context(|| format!("no tree {}", tree.display()))?;
        let build = Self {
            tree,
            dir: tempfile::tempdir()?,
            is_root: run::quiet(Command::new("id").arg("-u"))?.trim() == "0",
        };
        let home = build.dir.path();
        fs::set_permissions(home, fs::Permissions::from_mode(0o755))?;
        // The trees may belong to another user.
        let git = home.join(".gitconfig");
        fs::write(git, "[safe]\n\tdirectory = *\n")?;
        let conf = home.join("build/conf");
        fs::create_dir_all(&conf)?;
        // bitbake parses the recipe of a prebuilt file only if that exists.
        let prebuilt = home.join("build/runt");
        fs::create_dir_all(&prebuilt)?;
        fs::write(prebuilt.join("runt"), "")?;
        for applet in build::applets() {
            symlink("runt", prebuilt.join(applet))?;
        }
        if build.is_root {
            for entry in walkdir::WalkDir::new(home) {
                let entry = entry?;
                if !entry.file_type().is_symlink() {
                    chown(entry.path(), Some(USER), Some(USER))?;
                }
            }
        }
        build.run("true")?;
        let local = format!(
            "{}\nMACHINE = \"{MACHINE}\"\nINIT_MANAGER = \"runt\"\n\
             BB_NO_NETWORK = \"1\"\nCONNECTIVITY_CHECK_URIS = \"\"\n",
            fs::read_to_string(conf.join("local.conf"))?
        );
        fs::write(conf.join("local.conf"), local)?;
        let layers = format!(
            "{}\nBBLAYERS += \"{}\"\n",
            fs::read_to_string(conf.join("bblayers.conf"))?,
            layer().display()
        );
        fs::write(conf.join("bblayers.conf"), layers)?;
        Ok(build)
    }

    /// Runs a command in the build directory and returns what it prints.
    fn run(&self, command: &str) -> Result<String> {
        let home = self.dir.path();
        let text = format!(
            "cd {} && . ./oe-init-build-env {} >/dev/null && {command} 2>&1",
            self.tree.display(),
            home.join("build").display(),
        );
        let mut shell = if self.is_root {
            let mut shell = Command::new("setpriv");
            let user = [format!("--reuid={USER}"), format!("--regid={USER}")];
            shell.args(user).args(["--clear-groups", "bash"]);
            shell
        } else {
            Command::new("bash")
        };
        shell.args(["-c", &text]);
        shell.env("HOME", home).env("LC_ALL", "en_US.UTF-8");
        run::quiet(&mut shell).with_context(|| {
            "on Debian, bitbake needs chrpath, diffstat, gawk, lz4, zstd and \
             locales-all"
        })
    }

    /// Parses every recipe.
    fn parse(&self) -> Result<Verdict> {
        let text = self.run("bitbake -p")?;
        let summary = Regex::new(r"Parsing of .* errors\.")?;
        let summary = summary.find(&text).context("no summary")?;
        Ok(Verdict::Passed(summary.as_str().into()))
    }

    /// Checks what the init manager is and which recipes can provide it.
    fn providers(&self) -> Result<Verdict> {
        let text = self.run("bitbake -e runt-bin")?;
        for line in [
            "INIT_MANAGER=\"runt\"",
            "VIRTUAL-RUNTIME_init_manager=\"runt\"",
        ] {
            ensure!(text.lines().any(|found| found == line), "no {line}");
        }
        let features = text.lines().find_map(|line| {
            line.strip_prefix("DISTRO_FEATURES=").map(str::to_string)
        });
        let features = features.context("no DISTRO_FEATURES")?;
        let features: Vec<&str> = features.split([' ', '"']).collect();
        ensure!(
            features.contains(&"runt")
                && !features.contains(&"sysvinit")
                && !features.contains(&"systemd"),
            "DISTRO_FEATURES = {features:?}"
        );
        let source = match self.run("bitbake -e runt") {
            Ok(_) => "runt and runt-bin".into(),
            Err(error) => {
                let error = format!("{error:#}");
                let reason = Regex::new(r"it needs Rust [^:]*")?;
                let reason = reason
                    .find(&error)
                    .with_context(|| error.clone())?
                    .as_str();
                format!("runt-bin; runt is skipped: {reason}")
            }
        };
        Ok(Verdict::Passed(source))
    }

    /// Goes through the tasks of an image without running them.
    fn dry_run(&self) -> Result<Verdict> {
        let text = self.run("bitbake -n core-image-minimal")?;
        let summary = Regex::new(r"Tasks Summary: .*")?;
        let summary = summary.find(&text).context("no summary")?;
        ensure!(
            summary.as_str().contains("all succeeded"),
            "{}",
            summary.as_str()
        );
        ensure!(
            text.contains("/recipes-core/runt/runt"),
            "runt is not in the image"
        );
        Ok(Verdict::Passed(summary.as_str().into()))
    }
}
