//! Typed readers over a YAML tree. A reader that meets something wrong writes a problem down and answers `None`;
//! the caller goes on with the next field, so that one reading finds everything.

use std::cell::RefCell;

use super::yaml::{Node, Value};
use crate::outcome::SourceRef;
use crate::problem::{Problem, Problems, suggestion};

/// The file being read and what is wrong with it so far.
pub struct Reader {
    file: String,
    problems: RefCell<Problems>,
}

impl Reader {
    pub fn new(file: &std::path::Path) -> Self {
        Self { file: file.display().to_string(), problems: RefCell::default() }
    }

    pub fn into_problems(self) -> Problems {
        self.problems.into_inner()
    }

    pub fn source(&self, line: usize) -> SourceRef {
        SourceRef { file: self.file.clone(), line }
    }

    pub fn problem(&self, line: usize, message: impl Into<String>) {
        self.problems.borrow_mut().push(Problem { source: self.source(line), message: message.into() });
    }

    /// Writes the problem down and answers `None`.
    pub fn refuse<T>(&self, line: usize, message: impl Into<String>) -> Option<T> {
        self.problem(line, message);
        None
    }

    /// The fields of a mapping.
    pub fn fields<'r, 'n>(&'r self, node: &'n Node) -> Option<Fields<'r, 'n>> {
        match &node.value {
            Value::Mapping(_) => Some(Fields { reader: self, node, asked: Vec::new() }),
            Value::Scalar { .. } | Value::Sequence(_) => {
                self.refuse(node.line, format!("a mapping is needed here, this is {}", node.shape()))
            }
        }
    }

    /// Text that is not empty. `5` and `true` without quotes are not text.
    pub fn text(&self, node: &Node) -> Option<String> {
        match &node.value {
            Value::Scalar { text, plain } if *plain && is_other_than_text(text) => {
                self.refuse(node.line, format!("text is needed here, `{text}` is not: put it in quotes if it is meant"))
            }
            Value::Scalar { text, .. } if text.trim().is_empty() => self.refuse(node.line, "text is needed here"),
            Value::Scalar { text, .. } => Some(text.clone()),
            Value::Sequence(_) | Value::Mapping(_) => {
                self.refuse(node.line, format!("text is needed here, this is {}", node.shape()))
            }
        }
    }

    /// A whole number that fits.
    pub fn number<N: std::str::FromStr>(&self, node: &Node) -> Option<N> {
        let number = match &node.value {
            Value::Scalar { text, plain: true } => text.parse().ok(),
            Value::Scalar { .. } | Value::Sequence(_) | Value::Mapping(_) => None,
        };
        number.or_else(|| {
            let found = node.text().map_or(node.shape().to_owned(), |text| format!("`{text}`"));
            self.refuse(node.line, format!("a whole number is needed here, this is {found}"))
        })
    }

    /// `true` or `false`, without quotes.
    pub fn truth(&self, node: &Node) -> Option<bool> {
        match &node.value {
            Value::Scalar { text, plain: true } if text == "true" => Some(true),
            Value::Scalar { text, plain: true } if text == "false" => Some(false),
            Value::Scalar { text, .. } => {
                self.refuse(node.line, format!("`true` or `false` is needed here, this is `{text}`"))
            }
            Value::Sequence(_) | Value::Mapping(_) => {
                self.refuse(node.line, format!("`true` or `false` is needed here, this is {}", node.shape()))
            }
        }
    }

    /// One of a closed set of words.
    pub fn word<T: Copy>(&self, node: &Node, words: &[(&str, T)]) -> Option<T> {
        let text = self.text(node)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let hint = suggestion(&text, words.iter().map(|(word, _)| *word));
        self.refuse(node.line, format!("unknown `{text}`{hint}"))
    }

