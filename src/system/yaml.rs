//! YAML as kubectl reads it, with the line of every field.
//!
//! kubectl takes YAML 1.1 (go-yaml v2): `yes` is a boolean and `0644` is octal. Reading by 1.2 rules would let a manifest pass
//! here that means something else, or nothing, on a cluster.

use std::borrow::Cow;
use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};
use serde_json::{Map, Number, Value};

/// One document of a stream.
#[derive(Debug, Clone)]
pub struct Document {
    pub value: Value,
    /// Where it begins, from 1.
    pub line: usize,
    pub lines: Lines,
}

/// The line of each field, by the path that [`pointer`] makes.
#[derive(Debug, Clone, Default)]
pub struct Lines(BTreeMap<String, usize>);

impl Lines {
    /// The line of the field, or of the nearest thing around it.
    pub fn of(&self, path: &str) -> Option<usize> {
        let mut path = path;
        loop {
            if let Some(line) = self.0.get(path) {
                return Some(*line);
            }
            path = &path[..path.rfind('/')?];
        }
    }
}

/// The path of a field below `parent`, as a JSON pointer (RFC 6901).
pub fn pointer(parent: &str, field: &str) -> String {
    format!("{parent}/{}", field.replace('~', "~0").replace('/', "~1"))
}

/// Something that is not YAML, or that kubectl would not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    pub line: usize,
    pub message: String,
}

/// What a tag of one exclamation mark means, as in `!Ref`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LocalTags {
    /// Nothing: kubectl leaves them out.
    Ignored,
    /// A function of CloudFormation: `!Sub x` is `{"Fn::Sub": "x"}`.
    Functions,
}

/// Reads all documents; empty ones are left out.
pub fn read(text: &str) -> Result<Vec<Document>, Vec<Fault>> {
    read_with(text, LocalTags::Ignored)
}

/// The same for templates of CloudFormation, whose functions may be written as tags: they come in their long form.
pub fn read_functions(text: &str) -> Result<Vec<Document>, Vec<Fault>> {
    read_with(text, LocalTags::Functions)
}

fn read_with(text: &str, tags: LocalTags) -> Result<Vec<Document>, Vec<Fault>> {
    let mut reader = Reader { parser: Parser::new_from_str(text), faults: Vec::new(), anchors: BTreeMap::new(), tags };
    match reader.documents() {
        Ok(documents) if reader.faults.is_empty() => Ok(documents),
        Ok(_) => Err(reader.faults),
        Err(fault) => {
            reader.faults.push(fault);
            Err(reader.faults)
        }
    }
}

/// How deep a document may nest: reading recurses.
const DEPTH: usize = 100;

struct Reader<'input> {
    parser: Parser<'input, saphyr_parser::StrInput<'input>>,
    faults: Vec<Fault>,
    anchors: BTreeMap<usize, Value>,
    tags: LocalTags,
}

impl<'input> Reader<'input> {
    fn next(&mut self) -> Result<(Event<'input>, usize), Fault> {
        match self.parser.next_event() {
            Some(Ok((event, span))) => Ok((event, span.start.line())),
            Some(Err(error)) => Err(Fault { line: error.marker().line(), message: error.info().to_owned() }),
            None => Ok((Event::StreamEnd, 0)),
        }
    }

    fn documents(&mut self) -> Result<Vec<Document>, Fault> {
        let mut documents = Vec::new();
        loop {
            match self.next()? {
                (Event::StreamEnd, _) => return Ok(documents),
                (Event::DocumentStart(_), _) => {
                    self.anchors.clear();
                    let (event, line) = self.next()?;
                    if event == Event::DocumentEnd {
                        continue;
                    }
                    let mut lines = Lines::default();
                    let value = self.node(event, line, "", &mut lines, 0)?;
                    if !value.is_null() {
                        documents.push(Document { value, line, lines });
                    }
                }
                _ => {}
            }
        }
    }

