//! Names and numbers of the facilities and levels of syslog(3).

use core::ffi::CStr;

/// Priority of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority {
    facility: u8,
    level: u8,
}

/// Facilities and their numbers. A name that follows another one with the same
/// number is a synonym.
const FACILITIES: [(&CStr, u8); 21] = [
    (c"user", 1),
    (c"mail", 2),
    (c"daemon", 3),
    // Only the kernel may use its own number, 0.
    (c"kern", 3),
    (c"auth", 4),
    (c"security", 4),
    (c"syslog", 5),
    (c"lpr", 6),
    (c"news", 7),
    (c"uucp", 8),
    (c"cron", 9),
    (c"authpriv", 10),
    (c"ftp", 11),
    (c"local0", 16),
    (c"local1", 17),
    (c"local2", 18),
    (c"local3", 19),
    (c"local4", 20),
    (c"local5", 21),
    (c"local6", 22),
    (c"local7", 23),
];

/// Levels and their numbers, with synonyms.
const LEVELS: [(&CStr, u8); 11] = [
    (c"emerg", 0),
    (c"panic", 0),
    (c"alert", 1),
    (c"crit", 2),
    (c"err", 3),
    (c"error", 3),
    (c"warning", 4),
    (c"warn", 4),
    (c"notice", 5),
    (c"info", 6),
    (c"debug", 7),
];

impl Priority {
    /// `user.notice`.
    pub const USER: Self = Self {
        facility: 1,
        level: 5,
    };
    /// `daemon.notice`.
    pub const DAEMON: Self = Self {
        facility: 3,
        level: 5,
    };

    /// Reads `FACILITY` or `FACILITY.LEVEL`; the default level is `notice`.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut parts = text.splitn(2, |byte| *byte == b'.');
        let facility = number(&FACILITIES, parts.next()?)?;
        let level = match parts.next() {
            Some(level) => number(&LEVELS, level)?,
            None => Self::USER.level,
        };
        Some(Self { facility, level })
    }

    /// Returns the number that precedes a message.
    pub fn number(self) -> u8 {
        self.facility << 3 | self.level
    }

    /// Returns the names of level and facility.
    pub fn names(self) -> [&'static CStr; 2] {
        [name(&LEVELS, self.level), name(&FACILITIES, self.facility)]
    }
}

/// Returns the number of a name.
fn number(table: &[(&CStr, u8)], name: &[u8]) -> Option<u8> {
    let row = table.iter().find(|(known, _)| known.to_bytes() == name);
    row.map(|(_, number)| *number)
}

/// Returns the first name of a number.
fn name(table: &[(&'static CStr, u8)], number: u8) -> &'static CStr {
    let row = table.iter().find(|(_, known)| *known == number);
    row.map_or(c"", |(name, _)| name)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn priorities_by_name() {
        for (text, number) in [
            ("user", 13),
            ("daemon.info", 30),
            ("kern.emerg", 24),
            ("kern.panic", 24),
            ("security.error", 35),
            ("auth.err", 35),
            ("local7.debug", 191),
            ("mail.warn", 20),
        ] {
            let priority = Priority::parse(text.as_bytes());
            assert_eq!(priority.map(Priority::number), Some(number), "{text}");
        }
        for text in ["", ".", "notice", "user.", "user.x", "user.info.x", "1"] {
            assert_eq!(Priority::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Priority::parse(b"user.notice"), Some(Priority::USER));
        assert_eq!(Priority::parse(b"daemon"), Some(Priority::DAEMON));
    }

    #[test]
    fn a_synonym_has_the_first_name() {
        let names = |text| Priority::parse(text).unwrap().names();
        assert_eq!(names(b"kern.panic"), [c"emerg", c"daemon"]);
        assert_eq!(names(b"local0"), [c"notice", c"local0"]);
    }
}