    /// The name of something declared elsewhere in the file.
    pub fn reference(&self, node: &Node, what: &str, declared: &[String]) -> Option<String> {
        let name = self.text(node)?;
        if declared.contains(&name) {
            return Some(name);
        }
        let hint = suggestion(&name, declared.iter().map(String::as_str));
        self.refuse(node.line, format!("no {what} `{name}` is declared in this file{hint}"))
    }

    /// A list, element by element; those that cannot be read are problems and left out.
    pub fn list<T>(&self, node: &Node, read: impl Fn(&Node) -> Option<T>) -> Option<Vec<T>> {
        match &node.value {
            Value::Sequence(items) => Some(items.iter().filter_map(read).collect()),
            Value::Scalar { .. } | Value::Mapping(_) => {
                self.refuse(node.line, format!("a list is needed here, this is {}", node.shape()))
            }
        }
    }

    /// A mapping with names of the file's own choice, in its order.
    pub fn named<T>(&self, node: &Node, read: impl Fn(&str, &Node) -> Option<T>) -> Option<Vec<(String, T)>> {
        match &node.value {
            Value::Mapping(entries) => Some(
                entries.iter().filter_map(|(key, node)| Some((key.text.clone(), read(&key.text, node)?))).collect(),
            ),
            Value::Scalar { .. } | Value::Sequence(_) => {
                self.refuse(node.line, format!("a mapping is needed here, this is {}", node.shape()))
            }
        }
    }
}

/// Whether YAML's core schema would take it for null, a truth value or a number.
fn is_other_than_text(text: &str) -> bool {
    matches!(text, "" | "~" | "null" | "true" | "false") || text.parse::<f64>().is_ok_and(f64::is_finite)
}

/// The fields of one mapping. What was never asked for by the time `close` is called is unknown.
pub struct Fields<'r, 'n> {
    reader: &'r Reader,
    node: &'n Node,
    asked: Vec<&'static str>,
}

impl<'n> Fields<'_, 'n> {
    /// The node of a field that may be absent.
    pub fn node(&mut self, name: &'static str) -> Option<&'n Node> {
        self.asked.push(name);
        self.node.get(name)
    }

    /// A field that has to be there.
    pub fn required<T>(&mut self, name: &'static str, read: impl FnOnce(&Node) -> Option<T>) -> Option<T> {
        match self.node(name) {
            Some(node) => read(node),
            None => self.reader.refuse(self.node.line, format!("`{name}` is missing here")),
        }
    }

    /// A field that may be absent. Outer `None`: there, but wrong.
    pub fn optional<T>(&mut self, name: &'static str, read: impl FnOnce(&Node) -> Option<T>) -> Option<Option<T>> {
        match self.node(name) {
            Some(node) => read(node).map(Some),
            None => Some(None),
        }
    }

    /// A list or mapping that may be absent, which is as good as empty.
    pub fn or_default<T: Default>(&mut self, name: &'static str, read: impl FnOnce(&Node) -> Option<T>) -> Option<T> {
        self.optional(name, read).map(Option::unwrap_or_default)
    }

    /// The one of several fields that is there, with its name.
    pub fn one_of(&mut self, names: &'static [&'static str]) -> Option<(&'static str, &'n Node)> {
        let mut there = names.iter().copied().filter_map(|name| Some((name, self.node(name)?))).collect::<Vec<_>>();
        match (there.pop(), there.is_empty()) {
            (Some(only), true) => Some(only),
            (Some((_, node)), false) => {
                self.reader.refuse(node.line, format!("only one of {} can stand here", names.join(", ")))
            }
            (None, _) => self.reader.refuse(self.node.line, format!("one of {} is missing here", names.join(", "))),
        }
    }

    /// Refuses the fields that were not asked for.
    pub fn close(self) {
        for (key, _) in self.node.entries() {
            if !self.asked.contains(&key.text.as_str()) {
                let hint = suggestion(&key.text, self.asked.iter().copied());
                self.reader.problem(key.line, format!("unknown field `{}`{hint}", key.text));
            }
        }
    }
}
