//! Specs of pods.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Errors, name, resources};
use crate::cluster::status::FieldError;

fn list<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = (usize, &'a Value)> {
    object[field].as_array().into_iter().flatten().enumerate()
}

/// A pod's spec at the path `at`.
pub fn spec(spec: &Value, at: &str, errors: &mut Errors) {
    let volumes = volumes(spec, at, errors);
    if list(spec, "containers").next().is_none() {
        errors.push(FieldError::required(format!("{at}.containers"), ""));
    }
    let mut seen = BTreeSet::new();
    for field in ["containers", "initContainers"] {
        for (index, one) in list(spec, field) {
            let at = format!("{at}.{field}[{index}]");
            let container_name = one["name"].as_str().unwrap_or_default();
            required_label(container_name, &format!("{at}.name"), errors);
            if !container_name.is_empty() && !seen.insert(container_name) {
                errors.push(FieldError::duplicate(format!("{at}.name"), &one["name"]));
            }
            container(one, &at, &volumes, errors);
        }
    }
    one_of(&spec["restartPolicy"], &format!("{at}.restartPolicy"), &["Always", "OnFailure", "Never"], errors);
    one_of(
        &spec["dnsPolicy"],
        &format!("{at}.dnsPolicy"),
        &["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"],
        errors,
    );
    names(spec, at, errors);
    if spec["terminationGracePeriodSeconds"].as_i64().is_some_and(|seconds| seconds < 0) {
        let field = format!("{at}.terminationGracePeriodSeconds");
        errors.push(FieldError::invalid(
            field,
            &spec["terminationGracePeriodSeconds"],
            "must be greater than or equal to 0",
        ));
    }
}

/// Most that a pod may have, as an API server has it.
const NAME_SERVERS: usize = 3;

/// What a pod asks for names. Beside its cluster's own a pod has no others here.
fn names(spec: &Value, at: &str, errors: &mut Errors) {
    let (config, at) = (&spec["dnsConfig"], format!("{at}.dnsConfig"));
    let is_own = spec["dnsPolicy"] == "None";
    if is_own && !config.is_object() {
        errors.push(FieldError::required(&at, "must provide `dnsConfig` when `dnsPolicy` is None"));
        return;
    }
    if !is_own {
        if config.as_object().is_some_and(|config| !config.is_empty()) {
            errors.push(FieldError::forbidden(at, "redrill has it with the `dnsPolicy` None alone"));
        }
        return;
    }
    let servers = list(config, "nameservers").count();
    let field = format!("{at}.nameservers");
    if servers == 0 {
        errors.push(FieldError::required(&field, "must provide at least one DNS nameserver when `dnsPolicy` is None"));
    } else if servers > NAME_SERVERS {
        errors.push(FieldError::invalid(&field, &config["nameservers"], "must not have more than 3 nameservers"));
    }
    for (index, server) in list(config, "nameservers") {
        if server.as_str().and_then(|server| server.parse::<std::net::IpAddr>().ok()).is_none() {
            errors.push(FieldError::invalid(format!("{field}[{index}]"), server, "must be valid IP address"));
        }
    }
    for (index, search) in list(config, "searches") {
        let text = search.as_str().unwrap_or_default();
        if let Some(why) = name::subdomain(text.strip_suffix('.').unwrap_or(text)) {
            errors.push(FieldError::invalid(format!("{at}.searches[{index}]"), search, &why));
        }
    }
    for (index, option) in list(config, "options") {
        if option["name"].as_str().unwrap_or_default().is_empty() {
            errors.push(FieldError::required(format!("{at}.options[{index}]"), "must not be empty"));
        }
    }
}

fn required_label(text: &str, field: &str, errors: &mut Errors) {
    if text.is_empty() {
        errors.push(FieldError::required(field, ""));
    } else if let Some(why) = name::label(text) {
        errors.push(FieldError::invalid(field, &json!(text), &why));
    }
}

pub fn one_of(value: &Value, field: &str, supported: &[&str], errors: &mut Errors) {
    if value.as_str().is_some_and(|text| !supported.contains(&text)) {
        errors.push(FieldError::unsupported(field, value, supported));
    }
}

