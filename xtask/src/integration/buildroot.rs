//! Checks the files of the Buildroot external tree.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use regex::Regex;

use crate::{board, run};

use super::{Report, Verdict, files, python, shell_scripts};

/// Adds the checks that need no tree to the report.
pub(super) fn check(report: &mut Report) {
    report.add("buildroot: shell scripts", scripts("buildroot"));
    report.add("buildroot: Kconfig", kconfig());
    report.add("buildroot: defconfigs", defconfigs());
    report.add("buildroot: runtime test", runtime_test());
}

/// Adds the checks that need a tree of Buildroot to the report.
pub(super) fn check_tree(report: &mut Report, tree: Option<&Path>) {
    let mut add = |name, check: fn(&Path) -> Result<Verdict>| {
        let outcome = match tree {
            Some(tree) => tree
                .canonicalize()
                .with_context(|| format!("no tree {}", tree.display()))
                .and_then(|tree| check(&tree)),
            None => Ok(Verdict::Skipped("it needs --buildroot DIR".into())),
        };
        report.add(name, outcome);
    };
    add("buildroot: check-package", check_package);
    add("buildroot: every defconfig loads", load_defconfigs);
    add("buildroot: runtime test is found", list_runtime_test);
    let reason =
        "it downloads a toolchain and sources; README.md has the command";
    report.add(
        "buildroot: runtime test passes",
        Ok(Verdict::Skipped(reason.into())),
    );
}

/// Returns the external tree.
fn external() -> PathBuf {
    board::root().join("boards/buildroot")
}

/// Checks the syntax and the style of the shell scripts of a directory.
pub(super) fn scripts(dir: &str) -> Result<Verdict> {
    let scripts = shell_scripts(dir)?;
    for script in &scripts {
        run::quiet(Command::new("sh").arg("-n").arg(script))?;
    }
    let mut lint = Command::new(python::program("shellcheck")?);
    run::quiet(lint.args(["--shell", "sh"]).args(&scripts))?;
    Ok(Verdict::Passed(format!("{} scripts", scripts.len())))
}

/// Loads the Kconfig files and checks what follows from each selection.
fn kconfig() -> Result<Verdict> {
    let printed = python::script("kconfig.py", &[&external()])?;
    Ok(Verdict::Passed(printed.trim().into()))
}

/// Returns the defconfigs.
fn configs() -> Vec<PathBuf> {
    let mut configs = files("buildroot");
    configs
        .retain(|file| file.parent().is_some_and(|p| p.ends_with("configs")));
    configs
}

/// Checks each line of the defconfigs. Symbols of this tree must exist.
fn defconfigs() -> Result<Verdict> {
    let line = Regex::new(
        r#"^(?:(BR2_\w+)=(?:y|\d+|"[^"]*")|# (BR2_\w+) is not set)$"#,
    )?;
    let symbol = Regex::new(r"(?m)^config (BR2_\w*RUNT\w*)$")?;
    let mut own = BTreeSet::new();
    for file in files("buildroot") {
        if file
            .file_name()
            .is_some_and(|n| n == "Config.in" || n == "init.in")
        {
            let text = fs::read_to_string(&file)?;
            let found = symbol.captures_iter(&text).map(|c| c[1].to_string());
            own.extend(found);
        }
    }
    let configs = configs();
    for config in &configs {
        let text = fs::read_to_string(config)?;
        for (number, text) in (1..).zip(text.lines()) {
            let place = format!("{}:{number}: {text}", config.display());
            let words = line.captures(text).with_context(|| place.clone())?;
            let name = words.get(1).or(words.get(2)).context("no symbol")?;
            let name = name.as_str();
            ensure!(
                !name.contains("RUNT") || own.contains(name),
                "{place}: there is no such symbol"
            );
        }
        ensure!(
            text.contains("BR2_INIT_RUNT=y\n"),
            "{} does not select runt",
            config.display()
        );
    }
    Ok(Verdict::Passed(format!("{} files", configs.len())))
}

/// Returns the runtime test.
fn runtime_test_file() -> PathBuf {
    external().join("support/testing/tests/init/test_runt.py")
}

