//! Tests that sv reports the state of all services to people and to programs:
//! `list`, `-j`, `why`.
#![allow(missing_docs, reason = "the names of the tests say it")]

#[path = "util/played.rs"]
mod played;
mod util;

use std::{fs, os::unix::fs::symlink};

use played::{Played, down, masked, up};
use runt::wire::{
    clock::Wall,
    status::{Status, Want},
};
use util::{Place, Said, said};

/// Returns the rows of the table without its head. Fails unless each fits the
/// screen.
fn rows(said: &Said) -> Vec<String> {
    for line in said.out.lines() {
        assert!(line.chars().count() < 80, "{line:?}");
        assert!(!line.ends_with(' '), "{line:?}");
    }
    let mut lines = said.out.lines();
    let head = "STATE   NAME                          PID    UP  LOG     FLAGS";
    assert_eq!(lines.next(), Some(head));
    lines.map(|line| line.to_string()).collect()
}

#[test]
fn all_services_in_one_table() {
    let place = Place::new();
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let since = |ago: u64| Wall {
        secs: now - ago,
        nanos: 0,
    };
    let b = Played::new(&place, "b");
    let long = "a-name-that-is-longer-than-its-column";
    let a = Played::new(&place, long);
    let odd = Played::new(&place, "z\n\u{1b}é");
    a.publish(&Status {
        since: since(3 * 86_400 + 4 * 3600),
        ..up()
    });
    b.publish(&Status {
        since: since(600),
        pid: 4_194_304,
        want: Want::Down,
        term: true,
        paused: true,
        ..up()
    });
    place.write("services/b/down", "");
    let _log = Played::new(&place, "b/log");
    let _gone = Played::new(&place, "c/log");
    odd.publish(&Status {
        since: since(7200),
        ..down()
    });
    place.write("services/file", "");
    place.write("services/.hidden/run", "");
    symlink("nowhere", place.path("services/y")).unwrap();
    let expected = [
        "run     a-name-that-is-longer-t~       77    3d  -",
        "run     b                         4194304   10m  down    \
         got TERM, want down, ~",
        "-       c                               -     -  down    \
         not supervised",
        "-       y                               -     -  -       \
         file does not exist",
        "down    z??é                            -    2h  -       \
         normally up",
    ];
    for words in [&["sv"][..], &["sv", "list"]] {
        let said = place.run(words);
        assert_eq!(rows(&said), expected);
        assert_eq!((said.err.as_str(), said.code), ("", 0));
    }
    let mut command = place.command(&["sv"]);
    command.env("SVDIR", place.path("none"));
    let said = said(&mut command);
    let line = format!(
        "warning: {}: unable to read the services directory: \
         file does not exist\n",
        place.path("none").display()
    );
    assert!(said.out.ends_with(&line), "{said:?}");
    assert_eq!(said.code, 1);
}

#[test]
fn hundreds_of_services_are_listed_in_order() {
    let place = Place::new();
    for number in 0..300 {
        let name = format!("services/service-{number:03}");
        fs::create_dir_all(place.path(&name)).unwrap();
    }
    let said = place.run(&["sv", "list"]);
    let rows = rows(&said);
    assert_eq!(rows.len(), 300);
    for (number, row) in rows.iter().enumerate() {
        let start = format!("-       service-{number:03} ");
        assert!(row.starts_with(&start), "{row}");
    }
}

#[test]
fn one_json_object_for_each_service() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};
    let place = Place::new();
    let a = Played::new(&place, "a");
    let term = true;
    let want = Want::Down;
    a.publish(&Status { want, term, ..up() });
    let seconds = |line: &str| {
        let (front, rest) = line.split_once("\"seconds\":").unwrap();
        let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        format!("{front}\"seconds\":N{rest}")
    };
    let object = "{\"name\":\"a\",\"state\":\"run\",\"pid\":77,\
        \"seconds\":N,\"flags\":[\"want down\",\"got TERM\"],\
        \"log\":null}\n";
    let said = place.run(&["sv", "-j", "status", "a"]);
    assert_eq!((seconds(&said.out).as_str(), said.code), (object, 0));
    let said = place.run(&["sv", "-j", "list"]);
    assert_eq!((seconds(&said.out).as_str(), said.code), (object, 0));
    let said = place.run(&["sv", "-j"]);
    assert_eq!((seconds(&said.out).as_str(), said.code), (object, 0));

    drop(a);
    fs::create_dir(place.path("services/a/log")).unwrap();
    let said = place.run(&["sv", "-j", "status", "a", "none"]);
    assert_eq!(
        said.out,
        "{\"name\":\"a\",\"state\":null,\"error\":\"runsv not running\",\
         \"log\":{\"name\":\"log\",\"state\":null,\"error\":\
         \"unable to open supervise/ok: file does not exist\"}}\n\
         {\"name\":\"none\",\"state\":null,\"error\":\
         \"unable to change to service directory: file does not exist\"}\n"
    );
    assert_eq!(said.code, 2);

    // Every byte that a name can have; all strings are valid JSON.
    fs::remove_dir_all(place.path("services/a")).unwrap();
    let names: Vec<Vec<u8>> = vec![
        (1..=b'.' - 1).collect(),
        (b'0'..=0x7f).collect(),
        (0x80..=0xff).collect(),
        "é€𝄞".as_bytes().to_vec(),
    ];
    for name in &names {
        let dir = place.path("services").join(OsStr::from_bytes(name));
        fs::create_dir(dir).unwrap();
    }
    let said = place.run(&["sv", "-j", "list"]);
    let lines: Vec<&str> = said.out.lines().collect();
    assert_eq!(lines.len(), names.len(), "{}", said.out);
    let mut shown: Vec<String> = Vec::new();
    for line in lines {
        let text = line.strip_prefix("{\"name\":\"").unwrap();
        let (name, _) = text.split_once("\",\"state\":").unwrap();
        shown.push(name.to_string());
    }
    let escaped = |range: core::ops::RangeInclusive<u8>| -> String {
        range.map(|byte| format!("\\u{byte:04x}")).collect()
    };
    // In byte order: 01, 30, 80, c3.
    let mut first = escaped(1..=0x1f);
    first.push_str(" !\\\"#$%&'()*+,-");
    assert_eq!(shown[0], first);
    assert!(shown[1].contains("[\\\\]") && shown[1].ends_with("~\\u007f"));
    assert_eq!(shown[2], escaped(0x80..=0xff));
    let bytes = |text: &str| -> String {
        text.bytes().map(|byte| format!("\\u{byte:04x}")).collect()
    };
    assert_eq!(shown[3], bytes("é€𝄞"));
}

