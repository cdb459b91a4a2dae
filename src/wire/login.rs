//! Accounts that open a root shell, as login programs read them in
//! /etc/passwd and /etc/shadow (passwd(5), shadow(5)).
//!
//! `sulogin` and `login` are those of util-linux, shadow or busybox and read
//! the files through glibc, musl or busybox itself. Where these disagree, the
//! worst interpretation of a line counts:
//!
//! | text | meaning for one of them |
//! |---|---|
//! | `root:*:0:` | busybox: the password is in /etc/shadow, as with `x` |
//! | `root: :0:` | busybox strips blanks: no password |
//! | `a::0:` before `root:x:0:` | busybox's `sulogin` takes the first uid 0 |
//! | `root::9:` | util-linux's `sulogin` takes the name, with any uid |
//! | `a:::`, `a::4294967296:` | musl: uid 0 |
//! | `a:: 0:`, `a::+0:` | glibc: uid 0 |
//! | `#a::0:` | musl: an account like any other |
//! | `root` in /etc/shadow | glibc: no password |

use crate::text::whole_number;

/// Name that util-linux's `sulogin` searches for.
const ROOT: &[u8] = b"root";

/// Result of the lines of /etc/passwd read so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct PasswordCheck {
    /// An account opens a root shell.
    found: bool,
    /// One of these accounts may open it without a password.
    open: bool,
}

impl PasswordCheck {
    /// Adds a line of /etc/passwd, or `None` for one too long to be read.
    /// Calls `shadow` with the name of an account to get its state in
    /// /etc/shadow.
    pub fn passwd(
        &mut self,
        line: Option<&[u8]>,
        shadow: &mut dyn FnMut(&[u8]) -> Shadow,
    ) {
        let Some(line) = line else {
            self.open = true;
            return;
        };
        let mut fields = fields(line);
        let name = fields.next();
        // A line with fewer fields is an account for none of them.
        let (Some(name), Some(password), Some(uid)) =
            (name, fields.next(), fields.next())
        else {
            return;
        };
        if is_other(uid) && name.trim_ascii() != ROOT {
            return;
        }
        self.found = true;
        self.open |= match password.trim_ascii() {
            b"" => true,
            // An account that is missing from /etc/shadow is locked.
            b"*" => shadow(name) == Shadow::Open,
            // The last two belong to PAM.
            b"x" | b"*NP*" | [b'#', b'#', ..] => shadow(name) != Shadow::Set,
            _ => false,
        };
    }

    /// Returns true if a root shell takes a password with every login program;
    /// false if no account opens one.
    pub fn is_enforced(self) -> bool {
        self.found && !self.open
    }
}

/// State of an account in /etc/shadow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shadow {
    /// It has no line.
    #[default]
    Missing,
    /// Each line has a password, or a mark that no password matches.
    Set,
    /// A line has no password, or could not be read.
    Open,
}

impl Shadow {
    /// Adds a line of /etc/shadow, which may be about another account, or
    /// `None` for one too long to be read.
    pub fn line(&mut self, line: Option<&[u8]>, name: &[u8]) {
        let Some(line) = line else {
            *self = Self::Open;
            return;
        };
        let mut fields = fields(line);
        let own = fields.next().unwrap_or(b"");
        if own.trim_ascii() != name.trim_ascii() {
            return;
        }
        if fields
            .next()
            .is_none_or(|field| field.trim_ascii().is_empty())
        {
            *self = Self::Open;
        } else if *self == Self::Missing {
            *self = Self::Set;
        }
    }
}

/// Returns the fields of a line, which ends at a NUL for C programs.
fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    let line = line.split(|byte| *byte == 0).next().unwrap_or(b"");
    line.split(|byte| *byte == b':')
}

/// Returns true when every program reads `uid` as a number other than 0.
fn is_other(uid: &[u8]) -> bool {
    whole_number(uid)
        .is_some_and(|uid| (1..=u64::from(u32::MAX)).contains(&uid))
}

#[cfg(test)]
mod test {
    use super::*;
    use proptest::{prelude::*, string::string_regex};

    /// Reads both files completely.
    fn holds(passwd: &str, shadow: &str) -> bool {
        let mut check = PasswordCheck::default();
        for line in passwd.split('\n') {
            check.passwd(Some(line.as_bytes()), &mut |name| {
                let mut found = Shadow::default();
                for line in shadow.split('\n') {
                    found.line(Some(line.as_bytes()), name);
                }
                found
            });
        }
        check.is_enforced()
    }

