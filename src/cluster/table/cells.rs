//! What stands in the cells of tables.

use jiff::Timestamp;
use serde_json::{Value, json};

pub fn name(object: &Value) -> Value {
    object["metadata"]["name"].clone()
}

pub fn none(_: &Value) -> Value {
    json!("<none>")
}

pub fn or_none(value: &Value) -> Value {
    value.as_str().filter(|text| !text.is_empty()).map_or_else(|| json!("<none>"), |text| json!(text))
}

pub fn unset(value: &Value) -> Value {
    value.as_str().map_or_else(|| json!("<unset>"), |text| json!(text))
}

pub fn or_empty(value: &Value) -> Value {
    json!(value.as_str().unwrap_or_default())
}

pub fn count(value: &Value) -> Value {
    json!(value.as_i64().unwrap_or(0))
}

pub fn length(list: &Value) -> Value {
    json!(list.as_array().map_or(0, Vec::len))
}

pub fn list<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    object[field].as_array().into_iter().flatten()
}

fn since(moment: &Value) -> Option<i64> {
    let moment: Timestamp = moment.as_str()?.parse().ok()?;
    Some((Timestamp::now().as_second() - moment.as_second()).max(0))
}

pub fn since_text(moment: &Value) -> String {
    since(moment).map_or_else(|| "<unknown>".to_owned(), duration)
}

pub fn age(object: &Value) -> Value {
    json!(since_text(&object["metadata"]["creationTimestamp"]))
}

/// A duration of so many seconds, as short as kubectl writes it: two units while the second one matters.
pub fn duration(seconds: i64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let pair = |large: i64, unit: char, small: i64, small_unit: char| match small {
        0 => format!("{large}{unit}"),
        small => format!("{large}{unit}{small}{small_unit}"),
    };
    match seconds {
        ..120 => format!("{seconds}s"),
        120..600 => pair(minutes, 'm', seconds % 60, 's'),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => pair(hours, 'h', minutes % 60, 'm'),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => pair(days, 'd', hours % 24, 'h'),
        691_200..63_072_000 => format!("{days}d"),
        63_072_000..252_288_000 => pair(days / 365, 'y', days % 365, 'd'),
        _ => format!("{}y", days / 365),
    }
}

pub fn ready_of_replicas(object: &Value) -> Value {
    let ready = object["status"]["readyReplicas"].as_i64().unwrap_or(0);
    json!(format!("{ready}/{}", object["spec"]["replicas"].as_i64().unwrap_or(1)))
}

fn pod_template(object: &Value) -> &Value {
    match object["spec"].get("jobTemplate") {
        Some(job) => &job["spec"]["template"]["spec"],
        None => &object["spec"]["template"]["spec"],
    }
}

fn joined(object: &Value, field: &str) -> Value {
    let parts: Vec<_> = list(pod_template(object), "containers").filter_map(|one| one[field].as_str()).collect();
    json!(parts.join(","))
}

pub fn container_names(object: &Value) -> Value {
    joined(object, "name")
}

pub fn images(object: &Value) -> Value {
    joined(object, "image")
}

fn pairs(labels: &Value) -> Option<String> {
    let labels = labels.as_object().filter(|labels| !labels.is_empty())?;
    let mut pairs: Vec<_> =
        labels.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    pairs.sort_unstable();
    Some(pairs.join(","))
}

/// A selector as `-l` would take it: labels first, then expressions by key, with their values in order.
pub fn label_selector(object: &Value) -> Value {
    let selector = &object["spec"]["selector"];
    let mut terms: Vec<(String, String)> = Vec::new();
    for (key, value) in selector["matchLabels"].as_object().into_iter().flatten() {
        terms.push((key.clone(), format!("{key}={}", value.as_str().unwrap_or_default())));
    }
    for expression in list(selector, "matchExpressions") {
        let key = expression["key"].as_str().unwrap_or_default();
        let mut values: Vec<_> = list(expression, "values").filter_map(Value::as_str).collect();
        values.sort_unstable();
        let values = values.join(",");
        let term = match expression["operator"].as_str() {
            Some("In") => format!("{key} in ({values})"),
            Some("NotIn") => format!("{key} notin ({values})"),
            Some("DoesNotExist") => format!("!{key}"),
            _ => key.to_owned(),
        };
        terms.push((key.to_owned(), term));
    }
    terms.sort();
    let terms: Vec<_> = terms.into_iter().map(|(_, term)| term).collect();
    or_none(&json!(terms.join(",")))
}

