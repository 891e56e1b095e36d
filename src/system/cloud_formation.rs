//! A system that is a CloudFormation template: an ECS service whose tasks have their data on EFS, and what AWS Backup does with it.
//!
//! The same reader serves a scenario before anything starts and the endpoint inside the environment that an operator sends
//! templates to. What cannot be honoured is a problem with its line, all of them at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::{System, yaml};
use crate::outcome::SourceRef;
use crate::problem::{Problem, Problems, suggestion};

mod backup;
mod function;
mod identity;
pub mod object;
mod properties;
mod resource;
mod service;
mod task;

pub use backup::{Plan, Vault};
pub use identity::{ACCOUNT, Identity};
pub use service::Service;
pub use task::{Container, HealthCheck, Mount, Port, TaskDefinition, Volume, VolumeSource};

use properties::{Reader, text_of};

/// Where a stack's template is and what it is told.
#[derive(Debug, Clone, PartialEq)]
pub struct StackSource {
    pub template: PathBuf,
    pub stack: String,
    pub region: String,
    /// Where its file systems and tasks are, as claims and pods.
    pub namespace: String,
}

/// A file system, which is a claim here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSystem {
    /// `fs-…`
    pub id: String,
    /// Of its tags; its logical name where it has none.
    pub name: String,
    pub claim: String,
    pub source: SourceRef,
}

/// A template with the values of its parameters worked in.
#[derive(Clone, PartialEq)]
pub struct Stack {
    pub identity: Identity,
    /// Names of all parameters, and whether their values are secrets.
    pub parameters: BTreeMap<String, bool>,
    /// Their values. Holds secrets: never printed.
    pub given: BTreeMap<String, String>,
    /// By logical name.
    pub file_systems: BTreeMap<String, FileSystem>,
    /// Names of clusters, by logical name.
    pub clusters: BTreeMap<String, String>,
    pub tasks: BTreeMap<String, TaskDefinition>,
    pub services: BTreeMap<String, Service>,
    pub vaults: BTreeMap<String, Vault>,
    pub plans: BTreeMap<String, Plan>,
    /// Type and properties of everything, by logical name. Holds secrets: never printed.
    pub resources: BTreeMap<String, (String, Value)>,
    /// Where each image is named.
    pub images: BTreeMap<String, Vec<SourceRef>>,
}

/// What a reader is told of the values of parameters.
#[derive(Debug, Clone, Copy)]
pub enum Values<'a> {
    /// There are values by these names; what they are is not known before a drill runs.
    Named(&'a [String]),
    Known(&'a BTreeMap<String, String>),
}

/// In place of a value that is not known yet; nothing that names or counts things may come from one.
const UNKNOWN: &str = "(known when a drill runs)";

impl std::fmt::Debug for Stack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "stack {} with {} resources", self.identity.stack, self.resources.len())
    }
}

impl Stack {
    /// Reads a template. `file` is how problems name it.
    pub fn read(file: &str, text: &str, identity: Identity, values: Values<'_>) -> Result<Self, Problems> {
        let document = one_document(file, text)?;
        let reader = Reader::new(file, &document.lines);
        let stack = stack(&reader, &document.value, identity, values);
        reader.into_problems().or(stack)
    }

    /// Whether updating to `other` changes nothing.
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.resources == other.resources
    }

    /// Roles are made only for who says so.
    pub fn needs_capability(&self) -> bool {
        self.resources.values().any(|(kind, _)| kind.starts_with("AWS::IAM::"))
    }
}

impl System {
    /// The objects that a stack stands for on a cluster: a namespace, a claim for each file system, a Service for each service.
    /// Its tasks become pods when the endpoint starts them.
    pub fn of_stack(source: &StackSource, parameters: &[String]) -> Result<Self, Problems> {
        let stack = read_file(source, Values::Named(parameters))?;
        Ok(Self { objects: object::objects(&stack, source), stack: Some(Box::new(stack)) })
    }
}

fn read_file(source: &StackSource, values: Values<'_>) -> Result<Stack, Problems> {
    let file = source.template.display().to_string();
    let text = std::fs::read_to_string(&source.template).map_err(|error| unreadable(&source.template, &error))?;
    let identity = Identity { stack: source.stack.clone(), region: source.region.clone() };
    Stack::read(&file, &text, identity, values)
}

fn unreadable(file: &Path, error: &std::io::Error) -> Problem {
    Problem::of_file(file, format!("cannot be read: {error}"))
}

