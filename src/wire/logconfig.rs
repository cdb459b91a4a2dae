//! Reads the `config` of a log directory (contract §5.5).

use core::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use super::ipv6;
use crate::text::{find, leading_number};

/// Settings of a log directory; the patterns stay in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings<'a> {
    /// `s`: size in bytes at which `current` is rotated, 0 for never.
    pub size: u64,
    /// `n`: number of old logs to keep, 0 for all.
    pub keep: u64,
    /// `N`: minimum number of old logs to keep when the disk is full.
    pub keep_full: u64,
    /// `t`: age at which `current` is rotated, zero for never.
    pub age: Duration,
    /// `f`: maximum time until written lines are synced to the medium, zero
    /// for the next rotation. Not in runit.
    pub durable: Duration,
    /// `d`: time to wait on a write error before lines are dropped, zero for
    /// ever. Not in runit.
    pub lossy: Duration,
    /// `m`: permission bits of the files, without x bits. Not in runit.
    pub mode: u32,
    /// `g`: name or number of their group, empty for the kernel's choice. Not
    /// in runit.
    pub group: &'a [u8],
    /// `p`: prefix of every line.
    pub prefix: &'a [u8],
    /// `!`: the processor, empty for none.
    pub command: &'a [u8],
    /// `u` and `U`: destination to which lines are sent.
    pub udp: Option<Udp>,
}

/// Destination of lines, in addition to the file or instead of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Udp {
    /// The address; its port is never 0.
    pub to: SocketAddr,
    /// `U`: lines are not written to the file.
    pub only: bool,
}

/// Reason why a line is invalid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// It begins with no known character.
    Unknown,
    /// A number is missing, or followed by something else; the value of the
    /// leading digits is used.
    Number,
    /// The address is invalid.
    Ip,
    /// The port is invalid.
    Port,
}

/// Effect of a pattern on a line that it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// `+` and `-`: into the log, or not.
    Log(bool),
    /// `e` and `E`: to descriptor 2, or not.
    Error(bool),
}

/// svlogd's defaults: size in bytes, and number of old logs to keep.
pub const SIZE_AND_KEEP: (u64, u64) = (1_000_000, 10);

/// Default port of `u` and `U`: that of syslog.
const PORT: u16 = 514;

/// Returns the lines of a config. A last line of one character without a
/// newline is left out, as in runit.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let last = text.rsplit(|byte| *byte == b'\n').next().unwrap_or(b"");
    let kept = match last {
        [_] => text.strip_suffix(last).unwrap_or(text),
        _ => text,
    };
    kept.split(|byte| *byte == b'\n')
}

/// Reads the settings. Calls `pattern` for each line that is a pattern, and
/// `invalid` for each invalid line with the part of it in question.
///
/// A number is the value of the leading digits, 0 without any. `bounds` are
/// the defaults of size and count.
pub fn settings<'a>(
    text: &'a [u8],
    (size, keep): (u64, u64),
    mut pattern: impl FnMut(&'a [u8]),
    mut invalid: impl FnMut(Invalid, &'a [u8]),
) -> Settings<'a> {
    let mut settings = Settings {
        size,
        keep,
        keep_full: keep,
        age: Duration::ZERO,
        durable: Duration::ZERO,
        lossy: Duration::ZERO,
        mode: 0o644,
        group: b"",
        prefix: b"",
        command: b"",
        udp: None,
    };
    for line in lines(text) {
        let [key, value @ ..] = line else { continue };
        match key {
            b'#' => {}
            b'+' | b'-' | b'e' | b'E' => pattern(line),
            // An empty prefix does not reset an earlier one, as in runit.
            b'p' if value.is_empty() => {}
            b'p' => settings.prefix = value,
            b'!' => settings.command = value,
            b'g' => settings.group = value,
            b'm' => match mode(value) {
                Some(mode) => settings.mode = mode,
                None => invalid(Invalid::Number, line),
            },
            b'u' | b'U' => match udp(value, *key == b'U') {
                Ok(udp) => settings.udp = Some(udp),
                Err((what, part)) => invalid(what, part),
            },
            b's' | b'n' | b'N' | b't' | b'f' | b'd' => {
                let (number, unit) = leading_number(value);
                let factor = match (key, unit) {
                    (b's', [b'k', ..]) => 1024,
                    (b's', [b'm', ..]) => 1_048_576,
                    (b't' | b'f' | b'd', [b'm', ..]) => 60,
                    (b't' | b'f' | b'd', [b'h', ..]) => 3600,
                    _ => 1,
                };
                let known = usize::from(factor > 1);
                if unit.len() > known || unit.len() == value.len() {
                    invalid(Invalid::Number, line);
                }
                let number = number.saturating_mul(factor);
                match key {
                    b's' => settings.size = number,
                    b'n' => settings.keep = number,
                    b'N' => settings.keep_full = number,
                    b't' => settings.age = Duration::from_secs(number),
                    b'd' => settings.lossy = Duration::from_secs(number),
                    _ => settings.durable = Duration::from_secs(number),
                }
            }
            _ => invalid(Invalid::Unknown, line),
        }
    }
    settings
}

