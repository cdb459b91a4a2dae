//! Users and groups: lines of /etc/passwd and /etc/group, and `chpst`'s
//! notation for them (contract §6, passwd(5), group(5)).

use heapless::Vec;

use crate::{config, text::whole_number};

/// Numbers of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// User number.
    pub uid: u32,
    /// Number of the primary group.
    pub gid: u32,
}

/// Object of a search in one of the two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The user of that name, in /etc/passwd.
    User,
    /// The group of that name, in /etc/group.
    Group,
    /// The groups that list a user of that name as a member, in /etc/group.
    Membership,
}

/// Search in lines of any length, byte by byte. Malformed lines are ignored.
#[derive(Clone, Copy, Debug)]
pub struct Search<'a> {
    wanted: Wanted,
    name: &'a [u8],
    line: Entry,
}

/// The part of a line that was read so far.
#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    /// Number of the current field.
    field: usize,
    /// Bytes of the current word; `None` once it differs from the name.
    matched: Option<usize>,
    /// The name was found in its field.
    found: bool,
    /// Fields 2 and 3 as numbers.
    numbers: [Number; 2],
}

/// A field that should be a number.
#[derive(Clone, Copy, Debug, Default)]
enum Number {
    #[default]
    Empty,
    Value(u32),
    Malformed,
}

impl Number {
    /// Appends a digit.
    fn push(&mut self, digit: u8) {
        let so_far = match self {
            Self::Empty => Some(0),
            Self::Value(value) => Some(*value),
            Self::Malformed => None,
        };
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10);
        let value = so_far.and_then(|value: u32| {
            value.checked_mul(10)?.checked_add(u32::from(digit?))
        });
        *self = value.map_or(Self::Malformed, Self::Value);
    }

    /// Returns the number, if it is one.
    fn value(self) -> Option<u32> {
        match self {
            Self::Value(value) => Some(value),
            Self::Empty | Self::Malformed => None,
        }
    }
}

impl<'a> Search<'a> {
    /// Starts a search at the beginning of a file.
    pub fn new(wanted: Wanted, name: &'a [u8]) -> Self {
        Self {
            wanted,
            name,
            line: Entry::new(),
        }
    }

    /// Takes the next byte; a newline must follow the last one of the file.
    /// Returns the numbers in a line that ends here and is about the name:
    /// user and group, or the group twice.
    pub fn step(&mut self, byte: u8) -> Option<User> {
        let line = &mut self.line;
        let members = self.wanted == Wanted::Membership && line.field == 3;
        match byte {
            b'\n' => {
                self.end_of_word();
                let line = core::mem::replace(&mut self.line, Entry::new());
                let [first, second] = line.numbers.map(Number::value);
                let uid = first.filter(|_| line.found)?;
                let gid = match self.wanted {
                    Wanted::User => second?,
                    Wanted::Group | Wanted::Membership => uid,
                };
                return Some(User { uid, gid });
            }
            b':' => {
                self.end_of_word();
                self.line.field = self.line.field.saturating_add(1);
            }
            b',' if members => self.end_of_word(),
            byte => {
                let known = line.matched.and_then(|at| self.name.get(at));
                let same = line.matched.filter(|_| known == Some(&byte));
                line.matched = same.map(|at| at.saturating_add(1));
                let number = line.field.checked_sub(2);
                let number = number.and_then(|n| line.numbers.get_mut(n));
                if let Some(number) = number {
                    number.push(byte);
                }
            }
        }
        None
    }

    /// Compares a completed word with the name.
    fn end_of_word(&mut self) {
        let field = match self.wanted {
            Wanted::User | Wanted::Group => 0,
            Wanted::Membership => 3,
        };
        let whole = self.line.matched == Some(self.name.len());
        self.line.found |= whole && self.line.field == field;
        self.line.matched = Some(0);
    }
}

impl Entry {
    /// Returns the state at the start of a line.
    fn new() -> Self {
        Self {
            matched: Some(0),
            ..Self::default()
        }
    }
}

/// Reads a user or group number.
fn number(text: &[u8]) -> Option<u32> {
    u32::try_from(whole_number(text)?).ok()
}

/// Groups of a user; the first one is the primary group.
pub type Groups = Vec<u32, { config::GROUPS }>;

/// Notation of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named<'a> {
    /// `name`, or `name:group:group`: to be looked up.
    Name(&'a [u8], Option<&'a [u8]>),
    /// `:uid:gid:gid`.
    Numbers(u32, Groups),
}

/// Error in the notation of a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// A number is malformed, or there is no group.
    Numbers,
    /// There are more than `config::GROUPS` groups.
    TooMany,
}

/// Parses the notation of a user.
pub fn named(text: &[u8]) -> Result<Named<'_>, Error> {
    if let [b':', rest @ ..] = text {
        let mut fields = rest.split(|byte| *byte == b':');
        let uid = fields.next().and_then(number).ok_or(Error::Numbers)?;
        let mut groups = Groups::new();
        for field in fields {
            // An empty field counts as 0, as in runit.
            let gid = if field.is_empty() {
                0
            } else {
                number(field).ok_or(Error::Numbers)?
            };
            groups.push(gid).map_err(|_| Error::TooMany)?;
        }
        if groups.is_empty() {
            return Err(Error::Numbers);
        }
        return Ok(Named::Numbers(uid, groups));
    }
    let colon = text.iter().position(|byte| *byte == b':');
    let (name, groups) = match colon {
        Some(at) => (text.get(..at), text.get(at.saturating_add(1)..)),
        None => (Some(text), None),
    };
    Ok(Named::Name(name.unwrap_or(b""), groups))
}