    /// /etc/passwd, /etc/shadow, and the result.
    const ROWS: [(&str, &str, bool); 33] = [
        ("root:$1$a$b:0:0:root:/:/bin/sh", "", true),
        ("root:x:0:0:root:/:/bin/sh", "root:$1$a$b:1::::::", true),
        ("root:x:0:0:root:/:/bin/sh", "root:!:1::::::", true),
        ("root:x:0:0:root:/:/bin/sh", "root:*:1::::::", true),
        ("root:x:0:0:root:/:/bin/sh", "root::1::::::", false),
        ("root:x:0:0:root:/:/bin/sh", "root: :1::::::", false),
        ("root:x:0:0:root:/:/bin/sh", "root", false),
        ("root:x:0:0:root:/:/bin/sh", "other:a:1::::::", false),
        ("root:x:0:0:root:/:/bin/sh", "", false),
        // The first line counts for most programs, the second for those that
        // skip the first.
        ("root:x:0:0:::", "root:a:1::::::\nroot::1::::::", false),
        ("root::0:0:root:/:/bin/sh", "root:$1$a$b:1::::::", false),
        ("root: :0:0:root:/:/bin/sh", "", false),
        ("root:x :0:0:root:/:/bin/sh", "root::1::::::", false),
        ("root:!:0:0:root:/:/bin/sh", "root::1::::::", true),
        // busybox treats `*` like `x`.
        ("root:*:0:0:root:/:/bin/sh", "", true),
        ("root:*:0:0:root:/:/bin/sh", "root:*:1::::::", true),
        (
            "root:*:0:0:root:/:/bin/sh",
            "root::19000:0:99999:7:::",
            false,
        ),
        ("root:*NP*:0:0:root:/:/bin/sh", "", false),
        ("root:##root:0:0:root:/:/bin/sh", "root::1::::::", false),
        // Another account of uid 0, before root and after it.
        ("a::0:0:::\nroot:x:0:0:::", "root:!:1::::::", false),
        ("root:x:0:0:::\na::0:0:::", "root:!:1::::::", false),
        ("a:x:0:0:::\nroot:x:0:0:::", "root:!:1\na::1", false),
        ("a:x:0:0:::\nroot:x:0:0:::", "root:!:1\na:!:1", true),
        ("a:x:0:0:::", "a:b:1", true),
        // A name and no uid, and the other way round.
        ("root::9:0:::\na:b:0:0:::", "", false),
        ("#a::0:0:::\nroot:b:0:0:::", "", false),
        ("a::4294967296:0:::\nroot:b:0:0:::", "", false),
        ("a:::0:::\nroot:b:0:0:::", "", false),
        ("a::+0:0:::\nroot:b:0:0:::", "", false),
        ("a:: 0:0:::\nroot:b:0:0:::", "", false),
        // A line that is no account, or the account of another user.
        ("# a comment\n\na::7:7:::\nroot:b:0:0:::", "", true),
        ("a:b:1:1:::", "", false),
        ("", "", false),
    ];

    #[test]
    fn every_row_is_judged_as_the_worst_program_does() {
        for (passwd, shadow, held) in ROWS {
            assert_eq!(holds(passwd, shadow), held, "{passwd:?} {shadow:?}");
        }
    }

    #[test]
    fn unreadable_lines_are_refused() {
        let mut check = PasswordCheck::default();
        let none = &mut |_: &[u8]| Shadow::Missing;
        check.passwd(Some(b"root:a:0:0:::"), none);
        assert!(check.is_enforced());
        check.passwd(None, none);
        assert!(!check.is_enforced());
        let mut shadow = Shadow::Set;
        shadow.line(None, b"root");
        assert_eq!(shadow, Shadow::Open);
        // For C programs the line has ended there.
        let mut check = PasswordCheck::default();
        check.passwd(Some(b"root:a:0:0:::"), none);
        check.passwd(Some(b"b:\0a:0:0:::"), none);
        assert!(check.is_enforced());
        let mut shadow = Shadow::Missing;
        shadow.line(Some(b"root:\0a:1"), b"root");
        assert_eq!(shadow, Shadow::Open);
    }

    /// Implementation that reads the files.
    #[derive(Clone, Copy, Debug)]
    enum Library {
        Glibc,
        Musl,
        Busybox,
    }

