//! A team's Kubernetes manifests, read as strictly as an API server reads them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine;
use k8s_openapi::api::{apps::v1 as apps, batch::v1 as batch, core::v1 as core};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::yaml::{self, pointer};
use super::{Object, System, reference};
use crate::cluster::kind::{self, KINDS, Kind};
use crate::outcome::SourceRef;
use crate::problem::{Problem, Problems, did_you_mean};
use crate::redact::Secret;

impl System {
    /// Reads files, and in folders every `.yaml`, `.yml` and `.json` by name. All that is wrong with them is told at once, in
    /// the order of files and lines; where they refer to what is not there, `dangling` says.
    pub fn read(paths: &[PathBuf]) -> Result<Self, Problems> {
        let mut problems = Problems::default();
        let mut objects = Vec::new();
        for file in files(paths, &mut problems) {
            match std::fs::read_to_string(&file) {
                Ok(text) => read_file(&file.display().to_string(), &text, &mut objects, &mut problems),
                Err(error) => problems.push(Problem::of_file(&file, format!("cannot be read: {error}"))),
            }
        }
        if objects.is_empty() && problems.is_empty() {
            let first = paths.first().map_or(Path::new(""), PathBuf::as_path);
            problems.push(Problem::of_file(first, "no manifests here: name a folder that holds .yaml files"));
        }
        Self::of_objects(objects, problems)
    }

    /// In the order in which they are applied; one that is there twice is one more problem.
    pub(super) fn of_objects(mut objects: Vec<Object>, mut problems: Problems) -> Result<Self, Problems> {
        problems.extend(duplicates(&objects));
        objects.sort_by_key(|object: &Object| rank(object.kind));
        problems.or(Some(Self { objects, stack: None }))
    }

    /// Every reference between the objects that leads nowhere.
    pub fn dangling(&self) -> Vec<Problem> {
        reference::dangling(self)
    }
}

fn files(paths: &[PathBuf], problems: &mut Problems) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for path in paths {
        if !path.is_dir() {
            files.push(path.clone());
            continue;
        }
        match manifests_in(path) {
            Ok(found) => files.extend(found),
            Err(error) => problems.push(Problem::of_file(path, format!("cannot be read: {error}"))),
        }
    }
    files
}

fn manifests_in(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        if path.is_file() && matches!(extension, Some("yaml" | "yml" | "json")) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

pub(super) fn read_file(file: &str, text: &str, objects: &mut Vec<Object>, problems: &mut Problems) {
    match yaml::read(text) {
        Ok(documents) => {
            for document in documents {
                match read_document(file, document) {
                    Ok(object) => objects.push(object),
                    Err(found) => problems.extend(found),
                }
            }
        }
        Err(faults) => problems.extend(faults.into_iter().map(|fault| Problem::at(file, fault.line, fault.message))),
    }
}

fn read_document(file: &str, document: yaml::Document) -> Result<Object, Vec<Problem>> {
    let yaml::Document { value, line, lines } = document;
    let at = |path: &str, message: String| Problem::at(file, lines.of(path).unwrap_or(line), message);
    let kind = kind_of(&value).map_err(|(path, message)| vec![at(path, message)])?;

    let mut problems: Vec<Problem> =
        check_shape(kind, &value).into_iter().map(|(path, message)| at(&path, message)).collect();
    let name = value["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    if name.is_empty() {
        problems.push(at("/metadata", format!("this {} has no metadata.name", kind.kind)));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let namespace = match value["metadata"]["namespace"].as_str() {
        _ if !kind.namespaced => String::new(),
        None | Some("") => "default".to_owned(),
        Some(namespace) => namespace.to_owned(),
    };
    let source = SourceRef { file: file.to_owned(), line };
    Ok(Object { kind, namespace, name, value, source, lines })
}

/// The kind that a document says it is, or the path of the field at fault.
fn kind_of(value: &Value) -> Result<&'static Kind, (&'static str, String)> {
    if !value.is_object() {
        return Err(("", "not a Kubernetes object".to_owned()));
    }
    let field = |name: &'static str| value[name].as_str().ok_or_else(|| ("", format!("no `{name}`")));
    let (api_version, name) = (field("apiVersion")?, field("kind")?);
    if let Some(kind) = kind::of_manifest(api_version, name) {
        return Ok(kind);
    }
    if let Some(kind) = KINDS.iter().find(|kind| kind.kind == name) {
        let served = kind.api_version();
        return Err(("/apiVersion", format!("no {name} in `{api_version}`: it is served in `{served}`")));
    }
    let hint = did_you_mean(name, KINDS.iter().map(|kind| kind.kind));
    Err((
        "/kind",
        format!("unknown kind `{name}`{hint}: redrill has no such thing, leave it out of the drilled manifests"),
    ))
}

/// What is wrong with the fields of an object: (path, message).
fn check_shape(kind: &Kind, value: &Value) -> Vec<(String, String)> {
    let check = match kind.kind {
        "Namespace" => strict::<core::Namespace>,
        "Node" => strict::<core::Node>,
        "Pod" => strict::<core::Pod>,
        "Service" => strict::<core::Service>,
        "Endpoints" => strict::<core::Endpoints>,
        "Secret" => strict::<core::Secret>,
        "ConfigMap" => strict::<core::ConfigMap>,
        "ServiceAccount" => strict::<core::ServiceAccount>,
        "Event" => strict::<core::Event>,
        "PersistentVolumeClaim" => strict::<core::PersistentVolumeClaim>,
        "Deployment" => strict::<apps::Deployment>,
        "ReplicaSet" => strict::<apps::ReplicaSet>,
        "StatefulSet" => strict::<apps::StatefulSet>,
        "Job" => strict::<batch::Job>,
        "CronJob" => strict::<batch::CronJob>,
        other => return vec![("/kind".to_owned(), format!("no schema for `{other}`"))],
    };
    check(value)
}

/// Reads `value` as a `T` and back: what has a wrong type is told with its path, and so is what got lost on the way, which no
/// field of `T` stands for.
fn strict<T: DeserializeOwned + Serialize>(value: &Value) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    let mut rest = value.clone();
    loop {
        match serde_path_to_error::deserialize::<_, T>(&rest) {
            Ok(typed) => {
                let back = serde_json::to_value(typed).unwrap_or_default();
                lost(&rest, &back, "", &mut problems);
                return problems;
            }
            Err(error) => {
                let path = path_of(error.path());
                // The value may be a secret, and serde's message quotes it.
                let message = expectation(&error.into_inner().to_string());
                let seen = problems.iter().any(|(known, _)| *known == path);
                let removed = !seen && remove(&mut rest, &path);
                problems.push((path, message));
                if !removed {
                    return problems;
                }
            }
        }
    }
}

