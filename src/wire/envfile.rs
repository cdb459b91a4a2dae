//! Lines of an environment file: assignments as systemd's `EnvironmentFile=`
//! reads them (systemd.exec(5)), except that a line cannot be continued.

/// The value of an assignment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Value<'a> {
    /// The bytes between the quotes, if there are any.
    text: &'a [u8],
    /// A backslash escapes the byte after it.
    escapes: bool,
}

impl Value<'_> {
    /// Writes the value to the start of `room`. Returns its length, or `None`
    /// when it does not fit.
    pub fn write(self, room: &mut [u8]) -> Option<usize> {
        let mut room = room.iter_mut();
        let mut written = 0_usize;
        let mut rest = self.text;
        while let [byte, tail @ ..] = rest {
            let taken = escaped(rest).filter(|_| self.escapes);
            let (byte, tail) = taken.unwrap_or((*byte, tail));
            *room.next()? = byte;
            written = written.saturating_add(1);
            rest = tail;
        }
        Some(written)
    }
}

/// Returns the byte of an escape at the start of `text`, and the rest.
fn escaped(text: &[u8]) -> Option<(u8, &[u8])> {
    match text {
        [b'\\', byte @ (b'"' | b'\\' | b'$' | b'`'), tail @ ..] => {
            Some((*byte, tail))
        }
        _ => None,
    }
}

/// Reads a line: a name and a value, or `None` for blank lines and comments.
/// Returns the reason as `Err` if the line is invalid.
pub fn assignment(
    line: &[u8],
) -> Result<Option<(&[u8], Value<'_>)>, &'static str> {
    if line.contains(&0) {
        return Err("a NUL byte");
    }
    let line = line.trim_ascii();
    if let [] | [b'#' | b';', ..] = line {
        return Ok(None);
    }
    let mut parts = line.splitn(2, |byte| *byte == b'=');
    let name = parts.next().unwrap_or(&[]).trim_ascii();
    let value = parts.next().ok_or("no = in it")?.trim_ascii();
    let letter = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'_';
    let valid = name.first().is_some_and(letter)
        && name
            .iter()
            .all(|byte| letter(byte) || byte.is_ascii_digit());
    if !valid {
        return Err("not the name of a variable before the =");
    }
    self::value(value).map(|value| Some((name, value)))
}

/// Removes the quotes of a value.
fn value(text: &[u8]) -> Result<Value<'_>, &'static str> {
    let (quote, quoted) = match text {
        [quote @ (b'"' | b'\''), rest @ ..] => (*quote, rest),
        text if text.contains(&b'\\') => {
            return Err("a backslash outside of quotes");
        }
        text => {
            return Ok(Value {
                text,
                escapes: false,
            });
        }
    };
    let escapes = quote == b'"';
    let mut rest = quoted;
    loop {
        rest = match rest {
            [] => return Err("a quote is not closed"),
            [byte] if *byte == quote => break,
            [byte, ..] if *byte == quote => {
                return Err("text behind the closing quote");
            }
            [_, tail @ ..] => match escaped(rest).filter(|_| escapes) {
                Some((_, behind)) => behind,
                None => tail,
            },
        };
    }
    let text = quoted.split_last().map_or(&[][..], |(_, text)| text);
    Ok(Value { text, escapes })
}

#[cfg(test)]
mod test {
    use super::*;
    use proptest::prelude::*;

    /// Returns the contents of a line as text.
    fn read(line: &str) -> Result<Option<(&str, String)>, &'static str> {
        let read = assignment(line.as_bytes())?;
        Ok(read.map(|(name, value)| {
            let mut room = [0; 100];
            let length = value.write(&mut room).unwrap();
            let value = String::from_utf8_lossy(&room[..length]);
            (str::from_utf8(name).unwrap(), value.into_owned())
        }))
    }

    #[test]
    fn lines_and_their_values() {
        for line in ["", " \t ", "# A=1", "  # A=1", "; A=1", "#\\", "\r"] {
            assert_eq!(read(line), Ok(None), "{line}");
        }
        for (line, name, value) in [
            ("A=1", "A", "1"),
            ("_a9=", "_a9", ""),
            ("  A \t=  b c \t", "A", "b c"),
            ("A=1\r", "A", "1"),
            ("A=b # c", "A", "b # c"),
            ("A=b=c", "A", "b=c"),
            ("A=it's", "A", "it's"),
            ("A=\"\"", "A", ""),
            ("A=\" b \" ", "A", " b "),
            ("A='b\\'", "A", "b\\"),
            ("A='\"'", "A", "\""),
            (r#"A="a\"b\\c\$d\`e\nf""#, "A", "a\"b\\c$d`e\\nf"),
            (r#"A="\\""#, "A", "\\"),
        ] {
            assert_eq!(read(line), Ok(Some((name, value.into()))), "{line}");
        }
    }

    #[test]
    fn lines_that_are_refused() {
        let name = "not the name of a variable before the =";
        for (line, wrong) in [
            ("A", "no = in it"),
            ("=1", name),
            ("9A=1", name),
            ("A-B=1", name),
            ("export A=1", name),
            ("A=b\\", "a backslash outside of quotes"),
            ("A=b\\c", "a backslash outside of quotes"),
            ("A=\"b", "a quote is not closed"),
            ("A='b", "a quote is not closed"),
            ("A=\"b\\\"", "a quote is not closed"),
            ("A=\"", "a quote is not closed"),
            ("A=\"b\" c", "text behind the closing quote"),
            ("A=''x", "text behind the closing quote"),
            ("A=a\0b", "a NUL byte"),
        ] {
            assert_eq!(read(line), Err(wrong), "{line}");
        }
    }

    #[test]
    fn a_value_fits_or_is_refused() {
        let (_, value) = assignment(br#"A="a\"b""#).unwrap().unwrap();
        assert_eq!(value.write(&mut [0; 3]), Some(3));
        assert_eq!(value.write(&mut [0; 2]), None);
    }

    proptest! {
        #[test]
        fn a_quoted_value_comes_back(text in "[^\0\n]{0,30}") {
            let mut line = String::from("A=\"");
            for char in text.chars() {
                if "\"\\$`".contains(char) {
                    line.push('\\');
                }
                line.push(char);
            }
            line.push('"');
            prop_assert_eq!(read(&line), Ok(Some(("A", text))));
        }

        #[test]
        fn any_line_is_read_without_harm(
            line in proptest::collection::vec(any::<u8>(), 0..60)
        ) {
            if let Ok(Some((_, value))) = assignment(&line) {
                let _length = value.write(&mut [0; 60]);
            }
        }
    }
}