    fn node(
        &mut self,
        event: Event<'input>,
        line: usize,
        path: &str,
        lines: &mut Lines,
        depth: usize,
    ) -> Result<Value, Fault> {
        if depth > DEPTH {
            return Err(Fault { line, message: format!("nested more than {DEPTH} deep") });
        }
        lines.0.entry(path.to_owned()).or_insert(line);
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, tag) => match self.function(tag.as_ref()) {
                Some(function) => (anchor, wrap(Some(function), Value::String(text.into_owned()))),
                None => (anchor, scalar(&text, style, tag.as_ref())),
            },
            Event::SequenceStart(anchor, tag) => {
                let (inner, function) = self.inside(path, tag.as_ref());
                let value = self.sequence(&inner, lines, depth)?;
                (anchor, wrap(function, value))
            }
            Event::MappingStart(anchor, tag) => {
                let (inner, function) = self.inside(path, tag.as_ref());
                let value = self.mapping(&inner, lines, depth)?;
                (anchor, wrap(function, value))
            }
            Event::Alias(anchor) => {
                let anchored = self.anchors.get(&anchor).cloned();
                return anchored.ok_or_else(|| Fault { line, message: "an alias that refers to itself".to_owned() });
            }
            event => return Err(Fault { line, message: format!("unexpected {event:?}") }),
        };
        if anchor > 0 {
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    /// The function that a tag stands for, where tags are functions.
    fn function(&self, tag: Option<&Cow<'_, Tag>>) -> Option<String> {
        let tag = tag.filter(|tag| self.tags == LocalTags::Functions && tag.handle == "!")?;
        Some(match tag.suffix.as_str() {
            short @ ("Ref" | "Condition") => short.to_owned(),
            short => format!("Fn::{short}"),
        })
    }

    /// Where the fields of a node with this tag are, in the long form.
    fn inside(&self, path: &str, tag: Option<&Cow<'_, Tag>>) -> (String, Option<String>) {
        match self.function(tag) {
            Some(function) => (pointer(path, &function), Some(function)),
            None => (path.to_owned(), None),
        }
    }

    fn sequence(&mut self, path: &str, lines: &mut Lines, depth: usize) -> Result<Value, Fault> {
        let mut items = Vec::new();
        loop {
            let (event, line) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Value::Array(items));
            }
            let path = pointer(path, &items.len().to_string());
            items.push(self.node(event, line, &path, lines, depth + 1)?);
        }
    }

    fn mapping(&mut self, path: &str, lines: &mut Lines, depth: usize) -> Result<Value, Fault> {
        let mut fields = Map::new();
        let mut merged = Map::new();
        loop {
            let (event, line) = self.next()?;
            let name = match event {
                Event::MappingEnd => break,
                Event::Scalar(name, ..) => name,
                _ => return Err(Fault { line, message: "a key that is not plain text".to_owned() }),
            };
            let field = pointer(path, &name);
            if fields.contains_key(name.as_ref()) {
                self.faults.push(Fault { line, message: format!("`{name}` is given twice") });
            }
            lines.0.entry(field.clone()).or_insert(line);
            let (event, line) = self.next()?;
            let value = self.node(event, line, &field, lines, depth + 1)?;
            if name == "<<" {
                merge(&mut merged, value).map_err(|message| Fault { line, message })?;
            } else {
                fields.insert(name.into_owned(), value);
            }
        }
        for (name, value) in merged {
            fields.entry(name).or_insert(value);
        }
        Ok(Value::Object(fields))
    }
}

/// A function with its argument, or the argument alone.
fn wrap(function: Option<String>, argument: Value) -> Value {
    match function {
        Some(function) => Value::Object(Map::from_iter([(function, argument)])),
        None => argument,
    }
}

/// Takes in what `<<` names: one mapping, or several of which the first counts.
fn merge(into: &mut Map<String, Value>, from: Value) -> Result<(), String> {
    match from {
        Value::Object(fields) => {
            for (name, value) in fields {
                into.entry(name).or_insert(value);
            }
            Ok(())
        }
        Value::Array(several) => several.into_iter().try_for_each(|one| merge(into, one)),
        _ => Err("`<<` merges mappings only".to_owned()),
    }
}