/// Reads `A.B.C.D[:PORT]`, `[IPV6]:PORT` or an IPv6 address. Anything after
/// the address or the port is ignored, as in runit; numbers that are too large
/// are invalid, while runit truncates them.
fn udp(text: &[u8], only: bool) -> Result<Udp, (Invalid, &[u8])> {
    let colon = |byte: &u8| *byte == b':';
    let many = text.iter().position(colon) != text.iter().rposition(colon);
    let (ip, rest) = match text {
        [b'[', inner @ ..] => {
            let end = find(inner, b']').ok_or((Invalid::Ip, text))?;
            let (ip, rest) = inner.split_at_checked(end).unwrap_or_default();
            (
                v6(ip).ok_or((Invalid::Ip, text))?,
                rest.get(1..).unwrap_or(&[]),
            )
        }
        _ if many => (v6(text).ok_or((Invalid::Ip, text))?, &[][..]),
        _ => {
            let (ip, rest) = v4(text).ok_or((Invalid::Ip, text))?;
            (IpAddr::V4(ip), rest)
        }
    };
    let port = match rest {
        [b':', part @ ..] => match u16::try_from(leading_number(part).0) {
            Ok(0) | Err(_) => return Err((Invalid::Port, part)),
            Ok(port) => port,
        },
        _ => PORT,
    };
    let to = SocketAddr::new(ip, port);
    Ok(Udp { to, only })
}

/// Reads an IPv6 address.
fn v6(text: &[u8]) -> Option<IpAddr> {
    let v4 = |text: &[u8]| v4(text).filter(|it| it.1.is_empty()).map(|it| it.0);
    ipv6::parse(text, v4).map(IpAddr::V6)
}

/// Reads an IPv4 address; also returns the rest of the text.
fn v4(text: &[u8]) -> Option<(Ipv4Addr, &[u8])> {
    let mut ip = [0; 4];
    let mut rest = text;
    for (octet, dot) in ip.iter_mut().zip([false, true, true, true]) {
        let part = match rest {
            [b'.', part @ ..] if dot => part,
            part if !dot => part,
            _ => return None,
        };
        let (number, behind) = leading_number(part);
        if behind.len() == part.len() {
            return None;
        }
        *octet = u8::try_from(number).ok()?;
        rest = behind;
    }
    Some((Ipv4Addr::from(ip), rest))
}

