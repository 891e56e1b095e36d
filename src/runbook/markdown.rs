//! Reads a Markdown document (CommonMark) into procedures.

use std::ops::Range;
use std::path::Path;

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use super::step::{BlockKind, classify, is_inline_command, typed};
use super::{Procedure, Step, StepKind};
use crate::outcome::SourceRef;

/// Every section of `text` that holds a step, in the document's order. Never fails: any text is Markdown.
pub fn procedures(path: &Path, text: &str) -> Vec<Procedure> {
    let mut reader = Reader::new(path, text);
    let options = Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
        reader.event(event, range);
    }
    reader.finish()
}

/// A numbered item that is open.
struct Item {
    number: u64,
    line: usize,
    prose: String,
    /// Steps of the procedure from here on are this item's or those of items in it.
    first_step: usize,
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
    file: String,
    text: &'t str,
    /// Byte offset of each line's start.
    lines: Vec<usize>,
    done: Vec<Procedure>,
    current: Procedure,
    lists: Vec<List>,
    /// `None` for an item of a bulleted list.
    items: Vec<Option<Item>>,
    heading: Option<String>,
    block: Option<Block>,
    /// The last paragraph outside numbered items.
    paragraph: String,
    in_metadata: bool,
}

impl<'t> Reader<'t> {
    fn new(path: &Path, text: &'t str) -> Self {
        let file = path.display().to_string();
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let starts = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self {
            lines: std::iter::once(0).chain(starts).collect(),
            current: Procedure { name, source: SourceRef { file: file.clone(), line: 1 }, steps: Vec::new() },
            file,
            text,
            done: Vec::new(),
            lists: Vec::new(),
            items: Vec::new(),
            heading: None,
            block: None,
            paragraph: String::new(),
            in_metadata: false,
        }
    }

    fn line_of(&self, offset: usize) -> usize {
        self.lines.partition_point(|start| *start <= offset)
    }

    fn source(&self, offset: usize) -> SourceRef {
        SourceRef { file: self.file.clone(), line: self.line_of(offset) }
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
            Tag::Paragraph if self.numbered_item().is_none() => self.paragraph.clear(),
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
                let source = self.source(range.start);
                let next = Procedure { name: name.trim().to_owned(), source, steps: Vec::new() };
                self.close_section(next);
            }
            TagEnd::List(_) => drop(self.lists.pop()),
            TagEnd::Item => self.close_item(),
            TagEnd::CodeBlock => self.close_block(),
            TagEnd::MetadataBlock(_) => self.in_metadata = false,
            _ => {}
        }
    }

    fn on_text(&mut self, text: &str, range: Range<usize>) {
        if let Some(block) = &mut self.block {
            block.text.push_str(text);
            let start = block.span.as_ref().map_or(range.start, |span| span.start);
            block.span = Some(start..range.end);
        } else if !self.in_metadata {
            self.say(text);
        }
    }

    fn on_code(&mut self, code: &str, range: Range<usize>) {
        let is_command = self.heading.is_none()
            && self.numbered_item().is_some()
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
        let target = match (&mut self.heading, self.items.iter_mut().rev().flatten().next()) {
            (Some(heading), _) => heading,
            (None, Some(item)) => &mut item.prose,
            (None, None) => &mut self.paragraph,
        };
        target.push_str(text);
    }

    fn numbered_item(&self) -> Option<&Item> {
        self.items.iter().rev().flatten().next()
    }

    fn push(&mut self, kind: StepKind, offset: usize) {
        let (item, prose) = match self.numbered_item() {
            // An item's prose goes on behind the step: `close_item` fills it in.
            Some(item) => (Some(item.number), String::new()),
            None => (None, tidy(&self.paragraph)),
        };
        let source = self.source(offset);
        self.current.steps.push(Step { source, item, prose, kind });
    }

    fn open_item(&mut self, range: Range<usize>) {
        let number = match self.lists.last_mut() {
            Some(List::Numbered { start, seen }) => {
                let counted = start.saturating_add(*seen);
                *seen += 1;
                // CommonMark counts on from the first item; the reader of the page sees what is printed.
                Some(printed_number(&self.text[range.clone()]).unwrap_or(counted))
            }
            Some(List::Bullets) | None => None,
        };
        let line = self.line_of(range.start);
        let first_step = self.current.steps.len();
        self.items.push(number.map(|number| Item { number, line, prose: String::new(), first_step }));
    }

    fn close_item(&mut self) {
        let Some(Some(item)) = self.items.pop() else { return };
        let prose = tidy(&item.prose);
        let own = &mut self.current.steps[item.first_step..];
        if own.is_empty() && !prose.is_empty() {
            let source = SourceRef { file: self.file.clone(), line: item.line };
            let kind = StepKind::Human { text: prose.clone() };
            self.current.steps.push(Step { source, item: Some(item.number), prose, kind });
            return;
        }
        for step in own.iter_mut().filter(|step| step.prose.is_empty()) {
            step.prose.clone_from(&prose);
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

    fn close_section(&mut self, next: Procedure) {
        let closed = std::mem::replace(&mut self.current, next);
        if !closed.steps.is_empty() {
            self.done.push(closed);
        }
        self.paragraph.clear();
    }

    fn finish(mut self) -> Vec<Procedure> {
        if !self.current.steps.is_empty() {
            self.done.push(self.current);
        }
        self.done
    }
}

/// One line, single blanks, without the colon that points at what follows.
fn tidy(prose: &str) -> String {
    let line = prose.split_whitespace().collect::<Vec<_>>().join(" ");
    line.trim_end_matches(':').trim_end().to_owned()
}

fn printed_number(item: &str) -> Option<u64> {
    let item = item.trim_start();
    let digits = item.len() - item.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    item[..digits].parse().ok()
}

#[cfg(test)]
#[path = "markdown/tests.rs"]
mod tests;
