//! Targets for what logs are made of: config, names, stamps, lines, patterns,
//! addresses.

use std::net::{Ipv4Addr, Ipv6Addr};

use runt::{
    machine::{line::Lines, pattern::matches, rotate::OldLogs},
    wire::{
        clock::Wall,
        ipv6, logconfig,
        logname::{Kind, LogName},
        stamp::{self, Stamps, Style},
        tai,
    },
};

use crate::input::{Input, is_part, lines as files};

/// Checks that a config's settings are within their bounds, and a config that
/// is written from them has the same settings and no invalid line.
pub(crate) fn config(data: &[u8]) {
    let mut patterns = Vec::new();
    let read = logconfig::settings(
        data,
        logconfig::SIZE_AND_KEEP,
        |line| patterns.push(line),
        |_, part| assert!(is_part(part, data)),
    );
    for part in [read.group, read.prefix, read.command] {
        assert!(is_part(part, data) && !part.contains(&b'\n'));
    }
    assert_eq!(read.mode & !0o666, 0);
    // The patterns as svlogd stores them.
    let stored = patterns.join(&b'\n');
    let stored =
        [&stored, &b"\n"[..usize::from(!patterns.is_empty())]].concat();
    assert!(stored.len() <= data.len() + 1);
    let mut count = 0;
    for ((decision, pattern), line) in
        logconfig::patterns(&stored).zip(&patterns)
    {
        assert_eq!(pattern, &line[1..]);
        let key = match decision {
            logconfig::Decision::Log(true) => b'+',
            logconfig::Decision::Log(false) => b'-',
            logconfig::Decision::Error(true) => b'e',
            logconfig::Decision::Error(false) => b'E',
        };
        assert_eq!(key, line[0]);
        count += 1;
    }
    assert_eq!(count, patterns.len());
    let mut text = format!(
        "s{}\nn{}\nN{}\nt{}\nf{}\nd{}\nm{:o}\n",
        read.size,
        read.keep,
        read.keep_full,
        read.age.as_secs(),
        read.durable.as_secs(),
        read.lossy.as_secs(),
        read.mode
    )
    .into_bytes();
    if let Some(udp) = read.udp {
        assert_ne!(udp.to.port(), 0);
        let key = if udp.only { 'U' } else { 'u' };
        text.extend(format!("{key}{}\n", udp.to).bytes());
    }
    for (key, value) in [
        (b'g', read.group),
        (b'p', read.prefix),
        (b'!', read.command),
    ] {
        text.extend([&[key], value, b"\n"].concat());
    }
    text.extend(&stored);
    let mut again = Vec::new();
    let written = logconfig::settings(
        &text,
        (0, 0),
        |line| again.push(line),
        |what, part| panic!("{what:?}: {part:?}"),
    );
    assert_eq!((written, again), (read, patterns));
}

/// Checks that an address is read as the standard library reads it.
pub(crate) fn ipv6(data: &[u8]) {
    let text = std::str::from_utf8(data).ok();
    let v4 = |text: &[u8]| -> Option<Ipv4Addr> {
        std::str::from_utf8(text).ok()?.parse().ok()
    };
    let known = text.and_then(|text| text.parse::<Ipv6Addr>().ok());
    assert_eq!(ipv6::parse(data, v4), known);
}

/// Checks that a name that is read is written the same, the name of the next
/// log sorts behind it, and the summary of a directory is that of its sorted
/// names.
///
/// The first eight bytes are the clock, each line of the rest is a file.
pub(crate) fn name(data: &[u8]) {
    let mut input = Input(data);
    let wall = Wall::from_nanos(input.number());
    let fresh = LogName::new(wall, Kind::Unsafe);
    assert_eq!(fresh.moment(), Some(wall));
    assert_eq!(fresh.kind(), Some(Kind::Unsafe));
    let mut names = Vec::new();
    // No file has a NUL in its name.
    for file in files(input.0).filter(|file| !file.contains(&0)) {
        let Some(name) = LogName::parse(file) else {
            assert!(file.len() != 27 || file[0] != b'@');
            continue;
        };
        assert_eq!(name.as_bytes(), file);
        for kind in [Kind::Safe, Kind::Unsafe, Kind::Temporary] {
            assert_eq!(name.with(kind).kind(), Some(kind));
            assert_eq!(name.with(kind).moment(), name.moment());
        }
        names.push(name);
    }
    names.sort();
    for processed in [false, true] {
        let mut olds = OldLogs::new(None, processed);
        names.iter().rev().for_each(|name| olds.add(*name));
        assert_eq!(olds.count, names.len() as u64);
        let waits = |n: &&LogName| processed && n.kind() == Some(Kind::Unsafe);
        assert_eq!(olds.pending.as_ref(), names.iter().find(waits));
        assert_eq!(
            olds.oldest.as_ref(),
            names.iter().find(|name| !waits(name))
        );
        assert!(olds.excess(olds.count).is_none());
        let next = LogName::after(olds.newest, wall, Kind::Safe);
        for name in &names {
            assert!(name.moment().is_none() || next > *name);
        }
        let newest = olds.newest.and_then(|newest| newest.moment());
        if newest.is_none_or(|newest| wall > newest) {
            assert_eq!(next.moment(), Some(wall));
        }
    }
}