/// Reads permission bits in octal; `None` for anything else. The config cannot
/// make a file executable: the owner's x bit has another meaning.
fn mode(text: &[u8]) -> Option<u32> {
    /// Read and write bits.
    const MASK: u32 = 0o666;
    let octal = |byte: &u8| (b'0'..=b'7').contains(byte);
    if !(1..=4).contains(&text.len()) || !text.iter().all(octal) {
        return None;
    }
    let mode = text.iter().fold(0, |mode, byte| {
        mode << 3 | u32::from(byte.wrapping_sub(b'0'))
    });
    (mode <= 0o777).then_some(mode & MASK)
}

/// Returns the patterns in order, from lines that each end in a newline.
pub fn patterns(text: &[u8]) -> impl Iterator<Item = (Decision, &[u8])> {
    let mut rest = text;
    core::iter::from_fn(move || {
        let (line, behind) = rest.split_at_checked(find(rest, b'\n')?)?;
        rest = behind.get(1..)?;
        let (key, pattern) = line.split_first()?;
        let decision = match key {
            b'+' => Decision::Log(true),
            b'-' => Decision::Log(false),
            b'e' => Decision::Error(true),
            _ => Decision::Error(false),
        };
        Some((decision, pattern))
    })
}

#[cfg(test)]
mod test {
    use proptest::prelude::*;

    use super::*;

    /// Returns the settings, the patterns and the invalid parts.
    fn read(text: &[u8]) -> (Settings<'_>, Vec<u8>, Vec<(Invalid, &[u8])>) {
        let (mut patterns, mut invalid) = (Vec::new(), Vec::new());
        let settings = settings(
            text,
            SIZE_AND_KEEP,
            |line| patterns.extend([line, b"\n"].concat()),
            |what, part| invalid.push((what, part)),
        );
        (settings, patterns, invalid)
    }

