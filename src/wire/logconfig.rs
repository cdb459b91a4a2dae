//! What the `config` of a log directory says (contract §5.5).

use core::time::Duration;

use crate::text::leading_number;

/// The settings of a log directory; the patterns stay in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings<'a> {
    /// `s`: bytes at which `current` is rotated, 0 for never.
    pub size: u64,
    /// `n`: old logs to keep, 0 for all.
    pub keep: u64,
    /// `N`: old logs to keep at least when the disk is full.
    pub keep_full: u64,
    /// `t`: age at which `current` is rotated, zero for never.
    pub age: Duration,
    /// `p`: what stands before every line.
    pub prefix: &'a [u8],
}

/// A line that this program cannot do what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsupported<'a>(pub &'a [u8]);

/// What a pattern decides about a line that it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// `+` and `-`: into the log, or not.
    Log(bool),
    /// `e` and `E`: to descriptor 2, or not.
    Error(bool),
}

/// The lines of a config. A last line of one character without a newline is
/// left out, as in runit.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let last = text.rsplit(|byte| *byte == b'\n').next().unwrap_or(b"");
    let kept = match last {
        [_] => text.strip_suffix(last).unwrap_or(text),
        _ => text,
    };
    kept.split(|byte| *byte == b'\n')
}

/// Reads the settings; `odd` is told each line that is not supported.
///
/// A number is what the leading digits say, 0 without any.
pub fn settings<'a>(
    text: &'a [u8],
    mut odd: impl FnMut(Unsupported<'a>),
) -> Settings<'a> {
    let mut settings = Settings {
        size: 1_000_000,
        keep: 10,
        keep_full: 10,
        age: Duration::ZERO,
        prefix: b"",
    };
    for line in lines(text) {
        let [key, value @ ..] = line else { continue };
        let (number, unit) = leading_number(value);
        match key {
            b's' => {
                let factor = match unit.first() {
                    Some(b'k') => 1024,
                    Some(b'm') => 1_048_576,
                    _ => 1,
                };
                settings.size = number.saturating_mul(factor);
            }
            b'n' => settings.keep = number,
            b'N' => settings.keep_full = number,
            b't' => {
                let factor = match unit.first() {
                    Some(b'm') => 60,
                    Some(b'h') => 3600,
                    _ => 1,
                };
                let secs = number.saturating_mul(factor);
                settings.age = Duration::from_secs(secs);
            }
            b'p' => settings.prefix = value,
            b'!' | b'u' | b'U' => odd(Unsupported(line)),
            _ => {}
        }
    }
    settings
}

/// The patterns in their order.
pub fn patterns(text: &[u8]) -> impl Iterator<Item = (Decision, &[u8])> {
    lines(text).filter_map(|line| {
        let (key, pattern) = line.split_first()?;
        let decision = match key {
            b'+' => Decision::Log(true),
            b'-' => Decision::Log(false),
            b'e' => Decision::Error(true),
            b'E' => Decision::Error(false),
            _ => return None,
        };
        Some((decision, pattern))
    })
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_config_of_everything() {
        let text = b"# comment\ns4k\nn5\nN2\nt3h\np pre: \n-*\n+*: *\ne*x\nE*\n!cmd\nZ";
        let mut odd = Vec::new();
        let settings = settings(text, |line| odd.push(line.0.to_vec()));
        assert_eq!(
            settings,
            Settings {
                size: 4096,
                keep: 5,
                keep_full: 2,
                age: Duration::from_secs(10_800),
                prefix: b" pre: ",
            }
        );
        assert_eq!(odd, [b"!cmd".to_vec()]);
        let found: Vec<_> = patterns(text).collect();
        assert_eq!(
            found,
            [
                (Decision::Log(false), &b"*"[..]),
                (Decision::Log(true), b"*: *"),
                (Decision::Error(true), b"*x"),
                (Decision::Error(false), b"*"),
            ]
        );
    }

    #[test]
    fn defaults_and_odd_ends() {
        let plain = settings(b"", |_| {});
        assert_eq!(
            (plain.size, plain.keep, plain.keep_full),
            (1_000_000, 10, 10)
        );
        assert_eq!(settings(b"n7\nn", |_| {}).keep, 7);
        assert_eq!(settings(b"n7\nn\n", |_| {}).keep, 0);
        assert_eq!(settings(b"s2m\nsx", |_| {}).size, 0);
        assert_eq!(settings(b"t5\ntm", |_| {}).age, Duration::ZERO);
    }
}
