//! A page of `daemon/manual`, which people read as Markdown too, as a manual page.

use clap_mangen::roff::{Inline, Roff, bold, italic, roman};
use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// What a page has, in the order in which it stands there.
#[derive(Default)]
struct Prose {
    roff: Roff,
    /// The words since the last block began.
    words: Vec<Inline>,
    strong: bool,
    emphasis: bool,
    /// What the numbers and bullets of the lists around are; the innermost is last.
    lists: Vec<Option<u64>>,
    /// The first paragraph of an item follows its bullet.
    item_begins: bool,
    head: Vec<String>,
    row: Vec<Vec<Inline>>,
    /// Where a link leads that has begun.
    link: Option<String>,
}

/// Everything below the title, which is the name of the page.
pub(super) fn page(text: &str) -> Roff {
    let mut prose = Prose::default();
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        prose.take(event);
    }
    prose.roff
}

/// The pages that others link to, and under which names they are installed.
const INSTALLED: [(&str, &str); 12] = [
    ("README.md", "/usr/share/doc/prestaged/README.md"),
    ("station.md", "prestaged-station(7)"),
    ("prestagectl.md", "prestagectl(1)"),
    ("drives.md", "prestaged-drives(7)"),
    ("media.md", "prestaged-media(7)"),
    ("orders.md", "prestaged-orders(7)"),
    ("gate.md", "prestaged-gate(7)"),
    ("lamps.md", "prestaged-lamps(7)"),
    ("creating.md", "prestaged-creating(7)"),
    ("records.md", "prestaged-records(7)"),
    ("configuration.md", "prestaged.toml(5)"),
    ("codes.md", "prestaged-codes(7)"),
];

/// Under which name a page is installed that a link leads to; nothing for a place on the same page.
pub(super) fn installed(link: &str) -> Option<&'static str> {
    let file = link.split('#').next().unwrap_or_default();
    let file = file.rsplit('/').next().unwrap_or_default();
    INSTALLED.iter().find(|(name, _)| *name == file).map(|(_, installed)| *installed)
}

impl Prose {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) => self.say(&text),
            Event::Code(text) => self.words.push(bold(text.to_string())),
            Event::SoftBreak | Event::HardBreak => self.words.push(roman(" ")),
            other => panic!("a manual has no {other:?}"),
        }
    }

    fn say(&mut self, text: &str) {
        let inline = match (self.strong, self.emphasis) {
            (true, _) => bold(text),
            (_, true) => italic(text),
            _ => roman(text),
        };
        self.words.push(inline);
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Strong => self.strong = true,
            Tag::Emphasis => self.emphasis = true,
            Tag::Link { dest_url, .. } => self.link = Some(dest_url.to_string()),
            Tag::List(first) => {
                self.flush();
                if !self.lists.is_empty() {
                    self.roff.control("RS", []);
                }
                self.lists.push(first);
            }
            Tag::Item => {
                let mark = match self.lists.last_mut() {
                    Some(Some(number)) => {
                        *number += 1;
                        format!("{}.", *number - 1)
                    }
                    _ => r"\(bu".to_owned(),
                };
                self.roff.control("IP", [mark.as_str(), "3"]);
                self.item_begins = true;
            }
            Tag::Paragraph if self.item_begins => self.item_begins = false,
            Tag::Paragraph if self.lists.is_empty() => {
                self.roff.control("PP", []);
            }
            Tag::Paragraph => {
                self.roff.control("IP", ["", "3"]);
            }
            Tag::CodeBlock(_) => {
                self.flush();
                self.roff.control("PP", []);
                self.roff.control("RS", ["4"]);
                self.roff.control("nf", []);
            }
            Tag::TableRow => self.row.clear(),
            Tag::Heading { .. } | Tag::Table(_) | Tag::TableHead | Tag::TableCell => {}
            other => panic!("a manual has no {other:?}"),
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Strong => self.strong = false,
            TagEnd::Emphasis => self.emphasis = false,
            TagEnd::Link => {
                let link = self.link.take().unwrap_or_default();
                if let Some(installed) = installed(&link) {
                    self.words.push(roman(format!(" ({installed})")));
                }
            }
            TagEnd::Heading(level) => {
                let words = self.plain();
                match level {
                    // The page's name says it.
                    pulldown_cmark::HeadingLevel::H1 => {}
                    pulldown_cmark::HeadingLevel::H2 => {
                        self.roff.control("SH", [words.to_uppercase().as_str()]);
                    }
                    _ => {
                        self.roff.control("SS", [words.as_str()]);
                    }
                }
            }
            TagEnd::Paragraph => self.flush(),
            TagEnd::Item => {
                self.flush();
                self.item_begins = false;
            }
            TagEnd::List(_) => {
                self.lists.pop();
                if !self.lists.is_empty() {
                    self.roff.control("RE", []);
                }
            }
            TagEnd::CodeBlock => {
                for line in self.plain().lines() {
                    self.roff.text([roman(line)]);
                }
                self.roff.control("fi", []);
                self.roff.control("RE", []);
            }
            TagEnd::TableCell => self.row.push(std::mem::take(&mut self.words)),
            TagEnd::TableHead => {
                self.head = std::mem::take(&mut self.row).iter().map(|cell| plain(cell)).collect();
            }
            TagEnd::TableRow => self.table_row(),
            TagEnd::Table => {
                self.roff.control("PP", []);
            }
            other => panic!("a manual has no {other:?}"),
        }
    }

    /// A row: its first cell is what the others are about.
    fn table_row(&mut self) {
        let mut cells = std::mem::take(&mut self.row).into_iter();
        self.roff.control("TP", []);
        let first = cells.next().unwrap_or_default();
        self.roff.text([bold(plain(&first))]);
        let mut words = Vec::new();
        for (cell, head) in cells.zip(self.head.iter().skip(1)) {
            if cell.is_empty() {
                continue;
            }
            if !words.is_empty() {
                words.push(roman("; "));
            }
            if !head.is_empty() {
                words.push(roman(format!("{head}: ")));
            }
            words.extend(cell);
        }
        self.roff.text(words);
    }

    fn flush(&mut self) {
        if !self.words.is_empty() {
            self.roff.text(std::mem::take(&mut self.words));
        }
    }

    fn plain(&mut self) -> String {
        plain(&std::mem::take(&mut self.words))
    }
}

fn plain(words: &[Inline]) -> String {
    let text = |inline: &Inline| match inline {
        Inline::Roman(text) | Inline::Italic(text) | Inline::Bold(text) => text.clone(),
        Inline::LineBreak => " ".to_owned(),
    };
    words.iter().map(text).collect()
}
