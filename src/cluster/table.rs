//! Tables: the columns that kubectl prints, as the server makes them.

use serde_json::{Value, json};

use super::kind::Kind;

mod cells;
mod pod;

/// How much of the object each row carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Include {
    Nothing,
    Metadata,
    Object,
}

/// A column: its name, whether only `-o wide` shows it, and the cell of an object.
struct Column {
    name: &'static str,
    wide: bool,
    /// `string`, `integer`, ...: as the server declares it, whatever the cell holds.
    value: &'static str,
    cell: fn(&Value) -> Value,
}

/// A `meta.k8s.io/v1` `Table` of these objects.
pub fn table(kind: &Kind, objects: &[&Value], resource_version: &Value, include: Include) -> Value {
    let columns = columns(kind);
    let definitions: Vec<_> = columns
        .iter()
        .map(|column| {
            let format = if column.name == "Name" { "name" } else { "" };
            json!({"name": column.name, "type": column.value, "format": format,
                "description": "", "priority": i32::from(column.wide)})
        })
        .collect();
    let rows: Vec<_> = objects.iter().map(|object| row(kind, &columns, object, include)).collect();
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": resource_version},
        "columnDefinitions": definitions, "rows": rows})
}

fn row(kind: &Kind, columns: &[Column], object: &Value, include: Include) -> Value {
    let cells: Vec<Value> = columns.iter().map(|column| (column.cell)(object)).collect();
    let mut row = match include {
        Include::Nothing => json!({"cells": cells}),
        Include::Metadata => json!({"cells": cells, "object": {"kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]}}),
        Include::Object => json!({"cells": cells, "object": object}),
    };
    if let Some(conditions) = pod::row_conditions(object).filter(|_| kind.kind == "Pod") {
        row["conditions"] = conditions;
    }
    row
}

const fn text(name: &'static str, cell: fn(&Value) -> Value) -> Column {
    Column { name, wide: false, value: "string", cell }
}

const fn number(name: &'static str, cell: fn(&Value) -> Value) -> Column {
    Column { name, wide: false, value: "integer", cell }
}

const fn wide(name: &'static str, cell: fn(&Value) -> Value) -> Column {
    Column { name, wide: true, value: "string", cell }
}

fn columns(kind: &Kind) -> Vec<Column> {
    use cells::*;
    let mut columns = vec![text("Name", name)];
    columns.extend(match kind.kind {
        "Pod" => vec![
            text("Ready", pod::ready),
            text("Status", pod::status),
            text("Restarts", pod::restarts),
            text("Age", age),
            wide("IP", |pod| or_none(&pod["status"]["podIP"])),
            wide("Node", |pod| or_none(&pod["spec"]["nodeName"])),
            wide("Nominated Node", |pod| or_none(&pod["status"]["nominatedNodeName"])),
            wide("Readiness Gates", none),
        ],
        "Deployment" => vec![
            text("Ready", ready_of_replicas),
            text("Up-to-date", |d| count(&d["status"]["updatedReplicas"])),
            text("Available", |d| count(&d["status"]["availableReplicas"])),
            text("Age", age),
            wide("Containers", container_names),
            wide("Images", images),
            wide("Selector", label_selector),
        ],
        "ReplicaSet" => vec![
            number("Desired", |set| count(&set["spec"]["replicas"])),
            number("Current", |set| count(&set["status"]["replicas"])),
            number("Ready", |set| count(&set["status"]["readyReplicas"])),
            text("Age", age),
            wide("Containers", container_names),
            wide("Images", images),
            wide("Selector", label_selector),
        ],
        "StatefulSet" => vec![
            text("Ready", ready_of_replicas),
            text("Age", age),
            wide("Containers", container_names),
            wide("Images", images),
        ],
        "Job" => vec![
            text("Status", job_status),
            text("Completions", job_completions),
            text("Duration", job_duration),
            text("Age", age),
            wide("Containers", container_names),
            wide("Images", images),
            wide("Selector", label_selector),
        ],
        "CronJob" => vec![
            text("Schedule", |cron| cron["spec"]["schedule"].clone()),
            text("Timezone", |cron| or_none(&cron["spec"]["timeZone"])),
            Column { value: "boolean", ..text("Suspend", cron_suspend) },
            number("Active", cron_active),
            text("Last Schedule", cron_last),
            text("Age", age),
            wide("Containers", container_names),
            wide("Images", images),
            wide("Selector", none),
        ],
        "Service" => vec![
            text("Type", |service| service["spec"]["type"].clone()),
            text("Cluster-IP", |service| or_none(&service["spec"]["clusterIP"])),
            text("External-IP", external_address),
            text("Port(s)", service_ports),
            text("Age", age),
            wide("Selector", selector),
        ],
        "Endpoints" => vec![text("Endpoints", endpoint_addresses), text("Age", age)],
        "Secret" => vec![text("Type", |secret| secret["type"].clone()), text("Data", data_count), text("Age", age)],
        "ConfigMap" => vec![text("Data", data_count), text("Age", age)],
        "ServiceAccount" => vec![text("Secrets", |account| length(&account["secrets"])), text("Age", age)],
        "Namespace" => vec![text("Status", |namespace| namespace["status"]["phase"].clone()), text("Age", age)],
        "Node" => vec![
            text("Status", node_status),
            text("Roles", node_roles),
            text("Age", age),
            text("Version", |node| node["status"]["nodeInfo"]["kubeletVersion"].clone()),
            wide("Internal-IP", |node| node_address(node, "InternalIP")),
            wide("External-IP", |node| node_address(node, "ExternalIP")),
            wide("OS-Image", |node| or_unknown(&node["status"]["nodeInfo"]["osImage"])),
            wide("Kernel-Version", |node| or_unknown(&node["status"]["nodeInfo"]["kernelVersion"])),
            wide("Container-Runtime", |node| or_unknown(&node["status"]["nodeInfo"]["containerRuntimeVersion"])),
        ],
        "PersistentVolumeClaim" => vec![
            text("Status", claim_status),
            text("Volume", |claim| or_empty(&claim["spec"]["volumeName"])),
            text("Capacity", |claim| or_empty(&claim["status"]["capacity"]["storage"])),
            text("Access Modes", access_modes),
            text("StorageClass", |claim| or_empty(&claim["spec"]["storageClassName"])),
            text("VolumeAttributesClass", |claim| unset(&claim["spec"]["volumeAttributesClassName"])),
            text("Age", age),
            wide("VolumeMode", |claim| or_none(&claim["spec"]["volumeMode"])),
        ],
        "Event" => return event_columns(),
        _ => vec![text("Age", age)],
    });
    columns
}

fn event_columns() -> Vec<Column> {
    use cells::*;
    vec![
        text("Last Seen", event_last_seen),
        text("Type", |event| event["type"].clone()),
        text("Reason", |event| event["reason"].clone()),
        text("Object", event_object),
        wide("Subobject", |event| or_empty(&event["involvedObject"]["fieldPath"])),
        wide("Source", event_source),
        text("Message", |event| json!(event["message"].as_str().unwrap_or_default().trim())),
        wide("First Seen", event_first_seen),
        wide("Count", event_count),
        wide("Name", name),
    ]
}
