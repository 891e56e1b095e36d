//! Workloads, services and claims.

use serde_json::{Map, Value, json};

use super::{Errors, name, pod, resources, schedule};
use crate::cluster::go;
use crate::cluster::status::FieldError;

fn non_negative(spec: &Value, at: &str, fields: &[&str], errors: &mut Errors) {
    for field in fields.iter().filter(|field| spec[**field].as_i64().is_some_and(|number| number < 0)) {
        errors.push(FieldError::invalid(format!("{at}.{field}"), &spec[*field], "must be greater than or equal to 0"));
    }
}

/// Selector and template of a workload, which must fit together.
pub fn selected_template(kind: &str, spec: &Value, errors: &mut Errors) {
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
        errors.push(mismatch(labels));
    } else if is_empty("matchLabels") && is_empty("matchExpressions") {
        errors.push(FieldError::invalid("spec.selector", selector, &format!("empty selector is invalid for {kind}")));
    } else if !matches(selector, labels) {
        errors.push(mismatch(labels));
    }
    template(&spec["template"], "spec.template", errors);
    always(&spec["template"]["spec"], "spec.template.spec", errors);
}

fn mismatch(labels: &Value) -> FieldError {
    let why = "`selector` does not match template `labels`";
    FieldError::invalid_as_go("spec.template.metadata.labels", &go::string_map(labels), why)
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
    selected_template("deployment", spec, errors);
    let strategy = &spec["strategy"];
    if let Some(unknown) = strategy["type"].as_str().filter(|known| !["Recreate", "RollingUpdate"].contains(known)) {
        let shown =
            format!("apps.DeploymentStrategy{{Type:{unknown:?}, RollingUpdate:(*apps.RollingUpdateDeployment)(nil)}}");
        errors.push(FieldError::unsupported_as_go("spec.strategy", &shown, &["Recreate", "RollingUpdate"]));
    }
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
    selected_template("statefulset", &spec, errors);
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
        let field = format!("{at}.template.spec.restartPolicy");
        errors.push(FieldError::required(field, "valid values: \"OnFailure\", \"Never\""));
    }
}

/// Selector and labels of a job are the server's own, unless it is told otherwise.
pub fn job_selector(job: &Value, errors: &mut Errors) {
    let spec = &job["spec"];
    if spec["manualSelector"] == true {
        return;
    }
    let (uid, name) = (&job["metadata"]["uid"], &job["metadata"]["name"]);
    let labels = &spec["template"]["metadata"]["labels"];
    for (label, wanted) in [
        ("controller-uid", uid),
        ("job-name", name),
        ("batch.kubernetes.io/controller-uid", uid),
        ("batch.kubernetes.io/job-name", name),
    ] {
        let field = format!("spec.template.metadata.labels[{label}]");
        let why = format!("must be '{}'", wanted.as_str().unwrap_or_default());
        match &labels[label] {
            Value::Null => errors.push(FieldError::required(field, &why)),
            present if present != wanted => {
                errors.push(FieldError::invalid_as_go(field, &go::string_map(labels), &why));
            }
            _ => {}
        }
    }
    let generated = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}});
    if spec["selector"] != generated {
        errors.push(FieldError::invalid("spec.selector", &spec["selector"], "`selector` not auto-generated"));
    }
    if !matches(&spec["selector"], labels) {
        errors.push(mismatch(labels));
    }
}

pub fn cron_job(spec: &Value, errors: &mut Errors) {
    match spec["schedule"].as_str().unwrap_or_default() {
        "" => errors.push(FieldError::required("spec.schedule", "")),
        schedule => {
            if let Some(why) = schedule::problem(schedule) {
                errors.push(FieldError::invalid("spec.schedule", &json!(schedule), &why));
            }
        }
    }
    if let Some(zone) = spec["timeZone"].as_str().filter(|zone| jiff::tz::TimeZone::get(zone).is_err()) {
        errors.push(FieldError::invalid("spec.timeZone", &json!(zone), &format!("unknown time zone {zone}")));
    }
    pod::one_of(&spec["concurrencyPolicy"], "spec.concurrencyPolicy", &["Allow", "Forbid", "Replace"], errors);
    let limits = ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"];
    non_negative(spec, "spec", &limits, errors);
    job(&spec["jobTemplate"]["spec"], "spec.jobTemplate.spec", errors);
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
        if port["targetPort"].is_number() {
            pod::port_number(&port["targetPort"], &format!("{at}.targetPort"), errors);
        }
    }
    for (index, port) in ports.iter().enumerate() {
        let is_same = |other: &&Value| other["port"] == port["port"] && other["protocol"] == port["protocol"];
        if ports[..index].iter().any(is_same) {
            let shown = format!(
                "core.ServicePort{{Name:\"\", Protocol:{}, AppProtocol:(*string)(nil), Port:{}, \
                 TargetPort:intstr.IntOrString{{Type:0, IntVal:0, StrVal:\"\"}}, NodePort:0}}",
                port["protocol"], port["port"]
            );
            errors.push(FieldError::duplicate_as_go(format!("spec.ports[{index}]"), &shown));
        }
    }
}

/// The address that a service has been given is its own for good.
pub fn service_update(current: &Value, object: &Value, errors: &mut Errors) {
    let address = |service: &Value| service["spec"]["clusterIPs"][0].clone();
    let (before, after) = (address(current), address(object));
    if before.is_string() && before != after {
        let shown =
            go::string_list(object["spec"]["clusterIPs"].as_array().into_iter().flatten().filter_map(Value::as_str));
        errors.push(FieldError::invalid_as_go("spec.clusterIPs[0]", &shown, "may not change once set"));
    }
}

pub fn claim(spec: &Value, at: &str, errors: &mut Errors) {
    let modes = format!("{at}.accessModes");
    match spec["accessModes"].as_array() {
        Some(list) if !list.is_empty() => {
            let supported = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
            list.iter().for_each(|mode| pod::one_of(mode, &modes, &supported, errors));
        }
        _ => errors.push(FieldError::required(modes, "at least 1 access mode is required")),
    }
    let (size, field) = (&spec["resources"]["requests"]["storage"], format!("{at}.resources[storage]"));
    if size.is_null() {
        errors.push(FieldError::required(field, ""));
    } else if resources::amount(size).is_some_and(|size| size <= 0.0) {
        errors.push(FieldError::invalid(field, size, "must be greater than zero"));
    }
}

/// A claim's spec is fixed but for the size that it asks for, once it is bound.
pub fn claim_update(current: &Value, object: &Value, errors: &mut Errors) {
    let fixed = |claim: &Value| {
        let mut spec = claim["spec"].clone();
        spec["volumeName"] = Value::Null;
        if current["status"]["phase"] == "Bound" {
            spec["resources"] = Value::Null;
            spec["volumeAttributesClassName"] = Value::Null;
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
