//! Discovery: which kinds there are, in the aggregated form (two requests) and in the older one (a request per group).

use serde_json::{Value, json};

use super::kind::{KINDS, Kind};

/// Verbs that every served kind has.
const VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// The groups besides the core, in a stable order.
fn groups() -> Vec<&'static str> {
    let mut groups: Vec<_> = KINDS.iter().map(|kind| kind.group).filter(|group| !group.is_empty()).collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

/// Subresources of a kind, with the kind and verbs that each answers.
pub fn subresources(kind: &Kind) -> Vec<(&'static str, &'static str, &'static [&'static str])> {
    let mut found = Vec::new();
    if has_status(kind) {
        found.push(("status", kind.kind, &["get", "patch", "update"][..]));
    }
    if has_scale(kind) {
        found.push(("scale", "Scale", &["get", "patch", "update"][..]));
    }
    if kind.kind == "Pod" {
        found.push(("exec", "PodExecOptions", &["create", "get"][..]));
        found.push(("log", "Pod", &["get"][..]));
    }
    found
}

pub fn has_status(kind: &Kind) -> bool {
    !["Secret", "ConfigMap", "ServiceAccount", "Event", "Endpoints"].contains(&kind.kind)
}

pub fn has_scale(kind: &Kind) -> bool {
    ["Deployment", "ReplicaSet", "StatefulSet"].contains(&kind.kind)
}

fn categories(kind: &Kind) -> &'static [&'static str] {
    let in_all = ["Pod", "Service", "Deployment", "ReplicaSet", "StatefulSet", "Job", "CronJob"];
    if in_all.contains(&kind.kind) { &["all"] } else { &[] }
}

/// `APIGroupDiscoveryList` of the core (`/api`) or of all groups (`/apis`); `version` is the form's own, `v2` or `v2beta1`.
pub fn aggregated(core: bool, version: &str) -> Value {
    let groups = if core { vec![""] } else { groups() };
    let items: Vec<_> = groups.into_iter().map(aggregated_group).collect();
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {}, "items": items})
}

fn aggregated_group(group: &str) -> Value {
    let resources: Vec<_> = KINDS.iter().filter(|kind| kind.group == group).map(|kind| aggregated_kind(kind)).collect();
    let metadata = if group.is_empty() { json!({"creationTimestamp": null}) } else { json!({"name": group}) };
    json!({"metadata": metadata, "versions": [{"version": "v1", "freshness": "Current", "resources": resources}]})
}

fn aggregated_kind(kind: &Kind) -> Value {
    let scope = if kind.namespaced { "Namespaced" } else { "Cluster" };
    let mut resource = json!({
        "resource": kind.plural, "responseKind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "scope": scope, "singularResource": kind.singular, "verbs": VERBS,
    });
    if !kind.short.is_empty() {
        resource["shortNames"] = json!(kind.short);
    }
    if !categories(kind).is_empty() {
        resource["categories"] = json!(categories(kind));
    }
    let below: Vec<_> = subresources(kind)
        .into_iter()
        .map(|(name, answers, verbs)| {
            json!({"subresource": name, "verbs": verbs, "responseKind": response_kind(kind, answers)})
        })
        .collect();
    if !below.is_empty() {
        resource["subresources"] = json!(below);
    }
    resource
}

fn response_kind(kind: &Kind, answers: &str) -> Value {
    match answers {
        "Scale" => json!({"group": "autoscaling", "version": "v1", "kind": "Scale"}),
        answers => json!({"group": kind.group, "version": kind.version, "kind": answers}),
    }
}

/// `APIVersions` (`/api`).
pub fn core_versions() -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
}

/// `APIGroupList` (`/apis`).
pub fn group_list() -> Value {
    let groups: Vec<_> = groups().into_iter().map(group_entry).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `APIGroup` (`/apis/apps`).
pub fn group(name: &str) -> Option<Value> {
    let name = groups().into_iter().find(|group| *group == name)?;
    let mut group = group_entry(name);
    group["kind"] = json!("APIGroup");
    group["apiVersion"] = json!("v1");
    Some(group)
}

fn group_entry(name: &str) -> Value {
    let version = json!({"groupVersion": format!("{name}/v1"), "version": "v1"});
    json!({"name": name, "versions": [version], "preferredVersion": version})
}

/// `APIResourceList` of one group version (`/api/v1`, `/apis/apps/v1`).
pub fn resource_list(group: &str, version: &str) -> Option<Value> {
    let kinds: Vec<_> = KINDS.iter().filter(|kind| kind.group == group && kind.version == version).collect();
    let api_version = kinds.first()?.api_version();
    let mut resources = Vec::new();
    for kind in kinds {
        resources.push(json!({"name": kind.plural, "singularName": kind.singular, "namespaced": kind.namespaced,
            "kind": kind.kind, "verbs": VERBS, "shortNames": kind.short, "categories": categories(kind)}));
        for (name, answers, verbs) in subresources(kind) {
            resources.push(json!({"name": format!("{}/{name}", kind.plural), "singularName": "",
                "namespaced": kind.namespaced, "kind": answers, "verbs": verbs}));
        }
    }
    Some(json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": resources}))
}

/// The state of the tree that a served API says it was built from, by which it is told from others.
pub const SERVED: &str = "served by redrill";

/// `/version`: the Kubernetes version that is modelled.
pub fn version() -> Value {
    json!({"major": "1", "minor": "33", "gitVersion": "v1.33.0", "gitCommit": "", "gitTreeState": SERVED,
        "buildDate": "", "goVersion": "", "compiler": "", "platform": "linux/amd64"})
}
