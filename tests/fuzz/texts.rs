//! Targets for text of bounded length: names, paths, lines, masks, titles.

use std::collections::VecDeque;

use runt::{
    config,
    machine::title,
    text::{
        self, Line, Path, TooLong, basename, copy, find, leading_number,
        mask::{self, Mask},
        whole_number,
    },
};

use crate::input::{Input, decimal};

/// Helpers agree with the standard library, and bounded texts keep their bound.
///
/// The first line is one text, the rest another one.
pub(crate) fn text(data: &[u8]) {
    let mut input = Input(data);
    let (first, second) = (input.line(), input.0);
    for byte in [0, b'/', b'\n', 0xff, first.first().copied().unwrap_or(1)] {
        let known = second.iter().position(|other| *other == byte);
        assert_eq!(find(second, byte), known);
    }
    assert_eq!(whole_number(first), decimal(first));
    let (number, rest) = leading_number(first);
    let digits = &first[..first.len() - rest.len()];
    assert_eq!(number, decimal(digits).unwrap_or(0));
    assert!(!rest.first().is_some_and(u8::is_ascii_digit));
    let known = first.iter().rposition(|byte| *byte == b'/');
    assert_eq!(basename(first), &first[known.map_or(0, |at| at + 1)..]);

    let mut room = second.to_vec();
    let fits = copy(&mut room, first);
    assert_eq!(fits, first.len() <= second.len());
    if fits {
        assert_eq!(room[..first.len()], *first);
        assert_eq!(room[first.len()..], second[first.len()..]);
    } else {
        assert_eq!(room, second);
    }
    let from = first.len().min(second.len());
    let mut moved = second.to_vec();
    text::to_front(&mut moved, from, second.len() - from);
    assert!(moved.starts_with(&second[from..]));

    path(first, second);
    match text::name(first) {
        Ok(name) => assert_eq!(&name[..], first),
        Err(TooLong { limit }) => assert!(first.len() > limit),
    }
    line(first, second);
}

/// Asserts that a path is its parts or is refused.
fn path(first: &[u8], second: &[u8]) {
    let whole = [first, b"/", second].concat();
    let good = whole.len() < config::PATH_BYTES && !whole.contains(&0);
    let joined = Path::join(&[first, b"/", second]);
    assert_eq!(joined.is_ok(), good);
    let Ok(mut pushed) = Path::join(&[first]) else {
        return;
    };
    let slash = pushed.push(b"/").is_ok();
    let before = pushed.as_bytes().to_vec();
    if pushed.push(second).is_ok() && slash {
        assert!(good && pushed.as_bytes() == whole);
        pushed.cut(first.len());
        assert_eq!(pushed.as_bytes(), first);
    } else {
        assert!(!good && pushed.as_bytes() == before);
    }
}

/// Asserts that a line is its parts, masked, or a beginning of them as long as
/// its bound allows, and dots.
fn line(first: &[u8], second: &[u8]) {
    let mut line = Line::new();
    line.text("sv: ").bytes(first).text(": ").bytes(second);
    let shown = line.number(17).finish();
    assert!(shown.len() <= config::MESSAGE_BYTES);
    let shown = shown.strip_suffix(b"\n").unwrap();
    let mut whole = b"sv: ".to_vec();
    mask::each(first, &mut |character| whole.extend(character));
    whole.extend(b": ");
    mask::each(second, &mut |character| whole.extend(character));
    whole.extend(b"17");
    if shown != whole {
        let kept = shown.strip_suffix(b"...").expect("it says so");
        assert!(whole.starts_with(kept));
        assert!(std::str::from_utf8(kept).is_ok());
        assert!(shown.len() + 4 >= config::MESSAGE_BYTES);
    }
}

/// Checks that a masked text has no control character, is UTF-8, is what
/// well-formed text was, and does not depend on how it arrives.
pub(crate) fn mask(data: &[u8]) {
    for keeps_lines in [false, true] {
        let new = || {
            if keeps_lines {
                Mask::lines()
            } else {
                Mask::name()
            }
        };
        let mut shown = Vec::new();
        let mut mask = new();
        for byte in data {
            mask.take(*byte, &mut |character| shown.extend(character));
        }
        mask.end(&mut |character| shown.extend(character));
        let text = std::str::from_utf8(&shown).expect("it is UTF-8");
        let bad = |c: char| {
            c.is_control() && !(keeps_lines && matches!(c, '\n' | '\t'))
        };
        assert!(!text.contains(bad));
        if let Ok(known) = std::str::from_utf8(data) {
            assert_eq!(text, known.replace(bad, "?"));
        }
        // No byte is lost: each one not shown is a `?`.
        assert!(shown.len() <= data.len());
        let valid = String::from_utf8_lossy(data).replace('\u{fffd}', "");
        let valid = valid.replace(bad, "").replace('?', "");
        assert_eq!(text.replace(['?', '\u{fffd}'], ""), valid);
        let mut again = Vec::<u8>::new();
        let mut mask = new();
        for byte in &shown {
            mask.take(*byte, &mut |character| again.extend(character));
        }
        mask.end(&mut |character| again.extend(character));
        assert_eq!(again, shown);
    }
    let mut shown = Vec::<u8>::new();
    mask::each(data, &mut |character| shown.extend(character));
    assert!(shown.is_empty() == data.is_empty());
}

/// Checks that a title keeps its length and its beginning, and ends in the
/// newest text.
///
/// The first line is the title, each further one is a text to be added.
pub(crate) fn title(data: &[u8]) {
    let mut input = Input(data);
    let mut title = input.line().to_vec();
    let kept = title[..title.len().min(title::KEPT)].to_vec();
    let mut known: VecDeque<u8> =
        title.iter().skip(title::KEPT).copied().collect();
    while !input.is_empty() {
        let text = input.line();
        title::push(&mut title, text);
        for byte in text.iter().filter(|byte| **byte != 0) {
            known.push_back(*byte);
            known.pop_front();
        }
        assert!(title.starts_with(&kept));
        assert!(title[kept.len()..].iter().eq(&known));
    }
}
