//! What an API server accepts and warns of.

use std::collections::BTreeSet;

use serde_json::Value;

/// Warnings of an object that is written: variables of a container that hide others of the same name.
pub fn warnings(object: &Value) -> Vec<String> {
    let spec = &object["spec"];
    let (pod, at) = match () {
        () if spec["jobTemplate"].is_object() => {
            (&spec["jobTemplate"]["spec"]["template"]["spec"], "spec.jobTemplate.spec.template.spec")
        }
        () if spec["template"].is_object() => (&spec["template"]["spec"], "spec.template.spec"),
        () => (spec, "spec"),
    };
    let mut warnings = Vec::new();
    for field in ["initContainers", "containers"] {
        for (index, container) in pod[field].as_array().into_iter().flatten().enumerate() {
            hidden(container, &format!("{at}.{field}[{index}]"), &mut warnings);
        }
    }
    warnings
}

fn hidden(container: &Value, at: &str, warnings: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for (index, variable) in container["env"].as_array().into_iter().flatten().enumerate() {
        let Some(name) = variable["name"].as_str() else { continue };
        if !seen.insert(name) {
            warnings.push(format!(
                "{at}.env[{index}]: hides previous definition of {name:?}, which may be dropped when using apply"
            ));
        }
    }
}
