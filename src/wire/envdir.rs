//! Files of an environment directory (contract §6.1).

/// Returns the value in a file's text: its first line, without trailing blanks
/// and tabs.
pub fn value(text: &[u8]) -> &[u8] {
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or(b"");
    let last = line.iter().rposition(|byte| !matches!(byte, b' ' | b'\t'));
    let kept = last.map_or(0, |last| last.saturating_add(1));
    line.get(..kept).unwrap_or(&[])
}
