//! Gives each test a directory of its own with our programs.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The directory of one test, with the programs in `bin`.
pub struct TestDir {
    pub dir: tempfile::TempDir,
}

impl TestDir {
    /// Creates the directory. The release file comes from RUNT_BIN.
    pub fn new() -> Self {
        let file = std::env::var_os("RUNT_BIN")
            .expect("RUNT_BIN names the release file: use `cargo xtask test`");
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        fs::create_dir(&bin).unwrap();
        install(&bin.join("runt"), &fs::read(file).unwrap());
        let table = include_str!("../../src/applets.txt");
        for line in table.lines().filter(|line| !line.starts_with('#')) {
            let applet = line.split_whitespace().next().unwrap();
            symlink("runt", bin.join(applet)).unwrap();
        }
        Self { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

/// Writes an executable file.
///
/// Another process does that. If this process wrote the file, a child that
/// another test is just starting would briefly inherit the open descriptor,
/// and the kernel executes no file that is open for writing.
pub fn install(path: &Path, content: &[u8]) {
    let mut command = Command::new("install");
    command.args(["-m", "755", "/dev/stdin"]).arg(path);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(content).unwrap();
    drop(stdin);
    assert!(child.wait().unwrap().success());
}
