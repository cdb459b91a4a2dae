//! Targets for records of fixed form: what a supervisor, a logger, the kernel
//! or mkfs wrote.

use runt::{
    config,
    wire::{
        clock::Wall,
        dm, order,
        process::ProcStat,
        ring::{HEADER, Reader, Ring},
        status::{self, State, Want},
        utmp, verity, volume, why,
    },
};

use crate::input::{Input, decimal, is_part, lines};

/// Checks that the parameter's parts are slices of it. A superblock that is
/// accepted gives ten words of a table, of which the superblock determines
/// none but its own, and a record in which a NUL follows them.
pub(crate) fn verity(data: &[u8]) {
    let mut input = Input(data);
    let text = input.line();
    let bytes = input.array::<{ verity::SUPERBLOCK }>();
    let hash = "5a".repeat(20);
    let known = format!("data:hash:{hash}");
    let given = verity::Verity::parse(text).inspect(|given| {
        assert!(is_part(given.data, text) && is_part(given.hash, text));
        assert!(!given.data.is_empty() && !given.hash.is_empty());
        assert!(text.len() > given.data.len() + given.hash.len() + 40);
    });
    let known = verity::Verity::parse(known.as_bytes());
    let Ok(superblock) = verity::Superblock::parse(&bytes) else {
        return;
    };
    assert!(superblock.sectors() > 0);
    let [left, right] = [0xfe01, 0xfe02].map(dm::Device::decode);
    for given in [given, known].into_iter().flatten() {
        let line = superblock.table(&given, left, right);
        let text = std::str::from_utf8(&line).unwrap();
        let words: Vec<_> = text.split(' ').collect();
        assert_eq!(words.len(), 10, "{text}");
        assert_eq!((words[1], words[2], words[6]), ("254:1", "254:2", "1"));
        assert!((40..=128).contains(&words[8].len()), "{text}");
        let [data, hash]: [u64; 2] =
            [3, 4].map(|at| words[at].parse().unwrap());
        assert!(data.is_power_of_two() && hash.is_power_of_two());
        let blocks: u64 = words[5].parse().unwrap();
        assert_eq!(blocks * data, superblock.sectors() * 512);
        let target = dm::Target {
            sectors: superblock.sectors(),
            kind: b"verity",
            line: &line,
        };
        let record = dm::record(b"root", dm::READ_ONLY, Some(&target));
        let tail = &record[352..];
        assert!(tail.starts_with(&line) && tail[line.len()..].contains(&0));
    }
}

/// Checks that a record is 20 bytes; encoding what was decoded and decoding it
/// again gives the same.
pub(crate) fn status(data: &[u8]) {
    let Some(status) = status::unpack(data) else {
        assert_ne!(data.len(), status::BYTES);
        return;
    };
    assert_eq!(data.len(), status::BYTES);
    let packed = status::pack(&status);
    assert_eq!(status::unpack(&packed), Some(status));
    assert_eq!(packed[12..16], data[12..16], "pid");
    // `sv` and the supervisor compute with the time.
    let _fits = status.since.next().in_nanos();
    let line = status::stat(&status);
    let text = std::str::from_utf8(&line).unwrap();
    let words: Vec<_> = text.strip_suffix('\n').unwrap().split(", ").collect();
    let first = match status.state {
        State::Down => "down",
        State::Run => "run",
        State::Finish => "finish",
    };
    assert_eq!(words[0], first);
    assert_eq!(words.contains(&"paused"), status.paused);
    assert_eq!(words.contains(&"got TERM"), status.term);
    let down = status.want != Want::Up && status.state != State::Down;
    assert_eq!(words.contains(&"want down"), down);
    let pid = status::pid(status.pid);
    let number = pid.strip_suffix(b"\n").and_then(decimal);
    assert_eq!(number.unwrap_or(0), status.pid.into());
}

