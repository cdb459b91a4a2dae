//! Targets for the tables of a Unix system: fstab, mounts, passwd, shadow.

use runt::{
    config,
    wire::{
        fstab,
        login::{PasswordCheck, Shadow},
        mounts::Mount,
        passwd::{Named, Search, User, Wanted, named},
    },
};

use crate::input::{Input, decimal, is_part, lines};

/// Checks that an entry's fields are those that the standard library splits,
/// its options read again are the same, and a path with escapes is what was
/// escaped.
pub(crate) fn fstab(data: &[u8]) {
    for line in lines(data) {
        let mut words = line
            .split(u8::is_ascii_whitespace)
            .filter(|word| !word.is_empty());
        let entry = match fstab::Entry::parse(line) {
            Ok(Some(entry)) => entry,
            Ok(None) => {
                assert!(words.next().is_none_or(|w| w.starts_with(b"#")));
                continue;
            }
            Err(fstab::Short) => {
                assert!((1..3).contains(&words.count()));
                continue;
            }
        };
        let fields = [entry.device, entry.target, entry.kind];
        assert!(fields.iter().all(|field| words.next() == Some(field)));
        assert_eq!(words.next().unwrap_or(b"defaults"), entry.options);
        for field in fields {
            if let Ok(path) = fstab::field(field) {
                assert!(path.as_bytes().len() <= field.len());
                assert!(path.as_bytes().len() < config::PATH_BYTES);
                assert!(field.contains(&b'\\') || path.as_bytes() == field);
            }
        }
        let Ok(options) = fstab::Options::parse(entry.options) else {
            let long = entry.options.len() >= config::PATH_BYTES;
            assert!(long || entry.options.contains(&0));
            continue;
        };
        let data = options.data.as_bytes();
        assert!(data.len() <= entry.options.len());
        let again = fstab::Options::parse(data).unwrap();
        assert_eq!(again.data.as_bytes(), data);
        assert_eq!(
            (again.flags, again.not_at_boot, again.optional),
            (0, false, false)
        );
    }
    escaped(data);
}

/// Asserts that a path is read as it was before it was escaped as the kernel
/// does it in /proc/self/mounts, and mount(8) in fstab.
fn escaped(path: &[u8]) {
    let mut text = Vec::new();
    for byte in path {
        match byte {
            b' ' | b'\t' | b'\n' | b'\\' | b'#' => {
                text.extend(format!("\\{byte:03o}").bytes());
            }
            _ => text.push(*byte),
        }
    }
    let line = [b"/dev/x ", &text[..], b" ext4 rw 0 0"].concat();
    let mount = Mount::parse(&line).expect("it has three words");
    assert!(mount.has_medium() && !mount.is_initial());
    match (fstab::field(&text), mount.target()) {
        (Ok(field), Ok(target)) => {
            assert_eq!(field.as_bytes(), path);
            assert_eq!(target.as_bytes(), path);
        }
        (field, target) => {
            let bad = path.len() >= config::PATH_BYTES || path.contains(&0);
            assert!(bad && field.is_err() && target.is_err());
        }
    }
}

/// Checks that a mount is what its words say.
pub(crate) fn mounts(data: &[u8]) {
    for line in lines(data) {
        let words: Vec<_> = line.split(|byte| *byte == b' ').collect();
        let Some(mount) = Mount::parse(line) else {
            assert!(words.len() < 3);
            continue;
        };
        let field = fstab::field(words[1]);
        let target = mount.target();
        assert_eq!(target.is_ok(), field.is_ok());
        if let (Ok(target), Ok(field)) = (target, field) {
            assert_eq!(target.as_bytes(), field.as_bytes());
        }
        assert_eq!(mount.is_initial(), words[2] == b"rootfs");
        assert!(!(mount.is_initial() && mount.has_medium()));
    }
    escaped(data);
}

/// Checks that a search finds what a search over whole lines finds.
///
/// The first line is the name, the others are the file.
pub(crate) fn passwd(data: &[u8]) {
    let mut input = Input(data);
    let name = input.line();
    for wanted in [Wanted::User, Wanted::Group, Wanted::Membership] {
        if name.contains(&b':') || name.contains(&b',') {
            // Such a name is in no file.
            break;
        }
        let mut search = Search::new(wanted, name);
        let bytes = input.0.iter().chain(b"\n");
        let found: Vec<_> = bytes.filter_map(|b| search.step(*b)).collect();
        let known: Vec<_> = lines(input.0)
            .filter_map(|line| whole_line(wanted, name, line))
            .collect();
        assert_eq!(found, known, "{wanted:?}");
    }
}