    impl Library {
        /// Returns the number in a field, if the line then counts as an
        /// account.
        fn number(self, text: &str) -> Option<u32> {
            let digits = text.bytes().take_while(u8::is_ascii_digit).count();
            match self {
                Self::Glibc => {
                    let text = text.trim_start_matches([' ', '\t']);
                    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
                    text.parse::<u64>().ok().map(|n| n.min(1 << 31) as u32)
                }
                Self::Musl => (digits == text.len()).then(|| {
                    text.bytes().fold(0_u32, |n, digit| {
                        n.wrapping_mul(10).wrapping_add(u32::from(digit & 15))
                    })
                }),
                Self::Busybox => {
                    (digits == text.len()).then(|| text.parse().ok())?
                }
            }
        }

        /// Returns the accounts: name, password, uid.
        fn accounts(self, passwd: &str) -> Vec<(String, String, u32)> {
            let mut all = Vec::new();
            for line in passwd.split('\n') {
                let (line, blank): (_, &[char]) = match self {
                    Self::Glibc => (line.trim_start(), &[]),
                    Self::Musl => (line, &[]),
                    Self::Busybox => (line, &[' ', '\t']),
                };
                let comments = !matches!(self, Self::Musl);
                if comments && line.starts_with('#') {
                    continue;
                }
                let fields: Vec<_> =
                    line.split(':').map(|f| f.trim_matches(blank)).collect();
                let least = if comments { 4 } else { 7 };
                if fields.len() < least {
                    continue;
                }
                if let (Some(uid), Some(_)) =
                    (self.number(fields[2]), self.number(fields[3]))
                {
                    all.push((fields[0].into(), fields[1].into(), uid));
                }
            }
            all
        }

        /// Returns the password of a name in /etc/shadow.
        fn shadow(self, shadow: &str, name: &str) -> Option<String> {
            let blank: &[char] = match self {
                Self::Glibc | Self::Musl => &[],
                Self::Busybox => &[' ', '\t'],
            };
            let mut lines = shadow.split('\n').map(|line| {
                let mut fields = line.split(':').map(|f| f.trim_matches(blank));
                (fields.next().unwrap(), fields.next().unwrap_or(""))
            });
            let found = lines.find(|(own, _)| *own == name);
            found.map(|(_, password)| password.into())
        }
    }

    /// Returns true if some program opens a root shell without a password.
    fn is_open(passwd: &str, shadow: &str) -> bool {
        use Library::{Busybox, Glibc, Musl};
        [Glibc, Musl, Busybox].into_iter().any(|library| {
            let accounts = library.accounts(passwd);
            let none = |(name, password, _): &(String, String, u32), star| {
                let shadowed = password == "x" || star && password == "*";
                let own = if shadowed {
                    // No password matches this.
                    let found = library.shadow(shadow, name);
                    found.unwrap_or("aa".into())
                } else {
                    password.clone()
                };
                own.is_empty()
            };
            // login takes any name, both kinds of sulogin only the first
            // match.
            accounts.iter().any(|account| {
                let (name, _, uid) = account;
                (*uid == 0 || name == "root")
                    && (none(account, false) || none(account, true))
            })
        })
    }

    /// Text that is likely to contain accounts.
    fn text() -> impl Strategy<Value = String> {
        let name = "(root|a|#a| root|)";
        let password = "(|x|\\*|!| |x |a)";
        let uid = "(0|00|\\+0| 0|-0||1|9|4294967296|0x0)";
        let rest = "(|:|:0|:0:::|:0:::|:0:::)";
        let line = format!("{name}:{password}:{uid}{rest}");
        let line = string_regex(&line).unwrap();
        proptest::collection::vec(line, 0..4).prop_map(|all| all.join("\n"))
    }

    /// The same for /etc/shadow.
    fn secrets() -> impl Strategy<Value = String> {
        let line = "(root|a|#a| root)(|:|:x|:\\*|: )(|:1|:1::::::)";
        proptest::collection::vec(line, 0..4).prop_map(|all| all.join("\n"))
    }

    proptest! {
        #[test]
        fn passwordless_login_is_refused(
            passwd in text(), shadow in secrets()
        ) {
            let open = is_open(&passwd, &shadow);
            prop_assert!(!(open && holds(&passwd, &shadow)));
        }

        #[test]
        fn any_bytes_are_read_without_harm(
            passwd in proptest::collection::vec(any::<u8>(), 0..60)
        ) {
            let mut shadow = Shadow::default();
            shadow.line(Some(&passwd), b"root");
            let mut check = PasswordCheck::default();
            check.passwd(Some(&passwd), &mut |_| shadow);
            let _held = check.is_enforced();
        }
    }
}