#[cfg(test)]
mod test {
    use super::*;
    use proptest::prelude::*;

    /// Returns every match of a search in a file's text.
    fn hits(wanted: Wanted, name: &[u8], text: &[u8]) -> std::vec::Vec<User> {
        let mut search = Search::new(wanted, name);
        let bytes = text.iter().chain(b"\n");
        bytes.filter_map(|byte| search.step(*byte)).collect()
    }

    #[test]
    fn lines_and_their_fields() {
        let line = b"nobody:x:65534:7:No Body:/:/bin/false";
        let user = |line: &[u8], name: &[u8]| {
            hits(Wanted::User, name, line).first().copied()
        };
        let group = |line: &[u8], name: &[u8]| {
            Some(hits(Wanted::Group, name, line).first()?.gid)
        };
        assert_eq!(user(line, b"nobody"), Some(User { uid: 65534, gid: 7 }));
        assert_eq!(user(line, b"nobod"), None);
        assert_eq!(user(line, b"nobody:"), None);
        assert_eq!(user(b"nobod:x:1:1", b"nobody"), None);
        assert_eq!(user(b"a,b:x:1:2", b"a,b"), Some(User { uid: 1, gid: 2 }));
        assert_eq!(user(b"a:x:b:c", b"a"), None);
        assert_eq!(user(b"a:x:1", b"a"), None);
        assert_eq!(user(b"a:x", b"a"), None);
        assert_eq!(user(b"\n:::\n", b""), None);
        assert_eq!(group(b"adm:x:4:root,daemon", b"adm"), Some(4));
        assert_eq!(group(b"adm:x:4", b"adm"), Some(4));
        assert_eq!(group(b"adm:x:4294967295:", b"adm"), Some(u32::MAX));
        assert_eq!(group(b"adm:x:4294967296:", b"adm"), None);
        assert_eq!(group(b"adm:x:-4:", b"adm"), None);
        // A malformed line does not end the search.
        assert_eq!(group(b"adm:x:z\nadm:x:5", b"adm"), Some(5));
    }

    #[test]
    fn groups_that_list_a_member() {
        let text = b"web:x:1:\na:x:2:web\nb:x:3:x,web\nc:x:4:web,x\n\
            d:x:5:webs,we,ww\ne:x:z:web\nf:x:6:x:web\ng:web:7:\n\
            h:x:8:,web,\ni:x:9:web,web";
        let gids: std::vec::Vec<u32> = hits(Wanted::Membership, b"web", text)
            .iter()
            .map(|user| user.gid)
            .collect();
        assert_eq!(gids, [2, 3, 4, 8, 9]);
    }

    #[test]
    fn names_of_users() {
        assert_eq!(named(b"a"), Ok(Named::Name(b"a", None)));
        assert_eq!(named(b"a:b:c"), Ok(Named::Name(b"a", Some(b"b:c"))));
        let groups = Groups::from_slice(&[2, 0]).unwrap();
        assert_eq!(named(b":1:2:"), Ok(Named::Numbers(1, groups)));
        assert_eq!(named(b":1"), Err(Error::Numbers));
        assert_eq!(named(b":x:1"), Err(Error::Numbers));
        assert_eq!(named(b":1:1:1:1:1"), Err(Error::TooMany));
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_harm(
            line in proptest::collection::vec(any::<u8>(), 0..60)
        ) {
            let name = line.split(|b| *b == b':').next().unwrap().to_vec();
            for wanted in [Wanted::User, Wanted::Group, Wanted::Membership] {
                let _hits = hits(wanted, &name, &line);
            }
            let _named = named(&line);
        }

        #[test]
        fn a_user_is_found_as_by_splitting(
            lines in proptest::collection::vec("[a,]{0,3}(:[a1,]{0,2}){0,4}", 0..5)
        ) {
            let number = |field: Option<&&str>| {
                field.and_then(|text| number(text.as_bytes()))
            };
            let split = lines.iter().find_map(|line| {
                let fields: std::vec::Vec<&str> = line.split(':').collect();
                let (uid, gid) =
                    (number(fields.get(2))?, number(fields.get(3))?);
                (fields[0] == "a").then_some(User { uid, gid })
            });
            let found = hits(Wanted::User, b"a", lines.join("\n").as_bytes());
            prop_assert_eq!(found.first().copied(), split);
            let member = lines.iter().any(|line| {
                let fields: std::vec::Vec<&str> = line.split(':').collect();
                let members = fields.get(3).map(|members| members.split(','));
                number(fields.get(2)).is_some()
                    && members.is_some_and(|mut members| members.any(|m| m == "a"))
            });
            let found =
                hits(Wanted::Membership, b"a", lines.join("\n").as_bytes());
            prop_assert_eq!(!found.is_empty(), member);
        }
    }
}
