//! Renders a page as a man page, in the macros of man(7) and tbl(1).

use std::fmt::Write as _;

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use super::{Edition, Page, REFERENCE};

/// Columns of a line of the source: mandoc warns of longer ones.
const COLUMNS: usize = 78;
/// Columns of a table on a terminal of 80.
const TABLE: usize = 70;
/// Columns between those of a table.
const GAP: usize = 3;
/// Columns of a cell that count when the width of a column is chosen.
const CELL: usize = 60;

/// Returns the man page.
pub(super) fn render(page: &Page, edition: &Edition) -> String {
    let name = &page.names[0];
    let Edition { date, version } = edition;
    let mut roff = Roff::default();
    let section = page.section;
    // The first line tells man(1) which preprocessor is needed.
    if page.text.contains("\n|---") {
        roff.out += "'\\\" t\n";
    }
    let upper = escape(&name.to_uppercase());
    let title = format!(".TH {upper} {section} {date} \"runt {version}\"");
    roff.out += &format!("{title} \"runt manual\"\n.ad l\n");
    let names: Vec<_> = page.names.iter().map(|name| escape(name)).collect();
    let purpose = inline(&page.purpose);
    roff.macro_line(".SH NAME");
    roff.text(&format!("{} \\- {purpose}", names.join(", ")));
    roff.blocks(&page.text);
    let references = page.references();
    if !references.is_empty() {
        roff.macro_line(".SH SEE ALSO");
        let all = references.iter();
        let all = all.map(|(name, section)| {
            format!("\\fB{}\\fR({section})", escape(name))
        });
        roff.text(&all.collect::<Vec<_>>().join(", "));
    }
    roff.flush();
    roff.out
}

/// A page that is being written.
#[derive(Default)]
struct Roff {
    out: String,
    /// Text that is not written yet.
    line: String,
    /// The next paragraph needs no macro: a heading or a tag precedes it.
    opened: bool,
    /// The section is the synopsis.
    synopsis: bool,
    /// Open lists: the number of the next item, if they are ordered.
    lists: Vec<Option<u64>>,
}

impl Roff {
    /// Writes a line with a macro.
    fn macro_line(&mut self, line: &str) {
        self.flush();
        self.out += line;
        self.out.push('\n');
        self.opened = true;
    }

    /// Adds text.
    fn text(&mut self, text: &str) {
        self.line += text;
    }

    /// Writes the text so far, in lines of at most [`COLUMNS`].
    fn flush(&mut self) {
        let mut column = 0;
        for word in self.line.split(' ').filter(|word| !word.is_empty()) {
            if column > 0 && column + 1 + word.len() > COLUMNS {
                self.out.push('\n');
                column = 0;
            }
            if column > 0 {
                self.out.push(' ');
                column += 1;
            } else if word.starts_with(['.', '\'']) {
                // It is no macro.
                self.out += "\\&";
            }
            self.out += word;
            column += word.len();
        }
        if column > 0 {
            self.out.push('\n');
        }
        self.line.clear();
    }

    /// Begins a paragraph.
    fn paragraph(&mut self) {
        self.flush();
        if !std::mem::take(&mut self.opened) {
            let continued = !self.lists.is_empty();
            self.out += if continued { ".IP\n" } else { ".PP\n" };
        }
    }