/// Checks that a record that is decoded is encoded within its bound and
/// decoded to the same.
pub(crate) fn why(data: &[u8]) {
    for line in lines(data) {
        if let Some(why::Fact::Waits(reason, until)) = why::fact(line) {
            assert!(is_part(reason, line) && is_part(until, line));
        }
    }
    let Some(why) = why::unpack(data) else { return };
    assert!(data.is_empty() || data.ends_with(b"\n"));
    let died = lines(data)
        .filter(|line| line.starts_with(b"died "))
        .count();
    assert_eq!(why.deaths.len(), died.min(why::DEATHS));
    let record = why::pack(&why);
    assert!(record.len() <= why::BYTES && record.ends_with(b"\n"));
    assert_eq!(why::unpack(&record), Some(why.clone()));
    let mut later = why.clone();
    assert!(!later.restamp(&|moment| moment));
    let changed = later.restamp(&Wall::next);
    assert_eq!(changed, later != why);
}

/// Checks that an order that is encoded is decoded to the same; bytes that are
/// decoded are encoded to the same up to the name's padding.
pub(crate) fn order(data: &[u8]) {
    let Some(order) = order::unpack(data) else {
        assert!(data.len() < 4);
        return;
    };
    assert!(is_part(order.name, data) && !order.name.contains(&0));
    if order.name.len() > config::NAME_BYTES {
        // The receiver's buffer is one order long.
        assert!(data.len() > order::BYTES);
        return;
    }
    let packed = order::pack(order);
    assert_eq!(order::unpack(&packed), Some(order));
    assert_eq!(packed[..3], data[..3]);
}

/// Checks that a reader of a ring gets whole lines, in order, none twice, and
/// all that it has not lost; any header gives positions within the file.
pub(crate) fn ring(data: &[u8]) {
    let mut input = Input(data);
    let header: [u8; HEADER] = input.array();
    let length = input.number();
    let mut forged = Ring::unpack(&header, length);
    assert!(forged.length() <= length || forged.length() == 17);
    let mut reader = Reader::default();
    for _ in 0..3 {
        if let Some((at, most)) = reader.next(forged) {
            let end = at.checked_add(most as u64);
            assert!(end.is_some_and(|end| end <= forged.length()));
            reader.take(forged, &[b'x'; 9][..most.min(9)]);
        }
        if let Some((at, count)) = forged.add(&[b'x'; 7]) {
            assert!(count <= 7);
            assert!(at + count as u64 <= forged.length());
        }
    }
    let most = 1 + u64::from(input.byte() % 16);
    let size = u64::from(input.byte() % 64);
    let ring = Ring::new(size, most);
    replay(ring, usize::try_from(most).unwrap(), input);
}

/// Writes and reads a ring as the rest of the input says: a byte below 128
/// writes so many bytes of the stream, others read so many at most.
fn replay(mut ring: Ring, most: usize, mut input: Input<'_>) {
    let mut file = vec![0; usize::try_from(ring.length()).unwrap()];
    let mut written = Vec::new();
    // What was shown since the last loss.
    let mut shown: Vec<u8> = Vec::new();
    let mut reader = Reader::default();
    // Lines `aaa\n`, `bb\n`, ... of different lengths.
    let mut stream = (0_u32..).flat_map(|line| {
        let letter = b'a' + u8::try_from(line % 26).unwrap();
        let length = usize::try_from(line * 7 % 11).unwrap();
        let mut text = vec![letter; length];
        text.push(b'\n');
        text
    });
    while !input.is_empty() {
        let byte = input.byte();
        if byte < 128 {
            let count = most.min(usize::from(byte));
            let block: Vec<u8> = stream.by_ref().take(count).collect();
            let mut rest = &block[..];
            while let Some((at, count)) = ring.add(rest) {
                let at = usize::try_from(at).unwrap();
                file[at..at + count].copy_from_slice(&rest[..count]);
                rest = &rest[count..];
            }
            assert!(rest.is_empty());
            written.extend(block);
            let again = Ring::unpack(&ring.header(), ring.length());
            assert_eq!(again, ring);
            continue;
        }
        if reader.is_lost(ring) {
            assert_shown(&shown, &written);
            shown.clear();
        }
        let Some((at, count)) = reader.next(ring) else {
            assert!(reader.is_behind(ring));
            continue;
        };
        let count = count.min(usize::from(byte & 0x7f));
        let at = usize::try_from(at).unwrap();
        let bytes = &file[at..at + count];
        let start = reader.take(ring, bytes).expect("nothing was overwritten");
        shown.extend(&bytes[start..]);
    }
    assert_shown(&shown, &written);
}