/// Checks that a time is written as it was read; stamps that are counted up
/// are those that are formatted afresh; a label is decoded to its time.
pub(crate) fn stamp(data: &[u8]) {
    if let Some(wall) = stamp::parse(data) {
        let again = stamp::stamp(Style::Date, wall);
        assert_eq!(again.trim_ascii(), data);
        let iso = stamp::stamp(Style::Iso, wall);
        assert_eq!(iso[10], b'T');
        assert!(wall.nanos < 1_000_000_000);
        assert_eq!(
            wall.secs % 60,
            u64::from(data[17] & 15) * 10 + u64::from(data[18] & 15)
        );
    }
    let mut input = Input(data);
    let packed: [u8; tai::BYTES] = input.array();
    let wall = tai::unpack(packed);
    for style in [Style::Plain, Style::Label, Style::Date, Style::Iso] {
        let mut stamps = Stamps::new(style, wall);
        let mut now = wall;
        for _ in 0..input.byte() & 31 {
            stamps.advance();
            now = now.next();
        }
        if style == Style::Label {
            assert_eq!(stamps.stamp(), &stamp::stamp(style, now)[..]);
        }
        let length = if style == Style::Plain { 0 } else { 26 };
        assert_eq!(stamps.stamp().len(), length);
        assert!(stamps.stamp().is_ascii());
    }
    let label = tai::label(wall);
    let name = [&label[..], b".s"].concat();
    // TAI64 reserves the upper half.
    let known = (label[1] < b'8').then_some(wall);
    assert_eq!(LogName::parse(&name).unwrap().moment(), known);
}

/// Checks that a stream is cut into the same lines however it arrives; the
/// first bytes of a line come together.
///
/// The first byte is the limit, the second the number of blocks' sizes that
/// follow; the rest is the stream.
pub(crate) fn lines(data: &[u8]) {
    let mut input = Input(data);
    let limit = usize::from(input.byte() % 32) + 1;
    let count = usize::from(input.byte() % 16);
    let sizes = input.take(count);
    let stream = input.0;
    let mut lines = Lines::new(limit);
    let mut kept: Vec<u8> = Vec::new();
    let mut heads: Vec<Vec<u8>> = Vec::new();
    let mut all: Vec<u8> = Vec::new();
    let mut rest = stream;
    let mut sizes = sizes.iter().cycle();
    while !rest.is_empty() {
        let size = sizes.next().map_or(7, |size| usize::from(*size % 24) + 1);
        let (block, behind) = rest.split_at(size.min(rest.len()));
        rest = behind;
        kept.extend(block);
        let ready = lines.ready_bytes(&kept);
        let block: Vec<u8> = kept.drain(..ready).collect();
        assert!(kept.len() < limit, "the reader keeps no more than this");
        for piece in lines.pieces(&block) {
            assert!(!piece.bytes.is_empty());
            assert!(!piece.text().contains(&b'\n'));
            all.extend(piece.bytes);
            if piece.first {
                let whole = piece.bytes.ends_with(b"\n");
                assert!(whole || piece.bytes.len() >= limit);
                let text = piece.text();
                heads.push(text[..text.len().min(limit)].to_vec());
            }
        }
        lines.consumed(&block);
        let open = all.last().is_some_and(|byte| *byte != b'\n');
        assert_eq!(lines.is_inside(), open);
    }
    assert_eq!([&all[..], &kept].concat(), stream);
    let wanted = all.split_inclusive(|byte| *byte == b'\n').map(|line| {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        text[..text.len().min(limit)].to_vec()
    });
    assert!(wanted.eq(heads));
}

/// Checks that a pattern matches a line as the description of svlogd(8) says.
///
/// The first line is the pattern, the rest is the line.
pub(crate) fn pattern(data: &[u8]) {
    let mut input = Input(data);
    let pattern = input.line();
    let line = input.0;
    assert_eq!(matches(pattern, line), described(pattern, line));
    let plain = |text: &[u8]| !text.iter().any(|b| matches!(b, b'*' | b'+'));
    if plain(line) {
        assert!(matches(line, line));
        assert!(matches(&[line, b"*"].concat(), line));
    }
    if plain(pattern) {
        assert_eq!(matches(pattern, line), pattern == line);
    }
    assert!(matches(b"*", line));
}

/// Matches a pattern by recursion over its first symbol.
fn described(pattern: &[u8], line: &[u8]) -> bool {
    match pattern {
        [] => line.is_empty(),
        [b'*'] => true,
        [b'*', stop, rest @ ..] => {
            let mut parts = line.splitn(2, |byte| byte == stop);
            parts.next();
            parts.next().is_some_and(|behind| described(rest, behind))
        }
        [b'+', many, rest @ ..] => {
            let behind = line.iter().take_while(|byte| *byte == many).count();
            // A line that ends in the run matches, as in runit.
            behind > 0
                && (behind == line.len() || described(rest, &line[behind..]))
        }
        [one, rest @ ..] => {
            line.first() == Some(one) && described(rest, &line[1..])
        }
    }
}