    #[test]
    fn every_letter_is_read() {
        let text =
            b"# comment\ns4k\nn5\nN2\nt3h\nf2m\nd7\nm750\ngadm\np pre: \n-*\n+*: *\n\
            e*x\nE*\n!cmd a\nu1.2.3.4:99\nZ";
        let (settings, found, invalid) = read(text);
        assert_eq!(
            settings,
            Settings {
                size: 4096,
                keep: 5,
                keep_full: 2,
                age: Duration::from_secs(10_800),
                durable: Duration::from_secs(120),
                lossy: Duration::from_secs(7),
                mode: 0o640,
                group: b"adm",
                prefix: b" pre: ",
                command: b"cmd a",
                udp: Some(Udp {
                    to: "1.2.3.4:99".parse().unwrap(),
                    only: false
                }),
            }
        );
        assert_eq!(invalid, []);
        let found: Vec<_> = patterns(&found).collect();
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
    fn defaults_and_invalid_lines() {
        let (plain, ..) = read(b"");
        assert_eq!(
            (plain.size, plain.keep, plain.keep_full),
            (1_000_000, 10, 10)
        );
        assert_eq!(read(b"n7\nn").0.keep, 7);
        let number = |line| vec![(Invalid::Number, line)];
        let (none, _, invalid) = read(b"n7\nn\n");
        assert_eq!((none.keep, invalid), (0, number(&b"n"[..])));
        let (none, _, invalid) = read(b"s2m\nsx");
        assert_eq!((none.size, invalid), (0, number(&b"sx"[..])));
        let (none, _, invalid) = read(b"t5\ntm");
        assert_eq!((none.age, invalid), (Duration::ZERO, number(&b"tm"[..])));
        assert_eq!(read(b"s7 k").2, number(&b"s7 k"[..]));
        let (large, _, invalid) = read(b"s99999999999999999999m\n");
        assert_eq!((large.size, invalid), (u64::MAX, vec![]));
        assert_eq!(read(b" s1\n").2, vec![(Invalid::Unknown, &b" s1"[..])]);
    }

    /// Contract §5.5: `k` and `m` multiply a size, `m` and `h` a time, nothing
    /// a count.
    #[test]
    fn every_number_with_every_unit() {
        const LARGE: u64 = u64::MAX;
        let factor = |key, unit| match (key, unit) {
            (_, "") => Some(1),
            ('s', "k") => Some(1024),
            ('s', "m") => Some(1024 * 1024),
            ('t' | 'f' | 'd', "m") => Some(60),
            ('t' | 'f' | 'd', "h") => Some(3600),
            _ => None,
        };
        for key in "snNtfd".chars() {
            for unit in ["", "k", "m", "h", "s", "mm", " "] {
                for number in [0, 3, LARGE] {
                    let text = format!("{key}{number}{unit}\n");
                    let (read, _, invalid) = read(text.as_bytes());
                    let value = match key {
                        's' => read.size,
                        'n' => read.keep,
                        'N' => read.keep_full,
                        't' => read.age.as_secs(),
                        'f' => read.durable.as_secs(),
                        _ => read.lossy.as_secs(),
                    };
                    // The leading unit counts also when more follows.
                    let first = unit.get(..1).unwrap_or("");
                    let known = factor(key, first).unwrap_or(1);
                    let expected = number.saturating_mul(known);
                    assert_eq!(value, expected, "{text}");
                    let valid = factor(key, unit).is_some();
                    assert_eq!(invalid.is_empty(), valid, "{text}");
                }
            }
        }
    }

    #[test]
    fn modes() {
        let mode = |text| (read(text).0.mode, read(text).2.len());
        assert_eq!(mode(b"m600\n"), (0o600, 0));
        assert_eq!(mode(b"m0640\n"), (0o640, 0));
        for wrong in [&b"m\n"[..], b"m8\n", b"m1777\n", b"m00644\n", b"m64x\n"]
        {
            assert_eq!(mode(wrong), (0o644, 1));
        }
    }

    #[test]
    fn addresses() {
        let udp = |text, to: &str, only| {
            let to = to.parse().unwrap();
            assert_eq!(read(text).0.udp, Some(Udp { to, only }));
        };
        udp(b"u127.0.0.1\n", "127.0.0.1:514", false);
        udp(b"U127.0.0.1:9x\n", "127.0.0.1:9", true);
        udp(b"u[2001:db8::1]:515\n", "[2001:db8::1]:515", false);
        udp(b"u[::1]\n", "[::1]:514", false);
        udp(b"U2001:db8::1\n", "[2001:db8::1]:514", true);
        udp(b"u::ffff:1.2.3.4", "[::ffff:1.2.3.4]:514", false);
        let rows: [(&[u8], Invalid, &[u8]); 13] = [
            (b"u[::1", Invalid::Ip, b"[::1"),
            (b"u[]", Invalid::Ip, b"[]"),
            (b"u[1.2.3.4]:5", Invalid::Ip, b"[1.2.3.4]:5"),
            (b"u[::1]:0", Invalid::Port, b"0"),
            (b"u::1::", Invalid::Ip, b"::1::"),
            (b"u1:2:3", Invalid::Ip, b"1:2:3"),
            (b"u1.2.3", Invalid::Ip, b"1.2.3"),
            (b"u1.2.3.", Invalid::Ip, b"1.2.3."),
            (b"u1..3.4", Invalid::Ip, b"1..3.4"),
            (b"u1.2.3.256", Invalid::Ip, b"1.2.3.256"),
            (b"u1.2.3.4:", Invalid::Port, b""),
            (b"u1.2.3.4:0", Invalid::Port, b"0"),
            (b"u1.2.3.4:70000", Invalid::Port, b"70000"),
        ];
        for (line, what, part) in rows {
            let (settings, _, invalid) = read(line);
            assert_eq!(settings.udp, None);
            assert_eq!(invalid, [(what, part)]);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(text in proptest::collection::vec(
            prop_oneof![Just(b'\n'), any::<u8>()], 0..200
        )) {
            let (_, found, invalid) = read(&text);
            let lines = text.split(|byte| *byte == b'\n').count();
            prop_assert!(patterns(&found).count() + invalid.len() <= lines);
        }
    }
}