fn one_document(file: &str, text: &str) -> Result<yaml::Document, Problems> {
    let faults = |faults: Vec<yaml::Fault>| {
        faults.into_iter().map(|fault| Problem::at(file, fault.line, fault.message)).collect::<Problems>()
    };
    let mut documents = yaml::read_functions(text).map_err(faults)?;
    match documents.pop() {
        Some(document) if documents.is_empty() => Ok(document),
        _ => Err(Problem::at(file, 1, "a template is one YAML document").into()),
    }
}

const SECTIONS: [&str; 7] =
    ["AWSTemplateFormatVersion", "Description", "Metadata", "Parameters", "Mappings", "Conditions", "Resources"];

fn stack(reader: &Reader<'_>, template: &Value, identity: Identity, values: Values<'_>) -> Option<Stack> {
    let Some(sections) = template.as_object() else { return reader.refuse("", "a template is a mapping") };
    for name in sections.keys().filter(|name| !SECTIONS.contains(&name.as_str()) && *name != "Outputs") {
        let hint = suggestion(name, SECTIONS);
        reader.problem(&yaml::pointer("", name), format!("section `{name}` cannot be honoured{hint}"));
    }
    let nothing = Value::Object(Map::new());
    let section = |name: &str| sections.get(name).filter(|section| section.is_object()).unwrap_or(&nothing);
    let (given, secrets) = parameters(reader, section("Parameters"), values);
    if let Values::Named(names) = values {
        for name in names.iter().filter(|name| !secrets.contains_key(*name)) {
            let hint = suggestion(name, secrets.keys().map(String::as_str));
            let message = format!("there is no parameter `{name}`{hint}: take it out of the scenario's `parameters`");
            reader.problem("/Parameters", message);
        }
    }
    let declared = section("Resources").as_object()?;
    if declared.is_empty() {
        return reader.refuse("", "a template needs `Resources`");
    }
    let kinds = declared.iter().filter_map(|(name, resource)| Some((name.as_str(), resource["Type"].as_str()?)));
    let scope = function::Scope {
        reader,
        identity: &identity,
        parameters: &given,
        resources: kinds.collect(),
        mappings: section("Mappings"),
        conditions: section("Conditions"),
    };
    let resources = resource::evaluated(&scope, declared);
    let mut stack = Stack {
        identity: identity.clone(),
        parameters: secrets,
        given: given.clone(),
        file_systems: BTreeMap::new(),
        clusters: BTreeMap::new(),
        tasks: BTreeMap::new(),
        services: BTreeMap::new(),
        vaults: BTreeMap::new(),
        plans: BTreeMap::new(),
        images: BTreeMap::new(),
        resources,
    };
    resource::read(reader, &mut stack);
    Some(stack)
}

/// The value of each parameter, and which of them are secrets.
fn parameters(
    reader: &Reader<'_>,
    section: &Value,
    values: Values<'_>,
) -> (BTreeMap<String, String>, BTreeMap<String, bool>) {
    let (mut found, mut secrets) = (BTreeMap::new(), BTreeMap::new());
    for (name, parameter) in section.as_object().into_iter().flatten() {
        let path = yaml::pointer("/Parameters", name);
        let mut fields = reader.properties(parameter, &path);
        let kind = fields.need("Type");
        if !matches!(kind.as_str(), "String" | "Number") && !kind.starts_with("AWS::EC2::") {
            fields.problem("Type", format!("`{kind}` cannot be honoured: make it a String or a Number"));
        }
        let default = fields.text("Default");
        let is_secret = fields.truth("NoEcho") == Some(true);
        fields.without_effect(&["Description", "ConstraintDescription", "AllowedPattern", "MinLength", "MaxLength"]);
        let allowed = fields.value("AllowedValues").and_then(Value::as_array).cloned().unwrap_or_default();
        fields.close();
        secrets.insert(name.clone(), is_secret);
        let value = match values {
            Values::Known(known) => known.get(name).cloned(),
            Values::Named(names) => names.contains(name).then(|| UNKNOWN.to_owned()),
        };
        match value.or(default) {
            Some(value) => {
                let allows = allowed.iter().filter_map(text_of).any(|allowed| allowed == value);
                if !allowed.is_empty() && !allows && value != UNKNOWN {
                    reader.problem(&path, format!("the value of parameter `{name}` is none of its AllowedValues"));
                }
                found.insert(name.clone(), value);
            }
            None => {
                // So that what refers to it is no second problem.
                found.insert(name.clone(), UNKNOWN.to_owned());
                reader.problem(&path, format!("parameter `{name}` has neither a value nor a Default: give it one"));
            }
        }
    }
    (found, secrets)
}

#[cfg(test)]
mod tests;