    /// Writes a Markdown text.
    fn blocks(&mut self, text: &str) {
        let events = Parser::new_ext(text, Options::ENABLE_TABLES);
        let mut events = events.peekable();
        while let Some(event) = events.next() {
            match event {
                Event::Start(Tag::Heading { level, .. }) => {
                    let mut title = String::new();
                    for event in events.by_ref() {
                        match event {
                            Event::Text(text) | Event::Code(text) => {
                                title += &text;
                            }
                            Event::End(TagEnd::Heading(_)) => break,
                            _ => {}
                        }
                    }
                    self.synopsis = title == "Synopsis";
                    self.macro_line(&if level as usize == 1 {
                        format!(".SH {}", escape(&title.to_uppercase()))
                    } else {
                        format!(".SS {}", escape(&title))
                    });
                }
                Event::Start(Tag::Paragraph) => self.paragraph(),
                Event::Start(Tag::CodeBlock(
                    CodeBlockKind::Indented | CodeBlockKind::Fenced(_),
                )) => {
                    self.flush();
                    self.out += ".PP\n.RS 4\n.EX\n";
                    self.opened = false;
                }
                Event::End(TagEnd::CodeBlock) => {
                    self.out += ".EE\n.RE\n";
                }
                Event::Start(Tag::List(first)) => {
                    self.flush();
                    self.lists.push(first);
                }
                Event::End(TagEnd::List(_)) => {
                    self.flush();
                    self.lists.pop();
                    self.opened = false;
                }
                Event::Start(Tag::Item) => {
                    let mut item = Vec::new();
                    // Tight items have their text without a paragraph.
                    while let Some(next) = events.peek() {
                        match next {
                            Event::Start(Tag::Paragraph) if item.is_empty() => {
                                events.next();
                            }
                            Event::Text(_)
                            | Event::Code(_)
                            | Event::SoftBreak => {
                                item.extend(events.next());
                            }
                            _ => break,
                        }
                    }
                    self.item(&item);
                }
                Event::Start(Tag::Table(_)) => {
                    let mut rows: Vec<Vec<String>> = Vec::new();
                    for event in events.by_ref() {
                        let cell = rows.last_mut().and_then(|r| r.last_mut());
                        match (event, cell) {
                            (Event::End(TagEnd::Table), _) => break,
                            (
                                Event::Start(Tag::TableHead | Tag::TableRow),
                                _,
                            ) => {
                                rows.push(Vec::new());
                            }
                            (Event::Start(Tag::TableCell), _) => {
                                if let Some(row) = rows.last_mut() {
                                    row.push(String::new());
                                }
                            }
                            (Event::Text(text), Some(cell)) => {
                                *cell += &inline(&text);
                            }
                            (Event::Code(text), Some(cell)) => {
                                *cell += &bold(&text);
                            }
                            _ => {}
                        }
                    }
                    self.table(&rows);
                }
                Event::Text(text) if self.in_code() => {
                    for line in text.lines() {
                        let guard = line.starts_with(['.', '\'']);
                        let guard = if guard { "\\&" } else { "" };
                        let line = escape(line);
                        writeln!(self.out, "{guard}{line}").unwrap_or_default();
                    }
                }
                event => self.inline_event(&event),
            }
        }
        self.flush();
    }

    /// Returns true inside of a code block.
    fn in_code(&self) -> bool {
        let begun = self.out.rfind(".EX\n");
        begun > self.out.rfind(".EE\n")
    }

    /// Adds an event of a paragraph.
    fn inline_event(&mut self, event: &Event<'_>) {
        match event {
            Event::Text(text) => self.line += &inline(text),
            Event::Code(text) if self.synopsis => self.line += &synopsis(text),
            Event::Code(text) => self.line += &bold(text),
            Event::SoftBreak => self.line.push(' '),
            Event::HardBreak => {
                self.flush();
                self.out += ".br\n";
            }
            Event::Start(Tag::Emphasis) => self.line += "\\fI",
            Event::Start(Tag::Strong) => self.line += "\\fB",
            Event::End(TagEnd::Emphasis | TagEnd::Strong) => {
                self.line += "\\fR";
            }
            _ => {}
        }
    }

    /// Begins an item of a list with its text: what stands before the first
    /// colon is its tag, if it begins with code.
    fn item(&mut self, text: &[Event<'_>]) {
        self.flush();
        let number = self.lists.last_mut().and_then(Option::as_mut);
        if let Some(number) = number {
            writeln!(self.out, ".IP {number}. 4").unwrap_or_default();
            *number += 1;
        } else if matches!(text.first(), Some(Event::Code(_)))
            && let Some((tag, rest)) = tagged(text)
        {
            self.out += ".TP\n";
            for event in &tag {
                self.inline_event(event);
            }
            // A tag must not be wrapped.
            self.out += self.line.trim();
            self.out.push('\n');
            self.line.clear();
            for event in &rest {
                self.inline_event(event);
            }
            return;
        } else {
            self.out += ".IP \\(bu 2\n";
        }
        for event in text {
            self.inline_event(event);
        }
    }

    /// Writes a table; its first row is the head.
    fn table(&mut self, rows: &[Vec<String>]) {
        self.flush();
        let columns = rows.first().map_or(0, Vec::len);
        let longest = |column: usize| {
            let cells = rows.iter().filter_map(|row| row.get(column));
            let words = cells.clone().flat_map(|cell| cell.split(' '));
            let word = words.map(shown).max().unwrap_or(0);
            [word, cells.map(|cell| shown(cell)).max().unwrap_or(0)]
        };
        let widths = widths(&(0..columns).map(longest).collect::<Vec<_>>());
        if !self.opened {
            self.out += ".PP\n";
        }
        self.out += ".TS\ntab(\t);\n";
        self.out += &vec!["lb"; columns].join(" ");
        self.out.push('\n');
        let formats = widths.iter().map(|width| format!("lw({width}n)"));
        self.out += &formats.collect::<Vec<_>>().join(" ");
        self.out += ".\n";
        for row in rows {
            let cells = row.iter().zip(&widths).map(|(cell, width)| {
                if shown(cell) <= *width {
                    cell.clone()
                } else {
                    // A text block is filled.
                    let mut block = Roff {
                        line: cell.clone(),
                        ..Roff::default()
                    };
                    block.flush();
                    format!("T{{\n{}T}}", block.out)
                }
            });
            self.out += &cells.collect::<Vec<_>>().join("\t");
            self.out.push('\n');
        }
        self.out += ".TE\n";
        self.opened = false;
    }
}

/// Splits an item at the first colon that is no code; `None` if there is none.
fn tagged<'a>(text: &[Event<'a>]) -> Option<(Vec<Event<'a>>, Vec<Event<'a>>)> {
    let has = |event: &Event<'_>| {
        matches!(event, Event::Text(text) if text.contains(": ")
            || text.ends_with(':'))
    };
    let at = text.iter().position(has)?;
    let Event::Text(middle) = text.get(at)? else {
        return None;
    };
    let (before, after) = middle.split_once(':')?;
    let mut tag = text.get(..at)?.to_vec();
    tag.push(Event::Text(before.to_string().into()));
    let mut rest = vec![Event::Text(after.trim_start().to_string().into())];
    rest.extend_from_slice(text.get(at + 1..)?);
    Some((tag, rest))
}

