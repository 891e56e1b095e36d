//! Reads a reStructuredText document into procedures.
//!
//! The tree is tree-sitter's, by the grammar `tree-sitter-rst`: every node has its bytes in the document. `rst_parser`, the
//! other crate for this, gives a document tree without positions, and no line could be named from it. The grammar takes what
//! stands in admonitions and other directives as it stands, so that of those that hold more document is parsed
//! again, block by block. What tree and rules leave over is looked for in the document at the end: a block of code that no
//! step came of is an error, and so is a directive that is not known.
//!
//! Format: docutils' reStructuredText Markup Specification, with Sphinx' `code-block` and `highlight`.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use tree_sitter::{Node, Parser};

use super::outline::{LineNumbers, Outline};
use super::step::{BlockKind, classify, is_inline_command, typed};
use super::{Procedure, StepKind};
use crate::problem::{Problem, Problems};

mod directive;
mod leftover;
mod text;

use directive::Kind;
use text::Text;

/// Lists and directives inside each other. A page for people has four or five.
const DEEPEST: usize = 100;

/// Every section of `text` that holds a step, in the document's order. Errors with every place that cannot be read.
pub fn procedures(path: &Path, text: &str) -> Result<Vec<Procedure>, Problems> {
    let mut reader = Reader {
        document: text,
        numbers: LineNumbers::of(text),
        outline: Outline::new(path),
        language: None,
        claimed: BTreeSet::new(),
        opaque: Vec::new(),
        problems: Problems::default(),
    };
    reader.read(&Text::of_document(text), 0);
    for (offset, message) in leftover::problems(text, &reader.claimed, &reader.opaque) {
        reader.problem(offset, message);
    }
    reader.problems.or(Some(reader.outline.finish()))
}

struct Reader<'d> {
    document: &'d str,
    numbers: LineNumbers,
    outline: Outline,
    /// Of `highlight`: what code without a language is in from there on.
    language: Option<String>,
    /// Where in the document a directive begins that was dealt with.
    claimed: BTreeSet<usize>,
    /// What of the document is no markup: code, comments, literals.
    opaque: Vec<Range<usize>>,
    problems: Problems,
}

