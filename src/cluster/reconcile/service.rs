//! Service: its Endpoints are the ready pods that it selects.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::Context;
use super::object::{has_labels, is_finished, is_ready};
use crate::cluster::kind::{ENDPOINTS, POD, SERVICE};
use crate::cluster::store::{is_deleting, names};

pub fn reconcile(context: &Context, namespace: &str, name: &str) {
    let Some(service) = context.store.get(&SERVICE, namespace, name) else {
        return context.store.remove(&ENDPOINTS, namespace, name);
    };
    // Without a selector the Endpoints are somebody else's.
    let Some(selector) = service["spec"]["selector"].as_object().filter(|selector| !selector.is_empty()) else {
        return;
    };
    let (_, pods) = context.store.list(&POD, Some(namespace));
    let pods: Vec<_> = pods
        .into_iter()
        .filter(|pod| has_labels(selector, &pod["metadata"]["labels"]) && pod["status"]["podIP"].is_string())
        .filter(|pod| !is_finished(pod))
        .collect();
    write(context, &service, subsets(&service, &pods));
}

/// One subset per set of port numbers (a named target port may differ by pod).
fn subsets(service: &Value, pods: &[Arc<Value>]) -> Value {
    let publish_not_ready = service["spec"]["publishNotReadyAddresses"] == true;
    let mut by_ports: BTreeMap<String, (Value, Vec<Value>, Vec<Value>)> = BTreeMap::new();
    for pod in pods {
        // A pod that ends takes no new connections.
        if is_deleting(pod) && !publish_not_ready {
            continue;
        }
        let ports = ports(service, pod);
        let subset = by_ports.entry(ports.to_string()).or_insert((ports, Vec::new(), Vec::new()));
        let address = address(service, pod);
        if publish_not_ready || is_ready(pod) { subset.1.push(address) } else { subset.2.push(address) }
    }
    let subset = |(ports, ready, waiting): (Value, Vec<Value>, Vec<Value>)| {
        let mut subset = json!({});
        for (field, addresses) in [("addresses", ready), ("notReadyAddresses", waiting)] {
            if !addresses.is_empty() {
                subset[field] = json!(addresses);
            }
        }
        subset["ports"] = ports;
        subset
    };
    by_ports.into_values().map(subset).collect()
}

fn address(service: &Value, pod: &Value) -> Value {
    let (namespace, name) = names(pod);
    let mut address = json!({
        "ip": pod["status"]["podIP"],
        "nodeName": pod["spec"]["nodeName"],
        "targetRef": {"kind": "Pod", "namespace": namespace, "name": name, "uid": pod["metadata"]["uid"]},
    });
    if pod["spec"]["hostname"].is_string() && pod["spec"]["subdomain"] == service["metadata"]["name"] {
        address["hostname"] = pod["spec"]["hostname"].clone();
    }
    address
}

fn ports(service: &Value, pod: &Value) -> Value {
    let resolve = |port: &Value| {
        let number = match &port["targetPort"] {
            Value::String(name) => named_port(pod, name)?,
            Value::Number(_) => port["targetPort"].as_i64()?,
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => port["port"].as_i64()?,
        };
        let mut resolved = json!({"port": number, "protocol": port["protocol"].as_str().unwrap_or("TCP")});
        if port["name"].is_string() {
            resolved["name"] = port["name"].clone();
        }
        Some(resolved)
    };
    service["spec"]["ports"].as_array().into_iter().flatten().filter_map(resolve).collect()
}

fn named_port(pod: &Value, name: &str) -> Option<i64> {
    let containers = pod["spec"]["containers"].as_array()?.iter();
    let mut ports = containers.flat_map(|container| container["ports"].as_array().into_iter().flatten());
    ports.find(|port| port["name"] == name)?["containerPort"].as_i64()
}

fn write(context: &Context, service: &Value, subsets: Value) {
    let (namespace, name) = names(service);
    let store = &context.store;
    let metadata = json!({"name": name, "namespace": namespace, "labels": service["metadata"]["labels"]});
    if store.get(&ENDPOINTS, &namespace, &name).is_none() {
        let made = super::object::create(store, &ENDPOINTS, json!({"metadata": metadata, "subsets": subsets}));
        if let Err(error) = made {
            tracing::debug!(%error, %namespace, %name, "endpoints not made");
        }
        return;
    }
    if let Err(error) = store.modify(&ENDPOINTS, &namespace, &name, |endpoints| endpoints["subsets"] = subsets.clone())
    {
        tracing::debug!(%error, %namespace, %name, "endpoints not written");
    }
}
