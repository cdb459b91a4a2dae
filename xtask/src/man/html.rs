//! Renders a page as HTML.

use pulldown_cmark::{
    CowStr, Event, HeadingLevel, Options, Parser, Tag, TagEnd,
};

use super::{Page, REFERENCE};

/// The style of all pages.
const STYLE: &str = "body{max-width:48em;margin:auto;padding:1em;\
    font-family:sans-serif;line-height:1.4}\
    code{font-size:1.05em}pre{background:#eee;padding:.5em;overflow:auto}\
    table{border-collapse:collapse}td,th{border:1px solid #bbb;\
    padding:.2em .4em;text-align:left;vertical-align:top}h2{font-size:1.2em}";

/// Returns the files of a page: the page, and one for each other name that
/// leads to it.
pub(super) fn files(page: &Page, pages: &[Page]) -> Vec<(String, String)> {
    let path = |name: &str| format!("html/{name}.{}.html", page.section);
    let main = &page.names[0];
    let mut files = vec![(path(main), render(page, pages))];
    for name in page.names.iter().skip(1) {
        let text = format!(
            "<!DOCTYPE html>\n<meta charset=\"utf-8\">\n<title>{name}</title>\n\
             <meta http-equiv=\"refresh\" content=\"0; url={0}.html\">\n\
             <p>See <a href=\"{0}.html\">{0}</a>.</p>\n",
            page.file()
        );
        files.push((path(name), text));
    }
    files
}

/// Returns a list of all pages.
pub(super) fn index(pages: &[Page]) -> String {
    let lines = pages.iter().map(|page| {
        let names = page.names.join(", ");
        let (section, purpose) = (page.section, escape(&page.purpose));
        let file = page.file();
        format!(
            "<dt><a href=\"{file}.html\">{names}({section})</a></dt>\
             <dd>{purpose}</dd>\n"
        )
    });
    document(
        "runt",
        &format!("<dl>\n{}</dl>\n", lines.collect::<String>()),
    )
}

/// Returns the page.
fn render(page: &Page, pages: &[Page]) -> String {
    let events = Parser::new_ext(&page.text, Options::ENABLE_TABLES);
    let mut out = Vec::new();
    let mut in_code = false;
    let mut heading = None;
    for event in events {
        match event {
            // The title of the page is the heading above its sections.
            Event::Start(Tag::Heading { level, .. }) => {
                let below = match level {
                    HeadingLevel::H1 => HeadingLevel::H2,
                    _ => HeadingLevel::H3,
                };
                heading = Some((below, String::new()));
            }
            Event::End(TagEnd::Heading(_)) => {
                if let Some((level, title)) = heading.take() {
                    let id = title.to_lowercase().replace(' ', "-");
                    let title = escape(&title);
                    let html =
                        format!("<{level} id=\"{id}\">{title}</{level}>\n");
                    out.push(Event::Html(html.into()));
                }
            }
            Event::Text(text) | Event::Code(text) if heading.is_some() => {
                if let Some((_, title)) = &mut heading {
                    *title += &text;
                }
            }
            Event::Text(text) if !in_code => linked(&text, pages, &mut out),
            event => {
                match event {
                    Event::Start(Tag::CodeBlock(_)) => in_code = true,
                    Event::End(TagEnd::CodeBlock) => in_code = false,
                    _ => {}
                }
                out.push(event);
            }
        }
    }
    let mut body = format!(
        "<h1>{}({})</h1>\n<p>{}.</p>\n",
        page.names.join(", "),
        page.section,
        escape(&page.purpose)
    );
    pulldown_cmark::html::push_html(&mut body, out.into_iter());
    let links = page.references().into_iter().map(|(name, section)| {
        link(&name, section, pages)
            .unwrap_or_else(|| format!("{name}({section})"))
    });
    let links = links.collect::<Vec<_>>().join(", ");
    if !links.is_empty() {
        body += &format!("<h2 id=\"see-also\">See also</h2>\n<p>{links}</p>\n");
    }
    body += "<p><a href=\"index.html\">All pages</a></p>\n";
    document(&page.file(), &body)
}

/// Adds a text whose references are links.
fn linked<'a>(text: &CowStr<'a>, pages: &[Page], out: &mut Vec<Event<'a>>) {
    let mut rest = &text[..];
    let add = |text: &str, out: &mut Vec<Event<'a>>| {
        out.push(Event::Text(text.to_string().into()));
    };
    while let Some(found) = REFERENCE.as_ref().and_then(|it| it.captures(rest))
    {
        let whole = found.get(0).map_or(0..0, |found| found.range());
        let section = found[2].parse().unwrap_or(0);
        add(&rest[..whole.start], out);
        match link(&found[1], section, pages) {
            Some(link) => out.push(Event::InlineHtml(link.into())),
            None => add(&found[0], out),
        }
        rest = &rest[whole.end..];
    }
    add(rest, out);
}

/// Returns a link to a page; `None` if there is none.
fn link(name: &str, section: u8, pages: &[Page]) -> Option<String> {
    let page = super::find(pages, name, section)?;
    let file = page.file();
    Some(format!("<a href=\"{file}.html\">{name}({section})</a>"))
}

/// Returns a document with that title.
fn document(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n{body}</html>\n"
    )
}

/// Escapes a text for HTML.
fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    text.replace('>', "&gt;")
}