impl Reader<'_> {
    fn read(&mut self, text: &Text, depth: usize) {
        let mut parser = Parser::new();
        let grammar = tree_sitter_rst::LANGUAGE.into();
        parser.set_language(&grammar).expect("the grammar is of a version that the library knows");
        let tree = parser.parse(text.as_str(), None).expect("a parser with a language and no deadline gives a tree");
        self.node(text, tree.root_node(), depth);
    }

    fn problem(&mut self, offset: usize, message: impl Into<String>) {
        self.problems.push(Problem::at(&self.outline.file, self.numbers.line_of(offset), message));
    }

    fn line(&self, text: &Text, node: Node<'_>) -> usize {
        self.numbers.line_of(text.in_document(node.start_byte()))
    }

    fn node(&mut self, text: &Text, node: Node<'_>, depth: usize) {
        let start = text.in_document(node.start_byte());
        if depth > DEEPEST {
            self.problem(start, format!("more than {DEEPEST} lists and blocks inside each other"));
            return;
        }
        match node.kind() {
            "ERROR" => {
                let line = text.line(text.place(node.start_byte()).0).trim();
                self.problem(start, format!("this is no reStructuredText that can be read: `{line}`"));
            }
            "title" => {
                let name = self.plain(text, node);
                let line = self.line(text, node);
                self.outline.heading(&name, line);
            }
            "paragraph" | "term" => self.paragraph(text, node),
            "enumerated_list" => self.numbered(text, node, depth),
            "bullet_list" => {
                for item in children(node) {
                    self.outline.open_bullet();
                    self.children(text, item, depth);
                    self.outline.close_item();
                }
            }
            "literal_block" => self.literal_block(text, node),
            "doctest_block" => self.code(text, node.byte_range(), Some("python".to_owned())),
            "directive" => self.directive(text, node, depth),
            "comment" => self.comment(text, node),
            "substitution_definition" => self.opaque.push(text.span_in_document(node.byte_range())),
            _ => self.children(text, node, depth),
        }
    }

    fn children(&mut self, text: &Text, node: Node<'_>, depth: usize) {
        for child in children(node) {
            self.node(text, child, depth + 1);
        }
    }

    fn numbered(&mut self, text: &Text, list: Node<'_>, depth: usize) {
        let mut last = 0_u64;
        for item in children(list) {
            let body = children(item).into_iter().find(|child| child.kind() == "body");
            let label = &text.as_str()[item.start_byte()..body.map_or(item.end_byte(), |body| body.start_byte())];
            let label = label.trim().trim_matches(['(', ')', '.']);
            let number = if label == "#" { Some(last.saturating_add(1)) } else { label.parse().ok() };
            last = number.unwrap_or(last);
            let line = self.line(text, item);
            self.outline.open_item(number, line);
            self.children(text, item, depth);
            self.outline.close_item();
        }
    }

    /// Says the paragraph; code in it that a person types is a step, by the same rule as in Markdown.
    fn paragraph(&mut self, text: &Text, node: Node<'_>) {
        self.outline.paragraph();
        let all = text.as_str();
        let block = children(node).into_iter().find(|child| child.kind() == "literal_block");
        let end = block.map_or(node.end_byte(), |block| block.start_byte());
        let mut at = node.start_byte();
        for child in children(node).into_iter().filter(|child| child.end_byte() <= end) {
            self.outline.say(&all[at..child.start_byte()]);
            at = child.end_byte();
            match inline_code(&all[child.byte_range()]) {
                Some(within) => self.inline_code(text, child.byte_range(), within),
                None => self.outline.say(unmarked(&all[child.byte_range()])),
            }
        }
        self.outline.say(&all[at..end]);
        match block {
            Some(block) => self.literal_block(text, block),
            None if all[at..end].trim_end().ends_with("::") => {
                let offset = text.in_document(node.end_byte());
                let way_out = "indent the block, with a blank line before it";
                self.problem(offset, format!("`::` says that a block follows, and none does: {way_out}"));
            }
            None => {}
        }
    }

    /// Code in a sentence: a whole of markup, and what of it is the code.
    fn inline_code(&mut self, text: &Text, whole: Range<usize>, within: Range<usize>) {
        let code = text.as_str()[whole.clone()][within.clone()].trim();
        self.opaque.push(text.span_in_document(whole.clone()));
        let is_alone = {
            let before = text.as_str()[..whole.start].rsplit('\n').next().unwrap_or("");
            let after = text.as_str()[whole.end..].split('\n').next().unwrap_or("");
            let before = before.trim_start().trim_start_matches('|');
            before.trim().is_empty() && after.trim().is_empty()
        };
        if self.outline.is_in_item() && is_inline_command(code, is_alone) {
            let start = whole.start + within.start;
            let span = text.span_in_document(start..start + within.len());
            // Code that runs on over a line's end is one line, as everything in a paragraph.
            let code = code.split('\n').map(str::trim).collect::<Vec<_>>().join(" ");
            let line = self.numbers.line_of(span.start);
            self.outline.push(StepKind::Command { text: code, span }, line);
        } else {
            self.outline.say(code);
        }
    }

    /// A block behind `::`. Its first line may be indented less or more than the others.
    fn literal_block(&mut self, text: &Text, node: Node<'_>) {
        self.code(text, node.byte_range(), self.language.clone());
    }

    /// A block of code that is these bytes of the text, and the blanks before them.
    fn code(&mut self, text: &Text, span: Range<usize>, language: Option<String>) {
        let (first, _) = text.place(span.start);
        let (last, _) = text.place(span.end.max(span.start + 1) - 1);
        let indent = (first..=last).filter_map(|number| text.indent(number)).min().unwrap_or(0);
        let block = text.part((first..=last).map(|number| (number, indent)));
        self.block(&block, language);
    }

    fn block(&mut self, block: &Text, language: Option<String>) {
        let text = block.as_str().trim_end();
        let span = block.span_in_document(text.len() - text.trim_start().len()..text.len());
        self.opaque.push(span.clone());
        let line = self.numbers.line_of(span.start);
        let kind = match classify(language.as_deref(), text) {
            BlockKind::Command => StepKind::Command { text: typed(text), span },
            BlockKind::Fragment => StepKind::Fragment { text: format!("{text}\n"), language, span },
        };
        self.outline.push(kind, line);
    }

    fn directive(&mut self, text: &Text, node: Node<'_>, depth: usize) {
        let start = text.in_document(node.start_byte());
        self.claimed.insert(start);
        let Some(name) = children(node).into_iter().find(|part| part.kind() == "type") else {
            return self.problem(start, "a directive without a name");
        };
        let all = text.as_str();
        let named = name.end_byte() + all[name.end_byte()..].find("::").map_or(0, |at| at + 2);
        let name = &all[name.byte_range()];
        let block = directive::Block::new(text, node.start_byte(), named);
        let (last, _) = text.place(node.end_byte().max(named) - 1);
        if last + 1 != block.below.end {
            // The grammar and docutils' rule differ where lines are indented less than those above them.
            let message = format!("where this `{name}` ends can be read in two ways: indent all of its lines alike");
            return self.problem(start, message);
        }
        match directive::kind(name) {
            Kind::Code => match block.code() {
                Ok(code) => {
                    let language = code.language.or_else(|| self.language.clone());
                    self.block(&code.text, language);
                }
                Err(why) => self.problem(start, format!("`{name}`: {why}")),
            },
            Kind::Highlight => self.language = block.argument().split_whitespace().next().map(str::to_owned),
            Kind::Nested => self.read(&block.body(), depth + 1),
            Kind::Idle => {}
            Kind::Unread => {
                let message =
                    format!("the directive `{name}` is not read: write what it holds as text or as `code-block`");
                self.problem(start, message);
            }
        }
    }

    /// A comment is skipped, unless one was not meant: of `.. code-block: sh`, with one colon, renderers show nothing.
    fn comment(&mut self, text: &Text, node: Node<'_>) {
        let span = text.span_in_document(node.byte_range());
        let first = self.document[span.clone()].trim_start_matches('.').trim_start();
        let name = first.split(|c: char| c == ':' || c.is_whitespace()).next().unwrap_or("");
        let colons = first[name.len()..].trim_start().starts_with(':');
        if colons && matches!(directive::kind(name), Kind::Code | Kind::Nested) {
            self.problem(span.start, format!("a comment, since `{name}` has no `::` behind it: write `.. {name}::`"));
        }
        self.opaque.push(span);
    }

    /// The words of a title, without their markup.
    fn plain(&self, text: &Text, node: Node<'_>) -> String {
        let all = text.as_str();
        let mut words = String::new();
        let mut at = node.start_byte();
        for child in children(node) {
            words.push_str(&all[at..child.start_byte()]);
            let markup = &all[child.byte_range()];
            words.push_str(inline_code(markup).map_or_else(|| unmarked(markup), |within| &markup[within]));
            at = child.end_byte();
        }
        words.push_str(&all[at..node.end_byte()]);
        words
    }
}

fn children(node: Node<'_>) -> Vec<Node<'_>> {
    node.named_children(&mut node.walk()).collect()
}

/// What of a piece of inline markup is code: ``` ``code`` ```, `` :code:`code` `` and `` :command:`code` ``.
fn inline_code(markup: &str) -> Option<Range<usize>> {
    let literal = markup.strip_prefix("``").and_then(|rest| rest.strip_suffix("``"));
    let mut roles = [":code:`", ":command:`", ":kbd:`", ":samp:`"].into_iter();
    let role = roles.find_map(|role| markup.strip_prefix(role)?.strip_suffix('`'));
    let code = literal.or(role)?;
    let start = markup.find(code)?;
    Some(start..start + code.len())
}

/// A reference, a role or an emphasis without what marks it.
fn unmarked(markup: &str) -> &str {
    let text = markup.rsplit_once(":`").filter(|_| markup.starts_with(':')).map_or(markup, |(_, text)| text);
    let text = text.trim_end_matches('_').trim_matches(['`', '*', '|']);
    text.split_once(" <").filter(|_| text.ends_with('>')).map_or(text, |(title, _)| title)
}

#[cfg(test)]
#[path = "rst/tests.rs"]
mod tests;
