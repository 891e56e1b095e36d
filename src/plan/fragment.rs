//! Whether a live object holds what a fragment shows.

use serde_json::Value;

/// A fragment or an answer that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum FragmentError {
    #[error("the fragment is not YAML")]
    Fragment(#[source] serde_yaml_ng::Error),
    #[error("what the command printed is not one JSON object")]
    Answer(#[source] serde_json::Error),
}

/// What of the fragment is not in the object, as `path: why`; empty if all of it is. `answer` is what the command of a
/// `Compare` step printed.
pub fn missing(fragment: &str, answer: &str) -> Result<Vec<String>, FragmentError> {
    let fragment: Value = serde_yaml_ng::from_str(fragment).map_err(FragmentError::Fragment)?;
    let live: Value = serde_json::from_str(answer).map_err(FragmentError::Answer)?;
    let kind = live.get("kind").and_then(Value::as_str).unwrap_or("object").to_owned();
    let mut found = Vec::new();
    compare("", &fragment, &live, &mut found);
    Ok(found.into_iter().map(|difference| format!("{difference} in the {kind}")).collect())
}

fn compare(path: &str, fragment: &Value, live: &Value, found: &mut Vec<String>) {
    match (fragment, live) {
        (Value::Object(wanted), Value::Object(there)) => {
            for (key, wanted) in wanted {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                match there.get(key) {
                    Some(there) => compare(&path, wanted, there, found),
                    None => found.push(format!("{path}: nothing there")),
                }
            }
        }
        (Value::Array(wanted), Value::Array(there)) => {
            for (index, wanted) in wanted.iter().enumerate() {
                compare_element(path, index, wanted, there, found);
            }
        }
        (wanted, there) if wanted == there => {}
        (wanted, there) => found.push(format!("{path}: {wanted} on the page, {there}")),
    }
}

/// Elements with a `name` are told by it, as Kubernetes merges them; others have to be somewhere in the list.
fn compare_element(path: &str, index: usize, wanted: &Value, there: &[Value], found: &mut Vec<String>) {
    let Some(name) = wanted.get("name") else {
        let holds = |candidate: &&Value| {
            let mut differences = Vec::new();
            compare(path, wanted, candidate, &mut differences);
            differences.is_empty()
        };
        if there.iter().find(holds).is_none() {
            found.push(format!("{path}[{index}]: nothing there like it"));
        }
        return;
    };
    let label = format!("{path}[{}]", name.as_str().unwrap_or("?"));
    match there.iter().find(|candidate| candidate.get("name") == Some(name)) {
        Some(there) => compare(&label, wanted, there, found),
        None => found.push(format!("{label}: nothing there")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIVE: &str = r#"{"kind": "Deployment", "metadata": {"name": "b", "uid": "1"}, "spec": {"replicas": 0, "template":
        {"spec": {"containers": [{"name": "side"}, {"name": "app", "env": [{"name": "A", "value": "1"}], "args": ["x"]}]}}}}"#;

    #[test]
    fn a_fragment_that_is_part_of_the_object_misses_nothing() {
        let fragment = "spec:\n  template:\n    spec:\n      containers:\n      - name: app\n        env:\n        - name: A\n          value: '1'\n        args: [x]\n";
        assert_eq!(missing(fragment, LIVE).unwrap(), [""; 0]);
    }

    #[test]
    fn what_is_absent_or_differs_is_named_by_its_path() {
        let fragment = "spec:\n  spec: {}\n  replicas: 1\n  template:\n    spec:\n      containers:\n      - name: app\n        args: [y]\n      - name: other\n";
        assert_eq!(
            missing(fragment, LIVE).unwrap(),
            [
                "spec.spec: nothing there in the Deployment",
                "spec.replicas: 1 on the page, 0 in the Deployment",
                "spec.template.spec.containers[app].args[0]: nothing there like it in the Deployment",
                "spec.template.spec.containers[other]: nothing there in the Deployment",
            ]
        );
    }

    #[test]
    fn an_answer_that_is_no_json_is_an_error_and_no_difference() {
        assert!(matches!(missing("a: 1", "Error from server"), Err(FragmentError::Answer(_))));
        assert!(matches!(missing("a: [", "{}"), Err(FragmentError::Fragment(_))));
    }
}
