//! Reads a Markdown document (CommonMark) into procedures.

use std::ops::Range;
use std::path::Path;

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use super::outline::{LineNumbers, Outline};
use super::step::{BlockKind, classify, is_inline_command, typed};
use super::{Procedure, StepKind};

/// Every section of `text` that holds a step, in the document's order. Never fails: any text is Markdown.
pub fn procedures(path: &Path, text: &str) -> Vec<Procedure> {
    let text = &with_lone_returns_as_newlines(text);
    let mut reader = Reader::new(path, text);
    let options = Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
        reader.event(event, range);
    }
    reader.outline.finish()
}

/// The text with each carriage return that no line feed follows as a line feed, which CommonMark (0.31, 2.1) holds
/// it to be: the parser ends a line there too, but drops the character from the code it gives. No offset moves.
fn with_lone_returns_as_newlines(text: &str) -> String {
    let mut rest = text.chars().peekable();
    std::iter::from_fn(|| match rest.next()? {
        '\r' if rest.peek() != Some(&'\n') => Some('\n'),
        other => Some(other),
    })
    .collect()
}

enum List {
    Bullets,
    Numbered { start: u64, seen: u64 },
}

/// A code block that is open.
struct Block {
    language: Option<String>,
    text: String,
    span: Option<Range<usize>>,
}

struct Reader<'t> {
    text: &'t str,
    lines: LineNumbers,
    outline: Outline,
    lists: Vec<List>,
    heading: Option<String>,
    block: Option<Block>,
    in_metadata: bool,
    /// What is still to come of the number of the paragraph that is open, if that has one of its own.
    numbered_paragraph: Option<String>,
}

impl<'t> Reader<'t> {
    fn new(path: &Path, text: &'t str) -> Self {
        Self {
            text,
            lines: LineNumbers::of(text),
            outline: Outline::new(path),
            lists: Vec::new(),
            heading: None,
            block: None,
            in_metadata: false,
            numbered_paragraph: None,
        }
    }

    fn event(&mut self, event: Event<'_>, range: Range<usize>) {
        match event {
            Event::Start(tag) => self.start(tag, range),
            Event::End(tag) => self.end(tag, range),
            Event::Text(text) => self.on_text(&text, range),
            Event::Code(code) => self.on_code(&code, range),
            Event::SoftBreak | Event::HardBreak => self.say(" "),
            Event::Html(_)
            | Event::InlineHtml(_)
            | Event::InlineMath(_)
            | Event::DisplayMath(_)
            | Event::FootnoteReference(_)
            | Event::Rule
            | Event::TaskListMarker(_) => {}
        }
    }