#[test]
fn why_tells_how_a_service_ended() {
    use runt::wire::why::{Death, DeathCause, Waits, Why, pack};
    let place = Place::new();
    let a = Played::new(&place, "a");
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let wall = |secs| Wall { secs, nanos: 0 };
    a.publish(&Status {
        since: wall(now),
        want: Want::Up,
        ..down()
    });
    place.script("services/a/run", "exit 1");
    let said = place.run(&["sv", "why", "a"]);
    assert_eq!(
        masked(&said.out),
        "down: a: Ns, normally up, want up\n  run: ok\n"
    );
    let mut why = Why {
        restarts: 12,
        waits: Waits::Backoff,
        until: Some(wall(now + 3600)),
        ..Why::new()
    };
    let how = DeathCause::Killed(11, true);
    let when = wall(1_700_000_000);
    let lived = 90_061_000;
    why.died(Death {
        when,
        cause: how,
        runtime_ms: lived,
    });
    why.died(Death {
        cause: DeathCause::Exited(111),
        runtime_ms: 3,
        when,
    });
    fs::write(place.path("services/a/supervise/why"), pack(&why)).unwrap();
    fs::set_permissions(
        place.path("services/a/run"),
        std::os::unix::fs::PermissionsExt::from_mode(0o644),
    )
    .unwrap();
    let said = place.run(&["sv", "why", "a"]);
    let shown = masked(&said.out);
    let next = shown.split_once("until ").unwrap().1;
    let next = next.split_once('\n').unwrap().0.to_string();
    assert_eq!(
        shown.replace(&next, "NEXT"),
        "down: a: Ns, normally up, want up\n  run: not executable\n  \
         restarts 12\n  waits backoff until NEXT\n  \
         died 2023-11-14_22:13:20.00000 signal SEGV core after 90061000 ms\n  \
         died 2023-11-14_22:13:20.00000 exit 111 after 3 ms\n"
    );
    assert_eq!(said.code, 0);

    let said = place.run(&["sv", "-j", "why", "a"]);
    let (_, rest) = said.out.split_once("\"log\":null,").unwrap();
    assert_eq!(
        rest.replace(&next, "NEXT"),
        "\"run\":\"not executable\",\"restarts\":12,\"waits\":\"backoff\",\
         \"until\":\"NEXT\",\"deaths\":[{\"when\":\
         \"2023-11-14_22:13:20.00000\",\"signal\":\"SEGV\",\"core\":true,\
         \"lived-ms\":90061000},{\"when\":\"2023-11-14_22:13:20.00000\",\
         \"exit\":111,\"lived-ms\":3}]}\n"
    );
    // Once it runs, the pause is over.
    a.publish(&up());
    let said = place.run(&["sv", "why", "a"]);
    assert!(!said.out.contains("waits"), "{}", said.out);

    // Services without a supervisor, each with the reason.
    drop(a);
    fs::create_dir(place.path("services/new")).unwrap();
    fs::create_dir(place.path("services/.dot")).unwrap();
    let row = |name: &str, line: &str, reason: &str| {
        let said = place.run(&["sv", "why", name]);
        let out = format!("{line}\n  {reason}\n");
        assert!(said.out.starts_with(&out), "{}", said.out);
        assert_eq!(said.code, 1);
    };
    let gone = "its supervisor has ended or was told to exit";
    row("a", "fail: a: runsv not running", gone);
    let never = "unable to open supervise/ok: file does not exist";
    let new = format!("warning: new: {never}");
    row(
        "new",
        &new,
        "no supervisor has taken it up yet\n  run: file does not exist",
    );
    let dot = format!("warning: ./services/.dot: {never}");
    let reason = "a name that begins with a dot is not supervised";
    row("./services/.dot", &dot, reason);
    let said = place.run(&["sv", "-j", "why", "a", "none"]);
    assert_eq!((said.out.lines().count(), said.code), (2, 2));
}
