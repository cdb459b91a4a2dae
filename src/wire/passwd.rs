//! Who a user and a group are: the lines of /etc/passwd and /etc/group, and
//! `chpst`'s way to name them (contract §6, passwd(5), group(5)).

use heapless::Vec;

use crate::{config, text::whole_number};

/// A user's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// User number.
    pub uid: u32,
    /// Number of the primary group.
    pub gid: u32,
}

/// The numbers in a line of /etc/passwd or /etc/group, if it is about `name`:
/// user and group, or the group twice.
pub fn entry(line: &[u8], name: &[u8], is_user: bool) -> Option<User> {
    let mut fields = line.split(|byte| *byte == b':');
    if fields.next()? != name {
        return None;
    }
    let uid = number(fields.nth(1)?)?;
    let gid = if is_user {
        number(fields.next()?)?
    } else {
        uid
    };
    Some(User { uid, gid })
}

/// What the second field of a line of /etc/passwd or /etc/shadow says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secret {
    /// Nothing: there is no password to ask for.
    None,
    /// It stands in /etc/shadow.
    Shadowed,
    /// A password, or a mark that no password matches.
    Set,
}

/// The secret in a line of either file, if the line is about `name`.
pub fn secret(line: &[u8], name: &[u8]) -> Option<Secret> {
    let mut fields = line.split(|byte| *byte == b':');
    if fields.next()? != name {
        return None;
    }
    Some(match fields.next()? {
        b"" => Secret::None,
        b"x" => Secret::Shadowed,
        _ => Secret::Set,
    })
}

/// A user or group number.
fn number(text: &[u8]) -> Option<u32> {
    u32::try_from(whole_number(text)?).ok()
}

/// The groups of a user, the first one as the group.
pub type Groups = Vec<u32, { config::GROUPS }>;

/// How a user is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named<'a> {
    /// `name`, or `name:group:group`: to be looked up.
    Name(&'a [u8], Option<&'a [u8]>),
    /// `:uid:gid:gid`.
    Numbers(u32, Groups),
}

/// What is wrong with a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Numbers that are none, or no group.
    Numbers,
    /// More than `config::GROUPS`.
    TooMany,
}

/// Takes the name of a user apart.
pub fn named(text: &[u8]) -> Result<Named<'_>, Wrong> {
    if let [b':', rest @ ..] = text {
        let mut fields = rest.split(|byte| *byte == b':');
        let uid = fields.next().and_then(number).ok_or(Wrong::Numbers)?;
        let mut groups = Groups::new();
        for field in fields {
            // An empty one counts as 0, as in runit.
            let gid = if field.is_empty() {
                0
            } else {
                number(field).ok_or(Wrong::Numbers)?
            };
            groups.push(gid).map_err(|_| Wrong::TooMany)?;
        }
        if groups.is_empty() {
            return Err(Wrong::Numbers);
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

    #[test]
    fn secrets() {
        let of = |line: &[u8]| secret(line, b"root");
        assert_eq!(of(b"root::0:0"), Some(Secret::None));
        assert_eq!(of(b"root:x:0:0"), Some(Secret::Shadowed));
        assert_eq!(of(b"root:*:1:"), Some(Secret::Set));
        assert_eq!(of(b"rooted::0:0"), None);
        assert_eq!(of(b"root"), None);
    }

    #[test]
    fn lines_and_their_fields() {
        let line = b"nobody:x:65534:7:No Body:/:/bin/false";
        let user = |line, name| entry(line, name, true);
        let group = |line, name| Some(entry(line, name, false)?.gid);
        assert_eq!(user(line, b"nobody"), Some(User { uid: 65534, gid: 7 }));
        assert_eq!(user(line, b"nobod"), None);
        assert_eq!(user(b"a:x:b:c", b"a"), None);
        assert_eq!(user(b"a:x:1", b"a"), None);
        assert_eq!(user(b"a:x", b"a"), None);
        assert_eq!(group(b"adm:x:4:root,daemon", b"adm"), Some(4));
        assert_eq!(group(b"adm:x:4", b"adm"), Some(4));
        assert_eq!(group(b"adm:x:4294967296:", b"adm"), None);
    }

    #[test]
    fn names_of_users() {
        assert_eq!(named(b"a"), Ok(Named::Name(b"a", None)));
        assert_eq!(named(b"a:b:c"), Ok(Named::Name(b"a", Some(b"b:c"))));
        let groups = Groups::from_slice(&[2, 0]).unwrap();
        assert_eq!(named(b":1:2:"), Ok(Named::Numbers(1, groups)));
        assert_eq!(named(b":1"), Err(Wrong::Numbers));
        assert_eq!(named(b":x:1"), Err(Wrong::Numbers));
        assert_eq!(named(b":1:1:1:1:1"), Err(Wrong::TooMany));
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_harm(
            line in proptest::collection::vec(any::<u8>(), 0..60)
        ) {
            let name = line.split(|b| *b == b':').next().unwrap().to_vec();
            let _user = entry(&line, &name, true);
            let _group = entry(&line, &name, false);
            let _named = named(&line);
        }
    }
}