pub fn selector(service: &Value) -> Value {
    json!(pairs(&service["spec"]["selector"]).unwrap_or_else(|| "<none>".to_owned()))
}

pub fn has_condition(object: &Value, condition_type: &str) -> bool {
    list(&object["status"], "conditions").any(|one| one["type"] == condition_type && one["status"] == "True")
}

pub fn job_status(job: &Value) -> Value {
    let word = match () {
        () if has_condition(job, "Complete") => "Complete",
        () if has_condition(job, "Failed") => "Failed",
        () if job["metadata"]["deletionTimestamp"].is_string() => "Terminating",
        () if has_condition(job, "Suspended") => "Suspended",
        () if has_condition(job, "FailureTarget") => "FailureTarget",
        () if has_condition(job, "SuccessCriteriaMet") => "SuccessCriteriaMet",
        () => "Running",
    };
    json!(word)
}

pub fn job_completions(job: &Value) -> Value {
    let succeeded = job["status"]["succeeded"].as_i64().unwrap_or(0);
    match job["spec"]["completions"].as_i64() {
        Some(wanted) => json!(format!("{succeeded}/{wanted}")),
        None => match job["spec"]["parallelism"].as_i64().unwrap_or(0) {
            ..=1 => json!(format!("{succeeded}/1")),
            parallel => json!(format!("{succeeded}/1 of {parallel}")),
        },
    }
}

pub fn job_duration(job: &Value) -> Value {
    let Some(running) = since(&job["status"]["startTime"]) else { return json!("") };
    let over = since(&job["status"]["completionTime"]).unwrap_or(0);
    json!(duration((running - over).max(0)))
}

pub fn cron_suspend(cron: &Value) -> Value {
    json!(if cron["spec"]["suspend"] == true { "True" } else { "False" })
}

pub fn cron_active(cron: &Value) -> Value {
    length(&cron["status"]["active"])
}

pub fn cron_last(cron: &Value) -> Value {
    match &cron["status"]["lastScheduleTime"] {
        Value::Null => json!("<none>"),
        moment => json!(since_text(moment)),
    }
}

pub fn external_address(service: &Value) -> Value {
    match service["spec"]["type"].as_str() {
        Some("ExternalName") => service["spec"]["externalName"].clone(),
        Some("LoadBalancer") => json!("<pending>"),
        _ => {
            let addresses: Vec<_> = list(&service["spec"], "externalIPs").filter_map(Value::as_str).collect();
            or_none(&json!(addresses.join(",")))
        }
    }
}

pub fn service_ports(service: &Value) -> Value {
    let one = |port: &Value| match port["nodePort"].as_i64() {
        Some(node_port) => format!("{}:{node_port}/{}", port["port"], port["protocol"].as_str().unwrap_or("TCP")),
        None => format!("{}/{}", port["port"], port["protocol"].as_str().unwrap_or("TCP")),
    };
    or_none(&json!(list(&service["spec"], "ports").map(one).collect::<Vec<_>>().join(",")))
}

pub fn endpoint_addresses(endpoints: &Value) -> Value {
    let all: Vec<String> = list(endpoints, "subsets")
        .flat_map(|subset| {
            let addresses = || list(subset, "addresses").filter_map(|address| address["ip"].as_str());
            list(subset, "ports").flat_map(move |port| addresses().map(move |ip| format!("{ip}:{}", port["port"])))
        })
        .collect();
    match all.len() {
        0..=3 => or_none(&json!(all.join(","))),
        more => json!(format!("{} + {} more...", all[..3].join(","), more - 3)),
    }
}