fn volumes<'a>(spec: &'a Value, at: &str, errors: &mut Errors) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    for (index, volume) in list(spec, "volumes") {
        let at = format!("{at}.volumes[{index}]");
        let volume_name = volume["name"].as_str().unwrap_or_default();
        required_label(volume_name, &format!("{at}.name"), errors);
        if !volume_name.is_empty() && !names.insert(volume_name) {
            errors.push(FieldError::duplicate(format!("{at}.name"), &volume["name"]));
        }
        let sources: Vec<_> =
            volume.as_object().into_iter().flatten().map(|(key, _)| key).filter(|key| *key != "name").collect();
        match sources.as_slice() {
            [] => errors.push(FieldError::required(&at, "must specify a volume type")),
            [_] => {}
            [_, more @ ..] => {
                for source in more {
                    errors.push(FieldError::forbidden(
                        format!("{at}.{source}"),
                        "may not specify more than 1 volume type",
                    ));
                }
            }
        }
        for (source, field) in [("secret", "secretName"), ("persistentVolumeClaim", "claimName"), ("configMap", "name")]
        {
            if volume[source].is_object() && volume[source][field].as_str().unwrap_or_default().is_empty() {
                errors.push(FieldError::required(format!("{at}.{source}.{field}"), ""));
            }
        }
    }
    names
}

