//! Tests of the command lines of `chpst` and its aliases.

use std::ffi::CString;

use super::*;

fn read<'a>(
    alias: Alias,
    words: &[&'a CStr],
) -> Result<(Request<'a>, usize), Error<'a>> {
    request(alias, words.iter().copied())
}

#[test]
fn every_option_of_chpst() {
    let words = [
        c"-vP02", c"-u", c"a:b", c"-Uc", c"-b", c"x", c"-e/e", c"-/", c"/r",
        c"-C", c"/c", c"-n", c"-5", c"-L", c"l", c"-m", c"1", c"-o2", c"p",
        c"-q",
    ];
    let (request, used) = read(Alias::Chpst, &words).unwrap();
    assert_eq!(used, 18);
    assert!(request.verbose && request.session && !request.account);
    assert_eq!(request.close, [true, false, true]);
    assert_eq!(request.user, Some(&b"a:b"[..]));
    assert_eq!(request.env_user, Some(&b"c"[..]));
    assert_eq!(request.argv0, Some(c"x"));
    assert_eq!(request.env_dir, Some(c"/e"));
    assert_eq!((request.root, request.dir), (Some(c"/r"), Some(c"/c")));
    assert_eq!(request.nice, Some(-5));
    let lock = request.lock.unwrap();
    assert!(lock.path == c"l" && !lock.waits && !lock.silent);
    let [one, two] = [Some(1), Some(2)];
    let limits = [one, None, None, one, None, one, two, None, None, one];
    assert_eq!(request.limits, limits);
}

#[test]
fn errors() {
    let usage = |words: &[&'static CStr]| {
        assert_eq!(read(Alias::Chpst, words).err(), Some(Error::Value));
    };
    let none = Some(Error::Usage);
    assert_eq!(read(Alias::Chpst, &[]).err(), none);
    assert_eq!(read(Alias::Chpst, &[c"-v"]).err(), none);
    usage(&[c"-n", c"x", c"p"]);
    usage(&[c"-n", c"--5", c"p"]);
    usage(&[c"-m", c"5k", c"p"]);
    usage(&[c"-l", c"a", c"-L", c"b", c"p"]);
    let version = read(Alias::Chpst, &[c"-V"]).err();
    assert_eq!(version, Some(Error::Version));
}

/// Contract §6.2.
#[test]
fn each_program_has_its_name_letters_and_usage() {
    for (alias, name, letters, usage) in ALIASES {
        assert_eq!(alias.entry(), (name, letters, usage));
        assert_eq!((alias.name(), alias.usage()), (name, usage));
        for name in [name.into(), format!("d{name}")] {
            assert_eq!(Alias::named(name.as_bytes()), Some(alias));
        }
    }
    for name in ["", "d", "runsv", "ddsoftlimit"] {
        assert_eq!(Alias::named(name.as_bytes()), None, "{name}");
    }
}

#[test]
fn each_digit_closes_a_descriptor() {
    for (at, word) in [c"-0", c"-1", c"-2"].into_iter().enumerate() {
        let (request, _) = read(Alias::Chpst, &[word, c"p"]).unwrap();
        let closes = |stream| stream == at;
        assert_eq!(request.close, [0, 1, 2].map(closes), "{word:?}");
    }
}

/// Of several options the last counts; only `setlock -x` is silent.
#[test]
fn locks_that_wait_and_locks_that_are_silent() {
    // program, options, waits, is silent
    let rows = [
        (Alias::Setlock, c"-", true, false),
        (Alias::Setlock, c"-n", false, false),
        (Alias::Setlock, c"-nN", true, false),
        (Alias::Setlock, c"-Nn", false, false),
        (Alias::Setlock, c"-x", true, true),
        (Alias::Setlock, c"-Xx", true, true),
        (Alias::Setlock, c"-xX", true, false),
        (Alias::Chpst, c"-l", true, false),
        (Alias::Chpst, c"-L", false, false),
    ];
    for (alias, word, waits, silent) in rows {
        let words = [word, c"file", c"p"];
        let from = usize::from(word == c"-");
        let (request, _) = read(alias, &words[from..]).unwrap();
        let lock = request.lock.unwrap();
        assert_eq!(lock.path, c"file", "{word:?}");
        let found = (lock.waits, request.is_silent());
        assert_eq!(found, (waits, silent), "{word:?}");
    }
    let (plain, _) = read(Alias::Chpst, &[c"p"]).unwrap();
    assert!(!plain.is_silent());
}

#[test]
fn each_letter_sets_its_limit() {
    for letter in LETTERS {
        let word = CString::new([b'-', *letter]).unwrap();
        let words = [word.as_c_str(), c"7", c"p"];
        let (request, _) = read(Alias::Softlimit, &words).unwrap();
        let expected = LETTERS.map(|l| (l == *letter).then_some(7));
        assert_eq!(request.limits, expected, "{word:?}");
    }
}

#[test]
fn nice_levels() {
    let rows = [
        ("5", Some(5)),
        ("+5", Some(5)),
        ("-5", Some(-5)),
        ("", Some(0)),
        ("-", Some(0)),
        ("+-5", None),
        ("5x", None),
        ("2147483647", Some(i32::MAX)),
        ("2147483648", None),
    ];
    for (text, level) in rows {
        assert_eq!(nice(text.as_bytes()), level, "{text}");
    }
}

#[test]
fn options_that_need_another_one() {
    let no_group = Some(Error::Long(Fault::NoGroup, b"cgroup"));
    let no_user = Some(Error::Long(Fault::NoUser, b"init-groups"));
    let rows: [(&[&CStr], _); 6] = [
        (&[c"--memory-max=1", c"p"], no_group),
        (&[c"--memory-max=1", c"--cgroup=a", c"p"], None),
        (&[c"--cgroup=a", c"p"], None),
        (&[c"--init-groups", c"p"], no_user),
        (&[c"--init-groups", c"-u", c":1:1", c"p"], no_user),
        (&[c"--init-groups", c"-u", c"a", c"p"], None),
    ];
    for (words, error) in rows {
        assert_eq!(read(Alias::Chpst, words).err(), error, "{words:?}");
    }
}

#[test]
fn the_aliases() {
    let (request, used) = read(Alias::Envdir, &[c"d", c"p"]).unwrap();
    assert!(request.strict && request.env_dir == Some(c"d") && used == 1);
    let (request, _) = read(Alias::Setuidgid, &[c"a:b", c"p"]).unwrap();
    assert!(request.account && request.user == Some(b"a:b"));
    let (request, _) = read(Alias::Envuidgid, &[c"a", c"p"]).unwrap();
    assert!(request.account && request.env_user == Some(b"a"));
    assert!(read(Alias::Pgrphack, &[c"p"]).unwrap().0.session);
    let (request, used) =
        read(Alias::Setlock, &[c"-nx", c"f", c"p", c"-n"]).unwrap();
    let lock = request.lock.unwrap();
    assert!(!lock.waits && lock.silent && used == 2);
    let words = [c"-nN", c"f", c"p"];
    let lock = read(Alias::Setlock, &words).unwrap().0.lock.unwrap();
    assert!(lock.waits && !lock.silent);
    let words = [c"-s=", c"-m", c"7", c"p"];
    let (request, _) = read(Alias::Softlimit, &words).unwrap();
    assert_eq!(request.limits.iter().flatten().count(), 4);
    assert_eq!(request.limits[9], Some(7));
    let words = [c"-m", c"7", c"-s=", c"p"];
    let (request, _) = read(Alias::Softlimit, &words).unwrap();
    assert_eq!(request.limits[9], Some(u64::MAX));
    assert_eq!(read(Alias::Setuidgid, &[c"a"]).err(), Some(Error::Usage));
    let wrong = read(Alias::Softlimit, &[c"-o", c"x", c"p"]).err();
    assert_eq!(wrong, Some(Error::Value));
    // A program without options takes such a word as an operand.
    let (request, used) = read(Alias::Pgrphack, &[c"-x"]).unwrap();
    assert!(request.session && used == 0);
    let (request, used) = read(Alias::Envdir, &[c"--", c"-V"]).unwrap();
    assert!(request.env_dir == Some(c"--") && used == 1);
}