pub fn data_count(object: &Value) -> Value {
    let entries = |field: &str| object[field].as_object().map_or(0, serde_json::Map::len);
    json!(entries("data") + entries("binaryData"))
}

pub fn node_roles(node: &Value) -> Value {
    let labels = node["metadata"]["labels"].as_object().into_iter().flatten();
    let mut roles: Vec<_> = labels
        .filter_map(|(key, value)| match key.as_str() {
            "kubernetes.io/role" => value.as_str(),
            key => key.strip_prefix("node-role.kubernetes.io/"),
        })
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort_unstable();
    or_none(&json!(roles.join(",")))
}

pub fn node_address(node: &Value, address_type: &str) -> Value {
    let mut addresses = list(&node["status"], "addresses").filter(|address| address["type"] == address_type);
    or_none(addresses.next().map_or(&Value::Null, |address| &address["address"]))
}

pub fn or_unknown(value: &Value) -> Value {
    value.as_str().filter(|text| !text.is_empty()).map_or_else(|| json!("<unknown>"), |text| json!(text))
}

pub fn node_status(node: &Value) -> Value {
    json!(if has_condition(node, "Ready") { "Ready" } else { "NotReady" })
}

pub fn claim_status(claim: &Value) -> Value {
    if claim["metadata"]["deletionTimestamp"].is_string() {
        return json!("Terminating");
    }
    json!(claim["status"]["phase"].as_str().unwrap_or("Pending"))
}

pub fn access_modes(claim: &Value) -> Value {
    let short = |mode: &Value| match mode.as_str() {
        Some("ReadWriteOnce") => "RWO",
        Some("ReadOnlyMany") => "ROX",
        Some("ReadWriteMany") => "RWX",
        Some("ReadWriteOncePod") => "RWOP",
        _ => "",
    };
    json!(list(&claim["status"], "accessModes").map(short).collect::<Vec<_>>().join(","))
}

pub fn event_last_seen(event: &Value) -> Value {
    let moment = [&event["series"]["lastObservedTime"], &event["lastTimestamp"], &event["eventTime"]];
    json!(since_text(moment.into_iter().find(|moment| moment.is_string()).unwrap_or(&Value::Null)))
}

pub fn event_first_seen(event: &Value) -> Value {
    let moment = [&event["firstTimestamp"], &event["eventTime"]];
    json!(since_text(moment.into_iter().find(|moment| moment.is_string()).unwrap_or(&Value::Null)))
}

pub fn event_object(event: &Value) -> Value {
    let field = |name: &str| event["involvedObject"][name].as_str().unwrap_or_default();
    json!(format!("{}/{}", field("kind").to_lowercase(), field("name")))
}

pub fn event_source(event: &Value) -> Value {
    let field = |name: &str| event["source"][name].as_str().filter(|text| !text.is_empty());
    let component = field("component").or(event["reportingComponent"].as_str()).unwrap_or_default();
    match field("host").or(event["reportingInstance"].as_str().filter(|host| !host.is_empty())) {
        Some(host) => json!(format!("{component}, {host}")),
        None => json!(component),
    }
}

pub fn event_count(event: &Value) -> Value {
    let count = event["series"]["count"].as_i64().or(event["count"].as_i64());
    json!(count.unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_as_short_as_kubectl_writes_them() {
        for (seconds, text) in [
            (0, "0s"),
            (119, "119s"),
            (120, "2m"),
            (150, "2m30s"),
            (599, "9m59s"),
            (600, "10m"),
            (10_799, "179m"),
            (10_800, "3h"),
            (12_000, "3h20m"),
            (28_800, "8h"),
            (172_799, "47h"),
            (180_000, "2d2h"),
            (691_200, "8d"),
            (63_072_000, "2y"),
            (400_000_000, "12y"),
        ] {
            assert_eq!(duration(seconds), text);
        }
    }
}
