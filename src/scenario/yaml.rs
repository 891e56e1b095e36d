//! YAML as a tree that knows its lines. Doubled keys, aliases and custom tags are refused: in a file that decides
//! what is proven, nothing may be said twice or from afar.

use std::path::Path;

use saphyr_parser::{Event, Parser, ScalarStyle};

use crate::outcome::SourceRef;
use crate::problem::{Problem, Problems};

/// Deeper than any sensible file; keeps recursive readers off the end of the stack.
const MAX_DEPTH: usize = 64;

#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// From 1.
    pub line: usize,
    pub value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `plain`: without quotes, so that `true` or `5` may be other than text.
    Scalar {
        text: String,
        plain: bool,
    },
    Sequence(Vec<Node>),
    Mapping(Vec<(Key, Node)>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub line: usize,
    pub text: String,
}

impl Node {
    /// The value under a key, where this is a mapping that has it.
    pub fn get(&self, key: &str) -> Option<&Node> {
        match &self.value {
            Value::Mapping(entries) => entries.iter().find(|(k, _)| k.text == key).map(|(_, node)| node),
            Value::Scalar { .. } | Value::Sequence(_) => None,
        }
    }

    /// The text of a scalar, as written.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            Value::Sequence(_) | Value::Mapping(_) => None,
        }
    }

    pub fn entries(&self) -> &[(Key, Node)] {
        match &self.value {
            Value::Mapping(entries) => entries,
            Value::Scalar { .. } | Value::Sequence(_) => &[],
        }
    }

    pub fn items(&self) -> &[Node] {
        match &self.value {
            Value::Sequence(items) => items,
            Value::Scalar { .. } | Value::Mapping(_) => &[],
        }
    }

    /// `null`, `~` or nothing at all.
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true } if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// "text", "a list", "a mapping": for messages.
    pub fn shape(&self) -> &'static str {
        match &self.value {
            Value::Scalar { .. } if self.is_null() => "nothing",
            Value::Scalar { .. } => "a single value",
            Value::Sequence(_) => "a list",
            Value::Mapping(_) => "a mapping",
        }
    }
}

/// The documents of a file, without empty ones. Goes on past doubled keys and aliases; ends at text that is no YAML.
pub fn documents(file: &Path, text: &str) -> (Vec<Node>, Problems) {
    let mut builder = Builder { file: file.display().to_string(), ..Builder::default() };
    for event in Parser::new_from_str(text) {
        match event {
            Ok((event, span)) => builder.event(event, span.start.line()),
            Err(error) => {
                builder.problem(error.marker().line(), format!("not YAML: {}", error.info()));
                break;
            }
        }
        if builder.too_deep {
            break;
        }
    }
    (builder.documents, builder.problems)
}

/// A collection that is open.
enum Open {
    Sequence(usize, Vec<Node>),
    Mapping(usize, Vec<(Key, Node)>, Option<Key>),
}

#[derive(Default)]
struct Builder {
    file: String,
    open: Vec<Open>,
    documents: Vec<Node>,
    problems: Problems,
    too_deep: bool,
}

impl Builder {
    fn problem(&mut self, line: usize, message: impl Into<String>) {
        self.problems.push(Problem { source: SourceRef { file: self.file.clone(), line }, message: message.into() });
    }

    fn event(&mut self, event: Event<'_>, line: usize) {
        match event {
            Event::Scalar(text, style, _, tag) => {
                self.refuse_tag(tag.is_some_and(|tag| !tag.is_yaml_core_schema()), line);
                let plain = style == ScalarStyle::Plain;
                self.add(Node { line, value: Value::Scalar { text: text.into_owned(), plain } });
            }
            Event::SequenceStart(_, tag) => {
                self.refuse_tag(tag.is_some(), line);
                self.enter(Open::Sequence(line, Vec::new()), line);
            }
            Event::MappingStart(_, tag) => {
                self.refuse_tag(tag.is_some(), line);
                self.enter(Open::Mapping(line, Vec::new(), None), line);
            }
            Event::SequenceEnd | Event::MappingEnd => self.leave(),
            Event::Alias(_) => {
                self.problem(line, "an alias (`*name`) is not read here: write the value out");
                self.add(Node { line, value: Value::Scalar { text: String::new(), plain: true } });
            }
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentStart(_) | Event::DocumentEnd => {}
        }
    }

