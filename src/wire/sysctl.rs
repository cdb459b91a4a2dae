//! Kernel settings in the lines of a sysctl.d file (sysctl.d(5)).

use crate::text::{Path, TooLong};

/// Kernel setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting<'a> {
    /// Name, with dots or slashes.
    name: &'a [u8],
    /// New value.
    pub value: &'a [u8],
    /// A failure to set it is ignored.
    pub optional: bool,
}

impl<'a> Setting<'a> {
    /// Reads a line; `None` for blanks, comments and lines without `=`.
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let line = line.trim_ascii();
        if let [] | [b'#' | b';', ..] = line {
            return None;
        }
        let equals = line.iter().position(|byte| *byte == b'=')?;
        let (name, value) = line.split_at_checked(equals)?;
        let name = name.trim_ascii();
        let plain = name.strip_prefix(b"-");
        Some(Self {
            name: plain.unwrap_or(name),
            value: value.get(1..)?.trim_ascii(),
            optional: plain.is_some(),
        })
    }

    /// Returns the path of its file. If the first separator is a slash, dots
    /// are part of names: `net/ipv4/conf/eth0.1/forwarding`.
    pub fn path(self) -> Result<Path, TooLong> {
        let first = self.name.iter().find(|byte| matches!(byte, b'.' | b'/'));
        let dots = first == Some(&b'.');
        let mut path = Path::join(&[b"/proc/sys/"])?;
        for byte in self.name {
            let byte = match byte {
                b'.' if dots => b'/',
                b'/' if dots => b'.',
                other => *other,
            };
            path = Path::join(&[path.as_bytes(), &[byte]])?;
        }
        Ok(path)
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn lines_and_their_files() {
        let row = |line: &'static [u8]| {
            let setting = Setting::parse(line)?;
            let path = setting.path().unwrap().as_bytes().to_vec();
            let path = String::from_utf8(path).unwrap();
            Some((path, setting.value, setting.optional))
        };
        let a = ("/proc/sys/net/ipv4/ip_forward".into(), &b"1"[..], false);
        assert_eq!(row(b" net.ipv4.ip_forward = 1 "), Some(a));
        let b = (
            "/proc/sys/net/ipv4/conf/eth0.1/rp_filter".into(),
            &b"2 3"[..],
            true,
        );
        assert_eq!(row(b"-net/ipv4/conf/eth0.1/rp_filter=2 3"), Some(b));
        for line in [&b"# a = b"[..], b"; a = b", b"", b"just words"] {
            assert_eq!(Setting::parse(line), None);
        }
        assert!(
            Setting::parse(&[&[b'x'; 300][..], b"=1"].concat())
                .unwrap()
                .path()
                .is_err()
        );
    }
}
