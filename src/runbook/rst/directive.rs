//! Directives (`.. name:: argument`, options, text): docutils' rules for where each of these begins and ends.

use std::ops::Range;

use super::text::Text;

/// What is to be done with a directive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A block of code.
    Code,
    /// Says of which language code without one is.
    Highlight,
    /// Holds text like any other: admonitions, containers, figures.
    Nested,
    /// Holds nothing that a person could do: pictures, tables of contents, settings.
    Idle,
    /// Holds what is not in the document, or in a way that is not known.
    Unread,
}

const CODE: &[&str] = &["code", "code-block", "sourcecode", "prompt"];

const NESTED: &[&str] = &[
    "admonition",
    "attention",
    "caution",
    "class",
    "compound",
    "container",
    "danger",
    "deprecated",
    "epigraph",
    "error",
    "figure",
    "footer",
    "glossary",
    "header",
    "highlights",
    "hint",
    "ifconfig",
    "important",
    "list-table",
    "note",
    "only",
    "pull-quote",
    "rst-class",
    "seealso",
    "sidebar",
    "table",
    "tip",
    "todo",
    "topic",
    "versionadded",
    "versionchanged",
    "versionremoved",
    "warning",
];

const IDLE: &[&str] = &[
    "centered",
    "codeauthor",
    "contents",
    "csv-table",
    "currentmodule",
    "date",
    "default-role",
    "graphviz",
    "image",
    "index",
    "math",
    "meta",
    "module",
    "program",
    "replace",
    "role",
    "rubric",
    "section-numbering",
    "sectionauthor",
    "sectnum",
    "tabularcolumns",
    "target-notes",
    "title",
    "toctree",
    "unicode",
];

/// By its name, upper and lower case alike.
pub fn kind(name: &str) -> Kind {
    let name = name.to_ascii_lowercase();
    let name = name.as_str();
    match name {
        "highlight" => Kind::Highlight,
        _ if CODE.contains(&name) => Kind::Code,
        _ if NESTED.contains(&name) => Kind::Nested,
        _ if IDLE.contains(&name) => Kind::Idle,
        _ => Kind::Unread,
    }
}

/// The lines of a directive.
#[derive(Debug)]
pub struct Block<'t> {
    text: &'t Text,
    /// The line with its name, and the column behind the `::`.
    first: (usize, usize),
    /// The lines below that are its own, to the last that is not blank.
    pub below: Range<usize>,
    /// Columns that all of these are indented by.
    indent: usize,
}

/// A block of code, taken apart.
#[derive(Debug)]
pub struct Code {
    pub language: Option<String>,
    /// Without the blank lines around it and what indents all of it.
    pub text: Text,
}

impl<'t> Block<'t> {
    /// The directive whose `..` is at this byte of the text and whose `::` ends at `named`. Its lines are those that are
    /// indented further than the `..`, and blank ones between them.
    pub fn new(text: &'t Text, start: usize, named: usize) -> Self {
        let (line, column) = text.place(start);
        let own = |number: &usize| text.indent(*number).is_none_or(|indent| indent > column);
        let mut end = (line + 1..text.line_count()).take_while(own).last().map_or(line + 1, |last| last + 1);
        while end > line + 1 && text.indent(end - 1).is_none() {
            end -= 1;
        }
        let below = line + 1..end;
        let indent = below.clone().filter_map(|number| text.indent(number)).min().unwrap_or(0);
        Self { text, first: (line, text.place(named).1), below, indent }
    }

    /// What stands behind the `::` on its line.
    pub fn argument(&self) -> &'t str {
        self.text.line(self.first.0).get(self.first.1..).unwrap_or("").trim()
    }

    /// All of it as a text, for a directive that holds text.
    pub fn body(&self) -> Text {
        let (line, column) = self.first;
        let blanks = self.text.line(line).get(column..).map_or(0, |rest| rest.len() - rest.trim_start().len());
        let first = std::iter::once((line, column + blanks));
        self.text.part(first.chain(self.below.clone().map(|number| (number, self.indent))))
    }

    /// Its language and its text. Errors, in words, where a renderer would complain too: text right below the first
    /// line, several words for a language, no text.
    pub fn code(&self) -> Result<Code, String> {
        let is_blank = |number: &usize| self.text.indent(*number).is_none();
        let head_end = self.below.clone().find(is_blank).unwrap_or(self.below.end);
        if let Some(odd) = (self.below.start..head_end).find(|number| !is_option(self.text.line(*number))) {
            let line = self.text.line(odd).trim();
            return Err(format!("`{line}` is no option of it: put a blank line before the block's text"));
        }
        let mut words = self.argument().split_whitespace();
        let language = words.next().map(str::to_owned);
        if let Some(second) = words.next().filter(|word| word.len() > 1) {
            return Err(format!(
                "`{second}` is one word too many behind the language: begin the text on a line of its own"
            ));
        }
        let rows: Vec<usize> = (head_end..self.below.end).skip_while(is_blank).collect();
        if rows.is_empty() {
            return Err("no text below it: indent the block's text further than the `..`".to_owned());
        }
        Ok(Code { language, text: self.text.part(rows.into_iter().map(|number| (number, self.indent))) })
    }
}

/// `:name:` or `:name: value`.
fn is_option(line: &str) -> bool {
    let named = line.trim().strip_prefix(':').and_then(|rest| rest.split_once(':'));
    named.is_some_and(|(name, value)| {
        let inner = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_');
        !name.is_empty() && name.chars().all(inner) && (value.is_empty() || value.starts_with(' '))
    })
}