    fn refuse_tag(&mut self, custom: bool, line: usize) {
        if custom {
            self.problem(line, "a tag (`!name`) is not read here: write the value without it");
        }
    }

    fn enter(&mut self, open: Open, line: usize) {
        self.open.push(open);
        if self.open.len() > MAX_DEPTH {
            self.problem(line, format!("nested more than {MAX_DEPTH} deep"));
            self.too_deep = true;
        }
    }

    fn leave(&mut self) {
        match self.open.pop() {
            Some(Open::Sequence(line, items)) => self.add(Node { line, value: Value::Sequence(items) }),
            Some(Open::Mapping(line, entries, _)) => self.add(Node { line, value: Value::Mapping(entries) }),
            None => {}
        }
    }

    fn add(&mut self, node: Node) {
        let line = node.line;
        let trouble = match self.open.last_mut() {
            None if node.is_null() => None,
            None => {
                self.documents.push(node);
                None
            }
            Some(Open::Sequence(_, items)) => {
                items.push(node);
                None
            }
            Some(Open::Mapping(_, _, key @ None)) => {
                let (text, trouble) = match node.value {
                    Value::Scalar { text, .. } => (text, None),
                    Value::Sequence(_) | Value::Mapping(_) => (String::new(), Some("a key has to be text".to_owned())),
                };
                *key = Some(Key { line, text });
                trouble
            }
            Some(Open::Mapping(_, entries, key)) => {
                let key = key.take().unwrap_or(Key { line, text: String::new() });
                match entries.iter().find(|(other, _)| *other.text == key.text) {
                    Some((first, _)) => {
                        Some(format!("`{}` is said twice, first in line {}: keep one", key.text, first.line))
                    }
                    None => {
                        entries.push((key, node));
                        None
                    }
                }
            }
        };
        if let Some(trouble) = trouble {
            self.problem(line, trouble);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> (Vec<Node>, Vec<String>) {
        let (documents, problems) = documents(Path::new("a.yaml"), text);
        (documents, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_node_knows_its_line() {
        let (documents, problems) = read("# first\na: 1\nb:\n  - x\n  - y: z\n---\nc: d\n");
        assert_eq!(problems, [""; 0]);
        assert_eq!(documents.len(), 2);
        let list = documents[0].get("b").unwrap();
        assert_eq!(list.items()[0].line, 4);
        assert_eq!(list.items()[1].get("y").unwrap().line, 5);
        assert_eq!(documents[1].line, 7);
    }

    #[test]
    fn doubled_keys_aliases_and_tags_are_problems_with_their_lines_all_at_once() {
        let (_, problems) = read("a: &x 1\na: 2\nb: *x\nc: !mine 3\n");
        assert_eq!(
            problems,
            [
                "a.yaml:2: `a` is said twice, first in line 1: keep one",
                "a.yaml:3: an alias (`*name`) is not read here: write the value out",
                "a.yaml:4: a tag (`!name`) is not read here: write the value without it",
            ]
        );
    }

    #[test]
    fn text_that_is_no_yaml_is_named_with_its_line() {
        let (_, problems) = read("a: 1\nb: [1, 2\nc: 3\n");
        assert!(problems[0].starts_with("a.yaml:") && problems[0].contains("not YAML"), "{problems:?}");
    }

    #[test]
    fn a_deep_nest_is_a_problem_and_no_overflow() {
        let (_, problems) = read(&("[".repeat(100) + &"]".repeat(100)));
        assert!(problems[0].contains("nested more than 64 deep"), "{problems:?}");
        assert_eq!(read(&"[".repeat(50_000)).1.len(), 1);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_without_a_panic(text in "\\PC{0,60}|([a-c]: ?[\\[\\]{}&*!|>'\"a-z0-9]{0,6}\n ?){0,12}") {
            prop_assert_eq!(read(&text), read(&text));
        }
    }
}