    fn start(&mut self, tag: Tag<'_>, range: Range<usize>) {
        match tag {
            Tag::Heading { .. } => self.heading = Some(String::new()),
            Tag::Paragraph => self.open_paragraph(range),
            Tag::List(Some(start)) => self.lists.push(List::Numbered { start, seen: 0 }),
            Tag::List(None) => self.lists.push(List::Bullets),
            Tag::Item => self.open_item(range),
            Tag::CodeBlock(kind) => {
                let language = match kind {
                    CodeBlockKind::Fenced(info) => info.split_whitespace().next().map(str::to_owned),
                    CodeBlockKind::Indented => None,
                };
                self.block = Some(Block { language, text: String::new(), span: None });
            }
            Tag::MetadataBlock(_) => self.in_metadata = true,
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd, range: Range<usize>) {
        match tag {
            TagEnd::Heading(_) => {
                let name = self.heading.take().unwrap_or_default();
                self.outline.heading(&name, self.lines.line_of(range.start));
            }
            TagEnd::Paragraph if self.numbered_paragraph.take().is_some() => self.outline.close_item(),
            TagEnd::List(_) => drop(self.lists.pop()),
            TagEnd::Item => self.outline.close_item(),
            TagEnd::CodeBlock => self.close_block(),
            TagEnd::MetadataBlock(_) => self.in_metadata = false,
            _ => {}
        }
    }

    /// Some editors write the item of a list that a block has torn apart as a paragraph with an escaped number, `3\\. Deploy`:
    /// whoever reads the page sees an item.
    fn open_paragraph(&mut self, range: Range<usize>) {
        match escaped_number(&self.text[range.clone()]).filter(|_| self.lists.is_empty()) {
            Some(number) => {
                self.numbered_paragraph = Some(format!("{number}."));
                self.outline.open_item(Some(number), self.lines.line_of(range.start));
            }
            None => self.outline.paragraph(),
        }
    }

    fn on_text(&mut self, text: &str, range: Range<usize>) {
        if let Some(block) = &mut self.block {
            block.text.push_str(text);
            let start = block.span.as_ref().map_or(range.start, |span| span.start);
            block.span = Some(start..range.end);
        } else if !self.in_metadata {
            let number = self.numbered_paragraph.take();
            // The parser gives the text in pieces, the first of which ends before what was escaped.
            let number = number.map(|number| match number.strip_prefix(text) {
                Some(rest) => (String::new(), rest.to_owned()),
                None => (text.strip_prefix(&*number).unwrap_or(text).to_owned(), String::new()),
            });
            match number {
                Some((said, rest)) => {
                    self.numbered_paragraph = Some(rest);
                    self.say(&said);
                }
                None => self.say(text),
            }
        }
    }

    fn on_code(&mut self, code: &str, range: Range<usize>) {
        let is_command = self.heading.is_none()
            && self.outline.is_in_item()
            && is_inline_command(code, self.is_alone_on_its_lines(&range));
        if !is_command {
            self.say(code);
            return;
        }
        // The span of the text itself, without backticks and the one blank that may pad it.
        let quoted = &self.text[range.clone()];
        let inner = quoted.trim_matches('`').trim();
        let start = range.start + quoted.find(inner).unwrap_or(0);
        let span = start..start + inner.len();
        self.push(StepKind::Command { text: code.trim().to_owned(), span: span.clone() }, span.start);
    }

    /// Whether nothing else stands on the lines that the range touches.
    fn is_alone_on_its_lines(&self, range: &Range<usize>) -> bool {
        let before = self.text[..range.start].rsplit('\n').next().unwrap_or("");
        let after = self.text[range.end..].split('\n').next().unwrap_or("");
        before.trim().is_empty() && matches!(after.trim(), "" | "\\")
    }

    fn say(&mut self, text: &str) {
        match &mut self.heading {
            Some(heading) => heading.push_str(text),
            None => self.outline.say(text),
        }
    }

    fn push(&mut self, kind: StepKind, offset: usize) {
        self.outline.push(kind, self.lines.line_of(offset));
    }

    fn open_item(&mut self, range: Range<usize>) {
        match self.lists.last_mut() {
            Some(List::Numbered { start, seen }) => {
                let counted = start.saturating_add(*seen);
                *seen += 1;
                // CommonMark counts on from the first item; the reader of the page sees what is printed.
                let number = printed_number(&self.text[range.clone()]).unwrap_or(counted);
                self.outline.open_item(Some(number), self.lines.line_of(range.start));
            }
            Some(List::Bullets) | None => self.outline.open_bullet(),
        }
    }

    fn close_block(&mut self) {
        let Some(Block { language, text, span: Some(span) }) = self.block.take() else { return };
        let offset = span.start;
        let kind = match classify(language.as_deref(), &text) {
            BlockKind::Command => StepKind::Command { text: typed(&text), span },
            BlockKind::Fragment => StepKind::Fragment { text, language, span },
        };
        if !kind.text().trim().is_empty() {
            self.push(kind, offset);
        }
    }
}

fn printed_number(item: &str) -> Option<u64> {
    let item = item.trim_start();
    let digits = item.len() - item.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    item[..digits].parse().ok()
}

/// Of `3\. Deploy`.
fn escaped_number(paragraph: &str) -> Option<u64> {
    let (digits, rest) = paragraph.trim_start().split_once('\\')?;
    let is_number =
        digits.bytes().all(|byte| byte.is_ascii_digit()) && rest.strip_prefix('.')?.starts_with([' ', '\t']);
    is_number.then(|| digits.parse().ok())?
}

#[cfg(test)]
#[path = "markdown/tests.rs"]
mod tests;
