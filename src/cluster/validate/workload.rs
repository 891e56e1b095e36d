//! Workloads, services and claims.

use serde_json::{Map, Value, json};

use super::{Errors, name, pod};
use crate::cluster::status::FieldError;

fn non_negative(spec: &Value, at: &str, fields: &[&str], errors: &mut Errors) {
    for field in fields.iter().filter(|field| spec[**field].as_i64().is_some_and(|number| number < 0)) {
        errors.push(FieldError::invalid(format!("{at}.{field}"), &spec[*field], "must be greater than or equal to 0"));
    }
}

/// Selector and template of a workload, which must fit together.
pub fn selected_template(spec: &Value, errors: &mut Errors) {
    non_negative(spec, "spec", &["replicas", "minReadySeconds", "revisionHistoryLimit"], errors);
    let selector = &spec["selector"];
    let labels = &spec["template"]["metadata"]["labels"];
    let is_empty = |part: &str| match &selector[part] {
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => true,
    };
    if selector.is_null() {
        errors.push(FieldError::required("spec.selector", ""));
    } else if is_empty("matchLabels") && is_empty("matchExpressions") {
        errors.push(FieldError::invalid("spec.selector", selector, "empty selector is invalid for deployment"));
    } else if !matches(selector, labels) {
        let labels = if labels.is_null() { json!({}) } else { labels.clone() };
        let why = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid("spec.template.metadata.labels", &labels, why));
    }
    template(&spec["template"], "spec.template", errors);
    always(&spec["template"]["spec"], "spec.template.spec", errors);
}

fn template(template: &Value, at: &str, errors: &mut Errors) {
    name::labels(&template["metadata"]["labels"], &format!("{at}.labels"), errors);
    pod::spec(&template["spec"], &format!("{at}.spec"), errors);
}

fn always(spec: &Value, at: &str, errors: &mut Errors) {
    if spec["restartPolicy"].as_str().is_some_and(|policy| policy != "Always") {
        errors.push(FieldError::unsupported(format!("{at}.restartPolicy"), &spec["restartPolicy"], &["Always"]));
    }
}

fn matches(selector: &Value, labels: &Value) -> bool {
    let all =
        selector["matchLabels"].as_object().into_iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    let expressions = selector["matchExpressions"].as_array().into_iter().flatten();
    all && expressions.into_iter().all(|expression| {
        let label = labels.get(expression["key"].as_str().unwrap_or_default());
        let listed =
            || expression["values"].as_array().is_some_and(|values| label.is_some_and(|label| values.contains(label)));
        match expression["operator"].as_str() {
            Some("In") => listed(),
            Some("NotIn") => !listed(),
            Some("Exists") => label.is_some(),
            Some("DoesNotExist") => label.is_none(),
            _ => false,
        }
    })
}

pub fn deployment(spec: &Value, errors: &mut Errors) {
    selected_template(spec, errors);
    let strategy = &spec["strategy"];
    pod::one_of(&strategy["type"], "spec.strategy.type", &["Recreate", "RollingUpdate"], errors);
    if strategy["type"] == "Recreate" && strategy["rollingUpdate"].is_object() {
        let why = "may not be specified when strategy `type` is 'Recreate'";
        errors.push(FieldError::forbidden("spec.strategy.rollingUpdate", why));
    }
}

pub fn stateful_set(spec: &Value, errors: &mut Errors) {
    selected_template_of_set(spec, errors);
    let claims = spec["volumeClaimTemplates"].as_array().into_iter().flatten();
    for (index, one) in claims.enumerate() {
        claim(&one["spec"], &format!("spec.volumeClaimTemplates[{index}].spec"), errors);
    }
}

