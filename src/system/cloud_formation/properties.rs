//! Typed readers over the properties of a resource. A reader that meets something wrong writes a problem down and goes on, so that
//! one reading finds everything.

use std::cell::RefCell;

use serde_json::{Map, Value};

use crate::outcome::SourceRef;
use crate::problem::{Problem, Problems, did_you_mean};
use crate::system::yaml::{Lines, pointer};

/// The template being read and what is wrong with it so far.
pub(super) struct Reader<'t> {
    pub file: &'t str,
    pub lines: &'t Lines,
    problems: RefCell<Problems>,
}

impl<'t> Reader<'t> {
    pub fn new(file: &'t str, lines: &'t Lines) -> Self {
        Self { file, lines, problems: RefCell::default() }
    }

    /// Where a field stands, or what is around it. `path` is a JSON pointer.
    pub fn source(&self, path: &str) -> SourceRef {
        SourceRef { file: self.file.to_owned(), line: self.lines.of(path).unwrap_or(1) }
    }

    pub fn problem(&self, path: &str, message: impl Into<String>) {
        self.problems.borrow_mut().push(Problem::new(&self.source(path), message));
    }

    /// Writes the problem down and answers `None`.
    pub fn refuse<T>(&self, path: &str, message: impl Into<String>) -> Option<T> {
        self.problem(path, message);
        None
    }

    /// The fields of a mapping; none of what is no mapping, which is a problem.
    pub fn properties<'r, 'v>(&'r self, value: &'v Value, path: &str) -> Properties<'r, 'v> {
        let fields = value.as_object();
        if fields.is_none() {
            self.problem(path, "a mapping is needed here");
        }
        Properties { reader: self, fields, path: path.to_owned(), asked: Vec::new() }
    }

    pub fn into_problems(self) -> Problems {
        self.problems.into_inner()
    }
}

/// The fields of one mapping. What was never asked for by the time `close` is called cannot be honoured.
pub(super) struct Properties<'r, 'v> {
    reader: &'r Reader<'r>,
    fields: Option<&'v Map<String, Value>>,
    pub path: String,
    asked: Vec<&'static str>,
}

impl<'r, 'v> Properties<'r, 'v> {
    /// The value of a field that may be absent.
    pub fn value(&mut self, name: &'static str) -> Option<&'v Value> {
        self.asked.push(name);
        self.fields?.get(name)
    }

    pub fn at(&self, name: &str) -> String {
        pointer(&self.path, name)
    }

    /// Where this mapping, or a field of it, stands.
    pub fn source(&self, name: &str) -> SourceRef {
        self.reader.source(&self.at(name))
    }

    pub fn problem(&self, name: &str, message: impl Into<String>) {
        self.reader.problem(&self.at(name), message);
    }

    /// Text, or what YAML takes for a number or a truth value and CloudFormation for text.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        let value = self.value(name)?;
        text_of(value).or_else(|| self.reader.refuse(&self.at(name), format!("`{name}` has to be text")))
    }

    /// Text that has to be there.
    pub fn need(&mut self, name: &'static str) -> String {
        if self.fields.is_some_and(|fields| !fields.contains_key(name)) {
            self.asked.push(name);
            self.reader.problem(&self.path, format!("`{name}` is missing here"));
        }
        self.text(name).unwrap_or_default()
    }

    /// A whole number, which may be written as text.
    pub fn number(&mut self, name: &'static str) -> Option<u32> {
        let value = self.value(name)?;
        let number = text_of(value).and_then(|text| text.parse().ok());
        number.or_else(|| self.reader.refuse(&self.at(name), format!("`{name}` has to be a whole number")))
    }

    pub fn truth(&mut self, name: &'static str) -> Option<bool> {
        let value = self.value(name)?;
        match text_of(value).as_deref() {
            Some("true") => Some(true),
            Some("false") => Some(false),
            _ => self.reader.refuse(&self.at(name), format!("`{name}` has to be true or false")),
        }
    }

    /// A list of texts; empty where there is none.
    pub fn texts(&mut self, name: &'static str) -> Vec<String> {
        let mut texts = Vec::new();
        for (index, value) in self.list(name).iter().enumerate() {
            let path = pointer(&self.at(name), &index.to_string());
            texts.extend(text_of(value).or_else(|| self.reader.refuse(&path, format!("`{name}` has to be texts"))));
        }
        texts
    }

    fn list(&mut self, name: &'static str) -> &'v [Value] {
        match self.value(name) {
            None => &[],
            Some(Value::Array(items)) => items,
            Some(_) => {
                self.problem(name, format!("`{name}` has to be a list"));
                &[]
            }
        }
    }

    /// A list of mappings; empty where there is none.
    pub fn items(&mut self, name: &'static str) -> Vec<Properties<'r, 'v>> {
        let path = self.at(name);
        let items = self.list(name).iter().enumerate();
        items.map(|(index, value)| self.reader.properties(value, &pointer(&path, &index.to_string()))).collect()
    }

    pub fn child(&mut self, name: &'static str) -> Option<Properties<'r, 'v>> {
        let value = self.value(name)?;
        Some(self.reader.properties(value, &self.at(name)))
    }

    /// What is accepted and has no effect here; docs/scenario.md says why.
    pub fn without_effect(&mut self, names: &[&'static str]) {
        self.asked.extend(names);
    }

    /// A field that only says what is so anyway.
    pub fn only(&mut self, name: &'static str, accepted: &[&str], why: &str) {
        if let Some(text) = self.text(name)
            && !accepted.contains(&text.as_str())
        {
            self.problem(name, format!("`{name}: {text}` cannot be honoured: {why}"));
        }
    }

    /// A field that cannot be honoured, for a reason worth saying.
    pub fn refuse(&mut self, name: &'static str, why: &str) {
        if self.value(name).is_some() {
            self.problem(name, format!("`{name}` cannot be honoured: {why}"));
        }
    }

    /// Refuses the fields that were not asked for.
    pub fn close(self) {
        for name in self.fields.into_iter().flat_map(Map::keys) {
            if !self.asked.contains(&name.as_str()) {
                let hint = did_you_mean(name, self.asked.iter().copied());
                self.problem(name, format!("`{name}` cannot be honoured{hint}: take it out of what is drilled"));
            }
        }
    }
}

pub(super) fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