/// Asserts that what was shown without a loss is part of the stream and begins
/// with a whole line.
fn assert_shown(shown: &[u8], written: &[u8]) {
    let stream = [b"\n", written].concat();
    let wanted = [b"\n", shown].concat();
    assert!(stream.windows(wanted.len()).any(|part| part == wanted));
}

/// Checks that a name that is spelled as the volume has it names it, whatever
/// the volume.
pub(crate) fn volume(data: &[u8]) {
    let mut input = Input(data);
    let text = input.line();
    let number = input.byte();
    let head = &input.0[..input.0.len().min(volume::HEAD)];
    let tag = volume::Tag::parse(text);
    if let Some(tag) = tag {
        let _any = (tag.is_possible(), tag.names_partition(input.0));
        if tag.names(head, number) {
            assert!(!head.is_empty());
            // Bytes behind the head are not looked at.
            let more = [head, &[0xff; 64]].concat();
            assert!(head.len() < volume::HEAD || tag.names(&more, number));
        }
    }
    if let Some(offset) = volume::entry_place(head, number) {
        assert!(number > 0 && offset >= 16);
        assert!(offset < 1 << 42, "{offset}");
    }
    let magic = head.get(0x438..0x43a) == Some(&[0x53, 0xef]);
    if let Some(uuid) = head.get(0x468..0x478).filter(|_| magic) {
        let hex = |bytes: &[u8]| -> String {
            bytes.iter().map(|byte| format!("{byte:02x}")).collect()
        };
        let text = format!("UUID={}-{}", hex(&uuid[..4]), hex(&uuid[4..]));
        let tag = volume::Tag::parse(text.as_bytes()).unwrap();
        assert!(tag.names(head, number));
        assert!(tag.names_entry(uuid.try_into().unwrap()) == same_in_gpt(uuid));
    }
    let mut words = lines(text);
    let (disk, name) = (words.next().unwrap_or(b""), head);
    if let Some(number) = volume::partition_number(disk, name) {
        assert!(number > 0 && name.starts_with(disk));
    }
}

/// Returns true if a UUID reads the same with its first fields reversed.
fn same_in_gpt(uuid: &[u8]) -> bool {
    let turned = |range: std::ops::Range<usize>| {
        let field = &uuid[range];
        field.iter().eq(field.iter().rev())
    };
    turned(0..4) && turned(4..6) && turned(6..8)
}

/// Checks that a record that was ended is no login of any line and keeps its
/// line.
pub(crate) fn utmp(data: &[u8]) {
    let mut input = Input(data);
    let name = input.line();
    let Some(line) = utmp::Name::new(name) else {
        assert!(name.len() > 32);
        return;
    };
    let mut record = utmp::Record::of_line(line);
    assert!(!record.is_login(line));
    let bytes = record.bytes();
    let now = input.number();
    let taken = input.take(bytes.len());
    bytes[..taken.len()].copy_from_slice(taken);
    let before = bytes[8..40].to_vec();
    let login = record.is_login(line);
    assert!(!login || before.starts_with(line.as_bytes()));
    record.end(now);
    assert!(!record.is_login(line));
    assert_eq!(record.bytes()[8..40], before);
    assert_eq!(record.bytes()[..2], 8_u16.to_ne_bytes());
}

/// Checks that the line of a process is read as its parts say, whatever its
/// name.
pub(crate) fn process(data: &[u8]) {
    if let Some(stat) = ProcStat::parse(data) {
        assert!(is_part(stat.name, data));
        assert!(!stat.hangs() || !stat.is_stopped());
    }
    let name = &data[..data.len().min(15)];
    for (state, hangs, stopped) in
        [("D", true, false), ("T", false, true), ("S", false, false)]
    {
        let rest = format!(") {state} 1 17 17 0 -1");
        let line = [b"17 (", name, rest.as_bytes()].concat();
        let stat = ProcStat::parse(&line).expect("it is well-formed");
        assert_eq!((stat.name, stat.orphan), (name, true));
        assert_eq!((stat.hangs(), stat.is_stopped()), (hangs, stopped));
    }
}