fn container(container: &Value, at: &str, volumes: &BTreeSet<&str>, errors: &mut Errors) {
    if container["image"].as_str().unwrap_or_default().trim().is_empty() {
        errors.push(FieldError::required(format!("{at}.image"), ""));
    }
    one_of(
        &container["imagePullPolicy"],
        &format!("{at}.imagePullPolicy"),
        &["Always", "IfNotPresent", "Never"],
        errors,
    );
    ports(container, at, errors);
    environment(container, at, errors);
    resources::container(&container["resources"], &format!("{at}.resources"), errors);
    let mut paths = BTreeSet::new();
    for (index, mount) in list(container, "volumeMounts") {
        let at = format!("{at}.volumeMounts[{index}]");
        match mount["name"].as_str().unwrap_or_default() {
            "" => errors.push(FieldError::required(format!("{at}.name"), "")),
            volume if !volumes.contains(volume) => {
                errors.push(FieldError::not_found(format!("{at}.name"), &mount["name"]))
            }
            _ => {}
        }
        match mount["mountPath"].as_str().unwrap_or_default() {
            "" => errors.push(FieldError::required(format!("{at}.mountPath"), "")),
            path if !paths.insert(path) => {
                errors.push(FieldError::invalid(format!("{at}.mountPath"), &mount["mountPath"], "must be unique"));
            }
            _ => {}
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if container[probe].is_object() {
            check_probe(&container[probe], &format!("{at}.{probe}"), errors);
        }
    }
}

fn ports(container: &Value, at: &str, errors: &mut Errors) {
    let mut names = BTreeSet::new();
    for (index, port) in list(container, "ports") {
        let at = format!("{at}.ports[{index}]");
        if let Some(port_name) = port["name"].as_str().filter(|port_name| !port_name.is_empty()) {
            let problems = name::port(port_name);
            if problems.is_empty() && !names.insert(port_name) {
                errors.push(FieldError::duplicate(format!("{at}.name"), &port["name"]));
            }
            let invalid = |why: &&str| FieldError::invalid(format!("{at}.name"), &port["name"], why);
            errors.extend(problems.iter().map(invalid));
        }
        match port["containerPort"].as_i64() {
            None | Some(0) => errors.push(FieldError::required(format!("{at}.containerPort"), "")),
            Some(_) => port_number(&port["containerPort"], &format!("{at}.containerPort"), errors),
        }
        one_of(&port["protocol"], &format!("{at}.protocol"), &["SCTP", "TCP", "UDP"], errors);
    }
}

pub fn port_number(port: &Value, field: &str, errors: &mut Errors) {
    match port.as_i64().unwrap_or(0) {
        0 if port.is_null() => errors.push(FieldError::required(field, "")),
        1..=65_535 => {}
        _ => errors.push(FieldError::invalid(field, port, "must be between 1 and 65535, inclusive")),
    }
}

fn environment(container: &Value, at: &str, errors: &mut Errors) {
    for (index, variable) in list(container, "env") {
        let at = format!("{at}.env[{index}]");
        match variable["name"].as_str().unwrap_or_default() {
            "" => errors.push(FieldError::required(format!("{at}.name"), "")),
            variable_name => {
                if let Some(why) = name::environment(variable_name) {
                    errors.push(FieldError::invalid(format!("{at}.name"), &variable["name"], &why));
                }
            }
        }
        let Some(from) = variable["valueFrom"].as_object() else { continue };
        let why = match from.len() {
            _ if variable["value"].as_str().is_some_and(|value| !value.is_empty()) => {
                "may not be specified when `value` is not empty"
            }
            0 => "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`",
            1 => "",
            _ => "may not have more than one field specified at a time",
        };
        if !why.is_empty() {
            errors.push(FieldError::invalid(format!("{at}.valueFrom"), &json!(""), why));
        }
        for source in ["secretKeyRef", "configMapKeyRef"] {
            if let Some(reference) = from.get(source) {
                if reference["key"].as_str().unwrap_or_default().is_empty() {
                    errors.push(FieldError::required(format!("{at}.valueFrom.{source}.key"), ""));
                }
                let referred = reference["name"].as_str().unwrap_or_default();
                if let Some(why) = name::subdomain(referred) {
                    errors.push(FieldError::invalid(format!("{at}.valueFrom.{source}.name"), &json!(referred), &why));
                }
            }
        }
    }
}

fn check_probe(probe: &Value, at: &str, errors: &mut Errors) {
    let mut handlers = ["exec", "httpGet", "tcpSocket", "grpc"].iter().filter(|handler| probe[**handler].is_object());
    if handlers.next().is_none() {
        errors.push(FieldError::required(at, "must specify a handler type"));
    }
    for more in handlers {
        errors.push(FieldError::forbidden(format!("{at}.{more}"), "may not specify more than 1 handler type"));
    }
    let is_liveness = !at.ends_with("readinessProbe");
    if is_liveness && probe["successThreshold"].as_i64().is_some_and(|threshold| threshold != 1) {
        errors.push(FieldError::invalid(format!("{at}.successThreshold"), &probe["successThreshold"], "must be 1"));
    }
}

/// Of a pod's spec only images and the time to live may change.
pub fn update(current: &Value, object: &Value, errors: &mut Errors) {
    let comparable = |pod: &Value| {
        let mut spec = pod["spec"].clone();
        for field in ["containers", "initContainers"] {
            spec[field].as_array_mut().into_iter().flatten().for_each(|container| container["image"] = Value::Null);
        }
        for field in ["activeDeadlineSeconds", "terminationGracePeriodSeconds", "tolerations", "nodeName"] {
            spec[field] = Value::Null;
        }
        spec
    };
    if comparable(current) != comparable(object) {
        errors.push(FieldError::forbidden(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,\
             `spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
             `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(policy: &str, config: Value) -> Vec<String> {
        let mut errors = Errors::default();
        names(&json!({"dnsPolicy": policy, "dnsConfig": config}), "spec", &mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn name_servers_are_a_pod_s_own_or_none() {
        let config = json!({"nameservers": ["10.1.2.3"], "searches": ["taiga.svc.cluster.local", "cluster.local."],
            "options": [{"name": "ndots", "value": "5"}]});
        assert_eq!(found("None", config.clone()), [""; 0]);
        assert_eq!(found("ClusterFirst", Value::Null), [""; 0]);
        assert_eq!(found("ClusterFirst", json!({})), [""; 0]);
        let refused = found("ClusterFirst", config);
        assert!(refused.len() == 1 && refused[0].starts_with("spec.dnsConfig: Forbidden"), "{refused:?}");
        for wrong in [
            Value::Null,
            json!({}),
            json!({"nameservers": ["ns.example"]}),
            json!({"nameservers": ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"]}),
            json!({"nameservers": ["10.0.0.1"], "searches": ["a b"]}),
            json!({"nameservers": ["10.0.0.1"], "options": [{"value": "5"}]}),
        ] {
            assert_eq!(found("None", wrong.clone()).len(), 1, "{wrong}");
        }
    }
}