/// Returns the width of each column of a table, given the lengths of the
/// longest word and of the longest cell in each: the room that the words leave
/// is shared in proportion to what the cells need.
fn widths(columns: &[[usize; 2]]) -> Vec<usize> {
    let gaps = GAP * columns.len().saturating_sub(1);
    let words: usize = columns.iter().map(|[word, _]| word).sum();
    let room = TABLE.saturating_sub(gaps + words);
    let need = |[word, cell]: &[usize; 2]| (*cell).min(CELL).max(*word) - word;
    let total: usize = columns.iter().map(need).sum();
    let share = |column| need(column) * room.min(total) / total.max(1);
    columns
        .iter()
        .map(|column| column[0] + share(column))
        .collect()
}

/// Returns the columns that a text takes on a terminal.
fn shown(text: &str) -> usize {
    let mut count = 0;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c == '\\' {
            match chars.next() {
                Some('f') => {
                    chars.next();
                    continue;
                }
                Some('(') => {
                    chars.next();
                    chars.next();
                }
                Some('&' | '%') => continue,
                _ => {}
            }
        }
        count += 1;
    }
    count
}

/// Escapes a text for roff.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\\' => out += "\\e",
            '-' => out += "\\-",
            '\'' => out += "\\(aq",
            '`' => out += "\\(ga",
            '^' => out += "\\(ha",
            '~' => out += "\\(ti",
            '"' => out += "\\(dq",
            c if c.is_ascii() => out.push(c),
            c => {
                write!(out, "\\[u{:04X}]", u32::from(c)).unwrap_or_default();
            }
        }
    }
    out
}

/// Returns running text, with the names of references in bold. A hyphen
/// between letters stays one.
fn inline(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(found) = REFERENCE.as_ref().and_then(|it| it.captures(rest))
    {
        let whole = found.get(0).map_or(0..0, |found| found.range());
        out += &prose(&rest[..whole.start]);
        let (name, section) = (escape(&found[1]), &found[2]);
        write!(out, "\\fB{name}\\fR({section})").unwrap_or_default();
        rest = &rest[whole.end..];
    }
    out + &prose(rest)
}

/// Returns running text without references.
fn prose(text: &str) -> String {
    escape(text).replace("\\(aq", "'").replace("\\(dq", "\"")
}

/// Returns code in bold, whose words are not hyphenated.
fn bold(code: &str) -> String {
    let words = code.split(' ').map(|word| format!("\\%{}", escape(word)));
    format!("\\fB{}\\fR", words.collect::<Vec<_>>().join(" "))
}

/// Returns a line of a synopsis: words in capitals stand for arguments.
fn synopsis(line: &str) -> String {
    let mut out = String::new();
    let mut word = String::new();
    for c in line.chars().chain(std::iter::once(' ')) {
        if c.is_ascii_alphanumeric() || matches!(c, '-' | '/') {
            word.push(c);
            continue;
        }
        let capital = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit();
        let long = word.len() > 1 || word == "C";
        let font = if word.is_empty() {
            ""
        } else if long && word.chars().all(capital) {
            "\\fI"
        } else {
            "\\fB"
        };
        let end = if font.is_empty() { "" } else { "\\fR" };
        write!(out, "{font}{}{end}", escape(&word)).unwrap_or_default();
        word.clear();
        out += &escape(&c.to_string());
    }
    out.trim_end().into()
}
