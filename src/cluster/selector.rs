//! Label and field selectors, as list and watch take them.

use serde_json::Value;

use super::kind::Kind;
use super::store::ApiError;

#[derive(Debug, Clone, PartialEq, Eq)]
enum Requirement {
    In(String, Vec<String>),
    NotIn(String, Vec<String>),
    Exists(String),
    Absent(String),
}

/// What list, watch and deletecollection narrow objects by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selector {
    labels: Vec<Requirement>,
    /// Path, wanted value, whether it must differ.
    fields: Vec<(String, String, bool)>,
}

impl Selector {
    /// Reads `labelSelector` and `fieldSelector`.
    pub fn parse(kind: &Kind, labels: &str, fields: &str) -> Result<Self, ApiError> {
        let mut requirements = Vec::new();
        for term in split_outside_parentheses(labels) {
            requirements.push(label_requirement(term).ok_or_else(|| {
                ApiError::bad_request(format!("unable to parse requirement: {term:?} in label selector {labels:?}"))
            })?);
        }
        let mut wanted = Vec::new();
        for term in fields.split(',').filter(|term| !term.is_empty()) {
            let (path, value, differs) = field_term(term).ok_or_else(|| {
                ApiError::bad_request(format!("invalid selector: '{term}'; can't understand '{term}'"))
            })?;
            if !is_selectable(kind, path) {
                return Err(ApiError::bad_request(match own_fields(kind) {
                    [] => format!(
                        "{path:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
                    ),
                    _ => format!("field label not supported: {path}"),
                }));
            }
            wanted.push((path.to_owned(), value.to_owned(), differs));
        }
        Ok(Self { labels: requirements, fields: wanted })
    }

    pub fn matches(&self, object: &Value) -> bool {
        let label = |key: &str| object["metadata"]["labels"].get(key).and_then(Value::as_str);
        self.labels.iter().all(|requirement| match requirement {
            Requirement::In(key, values) => label(key).is_some_and(|value| values.iter().any(|one| one == value)),
            Requirement::NotIn(key, values) => label(key).is_none_or(|value| values.iter().all(|one| one != value)),
            Requirement::Exists(key) => label(key).is_some(),
            Requirement::Absent(key) => label(key).is_none(),
        }) && self.fields.iter().all(|(path, wanted, differs)| (field(object, path) == *wanted) != *differs)
    }
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let (mut terms, mut depth, mut start) = (Vec::new(), 0, 0);
    for (at, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                terms.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(text[start..].trim());
    terms.retain(|term| !term.is_empty());
    terms
}

fn label_requirement(term: &str) -> Option<Requirement> {
    let key = |text: &str| {
        let text = text.trim();
        let is_key = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
        is_key.then(|| text.to_owned())
    };
    let value = |text: &str| {
        let text = text.trim();
        text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c)).then(|| text.to_owned())
    };
    if let Some((left, right)) = term.split_once("!=") {
        return Some(Requirement::NotIn(key(left)?, vec![value(right)?]));
    }
    if let Some((left, right)) = term.split_once("==").or_else(|| term.split_once('=')) {
        return Some(Requirement::In(key(left)?, vec![value(right)?]));
    }
    if let Some(body) = term.strip_suffix(')') {
        let (head, values) = body.split_once('(')?;
        let values = values.split(',').map(|value| value.trim().to_owned()).collect();
        let mut words = head.split_whitespace();
        let name = key(words.next()?)?;
        return match (words.next()?, words.next()) {
            ("in", None) => Some(Requirement::In(name, values)),
            ("notin", None) => Some(Requirement::NotIn(name, values)),
            _ => None,
        };
    }
    match term.strip_prefix('!') {
        Some(absent) => Some(Requirement::Absent(key(absent)?)),
        None => Some(Requirement::Exists(key(term)?)),
    }
}

fn field_term(term: &str) -> Option<(&str, &str, bool)> {
    if let Some((path, value)) = term.split_once("!=") {
        return Some((path, value, true));
    }
    let (path, value) = term.split_once("==").or_else(|| term.split_once('='))?;
    Some((path, value, false))
}

fn is_selectable(kind: &Kind, path: &str) -> bool {
    ["metadata.name", "metadata.namespace"].contains(&path) || own_fields(kind).contains(&path)
}

/// The fields by which only this kind can be selected.
fn own_fields(kind: &Kind) -> &'static [&'static str] {
    match kind.kind {
        "Pod" => &[
            "spec.nodeName",
            "spec.restartPolicy",
            "spec.schedulerName",
            "spec.serviceAccountName",
            "spec.hostNetwork",
            "status.phase",
            "status.podIP",
            "status.nominatedNodeName",
        ],
        "Event" => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        "Secret" => &["type"],
        "Namespace" => &["status.phase"],
        "Node" => &["spec.unschedulable"],
        "Job" => &["status.successful"],
        "ReplicaSet" => &["status.replicas"],
        "Service" => &["spec.clusterIP", "spec.type"],
        _ => &[],
    }
}

fn field(object: &Value, path: &str) -> String {
    match path.split('.').try_fold(object, |value, step| value.get(step)) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::kind;
    use serde_json::json;

    fn selects(labels: &str, fields: &str) -> bool {
        let pod = json!({"metadata": {"name": "web", "labels": {"app": "web", "tier": "front"}},
            "status": {"phase": "Running"}});
        Selector::parse(&kind::POD, labels, fields).unwrap().matches(&pod)
    }

    #[test]
    fn every_form_of_a_label_selector_is_understood() {
        for holds in
            ["", "app=web", "app==web,tier!=back", "app in (api, web),tier", "!gone", "tier notin (back)", "x!=y"]
        {
            assert!(selects(holds, ""), "{holds}");
        }
        for fails in ["app=api", "app!=web", "gone", "!app", "app notin (web)", "tier in (back)"] {
            assert!(!selects(fails, ""), "{fails}");
        }
    }

    #[test]
    fn field_selectors_compare_paths_and_unknown_ones_are_refused() {
        assert!(selects("", "metadata.name=web,status.phase!=Failed"));
        assert!(!selects("", "metadata.name=api"));
        let error = Selector::parse(&kind::POD, "", "spec.colour=red").unwrap_err();
        assert_eq!(error.message, "field label not supported: spec.colour");
    }

    #[test]
    fn a_selector_that_cannot_be_parsed_is_refused() {
        assert!(Selector::parse(&kind::POD, "app in web", "").is_err());
        assert!(Selector::parse(&kind::POD, "", "metadata.name").is_err());
    }
}
