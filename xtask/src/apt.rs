//! Fetches Debian packages of any suite and architecture without changing the
//! host: a private apt root with the host's mirror and keys.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{board, run};

/// Time limit for other processes to release apt's and dpkg's locks.
const LOCKED: Duration = Duration::from_mins(10);

/// Delay between two attempts to get a lock.
const RETRY: Duration = Duration::from_secs(1);

/// Runs apt-get. While another process has one of its locks, waits: apt's own
/// option covers dpkg's locks, but not that of the package lists.
pub fn get(command: &mut Command) -> Result<String> {
    let timeout = format!("DPkg::Lock::Timeout={}", LOCKED.as_secs());
    command
        .args(["-o", &timeout])
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C");
    let limit = Instant::now() + LOCKED;
    loop {
        let result = run::quiet(command);
        let locked = result.as_ref().is_err_and(|error| {
            format!("{error:#}").contains("E: Could not get lock ")
        });
        if !locked || Instant::now() > limit {
            return result;
        }
        std::thread::sleep(RETRY);
    }
}

/// A private apt root for one suite and architecture.
pub struct Root {
    config: PathBuf,
    debs: PathBuf,
    title: String,
}

impl Root {
    /// Opens the root, and creates it if necessary; the package lists are
    /// fetched the first time.
    pub fn open(suite: &str, arch: &str) -> Result<Self> {
        let title = format!("{suite}/{arch}");
        let dir = board::work_dir()
            .join("apt")
            .join(format!("{suite}-{arch}"));
        let debs = board::work_dir().join("debs");
        let config = dir.join("apt.conf");
        let root = Self {
            config,
            debs,
            title,
        };
        // It contains absolute paths, so it is created again if the directory
        // has moved.
        let ready = dir.join("ready");
        let here = dir.display().to_string();
        if fs::read_to_string(&ready).ok().as_ref() != Some(&here) {
            root.create(&dir, suite, arch)?;
            root.update()?;
            fs::write(ready, here)?;
        }
        Ok(root)
    }

    /// Writes the files of the root.
    fn create(&self, dir: &Path, suite: &str, arch: &str) -> Result<()> {
        for sub in ["state/lists/partial", "cache/archives/partial", "parts"] {
            fs::create_dir_all(dir.join(sub))?;
        }
        fs::create_dir_all(&self.debs)?;
        fs::write(dir.join("status"), "")?;
        let mirror = mirror_of(suite)?;
        fs::write(
            dir.join("sources.list"),
            format!("deb {mirror} {suite} main\n"),
        )?;
        let at = dir.display();
        let mut text = format!(
            "Dir::State \"{at}/state\";\nDir::State::status \"{at}/status\";\n\
             Dir::Cache \"{at}/cache\";\nDir::Etc::sourcelist \"{at}/sources.list\";\n\
             Dir::Etc::sourceparts \"{at}/parts\";\nDir::Etc::parts \"{at}/parts\";\n\
             APT::Architecture \"{arch}\";\nAPT::Architectures {{ \"{arch}\"; }};\n\
             Acquire::Languages \"none\";\nAPT::Sandbox::User \"root\";\n"
        );
        for line in network()? {
            text.push_str(&line);
            text.push('\n');
        }
        fs::write(&self.config, text)?;
        Ok(())
    }

    /// Fetches the package lists, once in a run: what the mirror lacks now it
    /// still lacks a moment later.
    fn update(&self) -> Result<()> {
        static TRIED: Mutex<BTreeMap<String, bool>> =
            Mutex::new(BTreeMap::new());
        once(&TRIED, &self.title, || self.update_now())
    }

    /// Fetches the package lists; apt checks their signatures with the host's
    /// keys.
    fn update_now(&self) -> Result<()> {
        println!("fetching the package lists of {}", self.title);
        get(self.command("apt-get").args(["-q", "update"]))
            .map(|_| ())
            .context(
                "is the network there? are the keys of that suite in \
                 /etc/apt/trusted.gpg.d (package debian-archive-keyring)?",
            )
    }