/// `invalid type: string "x", expected i32` without what stands there.
fn expectation(message: &str) -> String {
    match message.split_once("expected ") {
        Some((_, expected)) => format!("wrong type: expected {expected}"),
        // Of all that manifests hold, only bytes are decoded while they are read.
        None => "not base64 (plain text goes into stringData)".to_owned(),
    }
}

fn path_of(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    path.iter().fold(String::new(), |parent, segment| match segment {
        Segment::Seq { index } => pointer(&parent, &index.to_string()),
        Segment::Map { key } => pointer(&parent, key),
        Segment::Enum { variant } => pointer(&parent, variant),
        Segment::Unknown => parent,
    })
}

/// Takes a field out, so that reading goes on behind it. False when there is no such field.
fn remove(value: &mut Value, path: &str) -> bool {
    let Some((parent, field)) = path.rsplit_once('/') else { return false };
    let field = field.replace("~1", "/").replace("~0", "~");
    match value.pointer_mut(parent) {
        Some(Value::Object(fields)) => fields.shift_remove(&field).is_some(),
        Some(Value::Array(items)) => match field.parse::<usize>() {
            Ok(index) if index < items.len() => {
                // The place stays, or the lines of those behind it would move.
                items[index] = Value::Null;
                true
            }
            _ => false,
        },
        _ => false,
    }
}

fn lost(given: &Value, back: &Value, path: &str, problems: &mut Vec<(String, String)>) {
    match (given, back) {
        (Value::Object(given), Value::Object(back)) => {
            for (name, value) in given {
                let path = pointer(path, name);
                match back.get(name) {
                    Some(back) => lost(value, back, &path, problems),
                    // What is empty means nothing.
                    None if value.is_null() => {}
                    None => {
                        let hint = did_you_mean(name, back.keys().map(String::as_str));
                        problems.push((path, format!("unknown field `{name}`{hint}")));
                    }
                }
            }
        }
        (Value::Array(given), Value::Array(back)) => {
            for (index, (given, back)) in given.iter().zip(back).enumerate() {
                lost(given, back, &pointer(path, &index.to_string()), problems);
            }
        }
        _ => {}
    }
}

/// The values of a Secret by key, `None` for those that are not text.
pub(super) fn secret_values(secret: &Value) -> BTreeMap<String, Option<Secret>> {
    let mut values = BTreeMap::new();
    for (key, value) in secret["data"].as_object().into_iter().flatten() {
        // Reading has refused what is not base64.
        let decoded = base64::engine::general_purpose::STANDARD.decode(value.as_str().unwrap_or_default());
        let text = decoded.ok().and_then(|bytes| String::from_utf8(bytes).ok());
        values.insert(key.clone(), text.map(Secret::new));
    }
    for (key, value) in secret["stringData"].as_object().into_iter().flatten() {
        values.insert(key.clone(), value.as_str().map(Secret::new));
    }
    values
}

fn duplicates(objects: &[Object]) -> Vec<Problem> {
    let mut first: BTreeMap<(&str, &str, &str), &Object> = BTreeMap::new();
    let mut problems = Vec::new();
    for object in objects {
        match first.entry((object.kind.kind, &object.namespace, &object.name)) {
            std::collections::btree_map::Entry::Vacant(place) => drop(place.insert(object)),
            std::collections::btree_map::Entry::Occupied(place) => {
                let message = format!("{} `{}` is already in {}", object.kind.kind, object.name, place.get().source);
                problems.push(object.problem("/metadata/name", message));
            }
        }
    }
    problems
}

/// When it is applied: what others refer to comes before them.
fn rank(kind: &Kind) -> usize {
    const ORDER: [&Kind; 8] = [
        &kind::NAMESPACE,
        &kind::NODE,
        &kind::SERVICE_ACCOUNT,
        &kind::CONFIG_MAP,
        &kind::SECRET,
        &kind::CLAIM,
        &kind::SERVICE,
        &kind::ENDPOINTS,
    ];
    ORDER.iter().position(|earlier| *earlier == kind).unwrap_or(ORDER.len())
}

#[cfg(test)]
mod tests;
