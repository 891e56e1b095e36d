//! CloudFormation's functions, worked out: what a template says once its parameters have values.

use std::collections::BTreeMap;

use regex::Regex;
use serde_json::{Map, Value};

use super::identity::{ACCOUNT, Identity};
use super::properties::{Reader, text_of};
use crate::problem::suggestion;
use crate::system::yaml::pointer;

/// What functions may refer to.
pub(super) struct Scope<'t> {
    pub reader: &'t Reader<'t>,
    pub identity: &'t Identity,
    pub parameters: &'t BTreeMap<String, String>,
    /// Types of the resources, by logical name.
    pub resources: BTreeMap<&'t str, &'t str>,
    pub mappings: &'t Value,
    pub conditions: &'t Value,
}

const FUNCTIONS: [&str; 8] =
    ["Ref", "Fn::Sub", "Fn::GetAtt", "Fn::Join", "Fn::Select", "Fn::Split", "Fn::If", "Fn::FindInMap"];

/// How deep conditions may refer to one another: one that refers to itself has no value.
const DEPTH: usize = 20;

impl Scope<'_> {
    /// The value with every function in it worked out. `None`: there is none, or a function failed, which is a problem by then.
    pub fn value(&self, value: &Value, path: &str) -> Option<Value> {
        match value {
            Value::Object(fields) => match single(fields).filter(|(name, _)| is_function(name)) {
                Some((name, argument)) => self.function(name, argument, &pointer(path, name)),
                None => {
                    let mut found = Map::new();
                    for (name, value) in fields {
                        if let Some(value) = self.value(value, &pointer(path, name)) {
                            found.insert(name.clone(), value);
                        }
                    }
                    Some(Value::Object(found))
                }
            },
            Value::Array(items) => {
                let items = items.iter().enumerate();
                let found = items.filter_map(|(index, item)| self.value(item, &pointer(path, &index.to_string())));
                Some(Value::Array(found.collect()))
            }
            Value::String(text) if text.contains("{{resolve:") => {
                self.reader.refuse(path, "a dynamic reference cannot be honoured: make it a parameter with NoEcho")
            }
            plain => Some(plain.clone()),
        }
    }

    fn function(&self, name: &str, argument: &Value, path: &str) -> Option<Value> {
        match name {
            "Ref" => self.reference(&self.text(argument, path)?, path),
            "Fn::Sub" => self.substitute(argument, path),
            "Fn::GetAtt" => self.attribute(argument, path),
            "Fn::Join" => {
                let (separator, parts) = self.pair(argument, path)?;
                let parts = self.texts(&parts, path)?;
                Some(Value::String(parts.join(&text_of(&separator)?)))
            }
            "Fn::Split" => {
                let (separator, text) = self.pair(argument, path)?;
                let (separator, text) = (text_of(&separator)?, text_of(&text)?);
                Some(Value::Array(text.split(separator.as_str()).map(Value::from).collect()))
            }
            "Fn::Select" => {
                let (index, list) = self.pair(argument, path)?;
                let found = text_of(&index).and_then(|index| list.get(index.parse::<usize>().ok()?));
                found
                    .cloned()
                    .or_else(|| self.reader.refuse(path, "Fn::Select finds nothing at this place of the list"))
            }
            "Fn::If" => match argument.as_array().map(Vec::as_slice) {
                Some([name, yes, no]) => {
                    let (chosen, index) =
                        if self.condition(&text_of(name)?, path, 0)? { (yes, "1") } else { (no, "2") };
                    self.value(chosen, &pointer(path, index))
                }
                _ => self.reader.refuse(path, "Fn::If takes a condition and two values"),
            },
            "Fn::FindInMap" => {
                let keys = self.texts(&self.value(argument, path)?, path)?;
                let found = keys.iter().try_fold(self.mappings, |map, key| map.get(key));
                found
                    .filter(|_| keys.len() == 3)
                    .cloned()
                    .or_else(|| self.reader.refuse(path, format!("no mapping leads to {}", keys.join("/"))))
            }
            other => {
                let known = FUNCTIONS.join(", ");
                self.reader.refuse(path, format!("`{other}` means nothing here: write the value (there are: {known})"))
            }
        }
    }

    fn reference(&self, name: &str, path: &str) -> Option<Value> {
        if let Some(value) = self.parameters.get(name) {
            return Some(Value::String(value.clone()));
        }
        if let Some(kind) = self.resources.get(name) {
            return Some(Value::String(self.identity.of_resource(name, kind)));
        }
        let pseudo = match name {
            "AWS::Region" => &self.identity.region,
            "AWS::StackName" => &self.identity.stack,
            "AWS::AccountId" => ACCOUNT,
            "AWS::Partition" => "aws",
            "AWS::URLSuffix" => "amazonaws.com",
            "AWS::NoValue" => return None,
            _ => {
                let known = self.parameters.keys().map(String::as_str).chain(self.resources.keys().copied());
                let hint = suggestion(name, known);
                return self.reader.refuse(path, format!("no parameter and no resource is called `{name}`{hint}"));
            }
        };
        Some(Value::String(pseudo.to_owned()))
    }

    fn substitute(&self, argument: &Value, path: &str) -> Option<Value> {
        let (template, own) = match argument {
            Value::Array(items) if items.len() == 2 => {
                (text_of(&items[0]), self.value(&items[1], &pointer(path, "1"))?)
            }
            other => (text_of(other), Value::Null),
        };
        let Some(template) = template else { return self.reader.refuse(path, "Fn::Sub takes a text") };
        let place = Regex::new(r"\$\{(!?)([^}]*)\}").expect("a valid expression");
        let mut text = String::new();
        let mut end = 0;
        for found in place.captures_iter(&template) {
            let (whole, name) = (found.get(0)?, found.get(2)?.as_str().trim());
            text.push_str(&template[end..whole.start()]);
            end = whole.end();
            if !found[1].is_empty() {
                text.push_str(&format!("${{{name}}}"));
                continue;
            }
            let value = match own.get(name) {
                Some(value) => value.clone(),
                None if name.contains('.') => self.attribute(&Value::from(name), path)?,
                None => self.reference(name, path)?,
            };
            text.push_str(&text_of(&value)?);
        }
        text.push_str(&template[end..]);
        Some(Value::String(text))
    }

    /// `Name.Attribute`, or a list of the two.
    fn attribute(&self, argument: &Value, path: &str) -> Option<Value> {
        let parts = match argument {
            Value::Array(parts) => parts.iter().map(text_of).collect::<Option<Vec<_>>>(),
            other => text_of(other).and_then(|text| {
                let (name, attribute) = text.split_once('.')?;
                Some(vec![name.to_owned(), attribute.to_owned()])
            }),
        };
        let Some([name, attribute]) = parts.as_deref() else {
            return self.reader.refuse(path, "Fn::GetAtt takes a resource and one of its attributes");
        };
        let Some(kind) = self.resources.get(name.as_str()) else {
            let hint = suggestion(name, self.resources.keys().copied());
            return self.reader.refuse(path, format!("no resource is called `{name}`{hint}"));
        };
        match self.identity.attribute(name, kind, attribute) {
            Some(value) => Some(Value::String(value)),
            None => self.reader.refuse(path, format!("`{attribute}` of {kind} `{name}` is not known here")),
        }
    }

    /// Whether a condition holds.
    pub fn condition(&self, name: &str, path: &str, depth: usize) -> Option<bool> {
        match self.conditions.get(name) {
            Some(condition) if depth < DEPTH => self.holds(condition, &pointer("/Conditions", name), depth + 1),
            Some(_) => self.reader.refuse(path, format!("condition `{name}` refers to itself")),
            None => self.reader.refuse(path, format!("no condition is called `{name}`")),
        }
    }

    fn holds(&self, condition: &Value, path: &str, depth: usize) -> Option<bool> {
        let known = condition.as_object().and_then(single);
        let several = |argument: &Value| -> Option<Vec<bool>> {
            argument.as_array()?.iter().map(|one| self.holds(one, path, depth)).collect()
        };
        match known {
            Some(("Condition", name)) => self.condition(&text_of(name)?, path, depth),
            Some(("Fn::Equals", argument)) => {
                self.pair(argument, path).map(|(one, other)| text_of(&one) == text_of(&other))
            }
            Some(("Fn::Not", argument)) => several(argument).map(|all| !all.contains(&true)),
            Some(("Fn::And", argument)) => several(argument).map(|all| !all.contains(&false)),
            Some(("Fn::Or", argument)) => several(argument).map(|all| all.contains(&true)),
            _ => self.reader.refuse(path, "a condition is Fn::Equals, Fn::Not, Fn::And, Fn::Or or Condition"),
        }
    }

    fn text(&self, argument: &Value, path: &str) -> Option<String> {
        text_of(argument).or_else(|| self.reader.refuse(path, "a name is needed here"))
    }

    fn pair(&self, argument: &Value, path: &str) -> Option<(Value, Value)> {
        match self.value(argument, path)? {
            Value::Array(mut items) if items.len() == 2 => {
                let second = items.pop()?;
                Some((items.pop()?, second))
            }
            _ => self.reader.refuse(path, "this function takes a list of two"),
        }
    }

    fn texts(&self, list: &Value, path: &str) -> Option<Vec<String>> {
        let texts = list.as_array().and_then(|items| items.iter().map(text_of).collect());
        texts.or_else(|| self.reader.refuse(path, "a list of texts is needed here"))
    }
}

fn single(fields: &Map<String, Value>) -> Option<(&str, &Value)> {
    let mut fields = fields.iter();
    let (name, value) = fields.next()?;
    fields.next().is_none().then_some((name.as_str(), value))
}

fn is_function(name: &str) -> bool {
    name == "Ref" || name.starts_with("Fn::")
}
