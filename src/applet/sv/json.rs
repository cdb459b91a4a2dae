//! Prints the status of a service as one JSON object in one line (`-j`).

use super::{
    describe::{flags, seconds, word},
    page::Page,
    service::{ENTER, Unavailable, is_normally_up, probe},
};
use crate::{
    sys::{AsFd, At, Errno, file},
    text::Line,
    wire::status::Status,
};

/// Appends a string in quotes.
///
/// A name may hold any byte, but JSON text only UTF-8. Each byte becomes the
/// character of that number, so that different names stay different and can
/// be converted back.
pub(super) fn string(page: &mut Page, bytes: &[u8]) {
    page.text("\"");
    for byte in bytes {
        match byte {
            b'"' | b'\\' => page.text("\\").raw(&[*byte]),
            b' '..=b'~' => page.raw(&[*byte]),
            _ => escape(page, *byte),
        };
    }
    page.text("\"");
}

/// Appends a byte as `\u00XX`.
fn escape(page: &mut Page, byte: u8) -> &mut Page {
    page.text("\\u00");
    for digit in [byte >> 4, byte & 15] {
        let base = if digit < 10 {
            b'0'
        } else {
            b'a'.wrapping_sub(10)
        };
        page.raw(&[base.wrapping_add(digit)]);
    }
    page
}

/// Appends `,"KEY":`.
pub(super) fn key<'p>(page: &'p mut Page, key: &str) -> &'p mut Page {
    page.text(",\"").text(key).text("\":")
}

/// Appends `{"name":NAME` and the fields of the service and its log service.
/// The caller appends the closing brace. Returns the status of the service,
/// or why it is not available.
pub(super) fn service(
    page: &mut Page,
    dir: At<'_>,
    name: &[u8],
) -> Result<Status, Unavailable> {
    page.text("{\"name\":");
    string(page, name);
    let result = probe(dir);
    fields(page, dir, result);
    key(page, "log");
    let Ok(log) = file::open_dir(dir, c"log") else {
        page.text("null");
        return result;
    };
    page.text("{\"name\":\"log\"");
    fields(page, log.as_fd(), probe(log.as_fd()));
    page.text("}");
    result
}

/// Appends the object of a service whose directory cannot be opened, up to
/// the closing brace.
pub(super) fn missing(page: &mut Page, name: &[u8], errno: Errno) {
    page.text("{\"name\":");
    string(page, name);
    key(page, "state").text("null");
    error(page, Unavailable::Failed(ENTER, Some(errno)));
}

/// Appends the reason why there is no state.
fn error(page: &mut Page, reason: Unavailable) {
    let mut line = Line::new();
    reason.text(&mut line);
    key(page, "error");
    string(page, line.as_bytes());
}

/// Appends the fields of a status, or the reason why there is none.
fn fields(page: &mut Page, dir: At<'_>, result: Result<Status, Unavailable>) {
    let status = match result {
        Ok(status) => status,
        Err(reason) => {
            key(page, "state").text("null");
            error(page, reason);
            return;
        }
    };
    key(page, "state")
        .text("\"")
        .text(word(status.state))
        .text("\"");
    key(page, "pid").number(status.pid.into());
    key(page, "seconds").number(seconds(&status));
    key(page, "flags").text("[");
    let mut comma = "\"";
    for flag in flags(&status, is_normally_up(dir).unwrap_or(true)) {
        page.text(comma).text(flag).text("\"");
        comma = ",\"";
    }
    page.text("]");
}