    /// Returns an apt command for this root.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("APT_CONFIG", &self.config).env("LC_ALL", "C");
        command
    }

    /// Returns the versions of a package, newest first.
    pub fn versions(&self, package: &str) -> Result<Vec<String>> {
        let mut command = self.command("apt-cache");
        let text = run::quiet(command.args(["madison", package]))?;
        Ok(text
            .lines()
            .filter_map(|line| Some(line.split('|').nth(1)?.trim().to_string()))
            .collect())
    }

    /// Returns the package that a meta package stands for: the dependency that
    /// begins with `prefix`, or the package itself when there is none.
    pub fn behind(&self, package: &str, prefix: &str) -> Result<String> {
        let mut command = self.command("apt-cache");
        let text =
            run::quiet(command.args(["depends", "--important", package]))?;
        let found = text
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "))
            .find(|name| name.starts_with(prefix));
        Ok(found.unwrap_or(package).to_string())
    }

    /// Fetches a package, `NAME` or `NAME=VERSION`; returns the file.
    pub fn fetch(&self, package: &str) -> Result<PathBuf> {
        if let Ok(file) = self.download(package) {
            return Ok(file);
        }
        // The lists may be outdated: the mirror then has a newer version.
        self.update()?;
        self.download(package)
    }

    /// Fetches a package using the lists at hand.
    fn download(&self, package: &str) -> Result<PathBuf> {
        let mut command = self.command("apt-get");
        command.args(["-q", "download", "--print-uris", package]);
        let text = get(&mut command)?;
        let mut words = text.split_whitespace().skip(1);
        let (Some(name), Some(size)) = (words.next(), words.next()) else {
            bail!("{} has no package {package}", self.title);
        };
        let file = self.debs.join(name);
        let size: u64 = size.parse().context("apt-get printed no size")?;
        if file.metadata().is_ok_and(|data| data.len() == size) {
            return Ok(file);
        }
        let bar = ProgressBar::new(size).with_message(name.to_string());
        bar.set_style(ProgressStyle::with_template(
            "{msg}  {bytes}/{total_bytes}  {eta}",
        )?);
        if bar.is_hidden() {
            println!("fetching {name} ({} kB)", size / 1000);
        }
        let mut command = self.command("apt-get");
        command
            .current_dir(&self.debs)
            .args(["-qq", "download", package]);
        let mut child = command
            .stderr(std::process::Stdio::null())
            .spawn()
            .context("cannot run apt-get")?;
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break status;
            }
            bar.set_position(file.metadata().map_or(0, |data| data.len()));
            std::thread::sleep(Duration::from_millis(100));
        };
        bar.finish_and_clear();
        if !status.success() {
            bail!("apt-get download {package} from {} failed", self.title);
        }
        Ok(file)
    }
}

/// Does the work of that title unless it was `tried` before; in that case
/// returns an error if it had failed.
fn once(
    tried: &Mutex<BTreeMap<String, bool>>,
    title: &str,
    work: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let before = tried.lock().ok().and_then(|t| t.get(title).copied());
    if let Some(good) = before {
        ensure!(good, "cannot fetch the package lists of {title}");
        return Ok(());
    }
    let done = work();
    if let Ok(mut tried) = tried.lock() {
        tried.insert(title.into(), done.is_ok());
    }
    done
}

/// Unpacks the files of a package that match `patterns` (tar wildcards) into
/// `dir`.
pub fn unpack(deb: &Path, dir: &Path, patterns: &[&str]) -> Result<()> {
    fs::create_dir_all(dir)?;
    let mut tar = Command::new("dpkg")
        .arg("--fsys-tarfile")
        .arg(deb)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .context("cannot run dpkg")?;
    let Some(stream) = tar.stdout.take() else {
        bail!("dpkg printed nothing")
    };
    let status = Command::new("tar")
        .arg("-C")
        .arg(dir)
        .args(["-x", "--no-same-owner", "--wildcards"])
        .args(patterns)
        .stdin(stream)
        .status()
        .context("cannot run tar")?;
    let packed = tar.wait()?;
    if !status.success() || !packed.success() {
        bail!(
            "cannot unpack {} from {}",
            patterns.join(" "),
            deb.display()
        );
    }
    Ok(())
}

/// Returns the host's network settings, such as a proxy, as lines of a
/// configuration file.
pub fn network() -> Result<Vec<String>> {
    let host = run::quiet(Command::new("apt-config").arg("dump"))?;
    let keys = ["Acquire::http", "Acquire::Check-", "Acquire::Retries"];
    let named = |line: &&str| keys.iter().any(|key| line.starts_with(key));
    Ok(host.lines().filter(named).map(String::from).collect())
}

/// Returns the host's Debian mirror, from apt's own configuration.
pub fn mirror() -> Result<String> {
    mirror_of("")
}

/// Returns the host's mirror for a suite: the security suites have their own.
fn mirror_of(suite: &str) -> Result<String> {
    const SECURITY: &str = "-security";
    let format = "$(SITE) $(RELEASE)";
    let text = run::quiet(Command::new("apt-get").args([
        "indextargets",
        "--format",
        format,
    ]))
    .context("xtask fetches packages through apt: run it on Debian")?;
    let found = text.lines().find_map(|line| {
        let (site, release) = line.split_once(' ')?;
        let same = release.contains(SECURITY) == suite.contains(SECURITY);
        same.then(|| site.to_string())
    });
    found.context(
        "apt has no mirror configured: add a `deb` line for your release to \
         /etc/apt/sources.list",
    )
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_lock_of_another_process_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let script = "test -e tried && exec echo done\n\
            touch tried\n\
            echo 'E: Could not get lock /var/lib/apt/lists/lock.' >&2\n\
            exit 100\n";
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(&dir);
        assert_eq!(get(&mut command).unwrap(), "done\n");
        let other = "echo 'E: Unable to locate package a' >&2; exit 100";
        assert!(get(Command::new("sh").args(["-c", other])).is_err());
    }

    #[test]
    fn lists_are_fetched_once() {
        let tried = Mutex::new(BTreeMap::new());
        let mut count = 0;
        for _ in 0..3 {
            let good = once(&tried, "good", || {
                count += 1;
                Ok(())
            });
            assert!(good.is_ok());
            let failed = once(&tried, "bad", || {
                count += 10;
                bail!("no network")
            });
            assert!(failed.is_err());
        }
        assert_eq!(count, 11);
    }
}