/// Checks the syntax of the runtime test.
fn runtime_test() -> Result<Verdict> {
    let mut python = Command::new("python3");
    let text = "import ast, sys; ast.parse(open(sys.argv[1]).read())";
    run::quiet(python.args(["-c", text]).arg(runtime_test_file()))?;
    Ok(Verdict::Passed("syntax".into()))
}

/// Runs Buildroot's lint on the files of this tree.
fn check_package(tree: &Path) -> Result<Verdict> {
    // It needs modules that Debian's Python has as packages.
    let modules = "import magic, flake8";
    let python = "/usr/bin/python3";
    let found = Command::new(python).args(["-c", modules]).output();
    if !found.is_ok_and(|output| output.status.success()) {
        return Ok(Verdict::Skipped(
            "it needs Debian's python3-magic and python3-flake8".into(),
        ));
    }
    let mut linted = files("buildroot");
    linted.retain(|file| file.extension().is_none_or(|e| e != "md"));
    let mut lint = Command::new(python);
    // It calls shellcheck and flake8 by name.
    let shellcheck = python::program("shellcheck")?;
    let dir = shellcheck.parent().context("no directory of programs")?;
    let path = std::env::var("PATH").unwrap_or_default();
    lint.current_dir(tree)
        .env("PATH", format!("{path}:{}", dir.display()))
        .args(["utils/check-package", "-b"]);
    run::quiet(lint.args(&linted))?;
    Ok(Verdict::Passed(format!("{} files", linted.len())))
}

/// Loads each defconfig in Buildroot; no line of it may be dropped, and runt
/// must be among the packages.
fn load_defconfigs(tree: &Path) -> Result<Verdict> {
    let out = tempfile::tempdir()?;
    let configs = configs();
    for config in &configs {
        let name = config.file_name().context("no name")?;
        let mut make = Command::new("make");
        make.arg("-s").arg("-C").arg(tree);
        make.arg(format!("BR2_EXTERNAL={}", external().display()));
        make.arg(format!("O={}", out.path().display())).arg(name);
        run::quiet(&mut make)?;
        let loaded = fs::read_to_string(out.path().join(".config"))?;
        let loaded: BTreeSet<&str> = loaded.lines().collect();
        for line in fs::read_to_string(config)?.lines() {
            ensure!(
                loaded.contains(line),
                "{}: Buildroot drops {line}",
                config.display()
            );
        }
    }
    let info = show_info(out.path())?;
    for package in ["\"runt\":", "\"skeleton-init-runt\":"] {
        ensure!(info.contains(package), "no package {package}:\n{info}");
    }
    // The tree must not disturb a configuration without runt.
    let mut make = Command::new("make");
    make.arg("-s").arg("-C").arg(tree).arg("allnoconfig");
    make.arg(format!("BR2_EXTERNAL={}", external().display()));
    make.arg(format!("O={}", out.path().display()));
    run::quiet(&mut make)?;
    let info = show_info(out.path())?;
    ensure!(!info.contains("\"runt\":"), "a root without runt has runt");
    Ok(Verdict::Passed(format!("{} files", configs.len())))
}

/// Returns what Buildroot prints about the packages of a configuration.
fn show_info(out: &Path) -> Result<String> {
    let mut make = Command::new("make");
    run::quiet(make.arg("-s").arg("-C").arg(out).arg("show-info"))
}

/// Checks that Buildroot's test runner finds the runtime test.
fn list_runtime_test(tree: &Path) -> Result<Verdict> {
    let text = "\
import sys, unittest
sys.path[:0] = [sys.argv[1] + '/support/testing', sys.argv[2]]
import test_runt
tests = unittest.defaultTestLoader.loadTestsFromModule(test_runt)
assert tests.countTestCases() == 2, tests
print('%d tests' % tests.countTestCases())";
    let test = runtime_test_file();
    let dir = test.parent().context("no directory")?;
    let mut python = Command::new("/usr/bin/python3");
    python.args(["-B", "-c", text]).arg(tree).arg(dir);
    let modules = "import pexpect";
    let found = Command::new("/usr/bin/python3")
        .args(["-c", modules])
        .output();
    if !found.is_ok_and(|output| output.status.success()) {
        return Ok(Verdict::Skipped(
            "it needs Debian's python3-pexpect".into(),
        ));
    }
    Ok(Verdict::Passed(run::quiet(&mut python)?.trim().into()))
}
