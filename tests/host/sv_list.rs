//! Tests that sv reports the state of all services to people and to programs:
//! `list`, `-j`, `why`.

use std::{fs, os::unix::fs::symlink};

use runt::wire::{
    clock::Wall,
    status::{Status, Want},
};

use crate::util::{
    Output, TestDir,
    fake_supervisor::{FakeSupervisor, down, masked, up},
    output_of,
};

/// Returns the rows of the table without its head. Fails unless each fits the
/// screen.
fn rows(output: &Output) -> Vec<String> {
    for line in output.stdout.lines() {
        assert!(line.chars().count() < 80, "{line:?}");
        assert!(!line.ends_with(' '), "{line:?}");
    }
    let mut lines = output.stdout.lines();
    let head = "STATE   NAME                          PID    UP  LOG     FLAGS";
    assert_eq!(lines.next(), Some(head));
    lines.map(|line| line.to_string()).collect()
}

#[test]
fn all_services_in_one_table() {
    let tmp = TestDir::new();
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let since = |ago: u64| Wall {
        secs: now - ago,
        nanos: 0,
    };
    let b = FakeSupervisor::new(&tmp, "b");
    let long = "a-name-that-is-longer-than-its-column";
    let a = FakeSupervisor::new(&tmp, long);
    let odd = FakeSupervisor::new(&tmp, "z\n\u{1b}é");
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
    tmp.write("services/b/down", "");
    let _log = FakeSupervisor::new(&tmp, "b/log");
    let _gone = FakeSupervisor::new(&tmp, "c/log");
    odd.publish(&Status {
        since: since(7200),
        ..down()
    });
    tmp.write("services/file", "");
    tmp.write("services/.hidden/run", "");
    symlink("nowhere", tmp.path("services/y")).unwrap();
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
        let output = tmp.run(words);
        assert_eq!(rows(&output), expected);
        assert_eq!((output.stderr.as_str(), output.code), ("", 0));
    }
    let mut command = tmp.command(&["sv"]);
    command.env("SVDIR", tmp.path("none"));
    let output = output_of(&mut command);
    let line = format!(
        "warning: {}: unable to read the services directory: \
         file does not exist\n",
        tmp.path("none").display()
    );
    assert!(output.stdout.ends_with(&line), "{output:?}");
    assert_eq!(output.code, 1);
}

#[test]
fn hundreds_of_services_are_listed_in_order() {
    let tmp = TestDir::new();
    for number in 0..300 {
        let name = format!("services/service-{number:03}");
        fs::create_dir_all(tmp.path(&name)).unwrap();
    }
    let output = tmp.run(&["sv", "list"]);
    let rows = rows(&output);
    assert_eq!(rows.len(), 300);
    for (number, row) in rows.iter().enumerate() {
        let start = format!("-       service-{number:03} ");
        assert!(row.starts_with(&start), "{row}");
    }
}

#[test]
fn one_json_object_per_service() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};
    let tmp = TestDir::new();
    let mut a = FakeSupervisor::new(&tmp, "a");
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
    let output = tmp.run(&["sv", "-j", "status", "a"]);
    assert_eq!((seconds(&output.stdout).as_str(), output.code), (object, 0));
    let output = tmp.run(&["sv", "-j", "list"]);
    assert_eq!((seconds(&output.stdout).as_str(), output.code), (object, 0));
    let output = tmp.run(&["sv", "-j"]);
    assert_eq!((seconds(&output.stdout).as_str(), output.code), (object, 0));

    a.close_fifos();
    fs::create_dir(tmp.path("services/a/log")).unwrap();
    let output = tmp.run(&["sv", "-j", "status", "a", "none"]);
    assert_eq!(
        output.stdout,
        "{\"name\":\"a\",\"state\":null,\"error\":\"runsv not running\",\
         \"log\":{\"name\":\"log\",\"state\":null,\"error\":\
         \"unable to open supervise/ok: file does not exist\"}}\n\
         {\"name\":\"none\",\"state\":null,\"error\":\
         \"unable to change to service directory: file does not exist\"}\n"
    );
    assert_eq!(output.code, 2);

    // Every byte that a name can have; all strings are valid JSON.
    fs::remove_dir_all(tmp.path("services/a")).unwrap();
    let names: Vec<Vec<u8>> = vec![
        (1..=b'.' - 1).collect(),
        (b'0'..=0x7f).collect(),
        (0x80..=0xff).collect(),
        "é€𝄞".as_bytes().to_vec(),
    ];
    for name in &names {
        let dir = tmp.path("services").join(OsStr::from_bytes(name));
        fs::create_dir(dir).unwrap();
    }
    let output = tmp.run(&["sv", "-j", "list"]);
    let lines: Vec<&str> = output.stdout.lines().collect();
    assert_eq!(lines.len(), names.len(), "{}", output.stdout);
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
fn why_shows_how_a_service_ended() {
    use runt::wire::why::{Death, DeathCause, Waits, Why, pack};
    let tmp = TestDir::new();
    let mut a = FakeSupervisor::new(&tmp, "a");
    let now = std::time::SystemTime::now();
    let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let wall = |secs| Wall { secs, nanos: 0 };
    a.publish(&Status {
        since: wall(now),
        want: Want::Up,
        ..down()
    });
    tmp.script("services/a/run", "exit 1");
    let output = tmp.run(&["sv", "why", "a"]);
    assert_eq!(
        masked(&output.stdout),
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
    fs::write(tmp.path("services/a/supervise/why"), pack(&why)).unwrap();
    fs::set_permissions(
        tmp.path("services/a/run"),
        std::os::unix::fs::PermissionsExt::from_mode(0o644),
    )
    .unwrap();
    let output = tmp.run(&["sv", "why", "a"]);
    let shown = masked(&output.stdout);
    let next = shown.split_once("until ").unwrap().1;
    let next = next.split_once('\n').unwrap().0.to_string();
    assert_eq!(
        shown.replace(&next, "NEXT"),
        "down: a: Ns, normally up, want up\n  run: not executable\n  \
         restarts 12\n  waits backoff until NEXT\n  \
         died 2023-11-14_22:13:20.00000 signal SEGV core after 90061000 ms\n  \
         died 2023-11-14_22:13:20.00000 exit 111 after 3 ms\n"
    );
    assert_eq!(output.code, 0);

    let output = tmp.run(&["sv", "-j", "why", "a"]);
    let (_, rest) = output.stdout.split_once("\"log\":null,").unwrap();
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
    let output = tmp.run(&["sv", "why", "a"]);
    assert!(!output.stdout.contains("waits"), "{}", output.stdout);

    // Services without a supervisor, each with the reason.
    a.close_fifos();
    fs::create_dir(tmp.path("services/new")).unwrap();
    fs::create_dir(tmp.path("services/.dot")).unwrap();
    let row = |name: &str, line: &str, reason: &str| {
        let output = tmp.run(&["sv", "why", name]);
        let out = format!("{line}\n  {reason}\n");
        assert!(output.stdout.starts_with(&out), "{}", output.stdout);
        assert_eq!(output.code, 1);
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
    let output = tmp.run(&["sv", "-j", "why", "a", "none"]);
    assert_eq!((output.stdout.lines().count(), output.code), (2, 2));
}