/// A StatefulSet's pods may mount its claim templates, which are no volumes of the template.
fn selected_template_of_set(spec: &Value, errors: &mut Errors) {
    let mut spec = spec.clone();
    let claims: Vec<Value> = spec["volumeClaimTemplates"].as_array().cloned().unwrap_or_default();
    let volumes = &mut spec["template"]["spec"]["volumes"];
    let mut all = volumes.as_array().cloned().unwrap_or_default();
    for claim in claims {
        all.retain(|volume| volume["name"] != claim["metadata"]["name"]);
        all.push(json!({"name": claim["metadata"]["name"], "persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}}));
    }
    *volumes = json!(all);
    selected_template(&spec, errors);
}

/// Everything but a few fields of a StatefulSet's spec stays as it was made.
pub fn stateful_set_update(current: &Value, object: &Value, errors: &mut Errors) {
    let free = [
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    let fixed = |set: &Value| -> Map<String, Value> {
        let fields = set["spec"].as_object().into_iter().flatten();
        fields
            .filter(|(field, _)| !free.contains(&field.as_str()))
            .map(|(field, value)| (field.clone(), value.clone()))
            .collect()
    };
    if fixed(current) != fixed(object) {
        errors.push(FieldError::forbidden(
            "spec",
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', \
             'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        ));
    }
}

pub fn job(spec: &Value, at: &str, errors: &mut Errors) {
    let counts = ["parallelism", "completions", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"];
    non_negative(spec, at, &counts, errors);
    template(&spec["template"], &format!("{at}.template"), errors);
    let policy = &spec["template"]["spec"]["restartPolicy"];
    if !["OnFailure", "Never"].contains(&policy.as_str().unwrap_or_default()) {
        // The server's own words have "valid values", unlike those of other lists.
        let message = format!("Required value: valid values: {:?}, {:?}", "OnFailure", "Never");
        let unset = policy.as_str().unwrap_or_default().is_empty();
        let field = format!("{at}.template.spec.restartPolicy");
        errors.push(match unset {
            true => FieldError { reason: "FieldValueRequired", field, message },
            false => FieldError::unsupported(field, policy, &["OnFailure", "Never"]),
        });
    }
}

pub fn cron_job(spec: &Value, errors: &mut Errors) {
    match spec["schedule"].as_str().unwrap_or_default() {
        "" => errors.push(FieldError::required("spec.schedule", "")),
        schedule => {
            if let Some(why) = schedule_problem(schedule) {
                errors.push(FieldError::invalid("spec.schedule", &json!(schedule), &why));
            }
        }
    }
    pod::one_of(&spec["concurrencyPolicy"], "spec.concurrencyPolicy", &["Allow", "Forbid", "Replace"], errors);
    let limits = ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"];
    non_negative(spec, "spec", &limits, errors);
    job(&spec["jobTemplate"]["spec"], "spec.jobTemplate.spec", errors);
}

/// Why a cron schedule cannot be read. Ranges are checked by field count and characters only.
fn schedule_problem(schedule: &str) -> Option<String> {
    if let Some(word) = schedule.strip_prefix('@') {
        let known = ["yearly", "annually", "monthly", "weekly", "daily", "midnight", "hourly"].contains(&word);
        return (!known && !word.starts_with("every ")).then(|| format!("unrecognized descriptor: {schedule}"));
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != 5 {
        let count = fields.len();
        return Some(format!("expected exactly 5 fields, found {count}: [{}]", fields.join(" ")));
    }
    let is_part = |c: char| c.is_ascii_alphanumeric() || "*/,-?".contains(c);
    let odd = fields.into_iter().find(|field| !field.chars().all(is_part))?;
    Some(format!("failed to parse int from {odd}: strconv.Atoi: parsing {odd:?}: invalid syntax"))
}

pub fn service(spec: &Value, errors: &mut Errors) {
    pod::one_of(&spec["type"], "spec.type", &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"], errors);
    let ports: Vec<&Value> = spec["ports"].as_array().into_iter().flatten().collect();
    let is_headless = spec["clusterIP"] == "None";
    if spec["type"] == "ExternalName" {
        if spec["externalName"].as_str().unwrap_or_default().is_empty() {
            errors.push(FieldError::required("spec.externalName", ""));
        }
    } else if ports.is_empty() && !is_headless {
        errors.push(FieldError::required("spec.ports", ""));
    }
    for (index, port) in ports.iter().enumerate() {
        let at = format!("spec.ports[{index}]");
        pod::port_number(&port["port"], &format!("{at}.port"), errors);
        let name = port["name"].as_str().unwrap_or_default();
        if ports.len() > 1 && name.is_empty() {
            errors.push(FieldError::required(format!("{at}.name"), ""));
        }
        if !name.is_empty() && ports[..index].iter().any(|other| other["name"] == name) {
            errors.push(FieldError::duplicate(format!("{at}.name"), &port["name"]));
        }
        pod::one_of(&port["protocol"], &format!("{at}.protocol"), &["SCTP", "TCP", "UDP"], errors);
    }
}

pub fn claim(spec: &Value, at: &str, errors: &mut Errors) {
    let modes = format!("{at}.accessModes");
    match spec["accessModes"].as_array() {
        Some(list) if !list.is_empty() => {
            let supported = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
            for (index, mode) in list.iter().enumerate() {
                pod::one_of(mode, &format!("{modes}[{index}]"), &supported, errors);
            }
        }
        _ => errors.push(FieldError::required(modes, "at least 1 access mode is required")),
    }
    if spec["resources"]["requests"]["storage"].is_null() {
        errors.push(FieldError::required(format!("{at}.resources[storage]"), ""));
    }
}

/// A claim's spec is fixed but for the size that it asks for.
pub fn claim_update(current: &Value, object: &Value, errors: &mut Errors) {
    let fixed = |claim: &Value| {
        let mut spec = claim["spec"].clone();
        for field in ["resources", "volumeName", "volumeAttributesClassName"] {
            spec[field] = Value::Null;
        }
        spec
    };
    if fixed(current) != fixed(object) {
        errors.push(FieldError::forbidden(
            "spec",
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims",
        ));
    }
}