fn scalar(text: &str, style: ScalarStyle, tag: Option<&Cow<'_, Tag>>) -> Value {
    let quoted = style != ScalarStyle::Plain;
    let is_text = tag.map_or(quoted, |tag| tag.suffix == "str" || quoted);
    if is_text { Value::String(text.to_owned()) } else { plain(text) }
}

/// What an unquoted scalar means, by the table of go-yaml v2.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => return Value::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    integer(text).or_else(|| float(text)).unwrap_or_else(|| Value::String(text.to_owned()))
}

fn integer(text: &str) -> Option<Value> {
    let digits = text.replace('_', "");
    let (negative, magnitude) = match digits.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, digits.strip_prefix('+').unwrap_or(&digits)),
    };
    if !magnitude.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let number = if let Some(hexadecimal) = magnitude.strip_prefix("0x") {
        i128::from_str_radix(hexadecimal, 16)
    } else if let Some(binary) = magnitude.strip_prefix("0b") {
        i128::from_str_radix(binary, 2)
    } else if let Some(octal) = magnitude.strip_prefix("0o") {
        i128::from_str_radix(octal, 8)
    } else if magnitude.len() > 1 && magnitude.starts_with('0') {
        i128::from_str_radix(magnitude, 8)
    } else {
        magnitude.parse()
    };
    let number = if negative { -number.ok()? } else { number.ok()? };
    Number::from_i128(number).map(Value::Number)
}

fn float(text: &str) -> Option<Value> {
    let numeric = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E');
    if !text.chars().all(numeric) || !text.contains(|c: char| c.is_ascii_digit()) {
        return None;
    }
    Number::from_f64(text.parse().ok()?).map(Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn one(text: &str) -> Document {
        read(text).expect("yaml").remove(0)
    }

    #[test]
    fn every_field_knows_its_line() {
        let document = one("# comment\nspec:\n  ports:\n    - port: 80\n      name: web\n  a/b: {c: 1}\n");
        assert_eq!(document.lines.of("/spec/ports/0/name"), Some(5));
        assert_eq!(document.lines.of("/spec/a~1b/c"), Some(6));
        assert_eq!(document.lines.of("/spec/ports/0/none/such"), Some(4), "the nearest thing around it");
        assert_eq!(document.line, 2);
    }

    #[test]
    fn documents_are_told_apart_and_empty_ones_left_out() {
        let documents = read("---\n# nothing\n---\na: 1\n---\nb: 2\n").expect("yaml");
        assert_eq!(documents.iter().map(|document| document.line).collect::<Vec<_>>(), [4, 6]);
    }

    #[test]
    fn unquoted_scalars_mean_what_they_mean_to_kubectl() {
        let document = one("[0644, 0x10, 1_000, yes, off, ~, '5432', 1.5, 15.0.1, 10 23 * * *, 089, !!str 7, -1, 1Gi]");
        let expected =
            json!([420, 16, 1000, true, false, null, "5432", 1.5, "15.0.1", "10 23 * * *", 89.0, "7", -1, "1Gi"]);
        assert_eq!(document.value, expected);
    }

    #[test]
    fn a_key_given_twice_is_a_fault_with_its_line() {
        let faults = read("a: 1\nb: 2\na: 3\n").expect_err("twice");
        assert_eq!(faults, [Fault { line: 3, message: "`a` is given twice".to_owned() }]);
    }

    #[test]
    fn anchors_and_merges_are_written_out() {
        let document = one("x: &env {a: 1, b: 2}\ny:\n  <<: *env\n  b: 3\n");
        assert_eq!(document.value["y"], json!({"a": 1, "b": 3}));
    }

    #[test]
    fn broken_yaml_names_its_line() {
        assert_eq!(read("a: 1\nb: [1, 2\nc: 3\n").expect_err("unclosed")[0].line, 3);
    }

    proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "[ -~\n]{0,80}") {
            let _ = read(&text);
        }

        #[test]
        fn json_is_read_as_json(a in "[^\\p{C}]*", b in any::<i64>(), c in any::<bool>()) {
            let value = json!({"a": a, "b": [b, c]});
            let text = value.to_string();
            prop_assert_eq!(&read(&text).expect("yaml")[0].value, &value);
        }
    }
}
