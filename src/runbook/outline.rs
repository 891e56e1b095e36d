//! Puts procedures together from what a document's reader comes by, whatever the format.

use std::path::Path;

use super::{Procedure, Step, StepKind};
use crate::outcome::SourceRef;

/// The sections read so far, and the place in the open one.
pub struct Outline {
    pub file: String,
    done: Vec<Procedure>,
    current: Procedure,
    /// `None` for an item of a bulleted list.
    items: Vec<Option<Item>>,
    /// The last paragraph outside numbered items.
    paragraph: String,
}

/// A numbered item that is open.
struct Item {
    /// As printed; `None` where a letter is.
    number: Option<u64>,
    line: usize,
    prose: String,
    /// Steps of the procedure from here on are this item's or those of items in it.
    first_step: usize,
}

impl Outline {
    /// What stands before the first heading is a procedure with the file's name.
    pub fn new(path: &Path) -> Self {
        let file = path.display().to_string();
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let source = SourceRef { file: file.clone(), line: 1 };
        Self {
            file,
            done: Vec::new(),
            current: Procedure { name, source, steps: Vec::new() },
            items: Vec::new(),
            paragraph: String::new(),
        }
    }

    pub fn heading(&mut self, name: &str, line: usize) {
        let next = Procedure { name: name.trim().to_owned(), source: self.source(line), steps: Vec::new() };
        let closed = std::mem::replace(&mut self.current, next);
        if !closed.steps.is_empty() {
            self.done.push(closed);
        }
        self.paragraph.clear();
    }

    /// An item of a numbered or lettered list.
    pub fn open_item(&mut self, number: Option<u64>, line: usize) {
        let first_step = self.current.steps.len();
        self.items.push(Some(Item { number, line, prose: String::new(), first_step }));
    }

    /// An item of a list without an order.
    pub fn open_bullet(&mut self) {
        self.items.push(None);
    }

    /// Gives the item's prose to its steps; where there are none, the item is a thing for a person to do.
    pub fn close_item(&mut self) {
        let Some(Some(item)) = self.items.pop() else { return };
        let prose = tidy(&item.prose);
        let own = &mut self.current.steps[item.first_step..];
        if own.is_empty() && !prose.is_empty() {
            let source = self.source(item.line);
            let kind = StepKind::Human { text: prose.clone() };
            let item = item.number.or_else(|| self.number());
            self.current.steps.push(Step { source, item, prose, kind });
            return;
        }
        for step in own.iter_mut().filter(|step| step.prose.is_empty()) {
            step.prose.clone_from(&prose);
        }
    }

    /// Whether this stands in a numbered item, or in something inside one.
    pub fn is_in_item(&self) -> bool {
        self.items.iter().any(Option::is_some)
    }

    /// The innermost number.
    fn number(&self) -> Option<u64> {
        self.items.iter().rev().flatten().find_map(|item| item.number)
    }

    /// A new paragraph begins.
    pub fn paragraph(&mut self) {
        match self.items.iter_mut().rev().flatten().next() {
            Some(item) => item.prose.push(' '),
            None => self.paragraph.clear(),
        }
    }

    /// More of the paragraph or of the item.
    pub fn say(&mut self, text: &str) {
        let item = self.items.iter_mut().rev().flatten().next();
        item.map_or(&mut self.paragraph, |item| &mut item.prose).push_str(text);
    }

    pub fn push(&mut self, kind: StepKind, line: usize) {
        // An item's prose goes on behind the step: `close_item` fills it in.
        let prose = if self.is_in_item() { String::new() } else { tidy(&self.paragraph) };
        let step = Step { source: self.source(line), item: self.number(), prose, kind };
        self.current.steps.push(step);
    }

    fn source(&self, line: usize) -> SourceRef {
        SourceRef { file: self.file.clone(), line }
    }

    /// Every section that holds a step.
    pub fn finish(mut self) -> Vec<Procedure> {
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

/// Byte offsets of the lines' starts: from a byte to the number of its line.
pub struct LineNumbers(Vec<usize>);

impl LineNumbers {
    pub fn of(text: &str) -> Self {
        let starts = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        Self(std::iter::once(0).chain(starts).collect())
    }

    /// From 1.
    pub fn line_of(&self, offset: usize) -> usize {
        self.0.partition_point(|start| *start <= offset)
    }
}