/// Returns the numbers in a line about the name.
fn whole_line(wanted: Wanted, name: &[u8], line: &[u8]) -> Option<User> {
    let fields: Vec<_> = line.split(|byte| *byte == b':').collect();
    let number = |at: usize| u32::try_from(decimal(fields.get(at)?)?).ok();
    let uid = number(2)?;
    let (about, gid) = match wanted {
        Wanted::User => (fields[0] == name, number(3)),
        Wanted::Group => (fields[0] == name, Some(uid)),
        Wanted::Membership => {
            let mut names = fields.get(3)?.split(|byte| *byte == b',');
            (names.any(|member| member == name), Some(uid))
        }
    };
    Some(User { uid, gid: gid? }).filter(|_| about)
}

/// Checks that a root shell that some login program opens without a password
/// is never taken for one with a password, and no later line takes that back.
///
/// The input is /etc/passwd, a line with `-`, and /etc/shadow.
pub(crate) fn shadow(data: &[u8]) {
    let mut files = [Vec::new(), Vec::new()];
    let mut second = false;
    for line in lines(data) {
        if line == b"-" && !second {
            second = true;
        } else {
            files[usize::from(second)].push(line);
        }
    }
    let [passwd, shadow] = files;
    let state = |name: &[u8]| {
        let mut state = Shadow::default();
        for line in &shadow {
            let before = state;
            state.line(Some(line), name);
            assert!(before != Shadow::Open || state == Shadow::Open);
            assert!(before == Shadow::Missing || state != Shadow::Missing);
        }
        state
    };
    let mut check = PasswordCheck::default();
    let mut held = Vec::new();
    for line in &passwd {
        check.passwd(Some(line), &mut |name| state(name));
        held.push(check.is_enforced());
    }
    // Once it holds and does not any more, no line helps.
    let lost = held.windows(2).position(|pair| pair == [true, false]);
    if let Some(lost) = lost {
        assert!(held[lost + 1..].iter().all(|held| !held));
    }
    if check.is_enforced() {
        for line in &passwd {
            let open = opens(line, &shadow);
            assert!(!open, "{:?} is open", String::from_utf8_lossy(line));
        }
        let mut more = check;
        more.passwd(None, &mut |name| state(name));
        assert!(!more.is_enforced());
        more = check;
        more.passwd(Some(b"root::0:0::/:/bin/sh"), &mut |name| state(name));
        assert!(!more.is_enforced());
    }
}

/// Returns true for a line of /etc/passwd that some login program takes for a
/// root account without a password: by its name or by its number, with glibc,
/// musl or busybox, which trims blanks and takes `*` for `x`.
fn opens(line: &[u8], shadow: &[&[u8]]) -> bool {
    let line = line.split(|byte| *byte == 0).next().unwrap();
    let fields: Vec<_> = line.split(|byte| *byte == b':').collect();
    let [name, password, uid, ..] = fields[..] else {
        return false;
    };
    if name.trim_ascii() != b"root" && !is_zero(uid) {
        return false;
    }
    match password.trim_ascii() {
        b"" => true,
        b"x" | b"*" => shadow.iter().any(|line| {
            let mut fields = line.split(|byte| *byte == b':');
            fields.next() == Some(name) && fields.next() == Some(b"")
        }),
        _ => false,
    }
}

/// Returns true for a text that strtoul(3), or a loop over digits that does
/// not check for overflow, reads as a 32-bit zero.
fn is_zero(text: &[u8]) -> bool {
    let text = text.trim_ascii_start();
    let sign = matches!(text.first(), Some(b'+' | b'-'));
    let mut value = 0_u32;
    for byte in &text[usize::from(sign)..] {
        if !byte.is_ascii_digit() {
            return false;
        }
        value = value.wrapping_mul(10).wrapping_add(u32::from(byte - b'0'));
    }
    value == 0
}

/// Checks that numbers of users and groups are those that the standard library
/// reads.
pub(crate) fn user(data: &[u8]) {
    let fields: Vec<_> = data.split(|byte| *byte == b':').collect();
    match named(data) {
        Ok(Named::Name(name, groups)) => {
            assert!(is_part(name, data) && !data.starts_with(b":"));
            assert_eq!(name, fields[0]);
            assert_eq!(groups.is_some(), fields.len() > 1);
            let length = groups.map_or(0, |groups| groups.len() + 1);
            assert_eq!(name.len() + length, data.len());
        }
        Ok(Named::Numbers(uid, groups)) => {
            assert_eq!(decimal(fields[1]), Some(uid.into()));
            assert_eq!(groups.len() + 2, fields.len());
            assert!((1..=config::GROUPS).contains(&groups.len()));
            for (gid, field) in groups.iter().zip(&fields[2..]) {
                let number = if field.is_empty() {
                    Some(0)
                } else {
                    decimal(field)
                };
                assert_eq!(number, Some((*gid).into()));
            }
        }
        Err(_) => assert!(data.starts_with(b":")),
    }
}
